//! Which paths from an archive may name something below the target. Everything else is refused by name.
//!
//! The kernel is asked a second time when a path is opened (`RESOLVE_BENEATH`, no links); this is the first gate.

use freezer_format::index::path_excess;

/// Says why a path can't be restored; `None` if it can. The empty path is the root.
pub(crate) fn refusal(path: &[u8]) -> Option<&'static str> {
    if path.is_empty() {
        return None;
    }
    if path[0] == b'/' {
        return Some("its path is absolute");
    }
    // The walk leaves out by the same rule, so that a backup holds nothing that is refused here.
    if let Some(excess) = path_excess(path) {
        return Some(excess);
    }
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b".." => return Some("its path leads out of the target"),
            b"" | b"." => return Some("its path isn't in its simplest form"),
            _ if name.contains(&0) => return Some("its path holds a zero byte"),
            _ => {}
        }
    }
    None
}

/// Splits a path into its directory and its last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// True if `path` is `directory` or lies below it.
pub(crate) fn is_within(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => directory.is_empty() || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"", None)]
    #[case(b"a/b", None)]
    #[case(b"a/..b/c..", None)]
    #[case(b"bad\xff\nname", None)]
    #[case(b"/etc/passwd", Some("its path is absolute"))]
    #[case(b"..", Some("its path leads out of the target"))]
    #[case(b"a/../../b", Some("its path leads out of the target"))]
    #[case(b"a//b", Some("its path isn't in its simplest form"))]
    #[case(b"a/./b", Some("its path isn't in its simplest form"))]
    #[case(b"a/", Some("its path isn't in its simplest form"))]
    #[case(b"a\0b", Some("its path holds a zero byte"))]
    fn paths_are_judged(#[case] path: &[u8], #[case] expected: Option<&str>) {
        assert_eq!(refusal(path), expected);
    }

    #[test]
    fn long_and_deep_paths_are_refused() {
        assert_eq!(refusal(&b"a".repeat(256)), Some("a name in its path is too long"));
        assert_eq!(refusal(&b"a/".repeat(4096)[..8191]), None);
        assert_eq!(refusal(&b"a/".repeat(4097)[..8193]), Some("its path is too deep"));
        assert_eq!(refusal(&b"a/".repeat(100_000)), Some("its path is too long"));
    }

    #[test]
    fn a_neighbour_is_not_within() {
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"a", b""));
        assert!(!is_within(b"ab", b"a") && !is_within(b"a", b"a/b"));
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
    }
}
