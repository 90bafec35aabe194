//! What a component in Python is made of, as one digest: noted beside the component when it is made, compared before it would be
//! made again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::AuthorError;
use crate::file;

/// Folders of a project that nothing is imported from.
const OTHERS: [&str; 3] = ["target", "dist", "__pycache__"];
/// More than any plugin has: a project that lies in a home directory isn't read to its end.
const MOST_FILES: u32 = 10_000;

/// All that a component is made of.
pub(super) struct Inputs<'a> {
    /// The tool and its version.
    pub(super) tool: &'static str,
    /// The tool's environment, of which the names of the installed packages count.
    pub(super) environment: &'a Path,
    pub(super) contract: &'a Path,
    /// The project.
    pub(super) folder: &'a Path,
}

impl Inputs<'_> {
    /// The digest of all of it, in hexadecimal digits.
    ///
    /// # Errors
    /// Something of it can't be read.
    pub(super) fn digest(&self) -> Result<String, AuthorError> {
        let mut sum = Sum {
            digest: Sha256::new(),
            files: 0,
        };
        sum.add(self.tool.as_bytes());
        for library in entries(&self.environment.join("lib"))? {
            for package in entries(&library.join("site-packages"))? {
                sum.add(package.as_os_str().as_encoded_bytes());
            }
        }
        sum.folder(self.contract)?;
        sum.folder(self.folder)?;
        // Never what was noted for the files that were read.
        if sum.files > MOST_FILES {
            return Ok(String::new());
        }
        Ok(hex::encode(sum.digest.finalize()))
    }
}

struct Sum {
    digest: Sha256,
    files: u32,
}

impl Sum {
    /// One piece, told apart from the next by its length.
    fn add(&mut self, bytes: &[u8]) {
        self.digest.update((bytes.len() as u64).to_le_bytes());
        self.digest.update(bytes);
    }

    fn folder(&mut self, folder: &Path) -> Result<(), AuthorError> {
        for path in entries(folder)? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with('.') || OTHERS.contains(&name.as_str()) || self.files > MOST_FILES {
                continue;
            }
            if path.is_dir() {
                // A link may lead back to where it lies.
                if !path.is_symlink() {
                    self.folder(&path)?;
                }
            } else if path.is_file() {
                self.files += 1;
                self.add(path.as_os_str().as_encoded_bytes());
                self.add(&file::read(&path)?);
            }
        }
        Ok(())
    }
}

/// What lies in a folder, sorted; nothing if it isn't there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, AuthorError> {
    let failed = |source: io::Error| AuthorError::File {
        action: "read",
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// Tells whether the component is the one that was noted as made of this.
pub(super) fn is_made_of(component: &Path, made_of: &str) -> bool {
    let (Ok(bytes), Ok(noted)) = (fs::read(component), fs::read_to_string(note_of(component))) else {
        return false;
    };
    !made_of.is_empty() && noted == line(&bytes, made_of)
}

/// Notes what a component was made of.
///
/// # Errors
/// It can't be read, or the note not written.
pub(super) fn note(component: &Path, made_of: &str) -> Result<(), AuthorError> {
    let line = line(&file::read(component)?, made_of);
    file::write(&note_of(component), line.as_bytes())
}

fn note_of(component: &Path) -> PathBuf {
    component.with_extension("made-of")
}

fn line(component: &[u8], made_of: &str) -> String {
    format!("{} of {made_of}\n", hex::encode(Sha256::digest(component)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(folder: &Path) -> String {
        let inputs = Inputs {
            tool: "tool==1",
            environment: &folder.join("target/venv"),
            contract: &folder.join("target/contract"),
            folder,
        };
        inputs.digest().unwrap()
    }

    #[test]
    fn a_change_of_anything_it_is_made_of_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| file::write(&temp.path().join(path), text.as_bytes()).unwrap();
        write("app.py", "pass");
        let mut seen = vec![digest(temp.path())];
        for (path, text) in [
            ("app.py", "pass "),
            ("package/part.py", "pass"),
            ("target/venv/lib/python3/site-packages/one-1.dist-info/RECORD", ""),
            ("target/contract/mode.wit", "package"),
        ] {
            write(path, text);
            seen.push(digest(temp.path()));
        }
        for path in [
            "target/NAME.wasm",
            "dist/x.wasm",
            ".git/HEAD",
            "__pycache__/app.pyc",
        ] {
            write(path, "x");
            assert_eq!(digest(temp.path()), *seen.last().unwrap(), "{path}");
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn only_the_component_that_was_noted_stays() {
        let temp = tempfile::tempdir().unwrap();
        let component = temp.path().join("component.wasm");
        assert!(!is_made_of(&component, "ab"));
        file::write(&component, b"one").unwrap();
        assert!(!is_made_of(&component, "ab"));
        note(&component, "ab").unwrap();
        assert!(is_made_of(&component, "ab") && !is_made_of(&component, "cd"));
        file::write(&component, b"another").unwrap();
        assert!(!is_made_of(&component, "ab"));
        note(&component, "").unwrap();
        assert!(!is_made_of(&component, ""));
    }
}
