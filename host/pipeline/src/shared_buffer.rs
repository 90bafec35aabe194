//! A buffer that a writer of `freezer_format` fills and the road empties, both on one thread.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

/// Clones share the bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedBuffer(Rc<RefCell<Vec<u8>>>);

impl SharedBuffer {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Shows what waits to `use_bytes` and clears it.
    pub(crate) fn drain<T>(&self, use_bytes: impl FnOnce(&[u8]) -> T) -> T {
        let mut bytes = self.0.borrow_mut();
        let result = use_bytes(&bytes);
        bytes.clear();
        result
    }
}

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
