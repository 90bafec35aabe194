//! A run loads the plugins that it needs and leaves the others alone, as the kernel sees it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use freezer_tests::{Sandbox, freezer_binary, write};

/// Ten plugins: those that came with freezer, and so many of strangers.
const PLUGINS: usize = 10;

/// Puts strangers' plugins beside those of freezer.
fn fill(sandbox: &Sandbox) {
    let own = freezer_binary()
        .parent()
        .expect("a folder")
        .join("lib/freezer/plugins");
    let count = fs::read_dir(&own).expect("plugins").count();
    let mut bytes = fs::read(own.join("s3.wasm")).expect("a plugin");
    for number in count..PLUGINS {
        // One more custom section makes it another component.
        bytes.extend_from_slice(&[0, 5, 4, b'm', b'i', b'n', b'e']);
        let path = sandbox.path(format!("home/.local/share/freezer/plugins/{number}.wasm"));
        write(&path, &bytes);
    }
}

#[test]
fn nothing_is_compiled_that_is_not_used() {
    let sandbox = Sandbox::new().with_own_cache();
    fill(&sandbox);
    sandbox
        .freezer(["list", "--from", &sandbox.url()])
        .run()
        .expect(0);
    let kept = fs::read_dir(sandbox.path("home/.cache/freezer/plugins")).expect("the cache");
    let code = kept
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "cwasm"));
    assert_eq!(code.count(), 1);
}

mod needs_strace {
    use super::*;

    /// The components and the compiled code that `freezer list` reads, by file name.
    fn read_by_list(sandbox: &Sandbox) -> BTreeSet<String> {
        sandbox
            .scrubbed(Path::new("strace"))
            .args(["-f", "-y", "-qq", "-o", "trace", "-e", "trace=read,pread64,mmap"])
            .arg(freezer_binary())
            .args(["list", "--from", &sandbox.url()])
            .run()
            .expect(0);
        let trace = fs::read_to_string(sandbox.path("trace")).expect("the trace");
        let names = trace.lines().filter_map(|line| {
            let (_, rest) = line.split_once('<')?;
            let (path, _) = rest.split_once('>')?;
            let is_plugin = path.ends_with(".wasm") || path.ends_with(".cwasm");
            is_plugin.then(|| path.rsplit('/').next().unwrap_or_default().to_owned())
        });
        names.collect()
    }

    #[test]
    fn only_the_plugin_that_is_needed_is_read_and_only_as_compiled() {
        let sandbox = Sandbox::new().with_own_cache();
        fill(&sandbox);
        write(&sandbox.path("source/f"), b"x");
        sandbox.backup(&[]);
        // What is younger than the clock is sure of is read again.
        let begun = Instant::now();
        let mut read = read_by_list(&sandbox);
        while read.len() > 1 {
            assert!(begun.elapsed() < Duration::from_secs(20), "{read:?}");
            std::thread::sleep(Duration::from_millis(100));
            read = read_by_list(&sandbox);
        }
        let code = read.first().expect("compiled code").clone();
        assert!(code.ends_with(".cwasm"), "{read:?}");

        // Another content is seen, though size and modification time are those of the old one.
        let stranger = sandbox.path("home/.local/share/freezer/plugins/9.wasm");
        let before = fs::metadata(&stranger)
            .expect("the file")
            .modified()
            .expect("its time");
        let mut bytes = fs::read(&stranger).expect("a component");
        *bytes.last_mut().expect("bytes") = b'E';
        write(&stranger, &bytes);
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&stranger)
            .expect("the file");
        file.set_modified(before).expect("the old time");
        assert_eq!(
            read_by_list(&sandbox),
            BTreeSet::from(["9.wasm".to_owned(), code])
        );
    }
}
