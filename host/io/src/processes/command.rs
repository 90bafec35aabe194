//! What is to be started, and the limits that a command must keep to.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};

/// The most arguments, and their bytes together: far below what the system takes, far above what tools need.
const MAX_ARGUMENTS: usize = 1024;
const MAX_ARGUMENT_BYTES: usize = 64 << 10;
/// The most names in the environment, and its bytes together.
const MAX_ENVIRONMENT: usize = 256;
const MAX_ENVIRONMENT_BYTES: usize = 64 << 10;
/// The most inputs; each is an open file of both processes.
const MAX_INPUTS: usize = 16;
/// The most bytes of one input: they are copied into memory of the system.
const MAX_INPUT_BYTES: usize = 64 << 10;

/// A small file in memory that only the command can see.
#[derive(Clone)]
pub struct Input {
    /// What `{input:NAME}` calls it.
    pub name: String,
    /// Its bytes.
    pub content: Zeroizing<String>,
}

/// A program with what it is given. Nothing in it is expanded but `{input:NAME}`.
#[derive(Clone, Default)]
pub struct Command {
    /// An absolute path.
    pub program: PathBuf,
    /// The arguments after the program's name.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, Zeroizing<String>)>,
    /// The absolute working directory; the root directory without it.
    pub directory: Option<PathBuf>,
    /// Files in memory.
    pub inputs: Vec<Input>,
}

impl std::fmt::Debug for Command {
    /// Without environment and inputs, which may hold secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Command")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}

impl Command {
    /// A command without arguments and with an empty environment.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            ..Self::default()
        }
    }

    /// The program's path for messages.
    pub(super) fn name(&self) -> String {
        self.program.display().to_string()
    }

    /// Fails for what can't be started or goes beyond the limits.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self) -> Result<(), Error> {
        let problem = self.problem_of_paths().or_else(|| self.problem_of_texts());
        match problem {
            None => Ok(()),
            Some(why) => Err(Error::new(
                ErrorKind::Invalid,
                format!("can't run {:?}: {why}", self.name()),
            )),
        }
    }

    fn problem_of_paths(&self) -> Option<&'static str> {
        if !self.program.is_absolute() {
            return Some("the program's path must be absolute");
        }
        let directory = self.directory.as_deref();
        directory
            .is_some_and(|path| !path.is_absolute())
            .then_some("the working directory must be absolute")
    }

    fn problem_of_texts(&self) -> Option<&'static str> {
        let bytes: usize = self.arguments.iter().map(String::len).sum();
        if self.arguments.len() > MAX_ARGUMENTS || bytes > MAX_ARGUMENT_BYTES {
            return Some("it has more than 1024 arguments or 64 KiB of them");
        }
        let names = || self.environment.iter().map(|(name, _)| name);
        let bytes: usize = self
            .environment
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if self.environment.len() > MAX_ENVIRONMENT || bytes > MAX_ENVIRONMENT_BYTES {
            return Some("its environment has more than 256 names or 64 KiB");
        }
        if !names().all(|name| is_variable(name)) || has_twins(names()) {
            return Some("its environment has a name twice, or one that is no name of a variable");
        }
        let inputs = || self.inputs.iter().map(|input| &input.name);
        if self.inputs.len() > MAX_INPUTS
            || self
                .inputs
                .iter()
                .any(|input| input.content.len() > MAX_INPUT_BYTES)
        {
            return Some("it has more than 16 inputs, or one of more than 64 KiB");
        }
        if !inputs().all(|name| is_input_name(name)) || has_twins(inputs()) {
            return Some(
                "it has two inputs of one name, or one that isn't of lower-case letters, digits and '-'",
            );
        }
        let values = self.environment.iter().map(|(_, value)| value.as_str());
        let mut texts = self.arguments.iter().map(String::as_str).chain(values);
        texts
            .any(|text| text.contains('\0'))
            .then_some("an argument or a variable has a NUL in it")
    }
}

fn is_variable(name: &str) -> bool {
    let mut letters = name.bytes();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
}

fn is_input_name(name: &str) -> bool {
    let plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(plain)
}

fn has_twins<'a>(names: impl Iterator<Item = &'a String>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().any(|name| !seen.insert(name))
}
