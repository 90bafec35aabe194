//! Lets a plugin's lines through to the log, escaped, cut, and not too many of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::escape;
use crate::run::Run;
use crate::usage::Meter;

/// The most warnings of one plugin in one run: they all end up in the manifest.
const MAX_WARNINGS: u32 = 1000;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    Info,
    Warning,
}

/// The gate of one plugin in one run.
pub(crate) struct LogGate {
    plugin: String,
    lines_per_second: u32,
    meter: Arc<Meter>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    second_began: Option<Instant>,
    in_second: u32,
    left_out: u64,
    warnings: u32,
}

impl LogGate {
    pub(crate) fn new(plugin: &str, lines_per_second: u32, meter: Arc<Meter>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            lines_per_second,
            meter,
            state: Mutex::default(),
        }
    }

    /// Takes one line.
    pub(crate) fn line(&self, run: &Run, level: Level, text: &str) {
        let admitted = self.admit(level);
        self.meter.logged(admitted);
        if !admitted {
            return;
        }
        let plugin = self.plugin.as_str();
        let text = escape::line(text, escape::MAX_LINE);
        match level {
            Level::Debug => tracing::debug!(plugin, "{text}"),
            Level::Info => tracing::info!(plugin, "{text}"),
            // A listing that is made again passes over the same things again.
            Level::Warning => run.warn_once(format!("plugin {plugin}: {text}")),
        }
    }

    fn admit(&self, level: Level) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state
            .second_began
            .is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1))
        {
            state.second_began = Some(now);
            state.in_second = 0;
        }
        state.in_second = state.in_second.saturating_add(1);
        state.warnings = state.warnings.saturating_add(u32::from(level == Level::Warning));
        let admitted = state.in_second <= self.lines_per_second
            && (level != Level::Warning || state.warnings <= MAX_WARNINGS);
        state.left_out += u64::from(!admitted);
        admitted
    }
}

impl Drop for LogGate {
    fn drop(&mut self) {
        let left_out = self
            .state
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .left_out;
        if left_out > 0 {
            tracing::warn!(
                plugin = self.plugin,
                left_out,
                "the plugin logged too much: lines were left out"
            );
        }
    }
}
