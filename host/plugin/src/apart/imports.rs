//! What a guest asks of the host, from both sides of the border to its process.
//!
//! One table names each function of the contract once. It makes the worker's side, which asks, and the host's, which
//! answers by the very functions that serve a guest in this process: no grant is judged by a second piece of code. A
//! function that the contract gains and that is missing in the table doesn't compile.

use wasmtime::component::{HasData, Linker, Resource};

use super::link::Asking;
use super::wire::{Nonsense, Put, Reader, Take};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, Field};
use crate::bindings::v1::imports::freezer::plugin::{
    bodies, commands, control, directories, files, http, leftovers, processes, snapshots, sql, ssh, tcp,
    types,
};
use crate::guest::GuestState;
use crate::interfaces::resources::{
    Body, Child, Directory, Snapshot, SqlConnection, SshConnection, TcpConnection,
};

/// Why a question wasn't answered.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// It was none.
    Nonsense(Nonsense),
    /// A host function ended the call.
    Ended(wasmtime::Error),
}

impl From<Nonsense> for Unanswered {
    fn from(nonsense: Nonsense) -> Self {
        Self::Nonsense(nonsense)
    }
}

impl From<wasmtime::Error> for Unanswered {
    fn from(error: wasmtime::Error) -> Self {
        Self::Ended(error)
    }
}

macro_rules! imports {
    ($($interface:path { $($number:literal $function:ident($($argument:ident: $type:ty),*) -> $answer:ty;)* })*) => {
        $(impl $interface for Asking {
            $(async fn $function(&mut self, $($argument: $type),*) -> wasmtime::Result<$answer> {
                let _question = &mut Vec::new();
                $($argument.put(_question);)*
                self.ask($number, _question)
            })*
        })*

        /// Answers a question of a guest that runs apart; the answer is appended to `out`.
        pub(crate) async fn answer(
            state: &mut GuestState,
            number: u16,
            mut question: Reader<'_>,
            out: &mut Vec<u8>,
        ) -> Result<(), Unanswered> {
            match number {
                $($($number => {
                    $(let $argument = <$type as Take>::take(&mut question)?;)*
                    question.end()?;
                    let answer: $answer = <GuestState as $interface>::$function(state, $($argument),*).await?;
                    answer.put(out);
                    Ok(())
                })*)*
                _ => Err(Nonsense::Malformed.into()),
            }
        }

        /// Reads a question and writes it again.
        #[cfg(test)]
        pub(super) fn carried(number: u16, mut question: Reader<'_>) -> Result<Vec<u8>, Nonsense> {
            let mut _again = Vec::new();
            match number {
                $($($number => {
                    $(<$type as Take>::take(&mut question)?.put(&mut _again);)*
                    question.end()?;
                    Ok(_again)
                })*)*
                _ => Err(Nonsense::Malformed),
            }
        }
    };
}

/// What most functions answer.
type Answer<T> = Result<T, Error>;

