//! The page on which an operator decides whether a plugin is installed or updated, in words.

use freezer_plugin::grants::{Grant, GrantSet};
use freezer_plugin::pack::PackedPlugin;
use freezer_plugin::policy::RuleLine;
use freezer_plugin::signature::Signature;
use freezer_plugin::{Discovered, Standing};

use crate::render::text;

/// The most imports that are shown; a component may have hundreds.
const MAX_IMPORTS: usize = 40;

/// A plugin that could be installed.
pub(crate) struct Offer<'a> {
    /// What it is.
    pub(crate) packed: &'a PackedPlugin,
    /// Where it came from.
    pub(crate) source: &'a str,
    /// Who vouches for it.
    pub(crate) standing: &'a Standing,
}

/// What is installed now.
pub(crate) struct Change<'a> {
    /// The component.
    pub(crate) installed: &'a Discovered,
    /// What it was granted.
    pub(crate) before: &'a GrantSet,
}

impl Offer<'_> {
    /// The page. `forbids` tells which rule of a policy forbids a grant.
    pub(crate) fn page(
        &self,
        change: Option<&Change<'_>>,
        forbids: impl Fn(&Grant) -> Option<RuleLine>,
    ) -> String {
        let manifest = self.packed.manifest();
        let asked = &manifest.grants;
        let mut out = format!(
            "{} {} ({}): {}\n\n",
            manifest.name,
            text::lines(&manifest.version),
            manifest.kind,
            text::lines(&manifest.description)
        );
        let standing = self.standing.to_string();
        for (label, value) in [
            ("from", self.source),
            ("sha256", self.packed.sha256()),
            ("signature", standing.as_str()),
            ("contract", manifest.contract.as_str()),
            ("license", manifest.license.as_str()),
        ] {
            out.push_str(&format!("{label:<10} {}\n", text::lines(value)));
        }
        if let Some(change) = change {
            self.changes(change, &mut out);
        }
        let told = |grant: Grant| match forbids(&grant) {
            Some(rule) => format!("{} (FORBIDDEN by {rule})", grant.words(manifest)),
            None => grant.words(manifest),
        };
        match change {
            None => list(&mut out, "it asks that it", asked.grants().into_iter().map(told)),
            Some(change) => {
                let kept = change.before.grants().into_iter();
                list(&mut out, "it had, and would have again, that it", kept.map(told));
                let new = asked.without(change.before).into_iter();
                list(&mut out, "it now asks besides that it", new.map(told));
            }
        }
        let before = change.map(|change| change.before.grants()).unwrap_or_default();
        let all: GrantSet = asked.grants().into_iter().chain(before).collect();
        let denials = all.denials().into_iter().map(str::to_owned);
        list(&mut out, "and whatever it tries, it", denials);
        let imports = self.packed.imports();
        let more = imports.len().saturating_sub(MAX_IMPORTS);
        let shown = imports.iter().take(MAX_IMPORTS).cloned();
        let more = (more > 0).then(|| format!("and {more} more"));
        list(
            &mut out,
            "it imports (the most that it could ask for)",
            shown.chain(more),
        );
        out
    }

    /// What is different from the installed component, apart from grants.
    fn changes(&self, change: &Change<'_>, out: &mut String) {
        let installed = change.installed;
        out.push_str(&format!("\ninstalled  sha256 {}\n", installed.sha256));
        if let Ok(old) = &installed.result {
            let (old, new) = (
                text::lines(&old.version),
                text::lines(&self.packed.manifest().version),
            );
            out.push_str(&format!("version    {old} -> {new}\n"));
        }
        let signer = |signature: Option<&Signature>| match signature {
            Some(signature) => format!("key {}", signature.key_id()),
            None => "nobody".to_owned(),
        };
        let signers = (
            signer(installed.signature.as_ref()),
            signer(self.packed.signature()),
        );
        if signers.0 != signers.1 {
            out.push_str(&format!("signed by  {} -> {}\n", signers.0, signers.1));
        }
        let imports = self.packed.imports();
        let added = imports
            .iter()
            .filter(|import| !installed.imports.contains(import));
        list(out, "imports that are new", added.cloned());
        let gone = installed
            .imports
            .iter()
            .filter(|import| !imports.contains(import));
        list(out, "imports that are gone", gone.cloned());
    }
}

fn list(out: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    out.push_str(&format!("\n{heading}\n"));
    lines.for_each(|line| out.push_str(&format!("  {}\n", text::lines(&line))));
}
