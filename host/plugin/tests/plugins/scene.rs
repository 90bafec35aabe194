//! Where a sin is committed: a host with the hostile guests and an honest storage at work beside them, a canary that nobody may
//! touch, and the memory of the process measured from outside.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use freezer_pipeline::store::{Existing, Store, StoreError};
use freezer_plugin::limits::{LimitOverride, LimitOverrides};
use freezer_plugin::{
    AuditConfig, HostConfig, Plugin, PluginHost, PluginKind, Run, SettingValue, StorageRequest,
};
use serde_json::Value;

use crate::canary::Canary;
use crate::common::{TestRun, built, guests, isolation, open_local, run};

/// What a sinner may cost at most, in MiB: its own memory (64) and that of a second instance, the bodies that it makes (64), what it
/// passes in one call (18), once more on the host's side, and the neighbour's work.
const MOST_MIB: u64 = 64 + 64 + 64 + 2 * 18 + 30;
/// How long a neighbour may take for a few small objects on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Scene {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) canary: Canary,
    pub(crate) run: TestRun,
    pub(crate) host: Arc<PluginHost>,
    neighbour: Neighbour,
    before_kib: u64,
}

impl Scene {
    /// A scene in which nothing is granted.
    pub(crate) fn new() -> Self {
        Self::granting(|_, _| String::new())
    }

    /// A scene in which the hostile storage is granted what these lines say about its directory and the canary.
    pub(crate) fn granting(grants: impl FnOnce(&Path, &Canary) -> String) -> Self {
        Self::under("", grants)
    }

    /// A scene in which these lines are granted to the hostile mode.
    pub(crate) fn granting_mode(lines: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let canary = Canary::new(temp.path());
        let config = config(temp.path());
        grant(&config, PluginKind::Mode, "hostile-mode", lines);
        Self::with(temp, canary, config)
    }

    /// The same under a policy.
    pub(crate) fn under(policy: &str, grants: impl FnOnce(&Path, &Canary) -> String) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let canary = Canary::new(temp.path());
        let lines = grants(temp.path(), &canary);
        fs::write(temp.path().join("policy.toml"), policy).unwrap();
        let config = config(temp.path());
        grant(&config, PluginKind::Storage, "hostile", &lines);
        Self::with(temp, canary, config)
    }

    /// A scene with one more component, found as any other.
    pub(crate) fn beside(component: &[u8]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let canary = Canary::new(temp.path());
        let foreign = temp.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("foreign.wasm"), component).unwrap();
        let mut config = config(temp.path());
        config.plugin_dirs.push(foreign);
        Self::with(temp, canary, config)
    }

    /// Why the component of a scene beside it doesn't load.
    #[track_caller]
    pub(crate) fn load_error(&self) -> String {
        let found = self.host.find(PluginKind::Storage, "foreign");
        let loaded = found.and_then(|plugin| self.host.load(&plugin, &self.run.run));
        loaded.expect_err("it loads").to_string()
    }

    fn with(temp: tempfile::TempDir, canary: Canary, config: HostConfig) -> Self {
        let host = Arc::new(PluginHost::new(config).unwrap());
        let run = run(Vec::new());
        // Compiling is measured elsewhere: both are there before the peak is.
        for name in ["hostile", "local"] {
            host.load(&host.find(PluginKind::Storage, name).unwrap(), &run.run)
                .unwrap();
        }
        let neighbour = Neighbour::start(&host, &temp.path().join("neighbour"));
        Self {
            before_kib: forget_peak(),
            temp,
            canary,
            run,
            host,
            neighbour,
        }
    }

    pub(crate) fn plugin(&self) -> Plugin {
        self.host.find(PluginKind::Storage, "hostile").unwrap()
    }

    /// The hostile storage, with a secret that it may be refused.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store_in(&self.run.run)
    }

    /// The same in another run.
    pub(crate) fn store_in(&self, run: &Arc<Run>) -> Arc<dyn Store> {
        self.store_with(run, &[("password", "correct horse")])
    }

    /// The same with these settings.
    pub(crate) fn store_with(&self, run: &Arc<Run>, settings: &[(&str, &str)]) -> Arc<dyn Store> {
        let plugin = self.plugin();
        let mut asked = StorageRequest::from(plugin.manifest().settings_from_url("hostile:x").unwrap());
        for (name, text) in settings {
            asked.settings.set(name, SettingValue::Text((*text).to_owned()));
        }
        self.host.open_storage(&plugin, asked, run).unwrap()
    }

    /// Commits a sin that must fail; afterwards a fresh instance answers.
    #[track_caller]
    pub(crate) fn fails(&self, key: &str) -> StoreError {
        let store = self.store();
        let error = store.stat(key).expect_err(key);
        assert_eq!(store.stat("fine").unwrap().unwrap().size, 1, "after {key}");
        error
    }

    /// Commits a sin that may end well; what it got.
    #[track_caller]
    pub(crate) fn got(&self, key: &str) -> u64 {
        self.store().stat(key).unwrap().unwrap().size
    }

    /// A request must be refused: the error names the plugin, the request and the line that would allow it, and so does the audit log.
    #[track_caller]
    pub(crate) fn refuses(&self, key: &str, kind: &str, request: &str, line: &str) {
        let error = self.fails(key);
        let digest = self.plugin().sha256().to_owned();
        let expected = format!(
            "plugin hostile isn't allowed {request}; to allow it, put this line into grants.toml below [hostile] with sha256 = \
             \"{digest}\": {line}"
        );
        assert_eq!(error.message, expected, "{key}");
        assert_eq!(error.kind, freezer_pipeline::store::ErrorKind::Denied, "{key}");
        self.assert_audited(kind, request, false);
    }

    /// The audit log has this decision.
    #[track_caller]
    pub(crate) fn assert_audited(&self, kind: &str, request: &str, allowed: bool) {
        let decisions = self.audited();
        let found = decisions.iter().any(|line| {
            line["plugin"] == "hostile"
                && line["grant"] == kind
                && line["request"] == request
                && line["allowed"] == allowed
        });
        assert!(
            found,
            "no {kind} {request:?} allowed = {allowed} in {decisions:#?}"
        );
    }

    /// The decisions in the audit log.
    pub(crate) fn audited(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.temp.path().join("audit/audit.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["event"] == "decision")
            .collect()
    }

    /// After the sin: the canary is untouched and all that holds for any scene.
    #[track_caller]
    pub(crate) fn unharmed(self) {
        self.canary.assert_untouched();
        self.survived();
    }

    /// After the sin: the neighbour was served and is, memory kept below its ceiling.
    #[track_caller]
    pub(crate) fn survived(self) {
        self.neighbour.assert_served();
        let mib = status_kib("VmHWM").saturating_sub(self.before_kib) / 1024;
        assert!(
            mib <= MOST_MIB,
            "it cost {mib} MiB, at most {MOST_MIB} are allowed"
        );
    }
}

