//! All that a plugin author depends on.

#[doc(hidden)]
pub mod bindings;
pub mod error;
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub mod export;
pub mod host;
pub mod mode;
pub mod settings;
pub mod storage;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

/// Makes a component of a [`Mode`](crate::mode::Mode); once per crate. In native builds it only checks the type.
#[macro_export]
macro_rules! export_mode {
    ($mode:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::export::ModeComponent<$mode>;
            $crate::bindings::mode_plugin::export_generated_mode!(Component with_types_in $crate::bindings::mode_plugin);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_mode<T: $crate::mode::Mode>() {}
            is_mode::<$mode>();
        };
    };
}

/// Makes a component of a [`Storage`](crate::storage::Storage); once per crate. In native builds it only checks the type.
#[macro_export]
macro_rules! export_storage {
    ($storage:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::export::StorageComponent<$storage>;
            $crate::bindings::storage_plugin::export_generated_storage!(Component with_types_in $crate::bindings::storage_plugin);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_storage<T: $crate::storage::Storage>() {}
            is_storage::<$storage>();
        };
    };
}
