//! What becomes of a guest that reaches for what wasn't granted, or for more than was.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use freezer_pipeline::store::{ErrorKind, Existing};

use super::untouched;
use crate::scene::Scene;

/// Refused without a grant and with grants for what lies beside it.
#[track_caller]
fn refused(
    sin: impl Fn(&Scene) -> String,
    kind: &str,
    request: impl Fn(&Scene) -> (String, String),
) -> Scene {
    let scene = Scene::new();
    let (asked, line) = request(&scene);
    scene.refuses(&sin(&scene), kind, &asked, &line);
    untouched(scene)
}

pub(super) fn asks_for_a_directory() -> Scene {
    let path = |scene: &Scene| scene.canary.directory().display().to_string();
    refused(
        |scene| format!("asks_for_a_directory {}", path(scene)),
        "files",
        |scene| {
            let path = path(scene);
            (
                format!("to open directory {path:?} read-only"),
                format!("files = [{{ root = {path:?}, access = \"read-only\" }}]"),
            )
        },
    )
}

pub(super) fn asks_for_an_origin() -> Scene {
    let origin = |scene: &Scene| format!("http://{}", scene.canary.place());
    refused(
        |scene| format!("asks_for_an_origin {}/x?y", origin(scene)),
        "http",
        |scene| {
            let origin = origin(scene);
            (
                format!("to connect to {origin:?} by http"),
                format!("http = [{origin:?}]"),
            )
        },
    )
}

#[track_caller]
fn place_refused(sin: &str, kind: &str) -> Scene {
    refused(
        |scene| format!("{sin} {}", scene.canary.place()),
        kind,
        |scene| {
            let place = scene.canary.place().to_string();
            (
                format!("to connect to {place:?} by {kind}"),
                format!("{kind} = [{place:?}]"),
            )
        },
    )
}

pub(super) fn asks_for_a_place() -> Scene {
    place_refused("asks_for_a_place", "tcp")
}

pub(super) fn asks_for_a_machine() -> Scene {
    place_refused("asks_for_a_machine", "ssh")
}

pub(super) fn asks_for_a_database() -> Scene {
    place_refused("asks_for_a_database", "sql")
}

pub(super) fn asks_for_a_program() -> Scene {
    let tool = |scene: &Scene| scene.canary.tool().display().to_string();
    refused(
        |scene| format!("asks_for_a_program {} --out x", tool(scene)),
        "processes",
        |scene| {
            let tool = tool(scene);
            (
                format!("to run {tool:?} with arguments \"--out x\""),
                format!("processes = [{{ program = {tool:?}, arguments = \"--out x\" }}]"),
            )
        },
    )
}

pub(super) fn asks_for_a_secret() -> Scene {
    refused(
        |_| "asks_for_a_secret".to_owned(),
        "secrets",
        |_| {
            let request = "to read the secret \"password\"".to_owned();
            (request, "secrets = [\"password\"]".to_owned())
        },
    )
}

/// What plugin.toml doesn't declare there isn't, so nobody has to decide.
pub(super) fn asks_for_an_undeclared_secret() -> Scene {
    let scene = Scene::granting(|_, _| "secrets = [\"password\"]".to_owned());
    assert_eq!(
        scene.fails("asks_for_an_undeclared_secret").kind,
        ErrorKind::Invalid
    );
    assert_eq!(scene.got("asks_for_a_secret"), "correct horse".len() as u64);
    untouched(scene)
}

/// There is no environment, no argument, no directory and no file but by the contract.
pub(super) fn reads_its_surroundings() -> Scene {
    let scene = Scene::new();
    assert_eq!(scene.got("reads_its_surroundings"), 0);
    untouched(scene)
}

