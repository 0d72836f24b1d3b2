//! A file system in memory that logs every operation, for [`crate::images`] to crash, and that fails where told.
//!
//! Reads, maps and locks behave like a disk with a page cache: everything written is seen at once by everybody.
//! What would survive a power cut is not decided here: the log is, and `images` builds each disk it allows.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chassis_core::internals::storage::backend::{Access, File, LockKind, MapView, Vfs};
use chassis_core::internals::storage::mmap::Region;
use chassis_core::{Error, ErrorKind, Result};

/// One logged operation. `file` is an inode number.
#[derive(Debug, Clone)]
pub enum Op {
    Write {
        file: usize,
        offset: u64,
        data: Arc<[u8]>,
    },
    /// The file now has this length.
    Length {
        file: usize,
        to: u64,
    },
    Barrier {
        file: usize,
    },
    /// A barrier that reported an error: what it should have written may be lost for good.
    FailedBarrier {
        file: usize,
    },
    Link {
        path: PathBuf,
        file: usize,
    },
    Unlink {
        path: PathBuf,
    },
    SyncDir,
    /// A note of the workload: what it has promised or been promised at this point.
    Mark(Mark),
}

/// What the oracle must know about a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Version `n` is being committed.
    Begin(usize),
    /// Version `n` is durable, says the engine.
    Ack(usize),
    /// The commit of version `n` failed or was killed half-way: it may or may not be there.
    Maybe(usize),
    /// The commit that was begun is off: nothing of it may be seen.
    Failed,
}

/// The calls that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Open,
    Create,
    Rename,
    Remove,
    SyncDir,
    Len,
    Read,
    Write,
    Allocate,
    Barrier,
    Map,
    Lock,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Eio,
    Enospc,
    /// Part of the work is done, then the error.
    Short,
    /// A barrier that loses what it should have made durable.
    LostBarrier,
    /// The process dies here: every later call fails too, and nothing is lost from the cache.
    Killed,
}

impl Failure {
    /// Whether such a call can fail like this.
    pub fn can_hit(self, call: Call) -> bool {
        use Call::*;
        match self {
            Failure::Eio | Failure::Killed => true,
            Failure::Enospc => matches!(call, Create | Rename | Write | Allocate | Barrier | SyncDir),
            Failure::Short => matches!(call, Write | Allocate),
            Failure::LostBarrier => call == Barrier,
        }
    }
}

/// When to fail.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Calls (of this kind, if stated) that still succeed.
    pub after: u64,
    pub call: Option<Call>,
    pub failure: Failure,
    /// Whether all later calls that can fail like this do.
    pub sticky: bool,
}

/// A disk: names and files, as they are on the medium.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub names: BTreeMap<PathBuf, usize>,
    pub files: Vec<Vec<u8>>,
}

struct Inode {
    memory: Arc<Region>,
    len: u64,
    locks: Vec<(u64, u64, u64, LockKind)>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, usize>,
    inodes: Vec<Inode>,
    log: Vec<Op>,
    recording: bool,
    calls: Vec<Call>,
    fault: Option<Fault>,
    tripped: bool,
    /// While the tests look for themselves, nothing is counted and nothing fails.
    paused: bool,
    /// Bytes any file may grow to.
    limit: Option<u64>,
    handles: u64,
}

/// The simulated file system.
pub struct SimVfs {
    state: Arc<Mutex<State>>,
    room: usize,
}

struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    handle: u64,
}

/// A view that ends where a real one of this length would.
struct SimMap(Arc<Region>, usize);

