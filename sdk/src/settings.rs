//! What the user set, in the types that plugin.toml declares.
//!
//! The host has checked names, types and required ones before a plugin sees them. Secret settings are not here: see
//! [`crate::host::control::secret`].

use crate::bindings::imports::freezer::plugin::types;
use crate::error::{Error, Result};

pub use crate::bindings::imports::freezer::plugin::types::SettingValue;

/// The settings of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(Vec<types::Setting>);

impl Settings {
    /// Makes settings by hand, as tests do.
    pub fn new<N: Into<String>>(settings: impl IntoIterator<Item = (N, SettingValue)>) -> Self {
        let setting = |(name, value): (N, _)| types::Setting {
            name: name.into(),
            value,
        };
        Settings(settings.into_iter().map(setting).collect())
    }

    /// A text that plugin.toml requires or gives a default.
    ///
    /// # Errors
    /// `invalid` if it is absent or not a text.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.optional_text(name)?.ok_or_else(|| missing(name))
    }

    /// A text, if it is set.
    ///
    /// # Errors
    /// `invalid` if it is not a text.
    pub fn optional_text(&self, name: &str) -> Result<Option<&str>> {
        self.find(name, "a text", |value| match value {
            SettingValue::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A whole number, if it is set.
    ///
    /// # Errors
    /// `invalid` if it is not a whole number.
    pub fn integer(&self, name: &str) -> Result<Option<i64>> {
        self.find(name, "a whole number", |value| match value {
            SettingValue::Integer(integer) => Some(*integer),
            _ => None,
        })
    }

    /// A switch, off unless it is set.
    ///
    /// # Errors
    /// `invalid` if it is not a switch.
    pub fn flag(&self, name: &str) -> Result<bool> {
        let flag = self.find(name, "true or false", |value| match value {
            SettingValue::Flag(flag) => Some(*flag),
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }

    /// A size in bytes, if it is set.
    ///
    /// # Errors
    /// `invalid` if it is not a size.
    pub fn bytes(&self, name: &str) -> Result<Option<u64>> {
        self.find(name, "a size", |value| match value {
            SettingValue::Bytes(bytes) => Some(*bytes),
            _ => None,
        })
    }

    /// A list of texts, empty unless it is set.
    ///
    /// # Errors
    /// `invalid` if it is not a list.
    pub fn many(&self, name: &str) -> Result<&[String]> {
        let many = self.find(name, "a list", |value| match value {
            SettingValue::Many(texts) => Some(texts.as_slice()),
            _ => None,
        })?;
        Ok(many.unwrap_or_default())
    }

    fn find<'a, T>(
        &'a self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&'a SettingValue) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(setting) = self.0.iter().find(|setting| setting.name == name) else {
            return Ok(None);
        };
        match read(&setting.value) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::invalid(format!("setting \"{name}\" must be {wanted}"))),
        }
    }
}

impl From<Vec<types::Setting>> for Settings {
    fn from(settings: Vec<types::Setting>) -> Self {
        Settings(settings)
    }
}

fn missing(name: &str) -> Error {
    Error::invalid(format!("setting \"{name}\" is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn settings() -> Settings {
        Settings::new([
            ("path", SettingValue::Text("/srv".into())),
            ("port", SettingValue::Integer(22)),
            ("quick", SettingValue::Flag(true)),
            ("size", SettingValue::Bytes(5)),
            ("exclude", SettingValue::Many(vec!["*.o".into()])),
        ])
    }

    #[test]
    fn settings_are_read_in_their_types() {
        let settings = settings();
        assert_eq!(settings.text("path").unwrap(), "/srv");
        assert_eq!(settings.integer("port").unwrap(), Some(22));
        assert!(settings.flag("quick").unwrap());
        assert_eq!(settings.bytes("size").unwrap(), Some(5));
        assert_eq!(settings.many("exclude").unwrap(), ["*.o"]);
    }

    #[test]
    fn absent_settings_are_none_off_or_empty() {
        let settings = Settings::default();
        assert_eq!(settings.optional_text("path").unwrap(), None);
        assert!(!settings.flag("quick").unwrap());
        assert!(settings.many("exclude").unwrap().is_empty());
        assert_eq!(
            settings.text("path").unwrap_err().message,
            "setting \"path\" is missing"
        );
    }

    #[test]
    fn a_wrong_type_is_invalid_and_names_the_setting() {
        let error = settings().text("port").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.message, "setting \"port\" must be a text");
    }
}
