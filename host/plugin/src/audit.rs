//! The audit log: what plugins asked for and got, and who changed what they may do. JSON lines, only ever added to.
//!
//! One file of this user with mode 0600. A decision of a run is written when it is made for the first time, so that it is
//! there even if the process is killed; how often each was made follows in one line when the run ends. A file that
//! has grown is renamed and a new one begun; the oldest goes, so the log has a bound.
//!
//! Each line is an object with `time`, `event`, `run`, `user` and what the event is about:
//!
//! | `event` | further keys |
//! |---|---|
//! | `decision` | `plugin`, `sha256`, `grant`, `request`, `allowed`; `rule` where a policy forbade it |
//! | `decisions` | `plugin`, `sha256`, `allowed`, `refused`: how many; `repeated`: those made more than once; `unwritten` |
//! | `usage` | `plugin`, `sha256`, and what it used in the run that ended |
//! | `install`, `update`, `remove`, `load` … | what the caller says; `outcome` is `done` or `refused` |

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::escape;
use crate::grants::GrantKind;

pub use file::{LastRun, Used, last_run};

/// The most different decisions of one plugin in one run that are written: a plugin must not push older lines out of the log.
const MAX_DECISIONS: usize = 200;
/// The longest request that is written.
const MAX_REQUEST: usize = 400;

/// Says what time it is, as it is to be written.
pub type Clock = Arc<dyn Fn() -> String + Send + Sync>;

/// Where an audit log is and what it is told by its caller.
#[derive(Clone)]
pub struct AuditConfig {
    /// The file. Older ones lie beside it.
    pub path: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// What tells this run from others.
    pub run: String,
}

impl fmt::Debug for AuditConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AuditConfig({}, {})", self.path.display(), self.run)
    }
}

/// An audit log, opened for one run.
pub struct AuditLog {
    config: AuditConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plugins: BTreeMap<(String, String), Counts>,
    /// Whether somebody was told that it can't be written.
    told: bool,
}

/// The decisions about one plugin.
#[derive(Default)]
struct Counts {
    allowed: u64,
    refused: u64,
    /// Decisions that were too many to be kept apart.
    unwritten: u64,
    requests: BTreeMap<Decision, u64>,
}

/// What was decided, of which each run writes one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decision {
    /// The kind of grant; none for what the user named himself.
    pub(crate) grant: Option<GrantKind>,
    /// What was asked, in words.
    pub(crate) request: String,
    /// Whether it was allowed.
    pub(crate) allowed: bool,
    /// The line of a policy that forbade it.
    pub(crate) rule: Option<String>,
}

impl Decision {
    fn fields(&self) -> Value {
        json!({
            "grant": self.grant.map_or("named", GrantKind::key),
            "request": escape::line(&self.request, MAX_REQUEST),
            "allowed": self.allowed,
            "rule": self.rule,
        })
    }
}

impl AuditLog {
    /// A log that nothing was written to yet.
    #[must_use]
    pub fn new(config: AuditConfig) -> Self {
        Self {
            config,
            state: Mutex::default(),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.config.path
    }

    /// Writes an event of its caller's.
    ///
    /// A log that can't be written stops nothing: it is warned of once.
    pub fn event(&self, event: &str, fields: Value) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut state, event, fields);
    }

    /// Counts a decision, and writes it if this run made it for the first time.
    pub(crate) fn decided(&self, plugin: &str, sha256: &str, decision: Decision) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = state
            .plugins
            .entry((plugin.to_owned(), sha256.to_owned()))
            .or_default();
        match decision.allowed {
            true => counts.allowed += 1,
            false => counts.refused += 1,
        }
        if let Some(count) = counts.requests.get_mut(&decision) {
            *count += 1;
            return;
        }
        if counts.requests.len() >= MAX_DECISIONS {
            counts.unwritten += 1;
            return;
        }
        let mut fields = decision.fields();
        counts.requests.insert(decision, 1);
        if let Some(map) = fields.as_object_mut() {
            map.insert("plugin".to_owned(), json!(plugin));
            map.insert("sha256".to_owned(), json!(sha256));
        }
        self.write(&mut state, "decision", fields);
    }

    fn write(&self, state: &mut State, event: &str, fields: Value) {
        let mut line = Map::new();
        line.insert("time".to_owned(), json!((self.config.clock)()));
        line.insert("event".to_owned(), json!(event));
        line.insert("run".to_owned(), json!(self.config.run));
        line.insert("user".to_owned(), json!(rustix::process::getuid().as_raw()));
        if let Value::Object(fields) = fields {
            line.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        if let Err(error) = file::append(&self.config.path, text.as_bytes())
            && !std::mem::replace(&mut state.told, true)
        {
            let path = self.config.path.display();
            tracing::warn!("can't write the audit log {path}, so this run isn't in it: {error}");
        }
    }
}

