//! Shared by the tests: seeded data with clusters, a plain model of an index, and temporary files.

use std::path::PathBuf;

use chassis_core::{Metric, Mode, OpenOptions, VectorIndex};

/// A small seeded generator (SplitMix64), so that every failure can be repeated.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    }
}

/// Rows around a few centers: what embeddings look like more than uniform noise does.
pub fn clustered(rows: usize, dimensions: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng(seed);
    let centers: Vec<f32> = (0..16 * dimensions).map(|_| rng.unit() * 4.0).collect();
    let mut out = Vec::with_capacity(rows * dimensions);
    for _ in 0..rows {
        let center = rng.below(16) * dimensions;
        out.extend((0..dimensions).map(|d| centers[center + d] + rng.unit()));
    }
    out
}

/// The exact `k` nearest rows, computed in f64.
pub fn brute_force(
    metric: Metric,
    rows: &[f32],
    dimensions: usize,
    query: &[f32],
    k: usize,
) -> Vec<(f64, u64)> {
    let mut all: Vec<(f64, u64)> = rows
        .chunks(dimensions)
        .enumerate()
        .map(|(i, row)| (distance(metric, query, row), i as u64))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

/// A distance by its definition.
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&x, &y)| (x as f64, y as f64));
    let dot: f64 = pairs().map(|(x, y)| x * y).sum();
    match metric {
        Metric::L2 => pairs().map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt(),
        Metric::Ip => -dot,
        Metric::Cosine => {
            let norm = |v: &[f32]| v.iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt();
            1.0 - dot / (norm(a) * norm(b))
        }
    }
}

/// A temporary folder and the path of an index in it.
pub fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("test.chassis");
    (dir, path)
}

/// Options to create an index.
pub fn options(dimensions: usize, metric: Metric) -> OpenOptions {
    OpenOptions { dimensions: Some(dimensions), metric: Some(metric), ..Default::default() }
}

/// Opens what exists.
pub fn reopen(path: &std::path::Path, mode: Mode) -> VectorIndex {
    VectorIndex::open(path, &OpenOptions { mode, ..Default::default() }).expect("the index opens")
}
