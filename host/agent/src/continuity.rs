//! Whether a backup can go on with the newest chain of its name: the same host, password and source, and all of it
//! still there.
//!
//! What would mix two backups, or change a secret unnoticed, ends the run. Everything else makes a new chain with the
//! reason said: an increment upon a broken chain would be worthless.

use std::fs;
use std::path::Path;

use freezer_format::chain_key::KeyError;
use freezer_format::manifest::Manifest;
use freezer_format::name::Timestamp;
use freezer_pipeline::store::Store;

use crate::backup::BackupOptions;
use crate::catalogue::StoredLevel;
use crate::date::date;
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::level::Level;
use crate::plan::HOST_OPTION;

/// The manifest's option that tells a directory from anything else as the source.
pub(crate) const KIND_OPTION: &str = "source-kind";

/// Clocks of two machines may differ by so much, and runs of one second give way to later ones.
const CLOCK_SLACK_SECONDS: i64 = 120;

/// Below this sum a chain is never ended for its increments' size: with a small tree they outgrow level 0 by their
/// bookkeeping alone, and nothing is gained.
const OUTGROWN_FROM_BYTES: u64 = 64 << 20;

/// Refuses a name that is another host's: `a_b` with `c` and `a` with `b_c` are stored under one name.
pub(crate) fn require_same_host(newest: &[u8], options: &BackupOptions) -> Result<(), AgentError> {
    // Damage is told where the chain is opened.
    let Ok(opened) = Manifest::open(newest, None) else {
        return Ok(());
    };
    let recorded = opened.manifest.options.get(HOST_OPTION);
    let Some(host) = recorded
        .and_then(|host| host.as_str())
        .filter(|host| *host != options.host)
    else {
        return Ok(());
    };
    let stored = options.name.as_str();
    let below = |host: &str| {
        let rest = stored.strip_prefix(host).and_then(|rest| rest.strip_prefix('_'));
        rest.unwrap_or(stored).to_owned()
    };
    Err(AgentError::Unsupported {
        reason: format!(
            "{} of host {} and {} of host {host} would both be stored as {stored}, and the second is there already",
            below(&options.host),
            options.host,
            below(host),
        ),
        next: "take another --name, or another --host".to_owned(),
    })
}

/// Refuses a password that doesn't open the newest backup, unless a new chain is asked for; answers the warning then.
pub(crate) fn require_same_passphrase(
    newest: &[u8],
    level: &StoredLevel,
    options: &BackupOptions,
    keyring: &Keyring,
) -> Result<Option<String>, AgentError> {
    let info = Manifest::peek(newest).ok().and_then(|peeked| peeked.key);
    match info.and_then(|info| keyring.open(&info)) {
        Some(Err(KeyError::Wrong)) if options.policy.incremental => Err(wrong_passphrase(level)),
        Some(Err(KeyError::Wrong)) => Ok(Some(format!(
            "the password doesn't open {}: from now on another one is needed, keep the old one for what is stored",
            level.label()
        ))),
        _ => Ok(None),
    }
}

/// The refusal to continue under another password.
pub(crate) fn wrong_passphrase(level: &StoredLevel) -> AgentError {
    AgentError::Unsupported {
        reason: format!("can't continue {}: wrong password or damaged", level.label()),
        next: "check the pass file; --full begins a new chain under the new password".to_owned(),
    }
}

/// Going on in clear text because an option was forgotten would be a silent loss of secrecy.
pub(crate) fn forgotten_passphrase(backup: &str) -> AgentError {
    AgentError::Unsupported {
        reason: format!("{backup} is encrypted, and no password is given to continue it"),
        next: "give --encrypt-pass-file FILE, or begin a chain that is not encrypted with --full".to_owned(),
    }
}

/// What is wrong with the clocks if the newest backup is of the future.
pub(crate) fn clock_warning(newest: Option<Timestamp>, now: Timestamp) -> Option<String> {
    newest
        .filter(|newest| newest.0 > now.0.saturating_add(CLOCK_SLACK_SECONDS))
        .map(|newest| {
            format!(
                "the newest backup is of {}, and this machine's clock says {}: one of the clocks is off; the new \
                 backup is dated right after the newest",
                date(newest),
                date(now)
            )
        })
}

/// Looks at every object of a chain: there, and as long as its manifest says.
pub(crate) fn require_objects(store: &dyn Store, levels: &[Level]) -> Result<(), AgentError> {
    for level in levels {
        let manifest = level.manifest();
        level.require_object(
            store,
            &level.stored.data_key(),
            manifest.map(|manifest| manifest.data.bytes),
        )?;
        let Some(manifest) = manifest else { continue };
        let keys = level.stored.keys();
        level.require_object(store, &keys.index(), Some(manifest.index.bytes))?;
        if let Some(facts) = &manifest.engine_metadata {
            level.require_object(store, &keys.engine_metadata(), Some(facts.bytes))?;
        }
    }
    Ok(())
}

/// Whether a source is a directory, in the manifest's words; `None` if that can't be seen.
pub(crate) fn source_kind(path: &Path) -> Option<&'static str> {
    let facts = fs::metadata(path).ok()?;
    Some(if facts.is_dir() { "directory" } else { "file" })
}

/// How the source differs from the parent's, if it does.
pub(crate) fn moved_source(parent: &Level, options: &BackupOptions) -> Option<String> {
    let manifest = parent.manifest()?;
    if manifest.mode != options.mode {
        return Some(format!(
            "the mode was {} and is now {}",
            manifest.mode, options.mode
        ));
    }
    let path = options.path.as_ref()?;
    let shown = path.to_string_lossy();
    if let Some(was) = manifest.path.as_ref().filter(|was| **was != shown) {
        return Some(format!("the source was {was} and is now {shown}"));
    }
    let was = manifest.options.get(KIND_OPTION)?.as_str()?;
    let is = source_kind(path)?;
    (was != is).then(|| format!("the source was a {was} and is now a {is}"))
}

/// The option, in words, that a chain can't change and that was changed.
pub(crate) fn changed_option(parent: &Level, options: &BackupOptions, keyring: &Keyring) -> Option<String> {
    let encrypted = keyring.passphrase().is_some();
    let compression = parent.compression();
    let Some(manifest) = parent.manifest() else {
        let was_encrypted = parent
            .metadata
            .as_ref()
            .is_some_and(|metadata| metadata.encryption);
        return (was_encrypted != encrypted)
            .then(|| "encryption".to_owned())
            .or_else(|| (compression != Some(options.compression)).then(|| "the compression".to_owned()));
    };
    let kdf = manifest.encryption.as_ref().map(|encryption| encryption.kdf);
    let wanted = encrypted.then(|| options.stream_kdf());
    if kdf.is_some() != encrypted {
        Some("encryption".to_owned())
    } else if kdf != wanted {
        Some("the key derivation (--compat)".to_owned())
    } else if compression != Some(options.compression) || manifest.frame != options.compression.frame_bytes()
    {
        Some("the compression".to_owned())
    } else {
        None
    }
}

/// True if the increments store more than level 0; never asked for chains that the user bounds alone.
pub(crate) fn has_outgrown(levels: &[Level], options: &BackupOptions) -> bool {
    if options.policy.chain_levels.is_none() && options.policy.chain_days.is_none() {
        return false;
    }
    let stored = |level: &Level| level.manifest().map_or(0, |manifest| manifest.data.bytes);
    let increments = levels.iter().skip(1).map(stored).fold(0, u64::saturating_add);
    let full = levels.first().map_or(0, stored);
    full > 0 && increments > full && increments >= OUTGROWN_FROM_BYTES
}
