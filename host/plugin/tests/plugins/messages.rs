//! What each error of this crate says, to the letter: one row for each variant, or the count doesn't fit.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use freezer_pipeline::store::ErrorKind;
use freezer_plugin::manifest::ManifestError;
use freezer_plugin::pack::PackError;
use freezer_plugin::policy::RuleLine;
use freezer_plugin::signature::SignatureError;
use freezer_plugin::{Inadmissible, LimitHit, PluginError, PluginKind, Refusal, Standing};

/// A source of this crate beside the rows for its errors.
#[track_caller]
fn says(source: &str, rows: &[(&dyn std::fmt::Display, &str)]) {
    for (error, wanted) in rows {
        assert_eq!(error.to_string(), *wanted);
    }
    assert_eq!(
        source.matches("#[error(").count(),
        rows.len(),
        "each variant has one row here"
    );
}

fn plugin() -> String {
    "acme".to_owned()
}

fn path() -> PathBuf {
    "/usr/lib/freezer/plugins/acme.wasm".into()
}

fn unknown() -> PluginError {
    PluginError::Unknown {
        kind: PluginKind::Storage,
        wanted: "swft".to_owned(),
        available: vec!["local".to_owned(), "swift".to_owned()],
        nearest: Some("swift".to_owned()),
    }
}

fn ambiguous() -> PluginError {
    PluginError::Ambiguous {
        scheme: "dav".to_owned(),
        names: [plugin(), "other".to_owned()],
        files: [path(), "/opt/other.wasm".into()],
    }
}

fn denied() -> PluginError {
    PluginError::Denied(Refusal {
        plugin: plugin(),
        request: "to open directory /etc read-only".to_owned(),
        line: "files = [{ root = \"/etc\", access = \"read-only\" }]".to_owned(),
        sha256: "ab12".to_owned(),
        rule: None,
    })
}

fn other_component() -> PluginError {
    PluginError::OtherComponent {
        plugin: plugin(),
        sha256: "ab12".to_owned(),
    }
}

fn contract() -> PluginError {
    PluginError::Contract {
        plugin: plugin(),
        wanted: "2.0.0".to_owned(),
    }
}

fn setting() -> PluginError {
    PluginError::Setting {
        plugin: plugin(),
        setting: "path".to_owned(),
        why: "is missing".to_owned(),
    }
}

fn failed() -> PluginError {
    PluginError::Failed {
        plugin: plugin(),
        call: "put",
        kind: ErrorKind::Other,
        message: "the disk is full".to_owned(),
        cause: None,
        retry_after: None,
    }
}

