//! The operator's road: a plugin from somebody else is installed, granted, updated, revoked and removed by the real binary,
//! with signatures that the real minisign made.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use freezer_tests::{Finished, Sandbox, backups, freezer_binary, program, write};
use serde_json::Value;

/// What storage `acmes`, which is `local` under another name, asks for.
const ASKED: &str = "files={path}:read-write";

/// The bytes of storage `local` as those of a stranger's storage `acmes`.
fn component(version: &str) -> Vec<u8> {
    let plugins = freezer_binary()
        .parent()
        .expect("a folder")
        .join("lib/freezer/plugins");
    let mut bytes = fs::read(plugins.join("local.wasm")).expect("plugin local");
    let version = format!("\nversion = \"{version}\"\n");
    for (from, to) in [
        ("\nversion = \"0.1.0\"\n", version.as_str()),
        ("name = \"local\"\n", "name = \"acmes\"\n"),
        ("schemes = [\"local\"]", "schemes = [\"acmes\"]"),
    ] {
        assert_eq!(from.len(), to.len(), "the section keeps its length");
        let place = bytes
            .windows(from.len())
            .rposition(|window| window == from.as_bytes());
        let place = place.unwrap_or_else(|| panic!("no {from:?} in the component"));
        bytes[place..place + from.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// A sandbox with a maker's keys and builds.
struct Road {
    sandbox: Sandbox,
}

impl Road {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        write(&sandbox.path("source/f"), b"x");
        fs::create_dir(sandbox.path("builds")).expect("builds");
        Self { sandbox }
    }

    /// Makes a key and answers its public line.
    fn key(&self, name: &str) -> String {
        let (public, secret) = (format!("{name}.pub"), format!("{name}.key"));
        program("minisign")
            .args(["-G", "-W", "-p", &public, "-s", &secret])
            .cwd(&self.sandbox.path("."))
            .run()
            .expect(0);
        let text = fs::read_to_string(self.sandbox.path(&public)).expect("the public key");
        text.lines().nth(1).expect("its line").to_owned()
    }

    /// A build without a signature.
    fn unsigned(&self, version: &str) -> PathBuf {
        let path = self.sandbox.path(format!("builds/acmes-{version}.wasm"));
        write(&path, &component(version));
        path
    }

    /// A build that a key signed.
    fn signed(&self, version: &str, key: &str) -> PathBuf {
        let path = self.unsigned(version);
        self.sign(&path, key);
        path
    }

    fn sign(&self, path: &Path, key: &str) {
        program("minisign")
            .args(["-S", "-s", &format!("{key}.key"), "-m"])
            .arg(path)
            .cwd(&self.sandbox.path("."))
            .run()
            .expect(0);
    }

    /// `freezer plugin WORDS`.
    fn plugin(&self, words: &[&str]) -> Finished {
        self.sandbox.freezer(["plugin"]).args(words).run().no_crash()
    }

    fn trust(&self, key: &str) {
        self.plugin(&["trust", key, "--name", "Acme releases"]).expect(0);
    }

    fn install(&self, source: &Path, more: &[&str]) -> Finished {
        let source = source.to_str().expect("UTF-8");
        self.plugin(&[&["install", source, "--yes"], more].concat())
    }

    /// A road on which version 0.1.0, signed by a trusted key, is installed with what it asks for.
    fn installed() -> (Self, String) {
        let road = Self::new();
        let key = road.key("acme");
        road.trust(&key);
        road.install(&road.signed("0.1.0", "acme"), &["--grant", "asked"])
            .expect(0);
        (road, key)
    }

    fn backup(&self) -> Finished {
        let store = self.sandbox.path("objects");
        let to = format!("acmes:{}", store.display());
        self.sandbox
            .freezer([
                "backup", "source", "--name", "t", "--host", "h", "--full", "--to", &to,
            ])
            .run()
            .no_crash()
    }

    fn plugin_dir(&self) -> PathBuf {
        self.sandbox.path("home/.local/share/freezer/plugins")
    }

    fn config(&self, name: &str) -> PathBuf {
        self.sandbox.path("home/.config/freezer").join(name)
    }

    /// The audit log's lines.
    fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.sandbox.path("home/.local/state/freezer/audit/log.jsonl"))
            .expect("the audit log");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn inspected(&self) -> Value {
        self.plugin(&["inspect", "acmes", "--json"]).expect(0).json()["result"].clone()
    }
}

#[test]
fn a_signed_plugin_works_with_what_it_was_granted_and_with_no_more() {
    let (road, _) = Road::installed();
    road.backup().expect(0);
    assert_eq!(backups(&road.sandbox.path("objects"), "h_t").len(), 1);
    road.plugin(&["revoke", "acmes", ASKED]).expect(0);
    road.backup()
        .expect(1)
        .says("isn't allowed to open directory")
        .says("files = [{ root =");
    assert_eq!(backups(&road.sandbox.path("objects"), "h_t").len(), 1);
    road.plugin(&["grant", "acmes", ASKED]).expect(0);
    road.backup().expect(0);
    let shown = road.inspected();
    assert_eq!(shown["grants"], serde_json::json!([ASKED]));
    assert!(
        shown["signature"]
            .as_str()
            .expect("text")
            .starts_with("signed by Acme releases (key "),
        "{shown}"
    );
    assert!(
        shown["source"]
            .as_str()
            .expect("text")
            .ends_with("/builds/acmes-0.1.0.wasm"),
        "{shown}"
    );
    assert_eq!(shown["last_run"]["used"][0]["allowed"], true, "{shown}");
    assert!(shown["imports"].as_array().expect("a list").len() > 3, "{shown}");
}

#[test]
fn a_folder_that_holds_one_plugin_is_installed_too() {
    let road = Road::new();
    road.trust(&road.key("acme"));
    road.signed("0.1.0", "acme");
    let builds = road.sandbox.path("builds");
    road.install(&builds, &[])
        .expect(0)
        .says("installed acmes 0.1.0 with 0 grants");
    road.signed("0.2.0", "acme");
    road.install(&builds, &[]).expect(2).says("holds 2 files *.wasm");
}

#[test]
fn without_a_trusted_signature_it_needs_a_word() {
    let road = Road::new();
    let unsigned = road.unsigned("0.1.0");
    road.install(&unsigned, &[])
        .expect(1)
        .says("it is not signed")
        .says("--allow-unsigned");
    let other = road.key("other");
    road.sign(&unsigned, "other");
    road.install(&unsigned, &[])
        .expect(1)
        .says("which nobody here trusts")
        .says("freezer plugin trust");
    assert!(!road.plugin_dir().join("acmes.wasm").exists());
    road.install(&unsigned, &["--allow-unsigned"]).expect(0);
    road.trust(&other);
    road.plugin(&["verify"])
        .expect(0)
        .tells("signed by Acme releases");
}

#[test]
fn what_was_changed_after_it_was_signed_is_refused() {
    let road = Road::new();
    road.trust(&road.key("acme"));
    let path = road.signed("0.1.0", "acme");
    let mut bytes = fs::read(&path).expect("read");
    bytes.extend_from_slice(&[0, 5, 4, b'm', b'i', b'n', b'e']);
    write(&path, &bytes);
    for words in [&[][..], &["--allow-unsigned"]] {
        road.install(&path, words)
            .expect(1)
            .says("doesn't fit: the component or the signature was changed");
    }
    write(&path.with_extension("wasm.minisig"), b"nonsense\n");
    road.install(&path, &["--allow-unsigned"])
        .expect(1)
        .says("it isn't in the format of minisign");
    assert!(!road.plugin_dir().exists());
}

#[test]
fn no_plugin_at_all_and_another_contract_are_refused_first() {
    let road = Road::new();
    let path = road.sandbox.path("builds/x.wasm");
    for (bytes, says) in [
        (b"#!/bin/sh\n".to_vec(), "it isn't WebAssembly"),
        (component("0.1.0")[..5000].to_vec(), "is no plugin"),
    ] {
        write(&path, &bytes);
        road.install(&path, &["--allow-unsigned"]).expect(1).says(says);
    }
    let text = component("0.1.0");
    let from = b"contract = \"1.0.0\"";
    let place = text
        .windows(from.len())
        .rposition(|window| window == from)
        .expect("the contract");
    let mut newer = text;
    newer[place + 12] = b'9';
    write(&path, &newer);
    road.install(&path, &["--allow-unsigned"])
        .expect(1)
        .says("needs plugin contract 9.0.0, this freezer speaks 1.0.0");
    assert!(!road.plugin_dir().exists());
}

#[test]
fn a_revoked_key_or_component_is_used_no_more() {
    let (road, key) = Road::installed();
    road.plugin(&["distrust", &key, "--why", "stolen"])
        .expect(0)
        .says("plugin acmes isn't used any more");
    road.backup().expect(1).says("which is revoked (stolen)");
    road.plugin(&["verify", "acmes"])
        .expect(5)
        .tells("which is revoked (stolen)");
    road.install(&road.sandbox.path("builds"), &["--allow-unsigned"])
        .expect(1)
        .says("revoked");
    road.trust(&key);
    road.backup().expect(0);
    let digest = road.inspected()["sha256"].as_str().expect("text").to_owned();
    road.plugin(&["distrust", &format!("sha256:{digest}")]).expect(0);
    road.backup().expect(1).says("its component is revoked");
    let refused = road
        .audit()
        .into_iter()
        .filter(|line| line["event"] == "load" && line["outcome"] == "refused");
    assert_eq!(refused.count(), 2);
}

#[test]
fn a_component_that_was_changed_where_it_lies_is_not_used() {
    let (road, _) = Road::installed();
    let path = road.plugin_dir().join("acmes.wasm");
    let mut bytes = fs::read(&path).expect("read");
    bytes.extend_from_slice(&[0, 5, 4, b'm', b'i', b'n', b'e']);
    write(&path, &bytes);
    road.backup().expect(1).says("isn't what was installed");
    road.plugin(&["verify"])
        .expect(5)
        .tells("isn't what was installed");
    road.install(&road.sandbox.path("builds"), &["--grant", "asked"])
        .expect(0);
    road.backup().expect(0);
}

#[test]
fn an_update_shows_what_changes_and_voids_the_grants_unless_they_are_renewed() {
    let (road, _) = Road::installed();
    let newer = road.signed("0.2.0", "acme");
    let newer = newer.to_str().expect("UTF-8");
    road.plugin(&["update", "acmes", newer])
        .expect(2)
        .says("version    0.1.0 -> 0.2.0")
        .says("it had, and would have again, that it")
        .says(&format!(
            "freezer plugin update acmes {newer} --yes --grant '{ASKED}'"
        ));
    road.plugin(&["update", "acmes", newer, "--yes"])
        .expect(0)
        .says("updated acmes 0.2.0 with 0 grants");
    road.backup().expect(1).says("isn't allowed to open directory");
    let older = road.sandbox.path("builds/acmes-0.1.0.wasm");
    road.install(&older, &[])
        .expect(1)
        .says("it is version 0.1.0, and version 0.2.0 is installed");
    road.install(&older, &["--allow-downgrade", "--grant", "asked"])
        .expect(0);
    road.plugin(&["update", "acmes", newer, "--yes", "--keep-grants"])
        .expect(0);
    road.backup().expect(0);
    // Its source is known now.
    road.plugin(&["update", "acmes"])
        .expect(0)
        .says("is what is installed already");
}

#[test]
fn what_nobody_can_be_asked_is_refused_with_the_command_that_does_it() {
    let road = Road::new();
    road.trust(&road.key("acme"));
    let path = road.signed("0.1.0", "acme");
    let path = path.to_str().expect("UTF-8");
    let refused = road.plugin(&["install", path]).expect(2);
    let refused = refused
        .says("may read, write and delete files in what its setting path names")
        .says("may NOT run programs");
    assert!(!road.plugin_dir().exists(), "{refused}");
    let line = refused
        .stderr
        .lines()
        .find(|line| line.starts_with("next: to allow all"));
    let command = line
        .and_then(|line| line.split_once(": freezer "))
        .expect("a command")
        .1
        .to_owned();
    let shell = format!("{} {command}", freezer_binary().display());
    road.sandbox
        .scrubbed(Path::new("/bin/sh"))
        .args(["-c", &shell])
        .run()
        .expect(0);
    road.backup().expect(0);
}

#[test]
fn somebody_at_a_terminal_is_asked() {
    let road = Road::new();
    road.trust(&road.key("acme"));
    let path = road.signed("0.1.0", "acme");
    let asked = |answer: &str| {
        let command = format!("{} plugin install {}", freezer_binary().display(), path.display());
        road.sandbox
            .scrubbed(Path::new("/usr/bin/script"))
            .args(["-qec", &command, "/dev/null"])
            .stdin(format!("{answer}\n"))
            .run()
    };
    let refused = asked("no").expect(1);
    assert!(
        refused
            .text()
            .contains("Install it and allow all that it asks for?"),
        "{refused}"
    );
    assert!(!road.plugin_dir().exists(), "{refused}");
    asked("none").expect(0);
    assert_eq!(road.inspected()["grants"], serde_json::json!([]));
    asked("yes").expect(0);
    assert_eq!(road.inspected()["grants"], serde_json::json!([ASKED]));
}

/// Serves the files of a folder by plain HTTP, whoever asks, until the process ends.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = connection.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = text
                .split(' ')
                .nth(1)
                .unwrap_or("/")
                .trim_start_matches('/')
                .to_owned();
            let (status, content) = match fs::read(folder.join(path)) {
                Ok(content) => ("200 OK", content),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                content.len()
            );
            drop(
                connection
                    .write_all(head.as_bytes())
                    .and_then(|()| connection.write_all(&content)),
            );
        }
    });
    format!("http://127.0.0.1:{port}")
}

