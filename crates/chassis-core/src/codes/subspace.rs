//! Orthonormal rows: random ones, which make a rotation, and those in whose span a sample has most of its spread.
//!
//! Only the span matters (a rotation follows), so no eigenvalue problem is solved: a block of random rows is
//! multiplied by the covariance and made orthonormal, a few times over. It turns towards the leading eigenvectors
//! with each step (Halko, Martinsson and Tropp 2011, with the covariance at hand).

use crate::codes::project;
use crate::kernels::Lanes;

/// Steps of the iteration. The span of many components settles long before each of them does.
const STEPS: usize = 8;
/// A row that loses this much of its length was in the span of those before it.
const VANISHED: f32 = 1e-4;

/// Numbers from a seed: splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Bell-shaped around 0: the sum of eight uniform numbers.
    pub(super) fn bell(&mut self) -> f32 {
        (0..8).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).sum()
    }
}

/// `rows` random orthonormal rows of `dimensions` values; at most as many as dimensions.
#[inline(always)]
pub(super) fn random_rows<L: Lanes>(lanes: L, rows: usize, dimensions: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let mut out: Vec<f32> = (0..rows.min(dimensions) * dimensions).map(|_| random.bell()).collect();
    orthonormalize(lanes, &mut out, dimensions, seed);
    out
}

/// `rows` orthonormal rows that span nearly as much of the spread as any can. `sample` holds centered rows of
/// `dimensions` values, none larger than 1. None when `go_on`, asked for every row of a matrix, says no.
#[inline(always)]
pub(super) fn leading_rows<L: Lanes>(
    lanes: L,
    sample: &[f32],
    rows: usize,
    dimensions: usize,
    seed: u64,
    go_on: &dyn Fn() -> bool,
) -> Option<Vec<f32>> {
    let covariance = covariance(lanes, sample, dimensions, go_on)?;
    let mut block = random_rows(lanes, rows, dimensions, seed);
    let mut product = Vec::new();
    for _ in 0..STEPS {
        for row in block.chunks_exact_mut(dimensions) {
            if !go_on() {
                return None;
            }
            project(lanes, &covariance, row, &mut product);
            row.copy_from_slice(&product);
        }
        orthonormalize(lanes, &mut block, dimensions, seed);
    }
    Some(block)
}

/// Sums of products of each two components: `dimensions` rows of as many values.
#[inline(always)]
fn covariance<L: Lanes>(
    lanes: L,
    sample: &[f32],
    dimensions: usize,
    go_on: &dyn Fn() -> bool,
) -> Option<Vec<f32>> {
    let count = sample.len() / dimensions;
    // A component of all rows lies together, so that a sum of products is one call.
    let mut columns = vec![0.0f32; sample.len()];
    for (i, row) in sample.chunks_exact(dimensions).enumerate() {
        for (j, value) in row.iter().enumerate() {
            columns[j * count + i] = *value;
        }
    }
    let (mut out, mut products) = (vec![0.0f32; dimensions * dimensions], Vec::new());
    for j in 0..dimensions {
        if !go_on() {
            return None;
        }
        project(lanes, &columns[j * count..], &columns[j * count..][..count], &mut products);
        for (i, product) in products.iter().enumerate() {
            out[j * dimensions + j + i] = *product;
            out[(j + i) * dimensions + j] = *product;
        }
    }
    Some(out)
}

/// Makes rows orthonormal, first to last (Gram and Schmidt, twice, which keeps what rounding would lose). A row in
/// the span of those before it gives way to a random one.
#[inline(always)]
pub(super) fn orthonormalize<L: Lanes>(lanes: L, rows: &mut [f32], dimensions: usize, seed: u64) {
    let mut random = Random(!seed);
    let mut parts = Vec::new();
    for at in (0..rows.len()).step_by(dimensions.max(1)) {
        let (before, rest) = rows.split_at_mut(at);
        let row = &mut rest[..dimensions];
        // A random row lies in a span of fewer dimensions with probability zero; the bound only proves an end.
        for _ in 0..8 {
            let length = normalize(lanes, row);
            subtract_span(lanes, row, before, &mut parts);
            let left = normalize(lanes, row);
            subtract_span(lanes, row, before, &mut parts);
            normalize(lanes, row);
            if length > 0.0 && left > VANISHED {
                break;
            }
            row.iter_mut().for_each(|value| *value = random.bell());
        }
    }
}

