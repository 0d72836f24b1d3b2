//! Batches answer as single searches do, to the bit: exact and approximate, for any number of threads.

use std::sync::atomic::AtomicBool;

use chassis_core::{
    BatchOptions, EXACT_BELOW, ErrorKind, Id, IdType, Metric, SearchBatchOptions, SearchOptions, VectorIndex,
};

use crate::support::{Rng, clustered, options, place};

const METRICS: [Metric; 3] = [Metric::L2, Metric::Ip, Metric::Cosine];

/// Compares to the bit, for each number of threads.
fn compare(index: &VectorIndex, queries: &[f32], search: &SearchOptions, what: &str) {
    let dims = index.dimensions().unwrap();
    let singles: Vec<_> = queries.chunks(dims).map(|q| index.search(q, search).unwrap()).collect();
    for threads in [1, 2, 3, 8] {
        let batch = index.search_batch(queries, search, Some(threads)).unwrap();
        assert_eq!(batch.len(), singles.len());
        for (i, (batch, single)) in batch.iter().zip(&singles).enumerate() {
            // What is no number has no bits of its own.
            let bits = |d: &f32| if d.is_nan() { f32::NAN.to_bits() } else { d.to_bits() };
            let same = (&batch.ids, &batch.string_ids) == (&single.ids, &single.string_ids)
                && batch.distances.iter().map(bits).eq(single.distances.iter().map(bits));
            assert!(same, "{what}, {threads} threads, query {i}, {search:?}:\n{batch:?}\n{single:?}");
        }
    }
}

/// Exact searches of many shapes.
fn compare_all(index: &VectorIndex, queries: &[f32], what: &str) {
    let dims = index.dimensions().unwrap();
    let exact = SearchOptions { exact: true, ..SearchOptions::k(10) };
    for count in [1, 2, 15, 16, 17, 40, queries.len() / dims] {
        compare(index, &queries[..count * dims], &exact, what);
    }
    let few = &queries[..18 * dims];
    let nearest = index.search(&few[..dims], &exact).unwrap();
    let radius = Some(nearest.distances[nearest.len() / 2]);
    for (k, radius) in [(0, None), (1, None), (100, None), (10, radius), (1 << 20, None), (1 << 20, radius)] {
        compare(index, few, &SearchOptions { k, radius, ..exact }, what);
    }
}

