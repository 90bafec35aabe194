//! `control`: logging, progress, cancelling, waiting, secrets, files of settings.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use wasmtime::component::Resource;

use super::bodies::BodiesExceeded;
use super::resources::Body;
use crate::bindings::v1::imports::freezer::plugin::control::{Host, LogLevel};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, ErrorKind};
use crate::guest::{GuestState, PluginContext};
use crate::log_gate::Level;
use crate::{convert, escape};

/// The longest wait, as the contract says.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The longest activity on the progress line.
const MAX_ACTIVITY: usize = 200;
/// The largest file of a setting.
const MAX_FILE_BYTES: u64 = 1 << 20;

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
        let time = Duration::from_millis(milliseconds.into()).min(MAX_WAIT);
        Ok(self.pause(time).await)
    }

    async fn secret(&mut self, name: String) -> wasmtime::Result<Result<String, Error>> {
        let _in_host = self.clock.host();
        Ok(self.context.secret(&name).map(str::to_owned))
    }

    async fn file(&mut self, setting: String) -> wasmtime::Result<Result<Resource<Body>, Error>> {
        let _in_host = self.clock.host();
        let content = match read_file(&self.context, &setting) {
            Ok(content) => content,
            Err(error) => return Ok(Err(error)),
        };
        let charge = self.bodies.take(content.len());
        let charge = charge.ok_or_else(|| wasmtime::Error::new(BodiesExceeded))?;
        Ok(Ok(self.table.push(Body::made(content, charge))?))
    }
}

/// The content of the file that a setting names.
fn read_file(context: &PluginContext, setting: &str) -> Result<Vec<u8>, Error> {
    let path = context.files.get(setting).ok_or_else(|| {
        let message = format!("{setting:?} is no setting of type file that is set");
        convert::error(ErrorKind::Invalid, message)
    })?;
    let failed = |kind, why: &str| convert::error(kind, format!("can't read {}: {why}", path.display()));
    let refused = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Other,
        };
        let why = error.to_string();
        failed(kind, why.split(" (os error").next().unwrap_or_default())
    };
    if !std::fs::metadata(path).map_err(refused)?.is_file() {
        return Err(failed(ErrorKind::Invalid, "it isn't a file"));
    }
    let mut content = Vec::new();
    let file = File::open(path).map_err(refused)?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(refused)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(ErrorKind::Invalid, "it is larger than 1 MiB"));
    }
    Ok(content)
}
