//! The class behind the facade's `VectorIndex`. Each operation is written once, as a closure that owns copies of its
//! inputs; the promise runs it on the pool and the synchronous twin runs it in place.

#![expect(
    clippy::too_many_arguments,
    reason = "plain arguments cost less to convert than the properties of an object"
)]

use std::cell::RefCell;

use chassis_core::{
    BatchOptions, CheckLevel, CheckOptions, CheckReport, CommitOptions, CompactOptions, CompactReport, Error,
    ErrorKind, Hits, Id, Record, Result, SearchBatchOptions, Stats, StatsOptions, VectorIndex, WarmOptions,
    WarmReport,
};
use napi::Env;
use napi::bindgen_prelude::BigUint64ArraySlice;
use napi_derive::napi;

use crate::answer::{
    Answer, BatchIds, Facts, Found, FoundMany, Include, NativeBatchHits, NativeCompactReport, NativeFacts,
    NativeHits, NativeRecord, NativeReport, NativeStats, NativeWarmReport,
};
use crate::error;
use crate::options::{self, JsId, JsIds, NativeOpenOptions, Payloads, whole};
use crate::task::{Async, CancelToken, ProgressCallback, run, throttled};

/// An open index.
#[napi]
pub struct NativeIndex {
    index: VectorIndex,
    /// Results of the last `searchInto`, reused so that a warm search allocates nothing.
    hits: RefCell<Hits>,
}

/// A buffer of the caller's to write into.
type Output<'a, T> = &'a mut [T];

/// Runs an operation in place.
fn now<T: Answer>(env: &Env, work: impl FnOnce() -> Result<T>) -> napi::Result<T::Js<'_>> {
    error::guard(work).map_err(error::to_js)?.into_js(env)
}

type Rest<T> = Box<dyn FnOnce() -> Result<T> + Send>;

impl NativeIndex {
    pub fn new(index: VectorIndex) -> Self {
        NativeIndex { index, hits: RefCell::default() }
    }

    fn opening(path: String, options: NativeOpenOptions) -> impl FnOnce() -> Result<VectorIndex> + Send {
        let options = options.into_core();
        move || VectorIndex::open(path, &options?)
    }

    fn adding(&self, id: Option<JsId>, vector: &[f32], payload: Option<&[u8]>) -> Rest<Id> {
        let (index, vector, payload) = (self.index.clone(), vector.to_vec(), payload.map(<[u8]>::to_vec));
        Box::new(move || {
            let id = id.map(options::id).transpose()?;
            index.add_record(id.as_ref(), &vector, payload.as_deref())
        })
    }

    fn searching(&self, query: &[f32], search: chassis_core::SearchOptions, include: Include) -> Rest<Found> {
        let (index, query) = (self.index.clone(), query.to_vec());
        Box::new(move || {
            let hits = index.search(&query, &search)?;
            Found::one(&index, hits, include)
        })
    }

    fn searching_many(
        &self,
        queries: &[f32],
        search: chassis_core::SearchOptions,
        include: Include,
        threads: Option<f64>,
        cancel: Option<&CancelToken>,
    ) -> Rest<FoundMany> {
        let (index, queries, flag) = (self.index.clone(), queries.to_vec(), cancel.map(CancelToken::flag));
        Box::new(move || {
            let batch = SearchBatchOptions { threads: threads.map(whole), cancel: flag.as_deref() };
            let all = index.search_batch_with(&queries, &search, &batch)?;
            FoundMany::read(&index, all, include)
        })
    }

    fn deleting(&self, ids: JsIds<'_>) -> Rest<usize> {
        let (index, ids) = (self.index.clone(), options::ids(ids));
        Box::new(move || index.delete(&ids))
    }

    fn finding(&self, id: JsId) -> Rest<bool> {
        let index = self.index.clone();
        Box::new(move || index.has(&options::id(id)?))
    }

    fn getting(&self, id: JsId) -> Rest<Option<Record>> {
        let index = self.index.clone();
        Box::new(move || index.get(&options::id(id)?))
    }

