//! Storages as the host opens them: the built component behind the road's trait, in this process or beside it.

use std::path::PathBuf;
use std::sync::Arc;

use freezer_conformance::mode::ModeSubject;
use freezer_pipeline::store::Store;
use freezer_plugin::{
    HostConfig, Isolation, PluginHost, PluginKind, Run, RunConfig, Settings, StorageRequest,
};

use crate::sandbox::{Sandbox, freezer_binary, shared_cache, workspace};

/// A host that knows the built plugins. Compiled ones are kept for all test runs.
///
/// # Panics
/// When they aren't built.
#[must_use]
pub fn plugin_host(state_dir: PathBuf) -> PluginHost {
    host(state_dir, Isolation::None)
}

/// The same, with every plugin in processes of its own, which the binary under test makes.
///
/// # Panics
/// When they aren't built.
#[must_use]
pub fn isolating_host(state_dir: PathBuf) -> PluginHost {
    host(state_dir, Isolation::All)
}

fn host(state_dir: PathBuf, isolation: Isolation) -> PluginHost {
    let plugins = workspace().join("target/plugins");
    assert!(
        plugins.join("digests").is_file(),
        "no plugins in {}: run `make build` first",
        plugins.display()
    );
    let config = HostConfig {
        plugin_dirs: vec![plugins],
        cache_dir: Some(shared_cache().join("freezer")),
        snapshot_dir: Some(state_dir.join("snapshots")),
        state_dir: Some(state_dir),
        compiler: Some(freezer_binary()),
        isolation,
        ..HostConfig::default()
    };
    PluginHost::new(config).unwrap_or_else(|error| panic!("no plugin host: {error}"))
}

/// Opens a storage with settings beside its URL, in a run of its own that nothing cancels.
///
/// # Panics
/// When the plugin isn't there or refuses to be opened.
pub fn open_storage(host: &PluginHost, url: &str, settings: &[(String, String)]) -> Arc<dyn Store> {
    open_storage_of(host, url, settings, None)
}

/// The same with so many calls at once at most; with one, a run's calls come in the same order each time.
///
/// # Panics
/// When the plugin isn't there or refuses to be opened.
pub fn open_storage_of(
    host: &PluginHost,
    url: &str,
    settings: &[(String, String)],
    uploads: Option<u32>,
) -> Arc<dyn Store> {
    let scheme = url.split(':').next().unwrap_or_default();
    let plugin = host
        .find(PluginKind::Storage, scheme)
        .unwrap_or_else(|error| panic!("{url}: {error}"));
    let manifest = plugin.manifest();
    let mut given = manifest
        .settings_from_url(url)
        .unwrap_or_else(|error| panic!("{url}: {error}"));
    for (name, text) in settings {
        let (name, value) = manifest
            .parse_setting(name, text)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        given.set(&name, value);
    }
    let request = StorageRequest {
        settings: given,
        uploads,
    };
    host.open_storage(&plugin, request, &quiet_run())
        .unwrap_or_else(|error| panic!("can't open {url}: {error}"))
}

/// A run that nobody watches.
#[must_use]
pub fn quiet_run() -> Arc<Run> {
    Run::new(RunConfig::quiet())
}

/// A mode with its settings, for the rules that every mode keeps. `is_free` looks from outside.
///
/// # Panics
/// When the plugin isn't there or a setting isn't one of its own.
#[must_use]
pub fn mode_subject(
    mode: &str,
    settings: &[(&str, &str)],
    path: Option<PathBuf>,
    is_free: impl Fn() -> Result<(), String> + 'static,
) -> (ModeSubject, Sandbox) {
    let sandbox = Sandbox::on_disk();
    let host = plugin_host(sandbox.path("state"));
    mode_subject_of(sandbox, host, (mode, settings), path, is_free)
}

/// The same of a host of the caller's.
///
/// # Panics
/// When the plugin isn't there or a setting isn't one of its own.
#[must_use]
pub fn mode_subject_of(
    sandbox: Sandbox,
    host: PluginHost,
    (mode, settings): (&str, &[(&str, &str)]),
    path: Option<PathBuf>,
    is_free: impl Fn() -> Result<(), String> + 'static,
) -> (ModeSubject, Sandbox) {
    let plugin = host
        .find(PluginKind::Mode, mode)
        .unwrap_or_else(|error| panic!("{mode}: {error}"));
    let mut given = Settings::new();
    for (name, text) in settings {
        let parsed = plugin.manifest().parse_setting(name, text);
        let (name, value) = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
        given.set(&name, value);
    }
    let subject = ModeSubject {
        host,
        plugin,
        settings: given,
        path,
        target: sandbox.path("target"),
        is_free: Box::new(is_free),
    };
    (subject, sandbox)
}
