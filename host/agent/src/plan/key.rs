//! The key of a chain that is begun or continued.

use freezer_format::chain_key::{ChainKey, KeyInfo, WRAP_ITERATIONS};
use freezer_format::manifest::StreamKdf;
use freezer_pipeline::RunContext;

use super::Plan;
use crate::backup::BackupOptions;
use crate::continuity::forgotten_passphrase;
use crate::error::AgentError;
use crate::keys::Keyring;

/// The parent's key; for a new chain the newest chain's, if the password opens it; else a new one.
pub(super) fn chain_key(
    newest: Option<KeyInfo>,
    plan: &Plan,
    options: &BackupOptions,
    keyring: &Keyring,
    context: &RunContext<'_>,
) -> Result<(ChainKey, KeyInfo), AgentError> {
    let of_parent = plan
        .parent()
        .and_then(|parent| Some((parent.key.clone()?, parent.manifest()?.key.clone()?)));
    if let Some(pair) = of_parent {
        return Ok(pair);
    }
    if let Some(info) = newest
        && let Some(Ok(key)) = keyring.open(&info)
    {
        return Ok((key, info));
    }
    let (mut random, mut salt) = ([0; 32], [0; 8]);
    (context.random)(&mut random);
    (context.random)(&mut salt);
    let key = ChainKey::new(random);
    let passphrase = keyring
        .passphrase()
        .ok_or_else(|| forgotten_passphrase(options.name.as_str()))?;
    let info = key.wrap(
        passphrase,
        salt,
        options.wrap_iterations.unwrap_or(WRAP_ITERATIONS),
    );
    Ok((key, info))
}

impl BackupOptions {
    /// Where the stream's key comes from.
    pub(crate) fn stream_kdf(&self) -> StreamKdf {
        if self.compat {
            StreamKdf::BytesToKeySha256
        } else {
            StreamKdf::Pbkdf2Sha256
        }
    }
}
