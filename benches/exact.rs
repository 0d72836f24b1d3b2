//! Exact batches: every query against every row, in one call. `benches/python/exact.py` measures the same work of
//! NumPy and FAISS on the same data.
//!
//! ```text
//! CHASSIS_DATA=FOLDER cargo bench --bench exact
//! ```

mod support;

use chassis_core::{OpenOptions, SearchOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use support::{K, Set};

/// All rows of the real set; a tenth of a million of the generated one would do, but costs little more.
const ROWS: usize = 340_479;
const QUERIES: usize = 1_000;

fn exact(c: &mut Criterion) {
    let set = Set::without_truth(ROWS, QUERIES);
    // No walk is measured here, so the graph is the cheapest there is.
    let graph = OpenOptions { m: Some(2), ef_construction: Some(8), ..Default::default() };
    let place = set.fill(set.create_with(graph));
    let options = SearchOptions { exact: true, ..SearchOptions::k(K) };
    let mut group = c.benchmark_group("exact");
    group.sample_size(10);
    let all = set.queries.len() / set.dimensions;
    for (queries, threads) in [(1, 1), (1, 2), (16, 1), (all, 1), (all, 2)] {
        let part = &set.queries[..queries * set.dimensions];
        group.throughput(Throughput::Elements(queries as u64));
        group.bench_function(format!("{}/{queries} queries/{threads} threads", set.name), |b| {
            b.iter(|| place.index.search_batch(part, &options, Some(threads)).expect("a batch").len());
        });
    }
    group.finish();
}

criterion_group!(benches, exact);
criterion_main!(benches);
