//! Values of rows and parameters, and how MySQL writes them.

use sqlx::mysql::{MySqlRow, MySqlValueRef};
use sqlx::{Column, Decode, MySql, Row, TypeInfo, ValueRef};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// Text, and what has no case of its own.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Binary data.
    Bytes(Vec<u8>),
}

impl Value {
    /// The bytes of its content.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Text(text) => text.len(),
            Self::Integer(_) | Self::Real(_) => 8,
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Text if it is UTF-8, else bytes.
    fn text_or_bytes(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

/// The values of one row.
pub(super) fn mysql_row(row: &MySqlRow) -> Result<Vec<Value>, String> {
    let values = row.columns().iter().map(|column| {
        let raw = row
            .try_get_raw(column.ordinal())
            .map_err(|error| error.to_string())?;
        mysql_value(raw).map_err(|why| format!("column {:?}: {why}", column.name()))
    });
    values.collect()
}

fn mysql_value(raw: MySqlValueRef<'_>) -> Result<Value, String> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    let failed = |error: sqlx::error::BoxDynError| error.to_string();
    match kind.as_str() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            <i64 as Decode<MySql>>::decode(raw)
                .map(Value::Integer)
                .map_err(failed)
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED"
        | "BIGINT UNSIGNED" | "YEAR" | "BIT" => {
            let number = <u64 as Decode<MySql>>::decode(raw).map_err(failed)?;
            // What is too large for the contract's numbers is told as text.
            Ok(i64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Integer))
        }
        "FLOAT" | "DOUBLE" => <f64 as Decode<MySql>>::decode(raw)
            .map(Value::Real)
            .map_err(failed),
        "DATE" | "TIME" | "DATETIME" | "TIMESTAMP" => {
            let bytes = <&[u8] as Decode<MySql>>::decode(raw).map_err(failed)?;
            time_text(&kind, bytes).map(Value::Text)
        }
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "GEOMETRY" => {
            <&[u8] as Decode<MySql>>::decode(raw)
                .map(|bytes| Value::Bytes(bytes.to_vec()))
                .map_err(failed)
        }
        _ => <&[u8] as Decode<MySql>>::decode(raw)
            .map(|bytes| Value::text_or_bytes(bytes.to_vec()))
            .map_err(failed),
    }
}

/// A date or time as the text protocol would have written it; answers with parameters have it packed.
fn time_text(kind: &str, bytes: &[u8]) -> Result<String, String> {
    if bytes.first().is_some_and(u8::is_ascii_digit) || bytes.first() == Some(&b'-') {
        return String::from_utf8(bytes.to_vec()).map_err(|_| "its time isn't text".to_owned());
    }
    let bad = || "its time can't be read".to_owned();
    let byte = |index: usize| bytes.get(index).copied().ok_or_else(bad);
    let number = |index: usize| -> Result<u32, String> {
        let four = bytes.get(index..index + 4).and_then(|four| four.try_into().ok());
        four.map(u32::from_le_bytes).ok_or_else(bad)
    };
    let fraction = |index: usize| match bytes.len() > index {
        true => number(index).map(|micros| format!(".{micros:06}")),
        false => Ok(String::new()),
    };
    // The first byte is the length of the rest.
    if kind == "TIME" {
        if bytes.len() < 9 {
            return Ok("00:00:00".to_owned());
        }
        let sign = if byte(1)? == 1 { "-" } else { "" };
        let hours = u64::from(number(2)?) * 24 + u64::from(byte(6)?);
        return Ok(format!(
            "{sign}{hours:02}:{:02}:{:02}{}",
            byte(7)?,
            byte(8)?,
            fraction(9)?
        ));
    }
    if bytes.len() < 5 {
        return Ok("0000-00-00".to_owned());
    }
    let year = u16::from_le_bytes([byte(1)?, byte(2)?]);
    let date = format!("{year:04}-{:02}-{:02}", byte(3)?, byte(4)?);
    if kind == "DATE" {
        return Ok(date);
    }
    if bytes.len() < 8 {
        return Ok(format!("{date} 00:00:00"));
    }
    Ok(format!(
        "{date} {:02}:{:02}:{:02}{}",
        byte(5)?,
        byte(6)?,
        byte(7)?,
        fraction(8)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_times_read_as_text() {
        let text = |kind, bytes: &[u8]| time_text(kind, bytes).unwrap();
        assert_eq!(text("DATE", &[4, 0xea, 7, 11, 25]), "2026-11-25");
        assert_eq!(
            text("DATETIME", &[7, 0xea, 7, 11, 25, 6, 5, 4]),
            "2026-11-25 06:05:04"
        );
        assert_eq!(
            text("TIMESTAMP", &[11, 0xea, 7, 11, 25, 6, 5, 4, 7, 0, 0, 0]),
            "2026-11-25 06:05:04.000007"
        );
        assert_eq!(text("TIME", &[8, 1, 1, 0, 0, 0, 2, 3, 4]), "-26:03:04");
        assert_eq!(text("TIME", &[0]), "00:00:00");
        assert_eq!(text("DATE", b"2026-11-25"), "2026-11-25");
        for length in 0..12 {
            // Whatever a server sends: no panic.
            for kind in ["DATE", "TIME", "DATETIME"] {
                drop(time_text(kind, &[255; 12][..length]));
            }
        }
    }
}
