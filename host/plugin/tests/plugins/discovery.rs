//! What is found, what is refused by itself, and what is kept compiled.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use freezer_plugin::{Discovered, HostConfig, PluginError, PluginHost, PluginKind};

use crate::common::{built, config, host, open_local, run};

const GOOD: &str = "name = \"good\"\nkind = \"storage\"\nversion = \"1.0.0\"\ncontract = \"1.0.0\"\nlicense = \"MIT\"\ndescription = \"d\"\nschemes = [\"good\"]\n";

/// A component that holds nothing but these plugin.toml sections.
fn component(sections: &[&str]) -> Vec<u8> {
    let mut bytes = wat::parse_str("(component)").unwrap();
    for text in sections {
        let section = wasm_encoder::CustomSection {
            name: "freezer:plugin.toml".into(),
            data: text.as_bytes().into(),
        };
        bytes.push(0);
        wasm_encoder::Encode::encode(&section, &mut bytes);
    }
    bytes
}

fn discover(dirs: &[&Path]) -> Vec<Discovered> {
    let plugin_dirs = dirs.iter().map(|dir| dir.to_path_buf()).collect();
    PluginHost::new(HostConfig {
        plugin_dirs,
        ..HostConfig::default()
    })
    .unwrap()
    .discover()
}

/// The whole chain of an error's messages.
fn chain(error: &PluginError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn error_of(bytes: &[u8]) -> String {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("x.wasm"), bytes).unwrap();
    let found = discover(&[temp.path()]).remove(0);
    chain(&found.result.unwrap_err()).replace(&temp.path().display().to_string(), "DIR")
}

#[test]
fn bad_files_are_named_with_what_is_wrong() {
    let core = wat::parse_str("(module)").unwrap();
    assert_eq!(
        error_of(&core),
        "DIR/x.wasm is no plugin: it is a core module, not a component: build it for wasm32-wasip2"
    );
    let foreign = "DIR/x.wasm is no plugin: it isn't WebAssembly";
    assert_eq!(error_of(b"#!/bin/sh\n"), foreign);
    assert_eq!(error_of(b""), foreign);
    let missing =
        "DIR/x.wasm has a bad plugin.toml: there is none inside: pack the component with its plugin.toml";
    assert_eq!(error_of(&component(&[])), missing);
    assert!(
        error_of(&component(&[GOOD, GOOD])).ends_with("there are 2 of them inside, exactly one is allowed")
    );
    assert!(error_of(&component(&["name = "])).starts_with("DIR/x.wasm has a bad plugin.toml: "));
    assert!(error_of(&component(&[&"#".repeat(100_000)])).ends_with("at most 65536 are allowed"));
    let whole = fs::read(built("local.wasm")).unwrap();
    for length in [8, 100, whole.len() / 2, whole.len() - 1] {
        assert!(
            error_of(&whole[..length]).starts_with("DIR/x.wasm "),
            "cut at {length}"
        );
    }
}

#[test]
fn another_contract_is_refused_before_anything_else_is_read() {
    let newer = "name = \"new\"\ncontract = \"2.1.0\"\nunheard-of = true\n";
    let message = "plugin new needs plugin contract 2.1.0, this freezer speaks 1.0.0: install a build of it for contract 1";
    assert_eq!(error_of(&component(&[newer])), message);
    let minor = GOOD.replace("contract = \"1.0.0\"", "contract = \"1.9.3\"");
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("x.wasm"), component(&[&minor])).unwrap();
    assert!(
        discover(&[temp.path()])[0].result.is_ok(),
        "a minor version is judged by linking"
    );
}