#[test]
fn by_plain_http_a_signature_or_a_digest_must_speak_for_it() {
    let road = Road::new();
    let url = format!("{}/acmes-0.1.0.wasm", serve(road.sandbox.path("builds")));
    let install = |more: &[&str]| road.plugin(&[&["install", &url, "--yes"], more].concat());
    install(&["--allow-unsigned"])
        .expect(1)
        .says("can't fetch")
        .says("there is none (status 404)");
    road.unsigned("0.1.0");
    install(&["--allow-unsigned"])
        .expect(1)
        .says("it came by plain http and is not signed");
    install(&["--sha256", &"0".repeat(64)]).expect(1).says("not 0000");
    road.trust(&road.key("acme"));
    road.signed("0.1.0", "acme");
    install(&["--grant", "asked"]).expect(0);
    assert_eq!(road.inspected()["source"], url);
    road.backup().expect(0);
    let digest = road.inspected()["sha256"].as_str().expect("text").to_owned();
    road.plugin(&["remove", "acmes"]).expect(0);
    fs::remove_file(road.sandbox.path("builds/acmes-0.1.0.wasm.minisig")).expect("remove");
    install(&["--sha256", &digest]).expect(0);
}

#[test]
fn what_is_removed_is_gone_with_its_grants() {
    let (road, _) = Road::installed();
    road.plugin(&["remove", "acmes"]).expect(0);
    assert_eq!(
        fs::read_dir(road.plugin_dir().join("installed"))
            .expect("records")
            .count(),
        0
    );
    assert!(
        !fs::read_to_string(road.config("grants.toml"))
            .expect("grants")
            .contains("acmes")
    );
    road.plugin(&["remove", "acmes"])
        .expect(4)
        .says("no plugin acmes is installed");
    road.backup().expect(2).says("no storage plugin named \"acmes\"");
}

