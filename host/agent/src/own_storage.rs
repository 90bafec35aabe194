//! The storage's own directories on this machine: never backed up into themselves, never restored into.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::AgentError;

/// The storage's directories below a source, each with the anchored gitignore line that leaves it out.
pub(crate) fn patterns(source: &Path, storage: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, AgentError> {
    let source = resolved(source);
    let mut found = Vec::new();
    for directory in storage {
        let Ok(below) = resolved(directory).strip_prefix(&source).map(Path::to_owned) else {
            continue;
        };
        if below.as_os_str().is_empty() {
            return Err(AgentError::Unsupported {
                reason: format!("{} is the storage itself", directory.display()),
                next: "back up another directory, or store in another place".to_owned(),
            });
        }
        found.push((directory.clone(), anchored(&below)));
    }
    Ok(found)
}

/// Refuses to restore into a storage.
pub(crate) fn refuse_target(target: &Path, storage: &[PathBuf]) -> Result<(), AgentError> {
    let resolved_target = resolved(target);
    let holds = |directory: &&PathBuf| resolved_target.starts_with(resolved(directory));
    match storage.iter().find(holds) {
        None => Ok(()),
        Some(directory) => Err(AgentError::Unsupported {
            reason: format!(
                "the restore directory {} lies in the storage {}",
                target.display(),
                directory.display()
            ),
            next: "name a directory outside the storage with --target".to_owned(),
        }),
    }
}

/// The path with its links resolved, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            // Joining nothing would add a slash.
            return if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            };
        }
    }
    path.to_owned()
}

/// A gitignore line for exactly this path.
fn anchored(path: &Path) -> String {
    let mut line = String::new();
    for component in path {
        line.push('/');
        push_escaped(&mut line, component);
    }
    line
}

fn push_escaped(line: &mut String, name: &OsStr) {
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if matches!(
                character,
                '\\' | '*' | '?' | '[' | ']' | '{' | '}' | '!' | '#' | ' '
            ) {
                line.push('\\');
            }
            line.push(character);
        }
        // A line is text, so bytes that are none stay open.
        if !chunk.invalid().is_empty() {
            line.push('*');
        }
    }
}
