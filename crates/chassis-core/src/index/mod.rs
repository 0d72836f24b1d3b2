//! The facade: the one module that sees storage, kernels and graph together, and the one users see.
//!
//! | file | part |
//! |---|---|
//! | `options` | what a caller may ask for, defaults, ranges |
//! | `insert` | the write path, top to bottom |
//! | `search` | the read path, top to bottom |
//! | `scan`, `bounds` | exact answers from every row; why tiles of them miss nothing |
//! | `batch` | many queries on many threads |
//! | `space` | stored bytes and kernels as the graph's traits |
//! | `coded` | the same over codes |
//! | `commit` | what a commit makes before it writes |
//! | `encode` | when codes begin, and the records of new rows |
//! | `stages` | a search over codes: walk, measure again, measure exactly |
//! | `drift` | how well codes still fit |
//! | `stats` | facts and figures |
//! | `plan`, `calibrate` | how hard a search looks; what a recall costs in this index |
//! | `nodes`, `ids` | node records, live bits; ids to nodes and back |
//! | `check`, `check_codes` | storage verification and graph check in one report; codes against vectors |
//! | `warm` | reading in what searches need |
//! | `compact` | the live records in a new file, and how handles follow it |
//! | `share`, `pool` | work for several threads; memory kept between calls |
//!
//! # Concurrency
//!
//! One writer at a time (a mutex inside the store), any number of searches beside it. A search takes the
//! current [`View`](crate::storage::View) once; it sees the nodes that were complete at that moment and never waits.

mod batch;
mod bounds;
mod calibrate;
mod check;
mod check_codes;
mod coded;
mod commit;
mod compact;
mod drift;
mod encode;
mod ids;
mod insert;
mod nodes;
mod options;
mod plan;
mod pool;
mod scan;
mod search;
mod share;
mod space;
mod stages;
mod stats;
mod warm;

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use crate::error::{Error, ErrorKind, Result};
use crate::format::Header;
use crate::graph;
use crate::storage::{self, OpenMode, OpenTuning, Store, Vfs};

pub use check::{CheckLevel, CheckOptions, CheckReport, Problem};
pub use commit::CommitOptions;
pub use compact::{CompactOptions, CompactReport};
pub use ids::Id;
pub use options::{
    BatchOptions, DEFAULT_EF_CONSTRUCTION, DEFAULT_EF_SEARCH, DEFAULT_K, DEFAULT_M, EXACT_BELOW, IdType,
    MAX_DIMENSIONS, MAX_EF, MAX_MODEL, MAX_PAYLOAD, MAX_STRING_ID, Metric, Mode, OpenOptions, Quantization,
    SHORT_LISTS_FROM, SearchBatchOptions, SearchOptions, similarity,
};
pub use search::Hits;
pub use stats::{CodeStats, RecallStats, Stats, StatsOptions};
pub use warm::{WarmOptions, WarmReport};

/// A record read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: Id,
    /// The vector: exactly the bits that were added.
    pub vector: Vec<f32>,
    /// The payload, when one was added.
    pub payload: Option<Vec<u8>>,
}

/// An open index. Clones share one handle; all methods may be called from any thread.
///
/// ```
/// use chassis_core::{Metric, OpenOptions, SearchOptions, VectorIndex};
/// # fn main() -> chassis_core::Result<()> {
/// # let dir = tempfile::tempdir().expect("a temporary folder");
/// # let path = dir.path().join("docs.chassis");
/// let options = OpenOptions { dimensions: Some(3), metric: Some(Metric::L2), ..Default::default() };
/// let index = VectorIndex::open(&path, &options)?;
/// let id = index.add(&[1.0, 2.0, 3.0])?;
/// index.commit()?;
/// let hits = index.search(&[1.0, 2.0, 2.5], &SearchOptions::k(1))?;
/// assert_eq!(hits.id(0), id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct VectorIndex {
    handle: Arc<Handle>,
}

struct Handle {
    path: PathBuf,
    /// `None` once closed; calls that run keep their own clone, so closing waits for nobody.
    inner: RwLock<Option<Arc<Inner>>>,
}

/// What an open index works with.
pub(crate) struct Inner {
    store: Store,
    header: Header,
    metric: Metric,
    id_type: IdType,
    params: graph::Params,
    scratch: pool::Pool<search::Scratch>,
    walks: pool::Pool<Vec<graph::BuildScratch>>,
    drift: drift::DriftMemo,
    /// Rows from which there are codes.
    codes_from: usize,
}

