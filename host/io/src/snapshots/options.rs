//! How a snapshot is to be made: the settings of a mode, as plugin.toml passes them on, checked before anything is done.
//!
//! Names and values end on the command line of LVM's tools, so only what LVM itself would take passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Room for what changes in the origin while a thick snapshot lives, as the original has it.
const DEFAULT_SIZE: &str = "1G";
/// How long writers may have to wait for a frozen file system.
const DEFAULT_FREEZE: Duration = Duration::from_secs(300);
/// The longest name that LVM takes.
const MAX_NAME_BYTES: usize = 127;

/// How a view is frozen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// By what the path lies on: btrfs or LVM.
    #[default]
    Auto,
    /// A snapshot of the logical volume.
    Lvm,
    /// A read-only snapshot of the subvolume.
    Btrfs,
    /// The file system itself is frozen: whoever writes to it waits until the backup has read everything.
    Freeze,
}

/// Whether the view may be written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Permission {
    /// It can only be read.
    #[default]
    ReadOnly,
    /// It can be changed, which the origin doesn't notice.
    ReadWrite,
}

/// Room for a thick snapshot, in LVM's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Size {
    /// For `--size`: "1G".
    Bytes(String),
    /// For `--extents`: "20%ORIGIN".
    Extents(String),
}

/// How a snapshot is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// By which technique.
    pub method: Method,
    /// The logical volume that the user takes the path to be on: `/dev/GROUP/VOLUME` or `GROUP/VOLUME`.
    pub volume: Option<String>,
    /// The volume group that the user takes it to be in.
    pub group: Option<String>,
    /// The name of the snapshot; a new one without it.
    pub name: Option<String>,
    /// Whether it may be written to.
    pub permission: Permission,
    /// Room for changes in the origin; thin volumes need none.
    pub size: Size,
    /// Where it is mounted; in a directory of its own without it.
    pub directory: Option<PathBuf>,
    /// How long a file system stays frozen at most.
    pub freeze_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::Auto,
            volume: None,
            group: None,
            name: None,
            permission: Permission::ReadOnly,
            size: Size::Bytes(DEFAULT_SIZE.to_owned()),
            directory: None,
            freeze_limit: DEFAULT_FREEZE,
        }
    }
}

impl Options {
    /// Reads them from settings; an empty value counts as none.
    ///
    /// # Errors
    /// `Invalid`, which names the setting and what it takes.
    pub fn parse<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Error> {
        let mut options = Self::default();
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            match name {
                "snapshot" => options.method = method(value)?,
                "lvm-srcvol" => options.volume = Some(value.to_owned()),
                "lvm-volgroup" => options.group = Some(lvm_name(name, value)?),
                "lvm-snapname" => options.name = Some(lvm_name(name, value)?),
                "lvm-snap-perm" => options.permission = permission(value)?,
                "lvm-snapsize" => options.size = size(value)?,
                "lvm-dirmount" => options.directory = Some(directory(value)?),
                "freeze-seconds" => options.freeze_limit = freeze_limit(value)?,
                _ => return Err(invalid(name, value, "is no option of snapshots")),
            }
        }
        Ok(options)
    }
}

fn method(value: &str) -> Result<Method, Error> {
    match value {
        "auto" => Ok(Method::Auto),
        "lvm" => Ok(Method::Lvm),
        "btrfs" => Ok(Method::Btrfs),
        "freeze" => Ok(Method::Freeze),
        _ => Err(invalid("snapshot", value, "must be auto, lvm, btrfs or freeze")),
    }
}

fn permission(value: &str) -> Result<Permission, Error> {
    match value {
        "ro" => Ok(Permission::ReadOnly),
        "rw" => Ok(Permission::ReadWrite),
        _ => Err(invalid("lvm-snap-perm", value, "must be ro or rw")),
    }
}

fn freeze_limit(value: &str) -> Result<Duration, Error> {
    let seconds = value
        .parse()
        .ok()
        .filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        invalid(
            "freeze-seconds",
            value,
            "must be a number of seconds from 1 to 86400",
        )
    })
}

