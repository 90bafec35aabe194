//! Everything the user sees: results on standard output, everything else on standard error.
//!
//! One [`Output`] knows how to speak: text, one JSON document, or the original's way. A reader
//! that closed its end is no error: the work goes on and nothing more is said there.

pub(crate) mod copies;
pub(crate) mod json;
pub(crate) mod listing;
pub(crate) mod plugins;
pub(crate) mod progress;
pub(crate) mod storages;
pub(crate) mod retention;
pub(crate) mod said;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod units;
pub(crate) mod usage;

use std::io::{ErrorKind, Write};

use serde_json::Value;

use self::said::Said;
use crate::compat::{self, Era};
use crate::exit::{Exit, Failure};

/// How results and errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// For people.
    Text,
    /// One JSON document on standard output.
    Json,
    /// As the original did.
    Original(Era),
}

/// The way to the user.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// How to speak.
    pub(crate) style: Style,
    /// Say only results and errors.
    pub(crate) quiet: bool,
    /// The verb's name, for JSON documents.
    pub(crate) verb: &'static str,
    /// Standard output carries something else (a file's content), so that documents go to standard error.
    pub(crate) stdout_is_content: bool,
    /// What a document can't say on standard error.
    pub(crate) said: Said,
}

impl Output {
    /// Prints a result for people, with a line end.
    ///
    /// # Errors
    /// When standard output can't be written for another reason than a closed reader.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        self.print_raw(line.as_bytes())
    }

    /// Prints bytes to standard output as they are.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub(crate) fn print_raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
    }

    /// Says something on standard error, unless quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.insist(text);
        }
    }

    /// Says something on standard error even if quiet: what changes the exit code.
    pub(crate) fn insist(&self, text: &str) {
        match self.style {
            Style::Json => self.said.add(text),
            _ => complain(text),
        }
    }

    /// True if a progress line may be shown on a terminal.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && self.style == Style::Text
    }

    /// Warns on standard error, unless quiet. Documents carry their warnings inside.
    pub(crate) fn warn(&self, text: &str) {
        self.note(&format!("warning: {text}"));
    }

    /// Ends a verb that succeeded, perhaps in part: prints its document in JSON style.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub(crate) fn finish(&self, exit: Exit, result: Value) -> Result<(), Failure> {
        if self.style != Style::Json {
            return Ok(());
        }
        let document = json::result(self.verb, exit, result, self.said.lines());
        if self.stdout_is_content {
            complain(&document);
            return Ok(());
        }
        self.print(&document)
    }

    /// Tells a failure, in the style asked for, and answers the process's exit code.
    pub(crate) fn fail(&self, failure: &Failure) -> u8 {
        match self.style {
            Style::Text => complain(&failure_text(failure)),
            Style::Json => self.fail_in_json(failure),
            Style::Original(era) => {
                if !self.quiet {
                    complain(&compat::in_original_words(era, failure));
                }
                return compat::exit_code(failure.exit);
            }
        }
        failure.exit.code()
    }

    fn fail_in_json(&self, failure: &Failure) {
        let document = json::failure(self.verb, failure, self.said.lines());
        // If standard output can't take the document, standard error may.
        if self.stdout_is_content || self.print(&document).is_err() {
            complain(&document);
        }
    }
}

/// A failure for people: `error`, each `cause` once, each `next`.
pub(crate) fn failure_text(failure: &Failure) -> String {
    let mut text = format!("error: {}", text::lines(&failure.message));
    for cause in &failure.causes {
        text.push_str(&format!("\ncause: {}", text::lines(cause)));
    }
    for next in &failure.next {
        text.push_str(&format!("\nnext: {}", text::lines(next)));
    }
    text
}

/// Judges a write to standard output: a closed reader ends quietly.
///
/// # Errors
/// When it can't be written for another reason.
pub(crate) fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, "can't write to standard output")
                .because(error.to_string())
                .advise("check where the output goes: room, permissions"))
        }
        _ => Ok(()),
    }
}

/// True if a failure comes from nothing but a reader that closed its end.
pub(crate) fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// Writes a line to standard error. There is no one left to tell if that fails.
pub(crate) fn complain(text: &str) {
    let mut line = String::with_capacity(text.len() + 1);
    line.push_str(text);
    line.push('\n');
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_what_why_and_what_next() {
        let failure = Failure::new(Exit::Damaged, "segment 3 is missing")
            .because("404 from the object store")
            .because("404 from the object store")
            .advise("copy the segment back");
        assert_eq!(
            failure_text(&failure),
            "error: segment 3 is missing\ncause: 404 from the object store\nnext: copy the segment back"
        );
    }

    #[test]
    fn terminal_escapes_in_a_message_are_shown_not_sent() {
        let failure = Failure::new(Exit::Failed, "bad \u{1b}[2Jname");
        assert_eq!(failure_text(&failure), "error: bad \\x1b[2Jname");
    }
}
