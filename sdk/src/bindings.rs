//! Code generated from `wit/`. Imports are generated once, so that both kinds of plugin use the same types.
//!
//! Nobody names these modules but the wrappers in this crate and the two export macros.

/// What the host offers.
pub mod imports {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package freezer:sdk;
            world imports {
                include freezer:plugin/host-side@1.0.0;
                import freezer:plugin/snapshots@1.0.0;
                import freezer:plugin/leftovers@1.0.0;
            }
        ",
        world: "freezer:sdk/imports",
        generate_all,
        additional_derives: [PartialEq],
        additional_derives_ignore: ["response"],
    });
}

/// What a mode exports.
pub mod mode_plugin {
    wit_bindgen::generate!({
        path: "../wit",
        world: "freezer:plugin/mode-plugin",
        pub_export_macro: true,
        export_macro_name: "export_generated_mode",
        default_bindings_module: "freezer_sdk::bindings::mode_plugin",
        with: {
            "freezer:plugin/types@1.0.0": crate::bindings::imports::freezer::plugin::types,
            "freezer:plugin/bodies@1.0.0": crate::bindings::imports::freezer::plugin::bodies,
            "freezer:plugin/control@1.0.0": crate::bindings::imports::freezer::plugin::control,
            "freezer:plugin/leftovers@1.0.0": crate::bindings::imports::freezer::plugin::leftovers,
            "freezer:plugin/directories@1.0.0": crate::bindings::imports::freezer::plugin::directories,
            "freezer:plugin/files@1.0.0": crate::bindings::imports::freezer::plugin::files,
            "freezer:plugin/commands@1.0.0": crate::bindings::imports::freezer::plugin::commands,
            "freezer:plugin/processes@1.0.0": crate::bindings::imports::freezer::plugin::processes,
            "freezer:plugin/http@1.0.0": crate::bindings::imports::freezer::plugin::http,
            "freezer:plugin/ssh@1.0.0": crate::bindings::imports::freezer::plugin::ssh,
            "freezer:plugin/sql@1.0.0": crate::bindings::imports::freezer::plugin::sql,
            "freezer:plugin/tcp@1.0.0": crate::bindings::imports::freezer::plugin::tcp,
            "freezer:plugin/snapshots@1.0.0": crate::bindings::imports::freezer::plugin::snapshots,
        },
    });
}

/// What a storage exports.
pub mod storage_plugin {
    wit_bindgen::generate!({
        path: "../wit",
        world: "freezer:plugin/storage-plugin",
        pub_export_macro: true,
        export_macro_name: "export_generated_storage",
        default_bindings_module: "freezer_sdk::bindings::storage_plugin",
        additional_derives: [PartialEq],
        with: {
            "freezer:plugin/types@1.0.0": crate::bindings::imports::freezer::plugin::types,
            "freezer:plugin/bodies@1.0.0": crate::bindings::imports::freezer::plugin::bodies,
            "freezer:plugin/control@1.0.0": crate::bindings::imports::freezer::plugin::control,
            "freezer:plugin/directories@1.0.0": crate::bindings::imports::freezer::plugin::directories,
            "freezer:plugin/files@1.0.0": crate::bindings::imports::freezer::plugin::files,
            "freezer:plugin/commands@1.0.0": crate::bindings::imports::freezer::plugin::commands,
            "freezer:plugin/processes@1.0.0": crate::bindings::imports::freezer::plugin::processes,
            "freezer:plugin/http@1.0.0": crate::bindings::imports::freezer::plugin::http,
            "freezer:plugin/ssh@1.0.0": crate::bindings::imports::freezer::plugin::ssh,
            "freezer:plugin/sql@1.0.0": crate::bindings::imports::freezer::plugin::sql,
            "freezer:plugin/tcp@1.0.0": crate::bindings::imports::freezer::plugin::tcp,
        },
    });
}
