//! What must hold for any input at all, as functions of bytes: the fuzz targets (`tests/fuzz`) call them with what they come up
//! with, and the tests here with a bounded number of random ones.
//!
//! Each panics where a promise is broken, and answers nothing.

use std::path::{Component, Path};

use crate::component;
use crate::grants::{Access, Grant, GrantSet, Grants, Network};
use crate::manifest::PluginManifest;
use crate::settings::{SettingValue, Settings};

/// A plugin.toml: refused in words of one line, or a manifest whose every text can be shown.
pub fn manifest(bytes: &[u8]) {
    let manifest = match PluginManifest::parse(bytes) {
        Ok(manifest) => manifest,
        Err(error) => return assert_shown(&error.to_string()),
    };
    assert!(manifest.contract.starts_with("1."), "{:?}", manifest.contract);
    for grant in manifest.grants.grants() {
        assert_shown(&grant.words(&manifest));
    }
    for url in ["scheme:rest", "scheme://host:1/path?query", ""] {
        if let Err(error) = manifest.settings_from_url(url) {
            assert_shown(&error.to_string());
        }
    }
    if let Err(error) = manifest.complete(Settings::new()) {
        assert_shown(&error.to_string());
    }
}

/// Lines of grants, an empty line, and what is asked for: nothing is allowed that isn't spelled out.
pub fn grants(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (granted, asked) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut set = GrantSet::default();
    for line in granted.lines() {
        match Grant::parse(line) {
            Ok(grant) => {
                let again = Grant::parse(&grant.to_string());
                assert_eq!(again.as_ref(), Ok(&grant), "{line:?}");
                set.extend([grant].into_iter().collect());
            }
            Err(error) => assert_shown(&error.to_string()),
        }
    }
    let mut settings = Settings::new();
    settings.set("path", SettingValue::Text("/srv/b".to_owned()));
    settings.set("star", SettingValue::Text("*".to_owned()));
    settings.set("empty", SettingValue::Text(String::new()));
    let grants = Grants::new("p", "00", &set, &settings);
    for line in asked.lines() {
        ask_for_paths(&grants, &set, line);
        ask_for_places(&grants, &set, line);
        ask_for_commands(&grants, &set, line);
    }
}

fn ask_for_paths(grants: &Grants, set: &GrantSet, asked: &str) {
    for access in [Access::ReadOnly, Access::ReadWrite] {
        match grants.directory(asked, access, &[]) {
            Ok(opened) => {
                let whole = opened.root.join(&opened.below);
                let up = |part: Component<'_>| part == Component::ParentDir;
                assert!(whole.is_absolute() && !whole.components().any(up), "{asked:?}");
                assert_eq!(
                    whole,
                    Path::new(asked).components().collect::<std::path::PathBuf>()
                );
                assert!(set.files.iter().any(|grant| grant.access >= access), "{asked:?}");
            }
            Err(refusal) => assert_shown(&refusal.to_string()),
        }
    }
    if let Err(refusal) = grants.snapshot(asked, &[]) {
        assert_shown(&refusal.to_string());
    }
    if let Err(refusal) = grants.secret(asked) {
        assert!(!set.secrets.iter().any(|name| name == asked));
        assert_shown(&refusal.to_string());
    }
}

fn ask_for_places(grants: &Grants, set: &GrantSet, asked: &str) {
    let lists = [
        (Network::Tcp, &set.tcp),
        (Network::Ssh, &set.ssh),
        (Network::Sql, &set.sql),
    ];
    for (network, list) in lists {
        match grants.network(network, asked) {
            // Only what stands there, holes filled, is reached.
            Ok(()) => assert!(
                list.iter()
                    .any(|entry| entry.contains('{') || entry.eq_ignore_ascii_case(asked)),
                "{asked:?} by {list:?}"
            ),
            Err(refusal) => assert_shown(&refusal.to_string()),
        }
    }
    let Ok(url) = url::Url::parse(asked) else { return };
    match grants.origin(&url) {
        Ok(()) => assert!(
            matches!(url.scheme(), "http" | "https") && !set.http.is_empty(),
            "{asked:?}"
        ),
        Err(refusal) => assert_shown(&refusal.to_string()),
    }
}

