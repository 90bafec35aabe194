//! The order of paths and which paths may stand in an index.

use std::cmp::Ordering;

use super::BLOCK_PAYLOAD_MAX;
use super::block::NUMBERS_MAX;

/// Longest path, and longest target of a link, in bytes: a row with two of them fits into a block. Linux takes 4 KiB
/// in one call; a path that is longer than this can only be made step by step.
pub const PATH_BYTES_MAX: usize = 31 * 1024;

const _: () = assert!(2 * PATH_BYTES_MAX + NUMBERS_MAX <= BLOCK_PAYLOAD_MAX);

/// Most components of a path; bounds the work that one name can cause.
pub const PATH_DEPTH_MAX: usize = 4096;

/// Longest component in bytes on every Linux file system.
pub const NAME_BYTES_MAX: usize = 255;

/// Says why a path can't be stored and restored: it is too long or too deep. `None` if it can.
pub fn path_excess(path: &[u8]) -> Option<&'static str> {
    if path.len() <= NAME_BYTES_MAX {
        return None;
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("its path is too long");
    }
    for (depth, name) in path.split(|&byte| byte == b'/').enumerate() {
        if name.len() > NAME_BYTES_MAX {
            return Some("a name in its path is too long");
        }
        if depth >= PATH_DEPTH_MAX {
            return Some("its path is too deep");
        }
    }
    None
}

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
    fn long_and_deep_paths_are_told() {
        assert_eq!(path_excess(&b"a".repeat(255)), None);
        assert_eq!(
            path_excess(&b"a".repeat(256)),
            Some("a name in its path is too long")
        );
        assert_eq!(path_excess(&b"a/".repeat(4096)[..8191]), None);
        assert_eq!(
            path_excess(&b"a/".repeat(4097)[..8193]),
            Some("its path is too deep")
        );
        let long = [&b"n".repeat(200)[..], b"/"].concat().repeat(200);
        assert_eq!(path_excess(&long[..PATH_BYTES_MAX]), None);
        assert_eq!(
            path_excess(&long[..=PATH_BYTES_MAX]),
            Some("its path is too long")
        );
    }

    #[test]
    fn within_is_by_components() {
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"a", b""));
        assert!(!is_within(b"ab", b"a") && !is_within(b"", b"a"));
    }
}
