//! One instance's store: what it holds, and the one way to call into it.
//!
//! [`Guest::call`] puts every call under the ceilings of `limits` and turns each way in which a call can end badly into
//! a typed error that names the plugin. After such an error the guest must be dropped: its instance can't be entered again.
//!
//! A call runs on the thread that makes it, fiber and host functions included. Files are read and written right there:
//! nothing is left running behind a call that was given up, so no late write can follow an `abort`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use freezer_io::http::Client as HttpClient;
use freezer_io::stop::Stop;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use zeroize::Zeroizing;

use crate::bindings::v1::imports::freezer::plugin::types;
use crate::convert;
use crate::death::Death;
use crate::engine::EngineState;
use crate::error::{LimitHit, PluginError};
use crate::grants::Grants;
use crate::handles;
use crate::host::SshSurroundings;
use crate::interfaces::Output;
use crate::interfaces::bodies::ReadExceeded;
use crate::interfaces::resources::BodyBudget;
use crate::interfaces::tcp::Seats;
use crate::journal::RunJournal;
use crate::limits::{CallClock, Ceiling, CpuExceeded, PluginLimits};
use crate::log_gate::{Level, LogGate};
use crate::pace::Pace;
use crate::run::Run;
use crate::usage::Meter;

/// Where the name of a secret begins in a text that the host fills in.
pub(crate) const SECRET: &str = "{secret:";
/// How soon a waiting guest notices that the run was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);
/// The time for a call that lasts as long as the bytes that pass it: under a bandwidth limit, or as a whole stream.
pub(crate) const LONG_CALL: Duration = Duration::from_secs(7 * 24 * 3600);

/// What all instances of one plugin in one run share.
pub(crate) struct PluginContext {
    pub(crate) name: String,
    pub(crate) run: Arc<Run>,
    pub(crate) grants: Grants,
    /// The values of secret settings; a declared one that nobody gave is `None`.
    pub(crate) secrets: BTreeMap<String, Option<Zeroizing<String>>>,
    /// The paths of settings of type `file` that are set.
    pub(crate) files: BTreeMap<String, PathBuf>,
    /// The settings of type `flag` that are true.
    pub(crate) flags: BTreeSet<String>,
    pub(crate) http: HttpClient,
    pub(crate) ssh: SshSurroundings,
    /// The byte connections that are open.
    pub(crate) connections: Seats,
    pub(crate) limits: PluginLimits,
    pub(crate) log: LogGate,
    pub(crate) pace: Pace,
    pub(crate) meter: Arc<Meter>,
    pub(crate) journal: Option<RunJournal>,
    /// Where snapshots are written down and mounted.
    pub(crate) snapshots: Option<PathBuf>,
}

impl PluginContext {
    /// Passes a line of the plugin on, unless it has said enough.
    pub(crate) fn log(&self, level: Level, text: &str) {
        self.log.line(&self.run, level, text);
    }

    /// How long a call may take; `within` replaces the plugin's own limit.
    pub(crate) fn time(&self, within: Option<Duration>) -> Duration {
        let time = within.unwrap_or(self.limits.call);
        match self.run.bandwidth().is_limited() {
            // A call that the user slows down takes as long as it takes; what stalls is still noticed.
            true => time.max(LONG_CALL),
            false => time,
        }
    }

    /// The value of a secret setting, if the plugin may have it.
    ///
    /// # Errors
    /// `invalid` for a name that isn't declared, `denied`, `not-found` if nobody set it.
    pub(crate) fn secret(&self, name: &str) -> Result<&str, types::Error> {
        let Some(value) = self.secrets.get(name) else {
            let message = "plugin.toml declares no such secret setting";
            return Err(convert::error(types::ErrorKind::Invalid, message));
        };
        self.grants.secret(name)?;
        let unset = || {
            let message = format!("the secret setting {name:?} isn't set");
            convert::error(types::ErrorKind::NotFound, message)
        };
        Ok(value.as_ref().ok_or_else(unset)?)
    }

