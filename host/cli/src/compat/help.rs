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

/// The manual page, in roff.
pub(crate) fn page(era: Era) -> String {
    let program = roff(era.program());
    let mut page = format!(
        ".TH {} 1 \"\" \"freezer {}\" Freezer\n.SH NAME\n{program} \\- the command line of OpenStack Freezer, done by freezer\n\
         .SH SYNOPSIS\n\\fB{program}\\fR \\-\\-action ACTION [options]\n.SH DESCRIPTION\n\
         Takes the original's options, by dashes or underscores, and its ini files with \\-\\-config. The command line \
         wins over the ini file. See freezer(1) for freezer's own command line.\n.SH OPTIONS\n",
        era.program().to_uppercase(),
        env!("CARGO_PKG_VERSION"),
    );
    for option in OPTIONS {
        page.push_str(&format!(".TP\n{}\n{}\n", roff(&names(option)), roff(option.help)));
    }
    page.push_str(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong option or value.\n");
    page
}

/// Text that roff shows as it is.
fn roff(text: &str) -> String {
    text.replace('\\', "\\\\").replace('-', "\\-")
}

/// One option: names on the left, help on the right.
fn line(option: &Opt) -> String {
    let left = format!("  {}", names(option));
    if left.len() < 30 {
        format!("{left:<30} {}\n", option.help)
    } else {
        format!("{left}\n{:31}{}\n", "", option.help)
    }
}

/// An option's names and its value.
fn names(option: &Opt) -> String {
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
    format!("{letter}{}{value}", names.join(", "))
}
