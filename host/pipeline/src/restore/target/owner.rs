//! Who owns what is restored: by name where root restores and the machine knows the name, else by number.
//!
//! As GNU tar does, so that a backup moved to another machine keeps its meaning. Without root nothing is changed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use freezer_format::tar::Member;
use rustix::fs::{Gid, Uid};

/// Most names remembered per kind; a tree with more owners than this just asks the system again.
const NAMES_MAX: usize = 1024;

/// The account that restores, and the names it has looked up.
pub(super) struct Owners {
    /// Whether owners can be given away and everything else that only root may do is tried.
    pub(super) is_root: bool,
    uid: u32,
    gid: u32,
    users: Mutex<HashMap<Vec<u8>, Option<u32>>>,
    groups: Mutex<HashMap<Vec<u8>, Option<u32>>>,
}

impl Owners {
    pub(super) fn of_this_process() -> Self {
        Self {
            is_root: rustix::process::geteuid().is_root(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            users: Mutex::default(),
            groups: Mutex::default(),
        }
    }

    /// The owner and group to set; `None` where what a new file gets anyway is right.
    ///
    /// `inherits` says that new files may get another group than the process's.
    pub(super) fn wanted(&self, member: &Member, inherits: bool) -> Option<(Uid, Gid)> {
        if !self.is_root {
            return None;
        }
        let uid = known(&self.users, &member.uname, user_id).or_else(|| id(member.uid));
        let gid = known(&self.groups, &member.gname, group_id).or_else(|| id(member.gid));
        let (uid, gid) = (uid.unwrap_or(self.uid), gid.unwrap_or(self.gid));
        if !inherits && uid == self.uid && gid == self.gid {
            return None;
        }
        Some((Uid::from_raw(uid), Gid::from_raw(gid)))
    }
}

/// A number from an archive as an id; all ones means "unchanged" to the kernel and is no id.
fn id(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|id| *id != u32::MAX)
}

fn known(
    names: &Mutex<HashMap<Vec<u8>, Option<u32>>>,
    name: &[u8],
    look_up: fn(&str) -> Option<u32>,
) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(id) = names.get(name) {
        return *id;
    }
    let id = std::str::from_utf8(name).ok().and_then(look_up);
    if names.len() >= NAMES_MAX {
        names.clear();
    }
    names.insert(name.to_vec(), id);
    id
}

pub(super) fn user_id(name: &str) -> Option<u32> {
    nix::unistd::User::from_name(name)
        .ok()
        .flatten()
        .map(|user| user.uid.as_raw())
}

pub(super) fn group_id(name: &str) -> Option<u32> {
    nix::unistd::Group::from_name(name)
        .ok()
        .flatten()
        .map(|group| group.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_format::tar::MemberKind;

    fn owners(is_root: bool) -> Owners {
        Owners {
            is_root,
            uid: 0,
            gid: 0,
            users: Mutex::default(),
            groups: Mutex::default(),
        }
    }

    fn member(uid: u64, uname: &str) -> Member {
        Member {
            uid,
            gid: uid,
            uname: uname.into(),
            gname: uname.into(),
            ..Member::new("f", MemberKind::File)
        }
    }

    #[test]
    fn a_known_name_wins_over_the_number() {
        let wanted = owners(true).wanted(&member(4711, "root"), true);
        assert_eq!(wanted, Some((Uid::ROOT, Gid::ROOT)));
    }

    #[test]
    fn an_unknown_name_falls_back_to_the_number() {
        let wanted = owners(true)
            .wanted(&member(4711, "no such user here"), false)
            .unwrap();
        assert_eq!((wanted.0.as_raw(), wanted.1.as_raw()), (4711, 4711));
    }

    #[test]
    fn nothing_is_set_where_nothing_would_change() {
        assert_eq!(owners(true).wanted(&member(0, "root"), false), None);
        assert_eq!(owners(false).wanted(&member(4711, ""), true), None);
    }

    #[test]
    fn numbers_that_are_no_ids_are_not_used() {
        let wanted = owners(true).wanted(&member(u64::from(u32::MAX), ""), true);
        assert_eq!(wanted, Some((Uid::ROOT, Gid::ROOT)));
        assert_eq!(id(1 << 32), None);
    }
}
