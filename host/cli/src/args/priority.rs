//! How much of processors and disks a run may take: options of every verb.

use freezer_agent::IoClass;

/// Priorities.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct PriorityArgs {
    /// Run at this priority, -20 (before all others) to 19 (after them); hooks and commands inherit it
    #[arg(long, global = true, value_name = "N", allow_hyphen_values = true, value_parser = nice)]
    pub(crate) nice: Option<i32>,
    /// Read and write at this priority: idle, best-effort or realtime, the latter two with an optional :LEVEL of 0
    /// (first) to 7; hooks and commands inherit it. Disks without a scheduler for that ignore it
    #[arg(long, global = true, value_name = "CLASS[:LEVEL]")]
    pub(crate) ionice: Option<IoClassText>,
    /// As --nice=-19 --ionice realtime:0, which slows others down and which only root may. What the system refuses is
    /// said, and the run goes on without
    #[arg(long, global = true, conflicts_with_all = ["nice", "ionice"])]
    pub(crate) max_priority: bool,
}

fn nice(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(nice) if (-20..=19).contains(&nice) => Ok(nice),
        _ => Err("a priority is a number from -20 to 19".to_owned()),
    }
}

/// A class and perhaps its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IoClassText(pub(crate) IoClass);

/// The level that the kernel gives to whoever names none.
const USUAL_LEVEL: u8 = 4;

impl std::str::FromStr for IoClassText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<IoClassText, &'static str> {
        let (class, level) = match text.split_once(':') {
            Some((class, level)) => (class, Some(level)),
            None => (text, None),
        };
        let level = match level.map(str::parse::<u8>) {
            None => None,
            Some(Ok(level)) if level <= 7 => Some(level),
            Some(_) => return Err("the levels are 0 (first) to 7"),
        };
        match (class, level) {
            ("idle" | "3", None) => Ok(IoClassText(IoClass::Idle)),
            ("idle" | "3", Some(_)) => Err("idle has no levels"),
            ("best-effort" | "2", level) => {
                Ok(IoClassText(IoClass::BestEffort(level.unwrap_or(USUAL_LEVEL))))
            }
            ("realtime" | "1", level) => Ok(IoClassText(IoClass::Realtime(level.unwrap_or(USUAL_LEVEL)))),
            _ => Err("the classes are idle, best-effort and realtime"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("idle", Ok(IoClass::Idle))]
    #[case("3", Ok(IoClass::Idle))]
    #[case("best-effort", Ok(IoClass::BestEffort(4)))]
    #[case("best-effort:7", Ok(IoClass::BestEffort(7)))]
    #[case("realtime:0", Ok(IoClass::Realtime(0)))]
    #[case("idle:1", Err("idle has no levels"))]
    #[case("best-effort:8", Err("the levels are 0 (first) to 7"))]
    #[case("best-effort:", Err("the levels are 0 (first) to 7"))]
    #[case("none", Err("the classes are idle, best-effort and realtime"))]
    fn a_class_is_read(#[case] text: &str, #[case] class: Result<IoClass, &str>) {
        assert_eq!(text.parse::<IoClassText>().map(|text| text.0), class);
    }

    #[rstest]
    #[case("-20", true)]
    #[case("19", true)]
    #[case("20", false)]
    #[case("low", false)]
    fn a_priority_is_within_the_kernel_s_range(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(nice(text).is_ok(), valid);
    }
}
