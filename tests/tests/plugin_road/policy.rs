//! What policies forbid, whoever granted it, and the log of all decisions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use freezer_tests::{Finished, freezer_binary, write};
use serde_json::Value;

use crate::road::Road;

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
