//! A vector as its records.

use crate::codes::{Codec, Geometry, largest, project};
use crate::format::derived::codes::{Bits, Codes, Factors, ZERO_4, ZERO_8};
use crate::kernels::Lanes;

/// Where the grid of 4 bits ends, in standard deviations of the components; the best of these is taken. Real and
/// rotated components are close to a bell curve, for which 2.6 is best; the others are for those that are not.
const CLIPS: [f32; 7] = [1.9, 2.2, 2.5, 2.8, 3.1, 3.5, 4.0];

/// What the kernels of two machines may differ by, in proportion. One code in a record of 240 off by one differs by
/// a hundred times as much.
const ROUNDING: f32 = 1e-5;

/// Memory of the encoder, kept between rows.
#[derive(Default)]
pub struct EncodeScratch {
    centered: Vec<f32>,
    parts: Vec<f32>,
    codes: Vec<u8>,
    record: Vec<u8>,
}

impl Codec {
    /// Writes the record of a vector; `record` is as long as the layout of `bits` says.
    #[inline(always)]
    pub fn encode<L: Lanes>(
        &self,
        lanes: L,
        vector: &[f32],
        bits: Bits,
        scratch: &mut EncodeScratch,
        record: &mut [u8],
    ) {
        let EncodeScratch { centered, parts, codes, .. } = scratch;
        self.center(lanes, vector, false, centered);
        let bias = match self.geometry {
            Geometry::Inner => 0.0,
            _ => lanes.dot(centered, centered) / 2.0,
        };
        let a = match bits {
            Bits::Four => {
                project(lanes, &self.matrix, centered, parts);
                encode_4(lanes, parts, codes)
            }
            Bits::Eight => encode_8(lanes, centered, codes),
        };
        let fits = self.layout(bits).encode(codes, Factors { a, bias }, record);
        debug_assert!(fits, "a record of {} bytes for {} codes", record.len(), codes.len());
    }

    /// Whether a record is that of a vector: byte for byte, or as good but for rounding. Plain kernels round otherwise
    /// than those with vector instructions; a code on the edge, or the choice between two grids, may go the other way.
    #[inline(always)]
    pub fn agrees<L: Lanes>(
        &self,
        lanes: L,
        vector: &[f32],
        bits: Bits,
        scratch: &mut EncodeScratch,
        record: &[u8],
    ) -> bool {
        let layout = self.layout(bits);
        let mut own = std::mem::take(&mut scratch.record);
        own.resize(layout.stride as usize, 0);
        self.encode(lanes, vector, bits, scratch, &mut own);
        let values = if bits == Bits::Four { &scratch.parts } else { &scratch.centered };
        let agrees = own == record || is_as_good(&layout, values, lanes.dot(vector, vector), &own, record);
        scratch.record = own;
        agrees
    }
}

/// Whether a record stands for the values as well as `own` does. `whole` is the squared length of the vector, which
/// bounds what rounding makes of a difference.
fn is_as_good(layout: &Codes, values: &[f32], whole: f32, own: &[u8], record: &[u8]) -> bool {
    let (Some(wanted), Some(found)) = (layout.factors(own), layout.factors(record)) else { return false };
    let zero = if layout.bits == Bits::Four { ZERO_4 } else { ZERO_8 };
    let mut codes: Vec<u8> = Vec::with_capacity(values.len());
    codes.extend((0..values.len()).filter_map(|i| layout.code(record, i)));
    let mut rebuilt = vec![0u8; own.len()];
    // What is neither a code nor a factor is zero.
    if !layout.encode(&codes, found, &mut rebuilt) || rebuilt != record {
        return false;
    }
    let fit = |of: &[u8]| {
        let (mut along, mut length) = (0.0f64, 0.0f64);
        for (i, value) in values.iter().enumerate() {
            let u = f64::from(f32::from(layout.code(of, i).unwrap_or(0)) - zero);
            (along, length) = (along + f64::from(*value) * u, length + u * u);
        }
        (along, if length > 0.0 { along * along / length } else { 0.0 })
    };
    let energy: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    let (rounding, noise) = (f64::from(ROUNDING), f64::from(whole) * 1e-10);
    let ((_, best), (along, quality)) = (fit(own), fit(record));
    let near = |found: f64, wanted: f64| (found - wanted).abs() <= rounding * wanted.abs() + noise;
    // Of what is nothing but rounding any record is as good, if it does not pretend to more.
    let length = if found.a == 0.0 {
        wanted.a == 0.0 || energy <= noise
    } else {
        near(f64::from(found.a) * along, energy)
    };
    near(f64::from(found.bias), f64::from(wanted.bias))
        && length
        && quality >= best * (1.0 - rounding) - noise
}

impl EncodeScratch {
    /// [`encode_4`] into memory of its own.
    #[inline(always)]
    pub(super) fn encode_4<L: Lanes>(&mut self, lanes: L, values: &[f32]) -> (f32, &[u8]) {
        let a = encode_4(lanes, values, &mut self.codes);
        (a, &self.codes)
    }
}

/// Codes of 4 bits, on the grid that lies best along the values; returns what makes up for the rounding.
#[inline(always)]
fn encode_4<L: Lanes>(lanes: L, values: &[f32], codes: &mut Vec<u8>) -> f32 {
    let energy = lanes.dot(values, values);
    let spread = (energy / values.len() as f32).sqrt();
    let (mut best, mut best_step) = (-1.0f32, 0.0f32);
    for clip in CLIPS {
        let step = clip * spread / ZERO_4;
        let (along, length) = on_grid(values, step);
        let quality = if length > 0.0 { along * (along / length) } else { 0.0 };
        if quality > best {
            (best, best_step) = (quality, step);
        }
    }
    let inverse = invert(best_step);
    codes.clear();
    let mut along = 0.0f32;
    for value in values {
        let code = code_4(*value, inverse);
        along += value * (code - ZERO_4);
        codes.push(code as u8);
    }
    if along > 0.0 && energy.is_finite() { energy / along } else { 0.0 }
}

/// `<y, u>` and `<u, u>` of values and what a grid makes of them.
#[inline(always)]
fn on_grid(values: &[f32], step: f32) -> (f32, f32) {
    let inverse = invert(step);
    // Eight sums side by side, in a fixed order: the same bits with and without vector instructions.
    let (mut along, mut length) = ([0.0f32; 8], [0.0f32; 8]);
    for eight in values.chunks(8) {
        for (i, value) in eight.iter().enumerate() {
            let u = code_4(*value, inverse) - ZERO_4;
            along[i] += value * u;
            length[i] += u * u;
        }
    }
    (along.iter().sum(), length.iter().sum())
}

#[inline(always)]
fn invert(step: f32) -> f32 {
    let inverse = 1.0 / step;
    if inverse.is_finite() { inverse } else { 0.0 }
}

#[inline(always)]
fn code_4(value: f32, inverse: f32) -> f32 {
    (value * inverse + ZERO_4).round_ties_even().clamp(0.0, 15.0)
}

/// Codes of 8 bits, the largest value at the end of the grid.
#[inline(always)]
fn encode_8<L: Lanes>(lanes: L, values: &[f32], codes: &mut Vec<u8>) -> f32 {
    let inverse = invert(largest(values) / 127.0);
    codes.clear();
    let mut along = 0.0f32;
    for value in values {
        let u = (value * inverse).round_ties_even().clamp(-127.0, 127.0);
        along += value * u;
        codes.push((u + ZERO_8) as u8);
    }
    let energy = lanes.dot(values, values);
    if along > 0.0 && energy.is_finite() { energy / along } else { 0.0 }
}
