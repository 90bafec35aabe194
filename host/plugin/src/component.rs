//! Reads a component's outermost sections without compiling it: its plugin.toml and what it imports.

use serde::{Deserialize, Serialize};
use wasmparser::{BinaryReaderError, Chunk, Encoding, Parser, Payload};

use crate::contract;
use crate::manifest::{ManifestError, PluginManifest};

/// The custom section that holds plugin.toml.
const SECTION: &str = "freezer:plugin.toml";
/// The most imports that are read; the whole world with WASI has about 40.
const MAX_IMPORTS: usize = 1000;

/// The most bytes of one function's code. Compiling takes time that grows faster than this; the loop of CPython, which plugins in
/// Python bring along, has 427 KB.
const MAX_FUNCTION_BYTES: usize = 512 << 10;

/// The first bytes of every module and component.
const MAGIC: &[u8] = b"\0asm";

/// What stands at the top level of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComponentFacts {
    /// Its sections that should be a plugin.toml.
    sections: Vec<Vec<u8>>,
    /// The interfaces that it imports: an upper bound of what it can call.
    pub(crate) imports: Vec<String>,
}

impl ComponentFacts {
    /// Its plugin.toml.
    pub(crate) fn manifest(&self) -> Result<PluginManifest, ManifestError> {
        match self.sections.as_slice() {
            [] => Err(ManifestError::Missing),
            [manifest] => PluginManifest::parse(manifest)
                .and_then(|manifest| contract::check_imports(&manifest, &self.imports).map(|()| manifest)),
            several => Err(ManifestError::Several(several.len())),
        }
    }
}

/// Checks that no function, however deeply nested its module, is too large to be compiled in reasonable time.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_functions(bytes: &[u8]) -> Result<(), String> {
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::CodeSectionEntry(body) = payload.map_err(|error| words(&error))? {
            let range = body.range();
            let length = range.end.saturating_sub(range.start);
            if length > MAX_FUNCTION_BYTES {
                return Err(format!(
                    "a function has {length} bytes of code, at most {MAX_FUNCTION_BYTES} are allowed"
                ));
            }
        }
    }
    Ok(())
}

/// The parser's message on one line; some of its messages have several.
fn words(error: &BinaryReaderError) -> String {
    let words: Vec<&str> = error.message().split_whitespace().collect();
    crate::escape::line(&words.join(" "), 400)
}

/// Reads the top level of a component.
///
/// # Errors
/// Why these bytes are no component.
pub(crate) fn read(bytes: &[u8]) -> Result<ComponentFacts, String> {
    if !bytes.starts_with(MAGIC) {
        return Err("it isn't WebAssembly".to_owned());
    }
    let mut parser = Parser::new(0);
    let mut place = 0_usize;
    let mut sections: Vec<Vec<u8>> = Vec::new();
    let mut imports = Vec::new();
    loop {
        let rest = bytes.get(place..).ok_or("it ends in the middle")?;
        let (payload, consumed) = match parser.parse(rest, true).map_err(|error| words(&error))? {
            Chunk::Parsed { payload, consumed } => (payload, consumed),
            Chunk::NeedMoreData(_) => return Err("it ends in the middle".to_owned()),
        };
        place = place.checked_add(consumed).ok_or("it ends in the middle")?;
        match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } => {
                return Err("it is a core module, not a component: build it for wasm32-wasip2".to_owned());
            }
            // What is nested is skipped: only the outermost component speaks for itself.
            Payload::ModuleSection { unchecked_range, .. }
            | Payload::ComponentSection { unchecked_range, .. } => {
                place = unchecked_range.end;
            }
            Payload::CustomSection(section) if section.name() == SECTION => {
                sections.push(section.data().to_vec())
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import.map_err(|error| words(&error))?;
                    if imports.len() == MAX_IMPORTS {
                        return Err(format!("it imports more than {MAX_IMPORTS} things"));
                    }
                    imports.push(import.name.name.to_owned());
                }
            }
            Payload::End(_) => break,
            _ => {}
        }
    }
    Ok(ComponentFacts { sections, imports })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_takes_too_long_to_compile_is_refused() {
        let component = |count: usize| {
            let body = "nop ".repeat(count);
            wat::parse_str(format!("(component (core module (func {body})))")).unwrap()
        };
        assert_eq!(check_functions(&component(200_000)), Ok(()));
        let error = check_functions(&component(600_000)).unwrap_err();
        assert!(error.starts_with("a function has 60000"), "{error}");
    }
}
