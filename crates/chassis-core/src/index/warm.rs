//! Reading in what searches need, so that the first ones after an open do not wait for the disk.
//!
//! Everything is read through a view, as a search reads it: a writer beside it changes nothing of what is seen, and
//! searches are not held up. Nothing is promised about later: the system keeps what it has room for.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::index::Inner;
use crate::storage::heat;

/// Options of [`warm_with`](crate::VectorIndex::warm_with).
#[derive(Default, Clone, Copy)]
pub struct WarmOptions<'a> {
    /// Set to true from anywhere to stop; the call then fails with [`ErrorKind::Cancelled`]. What it had read stays.
    pub cancel: Option<&'a AtomicBool>,
}

/// What [`warm`](crate::VectorIndex::warm) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmReport {
    /// Bytes read from the file, or from the system's cache of it.
    pub bytes: u64,
}

/// Bytes read between two looks at `cancel`.
const STEP: u64 = 4 << 20;

impl Inner {
    /// See [`crate::VectorIndex::warm_with`].
    pub(crate) fn warm(&self, options: &WarmOptions<'_>) -> Result<WarmReport> {
        let view = self.store.view();
        let mut report = WarmReport { bytes: 0 };
        for kind in heat::ORDER {
            // What does not stay would push out what does.
            let Some(object) = view.object(kind).filter(|object| object.units().stay()) else { continue };
            let descriptor = &object.units().descriptor;
            let (units, mut next) = (descriptor.units, 0);
            let step = (STEP / descriptor.unit_bytes(0).max(1)).max(1);
            while next < units {
                if options.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                    return Err(Error::new(ErrorKind::Cancelled, "cancelled while it read the index in"));
                }
                let end = units.min(next + step);
                report.bytes += object.warm(next..end)?;
                next = end;
            }
        }
        Ok(report)
    }
}
