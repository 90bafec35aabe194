//! Components of strangers are compiled by a process that can do nothing but that, and not for long: looked at from outside.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use freezer_format::component::with_plugin_manifest;
use freezer_plugin::{HostConfig, PluginError, PluginHost, PluginKind, Run, RunConfig};
use freezer_tests::{Finished, Random, Running, Sandbox, freezer_binary, process_status, workspace, write};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use wasm_encoder::{
    CodeSection, Component, Function, FunctionSection, Module, ModuleSection, TypeSection, ValType,
};

/// What the engine reserves for a linear memory, by default.
const RESERVATION: &str = "67108864";

/// A component with so many functions, each nearly as large as one may be.
fn component(functions: u32) -> Vec<u8> {
    let (mut types, mut declared, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([ValType::I64], [ValType::I64]);
    for number in 0..functions {
        declared.function(0);
        let mut function = Function::new([(1, ValType::I64)]);
        let mut body = function.instructions();
        for step in 0..18_000 {
            body.local_get(1).local_get(0).i64_const((number + step).into());
            body.i64_mul().i64_xor().local_set(1);
        }
        body.local_get(1).end();
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

/// A mode of a stranger, installed by hand, that takes long to compile.
fn slow(sandbox: &Sandbox, functions: u32) -> PathBuf {
    let manifest = "name = \"slow\"\nkind = \"mode\"\nversion = \"1.0.0\"\ncontract = \"1.0.0\"\nlicense = \"MIT\"\ndescription = \"d\"\n";
    let bytes = with_plugin_manifest(&component(functions), manifest.as_bytes()).expect("a component");
    let path = sandbox.path("plugins/slow.wasm");
    write(&path, &bytes);
    path
}

/// A backup by that mode, with a line of `[limits.slow]`.
fn backup(sandbox: &Sandbox, limit: &str) -> Running {
    write(&sandbox.path("source/f"), b"x");
    write(
        &sandbox.path("freezer.toml"),
        format!("[limits.slow]\n{limit}\n").as_bytes(),
    );
    let plugins = sandbox.path("plugins");
    let (plugins, config) = (plugins.display().to_string(), sandbox.path("freezer.toml"));
    let config = config.display().to_string();
    sandbox
        .backup_command(&["--mode", "slow", "--plugins-dir", &plugins, "--config", &config])
        .env("CANARY", "sings")
        .start()
}

/// Nothing was stored, and nothing was kept of the component.
fn refused(sandbox: &Sandbox, finished: Finished, limit: &str, key: &str) {
    finished
        .expect(1)
        .says(&format!("plugin slow was stopped in compile: {limit}"))
        .says(&format!("raise {key} in [limits.slow] of the configuration file"));
    assert_eq!(freezer_tests::backups(&sandbox.store(), "h_t").len(), 0);
}

#[test]
fn a_component_that_takes_too_long_to_compile_is_refused() {
    let sandbox = Sandbox::new().with_own_cache();
    slow(&sandbox, 60);
    let finished = backup(&sandbox, "compile-seconds = 1").wait();
    refused(
        &sandbox,
        finished,
        "compiling it takes more than 1 s",
        "compile-seconds",
    );
}

#[test]
fn a_component_that_takes_too_much_memory_to_compile_is_refused() {
    let sandbox = Sandbox::new().with_own_cache();
    slow(&sandbox, 60);
    let finished = backup(&sandbox, "compile-memory-bytes = 268435456").wait();
    refused(
        &sandbox,
        finished,
        "compiling it needs more than 256 MiB of memory",
        "compile-memory-bytes",
    );
}

#[test]
fn a_component_that_compiles_is_judged_as_before() {
    let sandbox = Sandbox::new().with_own_cache();
    slow(&sandbox, 1);
    let finished = backup(&sandbox, "").wait();
    // It was compiled, and found to be no mode.
    finished
        .expect(1)
        .says("plugin slow doesn't load: no exported instance named");
    let kept = fs::read_dir(sandbox.path("home/.cache/freezer/plugins")).expect("the cache");
    let kept = kept
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "cwasm"));
    // That of the storage, and this one.
    assert_eq!(kept.count(), 2);
}

/// What became of a component.
#[derive(Debug, Default)]
struct Fates {
    refused: u32,
    failed: u32,
    answered: u32,
}

/// Compiles a component in the confined process, and asks what comes of it something.
fn fate_of(host: &PluginHost, fates: &mut Fates) -> Result<(), PluginError> {
    let run = Run::new(RunConfig::quiet());
    let plugin = match host.find(PluginKind::Storage, "hostile") {
        Ok(plugin) => plugin,
        // It isn't even read as a component.
        Err(PluginError::Unknown { .. }) => {
            fates.refused += 1;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if let Err(error) = host.load(&plugin, &run) {
        fates.refused += 1;
        return Err(error);
    }
    let settings = plugin.manifest().settings_from_url("hostile:x")?;
    let store = host
        .open_storage(&plugin, settings, &run)
        .inspect_err(|_| fates.failed += 1)?;
    match store.stat("fine") {
        Ok(_) => fates.answered += 1,
        Err(_) => fates.failed += 1,
    }
    assert!(run.release_all().is_empty());
    Ok(())
}

#[test]
fn a_real_component_with_changed_bytes_is_refused_or_runs_and_harms_nobody() {
    let good = fs::read(workspace().join("target/guests/storage.wasm")).expect("plugins/build.sh guests");
    let (mut random, mut fates) = (Random::new(6), Fates::default());
    // As many as it takes to see both: which bytes matter changes with each build of the guest.
    for case in 0..100 {
        if case >= 20 && fates.refused > 2 && fates.answered > 2 {
            break;
        }
        let sandbox = Sandbox::new().with_own_cache();
        let mut bytes = good.clone();
        let mut changes = Vec::new();
        for _ in 0..=random.below(3) {
            let place = random.below(bytes.len());
            bytes[place] = u8::try_from(random.below(256)).unwrap_or(0);
            changes.push((place, bytes[place]));
        }
        write(&sandbox.path("plugins/storage.wasm"), &bytes);
        let host = PluginHost::new(HostConfig {
            plugin_dirs: vec![sandbox.path("plugins")],
            compiler: Some(freezer_binary()),
            ..HostConfig::default()
        })
        .expect("a host");
        if let Err(error) = fate_of(&host, &mut fates) {
            let text = error.to_string();
            assert!(
                !text.contains(char::is_control),
                "case {case}, {changes:?}: {text:?}"
            );
            // Whatever was changed, the compiler itself doesn't crash.
            assert!(
                !text.contains("the compiler crashed"),
                "case {case}, {changes:?}: {text}"
            );
        }
    }
    assert!(fates.refused > 2 && fates.answered > 2, "{fates:?}");
}

/// The one child of a process, as soon as there is one.
fn child_of(running: &mut Running) -> String {
    let children = format!("/proc/{0}/task/{0}/children", running.id());
    let mut child = String::new();
    assert!(running.until(|| {
        let read = fs::read_to_string(&children).unwrap_or_default();
        read.trim().clone_into(&mut child);
        !child.is_empty() && process_status(&child, "Seccomp") == "2"
    }));
    child
}

/// What a process has open, by number.
fn open(process: &str) -> Vec<String> {
    let numbers = fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors");
    let mut numbers: Vec<String> = numbers
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    numbers.sort();
    numbers
}

#[test]
fn the_compiler_of_a_run_sees_nothing_of_it_and_ends_with_it() {
    let sandbox = Sandbox::new().with_own_cache();
    slow(&sandbox, 200);
    let mut running = backup(&sandbox, "");
    let child = child_of(&mut running);
    let environment = fs::read_to_string(format!("/proc/{child}/environ")).expect("its environment");
    let names: Vec<&str> = environment
        .split_terminator('\0')
        .filter_map(|variable| variable.split('=').next())
        .collect();
    assert_eq!(names, ["MALLOC_ARENA_MAX", "RAYON_NUM_THREADS"]);
    assert_eq!(
        fs::read_link(format!("/proc/{child}/cwd")).expect("its directory"),
        Path::new("/")
    );
    assert_eq!(open(&child), ["0", "1", "2"]);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().signal, Some(9));
    let begun = Instant::now();
    while !["", "Z (zombie)"].contains(&process_status(&child, "State").as_str()) {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it goes on: {}",
            process_status(&child, "State")
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A compiler that waits for its component.
struct Compiler(Child);

impl Compiler {
    fn start() -> Self {
        let child = Command::new(freezer_binary())
            .args(["compile-component", RESERVATION, "1073741824", "7"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let compiler = Self(child.expect("the compiler"));
        let begun = Instant::now();
        while process_status(&compiler.process(), "Seccomp") != "2" {
            assert!(begun.elapsed() < Duration::from_secs(10), "it isn't confined");
            std::thread::sleep(Duration::from_millis(1));
        }
        compiler
    }

    fn process(&self) -> String {
        self.0.id().to_string()
    }

    fn answer(mut self, component: &[u8]) -> Vec<u8> {
        let mut input = self.0.stdin.take().expect("its input");
        input.write_all(component).expect("it reads");
        drop(input);
        let mut answer = Vec::new();
        self.0
            .stdout
            .take()
            .expect("its output")
            .read_to_end(&mut answer)
            .expect("its answer");
        assert!(self.0.wait().expect("its end").success());
        answer
    }
}

#[test]
fn a_compiler_is_confined_before_it_reads() {
    let sandbox = Sandbox::new().with_own_cache();
    // Left open by mistake, as shells and services do.
    let leaked = fs::File::create(sandbox.path("leaked")).expect("a file");
    fcntl_setfd(&leaked, FdFlags::empty()).expect("it is inherited");
    let compiler = Compiler::start();
    let process = compiler.process();
    assert_eq!(process_status(&process, "NoNewPrivs"), "1");
    assert_eq!(open(&process), ["0", "1", "2"]);
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("its limits");
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(limit("Max address space"), "1073741824");
    assert_eq!(limit("Max cpu time"), "7");
    assert_eq!(limit("Max file size"), "0");
    assert_eq!(limit("Max open files"), "3");
    assert_eq!(limit("Max core file size"), "0");
    let answer = compiler.answer(&component(2));
    assert!(
        answer[0] == 0 && answer[1..].starts_with(b"\x7fELF"),
        "{:?}",
        &answer[..5]
    );
    let answer = Compiler::start().answer(b"\0asm nonsense");
    assert_eq!(answer[0], 1, "{}", String::from_utf8_lossy(&answer));
}
