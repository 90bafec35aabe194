//! `freezer exec`.

use std::ffi::OsString;

use super::hooks::LimitText;

/// Options of `freezer exec`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ExecArgs {
    /// Kill the command, and all that it started, after this time: 90s, 30m, 2h [default: never]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<LimitText>,
    /// The program and its arguments, without a shell; for one write sh -c 'LINE'
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<OsString>,
}
