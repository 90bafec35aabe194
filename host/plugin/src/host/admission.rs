//! Who is let in: components on their way into a plugin directory, and those that are about to be loaded.

use std::sync::Arc;

use serde_json::json;

use super::{Plugin, PluginHost};
use crate::audit::AuditLog;
use crate::bindings::v1::mode::ModePluginPre;
use crate::bindings::v1::storage::StoragePluginPre;
use crate::cache;
use crate::compiler::Job;
use crate::discover::{self, Discovered};
use crate::error::PluginError;
use crate::grants::admission::{self, Candidate, Inadmissible, InstallAsk, Judges, Standing};
use crate::grants::{self, Grant};
use crate::manifest::PluginKind;
use crate::pack::PackedPlugin;
use crate::policy::{Policy, RuleLine};
use crate::trust::TrustStore;

impl PluginHost {
    /// What is trusted and revoked.
    #[must_use]
    pub fn trust(&self) -> &TrustStore {
        &self.trust
    }

    /// What is forbidden.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Where decisions are written down.
    #[must_use]
    pub fn audit(&self) -> Option<&Arc<AuditLog>> {
        self.audit.as_ref()
    }

    /// Judges whether a plugin may be installed, and answers who vouches for it.
    ///
    /// # Errors
    /// [`PluginError::NotLetIn`].
    pub fn judge_install(&self, packed: &PackedPlugin, ask: &InstallAsk) -> Result<Standing, PluginError> {
        let manifest = packed.manifest();
        let taken = |found: &Discovered| {
            let theirs = found.result.as_ref().ok().filter(|_| found.first_party);
            theirs.is_some_and(|theirs| discover::shared_claim(manifest, theirs).is_some())
        };
        let judged = match discover::is_pinned_name(&manifest.name) || self.found().iter().any(taken) {
            true => Err(Inadmissible::TakenName),
            false => self.judges().install(
                &Candidate {
                    plugin: &manifest.name,
                    sha256: packed.sha256(),
                    bytes: packed.bytes(),
                    signature: packed.signature(),
                },
                ask,
            ),
        };
        judged.map_err(|why| self.not_let_in("install", (&manifest.name, packed.sha256()), why))
    }

    /// Judges whether a version may take the place of the one that is installed.
    ///
    /// # Errors
    /// [`PluginError::NotLetIn`] for an older one, unless `downgrade`.
    pub fn judge_version(
        &self,
        packed: &PackedPlugin,
        installed: &str,
        downgrade: bool,
    ) -> Result<(), PluginError> {
        let manifest = packed.manifest();
        admission::replace(installed, &manifest.version, downgrade)
            .map_err(|why| self.not_let_in("update", (&manifest.name, packed.sha256()), why))
    }

    /// Who vouches for a plugin that was found; `None` for one that was built together with this program.
    ///
    /// # Errors
    /// Why it isn't loaded: [`PluginError::NotLetIn`], or its file can't be read.
    pub fn standing(&self, found: &Discovered) -> Result<Option<Standing>, PluginError> {
        let Ok(manifest) = &found.result else {
            return Ok(None);
        };
        let plugin = Plugin::new(found, manifest);
        self.judge(&plugin)
            .map_err(|error| match error {
                Judged::NotLetIn(why) => PluginError::NotLetIn {
                    plugin: manifest.name.clone(),
                    why,
                },
                Judged::Unreadable(error) => error,
            })
            .map(|standing| Some(standing).filter(|_| !found.first_party))
    }

    /// The line of a policy that forbids a grant to a plugin, as far as the grant itself tells: a hole may be filled with
    /// anything.
    #[must_use]
    pub fn forbids(&self, grant: &Grant, first_party: bool) -> Option<RuleLine> {
        grants::forbids(&grants::rules(&self.policy, first_party), grant)
    }

    /// Compiles and links a component without running any of it, so that one that can't work is never installed.
    ///
    /// # Errors
    /// [`PluginError::Load`].
    pub fn check_links(&self, packed: &PackedPlugin) -> Result<(), PluginError> {
        let (engine, name) = (self.engine()?, &packed.manifest().name);
        let why = |error: &wasmtime::Error| PluginError::Load {
            plugin: name.clone(),
            why: crate::engine::reason(error),
        };
        let job = Job {
            plugin: name,
            bytes: packed.bytes(),
            limits: &self.limits(name),
        };
        let code = self.compiler().compile(engine.engine(), &job)?;
        let component = cache::load(engine.engine(), &code).map_err(|error| why(&error))?;
        let linked = engine.linker().instantiate_pre(&component);
        let checked = match packed.manifest().kind {
            PluginKind::Mode => linked.and_then(ModePluginPre::new).map(drop),
            PluginKind::Storage => linked.and_then(StoragePluginPre::new).map(drop),
        };
        checked.map_err(|error| why(&error))?;
        self.cache.put(engine.engine(), packed.sha256(), &code);
        Ok(())
    }

    /// Lets a component in that is about to be loaded.
    pub(super) fn admit(&self, plugin: &Plugin) -> Result<(), PluginError> {
        match self.judge(plugin) {
            Ok(_) => Ok(()),
            Err(Judged::Unreadable(error)) => Err(error),
            Err(Judged::NotLetIn(why)) => {
                Err(self.not_let_in("load", (&plugin.manifest.name, &plugin.sha256), why))
            }
        }
    }

    fn judge(&self, plugin: &Plugin) -> Result<Standing, Judged> {
        if plugin.first_party {
            // Its digest is pinned, which says more than a signature.
            return Ok(Standing::Unsigned);
        }
        // Only a signature needs the bytes.
        let bytes = match &plugin.signature {
            None => Vec::new(),
            Some(_) => {
                let bytes = discover::read_component(&plugin.path).map_err(Judged::Unreadable)?;
                if discover::digest(&bytes) != plugin.sha256 {
                    return Err(Judged::Unreadable(super::changed(&plugin.manifest.name)));
                }
                bytes
            }
        };
        let candidate = Candidate {
            plugin: &plugin.manifest.name,
            sha256: &plugin.sha256,
            bytes: &bytes,
            signature: plugin.signature.as_ref(),
        };
        self.judges().load(&candidate).map_err(Judged::NotLetIn)
    }

    fn judges(&self) -> Judges<'_> {
        Judges {
            trust: &self.trust,
            policy: &self.policy,
        }
    }

    fn not_let_in(&self, event: &str, (plugin, sha256): (&str, &str), why: Inadmissible) -> PluginError {
        if let Some(audit) = &self.audit {
            let fields = json!({
                "plugin": plugin,
                "sha256": sha256,
                "outcome": "refused",
                "why": why.to_string(),
            });
            audit.event(event, fields);
        }
        PluginError::NotLetIn {
            plugin: plugin.to_owned(),
            why,
        }
    }
}

/// Why a component isn't loaded.
enum Judged {
    NotLetIn(Inadmissible),
    Unreadable(PluginError),
}
