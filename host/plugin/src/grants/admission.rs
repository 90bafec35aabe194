//! Whether a component that wasn't built together with this program may be installed and loaded.
//!
//! In this order: what is revoked or forbidden is refused; a signature that doesn't fit is refused; what is left is
//! signed by a key that counts, or isn't. Both may be loaded unless a policy forbids the latter, because a component
//! that nobody granted anything can do nothing; to install the latter, the operator must say so.

use std::fmt;

use crate::policy::{Forbidden, Policy, Rule, RuleLine};
use crate::signature::{PublicKey, Signature};
use crate::trust::{Revocable, Revoked, Scope, TrustStore};

/// Who vouches for a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A key that counts.
    Signed {
        /// Its number.
        key_id: String,
        /// Whose it is, in the operator's words.
        name: String,
    },
    /// A key that nobody here trusts, so it can't even be checked.
    UnknownKey {
        /// The number that the signature says.
        key_id: String,
    },
    /// Nobody.
    Unsigned,
}

impl Standing {
    /// Tells whether a key that counts vouches for it.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        matches!(self, Self::Signed { .. })
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed { key_id, name } if name.is_empty() => write!(out, "signed by key {key_id}"),
            Self::Signed { key_id, name } => write!(out, "signed by {name} (key {key_id})"),
            Self::UnknownKey { key_id } => write!(out, "signed by key {key_id}, which nobody here trusts"),
            Self::Unsigned => out.write_str("not signed"),
        }
    }
}

/// Why a component isn't let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inadmissible {
    /// This component is revoked.
    #[error("its component is revoked{}, as {} says", Because(why), path.display())]
    RevokedComponent {
        /// The reason.
        why: String,
        /// The file that says so.
        path: std::path::PathBuf,
    },
    /// The key that signed it is revoked.
    #[error("it is signed by key {key_id}, which is revoked{}, as {} says", Because(why), path.display())]
    RevokedKey {
        /// The key's number.
        key_id: String,
        /// The reason.
        why: String,
        /// The file that says so.
        path: std::path::PathBuf,
    },
    /// A policy forbids it.
    #[error("{0}")]
    Forbidden(RuleLine),
    /// A policy forbids it as long as no key that counts vouches for it.
    #[error("it is {standing}; {rule}")]
    Unsigned {
        /// Who vouches for it.
        standing: Standing,
        /// The rule.
        rule: RuleLine,
    },
    /// A key that counts made the signature, but not of this component.
    #[error("its signature by key {key_id} doesn't fit: the component or the signature was changed")]
    BadSignature {
        /// The key's number.
        key_id: String,
    },
    /// To be installed, it must be signed.
    #[error("it is {0}")]
    NeedsSignature(Standing),
    /// The digest isn't the one that was asked for.
    #[error("its sha256 is {found}, not {expected}")]
    OtherDigest {
        /// The digest that the operator gave.
        expected: String,
        /// The component's.
        found: String,
    },
    /// It came without TLS, so nobody says that it is what its maker sent.
    #[error("it came by plain http and is {0}, so anybody on the way could have changed it")]
    PlainHttp(Standing),
    /// Its name belongs to a plugin of this program.
    #[error("its name belongs to the plugin that was built together with this program")]
    TakenName,
    /// It is older than the one that is installed.
    #[error("it is version {offered}, and version {installed} is installed")]
    Older {
        /// The version that is there.
        installed: String,
        /// The one that would take its place.
        offered: String,
    },
}

/// Shows a reason, if there is one.
struct Because<'a>(&'a str);

impl fmt::Display for Because<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            why => write!(out, " ({why})"),
        }
    }
}

/// How a component is to be installed.
#[derive(Debug, Clone, Default)]
pub struct InstallAsk {
    /// Also without a signature that counts.
    pub allow_unsigned: bool,
    /// The digest that it must have, in hex.
    pub sha256: Option<String>,
    /// Whether it came without TLS.
    pub plain_http: bool,
}

