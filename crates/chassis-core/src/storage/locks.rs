//! One writer, pinned readers: advisory byte-range locks far beyond the end of the file (ADR 0003).
//!
//! The kernel keeps them and drops them with the process, so nothing is written for a reader, nothing is left
//! behind by a killed one, and the file's bytes stay a function of its content.
//!
//! | bytes | lock | meaning |
//! |---|---|---|
//! | `WRITER` | exclusive | the writer |
//! | `PIDS + pid` | shared | who the writer is, for the error of the next one |
//! | `PINS + txn` | shared | a reader uses commit `txn`: its blocks may not be used again |

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::storage::backend::{File, LockKind};

const WRITER: u64 = 1 << 62;
const PIDS: u64 = WRITER + (1 << 33);
const PIDS_LEN: u64 = 1 << 32;
const PINS: u64 = 1 << 61;
/// Commits are numbered below this; at a thousand commits a second it lasts 36 million years.
const PINS_LEN: u64 = 1 << 60;

/// Longer than anybody waits, and no overflow.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// When a wait of this length ends.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(FOR_EVER)
}

/// Becomes the writer, waiting up to `deadline` for another one to finish.
pub(crate) fn lock_writer(file: &dyn File, path: &Path, deadline: Option<Instant>) -> Result<()> {
    loop {
        if file.try_lock(WRITER, 1, LockKind::Exclusive)? {
            file.try_lock(PIDS + std::process::id() as u64, 1, LockKind::Shared)?;
            return Ok(());
        }
        let Some(left) = deadline.and_then(|d| d.checked_duration_since(Instant::now())) else {
            let holder = match file.find_lock(PIDS, PIDS_LEN)? {
                Some(at) => format!("process {}", at - PIDS),
                None => "another process".to_owned(),
            };
            let text = format!("{holder} has {} open for writing; open it read-only or wait", path.display());
            return Err(Error::new(ErrorKind::WriterBusy, text));
        };
        std::thread::sleep(left.min(Duration::from_millis(5)));
    }
}

/// Stops being the writer.
pub(crate) fn unlock_writer(file: &dyn File) {
    // Closing the file gives the locks back as well; an error here can only delay that.
    let _ = file.unlock(PIDS + std::process::id() as u64, 1);
    let _ = file.unlock(WRITER, 1);
}

/// The oldest commit another open file pins.
pub(crate) fn oldest_pin(file: &dyn File) -> Result<Option<u64>> {
    let mut oldest = None;
    let mut len = PINS_LEN;
    // The kernel names some lock of the range, not the first: look again below it until there is none.
    while len > 0 {
        match file.find_lock(PINS, len)? {
            Some(at) if at >= PINS && at - PINS < len => {
                len = at - PINS;
                oldest = Some(len);
            }
            _ => break,
        }
    }
    Ok(oldest)
}

/// Whether another open file pins a commit.
pub(crate) fn is_pinned(file: &dyn File, txn: u64) -> Result<bool> {
    Ok(file.find_lock(pin_byte(txn), 1)?.is_some())
}

/// The commits that the views of one store use, counted: the kernel does not count locks of one open file.
pub(crate) struct Pins {
    /// Where a reader's pins show to the writer; a writer sees its own without.
    file: Option<Arc<dyn File>>,
    views: Mutex<BTreeMap<u64, usize>>,
    /// Whose they are: a child of a fork shares the open file, and must not take its parent's locks away.
    pid: u32,
}

impl Pins {
    pub(crate) fn new(file: Option<Arc<dyn File>>) -> Arc<Pins> {
        Arc::new(Pins { file, views: Mutex::default(), pid: std::process::id() })
    }

    /// Keeps a commit's blocks from being used again until the pin is dropped.
    pub(crate) fn pin(self: &Arc<Self>, txn: u64) -> Result<Pin> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let (None, Some(file)) = (views.get(&txn), &self.file)
            && !file.try_lock(pin_byte(txn), 1, LockKind::Shared)?
        {
            return Err(Error::new(ErrorKind::Io, format!("commit {txn} could not be pinned")));
        }
        *views.entry(txn).or_default() += 1;
        Ok(Pin { pins: self.clone(), txn })
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).keys().next().copied()
    }
}

fn pin_byte(txn: u64) -> u64 {
    PINS + txn.min(PINS_LEN - 1)
}

/// Keeps the blocks of a commit from being used again while a view of it lives.
pub(crate) struct Pin {
    pins: Arc<Pins>,
    txn: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut views = self.pins.views.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = views.get_mut(&self.txn) else { return };
        *count -= 1;
        if *count == 0 {
            views.remove(&self.txn);
            if let Some(file) = &self.pins.file
                && std::process::id() == self.pins.pid
            {
                // Closing the file gives the lock back as well; an error here can only delay that.
                let _ = file.unlock(pin_byte(self.txn), 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::backend::{Access, Vfs};
    use crate::storage::memory::MemoryVfs;

    #[test]
    fn a_commit_stays_pinned_until_its_last_view_is_gone() {
        let (vfs, path) = (MemoryVfs::new(1 << 16), Path::new("index"));
        vfs.put(path, &[0; 100]);
        let reader = vfs.open(path, Access::Read).unwrap();
        let writer = vfs.open(path, Access::ReadWrite).unwrap();
        let pins = Pins::new(Some(reader));
        let (first, second, later) = (pins.pin(5).unwrap(), pins.pin(5).unwrap(), pins.pin(9).unwrap());
        assert_eq!(oldest_pin(writer.as_ref()).unwrap(), Some(5));
        drop(first);
        assert_eq!(oldest_pin(writer.as_ref()).unwrap(), Some(5));
        drop(second);
        assert_eq!(oldest_pin(writer.as_ref()).unwrap(), Some(9));
        drop(later);
        assert_eq!(oldest_pin(writer.as_ref()).unwrap(), None);
    }
}
