//! The model of an index, fitted on a sample of its rows.
//!
//! Up to [`MAX_COMPONENTS`] dimensions the matrix is a random rotation. Beyond, it is the leading principal
//! components, rotated: on sentence embeddings of 384 to 1,536 dimensions 240 of them keep 0.80 to 0.97 of the
//! spread, enough to find the way by when a second stage knows the rest. What is kept is measured on rows the fit
//! did not see; too little, and there are codes of 8 bits over the whole vector only.

use crate::codes::subspace::{leading_rows, random_rows};
use crate::codes::{Codec, Geometry, largest, project};
use crate::error::{Error, ErrorKind, Result};
use crate::format::derived::codes::Bits;
use crate::format::derived::model::{ModelHeader, ModelKind};
use crate::kernels::{Lanes, WithLanes, dispatch};

/// The most rows a model is fitted on.
const SAMPLE: usize = 8_192;
/// Values of a sample that are looked at: what a fit costs grows with rows and the square of dimensions.
const SAMPLE_VALUES: usize = 8 << 20;
/// Components of 4-bit codes: with two factors they fill two cache lines.
const MAX_COMPONENTS: usize = 240;
/// Beyond so many dimensions the covariance is too large to compute.
const MAX_PROJECTED: usize = 4_096;
/// Share of the spread that 4-bit codes have to keep: between what was seen to be enough for a recall of 0.99 (0.80)
/// and what was seen not to be (0.62), both on vectors of 1,536 dimensions.
const LEAST_KEPT: f64 = 0.70;
/// One row of a sample in so many, from the first on, is kept for the measurement: the matrix is not fitted to it.
pub const HELD_OUT: usize = 8;
/// Seed of rotations: any will do, and the same one makes the same file.
const SEED: u64 = 0x5eed;

/// How many rows of so many dimensions a sample should have.
pub fn sample_rows(dimensions: usize) -> usize {
    (SAMPLE_VALUES / dimensions.max(1)).clamp(1_024, SAMPLE)
}

/// Rows to fit a model on.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    /// The rows, back to back.
    pub rows: &'a [f32],
    /// Values of a row.
    pub dimensions: usize,
    /// How many rows they were drawn from.
    pub of: usize,
}

/// Fits a model. `first` is what walks should run over (8-bit codes need no matrix); `generation` counts the models
/// of an index, from 1. `None` when these rows cannot have codes: their values are too large to calculate with.
/// `go_on` is asked every millisecond or so.
///
/// # Errors
/// `Cancelled` when it says no.
pub fn fit(
    geometry: Geometry,
    sample: Sample<'_>,
    first: Bits,
    generation: u32,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Codec>> {
    dispatch(Fit { geometry, sample, first, generation, go_on })
}

struct Fit<'a> {
    geometry: Geometry,
    sample: Sample<'a>,
    first: Bits,
    generation: u32,
    go_on: &'a dyn Fn() -> bool,
}

impl WithLanes for Fit<'_> {
    type Output = Result<Option<Codec>>;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> Self::Output {
        let Fit { geometry, sample: Sample { rows: sample, dimensions, of }, first, generation, go_on } =
            self;
        let mut rows = sample.to_vec();
        if geometry == Geometry::Unit {
            for row in rows.chunks_exact_mut(dimensions) {
                let scale = 1.0 / lanes.dot(row, row).sqrt();
                row.iter_mut().for_each(|value| *value *= scale);
            }
        }
        let mean = center(&mut rows, dimensions);
        let largest = largest(&rows);
        // Squares are added up, of rows and of queries.
        if !largest.is_finite() || largest > 1e15 || mean.iter().any(|m| !m.is_finite()) {
            return Ok(None);
        }
        let matrix = match first {
            Bits::Four => matrix(lanes, rows, largest, dimensions, go_on),
            Bits::Eight => Some(Vec::new()),
        };
        let matrix =
            matrix.ok_or_else(|| Error::new(ErrorKind::Cancelled, "cancelled while codes were fitted"))?;
        let kind = if matrix.is_empty() { ModelKind::Mean } else { ModelKind::Principal };
        let header = ModelHeader {
            kind,
            dimensions: dimensions as u32,
            components: (matrix.len() / dimensions) as u32,
            generation,
            fitted_rows: (sample.len() / dimensions) as u64,
            index_rows: of as u64,
            seed: SEED,
        };
        Codec::new(geometry, header, mean, matrix).map(Some)
    }
}

/// Subtracts the mean from every row and returns it.
fn center(rows: &mut [f32], dimensions: usize) -> Vec<f32> {
    let count = (rows.len() / dimensions).max(1) as f64;
    let mut sums = vec![0.0f64; dimensions];
    for row in rows.chunks_exact(dimensions) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += *value as f64);
    }
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
    for row in rows.chunks_exact_mut(dimensions) {
        row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
    }
    mean
}

/// The matrix for centered rows; empty when too little would be kept, none when told to stop.
#[inline(always)]
fn matrix<L: Lanes>(
    lanes: L,
    mut rows: Vec<f32>,
    largest: f32,
    dimensions: usize,
    go_on: &dyn Fn() -> bool,
) -> Option<Vec<f32>> {
    if dimensions <= MAX_COMPONENTS {
        return Some(random_rows(lanes, dimensions, dimensions, SEED));
    }
    if dimensions > MAX_PROJECTED {
        return Some(Vec::new());
    }
    if largest > 0.0 {
        rows.iter_mut().for_each(|value| *value /= largest);
    }
    let (mut seen, mut held_out) = (Vec::with_capacity(rows.len()), Vec::new());
    for (i, row) in rows.chunks_exact(dimensions).enumerate() {
        if i % HELD_OUT == 0 { &mut held_out } else { &mut seen }.extend_from_slice(row);
    }
    let leading = leading_rows(lanes, &seen, MAX_COMPONENTS, dimensions, SEED, go_on)?;
    if kept(lanes, &leading, &held_out, dimensions) < LEAST_KEPT {
        return Some(Vec::new());
    }
    // Each row of the rotation mixes the components; what each code then sees is spread alike.
    let rotation = random_rows(lanes, MAX_COMPONENTS, MAX_COMPONENTS, SEED);
    let mut out = vec![0.0f32; MAX_COMPONENTS * dimensions];
    for (mixed, weights) in out.chunks_exact_mut(dimensions).zip(rotation.chunks_exact(MAX_COMPONENTS)) {
        for (weight, row) in weights.iter().zip(leading.chunks_exact(dimensions)) {
            mixed.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    Some(out)
}

/// Share of the squared lengths of rows that a projection keeps.
#[inline(always)]
fn kept<L: Lanes>(lanes: L, matrix: &[f32], rows: &[f32], dimensions: usize) -> f64 {
    let (mut inside, mut whole, mut parts) = (0.0f64, 0.0f64, Vec::new());
    for row in rows.chunks_exact(dimensions) {
        project(lanes, matrix, row, &mut parts);
        inside += lanes.dot(&parts, &parts) as f64;
        whole += lanes.dot(row, row) as f64;
    }
    if whole > 0.0 { inside / whole } else { 1.0 }
}
