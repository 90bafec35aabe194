//! `info`: what storages hold, in their own figures.
//!
//! One that can't be asked doesn't keep the others from answering.

use std::sync::Arc;

use freezer_pipeline::RunContext;
use freezer_pipeline::store::{ContainerUsage, ErrorKind, Store, StoreError};

use crate::error::{AgentError, ExitClass};

/// What one storage answered.
#[derive(Debug)]
pub struct StorageInfo {
    /// Its URL.
    pub storage: String,
    /// Its containers, or why it can't tell.
    pub containers: Result<Vec<ContainerUsage>, StoreError>,
}

/// Asks each storage how full its containers are.
///
/// # Errors
/// [`AgentError::Interrupted`]; a storage's failure is in its row.
pub fn info(stores: &[Arc<dyn Store>], context: &RunContext<'_>) -> Result<Vec<StorageInfo>, AgentError> {
    let mut rows = Vec::with_capacity(stores.len());
    for store in stores {
        context.cancel.check().map_err(|_| AgentError::Interrupted)?;
        rows.push(StorageInfo {
            storage: store.url().to_owned(),
            containers: store.usage(),
        });
    }
    Ok(rows)
}

/// What the answers mean together: one missing of several is a partial result.
#[must_use]
pub fn info_exit(rows: &[StorageInfo]) -> ExitClass {
    let failures: Vec<&StoreError> = rows
        .iter()
        .filter_map(|row| row.containers.as_ref().err())
        .collect();
    match failures.as_slice() {
        [] => ExitClass::Ok,
        all if all.len() < rows.len() => ExitClass::Partial,
        all if all.iter().all(|error| error.kind == ErrorKind::NotFound) => ExitClass::NothingFound,
        _ => ExitClass::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(containers: Result<Vec<ContainerUsage>, ErrorKind>) -> StorageInfo {
        let failed = |kind| StoreError {
            kind,
            storage: "x:".into(),
            operation: "measure",
            key: String::new(),
            message: "why".into(),
            cause: None,
        };
        StorageInfo {
            storage: "x:".into(),
            containers: containers.map_err(failed),
        }
    }

    #[test]
    fn one_missing_of_several_is_partial() {
        let absent = || row(Err(ErrorKind::NotFound));
        assert_eq!(info_exit(&[row(Ok(Vec::new()))]), ExitClass::Ok);
        assert_eq!(info_exit(&[row(Ok(Vec::new())), absent()]), ExitClass::Partial);
        assert_eq!(info_exit(&[absent()]), ExitClass::NothingFound);
        assert_eq!(
            info_exit(&[row(Err(ErrorKind::Denied)), absent()]),
            ExitClass::Failed
        );
    }
}