fn ask_for_commands(grants: &Grants, set: &GrantSet, asked: &str) {
    let mut words = asked.split('\t').map(str::to_owned);
    let program = words.next().unwrap_or_default();
    let arguments: Vec<String> = words.collect();
    match grants.command(&program, &arguments, &[]) {
        Ok(()) => {
            assert!(Path::new(&program).is_absolute(), "{program:?}");
            let count = arguments.len();
            let fits = |pattern: &Option<String>| {
                let words = pattern
                    .iter()
                    .flat_map(|pattern| pattern.split_ascii_whitespace());
                words.count() == count
            };
            assert!(
                set.processes.iter().any(|grant| fits(&grant.arguments)),
                "{asked:?}"
            );
        }
        Err(refusal) => assert_shown(&refusal.to_string()),
    }
    if let Err(refusal) = grants.command(&program, &[], &[asked]) {
        assert_shown(&refusal.to_string());
    }
}

/// A component: read, or refused in words of one line.
pub fn component(bytes: &[u8]) {
    match component::read(bytes) {
        Ok(facts) => {
            if let Err(error) = facts.manifest() {
                assert_shown(&error.to_string());
            }
        }
        Err(why) => assert_shown(&why),
    }
    if let Err(why) = component::check_functions(bytes) {
        assert_shown(&why);
    }
}

/// Messages about hostile input are lines that a terminal can show.
fn assert_shown(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MANIFEST: &str = "name = \"acme\"\nkind = \"storage\"\nversion = \"1.0.0\"\ncontract = \"1.0.0\"\nlicense = \"MIT\"\n\
        description = \"d\"\nschemes = [\"acme\"]\n[[setting]]\nname = \"path\"\ntype = \"text\"\nhelp = \"h\"\nfrom-url = \"rest\"\n\
        [grants]\nfiles = [{ root = \"{path}\", access = \"read-write\" }]\nhttp = [\"site:{path}\"]\nbodies = true\n";

    /// Bytes of a good one with some of them changed, doubled or taken out.
    fn mutated(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
        (Just(good), prop::collection::vec(change, 1..12)).prop_map(|(mut bytes, changes)| {
            for (place, byte, how) in changes {
                if bytes.is_empty() {
                    break;
                }
                let place = place.index(bytes.len());
                match how {
                    0 => bytes[place] = byte,
                    1 => bytes.insert(place, byte),
                    2 => drop(bytes.remove(place)),
                    _ => bytes.truncate(place),
                }
            }
            bytes
        })
    }

    fn small_component() -> Vec<u8> {
        let text = "(component (import \"freezer:plugin/types@1.0.0\" (instance)) (core module (func (nop))) (core module (memory 1)))";
        let mut bytes = wat::parse_str(text).unwrap();
        let section = wasm_encoder::CustomSection {
            name: "freezer:plugin.toml".into(),
            data: MANIFEST.as_bytes().into(),
        };
        bytes.push(0);
        wasm_encoder::Encode::encode(&section, &mut bytes);
        bytes
    }

    /// Lines that nearly are grants, and lines that nearly are requests.
    fn lines() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "files=",
            "http=",
            "tcp=",
            "ssh=",
            "sql=",
            "processes=",
            "snapshots=",
            "secrets=",
            "bodies",
            "/srv/b",
            "/srv",
            "/",
            "..",
            ":read-only",
            ":read-write",
            "{path}",
            "{star}",
            "{empty}",
            "{unset}",
            "{input:a}",
            "https://a.example",
            "site:",
            "http://169.254.169.254",
            "h:1",
            "H:1",
            "[::1]:1",
            "/bin/dump",
            " ",
            "*",
            "--file=*",
            "\t--file=x",
            "password",
            "named",
            "\u{1b}[2J",
            "\u{202e}",
            "{",
            "}",
            "PATH=",
        ]);
        let line = prop::collection::vec(word, 0..5).prop_map(|words| words.concat());
        let lines = || prop::collection::vec(line.clone(), 0..8).prop_map(|lines| lines.join("\n"));
        (lines(), lines()).prop_map(|(granted, asked)| format!("{granted}\n\n{asked}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_manifest_is_read_or_refused(bytes in mutated(MANIFEST.as_bytes().to_vec())) {
            manifest(&bytes);
        }

        #[test]
        fn any_grants_allow_only_what_they_say(text in lines()) {
            grants(text.as_bytes());
        }

        #[test]
        fn any_component_is_read_or_refused(bytes in mutated(small_component())) {
            component(&bytes);
        }

        #[test]
        fn bytes_that_are_anything_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            manifest(&bytes);
            grants(&bytes);
            component(&bytes);
        }
    }
}
