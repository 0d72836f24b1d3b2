//! Core results as JavaScript values: copies that JavaScript owns, few objects per call.

use chassis_core::{
    CheckReport, CodeStats, CompactReport, Hits, Id, IdType, Metric, RecallStats, Record, Stats, VectorIndex,
    WarmReport,
};
use napi::Env;
use napi::bindgen_prelude::{
    ArrayBuffer, BigInt, BigUint64ArraySlice, Either3, Float32ArraySlice, Float64ArraySlice, ToNapiValue,
    TypeName, Uint8ArraySlice,
};
use napi_derive::napi;

use crate::index::NativeIndex;
use crate::options::JsId;

/// A result that can cross to JavaScript, on its thread.
pub trait Answer: Send + 'static {
    type Js<'env>: ToNapiValue + TypeName;
    fn into_js<'env>(self, env: &'env Env) -> napi::Result<Self::Js<'env>>;
}

macro_rules! plain {
    ($($type:ty => $js:ty, $value:ident => $convert:expr;)*) => {$(
        impl Answer for $type {
            type Js<'env> = $js;
            fn into_js(self, _env: &Env) -> napi::Result<$js> {
                let $value = self;
                Ok($convert)
            }
        }
    )*};
}
plain! {
    () => (), value => value;
    bool => bool, value => value;
    u64 => JsId, value => integer(value);
    usize => f64, value => value as f64;
    Id => JsId, id => match id { Id::Integer(id) => integer(id), Id::String(text) => Either3::C(text) };
    VectorIndex => NativeIndex, index => NativeIndex::new(index);
    Facts => NativeFacts, facts => NativeFacts::from(facts);
    Stats => NativeStats, stats => NativeStats::from(stats);
    WarmReport => NativeWarmReport, report => NativeWarmReport { bytes: report.bytes as f64 };
    CheckReport => NativeReport, report => NativeReport::from(report);
    CompactReport => NativeCompactReport, report => NativeCompactReport::from(report);
}

/// The rule for integers of 64 bits: a number where a number is exact, else a bigint.
const MAX_SAFE: u64 = (1 << 53) - 1;

fn integer(value: u64) -> JsId {
    if value <= MAX_SAFE { Either3::A(value as f64) } else { Either3::B(BigInt::from(value)) }
}

/// Ids of a batch; text ids are the caller's own and need no copy.
pub struct BatchIds(pub Vec<Id>);

impl Answer for BatchIds {
    type Js<'env> = BigUint64ArraySlice<'env>;
    fn into_js<'env>(self, env: &'env Env) -> napi::Result<Self::Js<'env>> {
        let ids: Vec<u64> =
            self.0.iter().filter_map(|id| if let Id::Integer(id) = id { Some(*id) } else { None }).collect();
        BigUint64ArraySlice::copy_from(env, &ids)
    }
}

/// A record without its id.
#[napi(object, object_from_js = false)]
pub struct NativeRecord<'env> {
    pub vector: Float32ArraySlice<'env>,
    pub payload: Option<Uint8ArraySlice<'env>>,
}

impl Answer for Option<Record> {
    type Js<'env> = Option<NativeRecord<'env>>;
    fn into_js<'env>(self, env: &'env Env) -> napi::Result<Self::Js<'env>> {
        let Some(record) = self else { return Ok(None) };
        let payload = record.payload.map(|bytes| Uint8ArraySlice::copy_from(env, &bytes)).transpose()?;
        Ok(Some(NativeRecord { vector: Float32ArraySlice::copy_from(env, &record.vector)?, payload }))
    }
}

/// Results of one search.
#[napi(object, object_from_js = false)]
pub struct NativeHits<'env> {
    /// Integer ids as u64, then as many distances as f32; without integer ids only the distances.
    pub numbers: ArrayBuffer<'env>,
    /// Ids of an index with text ids.
    pub ids: Option<Vec<String>>,
    /// Vectors back to back, when asked for.
    pub vectors: Option<Float32ArraySlice<'env>>,
    /// Payloads back to back, when asked for.
    pub payloads: Option<Uint8ArraySlice<'env>>,
    /// The bytes of each payload, -1 where none was stored.
    pub lengths: Option<Float64ArraySlice<'env>>,
}

/// Results of several searches, one after the other: a few objects for all of them.
#[napi(object, object_from_js = false)]
pub struct NativeBatchHits<'env> {
    /// Results of each search.
    pub counts: Vec<u32>,
    pub hits: NativeHits<'env>,
}

/// Results and, when asked for, what their records hold: put together on the thread that searched, so that the event
/// loop has little to do.
#[derive(Default)]
pub struct Found {
    hits: Hits,
    text_ids: bool,
    vectors: Option<Vec<f32>>,
    payloads: Option<(Vec<u8>, Vec<f64>)>,
}

/// What to return beside ids and distances.
#[derive(Default, Clone, Copy)]
pub struct Include {
    pub vectors: bool,
    pub payloads: bool,
}

