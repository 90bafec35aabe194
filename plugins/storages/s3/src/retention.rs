//! What new objects get besides their bytes: a storage class, and a lock until a day.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use freezer_sdk::error::{Error, Result};
use freezer_sdk::settings::Settings;

/// Longest lock: a hundred years are no backup's age but a mistake that nobody can undo.
const LONGEST_DAYS: i64 = 36_500;
const DAY: u64 = 24 * 60 * 60;

/// Headers for new objects.
#[derive(Debug)]
pub(crate) struct Retention {
    storage_class: Option<String>,
    /// Mode as in the header, and for how long.
    lock: Option<(&'static str, Duration)>,
}

impl Retention {
    /// Understands the settings.
    ///
    /// # Errors
    /// `invalid`, naming the setting.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let storage_class = settings
            .optional_text("storage-class")?
            .filter(|class| !class.is_empty());
        if storage_class.is_some_and(|class| {
            !class
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }) {
            return Err(Error::invalid(
                "storage-class: it must be a word such as STANDARD_IA",
            ));
        }
        let mode = settings.optional_text("object-lock-mode")?;
        let days = settings.integer("object-lock-days")?;
        let lock = match (mode, days) {
            (None, None) => None,
            (Some(mode), Some(days)) => Some((parse_mode(mode)?, parse_days(days)?)),
            (Some(_), None) => {
                return Err(Error::invalid(
                    "object-lock-days: it is missing, object-lock-mode needs it",
                ));
            }
            (None, Some(_)) => {
                return Err(Error::invalid(
                    "object-lock-mode: it is missing, object-lock-days needs it",
                ));
            }
        };
        Ok(Retention {
            storage_class: storage_class.map(str::to_owned),
            lock,
        })
    }

    /// For an object of any size that begins to exist now.
    ///
    /// # Errors
    /// `invalid` if the clock is out of all reason.
    pub(crate) fn headers(&self, now: SystemTime) -> Result<Vec<(&'static str, String)>> {
        let Some((mode, period)) = self.lock else {
            return Ok(Vec::new());
        };
        let until = now
            .checked_add(period)
            .map(DateTime::from)
            .map(|date| DateTime::from_secs(date.secs()));
        let until = until.and_then(|date| date.fmt(Format::DateTime).ok());
        let until = until.ok_or_else(|| Error::invalid("this machine's clock makes no sense"))?;
        Ok(vec![
            ("x-amz-object-lock-mode", mode.to_owned()),
            ("x-amz-object-lock-retain-until-date", until),
        ])
    }

    /// For a large object. Small ones stay in the standard class: they are read by every run, and other classes charge for a
    /// least size.
    ///
    /// # Errors
    /// As [`Retention::headers`].
    pub(crate) fn headers_of_large(&self, now: SystemTime) -> Result<Vec<(&'static str, String)>> {
        let mut headers = self.headers(now)?;
        headers.extend(
            self.storage_class
                .iter()
                .map(|class| ("x-amz-storage-class", class.clone())),
        );
        Ok(headers)
    }
}

fn parse_mode(mode: &str) -> Result<&'static str> {
    match mode.to_ascii_lowercase().as_str() {
        "governance" => Ok("GOVERNANCE"),
        "compliance" => Ok("COMPLIANCE"),
        _ => Err(Error::invalid(
            "object-lock-mode: it must be governance or compliance",
        )),
    }
}

fn parse_days(days: i64) -> Result<Duration> {
    let days = u64::try_from(days)
        .ok()
        .filter(|days| (1..=LONGEST_DAYS as u64).contains(days));
    let days =
        days.ok_or_else(|| Error::invalid(format!("object-lock-days: it must be 1 to {LONGEST_DAYS}")))?;
    Ok(Duration::from_secs(days * DAY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::settings::SettingValue;

    fn retention(settings: &[(&str, SettingValue)]) -> Result<Retention> {
        Retention::new(&Settings::new(settings.iter().cloned()))
    }

    fn text(text: &str) -> SettingValue {
        SettingValue::Text(text.into())
    }

    #[test]
    fn a_lock_counts_from_now() {
        let settings = [
            ("object-lock-mode", text("Governance")),
            ("object-lock-days", SettingValue::Integer(30)),
            ("storage-class", text("STANDARD_IA")),
        ];
        let retention = retention(&settings).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let lock = [
            ("x-amz-object-lock-mode", "GOVERNANCE".to_owned()),
            (
                "x-amz-object-lock-retain-until-date",
                "2023-12-14T22:13:20Z".to_owned(),
            ),
        ];
        assert_eq!(retention.headers(now).unwrap(), lock);
        let large = retention.headers_of_large(now).unwrap();
        assert_eq!(large[..2], lock);
        assert_eq!(large[2..], [("x-amz-storage-class", "STANDARD_IA".to_owned())]);
    }

    #[test]
    fn nothing_is_added_unasked() {
        let retention = retention(&[]).unwrap();
        assert!(
            retention
                .headers_of_large(SystemTime::UNIX_EPOCH)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn half_a_lock_or_a_foolish_one_is_refused_by_name() {
        let mode = ("object-lock-mode", text("compliance"));
        let days = |days| ("object-lock-days", SettingValue::Integer(days));
        let cases = [
            (vec![mode.clone()], "object-lock-days"),
            (vec![days(3)], "object-lock-mode"),
            (
                vec![("object-lock-mode", text("forever")), days(3)],
                "object-lock-mode",
            ),
            (vec![mode.clone(), days(0)], "object-lock-days"),
            (vec![mode.clone(), days(-1)], "object-lock-days"),
            (vec![mode, days(LONGEST_DAYS + 1)], "object-lock-days"),
            (vec![("storage-class", text("A\nB"))], "storage-class"),
        ];
        for (settings, name) in cases {
            let error = retention(&settings).unwrap_err();
            assert!(error.message.starts_with(name), "{error}");
        }
    }
}
