//! A mode that sins: the path that it is asked for says how, and what follows the sin's name with what. The tests of the plugin host
//! hold each sin to its consequence.

#[macro_use]
mod sins;
mod program;

use std::time::Duration;

use freezer_sdk::error::{Error, Result};
use freezer_sdk::export_mode;
use freezer_sdk::host::{bodies, control, leftovers, snapshots};
use freezer_sdk::mode::{
    Backup, BackupRequest, Destination, Mode, Outcome, Restore, RestoreRequest, Source, StreamSource,
    TreeSource,
};
use freezer_sdk::settings::Settings;

struct Hostile;

export_mode!(Hostile);

macro_rules! sin {
    ($($sin:ident,)*) => {
        /// A sin, by the name that it has in the list.
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "the list has the names of functions")]
        enum Sin {
            $($sin,)*
        }

        /// The sin that a path begins with, and the rest of the path.
        fn sin(path: &str) -> (Option<Sin>, &str) {
            let path = path.trim_start_matches('/');
            let (name, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
            let sin = match name {
                $(stringify!($sin) => Some(Sin::$sin),)*
                _ => None,
            };
            (sin, rest)
        }
    };
}

for_each_mode_sin!(sin);

impl Mode for Hostile {
    type Backup = HostileBackup;
    type Restore = HostileRestore;

    fn prepare_backup(request: BackupRequest) -> Result<HostileBackup> {
        let path = request.path.unwrap_or_default();
        let _first = leftovers::announce("volume snapshot one", "undo one")?;
        let second = leftovers::announce("volume snapshot two", "undo two")?;
        let _third = leftovers::announce("volume snapshot three", "undo three")?;
        second.settle()?;
        let (sin, rest) = sin(&path);
        match sin {
            // What isn't granted, and what is named but not granted to be frozen.
            Some(Sin::freezes_what_was_not_granted) => {
                snapshots::create(rest.strip_prefix("/=").unwrap_or(rest), &[])?;
            }
            Some(Sin::runs_a_program) => program::run(rest.trim_start_matches('/')),
            Some(Sin::fails_to_prepare) => return Err(Error::invalid("can't prepare")),
            Some(Sin::announces_without_end) => loop {
                drop(leftovers::announce("one more", "x".repeat(4000).as_str())?);
            },
            _ => {}
        }
        let frozen = match path.strip_prefix("/hold") {
            Some(path) => Some(snapshots::create(path, &[])?),
            None => None,
        };
        Ok(HostileBackup { sin, frozen })
    }

    fn prepare_restore(_request: RestoreRequest) -> Result<HostileRestore> {
        Ok(HostileRestore)
    }

    fn undo(_settings: Settings, leftover: String) -> Result<()> {
        control::warning(format!("undone: {}", &leftover[..leftover.len().min(20)]));
        if leftover == "undo never" {
            Err(Error::invalid("it stays"))
        } else {
            Ok(())
        }
    }
}

struct HostileBackup {
    sin: Option<Sin>,
    frozen: Option<snapshots::Snapshot>,
}

impl Backup for HostileBackup {
    fn next(&mut self) -> Result<Option<Source>> {
        if let Some(frozen) = &self.frozen {
            panic!("on purpose, with {} in hand", frozen.description());
        }
        let tree = |name: &str, root: &str| {
            Ok(Some(Source::Tree(TreeSource {
                name: name.to_owned(),
                root: root.to_owned(),
                one_file_system: true,
                exclude: Vec::new(),
            })))
        };
        match self.sin {
            Some(Sin::panics_in_next) => panic!("on purpose"),
            Some(Sin::names_a_source_with_dots) => tree("../name", "/"),
            Some(Sin::backs_up_what_nobody_named) => tree("name", "/etc"),
            Some(Sin::hands_out_no_body) => {
                let content = bodies::Body::from_bytes(b"used up")?;
                content.read(100)?;
                Ok(Some(Source::Stream(StreamSource {
                    name: "name".to_owned(),
                    suffix: "../x".to_owned(),
                    content,
                })))
            }
            Some(Sin::ignores_that_it_was_cancelled) => loop {
                // As if nothing had been said, again and again.
                drop(control::wait(Duration::from_secs(60)));
            },
            Some(
                Sin::fails_to_prepare
                | Sin::freezes_what_was_not_granted
                | Sin::panics_in_finish
                | Sin::forgets_handles
                | Sin::runs_a_program
                | Sin::leaves_a_long_note
                | Sin::announces_without_end
                | Sin::restores_where_nobody_said,
            ) => Ok(None),
            None => {
                control::wait(Duration::from_secs(60))?;
                Ok(None)
            }
        }
    }

    fn finish(self, outcome: Outcome) -> Result<String> {
        match self.sin {
            Some(Sin::panics_in_finish) => panic!("on purpose"),
            Some(Sin::leaves_a_long_note) => Ok("x".repeat(100_000)),
            Some(Sin::forgets_handles) => {
                for _ in 0..2 {
                    std::mem::forget(bodies::Body::from_bytes(b"x")?);
                }
                Ok(String::new())
            }
            _ => {
                // Host calls work during `finish`, cancelled or not.
                control::wait(Duration::from_millis(1))?;
                Ok(format!("{outcome:?}"))
            }
        }
    }
}

struct HostileRestore;

impl Restore for HostileRestore {
    fn destination(&mut self, _source: &str) -> Result<Destination> {
        Ok(Destination::Directory("/etc".to_owned()))
    }
}