/// Scales a row to length one and says how long it was; 0 when it cannot be.
#[inline(always)]
fn normalize<L: Lanes>(lanes: L, row: &mut [f32]) -> f32 {
    let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return 0.0;
    }
    // By the largest value first: squares of what is left neither overflow nor vanish.
    row.iter_mut().for_each(|value| *value /= largest);
    let length = lanes.dot(row, row).sqrt();
    row.iter_mut().for_each(|value| *value /= length);
    length * largest
}

/// Takes away what lies in the span of orthonormal rows.
#[inline(always)]
fn subtract_span<L: Lanes>(lanes: L, row: &mut [f32], rows: &[f32], parts: &mut Vec<f32>) {
    project(lanes, rows, row, parts);
    for (other, part) in rows.chunks_exact(row.len()).zip(parts.iter()) {
        for (value, direction) in row.iter_mut().zip(other) {
            *value -= part * direction;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{WithLanes, dispatch};

    struct Run<F>(F);
    trait Body {
        fn run<L: Lanes>(self, lanes: L);
    }
    impl<B: Body> WithLanes for Run<B> {
        type Output = ();
        fn call<L: Lanes>(self, lanes: L) {
            self.0.run(lanes);
        }
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum()
    }

    fn assert_orthonormal(rows: &[f32], dimensions: usize) {
        let rows: Vec<&[f32]> = rows.chunks(dimensions).collect();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().take(i + 1) {
                let expected = (i == j) as u8 as f64;
                assert!((dot(a, b) - expected).abs() < 1e-5, "rows {i} and {j}: {}", dot(a, b));
            }
        }
    }

    #[test]
    fn random_rows_are_orthonormal_and_the_same_for_the_same_seed() {
        struct Case;
        impl Body for Case {
            fn run<L: Lanes>(self, lanes: L) {
                for (rows, dimensions) in [(1, 1), (2, 2), (7, 7), (100, 100), (20, 300), (240, 240)] {
                    let block = random_rows(lanes, rows, dimensions, 3);
                    assert_eq!(block.len(), rows * dimensions);
                    assert_orthonormal(&block, dimensions);
                    assert!(block == random_rows(lanes, rows, dimensions, 3));
                    assert!(dimensions == 1 || block != random_rows(lanes, rows, dimensions, 4));
                }
            }
        }
        dispatch(Run(Case));
    }

    #[test]
    fn rows_that_depend_on_each_other_are_replaced() {
        struct Case;
        impl Body for Case {
            fn run<L: Lanes>(self, lanes: L) {
                let mut rows = vec![0.0; 6 * 12];
                rows[0] = 3.0;
                (0..12).for_each(|i| rows[12 + i] = 1e30);
                // Twice the second, the sum of the first two, zeros, and what is no number.
                (0..12).for_each(|i| rows[24 + i] = 2e30);
                (0..12).for_each(|i| rows[36 + i] = 1e30 + 3.0 * (i == 0) as u8 as f32);
                rows[60] = f32::NAN;
                rows[61] = f32::INFINITY;
                orthonormalize(lanes, &mut rows, 12, 1);
                assert_orthonormal(&rows, 12);
            }
        }
        dispatch(Run(Case));
    }

    #[test]
    fn leading_rows_span_where_the_sample_spreads() {
        struct Case;
        impl Body for Case {
            fn run<L: Lanes>(self, lanes: L) {
                // Five directions with most of the spread, a little noise in all 64.
                let basis = random_rows(lanes, 5, 64, 9);
                let mut random = Random(5);
                let mut sample = Vec::new();
                for _ in 0..400 {
                    let weights: Vec<f32> = (0..5).map(|i| random.bell() * 0.1 / (i + 1) as f32).collect();
                    for j in 0..64 {
                        let spread: f32 = (0..5).map(|i| weights[i] * basis[i * 64 + j]).sum();
                        sample.push(spread + random.bell() * 0.000_5);
                    }
                }
                let leading = leading_rows(lanes, &sample, 5, 64, 2, &|| true).expect("nobody stops it");
                assert_orthonormal(&leading, 64);
                for direction in basis.chunks(64) {
                    let inside: f64 = leading.chunks(64).map(|row| dot(row, direction).powi(2)).sum();
                    assert!(inside > 0.99, "{inside} of a direction is in the span");
                }
            }
        }
        dispatch(Run(Case));
    }
}
