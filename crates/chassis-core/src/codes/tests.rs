//! Estimates against the distances they stand for, computed in f64 from the definitions.

use super::subspace::Random;
use super::*;
use crate::kernels::{WithLanes, dispatch};

const GEOMETRIES: [Geometry; 3] = [Geometry::Euclidean, Geometry::Unit, Geometry::Inner];

/// Rows that spread mostly in `latent` directions, far from the origin along one coordinate: as embeddings do.
fn rows(count: usize, dimensions: usize, latent: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let basis: Vec<f32> = (0..latent * dimensions).map(|_| random.bell()).collect();
    let mut out = Vec::with_capacity(count * dimensions);
    for _ in 0..count {
        let weights: Vec<f32> = (0..latent).map(|_| random.bell()).collect();
        for j in 0..dimensions {
            let spread: f32 = (0..latent).map(|i| weights[i] * basis[i * dimensions + j]).sum();
            out.push(spread + 0.3 * random.bell() + if j == 3 % dimensions { 30.0 } else { 0.5 });
        }
    }
    out
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum()
}

fn exact(geometry: Geometry, q: &[f32], x: &[f32]) -> f64 {
    match geometry {
        Geometry::Euclidean => dot(q, q) + dot(x, x) - 2.0 * dot(q, x),
        Geometry::Unit => 1.0 - dot(q, x) / (dot(q, q) * dot(x, x)).sqrt(),
        Geometry::Inner => -dot(q, x),
    }
}

/// Records of all rows.
struct EncodeAll<'a>(&'a Codec, &'a [f32], Bits);

impl WithLanes for EncodeAll<'_> {
    type Output = Vec<u8>;
    fn call<L: Lanes>(self, lanes: L) -> Vec<u8> {
        let EncodeAll(codec, rows, bits) = self;
        let stride = codec.layout(bits).stride as usize;
        let mut scratch = EncodeScratch::default();
        let mut out = Vec::new();
        for row in rows.chunks(codec.header.dimensions as usize) {
            let at = out.len();
            out.resize(at + stride, 0xee);
            codec.encode(lanes, row, bits, &mut scratch, &mut out[at..]);
        }
        out
    }
}

/// Estimated distances of all records from a query.
struct Estimate<'a>(&'a Codec, &'a [f32], &'a [u8], Bits);

impl WithLanes for Estimate<'_> {
    type Output = Vec<f32>;
    fn call<L: Lanes>(self, lanes: L) -> Vec<f32> {
        let Estimate(codec, query, records, bits) = self;
        let mut prepared = Prepared::default();
        codec.prepare(lanes, query, bits == Bits::Four, bits == Bits::Eight, &mut prepared);
        let stride = codec.layout(bits).stride as usize;
        let mut out = Vec::new();
        for record in records.chunks(stride) {
            let estimate = match bits {
                Bits::Four => lanes.estimate_4bit(prepared.four.query(), [record; 4])[0],
                Bits::Eight => lanes.estimate_8bit(prepared.eight.query(), [record; 4])[0],
            };
            out.push(prepared.base + prepared.factor * estimate);
        }
        out
    }
}

fn fitted(geometry: Geometry, sample: &[f32], dimensions: usize, four: bool) -> Codec {
    let sample = Sample { rows: sample, dimensions, of: sample.len() / dimensions };
    let first = if four { Bits::Four } else { Bits::Eight };
    fit(geometry, sample, first, 1, &|| true).unwrap().expect("codes")
}

/// Mean and spread of the errors of estimates, as shares of the spread of the true distances.
fn errors(codec: &Codec, geometry: Geometry, sample: &[f32], bits: Bits) -> (f64, f64) {
    let dimensions = codec.header.dimensions as usize;
    let records = dispatch(EncodeAll(codec, sample, bits));
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    let (mut true_sum, mut true_squares) = (0.0, 0.0);
    for query in sample.chunks(dimensions).step_by(37) {
        let query: Vec<f32> = query.iter().enumerate().map(|(i, v)| v + 0.1 * (i % 3) as f32).collect();
        let estimates = dispatch(Estimate(codec, &query, &records, bits));
        for (estimate, row) in estimates.iter().zip(sample.chunks(dimensions)) {
            let truth = exact(geometry, &query, row);
            let error = *estimate as f64 - truth;
            (sum, squares, count) = (sum + error, squares + error * error, count + 1.0);
            (true_sum, true_squares) = (true_sum + truth, true_squares + truth * truth);
        }
    }
    let spread = (true_squares / count - (true_sum / count).powi(2)).sqrt();
    (sum / count / spread, (squares / count).sqrt() / spread)
}

