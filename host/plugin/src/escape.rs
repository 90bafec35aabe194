//! Makes a plugin's text fit for people: one line, bounded, no control characters.
//!
//! A terminal obeys escape sequences, so text from a guest or from a component's file never reaches a message, a log
//! or a manifest without passing here.

use std::fmt::Write;

/// The longest text that a plugin may put into an error or a log line, in bytes.
pub(crate) const MAX_LINE: usize = 4096;

/// Cuts `text` to `max` bytes of output and shows control and direction-changing characters as escapes.
pub(crate) fn line(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for letter in text.trim_end().chars() {
        let before = out.len();
        match letter {
            '\t' => out.push(' '),
            letter if is_harmful(letter) => {
                // Writing to a string can't fail.
                let _infallible = write!(out, "{}", letter.escape_unicode());
            }
            letter => out.push(letter),
        }
        if out.len() > max {
            out.truncate(before);
            out.push('…');
            break;
        }
    }
    out
}

fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn escapes_and_cuts() {
        assert_eq!(line("red \u{1b}[31m\ntext\n", 100), "red \\u{1b}[31m\\u{a}text");
        assert_eq!(line("right\u{202e}left", 100), "right\\u{202e}left");
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(line("äöü", 3), "ä…");
        assert!(line(&"\u{1b}".repeat(1 << 20), 4096).len() < 4096 + 8);
    }
}
