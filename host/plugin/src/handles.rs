//! How many of the contract's handles a guest holds: asked in trials of plugins, where one that stays open is a leak.
//!
//! What the guest's own runtime holds in the same table (its standard output, timers) isn't the plugin's doing and doesn't count.

use std::any::Any;

use wasmtime::component::ResourceTable;

use crate::interfaces::resources::{
    Body, Child, Directory, Snapshot, SqlConnection, SshConnection, TcpConnection,
};

/// The handles that are open in a guest's table.
pub(crate) fn open(table: &mut ResourceTable) -> u64 {
    table
        .iter_mut()
        .filter(|entry| is_of_the_contract(*entry))
        .count() as u64
}

fn is_of_the_contract(entry: &dyn Any) -> bool {
    entry.is::<Body>()
        || entry.is::<Directory>()
        || entry.is::<SshConnection>()
        || entry.is::<Child>()
        || entry.is::<SqlConnection>()
        || entry.is::<TcpConnection>()
        || entry.is::<Snapshot>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::interfaces::resources::Origin;

    #[test]
    fn handles_of_the_contract_count_until_they_are_dropped() {
        let mut table = ResourceTable::new();
        table.push("what a runtime holds").unwrap();
        let body = || Body::bytes(Arc::default(), Origin::Plugin);
        let kept = table.push(body()).unwrap();
        table.push(body()).unwrap();
        assert_eq!(open(&mut table), 2);
        table.delete(kept).unwrap();
        assert_eq!(open(&mut table), 1);
    }
}
