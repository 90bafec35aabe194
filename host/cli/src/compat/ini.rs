//! The original's ini files, read as Python's ConfigParser reads them.
//!
//! ```text
//! [default]                 every section but storage:NAME is one set of options, later wins
//! backup_name = etc         `=` or `:`; keys are case-insensitive
//! path_to_backup: /etc
//! exclude = *.tmp           a line that starts with blanks continues the value above it
//! hostname = False          False and None mean "not set"
//! pass = 100%%              `%%` is one `%`, `%(key)s` the value of another key
//! ```

use std::path::{Path, PathBuf};

use crate::config::file::Reason;

/// An ini file: its options in file order, and its named storages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ini {
    /// Options of all sections that are no storages.
    pub(crate) options: Vec<Entry>,
    /// The `[storage:NAME]` sections.
    pub(crate) storages: Vec<(String, Vec<Entry>)>,
}

/// One option of an ini file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its key, lower case, dashes as underscores.
    pub(crate) key: String,
    /// Its value; `None` for False, None and nothing.
    pub(crate) value: Option<String>,
    /// The line it stands in, from 1.
    pub(crate) line: usize,
}

impl std::fmt::Debug for Entry {
    /// Values may be passwords.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} = … (line {})", self.key, self.line)
    }
}

/// What is wrong in an ini file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration file {path:?}, line {line}")]
pub(crate) struct IniError {
    /// The file.
    pub(crate) path: PathBuf,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    #[source]
    pub(crate) reason: Reason,
}

/// A section with its raw values.
struct Section {
    name: String,
    entries: Vec<RawEntry>,
}

struct RawEntry {
    key: String,
    value: String,
    line: usize,
}

/// Parses the text of an ini file; `path` is only for messages.
///
/// # Errors
/// A line that is no section, option, comment or continuation; an interpolation that leads nowhere.
pub(crate) fn parse(text: &str, path: &Path) -> Result<Ini, IniError> {
    let failed = |(line, reason)| IniError {
        path: path.to_owned(),
        line,
        reason: Reason(reason),
    };
    let sections = split(text).map_err(failed)?;
    // ConfigParser's DEFAULT section lends its values to all others.
    let shared: Vec<&RawEntry> = sections
        .iter()
        .filter(|section| section.name == "DEFAULT")
        .flat_map(|section| &section.entries)
        .collect();
    let mut ini = Ini::default();
    for section in &sections {
        let mut entries = Vec::with_capacity(section.entries.len());
        for raw in &section.entries {
            let scope = |key: &str| {
                let own = section.entries.iter().rev().find(|entry| entry.key == key);
                own.or_else(|| shared.iter().rev().find(|entry| entry.key == key).copied())
            };
            let value = interpolate(&raw.value, &scope, 0).map_err(|reason| failed((raw.line, reason)))?;
            entries.push(Entry {
                key: raw.key.replace('-', "_"),
                value: meaning(&value),
                line: raw.line,
            });
        }
        match section.name.strip_prefix("storage:") {
            Some(name) => ini.storages.push((name.to_owned(), entries)),
            None => ini.options.extend(entries),
        }
    }
    Ok(ini)
}

/// Cuts the text into sections and raw values.
fn split(text: &str) -> Result<Vec<Section>, (usize, String)> {
    let mut sections: Vec<Section> = Vec::new();
    let mut indent = None;
    for (number, raw) in text.lines().enumerate() {
        let line = number + 1;
        let trimmed = raw.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let depth = raw.len() - raw.trim_start().len();
        let open = sections.last_mut().and_then(|section| section.entries.last_mut());
        if let (Some(entry), Some(above)) = (open, indent)
            && depth > above
        {
            entry.value.push('\n');
            entry.value.push_str(trimmed);
            continue;
        }
        if let Some(rest) = trimmed.strip_prefix('[') {
            let name = rest.split_once(']').map(|(name, _)| name);
            let name = name.ok_or_else(|| (line, "a section has no ]".to_owned()))?;
            sections.push(Section {
                name: name.to_owned(),
                entries: Vec::new(),
            });
            indent = None;
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err((line, "an option stands before the first [section]".to_owned()));
        };
        let Some((key, value)) = trimmed.split_once(['=', ':']) else {
            return Err((line, "neither a [section] nor a key = value".to_owned()));
        };
        let key = key.trim().to_lowercase();
        if key.is_empty() {
            return Err((line, "a value without a key".to_owned()));
        }
        section.entries.push(RawEntry {
            key,
            value: value.trim().to_owned(),
            line,
        });
        indent = Some(depth);
    }
    Ok(sections)
}