pub(super) fn peeks_at_the_backup() -> Scene {
    let scene = Scene::new();
    let bytes = Arc::new(b"the backup's own".to_vec());
    let put = |scene: &Scene, key: &str| scene.store().put(key, Arc::clone(&bytes), Existing::Replace);
    let error = put(&scene, "peeks_at_the_backup").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(
        error
            .message
            .starts_with("plugin hostile isn't allowed to read the backup's own bytes;")
    );
    assert!(error.message.ends_with(": bodies = true"), "{error}");
    scene.assert_audited("bodies", "to read the backup's own bytes", false);
    // A storage sends the bytes away anyway: their digest tells it nothing new.
    put(&scene, "digest").unwrap();
    let granted = Scene::granting(|_, _| "bodies = true".to_owned());
    put(&granted, "peeks_at_the_backup").unwrap();
    granted.assert_audited("bodies", "to read the backup's own bytes", true);
    untouched(scene)
}

/// Answers every request in the same way and counts them.
pub(crate) struct Answering {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Answering {
    pub(crate) fn start(address: SocketAddr, answer: String) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                // One that hung up is no concern of the next.
                drop(stream.and_then(|stream| respond(stream, &answer)));
            }
        });
        Self { address, asked }
    }

    fn local(answer: String) -> Self {
        Self::start((Ipv4Addr::LOCALHOST, 0).into(), answer)
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn respond(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"hello world") {
        if stream.read(&mut byte)? == 0 {
            break;
        }
        head.push(byte[0]);
    }
    assert!(
        !String::from_utf8_lossy(&head).contains("x-injected"),
        "a header was injected"
    );
    stream.write_all(answer.as_bytes())
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 307 x\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

pub(crate) const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A granted server sends on to the canary, and to the places by which clouds tell a machine its secrets.
pub(super) fn follows_a_redirect() -> Scene {
    let there = Arc::new(AtomicUsize::new(0));
    let mut last = None;
    for to in [
        "CANARY",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0/",
        "file:///etc/passwd",
    ] {
        let place = Arc::clone(&there);
        let scene = Scene::granting(|_, canary| {
            let to = to.replace("CANARY", &format!("http://{}/", canary.place()));
            let server = Answering::local(redirect(&to));
            place.store(server.address.port().into(), Ordering::SeqCst);
            format!("http = [\"http://{}\"]", server.address)
        });
        let key = format!(
            "follows_a_redirect http://127.0.0.1:{}/",
            there.load(Ordering::SeqCst)
        );
        if to.starts_with("file") {
            // Not followed at all: the redirect is the answer.
            assert_eq!(scene.got(&key), 307);
        } else {
            let error = scene.fails(&key);
            assert_eq!(error.kind, ErrorKind::Denied, "{to}: {error}");
            assert!(
                error.message.contains("to allow it, put this line"),
                "{to}: {error}"
            );
            let denied = scene.audited();
            assert!(
                denied.iter().any(|line| line["allowed"] == false),
                "{to}: {denied:?}"
            );
        }
        scene.canary.assert_untouched();
        last = Some(scene);
    }
    last.unwrap()
}

pub(super) fn injects_headers() -> Scene {
    let server = Answering::local(FINE.to_owned());
    let scene = Scene::granting(|_, _| format!("http = [\"http://{}\"]", server.address));
    let url = format!("http://{}/", server.address);
    assert_eq!(scene.got(&format!("injects_headers {url}")), 0);
    assert_eq!(server.count(), 0, "a request was sent");
    assert_eq!(scene.got(&format!("asks_for_an_origin {url}")), 200);
    assert_eq!(server.count(), 1);
    untouched(scene)
}

/// A directory that is granted, with a link in it that leads out.
fn granted_directory(access: &str) -> Scene {
    let scene = Scene::granting(|temp, canary| {
        let root = temp.join("granted");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("inside"), "inside").unwrap();
        symlink(canary.directory(), root.join("link")).unwrap();
        format!("files = [{{ root = {root:?}, access = \"{access}\" }}]")
    });
    // What was made before the watch began is no harm.
    scene.canary.assert_untouched();
    scene
}

