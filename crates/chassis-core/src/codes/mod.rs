//! Codes: short stand-ins for vectors, and estimates of distances from them.
//!
//! A walk looks at hundreds of vectors and keeps ten. It runs over codes of 4 bits a component (one or two cache
//! lines a vector), the nearest are measured again by codes of 8 bits, and only about the results themselves by the
//! stored vectors: what is returned is exact.
//!
//! | file | part |
//! |---|---|
//! | `fit` | the model: a mean and a matrix, from a sample |
//! | `subspace` | orthonormal rows: random ones, and those a sample spreads most in |
//! | `encode` | a vector as its records |
//! | `matrix` | the model's matrix in codes, for queries |
//! | `query` | a query in the form records are compared with |
//!
//! # The estimate
//!
//! With the mean `mu`, a matrix `W` of orthonormal rows and `y = W (x - mu)`, a record holds `u`, which is `y` in
//! units of a step, rounded, and two factors: `a = |y|^2 / <y, u>` and a `bias`. Then `a <v, u>` with
//! `v = W (q - mu)` estimates `<q - mu, x - mu>`: `a` makes up for what rounding does to the length along `y`, so
//! the estimate is unbiased when the error is as likely to point anywhere else, which the random rotation in `W`
//! sees to. (The same estimator as RaBitQ's, Gao and Long 2024, with a uniform grid in place of signs.)
//!
//! Every geometry is then a query's own two numbers away from `bias - a <v, u>`:
//!
//! | geometry | distance | bias | base | factor |
//! |---|---|---|---|---|
//! | Euclidean | `abs(q - x)^2` | `abs(x - mu)^2 / 2` | `abs(q - mu)^2` | 2 |
//! | unit vectors | `1 - <q, x>` | `abs(x - mu)^2 / 2` | `abs(q - mu)^2 / 2` | 1 |
//! | inner product | `-<q, x>` | `-<mu, x - mu>` | `-<q, mu>` | `t`, with `v = W (q - t mu) / t` |
//!
//! The error of an estimate is in proportion to the part of what meets the codes that is not along `y`. Of an inner
//! product `<q, x - mu> = t <mu, x - mu> + <q - t mu, x - mu>` the bias has the first part, exactly, for any `t`. A
//! query that lies where the rows do takes `t = 1`: it is then along `y` for the rows near it. One that the mean
//! only makes longer takes next to none of it. (The `t` that leaves the shortest rest, `<q, mu> / <mu, mu>`, costs near
//! neighbors more than it gains: 0.91 of them were found with 1 and 0.85 with that, 10,000 rows about the origin.)
//!
//! # Same bytes everywhere
//!
//! Products are those of `kernels`, whose order of summation is fixed; all else here is plain arithmetic and square
//! roots, one thread at a time. No function of a math library is called: they differ between systems.

mod encode;
mod fit;
mod matrix;
mod query;
mod subspace;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::format::derived::codes::{Bits, Codes};
use crate::format::derived::model::{Model, ModelHeader, ModelKind, encode as encode_model};
use crate::kernels::Lanes;

pub use encode::EncodeScratch;
pub use fit::{HELD_OUT, Sample, fit, sample_rows};
pub use query::{Prepared, Stored};

/// How the vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Geometry {
    /// Squared distance.
    Euclidean,
    /// One minus the cosine: vectors count as if they had length one.
    Unit,
    /// Minus the inner product.
    Inner,
}

/// The mean and the matrix, ready for use.
pub struct Codec {
    geometry: Geometry,
    header: ModelHeader,
    mean: Vec<f32>,
    /// `components` rows of `dimensions` values.
    matrix: Vec<f32>,
    /// The matrix for queries, when it projects.
    small: Option<matrix::SmallMatrix>,
}

impl Codec {
    /// Takes a model that was fitted, or one read back.
    ///
    /// # Errors
    /// `Corrupt` when lengths do not fit.
    pub fn new(geometry: Geometry, header: ModelHeader, mean: Vec<f32>, matrix: Vec<f32>) -> Result<Codec> {
        let dimensions = header.dimensions as usize;
        let fits = mean.len() == dimensions && matrix.len() == dimensions * header.components as usize;
        if dimensions == 0 || !fits {
            return Err(Error::corrupt("the lengths of a model"));
        }
        let projects = (1..header.dimensions).contains(&header.components);
        let small = projects.then(|| matrix::SmallMatrix::new(&matrix, dimensions));
        Ok(Codec { geometry, header, mean, matrix, small })
    }

