//! Sins that take a whole run, committed by the hostile storage (`tests/guests/storage`) under the program itself: a storage that keeps
//! objects like an honest one, but for one call.

use std::fs;
use std::time::Duration;

use freezer_tests::{Finished, Sandbox, program, workspace, write};

#[macro_use]
#[path = "../guests/storage/src/sins.rs"]
mod sins;

/// Makes a test of each sin of whole runs, which calls the function of its name.
macro_rules! tests {
    ($($call:ident { $($sin:ident,)* })*) => {
        $(tests!(@ $call $($sin,)*);)*
    };
    (@ whole_runs $($sin:ident,)*) => {
        mod whole_runs {
            $(#[test] fn $sin() { super::$sin(&super::Run::new(stringify!($sin))) })*
        }
    };
    (@ $call:ident $($sin:ident,)*) => {};
}

for_each_sin!(tests);

struct Run {
    sandbox: Sandbox,
    url: String,
}

impl Run {
    /// The storage of this sin, granted its directory.
    fn new(sin: &str) -> Self {
        let sandbox = Sandbox::new();
        let guests = workspace().join("target/guests");
        let component = guests.join("storage.wasm");
        assert!(component.is_file(), "run plugins/build.sh guests first");
        let digests = program("sha256sum").arg(&component).run().expect(0).text();
        let digest = digests.split(' ').next().unwrap_or_default();
        let shelf = sandbox.path("shelf").display().to_string();
        let grants = format!(
            "[hostile]\nsha256 = \"{digest}\"\nfiles = [{{ root = {shelf:?}, access = \"read-write\" }}]\n"
        );
        write(
            &sandbox.path("home/.config/freezer/grants.toml"),
            grants.as_bytes(),
        );
        write(&sandbox.path("source/f"), b"content");
        let url = format!("hostile:{sin}={shelf}");
        Self { sandbox, url }
    }

    fn freezer(&self, words: &[&str]) -> Finished {
        let guests = workspace().join("target/guests").display().to_string();
        self.sandbox
            .freezer(words)
            .args(["--name", "t", "--host", "h", "--plugins-dir", &guests])
            .limit(Duration::from_secs(120))
            .run()
            .no_crash()
    }

    fn restored(&self) -> Option<Vec<u8>> {
        fs::read(self.sandbox.path("out/f")).ok()
    }
}

/// The list is given up after so many pages without anything on them.
fn lists_new_pages_for_ever(run: &Run) {
    let done = run.freezer(&["restore", "--from", &run.url, "--target", "out"]);
    assert_ne!(done.code, Some(0), "{done}");
    done.says("the listing has no end").says(&run.url);
    assert_eq!(run.restored(), None);
}

/// A storage that swears falsely is believed by nobody who looks: the backup's data isn't there.
fn commits_nothing(run: &Run) {
    run.freezer(&["backup", "source", "--to", &run.url]);
    let checked = run.freezer(&["check", "--from", &run.url]);
    assert_ne!(checked.code, Some(0), "{checked}");
    let restored = run.freezer(&["restore", "--from", &run.url, "--target", "out"]);
    assert_ne!(restored.code, Some(0), "{restored}");
    assert_eq!(run.restored(), None);
}

/// Bytes that aren't those that were stored are found out by their digests.
fn reads_other_bytes(run: &Run) {
    run.freezer(&["backup", "source", "--to", &run.url]).expect(0);
    let restored = run.freezer(&["restore", "--from", &run.url, "--target", "out"]);
    // Bytes can be harmed anywhere on their way: what is told is the object, whose storage the user named.
    restored.expect(5).says("/data\" of level 0 is damaged at byte 0");
    assert_ne!(run.restored().as_deref(), Some(b"content".as_slice()));
}
