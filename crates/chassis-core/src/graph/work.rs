//! Threads of a build: the same results in the same order for any number of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::level::hash;
use super::walk::Walk;
use super::{Neighbor, NodeId, Space};
use crate::error::Result;

/// Work that a [`Space`] or a [`Point`](super::Point) can run as code of its own. Mark `call` `#[inline(always)]`.
pub trait Work {
    /// What it returns.
    type Output;
    /// Does the work.
    fn call(self) -> Self::Output;
}

/// Memory of one thread that builds, kept between batches.
#[derive(Default)]
pub struct BuildScratch {
    pub(super) walk: Walk,
    pub(super) candidates: Vec<Neighbor>,
    pub(super) selected: Vec<Neighbor>,
    pub(super) mates: Vec<Neighbor>,
}

/// A pure function of its number, computed by whichever thread is free.
pub(super) trait Job: Sync {
    type Output: Send;
    fn run(&self, scratch: &mut BuildScratch, index: usize) -> Self::Output;
}

/// Numbers a thread takes at a time.
const STRIDE: usize = 8;

struct Share<'a, J: Job> {
    job: &'a J,
    jobs: usize,
    next: &'a AtomicUsize,
    scratch: &'a mut BuildScratch,
}

/// What one thread did: where each of its strides began, and the results of all of them.
struct Part<T> {
    strides: Vec<usize>,
    results: Vec<T>,
}

impl<J: Job> Work for Share<'_, J> {
    type Output = Part<J::Output>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let mut part = Part { strides: Vec::new(), results: Vec::new() };
        loop {
            let from = self.next.fetch_add(STRIDE, Ordering::Relaxed);
            if from >= self.jobs {
                return part;
            }
            part.strides.push(from);
            for index in from..(from + STRIDE).min(self.jobs) {
                part.results.push(self.job.run(self.scratch, index));
            }
        }
    }
}

/// Makes room in the memory of `threads` threads for walks over `count` nodes.
pub(super) fn reserve(scratch: &mut Vec<BuildScratch>, threads: usize, count: u32) -> Result<()> {
    if scratch.len() < threads {
        scratch.resize_with(threads, BuildScratch::default);
    }
    scratch[..threads].iter_mut().try_for_each(|scratch| scratch.walk.reserve(count))
}

/// Runs jobs `0..jobs` on up to `threads` threads and returns their results in order.
pub(super) fn run<S: Space, J: Job>(
    space: &S,
    threads: usize,
    scratch: &mut Vec<BuildScratch>,
    jobs: usize,
    job: &J,
) -> Vec<J::Output> {
    let threads = threads.clamp(1, jobs.div_ceil(STRIDE).max(1));
    if scratch.len() < threads {
        scratch.resize_with(threads, BuildScratch::default);
    }
    let next = &AtomicUsize::new(0);
    let (own, others) = scratch[..threads].split_at_mut(1);
    let parts = std::thread::scope(|scope| {
        let running: Vec<_> = others
            .iter_mut()
            .map(|scratch| scope.spawn(move || space.enter(Share { job, jobs, next, scratch })))
            .collect();
        let mut parts = vec![space.enter(Share { job, jobs, next, scratch: &mut own[0] })];
        for thread in running {
            match thread.join() {
                Ok(part) => parts.push(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    in_order(parts, jobs)
}

/// The results of all parts, by number; each part is in order already.
fn in_order<T>(parts: Vec<Part<T>>, jobs: usize) -> Vec<T> {
    let mut owner = vec![0u32; jobs.div_ceil(STRIDE)];
    for (part, at) in parts.iter().zip(0..) {
        part.strides.iter().for_each(|from| owner[from / STRIDE] = at);
    }
    let mut results: Vec<_> = parts.into_iter().map(|part| part.results.into_iter()).collect();
    let mut all = Vec::with_capacity(jobs);
    owner.into_iter().for_each(|at| all.extend(results[at as usize].by_ref().take(STRIDE)));
    all
}

/// Sorts nearest first as seen from `node`. Equal distances go by a hash of both nodes: among many copies of one
/// vector each node prefers others, so that none is preferred by all.
pub(super) fn sort_candidates(node: NodeId, candidates: &mut [Neighbor]) {
    candidates.sort_unstable_by(|a, b| {
        let tie = |n: &Neighbor| (hash((node as u64) << 32 ^ n.node as u64), n.node);
        super::neighbor::ordered(a.distance)
            .cmp(&super::neighbor::ordered(b.distance))
            .then_with(|| tie(a).cmp(&tie(b)))
    });
}
