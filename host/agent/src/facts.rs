//! What the road reports, in the manifest's terms.

use freezer_format::manifest::{Counts, DataFacts, NotedWarning};
use freezer_pipeline::BackupReport;
use freezer_pipeline::counters::Warning;

pub(crate) fn data_facts(report: &BackupReport) -> DataFacts {
    let data = &report.data;
    DataFacts {
        bytes: data.bytes,
        plain: data.plain,
        segment: data.segment,
        segments: data.segments,
        sha256: data.sha256,
    }
}

pub(crate) fn counts(report: &BackupReport) -> Counts {
    let counts = &report.counts;
    Counts {
        files: counts.files,
        directories: counts.directories,
        symlinks: counts.symlinks,
        hard_links: counts.hard_links,
        others: counts.others,
        new: counts.new,
        changed: counts.changed,
        unchanged: counts.unchanged,
        removed: counts.removed,
        excluded: counts.excluded,
        sockets_skipped: counts.sockets_skipped,
        unreadable: counts.unreadable,
        inexact: counts.inexact,
        vanished: counts.vanished,
        bytes: counts.bytes,
    }
}

pub(crate) fn noted_warning(warning: &Warning) -> NotedWarning {
    let (path, cut) = warning.shown_path();
    NotedWarning {
        path: format!("{}{cut}", path.escape_ascii()),
        message: warning.message.clone(),
    }
}