/// Writes what is granted to exactly the component that there is.
fn grant(config: &HostConfig, kind: PluginKind, name: &str, lines: &str) {
    let plain = PluginHost::new(config.clone()).unwrap();
    let digest = plain.find(kind, name).unwrap().sha256().to_owned();
    let granted = format!("[{name}]\nsha256 = \"{digest}\"\n{lines}\n");
    fs::write(&config.grant_files[0], granted).unwrap();
}

fn config(temp: &Path) -> HostConfig {
    let few = LimitOverride {
        cpu_seconds: Some(2),
        call_seconds: Some(20),
        ..LimitOverride::default()
    };
    let limits = [("hostile", few.clone()), ("hostile-mode", few)];
    let policy = freezer_plugin::ScopedFile {
        path: temp.join("policy.toml"),
        scope: freezer_plugin::Scope::System,
    };
    let (isolation, compiler) = isolation();
    HostConfig {
        isolation,
        compiler,
        plugin_dirs: vec![guests(temp), built("local.wasm").parent().unwrap().to_owned()],
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")),
        grant_files: vec![temp.join("grants.toml")],
        policy_files: vec![policy],
        state_dir: Some(temp.join("state")),
        snapshot_dir: Some(temp.join("state/snapshots")),
        audit: Some(AuditConfig {
            path: temp.join("audit/audit.jsonl"),
            clock: Arc::new(|| "2026-11-30T09:00:00Z".to_owned()),
            run: "r1".to_owned(),
        }),
        limits: LimitOverrides(limits.map(|(name, limit)| (name.to_owned(), limit)).into()),
        ..HostConfig::default()
    }
}

/// An honest storage of the same host that is at work all the time.
struct Neighbour {
    served: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbour {
    fn start(host: &Arc<PluginHost>, place: &Path) -> Self {
        let run = run(Vec::new());
        let store = open_local(host, place, &run);
        let (served, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (Arc::clone(&served), Arc::clone(&stop));
        let work = move || {
            let _run = run;
            while !stopped.load(Ordering::Acquire) {
                let number = count.load(Ordering::Acquire);
                let content = Arc::new(format!("object {number}").into_bytes());
                store.put("k", Arc::clone(&content), Existing::Replace).unwrap();
                let mut read = Vec::new();
                std::io::Read::read_to_end(&mut store.read("k", 0, None).unwrap(), &mut read).unwrap();
                assert_eq!(read, *content);
                count.fetch_add(1, Ordering::AcqRel);
            }
        };
        Self {
            served,
            stop,
            thread: Some(std::thread::spawn(work)),
        }
    }

    /// It was served all along and is so now.
    #[track_caller]
    fn assert_served(mut self) {
        let (seen, end) = (self.served.load(Ordering::Acquire), Instant::now() + PATIENCE);
        while self.served.load(Ordering::Acquire) < seen + 2 {
            let thread = self.thread.as_ref().unwrap();
            assert!(
                !thread.is_finished() && Instant::now() < end,
                "the neighbour isn't served"
            );
            std::thread::yield_now();
        }
        self.stop.store(true, Ordering::Release);
        self.thread
            .take()
            .unwrap()
            .join()
            .expect("the neighbour was served");
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Lets the kernel forget the peak so far; what is used now, in KiB.
fn forget_peak() -> u64 {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    status_kib("VmRSS")
}

/// A figure of this process, in KiB.
fn status_kib(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}
