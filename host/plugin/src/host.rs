//! The plugin host: the one door through which the agent finds plugins and puts them to work.
//!
//! Making one costs next to nothing. The engine, its threads and the compiled plugins come into being when the first
//! plugin is loaded, so that `freezer --version` and `--help` never pay for them.

mod admission;
mod config;
mod leftovers;
mod programs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use freezer_io::http::Client as HttpClient;
use freezer_pipeline::store::Store;
use wasmtime::component::Component;
use zeroize::Zeroizing;

use crate::apart::{Code, Spawner};
use crate::audit::AuditLog;
use crate::bindings::v1::mode::ModePlugin;
use crate::bindings::v1::storage::StoragePlugin;
use crate::cache::Cache;
use crate::convert;
use crate::discover::{self, Discovered};
use crate::engine::EngineState;
use crate::error::PluginError;
use crate::facts::KnownFiles;
use crate::grant_file::OperatorGrants;
use crate::grants::{self, GrantSet, Grants};
use crate::guest::PluginContext;
use crate::interfaces::tcp::Seats;
use crate::journal::RunJournal;
use crate::limits::PluginLimits;
use crate::log_gate::LogGate;
use crate::manifest::{PluginKind, PluginManifest};
use crate::mode::{BackupRequest, ModeBackup, ModeOpener, ModeRestore, RestoreRequest};
use crate::pace::Pace;
use crate::policy::Policy;
use crate::pool::{Opener, Pool};
use crate::run::Run;
use crate::settings::Settings;
use crate::signature::Signature;
use crate::storage::PluginStore;
use crate::trust::TrustStore;

pub use config::{HostConfig, Isolation, SshSurroundings, StorageRequest};
pub use leftovers::LeftoverReport;

/// A plugin that was found and may be used.
#[derive(Debug, Clone)]
pub struct Plugin {
    manifest: Arc<PluginManifest>,
    path: PathBuf,
    sha256: String,
    first_party: bool,
    signature: Option<Signature>,
}

impl Plugin {
    fn new(found: &Discovered, manifest: &PluginManifest) -> Self {
        Self {
            manifest: Arc::new(manifest.clone()),
            path: found.path.clone(),
            sha256: found.sha256.clone(),
            first_party: found.first_party,
            signature: found.signature.clone(),
        }
    }

    /// A plugin that was found, if it can be used.
    #[must_use]
    pub fn of(found: &Discovered) -> Option<Self> {
        Some(Self::new(found, found.result.as_ref().ok()?))
    }

    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> &PluginManifest {
        &self.manifest
    }

    /// The component's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of the component, in hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether this binary was built together with it.
    #[must_use]
    pub fn is_first_party(&self) -> bool {
        self.first_party
    }
}

/// Finds, checks, loads and runs plugins.
pub struct PluginHost {
    config: HostConfig,
    operator_grants: OperatorGrants,
    policy: Policy,
    trust: TrustStore,
    audit: Option<Arc<AuditLog>>,
    cache: Cache,
    found: OnceLock<Vec<Discovered>>,
    engine: Mutex<Option<Arc<EngineState>>>,
    /// What was compiled or loaded by this host, by digest: a run may open one storage several times.
    components: Mutex<BTreeMap<String, Component>>,
    /// The code of those that run in processes of their own.
    codes: Mutex<BTreeMap<String, Arc<Code>>>,
    /// What starts these processes.
    spawner: Mutex<Option<Arc<Spawner>>>,
}

impl PluginHost {
    /// Makes a host. Only what is granted, forbidden and trusted is read; nothing is started.
    ///
    /// # Errors
    /// [`PluginError::Grants`], [`PluginError::Policy`] or [`PluginError::Trust`] if such a file is there but can't be used.
    pub fn new(config: HostConfig) -> Result<Self, PluginError> {
        Ok(Self {
            operator_grants: OperatorGrants::read(&config.grant_files)?,
            policy: Policy::read(&config.policy_files)?,
            trust: TrustStore::read(&config.trust_files)?,
            audit: config.audit.clone().map(|audit| Arc::new(AuditLog::new(audit))),
            cache: Cache::new(config.cache_dir.as_deref()),
            found: OnceLock::new(),
            engine: Mutex::new(None),
            components: Mutex::default(),
            codes: Mutex::default(),
            spawner: Mutex::new(None),
            config,
        })
    }

    /// Looks at every plugin file. A bad one is reported for itself and never hides the others.
    #[must_use]
    pub fn discover(&self) -> Vec<Discovered> {
        discover::discover(&self.config.plugin_dirs, None)
    }

    /// Looks at the plugin file at exactly this place; `None` if there is none.
    #[must_use]
    pub fn look_at(&self, path: &Path) -> Option<Discovered> {
        path.symlink_metadata()
            .ok()
            .map(|_| discover::examine(path, None))
    }

    /// What [`PluginHost::discover`] finds, looked for once per host. Files that are as an earlier run saw them aren't read
    /// again.
    #[must_use]
    pub fn found(&self) -> &[Discovered] {
        self.found.get_or_init(|| {
            let known = KnownFiles::load(&self.cache);
            let found = discover::discover(&self.config.plugin_dirs, Some(&known));
            known.save();
            found
        })
    }

