//! Vectors that all point much the same way, as those of some embedding models do: a mean cosine of about 0.75, most
//! of it from one component. Codes have to see the small differences that are left.

use chassis_core::internals::format::Kind;
use chassis_core::{BatchOptions, Metric, SearchOptions, VectorIndex};

use crate::support::{Rng, clustered, options, place};

const ROWS: usize = 3_000;
const QUERIES: usize = 200;
/// Directions in which rows differ.
const SPREAD: usize = 32;
/// The length of what is added to rows of length 1, and its largest component.
const OFFSET: f32 = 1.8;
const LARGEST: f32 = 1.36;

fn unit(row: &mut [f32]) {
    let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
    row.iter_mut().for_each(|x| *x /= length);
}

/// Rows of length 1 in clusters.
fn plain(rows: usize, dimensions: usize) -> Vec<f32> {
    let mut rng = Rng(41);
    let basis: Vec<f32> = (0..SPREAD * dimensions).map(|_| rng.unit()).collect();
    let mut out = vec![0.0; rows * dimensions];
    for (row, weights) in out.chunks_mut(dimensions).zip(clustered(rows, SPREAD, 43).chunks(SPREAD)) {
        for (weight, direction) in weights.iter().zip(basis.chunks(dimensions)) {
            row.iter_mut().zip(direction).for_each(|(x, d)| *x += weight * d);
        }
        row.iter_mut().for_each(|x| *x += 0.1 * rng.unit());
        unit(row);
    }
    out
}

/// The rows moved by one vector, and of length 1 again.
fn moved(rows: &[f32], dimensions: usize) -> Vec<f32> {
    let mut rng = Rng(47);
    let mut offset: Vec<f32> = (0..dimensions).map(|_| rng.unit()).collect();
    offset[dimensions / 3] = 0.0;
    unit(&mut offset);
    let rest = (OFFSET * OFFSET - LARGEST * LARGEST).sqrt();
    offset.iter_mut().for_each(|x| *x *= rest);
    offset[dimensions / 3] = LARGEST;
    let mut out = rows.to_vec();
    for row in out.chunks_mut(dimensions) {
        row.iter_mut().zip(&offset).for_each(|(x, o)| *x += o);
        unit(row);
    }
    out
}

/// The mean cosine of pairs of rows of length 1, and the largest mean component.
fn shape(rows: &[f32], dimensions: usize) -> (f64, f64) {
    let count = rows.len() / dimensions;
    let mut mean = vec![0.0f64; dimensions];
    for row in rows.chunks(dimensions) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) / count as f64);
    }
    (mean.iter().map(|x| x * x).sum(), mean.iter().fold(0.0, |most, x| most.max(x.abs())))
}

/// A committed index of the first rows, with codes of two stages.
fn built(base: &[f32], dimensions: usize, metric: Metric) -> (tempfile::TempDir, VectorIndex) {
    let (dir, path) = place();
    let index = VectorIndex::open(&path, &options(dimensions, metric)).unwrap();
    index.add_batch(base, &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    let coded = |kind| index.with_store(|store| store.view().rows(kind).map(|rows| rows.len())).unwrap();
    assert_eq!((coded(Kind::Codes4), coded(Kind::Codes8)), (Some(ROWS), Some(ROWS)));
    (dir, index)
}

/// The recall of searches with these options; their distances are those of the scan.
fn recall(index: &VectorIndex, queries: &[f32], dimensions: usize, options: &SearchOptions) -> f64 {
    let exact = SearchOptions { exact: true, ..SearchOptions::k(ROWS) };
    let mut found = 0;
    for query in queries.chunks(dimensions) {
        let hits = index.search(query, options).unwrap();
        let scan = index.search(query, &exact).unwrap();
        found += hits.ids.iter().filter(|id| scan.ids[..10].contains(id)).count();
        for (id, distance) in hits.ids.iter().zip(&hits.distances) {
            let at = scan.ids.iter().position(|other| other == id).unwrap();
            assert_eq!(distance.to_bits(), scan.distances[at].to_bits(), "id {id}");
        }
    }
    found as f64 / (10 * queries.len() / dimensions) as f64
}

#[test]
fn vectors_with_an_offset_are_found_like_others() {
    for dimensions in [256, 384] {
        let still = plain(ROWS + QUERIES, dimensions);
        let moved = moved(&still, dimensions);
        let (cosine, largest) = shape(&moved, dimensions);
        assert!((0.72..0.79).contains(&cosine) && (0.6..0.7).contains(&largest), "{cosine} {largest}");
        let few = SearchOptions { ef_search: Some(16), ..SearchOptions::k(10) };
        for metric in [Metric::Cosine, Metric::Ip] {
            let (base, queries) = still.split_at(ROWS * dimensions);
            let (_dir, index) = built(base, dimensions, metric);
            let before = recall(&index, queries, dimensions, &few);
            let (base, queries) = moved.split_at(ROWS * dimensions);
            let (_dir, index) = built(base, dimensions, metric);
            let wanted = SearchOptions { recall: Some(0.95), ..SearchOptions::k(10) };
            let reached = recall(&index, queries, dimensions, &wanted);
            assert!(reached >= 0.93, "{dimensions} {metric:?}: recall {reached}");
            let few = recall(&index, queries, dimensions, &few);
            // Estimates of inner products are of the whole query, offset and all, and so is their error.
            let least = before - if metric == Metric::Ip { 0.25 } else { 0.03 };
            assert!(few > least, "{dimensions} {metric:?}: recall {few}, without the offset {before}");
        }
    }
}
