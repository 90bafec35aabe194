//! Judges the options of `freezer plugin`.

use freezer_plugin::grants::Grant;
use freezer_plugin::{InstallAsk, Scope};

use super::author;
use crate::args::{AcceptArgs, ConsentArgs, PluginVerb, ScopeArgs};
use crate::command::{Accept, AuthorCommand, Consent, PluginCommand, Renewal};
use crate::exit::Failure;

/// The word for all that a plugin asks for.
const ASKED: &str = "asked";

/// Judges a verb.
///
/// # Errors
/// When a text is no grant or no digest, or grants are given without consent.
pub(super) fn judge(verb: PluginVerb) -> Result<PluginCommand, Failure> {
    Ok(match verb {
        PluginVerb::List => PluginCommand::List,
        PluginVerb::Inspect(args) => PluginCommand::Inspect(args.name),
        PluginVerb::Install(args) => PluginCommand::Install {
            source: args.source,
            accept: accept(args.accept)?,
            consent: consent(&args.consent)?,
            scope: scope(args.scope),
        },
        PluginVerb::Update(args) => {
            let keep = args.keep_grants;
            PluginCommand::Update {
                name: args.name,
                source: args.source,
                accept: accept(args.accept)?,
                consent: consent(&args.consent)?.map(|more| Renewal { keep, more }),
                scope: scope(args.scope),
            }
        }
        PluginVerb::Remove(args) => PluginCommand::Remove(args.name, scope(args.scope)),
        PluginVerb::Verify(args) => PluginCommand::Verify(args.names),
        PluginVerb::Grant(args) => PluginCommand::Grant {
            name: args.name,
            grants: grants(&args.grants)?,
            scope: scope(args.scope),
        },
        PluginVerb::Revoke(args) => PluginCommand::Revoke {
            name: args.name,
            grants: args
                .grants
                .iter()
                .map(|text| grant(text))
                .collect::<Result<_, _>>()?,
            scope: scope(args.scope),
        },
        PluginVerb::Trust(args) => match args.key {
            None => PluginCommand::Keys,
            Some(key) => PluginCommand::Trust {
                key,
                name: args.name,
                scope: scope(args.scope),
            },
        },
        PluginVerb::Distrust(args) => PluginCommand::Distrust {
            what: args.what,
            why: args.why,
            scope: scope(args.scope),
        },
        PluginVerb::New(args) => PluginCommand::Author(author::new(args)),
        PluginVerb::Build(args) => PluginCommand::Author(AuthorCommand::Build(author::work(args))),
        PluginVerb::Test(args) => PluginCommand::Author(AuthorCommand::Test(author::work(args))),
        PluginVerb::Pack(args) => PluginCommand::Author(author::pack(args)),
        PluginVerb::Docs(args) => PluginCommand::Author(author::docs(args)),
    })
}

fn scope(args: ScopeArgs) -> Scope {
    match args.system {
        true => Scope::System,
        false => Scope::User,
    }
}

fn accept(args: AcceptArgs) -> Result<Accept, Failure> {
    let digest = |text: String| match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(Failure::usage(format!("--sha256 {text:?} is no digest"))
            .advise("give the 64 hex digits that sha256sum prints")),
    };
    Ok(Accept {
        ask: InstallAsk {
            allow_unsigned: args.allow_unsigned,
            sha256: args.sha256.map(digest).transpose()?,
            plain_http: false,
        },
        downgrade: args.allow_downgrade,
        authorities: args.cacert,
    })
}

/// Consent counts only if it is said: `--grant` alone would be asked for again.
fn consent(args: &ConsentArgs) -> Result<Option<Consent>, Failure> {
    let grants = grants(&args.grant)?;
    match (args.yes, args.grant.is_empty()) {
        (true, _) => Ok(Some(grants)),
        (false, true) => Ok(None),
        (false, false) => Err(Failure::usage("--grant is given without --yes")
            .advise("add --yes, or leave --grant out and be asked")),
    }
}

fn grants(texts: &[String]) -> Result<Consent, Failure> {
    let named = texts.iter().filter(|text| *text != ASKED);
    Ok(Consent {
        asked: texts.iter().any(|text| text == ASKED),
        grants: named.map(|text| grant(text)).collect::<Result<_, _>>()?,
    })
}

fn grant(text: &str) -> Result<Grant, Failure> {
    Grant::parse(text).map_err(|error| {
        Failure::usage(error.to_string())
            .advise("freezer plugin inspect NAME shows what a plugin asks for in this form")
    })
}