/// What ends an instance, or keeps a component from becoming one.
fn endings() -> [(PluginError, &'static str); 7] {
    let (plugin, call, why) = (plugin, "commit", || "it said so".to_owned());
    [
        (
            PluginError::Load {
                plugin: plugin(),
                why: why(),
            },
            "plugin acme doesn't load: it said so",
        ),
        (
            PluginError::Changed { plugin: plugin() },
            "plugin acme was changed on disk while it was being loaded: run the command again",
        ),
        (
            PluginError::Engine { why: why() },
            "can't start the plugin engine: it said so",
        ),
        (
            PluginError::Trap {
                plugin: plugin(),
                call,
                why: why(),
            },
            "plugin acme crashed in commit: it said so",
        ),
        (
            PluginError::Limit {
                plugin: plugin(),
                call,
                limit: LimitHit::Memory(64 << 20),
            },
            "plugin acme was stopped in commit: it needs more than 64 MiB of memory",
        ),
        (
            PluginError::Broken {
                plugin: plugin(),
                call,
                why: why(),
            },
            "plugin acme broke the plugin contract in commit: it said so",
        ),
        (
            PluginError::Leftovers { plugin: plugin() },
            "plugin acme announced too many leftovers: a run has at most 1000 open ones and 4 MiB of them",
        ),
    ]
}

/// What is wrong with files and what is frozen.
fn files() -> [(PluginError, &'static str); 7] {
    let (source, why) = (
        || io::Error::other("the disk says no"),
        || "it is empty".to_owned(),
    );
    [
        (
            PluginError::Unreadable {
                path: path(),
                source: source(),
            },
            "can't read plugin /usr/lib/freezer/plugins/acme.wasm",
        ),
        (
            PluginError::NotAPlugin {
                path: path(),
                why: why(),
            },
            "/usr/lib/freezer/plugins/acme.wasm is no plugin: it is empty",
        ),
        (
            PluginError::Manifest {
                path: path(),
                source: ManifestError::Missing,
            },
            "/usr/lib/freezer/plugins/acme.wasm has a bad plugin.toml",
        ),
        (
            PluginError::Grants {
                path: "/etc/freezer/grants.toml".into(),
                why: why(),
            },
            "can't use grants file /etc/freezer/grants.toml: it is empty",
        ),
        (
            PluginError::Journal {
                path: "/var/lib/freezer".into(),
                source: source(),
            },
            "can't keep the journal of leftovers in /var/lib/freezer",
        ),
        (
            PluginError::Spoiled {
                why: "lvm vg0/s1 overflowed".to_owned(),
            },
            "what was read can't be trusted: lvm vg0/s1 overflowed",
        ),
        (
            PluginError::Snapshot {
                why: "can't unmount /mnt: it is busy".to_owned(),
            },
            "can't unmount /mnt: it is busy",
        ),
    ]
}

#[test]
fn of_plugins() {
    let (unknown, ambiguous, denied, other) = (unknown(), ambiguous(), denied(), other_component());
    let (contract, setting, failed) = (contract(), setting(), failed());
    let (endings, files) = (endings(), files());
    let mut rows: Vec<(&dyn std::fmt::Display, &str)> = vec![
        (
            &unknown,
            "no storage plugin named \"swft\" is installed (there are: local, swift); did you mean swift?",
        ),
        (
            &ambiguous,
            "\"dav\" is served by plugin acme (/usr/lib/freezer/plugins/acme.wasm) and by plugin other (/opt/other.wasm): \
             put the plugin's name in the place of the scheme",
        ),
        (
            &denied,
            "plugin acme isn't allowed to open directory /etc read-only; to allow it, put this line into grants.toml \
             below [acme] with sha256 = \"ab12\": files = [{ root = \"/etc\", access = \"read-only\" }]",
        ),
        (
            &other,
            "plugin acme with sha256 ab12 made it and isn't installed any more: install it again, or remove it by hand",
        ),
        (
            &contract,
            "plugin acme needs plugin contract 2.0.0, this freezer speaks 1.0.0: install a build of it for contract 1",
        ),
        (&setting, "plugin acme: setting \"path\" is missing"),
        (&failed, "plugin acme: the disk is full"),
    ];
    let door = door();
    for (error, wanted) in endings.iter().chain(&files).chain(&door) {
        rows.push((error, wanted));
    }
    says(include_str!("../../src/error.rs"), &rows);
}

/// What keeps a plugin out, and what the files say that decide it.
fn door() -> [(PluginError, &'static str); 7] {
    let (why, source) = (|| "it said so".to_owned(), || io::Error::other("no room"));
    [
        (
            PluginError::Trust {
                path: "/etc/freezer/trust.toml".into(),
                why: why(),
            },
            "can't use trust file /etc/freezer/trust.toml: it said so",
        ),
        (
            PluginError::Policy {
                path: "/etc/freezer/policy.toml".into(),
                why: why(),
            },
            "can't use policy file /etc/freezer/policy.toml: it said so",
        ),
        (
            PluginError::NotLetIn {
                plugin: plugin(),
                why: Inadmissible::TakenName,
            },
            "plugin acme isn't let in: its name belongs to the plugin that was built together with this program",
        ),
        (
            PluginError::Tampered {
                path: path(),
                installed: "ab".to_owned(),
                found: "cd".to_owned(),
            },
            "/usr/lib/freezer/plugins/acme.wasm isn't what was installed: that had sha256 ab, this has cd",
        ),
        (
            PluginError::Record {
                path: path(),
                source: source(),
            },
            "can't use the record of installed plugin /usr/lib/freezer/plugins/acme.wasm",
        ),
        (
            PluginError::Install {
                path: path(),
                source: source(),
            },
            "can't install or remove /usr/lib/freezer/plugins/acme.wasm",
        ),
        (
            PluginError::Fetch {
                url: "https://a/b.wasm".to_owned(),
                why: why(),
            },
            "can't fetch https://a/b.wasm: it said so",
        ),
    ]
}

#[test]
fn of_signatures_and_packed_plugins() {
    says(
        include_str!("../../src/signature.rs"),
        &[
            (
                &SignatureError::Key("AB".to_owned()),
                "\"AB\" is no public key of minisign: it must be the line that begins with RW",
            ),
            (&SignatureError::Format, "it isn't in the format of minisign"),
            (
                &SignatureError::Legacy,
                "it was made without a hash: sign again with minisign 0.10 or newer and without -l",
            ),
        ],
    );
    says(
        include_str!("../../src/pack.rs"),
        &[
            (
                &PackError::Plugin(PluginError::Changed { plugin: plugin() }),
                "plugin acme was changed on disk while it was being loaded: run the command again",
            ),
            (
                &PackError::Signature {
                    path: "a.wasm.minisig".into(),
                    source: SignatureError::Format,
                },
                "can't use the signature a.wasm.minisig",
            ),
            (
                &PackError::NotOne {
                    path: "builds".into(),
                    count: 2,
                },
                "builds holds 2 files *.wasm: name the one that is meant",
            ),
            (
                &PackError::File {
                    action: "write",
                    path: path(),
                    source: io::Error::other("no room"),
                },
                "can't write /usr/lib/freezer/plugins/acme.wasm",
            ),
        ],
    );
}

#[test]
fn of_the_door() {
    let (key_id, trust) = (
        || "2A31C37EBEE00A5A".to_owned(),
        || PathBuf::from("/etc/freezer/trust.toml"),
    );
    let rule = || RuleLine {
        path: "/etc/freezer/policy.toml".into(),
        line: 2,
        text: "forbid-unsigned = true".to_owned(),
    };
    let component = Inadmissible::RevokedComponent {
        why: "backdoor".to_owned(),
        path: trust(),
    };
    let key = Inadmissible::RevokedKey {
        key_id: key_id(),
        why: String::new(),
        path: trust(),
    };
    let unsigned = Inadmissible::Unsigned {
        standing: Standing::Unsigned,
        rule: rule(),
    };
    let unknown = Inadmissible::NeedsSignature(Standing::UnknownKey { key_id: key_id() });
    let older = Inadmissible::Older {
        installed: "2.0.0".to_owned(),
        offered: "1.0.0".to_owned(),
    };
    let digest = Inadmissible::OtherDigest {
        expected: "ab".to_owned(),
        found: "cd".to_owned(),
    };
    says(
        include_str!("../../src/grants/admission.rs"),
        &[
            (
                &component,
                "its component is revoked (backdoor), as /etc/freezer/trust.toml says",
            ),
            (
                &key,
                "it is signed by key 2A31C37EBEE00A5A, which is revoked, as /etc/freezer/trust.toml says",
            ),
            (
                &Inadmissible::Forbidden(rule()),
                "/etc/freezer/policy.toml, line 2: forbid-unsigned = true",
            ),
            (
                &unsigned,
                "it is not signed; /etc/freezer/policy.toml, line 2: forbid-unsigned = true",
            ),
            (
                &Inadmissible::BadSignature { key_id: key_id() },
                "its signature by key 2A31C37EBEE00A5A doesn't fit: the component or the signature was changed",
            ),
            (
                &unknown,
                "it is signed by key 2A31C37EBEE00A5A, which nobody here trusts",
            ),
            (&digest, "its sha256 is cd, not ab"),
            (
                &Inadmissible::PlainHttp(Standing::Unsigned),
                "it came by plain http and is not signed, so anybody on the way could have changed it",
            ),
            (
                &Inadmissible::TakenName,
                "its name belongs to the plugin that was built together with this program",
            ),
            (&older, "it is version 1.0.0, and version 2.0.0 is installed"),
        ],
    );
}

#[test]
fn of_plugin_manifests() {
    says(
        include_str!("../../src/manifest.rs"),
        &[
            (
                &ManifestError::Missing,
                "there is none inside: pack the component with its plugin.toml",
            ),
            (
                &ManifestError::Several(2),
                "there are 2 of them inside, exactly one is allowed",
            ),
            (
                &ManifestError::TooLarge(70_000),
                "it has 70000 bytes, at most 65536 are allowed",
            ),
            (
                &ManifestError::Syntax("line 3: no value".to_owned()),
                "line 3: no value",
            ),
            (
                &ManifestError::Value {
                    key: "grants.http".to_owned(),
                    why: "is no origin".to_owned(),
                },
                "grants.http: is no origin",
            ),
            (
                &ManifestError::Contract {
                    wanted: "2.0.0".to_owned(),
                    name: None,
                },
                "it needs plugin contract 2.0.0, this freezer speaks 1.0.0",
            ),
        ],
    );
}

#[test]
fn of_limits() {
    for (limit, wanted) in [
        (
            LimitHit::Cpu(Duration::from_secs(10)),
            "it computed for more than 10 s in one call",
        ),
        (
            LimitHit::Time(Duration::from_millis(1500)),
            "the call took more than 1.5 s",
        ),
        (LimitHit::Memory(64 << 20), "it needs more than 64 MiB of memory"),
        (
            LimitHit::Memory(192 << 10),
            "it needs more than 192 KiB of memory",
        ),
        (
            LimitHit::Read((1 << 20) + 1),
            "it read more than 1048577 bytes from bodies in one call",
        ),
        (
            LimitHit::Read(1),
            "it read more than 1 byte from bodies in one call",
        ),
        (LimitHit::Transfer(0), "it passed more than 0 bytes in one call"),
        (
            LimitHit::Table(1000),
            "it needs tables of more than 1000 elements",
        ),
        (LimitHit::Handles(1024), "it holds more than 1024 handles"),
        (LimitHit::Bodies(16 << 20), "it holds more than 16 MiB in bodies"),
        (
            LimitHit::Transfer(16 << 20),
            "it passed more than 16 MiB in one call",
        ),
        (
            LimitHit::Read(256 << 20),
            "it read more than 256 MiB from bodies in one call",
        ),
        (
            LimitHit::CompileTime(Duration::from_secs(120)),
            "compiling it takes more than 120 s",
        ),
        (
            LimitHit::CompileMemory(2 << 30),
            "compiling it needs more than 2048 MiB of memory",
        ),
    ] {
        assert_eq!(limit.to_string(), wanted);
    }
}

#[test]
fn of_who_vouches() {
    let key_id = "2A31C37EBEE00A5A".to_owned();
    let signed = Standing::Signed {
        key_id,
        name: "Acme".to_owned(),
    };
    assert_eq!(signed.to_string(), "signed by Acme (key 2A31C37EBEE00A5A)");
    assert_eq!(Standing::Unsigned.to_string(), "not signed");
}