/// Distances of all records from one of them.
struct Between<'a>(&'a Codec, &'a [u8], &'a [u8]);

impl WithLanes for Between<'_> {
    type Output = Vec<f32>;
    fn call<L: Lanes>(self, lanes: L) -> Vec<f32> {
        let Between(codec, record, records) = self;
        let Stored { query, bias, factor } = codec.stored(record);
        let each = records.chunks(codec.layout(Bits::Eight).stride as usize);
        each.map(|record| factor * (bias + lanes.estimate_8bit_codes(query, [record; 4])[0])).collect()
    }
}

#[test]
fn records_tell_how_far_vectors_are_from_each_other() {
    for geometry in GEOMETRIES {
        for (dimensions, latent) in [(3, 2), (17, 8), (100, 30), (300, 40)] {
            let sample = rows(1_200, dimensions, latent, 5);
            let codec = fitted(geometry, &sample, dimensions, false);
            let records = dispatch(EncodeAll(&codec, &sample, Bits::Eight));
            let stride = codec.layout(Bits::Eight).stride as usize;
            // Of inner products the square of the mean is left out.
            let least = if geometry == Geometry::Inner { dot(&codec.mean, &codec.mean) } else { 0.0 };
            let (mut errors, mut truths) = (Vec::new(), Vec::new());
            for at in (0..1_200).step_by(97) {
                let distances = dispatch(Between(&codec, &records[at * stride..][..stride], &records));
                let row = |n: usize| &sample[n * dimensions..][..dimensions];
                for (other, distance) in distances.iter().enumerate() {
                    let truth = exact(geometry, row(at), row(other)) + least;
                    errors.push((f64::from(*distance) - truth).powi(2));
                    truths.push(truth);
                }
            }
            let mean = truths.iter().sum::<f64>() / truths.len() as f64;
            let spread = truths.iter().map(|truth| (truth - mean).powi(2)).sum::<f64>();
            let error = (errors.iter().sum::<f64>() / spread).sqrt();
            assert!(error < 0.02, "{geometry:?} {dimensions}: {error}");
        }
    }
}

#[test]
fn estimates_are_close_and_not_biased() {
    for geometry in GEOMETRIES {
        for (dimensions, latent) in [(1, 1), (3, 2), (17, 8), (100, 30), (240, 60), (300, 40)] {
            if geometry == Geometry::Unit && dimensions == 1 {
                continue;
            }
            let sample = rows(1_200, dimensions, latent, 5);
            let four = fitted(geometry, &sample, dimensions, true);
            let (bias, error) = errors(&four, geometry, &sample, Bits::Four);
            // Each component is off by a tenth of its spread or so, and they add up as the root of their number.
            let expected = 0.35 / (dimensions as f64).sqrt().min(4.0);
            assert!(error < expected && bias.abs() < 0.02, "{geometry:?} {dimensions}: {bias} {error}");
            let eight = fitted(geometry, &sample, dimensions, false);
            assert!(!eight.has(Bits::Four) && eight.has(Bits::Eight));
            let (bias, error) = errors(&eight, geometry, &sample, Bits::Eight);
            assert!(error < 0.02 && bias.abs() < 0.005, "{geometry:?} {dimensions}, 8 bits: {bias} {error}");
        }
    }
}

