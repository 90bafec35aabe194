//! `control`: logging, progress, cancelling, waiting, secrets.

use std::time::{Duration, Instant};

use crate::bindings::v1::imports::freezer::plugin::control::{Host, LogLevel};
use crate::bindings::v1::imports::freezer::plugin::types::Error;
use crate::escape;
use crate::guest::GuestState;
use crate::log_gate::Level;

/// The longest wait, as the contract says.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How soon a waiting guest notices that the run was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);
/// The longest activity on the progress line.
const MAX_ACTIVITY: usize = 200;

impl Host for GuestState {
    async fn log(&mut self, level: LogLevel, message: String) -> wasmtime::Result<()> {
        let _in_host = self.clock.host();
        let level = match level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warning => Level::Warning,
        };
        self.context.log(level, &message);
        Ok(())
    }

    async fn progress(&mut self, activity: String, percent: Option<u8>) -> wasmtime::Result<()> {
        let _in_host = self.clock.host();
        let activity = escape::line(&activity, MAX_ACTIVITY);
        self.context
            .run
            .progress(activity, percent.map(|percent| percent.min(100)));
        Ok(())
    }

    async fn is_cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(GuestState::is_cancelled(self))
    }

    async fn wait(&mut self, milliseconds: u32) -> wasmtime::Result<Result<(), Error>> {
        let _in_host = self.clock.host();
        let end = Instant::now() + Duration::from_millis(milliseconds.into()).min(MAX_WAIT);
        loop {
            if let Err(cancelled) = self.check_cancel() {
                return Ok(Err(cancelled));
            }
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(Ok(()));
            }
            tokio::time::sleep(rest.min(CANCEL_POLL)).await;
        }
    }

    async fn secret(&mut self, name: String) -> wasmtime::Result<Result<String, Error>> {
        let _in_host = self.clock.host();
        Ok(self.context.secret(&name).map(str::to_owned))
    }
}
