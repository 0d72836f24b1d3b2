//! Searches of a built index by effort, with the recall each reaches, and the exact scan as the floor.

mod support;

use chassis_core::{Hits, SearchOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use support::{K, Set};

fn walk(c: &mut Criterion) {
    let set = Set::load(50_000);
    let place = set.build();
    let mut group = c.benchmark_group("search");
    group.throughput(Throughput::Elements(1));
    let mut hits = Hits::default();
    for ef in [16, 32, 64, 128, 256] {
        println!(
            "search/{}/ef{ef}: {} rows, recall@10 {:.4}",
            set.name,
            set.rows(),
            set.recall(&place.index, ef)
        );
        let options = SearchOptions { ef_search: Some(ef), ..SearchOptions::k(K) };
        let mut i = 0;
        group.bench_function(format!("{}/ef{ef}", set.name), |b| {
            b.iter(|| {
                i += 1;
                place.index.search_into(set.query(i), &options, &mut hits).expect("a search");
                hits.len()
            });
        });
    }
    let options = SearchOptions { exact: true, ..SearchOptions::k(K) };
    let mut i = 0;
    group.sample_size(20).bench_function(format!("{}/exact", set.name), |b| {
        b.iter(|| {
            i += 1;
            place.index.search_into(set.query(i), &options, &mut hits).expect("a search");
            hits.len()
        });
    });
    group.finish();
}

criterion_group!(benches, walk);
criterion_main!(benches);
