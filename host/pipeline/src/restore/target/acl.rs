//! Access control lists: from the text that tar carries to the binary form that Linux takes.
//!
//! Text: entries `user:NAME:rwx`, separated by commas or newlines, an optional fourth field holds the number.
//! Binary (`system.posix_acl_access`, `…_default`): u32 version 2, then per entry u16 tag, u16 permissions, u32 id,
//! little endian, in the order of tags and ids. Source: linux/posix_acl_xattr.h, acl(5).

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;
/// Most entries of a list; the kernel's own limit is the size of an extended attribute, 64 KiB.
const ENTRIES_MAX: usize = 8000;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Turns a list's text into the value of its extended attribute; `None` if the text is no list.
///
/// `user_id` and `group_id` look names up; a number in the text is taken where they know nothing.
pub(super) fn to_binary(
    text: &[u8],
    user_id: impl Fn(&str) -> Option<u32>,
    group_id: impl Fn(&str) -> Option<u32>,
) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for line in text.split(['\n', ',']) {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let mut fields = line.split(':').map(str::trim);
        let (kind, name, rights) = (fields.next()?, fields.next()?, fields.next()?);
        let number = fields.next().and_then(|field| field.parse().ok());
        let named =
            |look_up: &dyn Fn(&str) -> Option<u32>| look_up(name).or(number).or_else(|| name.parse().ok());
        let (tag, id) = match (kind, name.is_empty()) {
            ("user" | "u", true) => (USER_OBJ, NO_ID),
            ("user" | "u", false) => (USER, named(&user_id)?),
            ("group" | "g", true) => (GROUP_OBJ, NO_ID),
            ("group" | "g", false) => (GROUP, named(&group_id)?),
            ("mask" | "m", true) => (MASK, NO_ID),
            ("other" | "o", true) => (OTHER, NO_ID),
            _ => return None,
        };
        entries.push((tag, id, permissions(rights)?));
        if entries.len() > ENTRIES_MAX {
            return None;
        }
    }
    entries.sort_unstable();
    let mut binary = VERSION.to_le_bytes().to_vec();
    for (tag, id, rights) in entries {
        binary.extend_from_slice(&tag.to_le_bytes());
        binary.extend_from_slice(&rights.to_le_bytes());
        binary.extend_from_slice(&id.to_le_bytes());
    }
    Some(binary)
}

fn permissions(text: &str) -> Option<u16> {
    text.chars().try_fold(0, |rights, letter| match letter {
        'r' => Some(rights | 4),
        'w' => Some(rights | 2),
        'x' => Some(rights | 1),
        '-' => Some(rights),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn binary(text: &str) -> Option<Vec<u8>> {
        to_binary(text.as_bytes(), |name| (name == "lisa").then_some(500), |_| None)
    }

    #[test]
    fn a_list_becomes_what_linux_takes() {
        let expected =
            "02000000 01000600ffffffff 02000500f4010000 04000400ffffffff 10000500ffffffff 20000000ffffffff";
        let expected = hex::decode(expected.replace(' ', "")).unwrap();
        assert_eq!(
            binary("user::rw-,group::r--,mask::r-x,other::---,user:lisa:r-x"),
            Some(expected.clone())
        );
        assert_eq!(
            binary("user::rw-\nuser:lisa:r-x\t# note\ngroup::r--\nmask::r-x\nother::---\n"),
            Some(expected)
        );
    }

    #[test]
    fn an_unknown_name_falls_back_to_the_number() {
        let list = binary("user:gone:rwx:4711").unwrap();
        assert_eq!(&list[8..], &4711u32.to_le_bytes());
        let list = binary("group:4712:rwx").unwrap();
        assert_eq!(&list[8..], &4712u32.to_le_bytes());
    }

    #[rstest]
    #[case("user:gone:rwx")]
    #[case("user::rwz")]
    #[case("nobody::r")]
    #[case("mask:x:r")]
    #[case("user")]
    fn what_is_no_list_is_refused(#[case] text: &str) {
        assert_eq!(binary(text), None);
    }
}
