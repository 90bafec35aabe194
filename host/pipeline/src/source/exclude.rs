//! What is left out of a backup: patterns with gitignore's meaning, patterns with tar's, and tagged caches.
//!
//! Paths are those below the root, without `./`. An excluded directory is not entered, so a pattern needn't match
//! what lies below it, and a later `!pattern` can't bring that back.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Patterns compiled into one matcher: twice as many of the longest kinds come near the compiler's limit of size.
const PATTERNS_AT_ONCE: usize = 500;

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
    /// In order: the last pattern that matches decides.
    gitignore: Vec<Gitignore>,
    tar: Vec<GlobSet>,
    /// Patterns bound to the root that haven't matched anything yet.
    unused: Arc<Mutex<BTreeSet<String>>>,
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
        let gitignore: Vec<String> = gitignore.iter().map(|pattern| without_braces(pattern)).collect();
        let is_bound = |pattern: &&String| pattern.starts_with('/');
        Ok(Self {
            gitignore: compile_gitignore(&gitignore)?,
            tar: compile_tar(tar)?,
            unused: Arc::new(Mutex::new(gitignore.iter().filter(is_bound).cloned().collect())),
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
        self.gitignore.is_empty() && self.tar.is_empty()
    }

    /// The first pattern bound to the root that has matched nothing so far.
    #[must_use]
    pub fn first_unused(&self) -> Option<String> {
        let unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.first().cloned()
    }

    /// Tells whether an entry is left out by a pattern.
    #[must_use]
    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        let plain = Path::new(OsStr::from_bytes(path));
        let decided = self.gitignore.iter().rev().find_map(|patterns| {
            let matched = patterns.matched(plain, is_directory);
            self.note_use(matched.inner()?.original());
            Some(matched.is_ignore())
        });
        if decided == Some(true) {
            return true;
        }
        if self.tar.is_empty() {
            return false;
        }
        let dotted = [b"./", path].concat();
        let dotted = Path::new(OsStr::from_bytes(&dotted));
        self.tar.iter().any(|patterns| patterns.is_match(dotted))
    }

    fn note_use(&self, pattern: &str) {
        if pattern.starts_with('/') {
            let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
            unused.remove(pattern);
        }
    }
}

fn compile_gitignore(patterns: &[String]) -> Result<Vec<Gitignore>, ExcludeError> {
    patterns
        .chunks(PATTERNS_AT_ONCE)
        .map(compile_gitignore_piece)
        .collect()
}

fn compile_gitignore_piece(patterns: &[String]) -> Result<Gitignore, ExcludeError> {
    let mut builder = GitignoreBuilder::new("");
    builder.allow_unclosed_class(false);
    for pattern in patterns {
        let wrong = |error| wrong_gitignore(pattern, error);
        builder.add_line(None, pattern).map_err(wrong)?;
    }
    let several = || format!("{} and those after it", patterns[0]);
    builder
        .build()
        .map_err(|error| wrong_gitignore(&several(), error))
}

fn wrong_gitignore(pattern: &str, error: ignore::Error) -> ExcludeError {
    let reason = match error {
        ignore::Error::Glob { err, .. } => err,
        error => error.to_string(),
    };
    let pattern = pattern.to_owned();
    ExcludeError { pattern, reason }
}

fn compile_tar(patterns: &[String]) -> Result<Vec<GlobSet>, ExcludeError> {
    patterns.chunks(PATTERNS_AT_ONCE).map(compile_tar_piece).collect()
}

fn compile_tar_piece(patterns: &[String]) -> Result<GlobSet, ExcludeError> {
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
    set.build().map_err(|error| ExcludeError {
        pattern: format!("{} and those after it", patterns[0]),
        reason: error.kind().to_string(),
    })
}

/// Writes a line of a `.gitignore` as one that the compiler reads as git does: braces are plain characters. A byte order
/// mark is no part of a list's first pattern.
fn without_braces(pattern: &str) -> String {
    let pattern = pattern.strip_prefix('\u{feff}').unwrap_or(pattern);
    let mut line = String::with_capacity(pattern.len() + 8);
    let (mut is_escaped, mut is_in_class) = (false, false);
    for character in pattern.chars() {
        match character {
            '{' | '}' if !is_escaped && !is_in_class => line.extend(['\\', character]),
            _ => line.push(character),
        }
        is_in_class = !is_escaped && (character == '[' || (is_in_class && character != ']'));
        is_escaped = character == '\\' && !is_escaped;
    }
    line
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
    #[case(&["*.{o,txt}"], "x.o", false, false)]
    #[case(&["*.{o,txt}"], "x.{o,txt}", false, true)]
    #[case(&["[{]x"], "{x", false, true)]
    #[case(&["\u{feff}/x.o"], "x.o", false, true)]
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

    #[rstest]
    #[case("[z-a]")]
    #[case("[")]
    #[case("a[b")]
    fn a_broken_pattern_is_named(#[case] pattern: &str) {
        let patterns = strings(&["fine", pattern]);
        for [gitignore, tar] in [[&patterns[..], &[]], [&[], &patterns[..]]] {
            let error = ExcludeRules::new(gitignore, tar, false).unwrap_err();
            assert_eq!(error.pattern, pattern);
            assert!(!error.reason.contains('\n'), "{error}");
        }
    }

    #[test]
    fn many_patterns_work_and_the_last_that_matches_decides() {
        let mut patterns: Vec<String> = (0..20_000).map(|number| format!("d{number}/**/*.x?z")).collect();
        patterns[3] = "*.log".to_owned();
        patterns.push("!keep.log".to_owned());
        let rules = ExcludeRules::new(&patterns, &patterns[..20_000], false).unwrap();
        assert!(rules.excludes(b"d19999/e/f.xyz", false) && rules.excludes(b"a.log", false));
        assert!(
            !ExcludeRules::new(&patterns, &[], false)
                .unwrap()
                .excludes(b"keep.log", false)
        );
    }

    #[test]
    fn a_bound_pattern_that_matches_nothing_is_told() {
        let patterns = strings(&["/srv/a", "/b", "c"]);
        let rules = ExcludeRules::new(&patterns, &[], false).unwrap();
        assert!(rules.excludes(b"b", true));
        assert_eq!(rules.first_unused().as_deref(), Some("/srv/a"));
        assert!(rules.excludes(b"srv/a", true));
        assert_eq!(rules.first_unused(), None);
    }
}
