//! Compaction: the live records of an index in a new file, which takes the place of the old one; and how handles
//! come to the new file.
//!
//! The new file is a function of the records: they are copied in the order of their ids, the model of the codes is
//! fitted to rows spread over all of them, the graph is built and refined as a bulk build, the recall table is fitted
//! again. Vectors, payloads and codes are written in portions and read back from the map, so that only lists, records
//! and ids are held in memory. See `storage::successor` for how the file takes its place.
//!
//! All that while the calling thread is the running transaction of the old file: other writes of the handle wait, and
//! find afterwards that their store is retired. [`VectorIndex::on_newest`] then starts them over on the new one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::NodeId;
use crate::index::encode::Budget;
use crate::index::insert::{self, Linking};
use crate::index::options::IdType;
use crate::index::share::proceed;
use crate::index::{Id, Inner, VectorIndex, default_threads, named, nodes};
use crate::storage::{Kind, Published, Txn, VerifiedRows, View};

/// Bytes of vectors and payloads from one commit of the new file to the next.
const PORTION: usize = 64 << 20;
/// What can be cancelled here.
const WORK: &str = "the compaction";

/// Options of [`VectorIndex::compact`].
#[derive(Default, Clone, Copy)]
pub struct CompactOptions<'a> {
    /// Threads to use; default: all cores. The file's bytes do not depend on it.
    pub threads: Option<usize>,
    /// Called with (records done, records in all) while the graph is built, as in
    /// [`BatchOptions`](crate::BatchOptions::progress); copying comes before.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
    /// Set to true from anywhere to stop; the call then fails with [`ErrorKind::Cancelled`] and the index is as it was.
    pub cancel: Option<&'a AtomicBool>,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactReport {
    /// Live records, all of which are in the new file.
    pub records: u64,
    /// Tombstones that are not.
    pub removed: u64,
    /// Length of the old file.
    pub bytes_before: u64,
    /// Length of the new file.
    pub bytes_after: u64,
    /// Number of the new file's commit: greater than that of any commit before.
    pub commit: u64,
}

impl VectorIndex {
    /// Builds the index anew from its live records in a second file, which then takes the place of the first under its
    /// name: gives back the space of tombstones, makes the graph that a bulk build of these records would, and fits
    /// codes and recall to them.
    ///
    /// Ids, payloads, vectors to the bit, options, the model stamp and the caller's version stay; so does the next id
    /// to assign. The commit number goes on. Changes that are not committed are committed first, and stay so whatever
    /// comes of the rest.
    ///
    /// It takes the time of a build and, until the end, the room of a second file. Searches go on all that while;
    /// writes of this handle wait. Readers in other processes keep the old file, whose space the system frees when the
    /// last of them has let it go; [`refresh`](VectorIndex::refresh) brings them to the new one. A crash at any moment
    /// leaves one of the two files whole under the name.
    ///
    /// # Errors
    /// `ReadOnly`, `Corrupt` (nothing is copied over damage), `DiskFull`, `Io`, `PermissionDenied`, `Cancelled`: the
    /// file and the handle are as they were. `WriterBusy`: another compaction uses the temporary name, as when the path
    /// came to name this index while the one before it was being compacted. `Superseded`: another program put another file under the name.
    /// `UnsupportedVersion`: a newer release wrote something that this one cannot carry over.
    /// `CommitIndeterminate`: the new file is in place, but a power cut may bring the old one back, which has the same
    /// records; the handle goes on reading, and writes after it is opened again.
    pub fn compact(&self, options: &CompactOptions<'_>) -> Result<CompactReport> {
        self.on_newest(|inner| {
            inner.compact(options, |new| {
                self.exchange(inner, new);
            })
        })
    }

