//! Searches of an index most of whose nodes are tombstones.

use std::collections::HashSet;

use chassis_core::{CheckLevel, Id, Metric, OpenOptions, Quantization, SearchOptions, VectorIndex};

use crate::coded::{Small, add, latent};
use crate::support::{Rng, options};

const ROWS: usize = 6_000;
const QUERIES: usize = 60;
const K: usize = 10;
const EFFORTS: [usize; 4] = [10, 16, 32, 64];

/// Of the true nearest, what searches of each effort find. All they return is live and at its exact distance.
fn found(index: &VectorIndex, queries: &[f32], efforts: [usize; 4], gone: &HashSet<u64>) -> [usize; 4] {
    let dimensions = queries.len() / QUERIES;
    efforts.map(|ef| {
        let mut found = 0;
        for query in queries.chunks(dimensions) {
            let all = SearchOptions { exact: true, ..SearchOptions::k(ROWS) };
            let all = index.search(query, &all).expect("a scan");
            assert_eq!(all.len(), ROWS - gone.len());
            let some = SearchOptions { ef_search: Some(ef), ..SearchOptions::k(K) };
            let hits = index.search(query, &some).expect("a search");
            assert!(hits.len() == K && hits.distances.is_sorted(), "{} of {K}, ef {ef}", hits.len());
            let distinct: HashSet<u64> = hits.ids.iter().copied().collect();
            assert!(distinct.len() == K && distinct.is_disjoint(gone), "ef {ef}: {:?}", hits.ids);
            for (id, distance) in hits.ids.iter().zip(&hits.distances) {
                let at = all.ids.iter().position(|other| other == id).expect("a live record");
                assert_eq!(all.distances[at].to_bits(), distance.to_bits(), "ef {ef}: id {id}");
                found += usize::from(at < K);
            }
        }
        found
    })
}

#[test]
fn tombstones_cost_no_result() {
    for (quantization, dimensions) in
        [(Quantization::Auto, 96), (Quantization::Auto, 320), (Quantization::None, 32)]
    {
        let mut all = latent(ROWS + QUERIES, dimensions, 41);
        let queries = all.split_off(ROWS * dimensions);
        let index = Small::new(2_048).open(&OpenOptions {
            quantization: Some(quantization),
            m: Some(8),
            ef_construction: Some(64),
            ..options(dimensions, Metric::L2)
        });
        add(&index, &all);
        let mut order: Vec<u64> = (0..ROWS as u64).collect();
        let mut rng = Rng(43);
        (1..ROWS).rev().for_each(|i| order.swap(i, rng.below(i + 1)));
        let before = found(&index, &queries, EFFORTS, &HashSet::new());
        let mut gone = HashSet::new();
        for percent in [30, 60, 95] {
            let more: Vec<u64> = order[gone.len()..ROWS * percent / 100].to_vec();
            index
                .delete(&more.iter().map(|id| Id::from(*id)).collect::<Vec<Id>>())
                .expect("they are deleted");
            gone.extend(more);
            let now = found(&index, &queries, EFFORTS, &gone);
            let is_less = now.iter().zip(&before).any(|(now, before)| now + 10 < *before);
            assert!(
                !is_less,
                "{quantization:?} {dimensions}, {percent} % deleted: {now:?}, without {before:?}"
            );
        }
        assert!(index.check(CheckLevel::Full).expect("a check").is_ok());
    }
}
