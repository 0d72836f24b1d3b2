//! What a commit makes before it writes: the codes, entry block and recall table that are due.
//!
//! That may take seconds, and may be stopped. Each look at whether it should go on is before the first byte is written: what
//! was made until then is put back, so the transaction is what it was, and the write that follows has nothing to ask.

use std::sync::atomic::AtomicBool;

use crate::error::{ErrorKind, Result};
use crate::index::encode::Budget;
use crate::index::share::{Proceed, proceed};
use crate::index::{Inner, VectorIndex, default_threads};
use crate::storage::Txn;

/// What can be cancelled here.
const WORK: &str = "the commit";

/// Options of [`VectorIndex::commit_with`].
#[derive(Default, Clone, Copy)]
pub struct CommitOptions<'a> {
    /// Set to true from anywhere to stop; the call then fails with [`ErrorKind::Cancelled`], nothing is durable, and the
    /// changes are still there to be committed or rolled back. Once the commit writes, it is not looked at.
    pub cancel: Option<&'a AtomicBool>,
}

impl VectorIndex {
    /// Makes everything added so far durable and returns the commit's number. After it returns, no crash and no
    /// power cut loses it. Without changes it returns the last number and touches nothing.
    ///
    /// Some commits also make what searches use:
    ///
    /// - codes, where [`Quantization`](crate::Quantization) makes any: at 2,048 records and at most once more, at eight
    ///   times as many as they were fitted on. Up to a second for the model, on one core, and the codes of all records are
    ///   written anew, on all cores. A batch that fits codes leaves the commit none to fit;
    /// - the recall table, at 2,048 records, each time their number has doubled, and with new codes: 0.6 to 2.4 processor
    ///   seconds on 59,000 to 340,000 vectors, on all cores.
    ///
    /// [`commit_with`](VectorIndex::commit_with) can be stopped while it does so.
    ///
    /// # Errors
    /// `DiskFull` leaves the transaction as it was; `Poisoned` and `CommitIndeterminate` end the writer: reopen.
    pub fn commit(&self) -> Result<u64> {
        self.commit_with(&CommitOptions::default())
    }

    /// [`commit`](VectorIndex::commit) that can be stopped until it writes.
    ///
    /// # Errors
    /// As [`commit`](VectorIndex::commit); `Cancelled` when it was stopped: the transaction is as it was.
    pub fn commit_with(&self, options: &CommitOptions<'_>) -> Result<u64> {
        self.on_newest(|inner| inner.commit(&|| proceed(options.cancel, WORK)))
    }
}

impl Inner {
    fn commit(&self, proceed: Proceed<'_>) -> Result<u64> {
        self.store.txn()?.change(|txn| {
            if txn.is_changed() {
                let before = txn.derived();
                if let Err(error) = self.make_due(txn, proceed) {
                    if error.kind() == ErrorKind::Cancelled {
                        txn.put_back(before);
                        // It may be of codes that are gone, and whose generation the next ones will have.
                        self.drift.forget();
                    }
                    return Err(error);
                }
            }
            txn.commit()
        })
    }

    /// Makes what is due of all that searches go by besides the records.
    fn make_due(&self, txn: &mut Txn<'_>, proceed: Proceed<'_>) -> Result<()> {
        let threads = default_threads();
        let budget = Budget { may_fit: true, threads, go_on: &|| proceed().is_ok() };
        self.encode(txn, &[], budget)?;
        self.renew_entries(txn, false)?;
        self.renew_calibration(txn, threads, proceed)?;
        proceed()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;
    use crate::index::{CheckLevel, OpenOptions};
    use crate::storage::{MemoryVfs, OpenTuning, Vfs};

    const DIMENSIONS: usize = 300;

    /// Rows of rank three, so that a model projects; no two of them the same.
    fn row(n: usize) -> Vec<f32> {
        let at = |n: usize, i: usize| ((n * 37 + i * 11) as f32 * 0.618).sin();
        (0..DIMENSIONS).map(|d| (0..3).map(|i| at(n, i) * at(d, i + 7)).sum()).collect()
    }

    fn open(vfs: &Arc<MemoryVfs>, name: &str) -> VectorIndex {
        let tuning = OpenTuning { codes_from: Some(100), ..OpenTuning::default() };
        let options = OpenOptions { dimensions: Some(DIMENSIONS), ..OpenOptions::default() };
        let vfs: Arc<dyn Vfs> = vfs.clone();
        VectorIndex::open_with(&vfs, Path::new(name), &options, &tuning).expect("a new index")
    }

    /// One by one: a batch would fit the codes itself.
    fn add(index: &VectorIndex, rows: std::ops::Range<usize>) {
        for n in rows {
            index.add(&row(n)).expect("a row");
        }
    }

    #[test]
    fn a_commit_that_is_stopped_anywhere_has_no_effect_and_may_be_made_or_rolled_back() {
        let vfs = MemoryVfs::new(64 << 20);
        let bytes = |name: &str| vfs.bytes(Path::new(name)).expect("a file");
        let (index, plain) = (open(&vfs, "index"), open(&vfs, "plain"));
        let run = |index: &VectorIndex, stop: usize| {
            let looks = AtomicUsize::new(0);
            let outcome = index.inner().expect("it is open").commit(&|| match looks
                .fetch_add(1, Ordering::Relaxed)
                < stop
            {
                true => Ok(()),
                false => Err(Error::new(ErrorKind::Cancelled, "stopped")),
            });
            (outcome.map_err(|e| e.kind()), looks.into_inner())
        };
        // The first codes and table; rows that need neither; both anew.
        for (commit, rows, least) in [(1, 0..130, DIMENSIONS), (2, 130..140, 1), (3, 140..1_050, DIMENSIONS)]
        {
            add(&index, rows.clone());
            add(&plain, rows);
            let (before, (outcome, all)) = (bytes("index"), run(&plain, usize::MAX));
            assert!(outcome == Ok(commit) && all >= least, "commit {commit}: {outcome:?}, {all} looks");
            for stop in [0, 1, DIMENSIONS, all / 4, all / 2, all - all / 4, all.saturating_sub(2), all - 1] {
                if stop < all {
                    let (outcome, _) = run(&index, stop);
                    assert_eq!(outcome, Err(ErrorKind::Cancelled), "commit {commit}, look {stop} of {all}");
                    assert!(bytes("index") == before, "commit {commit}: something was written");
                    assert_eq!(index.stats().expect("figures").commit, commit - 1);
                }
            }
            assert!(index.check(CheckLevel::Full).expect("a check").is_ok());
            assert_eq!(run(&index, usize::MAX), (Ok(commit), all));
            assert!(bytes("index") == bytes("plain"), "commit {commit}: not the bytes of one nobody stopped");
        }
        add(&index, 1_050..1_051);
        let stop = AtomicBool::new(true);
        let stopped = index.commit_with(&CommitOptions { cancel: Some(&stop) });
        assert_eq!(stopped.expect_err("it is set").message(), "the commit was cancelled");
        index.rollback().expect("a rollback");
        assert_eq!((index.len().expect("a count"), index.commit().expect("nothing to commit")), (1_050, 3));
    }
}