    /// What a user should know of other files that bear the name of a plugin in use: one line for each that is passed
    /// over, because it is broken or comes later.
    #[must_use]
    pub fn passed_over(&self, plugin: &Plugin) -> Vec<String> {
        let (name, by) = (&plugin.manifest.name, plugin.path.display());
        let others = self.found().iter().filter(|other| other.path != plugin.path);
        let posing = (!plugin.first_party && discover::is_pinned_name(name))
            .then(|| format!("{by} isn't the plugin {name} that was built together with this program"));
        let passed_over = others
            .filter_map(|other| {
                let path = other.path.display();
                match &other.result {
                    Ok(manifest) if plugin.first_party && !other.first_party => {
                        let claim = discover::shared_claim(manifest, &plugin.manifest)?;
                        Some(format!(
                            "{path} isn't used: {claim} belongs to {by}, which was built together with this program"
                        ))
                    }
                    Ok(manifest) if manifest.name == *name => Some(format!(
                        "two plugins are named {name}: {by} is used, {path} is not"
                    )),
                    Err(error) if other.claims(name) => {
                        Some(format!("{by} is used, since {path} can't be: {error}"))
                    }
                    _ => None,
                }
            });
        posing.into_iter().chain(passed_over).collect()
    }

    /// Finds a plugin by its name or, for a storage, by a URL scheme that it serves; a name counts for more.
    ///
    /// # Errors
    /// [`PluginError::Ambiguous`] if several serve the scheme.
    /// [`PluginError::Unknown`] lists what is there; a plugin that was found but can't be used gives its own error.
    pub fn find(&self, kind: PluginKind, name_or_scheme: &str) -> Result<Plugin, PluginError> {
        let usable = self.found().iter().filter(|found| found.shadowed_by.is_none());
        let (mut available, mut serving) = (Vec::new(), Vec::new());
        for found in usable {
            let Ok(manifest) = &found.result else { continue };
            if manifest.kind != kind {
                continue;
            }
            if manifest.name == name_or_scheme {
                return Ok(Plugin::new(found, manifest));
            }
            if manifest.schemes.iter().any(|scheme| scheme == name_or_scheme) {
                serving.push((found, manifest));
            }
            available.extend(
                manifest
                    .schemes
                    .iter()
                    .filter(|scheme| **scheme != manifest.name)
                    .cloned(),
            );
            available.push(manifest.name.clone());
        }
        match serving.as_slice() {
            [] => self.explain_missing(kind, name_or_scheme, available),
            [(found, manifest)] => Ok(Plugin::new(found, manifest)),
            [(one, first), (other, second), ..] => Err(PluginError::Ambiguous {
                scheme: name_or_scheme.to_owned(),
                names: [first.name.clone(), second.name.clone()],
                files: [one.path.clone(), other.path.clone()],
            }),
        }
    }

    /// Why there is no such plugin: its file is bad, or it isn't there.
    fn explain_missing(
        &self,
        kind: PluginKind,
        wanted: &str,
        mut available: Vec<String>,
    ) -> Result<Plugin, PluginError> {
        let bad = self
            .found()
            .iter()
            .filter(|found| found.result.is_err())
            .find(|found| found.claims(wanted));
        if let Some(bad) = bad {
            // Looked at again, since an error can't be copied. It may have been mended meanwhile.
            let again = discover::examine(&bad.path, None);
            let Discovered {
                result: Err(error), ..
            } = again
            else {
                return Err(changed(wanted));
            };
            return Err(error);
        }
        available.sort();
        available.dedup();
        let near = |name: &&String| strsim::jaro_winkler(name, wanted) > 0.7;
        let score = |name: &&String| (strsim::jaro_winkler(name, wanted) * 1000.0) as u32;
        let nearest = available.iter().filter(near).max_by_key(score).cloned();
        Err(PluginError::Unknown {
            kind,
            wanted: wanted.to_owned(),
            available,
            nearest,
        })
    }

    /// The ceilings under which a plugin of this name runs.
    #[must_use]
    pub fn limits(&self, plugin: &str) -> PluginLimits {
        self.config.limits.of(plugin)
    }

    /// What a plugin is granted: what it asks for if this binary was built with it, else what operators granted to its digest.
    #[must_use]
    pub fn granted(&self, plugin: &Plugin) -> GrantSet {
        let mut granted = self.operator_grants.of(&plugin.manifest.name, &plugin.sha256);
        if plugin.first_party {
            granted.extend(plugin.manifest.grants.clone());
        }
        granted
    }

    /// The directories that settings of a run name and in which the plugin may write: where a storage on this machine
    /// keeps its objects.
    #[must_use]
    pub fn own_directories(&self, plugin: &Plugin, settings: &Settings) -> Vec<PathBuf> {
        self.granted(plugin).own_directories(settings)
    }