#[test]
fn mistakes_in_plugin_toml_name_the_key() {
    let with = |from: &str, to: &str| error_of(&component(&[&GOOD.replace(from, to)]));
    assert!(
        with("name = \"good\"", "name = \"Good\"").contains(": name: \"Good\" must be lower-case letters")
    );
    assert!(with("schemes = [\"good\"]", "").ends_with("schemes: a storage serves at least one URL scheme"));
    assert!(with("kind = \"storage\"", "kind = \"engine\"").contains("unknown variant `engine`"));
    assert!(
        with("description = \"d\"", "description = \"d\\u001b[31m\"")
            .ends_with("description: must be one line of at most 400 bytes")
    );
    let setting = |text: &str| error_of(&component(&[&format!("{GOOD}{text}")]));
    assert!(
        setting("[grants]\nfiles = [{ root = \"{nowhere}\", access = \"read-only\" }]")
            .contains("\"nowhere\", which is no setting")
    );
    assert!(
        setting("[[setting]]\nname = \"a\"\ntype = \"bytes\"\nhelp = \"h\"\ndefault = \"5Q\"")
            .ends_with("setting a: default: must be a size such as 5M")
    );
    assert!(
        setting("[[setting]]\nname = \"a\"\ntype = \"text\"\nhelp = \"h\"\naliases = [\"a\"]")
            .contains("is taken twice")
    );
    assert!(setting("[grants]\nroot = true").contains("unknown field `root`"));
}

#[test]
fn the_first_of_one_name_wins_and_a_bad_file_hides_nothing() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(one.path().join("a.wasm"), b"broken").unwrap();
    fs::write(one.path().join("b.wasm"), component(&[GOOD])).unwrap();
    fs::write(two.path().join("good.wasm"), component(&[GOOD])).unwrap();
    fs::write(two.path().join("readme.txt"), b"no plugin").unwrap();
    let found = discover(&[one.path(), Path::new("/nonexistent"), two.path(), one.path()]);
    let seen: Vec<_> = found
        .iter()
        .map(|found| (found.result.is_ok(), found.shadowed_by.is_some()))
        .collect();
    assert_eq!(seen, [(false, false), (true, false), (true, true)]);
    assert_eq!(found[2].shadowed_by, Some(one.path().join("b.wasm")));
}

#[test]
fn a_foreign_file_takes_no_name_or_scheme_of_the_first_party() {
    let temp = tempfile::tempdir().unwrap();
    let named = GOOD.replace("name = \"good\"", "name = \"local\"");
    let serving = GOOD.replace("schemes = [\"good\"]", "schemes = [\"good\", \"local\"]");
    fs::write(temp.path().join("a.wasm"), component(&[&serving])).unwrap();
    fs::write(temp.path().join("b.wasm"), component(&[&named])).unwrap();
    let mut config = config(temp.path());
    config.plugin_dirs.insert(0, temp.path().to_owned());
    let host = PluginHost::new(config).unwrap();
    let plugin = host.find(PluginKind::Storage, "local").unwrap();
    assert!(plugin.is_first_party());
    let told = host.passed_over(&plugin).join("\n");
    for file in ["a.wasm isn't used: local", "b.wasm isn't used: local"] {
        assert!(told.contains(file), "{told}");
    }
    let shadowed = host
        .discover()
        .into_iter()
        .filter(|found| found.shadowed_by.is_some());
    assert_eq!(shadowed.count(), 2);
    assert!(host.find(PluginKind::Storage, "good").is_err());
}

#[test]
fn a_name_beats_a_scheme_and_two_of_one_scheme_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let named = |name: &str| GOOD.replace("name = \"good\"", &format!("name = \"{name}\""));
    for name in ["one", "two"] {
        fs::write(
            temp.path().join(format!("{name}.wasm")),
            component(&[&named(name)]),
        )
        .unwrap();
    }
    let host = || {
        PluginHost::new(HostConfig {
            plugin_dirs: vec![temp.path().to_owned()],
            ..HostConfig::default()
        })
        .unwrap()
    };
    let error = host().find(PluginKind::Storage, "good").unwrap_err().to_string();
    for word in [
        "plugin one",
        "one.wasm",
        "plugin two",
        "two.wasm",
        "plugin's name",
    ] {
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(
        host().find(PluginKind::Storage, "two").unwrap().manifest().name,
        "two"
    );
    fs::write(temp.path().join("z.wasm"), component(&[GOOD])).unwrap();
    assert_eq!(
        host().find(PluginKind::Storage, "good").unwrap().manifest().name,
        "good"
    );
}

