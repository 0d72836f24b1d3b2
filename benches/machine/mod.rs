//! What this machine can do at best: random blocks from memory, reading in order, and arithmetic from the first cache.
#![allow(dead_code, reason = "each bench is a crate of its own and uses its part of this module")]

use std::hint::black_box;
use std::time::Instant;

use chassis_core::internals::kernels::{Lanes, WithLanes, dispatch, prefetch};
use memmap2::{MmapMut, MmapOptions};

pub const LINE: usize = 64;
pub const HUGE: usize = 2 << 20;
/// Blocks that are asked for ahead, and lines at most: more would push each other out of the first cache.
pub const AHEAD: usize = 16;
pub const AHEAD_LINES: usize = 192;
pub const REPEATS: usize = 12;

#[derive(Clone, Copy, PartialEq)]
pub enum Pages {
    Huge,
    Small,
}

/// Random bytes in pages of one kind, beginning on a page of 2 MiB.
pub struct Buffer {
    map: MmapMut,
    start: usize,
    len: usize,
}

impl Buffer {
    pub fn new(len: usize, pages: Pages) -> Buffer {
        let whole = len.next_multiple_of(HUGE);
        let mut map = MmapOptions::new().len(whole + HUGE).map_anon().expect("memory for the buffer");
        #[cfg(target_os = "linux")]
        {
            use memmap2::Advice;
            let advice = if pages == Pages::Huge { Advice::HugePage } else { Advice::NoHugePage };
            // Refused where the kernel has no such pages: then both kinds are what it gives.
            let _ = map.advise(advice);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = pages;
        let start = map.as_ptr().align_offset(HUGE).min(HUGE);
        let mut rng = Rng(7);
        for word in map[start..start + len].chunks_exact_mut(8) {
            word.copy_from_slice(&rng.next().to_le_bytes());
        }
        Buffer { map, start, len }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.map[self.start..self.start + self.len]
    }
}

/// xorshift64*, cheap enough to choose the next block while the others arrive.
pub struct Rng(u64);

impl Rng {
    #[inline(always)]
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Equal blocks side by side, each on lines of its own.
#[derive(Clone, Copy)]
pub struct Blocks<'a> {
    bytes: &'a [u8],
    size: usize,
    stride: usize,
    count: usize,
}

impl<'a> Blocks<'a> {
    pub fn new(bytes: &'a [u8], size: usize) -> Blocks<'a> {
        let stride = size.next_multiple_of(LINE);
        Blocks { bytes, size, stride, count: bytes.len() / stride }
    }

    /// The block that a random number stands for.
    #[inline(always)]
    pub fn get(&self, random: u64) -> &'a [u8] {
        let at = ((u128::from(random) * self.count as u128) >> 64) as usize;
        &self.bytes[at * self.stride..][..self.size]
    }
}

/// Reads one word of every line of a block.
#[inline(always)]
fn touch(block: &[u8]) -> u64 {
    block.chunks(LINE).map(|line| u64::from_le_bytes(*line.first_chunk().expect("8 bytes"))).sum()
}

/// Nanoseconds of one block whose place is known early.
pub fn independent(blocks: Blocks, reads: usize) -> f64 {
    let ahead = AHEAD.min(AHEAD_LINES / blocks.stride.div_ceil(LINE)).max(1);
    // One run of numbers for all repeats: the same places again would lie in a cache.
    let mut rng = Rng(11);
    best(reads, || {
        let mut waiting = [&blocks.bytes[..0]; AHEAD];
        let (mut sum, mut at) = (0u64, 0);
        for _ in 0..reads + ahead {
            // The first round through `waiting` finds empty blocks there.
            sum = sum.wrapping_add(touch(waiting[at]));
            waiting[at] = blocks.get(rng.next());
            prefetch(waiting[at]);
            at = if at + 1 < ahead { at + 1 } else { 0 };
        }
        sum
    })
}

/// Nanoseconds of one block whose place is known only when the one before it has been read.
pub fn dependent(blocks: Blocks, reads: usize) -> f64 {
    let mut rng = Rng(13);
    best(reads, || {
        let mut sum = 0u64;
        for _ in 0..reads {
            sum = touch(blocks.get(rng.next() ^ sum));
        }
        sum
    })
}

/// Bytes a second when read in order.
pub fn stream(bytes: &[u8]) -> f64 {
    let nanoseconds = best(bytes.len(), || {
        bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(*word.first_chunk().expect("8 bytes")))
            .fold(0, u64::wrapping_add)
    });
    1e9 / nanoseconds
}

/// The shortest of some repeats, in nanoseconds a step.
pub fn best<T>(steps: usize, mut work: impl FnMut() -> T) -> f64 {
    let mut shortest = f64::INFINITY;
    for _ in 0..REPEATS {
        let started = Instant::now();
        black_box(work());
        shortest = shortest.min(started.elapsed().as_secs_f64());
    }
    shortest * 1e9 / steps as f64
}

#[derive(Clone, Copy)]
pub enum Kernel {
    L2,
    Dot,
    Cosine,
}

pub const KERNELS: [(&str, Kernel); 3] =
    [("l2", Kernel::L2), ("dot", Kernel::Dot), ("cosine", Kernel::Cosine)];

/// One query against four rows in the first cache, again and again, as the rerank and the f32 walk do it.
pub struct Rate<'a> {
    kernel: Kernel,
    query: &'a [f32],
    rows: [&'a [f32]; 4],
    calls: usize,
}

impl WithLanes for Rate<'_> {
    type Output = f32;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> f32 {
        let mut sum = 0.0;
        for _ in 0..self.calls {
            let (query, rows) = (black_box(self.query), black_box(self.rows));
            sum += match self.kernel {
                Kernel::L2 => lanes.l2_4(query, rows).iter().sum::<f32>(),
                Kernel::Dot => lanes.dot_4(query, rows).iter().sum(),
                Kernel::Cosine => lanes.cosine_4(query, rows).0.iter().sum(),
            };
        }
        sum
    }
}

/// Nanoseconds of one row of `dimensions` floats.
pub fn kernel_time(kernel: Kernel, dimensions: usize, calls: usize) -> f64 {
    let values: Vec<f32> = (0..5 * dimensions + 16).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let start = values.as_ptr().align_offset(LINE).min(16);
    let row = |i: usize| &values[start + i * dimensions..][..dimensions];
    let rows = [row(1), row(2), row(3), row(4)];
    best(calls * 4, || dispatch(Rate { kernel, query: row(0), rows, calls }))
}
