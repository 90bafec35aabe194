//! All that a plugin author depends on.
//!
//! A plugin is a WebAssembly component that *directs* a backup: a *mode* says where the bytes of an application come from, a
//! *storage* says where they go. The host moves them: a plugin passes [`Body`](host::bodies::Body) handles from call to call and
//! never sees what is in them, unless it asks. It can do nothing but what the host offers ([`host`]) and the operator has granted.
//!
//! # Quick start
//!
//! `freezer plugin new` makes a crate anywhere, with a copy of this SDK in it, that builds and passes its tests as it is:
//!
//! ```sh
//! freezer plugin new --kind storage shelf     # or --kind mode
//! cd shelf
//! freezer plugin test                         # its own tests, then the component in the real host: rules, faults, limits
//! freezer plugin pack                         # dist/shelf-0.1.0.wasm
//! freezer plugin install dist --allow-unsigned
//! ```
//!
//! 1. `plugin.toml` says what it is called, its settings and what it asks to be allowed; `freezer-test.toml` how it is tried.
//! 2. `src/lib.rs` implements [`mode::Mode`] or [`storage::Storage`] and exports it with [`export_mode!`] or [`export_storage!`];
//!    a storage that keeps objects in a directory needs no more than a [`directory_storage::Place`].
//! 3. Unit tests run natively against [`testing::FakeHost`].
//!
//! docs/plugins.md walks through one and lists all keys.
//!
//! # In freezer's own tree
//!
//! A plugin that ships with freezer is a folder below `plugins/modes` or `plugins/storages` with the same files. Its `Cargo.toml`
//! (`crate-type = ["cdylib", "rlib"]`) depends on `freezer-sdk` of the workspace, `cargo test -p YOUR-PLUGIN` runs its tests, and
//! `make plugins` compiles and packs it; it is found by itself. CONTRIBUTING.md says what else it needs.
//!
//! # A complete plugin
//!
//! A mode that stores the output of one command, and feeds it back at restore:
//!
//! ```
//! use freezer_sdk::error::{Error, Result};
//! use freezer_sdk::export_mode;
//! use freezer_sdk::host::bodies::Body;
//! use freezer_sdk::host::commands::{Command, spawn};
//! use freezer_sdk::host::control;
//! use freezer_sdk::mode::{
//!     Backup, BackupRequest, Destination, Mode, Outcome, Restore, RestoreRequest, Source, StreamSource,
//! };
//! use freezer_sdk::settings::Settings;
//!
//! struct Ldap;
//!
//! export_mode!(Ldap);
//!
//! impl Mode for Ldap {
//!     type Backup = LdapBackup;
//!     type Restore = LdapRestore;
//!
//!     fn prepare_backup(request: BackupRequest) -> Result<LdapBackup> {
//!         Ok(LdapBackup { dump: Some(command("slapcat", &request.settings)?) })
//!     }
//!
//!     fn prepare_restore(request: RestoreRequest) -> Result<LdapRestore> {
//!         Ok(LdapRestore { load: command("slapadd", &request.settings)? })
//!     }
//! }
//!
//! /// Holds the command until the source is asked for.
//! struct LdapBackup {
//!     dump: Option<Command>,
//! }
//!
//! impl Backup for LdapBackup {
//!     fn next(&mut self) -> Result<Option<Source>> {
//!         let Some(dump) = self.dump.take() else { return Ok(None) };
//!         control::progress("dumping the directory", None);
//!         // If the command fails, the last read of this stream fails, and nothing is committed.
//!         let content = spawn(&dump, None)?.output()?;
//!         Ok(Some(Source::Stream(StreamSource { name: "directory".into(), suffix: "ldif".into(), content })))
//!     }
//!
//!     fn finish(self, _outcome: Outcome) -> Result<String> {
//!         Ok(r#"{"version":1}"#.into())
//!     }
//! }
//!
//! struct LdapRestore {
//!     load: Command,
//! }
//!
//! impl Restore for LdapRestore {
//!     fn destination(&mut self, source: &str) -> Result<Destination> {
//!         match source {
//!             "directory" => Ok(Destination::Receive),
//!             _ => Err(Error::not_found(format!("mode ldap knows no source {source:?}"))),
//!         }
//!     }
//!
//!     fn receive(&mut self, _source: &str, content: Body) -> Result<()> {
//!         let exit = spawn(&self.load, Some(&content))?.wait()?;
//!         match exit.code {
//!             0 => Ok(()),
//!             code => Err(Error::other(format!("slapadd ended with {code}: {}", exit.stderr))),
//!         }
//!     }
//! }
//!
//! fn command(program: &str, settings: &Settings) -> Result<Command> {
//!     Ok(Command::new(program, ["-F", settings.text("configuration")?]))
//! }
//!
//! // The test, which belongs into `mod tests` of a real plugin.
//! use freezer_sdk::settings::SettingValue;
//! use freezer_sdk::testing::{FakeExit, FakeHost};
//!
//! let host = FakeHost::new();
//! host.serve_commands(|command, input| {
//!     assert_eq!(command.arguments, ["-F", "/etc/ldap/slapd.d"]);
//!     let loaded = command.program == "slapadd" && input == b"dn: dc=example";
//!     Ok(match command.program.as_str() {
//!         "slapcat" => FakeExit { stdout: b"dn: dc=example".to_vec(), ..FakeExit::default() },
//!         _ => FakeExit { code: if loaded { 0 } else { 1 }, ..FakeExit::default() },
//!     })
//! });
//! let settings = Settings::new([("configuration", SettingValue::Text("/etc/ldap/slapd.d".into()))]);
//!
//! let mut backup =
//!     Ldap::prepare_backup(BackupRequest { settings: settings.clone(), ..BackupRequest::default() })?;
//! let Some(Source::Stream(stream)) = backup.next()? else { panic!("no stream") };
//! assert_eq!(host.drain(&stream.content)?, b"dn: dc=example");
//! let note = backup.finish(Outcome::Done)?;
//!
//! let mut restore = Ldap::prepare_restore(RestoreRequest { settings, note, target: None })?;
//! restore.receive("directory", host.stream(b"dn: dc=example"))?;
//! restore.finish(Outcome::Done)?;
//! assert_eq!(host.open_handles(), 0);
//! # Ok::<(), Error>(())
//! ```

pub mod error;
pub mod settings;

pub mod mode;
pub mod storage;
pub mod directory_storage;

pub mod host;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub mod export;

/// Makes a component of a [`Mode`](crate::mode::Mode); once per crate. In native builds it only checks the type.
#[macro_export]
macro_rules! export_mode {
    ($mode:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::export::ModeComponent<$mode>;
            $crate::bindings::mode_plugin::export_generated_mode!(Component with_types_in $crate::bindings::mode_plugin);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_mode<T: $crate::mode::Mode>() {}
            is_mode::<$mode>();
        };
    };
}

/// Makes a component of a [`Storage`](crate::storage::Storage); once per crate. In native builds it only checks the type.
#[macro_export]
macro_rules! export_storage {
    ($storage:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::export::StorageComponent<$storage>;
            $crate::bindings::storage_plugin::export_generated_storage!(Component with_types_in $crate::bindings::storage_plugin);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_storage<T: $crate::storage::Storage>() {}
            is_storage::<$storage>();
        };
    };
}
