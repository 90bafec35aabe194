//! Whose certificates count: the settings that a plugin names, for every interface that encrypts.

use freezer_io::http::Trust;

use crate::bindings::v1::imports::freezer::plugin::types::{Error, ErrorKind};
use crate::convert;
use crate::guest::PluginContext;

/// The authorities in the file that a setting names, besides those of the machine.
///
/// # Errors
/// `invalid` if it is no setting of type `file` that is set.
pub(super) fn certificates(context: &PluginContext, setting: &str) -> Result<Trust, Error> {
    let path = context.files.get(setting).cloned();
    let unset = || {
        let why = format!("{setting:?} is no setting of type file that is set");
        convert::error(ErrorKind::Invalid, why)
    };
    Ok(Trust::Certificates(path.ok_or_else(unset)?))
}

/// Any certificate, because the user set a flag; that is said once a run for each place.
///
/// # Errors
/// `invalid` if it is no setting of type `flag` that the user set.
pub(super) fn anything(context: &PluginContext, setting: &str, place: Option<&str>) -> Result<Trust, Error> {
    if !context.flags.contains(setting) {
        let why = format!("{setting:?} is no setting of type flag that the user set");
        return Err(convert::error(ErrorKind::Invalid, why));
    }
    if let Some(place) = place {
        context.run.warn_once(format!(
            "{}: --{setting} is set: the certificate of {place} isn't checked, so anybody on the way can read and change what is sent",
            context.name
        ));
    }
    Ok(Trust::Anything)
}
