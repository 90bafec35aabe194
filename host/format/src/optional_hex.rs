//! Serde form of bytes of fixed length that may be absent: lower-case hex or null. For `#[serde(with = …)]`.

use serde::{Deserialize, Deserializer, Serializer};

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(crate) fn serialize<const N: usize, S: Serializer>(
    bytes: &Option<[u8; N]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => serializer.serialize_str(&hex::encode(bytes)),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<[u8; N]>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(serde::de::Error::custom)?;
    Ok(Some(bytes))
}
