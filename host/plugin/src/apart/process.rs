//! Freezer's side: starts the process of a guest, makes calls and answers what the guest asks meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use super::imports;
use super::link::{self, HEADER_BYTES, Kind, SAID_BYTES};
use super::spawner::Spawner;
use super::wire::{Nonsense, Reader, Take};
use super::{Unanswered, worker};
use crate::calls::START;
use crate::death::Death;
use crate::engine::EngineState;
use crate::error::{LimitHit, PluginError};
use crate::guest::{Cancelling, GuestState, PluginContext};
use crate::interfaces::Lines;
use crate::log_gate::Level;
use crate::manifest::PluginKind;

/// How often a guest that computes is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long a process that said its last word may take to end, for a look at how it ended.
const LAST_LOOK: Duration = Duration::from_millis(200);
/// A process that waits for an answer takes it at once; one that doesn't is broken.
const SEND_TIME: Duration = Duration::from_secs(60);
/// What a message may have beyond what a guest may pass at once: lengths and numbers.
const HEADROOM_BYTES: usize = 64 << 10;

/// Compiled code that any number of processes can map, and nobody can change.
#[derive(Debug)]
pub(crate) struct Code(File);

impl Code {
    /// Puts code where processes can have it.
    ///
    /// # Errors
    /// If there is no room.
    pub(crate) fn new(code: &[u8]) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(rustix::fs::memfd_create("plugin", flags)?);
        file.write_all(code)?;
        file.rewind()?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(Self(file))
    }
}

/// What a process of one plugin is started with.
pub(crate) struct Program {
    /// The program that calls [`serve`](super::serve) when its first argument is [`WORD`](super::WORD).
    pub(crate) program: PathBuf,
    pub(crate) kind: PluginKind,
    pub(crate) code: Arc<Code>,
    pub(crate) spawner: Arc<Spawner>,
    /// What the engine reserves for a linear memory.
    pub(crate) reservation_bytes: u64,
    /// What to say to a component that doesn't load, if its contract is newer than ours.
    pub(crate) newer: Option<String>,
}

impl Program {
    fn spawn(&self, context: &PluginContext) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(SEND_TIME))?;
        let mut command = Command::new(&self.program);
        command
            .arg(super::WORD)
            .args(worker::arguments(
                self.kind,
                self.reservation_bytes,
                &context.limits,
            ))
            .env_clear()
            .current_dir("/")
            // Ctrl-C is for freezer, which then ends what it has begun.
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(self.code.0.try_clone()?)
            .stderr(Stdio::null());
        Ok((self.spawner.spawn(command)?, ours))
    }
}

/// Why a call got no answer.
enum End {
    /// The process says how its guest ended.
    Died(Death),
    /// The time of the call is over.
    Time,
    /// The process is gone, or what it does is no part of the protocol.
    Gone(io::Error),
    /// It can't run this component.
    Refused(String),
    /// It said what is no message.
    Nonsense(Nonsense),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Time,
            _ => Self::Gone(error),
        }
    }
}

impl From<Nonsense> for End {
    fn from(nonsense: Nonsense) -> Self {
        Self::Nonsense(nonsense)
    }
}

impl From<Unanswered> for End {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Nonsense(nonsense) => Self::Nonsense(nonsense),
            Unanswered::Ended(error) => Self::Died(Death::of(&error, None)),
        }
    }
}

/// When a call must be over.
struct Bounds {
    clock: Instant,
    /// The processor time of the process.
    cpu: Duration,
}

/// A process that never outlives its host's interest in it.
struct Process {
    child: Child,
    socket: UnixStream,
    /// The processor time that it had when last seen.
    cpu: Duration,
}

impl Process {
    /// The processor time that it has used; as the kernel counts it, since it would say anything.
    fn cpu(&mut self) -> Duration {
        if let Some(cpu) = crate::limits::process_time(self.child.id()) {
            self.cpu = self.cpu.max(cpu);
        }
        self.cpu
    }

