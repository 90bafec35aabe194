//! The host driven by a guest that reads the bytes as a program of host calls (`tests/guests/storage/src/program.rs`).
//!
//! `plugins/build.sh guests` comes first.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use freezer_pipeline::store::Store;
use freezer_plugin::{HostConfig, PluginHost, PluginKind, Run, RunConfig};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(Stage::new).play(bytes);
});

struct Stage {
    root: PathBuf,
    store: Arc<dyn Store>,
    run: Arc<Run>,
    _host: PluginHost,
}

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
}

/// The fuzzer's own `main` leaves it to a written pipe without a reader to end the process; that of a program in Rust doesn't.
fn ignore_broken_pipes() {
    const SIGPIPE: i32 = 13;
    const IGNORE: usize = 1;
    // SAFETY: nothing runs on that signal any more.
    unsafe { signal(SIGPIPE, IGNORE) };
}

impl Stage {
    fn new() -> Self {
        ignore_broken_pipes();
        let temp = std::env::temp_dir().join(format!("freezer-fuzz-{}", std::process::id()));
        let root = temp.join("granted");
        fs::create_dir_all(&root).expect("a folder");
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests");
        let config = HostConfig {
            plugin_dirs: vec![guests],
            grant_files: vec![temp.join("grants.toml")],
            cache_dir: Some(temp.join("cache")),
            ..HostConfig::default()
        };
        let plain = PluginHost::new(config.clone()).expect("a host");
        let digest = plain
            .find(PluginKind::Storage, "hostile")
            .expect("run plugins/build.sh guests first")
            .sha256()
            .to_owned();
        // Nobody listens on port 1: calls by the network fail early.
        let grants = format!(
            "[hostile]\nsha256 = \"{digest}\"\nfiles = [{{ root = {root:?}, access = \"read-write\" }}]\ntcp = [\"127.0.0.1:1\"]\nssh = [\"127.0.0.1:1\"]\n\
             sql = [\"127.0.0.1:1\"]\n\
             http = [\"http://127.0.0.1:1\"]\nsecrets = [\"password\"]\nprocesses = [{{ program = \"/bin/cat\" }}]\n"
        );
        fs::write(temp.join("grants.toml"), grants).expect("grants.toml");
        let host = PluginHost::new(config).expect("a host");
        let run = Run::new(RunConfig::quiet());
        let plugin = host.find(PluginKind::Storage, "hostile").expect("it was there");
        let settings = plugin
            .manifest()
            .settings_from_url("hostile:x")
            .expect("settings");
        let store = host.open_storage(&plugin, settings, &run).expect("a store");
        Self {
            root,
            store,
            run,
            _host: host,
        }
    }

    fn play(&self, bytes: &[u8]) {
        let bytes = bytes.get(..400).unwrap_or(bytes);
        let program: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = format!(
            "runs_a_program {} 127.0.0.1:1 {program} 127.0.0.1:1",
            self.root.display()
        );
        if let Err(error) = self.store.stat(&key) {
            assert!(error.message.contains("plugin hostile "), "{error}");
        }
        assert!(self.run.release_all().is_empty());
    }
}
