//! Sins of reaching for what wasn't granted. Their argument names the thing; what they answer is how much they got of it.

use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::bodies::Body;
use freezer_sdk::host::commands::{self, Command};
use freezer_sdk::host::directories::{self, Access, Directory, Existing};
use freezer_sdk::host::{control, http, sql, ssh};

use crate::{conversation, place};

/// Environment variables, arguments, and what lies in the directories that a program may expect.
pub(crate) fn reads_its_surroundings(_: &str) -> Result<u64> {
    let mut seen = std::env::vars().count() + std::env::args().count();
    for directory in ["/", ".", "/etc", "/proc/self"] {
        seen += std::fs::read_dir(directory).map_or(0, Iterator::count);
    }
    seen += usize::from(std::fs::read("/etc/passwd").is_ok());
    Ok(seen as u64)
}

pub(crate) fn asks_for_a_directory(path: &str) -> Result<u64> {
    let directory = directories::open(path, Access::ReadOnly)?;
    Ok(directory.list("", None)?.entries.len() as u64)
}

pub(crate) fn asks_for_an_origin(url: &str) -> Result<u64> {
    get(url)
}

pub(crate) fn asks_for_a_place(to: &str) -> Result<u64> {
    conversation::talk("tcp", to)
}

pub(crate) fn asks_for_a_machine(to: &str) -> Result<u64> {
    let (host, port) = place(to);
    ssh::connect(&ssh::Target {
        host,
        port,
        user: "root".to_owned(),
        login: ssh::Login::Agent,
        known_hosts: None,
        accept_new: None,
    })?;
    Ok(1)
}

pub(crate) fn asks_for_a_database(to: &str) -> Result<u64> {
    database(to).map(|_| 1)
}

pub(crate) fn database(to: &str) -> Result<sql::Connection> {
    let (host, port) = place(to);
    sql::connect(&sql::Target {
        engine: sql::Engine::Mysql,
        host,
        port,
        user: "freezer".to_owned(),
        password: Some(sql::Password::Known("secret".to_owned())),
        database: None,
        tls: sql::Tls::Off,
        timeout_ms: Some(5000),
    })
}

/// The program and its arguments, with a space between them.
pub(crate) fn asks_for_a_program(words: &str) -> Result<u64> {
    let mut words = words.split(' ');
    let program = words.next().unwrap_or_default();
    spawn(&Command::new(program, words))
}

fn spawn(command: &Command) -> Result<u64> {
    commands::spawn(command, None)?.wait()?;
    Ok(1)
}

pub(crate) fn asks_for_a_secret(_: &str) -> Result<u64> {
    Ok(control::secret("password")?.expose().len() as u64)
}

pub(crate) fn asks_for_an_undeclared_secret(_: &str) -> Result<u64> {
    Ok(control::secret("other")?.expose().len() as u64)
}

pub(crate) fn follows_a_redirect(url: &str) -> Result<u64> {
    get(url)
}

/// Asks an origin again and again while its name leads elsewhere every now and then.
pub(crate) fn trusts_a_name_that_changes(url: &str) -> Result<u64> {
    Ok((0..300).filter(|_| get(url).is_ok()).count() as u64)
}

pub(crate) fn connects_to_a_name_that_changes(to: &str) -> Result<u64> {
    Ok((0..300).filter(|_| conversation::talk("tcp", to).is_ok()).count() as u64)
}

/// One request, without any secret.
fn get(url: &str) -> Result<u64> {
    let request = http::Request {
        headers: Vec::new(),
        ..conversation::request("GET", http::Trust::System, url)
    };
    Ok(http::send(&request, None)?.status.into())
}

