//! The built mode as the host runs it, by itself: its streams and what it does to a restored directory.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use freezer_pipeline::cancel::Cancel;
use freezer_plugin::run::BandwidthLimits;
use freezer_plugin::{
    BackupRequest, Destination, ModeBackup, ModeRestore, Plugin, PluginHost, PluginKind, RestoreRequest, Run,
    RunConfig, Settings,
};
use freezer_tests::plugin_host;

use crate::database::Database;

/// The mode with one path that the user named.
pub(crate) struct Hosted {
    host: PluginHost,
    plugin: Plugin,
    run: Arc<Run>,
    path: PathBuf,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Hosted {
    #[track_caller]
    pub(crate) fn new(database: &Database, path: PathBuf) -> Self {
        let host = plugin_host(database.sandbox.path("state"));
        let plugin = host.find(PluginKind::Mode, "postgres").expect("the mode");
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&warnings);
        let run = Run::new(RunConfig {
            cancel: Cancel::new(),
            named_paths: vec![path.clone()],
            warn: Arc::new(move |warning| told.lock().expect("no panic").push(warning.to_owned())),
            progress: Arc::new(|_, _| {}),
            bandwidth: BandwidthLimits::default(),
        });
        Self {
            host,
            plugin,
            run,
            path,
            warnings,
        }
    }

    /// Settings by name and text, with those of the login file.
    #[track_caller]
    fn settings(&self, database: &Database, more: &[(&str, &str)]) -> Settings {
        let login = database.sandbox.path("login");
        let conf = [("postgres-conf", login.to_str().expect("UTF-8"))];
        let mut settings = Settings::new();
        for (name, text) in conf.iter().chain(more) {
            let (name, value) = self
                .plugin
                .manifest()
                .parse_setting(name, text)
                .expect("a setting");
            settings.set(&name, value);
        }
        settings
    }

    #[track_caller]
    pub(crate) fn backup(&self, database: &Database, more: &[(&str, &str)]) -> ModeBackup {
        let request = BackupRequest {
            path: Some(self.path.clone()),
            settings: self.settings(database, more),
            ..BackupRequest::default()
        };
        self.host
            .prepare_backup(&self.plugin, request, &self.run)
            .expect("prepared")
    }

    #[track_caller]
    pub(crate) fn restore(&self, database: &Database, note: &str, more: &[(&str, &str)]) -> ModeRestore {
        let request = RestoreRequest {
            target: Some(self.path.clone()),
            settings: self.settings(database, more),
            note: note.to_owned(),
        };
        self.host
            .prepare_restore(&self.plugin, request, &self.run)
            .expect("prepared")
    }

    /// Lets the mode make a directory ready that was restored already.
    #[track_caller]
    pub(crate) fn settle(&self, database: &Database, note: &str, more: &[(&str, &str)]) {
        let mut restore = self.restore(database, note, more);
        let destination = restore.destination("tree").expect("a place");
        assert_eq!(destination, Destination::Directory(self.path.clone()));
        restore.finish(&freezer_plugin::Outcome::Done).expect("settled");
    }

    /// What the mode warned of.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().expect("no panic").clone()
    }
}
