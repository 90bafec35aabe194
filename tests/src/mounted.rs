//! A file system in a file, mounted on the source of a sandbox.

use std::fs::File;
use std::path::PathBuf;

use crate::process::program;
use crate::sandbox::Sandbox;

/// A mount that lasts until this is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// A btrfs of so many MiB, which can make snapshots.
    #[track_caller]
    pub fn btrfs(sandbox: &Sandbox, mebibytes: u64) -> Self {
        let image = sandbox.path("image");
        let file = File::create(&image).expect("an image");
        file.set_len(mebibytes << 20).expect("its size");
        program("mkfs.btrfs").arg("-q").arg(&image).run().expect(0);
        let mount = program("mount").args(["-o", "loop"]);
        mount.arg(&image).arg(sandbox.source()).run().expect(0);
        Self(sandbox.source())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(program("umount").arg("-l").arg(&self.0).run());
    }
}