fn directory(value: &str) -> Result<PathBuf, Error> {
    let is_plain =
        Path::new(value).is_absolute() && !value.split('/').any(|part| part == ".." || part == ".");
    match is_plain && value.trim_end_matches('/').len() > 1 {
        true => Ok(PathBuf::from(value)),
        false => Err(invalid(
            "lvm-dirmount",
            value,
            "must be an absolute path of an empty directory",
        )),
    }
}

/// A name that LVM takes and that can't be mistaken for an option or a path.
fn lvm_name(setting: &str, value: &str) -> Result<String, Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte);
    let is_name = value.len() <= MAX_NAME_BYTES
        && value.bytes().all(plain)
        && !value.starts_with('-')
        && ![".", ".."].contains(&value);
    match is_name {
        true => Ok(value.to_owned()),
        false => Err(invalid(
            setting,
            value,
            "must be a name that LVM takes: letters, digits and + _ . -",
        )),
    }
}

/// A number with a unit, or with a percent sign and of what.
fn size(value: &str) -> Result<Size, Error> {
    const WHAT: &str = "must be a size such as 1G, or a share such as 20%ORIGIN, 50%FREE or 10%VG";
    let refused = || invalid("lvm-snapsize", value, WHAT);
    let end = value
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    if !number.parse::<f64>().is_ok_and(|number| number > 0.0) {
        return Err(refused());
    }
    match unit.strip_prefix('%') {
        // LVM wants to know of what; the original's users write a bare percent sign.
        Some("") => Ok(Size::Extents(format!("{number}%ORIGIN"))),
        Some(of) if ["ORIGIN", "FREE", "VG", "PVS"].contains(&of.to_ascii_uppercase().as_str()) => {
            Ok(Size::Extents(format!("{number}%{}", of.to_ascii_uppercase())))
        }
        Some(_) => Err(refused()),
        None if unit.len() <= 1
            && unit
                .bytes()
                .all(|byte| b"bskmgtpe".contains(&byte.to_ascii_lowercase())) =>
        {
            Ok(Size::Bytes(value.to_owned()))
        }
        None => Err(refused()),
    }
}

fn invalid(setting: &str, value: &str, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{setting} {value:?} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_original() {
        let options = Options::parse([]).unwrap();
        assert_eq!(options, Options::default());
        assert_eq!(options.size, Size::Bytes("1G".to_owned()));
        assert_eq!(options.permission, Permission::ReadOnly);
        assert_eq!(Options::parse([("lvm-snapname", "")]).unwrap(), options);
    }

    #[test]
    fn sizes_are_bytes_or_shares() {
        let parsed = |text: &str| Options::parse([("lvm-snapsize", text)]).map(|options| options.size);
        for (text, size) in [
            ("1G", Size::Bytes("1G".into())),
            ("1.5t", Size::Bytes("1.5t".into())),
            ("512", Size::Bytes("512".into())),
            ("20%ORIGIN", Size::Extents("20%ORIGIN".into())),
            ("50%free", Size::Extents("50%FREE".into())),
            ("20%", Size::Extents("20%ORIGIN".into())),
        ] {
            assert_eq!(parsed(text).unwrap(), size, "{text}");
        }
        for text in ["G", "-1G", "0", "1GB", "1G --yes", "20%X", "nan", "1G\n", "%"] {
            assert_eq!(parsed(text).unwrap_err().kind, ErrorKind::Invalid, "{text:?}");
        }
    }

    #[test]
    fn what_lvm_would_not_take_is_refused() {
        for (name, value) in [
            ("lvm-snapname", "-f"),
            ("lvm-snapname", "a/b"),
            ("lvm-snapname", ".."),
            ("lvm-volgroup", "vg 0"),
            ("lvm-snap-perm", "w"),
            ("lvm-dirmount", "mnt"),
            ("lvm-dirmount", "/"),
            ("lvm-dirmount", "/a/../b"),
            ("freeze-seconds", "0"),
            ("snapshot", "yes"),
            ("colour", "red"),
        ] {
            let refused = Options::parse([(name, value)]).unwrap_err();
            assert!(refused.message.contains(name), "{refused}");
        }
    }
}
