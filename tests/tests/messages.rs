//! Every error message stands in a transcript, as people see it, or in `messages/unreached.txt`, with the reason why none can
//! reach it and the test that shows it instead.
//!
//! The messages are read from the source: the text of each `#[error("…")]` of the host's crates, and what the command line
//! says by itself. What stands in braces there may be anything here; texts that are nothing else belong to who fills them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use freezer_tests::{workspace, workspace_files};

/// Where messages are made, and how they begin in the source there.
const MAKERS: [(&str, &str); 5] = [
    ("host", "#[error("),
    ("host/agent/src", "reason: "),
    ("host/cli/src", "Failure::usage("),
    ("host/cli/src", "Failure::new("),
    ("host/cli/src/compat", "failed("),
];

/// What no transcript can reach: the message as it is in the source, then `  why: REASON`, then `  test: NAME` or, for
/// what is never shown or can't be provoked, `  test: none`.
const UNREACHED: &str = "tests/tests/messages/unreached.txt";

/// A message without a piece of this many letters is made of what is put into it.
const SAYING: usize = 3;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The string literal that `text` begins with, as the compiler reads it.
fn literal(text: &str) -> Option<String> {
    let mut letters = text.strip_prefix('"')?.chars();
    let mut literal = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(literal),
            '\\' => match letters.next()? {
                '\n' => letters = letters.as_str().trim_start().chars(),
                letter => literal.push(letter),
            },
            letter => literal.push(letter),
        }
    }
}

/// All messages of the host's crates.
fn messages() -> BTreeSet<String> {
    let mut messages = BTreeSet::new();
    for (folder, maker) in MAKERS {
        let tests = ["/tests/", "/tests.rs", "/golden.rs"];
        let of_product = |path: &PathBuf| !tests.iter().any(|name| path.to_string_lossy().contains(name));
        for path in workspace_files(folder, ".rs").into_iter().filter(of_product) {
            let text = read(&path);
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for arguments in code.split(maker).skip(1) {
                let text = arguments.trim_start();
                let text = match text.strip_prefix("Exit::") {
                    Some(exit) => exit.split_once(',').map_or("", |(_, text)| text.trim_start()),
                    None => text,
                };
                messages.extend(literal(
                    text.strip_prefix("format!(").unwrap_or(text).trim_start(),
                ));
            }
        }
    }
    messages.retain(|message| pieces(message).iter().any(|piece| piece.trim().len() >= SAYING));
    messages
}

/// What stands between the holes of a message, with an empty piece where it begins or ends with a hole.
fn pieces(message: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut letters = message.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_doubled = letters.peek() == Some(&letter);
        match letter {
            '{' if !is_doubled => {
                letters.by_ref().find(|letter| *letter == '}');
                pieces.push(String::new());
            }
            letter => {
                letters.next_if(|_| "{}".contains(letter));
                pieces.last_mut().expect("there is one").push(letter);
            }
        }
    }
    pieces
}

/// Whether a line holds a message, from its first word to its last.
fn holds(line: &str, pieces: &[String]) -> bool {
    let begins = line.match_indices(pieces[0].as_str()).map(|(begin, _)| begin);
    begins.into_iter().any(|begin| {
        let before = &line[..begin];
        // Behind a cause, in brackets, or behind the key or path that it speaks of.
        let stands = before.is_empty() || [": ", "(", "\" "].iter().any(|mark| before.ends_with(mark));
        let starts = pieces[0].is_empty() || stands;
        let end = pieces.iter().try_fold(begin, |at, piece| {
            line[at..]
                .find(piece.as_str())
                .map(|found| at + found + piece.len())
        });
        let ends_in_hole = pieces.last().is_none_or(String::is_empty);
        starts && end.is_some_and(|end| ends_in_hole || !line[end..].starts_with(char::is_alphanumeric))
    })
}