/// Cores available to this process.
pub(crate) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

impl VectorIndex {
    /// Opens or creates an index.
    ///
    /// Opening costs the same at any size: nothing is scanned and nothing recovered.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `NotADatabase`, `UnsupportedVersion`, `Corrupt`, `Truncated`,
    /// `OptionMismatch`, `InvalidOption`, `WriterBusy`, `PermissionDenied`, `NotAFile`, `InvalidPath`, `DiskFull`,
    /// `Io`.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<VectorIndex> {
        VectorIndex::open_with(&storage::file::vfs(), path.as_ref(), options, &OpenTuning::default())
    }

    /// [`VectorIndex::open`] over any file system and with the knobs of the tests.
    #[doc(hidden)]
    pub fn open_with(
        vfs: &Arc<dyn Vfs>,
        path: &Path,
        options: &OpenOptions,
        tuning: &OpenTuning,
    ) -> Result<VectorIndex> {
        VectorIndex::open_store(vfs, path, options, tuning)
            .and_then(Inner::new)
            .map_err(|error| named(path, error))
            .and_then(|inner| inner.compare(options).map(|()| inner))
            .map(|inner| {
                let inner = RwLock::new(Some(Arc::new(inner)));
                VectorIndex { handle: Arc::new(Handle { path: path.to_path_buf(), inner }) }
            })
    }

    fn open_store(
        vfs: &Arc<dyn Vfs>,
        path: &Path,
        options: &OpenOptions,
        tuning: &OpenTuning,
    ) -> Result<Store> {
        check_options(options)?;
        let mode = if options.mode == Mode::ReadOnly { OpenMode::ReadOnly } else { OpenMode::ReadWrite };
        let open = || Store::open(vfs, path, mode, options.lock_timeout, tuning);
        match options.mode {
            Mode::Create => {
                create_store(vfs, path, options, tuning)?;
                open()
            }
            Mode::OpenOrCreate => match open() {
                Err(e) if e.kind() == ErrorKind::NotFound && options.dimensions.is_some() => {
                    match create_store(vfs, path, options, tuning) {
                        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
                        _ => open(),
                    }
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    Err(e
                        .saying(format!("{} does not exist; to create it, state dimensions", path.display())))
                }
                other => other,
            },
            Mode::Open | Mode::ReadOnly => open(),
        }
    }

    fn inner(&self) -> Result<Arc<Inner>> {
        let guard = self.handle.inner.read().unwrap_or_else(|e| e.into_inner());
        guard.clone().ok_or_else(|| {
            Error::new(ErrorKind::Closed, format!("the index {} is closed", self.handle.path.display()))
        })
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Path {
        &self.handle.path
    }

    /// Dimensions of every vector.
    pub fn dimensions(&self) -> Result<usize> {
        Ok(self.inner()?.header.dimensions as usize)
    }

    /// The metric.
    pub fn metric(&self) -> Result<Metric> {
        Ok(self.inner()?.metric)
    }

    /// Whether it was opened for reading only.
    pub fn is_read_only(&self) -> Result<bool> {
        Ok(self.inner()?.store.is_read_only())
    }

    /// The type of ids.
    pub fn id_type(&self) -> Result<IdType> {
        Ok(self.inner()?.id_type)
    }

    /// Live records.
    pub fn len(&self) -> Result<u64> {
        Ok(self.inner()?.store.view().live_count())
    }

    /// Whether there are no live records.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Adds a vector under the next free integer id. Searches see it at once; it is durable after [`commit`].
    ///
    /// [`commit`]: VectorIndex::commit
    pub fn add(&self, vector: &[f32]) -> Result<Id> {
        self.add_record(None, vector, None)
    }

    /// Adds a vector with an id and a payload.
    ///
    /// # Errors
    /// `DuplicateId`, `InvalidId`, `DimensionMismatch`, `InvalidVector`, `ZeroNorm`, `CapacityExceeded`, `ReadOnly`.
    pub fn add_record(&self, id: Option<&Id>, vector: &[f32], payload: Option<&[u8]>) -> Result<Id> {
        let inner = self.inner()?;
        let dimensions = inner.header.dimensions as usize;
        if vector.len() != dimensions {
            return Err(Error::new(
                ErrorKind::DimensionMismatch,
                format!("the vector has {} dimensions, the index {dimensions}", vector.len()),
            ));
        }
        let payloads = [payload];
        let options = BatchOptions {
            ids: id.map(std::slice::from_ref),
            payloads: payload.is_some().then_some(&payloads[..]),
            threads: Some(1),
            ..Default::default()
        };
        let ids = self.on_newest(|inner| inner.insert(vector, &options))?;
        ids.into_iter().next().ok_or_else(|| Error::new(ErrorKind::Internal, "an insert returned no id"))
    }

    /// Adds rows that lie back to back; all of them or none. Linked on `threads` cores, with the same result for
    /// any number of them.
    pub fn add_batch(&self, vectors: &[f32], options: &BatchOptions<'_>) -> Result<Vec<Id>> {
        self.on_newest(|inner| inner.insert(vectors, options))
    }

    /// Whether a live record has this id.
    pub fn has(&self, id: &Id) -> Result<bool> {
        let inner = self.inner()?;
        ids::validate(id, inner.id_type)?;
        Ok(inner.store.consistent(|view| ids::find(view, id))?.is_some())
    }

    /// Reads a record back, its checksums verified; `None` when the id is unknown.
    pub fn get(&self, id: &Id) -> Result<Option<Record>> {
        let inner = self.inner()?;
        ids::validate(id, inner.id_type)?;
        inner.store.consistent(|view| ids::find(view, id)?.map(|node| nodes::get(view, id, node)).transpose())
    }

    /// Deletes records and says how many there were. They become tombstones: gone from results at once, their
    /// space is given back by [`compact`](VectorIndex::compact).
    pub fn delete(&self, ids: &[Id]) -> Result<usize> {
        self.on_newest(|inner| inner.delete(ids))
    }

    /// The nearest records, nearest first. Never waits for a writer.
    pub fn search(&self, query: &[f32], options: &SearchOptions) -> Result<Hits> {
        let mut hits = Hits::default();
        self.search_into(query, options, &mut hits)?;
        Ok(hits)
    }

    /// [`search`](VectorIndex::search) into reused buffers: once warm it allocates nothing.
    pub fn search_into(&self, query: &[f32], options: &SearchOptions, hits: &mut Hits) -> Result<()> {
        self.inner()?.search_into(query, options, hits)
    }

    /// Searches many queries that lie back to back, on `threads` cores (default all), the calling thread among
    /// them. The answers are those of [`search`](VectorIndex::search), for any number of threads, of one commit and what
    /// this handle has added and deleted since; a query that fails, fails the call. Exact searches of a batch share each pass over the vectors
    /// and are several times as fast as one by one.
    pub fn search_batch(
        &self,
        queries: &[f32],
        options: &SearchOptions,
        threads: Option<usize>,
    ) -> Result<Vec<Hits>> {
        self.search_batch_with(queries, options, &SearchBatchOptions { threads, cancel: None })
    }

    /// [`search_batch`](VectorIndex::search_batch) that can be stopped.
    ///
    /// # Errors
    /// As [`search`](VectorIndex::search); `Cancelled` when it was stopped.
    pub fn search_batch_with(
        &self,
        queries: &[f32],
        options: &SearchOptions,
        batch: &SearchBatchOptions<'_>,
    ) -> Result<Vec<Hits>> {
        self.inner()?.search_batch(queries, options, batch)
    }

    /// Forgets everything since the last commit.
    pub fn rollback(&self) -> Result<()> {
        self.on_newest(|inner| {
            inner.store.any_txn()?.rollback()?;
            inner.drift.forget();
            Ok(())
        })
    }

    /// The caller's own number, committed with the data.
    pub fn user_version(&self) -> Result<u64> {
        Ok(self.inner()?.store.view().user_version())
    }

    /// Sets the caller's own number; durable with the next commit.
    pub fn set_user_version(&self, version: u64) -> Result<()> {
        self.on_newest(|inner| {
            inner.store.txn()?.set_user_version(version);
            Ok(())
        })
    }

    /// Reads in what a search needs, so that the first searches do not wait for the disk: the graph, node records
    /// and codes; the vectors last, and only when the whole file fits in half of the memory. Where it does not, only
    /// what has room is read, the busiest first, and searches are faster for as long as it stays. What is read is
    /// verified. Searches and a writer go on meanwhile.
    ///
    /// # Errors
    /// `Corrupt` and `Truncated` for what is damaged, `Io`.
    pub fn warm(&self) -> Result<WarmReport> {
        self.warm_with(&WarmOptions::default())
    }

    /// [`warm`](VectorIndex::warm) that can be stopped.
    ///
    /// # Errors
    /// As [`warm`](VectorIndex::warm); `Cancelled` when it was stopped.
    pub fn warm_with(&self, options: &WarmOptions<'_>) -> Result<WarmReport> {
        self.inner()?.warm(options)
    }

    /// Facts and figures; cheap: about 10 microseconds. Where there are codes the first call takes some milliseconds, as the
    /// first search does, to read their model, and so does one after the records added since their fit have grown by
    /// an eighth, to measure [`CodeStats::drift`]; tenths of a second where what it reads has to come from the disk.
    ///
    /// # Errors
    /// `Corrupt` when the free list, the model of the codes or records of the sample are damaged; `Io`.
    pub fn stats(&self) -> Result<Stats> {
        self.stats_with(&StatsOptions::default())
    }

    /// [`stats`](VectorIndex::stats) with more.
    ///
    /// # Errors
    /// As [`stats`](VectorIndex::stats).
    pub fn stats_with(&self, options: &StatsOptions) -> Result<Stats> {
        self.inner()?.stats(options)
    }

    /// Of a search over codes: nodes met on layer 0, lists read, candidates followed up, vectors measured.
    #[cfg(feature = "__internals")]
    #[doc(hidden)]
    pub fn search_counts(&self, query: &[f32], options: &SearchOptions) -> Result<[usize; 4]> {
        let inner = self.inner()?;
        let mut scratch = search::Scratch::default();
        inner.check_query(query)?;
        inner.run(&inner.store.view(), query, options, options.aim()?, &mut scratch)?;
        Ok(scratch.counts())
    }

    /// The storage under the index, for the simulation.
    #[cfg(feature = "__internals")]
    #[doc(hidden)]
    pub fn with_store<T>(&self, work: impl FnOnce(&Store) -> T) -> Result<T> {
        Ok(work(&self.inner()?.store))
    }

    /// Closes the handle; uncommitted changes are forgotten. Calls that run finish; later ones fail with
    /// `Closed`. Closing twice is fine.
    pub fn close(&self) -> Result<()> {
        let inner = self.handle.inner.write().unwrap_or_else(|e| e.into_inner()).take();
        drop(inner);
        Ok(())
    }
}

