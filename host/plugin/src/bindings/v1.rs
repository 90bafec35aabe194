//! Contract 1.x, generated from `wit/`.
//!
//! The imports are generated once, from a helper world that has them all; both kinds of plugin then use the same Rust
//! types. Every host function may wait and may trap, so an answer is nested: the outer error is a trap.

use crate::interfaces::resources;

/// All that a plugin may import.
pub(crate) mod imports {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package freezer:host;
            world imports {
                include freezer:plugin/host-side@1.0.0;
                import freezer:plugin/snapshots@1.0.0;
                import freezer:plugin/leftovers@1.0.0;
            }
        ",
        world: "freezer:host/imports",
        imports: { default: async | trappable },
        with: {
            "freezer:plugin/bodies.body": super::resources::Body,
            "freezer:plugin/directories.directory": super::resources::Directory,
            "freezer:plugin/commands.child": super::resources::Child,
            "freezer:plugin/ssh.connection": super::resources::SshConnection,
            "freezer:plugin/sql.connection": super::resources::SqlConnection,
            "freezer:plugin/tcp.connection": super::resources::TcpConnection,
            "freezer:plugin/snapshots.snapshot": super::resources::Snapshot,
        },
    });
}

/// What a mode exports.
pub(crate) mod mode {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "freezer:plugin/mode-plugin",
        exports: { default: async },
        with: {
            "freezer:plugin/types": super::imports::freezer::plugin::types,
            "freezer:plugin/bodies": super::imports::freezer::plugin::bodies,
            "freezer:plugin/control": super::imports::freezer::plugin::control,
            "freezer:plugin/leftovers": super::imports::freezer::plugin::leftovers,
            "freezer:plugin/directories": super::imports::freezer::plugin::directories,
            "freezer:plugin/files": super::imports::freezer::plugin::files,
            "freezer:plugin/commands": super::imports::freezer::plugin::commands,
            "freezer:plugin/processes": super::imports::freezer::plugin::processes,
            "freezer:plugin/http": super::imports::freezer::plugin::http,
            "freezer:plugin/ssh": super::imports::freezer::plugin::ssh,
            "freezer:plugin/sql": super::imports::freezer::plugin::sql,
            "freezer:plugin/tcp": super::imports::freezer::plugin::tcp,
            "freezer:plugin/snapshots": super::imports::freezer::plugin::snapshots,
        },
    });
}

/// What a storage exports.
pub(crate) mod storage {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "freezer:plugin/storage-plugin",
        exports: { default: async },
        with: {
            "freezer:plugin/types": super::imports::freezer::plugin::types,
            "freezer:plugin/bodies": super::imports::freezer::plugin::bodies,
            "freezer:plugin/control": super::imports::freezer::plugin::control,
            "freezer:plugin/directories": super::imports::freezer::plugin::directories,
            "freezer:plugin/files": super::imports::freezer::plugin::files,
            "freezer:plugin/commands": super::imports::freezer::plugin::commands,
            "freezer:plugin/processes": super::imports::freezer::plugin::processes,
            "freezer:plugin/http": super::imports::freezer::plugin::http,
            "freezer:plugin/ssh": super::imports::freezer::plugin::ssh,
            "freezer:plugin/sql": super::imports::freezer::plugin::sql,
            "freezer:plugin/tcp": super::imports::freezer::plugin::tcp,
        },
    });
}
