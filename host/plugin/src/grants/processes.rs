//! Which commands may be run, with which arguments and variables.

use std::path::Path;

use super::{Ask, GrantKind, Grants, ProcessGrant, fill};
use crate::error::Refusal;
use crate::settings::Settings;

/// A command that may be run, its holes filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    program: String,
    /// For each argument the texts between its wildcards: a value that a hole stands for is text whatever is in it.
    arguments: Vec<Vec<String>>,
    environment: Vec<String>,
}

impl Command {
    pub(super) fn new(grant: &ProcessGrant, settings: &Settings) -> Option<Self> {
        let words = grant
            .arguments
            .iter()
            .flat_map(|pattern| pattern.split_ascii_whitespace());
        let arguments = words.map(|word| word.split('*').map(|text| fill(text, settings)).collect());
        Some(Self {
            program: fill(&grant.program, settings)?,
            arguments: arguments.collect::<Option<_>>()?,
            environment: grant.environment.clone(),
        })
    }

    /// What the loader, an interpreter or a library takes for orders isn't set by a plugin, so what is known is named.
    fn allows_variable(&self, name: &str) -> bool {
        let harmless = matches!(name, "LANG" | "LANGUAGE" | "TZ") || name.starts_with("LC_");
        harmless || self.environment.iter().any(|granted| granted == name)
    }

    fn allows(&self, program: &str, arguments: &[String]) -> bool {
        let pairs = || self.arguments.iter().zip(arguments);
        self.program == program
            && Path::new(program).is_absolute()
            && self.arguments.len() == arguments.len()
            && pairs().all(|(pieces, argument)| matches_pieces(pieces, argument))
    }
}

impl Grants {
    /// May it run this command of this machine?
    pub(crate) fn command(
        &self,
        program: &str,
        arguments: &[String],
        variables: &[&str],
    ) -> Result<(), Refusal> {
        let fitting = || {
            self.commands
                .iter()
                .filter(|command| command.allows(program, arguments))
        };
        let allows_all = |command: &Command| variables.iter().all(|name| command.allows_variable(name));
        let granted = fitting().any(allows_all);
        let joined = arguments.join(" ");
        let mut request = format!("to run {program:?} with arguments {joined:?}");
        let mut environment = String::new();
        if !variables.is_empty() {
            request.push_str(&format!(" and the variables {variables:?}"));
            environment = format!(", environment = {variables:?}");
        }
        let line = format!("processes = [{{ program = {program:?}, arguments = {joined:?}{environment} }}]");
        let ask = Ask::new(GrantKind::Processes, request, line);
        self.decide(ask, granted.then_some(()))
    }
}

/// Matches `text` against the pieces between wildcards, in linear space and without recursion.
fn matches_pieces(pieces: &[String], text: &str) -> bool {
    let Some((first, pieces)) = pieces.split_first() else {
        return text.is_empty();
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    let Some((last, pieces)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece.as_str()) {
            Some(place) => rest = &rest[place + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SettingValue;

    fn grants(toml: &str) -> Grants {
        let mut settings = Settings::new();
        settings.set("host", SettingValue::Text("db1".to_owned()));
        Grants::new("p", "00", &toml::from_str(toml).unwrap(), &settings)
    }

    #[test]
    fn commands_must_fit_the_whole_pattern() {
        let dump = grants("processes = [{ program = \"/usr/bin/dump\", arguments = \"--out * --all\" }]");
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(
            dump.command("/usr/bin/dump", &words("--out x --all"), &[])
                .is_ok()
        );
        assert!(
            dump.command("/usr/bin/dump", &words("--out x --exec=sh --all"), &[])
                .is_err(),
            "a wildcard is one argument"
        );
        let spaced = ["--out", "a b", "--all"].map(str::to_owned);
        assert!(dump.command("/usr/bin/dump", &spaced, &[]).is_ok());
        assert!(
            dump.command("/usr/bin/dump", &words("--out x --all --exec sh"), &[])
                .is_err()
        );
        assert!(dump.command("/usr/bin/dump", &[], &[]).is_err());
        assert!(dump.command("dump", &words("--out x --all"), &[]).is_err());
        let bare = grants("processes = [{ program = \"/bin/true\" }]");
        assert!(
            bare.command("/bin/true", &[], &[]).is_ok()
                && bare.command("/bin/true", &words("x"), &[]).is_err()
        );
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*a", "a", false),
            ("a*b*c", "axbxc", true),
            ("", "x", false),
        ] {
            let pieces: Vec<String> = pattern.split('*').map(str::to_owned).collect();
            assert_eq!(matches_pieces(&pieces, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn only_named_variables_may_be_set() {
        let text = "processes = [{ program = \"/bin/dump\", environment = [\"PGPASSFILE\"] }]";
        let granted = grants(text);
        let run = |variables: &[&str]| granted.command("/bin/dump", &[], variables);
        assert!(run(&["PGPASSFILE", "LC_ALL", "TZ"]).is_ok());
        for refused in ["LD_PRELOAD", "PATH", "HOME", "BASH_ENV", "PGPASSFILE2", ""] {
            let refusal = run(&["LANG", refused]).unwrap_err();
            assert!(
                refusal.line.contains("environment = [\"LANG\""),
                "{}",
                refusal.line
            );
        }
    }

    #[test]
    fn an_input_of_a_command_stands_for_itself_in_its_pattern() {
        let text = "processes = [{ program = \"/bin/dump\", arguments = \"--file={input:login} {host}\" }]";
        let granted = grants(text);
        let run = |first: &str| granted.command("/bin/dump", &[first.to_owned(), "db1".to_owned()], &[]);
        assert!(run("--file={input:login}").is_ok());
        assert!(run("--file=/etc/passwd").is_err() && run("--file={input:other}").is_err());
    }
}
