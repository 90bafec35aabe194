//! Asks the operator what a plugin may do, or takes the answer that was given beforehand.

use std::io::{BufRead, Read};

use freezer_plugin::grants::{Grant, GrantSet};
use freezer_plugin::{PluginHost, PluginManifest};

use super::Context;
use crate::command::Consent;
use crate::exit::{Exit, Failure};
use crate::render::{Style, complain};

/// The longest answer that is read.
const MAX_ANSWER: u64 = 1000;

/// What can be answered.
const ANSWERS: &str = "to change it, run it again and answer yes, or none for none of what it asks for";

/// What is to be approved.
pub(super) struct Request<'a> {
    /// The page that shows it.
    pub(super) page: String,
    /// The command up to its options, for whoever can't be asked.
    pub(super) command: String,
    /// What is allowed by "yes".
    pub(super) proposed: &'a GrantSet,
    /// The question.
    pub(super) question: &'a str,
}

/// What the operator allows.
///
/// # Errors
/// When the answer is no, or nobody can be asked.
pub(super) fn ask(request: &Request<'_>, context: &Context) -> Result<GrantSet, Failure> {
    let output = &context.output;
    if !context.config.environment.can_ask || output.style == Style::Json {
        let mut command = format!("{} --yes", request.command);
        for grant in request.proposed.grants() {
            command.push_str(&format!(" --grant {}", quote(&grant.to_string())));
        }
        output.insist(&request.page);
        return Err(
            Failure::usage("nobody can be asked for approval here, so nothing was changed")
                .because("standard input and standard error aren't both a terminal")
                .advise(format!("to allow all that it asks for: {command}"))
                .advise("leave a --grant out to allow less"),
        );
    }
    complain(&request.page);
    complain(request.question);
    let mut answer = String::new();
    let read = std::io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer);
    read.map_err(|error| {
        Failure::new(Exit::Failed, "can't read the answer")
            .because(error.to_string())
            .advise(ANSWERS)
    })?;
    match answer.trim() {
        "yes" | "y" => Ok(request.proposed.clone()),
        "none" => Ok(GrantSet::default()),
        _ => Err(Failure::new(Exit::Failed, "not approved, so nothing was changed").advise(ANSWERS)),
    }
}

/// What was allowed beforehand; each must be well formed for this plugin and no policy may forbid it.
pub(super) fn consented(consent: &Consent, manifest: &PluginManifest) -> GrantSet {
    let mut grants: Vec<Grant> = Vec::new();
    if consent.asked {
        grants.extend(manifest.grants.grants());
    }
    let more = consent.grants.iter().filter(|grant| !grants.contains(grant));
    let more: Vec<Grant> = more.cloned().collect();
    grants.extend(more);
    grants.into_iter().collect()
}

/// Refuses grants that make no sense for a plugin, and those that a policy forbids.
///
/// # Errors
/// The first of them, with the line that forbids it.
pub(super) fn check(
    set: &GrantSet,
    manifest: &PluginManifest,
    host: &PluginHost,
    first_party: bool,
) -> Result<(), Failure> {
    let name = &manifest.name;
    manifest.check_grants(set).map_err(|why| {
        Failure::usage(format!("plugin {name} can't be granted that: {why}"))
            .advise(format!("freezer plugin inspect {name} lists its settings"))
    })?;
    for grant in set.grants() {
        if let Some(rule) = host.forbids(&grant, first_party) {
            return Err(Failure::new(
                Exit::Failed,
                format!("a policy forbids to grant {grant} to plugin {name}"),
            )
            .because(rule.to_string())
            .advise("leave it out; or whoever made the policy can take the line away"));
        }
    }
    Ok(())
}

/// A word for the shell.
pub(super) fn quote(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shell_would_read_is_quoted() {
        assert_eq!(quote("http=https://a:1/b"), "http=https://a:1/b");
        assert_eq!(quote("files={path}:read-only"), "'files={path}:read-only'");
        assert_eq!(quote("a'b $(c)"), r"'a'\''b $(c)'");
        assert_eq!(quote(""), "''");
    }
}
