//! Hooks as the command line and `[backup.NAME.hooks]` give them.
//!
//! An unknown key there is refused, other than elsewhere: a mistyped `before` would silently not run.

use std::time::Duration;

use freezer_agent::{DropCaches, Hooks};
use serde::{Deserialize, Deserializer};

use super::written::parsed;
use crate::args::{DropCachesText, HookArgs, LimitText};
use crate::exit::Failure;

/// How long a hook may take by default: dumps take minutes, and a hook that hangs must not hold up the next night's run.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// The hooks of one place; absent means "ask the next layer".
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(crate) struct HookLayer {
    /// Before the backup.
    #[serde(deserialize_with = "super::rules::texts")]
    pub(crate) before: Vec<String>,
    /// After its success.
    #[serde(deserialize_with = "super::rules::texts")]
    pub(crate) on_success: Vec<String>,
    /// After its failure.
    #[serde(deserialize_with = "super::rules::texts")]
    pub(crate) on_failure: Vec<String>,
    /// At the end.
    #[serde(deserialize_with = "super::rules::texts")]
    pub(crate) after: Vec<String>,
    /// How long each may take.
    #[serde(deserialize_with = "parsed")]
    pub(crate) timeout: Option<LimitText>,
}

impl HookLayer {
    /// Lays this over `below`: each kind is taken from the nearest place that has some.
    pub(crate) fn over(self, below: HookLayer) -> HookLayer {
        let nearer = |above: Vec<String>, below| if above.is_empty() { below } else { above };
        HookLayer {
            before: nearer(self.before, below.before),
            on_success: nearer(self.on_success, below.on_success),
            on_failure: nearer(self.on_failure, below.on_failure),
            after: nearer(self.after, below.after),
            timeout: self.timeout.or(below.timeout),
        }
    }

    /// What they mean.
    ///
    /// # Errors
    /// When one is empty: the shell would find nothing to do and call that a success.
    pub(super) fn judge(self) -> Result<Hooks, Failure> {
        let all = [&self.before, &self.on_success, &self.on_failure, &self.after];
        if all.into_iter().flatten().any(|command| command.trim().is_empty()) {
            return Err(Failure::usage("a hook is empty").advise("write its command, or take it out"));
        }
        Ok(Hooks {
            before: self.before,
            on_success: self.on_success,
            on_failure: self.on_failure,
            after: self.after,
            time_limit: self.timeout.map_or(Some(TIME_LIMIT), |limit| limit.0),
        })
    }
}

impl From<HookArgs> for HookLayer {
    fn from(args: HookArgs) -> HookLayer {
        HookLayer {
            before: args.hook_before,
            on_success: args.hook_on_success,
            on_failure: args.hook_on_failure,
            after: args.hook_after,
            timeout: args.hook_timeout,
        }
    }
}

/// What memory is given back, by its word.
pub(super) fn drop_caches<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DropCachesText>, D::Error> {
    let text = String::deserialize(deserializer)?;
    <DropCachesText as clap::ValueEnum>::from_str(&text, false)
        .map(Some)
        .map_err(|_| serde::de::Error::custom("drop-caches is none, read or all"))
}

impl From<DropCachesText> for DropCaches {
    fn from(text: DropCachesText) -> DropCaches {
        match text {
            DropCachesText::None => DropCaches::None,
            DropCachesText::Read => DropCaches::Read,
            DropCachesText::All => DropCaches::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;
    use std::path::Path;

    #[test]
    fn each_kind_is_taken_from_the_nearest_place_that_has_some() {
        let text = "[defaults.hooks]\nafter = \"ping\"\ntimeout = \"5m\"\n\
                    [backup.db.hooks]\nbefore = [\"a\", \"b\"]\nafter = \"own\"\n";
        let file = file::parse(text, Path::new("c.toml")).expect("valid");
        assert_eq!(file.warnings, [""; 0]);
        let hooks = file.backup["db"].hooks.clone().over(file.defaults.hooks.clone());
        let hooks = hooks.judge().expect("whole");
        assert_eq!(
            (hooks.before, hooks.after),
            (vec!["a".to_owned(), "b".into()], vec!["own".into()])
        );
        assert_eq!(hooks.time_limit, Some(Duration::from_secs(300)));
    }

    #[test]
    fn a_mistyped_hook_is_refused() {
        let text = "[backup.db.hooks]\nbefor = \"mount /mnt\"\n";
        assert!(file::parse(text, Path::new("c.toml")).is_err());
    }

    #[test]
    fn an_hour_is_the_limit_where_none_is_given_and_zero_lifts_it() {
        let limit = |timeout| {
            HookLayer {
                timeout,
                ..HookLayer::default()
            }
            .judge()
            .map(|hooks| hooks.time_limit)
        };
        assert_eq!(limit(None), Ok(Some(TIME_LIMIT)));
        assert_eq!(limit(Some(LimitText(None))), Ok(None));
    }

    #[test]
    fn an_empty_hook_is_refused() {
        let layer = HookLayer {
            after: vec![" ".into()],
            ..HookLayer::default()
        };
        assert!(layer.judge().is_err());
    }
}
