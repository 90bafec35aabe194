//! Who answers: its place in a replica set, and whether it is the one that should be backed up.

use bson::RawDocument;
use freezer_sdk::error::{Error, Result};

/// Which members may be backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The one that takes writes, as the original demands.
    Primary,
    /// One that only follows.
    Secondary,
    /// Either.
    Any,
}

impl Wanted {
    /// Reads the setting.
    ///
    /// # Errors
    /// `invalid` for another word.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "primary" => Ok(Self::Primary),
            "secondary" => Ok(Self::Secondary),
            "any" => Ok(Self::Any),
            _ => Err(Error::invalid(format!(
                "member is {text:?}: it must be primary, secondary or any"
            ))),
        }
    }
}

/// What a server says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    writable: bool,
    secondary: bool,
    arbiter: bool,
    router: bool,
    /// Its replica set.
    pub(crate) set: Option<String>,
    me: Option<String>,
    primary: Option<String>,
}

impl Hello {
    /// Reads the answer to `hello` or `isMaster`.
    pub(crate) fn read(answer: &RawDocument) -> Self {
        let flag = |name: &str| answer.get_bool(name).unwrap_or(false);
        let text = |name: &str| {
            let text = answer.get_str(name).ok()?;
            Some(text.chars().take(300).collect())
        };
        Self {
            writable: flag("isWritablePrimary") || flag("ismaster"),
            secondary: flag("secondary"),
            arbiter: flag("arbiterOnly"),
            router: answer.get_str("msg").is_ok_and(|msg| msg == "isdbgrid"),
            set: text("setName"),
            me: text("me"),
            primary: text("primary"),
        }
    }

