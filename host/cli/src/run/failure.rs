//! Failures of recipes and plugins as the user sees them.

use std::error::Error;

use freezer_agent::{AgentError, ExitClass};
use freezer_pipeline::store::{Cause, ErrorKind, StoreError};
use freezer_plugin::{Inadmissible, PluginError, Standing};

use crate::exit::{Exit, Failure};

/// The exit code of a recipe's result.
pub(super) fn exit(class: ExitClass) -> Exit {
    match class {
        ExitClass::Ok => Exit::Ok,
        ExitClass::Failed => Exit::Failed,
        ExitClass::Partial => Exit::Partial,
        ExitClass::NothingFound => Exit::NothingFound,
        ExitClass::Damaged => Exit::Damaged,
        ExitClass::Interrupted => Exit::Interrupted,
    }
}

/// A recipe's failure, with its advice.
pub(super) fn of_agent(error: &AgentError) -> Failure {
    if error.exit_class() == ExitClass::Interrupted {
        // The user knows why; where exactly the run was stopped is no news.
        return Failure::new(Exit::Interrupted, "interrupted");
    }
    if let AgentError::Plugin(error) = error {
        return of_plugin(error);
    }
    let mut failure = Failure::from_error(exit(error.exit_class()), error);
    if let Some(error) = error.store_error() {
        // Not refused, but not even given: nothing was done yet.
        if error.kind == ErrorKind::Invalid && error.cause == Some(Cause::Login) {
            failure.exit = Exit::Usage;
        }
        split_storage(&mut failure, error);
    }
    failure.next = error.next();
    failure
}

/// Of a storage's failure, what was tried stays where it is; the storage's own words become the last cause.
fn split_storage(failure: &mut Failure, error: &StoreError) {
    let whole = error.to_string();
    let Some(tried) = whole.strip_suffix(&format!(": {}", error.message)) else {
        return;
    };
    let texts = std::iter::once(&mut failure.message).chain(&mut failure.causes);
    for text in texts.filter(|text| **text == whole) {
        tried.clone_into(text);
    }
    failure.causes.retain(|cause| *cause != failure.message);
    failure.causes.push(error.message.clone());
}

/// The exit code of a plugin's failure.
fn exit_of_plugin(error: &PluginError) -> Exit {
    match (error, error.kind()) {
        (
            PluginError::Unknown { .. }
            | PluginError::Ambiguous { .. }
            | PluginError::Setting { .. }
            | PluginError::Grants { .. }
            | PluginError::Policy { .. }
            | PluginError::Trust { .. },
            _,
        ) => Exit::Usage,
        (_, ErrorKind::Cancelled) => Exit::Interrupted,
        (PluginError::Failed { .. }, ErrorKind::Corrupt) => Exit::Damaged,
        // Nothing was done yet: what it was given makes no sense, or something is missing in it.
        (PluginError::Failed { call: "open", .. }, ErrorKind::Invalid) => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn to_the_makers(plugin: &str) -> String {
    format!("report it to the makers of {plugin}; freezer plugin inspect {plugin} shows its version")
}

/// A plugin's failure, with its advice.
pub(super) fn of_plugin(error: &PluginError) -> Failure {
    let failure = Failure::from_error(exit_of_plugin(error), error as &dyn Error);
    match error {
        PluginError::Unknown { .. } => failure.advise(
            "freezer plugin list shows the plugins that are found, --plugins-dir names another place",
        ),
        PluginError::Ambiguous { names, .. } => failure.advise(format!(
            "write {}:… or {}:…, or take one of the files away",
            names[0], names[1]
        )),
        PluginError::OtherComponent { plugin, .. } => failure.advise(format!(
            "put that build of {plugin} into a directory and name it with --plugins-dir"
        )),
        // A limit that no configuration raises.
        PluginError::Leftovers { plugin } => failure.advise(to_the_makers(plugin)),
        PluginError::NotAPlugin { path, .. } | PluginError::Manifest { path, .. } => failure.advise(format!(
            "take {path:?} out of the plugin directory, or put a whole build of it there"
        )),
        PluginError::Trap { plugin, .. } | PluginError::Broken { plugin, .. } => {
            failure.advise(to_the_makers(plugin))
        }
        PluginError::Limit { plugin, limit, .. } => failure.advise(match limit.key() {
            Some(key) => {
                format!("raise {key} in [limits.{plugin}] of the configuration file, if you trust the plugin")
            }
            None => to_the_makers(plugin),
        }),
        PluginError::Setting { plugin, .. } => {
            failure.advise(format!("freezer plugin inspect {plugin} lists its settings"))
        }
        PluginError::Unreadable { path, .. } => failure.advise(format!(
            "make {path:?} readable for this user, or take it out of the plugin directory"
        )),
        PluginError::Load { plugin, .. } => failure.advise(format!(
            "put a whole build of {plugin} into the plugin directory; freezer plugin inspect {plugin} shows which is used"
        )),
        PluginError::Contract { .. } => {
            failure.advise("freezer plugin list shows where it lies: take it out, or replace it")
        }
        PluginError::Engine { .. } => {
            failure.advise("check the limits of this process: memory, address space, threads (ulimit -a)")
        }
        PluginError::Spoiled { .. } => failure.advise("nothing was stored of this run; mend that and run it again"),
        PluginError::Snapshot { .. } => failure.advise("the next backup tries again"),
        PluginError::Journal { path, .. } => failure.advise(format!("make {path:?} writable for this user")),
        PluginError::Failed {
            plugin,
            call,
            kind,
            cause,
            ..
        } => failure.advise(match (cause, *call, kind) {
            (Some(cause), ..) => freezer_agent::advice_of_cause(*cause).to_owned(),
            (None, "open", ErrorKind::Invalid) => {
                format!("freezer plugin inspect {plugin} lists its settings, and where each is taken from")
            }
            (None, _, kind) => of_kind(*kind).to_owned(),
        }),
        other => failure.advise(at_the_door(other)),
    }
}

/// What to do about a plugin that isn't let in, doesn't come to its place or may not do what it asks.
fn at_the_door(error: &PluginError) -> String {
    match error {
        PluginError::Denied(refusal) => match refusal.rule {
            Some(_) => "whoever made the policy can take the line away",
            None => "add the line if you trust the plugin with that",
        },
        PluginError::Grants { path, .. } | PluginError::Policy { path, .. } | PluginError::Trust { path, .. } => {
            return format!("mend {path:?}, or take it away");
        }
        PluginError::NotLetIn { plugin, why } => return not_let_in(plugin, why),
        PluginError::Tampered { .. } => {
            "find out who changed it; install it again with freezer plugin install, or take the file away"
        }
        PluginError::Record { .. } => "install it again, or take that record away: the plugin then counts as put there by hand",
        PluginError::Install { .. } => {
            "let only root or yourself write there; for all users of the machine, run it as root with --system"
        }
        PluginError::Fetch { .. } => "check the URL, or fetch the files by other means and install them",
        _ => "run it again",
    }
    .to_owned()
}

/// What to do where a plugin said no more than the kind of its failure.
fn of_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "check the path or URL that it was given",
        ErrorKind::Denied => "let this user use it, or run it as a user who may",
        ErrorKind::Busy | ErrorKind::Unavailable => "wait until the service answers, then run it again",
        ErrorKind::Corrupt => "freezer check names what is damaged",
        _ => "mend what the plugin says, then run it again",
    }
}

