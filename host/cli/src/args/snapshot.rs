//! The options of `freezer backup` for frozen views, with the names that the original gave to them.
//!
//! They are settings of the mode, which says what it takes; the names are the same.

use std::path::PathBuf;

/// Options for frozen views.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Snapshots")]
pub(crate) struct SnapshotArgs {
    /// Back up a frozen view: auto finds out whether by lvm or btrfs; freeze makes all who write there wait
    /// [default with =METHOD left out: auto]
    #[arg(
        long, value_name = "METHOD", num_args = 0..=1, require_equals = true, default_missing_value = "auto",
        conflicts_with = "cross_file_systems"
    )]
    pub(crate) snapshot: Option<String>,
    /// The same as PATH --snapshot
    #[arg(long, value_name = "PATH", conflicts_with_all = ["path", "cross_file_systems"])]
    pub(crate) lvm_auto_snap: Option<PathBuf>,
    /// Logical volume that PATH must be on [default: found by the path]
    #[arg(long, value_name = "VOLUME")]
    pub(crate) lvm_srcvol: Option<String>,
    /// Volume group that it must be in [default: found by the path]
    #[arg(long, value_name = "GROUP")]
    pub(crate) lvm_volgroup: Option<String>,
    /// Name of the LVM snapshot [default: a new one]
    #[arg(long, value_name = "NAME")]
    pub(crate) lvm_snapname: Option<String>,
    /// Whether the LVM snapshot can be written: ro or rw [default: ro]
    #[arg(long, value_name = "PERMISSION")]
    pub(crate) lvm_snap_perm: Option<String>,
    /// Room for what changes meanwhile: 1G, 20%ORIGIN, 50%FREE [default: 1G]
    #[arg(long, value_name = "SIZE")]
    pub(crate) lvm_snapsize: Option<String>,
    /// Empty directory to mount the LVM snapshot in [default: a new one that only root enters]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) lvm_dirmount: Option<String>,
}

impl SnapshotArgs {
    /// Those that were given, as settings of the mode.
    pub(crate) fn settings(self) -> Vec<(&'static str, String)> {
        let auto = self.lvm_auto_snap.map(|_| "auto".to_owned());
        let all = [
            ("snapshot", self.snapshot.or(auto)),
            ("lvm-srcvol", self.lvm_srcvol),
            ("lvm-volgroup", self.lvm_volgroup),
            ("lvm-snapname", self.lvm_snapname),
            ("lvm-snap-perm", self.lvm_snap_perm),
            ("lvm-snapsize", self.lvm_snapsize),
            ("lvm-dirmount", self.lvm_dirmount),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.collect()
    }
}
