//! Judges `freezer exec`, and the priorities that every verb runs at.

use freezer_agent::Priority;

use super::layer::Layer;
use crate::args::{ExecArgs, PriorityArgs};
use crate::command::Exec;

/// Judges the options of `exec`.
pub(super) fn exec(args: ExecArgs) -> Exec {
    Exec {
        commands: vec![args.command],
        time_limit: args.timeout.and_then(|limit| limit.0),
    }
}

/// The priority of a run: the command line's, else the configuration file's.
pub(crate) fn priority(args: &PriorityArgs, defaults: &Layer) -> Priority {
    let asks = args.nice.is_some() || args.ionice.is_some();
    let highest = args.max_priority || (!asks && defaults.max_priority.unwrap_or(false));
    if highest {
        return Priority::HIGHEST;
    }
    Priority {
        nice: args.nice.or(defaults.nice),
        io: args.ionice.or(defaults.ionice).map(|class| class.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::IoClassText;
    use freezer_agent::IoClass;

    #[test]
    fn the_command_line_overrules_the_file_also_from_highest_to_lower() {
        let file = Layer {
            max_priority: Some(true),
            ionice: Some(IoClassText(IoClass::Idle)),
            ..Layer::default()
        };
        assert_eq!(priority(&PriorityArgs::default(), &file), Priority::HIGHEST);
        let args = PriorityArgs {
            nice: Some(10),
            ..PriorityArgs::default()
        };
        let lower = Priority {
            nice: Some(10),
            io: Some(IoClass::Idle),
        };
        assert_eq!(priority(&args, &file), lower);
    }
}