#[test]
fn estimates_of_inner_products_do_not_know_how_far_the_origin_is() {
    for (dimensions, latent) in [(100, 30), (300, 40)] {
        let near = rows(1_200, dimensions, latent, 5);
        let moved = |by: f32| -> Vec<f32> {
            let place = |(i, value): (usize, &f32)| value + if i % dimensions == 7 { 40.0 * by } else { by };
            near.iter().enumerate().map(place).collect()
        };
        let error_of = |sample: &[f32], query_scale: f32, bits| {
            let codec = fitted(Geometry::Inner, sample, dimensions, true);
            let records = dispatch(EncodeAll(&codec, sample, bits));
            let query: Vec<f32> = sample[..dimensions].iter().map(|value| value * query_scale).collect();
            let estimates = dispatch(Estimate(&codec, &query, &records, bits));
            let errors = estimates
                .iter()
                .zip(sample.chunks(dimensions))
                .map(|(estimate, row)| (f64::from(*estimate) - exact(Geometry::Inner, &query, row)).powi(2));
            (errors.sum::<f64>() / 1_200.0).sqrt()
        };
        for bits in [Bits::Four, Bits::Eight] {
            let (here, there) = (error_of(&near, 1.0, bits), error_of(&moved(10.0), 1.0, bits));
            assert!(there < 1.1 * here, "{dimensions} {bits:?}: {here}, far from the origin {there}");
            // Queries that lie nowhere near the rows: errors are in proportion to what is left of their lengths.
            for (scale, most) in [(0.0, 1e-20), (1e-6, 8e-6), (-1e-6, 8e-6)] {
                let error = error_of(&moved(10.0), scale, bits) / here;
                assert!(error < most, "{dimensions} {bits:?}, {scale} times a row: {error}");
            }
        }
    }
}

/// Codes of 4 bits by their definition, a value at a time.
struct Plain<'a>(&'a [f32]);

impl WithLanes for Plain<'_> {
    type Output = (f32, Vec<u8>);
    fn call<L: Lanes>(self, lanes: L) -> Self::Output {
        let values = self.0;
        let energy = lanes.dot(values, values);
        let spread = (energy / values.len() as f32).sqrt();
        let code = |value: f32, step: f32| {
            let inverse = if (1.0 / step).is_finite() { 1.0 / step } else { 0.0 };
            (value * inverse + 7.5).round_ties_even().clamp(0.0, 15.0)
        };
        let (mut best, mut best_step) = (-1.0f32, 0.0f32);
        for clip in [1.9, 2.2, 2.5, 2.8, 3.1, 3.5, 4.0] {
            let step = clip * spread / 7.5;
            let (mut along, mut length) = ([0.0f32; 8], [0.0f32; 8]);
            for (i, value) in values.iter().enumerate() {
                let u = code(*value, step) - 7.5;
                along[i % 8] += value * u;
                length[i % 8] += u * u;
            }
            let (along, length): (f32, f32) = (along.iter().sum(), length.iter().sum());
            let quality = if length > 0.0 { along * (along / length) } else { 0.0 };
            (best, best_step) = if quality > best { (quality, step) } else { (best, best_step) };
        }
        let codes: Vec<f32> = values.iter().map(|value| code(*value, best_step)).collect();
        let along = values.iter().zip(&codes).fold(0.0, |along, (value, code)| along + value * (code - 7.5));
        let a = if along > 0.0 && energy.is_finite() { energy / along } else { 0.0 };
        (a, codes.into_iter().map(|code| code as u8).collect())
    }
}

/// What the encoder makes of values.
struct Encoded<'a>(&'a [f32], &'a mut EncodeScratch);

impl WithLanes for Encoded<'_> {
    type Output = (f32, Vec<u8>);
    fn call<L: Lanes>(self, lanes: L) -> Self::Output {
        let (a, codes) = self.1.encode_4(lanes, self.0);
        (a, codes.to_vec())
    }
}

#[test]
fn codes_are_those_of_the_definition_to_the_bit() {
    let (mut random, mut scratch) = (Random(11), EncodeScratch::default());
    for len in [1, 2, 7, 8, 9, 100, 240, 243, 1_536] {
        for scale in [1.0, 1e-3, 1e4, 1e18, 1e-30, 0.0] {
            let values: Vec<f32> = (0..len).map(|_| random.bell() * scale).collect();
            let (a, codes) = dispatch(Encoded(&values, &mut scratch));
            let (wanted, wanted_codes) = dispatch(Plain(&values));
            assert_eq!((a.to_bits(), codes), (wanted.to_bits(), wanted_codes), "{len} values of {scale}");
        }
    }
}

