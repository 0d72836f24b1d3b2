//! Arguments to core types. The facade has checked JavaScript types (a number is a whole number, text is
//! well-formed); ranges are the core's business.

use std::time::Duration;

use chassis_core::{
    Error, ErrorKind, Id, IdType, Metric, Mode, OpenOptions, Quantization, Result, SearchOptions,
};
use napi::bindgen_prelude::{BigInt, Either, Either3};
use napi_derive::napi;

/// Options of `open`, all of them optional.
#[napi(object, object_to_js = false)]
pub struct NativeOpenOptions {
    #[napi(ts_type = "'open-or-create' | 'open' | 'create' | 'read-only'")]
    pub mode: Option<String>,
    pub dimensions: Option<f64>,
    pub metric: Option<String>,
    pub id_type: Option<String>,
    pub m: Option<f64>,
    pub m0: Option<f64>,
    pub ef_construction: Option<f64>,
    pub quantization: Option<String>,
    pub model: Option<String>,
    pub lock_timeout_ms: Option<f64>,
}

impl NativeOpenOptions {
    pub fn into_core(self) -> Result<OpenOptions> {
        let mode = match self.mode.as_deref() {
            None | Some("open-or-create") => Mode::OpenOrCreate,
            Some("open") => Mode::Open,
            Some("create") => Mode::Create,
            Some("read-only") => Mode::ReadOnly,
            Some(other) => {
                return Err(Error::new(ErrorKind::InvalidOption, format!("mode {other:?} is unknown")));
            }
        };
        Ok(OpenOptions {
            mode,
            dimensions: self.dimensions.map(whole),
            metric: self.metric.as_deref().map(Metric::from_name).transpose()?,
            id_type: self.id_type.as_deref().map(IdType::from_name).transpose()?,
            m: self.m.map(whole),
            m0: self.m0.map(whole),
            ef_construction: self.ef_construction.map(whole),
            quantization: self.quantization.as_deref().map(Quantization::from_name).transpose()?,
            model: self.model,
            lock_timeout: self.lock_timeout_ms.map(|ms| Duration::from_millis(whole(ms) as u64)),
        })
    }
}

/// A whole number of JavaScript; beyond the range of `usize` it saturates, and the core refuses it.
pub fn whole(value: f64) -> usize {
    value as usize
}

pub fn search(
    k: Option<f64>,
    ef: Option<f64>,
    recall: Option<f64>,
    exact: Option<bool>,
    radius: Option<f64>,
) -> SearchOptions {
    let default = SearchOptions::default();
    SearchOptions {
        k: k.map_or(default.k, whole),
        ef_search: ef.map(whole).or(default.ef_search),
        recall: recall.map(|r| r as f32).or(default.recall),
        exact: exact.unwrap_or(default.exact),
        radius: radius.map(|r| r as f32).or(default.radius),
    }
}

/// One id: a safe number, a bigint, or text.
#[napi]
pub type JsId = Either3<f64, BigInt, String>;

pub fn id(id: JsId) -> Result<Id> {
    match id {
        Either3::A(number) => Ok(Id::Integer(number as u64)),
        Either3::B(big) => match big.get_u64() {
            (false, id, true) => Ok(Id::Integer(id)),
            _ => Err(Error::new(ErrorKind::InvalidId, "a bigint id is outside 0 to 2^64 - 2")),
        },
        Either3::C(text) => Ok(Id::String(text)),
    }
}

/// Many ids: all integers or all text.
pub type JsIds<'a> = Either<&'a [u64], Vec<String>>;

pub fn ids(ids: JsIds<'_>) -> Vec<Id> {
    match ids {
        Either::A(numbers) => numbers.iter().map(|&id| Id::Integer(id)).collect(),
        Either::B(texts) => texts.into_iter().map(Id::String).collect(),
    }
}

/// Payloads of a batch in one piece: all bytes, and a length per row with -1 for none.
#[derive(Default)]
pub struct Payloads {
    bytes: Vec<u8>,
    lengths: Vec<f64>,
}

impl Payloads {
    pub fn new(bytes: &[u8], lengths: &[f64]) -> Self {
        Payloads { bytes: bytes.to_vec(), lengths: lengths.to_vec() }
    }

    /// One slice per row; lengths that do not fit the bytes are refused.
    pub fn rows(&self) -> Result<Vec<Option<&[u8]>>> {
        let mut rest = &self.bytes[..];
        let mut rows = Vec::with_capacity(self.lengths.len());
        for &length in &self.lengths {
            if length < 0.0 {
                rows.push(None);
                continue;
            }
            let (row, after) = rest
                .split_at_checked(whole(length))
                .ok_or_else(|| Error::new(ErrorKind::Internal, "payload lengths exceed their bytes"))?;
            rows.push(Some(row));
            rest = after;
        }
        Ok(rows)
    }
}