    /// A reader moves to the newest commit, in a new file if the index was compacted; says whether there was one. A
    /// writer always sees its own state. A reader that is never refreshed answers from what it opened.
    ///
    /// # Errors
    /// `Superseded` when an index with other options is under the name now; `NotFound`, `Corrupt`, `Io`.
    pub fn refresh(&self) -> Result<bool> {
        let inner = self.inner()?;
        if !inner.store.is_read_only() || !inner.store.is_replaced()? {
            match inner.store.refresh() {
                // The same index, of which the open file shows no newer commits.
                Err(error) if error.kind() == ErrorKind::Superseded => {}
                outcome => return outcome,
            }
        }
        let new = inner.store.reopen().and_then(Inner::new).map_err(|error| named(self.path(), error))?;
        if new.header != inner.header {
            let text = format!("{} was replaced by another index; open it again", self.path().display());
            return Err(Error::new(ErrorKind::Superseded, text));
        }
        Ok(self.exchange(&inner, new))
    }

    /// Puts `new` in the place of `old`, unless the handle was closed or moved on meanwhile.
    fn exchange(&self, old: &Arc<Inner>, new: Inner) -> bool {
        let mut guard = self.handle.inner.write().unwrap_or_else(|e| e.into_inner());
        match &mut *guard {
            Some(inner) if Arc::ptr_eq(inner, old) => {
                // Dropped by whoever lets it go last, but not under the lock that every call takes.
                let last = std::mem::replace(inner, Arc::new(new));
                drop(guard);
                drop(last);
                true
            }
            _ => false,
        }
    }

    /// Runs work that becomes the running transaction. Where a compaction took the file from under a call that waited,
    /// it begins again on the new one: nothing had been done.
    pub(super) fn on_newest<T>(&self, work: impl Fn(&Arc<Inner>) -> Result<T>) -> Result<T> {
        loop {
            let inner = self.inner()?;
            match work(&inner) {
                Err(e) if e.kind() == ErrorKind::Superseded && inner.store.is_retired() => {}
                outcome => return outcome,
            }
        }
    }
}

impl Inner {
    /// Compacts; `exchange` gets the new state while other writes still wait.
    fn compact(&self, options: &CompactOptions<'_>, exchange: impl FnOnce(Inner)) -> Result<CompactReport> {
        let mut txn = self.store.txn()?;
        // Codes and recall would only be fitted to be fitted again.
        txn.change(|txn| txn.commit())?;
        let view = txn.view().clone();
        let bytes_before = self.store.stats()?.file_bytes;
        let (store, place) = self.store.successor(&txn).map_err(untouched)?;
        let new = Inner::new(store)?;
        new.rebuild(&view, options).map_err(untouched)?;
        // Asked before the rename: nothing that fails after it may pass for a compaction that did not happen.
        let bytes_after = new.store.stats()?.file_bytes;
        let named = place.take(&txn, &new.store).map_err(untouched)?;
        let made = new.store.view();
        exchange(new);
        drop(txn);
        named?;
        Ok(CompactReport {
            records: made.live_count(),
            removed: u64::from(view.node_count()).saturating_sub(view.live_count()),
            bytes_before,
            bytes_after,
            commit: made.meta().txn,
        })
    }

    /// Fills this empty index with the live records of `old`.
    fn rebuild(&self, old: &View, options: &CompactOptions<'_>) -> Result<()> {
        let threads = options.threads.unwrap_or_else(default_threads).max(1);
        let txn = &mut self.store.txn()?;
        let order = in_order(old, self.id_type)?;
        self.copy(txn, old, &order, options.cancel)?;
        let go_on = || proceed(options.cancel, WORK).is_ok();
        self.encode_stored(txn, order.len(), Budget { may_fit: true, threads, go_on: &go_on })?;
        // From here on vectors and codes are read from the map.
        txn.commit()?;
        let linking = Linking {
            total: order.len(),
            bulk: true,
            has_codes: false,
            threads,
            progress: options.progress,
            cancel: options.cancel,
        };
        self.link_rows(txn, &linking, |txn, node| {
            let record = nodes::record(txn.view(), node)?;
            insert::clear_lists(txn, node, record.level, record.upper)
        })?;
        insert::make_live(txn, 0, order.iter().map(|(id, _)| id))?;
        let now = txn.view().published();
        txn.publish(Published { next_id: old.published().next_id.max(now.next_id), ..now });
        txn.set_user_version(old.user_version());
        let go_on = || proceed(options.cancel, WORK);
        self.renew_calibration(txn, threads, &go_on)?;
        go_on()?;
        txn.commit().map(drop)
    }

