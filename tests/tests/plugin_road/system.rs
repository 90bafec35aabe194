//! `--system`: what root installs, grants and trusts for all users of a machine.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use freezer_tests::{Finished, Sandbox, freezer_binary};

use crate::road::{ASKED, Road};

/// A machine of its own: `freezer` sees the sandbox's `machine/etc` as /etc/freezer and `machine/lib` in /usr/lib, and what it
/// changes there is there the next time.
struct Machine {
    road: Road,
}

/// Runs what follows as the last user of all.
const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=nobody";

impl Machine {
    fn new() -> Self {
        let road = Road::new();
        let sandbox = &road.sandbox;
        for name in ["machine/etc", "machine/lib", "nobody", "stage"] {
            fs::create_dir_all(sandbox.path(name)).expect(name);
        }
        std::os::unix::fs::chown(sandbox.path("nobody"), Some(65534), Some(65534)).expect("chown");
        for name in [".", "source", "builds"] {
            fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        Self { road }
    }

    fn sandbox(&self) -> &Sandbox {
        &self.road.sandbox
    }

    /// `freezer WORDS`, as whom the words in front say.
    fn run(&self, whom: &str, words: &str) -> Finished {
        let script = format!(
            "set -e\n\
             mount -t tmpfs none stage; mkdir stage/upper stage/work\n\
             mount -t overlay -o lowerdir=/usr/lib,upperdir=stage/upper,workdir=stage/work none /usr/lib\n\
             mount -t tmpfs -o mode=755 none /etc; mkdir /etc/freezer\n\
             cp -a machine/lib/. /usr/lib; cp -a machine/etc/. /etc/freezer\n\
             code=0; {whom} {} {words} || code=$?\n\
             rm -rf machine; mkdir -p machine/lib\n\
             cp -a /etc/freezer machine/etc\n\
             [ ! -e /usr/lib/freezer ] || cp -a /usr/lib/freezer machine/lib\n\
             exit $code",
            freezer_binary().display()
        );
        self.sandbox()
            .scrubbed(Path::new("/usr/bin/unshare"))
            .args(["-m", "/bin/sh", "-c", &script])
            .run()
            .no_crash()
    }

    fn root(&self, words: &str) -> Finished {
        self.run("", words)
    }

    fn nobody(&self, words: &str) -> Finished {
        self.run(NOBODY, words)
    }
}

mod needs_root {
    use super::*;

    mod needs_mounts {
        use super::*;

        #[test]
        fn what_root_installs_serves_every_user_until_root_takes_it_away() {
            let machine = Machine::new();
            let road = &machine.road;
            let key = road.key("acme");
            road.signed("0.1.0", "acme");
            let backup = "backup source --name t --host h --full --to acmes:$PWD/nobody/objects".to_owned();
            machine
                .root(&format!("plugin trust {key} --name Acme --system"))
                .expect(0);
            machine
                .root("plugin install builds/acmes-0.1.0.wasm --yes --system")
                .expect(0)
                .says("installed acmes 0.1.0 with 0 grants");
            let at = |name: &str| machine.sandbox().path("machine").join(name);
            for name in ["lib/freezer/plugins/acmes.wasm", "etc/trust.toml"] {
                let found = fs::metadata(at(name)).expect(name);
                assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o644), "{name}");
            }
            let home = machine.sandbox().path("home");
            assert!(!home.join(".config").exists() && !home.join(".local/share/freezer").exists());

            machine
                .nobody(&backup)
                .expect(1)
                .says("isn't allowed to open directory");
            machine
                .root(&format!("plugin grant acmes '{ASKED}' --system"))
                .expect(0);
            machine.nobody(&backup).expect(0);
            machine
                .nobody("plugin verify acmes")
                .expect(0)
                .tells("signed by Acme");

            road.signed("0.2.0", "acme");
            machine
                .root("plugin update acmes builds/acmes-0.2.0.wasm --yes --keep-grants --system")
                .expect(0);
            machine.nobody(&backup).expect(0);
            machine
                .root(&format!("plugin distrust {key} --why stolen --system"))
                .expect(0);
            machine
                .nobody(&backup)
                .expect(1)
                .says("which is revoked (stolen)");
            machine.root("plugin remove acmes --system").expect(0);
            assert!(!at("lib/freezer/plugins/acmes.wasm").exists());
            let grants = fs::read_to_string(at("etc/grants.toml")).expect("grants.toml");
            assert!(!grants.contains("[acmes]"), "{grants}");
            machine
                .nobody(&backup)
                .expect_any(&[1, 2, 4])
                .says("\"acmes\" is installed");
        }

        #[test]
        fn a_user_changes_nothing_of_the_machine() {
            let machine = Machine::new();
            let road = &machine.road;
            let key = road.key("acme");
            road.signed("0.1.0", "acme");
            let install = "plugin install builds/acmes-0.1.0.wasm --allow-unsigned --yes --system";
            for words in [install.to_owned(), format!("plugin trust {key} --system")] {
                machine
                    .nobody(&words)
                    .expect_any(&[1, 2])
                    .says("Permission denied");
            }
            machine.root(install).expect(0);
            for words in [
                "plugin remove acmes --system".to_owned(),
                format!("plugin grant acmes '{ASKED}' --system"),
                format!("{install} --allow-downgrade"),
            ] {
                machine
                    .nobody(&words)
                    .expect_any(&[1, 2])
                    .says("Permission denied");
            }
            assert!(
                machine
                    .sandbox()
                    .path("machine/lib/freezer/plugins/acmes.wasm")
                    .is_file()
            );
            assert!(!machine.sandbox().path("machine/etc/trust.toml").exists());
        }
    }
}