#[test]
fn a_model_read_back_estimates_the_same() {
    for (dimensions, latent) in [(20, 8), (300, 40)] {
        let sample = rows(1_100, dimensions, latent, 8);
        for geometry in GEOMETRIES {
            let codec = fitted(geometry, &sample, dimensions, true);
            assert_eq!(codec.projects(), dimensions > 240);
            assert_eq!(codec.header().components as usize, dimensions.min(240));
            let bytes = codec.to_bytes().unwrap();
            assert!(
                bytes == fitted(geometry, &sample, dimensions, true).to_bytes().unwrap(),
                "the same bytes"
            );
            let back = Codec::decode(&bytes, geometry, dimensions as u32).unwrap();
            let records = dispatch(EncodeAll(&codec, &sample[..40 * dimensions], Bits::Four));
            assert!(records == dispatch(EncodeAll(&back, &sample[..40 * dimensions], Bits::Four)));
            let query = &sample[50 * dimensions..][..dimensions];
            let estimates = dispatch(Estimate(&codec, query, &records, Bits::Four));
            assert_eq!(estimates, dispatch(Estimate(&back, query, &records, Bits::Four)));
            assert!(Codec::decode(&bytes, geometry, dimensions as u32 + 1).is_err());
            assert!(Codec::decode(&bytes[..bytes.len() - 1], geometry, dimensions as u32).is_err());
        }
    }
}

#[test]
fn a_projection_that_keeps_too_little_is_not_made() {
    // In noise that is the same in 700 directions, 240 components keep a third.
    let mut random = Random(1);
    let noise: Vec<f32> = (0..1_500 * 700).map(|_| random.bell()).collect();
    let codec = fitted(Geometry::Euclidean, &noise, 700, true);
    assert!(!codec.has(Bits::Four) && codec.header().components == 0);
    let (bias, error) = errors(&codec, Geometry::Euclidean, &noise, Bits::Eight);
    assert!(error < 0.1 && bias.abs() < 0.02, "{bias} {error}");
}

#[test]
fn rows_without_spread_and_rows_too_large() {
    let same: Vec<f32> = [1.0, 2.0, 3.0].repeat(100);
    for dimensions in [3, 300] {
        let codec = fitted(Geometry::Euclidean, &same, dimensions, true);
        let records = dispatch(EncodeAll(&codec, &same, Bits::Four));
        let estimates = dispatch(Estimate(&codec, &same[..dimensions], &records, Bits::Four));
        assert!(estimates.iter().all(|d| d.abs() < 1e-6), "{estimates:?}");
    }
    let large: Vec<f32> = (0..300).map(|i| 1e30 * (i % 7) as f32).collect();
    let of_large = |geometry, rows, dimensions| {
        fit(geometry, Sample { rows, dimensions, of: 0 }, Bits::Four, 1, &|| true).unwrap()
    };
    assert!(of_large(Geometry::Euclidean, &large, 3).is_none());
    let direction_only = of_large(Geometry::Unit, &large[1..], 13);
    assert!(direction_only.is_none() || direction_only.unwrap().header().dimensions == 13);
    // A row far outside what the model was fitted on: any estimate but no panic.
    let codec = fitted(Geometry::Euclidean, &rows(300, 10, 3, 1), 10, true);
    for wild in [f32::MAX, f32::MIN_POSITIVE, 1e20, 0.0, -1e38] {
        let records = dispatch(EncodeAll(&codec, &[wild; 10], Bits::Four));
        dispatch(Estimate(&codec, &[wild; 10], &records, Bits::Four));
        let records = dispatch(EncodeAll(&codec, &[wild; 10], Bits::Eight));
        dispatch(Estimate(&codec, &[wild; 10], &records, Bits::Eight));
    }
}
