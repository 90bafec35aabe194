//! The help text of the original's names, made from the table of options.

use super::Era;
use super::options::{OPTIONS, Opt, Takes};

/// The whole text.
pub(super) fn text(era: Era) -> String {
    let program = era.program();
    let mut text = format!(
        "usage: {program} --action ACTION [options]\n\n\
         The original's command line, done by freezer. Its own is better: see freezer --help.\n\n\
         options:\n"
    );
    for option in OPTIONS {
        text.push_str(&line(option));
    }
    text.push_str("\nExit codes: 0 done, 1 failed, 2 wrong option or value.");
    text
}

/// One option: names on the left, help on the right.
fn line(option: &Opt) -> String {
    let value = match option.takes {
        Takes::Flag => String::new(),
        Takes::Maybe => " [VALUE]".to_owned(),
        Takes::Text => " VALUE".to_owned(),
        Takes::Integer => " NUMBER".to_owned(),
        Takes::Days => " DAYS".to_owned(),
        Takes::Size => " SIZE".to_owned(),
        Takes::Choice(choices) => format!(" {{{}}}", choices.join(",")),
    };
    let letter = option
        .short
        .map(|letter| format!("-{letter}, "))
        .unwrap_or_default();
    let names: Vec<String> = option.long.iter().map(|long| format!("--{long}")).collect();
    let left = format!("  {letter}{}{value}", names.join(", "));
    if left.len() < 30 {
        format!("{left:<30} {}\n", option.help)
    } else {
        format!("{left}\n{:31}{}\n", "", option.help)
    }
}
