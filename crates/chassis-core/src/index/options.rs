//! What a caller may ask for, with every default as a named, documented constant.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result, brief};
use crate::index::Id;
use crate::index::plan::Aim;

/// Links a new node makes on each layer (`m` of the HNSW paper). 16 suits 100 to 1,536 dimensions.
pub const DEFAULT_M: usize = 16;
/// Candidates held while links are chosen: by an insert, and by the refine pass of a bulk build, whose first pass
/// holds a third as many. More costs build time and improves the graph slowly.
pub const DEFAULT_EF_CONSTRUCTION: usize = 128;
/// Below so many dimensions a list of layer 0 holds `3 * m` nodes by default, from here on `2 * m`: where a distance
/// costs less than a step, longer lists save more than they cost.
pub const SHORT_LISTS_FROM: usize = 256;
/// Candidates held during a search. More costs time and raises recall.
pub const DEFAULT_EF_SEARCH: usize = 64;
/// Results returned when `k` is not stated.
pub const DEFAULT_K: usize = 10;
/// The largest `ef_search` and `k` accepted.
pub const MAX_EF: usize = 1 << 20;
/// The largest number of dimensions.
pub const MAX_DIMENSIONS: usize = 65_535;
/// The longest string id, in bytes of UTF-8.
pub const MAX_STRING_ID: usize = 1024;
/// The longest model stamp, in bytes of UTF-8.
pub const MAX_MODEL: usize = 256;
/// The longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 16 << 20;
/// Rows × dimensions up to which a search scans exactly: below it a scan costs no more than a walk.
pub const EXACT_BELOW: usize = 200_000;

/// How near is measured. The distance is smaller when vectors are closer, for each metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Euclidean distance (squared inside, the root is returned).
    L2,
    /// Negative inner product: `-dot(a, b)`.
    Ip,
    /// `1 - cos(a, b)`; vectors need not be of unit length.
    Cosine,
}

/// What the caller's ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdType {
    /// Unsigned 64-bit integers, chosen by the caller or assigned.
    Integer,
    /// Strings of 1 to [`MAX_STRING_ID`] bytes of UTF-8, always chosen by the caller.
    String,
}

/// Which codes a search walks over. Distances returned are exact in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// The engine chooses by dimensions.
    Auto,
    /// The stored vectors only.
    None,
    /// 8-bit codes.
    Bits8,
    /// 4-bit codes.
    Bits4,
}

macro_rules! named {
    ($type:ident, $what:literal, $($name:literal = $variant:ident = $code:literal),*) => {
        impl $type {
            /// The name used in options and messages.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }
            /// The value with this name.
            pub fn from_name(name: &str) -> Result<Self> {
                match name {
                    $($name => Ok($type::$variant),)*
                    other => Err(Error::new(
                        ErrorKind::InvalidOption,
                        format!(concat!($what, " {} is unknown; use one of: ", $($name, " ",)*), brief(other)),
                    )),
                }
            }
            /// The byte that stands for it in the file.
            pub(crate) const fn to_byte(self) -> u8 {
                match self { $($type::$variant => $code,)* }
            }
            /// The value for a byte of the file.
            pub(crate) fn from_byte(byte: u8) -> Result<Self> {
                match byte {
                    $($code => Ok($type::$variant),)*
                    other => Err(Error::corrupt(format!(concat!($what, " {} in the header"), other))),
                }
            }
        }
    };
}
named!(Metric, "metric", "l2" = L2 = 0, "ip" = Ip = 1, "cosine" = Cosine = 2);
named!(IdType, "id type", "integer" = Integer = 0, "string" = String = 1);
named!(
    Quantization,
    "quantization",
    "auto" = Auto = 0,
    "none" = None = 1,
    "8bit" = Bits8 = 2,
    "4bit" = Bits4 = 3
);

/// What [`open`](crate::VectorIndex::open) may do about a missing or present file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Open for reading and writing; create when nothing is there (needs `dimensions`).
    #[default]
    OpenOrCreate,
    /// Open for reading and writing; a missing file is an error.
    Open,
    /// Create; an existing file is an error.
    Create,
    /// Open a snapshot for reading; nothing on disk is touched.
    ReadOnly,
}

