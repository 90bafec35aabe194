//! What it costs to begin with a plugin: to compile it, to load what was compiled before, to open one more instance, to call.
//!
//! `plugin-load SCRATCH PLUGINS ROUNDS` does it with storage `local` and prints the best seconds of each as one JSON
//! document. Loading counts all that a new process has to do: find, hash, check, start the engine, load, open.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use freezer_pipeline::store::Store;
use freezer_plugin::{HostConfig, PluginHost, PluginKind, Run, RunConfig};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Calls of which the average counts.
const CALLS: u32 = 1000;

fn host(plugins: &Path, cache: Option<PathBuf>) -> Outcome<PluginHost> {
    Ok(PluginHost::new(HostConfig {
        plugin_dirs: vec![plugins.to_owned()],
        cache_dir: cache,
        ..HostConfig::default()
    })?)
}

fn run() -> Arc<Run> {
    Run::new(RunConfig::quiet())
}

fn open(host: &PluginHost, url: &str) -> Outcome<Arc<dyn Store>> {
    let plugin = host.find(PluginKind::Storage, "local")?;
    let settings = plugin.manifest().settings_from_url(url)?;
    Ok(host.open_storage(&plugin, settings, &run())?)
}

/// The best seconds of some rounds.
fn best(rounds: u32, mut round: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let begun = Instant::now();
        round()?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok(best)
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [scratch, plugins, rounds] = &words[..] else {
        return Err("plugin-load SCRATCH PLUGINS ROUNDS".into());
    };
    let (scratch, plugins, rounds) = (PathBuf::from(scratch), Path::new(plugins), rounds.parse()?);
    let (objects, cache) = (scratch.join("objects"), scratch.join("load-cache"));
    std::fs::create_dir_all(&objects)?;
    let url = format!("local:{}", objects.display());
    let compiled = best(rounds, || open(&host(plugins, None)?, &url).map(drop))?;
    open(&host(plugins, Some(cache.clone()))?, &url)?;
    let loaded = best(rounds, || {
        open(&host(plugins, Some(cache.clone()))?, &url).map(drop)
    })?;
    let running = host(plugins, Some(cache.clone()))?;
    let store = open(&running, &url)?;
    let opened = best(10 * rounds, || open(&running, &url).map(drop))?;
    let called = best(rounds, || {
        for _ in 0..CALLS {
            store.stat("absent")?;
        }
        Ok(())
    })?;
    let natively = best(rounds, || {
        for _ in 0..CALLS {
            drop(std::fs::symlink_metadata(objects.join("absent")));
        }
        Ok(())
    })?;
    println!(
        r#"{{"compile_seconds": {compiled:.6}, "load_seconds": {loaded:.6}, "open_seconds": {opened:.6}, "call_seconds": {:.9}, "native_call_seconds": {:.9}}}"#,
        called / f64::from(CALLS),
        natively / f64::from(CALLS)
    );
    Ok(())
}
