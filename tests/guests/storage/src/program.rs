//! Any sequence of host calls at all: bytes are read as a program whose calls use, mix up, lend, drop and invent handles.
#![expect(
    unsafe_code,
    reason = "a hostile plugin isn't bound by Rust's rules, and what it breaks is its own memory"
)]

use std::mem::ManuallyDrop;
use std::time::Duration;

use freezer_sdk::error::{Error, Result};
use freezer_sdk::host::bodies::{Body, DigestAlgorithm};
use freezer_sdk::host::commands::{self, Child, Command};
use freezer_sdk::host::directories::{self, Access, Directory, Existing};
use freezer_sdk::host::{control, http, sql, ssh, tcp};

use crate::{conversation, trespass};

/// Names that a program chooses from: below a directory, of a setting, of a secret.
const NAMES: [&str; 12] = [
    "",
    "a",
    "b",
    "a/b",
    "a/b/c",
    "..",
    "a/../..",
    "/etc/passwd",
    "link/x",
    "password",
    "cacert",
    "a\0b",
];
/// Statements that a program chooses from.
const STATEMENTS: [&str; 6] = [
    "SELECT 1",
    "SELECT ?, ?",
    "DO SLEEP(0)",
    "SELECT REPEAT('x', 6000000)",
    "no statement",
    "",
];
/// The most calls of one program: it is to end by itself.
const MOST_CALLS: u32 = 400;

/// What a program holds. The first of its bytes that isn't used up is the next call.
struct Machine<'a> {
    program: std::slice::Iter<'a, u8>,
    root: &'a str,
    place: &'a str,
    database: &'a str,
    machine: &'a str,
    bodies: Vec<Body>,
    directories: Vec<Directory>,
    children: Vec<Child>,
    connections: Vec<tcp::Connection>,
    databases: Vec<sql::Connection>,
    machines: Vec<ssh::Connection>,
    /// Handles that were given back and are used all the same.
    ghosts: Vec<ManuallyDrop<Body>>,
}

/// Runs what the third word stands for; the directory and the place in front of it may be granted, and behind it a database and a
/// machine with its user. Answers how many calls went well.
pub(crate) fn runs_a_program(words: &str) -> Result<u64> {
    let mut words = words.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (root, place, hex, database, machine) = (next(), next(), next(), next(), next());
    let digit = |place: usize| u8::from_str_radix(hex.get(place..place + 2).unwrap_or("00"), 16).unwrap_or(0);
    let program: Vec<u8> = (0..hex.len() / 2).map(|number| digit(number * 2)).collect();
    let mut machine = Machine {
        program: program.iter(),
        root,
        place,
        database,
        machine,
        bodies: Vec::new(),
        directories: Vec::new(),
        children: Vec::new(),
        connections: Vec::new(),
        databases: Vec::new(),
        machines: Vec::new(),
        ghosts: Vec::new(),
    };
    let mut went_well = 0;
    for _ in 0..MOST_CALLS {
        let Some(call) = machine.program.next() else { break };
        went_well += u64::from(machine.step(*call).is_ok());
    }
    Ok(went_well)
}

/// One of what is held; none is an error of the program's own.
fn one<T>(held: &[T], which: u8) -> Result<&T> {
    let none = || Error::invalid("nothing is held");
    held.get(usize::from(which) % held.len().max(1)).ok_or_else(none)
}

