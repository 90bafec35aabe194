//! Temporary names that a killed run left in a target, and how to tell them from those of a run that still goes on.
//!
//! A run locks its target; the lock ends with the process, however that ends. Only names of runs that had the target
//! to themselves are ever removed, by a run that has it to itself now. Who doesn't get the lock, because another run
//! has it or the file system knows none, takes names that nobody removes.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Dir, FlockOperation, Mode, OFlags};

use super::{TEMPORARY, remove};

/// Hexadecimal digits that tell runs apart.
const RUN_DIGITS: usize = 16;

/// Takes the target for this process alone, until it is closed; `false` if that isn't to be had.
pub(super) fn lock(root: BorrowedFd<'_>) -> bool {
    rustix::fs::flock(root, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// The form of a run's name for a target that it doesn't have to itself.
pub(super) fn shared_name(run: &str) -> String {
    format!("{run}-shared")
}

/// Removes from one directory what killed runs left there; to be called only under the lock, by the run `run`.
pub(super) fn remove_from(directory: BorrowedFd<'_>, run: &str) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(opened) = rustix::fs::openat(directory, ".", flags, Mode::empty()) else {
        return;
    };
    let Ok(entries) = Dir::read_from(&opened) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_bytes();
        if is_leftover(name, run) {
            // If it stays, its name still says what it is.
            remove::remove(opened.as_fd(), name).ok();
        }
    }
}

/// Whether a name is one that another run gave while it had the target to itself.
fn is_leftover(name: &[u8], run: &str) -> bool {
    let Some(rest) = name.strip_prefix(TEMPORARY.as_bytes()) else {
        return false;
    };
    let Some((digits, rest)) = rest.split_at_checked(RUN_DIGITS) else {
        return false;
    };
    let is_run = digits
        .iter()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let purpose = rest.strip_prefix(b"-").unwrap_or_default();
    let is_number = !purpose.is_empty() && purpose.iter().all(u8::is_ascii_digit);
    is_run && digits != run.as_bytes() && (is_number || matches!(purpose, b"stage" | b"probe"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(".freezer-0123456789abcdef-0", true)]
    #[case(".freezer-0123456789abcdef-18446744073709551615", true)]
    #[case(".freezer-0123456789abcdef-stage", true)]
    #[case(".freezer-0123456789abcdef-probe", true)]
    #[case(".freezer-1111111111111111-0", false)]
    #[case(".freezer-0123456789abcdef-shared-0", false)]
    #[case(".freezer-0123456789abcdef-", false)]
    #[case(".freezer-0123456789abcdef", false)]
    #[case(".freezer-0123456789ABCDEF-0", false)]
    #[case(".freezer-swap", false)]
    #[case("freezer-0123456789abcdef-0", false)]
    fn only_names_of_other_runs_are_leftovers(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_leftover(name.as_bytes(), "1111111111111111"), expected);
    }
}
