//! Batches into an index that has rows: what searches find in it is about what they find when all rows came at once.

use std::collections::HashSet;
use std::sync::Mutex;

use chassis_core::{BatchOptions, CheckLevel, Metric, OpenOptions, Quantization, SearchOptions, VectorIndex};

use crate::coded::{Small, add, latent};
use crate::support::{clustered, options};

/// How much less of the true ten nearest may be found after a batch that ends with a refine and a fill pass over all.
const MARGIN_BULK: f64 = 0.01;
/// Of the ten nearest of each query, the share a search with so many candidates finds.
fn recall(index: &VectorIndex, queries: &[f32], ef: usize) -> f64 {
    let exact = SearchOptions { exact: true, ..SearchOptions::k(10) };
    let truth = index.search_batch(queries, &exact, None).expect("scans");
    let some = SearchOptions { ef_search: Some(ef), ..SearchOptions::k(10) };
    let hits = index.search_batch(queries, &some, None).expect("searches");
    let found = |(hits, truth): (&chassis_core::Hits, &chassis_core::Hits)| {
        let truth: HashSet<u64> = truth.ids.iter().copied().collect();
        hits.ids.iter().filter(|id| truth.contains(id)).count()
    };
    hits.iter().zip(&truth).map(found).sum::<usize>() as f64 / (10 * truth.len()) as f64
}

/// Adds rows, and says whether that was a bulk build: one is half done when all rows are linked.
fn is_bulk(index: &VectorIndex, rows: &[f32], dimensions: usize) -> bool {
    let ticks = Mutex::new(vec![]);
    let progress = |done: usize, _: usize| ticks.lock().expect("no panic").push(done);
    let batch = BatchOptions { progress: Some(&progress), ..Default::default() };
    index.add_batch(rows, &batch).expect("the rows are added");
    ticks.into_inner().expect("no panic").contains(&(rows.len() / dimensions).div_ceil(2))
}

/// Three ways to one content: at once; three quarters and the rest, which is just enough for a bulk build; three
/// quarters, one row less than that, and the last row. After the second way searches find as much to within
/// [`MARGIN_BULK`], after the third to within `margin`.
fn compare(open: &OpenOptions, data: (&[f32], &[f32]), ef: usize, margin: f64, what: &str) {
    let (rows, queries) = data;
    let dimensions = open.dimensions.expect("it is stated");
    let count = rows.len() / dimensions;
    let (first, second) = rows.split_at(count / 4 * 3 * dimensions);
    let (most, last) = second.split_at(second.len() - dimensions);
    let new = || Small::new(2_048).open(open);
    let (at_once, bulk, others) = (new(), new(), new());
    add(&at_once, rows);
    add(&bulk, first);
    assert!(is_bulk(&bulk, second, dimensions), "{what}");
    add(&others, first);
    assert!(!is_bulk(&others, most, dimensions), "{what}");
    add(&others, last);
    let expected = recall(&at_once, queries, ef);
    // Where all or little is found there is nothing to compare.
    assert!((0.75..0.995).contains(&expected), "{what}: {expected} at once");
    for (index, how, margin) in
        [(&bulk, "a bulk batch", MARGIN_BULK), (&others, "a batch that is none", margin)]
    {
        let reached = recall(index, queries, ef);
        println!("{what}, {how}: {reached}, {expected} at once");
        assert!(reached >= expected - margin, "{what}, {how}: {reached}, {expected} at once");
        assert_eq!(index.len().expect("open"), count as u64);
        assert!(index.check(CheckLevel::Full).expect("a check").is_ok(), "{what}, {how}");
    }
}

/// Links as by default, and fewer candidates for a build that takes less time.
fn usual(dimensions: usize, metric: Metric) -> OpenOptions {
    OpenOptions { ef_construction: Some(64), ..options(dimensions, metric) }
}

#[test]
fn other_clusters_that_are_appended_are_found_as_if_they_had_come_with_the_rest() {
    // Nothing in the index leads to what comes later; queries are of both kinds.
    let dimensions = 40;
    let (old, new) = (clustered(4_200 + 150, dimensions, 5), clustered(1_400 + 150, dimensions, 6));
    let ((old, some), (new, others)) = (old.split_at(4_200 * dimensions), new.split_at(1_400 * dimensions));
    let open = OpenOptions { quantization: Some(Quantization::None), ..usual(dimensions, Metric::L2) };
    let data = (&[old, new].concat()[..], &[some, others].concat()[..]);
    compare(&open, data, 10, 0.02, "other clusters");
}

#[test]
fn what_is_appended_to_an_index_with_codes_is_found_as_well() {
    for (dimensions, ef, margin) in [(96, 16, 0.02), (300, 16, 0.03)] {
        let all = latent(4_000 + 300, dimensions, 37);
        let data = all.split_at(4_000 * dimensions);
        let open = usual(dimensions, Metric::Cosine);
        compare(&open, data, ef, margin, &format!("codes of {dimensions} dimensions"));
    }
}