/// A component at the door.
pub(crate) struct Candidate<'a> {
    pub(crate) plugin: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) signature: Option<&'a Signature>,
}

/// What is believed and what is forbidden.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judges<'a> {
    pub(crate) trust: &'a TrustStore,
    pub(crate) policy: &'a Policy,
}

impl Judges<'_> {
    /// May it be loaded?
    pub(crate) fn load(&self, candidate: &Candidate<'_>) -> Result<Standing, Inadmissible> {
        if let Some(revoked) = self.trust.revoked_component(candidate.sha256) {
            return Err(Inadmissible::RevokedComponent {
                why: revoked.why.clone(),
                path: revoked.path.clone(),
            });
        }
        if let Some(rule) = self.first(|what| match what {
            Forbidden::Plugin(name) => name == candidate.plugin,
            Forbidden::Component(sha256) => sha256 == candidate.sha256,
            _ => false,
        }) {
            return Err(Inadmissible::Forbidden(rule.line.clone()));
        }
        let standing = self.standing(candidate)?;
        match self.first(|what| matches!(what, Forbidden::Unsigned)) {
            Some(rule) if !standing.is_signed() => Err(Inadmissible::Unsigned {
                standing,
                rule: rule.line.clone(),
            }),
            _ => Ok(standing),
        }
    }

    /// May it be installed? A digest that the operator gave is his word for the component, as a signature is its maker's.
    pub(crate) fn install(
        &self,
        candidate: &Candidate<'_>,
        ask: &InstallAsk,
    ) -> Result<Standing, Inadmissible> {
        if let Some(expected) = &ask.sha256
            && expected != candidate.sha256
        {
            return Err(Inadmissible::OtherDigest {
                expected: expected.clone(),
                found: candidate.sha256.to_owned(),
            });
        }
        let standing = self.load(candidate)?;
        if standing.is_signed() || ask.sha256.is_some() {
            return Ok(standing);
        }
        match (ask.plain_http, ask.allow_unsigned) {
            (true, _) => Err(Inadmissible::PlainHttp(standing)),
            (false, false) => Err(Inadmissible::NeedsSignature(standing)),
            (false, true) => Ok(standing),
        }
    }

    /// Who vouches for it, by keys that are neither revoked nor forbidden.
    fn standing(&self, candidate: &Candidate<'_>) -> Result<Standing, Inadmissible> {
        let Some(signature) = candidate.signature else {
            return Ok(Standing::Unsigned);
        };
        let key_id = || signature.key_id().to_owned();
        if let Some(Revoked { why, path, .. }) = self.revoked_signer(candidate, signature) {
            let (key_id, why, path) = (key_id(), why.clone(), path.clone());
            return Err(Inadmissible::RevokedKey { key_id, why, path });
        }
        let by = |key: &PublicKey| signature.is_by(key, candidate.bytes);
        if let Some(rule) = self.first(|what| matches!(what, Forbidden::Key(key) if by(key))) {
            return Err(Inadmissible::Forbidden(rule.line.clone()));
        }
        let users_count = self.first(|what| matches!(what, Forbidden::UserKeys)).is_none();
        let counts = |scope| scope == Scope::System || users_count;
        let mut same_number = false;
        for trusted in self.trust.keys().filter(|trusted| counts(trusted.scope)) {
            if trusted.key.id() != signature.key_id() {
                continue;
            }
            if by(&trusted.key) {
                return Ok(Standing::Signed {
                    key_id: key_id(),
                    name: trusted.name.clone(),
                });
            }
            same_number = true;
        }
        match same_number {
            true => Err(Inadmissible::BadSignature { key_id: key_id() }),
            false => Ok(Standing::UnknownKey { key_id: key_id() }),
        }
    }

    fn revoked_signer(&self, candidate: &Candidate<'_>, signature: &Signature) -> Option<&Revoked> {
        self.trust.revoked().iter().find(|revoked| match &revoked.what {
            Revocable::Key(key) => signature.is_by(key, candidate.bytes),
            Revocable::Component(_) => false,
        })
    }

    fn first(&self, is_it: impl Fn(&Forbidden) -> bool) -> Option<&Rule> {
        self.policy.rules().iter().find(|rule| is_it(&rule.what))
    }
}

