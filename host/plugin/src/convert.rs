//! Errors and settings, carried over the border between the contract's types and the host's.

use std::time::Duration;

use freezer_io::error as native;
use freezer_pipeline::store;

use crate::bindings::v1::imports::freezer::plugin::types::{self, ErrorKind};
use crate::error::{PluginError, Refusal};
use crate::escape;
use crate::manifest::PluginManifest;
use crate::settings::{SettingValue, Settings};

/// An error for the guest.
pub(crate) fn error(kind: ErrorKind, message: impl Into<String>) -> types::Error {
    types::Error {
        kind,
        message: message.into(),
        code: None,
        retry_after_ms: None,
    }
}

/// What an interface answers that has no native side on this machine.
pub(crate) fn unsupported(what: &str) -> types::Error {
    error(
        ErrorKind::Unsupported,
        format!("this freezer can't {what} for plugins yet"),
    )
}

impl From<Refusal> for types::Error {
    fn from(refusal: Refusal) -> Self {
        error(ErrorKind::Denied, refusal.to_string())
    }
}

impl From<native::Error> for types::Error {
    fn from(failure: native::Error) -> Self {
        let kind = match failure.kind {
            native::ErrorKind::NotFound => ErrorKind::NotFound,
            native::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            native::ErrorKind::Denied => ErrorKind::Denied,
            native::ErrorKind::Invalid => ErrorKind::Invalid,
            native::ErrorKind::Busy => ErrorKind::Busy,
            native::ErrorKind::Unavailable => ErrorKind::Unavailable,
            native::ErrorKind::Corrupt => ErrorKind::Corrupt,
            native::ErrorKind::Unsupported => ErrorKind::Unsupported,
            native::ErrorKind::Cancelled => ErrorKind::Cancelled,
            native::ErrorKind::Other => ErrorKind::Other,
        };
        types::Error {
            code: failure.code.map(str::to_owned),
            ..error(kind, failure.message)
        }
    }
}

/// The host's word for a kind that a guest reported.
pub(crate) fn kind(kind: ErrorKind) -> store::ErrorKind {
    match kind {
        ErrorKind::NotFound => store::ErrorKind::NotFound,
        ErrorKind::AlreadyExists => store::ErrorKind::AlreadyExists,
        ErrorKind::Denied => store::ErrorKind::Denied,
        ErrorKind::Invalid => store::ErrorKind::Invalid,
        ErrorKind::Busy => store::ErrorKind::Busy,
        ErrorKind::Unavailable => store::ErrorKind::Unavailable,
        ErrorKind::Corrupt => store::ErrorKind::Corrupt,
        ErrorKind::Unsupported => store::ErrorKind::Unsupported,
        ErrorKind::Cancelled => store::ErrorKind::Cancelled,
        ErrorKind::Other => store::ErrorKind::Other,
    }
}

/// The contract's word for a kind of the host.
pub(crate) fn wit_kind(kind: store::ErrorKind) -> ErrorKind {
    match kind {
        store::ErrorKind::NotFound => ErrorKind::NotFound,
        store::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        store::ErrorKind::Denied => ErrorKind::Denied,
        store::ErrorKind::Invalid => ErrorKind::Invalid,
        store::ErrorKind::Busy => ErrorKind::Busy,
        store::ErrorKind::Unavailable => ErrorKind::Unavailable,
        store::ErrorKind::Corrupt => ErrorKind::Corrupt,
        store::ErrorKind::Unsupported => ErrorKind::Unsupported,
        store::ErrorKind::Cancelled => ErrorKind::Cancelled,
        store::ErrorKind::Other => ErrorKind::Other,
    }
}

/// What a guest reported, made safe to show.
pub(crate) fn reported(plugin: &str, call: &'static str, failure: &types::Error) -> PluginError {
    if let Some(code) = &failure.code {
        tracing::debug!(
            plugin,
            call,
            code = escape::line(code, 200),
            "the service's own word"
        );
    }
    PluginError::Failed {
        plugin: plugin.to_owned(),
        call,
        kind: kind(failure.kind),
        message: escape::line(&failure.message, escape::MAX_LINE),
        cause: failure.code.as_deref().and_then(store::Cause::of_code),
        retry_after: failure
            .retry_after_ms
            .map(|pause| Duration::from_millis(pause.into())),
    }
}

/// The settings as the guest sees them: all but the secret ones.
pub(crate) fn settings(manifest: &PluginManifest, settings: &Settings) -> Vec<types::Setting> {
    let secret = |name: &str| {
        manifest
            .settings
            .iter()
            .any(|setting| setting.secret && setting.name == name)
    };
    let shown = settings.iter().filter(|(name, _)| !secret(name));
    shown
        .map(|(name, value)| types::Setting {
            name: name.to_owned(),
            value: wit_value(value),
        })
        .collect()
}

fn wit_value(value: &SettingValue) -> types::SettingValue {
    match value {
        SettingValue::Text(text) => types::SettingValue::Text(text.clone()),
        SettingValue::Integer(number) => types::SettingValue::Integer(*number),
        SettingValue::Flag(flag) => types::SettingValue::Flag(*flag),
        SettingValue::Bytes(bytes) => types::SettingValue::Bytes(*bytes),
        SettingValue::Many(texts) => types::SettingValue::Many(texts.clone()),
    }
}

#[cfg(test)]
mod tests {
    use freezer_io::error::code;
    use freezer_pipeline::store::Cause;

    use super::*;

    /// What becomes of a native failure that a guest passes on with more words before and behind it.
    fn passed_on(failure: native::Error) -> Option<Cause> {
        let mut error = types::Error::from(failure);
        error.message = format!("can't list: {}", error.message);
        error.code = error.code.map(|code| format!("{code} 401"));
        match reported("swift", "list", &error) {
            PluginError::Failed { cause, .. } => cause,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_the_host_noticed_comes_back_through_a_guest() {
        for (word, cause) in [
            (code::LOGIN, Cause::Login),
            (code::UNKNOWN_MACHINE, Cause::UnknownMachine),
            (code::CHANGED_MACHINE, Cause::ChangedMachine),
            (code::NO_SUCH_HOST, Cause::NoSuchHost),
            (code::NO_CONNECTION, Cause::NoConnection),
            (code::CERTIFICATE, Cause::Certificate),
        ] {
            let failure = native::Error::new(native::ErrorKind::Denied, "no").with_code(word);
            assert_eq!(passed_on(failure), Some(cause), "{word}");
        }
        assert_eq!(
            passed_on(native::Error::new(native::ErrorKind::Denied, "no")),
            None
        );
    }
}
