//! Opening a committed file with a warm page cache: alone, and up to the first result.

mod support;

use chassis_core::{Mode, OpenOptions, SearchOptions, VectorIndex};
use criterion::{Criterion, criterion_group, criterion_main};

use support::{K, Set};

fn open(c: &mut Criterion) {
    let set = Set::load(50_000);
    let place = set.build();
    place.index.close().expect("the index closes");
    let mut group = c.benchmark_group("open");
    for (name, mode) in [("read_only", Mode::ReadOnly), ("read_write", Mode::Open)] {
        let options = OpenOptions { mode, ..Default::default() };
        let start = || VectorIndex::open(&place.path, &options).expect("the index opens");
        group.bench_function(format!("{}/{name}", set.name), |b| b.iter(start));
        group.bench_function(format!("{}/{name}_and_first_result", set.name), |b| {
            b.iter(|| start().search(set.query(0), &SearchOptions::k(K)).expect("a search").len());
        });
    }
    group.finish();
}

criterion_group!(benches, open);
criterion_main!(benches);
