//! The end of what a command says on standard error, made fit for people.

use std::collections::VecDeque;
use std::fmt::Write;
use std::io::Read;

/// How much of it is kept: enough for the last messages, little enough to keep for each command.
const KEPT_BYTES: usize = 16 << 10;

/// The last bytes that came.
#[derive(Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(KEPT_BYTES)..];
        let excess = (self.0.len() + new.len()).saturating_sub(KEPT_BYTES);
        self.0.drain(..excess);
        self.0.extend(new);
    }

    /// The text; lines stay lines, everything else that a terminal would obey is shown as an escape.
    pub(super) fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let mut text = String::new();
        for letter in String::from_utf8_lossy(&bytes).trim_end().chars() {
            match letter {
                '\n' => text.push('\n'),
                '\t' => text.push(' '),
                '\r' => {}
                letter if letter.is_control() || is_turning(letter) => {
                    // Writing to a string can't fail.
                    let _infallible = write!(text, "{}", letter.escape_unicode());
                }
                letter => text.push(letter),
            }
        }
        text
    }
}

/// Characters that change the direction of text, or break lines where a reader doesn't expect it.
fn is_turning(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Reads to the end; `take` gets each piece.
pub(super) fn drain(mut from: impl Read, mut take: impl FnMut(&[u8])) {
    let mut piece = [0; 4096];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => take(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // A pipe that can't be read has nothing to say any more.
            Err(_) => return,
        }
    }
}

/// The last lines of a text on one line, for a message.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    last.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept_and_it_cannot_steer_a_terminal() {
        let mut tail = Tail::default();
        tail.push(&vec![b'x'; KEPT_BYTES * 3]);
        tail.push(b"\x1b[31mred\r\nlast\xff\n");
        let text = tail.text();
        assert!(text.ends_with("\\u{1b}[31mred\nlast\u{fffd}"), "{text:?}");
        assert!(text.starts_with("xxx") && text.len() < KEPT_BYTES + 16);
        assert_eq!(last_lines("a\n\nb\nc\nd"), "b; c; d");
    }
}
