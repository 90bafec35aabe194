//! Grants in words that a person understands: "may send requests to `https://s3.example.org`".
//!
//! What a plugin asks for is its maker's text, so what is shown is what would be allowed, not what is written: of a URL its
//! origin, with `user@` and all else that misleads left out.

use url::Url;

use super::{Access, Grant, GrantKind, GrantSet, NAMED_PATH, holes};
use crate::escape;
use crate::manifest::PluginManifest;

/// The longest piece of a plugin's text in a sentence.
const MAX_PIECE: usize = 300;

impl Grant {
    /// What it allows a plugin, in words that follow "it".
    #[must_use]
    pub fn words(&self, manifest: &PluginManifest) -> String {
        let mut words = self.bare_words();
        // What a setting is by default, its maker chose.
        for hole in self.texts().into_iter().flat_map(holes) {
            let default = manifest
                .setting(hole)
                .and_then(|setting| setting.default.as_ref());
            if let Some(default) = default {
                let default = escape::line(&default.to_string(), MAX_PIECE);
                words.push_str(&format!(" ({hole} is {default} where nobody sets it)"));
            }
        }
        words
    }

    /// The texts in which a hole may stand.
    fn texts(&self) -> Vec<&str> {
        match self {
            Self::Files(grant) => vec![&grant.root],
            Self::Http(text)
            | Self::Tcp(text)
            | Self::Ssh(text)
            | Self::Sql(text)
            | Self::Snapshots(text) => {
                vec![text]
            }
            Self::Process(grant) => std::iter::once(&grant.program)
                .chain(&grant.arguments)
                .map(String::as_str)
                .collect(),
            Self::Secret(_) | Self::Bodies => Vec::new(),
        }
    }

    fn bare_words(&self) -> String {
        match self {
            Self::Files(grant) => {
                let what = match grant.access {
                    Access::ReadOnly => "read",
                    Access::ReadWrite => "read, write and delete",
                };
                format!("may {what} files in {}", directory(&grant.root))
            }
            Self::Http(entry) => format!("may send requests to {}", origin(entry)),
            Self::Tcp(to) => format!("may connect to {}", place(to)),
            Self::Ssh(to) => format!("may log in by SSH to {}", place(to)),
            Self::Sql(to) => format!("may connect to the database at {}", place(to)),
            Self::Process(grant) => {
                let mut words = format!("may run the program {}", place(&grant.program));
                match &grant.arguments {
                    Some(arguments) => words.push_str(&format!(" with arguments like {}", place(arguments))),
                    None => words.push_str(" without arguments"),
                }
                if !grant.environment.is_empty() {
                    let names = escape::line(&grant.environment.join(", "), MAX_PIECE);
                    words.push_str(&format!(", and set its variables {names}"));
                }
                words
            }
            Self::Snapshots(path) if path == NAMED_PATH => {
                "may freeze the volume of the path that is backed up".to_owned()
            }
            Self::Snapshots(path) => format!("may freeze the volume of {}", place(path)),
            Self::Secret(name) => format!("may learn its secret setting {}", escape::line(name, MAX_PIECE)),
            Self::Bodies => "may read the content of what is backed up".to_owned(),
        }
    }
}

impl GrantSet {
    /// What it doesn't allow at all, in words that follow "it".
    #[must_use]
    pub fn denials(&self) -> Vec<&'static str> {
        let granted: Vec<GrantKind> = self.grants().iter().map(Grant::kind).collect();
        let none = |kinds: &[GrantKind]| !kinds.iter().any(|kind| granted.contains(kind));
        let writes = self.files.iter().any(|grant| grant.access == Access::ReadWrite);
        let files = match (none(&[GrantKind::Files]), writes) {
            (true, _) => Some("may NOT read or write files of this machine"),
            (false, false) => Some("may NOT write files of this machine"),
            (false, true) => None,
        };
        let others = [
            (none(&[GrantKind::Http]), "may NOT send requests by HTTP"),
            (
                none(&[GrantKind::Tcp, GrantKind::Ssh, GrantKind::Sql]),
                "may NOT connect to machines and databases",
            ),
            (none(&[GrantKind::Processes]), "may NOT run programs"),
            (none(&[GrantKind::Snapshots]), "may NOT freeze volumes"),
            (
                none(&[GrantKind::Secrets]),
                "may NOT learn passwords and other secret settings",
            ),
            (
                none(&[GrantKind::Bodies]),
                "may NOT read the content of what is backed up",
            ),
        ];
        let others = others
            .into_iter()
            .filter_map(|(none, words)| none.then_some(words));
        files.into_iter().chain(others).collect()
    }
}

