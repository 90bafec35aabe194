//! Components that sin before anybody calls them: in what they are, what they import, what they do while they start.
//!
//! Others claim a plugin's name or lie in the cache (`discovery`).

use std::fs;
use std::time::{Duration, Instant};

use wasm_encoder::{ComponentSectionId, Encode};

use crate::common::guests;
use crate::scene::Scene;

/// The manifest of a foreign storage.
pub(crate) fn manifest(contract: &str) -> String {
    format!(
        "name = \"foreign\"\nkind = \"storage\"\nversion = \"1.0.0\"\ncontract = \"{contract}\"\nlicense = \"MIT\"\n\
         description = \"d\"\nschemes = [\"foreign\"]\n"
    )
}

/// A component with this manifest.
pub(crate) fn packed(mut component: Vec<u8>, manifest: &str) -> Vec<u8> {
    let section = wasm_encoder::CustomSection {
        name: "freezer:plugin.toml".into(),
        data: manifest.as_bytes().into(),
    };
    component.push(0);
    section.encode(&mut component);
    component
}

/// The hostile storage without its manifest, which is the last of its sections.
pub(crate) fn bare() -> Vec<u8> {
    let temp = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(guests(temp.path()).join("storage.wasm")).unwrap();
    let name = b"\x13freezer:plugin.toml";
    let place = bytes.windows(name.len()).rposition(|part| part == name).unwrap();
    // Before the name stand the kind of the section and its length in two bytes.
    bytes.truncate(place - 3);
    bytes
}

/// The hostile storage, which also starts so many instances of this module.
fn with_module(text: &str, instances: u32) -> Vec<u8> {
    let mut component = bare();
    let modules = wasmparser::Parser::new(0)
        .parse_all(&component)
        .scan(0_u32, |depth, payload| {
            match payload.as_ref().unwrap() {
                wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => {
                    *depth += 1;
                }
                wasmparser::Payload::End(_) => *depth = depth.saturating_sub(1),
                _ => {}
            }
            let module = matches!(payload, Ok(wasmparser::Payload::ModuleSection { .. }));
            Some(module && *depth == 1)
        })
        .filter(|outermost| *outermost)
        .count();
    let module = wat::parse_str(text).unwrap();
    component.push(ComponentSectionId::CoreModule.into());
    module.encode(&mut component);
    let mut section = wasm_encoder::InstanceSection::new();
    for _ in 0..instances {
        let none: [(&str, wasm_encoder::ModuleArg); 0] = [];
        section.instantiate(u32::try_from(modules).unwrap(), none);
    }
    component.push(ComponentSectionId::CoreInstance.into());
    section.encode(&mut component);
    packed(component, &manifest("1.0.0"))
}

#[track_caller]
fn starts_with(component: &[u8], message: &str) {
    let scene = Scene::beside(component);
    let error = scene.load_error();
    assert!(error.starts_with(message), "{error}");
    scene.unharmed();
}

/// What is added to the guest below is to blame, and not the way in which it is added.
#[test]
fn a_harmless_module_more_is_no_sin() {
    let scene = Scene::beside(&with_module("(module (func) (start 0))", 1));
    let plugin = scene
        .host
        .find(freezer_plugin::PluginKind::Storage, "foreign")
        .unwrap();
    scene.host.load(&plugin, &scene.run.run).unwrap();
    scene.unharmed();
}

