//! What the sandbox costs: the same segments stored through a storage plugin and by the same native calls without it.
//!
//! `plugin-overhead SCRATCH PLUGINS SEGMENT_BYTES SEGMENTS ROUNDS [ST_AUTH ST_USER ST_KEY]` stores by turns, through
//! storage `local` below SCRATCH or, with a login, through storage `swift`, in this process and in one of its own that
//! `freezer` beside this program's directory makes, and prints the best seconds of each way as one JSON document.
//! `make bench` relates the difference to the time of a whole backup.

mod local;
mod swift;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use freezer_pipeline::store::Store;
use freezer_plugin::{HostConfig, Isolation, PluginHost, PluginKind, Run, RunConfig, Settings};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Where the object is stored in both ways.
const KEY: &str = "data/object";

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

/// The calls of a storage plugin, made without it.
trait Native {
    /// Stores the work as one object; the time counts.
    fn store(&self, work: &Work) -> Outcome<()>;

    /// Takes it away again.
    fn remove(&self, work: &Work) -> Outcome<()>;
}

/// Seconds through the component: begin, segments, commit.
fn store_by_plugin(store: &dyn Store, work: &Work) -> Outcome<f64> {
    let begun = Instant::now();
    let upload = store.begin(KEY, Some(work.bytes()))?;
    let mut receipts = Vec::new();
    for number in 0..work.segments {
        receipts.push(store.put_segment(&upload, number, work.offset(number), Arc::clone(&work.segment))?);
    }
    store.commit(&upload, work.bytes(), &receipts)?;
    let seconds = begun.elapsed().as_secs_f64();
    store.remove(&[KEY.to_owned()])?;
    Ok(seconds)
}

fn store_natively(native: &dyn Native, work: &Work) -> Outcome<f64> {
    let begun = Instant::now();
    native.store(work)?;
    let seconds = begun.elapsed().as_secs_f64();
    native.remove(work)?;
    Ok(seconds)
}

/// Where plugins are and run, and what is kept.
struct Place<'a> {
    scratch: &'a Path,
    plugins: &'a Path,
    isolation: Isolation,
}

fn open_plugin(place: &Place<'_>, url: &str, more: &[(&str, &str)]) -> Outcome<Arc<dyn Store>> {
    let scratch = place.scratch;
    let this = std::env::current_exe()?;
    let freezer = this.ancestors().nth(2).map(|folder| folder.join("freezer"));
    let host = PluginHost::new(HostConfig {
        plugin_dirs: vec![place.plugins.to_owned()],
        compiler: freezer,
        isolation: place.isolation,
        cache_dir: Some(scratch.join("cache")),
        state_dir: Some(scratch.join("state")),
        ..HostConfig::default()
    })?;
    let run = Run::new(RunConfig::quiet());
    let scheme = url.split(':').next().unwrap_or_default();
    let plugin = host.find(PluginKind::Storage, scheme)?;
    let mut settings: Settings = plugin.manifest().settings_from_url(url)?;
    for (name, value) in more {
        settings.set(name, freezer_plugin::SettingValue::Text((*value).to_owned()));
    }
    Ok(host.open_storage(&plugin, settings, &run)?)
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [scratch, plugins, segment_bytes, segments, rounds, login @ ..] = &words[..] else {
        return Err(
            "plugin-overhead SCRATCH PLUGINS SEGMENT_BYTES SEGMENTS ROUNDS [ST_AUTH ST_USER ST_KEY]".into(),
        );
    };
    let (scratch, plugins) = (PathBuf::from(scratch), Path::new(plugins));
    let work = Work {
        segment: Arc::new(vec![0xA5; segment_bytes.parse()?]),
        segments: segments.parse()?,
    };
    let here = Place {
        scratch: &scratch,
        plugins,
        isolation: Isolation::None,
    };
    let apart = Place {
        isolation: Isolation::All,
        ..here
    };
    let (here, apart, native): (_, _, Box<dyn Native>) = match login {
        [] => {
            let url = format!("local:{}", scratch.join("by-plugin").display());
            let native = local::Directories::new(&scratch.join("native"))?;
            let open = |place| open_plugin(place, &url, &[]);
            (open(&here)?, open(&apart)?, Box::new(native))
        }
        [auth, user, key] => {
            let settings = [("st-auth", &**auth), ("st-user", user), ("st-key", key)];
            let open = |place| open_plugin(place, "swift:overhead-by-plugin", &settings);
            let native = swift::Account::log_in(auth, user, key)?;
            (open(&here)?, open(&apart)?, Box::new(native))
        }
        _ => return Err("a login has three parts".into()),
    };
    // One round of each warms the caches and isn't counted.
    store_by_plugin(&*here, &work)?;
    store_by_plugin(&*apart, &work)?;
    store_natively(&*native, &work)?;
    let (mut by_plugin, mut isolated, mut natively) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
    for _ in 0..rounds.parse::<u32>()? {
        by_plugin = by_plugin.min(store_by_plugin(&*here, &work)?);
        isolated = isolated.min(store_by_plugin(&*apart, &work)?);
        natively = natively.min(store_natively(&*native, &work)?);
    }
    println!(
        r#"{{"plugin_seconds": {by_plugin:.6}, "isolated_seconds": {isolated:.6}, "native_seconds": {natively:.6}, "bytes": {}}}"#,
        work.bytes()
    );
    Ok(())
}
