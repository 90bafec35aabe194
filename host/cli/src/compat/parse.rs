//! Reads the original's command line into a map of options, as its parsers did.
//!
//! `--name value`, `--name=value`, `-N value`, `-Nvalue`, unique beginnings of long names,
//! underscores for dashes, and `--noNAME` for flags. Values may be any bytes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::options::{self, Opt, Takes};

/// Options by dest. `None` means that the option was given and says "not set".
pub(crate) type OptionMap = BTreeMap<&'static str, Option<OsString>>;

/// A mistake on the original's command line; it ends with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// No option has this name.
    #[error("unrecognized arguments: {argument}{}", suggestion(nearest.as_deref()))]
    Unknown {
        /// As written.
        argument: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// Several options begin like this.
    #[error("ambiguous option: {argument} could match {}", candidates.join(", "))]
    Ambiguous {
        /// As written.
        argument: String,
        /// All long names that begin so.
        candidates: Vec<String>,
    },
    /// The value is missing.
    #[error("argument {0}: expected one argument")]
    Missing(String),
    /// A flag got a value.
    #[error("argument {0}: ignored explicit argument")]
    Excess(String),
    /// The value is of the wrong type.
    #[error("argument {option}: invalid {kind} value: {value:?}")]
    Type {
        /// The option.
        option: String,
        /// The type it should have.
        kind: &'static str,
        /// The value.
        value: String,
    },
    /// The value is none of those allowed.
    #[error("argument {option}: invalid choice: {value:?} (choose from {})", choices.join(", "))]
    Choice {
        /// The option.
        option: String,
        /// The value.
        value: String,
        /// Those allowed.
        choices: &'static [&'static str],
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!(" (did you mean --{name}?)"))
        .unwrap_or_default()
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// The first mistake, in the original's words.
pub(crate) fn parse(arguments: &[OsString]) -> Result<OptionMap, ParseError> {
    let mut map = OptionMap::new();
    let mut rest = arguments;
    while let Some((argument, after)) = rest.split_first() {
        rest = after;
        let bytes = argument.as_bytes();
        if let Some(long) = bytes.strip_prefix(b"--").filter(|long| !long.is_empty()) {
            rest = take_long(long, rest, &mut map)?;
        } else if let Some(letters) = bytes.strip_prefix(b"-").filter(|letters| !letters.is_empty()) {
            rest = take_short(letters, rest, &mut map)?;
        } else {
            return Err(unknown(argument));
        }
    }
    Ok(map)
}

/// One `--name`, with what follows it.
fn take_long<'a>(
    long: &[u8],
    rest: &'a [OsString],
    map: &mut OptionMap,
) -> Result<&'a [OsString], ParseError> {
    let (name, attached) = match long.iter().position(|byte| *byte == b'=') {
        Some(at) => (&long[..at], Some(&long[at + 1..])),
        None => (long, None),
    };
    let written = format!("--{}", String::from_utf8_lossy(name));
    let name = String::from_utf8_lossy(name).into_owned();
    let candidates = options::by_long(&name);
    match candidates.as_slice() {
        [option] => take_value(option, attached, rest, map),
        [] => match options::by_inverse(&name) {
            Some(option) => {
                map.insert(option.dest, None);
                Ok(rest)
            }
            None => Err(unknown(OsStr::new(&written))),
        },
        several => {
            let candidates = several
                .iter()
                .filter_map(|option| option.long.first())
                .map(|long| format!("--{long}"));
            Err(ParseError::Ambiguous {
                argument: written,
                candidates: candidates.collect(),
            })
        }
    }
}

/// One `-N`, or `-Nvalue`, or several letters of flags in one.
fn take_short<'a>(
    letters: &[u8],
    rest: &'a [OsString],
    map: &mut OptionMap,
) -> Result<&'a [OsString], ParseError> {
    let written = OsString::from_vec([b"-", letters].concat());
    let mut letters = letters;
    while let Some((letter, after)) = letters.split_first() {
        let option = options::by_letter(char::from(*letter)).ok_or_else(|| unknown(&written))?;
        match option.takes {
            Takes::Flag => map.insert(option.dest, Some("True".into())),
            // `-s` was a flag in the first era, and is followed by other letters only there.
            Takes::Maybe if !after.is_empty() => map.insert(option.dest, Some("True".into())),
            _ => {
                let attached = (!after.is_empty()).then(|| after.strip_prefix(b"=").unwrap_or(after));
                return take_value(option, attached, rest, map);
            }
        };
        letters = after;
    }
    Ok(rest)
}

