//! Starts the program: the one place where code runs between `fork` and `exec`.
#![expect(
    unsafe_code,
    reason = "leaving the terminal's session and handing over the inputs is possible only between fork and exec"
)]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::fs::{MemfdFlags, Mode, SealFlags};
use rustix::io::FdFlags;
use rustix::process::Signal;

use super::command::{Command, Input};
use super::program::plain;
use crate::error::{Error, ErrorKind};

/// Starts `command`; standard input is a pipe if `with_input`, else empty. The caller's thread must live as long as the
/// command: the command is ended when that thread ends, so that none outlives a killed run.
pub(super) fn start(command: &Command, with_input: bool) -> Result<Child, Error> {
    command.check()?;
    let root = Path::new("/");
    let directory = command.directory.as_deref().unwrap_or(root);
    if !directory.is_dir() {
        let message = format!(
            "can't run {:?} in {directory:?}: there is no such directory",
            command.name()
        );
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let files = command.inputs.iter().map(memory_file);
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let filled = |text: &str| fill(text, &command.inputs, &files);
    let mut native = std::process::Command::new(&command.program);
    native
        .args(command.arguments.iter().map(|argument| filled(argument)))
        .env_clear()
        .envs(
            command
                .environment
                .iter()
                .map(|(name, value)| (name, filled(value))),
        )
        .current_dir(directory)
        .stdin(if with_input { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let prepare = move || {
        // Its own session: no terminal to ask passwords at or to be stopped by, and a group that is stopped as one.
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        for file in &files {
            rustix::io::fcntl_setfd(file, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only and neither allocates nor locks, so it may run in the forked child.
    unsafe { native.pre_exec(prepare) };
    native.spawn().map_err(|error| not_started(command, &error))
}

fn not_started(command: &Command, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Other,
    };
    let message = format!("can't run {:?}: {}", command.name(), plain(error));
    Error::new(kind, message)
}

/// A file in memory that can't be changed any more. Tools refuse files with passwords that others may read or write.
fn memory_file(input: &Input) -> Result<OwnedFd, Error> {
    let failed = |why: &dyn std::fmt::Display| {
        Error::new(
            ErrorKind::Other,
            format!("can't make the input {:?}: {why}", input.name),
        )
    };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create(&input.name, flags).map_err(|error| failed(&error))?;
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(|error| failed(&error))?;
    let mut file = File::from(file);
    file.write_all(input.content.as_bytes())
        .map_err(|error| failed(&error))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals).map_err(|error| failed(&error))?;
    Ok(file.into())
}

/// The text with the paths of the inputs in it. What names none stays as it is.
fn fill(text: &str, inputs: &[Input], files: &[OwnedFd]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{input:") {
        filled.push_str(before);
        let named = after.split_once('}').and_then(|(name, after)| {
            let place = inputs.iter().position(|input| input.name == name)?;
            Some((files.get(place)?.as_raw_fd(), after))
        });
        rest = match named {
            Some((number, after)) => {
                filled.push_str("/proc/self/fd/");
                filled.push_str(&number.to_string());
                after
            }
            None => {
                filled.push_str("{input:");
                after
            }
        };
    }
    filled.push_str(rest);
    filled
}
