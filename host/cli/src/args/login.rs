//! Options that say where the login to a cloud is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::layer::{Origin, Setting};

/// Where the variables of a login are, besides the environment.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Plugins")]
pub(crate) struct LoginArgs {
    /// Take OS_ and other variables from this shell file; it is read, not executed
    #[arg(long, value_name = "FILE")]
    pub(crate) osrc: Option<PathBuf>,
    /// Take the login to this cloud from clouds.yaml [default: $OS_CLOUD]
    #[arg(long, value_name = "NAME")]
    pub(crate) os_cloud: Option<String>,
}

impl LoginArgs {
    /// Adds them to the settings of a storage, where sections of the configuration file have them too.
    pub(crate) fn over(self, mut settings: BTreeMap<String, Setting>) -> BTreeMap<String, Setting> {
        let osrc = self.osrc.map(|path| path.to_string_lossy().into_owned());
        for (name, value) in [("osrc", osrc), ("os-cloud", self.os_cloud)] {
            if let Some(value) = value {
                settings.insert(name.to_owned(), Setting::new(value, Origin::CommandLine));
            }
        }
        settings
    }
}