/// Takes an option's value from behind the `=` or from the next argument.
fn take_value<'a>(
    option: &'static Opt,
    attached: Option<&[u8]>,
    rest: &'a [OsString],
    map: &mut OptionMap,
) -> Result<&'a [OsString], ParseError> {
    let attached = attached.map(|bytes| OsString::from_vec(bytes.to_vec()));
    let is_option = |next: &OsString| {
        let bytes = next.as_bytes();
        // A lone dash is a value (standard output), and so is a negative number.
        bytes.len() > 1 && bytes[0] == b'-' && !bytes[1].is_ascii_digit()
    };
    let next = rest.split_first().filter(|(next, _)| !is_option(next));
    let (value, rest) = match (option.takes, attached, next) {
        (Takes::Flag, Some(_), _) => return Err(ParseError::Excess(shown(option))),
        (Takes::Flag, None, _) | (Takes::Maybe, None, None) => (OsString::from("True"), rest),
        (_, Some(value), _) => (value, rest),
        (_, None, Some((value, after))) => (value.clone(), after),
        (_, None, None) => return Err(ParseError::Missing(shown(option))),
    };
    map.insert(option.dest, checked(option, value)?);
    Ok(rest)
}

/// Judges a value by its option's type; False and None mean "not set", as they do in ini files.
///
/// # Errors
/// [`ParseError::Type`] and [`ParseError::Choice`].
pub(crate) fn checked(option: &'static Opt, value: OsString) -> Result<Option<OsString>, ParseError> {
    if ["", "False", "false", "None"].iter().any(|none| value == *none) {
        return Ok(None);
    }
    let text = value.to_string_lossy();
    let wrong = |kind| {
        Err(ParseError::Type {
            option: shown(option),
            kind,
            value: text.clone().into_owned(),
        })
    };
    match option.takes {
        Takes::Integer if text.trim().parse::<i64>().is_err() => wrong("int"),
        Takes::Days if !text.trim().parse::<f64>().is_ok_and(f64::is_finite) => wrong("float"),
        // -1 is the original's "unlimited".
        Takes::Size if text != "-1" && text.parse::<crate::config::size::Size>().is_err() => wrong("size"),
        Takes::Choice(choices) if !choices.contains(&text.as_ref()) => Err(ParseError::Choice {
            option: shown(option),
            value: text.into_owned(),
            choices,
        }),
        _ => Ok(Some(value)),
    }
}

/// An option as messages show it: `-F/--path-to-backup`.
pub(crate) fn shown(option: &Opt) -> String {
    let long = option.long.first().copied().unwrap_or(option.dest);
    option
        .short
        .map_or_else(|| format!("--{long}"), |letter| format!("-{letter}/--{long}"))
}