/// What to do about a component that isn't let in.
fn not_let_in(plugin: &str, why: &Inadmissible) -> String {
    match why {
        Inadmissible::NeedsSignature(Standing::UnknownKey { .. }) => {
            "if you have its maker's key from a place that you trust: freezer plugin trust KEY; or --allow-unsigned".to_owned()
        }
        Inadmissible::NeedsSignature(_) => {
            "get a signed one, or give --allow-unsigned if you know where it comes from".to_owned()
        }
        Inadmissible::PlainHttp(_) => {
            "fetch it by https, trust its maker's key, or give the digest with --sha256".to_owned()
        }
        Inadmissible::RevokedComponent { .. } | Inadmissible::RevokedKey { .. } => {
            format!("don't use it; freezer plugin remove {plugin} removes it where it is installed")
        }
        Inadmissible::Forbidden(_) | Inadmissible::Unsigned { .. } => {
            "whoever made the policy can take the line away".to_owned()
        }
        Inadmissible::BadSignature { .. } | Inadmissible::OtherDigest { .. } => {
            "don't use it: fetch it again from its maker".to_owned()
        }
        Inadmissible::TakenName => "ask its makers for a build with another name and other schemes".to_owned(),
        Inadmissible::Older { .. } => "give --allow-downgrade if you want the older one".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_plugin::PluginKind;

    #[test]
    fn an_unknown_plugin_is_a_usage_failure_with_advice() {
        let failure = of_plugin(&PluginError::Unknown {
            kind: PluginKind::Storage,
            wanted: "locale".into(),
            available: vec!["local".into()],
            nearest: Some("local".into()),
        });
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("did you mean local?"), "{failure:?}");
        assert_eq!(failure.next.len(), 1);
    }

    #[test]
    fn an_interrupted_run_says_no_more_than_that() {
        let failure = of_agent(&AgentError::Interrupted);
        assert_eq!(failure, Failure::new(Exit::Interrupted, "interrupted"));
    }

    #[test]
    fn the_storage_s_words_are_the_cause_and_said_once() {
        let failure = of_agent(&AgentError::Store(StoreError {
            kind: ErrorKind::Other,
            storage: "local:/srv".into(),
            operation: "write a segment of",
            key: "data/x".into(),
            message: "the file system is full".into(),
            cause: None,
        }));
        assert_eq!(
            failure.message,
            "can't write a segment of \"data/x\" in local:/srv"
        );
        assert_eq!(failure.causes, ["the file system is full"]);
        assert!(failure.next[0].contains("room"), "{failure:?}");
    }

    #[test]
    fn a_recipe_s_advice_is_kept() {
        let failure = of_agent(&AgentError::NoPassphrase {
            backup: "h_n level 0".into(),
        });
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(failure.next, ["give the password with --encrypt-pass-file FILE"]);
    }
}