impl Machine<'_> {
    fn byte(&mut self) -> u8 {
        self.program.next().copied().unwrap_or(0)
    }

    fn name(&mut self) -> &'static str {
        NAMES[usize::from(self.byte()) % NAMES.len()]
    }

    /// Small ones, large ones and absurd ones.
    fn number(&mut self) -> u64 {
        let (base, shift) = (u64::from(self.byte()), u32::from(self.byte()) % 64);
        base << shift
    }

    fn step(&mut self, call: u8) -> Result<()> {
        let call = call % 40;
        match call {
            0..=4 => self.with_bodies(call),
            5..=13 => self.with_directories(call),
            14..=19 => self.with_the_network(call),
            20..=24 => self.with_commands(call),
            32..=35 => self.with_databases(call),
            36..=39 => self.with_machines(call),
            25 => control::secret(self.name()).map(drop),
            26 => {
                let body = control::file(self.name())?;
                self.bodies.push(body);
                Ok(())
            }
            27 => {
                control::info(self.name().repeat(usize::from(self.byte())));
                Ok(())
            }
            28 => {
                control::progress(self.name(), Some(self.byte()));
                Ok(())
            }
            29 => control::wait(Duration::from_millis(u64::from(self.byte()) % 8)),
            _ => self.with_ghosts(call),
        }
    }

    fn with_bodies(&mut self, call: u8) -> Result<()> {
        match call {
            0 => {
                let length = usize::from(self.byte()) << (self.byte() % 12);
                self.bodies.push(Body::from_bytes(&vec![7; length])?);
            }
            1 => {
                let which = self.byte();
                let most = u32::try_from(self.number()).unwrap_or(u32::MAX);
                one(&self.bodies, which)?.read(most)?;
            }
            2 => {
                let which = self.byte();
                one(&self.bodies, which)?.digest(DigestAlgorithm::Sha256)?;
            }
            3 => {
                let which = self.byte();
                let body = one(&self.bodies, which)?;
                let _known = (body.size(), body.is_replayable());
            }
            _ => drop(self.bodies.pop()),
        }
        Ok(())
    }

    fn with_directories(&mut self, call: u8) -> Result<()> {
        let which = self.byte();
        let path = self.name();
        if call == 5 {
            let access = [Access::ReadOnly, Access::ReadWrite][usize::from(which % 2)];
            let opened = directories::open(
                &format!("{}{}{path}", self.root, ["", "/"][usize::from(which / 2 % 2)]),
                access,
            )?;
            self.directories.push(opened);
            return Ok(());
        }
        if call == 13 {
            drop(self.directories.pop());
            return Ok(());
        }
        let (offset, length) = (self.number(), self.number());
        let body = self.byte();
        let directory = one(&self.directories, which)?;
        match call {
            6 => directory.list(path, (length % 2 == 1).then_some("a")).map(drop),
            7 => {
                let read = directory.read(path, offset, (length > 0).then_some(length))?;
                self.bodies.push(read);
                Ok(())
            }
            // A file that is all hole is as long as a program says.
            8 => directory
                .write(path, offset % (1 << 20), one(&self.bodies, body)?)
                .map(drop),
            9 => directory.publish(path, NAMES[usize::from(body) % NAMES.len()], Existing::Replace),
            10 => directory.make_directory(path),
            11 => directory.remove(path),
            _ => directory.space().and_then(|_| directory.stat(path)).map(drop),
        }
    }

    fn with_the_network(&mut self, call: u8) -> Result<()> {
        let which = self.byte();
        let body = self.byte();
        match call {
            14 => {
                let (host, port) = crate::place(self.place);
                let target = tcp::Target {
                    host,
                    port,
                    tls: None,
                    timeout_ms: Some(200),
                };
                self.connections.push(tcp::connect(&target)?);
            }
            15 => one(&self.connections, which)?.write(&vec![b'x'; usize::from(body) << 6])?,
            16 => drop(one(&self.connections, which)?.read(u32::from(body))?),
            17 => drop(one(&self.connections, which)?.send(one(&self.bodies, body)?)?),
            18 => {
                let connection = one(&self.connections, which)?;
                let received = connection.receive((body % 2 == 1).then_some(u64::from(body)))?;
                if body.is_multiple_of(3) {
                    connection.shut()?;
                }
                self.bodies.push(received);
            }
            _ if body.is_multiple_of(2) => drop(self.connections.pop()),
            _ => {
                let url = format!("http://{}/", self.place);
                let request = http::Request {
                    headers: Vec::new(),
                    timeout_ms: Some(200),
                    ..conversation::request("PUT", http::Trust::System, &url)
                };
                let answer = http::send(&request, one(&self.bodies, which).ok())?;
                self.bodies.push(answer.content);
            }
        }
        Ok(())
    }

    fn with_commands(&mut self, call: u8) -> Result<()> {
        let which = self.byte();
        match call {
            20 => {
                let program = ["/bin/cat", "/bin/true", "cat", "/bin/sh"][usize::from(which % 4)];
                let arguments: &[&str] = if which < 128 { &[] } else { &["-"] };
                let command = Command::new(program, arguments.iter().copied());
                let input = one(&self.bodies, which).ok();
                self.children.push(commands::spawn(&command, input)?);
            }
            21 => {
                let output = one(&self.children, which)?.output()?;
                self.bodies.push(output);
            }
            22 => drop(one(&self.children, which)?.wait()?),
            23 => one(&self.children, which)?.kill()?,
            _ => drop(self.children.pop()),
        }
        Ok(())
    }

    fn with_databases(&mut self, call: u8) -> Result<()> {
        let which = self.byte();
        let statement = STATEMENTS[usize::from(self.byte()) % STATEMENTS.len()];
        let number = i64::try_from(self.number()).unwrap_or(i64::MIN);
        let values = [
            sql::Value::Integer(number),
            sql::Value::Null,
            sql::Value::Text("x\0y".to_owned()),
            sql::Value::Bytes(vec![0xff; 9]),
        ];
        let values = &values[..usize::from(which) % (values.len() + 1)];
        match call {
            32 => {
                let opened = trespass::database(self.database)?;
                self.databases.push(opened);
            }
            33 => drop(one(&self.databases, which)?.execute(statement, values)?),
            34 => drop(one(&self.databases, which)?.query(statement, values)?),
            _ => drop(self.databases.pop()),
        }
        Ok(())
    }

    fn with_machines(&mut self, call: u8) -> Result<()> {
        let which = self.byte();
        let path = self.name();
        match call {
            36 => {
                let target = match self.machine.split_once('@') {
                    Some((user, place)) if which % 4 == 3 => known_machine(user, place),
                    _ => unknown_machine(which, path),
                };
                self.machines.push(ssh::connect(&target)?);
            }
            37 => {
                let opened = one(&self.machines, which)?.open(path, Access::ReadWrite)?;
                self.directories.push(opened);
            }
            38 => {
                let input = one(&self.bodies, which).ok();
                let command = Command::new("/bin/true", [path]);
                let started = one(&self.machines, which)?.spawn(&command, input)?;
                self.children.push(started);
            }
            _ if which < 128 => drop(self.machines.pop()),
            // A number that was never a connection's.
            _ => forged_machine(which).open(path, Access::ReadOnly).map(drop)?,
        }
        Ok(())
    }

    /// Handles that were given back, or were never there.
    fn with_ghosts(&mut self, call: u8) -> Result<()> {
        let which = self.byte();
        if which.is_multiple_of(8) {
            let number = u32::from(self.byte());
            // SAFETY: none; this number was never a handle of a body here, or isn't any more.
            self.ghosts
                .push(unsafe { std::mem::transmute_copy::<u32, ManuallyDrop<Body>>(&number) });
        } else if let Some(body) = self.bodies.pop() {
            // SAFETY: none; the copy outlives what it is a copy of.
            self.ghosts
                .push(ManuallyDrop::new(unsafe { std::ptr::read(&body) }));
        }
        if call.is_multiple_of(2) {
            one(&self.ghosts, which)?.read(1)?;
        }
        Ok(())
    }
}

/// One that knows the password, if what the user set is used.
fn known_machine(user: &str, place: &str) -> ssh::Target {
    let (host, port) = crate::place(place);
    ssh::Target {
        host,
        port,
        user: user.to_owned(),
        login: ssh::Login::Password("password".to_owned()),
        known_hosts: Some("cacert".to_owned()),
        accept_new: None,
    }
}

fn unknown_machine(which: u8, user: &str) -> ssh::Target {
    let (host, port) = crate::place("127.0.0.1:1");
    let logins = [
        ssh::Login::Agent,
        ssh::Login::Password("password".to_owned()),
        ssh::Login::Password(user.to_owned()),
    ];
    ssh::Target {
        host,
        port,
        user: user.to_owned(),
        login: logins[usize::from(which) % logins.len()].clone(),
        known_hosts: None,
        accept_new: None,
    }
}

fn forged_machine(number: u8) -> ManuallyDrop<ssh::Connection> {
    let number = u32::from(number);
    // SAFETY: none; whatever has this number is no connection to a machine.
    unsafe { std::mem::transmute_copy::<u32, ManuallyDrop<ssh::Connection>>(&number) }
}
