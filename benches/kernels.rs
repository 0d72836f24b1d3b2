//! Speed of the distance kernels on vectors that lie in the cache, in elements a second.
//!
//! `four` scores four stored vectors against one query, as the search loop does. One element is one component of
//! one stored vector. `codes` estimates from four records of quantized codes; there, one element is one record.

use chassis_core::internals::kernels::{CodeQuery, Lanes, WithLanes, active, dispatch};
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

#[derive(Clone, Copy)]
struct RunCodes<'a> {
    bits: u32,
    values: (&'a [i8], &'a [i16]),
    records: [&'a [u8]; 4],
}

impl WithLanes for RunCodes<'_> {
    type Output = f32;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> f32 {
        let (offset, scale) = (7, 0.5);
        let mut largest = f32::MIN;
        for _ in 0..CALLS {
            let records = black_box(self.records);
            let estimates = match self.bits {
                4 => lanes
                    .estimate_4bit(CodeQuery { values: black_box(self.values.0), offset, scale }, records),
                _ => lanes
                    .estimate_8bit(CodeQuery { values: black_box(self.values.1), offset, scale }, records),
            };
            for estimate in estimates {
                largest = largest.max(estimate);
            }
        }
        largest
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

fn codes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("kernels/{}/codes", active().name()));
    for (bits, stride) in [(4, 64), (4, 128), (4, 192), (8, 128), (8, 832)] {
        let bytes: Vec<u8> = (0..4 * stride + 64).map(|i| (i * 37 % 251) as u8).collect();
        let start = bytes.as_ptr().align_offset(64);
        let records = [0, 1, 2, 3].map(|row| &bytes[start + row * stride..][..stride]);
        let four: Vec<i8> = (0..2 * stride).map(|i| (i * 11 % 255) as i8).collect();
        let eight: Vec<i16> = (0..stride).map(|i| (i * 11 % 8191) as i16 - 4095).collect();
        let run = RunCodes { bits, values: (&four, &eight), records };
        group.throughput(Throughput::Elements((CALLS * 4) as u64));
        group.bench_function(BenchmarkId::new(format!("{bits} bits"), stride), |bencher| {
            bencher.iter(|| dispatch(run));
        });
    }
    group.finish();
}

criterion_group!(benches, kernels, codes);
criterion_main!(benches);
