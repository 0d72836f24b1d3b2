//! Whole files to the byte, header and commit records among them, whatever the number of threads.

use chassis_core::{
    BatchOptions, CheckLevel, CompactOptions, Id, Metric, OpenOptions, Quantization, VectorIndex,
};

use crate::coded::{codes, latent};
use crate::support::{clustered, options, place};

/// Adds rows with so many threads, and commits.
fn add(index: &VectorIndex, rows: &[f32], threads: usize) {
    let options = BatchOptions { threads: Some(threads), ..Default::default() };
    index.add_batch(rows, &options).expect("the rows are added");
    index.commit().expect("a commit");
}

fn assert_same(one: &[u8], other: &[u8], what: &str) {
    let differs = one.iter().zip(other).position(|(a, b)| a != b);
    assert_eq!((one.len(), None), (other.len(), differs), "{what}: lengths, and the first byte that differs");
}

#[test]
fn with_codes_of_two_stages_they_do_not_depend_on_threads() {
    const DIMENSIONS: usize = 300;
    let rows = latent(2_400, DIMENSIONS, 19);
    let open = OpenOptions { m: Some(8), ef_construction: Some(32), ..options(DIMENSIONS, Metric::Cosine) };
    let build = |threads: usize| {
        let (_dir, path) = place();
        let index = VectorIndex::open(&path, &open).expect("it opens");
        // A bulk build with a fit, a batch that is none, tombstones, and what is left of them in a new file.
        add(&index, &rows[..2_100 * DIMENSIONS], threads);
        add(&index, &rows[2_100 * DIMENSIONS..], threads);
        index.delete(&[Id::Integer(17), Id::Integer(2_399)]).expect("they are deleted");
        index.commit().expect("a commit");
        assert_eq!(codes(&index), (Some(2_400), Some(2_400)));
        assert!(index.stats().expect("stats").codes.expect("codes").projects);
        let built = std::fs::read(&path).expect("a file");
        let options = CompactOptions { threads: Some(threads), ..Default::default() };
        index.compact(&options).expect("it is compacted");
        assert_eq!(codes(&index), (Some(2_398), Some(2_398)));
        (built, std::fs::read(&path).expect("a file"))
    };
    let one = build(1);
    for threads in [2, 3] {
        let other = build(threads);
        assert_same(&one.0, &other.0, &format!("{threads} threads"));
        assert_same(&one.1, &other.1, &format!("{threads} threads, compacted"));
    }
}

/// The rows from 16,384 on are linked with fewer candidates, as a refine pass follows.
#[test]
fn in_a_bulk_build_that_outgrows_its_founders_they_do_not_depend_on_threads() {
    const DIMENSIONS: usize = 12;
    const ROWS: usize = 17_000;
    let rows = clustered(ROWS, DIMENSIONS, 31);
    let open = OpenOptions {
        m: Some(6),
        ef_construction: Some(32),
        quantization: Some(Quantization::None),
        ..options(DIMENSIONS, Metric::L2)
    };
    let build = |threads: usize| {
        let (_dir, path) = place();
        let index = VectorIndex::open(&path, &open).expect("it opens");
        add(&index, &rows, threads);
        assert!(threads > 1 || index.check(CheckLevel::Full).expect("a check").is_ok());
        std::fs::read(&path).expect("a file")
    };
    let one = build(1);
    for threads in [2, 3] {
        assert_same(&one, &build(threads), &format!("{threads} threads"));
    }
}
