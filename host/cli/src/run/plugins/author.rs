//! The author's road: makes, compiles, tries out, packs and describes a plugin.
//!
//! Compilers and tests speak on standard error as they run; standard output holds the result alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use freezer_author::scaffold::Scaffold;
use freezer_author::toolchain::Surroundings;
use freezer_author::trial::{self, Compiling, Count};
use freezer_author::{AuthorError, Project, build, docs, pack};
use freezer_plugin::pack::PackedPlugin;
use serde_json::{Value, json};

use crate::command::{AuthorCommand, Work};
use crate::exit::{Exit, Failure};
use crate::render::Style;
use crate::render::plugins::trial as report;
use crate::render::{text, units};
use crate::run::{Context, failure};

/// This program itself compiles components in a process of its own.
const COMPILER: &str = "/proc/self/exe";

/// Does one of the author's verbs.
///
/// # Errors
/// Whatever kept it from being done. A rule that doesn't hold is an exit code.
pub(super) fn run(command: &AuthorCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        AuthorCommand::New(scaffold) => new(scaffold, context),
        AuthorCommand::Build(work) => {
            let project = open(&work.folder)?;
            let component = component(&project, work, context)?;
            told(&component, context)
        }
        AuthorCommand::Test(work) => test(work, context),
        AuthorCommand::Pack(work, key) => pack(work, key.as_deref(), context),
        AuthorCommand::Docs(folder) => {
            let page = docs::page(open(folder)?.manifest());
            match context.output.style {
                Style::Json => context.output.finish(Exit::Ok, json!({ "markdown": page }))?,
                _ => context.output.print(page.trim_end())?,
            }
            Ok(Exit::Ok)
        }
    }
}

fn new(scaffold: &Scaffold, context: &Context) -> Result<Exit, Failure> {
    let files = scaffold.write().map_err(|error| of_author(&error))?;
    let folder = scaffold.folder.display();
    let output = &context.output;
    output.note(&format!("made {} {} in {folder}:", scaffold.kind, scaffold.name));
    for file in &files {
        output.note(&format!("  {}", file.display()));
    }
    output.note(&format!("next: cd {folder} && freezer plugin test"));
    output.finish(
        Exit::Ok,
        json!({ "name": scaffold.name, "kind": scaffold.kind.to_string(), "folder": folder.to_string(), "files": files }),
    )?;
    Ok(Exit::Ok)
}

fn test(work: &Work, context: &Context) -> Result<Exit, Failure> {
    let output = &context.output;
    let project = open(&work.folder)?;
    if work.component.is_none() {
        output.note("running the plugin's own tests");
        build::unit_tests(&project).map_err(|error| of_author(&error))?;
    }
    let component = component(&project, work, context)?;
    let packed = read(&component)?;
    let shows = output.style == Style::Text;
    if shows {
        output.print(&report::head(&packed, &component))?;
    }
    let mut parts = Vec::new();
    let mut shown = Ok(());
    let cache = context.config.environment.plugin_cache();
    let compiling = Compiling {
        compiler: Path::new(COMPILER),
        cache: cache.as_deref(),
    };
    let tried = trial::run(&project, &component, compiling, &mut |part, findings| {
        parts.push(report::document(part, findings));
        if shows && shown.is_ok() {
            shown = output.print(&report::part(part, findings));
        }
    });
    let count = tried.map_err(|error| of_author(&error))?;
    shown?;
    if shows {
        output.print(&report::sum(count))?;
    }
    let exit = match count.failed {
        0 => Exit::Ok,
        _ => Exit::Failed,
    };
    output.finish(exit, document(&packed, &component, &parts, count))?;
    if shows && count.failed > 0 {
        output.insist(&format!(
            "next: mend what FAILED says; docs/plugins.md, What a {} must do, gives the reasons",
            project.manifest().kind
        ));
    }
    Ok(exit)
}

fn document(packed: &PackedPlugin, component: &Path, parts: &[Value], count: Count) -> Value {
    json!({
        "name": packed.manifest().name,
        "version": packed.manifest().version,
        "component": component.display().to_string(),
        "sha256": packed.sha256(),
        "parts": parts,
        "passed": count.passed,
        "failed": count.failed,
        "skipped": count.skipped,
    })
}

fn pack(work: &Work, key: Option<&Path>, context: &Context) -> Result<Exit, Failure> {
    let project = open(&work.folder)?;
    let component = component(&project, work, context)?;
    let packed = pack::pack(&project, &component, key).map_err(|error| of_author(&error))?;
    let (output, path) = (&context.output, packed.path.display());
    let signed = packed.plugin.signature();
    output.note(&format!(
        "packed {path} ({})",
        units::bytes(packed.plugin.bytes().len() as u64)
    ));
    output.note(&format!("sha256 {}", packed.plugin.sha256()));
    match signed {
        Some(signature) => output.note(&format!("signed by key {}: {path}.minisig", signature.key_id())),
        None => output.note(&format!(
            "not signed: freezer plugin pack --sign KEY, or minisign -S -s KEY -m {path}"
        )),
    }
    output.finish(
        Exit::Ok,
        json!({
            "name": packed.plugin.manifest().name,
            "version": packed.plugin.manifest().version,
            "file": path.to_string(),
            "sha256": packed.plugin.sha256(),
            "key_id": signed.map(|signature| signature.key_id()),
        }),
    )?;
    Ok(Exit::Ok)
}

fn open(folder: &Path) -> Result<Project, Failure> {
    Project::open(folder).map_err(|error| of_author(&error))
}

/// The component, compiled unless one was named.
fn component(project: &Project, work: &Work, context: &Context) -> Result<PathBuf, Failure> {
    let made = match &work.component {
        Some(component) => build::adopt(project, component),
        None => {
            let environment = &context.config.environment;
            let surroundings = Surroundings {
                path: environment.variables.get("PATH").map(OsString::from),
                cargo_home: environment.cargo_home(),
            };
            build::build(project, &surroundings)
        }
    };
    made.map_err(|error| of_author(&error))
}

fn read(component: &Path) -> Result<PackedPlugin, Failure> {
    PackedPlugin::read(component).map_err(|error| of_author(&AuthorError::Pack(error)))
}

/// Tells what was built.
fn told(component: &Path, context: &Context) -> Result<Exit, Failure> {
    let packed = read(component)?;
    let size = packed.bytes().len() as u64;
    context.output.note(&format!(
        "built {} {}: {} ({})",
        packed.manifest().name,
        text::lines(&packed.manifest().version),
        component.display(),
        units::bytes(size)
    ));
    context.output.finish(
        Exit::Ok,
        json!({
            "name": packed.manifest().name,
            "version": packed.manifest().version,
            "component": component.display().to_string(),
            "bytes": size,
            "sha256": packed.sha256(),
            "imports": packed.imports(),
        }),
    )?;
    Ok(Exit::Ok)
}

/// An author's error with what to do about it.
fn of_author(error: &AuthorError) -> Failure {
    let failure = match error {
        AuthorError::Plugin(error) => return failure::of_plugin(error),
        AuthorError::Pack(error) => return super::install::of_pack(error),
        AuthorError::Name { .. }
        | AuthorError::Exists(_)
        | AuthorError::NoSdk(_)
        | AuthorError::NoProject(_)
        | AuthorError::NoLanguage(_)
        | AuthorError::License(_) => Failure::from_error(Exit::Usage, error),
        _ => Failure::from_error(Exit::Failed, error),
    };
    error.steps().into_iter().fold(failure, Failure::advise)
}