/// May a version take the place of the installed one? Versions that can't be compared may.
pub(crate) fn replace(installed: &str, offered: &str, downgrade: bool) -> Result<(), Inadmissible> {
    let older = match (Version::parse(installed), Version::parse(offered)) {
        (Some(installed), Some(offered)) => offered < installed,
        _ => false,
    };
    match older && !downgrade {
        false => Ok(()),
        true => Err(Inadmissible::Older {
            installed: crate::escape::line(installed, 64),
            offered: crate::escape::line(offered, 64),
        }),
    }
}

/// A semantic version, as far as its order goes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: [u64; 3],
    /// A release comes after its candidates.
    is_release: bool,
    /// Numbers come before words, as their order here has it.
    candidate: Vec<Identifier>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl Version {
    /// Reads `1.2.3`, `1.2.3-rc.1` and what a `+` adds, which has no order.
    fn parse(text: &str) -> Option<Self> {
        let text = text.split('+').next()?;
        let (numbers, candidate) = match text.split_once('-') {
            Some((numbers, candidate)) => (numbers, Some(candidate)),
            None => (text, None),
        };
        let numbers: Vec<u64> = numbers
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let identifier = |text: &str| match text.parse() {
            Ok(number) => Identifier::Number(number),
            Err(_) => Identifier::Word(text.to_owned()),
        };
        Some(Self {
            numbers: numbers.try_into().ok()?,
            is_release: candidate.is_none(),
            candidate: candidate
                .map(|text| text.split('.').map(identifier).collect())
                .unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::policy;
    use crate::signature::tests::{KEY, OTHER_KEY, SIGNATURE, SIGNED};
    use crate::trust::{self, ScopedFile};

    /// What is believed where each line is one of a trust.toml: `system trust KEY`, `user revoke KEY`.
    fn store(lines: &[&str]) -> TrustStore {
        let temp = tempfile::tempdir().unwrap();
        let file = |scope, name| ScopedFile {
            scope,
            path: temp.path().join(name).join("trust.toml"),
        };
        let files = [file(Scope::System, "system"), file(Scope::User, "user")];
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            let file = &files[usize::from(words[0] == "user")];
            match words[1] {
                "trust" => trust::trust(file, &PublicKey::parse(words[2]).unwrap(), "Acme").unwrap(),
                _ => trust::revoke(file, &Revocable::parse(words[2]).unwrap(), "stolen").unwrap(),
            }
        }
        TrustStore::read(&files).unwrap()
    }

    fn judge(trust: &TrustStore, policy_text: &str, bytes: &[u8]) -> Result<Standing, Inadmissible> {
        let signature = Signature::parse(SIGNATURE).unwrap();
        let policy = policy(policy_text).unwrap();
        let judges = Judges {
            trust,
            policy: &policy,
        };
        judges.install(
            &Candidate {
                plugin: "acme",
                sha256: &"ab".repeat(32),
                bytes,
                signature: Some(&signature),
            },
            &InstallAsk::default(),
        )
    }

    #[test]
    fn only_a_signature_by_a_trusted_key_over_these_bytes_counts() {
        let trusting = store(&[&format!("user trust {KEY}")]);
        assert!(judge(&trusting, "", SIGNED).unwrap().is_signed());
        assert!(matches!(
            judge(&trusting, "", b"hellp").unwrap_err(),
            Inadmissible::BadSignature { .. }
        ));
        let other = store(&[&format!("user trust {OTHER_KEY}")]);
        assert_eq!(
            judge(&other, "", SIGNED).unwrap_err().to_string(),
            "it is signed by key 2A31C37EBEE00A5A, which nobody here trusts"
        );
    }

    #[test]
    fn a_revoked_key_or_component_is_never_let_in() {
        let trust = format!("user trust {KEY}");
        let revoked = store(&[&trust, &format!("system revoke {KEY}")]);
        let error = judge(&revoked, "", SIGNED).unwrap_err().to_string();
        assert!(
            error.starts_with("it is signed by key 2A31C37EBEE00A5A, which is revoked (stolen), as /"),
            "{error}"
        );
        let component = store(&[&trust, &format!("user revoke sha256:{}", "ab".repeat(32))]);
        let error = judge(&component, "", SIGNED).unwrap_err().to_string();
        assert!(
            error.starts_with("its component is revoked (stolen), as /"),
            "{error}"
        );
    }

    #[test]
    fn a_policy_forbids_names_components_keys_and_the_users_keys() {
        let trusting = store(&[&format!("user trust {KEY}")]);
        for rule in [
            "forbid-plugins = [\"acme\"]".to_owned(),
            format!("forbid-plugins = [\"sha256:{}\"]", "ab".repeat(32)),
            format!("forbid-keys = [\"{KEY}\"]"),
        ] {
            let error = judge(&trusting, &format!("[foreign-plugins]\n{rule}"), SIGNED).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("/etc/freezer/policy.toml, line 2: {rule}")
            );
        }
        let no_user_keys = "[foreign-plugins]\nforbid-user-keys = true\nforbid-unsigned = true";
        let error = judge(&trusting, no_user_keys, SIGNED).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "which nobody here trusts; /etc/freezer/policy.toml, line 3: forbid-unsigned = true"
            ),
            "{error}"
        );
        let system = store(&[&format!("system trust {KEY}")]);
        assert!(judge(&system, no_user_keys, SIGNED).is_ok());
    }

    #[test]
    fn what_is_not_signed_may_be_loaded_but_not_installed_unless_told() {
        let (trust, policy) = (store(&[]), policy("").unwrap());
        let judges = Judges {
            trust: &trust,
            policy: &policy,
        };
        let candidate = Candidate {
            plugin: "acme",
            sha256: "aa",
            bytes: b"",
            signature: None,
        };
        let install = |allow_unsigned, sha256: Option<&str>, plain_http| {
            let ask = InstallAsk {
                allow_unsigned,
                sha256: sha256.map(str::to_owned),
                plain_http,
            };
            judges.install(&candidate, &ask)
        };
        assert_eq!(judges.load(&candidate), Ok(Standing::Unsigned));
        assert_eq!(
            install(false, None, false),
            Err(Inadmissible::NeedsSignature(Standing::Unsigned))
        );
        assert_eq!(install(true, None, false), Ok(Standing::Unsigned));
        assert_eq!(install(false, Some("aa"), true), Ok(Standing::Unsigned));
        assert!(matches!(
            install(true, Some("ab"), false),
            Err(Inadmissible::OtherDigest { .. })
        ));
        assert_eq!(
            install(true, None, true),
            Err(Inadmissible::PlainHttp(Standing::Unsigned))
        );
    }

    #[test]
    fn an_older_version_takes_no_newer_ones_place() {
        assert!(replace("1.9.0", "1.10.0", false).is_ok() && replace("1.0.0", "1.0.0", false).is_ok());
        assert!(replace("1.10.0", "1.9.0", false).is_err() && replace("1.10.0", "1.9.0", true).is_ok());
        assert!(replace("1.0.0", "1.0.0-rc.1", false).is_err());
        assert!(
            replace("1.0.0-rc.2", "1.0.0-rc.10", false).is_ok()
                && replace("1.0.0-rc.1", "1.0.0-beta", false).is_err()
        );
        assert!(
            replace("1.0.0-rc", "1.0.0-rc.1", false).is_ok() && replace("1.0.0+b", "1.0.0+a", false).is_ok()
        );
        assert!(replace("one", "two", false).is_ok());
    }
}
