//! The WebAssembly engine: which features of the language there are, the clock that interrupts, the linked interfaces.
//!
//! All that components don't need is off: every feature that is on is code that a hostile component can reach. One
//! engine serves all plugins of a host; a second thread advances its epoch, a third one serves the timers of tokio.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Runtime;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine};

use crate::error::PluginError;
use crate::guest::GuestState;
use crate::interfaces;

/// How often guests are interrupted: a loop is noticed within one tick, and a tick costs the guest microseconds.
const TICK: Duration = Duration::from_millis(10);
/// The stack of a guest; Rust's own in the guest's memory ends first.
const WASM_STACK_BYTES: usize = 512 << 10;
/// The stack of a fiber: the guest's and the host functions' that it calls.
const FIBER_STACK_BYTES: usize = 2 << 20;
/// The threads that keep timers and move bytes over the network; one encrypts faster than most networks are.
const NETWORK_THREADS: usize = 2;

/// The running engine.
pub(crate) struct EngineState {
    // Dropped in this order: no tick outlives the engine.
    linker: Linker<GuestState>,
    _ticker: Ticker,
    /// There until the drop.
    runtime: Option<Runtime>,
    engine: Engine,
}

impl EngineState {
    /// Starts an engine, its ticker and its timers. A linear memory never moves, so its address space is reserved for the
    /// `memory_bytes` that it may have at most.
    pub(crate) fn start(memory_bytes: u64) -> Result<Arc<Self>, PluginError> {
        let failed = |why: String| PluginError::Engine { why };
        let engine = Engine::new(&config(memory_bytes)).map_err(|error| failed(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .thread_name("freezer-network")
            .enable_time()
            .enable_io()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let mut linker = Linker::new(&engine);
        interfaces::link(&mut linker).map_err(|error| failed(error.to_string()))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| failed(error.to_string()))?;
        Ok(Arc::new(Self {
            linker,
            _ticker: ticker,
            runtime: Some(runtime),
            engine,
        }))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn linker(&self) -> &Linker<GuestState> {
        &self.linker
    }

    /// Runs a future on this thread. Must not be called from a task.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self
            .runtime
            .as_ref()
            .expect("the runtime is there until the drop");
        runtime.block_on(future)
    }
}

impl Drop for EngineState {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A name that the system still looks up must not hold up the end of the program.
            runtime.shutdown_background();
        }
    }
}

/// An engine error on one line: the outermost message and the innermost cause.
pub(crate) fn reason(error: &wasmtime::Error) -> String {
    let (outer, root) = (error.to_string(), error.root_cause().to_string());
    let text = if outer == root {
        outer
    } else {
        format!("{outer}: {root}")
    };
    crate::escape::line(&text, 1000)
}

/// The machine's failure, where it has no memory for a component: putting another component there wouldn't help.
pub(crate) fn without_memory(plugin: &str, error: &wasmtime::Error) -> Option<PluginError> {
    is_without_memory(error).then(|| no_memory(plugin, &reason(error)))
}

/// Whether the machine has no memory.
pub(crate) fn is_without_memory(error: &wasmtime::Error) -> bool {
    match error.downcast_ref::<std::io::Error>() {
        Some(error) => error.kind() == std::io::ErrorKind::OutOfMemory,
        None => error.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOMEM),
    }
}

/// That failure in words.
pub(crate) fn no_memory(plugin: &str, why: &str) -> PluginError {
    PluginError::Engine {
        why: format!("there is no memory for plugin {plugin}: {why}"),
    }
}

/// What the engine does; a compiler must be set alike.
pub(crate) fn config(memory_bytes: u64) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES);
    config
        .concurrency_support(false)
        .gc_support(false)
        .shared_memory(false);
    config
        .wasm_gc(false)
        .wasm_stack_switching(false)
        .wasm_shared_everything_threads(false);
    config
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false);
    config
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        .wasm_branch_hinting(false);
    config
        .wasm_component_model_error_context(false)
        .wasm_component_model_gc(false);
    config
        .wasm_component_model_map(false)
        .wasm_component_model_memory64(false);
    config
        .wasm_component_model_fixed_length_lists(false)
        .wasm_component_model_implements(false);
    // Python components need extended constant expressions: that switch stays on.
    config
        .memory_reservation(memory_bytes)
        .memory_reservation_for_growth(0)
        .memory_may_move(false);
    config.guard_before_linear_memory(true);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(20));
    config
}

/// Advances the epoch until it is dropped.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            while !stopped.load(Ordering::Acquire) {
                thread::park_timeout(TICK);
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new()
            .name("freezer-epoch".to_owned())
            .spawn(work)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::debug!("the epoch thread panicked");
            }
        }
    }
}
