//! How the values of the configuration file are written: each reader takes one form that a person may write, or several.

use std::ffi::OsString;

use serde::{Deserialize, Deserializer};

use super::size::Size;
use crate::args::{Days, DereferenceText, IsolateText, RateText, StorageFailureText, StorageText};

/// A text that has a parser of its own.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    String::deserialize(deserializer)?
        .parse()
        .map(Some)
        .map_err(serde::de::Error::custom)
}

/// A size: a number of bytes, or a text with a unit.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Size>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::Integer(bytes) => u64::try_from(bytes)
            .map(|bytes| Some(Size(bytes)))
            .map_err(|_| serde::de::Error::custom("a size is not negative")),
        toml::Value::String(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
        _ => Err(serde::de::Error::custom(
            "a size is a number of bytes or a text such as \"32M\"",
        )),
    }
}

/// Bytes a second: a number, -1 for no limit, or a text with a unit.
pub(super) fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RateText>, D::Error> {
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::Integer(bytes) => bytes.to_string(),
        toml::Value::String(text) => text,
        _ => {
            return Err(serde::de::Error::custom(
                "a limit is a number of bytes a second or a text such as \"10M\"",
            ));
        }
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Days: any number, or a text.
pub(super) fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Days>, D::Error> {
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::Integer(days) => days.to_string(),
        toml::Value::Float(days) => days.to_string(),
        toml::Value::String(text) => text,
        _ => return Err(serde::de::Error::custom("days are a number")),
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// One storage or a list of them.
pub(super) fn storages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StorageText>, D::Error> {
    let texts = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => vec![text],
        toml::Value::Array(values) => {
            let texts = values.into_iter().map(|value| value.as_str().map(str::to_owned));
            let texts: Option<Vec<String>> = texts.collect();
            texts.ok_or_else(|| serde::de::Error::custom("a list of storages"))?
        }
        _ => {
            return Err(serde::de::Error::custom(
                "a storage is a text, or a list of texts",
            ));
        }
    };
    let parsed: Result<Vec<StorageText>, String> = texts.iter().map(|text| text.parse()).collect();
    parsed.map_err(serde::de::Error::custom)
}

/// A line for a shell.
pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OsString>, D::Error> {
    String::deserialize(deserializer).map(|line| Some(line.into()))
}

/// One pattern or a list of them.
pub(super) fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OsString>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a pattern or a list of patterns")]
    enum Patterns {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Patterns::deserialize(deserializer)? {
        Patterns::One(pattern) => vec![pattern.into()],
        Patterns::Many(patterns) => patterns.into_iter().map(OsString::from).collect(),
    })
}

/// `none`, `soft`, `hard` or `all`.
pub(super) fn dereference<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DereferenceText>, D::Error> {
    let text = String::deserialize(deserializer)?;
    <DereferenceText as clap::ValueEnum>::from_str(&text, false)
        .map(Some)
        .map_err(|_| serde::de::Error::custom("the kinds of links are none, soft, hard and all"))
}

/// What the failure of a storage means, by its word.
pub(super) fn storage_failure<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<StorageFailureText>, D::Error> {
    let text = String::deserialize(deserializer)?;
    <StorageFailureText as clap::ValueEnum>::from_str(&text, false)
        .map(Some)
        .map_err(|_| serde::de::Error::custom("on-storage-failure is continue or abort"))
}

/// Which plugins run in processes of their own, by its word.
pub(super) fn isolate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IsolateText>, D::Error> {
    let text = String::deserialize(deserializer)?;
    <IsolateText as clap::ValueEnum>::from_str(&text, false)
        .map(Some)
        .map_err(|_| serde::de::Error::custom("isolate is none, foreign or all"))
}