    /// A text in which each `{secret:NAME}` is replaced by that secret.
    ///
    /// # Errors
    /// `denied`; `invalid` for a name without its closing brace, and for a secret that isn't set: `not-found` would be read as
    /// the absence of what the text asks for.
    pub(crate) fn fill_secrets(&self, text: &str) -> Result<Zeroizing<String>, types::Error> {
        let mut filled = Zeroizing::new(String::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(SECRET) {
            let Some((secret, after)) = after.split_once('}') else {
                let message = "a text names a secret and doesn't end its name with a brace";
                return Err(convert::error(types::ErrorKind::Invalid, message));
            };
            filled.push_str(before);
            let value = self.secret(secret).map_err(|error| match error.kind {
                types::ErrorKind::NotFound => convert::error(types::ErrorKind::Invalid, error.message),
                _ => error,
            })?;
            filled.push_str(value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Whether a cancelled run makes host calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelling {
    /// Host calls answer `cancelled`.
    Heeded,
    /// The call only looks: where it waits for its turn or by its own wish, that ends at once.
    Waits,
    /// The call cleans up: host calls work as if nobody had cancelled.
    Masked,
}

/// What a guest's host functions work on.
pub(crate) struct GuestState {
    pub(crate) table: ResourceTable,
    pub(crate) bodies: BodyBudget,
    wasi: WasiCtx,
    ceiling: Ceiling,
    pub(crate) clock: CallClock,
    /// Bytes read from bodies in this call.
    read_bytes: u64,
    pub(crate) context: Arc<PluginContext>,
    cancelling: Cancelling,
}

/// A WASI in which there is nothing but clocks and random numbers.
pub(crate) fn bare_wasi() -> WasiCtxBuilder {
    let mut wasi = WasiCtx::builder();
    wasi.allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(1 << 16);
    wasi
}

impl GuestState {
    /// The state of a guest that was never called.
    pub(crate) fn new(context: &Arc<PluginContext>) -> Self {
        let limits = &context.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let said = |level: Level| {
            let context = Arc::clone(context);
            Output::lines(Arc::new(move |line: &str| context.log(level, line)))
        };
        let mut wasi = bare_wasi();
        wasi.stdout(said(Level::Debug)).stderr(said(Level::Info));
        Self {
            table,
            bodies: BodyBudget::default(),
            wasi: wasi.build(),
            ceiling: Ceiling::new(limits, Arc::clone(&context.meter)),
            clock: CallClock::default(),
            read_bytes: 0,
            context: Arc::clone(context),
            cancelling: Cancelling::Heeded,
        }
    }

    /// Begins a call on this thread.
    pub(crate) fn begin(&mut self, cancelling: Cancelling) {
        // Whoever looks after the run was cancelled cleans up.
        let is_late = cancelling == Cancelling::Waits && self.context.run.cancel().is_cancelled();
        self.cancelling = if is_late { Cancelling::Masked } else { cancelling };
        self.clock.start();
        self.read_bytes = 0;
    }

    /// Counts a call that ended, in which the guest computed so long.
    pub(crate) fn called(&mut self, cpu: Duration) {
        self.context.meter.called(cpu);
        if self.context.run.is_trial() {
            self.context.meter.holds(handles::open(&mut self.table));
        }
    }

    /// Counts what the instance leaves open, in a trial. No call comes after this.
    pub(crate) fn ended(&mut self) {
        if self.context.run.is_trial() {
            self.context.meter.left_open(handles::open(&mut self.table));
        }
    }

    /// Notes how much linear memory a guest in a process of its own says that it has.
    pub(crate) fn holds(&mut self, bytes: u64) {
        self.ceiling.told(bytes);
    }

    /// Tells whether the guest should stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelling == Cancelling::Heeded && self.context.run.cancel().is_cancelled()
    }

    /// What work asks that goes on while the guest waits, or after its call.
    pub(crate) fn stop(&self) -> Stop {
        match self.cancelling {
            Cancelling::Waits | Cancelling::Masked => Stop::never(),
            Cancelling::Heeded => {
                let cancel = self.context.run.cancel().clone();
                Stop::when(move || cancel.is_cancelled())
            }
        }
    }

    /// Fails once the run is cancelled, unless the guest is cleaning up.
    pub(crate) fn check_cancel(&self) -> Result<(), types::Error> {
        if self.is_cancelled() {
            return Err(cancelled());
        }
        if self.context.run.breaks() {
            // Of a kind that the host doesn't try again: the plugin's answer to it is what is looked at.
            return Err(convert::error(
                types::ErrorKind::Other,
                "this call was broken off for a trial",
            ));
        }
        Ok(())
    }

    /// Waits; fails once the run is cancelled, unless the guest is cleaning up.
    pub(crate) async fn pause(&mut self, time: Duration) -> Result<(), types::Error> {
        let end = Instant::now() + time;
        loop {
            self.check_cancel()?;
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            if self.cancelling == Cancelling::Waits && self.context.run.cancel().is_cancelled() {
                return Err(cancelled());
            }
            tokio::time::sleep(rest.min(CANCEL_POLL)).await;
        }
    }

    /// Counts a request that the guest has the host make, and waits until it is its turn.
    pub(crate) async fn request(&mut self) -> Result<(), types::Error> {
        self.context.meter.requested();
        let wait = self.context.pace.wait(Instant::now());
        self.pause(wait).await
    }

    /// Counts bytes that go into the guest.
    pub(crate) fn count_read(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.context.meter.read(bytes as u64);
        self.read_bytes = self.read_bytes.saturating_add(bytes as u64);
        match self.read_bytes > self.context.limits.read_bytes {
            true => Err(wasmtime::Error::new(ReadExceeded)),
            false => Ok(()),
        }
    }
}

fn cancelled() -> types::Error {
    convert::error(types::ErrorKind::Cancelled, "the run was cancelled")
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// A store, ready for one instance.
pub(crate) struct Guest {
    store: Store<GuestState>,
    engine: Arc<EngineState>,
}

impl Guest {
    /// Makes an empty store under the plugin's ceilings.
    pub(crate) fn new(engine: &Arc<EngineState>, context: &Arc<PluginContext>) -> Self {
        let limits = &context.limits;
        let mut store = Store::new(engine.engine(), GuestState::new(context));
        store.limiter(|state| &mut state.ceiling);
        store.set_hostcall_fuel(limits.transfer_bytes);
        store.set_epoch_deadline(1);
        let cpu = limits.cpu;
        store.epoch_deadline_callback(move |ctx| {
            if ctx.data().clock.spent() > cpu {
                return Err(wasmtime::Error::new(CpuExceeded));
            }
            // Yielding lets the timeout around the call look at the time.
            Ok(UpdateDeadline::Yield(1))
        });
        Self {
            store,
            engine: Arc::clone(engine),
        }
    }

    /// The state, between calls.
    pub(crate) fn state(&mut self) -> &mut GuestState {
        self.store.data_mut()
    }

    /// Makes one call; `within` replaces the plugin's own time limit.
    ///
    /// # Errors
    /// `Trap` or `Limit`, after which the guest is dead.
    pub(crate) fn call<T>(
        &mut self,
        call: &'static str,
        cancelling: Cancelling,
        within: Option<Duration>,
        make: impl AsyncFnOnce(&mut Store<GuestState>) -> wasmtime::Result<T>,
    ) -> Result<T, PluginError> {
        let time = self.store.data().context.time(within);
        self.store.data_mut().begin(cancelling);
        self.store.set_epoch_deadline(1);
        let engine = Arc::clone(&self.engine);
        let store = &mut self.store;
        let result = engine.block_on(async move { tokio::time::timeout(time, make(store)).await });
        let state = self.store.data_mut();
        state.called(state.clock.spent());
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.died(call, &error)),
            Err(_) => Err(self.limit(call, LimitHit::Time(time))),
        }
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// `Load` if it can't be linked or fails on the way, `Limit` if it needs too much for that.
    pub(crate) fn start<T>(
        &mut self,
        make: impl AsyncFnOnce(&mut Store<GuestState>) -> wasmtime::Result<T>,
    ) -> Result<T, PluginError> {
        self.call("start", Cancelling::Masked, None, make)
            .map_err(|error| match error {
                PluginError::Trap { plugin, why, .. } => PluginError::Load { plugin, why },
                error => error,
            })
    }

    fn limit(&self, call: &'static str, limit: LimitHit) -> PluginError {
        PluginError::Limit {
            plugin: self.store.data().context.name.clone(),
            call,
            limit,
        }
    }

    /// Why a call ended in the engine and not in an answer.
    fn died(&self, call: &'static str, error: &wasmtime::Error) -> PluginError {
        let state = self.store.data();
        Death::of(error, state.ceiling.refused()).told(&state.context, call)
    }
}