pub(super) fn climbs_out() -> Scene {
    let scene = granted_directory("read-write");
    let root = scene.temp.path().join("granted");
    assert_eq!(scene.got(&format!("climbs_out {}", root.display())), 0);
    assert_eq!(scene.got(&format!("asks_for_a_directory {}", root.display())), 2);
    untouched(scene)
}

/// A directory of the granted one is a link to the canary every other moment.
pub(super) fn races_links() -> Scene {
    let scene = granted_directory("read-write");
    let root = scene.temp.path().join("granted");
    fs::create_dir(root.join("swapped")).unwrap();
    symlink(scene.canary.directory(), root.join("aside")).unwrap();
    let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (stopped, count, place) = (Arc::clone(&stop), Arc::clone(&turns), root.clone());
    let swapping = thread::spawn(move || {
        let (one, other) = (place.join("swapped"), place.join("aside"));
        while !stopped.load(Ordering::Acquire) {
            rustix::fs::renameat_with(
                rustix::fs::CWD,
                &one,
                rustix::fs::CWD,
                &other,
                rustix::fs::RenameFlags::EXCHANGE,
            )
            .unwrap();
            count.fetch_add(1, Ordering::AcqRel);
        }
    });
    assert_eq!(
        scene.got(&format!("races_links {}", root.display())),
        0,
        "escapes"
    );
    stop.store(true, Ordering::Release);
    swapping.join().unwrap();
    assert!(
        turns.load(Ordering::Acquire) > 1000,
        "hardly anything was swapped"
    );
    let real = ["swapped", "aside"].map(|name| root.join(name));
    let real = real.iter().find(|path| !path.is_symlink()).unwrap();
    let written = fs::read_dir(real).unwrap().count();
    assert!(written > 10, "hardly anything was written: {written}");
    untouched(scene)
}

pub(super) fn crafts_commands() -> Scene {
    let scene = Scene::granting(|_, canary| {
        format!(
            "processes = [{{ program = {:?}, arguments = \"--out *\" }}]",
            canary.tool()
        )
    });
    let tool = scene.canary.tool();
    assert_eq!(scene.got(&format!("crafts_commands {}", tool.display())), 0);
    assert_eq!(scene.canary.ran(), "", "a command ran");
    assert_eq!(
        scene.got(&format!("asks_for_a_program {} --out x;y$(z)", tool.display())),
        1
    );
    let ran = scene.canary.ran();
    // Not even a shell's own variables came from here: nothing is inherited.
    assert!(ran.starts_with("--out x;y$(z)\n"), "{ran}");
    assert!(!ran.contains("HOME=") && !ran.contains("PATH=/root"), "{ran}");
    let request = format!("to run {tool:?} with arguments \"--out x;y$(z)\"");
    scene.assert_audited("processes", &request, true);
    assert_eq!(scene.canary.connections(), 0);
    scene
}

/// Runs one test again in a mount namespace of its own, in which it may say what names stand for.
fn with_own_names(test: &str, body: impl FnOnce(&Path) -> Scene) -> Scene {
    const HOSTS: &str = "FREEZER_TEST_HOSTS";
    #[expect(
        clippy::disallowed_methods,
        reason = "the test tells itself by its environment"
    )]
    let hosts = std::env::var(HOSTS);
    if let Ok(hosts) = hosts {
        return body(Path::new(&hosts));
    }
    let temp = tempfile::tempdir().unwrap();
    let hosts = temp.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 rebound.test\n").unwrap();
    // Nobody else is asked.
    let order = temp.path().join("nsswitch.conf");
    fs::write(&order, "hosts: files\n").unwrap();
    let done = Command::new("unshare")
        .args([
            "-m",
            "sh",
            "-ec",
            "mount --bind \"$1\" /etc/hosts; mount --bind \"$2\" /etc/nsswitch.conf; exec \"$3\" --exact \"$4\" --nocapture",
        ])
        .arg("sh")
        .args([&hosts, &order, &std::env::current_exe().unwrap()])
        .arg(format!("hostile::needs_mounts::{test}"))
        .env(HOSTS, &hosts)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    Scene::new()
}

