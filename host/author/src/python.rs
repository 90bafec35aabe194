//! Plugins in Python: componentize-py makes a component of `app.py`, from an environment of its own below `target`. That takes a
//! while, so a component whose [`inputs`] are as they were stays.

mod inputs;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use freezer_plugin::PluginKind;

use self::inputs::Inputs;
use crate::error::AuthorError;
use crate::project::Project;
use crate::sdk;

/// The tool, at the version whose components are known to run.
const TOOL: &str = "componentize-py==0.25.1";

/// Makes the component and answers its path.
///
/// # Errors
/// [`AuthorError::Start`] without Python; [`AuthorError::Program`] if the tool can't be installed or refuses the code.
pub(crate) fn compile(project: &Project) -> Result<PathBuf, AuthorError> {
    let component = project.target().join("wasm/component.wasm");
    std::fs::create_dir_all(project.target().join("wasm")).map_err(|source| AuthorError::File {
        action: "write",
        path: component.clone(),
        source,
    })?;
    let mut command = tool(project)?;
    let inputs = Inputs {
        tool: TOOL,
        environment: &environment(project),
        contract: &contract(project)?,
        folder: project.folder(),
    };
    let made_of = inputs.digest()?;
    if inputs::is_made_of(&component, &made_of) {
        return Ok(component);
    }
    command.args(["componentize", "app", "-o"]).arg(&component);
    run(&mut command)?;
    inputs::note(&component, &made_of)?;
    Ok(component)
}

/// Runs the tests beside the plugin against freshly generated bindings.
///
/// # Errors
/// As [`compile`]; [`AuthorError::Program`] if a test fails.
pub(crate) fn unit_tests(project: &Project) -> Result<(), AuthorError> {
    let bindings = project.target().join("bindings");
    match std::fs::remove_dir_all(&bindings) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(AuthorError::File {
                action: "remove",
                path: bindings,
                source,
            });
        }
        _ => {}
    }
    let mut command = tool(project)?;
    command.arg("bindings").arg(&bindings);
    run(&mut command)?;
    let mut tests = Command::new(environment(project).join("bin/python"));
    tests
        .args(["-m", "unittest", "-v"])
        .current_dir(project.folder())
        .env("PYTHONPATH", &bindings)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run(&mut tests)
}

fn environment(project: &Project) -> PathBuf {
    project.target().join("venv")
}

/// componentize-py, set up for the world of this kind of plugin; installed where it isn't yet.
fn tool(project: &Project) -> Result<Command, AuthorError> {
    let environment = environment(project);
    let program = environment.join("bin/componentize-py");
    if !program.is_file() {
        install(&environment)?;
    }
    let world = match project.manifest().kind {
        PluginKind::Mode => "mode-plugin",
        PluginKind::Storage => "storage-plugin",
    };
    let mut command = Command::new(program);
    command
        .current_dir(project.folder())
        .arg("-d")
        .arg(contract(project)?)
        .args(["-w", world]);
    Ok(command)
}

/// The contract beside the plugin; where there is none, the one that this host speaks.
fn contract(project: &Project) -> Result<PathBuf, AuthorError> {
    let own = project.folder().join("wit");
    if own.is_dir() {
        return Ok(own);
    }
    let built_in = project.target().join("contract");
    sdk::write_contract(&built_in)?;
    Ok(built_in.join("wit"))
}

fn install(environment: &Path) -> Result<(), AuthorError> {
    run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    let mut pip = Command::new(environment.join("bin/pip"));
    run(pip.args(["install", "--quiet", "--disable-pip-version-check", TOOL]))
}

fn run(command: &mut Command) -> Result<(), AuthorError> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let program = program.to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.map_err(|source| AuthorError::Start {
        program: program.clone(),
        source,
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(AuthorError::Program { program, status }),
    }
}
