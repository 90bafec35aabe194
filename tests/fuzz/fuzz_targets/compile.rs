//! A real component with some bytes changed, compiled in the confined process, opened and asked.
//!
//! `make build` and `plugins/build.sh guests` come first.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use freezer_plugin::{HostConfig, PluginHost, PluginKind, Run, RunConfig};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(Bench::new).compile(bytes);
});

struct Bench {
    good: Vec<u8>,
    folder: PathBuf,
    compiler: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        let folder = std::env::temp_dir().join(format!("freezer-fuzz-compile-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let compiler = target.join("release/freezer");
        assert!(compiler.is_file(), "run make build first");
        Self {
            good: fs::read(target.join("guests/storage.wasm")).expect("run plugins/build.sh guests first"),
            folder,
            compiler,
        }
    }

    fn compile(&self, changes: &[u8]) {
        let mut component = self.good.clone();
        for change in changes.chunks_exact(4).take(8) {
            let place = usize::from(change[0]) << 16 | usize::from(change[1]) << 8 | usize::from(change[2]);
            let place = place % component.len();
            component[place] = change[3];
        }
        fs::write(self.folder.join("storage.wasm"), component).expect("a component");
        let host = PluginHost::new(HostConfig {
            plugin_dirs: vec![self.folder.clone()],
            compiler: Some(self.compiler.clone()),
            ..HostConfig::default()
        })
        .expect("a host");
        let run = Run::new(RunConfig::quiet());
        let Ok(plugin) = host.find(PluginKind::Storage, "hostile") else {
            return;
        };
        let Ok(settings) = plugin.manifest().settings_from_url("hostile:x") else {
            return;
        };
        match host.open_storage(&plugin, settings, &run) {
            // What it answers is its own matter; that the host stands is not.
            Ok(store) => drop(store.stat("fine")),
            Err(error) => {
                let text = error.to_string();
                assert!(!text.chars().any(char::is_control), "{text:?}");
                assert!(!text.contains("the compiler crashed"), "{text}");
            }
        }
        assert!(run.release_all().is_empty());
    }
}
