//! `exec`: runs a command, or a pipeline of commands, as an action of its own.
//!
//! No shell: arguments are what was written. The original splits its one line at `|` and at blanks and knows no
//! quotes; [`split_pipeline`] does the same, but blanks around a `|` make no empty arguments. Of a pipeline the status of
//! the last command counts.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use crate::hooks::CommandEnd;
use crate::process_group::{self, Stops};

/// Where the outputs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecOutput {
    /// To those of this process.
    Inherited,
    /// Line by line to the caller.
    Heard,
}

/// Runs `commands`, each a program with its arguments, each one's output the next one's input. The first reads nothing.
pub fn exec(
    commands: &[Vec<OsString>],
    output: ExecOutput,
    hidden: &[String],
    stops: Stops<'_>,
    said: &mut dyn FnMut(&str),
) -> CommandEnd {
    let mut prepared = Vec::with_capacity(commands.len());
    for words in commands {
        let Some((program, arguments)) = words.split_first() else {
            return CommandEnd::NotStarted("a command of the pipeline is empty".to_owned());
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        if output == ExecOutput::Heard {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        for name in hidden {
            command.env_remove(name);
        }
        prepared.push(command);
    }
    CommandEnd::of(process_group::run(prepared, &[], stops, said), stops.time_limit)
}

/// The commands of a line as the original reads it.
#[must_use]
pub fn split_pipeline(line: &str) -> Vec<Vec<OsString>> {
    let words = |part: &str| part.split_whitespace().map(OsString::from).collect();
    line.split('|').map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_pipeline::cancel::Cancel;
    use rstest::rstest;

    fn run(line: &str) -> (CommandEnd, Vec<String>) {
        let (cancel, at_once) = (Cancel::new(), Cancel::new());
        let stops = Stops {
            time_limit: None,
            cancel: &cancel,
            at_once: &at_once,
        };
        let mut lines = Vec::new();
        let end = exec(
            &split_pipeline(line),
            ExecOutput::Heard,
            &[],
            stops,
            &mut |line| {
                lines.push(line.to_owned());
            },
        );
        (end, lines)
    }

    #[rstest]
    #[case("echo a b", CommandEnd::Status(0), &["a b"])]
    #[case("echo 'a  b'", CommandEnd::Status(0), &["'a b'"])]
    #[case("printf a|wc -c", CommandEnd::Status(0), &["1"])]
    #[case("false | true", CommandEnd::Status(0), &[])]
    #[case("true | false", CommandEnd::Status(1), &[])]
    #[case("echo $HOME", CommandEnd::Status(0), &["$HOME"])]
    fn a_line_runs_as_the_original_reads_it(
        #[case] line: &str,
        #[case] end: CommandEnd,
        #[case] said: &[&str],
    ) {
        let (found, lines) = run(line);
        assert_eq!(
            (found, lines.iter().map(String::as_str).collect::<Vec<_>>()),
            (end, said.to_vec())
        );
    }

    #[test]
    fn what_can_not_be_started_is_said() {
        let (end, _) = run("sleep 300 | /no/such/program");
        assert!(matches!(end, CommandEnd::NotStarted(_)), "{end:?}");
        assert_eq!(
            run("true | | true").0,
            CommandEnd::NotStarted("a command of the pipeline is empty".to_owned())
        );
    }
}
