//! What surrounds a backup: hooks, and the kernel's buffered memory.

use std::time::Duration;

use clap::ValueEnum;

/// Commands around a backup.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Hooks")]
pub(crate) struct HookArgs {
    /// Run this with sh -c first; if it fails nothing is read and the backup isn't made. Each hook may be given several
    /// times, and is told the facts as JSON on its standard input
    #[arg(long, value_name = "CMD")]
    pub(crate) hook_before: Vec<String>,
    /// Run this after a backup that is whole (exit code 0)
    #[arg(long, value_name = "CMD")]
    pub(crate) hook_on_success: Vec<String>,
    /// Run this if the backup failed, is partial or was interrupted, or a hook before it failed
    #[arg(long, value_name = "CMD")]
    pub(crate) hook_on_failure: Vec<String>,
    /// Run this at the end, whatever came of it
    #[arg(long, value_name = "CMD")]
    pub(crate) hook_after: Vec<String>,
    /// Kill a hook, and all that it started, after this time: 90s, 30m, 2h; 0 for never [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub(crate) hook_timeout: Option<LimitText>,
}

/// What is done to the kernel's buffered memory.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Resources")]
pub(crate) struct MemoryArgs {
    /// Have the kernel write its buffered memory to all disks first, as sync(1). Files are read right without it; it
    /// may take minutes while others write
    #[arg(long, overrides_with = "no_sync")]
    pub(crate) sync: bool,
    /// Don't, whatever the configuration file says; this is the default
    #[arg(long, overrides_with = "sync")]
    pub(crate) no_sync: bool,
    /// Give the kernel's buffered memory back: read = that of each file after it was read, at the price that others who
    /// use the same files read them from disk again; all = also, before anything is read, that of the whole machine
    /// (root only), which slows down everybody for a while
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) drop_caches: Option<DropCachesText>,
}

/// What memory is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DropCachesText {
    /// None.
    None,
    /// That of files that were read.
    Read,
    /// That, and all of the machine's first.
    All,
}

/// A limit of time; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitText(pub(crate) Option<Duration>);

impl std::str::FromStr for LimitText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<LimitText, &'static str> {
        const WRONG: &str = "a time is a number with s, m, h or d, such as 90s or 2h; 0 for no limit";
        let text = text.trim();
        let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
        let factor = match &text[digits.len()..] {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(WRONG),
        };
        let number: u32 = digits.parse().map_err(|_| WRONG)?;
        let seconds = u64::from(number) * factor;
        Ok(LimitText((seconds > 0).then(|| Duration::from_secs(seconds))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", Some(None))]
    #[case("0s", Some(None))]
    #[case("90", Some(Some(90)))]
    #[case("90s", Some(Some(90)))]
    #[case("30m", Some(Some(1800)))]
    #[case("2h", Some(Some(7200)))]
    #[case("1d", Some(Some(86_400)))]
    #[case("", None)]
    #[case("h", None)]
    #[case("-1s", None)]
    #[case("1.5h", None)]
    #[case("1w", None)]
    #[case("99999999999", None)]
    fn a_time_is_read(#[case] text: &str, #[case] seconds: Option<Option<u64>>) {
        let read = text.parse::<LimitText>().ok();
        assert_eq!(read.map(|limit| limit.0.map(|limit| limit.as_secs())), seconds);
    }
}
