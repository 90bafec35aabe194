//! The order of paths and which paths may stand in an index.

use std::cmp::Ordering;

/// Compares two paths component by component, by bytes: depth first, a directory right before what it holds.
///
/// It is the order of members in the archive and of rows in the index: bytes, with `/` below all others.
pub fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    match (a.get(common), b.get(common)) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        // No name holds a zero byte, so `/` sorts below every byte of a name.
        (Some(b'/'), Some(_)) => Ordering::Less,
        (Some(_), Some(b'/')) => Ordering::Greater,
        (Some(a), Some(b)) => a.cmp(b),
    }
}

/// Says whether a path may be a row: the root, or non-empty components without zero bytes, none of them `.` or `..`.
///
/// Components that end before `from` are trusted: they are shared with the row before.
pub(super) fn is_plain(path: &[u8], from: usize) -> bool {
    if path.is_empty() {
        return true;
    }
    let start = path[..from]
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    path[start..].split(|&byte| byte == b'/').all(is_plain_component)
}

/// Says whether `path` is `root` or lies below it.
pub(super) fn is_within(path: &[u8], root: &[u8]) -> bool {
    match path.strip_prefix(root) {
        Some(rest) => root.is_empty() || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

fn is_plain_component(component: &[u8]) -> bool {
    !matches!(component, b"" | b"." | b"..") && !component.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_right_before_its_content() {
        let mut paths: Vec<&[u8]> = vec![b"a-", b"a\x01", b"a/b", b"a", b"", b"a/b/c", b"b", b"a/b-c"];
        paths.sort_by(|a, b| compare_paths(a, b));
        assert_eq!(
            paths,
            [
                b"" as &[u8],
                b"a",
                b"a/b",
                b"a/b/c",
                b"a/b-c",
                b"a\x01",
                b"a-",
                b"b"
            ]
        );
    }

    #[test]
    fn paths_out_of_the_tree_are_not_plain() {
        for bad in [
            b"/a" as &[u8],
            b"a//b",
            b"a/",
            b"..",
            b"a/../b",
            b"./a",
            b"a/.",
            b"a\0b",
        ] {
            assert!(!is_plain(bad, 0), "{bad:?}");
        }
        for good in [b"" as &[u8], b"a", b"a/...", b"..a/b..", b"a/\xff\n"] {
            assert!(is_plain(good, 0), "{good:?}");
        }
        // A trusted start doesn't hide a component that goes on.
        assert!(!is_plain(b"ab/..", 4));
        assert!(is_plain(b"ab/..c", 4));
    }

    #[test]
    fn within_is_by_components() {
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"a", b""));
        assert!(!is_within(b"ab", b"a") && !is_within(b"", b"a"));
    }
}
