//! Reading in what searches need, so that the first ones after an open do not wait for the disk.
//!
//! Everything is read through a view, as a search reads it: a writer beside it changes nothing of what is seen, and
//! searches are not held up. Nothing is promised about later: the system keeps what it has room for.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::index::Inner;
use crate::storage::Kind;

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

/// In the order in which a walk comes to them; the vectors, the most by far, last.
const FIRST: [Kind; 8] = [
    Kind::EntryBlock,
    Kind::Model,
    Kind::Upper,
    Kind::Lists,
    Kind::Codes4,
    Kind::Codes8,
    Kind::Nodes,
    Kind::Live,
];
/// Bytes read between two looks at `cancel`.
const STEP: u64 = 4 << 20;

impl Inner {
    /// See [`crate::VectorIndex::warm_with`].
    pub(crate) fn warm(&self, options: &WarmOptions<'_>) -> Result<WarmReport> {
        self.warm_kinds(options, self.store.fits_in_memory()?)
    }

    fn warm_kinds(&self, options: &WarmOptions<'_>, vectors: bool) -> Result<WarmReport> {
        let view = self.store.view();
        let mut report = WarmReport { bytes: 0 };
        for kind in FIRST.into_iter().chain(vectors.then_some(Kind::Vectors)) {
            let Some(object) = view.object(kind) else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::BLOCK;
    use crate::index::{BatchOptions, Metric, OpenOptions, VectorIndex};

    #[test]
    fn vectors_are_read_only_when_all_fits() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = OpenOptions { dimensions: Some(8), metric: Some(Metric::L2), ..Default::default() };
        let index = VectorIndex::open(folder.path().join("index"), &options).expect("a new index");
        let rows: Vec<f32> = (0..8 * 2_000).map(|i| (i * 37 % 101) as f32).collect();
        index.add_batch(&rows, &BatchOptions::default()).expect("rows are added");
        index.commit().expect("a commit");
        let inner = index.inner().expect("it is open");
        let view = inner.store.view();
        let bytes = |kind: Kind| {
            let descriptor = &view.object(kind).expect("an object").units().descriptor;
            (0..descriptor.units).map(|unit| descriptor.unit_blocks(unit) * BLOCK as u64).sum::<u64>()
        };
        let graph: u64 = [Kind::Upper, Kind::Lists, Kind::Nodes, Kind::Live].map(bytes).iter().sum();
        let read = |vectors| inner.warm_kinds(&WarmOptions::default(), vectors).expect("it reads").bytes;
        assert_eq!(read(false), graph);
        assert_eq!(read(true), graph + bytes(Kind::Vectors));
        assert!(bytes(Kind::Vectors) >= 2_000 * 8 * 4);
    }
}
