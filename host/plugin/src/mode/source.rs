//! Checks the sources that a mode names before anything is read for it.

use std::path::PathBuf;

use super::ModeSource;
use crate::bindings::v1::mode::ModePlugin;
use crate::bindings::v1::mode::exports::freezer::plugin::mode as wit;
use crate::error::PluginError;
use crate::guest::PluginContext;
use crate::running::Running;

/// The longest name of a source; it becomes part of stored documents.
const MAX_NAME_BYTES: usize = 255;
/// The longest suffix: `sql`, `qcow2`.
const MAX_SUFFIX_BYTES: usize = 16;
/// The longest name that a service may have for its own data.
const MAX_ID_BYTES: usize = 1024;
/// The most patterns, and the longest.
const MAX_EXCLUDES: usize = 10_000;
const MAX_EXCLUDE_BYTES: usize = 4096;

/// Turns an answer of `next` into a source, if it is one that the host may read.
pub(super) fn accept(
    context: &PluginContext,
    guest: &mut Running<ModePlugin>,
    source: wit::Source,
) -> Result<ModeSource, PluginError> {
    let broken = |why: String| PluginError::Broken {
        plugin: context.name.clone(),
        call: "next",
        why,
    };
    match source {
        wit::Source::Tree(tree) => {
            check_name(&tree.name).map_err(broken)?;
            let too_long = |pattern: &String| pattern.len() > MAX_EXCLUDE_BYTES || pattern.contains('\0');
            if tree.exclude.len() > MAX_EXCLUDES || tree.exclude.iter().any(too_long) {
                return Err(broken("its exclude patterns are too many or too long".to_owned()));
            }
            let root = PathBuf::from(tree.root);
            let views = context.run.views();
            let allowed = [context.run.named_paths(), &views].concat();
            context
                .grants
                .tree(&root, &allowed)
                .map_err(PluginError::Denied)?;
            let (one_file_system, mut exclude) = (tree.one_file_system, tree.exclude);
            if freezer_io::snapshots::may_hold_snapshots(&root) {
                exclude.push(freezer_io::snapshots::exclude_pattern());
            }
            Ok(ModeSource::Tree {
                name: tree.name,
                root,
                one_file_system,
                exclude,
            })
        }
        wit::Source::Stream(stream) => {
            check_name(&stream.name).map_err(broken)?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
            if stream.suffix.len() > MAX_SUFFIX_BYTES || !stream.suffix.bytes().all(plain) {
                return Err(broken(format!(
                    "{:?} is no suffix",
                    crate::escape::line(&stream.suffix, 100)
                )));
            }
            let body = guest.state().table.delete(stream.content);
            let body = body.map_err(|error| broken(format!("it answered no body: {error}")))?;
            let taken = body
                .take()
                .ok_or_else(|| broken("it answered a stream that was used before".to_owned()))?;
            Ok(ModeSource::Stream {
                name: stream.name,
                suffix: stream.suffix,
                content: taken.into_reader(),
            })
        }
        wit::Source::External(external) => {
            check_name(&external.name).map_err(broken)?;
            if external.id.is_empty()
                || external.id.len() > MAX_ID_BYTES
                || external.id.chars().any(char::is_control)
            {
                return Err(broken(format!(
                    "{:?} is no name of data",
                    crate::escape::line(&external.id, 100)
                )));
            }
            Ok(ModeSource::External {
                name: external.name,
                id: external.id,
                size: external.size,
            })
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let bad = name.is_empty() || name.len() > MAX_NAME_BYTES || name == "." || name == "..";
    if bad || name.contains('/') || name.chars().any(char::is_control) {
        return Err(format!(
            "{:?} is no name of a source",
            crate::escape::line(name, 100)
        ));
    }
    Ok(())
}
