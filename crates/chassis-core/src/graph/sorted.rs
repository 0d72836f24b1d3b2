//! The pool of a short walk: a sorted array.
//!
//! An insert counts the smaller distances and moves the larger ones up by one place, both eight at a time and
//! without a branch for each. With few candidates the bucket queue's thousand buckets are nearly empty, and finding
//! its way through them costs more than that.

use super::pool::Pool;
use super::{Neighbor, NodeId};

/// The largest pool kept this way.
pub(super) const MAX_SORTED: usize = 192;
/// The largest kept this way when only some of it is wanted in order, which spares the queue most of its sorting: at 64
/// both take the same time, at 96 the queue is 4 to 7 % faster on 100 to 512 dimensions.
pub(super) const MAX_PARTLY: usize = 64;

const LANES: usize = 8;
/// Room to move the last whole group up by one.
const ROOM: usize = MAX_SORTED + 2 * LANES;
/// Marks a node that was popped. Nodes are numbered below it.
const POPPED: NodeId = 1 << 31;

/// Distances ascend; equal ones are in the order of their arrival. Past `len` they are infinite.
pub(super) struct Sorted {
    distances: Box<[f32; ROOM]>,
    nodes: Box<[NodeId; ROOM]>,
    len: usize,
    /// The first node still to be popped.
    next: usize,
    ef: usize,
}

impl Default for Sorted {
    fn default() -> Self {
        Sorted {
            distances: Box::new([f32::INFINITY; ROOM]),
            nodes: Box::new([0; ROOM]),
            len: 0,
            next: 0,
            ef: 1,
        }
    }
}

/// Moves `len` values from `at` on up by one place, and up to seven behind them.
#[inline(always)]
fn shift<T: Copy>(values: &mut [T; ROOM], at: usize, len: usize) {
    let mut from = at + len.next_multiple_of(LANES);
    while from > at {
        from -= LANES;
        if let Some(part) = values.get_mut(from..from + LANES + 1) {
            let mut group = [part[0]; LANES];
            group.copy_from_slice(&part[..LANES]);
            part[1..].copy_from_slice(&group);
        }
    }
}

impl Sorted {
    /// How many distances are at most this one.
    #[inline(always)]
    fn place(&self, distance: f32) -> usize {
        let mut below = 0;
        for group in self.distances[..self.len.next_multiple_of(LANES).min(ROOM)].as_chunks::<LANES>().0 {
            let mut count = 0;
            for value in group {
                count += (*value <= distance) as u32;
            }
            below += count;
        }
        below as usize
    }

    #[inline(always)]
    fn find_next(&self) -> usize {
        let mut at = self.next;
        while at < self.len && self.nodes[at % ROOM] & POPPED != 0 {
            at += 1;
        }
        at
    }
}

impl Pool for Sorted {
    #[inline(always)]
    fn reset(&mut self, ef: usize, _: f32, _: f32) {
        debug_assert!(ef <= MAX_SORTED);
        self.distances[..(self.len + 1).min(ROOM)].fill(f32::INFINITY);
        (self.len, self.next, self.ef) = (0, 0, ef.clamp(1, MAX_SORTED));
    }

    #[inline(always)]
    fn bound(&self) -> f32 {
        // Infinite while there is room: so is every distance past the last.
        self.distances[(self.ef - 1) % ROOM]
    }

    #[inline(always)]
    fn push(&mut self, neighbor: Neighbor) -> bool {
        if neighbor.distance >= self.bound() {
            return false;
        }
        let at = self.place(neighbor.distance).min(self.len);
        shift(&mut self.distances, at, self.len - at);
        shift(&mut self.nodes, at, self.len - at);
        self.distances[at % ROOM] = neighbor.distance;
        self.nodes[at % ROOM] = neighbor.node;
        self.len = (self.len + 1).min(self.ef);
        self.distances[self.ef] = f32::INFINITY;
        let nearest = at <= self.next;
        self.next = self.next.min(at);
        nearest
    }

    #[inline(always)]
    fn trim(&mut self) {}

    #[inline(always)]
    fn peek(&mut self) -> Option<NodeId> {
        (self.next < self.len).then(|| self.nodes[self.next % ROOM])
    }

    #[inline(always)]
    fn pop(&mut self, limit: f32) -> Option<Neighbor> {
        let at = self.next;
        if at >= self.len || self.distances[at % ROOM] > limit {
            return None;
        }
        let node = self.nodes[at % ROOM];
        self.nodes[at % ROOM] = node | POPPED;
        self.next = at + 1;
        self.next = self.find_next();
        Some(Neighbor { distance: self.distances[at % ROOM], node })
    }

    #[inline(always)]
    fn kth(&self, k: usize) -> f32 {
        if k <= self.len { self.distances[(k - 1) % ROOM] } else { f32::INFINITY }
    }

    fn nearest(&self, wanted: usize, out: &mut Vec<Neighbor>) {
        out.clear();
        let len = self.len.min(wanted);
        let pairs = self.distances[..len].iter().zip(&self.nodes[..len]);
        out.extend(pairs.map(|(&distance, &node)| Neighbor { distance, node: node & !POPPED }));
    }
}