#[test]
fn growing_a_table_without_end_is_stopped() {
    let grows = "(module (table 1 funcref)
        (func (loop (br_if 0 (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable)
        (start 0))";
    starts_with(
        &with_module(grows, 1),
        "plugin foreign was stopped in start: it needs tables of more than 20000 elements",
    );
}

#[test]
fn a_table_that_is_too_large_from_the_start_is_stopped() {
    starts_with(
        &with_module("(module (table 30000 funcref))", 1),
        "plugin foreign was stopped in start: it needs tables of more than 20000 elements",
    );
}

#[test]
fn memory_that_is_too_large_from_the_start_is_stopped() {
    starts_with(
        &with_module("(module (memory 1500))", 1),
        "plugin foreign was stopped in start: it needs more than 64 MiB of memory",
    );
}

#[test]
fn memories_that_are_too_large_together_are_stopped() {
    starts_with(
        &with_module("(module (memory 300))", 4),
        "plugin foreign was stopped in start: it needs more than 64 MiB of memory",
    );
}

#[test]
fn too_many_instances_are_stopped() {
    starts_with(&with_module("(module)", 31), "plugin foreign doesn't load: ");
}

#[test]
fn a_loop_at_the_start_is_stopped() {
    starts_with(
        &with_module("(module (func (loop (br 0))) (start 0))", 1),
        "plugin foreign was stopped in start: it computed for more than 10 s in one call",
    );
}

#[test]
fn a_recursion_at_the_start_is_stopped() {
    starts_with(
        &with_module("(module (func (call 0)) (start 0))", 1),
        "plugin foreign doesn't load: it ran out of stack",
    );
}

#[test]
fn an_unknown_interface_is_named() {
    let text = "(component (import \"freezer:plugin/kernel@1.0.0\" (instance (export \"f\" (func)))))";
    let component = packed(wat::parse_str(text).unwrap(), &manifest("1.0.0"));
    let scene = Scene::beside(&component);
    let error = scene.load_error();
    assert!(
        error.starts_with("plugin foreign doesn't load: ") && error.contains("freezer:plugin/kernel@1.0.0"),
        "{error}"
    );
    scene.unharmed();
}

/// It isn't read, so it costs no memory either.
#[test]
fn a_file_of_200_megabytes_is_no_plugin() {
    let scene = Scene::beside(b"");
    let path = scene.temp.path().join("foreign/foreign.wasm");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(200 << 20).unwrap();
    let found = scene.host.look_at(&path).unwrap();
    let expected = format!(
        "{} is no plugin: it has 209715200 bytes, at most 67108864 are allowed",
        path.display()
    );
    assert_eq!(found.result.unwrap_err().to_string(), expected);
    scene.unharmed();
}

/// Judged by its size before it is compiled: compiling takes time that grows faster than a function does.
#[test]
fn what_takes_minutes_to_compile_is_refused_at_once() {
    let body = "(drop (i32.const 1)) ".repeat(200_000);
    let component = with_module(&format!("(module (func {body}))"), 1);
    let scene = Scene::beside(&component);
    let started = Instant::now();
    let error = scene.load_error();
    assert!(error.contains("a function has "), "{error}");
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    scene.unharmed();
}

/// A newer minor version is judged by what it links to.
#[test]
fn a_plugin_of_a_newer_minor_contract_runs_if_it_finds_all_that_it_calls() {
    let scene = Scene::beside(&packed(bare(), &manifest("1.9.0")));
    let kind = freezer_plugin::PluginKind::Storage;
    let plugin = scene.host.find(kind, "foreign").unwrap();
    scene.host.load(&plugin, &scene.run.run).unwrap();
    scene.unharmed();
}

#[test]
fn a_plugin_of_a_newer_minor_contract_that_misses_something_is_told_both_versions() {
    let text = "(component (import \"freezer:plugin/kernel@1.9.0\" (instance (export \"f\" (func)))))";
    let component = packed(wat::parse_str(text).unwrap(), &manifest("1.9.0"));
    let scene = Scene::beside(&component);
    let error = scene.load_error();
    assert!(error.contains("freezer:plugin/kernel@1.9.0"), "{error}");
    let both = "it was built for plugin contract 1.9.0, this freezer speaks 1.0.0: install a newer freezer or an older build of it";
    assert!(error.ends_with(both), "{error}");
    scene.unharmed();
}

#[test]
fn a_plugin_that_imports_another_major_contract_is_told_both_versions() {
    let text = "(component (import \"freezer:plugin/types@2.0.0\" (instance)))";
    let component = packed(wat::parse_str(text).unwrap(), &manifest("1.0.0"));
    let scene = Scene::beside(&component);
    let error = scene.load_error();
    assert_eq!(
        error,
        "plugin foreign needs plugin contract 2.0.0, this freezer speaks 1.0.0: install a build of it for contract 1"
    );
    scene.unharmed();
}
