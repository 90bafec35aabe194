//! What the tests of the plugin host share: where the built plugins lie, and a run that remembers what it was told.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::store::Store;
use freezer_plugin::limits::{LimitOverride, LimitOverrides};
use freezer_plugin::{
    BandwidthLimits, HostConfig, Isolation, PluginHost, PluginKind, Run, RunConfig, SettingValue,
    StorageRequest,
};

thread_local! {
    /// Whether the hosts of this test run their plugins in processes of their own.
    static APART: Cell<bool> = const { Cell::new(false) };
}

/// From here on the hosts of this test run all plugins in processes of their own.
pub(crate) fn run_apart() {
    APART.set(true);
}

/// Where plugins run, and the program that makes their processes.
pub(crate) fn isolation() -> (Isolation, Option<PathBuf>) {
    if !APART.get() {
        return (Isolation::None, None);
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/freezer");
    assert!(
        program.is_file(),
        "{} isn't there: run make build first",
        program.display()
    );
    (Isolation::All, Some(program))
}

/// Where `plugins/build.sh` leaves the plugins and the hostile guests.
pub(crate) fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/plugins")
        .join(name);
    assert!(
        path.exists(),
        "{} isn't there: run make plugins first",
        path.display()
    );
    path
}

/// A run whose warnings can be looked at.
pub(crate) struct TestRun {
    pub(crate) run: Arc<Run>,
    pub(crate) cancel: Cancel,
    pub(crate) warnings: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn run(named_paths: Vec<PathBuf>) -> TestRun {
    limited_run(named_paths, BandwidthLimits::default())
}

/// The same, no faster than these limits.
pub(crate) fn limited_run(named_paths: Vec<PathBuf>, bandwidth: BandwidthLimits) -> TestRun {
    let cancel = Cancel::new();
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&warnings);
    let run = Run::new(RunConfig {
        cancel: cancel.clone(),
        named_paths,
        warn: Arc::new(move |line| told.lock().unwrap().push(line)),
        progress: Arc::new(|_, _| {}),
        tell: Arc::new(|_| {}),
        bandwidth,
    });
    TestRun {
        run,
        cancel,
        warnings,
    }
}

/// A host with the built plugins and its own cache and state.
pub(crate) fn host(temp: &Path) -> PluginHost {
    PluginHost::new(config(temp)).unwrap()
}

pub(crate) fn config(temp: &Path) -> HostConfig {
    HostConfig {
        plugin_dirs: vec![built("local.wasm").parent().unwrap().to_owned()],
        cache_dir: Some(temp.join("cache")),
        grant_files: vec![temp.join("grants.toml")],
        state_dir: Some(temp.join("state")),
        ..HostConfig::default()
    }
}

/// Opens the local storage on a directory.
pub(crate) fn open_local(host: &PluginHost, dir: &Path, run: &TestRun) -> Arc<dyn Store> {
    let plugin = host.find(PluginKind::Storage, "local").unwrap();
    let settings = plugin
        .manifest()
        .settings_from_url(&format!("local:{}", dir.display()))
        .unwrap();
    host.open_storage(&plugin, settings, &run.run).unwrap()
}

/// A directory with copies of hostile guests under the names given.
pub(crate) fn guests(temp: &Path) -> PathBuf {
    let dir = temp.join("guests");
    std::fs::create_dir_all(&dir).unwrap();
    for kind in ["storage.wasm", "mode.wasm"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../target/guests")
            .join(kind);
        assert!(
            from.exists(),
            "{} isn't there: run plugins/build.sh guests first",
            from.display()
        );
        std::fs::copy(from, dir.join(kind)).unwrap();
    }
    dir
}

/// A host that knows the hostile guests only. They share a cache, since compiling is slow.
pub(crate) fn hostile_host(temp: &Path, limits: LimitOverride) -> PluginHost {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let limits = [
        ("hostile".to_owned(), limits.clone()),
        ("hostile-mode".to_owned(), limits),
    ];
    let config = HostConfig {
        plugin_dirs: vec![guests(temp)],
        cache_dir: Some(cache),
        grant_files: vec![temp.join("grants.toml")],
        state_dir: Some(temp.join("state")),
        snapshot_dir: Some(temp.join("state/snapshots")),
        limits: LimitOverrides(limits.into_iter().collect()),
        ..HostConfig::default()
    };
    PluginHost::new(config).unwrap()
}

/// The hostile storage, with these grants and settings.
pub(crate) fn open_hostile(
    temp: &Path,
    grants: &str,
    request: impl FnOnce(&mut StorageRequest),
) -> (TestRun, Arc<dyn Store>) {
    let digest = |host: &freezer_plugin::PluginHost| {
        host.find(PluginKind::Storage, "hostile")
            .unwrap()
            .sha256()
            .to_owned()
    };
    let digest = digest(&hostile_host(temp, LimitOverride::default()));
    let grants = format!("[hostile]\nsha256 = \"{digest}\"\n{grants}\n");
    std::fs::write(temp.join("grants.toml"), grants).unwrap();
    let (host, run) = (hostile_host(temp, LimitOverride::default()), run(Vec::new()));
    let plugin = host.find(PluginKind::Storage, "hostile").unwrap();
    let mut asked = StorageRequest::from(plugin.manifest().settings_from_url("hostile:x").unwrap());
    asked
        .settings
        .set("password", SettingValue::Text("correct horse".to_owned()));
    request(&mut asked);
    let store = host.open_storage(&plugin, asked, &run.run).unwrap();
    (run, store)
}
