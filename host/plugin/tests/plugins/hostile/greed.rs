//! What becomes of a guest that wants too much.

use std::time::{Duration, Instant};

use freezer_plugin::{Run, RunConfig};

use crate::scene::Scene;

/// The sin ends in this error.
#[track_caller]
fn ends(sin: &str, message: &str) -> Scene {
    let scene = Scene::new();
    assert_eq!(scene.fails(sin).message, message);
    super::untouched(scene)
}

pub(super) fn loops_for_ever() -> Scene {
    let started = Instant::now();
    let message = "plugin hostile was stopped in stat: it computed for more than 2 s in one call";
    let scene = ends("loops_for_ever", message);
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
    scene
}

pub(super) fn sleeps_in_a_host_call() -> Scene {
    ends(
        "sleeps_in_a_host_call",
        "plugin hostile was stopped in stat: the call took more than 20 s",
    )
}

pub(super) fn allocates_without_end() -> Scene {
    ends(
        "allocates_without_end",
        "plugin hostile was stopped in stat: it needs more than 64 MiB of memory",
    )
}

pub(super) fn recurses() -> Scene {
    let scene = Scene::new();
    let message = scene.fails("recurses").message;
    assert!(
        message.starts_with("plugin hostile crashed in stat: "),
        "{message}"
    );
    scene
}

pub(super) fn panics() -> Scene {
    ends("panics", "plugin hostile crashed in stat: it panicked")
}

pub(super) fn hoards_handles() -> Scene {
    ends(
        "hoards_handles",
        "plugin hostile was stopped in stat: it holds more than 1024 handles",
    )
}

pub(super) fn hoards_bodies() -> Scene {
    ends(
        "hoards_bodies",
        "plugin hostile was stopped in stat: it holds more than 64 MiB in bodies",
    )
}

/// They go with the instance; in a trial they are counted.
pub(super) fn forgets_handles() -> Scene {
    let scene = Scene::new();
    let trial = Run::trial(RunConfig::quiet());
    let store = scene.store_in(&trial);
    for _ in 0..2 {
        store.stat("forgets_handles").unwrap();
    }
    drop(store);
    let usage = trial.usage().remove(0);
    assert_eq!((usage.left_open, usage.most_handles), (6, 6), "{usage:?}");
    assert_eq!(scene.got("forgets_handles"), 3);
    super::untouched(scene)
}

pub(super) fn passes_too_much() -> Scene {
    ends(
        "passes_too_much",
        "plugin hostile was stopped in stat: it passed more than 18 MiB in one call",
    )
}

pub(super) fn floods_the_log() -> Scene {
    let scene = Scene::new();
    scene.got("floods_the_log");
    {
        let warnings = scene.run.warnings.lock().unwrap();
        assert!(
            (1..=1000).contains(&warnings.len()),
            "{} warnings",
            warnings.len()
        );
        let expected = "plugin hostile: \\u{1b}[31mred 0\\u{1b}[0m\\u{a}second line";
        assert_eq!(warnings[0], expected);
    }
    let usage = scene.run.run.usage();
    let flood = usage.iter().find(|usage| usage.plugin == "hostile").unwrap();
    assert_eq!(flood.log_lines, 5000);
    assert!((4000..5000).contains(&flood.dropped_lines), "{flood:?}");
    scene
}

/// Lines that only those see who look for faults, and without an escape among them.
pub(super) fn floods_its_output() -> Scene {
    let scene = Scene::new();
    assert_eq!(scene.got("floods_its_output"), 0);
    assert!(scene.run.warnings.lock().unwrap().is_empty());
    scene
}

pub(super) fn fails_with_escapes() -> Scene {
    let scene = Scene::new();
    let error = scene.fails("fails_with_escapes");
    assert_eq!(error.message, "\\u{1b}]0;owned\\u{7}\\u{a}next line");
    assert_eq!(error.storage, "hostile:x", "who says so is told beside it");
    scene
}
