//! What is left out of a backup: patterns with gitignore's meaning, patterns with tar's, and tagged caches.
//!
//! Paths are those below the root, without `./`. An excluded directory is not entered, so a pattern needn't match
//! what lies below it, and a later `!pattern` can't bring that back.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// A pattern that can't be understood.
#[derive(Debug, Clone, thiserror::Error)]
#[error("can't understand the exclude pattern {pattern:?}: {reason}")]
pub struct ExcludeError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Rules by which entries are left out. The default leaves out nothing.
#[derive(Debug, Clone, Default)]
pub struct ExcludeRules {
    gitignore: Option<Gitignore>,
    tar: Option<GlobSet>,
    caches: bool,
}

impl ExcludeRules {
    /// Compiles patterns. `gitignore` are lines of a `.gitignore` at the root; `tar` are patterns of
    /// `tar --exclude`: `*` and `?` match `/` too, and a match may begin at any component. With `caches`,
    /// directories that hold a valid `CACHEDIR.TAG` are kept without their content.
    ///
    /// # Errors
    /// The first pattern that can't be understood.
    pub fn new(gitignore: &[String], tar: &[String], caches: bool) -> Result<Self, ExcludeError> {
        Ok(Self {
            gitignore: compile_gitignore(gitignore)?,
            tar: compile_tar(tar)?,
            caches,
        })
    }

    /// Whether tagged cache directories are to be emptied.
    #[must_use]
    pub fn caches(&self) -> bool {
        self.caches
    }

    /// Whether no pattern can match, so that the walk needn't build paths for the question.
    pub(crate) fn has_no_patterns(&self) -> bool {
        self.gitignore.is_none() && self.tar.is_none()
    }

    /// Tells whether an entry is left out by a pattern.
    #[must_use]
    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        if let Some(gitignore) = &self.gitignore
            && gitignore
                .matched(Path::new(OsStr::from_bytes(path)), is_directory)
                .is_ignore()
        {
            return true;
        }
        let Some(tar) = &self.tar else { return false };
        let dotted = [b"./", path].concat();
        tar.is_match(Path::new(OsStr::from_bytes(&dotted)))
    }
}

fn compile_gitignore(patterns: &[String]) -> Result<Option<Gitignore>, ExcludeError> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        let wrong = |error: ignore::Error| ExcludeError {
            pattern: pattern.clone(),
            reason: error.to_string(),
        };
        builder.add_line(None, pattern).map_err(wrong)?;
    }
    let wrong = |error: ignore::Error| ExcludeError {
        pattern: patterns.join("\n"),
        reason: error.to_string(),
    };
    Ok(Some(builder.build().map_err(wrong)?))
}

fn compile_tar(patterns: &[String]) -> Result<Option<GlobSet>, ExcludeError> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let wrong = |error: globset::Error| ExcludeError {
            pattern: pattern.clone(),
            reason: error.kind().to_string(),
        };
        let plain = as_glob(pattern);
        // The name itself, or its end after any `/`: a `*` in front matches `/` as well.
        for glob in [plain.clone(), format!("*/{plain}")] {
            let glob = GlobBuilder::new(&glob)
                .literal_separator(false)
                .backslash_escape(true)
                .build();
            set.add(glob.map_err(wrong)?);
        }
    }
    let wrong = |error: globset::Error| ExcludeError {
        pattern: patterns.join(" "),
        reason: error.to_string(),
    };
    Ok(Some(set.build().map_err(wrong)?))
}

/// Writes a pattern of `fnmatch` as one of `globset`: braces are plain characters there, `**` is `*`.
fn as_glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len() + 8);
    let mut escaped = false;
    for character in pattern.chars() {
        match character {
            '{' | '}' if !escaped => glob.extend(['\\', character]),
            '*' if !escaped && glob.ends_with('*') && !glob.ends_with("\\*") => {}
            _ => glob.push(character),
        }
        escaped = character == '\\' && !escaped;
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn strings(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|&pattern| pattern.to_owned()).collect()
    }

    #[rstest]
    #[case(&["*.o"], "a/b/x.o", false, true)]
    #[case(&["/x.o"], "a/x.o", false, false)]
    #[case(&["target/"], "a/target", true, true)]
    #[case(&["target/"], "a/target", false, false)]
    #[case(&["*.log", "!keep.log"], "keep.log", false, false)]
    #[case(&["a/*.c"], "a/b/x.c", false, false)]
    #[case(&["a/**/x.c"], "a/b/c/x.c", false, true)]
    fn gitignore_patterns(
        #[case] patterns: &[&str],
        #[case] path: &str,
        #[case] is_directory: bool,
        #[case] expected: bool,
    ) {
        let rules = ExcludeRules::new(&strings(patterns), &[], false).unwrap();
        assert_eq!(rules.excludes(path.as_bytes(), is_directory), expected);
    }

    #[rstest]
    #[case("*.o", "a/b/x.o", true)]
    #[case("a*c", "a/b/c", true)]
    #[case("b/c", "a/b/c", true)]
    #[case("./a", "a", true)]
    #[case("b", "a/bb", false)]
    #[case("x{1,2}", "x1", false)]
    #[case("x{1,2}", "d/x{1,2}", true)]
    #[case("a**b", "a/x/b", true)]
    #[case("[ab]x", "d/bx", true)]
    #[case("\\*", "d/*", true)]
    #[case("\\*", "d/x", false)]
    fn tar_patterns(#[case] pattern: &str, #[case] path: &str, #[case] expected: bool) {
        let rules = ExcludeRules::new(&[], &strings(&[pattern]), false).unwrap();
        assert_eq!(
            rules.excludes(path.as_bytes(), false),
            expected,
            "{pattern} on {path}"
        );
    }

    #[test]
    fn names_need_not_be_utf8() {
        let rules = ExcludeRules::new(&strings(&["*.tmp"]), &strings(&["*.bak"]), false).unwrap();
        assert!(rules.excludes(b"d/\xff\xfe.tmp", false));
        assert!(rules.excludes(b"d/\xff\xfe.bak", false));
        assert!(!rules.excludes(b"d/\xff\xfe", false));
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let error = ExcludeRules::new(&[], &strings(&["[z-a]"]), false).unwrap_err();
        assert_eq!(error.pattern, "[z-a]");
    }
}
