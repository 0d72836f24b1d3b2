//! The seam under the engine: everything that touches an operating system goes through [`Vfs`] and [`File`].
//!
//! Three back ends implement them: real files (`file`), memory (`memory`), and the simulation of the tests,
//! which records every call and builds the disk images a crash could leave.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Result;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// Shared locks exclude exclusive ones; exclusive locks exclude all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Many may hold it.
    Shared,
    /// One may hold it.
    Exclusive,
}

/// A file system.
pub trait Vfs: Send + Sync {
    /// Opens a regular file; never creates one.
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn File>>;
    /// Creates a file; `AlreadyExists` when there is one.
    fn create_new(&self, path: &Path) -> Result<Arc<dyn File>>;
    /// Renames; `AlreadyExists` when `to` exists.
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()>;
    /// Renames over whatever `to` is.
    fn replace(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Makes names in the folder of `path_inside` durable.
    fn sync_dir(&self, path_inside: &Path) -> Result<()>;
    /// [`Vfs::create_new`] of a file that whoever may use `like` may use, and nobody else.
    fn create_like(&self, path: &Path, _like: &Path) -> Result<Arc<dyn File>> {
        self.create_new(path)
    }
    /// The path from the root, whatever the working folder becomes.
    fn absolute(&self, path: &Path) -> Result<PathBuf> {
        Ok(path.to_owned())
    }
    /// The path of the file itself, where `path` may lead to it by links.
    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        Ok(path.to_owned())
    }
    /// [`File::identity`] of what a path names now.
    fn identity(&self, path: &Path) -> Result<(u64, u64)> {
        self.open(path, Access::Read)?.identity()
    }
}

/// An open file.
pub trait File: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> Result<u64>;
    /// Whether it is empty.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buf` from `offset`; `Truncated` when the file ends before.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()>;
    /// Writes all of `buf`.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()>;
    /// Grows the file to at least `len` bytes with real blocks; never shrinks it.
    fn allocate(&self, len: u64) -> Result<()>;
    /// Returns once everything written before has reached the medium.
    fn barrier(&self) -> Result<()>;
    /// A read-only view of at least the first `min_len` bytes, or of what there is where views cannot reach past
    /// the end. Later writes to the file show in it.
    fn map(&self, min_len: u64) -> Result<Arc<dyn MapView>>;
    /// The same for what is read seldom and anywhere: touching a byte reads its page and nothing around it, and does not
    /// make it one the system keeps.
    fn map_seldom(&self, min_len: u64) -> Result<Arc<dyn MapView>> {
        self.map(min_len)
    }
    /// Whether so many bytes of it can stay in memory, as far as one can know.
    fn fits_in_memory(&self, _bytes: u64) -> bool {
        true
    }
    /// Begins to read bytes that a map will be asked for soon, and does not wait for them. What cannot be begun is
    /// read when it is touched.
    fn will_need(&self, _offset: u64, _len: u64) {}
    /// Takes an advisory lock on a byte range without waiting; says whether it got it. Locks belong to this
    /// open file and end with it.
    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool>;
    /// Gives a lock back.
    fn unlock(&self, start: u64, len: u64) -> Result<()>;
    /// The first byte of some lock that another open file holds in the range.
    fn find_lock(&self, start: u64, len: u64) -> Result<Option<u64>>;
    /// What makes this file the same one under another name.
    fn identity(&self) -> Result<(u64, u64)>;
}

/// Memory that shows a file. It stays where it is until dropped.
pub trait MapView: Send + Sync {
    /// First byte.
    fn base(&self) -> *const u8;
    /// Bytes that may be read, as far as the file reaches.
    fn len(&self) -> usize;
    /// Whether nothing may be read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
