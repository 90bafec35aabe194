//! How PostgreSQL writes values: as text to statements without parameters, packed to those with them.

use sqlx::postgres::{PgRow, PgValueFormat, PgValueRef};
use sqlx::{Column, Decode, Postgres, Row, TypeInfo, ValueRef};

use super::value::Value;

/// The values of one row.
pub(super) fn row(row: &PgRow) -> Result<Vec<Value>, String> {
    let values = row.columns().iter().map(|column| {
        let raw = row
            .try_get_raw(column.ordinal())
            .map_err(|error| error.to_string())?;
        value(raw).map_err(|why| format!("column {:?}: {why}", column.name()))
    });
    values.collect()
}

fn value(raw: PgValueRef<'_>) -> Result<Value, String> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    let packed = raw.format() == PgValueFormat::Binary;
    let failed = |error: sqlx::error::BoxDynError| error.to_string();
    match kind.as_str() {
        "INT2" => <i16 as Decode<Postgres>>::decode(raw)
            .map(|number| Value::Integer(number.into()))
            .map_err(failed),
        "INT4" => <i32 as Decode<Postgres>>::decode(raw)
            .map(|number| Value::Integer(number.into()))
            .map_err(failed),
        "INT8" => <i64 as Decode<Postgres>>::decode(raw)
            .map(Value::Integer)
            .map_err(failed),
        "FLOAT4" => <f32 as Decode<Postgres>>::decode(raw)
            .map(|number| Value::Real(number.into()))
            .map_err(failed),
        "FLOAT8" => <f64 as Decode<Postgres>>::decode(raw)
            .map(Value::Real)
            .map_err(failed),
        "BYTEA" => <Vec<u8> as Decode<Postgres>>::decode(raw)
            .map(Value::Bytes)
            .map_err(failed),
        "BOOL" => <bool as Decode<Postgres>>::decode(raw)
            .map(|truth| Value::Text(if truth { "t" } else { "f" }.to_owned()))
            .map_err(failed),
        _ if packed && !is_text(&kind) => Err(format!(
            "type {kind} can't be read here: cast it to text in the statement"
        )),
        _ => raw
            .as_str()
            .map(|text| Value::Text(text.to_owned()))
            .map_err(failed),
    }
}

/// Types that are packed as they are written.
fn is_text(kind: &str) -> bool {
    matches!(
        kind,
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "BPCHAR" | "JSON" | "XML" | "UNKNOWN" | "\"CHAR\""
    )
}
