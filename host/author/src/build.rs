//! Compiles a plugin and packs its plugin.toml into the component: `target/NAME.wasm`.
//!
//! What the compiler says goes to standard error as it comes. A component that somebody else made is packed the same way.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use freezer_format::component::with_plugin_manifest;
use freezer_plugin::pack::PackedPlugin;

use crate::error::AuthorError;
use crate::file;
use crate::project::{Language, Project};
use crate::python;
use crate::toolchain::{Surroundings, Toolchain};

/// Compiles and packs, and answers the component's path.
///
/// # Errors
/// [`AuthorError::Toolchain`], [`AuthorError::Program`], and all that [`adopt`] gives.
pub fn build(project: &Project, surroundings: &Surroundings) -> Result<PathBuf, AuthorError> {
    let component = match project.language()? {
        Language::Rust => compile(project, surroundings)?,
        Language::Python => python::compile(project)?,
    };
    adopt(project, &component)
}

/// Packs a component that is compiled already, and answers the packed one's path.
///
/// # Errors
/// [`AuthorError::Component`] if it is none or packed already; [`AuthorError::Pack`] if the host wouldn't take it.
pub fn adopt(project: &Project, component: &Path) -> Result<PathBuf, AuthorError> {
    let bytes = file::read(component)?;
    let packed = with_plugin_manifest(&bytes, project.text()).map_err(|source| AuthorError::Component {
        path: component.to_owned(),
        source,
    })?;
    // The host's own judgement, before anybody installs it.
    PackedPlugin::new(component, packed.clone(), None)?;
    let path = project.target().join(format!("{}.wasm", project.manifest().name));
    file::write(&path, &packed)?;
    Ok(path)
}

/// Compiles the crate and answers the component that cargo made of it.
fn compile(project: &Project, surroundings: &Surroundings) -> Result<PathBuf, AuthorError> {
    let toolchain = Toolchain::find(project.folder())?;
    let mut cargo = toolchain.cargo(project.folder(), &project.target().join("wasm"), surroundings);
    cargo.arg("--message-format=json-render-diagnostics");
    let child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let output = child
        .and_then(std::process::Child::wait_with_output)
        .map_err(|source| start_failed(&cargo, source))?;
    if !output.status.success() {
        return Err(AuthorError::Program {
            program: "cargo build".to_owned(),
            status: output.status,
        });
    }
    let made = String::from_utf8_lossy(&output.stdout);
    // cargo's path may be another one for the same file.
    let same = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let own = same(&project.folder().join("Cargo.toml"));
    made.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| {
            message["manifest_path"]
                .as_str()
                .is_some_and(|path| same(Path::new(path)) == own)
        })
        .filter_map(|message| {
            let files = message["filenames"].as_array()?;
            let mut files = files.iter().filter_map(serde_json::Value::as_str);
            files.find(|file| file.ends_with(".wasm")).map(PathBuf::from)
        })
        .next_back()
        .ok_or_else(|| AuthorError::NoComponent(format!("cargo made no .wasm of {}", own.display())))
}

/// Runs the plugin's own tests; what they say goes to standard error as it comes.
///
/// # Errors
/// [`AuthorError::Toolchain`]; [`AuthorError::Start`]; [`AuthorError::Program`] if one fails.
pub fn unit_tests(project: &Project) -> Result<(), AuthorError> {
    if project.language()? == Language::Python {
        return python::unit_tests(project);
    }
    // What can't be compiled afterwards is told before anything is compiled.
    Toolchain::find(project.folder())?;
    let mut command = Command::new("cargo");
    command
        .args(["test", "--target-dir"])
        .arg(project.target().join("native"))
        .current_dir(project.folder())
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    let status = command
        .status()
        .map_err(|source| start_failed(&command, source))?;
    match status.success() {
        true => Ok(()),
        false => Err(AuthorError::Program {
            program: format!("{} test", command.get_program().to_string_lossy()),
            status,
        }),
    }
}

fn start_failed(command: &Command, source: std::io::Error) -> AuthorError {
    AuthorError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}
