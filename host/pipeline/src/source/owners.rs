//! Names of users and groups, asked of the system once per number.

use std::collections::HashMap;

use nix::unistd::{Gid, Group, Uid, User};

/// Most numbers remembered of each kind; a tree with more owners asks again. Bounds the memory at about 1 MiB.
const MOST_NAMES: usize = 8192;

/// The names that belong to owner numbers.
#[derive(Default)]
pub(crate) struct Owners {
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
}

impl Owners {
    /// The user's name; empty if there is none.
    pub(crate) fn user(&mut self, uid: u32) -> &[u8] {
        remember(&mut self.users, uid, |uid| {
            User::from_uid(Uid::from_raw(uid))
                .ok()
                .flatten()
                .map(|user| user.name)
        })
    }

    /// The group's name; empty if there is none.
    pub(crate) fn group(&mut self, gid: u32) -> &[u8] {
        remember(&mut self.groups, gid, |gid| {
            Group::from_gid(Gid::from_raw(gid))
                .ok()
                .flatten()
                .map(|group| group.name)
        })
    }
}

fn remember(
    names: &mut HashMap<u32, Vec<u8>>,
    number: u32,
    ask: impl FnOnce(u32) -> Option<String>,
) -> &[u8] {
    if names.len() >= MOST_NAMES && !names.contains_key(&number) {
        names.clear();
    }
    names
        .entry(number)
        .or_insert_with(|| ask(number).unwrap_or_default().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_is_root_and_unknown_numbers_have_no_name() {
        let mut owners = Owners::default();
        assert_eq!(owners.user(0), b"root");
        assert_eq!(owners.group(0), b"root");
        assert_eq!(owners.user(4_000_000_001), b"");
    }
}