/// A directory, or what the word `named` stands for.
fn directory(root: &str) -> String {
    match root == NAMED_PATH {
        true => "the path that is backed up".to_owned(),
        false => place(root),
    }
}

/// A text with its holes told: "what its setting path names" where it is nothing but a hole.
fn place(text: &str) -> String {
    let shown = escape::line(text, MAX_PIECE);
    let whole = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if let Some(name) = whole.filter(|name| !name.contains(['{', '}'])) {
        return format!("what its setting {} names", escape::line(name, MAX_PIECE));
    }
    match holes(text).next() {
        Some(_) => format!("{shown:?}, with its settings filled in"),
        None => format!("{shown:?}"),
    }
}

/// Where requests may go by an entry of `http`.
fn origin(entry: &str) -> String {
    let (site, text) = match entry.strip_prefix("site:") {
        Some(rest) => (true, rest),
        None => (false, entry),
    };
    let name = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && holes(text).next().is_none() => {
            url.origin().ascii_serialization()
        }
        _ if holes(text).next().is_some() => place(text),
        _ => {
            return format!(
                "nobody: {:?} is no http or https URL",
                escape::line(entry, MAX_PIECE)
            );
        }
    };
    match site {
        true => format!("{name} and whatever lies beside it, on any port"),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        Grant::parse(text).unwrap().bare_words()
    }

    #[test]
    fn what_a_hole_is_by_default_is_told_too() {
        let manifest = "name = \"acme\"\nkind = \"mode\"\nversion = \"1.0.0\"\ncontract = \"1.0.0\"\nlicense = \"MIT\"\n\
            description = \"d\"\n[[setting]]\nname = \"path\"\ntype = \"text\"\nhelp = \"h\"\ndefault = \"/\"\n";
        let manifest = PluginManifest::parse(manifest.as_bytes()).unwrap();
        let words = |text: &str| Grant::parse(text).unwrap().words(&manifest);
        assert_eq!(
            words("files={path}:read-only"),
            "may read files in what its setting path names (path is \"/\" where nobody sets it)"
        );
        assert_eq!(words("files=/srv:read-only"), "may read files in \"/srv\"");
    }

    #[test]
    fn each_kind_is_told_in_words() {
        for (text, told) in [
            ("files=/srv:read-only", "may read files in \"/srv\""),
            (
                "files=named:read-only",
                "may read files in the path that is backed up",
            ),
            (
                "files={path}:read-write",
                "may read, write and delete files in what its setting path names",
            ),
            (
                "files={path}/sub:read-only",
                "may read files in \"{path}/sub\", with its settings filled in",
            ),
            (
                "http=https://s3.example.org",
                "may send requests to https://s3.example.org",
            ),
            (
                "http=site:{auth-url}",
                "may send requests to what its setting auth-url names and whatever lies beside it, on any port",
            ),
            ("ssh=h:22", "may log in by SSH to \"h:22\""),
            ("sql=h:1", "may connect to the database at \"h:1\""),
            ("tcp=h:1", "may connect to \"h:1\""),
            (
                "processes=/bin/true",
                "may run the program \"/bin/true\" without arguments",
            ),
            (
                "processes=A= /bin/dump --all *",
                "may run the program \"/bin/dump\" with arguments like \"--all *\", and set its variables A",
            ),
            (
                "snapshots=named",
                "may freeze the volume of the path that is backed up",
            ),
            ("secrets=password", "may learn its secret setting password"),
            ("bodies", "may read the content of what is backed up"),
        ] {
            assert_eq!(words(text), told);
        }
    }

    #[test]
    fn what_is_shown_is_what_would_be_allowed() {
        for (text, told) in [
            (
                "http=https://good.example@evil.example/good.example",
                "may send requests to https://evil.example",
            ),
            (
                "http=https://xn--e1aybc.example/",
                "may send requests to https://xn--e1aybc.example",
            ),
            (
                "http=https://\u{440}aypal.example",
                "may send requests to https://xn--aypal-uye.example",
            ),
            (
                "http=*",
                "may send requests to nobody: \"*\" is no http or https URL",
            ),
            ("secrets=a\u{1b}[2Jb", "may learn its secret setting a\\u{1b}[2Jb"),
        ] {
            assert_eq!(words(text), told);
        }
    }

    #[test]
    fn what_is_not_granted_is_told_too() {
        let none = GrantSet::default();
        assert_eq!(none.denials().len(), 7);
        let set: GrantSet = ["files=/srv:read-only", "ssh=h:22", "bodies"]
            .iter()
            .map(|text| Grant::parse(text).unwrap())
            .collect();
        let told = set.denials();
        assert!(told.contains(&"may NOT write files of this machine"), "{told:?}");
        assert_eq!(told.len(), 5);
    }
}