impl MapView for SimMap {
    fn base(&self) -> *const u8 {
        self.0.base()
    }
    fn len(&self) -> usize {
        self.1
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn os(code: i32, what: &str) -> Error {
    Error::io(format!("simulated: {what}"), io::Error::from_raw_os_error(code))
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl SimVfs {
    /// An empty disk whose files may grow to `room` bytes.
    pub fn new(room: usize) -> Arc<SimVfs> {
        Arc::new(SimVfs { state: Arc::default(), room })
    }

    /// A disk with this on it, nothing pending.
    pub fn from_disk(disk: &Disk, room: usize) -> Arc<SimVfs> {
        let vfs = SimVfs::new(room);
        vfs.load(disk);
        vfs
    }

    /// Replaces everything on the disk, reusing memory that is large enough.
    pub fn load(&self, disk: &Disk) {
        let mut state = lock(&self.state);
        state.names = disk.names.clone();
        state.inodes.truncate(disk.files.len());
        for (i, bytes) in disk.files.iter().enumerate() {
            let fits = state.inodes.get(i).is_some_and(|n| n.memory.len() >= bytes.len());
            if !fits {
                let inode = Inode {
                    memory: Arc::new(Region::new(self.room.max(bytes.len()))),
                    len: 0,
                    locks: vec![],
                };
                if i < state.inodes.len() {
                    state.inodes[i] = inode;
                } else {
                    state.inodes.push(inode);
                }
            }
            state.inodes[i].memory.write(0, bytes);
            state.inodes[i].len = bytes.len() as u64;
        }
    }

    /// Overwrites bytes on the disk, without a trace.
    pub fn poke(&self, file: usize, offset: usize, bytes: &[u8]) {
        lock(&self.state).inodes[file].memory.write(offset, bytes);
    }

    /// Sets a file's length, without a trace.
    pub fn set_len(&self, file: usize, len: u64) {
        lock(&self.state).inodes[file].len = len;
    }

    /// Sets the names, without a trace.
    pub fn set_names(&self, names: &BTreeMap<PathBuf, usize>) {
        let mut state = lock(&self.state);
        if state.names != *names {
            state.names = names.clone();
        }
    }

    /// What is on the disk, pending or not.
    pub fn disk(&self) -> Disk {
        let state = lock(&self.state);
        let bytes = |inode: &Inode| {
            let mut bytes = vec![0; inode.len as usize];
            inode.memory.read(0, &mut bytes);
            bytes
        };
        Disk { names: state.names.clone(), files: state.inodes.iter().map(bytes).collect() }
    }

    /// Starts the log.
    pub fn record(&self) {
        lock(&self.state).recording = true;
    }

    /// Adds a note to the log.
    pub fn mark(&self, mark: Mark) {
        lock(&self.state).note(Op::Mark(mark));
    }

    /// The log so far.
    pub fn log(&self) -> Vec<Op> {
        lock(&self.state).log.clone()
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state).calls.clone()
    }

    /// Arranges a failure, or calls it off. `after` counts from now.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = lock(&self.state);
        state.fault = fault;
        state.tripped = false;
    }

    /// Whether the arranged failure has happened.
    pub fn tripped(&self) -> bool {
        lock(&self.state).tripped
    }

    /// The file that has this name.
    pub fn named(&self, path: &Path) -> Option<usize> {
        lock(&self.state).names.get(path).copied()
    }

    /// Whether a file has this name.
    pub fn exists(&self, path: &Path) -> bool {
        lock(&self.state).names.contains_key(path)
    }

    /// Whether a failure is arranged that has not happened yet.
    pub fn armed(&self) -> bool {
        let state = lock(&self.state);
        state.fault.is_some() && !state.tripped
    }

    /// Runs `look` without faults and without counting its calls.
    pub fn paused<T>(&self, look: impl FnOnce() -> T) -> T {
        lock(&self.state).paused = true;
        let outcome = look();
        lock(&self.state).paused = false;
        outcome
    }

    /// Bytes a file may grow to from now on.
    pub fn set_limit(&self, limit: Option<u64>) {
        lock(&self.state).limit = limit;
    }

    /// The largest file's length.
    pub fn largest(&self) -> u64 {
        lock(&self.state).inodes.iter().map(|i| i.len).max().unwrap_or(0)
    }

    fn file(&self, state: &mut State, inode: usize) -> Arc<dyn File> {
        state.handles += 1;
        Arc::new(SimFile { state: self.state.clone(), inode, handle: state.handles })
    }
}

impl State {
    fn note(&mut self, op: Op) {
        if self.recording {
            self.log.push(op);
        }
    }

