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
use crate::storage::view::Pin;

const WRITER: u64 = 1 << 62;
const PIDS: u64 = WRITER + (1 << 33);
const PIDS_LEN: u64 = 1 << 32;
const PINS: u64 = 1 << 61;
/// Commits are numbered below this; at a thousand commits a second it lasts 36 million years.
const PINS_LEN: u64 = 1 << 60;

/// Becomes the writer, waiting up to `timeout` for another one to finish.
pub(crate) fn lock_writer(file: &dyn File, path: &Path, timeout: Option<Duration>) -> Result<()> {
    let deadline = timeout.map(|t| Instant::now() + t);
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

/// A reader's lock on a commit, given back when the last view of it is gone.
pub(crate) struct SharedPin {
    file: Arc<dyn File>,
    txn: u64,
}

impl SharedPin {
    pub(crate) fn new(file: &Arc<dyn File>, txn: u64) -> Result<SharedPin> {
        if !file.try_lock(PINS + txn.min(PINS_LEN - 1), 1, LockKind::Shared)? {
            return Err(Error::new(ErrorKind::Io, format!("commit {txn} could not be pinned")));
        }
        Ok(SharedPin { file: file.clone(), txn })
    }
}

impl Pin for SharedPin {}

impl Drop for SharedPin {
    fn drop(&mut self) {
        let _ = self.file.unlock(PINS + self.txn.min(PINS_LEN - 1), 1);
    }
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

/// The commits that views of this process use.
#[derive(Default)]
pub(crate) struct LocalPins(Mutex<BTreeMap<u64, usize>>);

impl LocalPins {
    pub(crate) fn pin(self: &Arc<Self>, txn: u64) -> Arc<dyn Pin> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(txn).or_default() += 1;
        Arc::new(LocalPin { pins: self.clone(), txn })
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().next().copied()
    }
}

struct LocalPin {
    pins: Arc<LocalPins>,
    txn: u64,
}

impl Pin for LocalPin {}

impl Drop for LocalPin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = pins.get_mut(&self.txn) {
            *n -= 1;
            if *n == 0 {
                pins.remove(&self.txn);
            }
        }
    }
}
