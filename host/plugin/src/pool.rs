//! Instances of one storage plugin, opened as they are needed.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use freezer_pipeline::store::Limits;
use wasmtime::component::Resource;

use crate::answers;
use crate::bindings::v1::imports::freezer::plugin::types;
use crate::bindings::v1::storage::StoragePlugin;
use crate::calls::{Call, storage};
use crate::convert;
use crate::engine::EngineState;
use crate::error::PluginError;
use crate::guest::{Cancelling, PluginContext};
use crate::interfaces::resources::{Body, Taken};
use crate::running::{Program, Running};

/// What opens instances.
pub(crate) struct Opener {
    pub(crate) engine: Arc<EngineState>,
    pub(crate) plugin: Program<StoragePlugin>,
    pub(crate) context: Arc<PluginContext>,
    pub(crate) settings: Vec<types::Setting>,
}

/// One instance with its opened store.
pub(crate) struct Instance {
    guest: Running<StoragePlugin>,
    name: String,
}

/// Some instances, at most as many as the storage can use at once.
pub(crate) struct Pool {
    opener: Opener,
    most: u32,
    state: Mutex<PoolState>,
    returned: Condvar,
}

struct PoolState {
    idle: Vec<Instance>,
    /// Idle and busy ones.
    alive: u32,
}

impl Pool {
    /// A pool of one: the first instance is opened here, and shows whether the plugin works at all.
    pub(crate) fn new(opener: Opener) -> Result<Self, PluginError> {
        let first = opener.open()?;
        let state = Mutex::new(PoolState {
            idle: vec![first],
            alive: 1,
        });
        Ok(Self {
            opener,
            most: 1,
            state,
            returned: Condvar::new(),
        })
    }

    pub(crate) fn context(&self) -> &PluginContext {
        &self.opener.context
    }

    /// What the storage says that it can take, checked.
    pub(crate) fn limits(&self) -> Result<Limits, PluginError> {
        self.with(|instance| {
            let limits = instance.call("limits", Cancelling::Masked, storage::Limits {})?;
            answers::limits(&limits).map_err(|why| instance.broken("limits", why))
        })
    }

    /// Allows more instances.
    pub(crate) fn grow_to(&mut self, most: u32) {
        self.most = most.max(1);
    }

    /// Lends an instance to one call. It is not used again if the call broke it.
    pub(crate) fn with<T>(
        &self,
        call: impl FnOnce(&mut Instance) -> Result<T, PluginError>,
    ) -> Result<T, PluginError> {
        let mut lease = Lease {
            pool: self,
            instance: Some(self.take()?),
        };
        let instance = lease
            .instance
            .as_mut()
            .expect("a lease holds its instance until it is dropped");
        let result = call(instance);
        if result.as_ref().is_err_and(PluginError::is_fatal) {
            lease.instance = None;
        }
        result
    }

    fn take(&self) -> Result<Instance, PluginError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(instance) = state.idle.pop() {
                return Ok(instance);
            }
            if state.alive < self.most {
                break;
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.alive += 1;
        drop(state);
        self.opener.open().inspect_err(|_| self.give_back(None))
    }

    fn give_back(&self, instance: Option<Instance>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match instance {
            Some(instance) => state.idle.push(instance),
            None => state.alive = state.alive.saturating_sub(1),
        }
        self.returned.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.context().run.is_trial() {
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            state.idle.drain(..).for_each(Instance::close);
        }
    }
}

/// Returns an instance to its pool, also if the call panics.
struct Lease<'a> {
    pool: &'a Pool,
    instance: Option<Instance>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pool.give_back(self.instance.take());
    }
}

impl Opener {
    fn open(&self) -> Result<Instance, PluginError> {
        let mut guest = self.plugin.start(&self.engine, &self.context)?;
        let open = storage::Open {
            settings: &self.settings,
        };
        let opened = guest.call("open", (Cancelling::Masked, None), open)?;
        let name = self.context.name.clone();
        opened.map_err(|error| convert::reported(&name, "open", &error))?;
        Ok(Instance { guest, name })
    }
}

impl Instance {
    /// Calls into the opened store.
    pub(crate) fn call<C: Call<StoragePlugin>>(
        &mut self,
        name: &'static str,
        cancelling: Cancelling,
        call: C,
    ) -> Result<C::Answer, PluginError> {
        self.guest.call(name, (cancelling, None), call)
    }

    /// Drops the opened store as the contract has it, which closes what that holds. Elsewhere than in a trial all of it goes
    /// with the instance.
    fn close(mut self) {
        let dropped = self
            .guest
            .call("drop", (Cancelling::Masked, None), storage::Close {});
        if let Err(error) = dropped {
            tracing::debug!(%error, "when the store was dropped");
        }
        self.guest.state().ended();
    }

    /// Believes an answer only after a check.
    pub(crate) fn checked<A, T>(
        &self,
        call: &'static str,
        answer: Result<A, types::Error>,
        check: impl FnOnce(A) -> Result<T, String>,
    ) -> Result<Result<T, types::Error>, PluginError> {
        match answer {
            Ok(answer) => check(answer).map(Ok).map_err(|why| self.broken(call, why)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Says that the guest broke the contract.
    pub(crate) fn broken(&self, call: &'static str, why: String) -> PluginError {
        PluginError::Broken {
            plugin: self.name.clone(),
            call,
            why,
        }
    }

    /// Puts a body where the guest can be lent it.
    pub(crate) fn push_body(&mut self, body: Body) -> Result<Resource<Body>, PluginError> {
        let pushed = self.guest.state().table.push(body);
        pushed.map_err(|error| self.broken("put", format!("its handles are used up: {error}")))
    }

    /// Takes a lent body back.
    pub(crate) fn drop_body(&mut self, body: Resource<Body>) -> Result<(), PluginError> {
        let deleted = self.guest.state().table.delete(body).map(drop);
        deleted.map_err(|error| self.broken("put", format!("it kept a body that was lent: {error}")))
    }

    /// The bytes of a body that the guest handed over.
    pub(crate) fn take_body(
        &mut self,
        call: &'static str,
        body: Resource<Body>,
    ) -> Result<(Taken, Option<u64>), PluginError> {
        let body = self.guest.state().table.delete(body);
        let body = body.map_err(|error| self.broken(call, format!("it answered no body: {error}")))?;
        let size = body.size();
        let taken = body
            .take()
            .ok_or_else(|| self.broken(call, "it answered a stream that was used before".to_owned()))?;
        Ok((taken, size))
    }
}
