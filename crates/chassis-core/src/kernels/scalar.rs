//! The distances by their definition, which every instruction set is tested against.
//!
//! Eight partial sums instead of one: a CPU without AVX2 still adds several at a time, and the rounding error
//! grows with an eighth of the length.

use super::codes::{CHUNK, CodeQuery, PANEL_ROWS, PANEL_VALUES, RecordQuery, extent, fits};
use super::codes::{panel_place, panel_steps};
use super::tile::{self, TILE_ROWS, Tile};
use super::{Lanes, WithLanes};

/// Plain Rust, on any CPU.
#[derive(Debug, Clone, Copy)]
pub struct Scalar;

const SUMS: usize = 8;

#[inline(always)]
fn total(q: &[f32], v: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    debug_assert_eq!(q.len(), v.len(), "a pair has one length");
    let mut sums = [0.0; SUMS];
    let ((q, q_rest), (v, v_rest)) = (q.as_chunks::<SUMS>(), v.as_chunks::<SUMS>());
    for (q, v) in q.iter().zip(v) {
        for i in 0..SUMS {
            sums[i] += term(q[i], v[i]);
        }
    }
    for (sum, (&q, &v)) in sums.iter_mut().zip(q_rest.iter().zip(v_rest)) {
        *sum += term(q, v);
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}

#[inline(always)]
fn product_4bit(query: &[i8], codes: &[u8]) -> i32 {
    let mut sum = 0i32;
    for (values, bytes) in query.as_chunks::<{ 2 * CHUNK }>().0.iter().zip(codes.as_chunks::<CHUNK>().0) {
        for i in 0..CHUNK {
            let low = i32::from(bytes[i] & 15) * i32::from(values[i]);
            let high = i32::from(bytes[i] >> 4) * i32::from(values[CHUNK + i]);
            sum = sum.wrapping_add(low + high);
        }
    }
    sum
}

#[inline(always)]
fn product_8bit(query: &[i16], codes: &[u8]) -> i32 {
    let mut sum = 0i32;
    for (&value, &code) in query.iter().zip(codes) {
        sum = sum.wrapping_add(i32::from(code) * i32::from(value));
    }
    sum
}

#[inline(always)]
fn product_8bit_codes(query: &[u8], codes: &[u8]) -> i32 {
    let mut sum = 0i32;
    for (&value, &code) in query.iter().zip(codes) {
        sum = sum.wrapping_add((i32::from(value.max(1)) - 128) * (i32::from(code) - 128));
    }
    sum
}

/// From an integer to a distance. `record` ends with its factors; without them there is no distance.
#[inline(always)]
fn estimate(product: i32, offset: i32, scale: f32, record: &[u8]) -> f32 {
    let Some((_, [a0, a1, a2, a3, b0, b1, b2, b3])) = record.split_last_chunk() else {
        return f32::NAN;
    };
    let a = f32::from_le_bytes([*a0, *a1, *a2, *a3]);
    let bias = f32::from_le_bytes([*b0, *b1, *b2, *b3]);
    bias - a * (scale * product.wrapping_sub(offset) as f32)
}

impl Lanes for Scalar {
    #[inline(always)]
    fn l2(self, q: &[f32], v: &[f32]) -> f32 {
        total(q, v, |q, v| (q - v) * (q - v))
    }

    #[inline(always)]
    fn l2_4(self, q: &[f32], v: [&[f32]; 4]) -> [f32; 4] {
        v.map(|v| self.l2(q, v))
    }

    #[inline(always)]
    fn dot(self, q: &[f32], v: &[f32]) -> f32 {
        total(q, v, |q, v| q * v)
    }

    #[inline(always)]
    fn dot_4(self, q: &[f32], v: [&[f32]; 4]) -> [f32; 4] {
        v.map(|v| self.dot(q, v))
    }

    #[inline(always)]
    fn cosine(self, q: &[f32], v: &[f32]) -> (f32, f32) {
        (self.dot(q, v), self.dot(v, v))
    }

    #[inline(always)]
    fn cosine_4(self, q: &[f32], v: [&[f32]; 4]) -> ([f32; 4], [f32; 4]) {
        (self.dot_4(q, v), v.map(|v| self.dot(v, v)))
    }

    #[inline(always)]
    fn estimate_4bit(self, query: CodeQuery<'_, i8>, records: [&[u8]; 4]) -> [f32; 4] {
        let covered = query.values.len() / 2;
        debug_assert!(fits(covered, &records), "four records of one stride, and a query for it");
        let extent = extent(covered, &records);
        records.map(|record| {
            let dot = product_4bit(query.values, &record[..extent.summed]);
            estimate(dot.wrapping_mul(2), query.offset, query.scale, &record[..extent.record])
        })
    }

    #[inline(always)]
    fn estimate_8bit(self, query: CodeQuery<'_, i16>, records: [&[u8]; 4]) -> [f32; 4] {
        let covered = query.values.len();
        debug_assert!(fits(covered, &records), "four records of one stride, and a query for it");
        let extent = extent(covered, &records);
        records.map(|record| {
            let dot = product_8bit(query.values, &record[..extent.summed]);
            estimate(dot, query.offset, query.scale, &record[..extent.record])
        })
    }

    #[inline(always)]
    fn estimate_8bit_codes(self, query: RecordQuery<'_>, records: [&[u8]; 4]) -> [f32; 4] {
        let covered = query.record.len();
        debug_assert!(fits(covered, &records), "four records of one stride, and one as the query");
        let extent = extent(covered, &records);
        let codes = query.codes.min(extent.summed);
        records.map(|record| {
            let dot = product_8bit_codes(&query.record[..codes], &record[..codes]);
            estimate(dot, 0, query.scale, &record[..extent.record])
        })
    }

    #[inline(always)]
    fn panel_4bit(self, values: &[i8], panel: &[u8]) -> [i32; PANEL_ROWS] {
        let mut sums = [0i32; PANEL_ROWS];
        for (column, value) in values[..panel_steps(values, panel) * PANEL_VALUES].iter().enumerate() {
            for (row, sum) in sums.iter_mut().enumerate() {
                let (at, high) = panel_place(row, column);
                let code = if high { panel[at] >> 4 } else { panel[at] & 15 };
                *sum = sum.wrapping_add(i32::from(code) * i32::from(*value));
            }
        }
        sums
    }

    #[inline(always)]
    fn tile(self, queries: &[f32], rows: [&[f32]; TILE_ROWS], out: &mut Tile) {
        tile::plain(queries, rows, out);
    }

    #[inline(never)]
    fn run<W: WithLanes>(self, work: W) -> W::Output {
        work.call(self)
    }
}
