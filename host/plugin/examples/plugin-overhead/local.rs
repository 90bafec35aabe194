//! What storage `local` does, by the same native code.

use std::path::Path;

use freezer_io::directory::{Access, Directory, Existing};

use super::{KEY, Native, Outcome, Work};

/// Where an unfinished object lies.
const PARTIAL: &str = "data/.object.partial";

/// A folder that is written to directly.
pub(super) struct Directories(Directory);

impl Directories {
    pub(super) fn new(root: &Path) -> Outcome<Self> {
        std::fs::create_dir_all(root)?;
        Ok(Self(Directory::open(root, Path::new(""), Access::ReadWrite)?))
    }
}

impl Native for Directories {
    fn store(&self, work: &Work) -> Outcome<()> {
        for number in 0..work.segments {
            self.0.write(PARTIAL, work.offset(number), &work.segment)?;
        }
        Ok(self.0.publish(PARTIAL, KEY, Existing::Refuse)?)
    }

    fn remove(&self, _: &Work) -> Outcome<()> {
        Ok(self.0.remove(KEY)?)
    }
}
