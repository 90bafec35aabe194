//! Other machines by SSH: connecting, checking who answers, logging in, and the directories that SFTP shows.
//!
//! A machine is trusted by the files of known machines alone (`ssh/known_hosts.rs`). Each connection is used by one caller at a
//! time; streams that were read from it live on. A connection that broke stays broken: connect anew.

mod answers;
mod directory;
mod known_hosts;
mod link;
mod login;
mod lookup;
mod packet;
mod transfer;
mod wire;

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ssh2::Session;

use crate::address::{self, AddressPermission};
use crate::error::{Error, ErrorKind, code};
use crate::stop::{POLL, Stop};
use known_hosts::{HostKey, KnownHosts, Verdict, known_name};
use link::Link;
use wire::Wire;

pub use directory::RemoteDirectory;
pub use known_hosts::KnownHostsFiles;
pub use login::Login;
pub use transfer::RemoteReader;

/// How long to wait until a machine accepts a connection.
const CONNECT: Duration = Duration::from_secs(15);
/// How long libssh2 itself may block: in the goodbyes of a handle that is dropped, which no wait of ours covers.
const GOODBYE_MILLISECONDS: u32 = 2000;
/// How often an idle connection says that it is there; below the patience of common firewalls.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where to connect to, and as whom.
#[derive(Debug)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The user there.
    pub user: String,
    /// How the user proves it.
    pub login: Login,
    /// Who is known.
    pub known_hosts: KnownHostsFiles,
}

/// A connection that is logged in and speaks SFTP.
pub struct Connection {
    wire: Arc<Mutex<Wire>>,
    /// What ends the waits of the calls to come.
    stop: Mutex<Stop>,
    place: String,
    keeper: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Connection").field(&self.place).finish()
    }
}

impl Connection {
    /// Connects to an address that is permitted, checks the machine's key, logs in and starts SFTP.
    ///
    /// # Errors
    /// `Unavailable` (no answer, may be tried again); `NotFound` (no such host); `Denied` (unknown or changed key, refused
    /// login); `Cancelled`.
    pub fn open(
        target: &Target,
        permission: &AddressPermission<'_>,
        stop: &Stop,
    ) -> Result<Arc<Self>, Error> {
        let place = format!("{}@{}:{}", target.user, target.host, target.port);
        let mut link = greet(target, place.clone(), permission, stop)?;
        login::log_in(&mut link, &target.user, &target.login)?;
        let wire = Arc::new(Mutex::new(Wire::start(link)?));
        let keeper = keep_alive(&wire);
        Ok(Arc::new(Self {
            wire,
            stop: Mutex::new(stop.clone()),
            place,
            keeper,
        }))
    }

    /// Says what ends the waits of the calls to come: what cleans up isn't to be disturbed by a cancelled run.
    pub fn stop_by(&self, stop: Stop) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop;
    }

    /// User, machine and port, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        wire.link.stop = stop;
        wire
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.keeper.take() {
            drop(stop);
            // A panic in it has been told by then and harms nobody.
            drop(thread.join());
        }
    }
}

/// Says every now and then that we are still there, unless a call does so anyway. Without a thread, the connection goes without.
fn keep_alive(wire: &Arc<Mutex<Wire>>) -> Option<(SyncSender<()>, JoinHandle<()>)> {
    let wire = Arc::clone(wire);
    let (stop, stopped) = mpsc::sync_channel::<()>(0);
    let keep = move || {
        while stopped.recv_timeout(KEEP_ALIVE) == Err(RecvTimeoutError::Timeout) {
            if let Ok(mut wire) = wire.try_lock()
                && !wire.link.is_broken()
                && let Ok(Err(error)) = wire.link.call(|session| session.keepalive_send())
            {
                wire.link.lost(error.message());
            }
        }
    };
    let thread = std::thread::Builder::new()
        .name("ssh keep-alive".to_owned())
        .spawn(keep);
    thread.ok().map(|thread| (stop, thread))
}

/// Connects and makes sure that the right machine answers.
fn greet(
    target: &Target,
    place: String,
    permission: &AddressPermission<'_>,
    stop: &Stop,
) -> Result<Link, Error> {
    let name = known_name(&target.host, target.port);
    let known = KnownHosts::read(&target.known_hosts.files)?;
    let socket = reach(&target.host, target.port, permission, stop)?;
    let broken = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Unavailable, format!("can't talk to {place}: {error}"))
    };
    let mut session = Session::new().map_err(|error| broken(&error.message()))?;
    session.set_tcp_stream(socket.try_clone().map_err(|error| broken(&error))?);
    session.set_timeout(GOODBYE_MILLISECONDS);
    let keep_alive = u32::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u32::MAX);
    session.set_keepalive(true, keep_alive);
    login::prefer(&session, &known.kinds(&name)).map_err(|error| broken(&error.message()))?;
    let mut link = Link::new(session, socket, place, stop.clone());
    let greeted = link.call(Session::handshake)?;
    greeted.map_err(|error| link.lost(&format!("it didn't agree on a way to talk: {}", error.message())))?;
    let Some((blob, _)) = link.session.host_key() else {
        return Err(link.lost("the machine showed no key"));
    };
    let key = HostKey { blob: blob.to_vec() };
    check_key(target, &known, &name, &key)?;
    Ok(link)
}

