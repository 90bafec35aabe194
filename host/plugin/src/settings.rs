//! Settings of a plugin for one run: typed values under the names that its plugin.toml declares.
//!
//! Values of settings marked `secret` travel in here too, but never reach the guest by themselves: the host answers
//! `control.secret` from them, and `Debug` doesn't show them.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// The type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingType {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// Yes or no.
    Flag,
    /// A size: `5M`, `1G`, `4096`; units of 1024.
    Bytes,
    /// Several texts, given several times or separated by commas.
    Many,
    /// The path of a file that the host reads for the plugin; the plugin gets the path as text.
    File,
}

impl SettingType {
    /// Tells whether a value is of this type.
    #[must_use]
    pub fn holds(self, value: &SettingValue) -> bool {
        matches!(
            (value, self),
            (SettingValue::Text(_), Self::Text | Self::File)
                | (SettingValue::Integer(_), Self::Integer)
                | (SettingValue::Flag(_), Self::Flag)
                | (SettingValue::Bytes(_), Self::Bytes)
                | (SettingValue::Many(_), Self::Many)
        )
    }
}

impl fmt::Display for SettingType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Text => "text",
            Self::Integer => "a whole number",
            Self::Flag => "true or false",
            Self::Bytes => "a size such as 5M",
            Self::Many => "a list of texts",
            Self::File => "the path of a file",
        })
    }
}

/// The value of one setting.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingValue {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Flag(bool),
    /// A size in bytes.
    Bytes(u64),
    /// Several texts.
    Many(Vec<String>),
}

impl fmt::Display for SettingValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => out.write_str(text),
            Self::Integer(number) => write!(out, "{number}"),
            Self::Flag(flag) => write!(out, "{flag}"),
            Self::Bytes(bytes) => write!(out, "{bytes}"),
            Self::Many(texts) => out.write_str(&texts.join(",")),
        }
    }
}

impl fmt::Debug for SettingValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("…")
    }
}

impl Drop for SettingValue {
    fn drop(&mut self) {
        match self {
            Self::Text(text) => text.zeroize(),
            Self::Many(texts) => texts.zeroize(),
            Self::Integer(_) | Self::Flag(_) | Self::Bytes(_) => {}
        }
    }
}

/// The settings of one plugin in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    url: Option<String>,
    values: Vec<(String, SettingValue)>,
}

impl Settings {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one value, in place of an earlier one.
    pub fn set(&mut self, name: &str, value: SettingValue) {
        match self.values.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.values.push((name.to_owned(), value)),
        }
    }

    /// The value of a setting, if it was set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SettingValue> {
        self.values
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// All settings in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SettingValue)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The URL that they came from, without a password, as messages show it.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Says which URL they came from; it must hold no secret.
    pub fn set_url(&mut self, url: &str) {
        self.url = Some(url.to_owned());
    }
}

/// Reads a value as a person types it.
pub(crate) fn parse_value(kind: SettingType, text: &str) -> Result<SettingValue, String> {
    Ok(match kind {
        SettingType::Text | SettingType::File => SettingValue::Text(text.to_owned()),
        SettingType::Integer => {
            SettingValue::Integer(text.trim().parse().map_err(|_| format!("must be {}", kind))?)
        }
        SettingType::Flag => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => SettingValue::Flag(true),
            "false" | "no" | "off" | "0" => SettingValue::Flag(false),
            _ => return Err(format!("must be {}", kind)),
        },
        SettingType::Bytes => SettingValue::Bytes(parse_bytes(text.trim())?),
        SettingType::Many => SettingValue::Many(
            text.split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect(),
        ),
    })
}

/// Reads `4096`, `5M`, `1G`, `1GiB`; units of 1024.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit
        .trim()
        .to_ascii_uppercase()
        .trim_end_matches("IB")
        .trim_end_matches('B')
    {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(format!("must be {}", SettingType::Bytes)),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("must be {}", SettingType::Bytes))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "is too large".to_owned())
}

/// Reads the default of a setting.
pub(crate) fn default_value(kind: SettingType, value: &toml::Value) -> Result<SettingValue, String> {
    Ok(match (kind, value) {
        (SettingType::Text | SettingType::File, toml::Value::String(text)) => {
            SettingValue::Text(text.clone())
        }
        (SettingType::Integer, toml::Value::Integer(number)) => SettingValue::Integer(*number),
        (SettingType::Flag, toml::Value::Boolean(flag)) => SettingValue::Flag(*flag),
        (SettingType::Bytes, toml::Value::String(text)) => SettingValue::Bytes(parse_bytes(text)?),
        (SettingType::Bytes, toml::Value::Integer(number)) => {
            SettingValue::Bytes(u64::try_from(*number).map_err(|_| "must not be negative".to_owned())?)
        }
        (SettingType::Many, toml::Value::Array(items)) => SettingValue::Many(
            items
                .iter()
                .map(|item| {
                    item.as_str()
                        .map(str::to_owned)
                        .ok_or_else(|| "must be a list of texts".to_owned())
                })
                .collect::<Result<_, _>>()?,
        ),
        _ => return Err(format!("must be {}", kind)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_type_them() {
        assert_eq!(
            parse_value(SettingType::Bytes, "5M"),
            Ok(SettingValue::Bytes(5 << 20))
        );
        assert_eq!(
            parse_value(SettingType::Bytes, "1GiB"),
            Ok(SettingValue::Bytes(1 << 30))
        );
        assert_eq!(
            parse_value(SettingType::Bytes, "4096"),
            Ok(SettingValue::Bytes(4096))
        );
        assert_eq!(
            parse_value(SettingType::Flag, "Yes"),
            Ok(SettingValue::Flag(true))
        );
        assert_eq!(
            parse_value(SettingType::Integer, "-3"),
            Ok(SettingValue::Integer(-3))
        );
        let many = SettingValue::Many(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(parse_value(SettingType::Many, "a, b,"), Ok(many));
        for (kind, text) in [
            (SettingType::Bytes, "99999999999T"),
            (SettingType::Bytes, "M"),
            (SettingType::Bytes, "5 X"),
            (SettingType::Bytes, "-1"),
            (SettingType::Flag, "maybe"),
            (SettingType::Integer, "1.5"),
        ] {
            assert!(parse_value(kind, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_is_never_shown_by_debug() {
        let mut settings = Settings::new();
        settings.set("password", SettingValue::Text("correct horse".to_owned()));
        assert!(!format!("{settings:?}").contains("horse"));
    }
}