    fn send(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<(), End> {
        Ok(self.socket.write_all(&link::message(kind, parts)?)?)
    }

    /// The next message, of at most so many bytes.
    fn receive(&mut self, bounds: &Bounds, most: usize) -> Result<(Kind, Vec<u8>), End> {
        let mut bytes = [0; HEADER_BYTES];
        self.fill(&mut bytes, bounds)?;
        let (length, kind) = link::header(bytes).ok_or(Nonsense::Malformed)?;
        if length > most {
            return Err(Nonsense::TooLarge.into());
        }
        let mut content = vec![0; length];
        self.fill(&mut content, bounds)?;
        Ok((kind, content))
    }

    fn fill(&mut self, mut buffer: &mut [u8], bounds: &Bounds) -> Result<(), End> {
        while !buffer.is_empty() {
            self.wait(bounds)?;
            match self.socket.read(buffer) {
                Ok(0) => return Err(End::Gone(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until there is something to read.
    fn wait(&mut self, bounds: &Bounds) -> Result<(), End> {
        loop {
            let rest = bounds.clock.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(End::Time);
            }
            let tick = Timespec::try_from(rest.min(TICK)).map_err(io::Error::other)?;
            let ready = match poll(
                &mut [PollFd::new(&self.socket.as_fd(), PollFlags::IN)],
                Some(&tick),
            ) {
                Ok(count) => count > 0,
                Err(Errno::INTR) => false,
                Err(errno) => return Err(io::Error::from(errno).into()),
            };
            if self.cpu() > bounds.cpu {
                return Err(End::Died(Death::Cpu));
            }
            if ready {
                return Ok(());
            }
        }
    }

    /// How it ended, if it has.
    fn end(&mut self) -> Option<String> {
        let until = Instant::now() + LAST_LOOK;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status.to_string()),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that ended already can't be killed, which is no news.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::debug!(%error, "the process of a plugin can't be ended");
        }
    }
}

/// A guest in a process of its own.
pub(crate) struct Apart {
    state: GuestState,
    /// `None` once a call ended badly.
    process: Option<Process>,
    engine: Arc<EngineState>,
    /// What the guest writes: its standard output, its standard error.
    said: [Lines; 2],
    /// Held for the thread that started the process, which must live as long.
    _program: Arc<Program>,
}

impl Apart {
    /// Starts a process and the instance in it.
    ///
    /// # Errors
    /// [`PluginError::Engine`] if there is no such process, `Load` if it can't run the component or that fails on the
    /// way, `Limit` if it needs too much for that.
    pub(crate) fn start(
        program: &Arc<Program>,
        engine: &Arc<EngineState>,
        context: &Arc<PluginContext>,
    ) -> Result<Self, PluginError> {
        let failed = |error: io::Error| PluginError::Engine {
            why: format!("can't start a process for plugin {}: {error}", context.name),
        };
        let (child, socket) = program.spawn(context).map_err(failed)?;
        let mut apart = Self {
            state: GuestState::new(context),
            process: Some(Process {
                child,
                socket,
                cpu: Duration::ZERO,
            }),
            engine: Arc::clone(engine),
            said: [Level::Debug, Level::Info].map(|level| {
                let context = Arc::clone(context);
                Lines::new(Arc::new(move |line: &str| context.log(level, line)))
            }),
            _program: Arc::clone(program),
        };
        let started = apart.call("start", (Cancelling::Masked, None), (START, &[]), |_| Ok(()));
        started.map_err(|error| match error {
            PluginError::Trap { plugin, mut why, .. } => {
                if let Some(newer) = &program.newer {
                    why.push_str(&format!("; {newer}"));
                }
                PluginError::Load { plugin, why }
            }
            error => error,
        })?;
        Ok(apart)
    }

    /// The state, between calls.
    pub(crate) fn state(&mut self) -> &mut GuestState {
        &mut self.state
    }

    /// Makes one call by its number and reads its answer.
    ///
    /// # Errors
    /// `Trap`, `Limit` or `Broken`, after which the guest is dead.
    pub(crate) fn call<T>(
        &mut self,
        call: &'static str,
        (cancelling, within): (Cancelling, Option<Duration>),
        (number, arguments): (u16, &[u8]),
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Nonsense>,
    ) -> Result<T, PluginError> {
        let context = Arc::clone(&self.state.context);
        let Some(mut process) = self.process.take() else {
            return Err(Death::Trap("its process is gone".to_owned()).told(&context, call));
        };
        let time = context.time(within);
        self.state.begin(cancelling);
        let before = process.cpu();
        let bounds = Bounds {
            clock: Instant::now() + time,
            cpu: before + context.limits.cpu,
        };
        let answer = self
            .converse(&mut process, &bounds, number, arguments)
            .and_then(|answer| {
                let mut reader = Reader::new(&answer, context.limits.transfer_bytes);
                let value = read(&mut reader)?;
                reader.end()?;
                Ok(value)
            });
        self.state.called(process.cpu().saturating_sub(before));
        match answer {
            Ok(value) => {
                self.process = Some(process);
                Ok(value)
            }
            Err(end) => Err(told(end, &mut process, (&context, call, time))),
        }
    }

    /// Sends a call and answers questions until its answer is there.
    fn converse(
        &mut self,
        process: &mut Process,
        bounds: &Bounds,
        number: u16,
        arguments: &[u8],
    ) -> Result<Vec<u8>, End> {
        let transfer_bytes = self.state.context.limits.transfer_bytes;
        process.send(Kind::Call, &[&number.to_le_bytes(), arguments])?;
        loop {
            let (kind, mut content) = process.receive(bounds, transfer_bytes + HEADROOM_BYTES)?;
            let mut reader = Reader::new(&content, transfer_bytes);
            match kind {
                Kind::Question => {
                    let answer = self.answer(reader, bounds)?;
                    process.send(Kind::Answer, &[&answer])?;
                }
                Kind::Said => {
                    let (stream, bytes) = content.split_first().ok_or(Nonsense::Malformed)?;
                    if bytes.len() > SAID_BYTES {
                        return Err(Nonsense::TooLarge.into());
                    }
                    let lines = self.said.get_mut(usize::from(*stream));
                    lines.ok_or(Nonsense::Malformed)?.take(bytes);
                }
                Kind::Answer => {
                    self.state.holds(u64::take(&mut reader)?);
                    content.drain(..size_of::<u64>());
                    return Ok(content);
                }
                Kind::Died => {
                    self.state.holds(u64::take(&mut reader)?);
                    return Err(End::Died(Death::take(&mut reader)?));
                }
                Kind::Refused => return Err(End::Refused(String::take(&mut reader)?)),
                Kind::Call => return Err(Nonsense::Malformed.into()),
            }
        }
    }

    /// Answers a question on this thread, as a guest in this process is answered.
    fn answer(&mut self, mut question: Reader<'_>, bounds: &Bounds) -> Result<Vec<u8>, End> {
        let number = u16::take(&mut question)?;
        let mut answer = Vec::new();
        let rest = bounds.clock.saturating_duration_since(Instant::now());
        let (engine, state, out) = (&self.engine, &mut self.state, &mut answer);
        let answered = engine.block_on(async move {
            tokio::time::timeout(rest, imports::answer(state, number, question, out)).await
        });
        answered.map_err(|_| End::Time)??;
        Ok(answer)
    }
}

/// What the end of a call means, in words that name the plugin.
fn told(
    end: End,
    process: &mut Process,
    (context, call, time): (&PluginContext, &'static str, Duration),
) -> PluginError {
    let death = match end {
        End::Died(death) => death,
        End::Nonsense(Nonsense::TooLarge) => Death::Transfer,
        End::Refused(why) => Death::Trap(why),
        End::Time => {
            return PluginError::Limit {
                plugin: context.name.clone(),
                call,
                limit: LimitHit::Time(time),
            };
        }
        End::Nonsense(Nonsense::Malformed) => {
            return PluginError::Broken {
                plugin: context.name.clone(),
                call,
                why: "its process said what is no message".to_owned(),
            };
        }
        End::Gone(error) => Death::Trap(match process.end() {
            Some(status) => format!("its process ended ({status})"),
            None => format!("its process can't be talked to: {error}"),
        }),
    };
    death.told(context, call)
}
