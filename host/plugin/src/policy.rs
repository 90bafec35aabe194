//! policy.toml: what is forbidden whatever was granted.
//!
//! ```toml
//! [every-plugin]                       # also those that were built together with this program
//! forbid-hosts = ["*.internal.example", "10.0.0.0/8"]
//!
//! [foreign-plugins]
//! forbid-unsigned = true
//! forbid-grants = ["processes", "files:read-write"]
//! ```
//!
//! There is one for the machine and one for the user. A policy can only forbid, and what either forbids is forbidden, so
//! a user's can never loosen the machine's. This file reads the lines and keeps where they stand; `grants` applies them.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::error::PluginError;
use crate::grants::{Access, GrantKind};
use crate::signature::PublicKey;
use crate::trust::{ScopedFile, parse_digest};
use crate::trusted::{at_line, line_of};

/// The most lines of one file.
const MAX_RULES: usize = 1000;

/// One line of a policy.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it forbids.
    pub(crate) what: Forbidden,
    /// Whether plugins that were built together with this program are free of it.
    pub(crate) only_foreign: bool,
    /// Where it stands.
    pub(crate) line: RuleLine,
}

/// Where a rule stands and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleLine {
    /// The file.
    pub path: PathBuf,
    /// The line in it.
    pub line: usize,
    /// The rule, such as `forbid-grants = ["processes"]`.
    pub text: String,
}

impl fmt::Display for RuleLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, line {}: {}", self.path.display(), self.line, self.text)
    }
}

/// What a rule forbids.
#[derive(Debug, Clone)]
pub(crate) enum Forbidden {
    /// Grants of a kind; with an access only those that allow as much.
    Grant(GrantKind, Option<Access>),
    /// Connections to these hosts.
    Host(HostPattern),
    /// Plugins of this name.
    Plugin(String),
    /// This component.
    Component(String),
    /// Components that this key signed.
    Key(Box<PublicKey>),
    /// Components without a signature that is trusted.
    Unsigned,
    /// Signatures by keys that only the user trusts.
    UserKeys,
    /// Plugins in freezer's own process.
    SharedProcess,
}

/// Hosts as a rule names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostPattern {
    /// Exactly this one, in lower case.
    Exactly(String),
    /// `*.example.org`: all that lie below it, and itself.
    Below(String),
    /// Addresses with these first bits.
    Addresses(IpAddr, u8),
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!("{text:?} is no host: write a name, *.name, an address or a network such as 10.0.0.0/8")
        };
        let text_lower = text.trim_matches(['[', ']']).to_ascii_lowercase();
        if let Some((address, bits)) = text_lower.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| bad())?;
            let bits: u8 = bits.parse().map_err(|_| bad())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return match bits <= most {
                true => Ok(Self::Addresses(address, bits)),
                false => Err(bad()),
            };
        }
        if let Ok(address) = text_lower.parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return Ok(Self::Addresses(address, bits));
        }
        let (below, name) = match text_lower.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text_lower.as_str()),
        };
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        match (name.is_empty() || !name.bytes().all(letters), below) {
            (true, _) => Err(bad()),
            (false, true) => Ok(Self::Below(name.to_owned())),
            (false, false) => Ok(Self::Exactly(name.to_owned())),
        }
    }

    /// Tells whether a host, a name or an address without brackets, is meant.
    pub(crate) fn fits(&self, host: &str) -> bool {
        // `example.org.` is the same host.
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match self {
            Self::Exactly(name) => host == *name,
            Self::Below(name) => {
                host == *name
                    || host
                        .strip_suffix(name.as_str())
                        .is_some_and(|rest| rest.ends_with('.'))
            }
            Self::Addresses(network, bits) => host
                .parse::<IpAddr>()
                .is_ok_and(|address| shares_bits(address, *network, *bits)),
        }
    }
}

/// Tells whether the first bits of two addresses are the same; an IPv4 address in IPv6 clothes is itself.
fn shares_bits(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            (u32::from(one) ^ u32::from(other)) & mask == 0
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            (u128::from(one) ^ u128::from(other)) & mask == 0
        }
        _ => false,
    }
}

/// What all policy.toml files forbid together.
#[derive(Debug, Clone, Default)]
pub struct Policy(Vec<Rule>);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct FileText {
    every_plugin: EveryText,
    foreign_plugins: ForeignText,
}

