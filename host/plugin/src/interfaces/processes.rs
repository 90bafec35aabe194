//! `processes`: commands of this machine, as far as they are granted, started by `freezer_io::processes`.

#![expect(
    unreachable_pub,
    reason = "the generated bindings re-export the type of the handle, which crate-only visibility forbids"
)]

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use freezer_io::processes::{self, Input, OutputReader, Process};
use freezer_io::stop::Stop;
use wasmtime::component::Resource;

use super::bodies::used_up;
use super::resources::{Body, Child};
use crate::bindings::v1::imports::freezer::plugin::commands as wit;
use crate::bindings::v1::imports::freezer::plugin::processes::Host;
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::guest::{GuestState, PluginContext};
use crate::run::{Guard, Run};

impl Host for GuestState {
    async fn spawn(
        &mut self,
        command: wit::Command,
        input: Option<Resource<Body>>,
    ) -> wasmtime::Result<Result<Resource<Child>, Error>> {
        let _in_host = self.clock.host();
        if let Err(cancelled) = self.request().await {
            return Ok(Err(cancelled));
        }
        let command = match native(&self.context, command) {
            Ok(command) => command,
            Err(error) => return Ok(Err(error)),
        };
        // Taken last: a refused command leaves the stream as it was.
        let input = match input {
            None => None,
            Some(body) => match self.table.get(&body)?.take() {
                Some(taken) => Some(taken.into_reader()),
                None => return Ok(Err(used_up())),
            },
        };
        let command = match Command::start(&self.context.run, &command, input) {
            Ok(command) => command,
            Err(error) => return Ok(Err(error.into())),
        };
        Ok(Ok(self.table.push(command)?))
    }
}

/// A running command that the run ends at the latest, and the last of its handles before that.
pub struct Command {
    process: Arc<Process>,
    run: Arc<Run>,
    guard: u64,
}

impl Command {
    fn start(
        run: &Arc<Run>,
        command: &processes::Command,
        input: Option<Box<dyn Read + Send>>,
    ) -> Result<Arc<Self>, freezer_io::error::Error> {
        let process = Process::start(command, input)?;
        let guard = run.hold(Box::new(Running(Arc::clone(&process))));
        Ok(Arc::new(Self {
            process,
            run: Arc::clone(run),
            guard,
        }))
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// Its output, which keeps it alive.
    pub(super) fn output(
        self: &Arc<Self>,
        stop: Stop,
    ) -> Result<Box<dyn Read + Send>, freezer_io::error::Error> {
        let reader = self.process.output(stop)?;
        Ok(Box::new(Output {
            reader,
            _command: Arc::clone(self),
        }))
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        if let Err(why) = self.run.release(self.guard) {
            self.run.warn(why);
        }
    }
}

/// Output that is being read.
struct Output {
    reader: OutputReader,
    _command: Arc<Command>,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// The run's hold on a command.
struct Running(Arc<Process>);

impl Guard for Running {
    fn description(&self) -> String {
        format!("command {:?}", self.0.name())
    }

    fn release(self: Box<Self>) -> Result<(), String> {
        self.0.stop().map_err(|error| error.to_string())
    }
}

/// The command with its secrets filled in, once it is granted and its program is one that nobody else could have written.
fn native(context: &PluginContext, command: wit::Command) -> Result<processes::Command, Error> {
    let found = processes::find(&command.program);
    // A name that isn't found is judged as if it were there: who may not run it needn't learn whether it is.
    let program = found.unwrap_or_else(|| Path::new("/usr/bin").join(&command.program));
    let variables: Vec<&str> = command
        .environment
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    context
        .grants
        .command(&program.to_string_lossy(), &command.arguments, &variables)?;
    processes::check_trusted(&program)?;
    let environment = command.environment.into_iter();
    let inputs = command.inputs.into_iter();
    let command = processes::Command {
        program,
        arguments: command.arguments,
        environment: environment
            .map(|field| Ok((field.name, context.fill_secrets(&field.value)?)))
            .collect::<Result<_, Error>>()?,
        directory: command.directory.map(Into::into),
        inputs: inputs
            .map(|field| {
                Ok(Input {
                    content: context.fill_secrets(&field.value)?,
                    name: field.name,
                })
            })
            .collect::<Result<_, Error>>()?,
    };
    command.check()?;
    Ok(command)
}
