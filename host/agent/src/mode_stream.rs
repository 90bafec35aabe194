//! Modes without a plugin: the stream that the user pipes in, or that a command of the user's writes.
//!
//! What runs is what the user typed, with the user's rights: there is nothing that a sandbox could keep from it.

use std::ffi::OsString;
use std::io::{self, Read};

use freezer_pipeline::cancel::Cancel;
use freezer_plugin::{ModeSource, Outcome, PluginError};
use rustix::event::PollFlags;

use crate::error::AgentError;
use crate::mode::{BackupMode, PreparedBackup};
use crate::stream_command::{CommandSource, await_ready};

/// What a file system takes as a name.
const MAX_NAME_BYTES: usize = 255;

/// What feeds a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamFeed {
    /// Standard input, to its end.
    Stdin,
    /// The output of a line for `sh -c`; it counts only if its exit status is 0.
    Command(OsString),
}

impl StreamFeed {
    /// The name of the mode in the manifest.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Stdin => "stdin",
            Self::Command(_) => "command",
        }
    }
}

/// A mode that offers one stream.
#[derive(Debug)]
pub struct StreamMode {
    name: String,
    feed: StreamFeed,
    hidden: Vec<String>,
    cancel: Cancel,
}

impl StreamMode {
    /// A stream that is restored as a file called `name`. The command doesn't see the `hidden` variables.
    ///
    /// # Errors
    /// The name can't be that of a file.
    pub fn new(
        name: &str,
        feed: StreamFeed,
        hidden: Vec<String>,
        cancel: &Cancel,
    ) -> Result<Self, AgentError> {
        let is_special = matches!(name, "" | "." | "..");
        if is_special
            || name.len() > MAX_NAME_BYTES
            || name.contains('/')
            || name.chars().any(char::is_control)
        {
            return Err(AgentError::Unsupported {
                reason: format!("{name:?} can't be the name of a stream"),
                next:
                    "name the file that it is to be when it is restored, such as db.sql, without a directory"
                        .to_owned(),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            feed,
            hidden,
            cancel: cancel.clone(),
        })
    }
}

impl BackupMode for StreamMode {
    fn prepare(
        &self,
        _level: u32,
        _parent_note: Option<String>,
    ) -> Result<Box<dyn PreparedBackup>, PluginError> {
        let content: Box<dyn Read + Send> = match &self.feed {
            StreamFeed::Stdin => Box::new(Stdin {
                cancel: self.cancel.clone(),
            }),
            StreamFeed::Command(line) => Box::new(Command {
                line: line.clone(),
                hidden: self.hidden.clone(),
                cancel: self.cancel.clone(),
                running: None,
            }),
        };
        Ok(Box::new(PreparedStream(Some(ModeSource::Stream {
            name: self.name.clone(),
            suffix: String::new(),
            content,
        }))))
    }
}

struct PreparedStream(Option<ModeSource>);

impl PreparedBackup for PreparedStream {
    fn next_source(&mut self) -> Result<Option<ModeSource>, PluginError> {
        Ok(self.0.take())
    }

    fn finish(self: Box<Self>, _outcome: &Outcome) -> Result<String, PluginError> {
        Ok(String::new())
    }
}

/// A command that is started when its first bytes are wanted, so that nothing runs in vain.
struct Command {
    line: OsString,
    hidden: Vec<String>,
    cancel: Cancel,
    running: Option<CommandSource>,
}

impl Read for Command {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(CommandSource::start(&self.line, &self.hidden, &self.cancel)?),
        };
        running.read(buffer)
    }
}

/// Standard input; waiting for it heeds the cancel token.
struct Stdin {
    cancel: Cancel,
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stdin = rustix::stdio::stdin();
        loop {
            await_ready(stdin, PollFlags::IN, &self.cancel)?;
            match rustix::io::read(stdin, &mut *buffer) {
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                read => return Ok(read?),
            }
        }
    }
}
