//! The log: on standard error in the words of all other messages, with times and places in a log file.
//!
//! A person reads `warning: …` and can't tell, and needn't, whether the run or the log said it.

use std::fmt;
use std::path::Path;
use std::sync::Mutex;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::GlobalArgs;
use crate::exit::{Exit, Failure};
use crate::render::text;

/// Starts the log: warnings on standard error, more on request, also into a file where one is asked for.
///
/// # Errors
/// When the file can't be opened.
pub(crate) fn start(global: &GlobalArgs, file: Option<&Path>) -> Result<(), Failure> {
    let level = match global.verbose {
        0 if global.quiet => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // What libraries say of every connection would bury what the program says.
    let others = if global.verbose > 2 {
        level
    } else {
        level.min(LevelFilter::WARN)
    };
    let levels = Targets::new().with_default(others).with_target("freezer", level);
    let file = file.map(open).transpose()?;
    let standard_error = tracing_subscriber::fmt::layer()
        .event_format(Line)
        .with_writer(std::io::stderr);
    let file = file.map(|file| {
        tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(Mutex::new(file))
    });
    tracing_subscriber::registry()
        .with(levels)
        .with(standard_error)
        .with(file)
        .init();
    Ok(())
}

fn open(path: &Path) -> Result<std::fs::File, Failure> {
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| {
        Failure::new(Exit::Failed, format!("can't open the log file {path:?}")).because(error.to_string())
    })
}

/// One line: its weight, for details its place in the program, and what it says.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = String::new();
        context
            .field_format()
            .format_fields(Writer::new(&mut said), event)?;
        let said = text::lines(&said);
        match *event.metadata().level() {
            Level::ERROR => writeln!(writer, "error: {said}"),
            Level::WARN => writeln!(writer, "warning: {said}"),
            Level::INFO => writeln!(writer, "info: {said}"),
            _ => writeln!(writer, "debug: {}: {said}", event.metadata().target()),
        }
    }
}
