//! From a plugin's file to what can be started: compiled or taken from the cache, and linked here or handed to processes of
//! its own.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};

use wasmtime::component::Component;

use super::{Plugin, PluginHost, changed};
use crate::apart::{self, Code, Spawner};
use crate::cache;
use crate::calls::Exports;
use crate::compiler::{self, Compiler, Job};
use crate::contract;
use crate::discover;
use crate::engine::{self, EngineState};
use crate::error::PluginError;
use crate::manifest::PluginKind;
use crate::running::Program;

impl PluginHost {
    /// Whether a plugin runs in processes of its own: somebody asked for it, or a policy does.
    #[must_use]
    pub fn is_apart(&self, plugin: &Plugin) -> bool {
        self.config.isolation.covers(plugin.first_party)
            || self.policy.wants_apart(plugin.first_party).is_some()
    }

    pub(super) fn program<E: Exports>(
        &self,
        engine: &EngineState,
        plugin: &Plugin,
    ) -> Result<Program<E>, PluginError> {
        if self.is_apart(plugin) {
            return Ok(Program::Apart(Arc::new(self.apart(engine, plugin, E::KIND)?)));
        }
        let linked = engine.linker().instantiate_pre(&self.component(engine, plugin)?);
        let linked = linked.and_then(E::link);
        Ok(Program::Here(
            linked.map_err(|error| bad_component(plugin, &error))?,
        ))
    }

    /// What a process for this plugin is started with. Nothing of its code is loaded here.
    fn apart(
        &self,
        engine: &EngineState,
        plugin: &Plugin,
        kind: PluginKind,
    ) -> Result<apart::Program, PluginError> {
        let failed = |why: &dyn fmt::Display| PluginError::Engine {
            why: format!(
                "plugin {} can't have a process of its own: {why}",
                plugin.manifest.name
            ),
        };
        tracing::info!(plugin = plugin.manifest.name, "runs in processes of its own");
        let program = self.config.compiler.clone();
        let mut spawner = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
        let spawner = match &*spawner {
            Some(running) => Arc::clone(running),
            None => {
                let started = Spawner::start().map_err(|error| failed(&error))?;
                Arc::clone(spawner.insert(Arc::new(started)))
            }
        };
        Ok(apart::Program {
            program: program.ok_or_else(|| failed(&"this program has none for that"))?,
            kind,
            code: self.code(engine, plugin, |error| failed(&error))?,
            spawner,
            reservation_bytes: self.config.limits.largest_memory(),
            newer: contract::newer(&plugin.manifest.contract),
        })
    }

    /// The code of a plugin, for processes.
    fn code(
        &self,
        engine: &EngineState,
        plugin: &Plugin,
        failed: impl FnOnce(io::Error) -> PluginError,
    ) -> Result<Arc<Code>, PluginError> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = codes.get(&plugin.sha256) {
            return Ok(Arc::clone(code));
        }
        self.admit(plugin)?;
        let code = self.cache.code(engine.engine(), &plugin.sha256);
        let code = code.map_or_else(|| self.compile(engine, plugin), Ok)?;
        let code = Arc::new(Code::new(&code).map_err(failed)?);
        codes.insert(plugin.sha256.clone(), Arc::clone(&code));
        Ok(code)
    }

    fn component(&self, engine: &EngineState, plugin: &Plugin) -> Result<Component, PluginError> {
        // Held while it is compiled: nobody gains from compiling the same plugin twice at once.
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = components.get(&plugin.sha256) {
            return Ok(component.clone());
        }
        self.admit(plugin)?;
        let component = self.cache.get(engine.engine(), &plugin.sha256);
        let compiled = || {
            let code = self.compile(engine, plugin)?;
            cache::load(engine.engine(), &code).map_err(|error| bad_component(plugin, &error))
        };
        let component = component.map_or_else(compiled, Ok)?;
        components.insert(plugin.sha256.clone(), component.clone());
        Ok(component)
    }

    fn compile(&self, engine: &EngineState, plugin: &Plugin) -> Result<Vec<u8>, PluginError> {
        let (engine, name) = (engine.engine(), &plugin.manifest.name);
        let bytes = discover::read_component(&plugin.path)?;
        if discover::digest(&bytes) != plugin.sha256 {
            return Err(changed(name));
        }
        let job = Job {
            plugin: name,
            bytes: &bytes,
            limits: &self.limits(name),
        };
        let code = match plugin.first_party {
            true => compiler::here(engine, &job)?,
            false => self.compiler().compile(engine, &job)?,
        };
        self.cache.put(engine, &plugin.sha256, &code);
        Ok(code)
    }

    /// What compiles foreign plugins.
    pub(super) fn compiler(&self) -> Compiler {
        Compiler {
            program: self.config.compiler.clone(),
            reservation_bytes: self.config.limits.largest_memory(),
        }
    }
}

fn bad_component(plugin: &Plugin, error: &wasmtime::Error) -> PluginError {
    if let Some(error) = engine::without_memory(&plugin.manifest.name, error) {
        return error;
    }
    let (mut why, newer) = (engine::reason(error), contract::newer(&plugin.manifest.contract));
    if let Some(newer) = newer {
        why.push_str(&format!("; {newer}"));
    }
    PluginError::Load {
        plugin: plugin.manifest.name.clone(),
        why,
    }
}