imports! {
    bodies::HostBody {
        1 new(content: Vec<u8>) -> Resource<Body>;
        2 size(body: Resource<Body>) -> Option<u64>;
        3 is_replayable(body: Resource<Body>) -> bool;
        4 digest(body: Resource<Body>, algorithm: bodies::DigestAlgorithm) -> Answer<String>;
        5 read(body: Resource<Body>, max: u32) -> Answer<Vec<u8>>;
        6 drop(body: Resource<Body>) -> ();
    }
    control::Host {
        10 log(level: control::LogLevel, message: String) -> ();
        11 progress(activity: String, percent: Option<u8>) -> ();
        12 is_cancelled() -> bool;
        13 wait(milliseconds: u32) -> Answer<()>;
        14 secret(name: String) -> Answer<String>;
        15 file(setting: String) -> Answer<Resource<Body>>;
    }
    leftovers::Host {
        20 announce(description: String, undo: String) -> Answer<u64>;
        21 settle(leftover: u64) -> Answer<()>;
    }
    directories::HostDirectory {
        30 list(directory: Resource<Directory>, path: String, cursor: Option<String>) -> Answer<directories::EntryPage>;
        31 stat(directory: Resource<Directory>, path: String) -> Answer<directories::Entry>;
        32 read(directory: Resource<Directory>, path: String, offset: u64, length: Option<u64>) -> Answer<Resource<Body>>;
        33 write(directory: Resource<Directory>, path: String, offset: u64, content: Resource<Body>) -> Answer<u64>;
        34 publish(directory: Resource<Directory>, source: String, target: String, existing: directories::Existing)
            -> Answer<()>;
        35 make_directory(directory: Resource<Directory>, path: String) -> Answer<()>;
        36 remove(directory: Resource<Directory>, path: String) -> Answer<()>;
        37 space(directory: Resource<Directory>) -> Answer<(u64, u64)>;
        38 drop(directory: Resource<Directory>) -> ();
    }
    files::Host {
        40 open(root: String, access: directories::Access) -> Answer<Resource<Directory>>;
    }
    commands::HostChild {
        50 output(child: Resource<Child>) -> Answer<Resource<Body>>;
        51 wait(child: Resource<Child>) -> Answer<(i32, String)>;
        52 kill(child: Resource<Child>) -> Answer<()>;
        53 drop(child: Resource<Child>) -> ();
    }
    processes::Host {
        60 spawn(command: commands::Command, input: Option<Resource<Body>>) -> Answer<Resource<Child>>;
    }
    http::Host {
        70 send(request: http::Request, content: Option<Resource<Body>>) -> Answer<http::Response>;
    }
    ssh::Host {
        80 connect(target: ssh::Target) -> Answer<Resource<SshConnection>>;
    }
    ssh::HostConnection {
        81 open(connection: Resource<SshConnection>, root: String, access: directories::Access)
            -> Answer<Resource<Directory>>;
        82 spawn(connection: Resource<SshConnection>, command: commands::Command, input: Option<Resource<Body>>)
            -> Answer<Resource<Child>>;
        83 drop(connection: Resource<SshConnection>) -> ();
    }
    sql::Host {
        90 connect(target: sql::Target) -> Answer<Resource<SqlConnection>>;
    }
    sql::HostConnection {
        91 execute(connection: Resource<SqlConnection>, statement: String, parameters: Vec<sql::Value>) -> Answer<u64>;
        92 query(connection: Resource<SqlConnection>, statement: String, parameters: Vec<sql::Value>)
            -> Answer<sql::Rows>;
        93 drop(connection: Resource<SqlConnection>) -> ();
    }
    tcp::Host {
        100 connect(target: tcp::Target) -> Answer<Resource<TcpConnection>>;
    }
    tcp::HostConnection {
        101 write(connection: Resource<TcpConnection>, bytes: Vec<u8>) -> Answer<()>;
        102 read(connection: Resource<TcpConnection>, max: u32) -> Answer<Vec<u8>>;
        103 send(connection: Resource<TcpConnection>, content: Resource<Body>) -> Answer<u64>;
        104 receive(connection: Resource<TcpConnection>, length: Option<u64>) -> Answer<Resource<Body>>;
        105 shut(connection: Resource<TcpConnection>) -> Answer<()>;
        106 drop(connection: Resource<TcpConnection>) -> ();
    }
    snapshots::Host {
        110 create(path: String, options: Vec<Field>) -> Answer<Resource<Snapshot>>;
    }
    snapshots::HostSnapshot {
        111 path(snapshot: Resource<Snapshot>) -> String;
        112 description(snapshot: Resource<Snapshot>) -> String;
        113 drop(snapshot: Resource<Snapshot>) -> ();
    }
}

// These hold resources only.
impl types::Host for Asking {}
impl bodies::Host for Asking {}
impl directories::Host for Asking {}
impl commands::Host for Asking {}

/// Says that the worker's host functions ask.
struct Apart;

impl HasData for Apart {
    type Data<'a> = &'a mut Asking;
}

/// Links all interfaces of the contract to questions.
///
/// # Errors
/// If two interfaces had one name, which would be a mistake in the contract.
pub(super) fn link<T: Send + 'static>(
    linker: &mut Linker<T>,
    asking: fn(&mut T) -> &mut Asking,
) -> wasmtime::Result<()> {
    types::add_to_linker::<_, Apart>(linker, asking)?;
    bodies::add_to_linker::<_, Apart>(linker, asking)?;
    control::add_to_linker::<_, Apart>(linker, asking)?;
    leftovers::add_to_linker::<_, Apart>(linker, asking)?;
    directories::add_to_linker::<_, Apart>(linker, asking)?;
    files::add_to_linker::<_, Apart>(linker, asking)?;
    commands::add_to_linker::<_, Apart>(linker, asking)?;
    processes::add_to_linker::<_, Apart>(linker, asking)?;
    http::add_to_linker::<_, Apart>(linker, asking)?;
    ssh::add_to_linker::<_, Apart>(linker, asking)?;
    sql::add_to_linker::<_, Apart>(linker, asking)?;
    tcp::add_to_linker::<_, Apart>(linker, asking)?;
    snapshots::add_to_linker::<_, Apart>(linker, asking)
}
