//! The audit log's file: appended to under a lock, renamed when it has grown, read backwards in time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde_json::Value;

use crate::trusted;
use crate::usage::PluginUsage;

/// A file of this size is renamed and a new one begun: some ten thousand lines.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// How many older files are kept.
const KEPT: u32 = 4;
/// How often a file that was renamed meanwhile is opened anew.
const ATTEMPTS: u32 = 10;

/// What a plugin asked for in its last run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// When it asked first.
    pub time: String,
    /// What tells the run from others.
    pub run: String,
    /// What it asked for, in this order.
    pub used: Vec<Used>,
    /// What it used, if the run's end was written.
    pub usage: Option<PluginUsage>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The kind of grant.
    pub grant: String,
    /// The request in words.
    pub request: String,
    /// Whether it was allowed.
    pub allowed: bool,
    /// How often it was made, as far as the run's end was written.
    pub count: u64,
}

/// Adds whole lines, after those that others add at the same time.
pub(super) fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        trusted::make_directory(directory, 0o700)?;
    }
    let mut file = locked(path)?;
    if file.metadata()?.len() >= MAX_FILE_BYTES {
        rotate(path)?;
        file = locked(path)?;
    }
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    // A line that was cut off must not spoil the next one.
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    file.write_all(lines)
}

/// The file under its lock. It may have been renamed while the lock was waited for: then the new one is opened.
fn locked(path: &Path) -> io::Result<File> {
    for _ in 0..ATTEMPTS {
        let mut options = OpenOptions::new();
        let file = trusted::open(path, options.read(true).append(true).create(true).mode(0o600))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        match std::fs::symlink_metadata(path) {
            Ok(there) if there.ino() == file.metadata()?.ino() => return Ok(file),
            _ => {}
        }
    }
    Err(io::Error::other("it is renamed again and again"))
}

