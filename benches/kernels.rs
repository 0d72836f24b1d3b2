//! Speed of the distance kernels on vectors that lie in the cache, in elements a second.
//!
//! `four` scores four stored vectors against one query, as the search loop does. One element is one component of
//! one stored vector.

use chassis_core::internals::kernels::{Lanes, WithLanes, active, dispatch};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const DIMENSIONS: [usize; 4] = [100, 384, 768, 1536];
/// Calls in one measured step, so that entering the kernel's code costs nothing that shows.
const CALLS: usize = 256;

#[derive(Clone, Copy)]
enum Kernel {
    L2,
    L2Four,
    Dot,
    DotFour,
    Cosine,
    CosineFour,
}

struct Run<'a> {
    kernel: Kernel,
    query: &'a [f32],
    rows: [&'a [f32]; 4],
}

impl WithLanes for Run<'_> {
    type Output = f32;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> f32 {
        let mut sum = 0.0;
        for _ in 0..CALLS {
            let (query, rows) = (black_box(self.query), black_box(self.rows));
            sum += match self.kernel {
                Kernel::L2 => lanes.l2(query, rows[0]),
                Kernel::Dot => lanes.dot(query, rows[0]),
                Kernel::Cosine => lanes.cosine(query, rows[0]).1,
                Kernel::L2Four => lanes.l2_4(query, rows).iter().sum(),
                Kernel::DotFour => lanes.dot_4(query, rows).iter().sum(),
                Kernel::CosineFour => lanes.cosine_4(query, rows).1.iter().sum(),
            };
        }
        sum
    }
}

/// A vector that begins on a cache line, as stored rows do.
struct Vector {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Vector {
    fn new(len: usize, seed: usize) -> Vector {
        let mut values = vec![0.0; len + 16];
        let start = values.as_ptr().align_offset(64);
        for (i, value) in values[start..start + len].iter_mut().enumerate() {
            *value = ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0;
        }
        Vector { values, start, len }
    }

    fn get(&self) -> &[f32] {
        &self.values[self.start..][..self.len]
    }
}

fn kernels(criterion: &mut Criterion) {
    let kernels = [
        ("l2", Kernel::L2, 1),
        ("l2 four", Kernel::L2Four, 4),
        ("dot", Kernel::Dot, 1),
        ("dot four", Kernel::DotFour, 4),
        ("cosine", Kernel::Cosine, 1),
        ("cosine four", Kernel::CosineFour, 4),
    ];
    for (name, kernel, rows_a_call) in kernels {
        let mut group = criterion.benchmark_group(format!("kernels/{}/{name}", active().name()));
        for dimensions in DIMENSIONS {
            let vectors = [0, 1, 2, 3, 4].map(|seed| Vector::new(dimensions, seed));
            let [query, rows @ ..] = vectors.each_ref().map(Vector::get);
            group.throughput(Throughput::Elements((CALLS * rows_a_call * dimensions) as u64));
            group.bench_function(BenchmarkId::from_parameter(dimensions), |bencher| {
                bencher.iter(|| dispatch(Run { kernel, query, rows }));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