/// The lines that transcripts show.
fn shown() -> Vec<String> {
    let transcripts = workspace_files("tests/cli", ".trycmd");
    let blocks = transcripts.iter().flat_map(|path| {
        let text = read(path);
        let blocks = text.split("```").skip(1).step_by(2);
        blocks.map(str::to_owned).collect::<Vec<_>>()
    });
    let lines = blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| !line.starts_with("$ ")).collect()
}

/// A message that no transcript reaches.
struct Unreached {
    message: String,
    test: String,
}

fn unreached() -> Vec<Unreached> {
    let text = read(&workspace().join(UNREACHED));
    let entries = text
        .split("\n\n")
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let mut lines = entry.lines();
            let message = lines.next().unwrap_or_default().to_owned();
            let mut line = |key: &str| {
                let value = lines.next().and_then(|line| line.strip_prefix(key));
                value
                    .unwrap_or_else(|| panic!("{entry}\nhas no line {key:?}"))
                    .to_owned()
            };
            line("  why: ");
            Unreached {
                message,
                test: line("  test: "),
            }
        })
        .collect()
}

/// Whether one of these sources has a test of this name and says each piece of the message.
fn is_shown_by(test: &str, pieces: &[String], sources: &[String]) -> bool {
    let test = format!("#[test]\nfn {test}()");
    let has_it = |source: &&String| source.contains(&test);
    sources
        .iter()
        .filter(has_it)
        .any(|source| pieces.iter().all(|piece| source.contains(piece.trim())))
}

#[test]
fn each_stands_in_a_transcript_or_says_why_not() {
    let (messages, shown, unreached) = (messages(), shown(), unreached());
    let is_shown = |message: &str| {
        let pieces = pieces(message);
        shown.iter().any(|line| holds(line, &pieces))
    };
    let mut wrong = String::new();
    for message in messages.iter().filter(|message| !is_shown(message)) {
        if !unreached.iter().any(|entry| entry.message == *message) {
            writeln!(wrong, "in no transcript: {message}").expect("text");
        }
    }
    let sources: Vec<String> = workspace_files("host", ".rs")
        .into_iter()
        .chain(workspace_files("tests/tests", ".rs"))
        .map(|path| {
            // As the compiler reads them, and without the attributes between a test and its name.
            let lines = read(&path).replace("\\\"", "\"");
            let mut joined = lines.split("\\\n").map(str::trim_start);
            let first = joined.next().unwrap_or_default().to_owned();
            let text = joined.fold(first, |text, piece| text + piece);
            let kept = text
                .lines()
                .map(str::trim_start)
                .filter(|line| !line.starts_with("#[expect("));
            kept.collect::<Vec<_>>().join("\n")
        })
        .collect();
    for Unreached { message, test } in &unreached {
        if !messages.contains(message) {
            writeln!(wrong, "says nobody any more: {message}").expect("text");
        } else if is_shown(message) {
            writeln!(wrong, "stands in a transcript after all: {message}").expect("text");
        } else if test != "none" && !is_shown_by(test, &pieces(message), &sources) {
            writeln!(wrong, "not said by a test {test}: {message}").expect("text");
        }
    }
    assert!(
        wrong.is_empty(),
        "\n{wrong}\nWrite a transcript (tests/cli), or what is missing in {UNREACHED}."
    );
}

#[test]
fn a_message_is_found_whole_or_not_at_all() {
    let pieces = pieces("can't {action} {path:?} in {{this}}: {0} bytes");
    assert_eq!(pieces, ["can't ", " ", " in {this}: ", " bytes"]);
    assert!(holds("cause: can't read \"a\" in {this}: 3 bytes, so", &pieces));
    assert!(!holds("cause: can't read \"a\" in {this}: 3 bytesize", &pieces));
    assert!(!holds("cause: can't read \"a\"", &pieces));
    assert_eq!(
        literal("\"a\\\n   b \\\"c\\\"\", rest").as_deref(),
        Some("ab \"c\"")
    );
}