/// What can be said of every plugin. Its own have pinned digests, so there is nothing to say of keys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct EveryText {
    forbid_grants: Vec<Spanned<String>>,
    forbid_hosts: Vec<Spanned<String>>,
    forbid_plugins: Vec<Spanned<String>>,
    forbid_shared_process: Option<Spanned<bool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ForeignText {
    forbid_grants: Vec<Spanned<String>>,
    forbid_hosts: Vec<Spanned<String>>,
    forbid_plugins: Vec<Spanned<String>>,
    forbid_keys: Vec<Spanned<String>>,
    forbid_unsigned: Option<Spanned<bool>>,
    forbid_user_keys: Option<Spanned<bool>>,
    forbid_shared_process: Option<Spanned<bool>>,
}

impl Policy {
    /// Reads the files; absent ones forbid nothing.
    ///
    /// # Errors
    /// [`PluginError::Policy`] if one can't be used: then nothing may be allowed.
    pub fn read(files: &[ScopedFile]) -> Result<Self, PluginError> {
        let mut all = Self::default();
        for file in files {
            let bad = |why: String| PluginError::Policy {
                path: file.path.clone(),
                why,
            };
            let text = file.read().map_err(|error| bad(error.to_string()))?;
            if let Some(text) = text {
                all.add(&text, file).map_err(bad)?;
            }
        }
        Ok(all)
    }

    /// Its lines, the machine's first.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// The rule by which such plugins must run in processes of their own, if there is one.
    pub(crate) fn wants_apart(&self, first_party: bool) -> Option<&Rule> {
        let wants = |rule: &&Rule| {
            matches!(rule.what, Forbidden::SharedProcess) && !(rule.only_foreign && first_party)
        };
        self.0.iter().find(wants)
    }

    fn add(&mut self, text: &str, file: &ScopedFile) -> Result<(), String> {
        let FileText {
            every_plugin: every,
            foreign_plugins: foreign,
        } = toml::from_str(text).map_err(|error| at_line(text, error.span(), error.message()))?;
        let mut reading = Reading {
            text,
            file,
            rules: &mut self.0,
            only_foreign: false,
        };
        reading.list("forbid-grants", &every.forbid_grants, parse_grant)?;
        reading.list("forbid-hosts", &every.forbid_hosts, parse_host)?;
        reading.list("forbid-plugins", &every.forbid_plugins, parse_plugin)?;
        reading.flag(
            "forbid-shared-process",
            every.forbid_shared_process,
            Forbidden::SharedProcess,
        );
        reading.only_foreign = true;
        reading.list("forbid-grants", &foreign.forbid_grants, parse_grant)?;
        reading.list("forbid-hosts", &foreign.forbid_hosts, parse_host)?;
        reading.list("forbid-plugins", &foreign.forbid_plugins, parse_plugin)?;
        reading.list("forbid-keys", &foreign.forbid_keys, parse_key)?;
        reading.flag("forbid-unsigned", foreign.forbid_unsigned, Forbidden::Unsigned);
        reading.flag("forbid-user-keys", foreign.forbid_user_keys, Forbidden::UserKeys);
        reading.flag(
            "forbid-shared-process",
            foreign.forbid_shared_process,
            Forbidden::SharedProcess,
        );
        if self.0.len() > MAX_RULES {
            return Err(format!("there are more than {MAX_RULES} rules"));
        }
        Ok(())
    }
}

/// One file while it is read.
struct Reading<'a> {
    text: &'a str,
    file: &'a ScopedFile,
    rules: &'a mut Vec<Rule>,
    only_foreign: bool,
}

impl Reading<'_> {
    fn list(
        &mut self,
        key: &str,
        entries: &[Spanned<String>],
        parse: fn(&str) -> Result<Forbidden, String>,
    ) -> Result<(), String> {
        for entry in entries {
            let what = parse(entry.get_ref()).map_err(|why| at_line(self.text, Some(entry.span()), &why))?;
            self.rule(what, entry.span(), format!("{key} = [{:?}]", entry.get_ref()));
        }
        Ok(())
    }

    fn flag(&mut self, key: &str, value: Option<Spanned<bool>>, what: Forbidden) {
        if let Some(value) = value
            && *value.get_ref()
        {
            self.rule(what, value.span(), format!("{key} = true"));
        }
    }

    fn rule(&mut self, what: Forbidden, span: Range<usize>, text: String) {
        self.rules.push(Rule {
            what,
            only_foreign: self.only_foreign,
            line: RuleLine {
                path: self.file.path.clone(),
                line: line_of(self.text, span.start),
                text: crate::escape::line(&text, 200),
            },
        });
    }
}