/// Resolves `%(key)s` and `%%`, ten levels deep at most as ConfigParser does.
fn interpolate<'a>(
    value: &str,
    scope: &dyn Fn(&str) -> Option<&'a RawEntry>,
    depth: usize,
) -> Result<String, String> {
    if depth > 10 {
        return Err("%(…)s refers to itself".to_owned());
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let named = after.strip_prefix('(').and_then(|after| after.split_once(")s"));
        let Some((key, after)) = named else {
            return Err("a % is written %% (or %(key)s for the value of another key)".to_owned());
        };
        let entry = scope(&key.to_lowercase()).ok_or_else(|| format!("%({key})s: there is no such key"))?;
        out.push_str(&interpolate(&entry.value, scope, depth + 1)?);
        if out.len() > 1 << 16 {
            return Err("%(…)s grows beyond 64 KiB".to_owned());
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// What a value says: jobs posted through the API write False and None for "not set".
fn meaning(value: &str) -> Option<String> {
    match value {
        "False" | "false" | "None" | "" => None,
        "true" => Some("True".to_owned()),
        value => Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn options(text: &str) -> Vec<(String, Option<String>)> {
        let ini = parse(text, Path::new("x.ini")).expect("valid");
        ini.options
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect()
    }

    #[rstest]
    #[case("[default]\nA = b", "a", Some("b"))]
    #[case("[default]\na: b = c", "a", Some("b = c"))]
    #[case("[default]\na = http://h:1/p", "a", Some("http://h:1/p"))]
    #[case("[default]\nmax-level = 3", "max_level", Some("3"))]
    #[case("[default]\nsnapshot = False", "snapshot", None)]
    #[case("[default]\nhostname = None", "hostname", None)]
    #[case("[default]\nhostname =", "hostname", None)]
    #[case("[default]\nquiet = true", "quiet", Some("True"))]
    #[case("[default]\na = 100%%", "a", Some("100%"))]
    #[case("[default]\nd = /srv\na = %(d)s/x", "a", Some("/srv/x"))]
    #[case("[DEFAULT]\nd = /srv\n[x]\na = %(D)s/x", "a", Some("/srv/x"))]
    #[case("[default]\na = one\n  two\n", "a", Some("one\ntwo"))]
    #[case("[default]\na = \"b\" ; c", "a", Some("\"b\" ; c"))]
    #[case("# x\n; y\n\n[default]\r\na = b\r\n", "a", Some("b"))]
    fn values_mean_what_they_meant(#[case] text: &str, #[case] key: &str, #[case] value: Option<&str>) {
        let last = options(text).pop().expect("an option");
        assert_eq!((last.0.as_str(), last.1.as_deref()), (key, value));
    }

    #[test]
    fn sections_are_merged_in_file_order_and_storages_kept_apart() {
        let ini = parse(
            "[action]\na = 1\n[storage:x]\nb = 2\n[job]\na = 3\n",
            Path::new("x"),
        )
        .expect("valid");
        let values: Vec<_> = ini.options.iter().map(|entry| entry.value.as_deref()).collect();
        assert_eq!(values, [Some("1"), Some("3")]);
        assert_eq!(ini.storages[0].0, "x");
        assert_eq!(ini.storages[0].1[0].line, 4);
    }

    #[rstest]
    #[case("a = b", 1, "an option stands before the first [section]")]
    #[case("[default", 1, "a section has no ]")]
    #[case("[d]\nnothing", 2, "neither a [section] nor a key = value")]
    #[case("[d]\n= x", 2, "a value without a key")]
    #[case(
        "[d]\n\na = 5%",
        3,
        "a % is written %% (or %(key)s for the value of another key)"
    )]
    #[case("[d]\na = %(b)s", 2, "%(b)s: there is no such key")]
    #[case("[d]\na = %(a)s", 2, "%(…)s refers to itself")]
    fn what_is_wrong_is_named_with_its_line(#[case] text: &str, #[case] line: usize, #[case] reason: &str) {
        let error = parse(text, Path::new("x.ini")).expect_err("invalid");
        assert_eq!((error.line, error.reason.to_string().as_str()), (line, reason));
    }

    #[test]
    fn a_file_of_references_to_references_stays_small() {
        let mut text = String::from("[d]\na0 = 0123456789\n");
        for n in 1..10 {
            let above = format!("%(a{})s", n - 1);
            text.push_str(&format!("a{n} = {}\n", above.repeat(20)));
        }
        assert!(parse(&text, Path::new("x")).is_err());
    }
}