impl Inner {
    fn new(store: Store) -> Result<Inner> {
        let header = store.view().header().clone();
        let params = graph::Params {
            m: header.m as usize,
            m0: header.m0 as usize,
            ef_construction: header.ef_construction as usize,
        };
        params.validate().map_err(|e| Error::corrupt(format!("graph parameters in the header: {e}")))?;
        Ok(Inner {
            metric: Metric::from_byte(header.metric)?,
            id_type: IdType::from_byte(header.id_type)?,
            codes_from: store.tuning().codes_from.unwrap_or(encode::CODES_FROM),
            store,
            header,
            params,
            scratch: pool::Pool::new(),
            walks: pool::Pool::new(),
            drift: drift::DriftMemo::default(),
        })
    }

    /// Refuses options that contradict the file.
    fn compare(&self, options: &OpenOptions) -> Result<()> {
        let h = &self.header;
        let quantization = Quantization::from_byte(h.quantization)?;
        differs("dimensions", options.dimensions, h.dimensions as usize)?;
        differs("metric", options.metric.map(Metric::name), self.metric.name())?;
        differs("idType", options.id_type.map(IdType::name), self.id_type.name())?;
        differs("m", options.m, h.m as usize)?;
        differs("m0", options.m0, h.m0 as usize)?;
        differs("efConstruction", options.ef_construction, h.ef_construction as usize)?;
        differs("quantization", options.quantization.map(Quantization::name), quantization.name())?;
        differs("model", options.model.as_deref(), h.model.as_str())
    }
}

