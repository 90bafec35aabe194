//! osrc files: shell files that set `OS_…` variables. They are read, never executed.
//!
//! ```text
//! export OS_USERNAME=backup        as the original takes it
//! OS_REGION_NAME = "RegionOne"     export may be left out; one pair of quotes is taken away
//! export OS_PASSWORD=$INPUT        needs a shell: not taken, and said
//! ```
//!
//! All other lines are passed over, as the original does. Of two lines for one variable the last counts.

use std::collections::BTreeMap;
use std::path::Path;

use super::file::{FileError, read_text};

/// What an osrc file sets.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Osrc {
    /// Variables by name; their values may be secret.
    pub(crate) variables: BTreeMap<String, String>,
    /// Variables that only a shell could set.
    pub(crate) warnings: Vec<String>,
}

/// Reads an osrc file.
///
/// # Errors
/// When it can't be read, is too large or is no UTF-8.
pub(crate) fn read(path: &Path) -> Result<Osrc, FileError> {
    Ok(parse(&read_text(path)?, path))
}

/// Parses the text of an osrc file; `path` is only for warnings.
fn parse(text: &str, path: &Path) -> Osrc {
    let mut osrc = Osrc::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = match line.strip_prefix("export") {
            Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
            _ => line,
        };
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let name = name.trim_end();
        if !is_name(name) {
            continue;
        }
        match value_of(value.trim()) {
            Some(value) => {
                osrc.variables.insert(name.to_owned(), value.to_owned());
            }
            None => osrc.warnings.push(format!(
                "{name} in {path:?}, line {}, is not taken: only a shell could tell its value",
                number + 1
            )),
        }
    }
    osrc
}

/// A variable's value without quotes and comment; `None` if it takes a shell.
fn value_of(text: &str) -> Option<&str> {
    for quote in ['\'', '"'] {
        if let Some((value, _)) = text.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return (quote == '\'' || !takes_a_shell(value)).then_some(value);
        }
    }
    let comment = text.find(" #").or_else(|| text.find("\t#"));
    let value = comment.map_or(text, |at| &text[..at]).trim_end();
    (!takes_a_shell(value)).then_some(value)
}

/// True for what stands for another variable or a command. A dollar inside a password is none of these: the original
/// takes it as it is.
fn takes_a_shell(value: &str) -> bool {
    let whole = value
        .strip_prefix('$')
        .map(|name| name.trim_start_matches('{').trim_end_matches('}'));
    whole.is_some_and(is_name) || value.contains("$(") || value.contains('`')
}

/// True for the name of a shell variable.
fn is_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()) && name.bytes().all(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("export OS_USERNAME=backup", Some("backup"))]
    #[case("  export   OS_USERNAME = backup  ", Some("backup"))]
    #[case("OS_USERNAME=backup", Some("backup"))]
    #[case("export OS_USERNAME=\"a b # c\"", Some("a b # c"))]
    #[case("export OS_USERNAME='$HOME'", Some("$HOME"))]
    #[case("export OS_USERNAME='a' # who", Some("a"))]
    #[case("export OS_USERNAME=a # who", Some("a"))]
    #[case("export OS_USERNAME=a#b", Some("a#b"))]
    #[case("export OS_USERNAME=p$a", Some("p$a"))]
    #[case("export OS_USERNAME=", Some(""))]
    #[case("export OS_USERNAME=$INPUT", None)]
    #[case("export OS_USERNAME=\"${INPUT}\"", None)]
    #[case("export OS_USERNAME=$(id -un)", None)]
    #[case("export OS_USERNAME=`id -un`", None)]
    #[case("# export OS_USERNAME=backup", None)]
    #[case("exportOS_USERNAME=backup", None)]
    #[case("if [ -z \"$OS_USERNAME\" ]; then", None)]
    fn values_are_taken_as_the_original_takes_them(#[case] line: &str, #[case] value: Option<&str>) {
        let osrc = parse(line, Path::new("osrc"));
        assert_eq!(osrc.variables.get("OS_USERNAME").map(String::as_str), value);
    }

    #[test]
    fn the_last_line_counts_and_what_takes_a_shell_is_said() {
        let osrc = parse("A=1\nA=2\nexport OS_PASSWORD=$X\n", Path::new("osrc"));
        assert_eq!(osrc.variables["A"], "2");
        let expected = "OS_PASSWORD in \"osrc\", line 3, is not taken: only a shell could tell its value";
        assert_eq!(osrc.warnings, [expected]);
    }
}
