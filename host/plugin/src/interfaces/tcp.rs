//! `tcp`: byte connections, as far as they are granted, made by `freezer_io::tcp`.

#![expect(
    unreachable_pub,
    reason = "the generated bindings re-export the type of the handle, which crate-only visibility forbids"
)]

use std::io::{self, Read};
use std::sync::Arc;

use freezer_io::tcp;
use wasmtime::component::Resource;

use super::bodies::used_up;
use super::http;
use super::reach;
use super::resources::{Body, Origin, TcpConnection};
use super::trust;
use crate::bindings::v1::imports::freezer::plugin::tcp::{Host, HostConnection, Target, Trust};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, ErrorKind};
use crate::convert;
use crate::grants::Network;
use crate::guest::{GuestState, PluginContext};
use crate::run::{Guard, Run};

/// The most connections of one plugin that are open at once: each is a descriptor of the whole program's.
const MAX_CONNECTIONS: usize = 64;

/// An open connection that the run ends at the latest, and the last of its handles and streams before that.
pub struct Open {
    connection: Arc<tcp::Connection>,
    run: Arc<Run>,
    guard: u64,
    /// Its place among those that may be open.
    _seat: Seat,
}

/// Counts what is open.
#[derive(Clone, Default)]
pub(crate) struct Seats(Arc<()>);

/// One open connection.
struct Seat(#[expect(dead_code, reason = "held to be counted")] Arc<()>);

impl Seats {
    fn take(&self) -> Option<Seat> {
        let seat = Seat(Arc::clone(&self.0));
        (Arc::strong_count(&self.0) <= MAX_CONNECTIONS + 1).then_some(seat)
    }
}

/// A connection in the registry of the run.
struct Held(Arc<tcp::Connection>);

impl Guard for Held {
    fn description(&self) -> String {
        format!("connection to {}", self.0.place())
    }

    fn release(self: Box<Self>) -> Result<(), String> {
        self.0.cut();
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Err(error) = self.run.release(self.guard) {
            tracing::debug!(error, "a closed connection couldn't be released");
        }
    }
}

impl Host for GuestState {
    async fn connect(&mut self, target: Target) -> wasmtime::Result<Result<Resource<TcpConnection>, Error>> {
        let _in_host = self.clock.host();
        let checked = self
            .request()
            .await
            .and_then(|()| Ok((native(&self.context, target)?, seat(&self.context)?)));
        let (target, seat) = match checked {
            Ok(checked) => checked,
            Err(error) => return Ok(Err(error)),
        };
        let run = Arc::clone(&self.context.run);
        let permission = reach::permission(&self.context.grants, Network::Tcp, target.port);
        let opened = tcp::Connection::open(&target, &permission, run.bandwidth(), &self.stop()).await;
        let connection = match opened {
            Ok(connection) => Arc::new(connection),
            Err(error) => return Ok(Err(error.into())),
        };
        let guard = run.hold(Box::new(Held(Arc::clone(&connection))));
        let open = Open {
            connection,
            run,
            guard,
            _seat: seat,
        };
        Ok(Ok(self.table.push(Arc::new(open))?))
    }
}

impl HostConnection for GuestState {
    async fn write(
        &mut self,
        connection: Resource<TcpConnection>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let _in_host = self.clock.host();
        let (open, stop) = (Arc::clone(self.table.get(&connection)?), self.stop());
        Ok(open.connection.write(bytes, &stop).await.map_err(Error::from))
    }

    async fn read(
        &mut self,
        connection: Resource<TcpConnection>,
        max: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let _in_host = self.clock.host();
        let (open, stop) = (Arc::clone(self.table.get(&connection)?), self.stop());
        let most = usize::try_from(max).unwrap_or(tcp::MAX_CALL_BYTES);
        Ok(open.connection.read(most, &stop).await.map_err(Error::from))
    }

    async fn send(
        &mut self,
        connection: Resource<TcpConnection>,
        content: Resource<Body>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let _in_host = self.clock.host();
        let (open, stop) = (Arc::clone(self.table.get(&connection)?), self.stop());
        let Some(taken) = http::take(self.table.get(&content)?) else {
            return Ok(Err(used_up()));
        };
        Ok(open.connection.send(taken, &stop).await.map_err(Error::from))
    }

    async fn receive(
        &mut self,
        connection: Resource<TcpConnection>,
        length: Option<u64>,
    ) -> wasmtime::Result<Result<Resource<Body>, Error>> {
        let _in_host = self.clock.host();
        let (open, stop) = (Arc::clone(self.table.get(&connection)?), self.stop());
        let reader = match open.connection.receive(length, &stop) {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error.into())),
        };
        let stream = Box::new(Received { reader, _open: open });
        Ok(Ok(self.table.push(Body::stream(
            stream,
            length,
            Origin::Plugin,
        ))?))
    }

    async fn shut(&mut self, connection: Resource<TcpConnection>) -> wasmtime::Result<Result<(), Error>> {
        let _in_host = self.clock.host();
        let (open, stop) = (Arc::clone(self.table.get(&connection)?), self.stop());
        Ok(open.connection.shut(&stop).await.map_err(Error::from))
    }

    async fn drop(&mut self, connection: Resource<TcpConnection>) -> wasmtime::Result<()> {
        let _in_host = self.clock.host();
        // Unless a stream still reads from it.
        if let Some(open) = Arc::into_inner(self.table.delete(connection)?) {
            open.connection.close().await;
        }
        Ok(())
    }
}

/// A stream, which keeps its connection.
struct Received {
    reader: Box<dyn Read + Send>,
    _open: Arc<Open>,
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

fn seat(context: &PluginContext) -> Result<Seat, Error> {
    context.connections.take().ok_or_else(|| {
        let message = format!("a plugin has at most {MAX_CONNECTIONS} connections open at once");
        convert::error(ErrorKind::Invalid, message)
    })
}

/// The target with what its names of settings stand for, once the place is granted.
fn native(context: &PluginContext, target: Target) -> Result<tcp::Target, Error> {
    let mut native = tcp::Target {
        host: target.host,
        port: target.port,
        tls: None,
        timeout_ms: target.timeout_ms,
    };
    let place = native.place();
    context.grants.network(Network::Tcp, &place)?;
    if let Some(tls) = target.tls {
        native.tls = Some(tcp::Tls {
            server_name: tls.server_name,
            trust: trusted(context, &tls.trust, &place)?,
        });
    }
    Ok(native)
}

/// Whose certificates count.
fn trusted(context: &PluginContext, trust: &Trust, place: &str) -> Result<freezer_io::http::Trust, Error> {
    match trust {
        Trust::System => Ok(freezer_io::http::Trust::System),
        Trust::Certificates(setting) => trust::certificates(context, setting),
        Trust::Anything(setting) => trust::anything(context, setting, Some(place)),
    }
}