    fn counting(&self, huge_pages: Option<bool>) -> Rest<Stats> {
        let index = self.index.clone();
        Box::new(move || index.stats_with(&StatsOptions { huge_pages: huge_pages.unwrap_or(false) }))
    }

    fn checking(&self, level: Option<String>, cancel: Option<&CancelToken>) -> Rest<CheckReport> {
        let (index, flag) = (self.index.clone(), cancel.map(CancelToken::flag));
        Box::new(move || {
            let level = match level.as_deref() {
                None => CheckLevel::default(),
                Some("meta") => CheckLevel::Meta,
                Some("pages") => CheckLevel::Pages,
                Some("full") => CheckLevel::Full,
                Some(other) => {
                    let text = format!("level {other:?} is unknown; use one of: meta pages full");
                    return Err(Error::new(ErrorKind::InvalidOption, text));
                }
            };
            index.check_with(&CheckOptions { level, cancel: flag.as_deref() })
        })
    }

    fn committing(&self, cancel: Option<&CancelToken>) -> Rest<usize> {
        let (index, flag) = (self.index.clone(), cancel.map(CancelToken::flag));
        Box::new(move || {
            let number = index.commit_with(&CommitOptions { cancel: flag.as_deref() })?;
            Ok(number as usize)
        })
    }

    /// An operation without inputs.
    fn plain<T: Answer>(&self, work: fn(&VectorIndex) -> Result<T>) -> Rest<T> {
        let index = self.index.clone();
        Box::new(move || work(&index))
    }
}

/// Everything `addBatch` takes, in Rust's hands.
struct Batch {
    index: VectorIndex,
    vectors: Vec<f32>,
    ids: Option<Vec<Id>>,
    payloads: Option<Payloads>,
    threads: Option<usize>,
    cancel: Option<std::sync::Arc<std::sync::atomic::AtomicBool>>,
    progress: Option<ProgressCallback>,
}

impl Batch {
    fn add(self) -> Result<BatchIds> {
        let rows = self.payloads.as_ref().map(Payloads::rows).transpose()?;
        let progress = self.progress.map(throttled);
        let options = BatchOptions {
            ids: self.ids.as_deref(),
            payloads: rows.as_deref(),
            threads: self.threads,
            progress: progress.as_ref().map(|call| call as &(dyn Fn(usize, usize) + Sync)),
            cancel: self.cancel.as_deref(),
        };
        self.index.add_batch(&self.vectors, &options).map(BatchIds)
    }
}

#[napi]
impl NativeIndex {
    #[napi(ts_return_type = "Promise<NativeIndex>")]
    pub fn open(
        path: String,
        options: NativeOpenOptions,
        cancel: Option<&CancelToken>,
    ) -> Async<VectorIndex> {
        run(cancel, NativeIndex::opening(path, options))
    }

    #[napi]
    pub fn open_sync(path: String, options: NativeOpenOptions) -> napi::Result<NativeIndex> {
        error::guard(NativeIndex::opening(path, options)).map(NativeIndex::new).map_err(error::to_js)
    }

    /// Live records.
    #[napi]
    pub fn count(&self) -> napi::Result<f64> {
        error::guard(|| self.index.len()).map(|count| count as f64).map_err(error::to_js)
    }

    #[napi(ts_return_type = "Promise<number | bigint | string>")]
    pub fn add(
        &self,
        id: Option<JsId>,
        vector: &[f32],
        payload: Option<&[u8]>,
        cancel: Option<&CancelToken>,
    ) -> Async<Id> {
        run(cancel, self.adding(id, vector, payload))
    }

    #[napi]
    pub fn add_sync(
        &self,
        env: &Env,
        id: Option<JsId>,
        vector: &[f32],
        payload: Option<&[u8]>,
    ) -> napi::Result<JsId> {
        now(env, self.adding(id, vector, payload))
    }