    /// Counts a call and says whether and how it fails.
    fn gate(&mut self, call: Call) -> Option<Failure> {
        if self.paused {
            return None;
        }
        if self.recording {
            self.calls.push(call);
        }
        let fault = self.fault.as_mut()?;
        let possible = fault.failure.can_hit(call);
        if self.tripped {
            return (fault.sticky && possible).then_some(fault.failure);
        }
        if fault.call.is_some_and(|c| c != call) {
            return None;
        }
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        self.tripped = true;
        possible.then_some(fault.failure)
    }

    /// [`State::gate`] for calls that fail whole.
    fn pass(&mut self, call: Call) -> Result<()> {
        match self.gate(call) {
            None => Ok(()),
            Some(Failure::Enospc) => Err(os(ENOSPC, "no space")),
            Some(_) => Err(os(EIO, "input/output error")),
        }
    }

    fn missing(path: &Path) -> Error {
        Error::new(ErrorKind::NotFound, format!("simulated: no {}", path.display()))
    }
}

impl Vfs for SimVfs {
    fn open(&self, path: &Path, _: Access) -> Result<Arc<dyn File>> {
        let mut state = lock(&self.state);
        state.pass(Call::Open)?;
        let inode = *state.names.get(path).ok_or_else(|| State::missing(path))?;
        Ok(self.file(&mut state, inode))
    }

