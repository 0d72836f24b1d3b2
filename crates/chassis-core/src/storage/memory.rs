//! Files in memory, for tests and fuzzing: the same rules, no disk. A limit makes a full disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::storage::backend::{Access, File, LockKind, MapView, Vfs};
use crate::storage::mmap::Region;

/// A file system in memory. Each file may grow to `limit` bytes.
pub struct MemoryVfs {
    files: Mutex<HashMap<PathBuf, Arc<Inode>>>,
    limit: usize,
    handles: AtomicU64,
}

struct Inode {
    number: u64,
    memory: Arc<Region>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    len: u64,
    locks: Vec<(u64, u64, u64, LockKind)>,
}

struct MemoryFile {
    inode: Arc<Inode>,
    handle: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryVfs {
    /// An empty file system.
    pub fn new(limit: usize) -> Arc<MemoryVfs> {
        Arc::new(MemoryVfs { files: Mutex::default(), limit, handles: AtomicU64::new(1) })
    }

    /// The bytes of a file.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let inode = lock(&self.files).get(path)?.clone();
        let mut out = vec![0; lock(&inode.state).len as usize];
        inode.memory.read(0, &mut out);
        Some(out)
    }

    /// Puts a file there, replacing what was.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let inode = self.inode(bytes.len());
        inode.memory.write(0, bytes);
        lock(&self.files).insert(path.to_path_buf(), inode);
    }

    fn inode(&self, len: usize) -> Arc<Inode> {
        let number = self.handles.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::new(State { len: len as u64, ..Default::default() });
        Arc::new(Inode { number, memory: Arc::new(Region::new(self.limit.max(len))), state })
    }

    fn file(&self, inode: Arc<Inode>) -> Arc<dyn File> {
        Arc::new(MemoryFile { inode, handle: self.handles.fetch_add(1, Ordering::Relaxed) })
    }
}

fn error(kind: ErrorKind, path: &Path) -> Error {
    Error::new(kind, format!("{}", path.display()))
}

impl Vfs for MemoryVfs {
    fn open(&self, path: &Path, _: Access) -> Result<Arc<dyn File>> {
        let inode = lock(&self.files).get(path).cloned();
        Ok(self.file(inode.ok_or_else(|| error(ErrorKind::NotFound, path))?))
    }

    fn create_new(&self, path: &Path) -> Result<Arc<dyn File>> {
        let inode = self.inode(0);
        let mut files = lock(&self.files);
        if files.contains_key(path) {
            return Err(error(ErrorKind::AlreadyExists, path));
        }
        files.insert(path.to_path_buf(), inode.clone());
        Ok(self.file(inode))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        if lock(&self.files).contains_key(to) {
            return Err(error(ErrorKind::AlreadyExists, to));
        }
        self.replace(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<()> {
        let mut files = lock(&self.files);
        let inode = files.remove(from).ok_or_else(|| error(ErrorKind::NotFound, from))?;
        files.insert(to.to_path_buf(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        lock(&self.files).remove(path).map(|_| ()).ok_or_else(|| error(ErrorKind::NotFound, path))
    }

    fn sync_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

impl File for MemoryFile {
    fn len(&self) -> Result<u64> {
        Ok(lock(&self.inode.state).len)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        if offset.saturating_add(buf.len() as u64) > self.len()? {
            return Err(Error::new(ErrorKind::Truncated, "the file ends before"));
        }
        self.inode.memory.read(offset as usize, buf);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let end = offset.saturating_add(buf.len() as u64);
        self.allocate(end)?;
        self.inode.memory.write(offset as usize, buf);
        Ok(())
    }

    fn allocate(&self, len: u64) -> Result<()> {
        if len > self.inode.memory.len() as u64 {
            return Err(Error::new(ErrorKind::DiskFull, format!("no room for {len} bytes")));
        }
        let mut state = lock(&self.inode.state);
        state.len = state.len.max(len);
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }

    fn map(&self, _: u64) -> Result<Arc<dyn MapView>> {
        Ok(self.inode.memory.clone())
    }

    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool> {
        let mut state = lock(&self.inode.state);
        let clash = |&(owner, at, n, other): &(u64, u64, u64, LockKind)| {
            let apart = at >= start.saturating_add(len) || start >= at.saturating_add(n);
            owner != self.handle && !apart && (kind == LockKind::Exclusive || other == LockKind::Exclusive)
        };
        if state.locks.iter().any(clash) {
            return Ok(false);
        }
        state.locks.push((self.handle, start, len, kind));
        Ok(true)
    }

    fn unlock(&self, start: u64, len: u64) -> Result<()> {
        lock(&self.inode.state).locks.retain(|l| (l.0, l.1, l.2) != (self.handle, start, len));
        Ok(())
    }

    fn find_lock(&self, start: u64, len: u64) -> Result<Option<u64>> {
        let state = lock(&self.inode.state);
        let mut others = state.locks.iter().filter(|l| l.0 != self.handle);
        Ok(others
            .find(|l| l.1 < start.saturating_add(len) && start < l.1.saturating_add(l.2))
            .map(|l| l.1.max(start)))
    }

    fn identity(&self) -> Result<(u64, u64)> {
        Ok((0, self.inode.number))
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        lock(&self.inode.state).locks.retain(|l| l.0 != self.handle);
    }
}
