//! Inputs that are allowed and unlike others: queries near the mean, components as large as can be, distances that
//! overflow, a radius that is the distance of a result, more results than a walk is made for.

use chassis_core::{BatchOptions, CheckLevel, Metric, SearchOptions, VectorIndex};

use crate::support::{clustered, options, place};

/// Rows around a few centers and what is opposite of them, each of length 1: their mean is next to none.
fn unit_rows(rows: usize, dims: usize, seed: u64) -> Vec<f32> {
    let mut all = clustered(rows, dims, seed);
    for (i, row) in all.chunks_mut(dims).enumerate() {
        let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        let signed = if i.is_multiple_of(2) { length } else { -length };
        row.iter_mut().for_each(|v| *v /= signed);
    }
    all
}

#[test]
fn queries_much_shorter_than_the_rows_find_as_many() {
    for dims in [96, 300] {
        let (_dir, path) = place();
        let index = VectorIndex::open(&path, &options(dims, Metric::L2)).unwrap();
        index.add_batch(&unit_rows(4_000, dims, 1), &BatchOptions::default()).unwrap();
        assert!(index.stats().unwrap().codes.is_some());
        for length in [1.0, 0.1] {
            let mut found = 0;
            for query in unit_rows(100, dims, 2).chunks(dims) {
                let query: Vec<f32> = query.iter().map(|v| v * length).collect();
                let truth =
                    index.search(&query, &SearchOptions { exact: true, ..SearchOptions::k(10) }).unwrap();
                let walk = SearchOptions { ef_search: Some(900), ..SearchOptions::k(10) };
                let hits = index.search(&query, &walk).unwrap();
                found += hits.ids.iter().filter(|id| truth.ids.contains(id)).count();
            }
            assert!(found >= 990, "{dims} dimensions, length {length}: {found} of 1000");
        }
    }
}

#[test]
fn rows_that_no_model_fits_keep_the_codes_there_are() {
    let (_dir, path) = place();
    let (dims, first, second) = (64, 2_048, 8 * 2_048);
    let index = VectorIndex::open(&path, &options(dims, Metric::L2)).unwrap();
    index.add_batch(&clustered(first, dims, 1), &BatchOptions::default()).unwrap();
    let before = index.stats().unwrap().codes.unwrap();
    // A fit is due, and its sample has a row that no model can be made with.
    let mut rows = clustered(second - first, dims, 2);
    for row in rows.chunks_mut(dims) {
        row[3] = 1e16;
    }
    index.add_batch(&rows, &BatchOptions::default()).unwrap();
    index.add_batch(&clustered(200, dims, 3), &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    let after = index.stats().unwrap().codes.unwrap();
    assert_eq!((before.generation, before.fitted_rows), (after.generation, after.fitted_rows));
    assert_eq!(index.check(CheckLevel::Full).unwrap().problems, []);
}

#[test]
fn a_radius_that_is_the_distance_of_a_result_includes_it() {
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        let (_dir, path) = place();
        let index = VectorIndex::open(&path, &options(16, metric)).unwrap();
        index.add_batch(&clustered(3_000, 16, 1), &BatchOptions::default()).unwrap();
        let queries = clustered(200, 16, 2);
        for exact in [false, true] {
            let all = SearchOptions { exact, ef_search: Some(200), ..SearchOptions::k(10) };
            for query in queries.chunks(16) {
                let hits = index.search(query, &all).unwrap();
                let near = SearchOptions { radius: Some(hits.distances[4]), ..all };
                let single = index.search(query, &near).unwrap();
                assert!(single.len() >= 5, "{metric:?}: {} of {:?}", single.len(), hits.distances);
                assert!(single.distances.iter().all(|d| *d <= hits.distances[4]));
                assert_eq!(index.search_batch(query, &near, None).unwrap(), [single]);
            }
        }
        let stored = index.get(&0.into()).unwrap().unwrap().vector;
        if metric != Metric::Ip {
            let none = SearchOptions { radius: Some(-5.0), ..SearchOptions::k(10) };
            assert!(index.search(&stored, &none).unwrap().is_empty(), "nothing is nearer than nothing");
        }
    }
}

#[test]
fn inner_products_past_the_largest_number_are_still_results() {
    let (_dir, path) = place();
    let index = VectorIndex::open(&path, &options(2, Metric::Ip)).unwrap();
    index.add_batch(&[1e30, 1e30, 1.0, 1.0, 2.0, 2.0], &BatchOptions::default()).unwrap();
    let query = [1e30, -1e30];
    for exact in [false, true] {
        let all = SearchOptions { exact, ..SearchOptions::k(10) };
        let hits = index.search(&query, &all).unwrap();
        assert_eq!(hits.ids, [1, 2, 0], "what is no number is farthest of all: {:?}", hits.distances);
        assert_eq!(index.search_batch(&query, &all, None).unwrap()[0].ids, hits.ids);
        let zeros = index.search(&[0.0, 0.0], &all).unwrap();
        assert!(zeros.distances.iter().all(|d| d.is_sign_positive()), "{:?}", zeros.distances);
    }
}

#[test]
fn thousands_of_results_by_recall_are_the_nearest() {
    let (_dir, path) = place();
    let index = VectorIndex::open(&path, &options(24, Metric::L2)).unwrap();
    index.add_batch(&clustered(20_000, 24, 1), &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    for k in [300, 2_000, 15_000] {
        for query in clustered(5, 24, 2).chunks(24) {
            let truth = index.search(query, &SearchOptions { exact: true, ..SearchOptions::k(k) }).unwrap();
            let hits =
                index.search(query, &SearchOptions { recall: Some(0.95), ..SearchOptions::k(k) }).unwrap();
            let truth: std::collections::HashSet<u64> = truth.ids.into_iter().collect();
            let found = hits.ids.iter().filter(|id| truth.contains(id)).count();
            assert!(hits.len() == k && found * 10 >= k * 9, "k {k}: {found}");
        }
    }
}
