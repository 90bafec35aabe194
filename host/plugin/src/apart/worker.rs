//! The process of a guest: it loads compiled code, gives up its rights, and only then runs any of it.
//!
//! Its standard input is the socket to freezer, its standard output the file with the code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Runtime;
use wasmtime::component::{Component, Linker, ResourceAny, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::link::{Asking, Kind, SAID_BYTES, Said};
use super::wire::{Put, Reader, Take};
use super::{Unanswered, imports};
use crate::bindings::v1::mode::ModePlugin;
use crate::bindings::v1::storage::StoragePlugin;
use crate::calls::{Exports, START};
use crate::confine::{self, Rights};
use crate::death::Death;
use crate::engine::{self, reason};
use crate::interfaces::Output;
use crate::limits::{Ceiling, PluginLimits};
use crate::manifest::PluginKind;
use crate::usage::Meter;

/// The first argument of a program that is to run a guest, and do nothing else.
pub const WORD: &str = "run-component";

/// Where the code is, for a process that has just begun.
const CODE: &str = "/proc/self/fd/1";
/// Address space beyond the guest's memories and its code: this program, its heap and stacks.
const OWN_BYTES: u64 = 1 << 30;
/// What the engine reserves before and behind a linear memory.
const GUARD_BYTES: u64 = 64 << 20;
/// Linear memories of one component at most.
const MEMORIES: u64 = 8;

/// The arguments that follow [`WORD`].
pub(super) fn arguments(kind: PluginKind, reservation_bytes: u64, limits: &PluginLimits) -> Vec<OsString> {
    let numbers = [
        reservation_bytes,
        limits.memory_bytes,
        limits.table_elements,
        limits.instances as u64,
        limits.handles as u64,
        limits.transfer_bytes as u64,
    ];
    let mut arguments = vec![OsString::from(kind.to_string())];
    arguments.extend(numbers.map(|number| OsString::from(number.to_string())));
    arguments
}

/// Runs the guest that freezer has started this process for, until freezer closes the socket. To be called before anything
/// else is done: it closes all descriptors but the first three.
#[must_use]
pub fn serve(arguments: &[OsString]) -> ExitCode {
    confine::ignore_signals();
    let asking = Asking::new();
    let kind = arguments.first().and_then(|kind| kind.to_str());
    let served = match kind {
        Some("storage") => run::<StoragePlugin>(asking, &arguments[1..]),
        Some("mode") => run::<ModePlugin>(asking, &arguments[1..]),
        _ => {
            Err("this is a part of freezer that it starts itself: it takes a kind and six numbers".to_owned())
        }
    };
    let Err(why) = served else {
        return ExitCode::SUCCESS;
    };
    let mut words = Vec::new();
    why.put(&mut words);
    // Whether or not anybody listens any more.
    drop(asking.send(Kind::Refused, &[&words]));
    ExitCode::FAILURE
}

/// What the worker's host functions work on.
struct Worker {
    table: ResourceTable,
    wasi: WasiCtx,
    ceiling: Ceiling,
    asking: Asking,
}

impl WasiView for Worker {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// A confined process with its component.
struct Ready<E: Exports> {
    runtime: Runtime,
    linked: E::Linked<Worker>,
    store: Store<Worker>,
    exports: Option<E>,
    opened: Option<ResourceAny>,
}

fn run<E: Exports>(asking: Asking, numbers: &[OsString]) -> Result<(), String> {
    let limits = limits(numbers).ok_or("six numbers must follow the kind")?;
    confine::close_descriptors(3, u32::MAX)?;
    let mut ready = Ready::<E>::load(asking, &limits)?;
    // The code is mapped, and the file isn't needed under its first name.
    confine::close_descriptors(1, 2)?;
    confine::confine(&Rights {
        memory_bytes: address_space(&limits),
        seconds: None,
        descriptors: 1,
        threads: false,
    })
    .map_err(|why| format!("its process can't be confined: {why}"))?;
    while let Ok((_, call)) = asking.receive() {
        let (kind, answer) = ready.call(&call);
        if asking.send(kind, &[&answer]).is_err() {
            break;
        }
    }
    // Nobody is left to be told what a destructor would say.
    std::mem::forget(ready);
    Ok(())
}

fn address_space(limits: &Limits) -> u64 {
    limits
        .reservation_bytes
        .saturating_add(GUARD_BYTES)
        .saturating_mul(MEMORIES)
        .saturating_add(OWN_BYTES)
}

struct Limits {
    reservation_bytes: u64,
    plugin: PluginLimits,
}

fn limits(numbers: &[OsString]) -> Option<Limits> {
    let numbers: Option<Vec<u64>> = numbers
        .iter()
        .map(|number| number.to_str()?.parse().ok())
        .collect();
    let [
        reservation_bytes,
        memory_bytes,
        table_elements,
        instances,
        handles,
        transfer_bytes,
    ] = numbers?.try_into().ok()?;
    Some(Limits {
        reservation_bytes,
        plugin: PluginLimits {
            memory_bytes,
            table_elements,
            instances: usize::try_from(instances).ok()?,
            handles: usize::try_from(handles).ok()?,
            transfer_bytes: usize::try_from(transfer_bytes).ok()?,
            ..PluginLimits::default()
        },
    })
}

impl<E: Exports> Ready<E> {
    fn load(asking: Asking, limits: &Limits) -> Result<Self, String> {
        let engine =
            Engine::new(&engine::config(limits.reservation_bytes)).map_err(|error| reason(&error))?;
        let mut linker = Linker::<Worker>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(|error| reason(&error))?;
        imports::link(&mut linker, |worker| &mut worker.asking).map_err(|error| reason(&error))?;
        let component = load_code(&engine).map_err(|error| reason(&error))?;
        let linked = linker
            .instantiate_pre(&component)
            .and_then(E::link)
            .map_err(|error| reason(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            runtime,
            linked,
            store: store(&engine, asking, &limits.plugin),
            exports: None,
            opened: None,
        })
    }

    /// Makes one call and says how it ended.
    fn call(&mut self, call: &[u8]) -> (Kind, Vec<u8>) {
        let mut answer = Vec::new();
        let made = self.make(call, &mut answer);
        let mut message = Vec::new();
        let ceiling = &self.store.data().ceiling;
        ceiling.used_bytes().put(&mut message);
        match made {
            Ok(()) => {
                message.extend_from_slice(&answer);
                (Kind::Answer, message)
            }
            Err(error) => {
                Death::of(&error, ceiling.refused()).put(&mut message);
                (Kind::Died, message)
            }
        }
    }

    fn make(&mut self, call: &[u8], answer: &mut Vec<u8>) -> wasmtime::Result<()> {
        let mut call = Reader::new(call, usize::MAX);
        let no_call = |_| wasmtime::format_err!("the host made no call");
        let number = u16::take(&mut call).map_err(no_call)?;
        let (store, opened) = (&mut self.store, &mut self.opened);
        if number == START {
            let started = self.runtime.block_on(E::start(&self.linked, store))?;
            self.exports = Some(started);
            return Ok(());
        }
        let exports = self
            .exports
            .as_ref()
            .ok_or_else(|| wasmtime::format_err!("it isn't started"))?;
        let made = self
            .runtime
            .block_on(exports.answer(store, opened, (number, call), answer));
        made.map_err(|unanswered| match unanswered {
            Unanswered::Nonsense(why) => wasmtime::format_err!("the host's call is no call: {why:?}"),
            Unanswered::Ended(error) => error,
        })
    }
}

fn load_code(engine: &Engine) -> wasmtime::Result<Component> {
    #[expect(
        unsafe_code,
        reason = "freezer has the bytes from a compiler that it started, or from its own file"
    )]
    // SAFETY: the file is sealed, and freezer wrote into it what `precompile_component` of the same build and configuration
    // returned, or what its cache has under an HMAC.
    unsafe {
        Component::deserialize_file(engine, CODE)
    }
}

fn store(engine: &Engine, asking: Asking, limits: &PluginLimits) -> Store<Worker> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles);
    let said = |stream: Said| {
        Output::new(move || {
            Box::new(move |bytes| {
                for piece in bytes.chunks(SAID_BYTES) {
                    // A guest that nobody hears learns at its next question that freezer is gone.
                    drop(asking.send(Kind::Said, &[&[stream as u8], piece]));
                }
            })
        })
    };
    let mut wasi = crate::guest::bare_wasi();
    wasi.stdout(said(Said::Output)).stderr(said(Said::Errors));
    let mut store = Store::new(
        engine,
        Worker {
            table,
            wasi: wasi.build(),
            ceiling: Ceiling::new(limits, Arc::new(Meter::default())),
            asking,
        },
    );
    store.limiter(|worker| &mut worker.ceiling);
    store.set_hostcall_fuel(limits.transfer_bytes);
    // Freezer looks at the time: no epoch passes in this process.
    store.set_epoch_deadline(u64::MAX >> 1);
    store
}