fn unknown(argument: &OsStr) -> ParseError {
    let argument = argument.to_string_lossy().into_owned();
    let names: Vec<&str> = options::OPTIONS
        .iter()
        .flat_map(|option| option.long)
        .copied()
        .collect();
    let name = argument.trim_start_matches('-').replace('_', "-");
    let nearest = crate::config::file::nearest(&name, &names).filter(|_| argument.starts_with('-'));
    let nearest = nearest.map(str::to_owned);
    ParseError::Unknown { argument, nearest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parsed(arguments: &[&str]) -> Result<Vec<(&'static str, Option<String>)>, ParseError> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let text = |value: OsString| value.to_string_lossy().into_owned();
        parse(&arguments).map(|map| {
            map.into_iter()
                .map(|(dest, value)| (dest, value.map(text)))
                .collect()
        })
    }

    #[rstest]
    #[case(&["--path-to-backup", "/etc"], "path_to_backup", Some("/etc"))]
    #[case(&["--file-to-backup", "/etc"], "path_to_backup", Some("/etc"))]
    #[case(&["--path_to_backup=/etc"], "path_to_backup", Some("/etc"))]
    #[case(&["--path", "/etc"], "path_to_backup", Some("/etc"))]
    #[case(&["-F", "/etc"], "path_to_backup", Some("/etc"))]
    #[case(&["-F/etc"], "path_to_backup", Some("/etc"))]
    #[case(&["--os_auth_ver", "3"], "os_identity_api_version", Some("3"))]
    #[case(&["--remove-older-then", "0.5"], "remove_older_than", Some("0.5"))]
    #[case(&["-R", "30"], "remove_older_than", Some("30"))]
    #[case(&["--restore-from-host", "h"], "hostname", Some("h"))]
    #[case(&["--hostname", "False"], "hostname", None)]
    #[case(&["--snapshot"], "snapshot", Some("True"))]
    #[case(&["--snapshot", "True"], "snapshot", Some("True"))]
    #[case(&["--snapshot", "False"], "snapshot", None)]
    #[case(&["--dry-run"], "dry_run", Some("True"))]
    #[case(&["--nodry-run"], "dry_run", None)]
    #[case(&["--dry-run", "--nodry-run"], "dry_run", None)]
    #[case(&["--nosync"], "sync", None)]
    #[case(&["--noincremental"], "incremental", None)]
    #[case(&["--no-incremental"], "no_incremental", Some("True"))]
    #[case(&["--nocindernative-freezer-only"], "cindernative_freezer_only", None)]
    #[case(&["--metadata-out", "-"], "metadata_out", Some("-"))]
    #[case(&["--upload-limit", "-1"], "upload_limit", Some("-1"))]
    #[case(&["--upload-limit", "10M"], "upload_limit", Some("10M"))]
    #[case(&["-qd"], "quiet", Some("True"))]
    fn names_of_every_era_are_taken(
        #[case] arguments: &[&str],
        #[case] dest: &str,
        #[case] value: Option<&str>,
    ) {
        let options = parsed(arguments).expect("parses");
        assert!(
            options
                .iter()
                .any(|(key, found)| *key == dest && found.as_deref() == value),
            "{options:?}"
        );
    }

    #[rstest]
    #[case(&["--nothing"], "unrecognized arguments: --nothing")]
    #[case(&["--compresion", "xz"], "unrecognized arguments: --compresion (did you mean --compression?)")]
    #[case(&["word"], "unrecognized arguments: word")]
    #[case(&["-X"], "unrecognized arguments: -X")]
    #[case(&["--container"], "argument -C/--container: expected one argument")]
    #[case(&["--container", "--dry-run"], "argument -C/--container: expected one argument")]
    #[case(&["--dry-run=yes"], "argument --dry-run: ignored explicit argument")]
    #[case(&["--max-level", "two"], "argument --max-level: invalid int value: \"two\"")]
    #[case(&["-R", "soon"], "argument -R/--remove-older-than: invalid float value: \"soon\"")]
    #[case(&["-M", "5X"], "argument -M/--max-segment-size: invalid size value: \"5X\"")]
    #[case(&["--compression", "zip"], "argument --compression: invalid choice: \"zip\" (choose from gzip, bzip2, xz)")]
    #[case(&["--remove-b", "1", "--ssh", "x"], "ambiguous option: --ssh could match --ssh-key, --ssh-username, --ssh-password, --ssh-host, --ssh-port")]
    fn mistakes_are_named_in_the_original_s_words(#[case] arguments: &[&str], #[case] message: &str) {
        assert_eq!(parsed(arguments).expect_err("a mistake").to_string(), message);
    }

    #[test]
    fn values_may_be_any_bytes() {
        let arguments = [OsString::from("-F"), OsString::from_vec(b"/a\xff".to_vec())];
        let map = parse(&arguments).expect("parses");
        assert_eq!(
            map["path_to_backup"].as_ref().map(|path| path.as_bytes()),
            Some(&b"/a\xff"[..])
        );
    }
}
