//! A query in the form records are compared with, and the two numbers that turn an estimate into a distance.

use crate::codes::{Codec, Geometry, largest, project};
use crate::format::derived::codes::{Bits, Codes, Factors};
use crate::kernels::{CodeQuery, Lanes, RecordQuery};

/// The largest value of a query against 4-bit codes.
pub(super) const LARGEST_4: f32 = 127.0;
/// Values of a query against 8-bit codes: enough of them, and the product still fits an `i32`.
const LARGEST_8: f32 = 4_095.0;

/// How much of the mean is next to none, in proportion to the length of the query. Not none: a query is divided by it.
const LEAST_SHARE: f32 = 1e-3;

/// Integers that stand for a query, for records of one kind.
#[derive(Default)]
pub struct Values<T> {
    values: Vec<T>,
    offset: i32,
    scale: f32,
}

impl<T> Values<T> {
    /// What the kernels take.
    #[inline(always)]
    pub fn query(&self) -> CodeQuery<'_, T> {
        CodeQuery { values: &self.values, offset: self.offset, scale: self.scale }
    }
}

/// A prepared query. Kept and used again, it allocates nothing.
#[derive(Default)]
pub struct Prepared {
    centered: Vec<f32>,
    parts: Vec<f32>,
    for_matrix: Vec<i8>,
    /// Against records of 4-bit codes.
    pub four: Values<i8>,
    /// Against records of 8-bit codes.
    pub eight: Values<i16>,
    /// A distance is `base + factor * estimate`.
    pub base: f32,
    /// See `base`.
    pub factor: f32,
    /// The length of the centered query.
    pub length: f32,
    /// What errors of estimates are in proportion to, for stored vectors that are 1 long when centered: `length` over the
    /// root of the components, in the scale of distances. Infinite for inner products, whose records do not say how long
    /// theirs are.
    pub unit: f32,
    /// The distance of the query to itself, where there is such a thing.
    pub zero: Option<f32>,
}

impl Codec {
    /// Prepares a query for records of 4 bits, of 8 bits, or both.
    #[inline(always)]
    pub fn prepare<L: Lanes>(&self, lanes: L, query: &[f32], four: bool, eight: bool, out: &mut Prepared) {
        let Prepared { centered, parts, for_matrix, .. } = out;
        let (along, share) = match self.geometry {
            Geometry::Inner => {
                let along = lanes.dot(query, &self.mean);
                (along, self.share_of_mean(lanes, along, query))
            }
            _ => (0.0, 1.0),
        };
        self.center(lanes, query, share, centered);
        let energy = lanes.dot(centered, centered);
        (out.base, out.factor, out.zero) = match self.geometry {
            Geometry::Euclidean => (energy, 2.0, Some(0.0)),
            Geometry::Unit => (energy / 2.0, 1.0, Some(0.0)),
            Geometry::Inner => (-along, share, None),
        };
        let components = if four { self.header.components } else { self.header.dimensions };
        out.length = energy.sqrt();
        out.unit = match out.zero {
            Some(_) => out.factor * out.length / (components.max(1) as f32).sqrt(),
            None => f32::INFINITY,
        };
        if four {
            match &self.small {
                Some(small) => small.project(lanes, centered, for_matrix, parts),
                None => project(lanes, &self.matrix, centered, parts),
            }
            quantize_4(parts, &self.layout(Bits::Four), &mut out.four);
            out.four.scale /= share;
        }
        if eight {
            quantize_8(centered, &self.layout(Bits::Eight), &mut out.eight);
            out.eight.scale /= share;
        }
    }