/// An index of these rows, every seventh deleted, part of it committed.
fn filled(metric: Metric, dims: usize, rows: &[f32]) -> (tempfile::TempDir, VectorIndex) {
    let (dir, path) = place();
    let mut open = options(dims, metric);
    (open.m, open.ef_construction) = (Some(4), Some(16));
    let index = VectorIndex::open(&path, &open).unwrap();
    let (first, second) = rows.split_at(rows.len() / dims / 2 * dims);
    index.add_batch(first, &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    index.add_batch(second, &BatchOptions::default()).unwrap();
    let dead: Vec<Id> = (0..(rows.len() / dims) as u64).step_by(7).map(Id::Integer).collect();
    assert_eq!(index.delete(&dead).unwrap(), dead.len());
    (dir, index)
}

#[test]
fn exact_batches_equal_single_searches_to_the_bit() {
    for metric in METRICS {
        for dims in [1, 3, 17, 100] {
            let all = clustered(9_001 + 150, dims, dims as u64);
            let (rows, queries) = all.split_at(9_001 * dims);
            let (_dir, index) = filled(metric, dims, rows);
            compare_all(&index, queries, &format!("{metric:?}, {dims} dimensions"));
        }
    }
}

#[test]
fn exact_batches_equal_single_searches_among_duplicates() {
    for metric in METRICS {
        for dims in [1, 3, 17, 100] {
            // Few different rows, many times each; queries are rows, rows hardly moved, and zeros' neighbors.
            let (some, mut rng) = (clustered(40, dims, 9), Rng(5));
            let rows: Vec<f32> =
                (0..5_000).flat_map(|_| some[rng.below(40) * dims..][..dims].to_vec()).collect();
            let mut queries = some.clone();
            queries.extend(some.iter().map(|v| v * 1.000_000_2));
            queries.extend(vec![1e-9; dims]);
            let (_dir, index) = filled(metric, dims, &rows);
            compare_all(&index, &queries, &format!("{metric:?}, {dims} dimensions, duplicates"));
        }
    }
}

#[test]
fn exact_batches_equal_single_searches_at_the_edges_of_f32() {
    for metric in [Metric::L2, Metric::Ip] {
        let (dims, mut rng) = (5, Rng(3));
        let scales = [0.0, 1e-44, 1e-30, 1e-15, 1.0, 1e10, 1e19, 3e38];
        let mut draw = |n: usize| -> Vec<f32> {
            (0..n).flat_map(|i| [0; 5].map(|_| rng.unit() * scales[i % scales.len()])).collect()
        };
        let (rows, queries) = (draw(2_000), draw(60));
        let (_dir, index) = filled(metric, dims, &rows);
        compare_all(&index, &queries, &format!("{metric:?}, extreme values"));
    }
}

#[test]
fn approximate_batches_equal_single_searches() {
    for metric in METRICS {
        let dims = 40;
        let all = clustered(6_000 + 61, dims, 2);
        let (rows, queries) = all.split_at(6_000 * dims);
        let (_dir, index) = filled(metric, dims, rows);
        for k in [1, 10, 500] {
            compare(&index, queries, &SearchOptions::k(k), "approximate");
        }
    }
}

#[test]
fn batches_of_an_index_with_string_ids_name_them() {
    let (_dir, path) = place();
    let mut open = options(3, Metric::L2);
    open.id_type = Some(IdType::String);
    let index = VectorIndex::open(&path, &open).unwrap();
    let queries = clustered(20, 3, 4);
    assert!(index.search_batch(&queries, &SearchOptions::k(3), None).unwrap().iter().all(|h| h.is_empty()));
    let ids: Vec<Id> = (0..300).map(|i| Id::from(format!("row {i}").as_str())).collect();
    let batch = BatchOptions { ids: Some(&ids), ..Default::default() };
    index.add_batch(&clustered(300, 3, 5), &batch).unwrap();
    compare(&index, &queries, &SearchOptions::k(3), "string ids");
}

#[test]
fn one_bad_query_fails_the_batch() {
    let (_dir, path) = place();
    let index = VectorIndex::open(&path, &options(2, Metric::Cosine)).unwrap();
    index.add_batch(&clustered(50, 2, 1), &BatchOptions::default()).unwrap();
    for exact in [false, true] {
        let search = SearchOptions { exact, ..SearchOptions::k(3) };
        for (query, kind) in [([f32::NAN, 1.0], ErrorKind::InvalidQuery), ([0.0, 0.0], ErrorKind::ZeroNorm)] {
            let mut queries = clustered(40, 2, 3);
            queries[60..62].copy_from_slice(&query);
            assert_eq!(index.search_batch(&queries, &search, Some(3)).unwrap_err().kind(), kind);
        }
        let odd = index.search_batch(&[1.0; 7], &search, None).unwrap_err();
        assert_eq!(odd.kind(), ErrorKind::DimensionMismatch);
    }
}

#[test]
fn a_batch_can_be_stopped_whatever_it_does() {
    let (_dir, path) = place();
    // Large enough to be walked.
    let (dims, rows) = (60, EXACT_BELOW / 60 + 1);
    let index = VectorIndex::open(&path, &options(dims, Metric::L2)).unwrap();
    index.add_batch(&clustered(rows, dims, 1), &BatchOptions::default()).unwrap();
    let (queries, set) = (clustered(40, dims, 2), AtomicBool::new(true));
    for search in [
        SearchOptions { ef_search: Some(20), ..SearchOptions::k(3) },
        SearchOptions { exact: true, ..SearchOptions::k(3) },
    ] {
        for threads in [1, 3] {
            let stop = SearchBatchOptions { threads: Some(threads), cancel: Some(&set) };
            let error = index.search_batch_with(&queries, &search, &stop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            let unset = AtomicBool::new(false);
            let go_on = SearchBatchOptions { cancel: Some(&unset), ..stop };
            let all = index.search_batch_with(&queries, &search, &go_on).unwrap();
            assert_eq!(all, index.search_batch(&queries, &search, None).unwrap());
        }
    }
}