/// Creates the file. Of a folder that is not there or may not be written to, says so by the name that the caller knows:
/// the file has a hidden one at first.
fn create_store(vfs: &Arc<dyn Vfs>, path: &Path, options: &OpenOptions, tuning: &OpenTuning) -> Result<()> {
    Store::create(vfs, path, header_for(options)?, tuning).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::NotFound => "its folder does not exist".to_owned(),
            ErrorKind::PermissionDenied => {
                std::error::Error::source(&error).map_or(String::new(), |e| e.to_string())
            }
            _ => return error,
        };
        error.saying(format!("cannot create {}: {why}", path.display()))
    })
}

/// Says which file it is that cannot be taken for an index: what finds that out sees bytes and no path.
fn named(path: &Path, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotADatabase
        | ErrorKind::UnsupportedVersion
        | ErrorKind::Corrupt
        | ErrorKind::Truncated => {
            let text = format!("{}: {}", path.display(), error.message());
            error.saying(text)
        }
        _ => error,
    }
}

fn differs<T: PartialEq + std::fmt::Debug>(field: &str, stated: Option<T>, file: T) -> Result<()> {
    match stated {
        Some(stated) if stated != file => Err(Error::new(
            ErrorKind::OptionMismatch,
            format!(
                "{field} is {stated:?} but the file was created with {file:?}; leave it out or create another file"
            ),
        )),
        _ => Ok(()),
    }
}