    /// Compiles and links a plugin and starts one instance for a trial, which shows exports of wrong types.
    ///
    /// # Errors
    /// Why it doesn't load.
    pub fn load(&self, plugin: &Plugin, run: &Arc<Run>) -> Result<(), PluginError> {
        let (engine, context) = (self.engine()?, self.context(plugin, &Settings::new(), run));
        match plugin.manifest.kind {
            PluginKind::Storage => self
                .program::<StoragePlugin>(&engine, plugin)?
                .start(&engine, &context)
                .map(drop),
            PluginKind::Mode => self
                .program::<ModePlugin>(&engine, plugin)?
                .start(&engine, &context)
                .map(drop),
        }
    }

    /// Loads a storage and opens it with these settings; they are checked and completed first.
    ///
    /// # Errors
    /// Why the settings, the component or its `open` failed.
    pub fn open_storage(
        &self,
        plugin: &Plugin,
        request: impl Into<StorageRequest>,
        run: &Arc<Run>,
    ) -> Result<Arc<dyn Store>, PluginError> {
        let StorageRequest { settings, uploads } = request.into();
        let settings = plugin.manifest.complete(settings)?;
        let engine = self.engine()?;
        let opener = Opener {
            plugin: self.program(&engine, plugin)?,
            engine,
            context: self.context(plugin, &settings, run),
            settings: convert::settings(&plugin.manifest, &settings),
        };
        let url = settings.url().unwrap_or(&plugin.manifest.name).to_owned();
        Ok(Arc::new(PluginStore::open(Pool::new(opener)?, url, uploads)?))
    }

    /// Loads a mode and lets it freeze what must be frozen. On an error nothing stays frozen.
    ///
    /// # Errors
    /// Why the settings, the component or its `prepare-backup` failed.
    pub fn prepare_backup(
        &self,
        plugin: &Plugin,
        mut request: BackupRequest,
        run: &Arc<Run>,
    ) -> Result<ModeBackup, PluginError> {
        let settings = plugin.manifest.complete(std::mem::take(&mut request.settings))?;
        ModeBackup::prepare(self.mode_opener(plugin, &settings, run)?, request)
    }

    /// Loads a mode and prepares a restore.
    ///
    /// # Errors
    /// Why the settings, the component or its `prepare-restore` failed.
    pub fn prepare_restore(
        &self,
        plugin: &Plugin,
        mut request: RestoreRequest,
        run: &Arc<Run>,
    ) -> Result<ModeRestore, PluginError> {
        let settings = plugin.manifest.complete(std::mem::take(&mut request.settings))?;
        ModeRestore::prepare(self.mode_opener(plugin, &settings, run)?, request)
    }

    fn mode_opener(
        &self,
        plugin: &Plugin,
        settings: &Settings,
        run: &Arc<Run>,
    ) -> Result<ModeOpener, PluginError> {
        let engine = self.engine()?;
        Ok(ModeOpener {
            plugin: self.program(&engine, plugin)?,
            engine,
            context: self.context(plugin, settings, run),
            settings: convert::settings(&plugin.manifest, settings),
        })
    }

    fn context(&self, plugin: &Plugin, settings: &Settings, run: &Arc<Run>) -> Arc<PluginContext> {
        let manifest = &plugin.manifest;
        let limits = self.limits(&manifest.name);
        let declared = manifest.settings.iter().filter(|setting| setting.secret);
        let secret = |name: &str| settings.get(name).map(|value| Zeroizing::new(value.to_string()));
        let secrets = declared
            .map(|setting| (setting.name.clone(), secret(&setting.name)))
            .collect();
        let meter = run.meter(&manifest.name, &plugin.sha256);
        let journal = self.config.state_dir.as_deref().map(|state_dir| {
            let settings = manifest.without_secrets(settings);
            RunJournal::new(state_dir, &manifest.name, &plugin.sha256, settings)
        });
        let grants = Grants::new(&manifest.name, &plugin.sha256, &self.granted(plugin), settings)
            .under(grants::rules(&self.policy, plugin.first_party))
            .noted_in(self.audit.clone());
        Arc::new(PluginContext {
            name: manifest.name.clone(),
            run: Arc::clone(run),
            http: HttpClient::new(Arc::new(grants.clone()), run.bandwidth().clone()),
            grants,
            secrets,
            files: manifest.files(settings),
            flags: manifest.flags(settings),
            ssh: self.config.ssh.clone(),
            connections: Seats::default(),
            log: LogGate::new(&manifest.name, limits.log_lines, Arc::clone(&meter)),
            pace: Pace::new(limits.requests),
            meter,
            limits,
            journal,
            snapshots: self.config.snapshot_dir.clone(),
        })
    }

    fn engine(&self) -> Result<Arc<EngineState>, PluginError> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        match &*engine {
            Some(running) => Ok(Arc::clone(running)),
            None => Ok(Arc::clone(
                engine.insert(EngineState::start(self.config.limits.largest_memory())?),
            )),
        }
    }
}

fn changed(plugin: &str) -> PluginError {
    PluginError::Changed {
        plugin: plugin.to_owned(),
    }
}