/// Lets only the known machine pass, or a new one that is to be accepted.
fn check_key(target: &Target, known: &KnownHosts, name: &str, key: &HostKey) -> Result<(), Error> {
    let (kind, fingerprint) = (key.kind(), key.fingerprint());
    let denied = |code, message: String| Err(Error::new(ErrorKind::Denied, message).with_code(code));
    match known.judge(name, key) {
        Verdict::Known => Ok(()),
        Verdict::Unknown if target.known_hosts.accept_new => {
            target.known_hosts.accept(name, key)?;
            tracing::warn!(name, kind, fingerprint, "this machine is known from now on");
            Ok(())
        }
        Verdict::Unknown => {
            let file = target.known_hosts.files.first();
            let file = file.map_or_else(|| "known_hosts".to_owned(), |file| file.display().to_string());
            denied(
                code::UNKNOWN_MACHINE,
                format!(
                    "{name} isn't a known machine; it showed the {kind} key {fingerprint}. If that is right, add this line to {file}: {} \
                 (or trust whoever answers the first time: --storage-option ssh-accept-new=true)",
                    key.line(name)
                ),
            )
        }
        Verdict::Changed(place) => denied(
            code::CHANGED_MACHINE,
            format!(
                "the key of {name} is not the one in {place}: it showed the {kind} key {fingerprint}. Somebody may be in between, or \
             the machine was set up anew; only if you know that it was, remove that line"
            ),
        ),
        Verdict::Revoked(place) => denied(
            code::CHANGED_MACHINE,
            format!("the key of {name}, {fingerprint}, was revoked in {place}"),
        ),
    }
}

/// Looks the name up, asks which of its addresses may be connected to, and connects to the first of those that answers.
fn reach(host: &str, port: u16, permission: &AddressPermission<'_>, stop: &Stop) -> Result<TcpStream, Error> {
    let place = format!("{host}:{port}");
    let owned = host.to_owned();
    let found = unless_stopped(&place, stop, move || look_up(&owned, port))?;
    let permitted = address::permitted(found, permission)?;
    let shown = place.clone();
    unless_stopped(&place, stop, move || connect(&shown, permitted))
}

/// Works on a thread of its own: neither looking a name up nor connecting can be broken off. Where the run is stopped
/// meanwhile, the thread is left to its own time limit; it holds nothing but the socket.
fn unless_stopped<T: Send + 'static>(
    place: &str,
    stop: &Stop,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, finished) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("ssh connect".to_owned())
        .spawn(move || drop(done.send(work())))
        .map_err(|error| Error::new(ErrorKind::Other, format!("can't start a thread: {error}")))?;
    loop {
        stop.check()?;
        match finished.recv_timeout(POLL) {
            Ok(finished) => return finished,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let message = format!("can't connect to {place}: it was broken off");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        }
    }
}

fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let found = (host, port).to_socket_addrs().map_err(|error| {
        // The resolver's only word for "ask again later"; there is no kind for it.
        let kind = match error.to_string().contains("Temporary failure") {
            true => ErrorKind::Unavailable,
            false => ErrorKind::NotFound,
        };
        Error::new(kind, format!("can't find host {host:?}: {error}")).with_code(code::NO_SUCH_HOST)
    })?;
    Ok(found.collect())
}

/// The first address that answers.
fn connect(place: &str, addresses: Vec<SocketAddr>) -> Result<TcpStream, Error> {
    let mut failure = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(socket) => {
                // Small requests mustn't wait for each other's acknowledgements.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "small packets may be late");
                }
                return Ok(socket);
            }
            Err(error) => failure = Some(error),
        }
    }
    let why = failure.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
    let why = why.split(" (os error").next().unwrap_or_default().to_owned();
    Err(
        Error::new(ErrorKind::Unavailable, format!("can't connect to {place}: {why}"))
            .with_code(code::NO_CONNECTION),
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Instant;

    use super::*;

    /// A port on which nobody accepts, with a queue that is full: connecting to it waits.
    fn deaf() -> (TcpListener, Vec<TcpStream>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
        }
        (listener, waiting)
    }

    #[test]
    fn a_connection_that_nobody_takes_is_broken_off_at_once_when_the_run_stops() {
        let (listener, _waiting) = deaf();
        let port = listener.local_addr().unwrap().port();
        let started = Instant::now();
        let stop = Stop::when(move || started.elapsed() > Duration::from_millis(100));
        let error = reach("127.0.0.1", port, &|_| Ok(()), &stop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }

    #[test]
    fn what_stands_in_the_way_of_a_connection_is_told_by_its_code() {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap();
        let error = reach("127.0.0.1", nobody.port(), &|_| Ok(()), &Stop::never()).unwrap_err();
        assert_eq!(error.code, Some(code::NO_CONNECTION));
        let error = reach("host.invalid", 22, &|_| Ok(()), &Stop::never()).unwrap_err();
        assert_eq!(error.code, Some(code::NO_SUCH_HOST));
    }
}
