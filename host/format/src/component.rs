//! The plugin manifest inside a component: one custom section `freezer:plugin.toml` at the top level.
//!
//! `freezer-pack` appends it when a plugin is built, the host reads it before anything is compiled. Sections of the
//! modules and components nested inside don't count: they come from the plugin's dependencies.

use std::borrow::Cow;

use wasm_encoder::{CustomSection, Encode, Section};
use wasmparser::{Encoding, Parser, Payload};

/// Name of the custom section.
pub const SECTION: &str = "freezer:plugin.toml";

/// What every module and component begins with.
const MAGIC: &[u8] = b"\0asm";

/// Largest plugin manifest in bytes; it bounds what the host parses before it trusts anything.
pub const MANIFEST_MAX: usize = 64 * 1024;

/// Why the plugin manifest of a component can't be read or added.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The bytes aren't WebAssembly.
    #[error("it isn't WebAssembly")]
    NotWasm,
    /// The bytes begin as WebAssembly and don't go on so.
    #[error("it is damaged, or isn't whole")]
    Damaged(#[source] wasmparser::BinaryReaderError),
    /// The bytes are a WebAssembly module, not a component.
    #[error("it is a WebAssembly module, not a component")]
    NotAComponent,
    /// There is no plugin manifest.
    #[error("it holds no plugin manifest (custom section \"{SECTION}\")")]
    NoManifest,
    /// There is more than one plugin manifest, or one is there already when one is to be added.
    #[error("it holds a plugin manifest already (custom section \"{SECTION}\")")]
    ManifestTwice,
    /// The plugin manifest is larger than [`MANIFEST_MAX`].
    #[error("its plugin manifest is larger than {MANIFEST_MAX} bytes")]
    ManifestTooLarge,
}

/// Returns the plugin manifest of a component.
///
/// # Errors
/// All of [`ComponentError`].
pub fn plugin_manifest(component: &[u8]) -> Result<&[u8], ComponentError> {
    find(component)?.ok_or(ComponentError::NoManifest)
}

/// Returns the component with `manifest` added as its plugin manifest.
///
/// # Errors
/// All of [`ComponentError`] but `NoManifest`.
pub fn with_plugin_manifest(component: &[u8], manifest: &[u8]) -> Result<Vec<u8>, ComponentError> {
    if manifest.len() > MANIFEST_MAX {
        return Err(ComponentError::ManifestTooLarge);
    }
    if find(component)?.is_some() {
        return Err(ComponentError::ManifestTwice);
    }
    let section = CustomSection {
        name: Cow::Borrowed(SECTION),
        data: Cow::Borrowed(manifest),
    };
    let mut packed = component.to_vec();
    packed.push(section.id());
    section.encode(&mut packed);
    Ok(packed)
}

/// Finds the section at the top level, if there is one, and reads on to the end so that two are noticed.
fn find(component: &[u8]) -> Result<Option<&[u8]>, ComponentError> {
    if !component.starts_with(MAGIC) {
        return Err(ComponentError::NotWasm);
    }
    let mut depth = 0usize;
    let mut found = None;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(ComponentError::Damaged)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(ComponentError::NotAComponent);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                if section.data().len() > MANIFEST_MAX {
                    return Err(ComponentError::ManifestTooLarge);
                }
                if found.replace(section.data()).is_some() {
                    return Err(ComponentError::ManifestTwice);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wasm_encoder::{Component, Module, ModuleSection};

    fn component_with_module_that_has_a_section() -> Vec<u8> {
        let mut module = Module::new();
        module.section(&CustomSection {
            name: SECTION.into(),
            data: b"inner"[..].into(),
        });
        let mut component = Component::new();
        component.section(&ModuleSection(&module));
        component.finish()
    }

    #[test]
    fn a_packed_manifest_is_read_back_and_inner_sections_do_not_count() {
        let plain = component_with_module_that_has_a_section();
        assert!(matches!(plugin_manifest(&plain), Err(ComponentError::NoManifest)));
        let packed = with_plugin_manifest(&plain, b"name = \"x\"").unwrap();
        assert_eq!(plugin_manifest(&packed).unwrap(), b"name = \"x\"");
        assert!(packed.starts_with(&plain));
    }

    #[test]
    fn a_second_manifest_is_refused() {
        let packed = with_plugin_manifest(&Component::new().finish(), b"a").unwrap();
        assert!(matches!(
            with_plugin_manifest(&packed, b"b"),
            Err(ComponentError::ManifestTwice)
        ));
        let mut twice = packed.clone();
        twice.extend_from_slice(&packed[8..]);
        assert!(matches!(
            plugin_manifest(&twice),
            Err(ComponentError::ManifestTwice)
        ));
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert!(matches!(
            plugin_manifest(&Module::new().finish()),
            Err(ComponentError::NotAComponent)
        ));
        assert!(matches!(
            plugin_manifest(b"\x7fELF1234"),
            Err(ComponentError::NotWasm)
        ));
        assert!(matches!(plugin_manifest(b""), Err(ComponentError::NotWasm)));
        let large = vec![b'#'; MANIFEST_MAX + 1];
        let component = Component::new().finish();
        assert!(matches!(
            with_plugin_manifest(&component, &large),
            Err(ComponentError::ManifestTooLarge)
        ));
    }

    proptest! {
        #[test]
        fn changed_bytes_never_panic(at in 0usize..64, byte: u8, cut in 0usize..64) {
            let mut packed =
                with_plugin_manifest(&component_with_module_that_has_a_section(), b"name = \"x\"").unwrap();
            let at = at % packed.len();
            packed[at] = byte;
            packed.truncate(packed.len().saturating_sub(cut % 8));
            if let Ok(manifest) = plugin_manifest(&packed) {
                prop_assert!(manifest.len() <= packed.len());
            }
        }
    }
}