#[test]
fn nothing_is_written_through_links_or_where_others_can_write() {
    let (road, key) = Road::installed();
    let victim = road.sandbox.path("victim");
    write(&victim, b"precious");
    let newer = road.signed("0.2.0", "acme");
    let plugin = road.plugin_dir().join("acmes.wasm");
    fs::remove_file(&plugin).expect("remove");
    symlink(&victim, &plugin).expect("link");
    road.install(&newer, &[]).expect(1).says("it is a link");
    fs::remove_file(&plugin).expect("remove");
    for name in ["trust.toml", "grants.toml"] {
        let file = road.config(name);
        fs::remove_file(&file).expect("remove");
        symlink(&victim, &file).expect("link");
        road.plugin(&["trust", &key]).expect(2).says("it is a link");
        fs::remove_file(&file).expect("remove");
    }
    let config = road.config(".");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o777)).expect("chmod");
    road.plugin(&["trust", &key])
        .expect_any(&[1, 2])
        .says("others can write the directory");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o755)).expect("chmod");
    road.trust(&key);
    fs::set_permissions(road.plugin_dir(), fs::Permissions::from_mode(0o777)).expect("chmod");
    road.install(&newer, &[])
        .expect(1)
        .says("others can write the directory");
    assert_eq!(fs::read(&victim).expect("read"), b"precious");
    assert!(!plugin.exists());
}