/// While the guest asks for a name again and again, the name leads to the granted server and to a forbidden address by turns.
fn name_that_changes(hosts: &Path, sin: &str, kind: &str, granted: &str) -> Scene {
    let good = Answering::local(FINE.to_owned());
    let port = good.address.port();
    // The same port on another address, so that only the name's meaning differs.
    let bad = Answering::start((Ipv4Addr::new(127, 0, 0, 2), port).into(), FINE.to_owned());
    let policy = "[every-plugin]\nforbid-hosts = [\"127.0.0.2\"]\n";
    let scene = Scene::under(policy, |_, _| format!("{kind} = [\"{granted}:{port}\"]"));
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, file) = (Arc::clone(&stop), hosts.to_owned());
    let changing = thread::spawn(move || {
        let file = fs::File::options().write(true).open(&file).unwrap();
        for turn in 1_u32.. {
            if stopped.load(Ordering::Acquire) {
                return turn;
            }
            // The one digit, so that there is always an address.
            file.write_all_at(if turn % 2 == 0 { b"1" } else { b"2" }, 8)
                .unwrap();
        }
        0
    });
    let answered = scene.got(&format!("{sin} {granted}:{port}"));
    stop.store(true, Ordering::Release);
    assert!(changing.join().unwrap() > 300, "the name hardly changed");
    assert_eq!(bad.count(), 0, "a forbidden address was connected to");
    assert!(
        answered > 10 && good.count() > 10,
        "{answered} of 300 were answered"
    );
    let refused = scene.audited();
    let refused = refused.iter().filter(|line| line["allowed"] == false);
    assert!(refused.count() > 0, "the other address was never met");
    untouched(scene)
}

pub(super) fn trusts_a_name_that_changes() -> Scene {
    with_own_names("trusts_a_name_that_changes", |hosts| {
        name_that_changes(hosts, "trusts_a_name_that_changes", "http", "http://rebound.test")
    })
}

pub(super) fn connects_to_a_name_that_changes() -> Scene {
    with_own_names("connects_to_a_name_that_changes", |hosts| {
        name_that_changes(hosts, "connects_to_a_name_that_changes", "tcp", "rebound.test")
    })
}

/// Where the database is that `tests/run.sh` starts.
pub(super) fn database() -> String {
    format!("127.0.0.1:{}", Server::shared("MARIADB").fact("PORT"))
}

/// A server that `tests/run.sh` started.
pub(super) struct Server {
    pub(super) folder: PathBuf,
    facts: String,
}

impl Server {
    pub(super) fn shared(name: &str) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests/run.sh says where its servers are"
        )]
        let folder = std::env::var_os(format!("FREEZER_TEST_{name}")).expect("tests/run.sh starts it");
        let folder = PathBuf::from(folder);
        Self {
            facts: fs::read_to_string(folder.join("env")).unwrap(),
            folder,
        }
    }

    pub(super) fn fact(&self, name: &str) -> &str {
        let found = self
            .facts
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.facts))
    }
}

/// The lock ends with the run at the latest, though nobody gave it back.
pub(super) fn keeps_the_database_lock() -> Scene {
    let place = database();
    let scene = Scene::granting(|_, _| format!("sql = [{place:?}]"));
    for _ in 0..3 {
        let message = scene.fails(&format!("keeps_the_database_lock {place}")).message;
        assert_eq!(message, "plugin hostile crashed in stat: it panicked");
        // Had it not ended, the next one would wait for it in vain.
        assert_eq!(scene.run.run.release_all(), [""; 0]);
    }
    untouched(scene)
}