    /// How many times the mean is taken off a query of inner products whose product with the mean is `along`: once,
    /// or next to never when that leaves less.
    #[inline(always)]
    fn share_of_mean<L: Lanes>(&self, lanes: L, along: f32, query: &[f32]) -> f32 {
        let whole = lanes.dot(&self.mean, &self.mean);
        let least = LEAST_SHARE * (lanes.dot(query, query) / whole).sqrt();
        // A query of zero is divided by it as well; of a mean of zero all shares are alike.
        if 2.0 * along >= whole || least.is_nan() { 1.0 } else { least.clamp(1e-30, 1.0) }
    }
}

/// A stored record of 8-bit codes as a query: how far vectors are from each other, with no vector read.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    /// What the kernels take.
    pub query: RecordQuery<'a>,
    /// A distance is `factor * (bias + estimate)`. Of inner products the square of the mean is left out, which is the
    /// same for all pairs.
    pub bias: f32,
    /// See `bias`.
    pub factor: f32,
}

impl Codec {
    /// A record as a query.
    #[inline(always)]
    pub fn stored<'a>(&self, record: &'a [u8]) -> Stored<'a> {
        let layout = self.layout(Bits::Eight);
        let Factors { a, bias } = layout.factors(record).unwrap_or(Factors { a: 0.0, bias: f32::NAN });
        let query = RecordQuery { record, codes: layout.code_len(), scale: a };
        let factor = if self.geometry == Geometry::Euclidean { 2.0 } else { 1.0 };
        Stored { query, bias, factor }
    }
}

/// Values of 7 bits and a sign, in the order the kernels read them: for every 32 bytes of a record first what meets
/// the low halves, then what meets the high ones.
#[inline(always)]
fn quantize_4(vector: &[f32], layout: &Codes, out: &mut Values<i8>) {
    let (step, inverse) = grid(vector, LARGEST_4);
    out.values.clear();
    out.values.resize(2 * layout.stride as usize, 0);
    let (low, high) = vector.split_at(layout.code_len().min(vector.len()));
    let mut sum = 0i32;
    for (part, at) in [(low, 0), (high, 32)] {
        for (values, places) in part.chunks(32).zip(out.values.chunks_exact_mut(64)) {
            sum = sum.wrapping_add(to_grid(values, inverse, |rounded| rounded as i8, &mut places[at..]));
        }
    }
    // Codes are counted from 7.5, and the kernel doubles the product to stay with integers.
    out.offset = 15i32.wrapping_mul(sum);
    out.scale = step / 2.0;
}

#[inline(always)]
fn quantize_8(vector: &[f32], layout: &Codes, out: &mut Values<i16>) {
    let room = (i32::MAX / 255) as f32 / layout.dimension.max(1) as f32;
    let (step, inverse) = grid(vector, room.clamp(1.0, LARGEST_8) as i32 as f32);
    out.values.clear();
    out.values.resize(layout.stride as usize, 0);
    let sum = to_grid(vector, inverse, |rounded| rounded as i16, &mut out.values);
    out.offset = 128i32.wrapping_mul(sum);
    out.scale = step;
}

/// A unit of the grid whose last point is the largest value, and its inverse.
#[inline(always)]
pub(super) fn grid(vector: &[f32], points: f32) -> (f32, f32) {
    let largest = largest(vector);
    let inverse = points / largest;
    if inverse.is_finite() && inverse > 0.0 { (largest / points, inverse) } else { (0.0, 0.0) }
}

/// Writes values in units of a grid to the places, and says what they add up to (wrapping).
#[inline(always)]
pub(super) fn to_grid<T>(values: &[f32], inverse: f32, cast: impl Fn(i32) -> T, places: &mut [T]) -> i32 {
    let mut sum = 0i32;
    for (value, place) in values.iter().zip(places) {
        let rounded = round(value * inverse);
        sum = sum.wrapping_add(rounded);
        *place = cast(rounded);
    }
    sum
}

/// The nearest integer, of two the even one, for values within 2^22; of others, and of NaN, any. Adding and taking away a number
/// whose last bit is worth one rounds in two instructions that every processor has eight of at a time.
#[inline(always)]
fn round(value: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i32
}