fn rotate(path: &Path) -> io::Result<()> {
    for age in (1..KEPT).rev() {
        match std::fs::rename(older(path, age), older(path, age + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, older(path, 1))
}

fn older(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// What a plugin asked for in the last run that is in the log, apart from the run `except`.
///
/// # Errors
/// Those of reading. Lines that make no sense are passed over.
pub fn last_run(path: &Path, plugin: &str, except: &str) -> io::Result<Option<LastRun>> {
    for file in std::iter::once(path.to_owned()).chain((1..=KEPT).map(|age| older(path, age))) {
        let text = match tail(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read?,
        };
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let about = |line: &&Value| line["plugin"] == plugin && line["run"] != except;
        let decisions = || {
            lines
                .iter()
                .filter(about)
                .filter(|line| line["event"] == "decision")
        };
        let ran = |line: &&Value| line["event"] == "decision" || line["event"] == "usage";
        let last = lines.iter().filter(about).rfind(ran);
        let Some(run) = last.and_then(|line| line["run"].as_str()) else {
            continue;
        };
        let of_run = || lines.iter().filter(about).filter(|line| line["run"] == run);
        let mut used: Vec<Used> = decisions().filter(|line| line["run"] == run).map(used).collect();
        for repeated in of_run().filter_map(|line| line["repeated"].as_array()).flatten() {
            let counted = self::used(repeated);
            let same =
                |used: &&mut Used| (&used.request, used.allowed) == (&counted.request, counted.allowed);
            if let Some(used) = used.iter_mut().find(same) {
                used.count = counted.count;
            }
        }
        let time = of_run().next().and_then(|line| line["time"].as_str());
        return Ok(Some(LastRun {
            time: time.unwrap_or_default().to_owned(),
            run: run.to_owned(),
            used,
            usage: of_run().find(|line| line["event"] == "usage").map(usage),
        }));
    }
    Ok(None)
}

fn usage(line: &Value) -> PluginUsage {
    let number = |key: &str| line[key].as_u64().unwrap_or(0);
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let seconds = line["cpu_seconds"].as_f64().unwrap_or(0.0);
    PluginUsage {
        plugin: text("plugin"),
        sha256: text("sha256"),
        calls: number("calls"),
        cpu: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        memory_bytes: number("memory_bytes"),
        requests: number("requests"),
        read_bytes: number("read_bytes"),
        ..PluginUsage::default()
    }
}

fn used(line: &Value) -> Used {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    Used {
        grant: text("grant"),
        request: text("request"),
        allowed: line["allowed"].as_bool().unwrap_or(false),
        count: line["count"].as_u64().unwrap_or(1),
    }
}

/// The end of a file as text.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = trusted::open(path, OpenOptions::new().read(true))?;
    let length = file.metadata()?.len();
    // A file grows a little beyond its bound before it is renamed.
    file.seek(SeekFrom::Start(length.saturating_sub(2 * MAX_FILE_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(2 * MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_log_is_bounded_and_only_added_to() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/audit.jsonl");
        let big = vec![b'x'; usize::try_from(MAX_FILE_BYTES).unwrap()];
        for _ in 0..KEPT + 3 {
            append(&path, &big).unwrap();
            append(&path, b"{}\n").unwrap();
        }
        let files = std::fs::read_dir(temp.path().join("a")).unwrap().count();
        assert_eq!(files, usize::try_from(KEPT).unwrap() + 1);
        let newest = std::fs::read_to_string(&path).unwrap();
        assert_eq!(newest, "{}\n");
    }

    #[test]
    fn a_cut_line_spoils_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("audit.jsonl");
        append(&path, b"{\"cut").unwrap();
        append(&path, b"{}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"cut\n{}\n");
    }

    #[test]
    fn a_link_in_its_place_is_not_written_through() {
        let temp = tempfile::tempdir().unwrap();
        let (path, victim) = (temp.path().join("audit.jsonl"), temp.path().join("victim"));
        std::fs::write(&victim, "").unwrap();
        symlink(&victim, &path).unwrap();
        assert!(
            append(&path, b"{}\n")
                .unwrap_err()
                .to_string()
                .contains("it is a link")
        );
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "");
    }

    #[test]
    fn the_last_run_is_that_of_the_plugin_and_has_its_counts() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("audit.jsonl");
        let text = concat!(
            "{\"time\":\"t1\",\"event\":\"decision\",\"run\":\"1\",\"plugin\":\"a\",\"grant\":\"http\",\"request\":\"x\",\"allowed\":true}\n",
            "{\"time\":\"t2\",\"event\":\"decision\",\"run\":\"2\",\"plugin\":\"a\",\"grant\":\"http\",\"request\":\"y\",\"allowed\":false}\n",
            "nonsense\n",
            "{\"event\":\"decisions\",\"run\":\"2\",\"plugin\":\"a\",\"repeated\":[{\"request\":\"y\",\"allowed\":false,\"count\":7}]}\n",
            "{\"time\":\"t3\",\"event\":\"decision\",\"run\":\"3\",\"plugin\":\"b\",\"grant\":\"http\",\"request\":\"z\",\"allowed\":true}\n",
        );
        append(&path, text.as_bytes()).unwrap();
        let last = last_run(&path, "a", "").unwrap().unwrap();
        assert_eq!((last.run.as_str(), last.time.as_str()), ("2", "t2"));
        assert_eq!((last.used[0].request.as_str(), last.used[0].count), ("y", 7));
        assert_eq!(last_run(&path, "c", "").unwrap(), None);
        assert_eq!(last.usage, None);
        let text = "{\"time\":\"t4\",\"event\":\"usage\",\"run\":\"4\",\"plugin\":\"a\",\"calls\":41,\"cpu_seconds\":0.012,\"memory_bytes\":3}\n";
        append(&path, text.as_bytes()).unwrap();
        let last = last_run(&path, "a", "").unwrap().unwrap();
        let usage = last.usage.unwrap();
        assert_eq!((last.run.as_str(), last.used.len()), ("4", 0));
        assert_eq!(
            (usage.calls, usage.cpu, usage.memory_bytes),
            (41, Duration::from_millis(12), 3)
        );
    }
}