    /// One word for it.
    pub(crate) fn role(&self) -> &'static str {
        match self {
            Self { router: true, .. } => "router",
            Self { arbiter: true, .. } => "arbiter",
            Self {
                set: None,
                writable: true,
                ..
            } => "standalone",
            Self { writable: true, .. } => "primary",
            Self { secondary: true, .. } => "secondary",
            _ => "member without a state",
        }
    }

    /// The role, and the set that it has it in.
    pub(crate) fn description(&self) -> String {
        match &self.set {
            Some(set) => format!("{} of {set}", self.role()),
            None => self.role().to_owned(),
        }
    }

    /// Whether it is a router of a sharded cluster.
    pub(crate) fn is_router(&self) -> bool {
        self.router
    }

    /// Whether it belongs to a replica set, and so keeps a log of what is written.
    pub(crate) fn has_oplog(&self) -> bool {
        self.set.is_some() && !self.router
    }

    /// Makes sure that this is the member that was meant.
    ///
    /// # Errors
    /// `invalid` says which member to ask instead.
    pub(crate) fn check(&self, place: &str, wanted: Wanted, set: Option<&str>) -> Result<()> {
        if let Some(wanted) = set
            && self.set.as_deref() != Some(wanted)
        {
            let found = self.set.as_deref().map_or_else(
                || "to no replica set".to_owned(),
                |found| format!("to the replica set {found:?}"),
            );
            return Err(Error::invalid(format!(
                "{place} belongs {found}, not to {wanted:?}"
            )));
        }
        let fits = match wanted {
            _ if self.arbiter || self.router => false,
            // The original also compares the names by which the set knows them.
            Wanted::Primary => {
                self.writable && (self.me.is_none() || self.primary.is_none() || self.me == self.primary)
            }
            Wanted::Secondary => self.secondary && !self.writable,
            Wanted::Any => self.writable || self.secondary,
        };
        if fits {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{place} is {}: {}",
            self.with_article(),
            self.advice(wanted)
        )))
    }

    fn with_article(&self) -> String {
        let article = if self.arbiter { "an" } else { "a" };
        format!("{article} {}", self.description())
    }

    fn advice(&self, wanted: Wanted) -> String {
        let primary = self.primary.as_deref();
        let primary = primary.map_or_else(
            || "the primary, whom it doesn't know now".to_owned(),
            str::to_owned,
        );
        match (self, wanted) {
            (Self { router: true, .. }, _) => {
                "ask a member of each shard, and one of the config servers".to_owned()
            }
            (Self { arbiter: true, .. }, _) => format!("it keeps no data; ask {primary}"),
            (Self { set: None, .. }, Wanted::Secondary) => "it follows nobody; set member=primary".to_owned(),
            (Self { secondary: true, .. }, Wanted::Primary) => {
                format!("ask {primary}, or set member=secondary to back up this one")
            }
            (Self { writable: true, .. }, Wanted::Secondary) => {
                "ask one of its secondaries, or set member=primary to back up this one".to_owned()
            }
            _ => format!("ask {primary}, or wait until it is a member in order"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    fn judge(answer: &RawDocument, wanted: Wanted, set: Option<&str>) -> std::result::Result<String, String> {
        let hello = Hello::read(answer);
        let judged = hello.check("db:27017", wanted, set);
        judged
            .map(|()| hello.description())
            .map_err(|error| error.message)
    }

    #[test]
    fn the_right_member_is_taken() {
        let primary = rawdoc! { "isWritablePrimary": true, "setName": "rs0", "me": "a:1", "primary": "a:1" };
        let secondary = rawdoc! { "isWritablePrimary": false, "secondary": true, "setName": "rs0", "me": "b:1", "primary": "a:1" };
        let alone = rawdoc! { "ismaster": true };
        assert_eq!(
            judge(&primary, Wanted::Primary, Some("rs0")).unwrap(),
            "primary of rs0"
        );
        assert_eq!(
            judge(&secondary, Wanted::Secondary, None).unwrap(),
            "secondary of rs0"
        );
        assert_eq!(judge(&secondary, Wanted::Any, None).unwrap(), "secondary of rs0");
        assert_eq!(judge(&alone, Wanted::Primary, None).unwrap(), "standalone");
    }

    #[test]
    fn the_wrong_member_says_whom_to_ask() {
        let secondary = rawdoc! { "secondary": true, "setName": "rs0", "me": "b:1", "primary": "a:1" };
        let lost = rawdoc! { "secondary": true, "setName": "rs0", "me": "b:1" };
        let primary = rawdoc! { "isWritablePrimary": true, "setName": "rs0", "me": "a:1", "primary": "a:1" };
        let doubtful = rawdoc! { "isWritablePrimary": true, "setName": "rs0", "me": "a:1", "primary": "c:1" };
        let arbiter = rawdoc! { "arbiterOnly": true, "setName": "rs0", "primary": "a:1" };
        let router = rawdoc! { "isWritablePrimary": true, "msg": "isdbgrid" };
        let starting = rawdoc! { "isWritablePrimary": false, "setName": "rs0" };
        let alone = rawdoc! { "isWritablePrimary": true };
        let nothing = rawdoc! {};
        for (answer, wanted, set, says) in [
            (
                &secondary,
                Wanted::Primary,
                None,
                "db:27017 is a secondary of rs0: ask a:1, or set member=secondary",
            ),
            (
                &lost,
                Wanted::Primary,
                None,
                "ask the primary, whom it doesn't know now",
            ),
            (
                &primary,
                Wanted::Secondary,
                None,
                "is a primary of rs0: ask one of its secondaries",
            ),
            (&doubtful, Wanted::Primary, None, "ask c:1"),
            (
                &arbiter,
                Wanted::Any,
                None,
                "is an arbiter of rs0: it keeps no data; ask a:1",
            ),
            (&router, Wanted::Any, None, "ask a member of each shard"),
            (&starting, Wanted::Any, None, "is a member without a state of rs0"),
            (&alone, Wanted::Secondary, None, "it follows nobody"),
            (
                &alone,
                Wanted::Primary,
                Some("rs0"),
                "db:27017 belongs to no replica set, not to \"rs0\"",
            ),
            (
                &primary,
                Wanted::Primary,
                Some("rs1"),
                "belongs to the replica set \"rs0\", not to \"rs1\"",
            ),
            (&nothing, Wanted::Any, None, "is a member without a state"),
        ] {
            let error = judge(answer, wanted, set).unwrap_err();
            assert!(error.contains(says), "{says}: {error}");
        }
    }
}