#[test]
fn unknown_names_get_a_suggestion_and_bad_files_their_own_error() {
    let temp = tempfile::tempdir().unwrap();
    let host = host(temp.path());
    let error = host.find(PluginKind::Storage, "locl").unwrap_err().to_string();
    let says = |text| assert!(error.contains(text), "{error}");
    says("no storage plugin named \"locl\" is installed (there are: local");
    says("; did you mean local?");
    assert!(
        host.find(PluginKind::Mode, "local").is_err(),
        "a storage is no mode"
    );
    fs::write(temp.path().join("s3.wasm"), b"broken").unwrap();
    let plugin_dirs = vec![temp.path().to_owned()];
    let host = PluginHost::new(HostConfig {
        plugin_dirs,
        ..HostConfig::default()
    })
    .unwrap();
    assert!(matches!(
        host.find(PluginKind::Storage, "s3"),
        Err(PluginError::NotAPlugin { .. })
    ));
}

#[test]
fn a_component_without_the_exports_does_not_load() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("good.wasm"), component(&[GOOD])).unwrap();
    let plugin_dirs = vec![temp.path().to_owned()];
    let host = PluginHost::new(HostConfig {
        plugin_dirs,
        ..HostConfig::default()
    })
    .unwrap();
    let plugin = host.find(PluginKind::Storage, "good").unwrap();
    assert!(!plugin.is_first_party());
    let error = host.load(&plugin, &run(Vec::new()).run).unwrap_err();
    assert!(
        matches!(&error, PluginError::Load { plugin, .. } if plugin == "good"),
        "{error}"
    );
}

/// The one compiled file in the cache.
fn compiled(cache: &Path) -> PathBuf {
    let files = fs::read_dir(cache.join("plugins"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm"));
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

#[test]
fn compiled_plugins_are_believed_only_if_they_are_ours() {
    let temp = tempfile::tempdir().unwrap();
    let (cache, run) = (temp.path().join("cache"), run(Vec::new()));
    let open = || open_local(&host(temp.path()), &temp.path().join("c"), &run);
    open();
    let file = compiled(&cache);
    let good = fs::read(&file).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (
            mode(&cache.join("plugins")),
            mode(&file),
            mode(&cache.join("plugins/key"))
        ),
        (0o700, 0o600, 0o600)
    );
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(path).unwrap());
    let before = inode(&file);
    open();
    assert_eq!(inode(&file), before, "a good file is used, not replaced");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for planted in [&good[..good.len() / 2], &flipped, b"", &good[..20]] {
        fs::write(&file, planted).unwrap();
        open();
        assert_eq!(
            fs::read(&file).unwrap().len(),
            good.len(),
            "it was compiled again and replaced"
        );
    }
    let elsewhere = temp.path().join("planted");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    open();
    assert!(
        fs::symlink_metadata(&file).unwrap().is_file(),
        "a link is not followed"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    open();
    assert_eq!(mode(&file), 0o600, "what others can write is not believed");
}

#[test]
fn without_a_usable_cache_everything_works() {
    let temp = tempfile::tempdir().unwrap();
    let run = run(Vec::new());
    let in_the_way = temp.path().join("file");
    fs::write(&in_the_way, b"").unwrap();
    let open_to_all = temp.path().join("open");
    fs::create_dir_all(open_to_all.join("plugins")).unwrap();
    fs::set_permissions(open_to_all.join("plugins"), fs::Permissions::from_mode(0o777)).unwrap();
    for cache_dir in [None, Some(in_the_way), Some(open_to_all.clone())] {
        let host = PluginHost::new(HostConfig {
            cache_dir,
            ..config(temp.path())
        })
        .unwrap();
        open_local(&host, &temp.path().join("c"), &run);
    }
    assert_eq!(
        fs::read_dir(open_to_all.join("plugins")).unwrap().count(),
        0,
        "nothing is kept where others can write"
    );
}
