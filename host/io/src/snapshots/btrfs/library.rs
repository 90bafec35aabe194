//! libbtrfsutil, found where it is installed: the functions that snapshots need, behind safe signatures.
//!
//! It is loaded and not linked: most machines have no btrfs, and the program must start there. The functions and their
//! types are those of btrfsutil.h 1.1 to 1.2; none of them keeps what it is handed.
#![expect(unsafe_code, reason = "a library of C is called")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

use libloading::{Library, Symbol};

use crate::error::{Error, ErrorKind};

/// Its name since its first release.
const NAME: &str = "libbtrfsutil.so.1";
/// `BTRFS_UTIL_CREATE_SNAPSHOT_READ_ONLY`.
const READ_ONLY: c_int = 1 << 1;
/// Nested subvolumes that are looked at; more are only counted as many.
const MAX_NESTED: usize = 10_000;

type Code = c_int;
type StrError = unsafe extern "C" fn(Code) -> *const c_char;
type CreateSnapshot =
    unsafe extern "C" fn(c_int, c_int, *const c_char, c_int, *mut u64, *const c_void) -> Code;
type DeleteSubvolume = unsafe extern "C" fn(c_int, *const c_char, c_int) -> Code;
type SubvolumeId = unsafe extern "C" fn(c_int, *mut u64) -> Code;
type CreateIterator = unsafe extern "C" fn(c_int, u64, c_int, *mut *mut c_void) -> Code;
type NextSubvolume = unsafe extern "C" fn(*mut c_void, *mut *mut c_char, *mut u64) -> Code;
type DestroyIterator = unsafe extern "C" fn(*mut c_void);

/// The loaded library.
pub(super) struct BtrfsUtil(Library);

impl BtrfsUtil {
    /// Loads it.
    ///
    /// # Errors
    /// `Unsupported`, with the packages that bring it.
    pub(super) fn load() -> Result<Self, Error> {
        // SAFETY: loading it runs no code but the loader's: the library has no constructors.
        let loaded = unsafe { Library::new(NAME) };
        loaded.map(Self).map_err(|error| {
            let message = format!(
                "a snapshot of btrfs needs {NAME}: install the package libbtrfsutil1 (Debian, Ubuntu) or libbtrfsutil \
                 (Fedora) ({error})"
            );
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    /// Makes a read-only snapshot of the subvolume `source`, named `name` in the directory `parent`.
    pub(super) fn snapshot(&self, source: impl AsFd, parent: impl AsFd, name: &str) -> Result<(), Error> {
        let what = format!("make the snapshot {name}");
        let text = c_name(name)?;
        let function: Symbol<'_, CreateSnapshot> = self.symbol(b"btrfs_util_create_snapshot_fd2\0")?;
        let (source, parent) = (source.as_fd().as_raw_fd(), parent.as_fd().as_raw_fd());
        // SAFETY: the descriptors are open, the name ends in NUL, and absent results and groups may be null.
        let code = unsafe { function(source, parent, text.as_ptr(), READ_ONLY, null_mut(), null()) };
        self.checked(code, &what)
    }

    /// Deletes the subvolume `name` in the directory `parent`, but none that is nested in it.
    pub(super) fn delete(&self, parent: impl AsFd, name: &str) -> Result<(), Error> {
        let what = format!("delete the snapshot {name}");
        let text = c_name(name)?;
        let function: Symbol<'_, DeleteSubvolume> = self.symbol(b"btrfs_util_delete_subvolume_fd\0")?;
        // SAFETY: the descriptor is open and the name ends in NUL.
        let code = unsafe { function(parent.as_fd().as_raw_fd(), text.as_ptr(), 0) };
        self.checked(code, &what)
    }

    /// The number of the subvolume that a file lies in.
    pub(super) fn id(&self, file: impl AsFd) -> Result<u64, Error> {
        let function: Symbol<'_, SubvolumeId> = self.symbol(b"btrfs_util_subvolume_id_fd\0")?;
        let mut id = 0;
        // SAFETY: the descriptor is open, and the number outlives the call.
        let code = unsafe { function(file.as_fd().as_raw_fd(), &raw mut id) };
        self.checked(code, "ask for the number of a subvolume")
            .map(|()| id)
    }

    /// The subvolumes nested in one, by their paths relative to it.
    pub(super) fn nested(&self, subvolume: impl AsFd) -> Result<Vec<PathBuf>, Error> {
        const WHAT: &str = "list nested subvolumes";
        let create: Symbol<'_, CreateIterator> = self.symbol(b"btrfs_util_create_subvolume_iterator_fd\0")?;
        let next: Symbol<'_, NextSubvolume> = self.symbol(b"btrfs_util_subvolume_iterator_next\0")?;
        let destroy: Symbol<'_, DestroyIterator> = self.symbol(b"btrfs_util_destroy_subvolume_iterator\0")?;
        let mut iterator = null_mut();
        // SAFETY: the descriptor outlives the iterator, which is destroyed below.
        let code = unsafe { create(subvolume.as_fd().as_raw_fd(), 0, 0, &raw mut iterator) };
        self.checked(code, WHAT)?;
        let mut found = Vec::new();
        while found.len() < MAX_NESTED {
            let mut path: *mut c_char = null_mut();
            // SAFETY: the iterator is alive; the number isn't wanted.
            let code = unsafe { next(iterator, &raw mut path, null_mut()) };
            // An error is the end, too: `BTRFS_UTIL_ERROR_STOP_ITERATION` is one of them.
            if code != 0 || path.is_null() {
                break;
            }
            // SAFETY: after a success it is a text that ends in NUL.
            let text = unsafe { CStr::from_ptr(path) };
            found.push(PathBuf::from(bytes_of(text)));
            // SAFETY: the text was allocated for its caller, by the C library that this program uses as well.
            unsafe { nix::libc::free(path.cast()) };
        }
        // SAFETY: it was created above and isn't used any more.
        unsafe { destroy(iterator) };
        Ok(found)
    }

    fn symbol<T>(&self, name: &[u8]) -> Result<Symbol<'_, T>, Error> {
        // SAFETY: the types above are those of btrfsutil.h.
        let found = unsafe { self.0.get(name) };
        found.map_err(|error| {
            let message = format!("{NAME} is too old for snapshots: {error}");
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    /// The library's own words and the system's for a failure.
    fn checked(&self, code: Code, what: &str) -> Result<(), Error> {
        if code == 0 {
            return Ok(());
        }
        let errno = std::io::Error::last_os_error();
        let function: Symbol<'_, StrError> = self.symbol(b"btrfs_util_strerror\0")?;
        // SAFETY: it answers a text of its own that is never freed, or null.
        let text = unsafe { function(code) };
        let text = match text.is_null() {
            true => format!("error {code}"),
            // SAFETY: it isn't null and ends in NUL.
            false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
        };
        let kind = rustix::io::Errno::from_io_error(&errno).map_or(ErrorKind::Other, crate::error::kind_of);
        Err(Error::new(kind, format!("can't {what}: {text}: {errno}")))
    }
}

fn c_name(name: &str) -> Result<CString, Error> {
    CString::new(name).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
}

fn bytes_of(text: &CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(text.to_bytes()))
}
