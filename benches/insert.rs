//! Inserts: a batch into an empty index on one core and on all, one vector into a built one, and a durable commit.
//!
//! The recall of the graph that the batch makes is printed beside it: a faster build of a worse graph is no gain.

mod support;

use chassis_core::BatchOptions;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use support::Set;

fn batch(c: &mut Criterion) {
    let set = Set::load(10_000);
    let mut group = c.benchmark_group("insert");
    group.sample_size(10).throughput(Throughput::Elements(set.rows() as u64));
    for (name, threads) in [("one_thread", Some(1)), ("all_threads", None)] {
        let options = BatchOptions { threads, ..Default::default() };
        group.bench_function(format!("batch/{}/{name}", set.name), |b| {
            let build = |place: support::Place| {
                place.index.add_batch(&set.base, &options).expect("the rows are added");
                place
            };
            b.iter_batched(|| set.create(), build, BatchSize::PerIteration);
        });
    }
    group.finish();
    let place = set.build();
    println!(
        "insert/batch/{}: {} rows, recall@10 at ef 64: {:.4}",
        set.name,
        set.rows(),
        set.recall(&place.index, 64)
    );
}

fn one(c: &mut Criterion) {
    let set = Set::load(10_000);
    let place = set.build();
    let mut group = c.benchmark_group("insert");
    let mut i = 0;
    group.bench_function(format!("one/{}", set.name), |b| {
        b.iter(|| {
            i += 1;
            place.index.add(set.query(i)).expect("the vector is added")
        });
    });
    group.bench_function(format!("one_and_commit/{}", set.name), |b| {
        b.iter(|| {
            i += 1;
            place.index.add(set.query(i)).expect("the vector is added");
            place.index.commit().expect("the commit")
        });
    });
    group.finish();
}

criterion_group!(benches, batch, one);
criterion_main!(benches);