/// Options of [`open`](crate::VectorIndex::open). All but `mode` are stored in the file: opening never needs
/// to repeat them, and one that differs from the file is [`ErrorKind::OptionMismatch`].
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// See [`Mode`].
    pub mode: Mode,
    /// 1 to [`MAX_DIMENSIONS`]; needed to create.
    pub dimensions: Option<usize>,
    /// Default: cosine.
    pub metric: Option<Metric>,
    /// Default: integer.
    pub id_type: Option<IdType>,
    /// 2 to 64, default [`DEFAULT_M`].
    pub m: Option<usize>,
    /// Degree bound of layer 0, 4 to 96, default `3 * m` below [`SHORT_LISTS_FROM`] dimensions, else `2 * m`.
    pub m0: Option<usize>,
    /// 8 to 4,096, default [`DEFAULT_EF_CONSTRUCTION`].
    pub ef_construction: Option<usize>,
    /// Default: auto.
    pub quantization: Option<Quantization>,
    /// A free stamp of the embedding model, up to [`MAX_MODEL`] bytes.
    pub model: Option<String>,
    /// How long to wait for another writer to finish. Default: not at all.
    pub lock_timeout: Option<Duration>,
}

/// Options of a batch insert.
#[derive(Default, Clone, Copy)]
pub struct BatchOptions<'a> {
    /// One id a row; absent: assigned (integer ids only).
    pub ids: Option<&'a [Id]>,
    /// One optional payload a row.
    pub payloads: Option<&'a [Option<&'a [u8]>]>,
    /// Threads to use; default: all cores. The file's bytes do not depend on it.
    pub threads: Option<usize>,
    /// Called with (rows done, rows in all), at most once per internal batch, the numbers rising. In a bulk build a
    /// row is half done when it is linked: its list is selected once more when all of them are.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
    /// Set to true from anywhere to stop; the call then fails with [`ErrorKind::Cancelled`] and adds nothing. It is
    /// looked at while codes are fitted, between 64 rows that are encoded and between batches that are linked.
    pub cancel: Option<&'a AtomicBool>,
}

/// Options of a search.
#[derive(Clone, Copy, Debug)]
pub struct SearchOptions {
    /// Results wanted; 0 gives none, more than the count gives all.
    pub k: usize,
    /// Live candidates held; raised to `k` when smaller. Default [`DEFAULT_EF_SEARCH`].
    pub ef_search: Option<usize>,
    /// In place of `ef_search`: the share of the true `k` nearest that should be found, on average over queries like
    /// the stored vectors, 0.5 to 0.999. What it takes is fitted to each index (`docs/recall.md`).
    pub recall: Option<f32>,
    /// Scan every record instead of walking the graph.
    pub exact: bool,
    /// Only results at this distance or nearer.
    pub radius: Option<f32>,
}

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions { k: DEFAULT_K, ef_search: None, recall: None, exact: false, radius: None }
    }
}

/// Options of a batch of searches, beside those of each.
#[derive(Default, Clone, Copy)]
pub struct SearchBatchOptions<'a> {
    /// Threads to use, the calling one among them; default: all cores. The answers do not depend on it.
    pub threads: Option<usize>,
    /// Set to true from anywhere to stop; the call then fails with [`ErrorKind::Cancelled`]. It is looked at before each
    /// query, and in exact searches before each part of the vectors that some queries are compared with.
    pub cancel: Option<&'a AtomicBool>,
}

impl SearchOptions {
    /// The `k` nearest, with the default effort.
    pub fn k(k: usize) -> Self {
        SearchOptions { k, ..Default::default() }
    }

    /// How hard to look, after checking the numbers.
    pub(crate) fn aim(&self) -> Result<Aim> {
        let ef = self.ef_search.unwrap_or(DEFAULT_EF_SEARCH);
        if self.k > MAX_EF {
            return Err(invalid("k", self.k, format!("0 to {MAX_EF}")));
        }
        if ef == 0 || ef > MAX_EF {
            return Err(invalid("efSearch", ef, format!("1 to {MAX_EF}")));
        }
        if self.radius.is_some_and(f32::is_nan) {
            return Err(invalid("radius", "NaN", "a number"));
        }
        let Some(recall) = self.recall else { return Ok(Aim::Ef(ef.max(self.k))) };
        if self.ef_search.is_some() {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "recall and efSearch are both stated; choose one",
            ));
        }
        if !(0.5..=0.999).contains(&recall) {
            return Err(invalid("recall", recall, "0.5 to 0.999"));
        }
        Ok(Aim::Recall((recall * 1000.0).round_ties_even() as u16))
    }
}

/// The error for an option outside its range.
#[cold]
pub(crate) fn invalid(name: &str, value: impl std::fmt::Display, allowed: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("{name} is {value}; allowed: {allowed}"))
}

/// The similarity that belongs to a distance: larger is closer. l2 gives `1 / (1 + d)`, cosine gives the
/// cosine, ip gives the inner product.
pub fn similarity(metric: Metric, distance: f32) -> f32 {
    match metric {
        Metric::L2 => 1.0 / (1.0 + distance),
        Metric::Cosine => 1.0 - distance,
        Metric::Ip => -distance,
    }
}
