//! How the original says that something went wrong, and with which exit code.

use std::path::Path;

use super::Era;
use crate::exit::{Exit, Failure};
use crate::render::text;

/// A failure as the original prints it: `Critical Error: …`, or its parser's words for a wrong option.
pub(crate) fn in_original_words(era: Era, failure: &Failure) -> String {
    let program = era.program();
    if failure.exit == Exit::Usage {
        return format!(
            "usage: {program} --action ACTION [options]\n{program}: error: {}",
            text::lines(&failure.message)
        );
    }
    // The help text, which a call without options prints, is no message.
    if failure.message.starts_with("usage: ") {
        return failure.message.clone();
    }
    let mut words = format!("Critical Error: {}", text::lines(&failure.message));
    for cause in &failure.causes {
        words.push_str(&format!("\ncause: {}", text::lines(cause)));
    }
    for next in &failure.next {
        words.push_str(&format!("\nnext: {}", text::lines(next)));
    }
    words
}

/// The original's words for a restore directory that holds something: scripts match on them.
pub(crate) fn target_not_empty(path: &Path) -> String {
    format!(
        "Restore dir is not empty. Please use --overwrite or provide different path or remove the content of {}",
        path.display()
    )
}

/// The original's exit codes: 0, 2 for a wrong option or value, 1 for everything else.
pub(crate) fn exit_code(exit: Exit) -> u8 {
    match exit {
        Exit::Ok => 0,
        Exit::Usage => 2,
        Exit::Failed | Exit::Partial | Exit::NothingFound | Exit::Damaged | Exit::Interrupted => 1,
    }
}
