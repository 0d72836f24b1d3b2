//! One step of a walk: the nodes of a list that were not met before, and their distances.

use std::sync::atomic::AtomicU32;

use super::visited::{SLOTS, Visited};
use super::{Neighbor, NodeId, Point};

/// Nodes met in one step, and their distances.
pub(super) struct Batch {
    nodes: [NodeId; SLOTS],
    pub(super) distances: [f32; SLOTS],
    pub(super) len: usize,
    /// The first of them not yet asked for.
    asked: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { nodes: [0; SLOTS], distances: [0.0; SLOTS], len: 0, asked: 0 }
    }
}

impl Batch {
    /// Takes the place of what was there by the new nodes of a list.
    #[inline(always)]
    pub(super) fn gather(&mut self, visited: &mut Visited, list: &[AtomicU32]) {
        self.len = visited.gather(list, &mut self.nodes);
        self.asked = 0;
    }

    /// Forgets all nodes.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        (self.len, self.asked) = (0, 0);
    }

    /// Asks for the records of the nodes before `end`.
    #[inline(always)]
    fn ask<P: Point>(&mut self, point: &P, end: usize) {
        let end = end.min(self.len);
        while self.asked < end {
            point.prefetch(self.nodes[self.asked % SLOTS]);
            self.asked += 1;
        }
    }

    /// Scores all nodes and asks for those of `next`, as far ahead as the point says. Distances come out finite: what
    /// is not a number, or infinite, is as far as can be.
    #[inline(always)]
    pub(super) fn score<P: Point>(&mut self, point: &P, next: &mut Batch) {
        let (ahead, len) = (point.lookahead(), self.len.min(SLOTS - 4));
        if len > 0 {
            let last = self.nodes[len - 1];
            self.nodes[len..len + 3].fill(last);
        }
        let mut at = 0;
        while at < len {
            let end = at + 4 + ahead;
            self.ask(point, end);
            next.ask(point, end.saturating_sub(len));
            let nodes = &self.nodes;
            let four = point.distance4([nodes[at], nodes[at + 1], nodes[at + 2], nodes[at + 3]]);
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