/// Range-checks whatever is stated, whether or not the file exists.
fn check_options(options: &OpenOptions) -> Result<()> {
    if let Some(d) = options.dimensions
        && !(1..=MAX_DIMENSIONS).contains(&d)
    {
        return Err(options::invalid("dimensions", d, format!("1 to {MAX_DIMENSIONS}")));
    }
    if let Some(model) = &options.model
        && model.len() > MAX_MODEL
    {
        return Err(options::invalid(
            "model",
            format!("{} bytes long", model.len()),
            format!("up to {MAX_MODEL}"),
        ));
    }
    params_for(options).validate()
}

fn params_for(options: &OpenOptions) -> graph::Params {
    let m = options.m.unwrap_or(DEFAULT_M);
    let times = if options.dimensions.is_some_and(|d| d < SHORT_LISTS_FROM) { 3 } else { 2 };
    graph::Params {
        m,
        m0: options.m0.unwrap_or(m.saturating_mul(times).min(graph::MAX_DEGREE)),
        ef_construction: options.ef_construction.unwrap_or(DEFAULT_EF_CONSTRUCTION),
    }
}

fn header_for(options: &OpenOptions) -> Result<Header> {
    let dimensions = options.dimensions.ok_or_else(|| {
        Error::new(ErrorKind::InvalidOption, "dimensions must be stated to create an index")
    })?;
    let params = params_for(options);
    Ok(Header {
        dimensions: dimensions as u32,
        metric: options.metric.unwrap_or(Metric::Cosine).to_byte(),
        id_type: options.id_type.unwrap_or(IdType::Integer).to_byte(),
        m: params.m as u16,
        m0: params.m0 as u16,
        ef_construction: params.ef_construction as u32,
        quantization: options.quantization.unwrap_or(Quantization::Auto).to_byte(),
        model: options.model.clone().unwrap_or_default(),
        ..Header::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit that waits for a change which fails half-way must not make half of it durable.
    #[test]
    fn who_waited_for_a_write_that_failed_half_way_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let options = OpenOptions { dimensions: Some(1), ..Default::default() };
        let index = VectorIndex::open(dir.path().join("index"), &options).expect("a new index");
        index.add(&[1.0]).expect("a row");
        index.commit().expect("a commit");
        for panics in [false, true] {
            let inner = index.inner().expect("an open index");
            let mut txn = inner.store.txn().expect("a transaction");
            let waiting = std::thread::spawn({
                let index = index.clone();
                move || index.commit()
            });
            let fail = std::panic::AssertUnwindSafe(|| {
                txn.change(|txn| -> Result<()> {
                    txn.set_user_version(7);
                    assert!(!panics, "a deliberate panic");
                    Err(Error::new(ErrorKind::Io, "half-way"))
                })
            });
            assert!(std::panic::catch_unwind(fail).is_err() == panics);
            drop(txn);
            let refused = waiting.join().expect("no panic").expect_err("half of a change is there");
            assert_eq!(refused.kind(), ErrorKind::Poisoned);
            assert_eq!(index.add(&[2.0]).expect_err("still there").kind(), ErrorKind::Poisoned);
            assert_eq!(index.check(CheckLevel::Full).expect("looking is allowed").problems, []);
            index.rollback().expect("a rollback");
            assert_eq!((index.user_version().expect("a number"), index.commit().expect("a commit")), (0, 1));
        }
    }
}
