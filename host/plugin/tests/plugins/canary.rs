//! What no plugin may touch, watched from outside of the plugin host: a directory by the kernel's own notices, a port by its
//! connections, a program by what it leaves behind.

use std::fmt::Write;
use std::fs;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// The variable by which a traced process is told of the canary of the tracing one: directory and port.
pub(crate) const GIVEN: &str = "FREEZER_TEST_CANARY";

pub(crate) struct Canary {
    root: PathBuf,
    address: SocketAddr,
    /// None if another process watches.
    watch: Option<Watch>,
}

struct Watch {
    notices: OwnedFd,
    listener: TcpListener,
}

impl Canary {
    /// A canary below this directory, or the one that this process was given.
    pub(crate) fn new(below: &Path) -> Self {
        if let Some(given) = Self::given() {
            return given;
        }
        let root = below.to_owned();
        let directory = root.join("canary");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("precious"), "precious").unwrap();
        let tools = root.join("tools");
        fs::create_dir(&tools).unwrap();
        let ran = root.join("ran");
        // Whoever runs it leaves a line with its arguments and its environment.
        fs::write(
            tools.join("tool"),
            format!("#!/bin/sh\necho \"$*\" >>{0}\nenv >>{0}\n", ran.display()),
        )
        .unwrap();
        fs::set_permissions(tools.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        let notices = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        // Opening, reading and listing, and whatever else there is.
        inotify::add_watch(&notices, &directory, WatchFlags::ALL_EVENTS).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            root,
            address: listener.local_addr().unwrap(),
            watch: Some(Watch { notices, listener }),
        }
    }

    fn given() -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a traced test is told by its environment"
        )]
        let given = std::env::var(GIVEN).ok()?;
        let (root, address) = given.split_once(' ')?;
        Some(Self {
            root: root.into(),
            address: address.parse().ok()?,
            watch: None,
        })
    }

    /// What a traced process is told.
    pub(crate) fn to_give(&self) -> String {
        format!("{} {}", self.root.display(), self.address)
    }

    /// A directory that nothing may be done in.
    pub(crate) fn directory(&self) -> PathBuf {
        self.root.join("canary")
    }

    /// A place that nobody may connect to.
    pub(crate) fn place(&self) -> SocketAddr {
        self.address
    }

    /// A program that notes that it ran.
    pub(crate) fn tool(&self) -> PathBuf {
        self.root.join("tools/tool")
    }

    /// What the program noted.
    pub(crate) fn ran(&self) -> String {
        fs::read_to_string(self.root.join("ran")).unwrap_or_default()
    }

    /// What was done to the directory, in the kernel's words.
    pub(crate) fn touched(&self) -> String {
        let Some(watch) = &self.watch else {
            return String::new();
        };
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&watch.notices, &mut room);
        let mut told = String::new();
        while let Ok(event) = reader.next() {
            writeln!(told, "{:?} {:?}", event.events(), event.file_name()).unwrap();
        }
        told
    }

    /// How many have connected since it was asked last.
    pub(crate) fn connections(&self) -> usize {
        let Some(watch) = &self.watch else { return 0 };
        std::iter::from_fn(|| watch.listener.accept().ok()).count()
    }

    /// Nothing happened to it.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(self.touched(), "", "the canary's directory was touched");
        assert_eq!(self.connections(), 0, "somebody connected to the canary");
        assert_eq!(self.ran(), "", "the canary's program ran");
    }
}

#[test]
fn a_canary_tells_who_touches_it() {
    let temp = tempfile::tempdir().unwrap();
    let canary = Canary::new(temp.path());
    canary.assert_untouched();
    fs::read(canary.directory().join("precious")).unwrap();
    assert!(canary.touched().contains("OPEN"));
    fs::read_dir(canary.directory()).unwrap().for_each(drop);
    assert!(canary.touched().contains("OPEN"));
    fs::write(canary.directory().join("new"), b"").unwrap();
    assert!(canary.touched().contains("CREATE"));
    std::net::TcpStream::connect(canary.place()).unwrap();
    assert_eq!(canary.connections(), 1);
    let ran = std::process::Command::new(canary.tool()).arg("--x").status();
    assert!(ran.unwrap().success() && canary.ran().starts_with("--x\n"));
}
