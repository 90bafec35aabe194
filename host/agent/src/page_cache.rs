//! The kernel's buffered memory: written out before a backup, and given back.
//!
//! A backup of files needs neither: reads see what is still in memory. Writing out is for those who snapshot below the file
//! system, and because the original does it; giving back is for machines whose memory others need more.

use std::io;

/// Where the kernel is told to drop clean pages of everything.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// What is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DropCaches {
    /// Nothing: pages stay as long as the kernel likes.
    #[default]
    None,
    /// The pages of each file that was read, after it was read.
    Read,
    /// Those, and before anything is read the clean pages of the whole machine, which only root may.
    All,
}

/// Writes what is in memory of all file systems to their disks, and waits for that.
pub fn sync_file_systems() {
    rustix::fs::sync();
}

/// Drops the clean pages of the whole machine.
///
/// # Errors
/// When this user may not, or the kernel has no such switch.
pub fn drop_all_pages() -> io::Result<()> {
    let mut switch = std::fs::OpenOptions::new().write(true).open(DROP_CACHES)?;
    io::Write::write_all(&mut switch, b"1\n")
}
