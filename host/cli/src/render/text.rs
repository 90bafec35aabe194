//! Names and messages made safe to show: control characters and bytes that are no UTF-8 are
//! escaped, and so is what would reorder or hide text on a terminal.

/// Escapes a name, also its line ends and backslashes, so that each name shows differently.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                character => push(&mut out, character),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Escapes a message of our own making that may hold foreign text: as [`escape`], backslashes stay.
pub(crate) fn lines(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    message.chars().for_each(|character| push(&mut out, character));
    out
}

fn push(out: &mut String, character: char) {
    match character {
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        character if character.is_ascii_control() => {
            out.push_str(&format!("\\x{:02x}", u32::from(character)))
        }
        character if character.is_control() || misleads(character) => {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(character)));
        }
        character => out.push(character),
    }
}

/// Characters without a shape that change how their neighbours are shown.
fn misleads(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"plain", "plain")]
    #[case("grün".as_bytes(), "grün")]
    #[case(b"a\nb\tc", "a\\nb\\tc")]
    #[case(b"a\\nb", "a\\\\nb")]
    #[case(b"\xff\xfe.txt", "\\xff\\xfe.txt")]
    #[case(b"\x1b[31m", "\\x1b[31m")]
    #[case("\u{202e}gpj.exe".as_bytes(), "\\u{202e}gpj.exe")]
    #[case("\u{9b}".as_bytes(), "\\u{9b}")]
    fn names_are_shown_so_that_they_do_nothing(#[case] name: &[u8], #[case] shown: &str) {
        assert_eq!(escape(name), shown);
    }
}
