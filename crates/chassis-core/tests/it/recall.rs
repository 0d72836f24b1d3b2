//! Recalls asked for: what is reached, no less than promised and little more, and when the table behind it is fitted.
//!
//! A recall is an average over queries. Of `n` of them, with a sample deviation `s` of their own recalls, it is known
//! to within its standard error, `s / sqrt(n)`. The table promises a recall to within [`PROMISE`]; a test allows that
//! and two standard errors.

use std::collections::HashSet;

use chassis_core::internals::format::Kind;
use chassis_core::{Hits, Id, Metric, OpenOptions, Quantization, SearchOptions, VectorIndex};

use crate::coded::{Small, add, latent};
use crate::support::{clustered, options};

/// What the documents allow a recall to be off by.
const PROMISE: f64 = 0.01;

/// A mean over queries, and its standard error.
struct Measured {
    mean: f64,
    error: f64,
}

/// The share of the true `k` nearest that is found by searches that ask for a recall.
fn reached(index: &VectorIndex, queries: &[f32], truth: &[Hits], k: usize, recall: f32) -> Measured {
    let options = SearchOptions { recall: Some(recall), ..SearchOptions::k(k) };
    let hits = index.search_batch(queries, &options, None).expect("searches");
    let share = |(hits, truth): (&Hits, &Hits)| {
        let truth: HashSet<u64> = truth.ids[..k].iter().copied().collect();
        assert_eq!(hits.len(), k);
        hits.ids.iter().filter(|id| truth.contains(id)).count() as f64 / k as f64
    };
    let shares: Vec<f64> = hits.iter().zip(truth).map(share).collect();
    let n = shares.len() as f64;
    let mean = shares.iter().sum::<f64>() / n;
    let variance = shares.iter().map(|share| (share - mean) * (share - mean)).sum::<f64>() / (n - 1.0);
    Measured { mean, error: (variance / n).sqrt() }
}

fn exact(index: &VectorIndex, queries: &[f32], k: usize) -> Vec<Hits> {
    let options = SearchOptions { exact: true, ..SearchOptions::k(k) };
    index.search_batch(queries, &options, None).expect("scans")
}

/// The least share of the misses a recall allows that there must be, or the walk was longer than it had to be.
const LEAST_MISSED: f64 = 0.25;

/// Rows by their number, dimensions and a seed.
type Data = fn(usize, usize, u64) -> Vec<f32>;

#[test]
fn a_recall_asked_for_is_reached_and_not_far_exceeded() {
    const QUERIES: usize = 500;
    // The last is up to how many results a recall is not far exceeded. Where the shortest walk tried finds more there is
    // nothing to save, and a walk that would hold a quarter of so small an index is a scan.
    let sets: [(Quantization, usize, usize, Metric, Data, usize); 3] = [
        (Quantization::Auto, 6_000, 96, Metric::Cosine, clustered, 10),
        (Quantization::Auto, 3_000, 320, Metric::L2, latent, 10),
        (Quantization::None, 8_000, 40, Metric::Ip, latent, 0),
    ];
    for (quantization, rows, dimensions, metric, data, two_sided) in sets {
        let all = data(rows + QUERIES, dimensions, 53);
        let (base, queries) = all.split_at(rows * dimensions);
        let open = OpenOptions { quantization: Some(quantization), ..options(dimensions, metric) };
        let index = Small::new(2_048).open(&open);
        add(&index, base);
        index.commit().expect("a commit");
        let truth = exact(&index, queries, 250);
        for (k, recall) in [(10, 0.95), (10, 0.99), (100, 0.95), (100, 0.99), (250, 0.95)] {
            let Measured { mean, error } = reached(&index, queries, &truth, k, recall);
            let (what, recall) = (format!("{metric:?} {dimensions}, k {k}, {recall}"), recall as f64);
            println!("{what}: {mean:.4} +- {error:.4}");
            assert!(mean >= recall - PROMISE - 2.0 * error, "{what}: {mean} +- {error}");
            if k <= two_sided {
                let allowed = 1.0 - LEAST_MISSED * (1.0 - recall) + 2.0 * error;
                assert!(mean <= allowed, "{what}: {mean} +- {error}, at most {allowed}");
            }
        }
    }
}