    /// Copies vectors, payloads, ids and records, one node after the other, and commits after each portion.
    fn copy(
        &self,
        txn: &mut Txn<'_>,
        old: &View,
        order: &[(Id, NodeId)],
        cancel: Option<&AtomicBool>,
    ) -> Result<()> {
        let dimensions = self.header.dimensions as usize;
        let portion = self.store.tuning().portion.unwrap_or(PORTION);
        let (mut vectors, mut heap) = (verified(old, Kind::Vectors)?, verified(old, Kind::Heap)?);
        let mut bytes = 0;
        for (node, (id, from)) in (0..).zip(order) {
            let row = vectors.get(*from as usize)?;
            let vector = nodes::vector_in(row, dimensions)?;
            // No caller could have added what this refuses.
            insert::check_vector(vector, self.metric, ErrorKind::Corrupt, || {
                format!("the vector of id {id}")
            })
            .map_err(|e| Error::corrupt(e.message()))?;
            let record = nodes::record(old, *from)?;
            let payload = record.payload_len.map(|len| heap.read_bytes(record.payload, len as usize));
            let payload = payload.transpose()?;
            insert::place(txn, id, vector, payload.as_deref(), node, self.params.m)?;
            bytes += row.len() + payload.map_or(0, |payload| payload.len());
            if bytes >= portion {
                bytes = 0;
                proceed(cancel, WORK)?;
                txn.commit()?;
            }
        }
        proceed(cancel, WORK)
    }
}

/// The live records, by ascending id.
fn in_order(view: &View, id_type: IdType) -> Result<Vec<(Id, NodeId)>> {
    let mut heap = verified(view, Kind::Heap)?;
    // The count is the file's word; a record is bytes of it.
    let mut order = Vec::new();
    for node in 0..view.node_count() {
        if !nodes::is_live(view, node)? {
            continue;
        }
        let record = nodes::record(view, node)?;
        let id = match id_type {
            IdType::Integer => Id::Integer(record.id),
            IdType::String => String::from_utf8(heap.read_bytes(record.id, record.id_len.into())?)
                .map(Id::String)
                .map_err(|_| Error::corrupt("a string id that is not UTF-8"))?,
        };
        order.push((id, node));
    }
    order.sort_unstable();
    if let Some(pair) = order.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::corrupt(format!(
            "nodes {} and {} have the id {}",
            pair[0].1, pair[1].1, pair[0].0
        )));
    }
    if order.len() as u64 != view.live_count() {
        let (found, stated) = (order.len(), view.live_count());
        return Err(Error::corrupt(format!("{found} live records, where the commit has {stated}")));
    }
    Ok(order)
}

fn verified(view: &View, kind: Kind) -> Result<VerifiedRows<'_>> {
    let rows = view.rows(kind).ok_or_else(|| Error::corrupt(format!("no {kind:?} object")))?;
    VerifiedRows::new(rows)
}

/// What failed before the new file took its place is no concern of the handle: a barrier that failed was the new
/// file's.
fn untouched(error: Error) -> Error {
    if !matches!(error.kind(), ErrorKind::Poisoned | ErrorKind::CommitIndeterminate) {
        return error;
    }
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Error>());
    let kind = match cause.map(Error::kind) {
        Some(ErrorKind::DiskFull) => ErrorKind::DiskFull,
        _ => ErrorKind::Io,
    };
    Error::with_source(kind, "the compacted file could not be made durable; the index is as it was", error)
}
