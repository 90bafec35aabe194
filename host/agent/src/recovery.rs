//! The commands that restore a backup without freezer: openssl, a decompressor and GNU tar; for a stream the first two.
//!
//! Plain tools see neither a cut stream nor a wrong password, so sizes and digests are compared first, and a
//! pipe's every member counts. What the script doesn't do is authenticate: it says so.

use std::fmt::Write as _;
use std::sync::Arc;

use freezer_format::compression::Compression;
use freezer_format::layout::Engine;
use freezer_format::manifest::{Encryption, Manifest, StreamKdf};
use freezer_pipeline::store::Store;

use crate::backup::STREAM_OPTION;
use crate::catalogue::Place;
use crate::error::AgentError;
use crate::keys::Keyring;
use crate::level::{Level, Strictness};
use crate::select::{Wanted, ancestry, target};

/// Writes a bash script that restores the wanted state into the directory `out`.
///
/// # Errors
/// Nothing matches, the chain is incomplete or damaged, or the storage fails. No password is needed.
pub fn recovery(store: &Arc<dyn Store>, wanted: &Wanted) -> Result<String, AgentError> {
    let (found, chosen) = target(&**store, wanted)?;
    let keyring = Keyring::new(None, true);
    let levels = ancestry(&**store, &found, chosen.id, (&keyring, Strictness::Look))?;
    let mut script = String::new();
    let label = chosen.label();
    // Writing into a String can't fail; its Result is passed on all the same.
    let written = write_script(&mut script, &label, store.url(), &levels);
    written.map_err(|_| AgentError::Unsupported {
        reason: format!("the commands for {label} can't be written"),
        next: "restore it with freezer restore".to_owned(),
    })?;
    Ok(script)
}

fn write_script(out: &mut String, label: &str, url: &str, levels: &[Level]) -> std::fmt::Result {
    writeln!(out, "#!/usr/bin/env bash")?;
    writeln!(
        out,
        "# Restores {label} into ./out with {}.",
        match levels.iter().any(|level| stream_name(level).is_some()) {
            true => "openssl and a decompressor",
            false => "openssl, a decompressor and GNU tar",
        }
    )?;
    writeln!(
        out,
        "# Sizes and digests are compared with the manifests; that shows damage, not forgery."
    )?;
    writeln!(
        out,
        "# Restore into an empty directory, as root to get owners back."
    )?;
    writeln!(out, "set -euo pipefail")?;
    match url.strip_prefix("local:") {
        Some(path) => writeln!(out, "container={}", quote(path))?,
        None => writeln!(
            out,
            "container=${{CONTAINER:?set it to a directory with a copy of {url}}}"
        )?,
    }
    writeln!(
        out,
        "damaged() {{ echo \"damaged: $1 $2; nothing was restored from it\" >&2; exit 1; }}"
    )?;
    writeln!(out, "mkdir -p out")?;
    let encrypted = levels.iter().any(is_encrypted);
    if encrypted {
        writeln!(out, "pass=${{PASS:?set it to the pass file}}")?;
        writeln!(out, "umask 077")?;
        writeln!(out, "key=$(mktemp)")?;
        writeln!(out, "trap 'rm -f \"$key\"' EXIT")?;
    }
    for level in levels {
        write_checks(out, level)?;
    }
    for level in levels {
        write_level(out, level)?;
    }
    Ok(())
}

/// The name of the file that a stream becomes.
fn stream_name(level: &Level) -> Option<&str> {
    let is_stream = level.stored.place == Place::New(Engine::Stream);
    let manifest = level.manifest().filter(|_| is_stream)?;
    let name = manifest.options.get(STREAM_OPTION).and_then(|name| name.as_str());
    Some(
        name.filter(|name| !matches!(*name, "" | "." | ".."))
            .unwrap_or("stream"),
    )
}

fn is_encrypted(level: &Level) -> bool {
    match (level.manifest(), &level.metadata) {
        (Some(manifest), _) => manifest.encryption.is_some(),
        (None, Some(metadata)) => metadata.encryption,
        (None, None) => false,
    }
}

fn data_path(level: &Level) -> String {
    format!("\"$container\"/{}", quote(&level.stored.data_key()))
}

fn write_checks(out: &mut String, level: &Level) -> std::fmt::Result {
    let Some(manifest) = level.manifest() else {
        return Ok(());
    };
    let data = data_path(level);
    writeln!(out, "\n# {}: is it whole?", level.stored.label())?;
    writeln!(out, "test -f {data} || damaged {data} \"is missing\"")?;
    writeln!(
        out,
        "test \"$(stat -c %s {data})\" = {bytes} || damaged {data} \"hasn't {bytes} bytes\"",
        bytes = manifest.data.bytes
    )?;
    writeln!(
        out,
        "test \"$(split -b {} --filter='openssl dgst -sha256 -binary' {data} | openssl dgst -sha256 -r | cut -d' ' -f1)\" = {} \\",
        // A size that no writer gives must not start a process for each byte.
        match manifest.data.segment {
            0 => manifest.data.bytes.max(1),
            segment => segment,
        },
        hex::encode(manifest.data.sha256)
    )?;
    writeln!(out, "  || damaged {data} \"holds other bytes than were written\"")
}

fn write_level(out: &mut String, level: &Level) -> std::fmt::Result {
    writeln!(out, "\n# {}", level.stored.label())?;
    if let Some(Manifest {
        key: Some(info),
        encryption: Some(Encryption {
            kdf: StreamKdf::Pbkdf2Sha256,
            ..
        }),
        ..
    }) = level.manifest()
    {
        writeln!(
            out,
            "printf %s {} | openssl enc -d -a -A -aes-256-cfb -pbkdf2 -iter {} -md sha256 -pass \"file:$pass\" > \"$key\"",
            quote(&info.wrapped),
            info.iterations
        )?;
    }
    let decrypt = match (
        level.manifest().and_then(|manifest| manifest.encryption.as_ref()),
        is_encrypted(level),
    ) {
        (
            Some(Encryption {
                kdf: StreamKdf::Pbkdf2Sha256,
                ..
            }),
            _,
        ) => "openssl enc -d -aes-256-cfb -pbkdf2 -iter 1 -md sha256 -pass \"file:$key\" -in ",
        // Writers with OpenSSL 1.0 need -md md5 here.
        (_, true) => "openssl enc -d -aes-256-cfb -md sha256 -pass \"file:$pass\" -in ",
        (_, false) => "cat ",
    };
    let decompress = level
        .compression()
        .unwrap_or(Compression::Gzip)
        .decompress_command();
    // The original's archives need its own options; ours must not be extracted over existing files.
    let extract = if let Some(name) = stream_name(level) {
        // Whatever the storage says, it is written below out and nowhere else.
        &format!("{{ umask 077; cat > out/{}; }}", quote(&name.replace('/', "_")))
    } else if level.manifest().is_some() {
        "tar -x -f - --incremental --xattrs --xattrs-include='*' --acls -C out"
    } else {
        "tar -x -f - --incremental --ignore-zeros --warning=none --overwrite -C out"
    };
    if level.stored.place == Place::Old {
        writeln!(
            out,
            "# The old layout doesn't record the compression: try bzip2 -d or xz -d if this fails."
        )?;
    }
    writeln!(
        out,
        "{decrypt}{data} | {decompress} | {extract} || damaged {data} \"can't be unpacked (or out can't be written)\"",
        data = data_path(level)
    )
}

/// A word for the shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
