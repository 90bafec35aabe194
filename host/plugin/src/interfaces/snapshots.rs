//! `snapshots`: frozen views of local volumes, as far as they are granted, made by `freezer_io::snapshots`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use freezer_io::snapshots::{Options, Snapshots};
use wasmtime::component::Resource;

use super::resources::Snapshot;
use crate::bindings::v1::imports::freezer::plugin::snapshots::{Host, HostSnapshot};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, ErrorKind, Field};
use crate::convert;
use crate::guest::GuestState;
use crate::run::Guard;

/// The most snapshots of a run at once: each costs room and slows its origin down.
const MAX_SNAPSHOTS: usize = 16;

/// A snapshot in the registry of the run.
struct Held(Arc<Mutex<freezer_io::snapshots::Snapshot>>);

impl Held {
    fn snapshot(&self) -> MutexGuard<'_, freezer_io::snapshots::Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard for Held {
    fn description(&self) -> String {
        format!("snapshot {}", self.snapshot().description())
    }

    fn release(self: Box<Self>) -> Result<(), String> {
        self.snapshot().release().map_err(|error| error.message)
    }

    fn verify(&self) -> Result<(), String> {
        self.snapshot().verify().map_err(|error| error.message)
    }
}

impl Host for GuestState {
    async fn create(
        &mut self,
        path: String,
        options: Vec<Field>,
    ) -> wasmtime::Result<Result<Resource<Snapshot>, Error>> {
        let _in_host = self.clock.host();
        Ok(match create(self, &path, &options) {
            Ok(snapshot) => Ok(self.table.push(snapshot)?),
            Err(error) => Err(error),
        })
    }
}

fn create(state: &GuestState, path: &str, options: &[Field]) -> Result<Snapshot, Error> {
    state.check_cancel()?;
    let context = &state.context;
    let run = &context.run;
    context.grants.snapshot(path, run.named_paths())?;
    let fields = options
        .iter()
        .map(|field| (field.name.as_str(), field.value.as_str()));
    let options = Options::parse(fields)?;
    if run.views().len() >= MAX_SNAPSHOTS {
        let message = format!("a run has at most {MAX_SNAPSHOTS} snapshots at once");
        return Err(convert::error(ErrorKind::Invalid, message));
    }
    let home = context.snapshots.clone().ok_or_else(|| {
        let message = "there is no state directory in which snapshots could be written down";
        convert::error(ErrorKind::Other, message)
    })?;
    let mut made = Snapshots::new(home).create(Path::new(path), &options, &state.stop())?;
    // Whoever cancels while it is made gets no snapshot.
    let shown = state.check_cancel().and_then(|()| {
        let shown = made.path().to_str().map(str::to_owned);
        shown.ok_or_else(|| convert::error(ErrorKind::Other, "the path of the snapshot is not UTF-8"))
    });
    let shown = match shown {
        Ok(shown) => shown,
        Err(error) => {
            made.release()?;
            return Err(error);
        }
    };
    for note in made.notes() {
        run.warn(format!("{}: {note}", made.description()));
    }
    let description = made.description();
    let held = Arc::new(Mutex::new(made));
    let guard = run.hold(Box::new(Held(Arc::clone(&held))));
    run.show(guard, PathBuf::from(&shown), PathBuf::from(path));
    Ok(Snapshot {
        held,
        guard,
        path: shown,
        description,
    })
}

impl HostSnapshot for GuestState {
    async fn path(&mut self, snapshot: Resource<Snapshot>) -> wasmtime::Result<String> {
        Ok(self.table.get(&snapshot)?.path.clone())
    }

    async fn description(&mut self, snapshot: Resource<Snapshot>) -> wasmtime::Result<String> {
        Ok(self.table.get(&snapshot)?.description.clone())
    }

    async fn drop(&mut self, snapshot: Resource<Snapshot>) -> wasmtime::Result<()> {
        let _in_host = self.clock.host();
        let snapshot = self.table.delete(snapshot)?;
        let run = &self.context.run;
        if let Err(error) = run.release(snapshot.guard) {
            // The end of the run tries once more, and tells what is left then.
            tracing::debug!(error, "a snapshot isn't released yet");
            run.hold(Box::new(Held(snapshot.held)));
        }
        Ok(())
    }
}