#[test]
fn a_recall_asked_for_is_reached_after_most_rows_were_deleted() {
    const QUERIES: usize = 500;
    let sets: [(usize, usize, Metric, Data); 2] =
        [(6_000, 96, Metric::Cosine, clustered), (6_000, 320, Metric::L2, latent)];
    for (rows, dimensions, metric, data) in sets {
        let all = data(rows + QUERIES, dimensions, 59);
        let (base, queries) = all.split_at(rows * dimensions);
        let index = Small::new(2_048).open(&options(dimensions, metric));
        add(&index, base);
        index.commit().expect("a commit");
        for (part, of) in [(1, 3), (1, 2), (4, 5)] {
            let gone: Vec<Id> = (0..rows as u64).filter(|id| id % of < part).map(Id::Integer).collect();
            index.delete(&gone).expect("they are deleted");
            index.commit().expect("a commit");
            let truth = exact(&index, queries, 10);
            for recall in [0.9, 0.95, 0.99] {
                let Measured { mean, error } = reached(&index, queries, &truth, 10, recall);
                let what = format!("{metric:?} {dimensions}, {part} of {of} deleted, {recall}");
                println!("{what}: {mean:.4} +- {error:.4}");
                assert!(mean >= recall as f64 - PROMISE - 2.0 * error, "{what}: {mean} +- {error}");
            }
        }
    }
}

/// Rows the table was fitted for, and its bytes.
fn table(index: &VectorIndex) -> Option<(u64, Vec<u8>)> {
    let fitted = index.stats().expect("stats").recall?.fitted_rows;
    let bytes = index.with_store(|store| {
        let view = store.view();
        view.rows(Kind::Calibration).expect("a table").get_verified(0).expect("its row").to_vec()
    });
    Some((fitted, bytes.expect("open")))
}

#[test]
fn the_table_is_fitted_when_the_index_has_doubled_and_not_before() {
    let rows = clustered(800, 16, 3);
    let mut next = rows.chunks(16);
    let open = OpenOptions { m: Some(8), ef_construction: Some(32), ..options(16, Metric::L2) };
    let index = Small::new(100).open(&open);
    let mut grow = |by: usize| next.by_ref().take(by).for_each(|row| drop(index.add(row).expect("a row")));
    let commit = || {
        index.commit().expect("a commit");
        table(&index)
    };
    grow(99);
    assert_eq!(commit(), None);
    grow(1);
    assert_eq!(table(&index), None, "a fit takes longer than a call that adds a row may");
    let first = commit();
    assert_eq!(first.as_ref().map(|table| table.0), Some(100));
    grow(99);
    assert_eq!(commit(), first);
    // Deleted rows count: the graph is as large as before.
    let gone: Vec<Id> = (0..40).map(Id::Integer).collect();
    assert_eq!(index.delete(&gone).expect("they are deleted"), 40);
    assert_eq!(commit(), first);
    grow(1);
    let second = commit();
    assert_eq!(second.as_ref().map(|table| table.0), Some(200));
    grow(200);
    assert_eq!(table(&index), second);
    index.rollback().expect("back");
    assert_eq!(commit(), second);
    grow(200);
    assert_eq!(commit().map(|table| table.0), Some(400));
}

#[test]
fn a_table_of_earlier_codes_is_fitted_again() {
    let rows = clustered(800, 64, 3);
    let open = OpenOptions { m: Some(8), ef_construction: Some(32), ..options(64, Metric::L2) };
    let index = Small::new(100).open(&open);
    let mut rest = &rows[..];
    let mut grow_and_commit = |by: usize| {
        add(&index, rest.split_off(..by * 64).expect("so many rows"));
        index.commit().expect("a commit");
        let codes = index.stats().expect("open").codes.expect("there are codes");
        (codes.generation, table(&index).map(|table| table.0))
    };
    assert_eq!(grow_and_commit(100), (1, Some(100)));
    assert_eq!(grow_and_commit(600), (1, Some(700)));
    // Eight times as many rows as the codes were fitted on, and not twice as many as the table.
    assert_eq!(grow_and_commit(100), (2, Some(800)));
}
