//! Typed values of options: compression with level, days, pairs, storages.

use freezer_format::compression::Compression;

use crate::config::date::{DateError, DateText};
use crate::config::size::Size;

/// `zstd`, `gzip:6`: a compression and perhaps its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompressionText {
    /// Which one.
    pub(crate) compression: Compression,
    /// Its level; absent means the compression's own default.
    pub(crate) level: Option<u32>,
}

impl std::str::FromStr for CompressionText {
    type Err = String;

    fn from_str(text: &str) -> Result<CompressionText, String> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let compression = name
            .parse()
            .map_err(|_| format!("unknown compression {name:?}; use gzip, bzip2, xz, zstd or none"))?;
        let Some(level) = level else {
            return Ok(CompressionText {
                compression,
                level: None,
            });
        };
        if compression == Compression::None {
            return Err("none has no levels".to_owned());
        }
        let range = compression.levels();
        match level.parse().ok().filter(|level| range.contains(level)) {
            Some(level) => Ok(CompressionText {
                compression,
                level: Some(level),
            }),
            None => Err(format!(
                "the levels of {name} are {} to {}",
                range.start(),
                range.end()
            )),
        }
    }
}

/// A number of days, fractions allowed, not negative.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Days(pub(crate) f64);

impl std::str::FromStr for Days {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Days, &'static str> {
        match text.trim().parse::<f64>() {
            Ok(days) if days.is_finite() && days >= 0.0 => Ok(Days(days)),
            _ => Err("days are a number of at least 0, such as 30 or 0.5"),
        }
    }
}

/// Bytes a second, `-1` for as many as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateText(pub(crate) Option<u64>);

impl std::str::FromStr for RateText {
    type Err = String;

    fn from_str(text: &str) -> Result<RateText, String> {
        if ["-1", "none"].contains(&text.trim()) {
            return Ok(RateText(None));
        }
        match text.parse::<Size>() {
            Ok(Size(0)) => Err("nothing would ever move; -1 lifts the limit".to_owned()),
            Ok(Size(bytes)) => Ok(RateText(Some(bytes))),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A date before which something is old: a day alone means its beginning, other than where a backup is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BeforeText(pub(crate) DateText);

impl std::str::FromStr for BeforeText {
    type Err = DateError;

    fn from_str(text: &str) -> Result<BeforeText, DateError> {
        let text = text.trim();
        match text.parse::<DateText>()? {
            DateText::Civil(_) if !text.contains([' ', 'T', 't']) => {
                format!("{text} 00:00:00").parse().map(BeforeText)
            }
            date => Ok(BeforeText(date)),
        }
    }
}

/// `NAME=VALUE`, a setting of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PairText {
    /// The setting's name.
    pub(crate) name: String,
    /// Its value, as written.
    pub(crate) value: String,
}

impl std::str::FromStr for PairText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<PairText, &'static str> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(PairText {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("a setting is written NAME=VALUE"),
        }
    }
}

/// `scheme:rest`, a storage's URL or `NAME:` of one in the configuration file. The rest may hold any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageText(pub(crate) String);

impl std::str::FromStr for StorageText {
    type Err = String;

    fn from_str(text: &str) -> Result<StorageText, String> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let valid = scheme.is_some_and(|scheme| {
            !scheme.is_empty()
                && scheme
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        });
        if valid {
            return Ok(StorageText(text.to_owned()));
        }
        if text.starts_with(['/', '.', '~']) {
            return Err(format!("a directory is written local:{text}"));
        }
        Err(
            "a storage is written SCHEME:PLACE, such as local:/srv/backups, or NAME: of the configuration file"
                .into(),
        )
    }
}

/// Which links a backup follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DereferenceText {
    /// Keep symbolic and hard links as links
    None,
    /// Store what symbolic links point to
    Soft,
    /// Store hard links as files of their own
    Hard,
    /// Both
    All,
}

/// What the failure of one of several storages means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StorageFailureText {
    /// Go on as long as one storage is left
    Continue,
    /// End the run
    Abort,
}

/// Which plugins run in processes of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum IsolateText {
    /// None, unless a policy wants it
    None,
    /// Those that didn't come with freezer
    Foreign,
    /// All
    All,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("zstd", Compression::Zstd, None)]
    #[case("gzip:9", Compression::Gzip, Some(9))]
    #[case("none", Compression::None, None)]
    fn compressions_take_a_level(
        #[case] text: &str,
        #[case] compression: Compression,
        #[case] level: Option<u32>,
    ) {
        assert_eq!(text.parse(), Ok(CompressionText { compression, level }));
    }

    #[rstest]
    #[case("lzma")]
    #[case("gzip:")]
    #[case("gzip:99")]
    #[case("gzip:-1")]
    #[case("none:1")]
    fn unknown_compressions_and_levels_are_refused(#[case] text: &str) {
        assert!(text.parse::<CompressionText>().is_err());
    }

    #[rstest]
    #[case("0", true)]
    #[case("0.5", true)]
    #[case("-1", false)]
    #[case("NaN", false)]
    #[case("inf", false)]
    fn days_are_finite_and_not_negative(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<Days>().is_ok(), good);
    }

    #[rstest]
    #[case("-1", Ok(RateText(None)))]
    #[case("10M", Ok(RateText(Some(10 << 20))))]
    #[case("1.5kibi", Ok(RateText(Some(1536))))]
    #[case("0", Err("nothing would ever move; -1 lifts the limit"))]
    #[case("5X", Err("unknown unit \"x\"; units are B K M G T P E (powers of 1024)"))]
    fn rates_have_the_original_s_units(#[case] text: &str, #[case] rate: Result<RateText, &str>) {
        assert_eq!(text.parse::<RateText>(), rate.map_err(str::to_owned));
    }

    #[test]
    fn a_bare_directory_is_told_how_to_be_a_storage() {
        assert_eq!(
            "/srv/b".parse::<StorageText>(),
            Err("a directory is written local:/srv/b".to_owned())
        );
        assert!("local:/srv/b".parse::<StorageText>().is_ok());
        assert!("nas:".parse::<StorageText>().is_ok());
        assert!(":x".parse::<StorageText>().is_err());
    }
}
