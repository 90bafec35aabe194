//! Frozen views of local volumes. Needs the grant `snapshots` for the path. Only modes may use it.

use crate::error::Result;
use crate::host::backend::snapshots as backend;
use crate::settings::Settings;

pub use crate::bindings::imports::freezer::plugin::types::Field;

/// The settings by which users say how a snapshot is made; a mode declares those that it takes in its plugin.toml. The
/// first says whether one is made, and how: `none`, `auto`, `lvm`, `btrfs` or `freeze`.
pub const SETTINGS: [&str; 8] = [
    "snapshot",
    "lvm-srcvol",
    "lvm-volgroup",
    "lvm-snapname",
    "lvm-snap-perm",
    "lvm-snapsize",
    "lvm-dirmount",
    "freeze-seconds",
];

/// Freezes the volume that holds `path` and mounts the view.
///
/// # Errors
/// `unsupported` if it can't be frozen; `denied` without a grant; `invalid` for an unknown option; `other` if there is no room.
pub fn create(path: &str, options: &[Field]) -> Result<Snapshot> {
    Ok(Snapshot(backend::create(path, options)?))
}

/// Freezes the volume that holds `path` if the setting `snapshot` asks for it; `None` if it is absent or `none`.
///
/// # Errors
/// As [`create`].
pub fn create_if_wanted(path: &str, settings: &Settings) -> Result<Option<Snapshot>> {
    match settings.optional_text(SETTINGS[0])? {
        None | Some("" | "none") => Ok(None),
        Some(_) => create(path, &options(settings)?).map(Some),
    }
}

/// The settings of [`SETTINGS`] that are set, as [`create`] takes them.
///
/// # Errors
/// `invalid` if one is declared as something that has no text.
pub fn options(settings: &Settings) -> Result<Vec<Field>> {
    let mut fields = Vec::new();
    for name in SETTINGS {
        let value = match settings.integer(name) {
            Ok(number) => number.map(|number| number.to_string()),
            Err(_) => settings.optional_text(name)?.map(str::to_owned),
        };
        let field = value.map(|value| Field {
            name: name.to_owned(),
            value,
        });
        fields.extend(field);
    }
    Ok(fields)
}

/// A frozen view; released when dropped and at the end of the run, however it ends.
#[derive(Debug)]
pub struct Snapshot(backend::Snapshot);

impl Snapshot {
    /// The absolute path at which the frozen view of the asked path can be read.
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// What was made, for people.
    pub fn description(&self) -> String {
        self.0.description()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SettingValue;

    #[test]
    fn settings_are_passed_on_as_they_are() {
        let settings = Settings::new([
            ("snapshot", SettingValue::Text("auto".into())),
            ("lvm-snapsize", SettingValue::Text("20%ORIGIN".into())),
            ("freeze-seconds", SettingValue::Integer(60)),
            ("exclude", SettingValue::Many(vec!["x".into()])),
        ]);
        let fields = options(&settings).unwrap();
        let pairs: Vec<_> = fields
            .iter()
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect();
        let wanted = [
            ("snapshot", "auto"),
            ("lvm-snapsize", "20%ORIGIN"),
            ("freeze-seconds", "60"),
        ];
        assert_eq!(pairs, wanted);
    }

    #[test]
    fn nothing_is_frozen_unless_it_is_asked_for() {
        for settings in [
            Settings::default(),
            Settings::new([("snapshot", SettingValue::Text("none".into()))]),
        ] {
            assert!(create_if_wanted("/srv", &settings).unwrap().is_none());
        }
    }
}
