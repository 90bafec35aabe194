//! Compiles components: those that were built together with this program here, all others in a process of their own.
//!
//! A hostile component can make the compiler take any time and memory. So this program is started once more, as a process
//! that has a ceiling of both, and nothing else: no descriptors but its input and its output, no environment, and no system
//! calls but those of a program that computes. What it answers is used for nothing but this component, whose code it is.
//!
//! The child reads the component from its standard input. Its answer is one byte: 0 and the code as the engine
//! serialises it, or 1 and a line that says why.

mod child;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use wasmtime::Engine;

use crate::component;
use crate::engine::reason;
use crate::error::{LimitHit, PluginError};
use crate::escape;
use crate::limits::PluginLimits;

pub use child::{WORD, serve};

/// The code follows.
const COMPILED: u8 = 0;
/// A line follows that says why there is no code.
const REFUSED: u8 = 1;
/// The largest answer: compiled code of an 18 MB Python component has 39 MB.
const MAX_ANSWER_BYTES: u64 = 512 << 20;
/// How many times as long as it computes a compiler may take by the clock: the machine may be busy.
const PATIENCE: u32 = 4;
/// Threads of a compiler. More are hardly faster, and each reserves address space, of which there is a limit.
const THREADS: usize = 8;
/// How soon the end of a compiler is noticed that gave its answer.
const END_POLL: Duration = Duration::from_millis(1);

/// A component that is to be compiled.
pub(crate) struct Job<'a> {
    /// Its plugin's name.
    pub(crate) plugin: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) limits: &'a PluginLimits,
}

impl Job<'_> {
    fn refused(&self, why: &str) -> PluginError {
        PluginError::Load {
            plugin: self.plugin.to_owned(),
            why: escape::line(why, 1000),
        }
    }

    fn stopped(&self, limit: LimitHit) -> PluginError {
        PluginError::Limit {
            plugin: self.plugin.to_owned(),
            call: "compile",
            limit,
        }
    }
}

/// Compiles in this process.
///
/// # Errors
/// [`PluginError::Load`].
pub(crate) fn here(engine: &Engine, job: &Job<'_>) -> Result<Vec<u8>, PluginError> {
    let compiled = engine.precompile_component(job.bytes);
    compiled.map_err(|error| job.refused(&reason(&error)))
}

/// Compiles what strangers built.
pub(crate) struct Compiler {
    /// The program that calls [`serve`] when its first argument is [`WORD`].
    pub(crate) program: Option<PathBuf>,
    /// What the engine reserves for a linear memory: it shapes the code.
    pub(crate) reservation_bytes: u64,
}

impl Compiler {
    /// Compiles in a process of its own, or here if this host has no program for that.
    ///
    /// # Errors
    /// [`PluginError::Load`]; [`PluginError::Limit`] if it takes too much; [`PluginError::Engine`] if there is no such process.
    pub(crate) fn compile(&self, engine: &Engine, job: &Job<'_>) -> Result<Vec<u8>, PluginError> {
        component::check_functions(job.bytes).map_err(|why| job.refused(&why))?;
        match &self.program {
            None => here(engine, job),
            Some(program) => self.apart(program, job),
        }
    }

    fn apart(&self, program: &Path, job: &Job<'_>) -> Result<Vec<u8>, PluginError> {
        let failed = |error: io::Error| PluginError::Engine {
            why: format!("can't start the compiler {}: {error}", program.display()),
        };
        let mut running = Running(self.start(program, job).map_err(failed)?);
        let time = job.limits.compile.saturating_mul(PATIENCE);
        let ended = running.end(Instant::now() + time).map_err(failed)?;
        let Some((status, mut answer)) = ended else {
            return Err(job.stopped(LimitHit::CompileTime(time)));
        };
        match (status.signal(), answer.first()) {
            (Some(libc::SIGXCPU), _) => Err(job.stopped(LimitHit::CompileTime(job.limits.compile))),
            // That is how a program ends that gets no memory.
            (Some(libc::SIGABRT), _) => {
                Err(job.stopped(LimitHit::CompileMemory(job.limits.compile_memory_bytes)))
            }
            (None, Some(&COMPILED)) if status.success() => {
                answer.remove(0);
                Ok(answer)
            }
            (None, Some(&REFUSED)) if status.success() => {
                Err(job.refused(&String::from_utf8_lossy(&answer[1..])))
            }
            _ => Err(job.refused(&format!("the compiler crashed on it ({status})"))),
        }
    }

    fn start(&self, program: &Path, job: &Job<'_>) -> io::Result<Child> {
        let mut input = File::from(rustix::fs::memfd_create("component", MemfdFlags::CLOEXEC)?);
        input.write_all(job.bytes)?;
        input.rewind()?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let numbers = [
            self.reservation_bytes,
            job.limits.compile_memory_bytes,
            job.limits.compile.as_secs(),
        ];
        Command::new(program)
            .arg(WORD)
            .args(numbers.map(|number| OsString::from(number.to_string())))
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.min(THREADS).to_string())
            // Each arena of the C library reserves 64 MiB of address space.
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir("/")
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    }
}

/// A compiler that never outlives its host's interest in it.
struct Running(Child);

impl Running {
    /// Its answer and its end; `None` if the time is over before.
    fn end(&mut self, deadline: Instant) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
        let Some(mut output) = self.0.stdout.take() else {
            return Err(io::Error::other("it has no output"));
        };
        let mut answer = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            if !wait_for(&output, deadline)? {
                return Ok(None);
            }
            let count = output.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&buffer[..count]);
            if answer.len() as u64 > MAX_ANSWER_BYTES {
                return Err(io::Error::other("its answer is too large"));
            }
        }
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some((status, answer)));
            }
            std::thread::sleep(END_POLL);
        }
        Ok(None)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that ended already can't be killed, which is no news.
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            tracing::debug!(%error, "a compiler can't be ended");
        }
    }
}

/// Waits until there is something to read; false when the time is over.
fn wait_for(output: &impl AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Ok(false);
        }
        let rest = Timespec::try_from(rest).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&rest)) {
            Err(Errno::INTR) | Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}
