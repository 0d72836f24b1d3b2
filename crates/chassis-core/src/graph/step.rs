//! One step of a walk: the nodes of a list that were not met before, and their distances.

use std::sync::atomic::AtomicU32;

use super::visited::{SLOTS, Visited};
use super::{Neighbor, NodeId, Point};

/// Nodes met in one step, and their distances. `A` is what their point says when it asks for one.
pub(super) struct Batch<A> {
    nodes: [NodeId; SLOTS],
    asked: [A; SLOTS],
    pub(super) distances: [f32; SLOTS],
    pub(super) len: usize,
    /// The first of them not yet asked for.
    unasked: usize,
}

impl<A: Copy + Default> Default for Batch<A> {
    #[inline(always)]
    fn default() -> Self {
        Batch { nodes: [0; SLOTS], asked: [A::default(); SLOTS], distances: [0.0; SLOTS], len: 0, unasked: 0 }
    }
}

impl<A: Copy + Default> Batch<A> {
    /// Takes the place of what was there by the new nodes of a list.
    #[inline(always)]
    pub(super) fn gather(&mut self, visited: &mut Visited, list: &[AtomicU32]) {
        self.len = visited.gather(list, &mut self.nodes);
        self.unasked = 0;
    }

    /// Forgets all nodes.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        (self.len, self.unasked) = (0, 0);
    }

    /// Asks for the records of the nodes before `end`.
    #[inline(always)]
    fn ask<P: Point<Asked = A>>(&mut self, point: &P, end: usize) {
        let end = end.min(self.len);
        while self.unasked < end {
            let at = self.unasked % SLOTS;
            self.asked[at] = point.ask(self.nodes[at]);
            self.unasked += 1;
        }
    }

    /// Scores all nodes and asks for those of `next`, as far ahead as the point says. Distances come out finite: what
    /// is not a number, or infinite, is as far as can be.
    #[inline(always)]
    pub(super) fn score<P: Point<Asked = A>>(&mut self, point: &P, next: &mut Batch<A>) {
        let (ahead, len) = (point.lookahead(), self.len.min(SLOTS - 4));
        let mut at = 0;
        while at < len {
            let end = at + 4 + ahead;
            self.ask(point, end);
            next.ask(point, end.saturating_sub(len));
            if at + 4 > len {
                let last = (self.nodes[len - 1], self.asked[len - 1]);
                self.nodes[len..len + 3].fill(last.0);
                self.asked[len..len + 3].fill(last.1);
            }
            let (nodes, asked) = (&self.nodes, &self.asked);
            let nodes = [nodes[at], nodes[at + 1], nodes[at + 2], nodes[at + 3]];
            let asked = [asked[at], asked[at + 1], asked[at + 2], asked[at + 3]];
            let four = point.asked4(nodes, asked);
            for (to, distance) in self.distances[at..at + 4].iter_mut().zip(four) {
                *to = finite(distance);
            }
            at += 4;
        }
        next.ask(point, ahead);
    }

    #[inline(always)]
    pub(super) fn neighbor(&self, i: usize) -> Neighbor {
        Neighbor { distance: self.distances[i % SLOTS], node: self.nodes[i % SLOTS] }
    }
}

#[inline(always)]
pub(super) fn finite(distance: f32) -> f32 {
    let low = if distance < f32::MAX { distance } else { f32::MAX };
    if low > f32::MIN { low } else { f32::MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_come_out_finite() {
        for (distance, expected) in
            [(f32::NAN, f32::MAX), (f32::INFINITY, f32::MAX), (f32::NEG_INFINITY, f32::MIN), (-3.0, -3.0)]
        {
            assert_eq!(finite(distance), expected);
        }
    }
}