#[test]
fn a_plugin_of_this_programs_name_is_not_installed() {
    let road = Road::new();
    let plugins = freezer_binary()
        .parent()
        .expect("a folder")
        .join("lib/freezer/plugins");
    let mut bytes = fs::read(plugins.join("local.wasm")).expect("read");
    bytes.extend_from_slice(&[0, 5, 4, b'm', b'i', b'n', b'e']);
    let path = road.sandbox.path("builds/local.wasm");
    write(&path, &bytes);
    road.install(&path, &["--allow-unsigned"])
        .expect(1)
        .says("its name belongs to the plugin");
}

#[test]
fn a_policy_forbids_what_was_granted_and_its_line_is_named() {
    let (road, _) = Road::installed();
    let policy = road.config("policy.toml");
    write(
        &policy,
        b"[foreign-plugins]\nforbid-grants = [\"files:read-write\"]\n",
    );
    let line = format!(
        "{}, line 2: forbid-grants = [\"files:read-write\"]",
        policy.display()
    );
    road.backup()
        .expect(1)
        .says(&line)
        .says("a policy forbids plugin acmes to open directory");
    road.plugin(&["grant", "acmes", "files=/srv:read-write"])
        .expect(1)
        .says(&line);
    road.plugin(&["grant", "acmes", "files=/srv:read-only"]).expect(0);
    // Storage local is no stranger.
    road.sandbox.backup(&[]);
    write(&policy, b"[foreign-plugins]\nforbid-plugins = [\"acmes\"]\n");
    road.backup()
        .expect(1)
        .says("plugin acmes isn't let in")
        .says("forbid-plugins = [\"acmes\"]");
    write(&policy, b"[foreign-plugins]\nforbid-unsigned = true\n");
    road.backup().expect(0);
    road.install(&road.unsigned("0.1.1"), &["--allow-unsigned"])
        .expect(1)
        .says("forbid-unsigned = true");
    write(&policy, b"[foreign-plugins]\nallow = 1\n");
    road.backup()
        .expect(2)
        .says("can't use policy file")
        .says("line 2: unknown field `allow`");
}