    /// Payloads are all their bytes in one piece and a length per row, -1 for none. Gives the ids of an index with
    /// integer ids.
    #[napi(ts_return_type = "Promise<BigUint64Array>")]
    pub fn add_batch(
        &self,
        vectors: &[f32],
        #[napi(ts_arg_type = "BigUint64Array | Array<string> | undefined | null")] ids: Option<JsIds<'_>>,
        payloads: Option<&[u8]>,
        payload_lengths: Option<&[f64]>,
        threads: Option<f64>,
        cancel: Option<&CancelToken>,
        #[napi(ts_arg_type = "((done: number, total: number) => void) | undefined | null")] progress: Option<
            ProgressCallback,
        >,
    ) -> Async<BatchIds> {
        let batch = Batch {
            index: self.index.clone(),
            vectors: vectors.to_vec(),
            ids: ids.map(options::ids),
            payloads: payloads.zip(payload_lengths).map(|(bytes, lengths)| Payloads::new(bytes, lengths)),
            threads: threads.map(whole),
            cancel: cancel.map(CancelToken::flag),
            progress,
        };
        run(cancel, move || batch.add())
    }

    #[napi]
    pub fn add_batch_sync<'env>(
        &self,
        env: &'env Env,
        vectors: &[f32],
        #[napi(ts_arg_type = "BigUint64Array | Array<string> | undefined | null")] ids: Option<JsIds<'_>>,
        payloads: Option<&[u8]>,
        payload_lengths: Option<&[f64]>,
        threads: Option<f64>,
    ) -> napi::Result<BigUint64ArraySlice<'env>> {
        let ids = ids.map(options::ids);
        let payloads = payloads.zip(payload_lengths).map(|(bytes, lengths)| Payloads::new(bytes, lengths));
        now(env, || {
            let rows = payloads.as_ref().map(Payloads::rows).transpose()?;
            let options = BatchOptions {
                ids: ids.as_deref(),
                payloads: rows.as_deref(),
                threads: threads.map(whole),
                ..BatchOptions::default()
            };
            self.index.add_batch(vectors, &options).map(BatchIds)
        })
    }

    #[napi(ts_return_type = "Promise<number>")]
    pub fn delete(
        &self,
        #[napi(ts_arg_type = "BigUint64Array | Array<string>")] ids: JsIds<'_>,
        cancel: Option<&CancelToken>,
    ) -> Async<usize> {
        run(cancel, self.deleting(ids))
    }

    #[napi]
    pub fn delete_sync(
        &self,
        env: &Env,
        #[napi(ts_arg_type = "BigUint64Array | Array<string>")] ids: JsIds<'_>,
    ) -> napi::Result<f64> {
        now(env, self.deleting(ids))
    }

    #[napi(ts_return_type = "Promise<boolean>")]
    pub fn has(&self, id: JsId, cancel: Option<&CancelToken>) -> Async<bool> {
        run(cancel, self.finding(id))
    }

    #[napi]
    pub fn has_sync(&self, env: &Env, id: JsId) -> napi::Result<bool> {
        now(env, self.finding(id))
    }

    #[napi(ts_return_type = "Promise<NativeRecord | null>")]
    pub fn get(&self, id: JsId, cancel: Option<&CancelToken>) -> Async<Option<Record>> {
        run(cancel, self.getting(id))
    }

    #[napi]
    pub fn get_sync<'env>(&self, env: &'env Env, id: JsId) -> napi::Result<Option<NativeRecord<'env>>> {
        now(env, self.getting(id))
    }

    #[napi(ts_return_type = "Promise<NativeHits>")]
    pub fn search(
        &self,
        query: &[f32],
        k: Option<f64>,
        ef_search: Option<f64>,
        recall: Option<f64>,
        exact: Option<bool>,
        radius: Option<f64>,
        vectors: bool,
        payloads: bool,
        cancel: Option<&CancelToken>,
    ) -> Async<Found> {
        let search = options::search(k, ef_search, recall, exact, radius);
        run(cancel, self.searching(query, search, Include { vectors, payloads }))
    }

    #[napi]
    pub fn search_sync<'env>(
        &self,
        env: &'env Env,
        query: &[f32],
        k: Option<f64>,
        ef_search: Option<f64>,
        recall: Option<f64>,
        exact: Option<bool>,
        radius: Option<f64>,
        vectors: bool,
        payloads: bool,
    ) -> napi::Result<NativeHits<'env>> {
        let search = options::search(k, ef_search, recall, exact, radius);
        now(env, self.searching(query, search, Include { vectors, payloads }))
    }

    /// The fast synchronous search of an index with integer ids: writes into the caller's buffers, as much as fits,
    /// and returns the number of results. Results that did not fit are kept for `lastHits`.
    #[napi]
    pub fn search_into(
        &self,
        query: &[f32],
        k: Option<f64>,
        ef_search: Option<f64>,
        recall: Option<f64>,
        exact: Option<bool>,
        radius: Option<f64>,
        #[napi(ts_arg_type = "BigUint64Array")] ids: Output<'_, u64>,
        #[napi(ts_arg_type = "Float32Array")] distances: Output<'_, f32>,
    ) -> napi::Result<f64> {
        let search = options::search(k, ef_search, recall, exact, radius);
        let mut hits = self.hits.borrow_mut();
        error::guard(|| self.index.search_into(query, &search, &mut hits)).map_err(error::to_js)?;
        copy(&hits, ids, distances);
        Ok(hits.len() as f64)
    }

    /// The results of the last `searchInto` once more, into larger buffers.
    #[napi]
    pub fn last_hits(
        &self,
        #[napi(ts_arg_type = "BigUint64Array")] ids: Output<'_, u64>,
        #[napi(ts_arg_type = "Float32Array")] distances: Output<'_, f32>,
    ) {
        copy(&self.hits.borrow(), ids, distances);
    }

    #[napi(ts_return_type = "Promise<NativeBatchHits>")]
    pub fn search_batch(
        &self,
        queries: &[f32],
        k: Option<f64>,
        ef_search: Option<f64>,
        recall: Option<f64>,
        exact: Option<bool>,
        radius: Option<f64>,
        vectors: bool,
        payloads: bool,
        threads: Option<f64>,
        cancel: Option<&CancelToken>,
    ) -> Async<FoundMany> {
        let search = options::search(k, ef_search, recall, exact, radius);
        let include = Include { vectors, payloads };
        run(cancel, self.searching_many(queries, search, include, threads, cancel))
    }

    #[napi]
    pub fn search_batch_sync<'env>(
        &self,
        env: &'env Env,
        queries: &[f32],
        k: Option<f64>,
        ef_search: Option<f64>,
        recall: Option<f64>,
        exact: Option<bool>,
        radius: Option<f64>,
        vectors: bool,
        payloads: bool,
        threads: Option<f64>,
    ) -> napi::Result<NativeBatchHits<'env>> {
        let search = options::search(k, ef_search, recall, exact, radius);
        now(env, self.searching_many(queries, search, Include { vectors, payloads }, threads, None))
    }

    #[napi(ts_return_type = "Promise<number>")]
    pub fn commit(&self, cancel: Option<&CancelToken>) -> Async<usize> {
        run(cancel, self.committing(cancel))
    }

    #[napi]
    pub fn commit_sync(&self, env: &Env) -> napi::Result<f64> {
        now(env, self.committing(None))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn rollback(&self, cancel: Option<&CancelToken>) -> Async<()> {
        run(cancel, self.plain(VectorIndex::rollback))
    }

    #[napi]
    pub fn rollback_sync(&self, env: &Env) -> napi::Result<()> {
        now(env, self.plain(VectorIndex::rollback))
    }

    #[napi(ts_return_type = "Promise<boolean>")]
    pub fn refresh(&self, cancel: Option<&CancelToken>) -> Async<bool> {
        run(cancel, self.plain(VectorIndex::refresh))
    }

    #[napi]
    pub fn refresh_sync(&self, env: &Env) -> napi::Result<bool> {
        now(env, self.plain(VectorIndex::refresh))
    }

    #[napi(ts_return_type = "Promise<NativeReport>")]
    pub fn check(&self, level: Option<String>, cancel: Option<&CancelToken>) -> Async<CheckReport> {
        run(cancel, self.checking(level, cancel))
    }

    #[napi]
    pub fn check_sync(&self, env: &Env, level: Option<String>) -> napi::Result<NativeReport> {
        now(env, self.checking(level, None))
    }

    #[napi(ts_return_type = "Promise<NativeCompactReport>")]
    pub fn compact(
        &self,
        threads: Option<f64>,
        cancel: Option<&CancelToken>,
        #[napi(ts_arg_type = "((done: number, total: number) => void) | undefined | null")] progress: Option<
            ProgressCallback,
        >,
    ) -> Async<CompactReport> {
        let (index, flag) = (self.index.clone(), cancel.map(CancelToken::flag));
        run(cancel, move || {
            let progress = progress.map(throttled);
            index.compact(&CompactOptions {
                threads: threads.map(whole),
                progress: progress.as_ref().map(|call| call as &(dyn Fn(usize, usize) + Sync)),
                cancel: flag.as_deref(),
            })
        })
    }

    #[napi]
    pub fn compact_sync(&self, env: &Env, threads: Option<f64>) -> napi::Result<NativeCompactReport> {
        let options = CompactOptions { threads: threads.map(whole), ..CompactOptions::default() };
        now(env, || self.index.compact(&options))
    }

    #[napi(ts_return_type = "Promise<NativeWarmReport>")]
    pub fn warm(&self, cancel: Option<&CancelToken>) -> Async<WarmReport> {
        let (index, flag) = (self.index.clone(), cancel.map(CancelToken::flag));
        run(cancel, move || index.warm_with(&WarmOptions { cancel: flag.as_deref() }))
    }

    #[napi]
    pub fn warm_sync(&self, env: &Env) -> napi::Result<NativeWarmReport> {
        now(env, self.plain(VectorIndex::warm))
    }

    #[napi(ts_return_type = "Promise<NativeStats>")]
    pub fn stats(&self, huge_pages: Option<bool>, cancel: Option<&CancelToken>) -> Async<Stats> {
        run(cancel, self.counting(huge_pages))
    }

    #[napi]
    pub fn stats_sync(&self, env: &Env, huge_pages: Option<bool>) -> napi::Result<NativeStats> {
        now(env, self.counting(huge_pages))
    }

    /// What never changes; costs nothing.
    #[napi]
    pub fn facts(&self, env: &Env) -> napi::Result<NativeFacts> {
        now(env, self.plain(Facts::of))
    }

    #[napi(ts_return_type = "number | bigint")]
    pub fn user_version(&self, env: &Env) -> napi::Result<JsId> {
        now(env, self.plain(VectorIndex::user_version))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn set_user_version(
        &self,
        #[napi(ts_arg_type = "number | bigint")] version: JsId,
        cancel: Option<&CancelToken>,
    ) -> Async<()> {
        run(cancel, self.versioning(version))
    }

    #[napi]
    pub fn set_user_version_sync(
        &self,
        env: &Env,
        #[napi(ts_arg_type = "number | bigint")] version: JsId,
    ) -> napi::Result<()> {
        now(env, self.versioning(version))
    }

    /// Gives the index up. Operations that run keep it until they end.
    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        error::guard(|| self.index.close()).map_err(error::to_js)
    }
}

impl NativeIndex {
    fn versioning(&self, version: JsId) -> Rest<()> {
        let index = self.index.clone();
        Box::new(move || match options::id(version)? {
            Id::Integer(version) => index.set_user_version(version),
            Id::String(_) => {
                Err(Error::new(ErrorKind::InvalidArgument, "userVersion must be a whole number"))
            }
        })
    }
}

fn copy(hits: &Hits, ids: &mut [u64], distances: &mut [f32]) {
    ids.iter_mut().zip(&hits.ids).for_each(|(to, from)| *to = *from);
    distances.iter_mut().zip(&hits.distances).for_each(|(to, from)| *to = *from);
}
