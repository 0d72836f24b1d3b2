//! Data for the benches: seeded clusters by default, real vectors when `CHASSIS_DATA` names a folder that holds
//! `glove100.base.f32bin` and `glove100.query.f32bin`.
//!
//! Never uniform noise: in it all points are about equally far from each other, and neither the recall nor the
//! speed of a graph on it says anything about embeddings.
#![allow(dead_code, reason = "each bench is a crate of its own and uses its part of this module")]

use std::path::{Path, PathBuf};

use chassis_core::{BatchOptions, Metric, OpenOptions, SearchOptions, VectorIndex};

/// Results asked for everywhere.
pub const K: usize = 10;
/// Candidates held while inserting: the engine's default, stated so that a change of it does not go unseen.
pub const EF_CONSTRUCTION: usize = 200;

const QUERIES: usize = 200;
const CLUSTERS: usize = 256;
/// Dimensions that the clusters really spread in: enough for recall to rise with the effort, as on word vectors.
const LATENT: usize = 40;

/// Vectors, queries, and the true neighbors of each query.
pub struct Set {
    /// Where it comes from, for the names of the benches.
    pub name: &'static str,
    pub metric: Metric,
    pub dimensions: usize,
    /// Rows back to back.
    pub base: Vec<f32>,
    /// Queries back to back.
    pub queries: Vec<f32>,
    /// The ids of the `K` nearest rows of each query.
    pub truth: Vec<Vec<u64>>,
}

/// Whether criterion only runs each bench once to see that it works.
pub fn is_test_mode() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

impl Set {
    /// The set of this run, with at most `rows` rows; a few when the benches are only tested.
    pub fn load(rows: usize) -> Set {
        let mut set = Set::without_truth(rows, QUERIES);
        set.find_truth();
        set
    }

    /// Finds the true neighbors of each query.
    pub fn find_truth(&mut self) {
        self.truth = self.queries.chunks_exact(self.dimensions).map(|query| self.exact(query)).collect();
    }

    /// The same set with this many queries, and without their true neighbors.
    pub fn without_truth(rows: usize, queries: usize) -> Set {
        let (rows, queries) =
            if is_test_mode() { ((rows / 100).max(2_000), queries.min(50)) } else { (rows, queries) };
        match std::env::var_os("CHASSIS_DATA") {
            Some(folder) => Set::real(Path::new(&folder), rows, queries),
            None => Set { name: "clustered128", ..Set::clustered(rows, queries, 128) },
        }
    }

    fn real(folder: &Path, rows: usize, queries: usize) -> Set {
        const DIMENSIONS: usize = 100;
        let read = |part: &str, rows: usize| {
            let file = folder.join(format!("glove100.{part}.f32bin"));
            let bytes = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let floats = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            floats.take(rows * DIMENSIONS).collect()
        };
        let (base, queries) = (read("base", rows), read("query", queries));
        Set {
            name: "glove100",
            metric: Metric::Cosine,
            dimensions: DIMENSIONS,
            base,
            queries,
            truth: Vec::new(),
        }
    }

    /// Clusters in a space of few dimensions, laid into one of many, with a little noise in all of them.
    pub fn clustered(rows: usize, queries: usize, dimensions: usize) -> Set {
        let mut rng = Rng(7);
        let basis: Vec<f32> = (0..LATENT * dimensions).map(|_| rng.normal()).collect();
        let centers: Vec<f32> = (0..CLUSTERS * LATENT).map(|_| rng.normal()).collect();
        let mut draw = |rows: usize| {
            let mut out = Vec::with_capacity(rows * dimensions);
            for _ in 0..rows {
                let center = rng.below(CLUSTERS) * LATENT;
                let latent: [f32; LATENT] = std::array::from_fn(|i| centers[center + i] + 1.5 * rng.normal());
                out.extend((0..dimensions).map(|d| {
                    let spread: f32 =
                        latent.iter().zip(basis[d..].iter().step_by(dimensions)).map(|(x, b)| x * b).sum();
                    spread + 0.5 * rng.normal()
                }));
            }
            out
        };
        let (base, queries) = (draw(rows), draw(queries));
        Set { name: "clustered", metric: Metric::Cosine, dimensions, base, queries, truth: Vec::new() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.base.len() / self.dimensions
    }

    /// Query `i`, counted around.
    pub fn query(&self, i: usize) -> &[f32] {
        let i = i % self.truth.len();
        &self.queries[i * self.dimensions..][..self.dimensions]
    }

    /// The nearest rows by cosine, in double precision.
    fn exact(&self, query: &[f32]) -> Vec<u64> {
        let similarity = |row: &[f32]| {
            let (mut dot, mut norm) = (0.0f64, 0.0f64);
            for (&x, &y) in row.iter().zip(query) {
                dot += f64::from(x) * f64::from(y);
                norm += f64::from(x) * f64::from(x);
            }
            dot / norm.sqrt()
        };
        let mut all: Vec<(f64, u64)> = self
            .base
            .chunks_exact(self.dimensions)
            .enumerate()
            .map(|(i, row)| (-similarity(row), i as u64))
            .collect();
        let (nearest, _, _) = all.select_nth_unstable_by(K, |a, b| a.0.total_cmp(&b.0));
        nearest.iter().map(|&(_, row)| row).collect()
    }

    /// The part of the true neighbors that searches with this effort find.
    pub fn recall(&self, index: &VectorIndex, ef_search: usize) -> f64 {
        self.recall_with(index, &SearchOptions { ef_search: Some(ef_search), ..SearchOptions::k(K) })
    }

    /// The part of the true neighbors that searches with these options find.
    pub fn recall_with(&self, index: &VectorIndex, options: &SearchOptions) -> f64 {
        let found: usize = self
            .truth
            .iter()
            .enumerate()
            .map(|(i, truth)| {
                let hits = index.search(self.query(i), options).expect("a search");
                hits.ids.iter().filter(|id| truth.contains(id)).count()
            })
            .sum();
        found as f64 / (self.truth.len() * K) as f64
    }

    /// An empty index for this set in a folder of its own.
    pub fn create(&self) -> Place {
        self.create_with(OpenOptions { ef_construction: Some(EF_CONSTRUCTION), ..Default::default() })
    }

    /// The same with other options of the graph.
    pub fn create_with(&self, options: OpenOptions) -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("bench.chassis");
        let options = OpenOptions { dimensions: Some(self.dimensions), metric: Some(self.metric), ..options };
        let index = VectorIndex::open(&path, &options).expect("a new index");
        Place { index, path, folder }
    }

    /// A committed index of all rows, with ids equal to row numbers.
    pub fn build(&self) -> Place {
        self.fill(self.create())
    }

    /// Adds all rows to an empty index and commits.
    pub fn fill(&self, place: Place) -> Place {
        let ids: Vec<chassis_core::Id> = (0..self.rows() as u64).map(chassis_core::Id::Integer).collect();
        let options = BatchOptions { ids: Some(&ids), ..Default::default() };
        place.index.add_batch(&self.base, &options).expect("the rows are added");
        place.index.commit().expect("the commit");
        place
    }
}

/// An index in a temporary folder, which goes away with it.
pub struct Place {
    pub index: VectorIndex,
    pub path: PathBuf,
    folder: tempfile::TempDir,
}

/// SplitMix64: the same data in every run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// The sum of twelve uniform values less six: a normal value for every purpose here.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.next() >> 40) as f32 / (1u64 << 24) as f32).sum::<f32>() - 6.0
    }
}