#[test]
fn every_decision_of_a_run_is_in_the_audit_log_once() {
    let (road, _) = Road::installed();
    road.backup().expect(0);
    road.plugin(&["revoke", "acmes"]).expect(0);
    road.backup().expect(1);
    let log = road.audit();
    let events: Vec<&str> = log.iter().filter_map(|line| line["event"].as_str()).collect();
    for event in ["trust", "install", "revoke"] {
        assert_eq!(
            events.iter().filter(|known| **known == event).count(),
            1,
            "{log:#?}"
        );
    }
    let of_acmes = |allowed: bool| {
        let about = |line: &&Value| {
            line["event"] == "decision" && line["plugin"] == "acmes" && line["allowed"] == allowed
        };
        log.iter().filter(about).collect::<Vec<_>>()
    };
    assert!(
        !of_acmes(true).is_empty() && !of_acmes(false).is_empty(),
        "{log:#?}"
    );
    let keys: std::collections::BTreeSet<String> = of_acmes(true)
        .iter()
        .map(|line| format!("{}{}", line["run"], line["request"]))
        .collect();
    assert_eq!(keys.len(), of_acmes(true).len(), "each once a run");
    let path = road.sandbox.path("home/.local/state/freezer/audit/log.jsonl");
    assert_eq!(
        fs::metadata(path).expect("the log").permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_backup_goes_on_where_the_audit_log_cannot_be_written() {
    let (road, _) = Road::installed();
    let path = road.sandbox.path("home/.local/state/freezer/audit/log.jsonl");
    fs::remove_file(&path).expect("remove");
    fs::create_dir(&path).expect("in its place");
    road.backup().expect(0).says("can't write the audit log");
}

mod needs_mounts {
    use super::*;

    /// `freezer WORDS` where `/etc/freezer` holds these files.
    fn under_system(road: &Road, files: &[(&str, &str)], words: &str) -> Finished {
        let etc = road.sandbox.path("etc");
        fs::create_dir_all(&etc).expect("etc");
        for (name, text) in files {
            write(&etc.join(name), text.as_bytes());
        }
        let script = format!(
            "mount -t tmpfs none /etc && mkdir /etc/freezer && cp -r {}/. /etc/freezer && exec {} {words}",
            etc.display(),
            freezer_binary().display()
        );
        road.sandbox
            .scrubbed(Path::new("/usr/bin/unshare"))
            .args(["-rm", "/bin/sh", "-c", &script])
            .run()
            .no_crash()
    }

    #[test]
    fn no_user_loosens_the_systems_policy_or_brings_back_its_revoked_key() {
        let (road, key) = Road::installed();
        let list = format!("list --from acmes:{}", road.sandbox.path("objects").display());
        road.backup().expect(0);
        under_system(&road, &[], &list).expect(0);
        write(
            &road.config("policy.toml"),
            b"[foreign-plugins]\nforbid-grants = []\n",
        );
        let policy = "[foreign-plugins]\nforbid-user-keys = true\nforbid-unsigned = true\n";
        under_system(&road, &[("policy.toml", policy)], &list)
            .expect(1)
            .says("which nobody here trusts; /etc/freezer/policy.toml, line 3: forbid-unsigned = true");
        let trusted = format!("[[key]]\nkey = \"{key}\"\n");
        under_system(&road, &[("trust.toml", &trusted)], &list).expect(0);
        let revoked = format!("[[revoked]]\nkey = \"{key}\"\n");
        let files = [("policy.toml", ""), ("trust.toml", revoked.as_str())];
        under_system(&road, &files, &list)
            .expect(1)
            .says("which is revoked, as /etc/freezer/trust.toml says");
        under_system(&road, &[], &format!("plugin trust {key}"))
            .expect(1)
            .says("is revoked and can't be trusted");
    }
}