    /// Reads a model back from the rows of its object.
    ///
    /// # Errors
    /// `Corrupt`, `UnsupportedVersion`.
    pub fn decode(bytes: &[u8], geometry: Geometry, dimensions: u32) -> Result<Codec> {
        let model = Model::decode(bytes, dimensions)?;
        let len = model.header.components as usize * dimensions as usize;
        let mut matrix = Vec::new();
        matrix
            .try_reserve_exact(len)
            .map_err(|_| Error::no_memory(format_args!("a matrix of {len} values")))?;
        for i in 0..model.header.components as usize {
            matrix.extend(model.matrix_row(i));
        }
        Codec::new(geometry, model.header, model.mean().collect(), matrix)
    }

    /// The rows of the model's object, back to back.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        encode_model(&self.header, &self.mean, &self.matrix)
    }

    /// The same model, said to be fitted on `fitted_rows` of an index of `index_rows`.
    ///
    /// # Errors
    /// None that a codec which exists can meet.
    pub fn counting(&self, fitted_rows: u64, index_rows: u64) -> Result<Codec> {
        let header = ModelHeader { fitted_rows, index_rows, ..self.header };
        Codec::new(self.geometry, header, self.mean.clone(), self.matrix.clone())
    }

    /// What the model is.
    pub fn header(&self) -> &ModelHeader {
        &self.header
    }

    /// Whether codes of 4 bits leave something out, so that a second stage is worth its bytes.
    pub fn projects(&self) -> bool {
        self.small.is_some()
    }

    /// The layout of the records of one kind. Objects are told apart by the model's generation.
    pub fn layout(&self, bits: Bits) -> Codes {
        let header = &self.header;
        let components = if bits == Bits::Four { header.components } else { header.dimensions };
        Codes::new(bits, components, 0, header.generation, header.generation as u16)
    }

    /// Whether there can be codes of this kind.
    pub fn has(&self, bits: Bits) -> bool {
        bits == Bits::Eight || self.header.kind == ModelKind::Principal
    }

    /// A vector as the model sees it: scaled to length one where only its direction counts, less so many times the
    /// mean.
    #[inline(always)]
    fn center<L: Lanes>(&self, lanes: L, vector: &[f32], times: f32, out: &mut Vec<f32>) {
        let scale = match self.geometry {
            Geometry::Unit => 1.0 / lanes.dot(vector, vector).sqrt(),
            _ => 1.0,
        };
        out.clear();
        out.resize(vector.len(), 0.0);
        for ((place, value), mean) in out.iter_mut().zip(vector).zip(&self.mean) {
            *place = value * scale - mean * times;
        }
    }
}

/// The largest absolute value; 0 for none, and NaN counts as nothing.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    // Side by side: one after the other they would wait for each other.
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            let value = value.abs();
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let mut largest = 0.0f32;
    for value in lanes.iter().chain(rest) {
        let value = value.abs();
        largest = if value > largest { value } else { largest };
    }
    largest
}

/// Products of every row of a matrix with one vector.
#[inline(always)]
fn project<L: Lanes>(lanes: L, matrix: &[f32], vector: &[f32], out: &mut Vec<f32>) {
    out.clear();
    let dimensions = vector.len();
    if dimensions == 0 {
        // A row that could not be read: its call fails at the end.
        return;
    }
    let fours = matrix.chunks_exact(4 * dimensions);
    let rest = fours.remainder();
    for four in fours {
        let ((a, b), (c, d)) = {
            let (front, back) = four.split_at(2 * dimensions);
            (front.split_at(dimensions), back.split_at(dimensions))
        };
        out.extend_from_slice(&lanes.dot_4(vector, [a, b, c, d]));
    }
    for row in rest.chunks_exact(dimensions) {
        out.push(lanes.dot(vector, row));
    }
}
