//! Which rule of a policy forbids what a plugin asks for.

use super::{Access, Ask, Grant};
use crate::policy::{Forbidden, Policy, Rule, RuleLine};

/// The rules that hold for a plugin of a run.
pub(crate) fn rules(policy: &Policy, first_party: bool) -> Vec<Rule> {
    let holds = |rule: &&Rule| !(rule.only_foreign && first_party);
    policy.rules().iter().filter(holds).cloned().collect()
}

/// The first rule that forbids it. What the user named himself needs no grant, so rules about grants don't hold for it.
pub(super) fn rule<'a>(rules: &'a [Rule], ask: &Ask<'_>) -> Option<&'a Rule> {
    rules.iter().find(|rule| match &rule.what {
        Forbidden::Grant(kind, least) => {
            ask.kind == Some(*kind)
                && least.is_none_or(|least: Access| ask.access.is_some_and(|asked| asked >= least))
        }
        Forbidden::Host(pattern) => ask.host.is_some_and(|host| pattern.fits(host)),
        // Judged when a component is let in.
        Forbidden::Plugin(_)
        | Forbidden::Component(_)
        | Forbidden::Key(_)
        | Forbidden::Unsigned
        | Forbidden::UserKeys
        | Forbidden::SharedProcess => false,
    })
}

/// The rule that forbids a grant by itself, before anything is asked.
pub(crate) fn forbids(rules: &[Rule], grant: &Grant) -> Option<RuleLine> {
    let access = match grant {
        Grant::Files(files) => Some(files.access),
        _ => None,
    };
    let url;
    let host = match grant {
        Grant::Http(entry) => {
            url = url::Url::parse(entry.strip_prefix("site:").unwrap_or(entry)).ok();
            url.as_ref()
                .and_then(|url| url.host_str())
                .map(|host| host.trim_matches(['[', ']']))
        }
        Grant::Tcp(place) | Grant::Ssh(place) | Grant::Sql(place) => host_of(place),
        _ => None,
    };
    let ask = Ask {
        kind: Some(grant.kind()),
        access,
        host,
        request: String::new(),
        line: String::new(),
    };
    rule(rules, &ask).map(|rule| rule.line.clone())
}

/// The host of `host:port`, without brackets; none of a socket's path.
pub(super) fn host_of(place: &str) -> Option<&str> {
    if place.starts_with('/') {
        return None;
    }
    let (host, _) = place.rsplit_once(':')?;
    Some(host.trim_matches(['[', ']']))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::grants::{Grants, Network};
    use crate::policy::tests::policy;
    use crate::settings::Settings;

    fn grants(granted: &str, forbidden: &str) -> Grants {
        let policy = policy(forbidden).unwrap();
        let granted = toml::from_str(granted).unwrap();
        Grants::new("acme", "00", &granted, &Settings::new()).under(rules(&policy, false))
    }

    #[test]
    fn what_is_granted_and_forbidden_is_refused_by_the_line_that_forbids_it() {
        let granted = "bodies = true\nsql = [\"db.internal:3306\"]\ntcp = [\"10.0.0.7:9\"]";
        let grants = grants(
            granted,
            "[every-plugin]\nforbid-hosts = [\"*.internal\", \"10.0.0.0/8\"]\n[foreign-plugins]\nforbid-grants = [\"bodies\"]",
        );
        let refusal = grants.bodies().unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "a policy forbids plugin acme to read the backup's own bytes: \
             /etc/freezer/policy.toml, line 4: forbid-grants = [\"bodies\"]"
        );
        let refusal = grants.network(Network::Sql, "db.internal:3306").unwrap_err();
        assert_eq!(refusal.rule.unwrap().line, 2);
        assert!(grants.network(Network::Tcp, "10.0.0.7:9").is_err());
    }

    #[test]
    fn writing_can_be_forbidden_apart_from_reading() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().to_str().unwrap();
        let granted = format!("files = [{{ root = {root:?}, access = \"read-write\" }}]");
        let grants = grants(&granted, "[every-plugin]\nforbid-grants = [\"files:read-write\"]");
        assert!(grants.directory(root, Access::ReadOnly, &[]).is_ok());
        assert!(grants.directory(root, Access::ReadWrite, &[]).is_err());
        assert!(grants.tree(temp.path(), &[]).is_ok() && grants.target(temp.path(), None).is_err());
        let named = Path::new(root);
        assert!(
            grants.target(named, Some(named)).is_ok(),
            "the user named it himself"
        );
    }

    #[test]
    fn a_grant_is_forbidden_before_it_is_given() {
        let policy =
            policy("[every-plugin]\nforbid-hosts = [\"*.internal\"]\nforbid-grants = [\"files:read-write\"]")
                .unwrap();
        let rules = rules(&policy, false);
        let line = |text: &str| forbids(&rules, &Grant::parse(text).unwrap()).map(|rule| rule.line);
        assert_eq!(line("http=https://s3.internal:8443/x"), Some(2));
        assert_eq!(line("sql=db.internal:1"), Some(2));
        assert_eq!(line("files=/srv:read-write"), Some(3));
        assert_eq!(
            (
                line("files=/srv:read-only"),
                line("http={endpoint}"),
                line("bodies")
            ),
            (None, None, None)
        );
    }

    #[test]
    fn rules_about_foreign_plugins_leave_our_own_alone() {
        let policy = policy("[foreign-plugins]\nforbid-grants = [\"bodies\"]").unwrap();
        assert_eq!((rules(&policy, false).len(), rules(&policy, true).len()), (1, 0));
    }

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        for (place, host) in [
            ("db1:3306", Some("db1")),
            ("[fd00::1]:22", Some("fd00::1")),
            ("/run/mysqld.sock", None),
            ("db1", None),
        ] {
            assert_eq!(host_of(place), host, "{place}");
        }
    }
}