impl Found {
    /// Takes in the results of a search. A record that was deleted since is left out.
    fn extend(&mut self, index: &VectorIndex, mut hits: Hits) -> chassis_core::Result<()> {
        if self.vectors.is_none() && self.payloads.is_none() {
            self.hits.ids.append(&mut hits.ids);
            self.hits.string_ids.append(&mut hits.string_ids);
            self.hits.distances.append(&mut hits.distances);
            return Ok(());
        }
        for (i, distance) in hits.distances.iter().enumerate() {
            let Some(record) = index.get(&hits.id(i))? else { continue };
            match record.id {
                Id::Integer(id) => self.hits.ids.push(id),
                Id::String(text) => self.hits.string_ids.push(text),
            }
            self.hits.distances.push(*distance);
            if let Some(vectors) = &mut self.vectors {
                vectors.extend_from_slice(&record.vector);
            }
            if let Some((bytes, lengths)) = &mut self.payloads {
                lengths.push(record.payload.as_ref().map_or(-1.0, |payload| payload.len() as f64));
                bytes.extend_from_slice(record.payload.as_deref().unwrap_or_default());
            }
        }
        Ok(())
    }

    fn new(index: &VectorIndex, include: Include) -> chassis_core::Result<Found> {
        Ok(Found {
            hits: Hits::default(),
            text_ids: index.id_type()? == IdType::String,
            vectors: include.vectors.then(Vec::new),
            payloads: include.payloads.then(Default::default),
        })
    }

    /// The results of one search.
    pub fn one(index: &VectorIndex, hits: Hits, include: Include) -> chassis_core::Result<Found> {
        let mut found = Found::new(index, include)?;
        found.extend(index, hits)?;
        Ok(found)
    }
}

/// Results of several searches, one after the other.
pub struct FoundMany {
    counts: Vec<u32>,
    found: Found,
}

impl FoundMany {
    pub fn read(index: &VectorIndex, all: Vec<Hits>, include: Include) -> chassis_core::Result<FoundMany> {
        let (mut found, mut counts) = (Found::new(index, include)?, Vec::with_capacity(all.len()));
        for hits in all {
            let before = found.hits.len();
            found.extend(index, hits)?;
            counts.push((found.hits.len() - before) as u32);
        }
        Ok(FoundMany { counts, found })
    }
}

impl Answer for Found {
    type Js<'env> = NativeHits<'env>;
    fn into_js<'env>(self, env: &'env Env) -> napi::Result<Self::Js<'env>> {
        let Hits { ids, string_ids, distances } = self.hits;
        let mut bytes = Vec::with_capacity(ids.len() * 8 + distances.len() * 4);
        ids.iter().for_each(|id| bytes.extend_from_slice(&id.to_le_bytes()));
        distances.iter().for_each(|d| bytes.extend_from_slice(&d.to_le_bytes()));
        let (payloads, lengths) = self.payloads.unzip();
        Ok(NativeHits {
            numbers: ArrayBuffer::copy_from(env, &bytes)?,
            ids: self.text_ids.then_some(string_ids),
            vectors: self.vectors.map(|v| Float32ArraySlice::copy_from(env, v)).transpose()?,
            payloads: payloads.map(|bytes| Uint8ArraySlice::copy_from(env, bytes)).transpose()?,
            lengths: lengths.map(|lengths| Float64ArraySlice::copy_from(env, lengths)).transpose()?,
        })
    }
}

impl Answer for FoundMany {
    type Js<'env> = NativeBatchHits<'env>;
    fn into_js<'env>(self, env: &'env Env) -> napi::Result<Self::Js<'env>> {
        Ok(NativeBatchHits { counts: self.counts, hits: self.found.into_js(env)? })
    }
}

/// What `warm` did.
#[napi(object, object_from_js = false)]
pub struct NativeWarmReport {
    pub bytes: f64,
}

/// What `compact` did.
#[napi(object, object_from_js = false)]
pub struct NativeCompactReport {
    pub records: f64,
    pub removed: f64,
    pub bytes_before: f64,
    pub bytes_after: f64,
    pub commit: f64,
}

impl From<CompactReport> for NativeCompactReport {
    fn from(report: CompactReport) -> Self {
        NativeCompactReport {
            records: report.records as f64,
            removed: report.removed as f64,
            bytes_before: report.bytes_before as f64,
            bytes_after: report.bytes_after as f64,
            commit: report.commit as f64,
        }
    }
}

/// What `check` found.
#[napi(object, object_from_js = false)]
pub struct NativeReport {
    pub problems: Vec<NativeProblem>,
    pub nodes: f64,
    pub blocks: f64,
}

/// One thing found wrong.
#[napi(object, object_from_js = false)]
pub struct NativeProblem {
    pub code: String,
    #[napi(js_name = "where")]
    pub place: String,
    pub message: String,
}

