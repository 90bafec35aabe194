//! What is made when all files are there: symbolic links and nodes, then hard links, then the state of directories.
//!
//! Hard links may lead to symbolic links and nodes, so they come after them. Neither is made through a symbolic link:
//! every path is opened component by component without following.

use super::report::Reporter;
use super::selection::Selection;
use super::spool::{MergedBackward, Spool};
use super::target::TargetWriter;
use super::unit::Shared;
use super::{RestoreError, RestoreReport};
use crate::counters::WarningKind;
use freezer_format::tar::MemberKind;

/// Makes the symbolic links, FIFOs and devices of some lists.
pub(super) fn make_specials(
    lists: Vec<Spool>,
    maker: &mut TargetWriter<'_>,
    shared: &Shared<'_>,
) -> Result<(), RestoreError> {
    let reporter = shared.reporter;
    for list in lists {
        let mut list = list.forward().map_err(RestoreError::Spool)?;
        while let Some(member) = list.next().map_err(RestoreError::Spool)? {
            reporter.context.cancel.check()?;
            match maker.make_special(&member) {
                Ok(outcome) => {
                    reporter.count_other(|report| count_special(report, member.kind));
                    reporter.attributes(&member.path, outcome)?;
                }
                Err(error) => {
                    shared.remember_failure(&member.path);
                    reporter.left_out(&member.path, &error)?;
                }
            }
        }
    }
    Ok(())
}

/// Makes the hard links of a list. Answers those whose content lies at a path that isn't selected.
pub(super) fn make_links(
    links: Spool,
    maker: &mut TargetWriter<'_>,
    selection: &Selection,
    shared: &Shared<'_>,
) -> Result<Option<Spool>, RestoreError> {
    let reporter = shared.reporter;
    let mut outside = Spool::new();
    let mut links = links.forward().map_err(RestoreError::Spool)?;
    while let Some(link) = links.next().map_err(RestoreError::Spool)? {
        reporter.context.cancel.check()?;
        if !selection.contains(&link.link) {
            outside.push(&link).map_err(RestoreError::Spool)?;
            continue;
        }
        if shared.has_failed(&link.link) {
            let text = "left out, since what it names couldn't be made".to_owned();
            reporter.warn(&link.path, WarningKind::Unsupported, text, true);
            continue;
        }
        match maker.hard_link(&link.path, &link.link) {
            Ok(()) => reporter.count_other(|report| report.hard_links += 1),
            Err(error) => reporter.left_out(&link.path, &error)?,
        }
    }
    Ok(Some(outside).filter(|outside| !outside.is_empty()))
}

/// Counts what a dry run would have made.
pub(super) fn count_unmade(
    specials: Vec<Spool>,
    links: Spool,
    reporter: &Reporter<'_>,
) -> Result<(), RestoreError> {
    for list in specials {
        let mut list = list.forward().map_err(RestoreError::Spool)?;
        while let Some(member) = list.next().map_err(RestoreError::Spool)? {
            reporter.count_other(|report| count_special(report, member.kind));
        }
    }
    let mut links = links.forward().map_err(RestoreError::Spool)?;
    while links.next().map_err(RestoreError::Spool)?.is_some() {
        reporter.count_other(|report| report.hard_links += 1);
    }
    Ok(())
}

/// Counts a link or node by its kind.
pub(super) fn count_special(report: &mut RestoreReport, kind: MemberKind) {
    match kind {
        MemberKind::Symlink => report.symlinks += 1,
        _ => report.others += 1,
    }
}

/// Brings directories to their final state, the deepest first. A root that is only on the way stays as it is.
pub(super) fn finish_directories(
    lists: Vec<Spool>,
    maker: &mut TargetWriter<'_>,
    reporter: &Reporter<'_>,
    selection: &Selection,
) -> Result<(), RestoreError> {
    let mut merged = MergedBackward::new(lists).map_err(RestoreError::Spool)?;
    while let Some(member) = merged.next().map_err(RestoreError::Spool)? {
        reporter.context.cancel.check()?;
        if member.path.is_empty() && !selection.is_all() {
            continue;
        }
        match maker.finish_directory(&member) {
            Ok(outcome) => reporter.attributes(&member.path, outcome)?,
            Err(error) => reporter.left_out(&member.path, &error)?,
        }
    }
    Ok(())
}