fn field(name: &str, value: &str) -> http::Field {
    http::Field {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// Headers that would be more than one, or say what only the host may say.
pub(crate) fn injects_headers(url: &str) -> Result<u64> {
    let crafted = [
        ("x-a", "1\r\nx-injected: 1"),
        ("x-a", "1\nx-injected: 1"),
        ("x-a", "1\0"),
        ("x-a\r\nx-injected", "1"),
        ("x-a: 1\r\nx-injected", "1"),
        ("", "x-injected"),
        ("x a", "x-injected"),
        ("host", "x-injected"),
        ("Host", "x-injected"),
        ("content-length", "1000000"),
        ("transfer-encoding", "x-injected"),
        ("connection", "x-injected"),
        ("proxy-authorization", "\u{7f}x-injected"),
    ];
    Ok(crafted
        .into_iter()
        .filter(|(name, value)| {
            let request = http::Request {
                headers: vec![field(name, value)],
                ..conversation::request("GET", http::Trust::System, url)
            };
            http::send(&request, None).is_ok()
        })
        .count() as u64)
}

/// Tries every way up and aside from a directory that is granted; `link` in it leads out.
pub(crate) fn climbs_out(root: &str) -> Result<u64> {
    let directory = directories::open(root, Access::ReadWrite)?;
    let paths = [
        "..",
        "../canary/precious",
        "a/../../canary/precious",
        "./../canary/precious",
        "/etc/passwd",
        "//etc/passwd",
        "link/precious",
        "link/new",
        "a//../canary/precious",
        "a\0/../../canary/precious",
        "..\\canary\\precious/..",
    ];
    let mut got = 0;
    for path in paths {
        got += reach(&directory, path)?;
    }
    let roots = [
        format!("{root}/.."),
        format!("{root}/../canary"),
        format!("{root}/link"),
        format!("{root}/link/.."),
        format!("{root}/./../canary"),
    ];
    for root in roots {
        for access in [Access::ReadOnly, Access::ReadWrite] {
            if let Ok(directory) = directories::open(&root, access) {
                got += u64::from(directory.list("", None).is_ok());
                got += reach(&directory, "precious")?;
            }
        }
    }
    Ok(got)
}

/// How many of all calls succeed on a path that leads out.
fn reach(directory: &Directory, path: &str) -> Result<u64> {
    let content = Body::from_bytes(b"from the plugin")?;
    let publish = |from, to| directory.publish(from, to, Existing::Replace);
    let tries = [
        directory.stat(path).is_ok(),
        directory.list(path, None).is_ok(),
        directory.read(path, 0, None).is_ok(),
        directory.write(path, 0, &content).is_ok(),
        directory.make_directory(path).is_ok(),
        directory.make_directory(&format!("{path}/below")).is_ok(),
        publish("inside", path).is_ok(),
        publish(path, "stolen").is_ok(),
        // What isn't there is removed with success, so only what is there counts.
        directory.stat(path).is_ok() && directory.remove(path).is_ok(),
    ];
    Ok(tries.into_iter().filter(|done| *done).count() as u64)
}

/// Opens, reads and writes below a granted directory in which `swapped` is a directory and a link to the outside by turns. Answers
/// how often it saw what lies outside.
pub(crate) fn races_links(root: &str) -> Result<u64> {
    let directory = directories::open(root, Access::ReadWrite)?;
    let content = Body::from_bytes(b"from the plugin")?;
    let mut escapes = 0;
    for turn in 0..2000_u32 {
        let seen = |read: Result<Body>| {
            let text = read.and_then(|body| body.read(64)).unwrap_or_default();
            u64::from(text.starts_with(b"precious"))
        };
        escapes += seen(directory.read("swapped/precious", 0, None));
        if let Ok(below) = directories::open(&format!("{root}/swapped"), Access::ReadWrite) {
            escapes += seen(below.read("precious", 0, None));
            drop(below.write("written", 0, &content));
        }
        drop(directory.write(&format!("swapped/new-{turn}"), 0, &content));
        drop(directory.publish("inside", "swapped/inside", Existing::Replace));
        drop(directory.publish("swapped/inside", "inside", Existing::Replace));
        drop(directory.make_directory("swapped/made/deep"));
        drop(directory.remove("swapped/precious"));
    }
    Ok(escapes)
}

/// Runs a program that is granted with `--out *` in every way that isn't.
pub(crate) fn crafts_commands(program: &str) -> Result<u64> {
    let name = program.rsplit('/').next().unwrap_or_default();
    let with = |arguments: &[&str]| Command::new(program, arguments.iter().copied());
    let fine = || with(&["--out", "x"]);
    let called = |program: String| Command::new(program, ["--out", "x"]);
    let crafted = [
        with(&[]),
        with(&["--out"]),
        with(&["--out", "x", "--exec=sh"]),
        with(&["--out x"]),
        with(&["--OUT", "x"]),
        with(&["--out\0", "x"]),
        with(&["--out", "x\0--exec"]),
        with(&["", "--out", "x"]),
        called(name.to_owned()),
        called(format!("{program} ")),
        called(format!("{program}\0")),
        called(format!("/proc/self/root{program}")),
        called(program.replacen('/', "//", 1)),
        called(program.replace(name, &format!("./{name}"))),
        called(program.replace(name, &format!("../tools/{name}"))),
        called("/bin/sh".to_owned()),
        called(String::new()),
        fine().variable("LD_PRELOAD", "/tmp/evil.so"),
        fine().variable("PATH", "/tmp"),
        fine().variable("BASH_ENV", "/tmp/evil"),
        fine().variable("LANG\0LD_PRELOAD", "x"),
        fine().variable("LANG=x\nLD_PRELOAD", "x"),
        fine().variable("LC_ALL", "{secret:password}"),
        fine().input("../x", "content"),
        fine().input("a", "{secret:password}"),
        Command {
            directory: Some("relative".to_owned()),
            ..fine()
        },
    ];
    Ok(crafted.iter().filter(|command| spawn(command).is_ok()).count() as u64)
}

/// Takes a lock that others wait for, and crashes with it.
pub(crate) fn keeps_the_database_lock(to: &str) -> Result<u64> {
    let connection = database(to)?;
    let answer = connection.query("SELECT GET_LOCK('freezer-hostile', 10)", &[])?;
    if !matches!(
        answer.rows.first().map(Vec::as_slice),
        Some([sql::Value::Integer(1)])
    ) {
        return Err(Error::other("somebody else has the lock"));
    }
    panic!("on purpose, with a lock in hand")
}

/// Looks into the bytes of the backup.
pub(crate) fn peeks_at_the_backup(content: &Body) -> Result<()> {
    content.read(10).map(drop)
}
