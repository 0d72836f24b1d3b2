//! Loading many vectors: whole batches on all cores, progress, one commit every few batches, and a check at the end.
//!
//! `cargo run --release -p chassis-core --example bulk_load`

use std::time::Instant;

use chassis_core::{BatchOptions, CheckLevel, Metric, OpenOptions, Result, SearchOptions, VectorIndex};

const DIMENSIONS: usize = 64;
const BATCH: usize = 5_000;
const BATCHES: usize = 4;

fn main() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("bulk.chassis");
    let options =
        OpenOptions { dimensions: Some(DIMENSIONS), metric: Some(Metric::L2), ..Default::default() };
    let index = VectorIndex::open(&path, &options)?;

    let total = BATCH * BATCHES;
    for batch in 0..BATCHES {
        let rows: Vec<f32> = (batch * BATCH..(batch + 1) * BATCH).flat_map(row).collect();
        let progress = |done: usize, _: usize| eprint!("\r{} of {total} rows", batch * BATCH + done);
        let started = Instant::now();
        // A batch is all or nothing; ids are assigned in order when none are stated.
        index.add_batch(&rows, &BatchOptions { progress: Some(&progress), ..Default::default() })?;
        // A commit costs two flushes of the device: one for thousands of rows, not one for each.
        index.commit()?;
        eprintln!(", {:.0} rows/s", BATCH as f64 / started.elapsed().as_secs_f64());
    }

    let report = index.check(CheckLevel::Full)?;
    println!("{} records, {} problems", index.len()?, report.problems.len());
    let hits = index.search(&row(1234).collect::<Vec<f32>>(), &SearchOptions::k(3))?;
    println!("nearest to row 1234: {:?} at {:?}", hits.ids, hits.distances);
    Ok(())
}

/// Row `i`: one of 100 centers with a little noise of its own.
fn row(i: usize) -> impl Iterator<Item = f32> {
    (0..DIMENSIONS).map(move |d| noise(i % 100, d) * 4.0 + noise(i + 1_000, d))
}

/// A value from -0.5 to 0.5 that depends on both numbers alone.
fn noise(i: usize, d: usize) -> f32 {
    let mut z = (i as u64) << 32 | d as u64;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
}
