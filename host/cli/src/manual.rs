//! Manual pages and completion scripts, made from the definition of the command line.

use std::path::Path;

use crate::args;
use crate::compat::{self, Era};
use crate::exit::{Exit, Failure};

/// The page of a verb, or of freezer itself, in roff.
///
/// # Errors
/// When there is no such verb.
pub(crate) fn page(verb: Option<&str>) -> Result<Vec<u8>, Failure> {
    let pages = pages()?;
    let wanted = verb.map_or_else(
        || "freezer".to_owned(),
        |verb| format!("freezer-{}", verb.replace(' ', "-")),
    );
    let names: Vec<String> = pages
        .iter()
        .skip(1)
        .map(|(name, _)| name.replacen("freezer-", "", 1))
        .collect();
    let found = pages
        .into_iter()
        .find(|(name, _)| *name == wanted || Some(name.as_str()) == verb)
        .map(|(_, page)| page);
    found.ok_or_else(|| {
        Failure::usage(format!("no verb is named {:?}", verb.unwrap_or_default()))
            .advise(format!("there are {}", names.join(", ")))
    })
}

/// Writes all pages into a directory, which is made if absent.
///
/// # Errors
/// When a file can't be written.
pub(crate) fn write_pages(directory: &Path) -> Result<usize, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(Exit::Failed, format!("can't write {path:?}"))
            .because(error.to_string())
            .advise("name a directory that this user may write with --output-dir")
    };
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let pages = pages()?;
    for (name, page) in &pages {
        let path = directory.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(|error| failed(&path, error))?;
    }
    Ok(pages.len())
}

/// A completion script.
pub(crate) fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "freezer", &mut script);
    script
}

/// Every page with its name, freezer's own first.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut command = args::command();
    command.build();
    let mut pages = Vec::new();
    collect(&command, "freezer", &mut pages)
        .map_err(|error| Failure::new(Exit::Failed, "can't make the manual").because(error.to_string()))?;
    for era in [Era::Agent, Era::Freezerc] {
        pages.push((era.program().to_owned(), compat::page(era).into_bytes()));
    }
    Ok(pages)
}

/// The pages of a command and of those below it.
fn collect(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .date("")
        .source(concat!("freezer ", env!("CARGO_PKG_VERSION")))
        .manual("Freezer")
        .render(&mut page)?;
    pages.push((name.to_owned(), page));
    for verb in command.get_subcommands() {
        collect(verb, &format!("{name}-{}", verb.get_name()), pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_that_says_its_options() {
        let page = String::from_utf8(page(Some("backup")).expect("a page")).expect("text");
        assert!(page.contains("max\\-segment\\-size"), "{page}");
        assert!(
            String::from_utf8(super::page(None).expect("a page"))
                .expect("text")
                .contains("Exit codes")
        );
        assert!(
            page.contains(concat!("\"freezer ", env!("CARGO_PKG_VERSION"), "\"")),
            "{page}"
        );
        for name in ["plugin inspect", "agent", "freezerc"] {
            assert!(super::page(Some(name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_unknown_verb_is_told_which_there_are() {
        let failure = page(Some("frobnicate")).expect_err("unknown");
        assert!(failure.next[0].contains("backup, restore"), "{failure:?}");
    }
}
