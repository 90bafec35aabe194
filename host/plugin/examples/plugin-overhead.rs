//! What the sandbox costs: the same segments stored through storage `local` and by the same native code without it.
//!
//! `plugin-overhead SCRATCH PLUGINS SEGMENT_BYTES SEGMENTS ROUNDS` stores by turns and prints the best seconds of each
//! way as one JSON document. `make bench` relates the difference to the time of a whole backup.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use freezer_io::directory::{Access, Directory, Existing};
use freezer_pipeline::cancel::Cancel;
use freezer_pipeline::store::Store;
use freezer_plugin::{BandwidthLimits, HostConfig, PluginHost, PluginKind, Run, RunConfig};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is stored in each round.
struct Work {
    segment: Arc<Vec<u8>>,
    segments: u32,
}

impl Work {
    fn bytes(&self) -> u64 {
        self.segment.len() as u64 * u64::from(self.segments)
    }

    fn offset(&self, number: u32) -> u64 {
        self.segment.len() as u64 * u64::from(number)
    }
}

/// Through the component: begin, segments, commit.
fn store_by_plugin(store: &dyn Store, work: &Work) -> Outcome<f64> {
    let begun = Instant::now();
    let upload = store.begin("data/object", Some(work.bytes()))?;
    let mut receipts = Vec::new();
    for number in 0..work.segments {
        receipts.push(store.put_segment(&upload, number, work.offset(number), Arc::clone(&work.segment))?);
    }
    store.commit(&upload, work.bytes(), &receipts)?;
    let seconds = begun.elapsed().as_secs_f64();
    store.remove(&["data/object".to_owned()])?;
    Ok(seconds)
}

/// The calls that the component makes, without it.
fn store_natively(directory: &Directory, work: &Work) -> Outcome<f64> {
    let begun = Instant::now();
    for number in 0..work.segments {
        directory.write("data/.object.partial", work.offset(number), &work.segment)?;
    }
    directory.publish("data/.object.partial", "data/object", Existing::Refuse)?;
    let seconds = begun.elapsed().as_secs_f64();
    directory.remove("data/object")?;
    Ok(seconds)
}

fn open_plugin(scratch: &Path, plugins: &Path) -> Outcome<Arc<dyn Store>> {
    let host = PluginHost::new(HostConfig {
        plugin_dirs: vec![plugins.to_owned()],
        cache_dir: Some(scratch.join("cache")),
        state_dir: Some(scratch.join("state")),
        ..HostConfig::default()
    })?;
    let run = Run::new(RunConfig {
        cancel: Cancel::new(),
        named_paths: Vec::new(),
        warn: Arc::new(|_| {}),
        progress: Arc::new(|_, _| {}),
        bandwidth: BandwidthLimits::default(),
    });
    let plugin = host.find(PluginKind::Storage, "local")?;
    let url = format!("local:{}", scratch.join("by-plugin").display());
    let settings = plugin.manifest().settings_from_url(&url)?;
    Ok(host.open_storage(&plugin, settings, &run)?)
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [scratch, plugins, segment_bytes, segments, rounds] = &words[..] else {
        return Err("plugin-overhead SCRATCH PLUGINS SEGMENT_BYTES SEGMENTS ROUNDS".into());
    };
    let scratch = PathBuf::from(scratch);
    let work = Work {
        segment: Arc::new(vec![0xA5; segment_bytes.parse()?]),
        segments: segments.parse()?,
    };
    let store = open_plugin(&scratch, Path::new(plugins))?;
    let native = scratch.join("native");
    std::fs::create_dir_all(&native)?;
    let directory = Directory::open(&native, Path::new(""), Access::ReadWrite)?;
    // One round of each warms the caches and isn't counted.
    store_by_plugin(&*store, &work)?;
    store_natively(&directory, &work)?;
    let (mut by_plugin, mut natively) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..rounds.parse::<u32>()? {
        by_plugin = by_plugin.min(store_by_plugin(&*store, &work)?);
        natively = natively.min(store_natively(&directory, &work)?);
    }
    println!(
        r#"{{"plugin_seconds": {by_plugin:.6}, "native_seconds": {natively:.6}, "bytes": {}}}"#,
        work.bytes()
    );
    Ok(())
}
