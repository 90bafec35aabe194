//! One thin adapter per WIT interface: it asks `grants`, calls `freezer-io`, converts the answer.
//!
//! Every interface is linked for every plugin: an import is an upper bound, not a request, and guests of some languages
//! import the whole world. What isn't granted answers `denied` with the line that would allow it; what no native file
//! does yet answers `unsupported`. To fill one in: write the native file in `freezer-io`, give the handle's type in
//! `resources` a body, and replace the `unsupported` lines of the adapter.

pub(crate) mod resources;
pub(crate) mod bodies;
mod control;
mod leftovers;
mod directories;
mod files;
mod commands;
pub(crate) mod processes;
mod http;
mod ssh;
mod sql;
pub(crate) mod tcp;
mod snapshots;
mod trust;
mod reach;
mod output;

pub(crate) use output::{Lines, Output};

use wasmtime::component::{HasData, Linker};

use crate::bindings::v1::imports::freezer::plugin as wit;
use crate::guest::GuestState;

/// Says that host functions work on the whole state of a guest.
struct Host;

impl HasData for Host {
    type Data<'a> = &'a mut GuestState;
}

/// Links all interfaces and a WASI in which there is nothing.
///
/// # Errors
/// If two interfaces had one name, which would be a mistake in the contract.
pub(crate) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wit::types::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::bodies::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::control::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::leftovers::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::directories::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::files::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::commands::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::processes::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::http::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::ssh::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::sql::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::tcp::add_to_linker::<_, Host>(linker, |state| state)?;
    wit::snapshots::add_to_linker::<_, Host>(linker, |state| state)
}

/// `types` holds no functions.
impl wit::types::Host for GuestState {}
