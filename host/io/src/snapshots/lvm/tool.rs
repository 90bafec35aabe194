//! Runs LVM's program: by its absolute path, in an environment of its own, and reads its reports.
//!
//! Nothing ends it early, not even a cancelled run: a volume whose tool was killed may stay suspended. It runs in a
//! process group of its own, so that a Ctrl-C of the terminal doesn't reach it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::{Error, ErrorKind};

/// Where distributions keep it.
const PROGRAMS: [&str; 3] = ["/usr/sbin/lvm", "/sbin/lvm", "/usr/bin/lvm"];
/// What a report shows of each volume.
const COLUMNS: &str =
    "vg_name,lv_name,lv_attr,lv_kernel_major,lv_kernel_minor,lv_path,origin,pool_lv,data_percent,lv_tags";

/// A logical volume as LVM reports it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(in crate::snapshots) struct Volume {
    #[serde(rename = "vg_name")]
    pub(super) group: String,
    #[serde(rename = "lv_name")]
    pub(super) name: String,
    /// One letter per property, see lvs(8).
    #[serde(rename = "lv_attr")]
    pub(super) attributes: String,
    #[serde(rename = "lv_kernel_major")]
    major: String,
    #[serde(rename = "lv_kernel_minor")]
    minor: String,
    /// The device.
    #[serde(rename = "lv_path")]
    pub(super) path: String,
    /// The volume that it is a snapshot of.
    pub(super) origin: String,
    #[serde(rename = "pool_lv")]
    pub(super) pool: String,
    data_percent: String,
    #[serde(rename = "lv_tags")]
    tags: String,
}

impl Volume {
    fn attribute(&self, place: usize) -> char {
        self.attributes.chars().nth(place).unwrap_or('-')
    }

    /// Whether it lies in a thin pool.
    pub(super) fn is_thin(&self) -> bool {
        self.attribute(0) == 'V'
    }

    /// Whether it is a snapshot with room of its own for changes.
    pub(super) fn is_thick_snapshot(&self) -> bool {
        matches!(self.attribute(0), 's' | 'S')
    }

    /// Why its content can't be trusted, in words that follow its name.
    pub(super) fn fault(&self) -> Option<String> {
        let is_full = || {
            self.data_percent
                .parse()
                .is_ok_and(|percent: f64| percent >= 100.0)
        };
        let state = self.attribute(4);
        if matches!(state, 'I' | 'S') || (self.is_thick_snapshot() && is_full()) {
            return Some("overflowed".to_owned());
        }
        (self.attribute(8) == 'F').then(|| "can't be read: its pool failed".to_owned())
    }

    /// Its device's number, while it is active.
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        Some((self.major.parse().ok()?, self.minor.parse().ok()?))
    }

    /// Whether it bears a tag.
    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.tags.split(',').any(|own| own == tag)
    }
}

#[derive(Deserialize)]
struct Report {
    report: Vec<Section>,
}

#[derive(Deserialize)]
struct Section {
    lv: Vec<Volume>,
}

/// The volumes of a group, or all.
pub(super) fn volumes(group: Option<&str>) -> Result<Vec<Volume>, Error> {
    let mut arguments = vec!["lvs", "--reportformat", "json", "-o", COLUMNS];
    arguments.extend(group);
    let text = run(&arguments)?;
    let report: Report = serde_json::from_str(&text).map_err(|error| {
        let message = format!("can't understand the report of lvs: {error}");
        Error::new(ErrorKind::Other, message)
    })?;
    Ok(report.report.into_iter().flat_map(|section| section.lv).collect())
}

/// Runs it and answers what it printed.
///
/// # Errors
/// `Unsupported` where it isn't installed; else what it complained about.
pub(super) fn run(arguments: &[&str]) -> Result<String, Error> {
    let program = PROGRAMS.iter().find(|program| Path::new(program).exists());
    let program = program.ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            "LVM's tools aren't installed: install the package lvm2",
        )
    })?;
    let failed = |why: String| {
        let verb = arguments.first().copied().unwrap_or_default();
        Error::new(ErrorKind::Other, format!("{verb} failed: {why}"))
    };
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .map_err(|error| failed(format!("can't start {program}: {error}")))?;
    let complaint = complaint(&output.stderr);
    if output.status.success() {
        if !complaint.is_empty() {
            tracing::debug!(?arguments, complaint, "LVM has something to say");
        }
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    match complaint.is_empty() {
        true => Err(failed(output.status.to_string())),
        false => Err(failed(complaint)),
    }
}

/// Its complaints on one line, those that warn of nothing in the way left out unless there is nothing else.
fn complaint(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let grave: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| !line.starts_with("WARNING:"))
        .collect();
    match grave.is_empty() {
        true => lines.join("; "),
        false => grave.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(attributes: &str, percent: &str) -> Volume {
        let text = format!(
            r#"{{"report":[{{"lv":[{{"vg_name":"vg0","lv_name":"s1","lv_attr":"{attributes}","lv_kernel_major":"254",
            "lv_kernel_minor":"8","lv_path":"/dev/vg0/s1","origin":"data","pool_lv":"","data_percent":"{percent}",
            "lv_tags":"a,freezer"}}]}}]}}"#
        );
        let report: Report = serde_json::from_str(&text).unwrap();
        report.report[0].lv[0].clone()
    }

    #[test]
    fn a_report_tells_what_can_not_be_trusted() {
        for (attributes, percent, fault) in [
            ("sri-a-s---", "9.56", None),
            ("sri-I-s---", "100.00", Some("overflowed")),
            ("swi-S-s---", "100.00", Some("overflowed")),
            ("sri-a-s---", "100.00", Some("overflowed")),
            ("Vri-aotz-k", "100.00", None),
            ("Vri-a-tzFk", "20.00", Some("can't be read: its pool failed")),
        ] {
            assert_eq!(
                volume(attributes, percent).fault().as_deref(),
                fault,
                "{attributes}"
            );
        }
        let volume = volume("sri-a-s---", "");
        assert!(volume.has_tag("freezer") && !volume.has_tag("free"));
        assert_eq!(volume.device(), Some((254, 8)));
        assert!(volume.is_thick_snapshot() && !volume.is_thin());
    }

    #[test]
    fn complaints_are_told_without_what_only_warns() {
        let text =
            b"  WARNING: not backed up.\n  Volume group \"x\" not found\n  Cannot process volume group x\n";
        assert_eq!(
            complaint(text),
            "Volume group \"x\" not found; Cannot process volume group x"
        );
        assert_eq!(complaint(b"  WARNING: alone\n"), "WARNING: alone");
    }
}