impl From<CheckReport> for NativeReport {
    fn from(report: CheckReport) -> Self {
        let problems = report.problems.into_iter();
        NativeReport {
            problems: problems
                .map(|p| NativeProblem { code: p.code.to_owned(), place: p.place, message: p.message })
                .collect(),
            nodes: report.nodes as f64,
            blocks: report.blocks as f64,
        }
    }
}

/// What never changes about a handle.
pub struct Facts {
    dimensions: usize,
    metric: Metric,
    id_type: IdType,
    read_only: bool,
}

impl Facts {
    pub fn of(index: &VectorIndex) -> chassis_core::Result<Facts> {
        Ok(Facts {
            dimensions: index.dimensions()?,
            metric: index.metric()?,
            id_type: index.id_type()?,
            read_only: index.is_read_only()?,
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct NativeFacts {
    pub dimensions: f64,
    #[napi(ts_type = "'l2' | 'ip' | 'cosine'")]
    pub metric: String,
    #[napi(ts_type = "'integer' | 'string'")]
    pub id_type: String,
    pub read_only: bool,
}

impl From<Facts> for NativeFacts {
    fn from(facts: Facts) -> Self {
        NativeFacts {
            dimensions: facts.dimensions as f64,
            metric: facts.metric.name().to_owned(),
            id_type: facts.id_type.name().to_owned(),
            read_only: facts.read_only,
        }
    }
}

/// The codes there are.
#[napi(object, object_from_js = false)]
pub struct NativeCodeStats {
    pub generation: f64,
    #[napi(ts_type = "('4bit' | '8bit')[]")]
    pub kinds: Vec<String>,
    pub components: f64,
    pub projects: bool,
    pub fitted_rows: f64,
    pub index_rows: f64,
    pub drift: f64,
}

impl From<CodeStats> for NativeCodeStats {
    fn from(codes: CodeStats) -> Self {
        NativeCodeStats {
            generation: codes.generation as f64,
            kinds: codes.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
            components: codes.components as f64,
            projects: codes.projects,
            fitted_rows: codes.fitted_rows as f64,
            index_rows: codes.index_rows as f64,
            drift: codes.drift as f64,
        }
    }
}

/// What searches with a recall go by.
#[napi(object, object_from_js = false)]
pub struct NativeRecallStats {
    pub fitted_rows: f64,
    pub highest: f64,
}

impl From<RecallStats> for NativeRecallStats {
    fn from(recall: RecallStats) -> Self {
        // The nearest double of a number of thousandths, which the float is not.
        let highest = (recall.highest as f64 * 1000.0).round() / 1000.0;
        NativeRecallStats { fitted_rows: recall.fitted_rows as f64, highest }
    }
}

/// Facts and figures.
#[napi(object, object_from_js = false)]
pub struct NativeStats {
    pub count: f64,
    pub deleted: f64,
    pub dimensions: f64,
    #[napi(ts_type = "'l2' | 'ip' | 'cosine'")]
    pub metric: String,
    #[napi(ts_type = "'integer' | 'string'")]
    pub id_type: String,
    pub m: f64,
    pub m0: f64,
    pub ef_construction: f64,
    #[napi(ts_type = "'auto' | 'none' | '8bit' | '4bit'")]
    pub quantization: String,
    pub codes: Option<NativeCodeStats>,
    pub recall: Option<NativeRecallStats>,
    pub model: String,
    #[napi(ts_type = "number | bigint")]
    pub user_version: JsId,
    pub commit: f64,
    pub file_bytes: f64,
    pub reclaimable_bytes: f64,
    pub heap_bytes: f64,
    pub mapped_bytes: f64,
    pub huge_page_bytes: Option<f64>,
    pub kernel: String,
    pub recovered_previous_commit: bool,
    pub read_only: bool,
}

impl From<Stats> for NativeStats {
    fn from(s: Stats) -> Self {
        NativeStats {
            count: s.count as f64,
            deleted: s.deleted as f64,
            dimensions: s.dimensions as f64,
            metric: s.metric.name().to_owned(),
            id_type: s.id_type.name().to_owned(),
            m: s.m as f64,
            m0: s.m0 as f64,
            ef_construction: s.ef_construction as f64,
            quantization: s.quantization.name().to_owned(),
            codes: s.codes.map(NativeCodeStats::from),
            recall: s.recall.map(NativeRecallStats::from),
            model: s.model,
            user_version: integer(s.user_version),
            commit: s.commit as f64,
            file_bytes: s.file_bytes as f64,
            reclaimable_bytes: s.reclaimable_bytes as f64,
            heap_bytes: s.heap_bytes as f64,
            mapped_bytes: s.mapped_bytes as f64,
            huge_page_bytes: s.huge_page_bytes.map(|bytes| bytes as f64),
            kernel: s.kernel.to_owned(),
            recovered_previous_commit: s.recovered_previous_commit,
            read_only: s.read_only,
        }
    }
}