    fn create_new(&self, path: &Path) -> Result<Arc<dyn File>> {
        let mut state = lock(&self.state);
        state.pass(Call::Create)?;
        if state.names.contains_key(path) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("simulated: {} exists", path.display()),
            ));
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode { memory: Arc::new(Region::new(self.room)), len: 0, locks: vec![] });
        state.names.insert(path.to_path_buf(), inode);
        state.note(Op::Link { path: path.to_path_buf(), file: inode });
        Ok(self.file(&mut state, inode))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        if lock(&self.state).names.contains_key(to) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("simulated: {} exists", to.display())));
        }
        self.replace(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = lock(&self.state);
        state.pass(Call::Rename)?;
        let inode = state.names.remove(from).ok_or_else(|| State::missing(from))?;
        state.names.insert(to.to_path_buf(), inode);
        state.note(Op::Link { path: to.to_path_buf(), file: inode });
        state.note(Op::Unlink { path: from.to_path_buf() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = lock(&self.state);
        state.pass(Call::Remove)?;
        state.names.remove(path).ok_or_else(|| State::missing(path))?;
        state.note(Op::Unlink { path: path.to_path_buf() });
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> Result<()> {
        let mut state = lock(&self.state);
        state.pass(Call::SyncDir)?;
        state.note(Op::SyncDir);
        Ok(())
    }
}

impl SimFile {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn grow(&self, state: &mut State, len: u64) {
        if len > state.inodes[self.inode].len {
            state.inodes[self.inode].len = len;
            state.note(Op::Length { file: self.inode, to: len });
        }
    }

    fn put(&self, state: &mut State, buf: &[u8], offset: u64) {
        if buf.is_empty() {
            return;
        }
        self.grow(state, offset + buf.len() as u64);
        state.inodes[self.inode].memory.write(offset as usize, buf);
        if state.recording {
            state.log.push(Op::Write { file: self.inode, offset, data: buf.into() });
        }
    }

    /// Whether a file may have this length.
    fn room(&self, state: &State, len: u64) -> Result<()> {
        let inode = &state.inodes[self.inode];
        let limit = state.limit.unwrap_or(u64::MAX).min(inode.memory.len() as u64).max(inode.len);
        if len > limit { Err(os(ENOSPC, "the disk is full")) } else { Ok(()) }
    }
}

impl File for SimFile {
    fn len(&self) -> Result<u64> {
        let mut state = self.state();
        state.pass(Call::Len)?;
        Ok(state.inodes[self.inode].len)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let mut state = self.state();
        state.pass(Call::Read)?;
        let inode = &state.inodes[self.inode];
        if offset.saturating_add(buf.len() as u64) > inode.len {
            return Err(Error::new(ErrorKind::Truncated, "simulated: the file ends before"));
        }
        inode.memory.read(offset as usize, buf);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let mut state = self.state();
        let failure = state.gate(Call::Write);
        self.room(&state, offset + buf.len() as u64)?;
        match failure {
            None => self.put(&mut state, buf, offset),
            Some(Failure::Short) => {
                self.put(&mut state, &buf[..buf.len() / 2], offset);
                return Err(os(ENOSPC, "a short write"));
            }
            Some(Failure::Enospc) => return Err(os(ENOSPC, "no space")),
            Some(_) => return Err(os(EIO, "input/output error")),
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> Result<()> {
        let mut state = self.state();
        let failure = state.gate(Call::Allocate);
        self.room(&state, len)?;
        match failure {
            None => self.grow(&mut state, len),
            Some(Failure::Short) => {
                let half = state.inodes[self.inode].len.midpoint(len) & !4095;
                self.grow(&mut state, half);
                return Err(os(ENOSPC, "half of the blocks"));
            }
            Some(Failure::Enospc) => return Err(os(ENOSPC, "no space")),
            Some(_) => return Err(os(EIO, "input/output error")),
        }
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        let mut state = self.state();
        match state.gate(Call::Barrier) {
            None => {
                state.note(Op::Barrier { file: self.inode });
                Ok(())
            }
            Some(Failure::Killed) => Err(os(EIO, "killed")),
            Some(failure) => {
                state.note(Op::FailedBarrier { file: self.inode });
                Err(os(if failure == Failure::Enospc { ENOSPC } else { EIO }, "the barrier failed"))
            }
        }
    }

    fn map(&self, min_len: u64) -> Result<Arc<dyn MapView>> {
        let mut state = self.state();
        state.pass(Call::Map)?;
        let inode = &state.inodes[self.inode];
        let len = inode.len.max(min_len).min(inode.memory.len() as u64);
        Ok(Arc::new(SimMap(inode.memory.clone(), len as usize)))
    }

    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool> {
        let mut state = self.state();
        state.pass(Call::Lock)?;
        let clash = |&(owner, at, n, other): &(u64, u64, u64, LockKind)| {
            let apart = at >= start.saturating_add(len) || start >= at.saturating_add(n);
            owner != self.handle && !apart && (kind == LockKind::Exclusive || other == LockKind::Exclusive)
        };
        let handle = self.handle;
        let locks = &mut state.inodes[self.inode].locks;
        if locks.iter().any(clash) {
            return Ok(false);
        }
        locks.push((handle, start, len, kind));
        Ok(true)
    }

    fn unlock(&self, start: u64, len: u64) -> Result<()> {
        let handle = self.handle;
        self.state().inodes[self.inode].locks.retain(|l| (l.0, l.1, l.2) != (handle, start, len));
        Ok(())
    }

    fn find_lock(&self, start: u64, len: u64) -> Result<Option<u64>> {
        let mut state = self.state();
        state.pass(Call::Lock)?;
        let mut others = state.inodes[self.inode].locks.iter().filter(|l| l.0 != self.handle);
        Ok(others
            .find(|l| l.1 < start.saturating_add(len) && start < l.1.saturating_add(l.2))
            .map(|l| l.1.max(start)))
    }

    fn identity(&self) -> Result<(u64, u64)> {
        Ok((0, self.inode as u64))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let handle = self.handle;
        let mut state = self.state();
        if let Some(inode) = state.inodes.get_mut(self.inode) {
            inode.locks.retain(|l| l.0 != handle);
        }
    }
}