fn parse_grant(text: &str) -> Result<Forbidden, String> {
    let (kind, access) = match text.split_once(':') {
        Some((kind, access)) => (kind, Some(access)),
        None => (text, None),
    };
    let kinds = GrantKind::ALL.map(GrantKind::key).join(", ");
    let kind =
        GrantKind::parse(kind).ok_or_else(|| format!("{kind:?} is no kind of grant: there are {kinds}"))?;
    match (kind, access) {
        (_, None) => Ok(Forbidden::Grant(kind, None)),
        (GrantKind::Files, Some("read-write")) => Ok(Forbidden::Grant(kind, Some(Access::ReadWrite))),
        _ => Err(format!("{text:?}: only files:read-write says more than its kind")),
    }
}

fn parse_host(text: &str) -> Result<Forbidden, String> {
    HostPattern::parse(text).map(Forbidden::Host)
}

fn parse_plugin(text: &str) -> Result<Forbidden, String> {
    match text.strip_prefix("sha256:") {
        Some(digest) => parse_digest(digest).map(Forbidden::Component),
        None => Ok(Forbidden::Plugin(text.to_owned())),
    }
}

fn parse_key(text: &str) -> Result<Forbidden, String> {
    let key = PublicKey::parse(text).map_err(|error| error.to_string())?;
    Ok(Forbidden::Key(Box::new(key)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::trust::Scope;

    /// A policy of the machine's, as if it stood in `/etc/freezer/policy.toml`.
    pub(crate) fn policy(text: &str) -> Result<Policy, String> {
        let file = ScopedFile {
            scope: Scope::System,
            path: "/etc/freezer/policy.toml".into(),
        };
        let mut policy = Policy::default();
        policy.add(text, &file).map(|()| policy)
    }

    #[test]
    fn each_rule_knows_its_line() {
        let text = "[every-plugin]\nforbid-hosts = [\n  \"a.example\",\n  \"*.b.example\",\n]\n\n\
                    [foreign-plugins]\nforbid-unsigned = true\nforbid-user-keys = false\n";
        let policy = policy(text).unwrap();
        let shown: Vec<_> = policy.rules().iter().map(|rule| rule.line.to_string()).collect();
        let file = "/etc/freezer/policy.toml, line";
        let expected = [
            format!("{file} 3: forbid-hosts = [\"a.example\"]"),
            format!("{file} 4: forbid-hosts = [\"*.b.example\"]"),
            format!("{file} 8: forbid-unsigned = true"),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn plugins_can_be_forbidden_freezers_own_process() {
        let wants = |text: &str| {
            let policy = policy(text).unwrap();
            [true, false].map(|first_party| {
                let rule = policy.wants_apart(first_party);
                rule.map(|rule| rule.line.line)
            })
        };
        assert_eq!(wants(""), [None, None]);
        assert_eq!(
            wants("[foreign-plugins]\nforbid-shared-process = true"),
            [None, Some(2)]
        );
        assert_eq!(
            wants("[every-plugin]\nforbid-shared-process = true"),
            [Some(2), Some(2)]
        );
        assert_eq!(
            wants("[every-plugin]\nforbid-shared-process = false"),
            [None, None]
        );
    }

    #[test]
    fn mistakes_are_refused_with_their_line() {
        for (text, says) in [
            (
                "\n[every-plugin]\nforbid-grants = [\"file\"]",
                "line 3: \"file\" is no kind of grant: there are files, http",
            ),
            (
                "[every-plugin]\nforbid-grants = [\"files:all\"]",
                "line 2: \"files:all\": only files:read-write",
            ),
            ("[every-plugin]\nforbid-hosts = [\"10.0.0.0/33\"]", "is no host"),
            (
                "[foreign-plugins]\nforbid-plugins = [\"sha256:12\"]",
                "64 hex digits",
            ),
            ("[foreign-plugins]\nforbid-keys = [\"RW\"]", "is no public key"),
            (
                "[foreign-plugins]\nallow-grants = []",
                "line 2: unknown field `allow-grants`",
            ),
            ("[every-plugin]\nforbid-unsigned = true", "unknown field"),
        ] {
            let error = policy(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn hosts_are_names_suffixes_and_networks() {
        for (pattern, host, fits) in [
            ("a.example", "A.example.", true),
            ("a.example", "b.a.example", false),
            ("*.a.example", "b.a.example", true),
            ("*.a.example", "a.example", true),
            ("*.a.example", "ba.example", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "10.example", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("[::1]", "::1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            let parsed = HostPattern::parse(pattern).unwrap();
            assert_eq!(parsed.fits(host), fits, "{pattern} {host}");
        }
    }
}
