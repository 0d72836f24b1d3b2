//! The pool of a short walk: a sorted array.
//!
//! An insert passes all of it, eight places at a time: a place keeps what it has, takes the new one, or takes what its
//! neighbor had. Nothing is searched for and nothing branches, where the way to the right place would be guessed wrong
//! nearly every time. With few candidates the bucket queue's thousand buckets are nearly empty, and finding its way
//! through them costs more than that.

use super::pool::Pool;
use super::{Neighbor, NodeId};

/// The largest pool kept this way.
pub(super) const MAX_SORTED: usize = 128;
/// The largest kept this way when only some of it is wanted in order, which spares the queue most of its sorting: on 100 to
/// 1,536 dimensions the sorted pool takes 0.92 to 0.96 of the time at 72, 0.97 to 1.0 at 88 and 1.06 at 120.
pub(super) const MAX_PARTLY: usize = 80;

const LANES: usize = 8;
/// Where the first place is: before it there is one that nothing is nearer than.
const FIRST: usize = LANES;
const ROOM: usize = FIRST + MAX_SORTED;

/// Distances ascend; equal ones are in the order of their arrival. Places past `len` hold infinity or what was pushed out
/// of the places before them: nothing that is nearer than those.
pub(super) struct Sorted {
    distances: Box<[f32; ROOM]>,
    nodes: Box<[NodeId; ROOM]>,
    /// A bit a place: its node was popped.
    popped: u128,
    len: usize,
    ef: usize,
    /// Eights of places that `ef` needs.
    eights: usize,
}

impl Default for Sorted {
    fn default() -> Self {
        Sorted {
            distances: Box::new([f32::INFINITY; ROOM]),
            nodes: Box::new([0; ROOM]),
            popped: 0,
            len: 0,
            ef: 1,
            eights: 1,
        }
    }
}

/// Eight values from `at` on.
#[inline(always)]
fn eight<T: Copy + Default>(values: &[T; ROOM], at: usize) -> [T; LANES] {
    let mut out = [T::default(); LANES];
    if let Some(part) = values.get(at..at + LANES) {
        out.copy_from_slice(part);
    }
    out
}

impl Sorted {
    /// The first place whose node was not popped.
    #[inline(always)]
    fn next(&self) -> usize {
        self.popped.trailing_ones() as usize
    }

    /// Puts a node behind all that are at most as far, and says how many those are.
    #[inline(always)]
    fn insert(&mut self, Neighbor { distance, node }: Neighbor) -> usize {
        let mut before = [0u32; LANES];
        // From the last on: what a place takes from its neighbor is what that had before.
        let eights = self.eights.min(self.len / LANES + 1);
        for at in (0..eights).rev().map(|eight| FIRST + eight * LANES) {
            let (here, left) = (eight(&self.distances, at), eight(&self.distances, at - 1));
            let (nodes, left_nodes) = (eight(&self.nodes, at), eight(&self.nodes, at - 1));
            let (mut new, mut new_nodes) = ([0.0f32; LANES], [0; LANES]);
            for i in 0..LANES {
                let stays = here[i] <= distance;
                let is_place = left[i] <= distance;
                before[i] += stays as u32;
                let (moved, moved_node) = if is_place { (distance, node) } else { (left[i], left_nodes[i]) };
                (new[i], new_nodes[i]) = if stays { (here[i], nodes[i]) } else { (moved, moved_node) };
            }
            if let Some(place) = self.distances.get_mut(at..at + LANES) {
                place.copy_from_slice(&new);
            }
            if let Some(place) = self.nodes.get_mut(at..at + LANES) {
                place.copy_from_slice(&new_nodes);
            }
        }
        before.iter().sum::<u32>() as usize
    }
}

impl Pool for Sorted {
    #[inline(always)]
    fn reset(&mut self, ef: usize, _: f32, _: f32) {
        debug_assert!(ef <= MAX_SORTED);
        self.distances.fill(f32::INFINITY);
        self.distances[FIRST - 1] = f32::NEG_INFINITY;
        (self.popped, self.len, self.ef) = (0, 0, ef.clamp(1, MAX_SORTED));
        self.eights = self.ef.div_ceil(LANES);
    }

    #[inline(always)]
    fn bound(&self) -> f32 {
        // Infinite while there is room.
        self.distances[(FIRST + self.ef - 1) % ROOM]
    }

    #[inline(always)]
    fn push(&mut self, neighbor: Neighbor) -> bool {
        if neighbor.distance >= self.bound() {
            return false;
        }
        let at = self.insert(neighbor);
        let next = self.next();
        let before = (1u128 << at) - 1;
        self.popped = (self.popped & before) | ((self.popped & !before) << 1);
        self.len = (self.len + 1).min(self.ef);
        at <= next
    }

    #[inline(always)]
    fn trim(&mut self) {}

    #[inline(always)]
    fn peek(&mut self) -> Option<NodeId> {
        let next = self.next();
        (next < self.len).then(|| self.nodes[(FIRST + next) % ROOM])
    }

    #[inline(always)]
    fn pop(&mut self, limit: f32) -> Option<Neighbor> {
        let next = self.next();
        let at = (FIRST + next) % ROOM;
        if next >= self.len || self.distances[at] > limit {
            return None;
        }
        self.popped |= 1 << next;
        Some(Neighbor { distance: self.distances[at], node: self.nodes[at] })
    }

    #[inline(always)]
    fn kth(&self, k: usize) -> f32 {
        if k <= self.len { self.distances[(FIRST + k - 1) % ROOM] } else { f32::INFINITY }
    }

    fn nearest(&self, wanted: usize, out: &mut Vec<Neighbor>) {
        out.clear();
        let places = FIRST..FIRST + self.len.min(wanted);
        let pairs = self.distances[places.clone()].iter().zip(&self.nodes[places]);
        out.extend(pairs.map(|(&distance, &node)| Neighbor { distance, node }));
    }
}