impl Drop for AuditLog {
    /// Writes how often each decision of the run was made.
    fn drop(&mut self) {
        let mut state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        for ((plugin, sha256), counts) in std::mem::take(&mut state.plugins) {
            let repeated = counts.requests.iter().filter(|(_, count)| **count > 1);
            let repeated: Vec<Value> = repeated
                .map(|(decision, count)| {
                    let mut fields = decision.fields();
                    if let Some(map) = fields.as_object_mut() {
                        map.retain(|_, value| !value.is_null());
                        map.insert("count".to_owned(), json!(count));
                    }
                    fields
                })
                .collect();
            let fields = json!({
                "plugin": plugin,
                "sha256": sha256,
                "allowed": counts.allowed,
                "refused": counts.refused,
                "repeated": repeated,
                "unwritten": (counts.unwritten > 0).then_some(counts.unwritten),
            });
            self.write(&mut state, "decisions", fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn log(temp: &Path, run: &str) -> AuditLog {
        AuditLog::new(AuditConfig {
            path: temp.join("state/audit.jsonl"),
            clock: Arc::new(|| "2026-11-30T09:00:00Z".to_owned()),
            run: run.to_owned(),
        })
    }

    fn decision(request: &str, allowed: bool) -> Decision {
        Decision {
            grant: Some(GrantKind::Http),
            request: request.to_owned(),
            allowed,
            rule: None,
        }
    }

    fn lines(temp: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(temp.join("state/audit.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_decision_is_written_once_and_counted_at_the_end() {
        let temp = tempfile::tempdir().unwrap();
        let log = log(temp.path(), "r1");
        for _ in 0..41 {
            log.decided("acme", "ab", decision("to connect", true));
        }
        log.decided("acme", "ab", decision("to\nread", false));
        assert_eq!(lines(temp.path()).len(), 2, "both are there before the run ends");
        drop(log);
        let lines = lines(temp.path());
        assert_eq!(lines[1]["request"], "to\\u{a}read");
        let last = &lines[2];
        assert_eq!(
            (&last["event"], &last["allowed"], &last["refused"]),
            (&json!("decisions"), &json!(41), &json!(1))
        );
        assert_eq!(last["repeated"][0]["count"], 41);
        let mode = std::fs::metadata(temp.path().join("state/audit.jsonl"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_plugin_that_asks_for_everything_does_not_flood_it() {
        let temp = tempfile::tempdir().unwrap();
        let log = log(temp.path(), "r1");
        for number in 0..5000 {
            log.decided(
                "acme",
                "ab",
                decision(&format!("{number}{}", "x".repeat(10_000)), false),
            );
        }
        drop(log);
        let lines = lines(temp.path());
        assert_eq!(lines.len(), MAX_DECISIONS + 1);
        assert_eq!(
            (
                &lines[MAX_DECISIONS]["refused"],
                &lines[MAX_DECISIONS]["unwritten"]
            ),
            (&json!(5000), &json!(4800))
        );
        assert!(lines[0]["request"].as_str().unwrap().len() < 500);
    }
}
