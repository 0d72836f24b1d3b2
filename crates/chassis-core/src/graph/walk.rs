//! The walk: from the entry point down through the layers to the nearest nodes of layer 0.
//!
//! # The loop
//!
//! On real data a walk waits for memory most of its time, so the loop of `search_layer` is ordered by it:
//!
//! 1. pop the nearest node and ask for the list of the next one: if nothing nearer turns up, it is there when
//!    its turn comes;
//! 2. gather the neighbors not met before, without a branch for each;
//! 3. ask for whole records ahead of the one being scored, and score four at a time;
//! 4. offer those below the bound to the pool;
//! 5. ask for the list of the node that is now nearest: the next step begins with it.
//!
//! A [`Point`] decides what a record is: a stored vector, or a code that stands for it. The loop is the same.

use std::sync::atomic::AtomicU32;

use super::queue::Queue;
use super::visited::{SLOTS, Visited};
use super::{Lists, Neighbor, NodeId, Point};

/// Nodes met in one step, and their distances.
pub(super) struct Batch {
    nodes: [NodeId; SLOTS],
    distances: [f32; SLOTS],
    len: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { nodes: [0; SLOTS], distances: [0.0; SLOTS], len: 0 }
    }
}

impl Batch {
    /// Scores all nodes. Distances come out finite: what is not a number, or infinite, is as far as can be.
    #[inline(always)]
    fn score<P: Point>(&mut self, point: &P) {
        let ahead = point.lookahead();
        let Batch { nodes, distances, len } = self;
        let len = (*len).min(SLOTS - 4);
        if len == 0 {
            return;
        }
        for &node in &nodes[..len.min(ahead)] {
            point.prefetch(node);
        }
        let last = nodes[len - 1];
        nodes[len..len + 3].fill(last);
        let mut at = 0;
        while at < len {
            for &node in &nodes[(at + ahead).min(len)..(at + ahead + 4).min(len)] {
                point.prefetch(node);
            }
            let four = point.distance4([nodes[at], nodes[at + 1], nodes[at + 2], nodes[at + 3]]);
            for i in 0..4 {
                distances[at + i] = finite(four[i]);
            }
            at += 4;
        }
    }

    #[inline(always)]
    fn neighbor(&self, i: usize) -> Neighbor {
        Neighbor { distance: self.distances[i % SLOTS], node: self.nodes[i % SLOTS] }
    }
}

#[inline(always)]
pub(super) fn finite(distance: f32) -> f32 {
    let low = if distance < f32::MAX { distance } else { f32::MAX };
    if low > f32::MIN { low } else { f32::MIN }
}

#[inline(always)]
fn list<L: Lists>(lists: &L, layer: u8, node: NodeId) -> &[AtomicU32] {
    if layer == 0 { lists.base(node) } else { lists.upper(node, layer) }
}

/// The memory of one search at a time. Kept and used again, it allocates nothing.
#[derive(Default)]
pub struct Walk {
    visited: Visited,
    queue: Queue,
    batch: Batch,
    nearest: Vec<Neighbor>,
}

impl Walk {
    /// The nodes nearest to `point` among the first `count`, at most `ef` of them, nearest first. `entry` is the
    /// entry point and its level. Lists may change meanwhile; nothing in them is trusted.
    #[inline(always)]
    pub fn search<P: Point, L: Lists>(
        &mut self,
        point: &P,
        lists: &L,
        entry: (NodeId, u8),
        count: u32,
        ef: usize,
    ) -> &[Neighbor] {
        self.nearest.clear();
        if entry.0 < count {
            let top = self.first(point, entry.0);
            let mut start = top;
            for layer in (1..=entry.1).rev() {
                start = self.descend(point, lists, layer, start, count);
            }
            self.search_layer(point, lists, 0, start, count, ef, top.distance);
        }
        &self.nearest
    }

    /// A node as a start.
    #[inline(always)]
    pub(super) fn first<P: Point>(&mut self, point: &P, node: NodeId) -> Neighbor {
        Neighbor { distance: finite(point.distance4([node; 4])[0]), node }
    }

    /// What the last `search_layer` found.
    pub(super) fn nearest(&self) -> &[Neighbor] {
        &self.nearest
    }

    /// Moves to the nearest neighbor until none is nearer.
    #[inline(always)]
    pub(super) fn descend<P: Point, L: Lists>(
        &mut self,
        point: &P,
        lists: &L,
        layer: u8,
        start: Neighbor,
        count: u32,
    ) -> Neighbor {
        self.visited.clear(count);
        self.visited.insert(start.node);
        let mut best = start;
        loop {
            let from = best;
            self.batch.len = self.visited.gather(list(lists, layer, from.node), &mut self.batch.nodes);
            self.batch.score(point);
            for i in 0..self.batch.len {
                best = best.min(self.batch.neighbor(i));
            }
            if best == from {
                return best;
            }
        }
    }

    /// Appends the nodes two links away from `node`, by way of the first `via` nodes of its `list`.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "what it reads, each on its own")]
    pub(super) fn gather_around<P: Point, L: Lists>(
        &mut self,
        point: &P,
        lists: &L,
        node: NodeId,
        list: &[NodeId],
        via: usize,
        count: u32,
        out: &mut Vec<Neighbor>,
    ) {
        self.visited.clear(count);
        self.visited.insert(node);
        for &neighbor in list {
            self.visited.insert(neighbor);
        }
        for &neighbor in &list[..list.len().min(via)] {
            self.batch.len = self.visited.gather(lists.base(neighbor), &mut self.batch.nodes);
            self.batch.score(point);
            out.extend((0..self.batch.len).map(|i| self.batch.neighbor(i)));
        }
    }

    /// Fills `nearest` with the `ef` nodes of one layer nearest to `point`, as far as a walk from `start` finds
    /// them. `far` is a distance that is large for this point; it helps to guess the range.
    #[inline(always)]
    #[expect(
        clippy::too_many_arguments,
        reason = "the innermost call; a struct would hide what the loop reads"
    )]
    pub(super) fn search_layer<P: Point, L: Lists>(
        &mut self,
        point: &P,
        lists: &L,
        layer: u8,
        start: Neighbor,
        count: u32,
        ef: usize,
        far: f32,
    ) {
        let Walk { visited, queue, batch, nearest } = self;
        visited.clear(count);
        visited.insert(start.node);
        batch.len = visited.gather(list(lists, layer, start.node), &mut batch.nodes);
        batch.score(point);
        let (mut smallest, mut largest) = (start.distance, start.distance.max(far));
        for i in 0..batch.len {
            smallest = smallest.min(batch.neighbor(i).distance);
            largest = largest.max(batch.neighbor(i).distance);
        }
        queue.reset(ef, smallest, largest);
        queue.push(start);
        queue.pop();
        offer(queue, batch);
        while let Some(node) = queue.pop() {
            if layer == 0
                && let Some(next) = queue.peek()
            {
                lists.prefetch(next);
            }
            batch.len = visited.gather(list(lists, layer, node), &mut batch.nodes);
            batch.score(point);
            offer(queue, batch);
            if layer == 0
                && let Some(next) = queue.peek()
            {
                lists.prefetch(next);
            }
        }
        queue.nearest(nearest);
    }
}

/// Offers the scored nodes to the pool; those that cannot enter are sorted out without a branch for each.
#[inline(always)]
fn offer(queue: &mut Queue, batch: &Batch) {
    let (bound, mut near, mut len) = (queue.bound(), [0u8; SLOTS], 0);
    for i in 0..batch.len {
        near[len % SLOTS] = i as u8;
        len += (batch.distances[i % SLOTS] < bound) as usize;
    }
    for &i in &near[..len.min(SLOTS)] {
        queue.push(batch.neighbor(i as usize));
    }
    queue.trim();
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Build, MemoryLists, Plane};
    use super::super::{LinkWriter, MAX_LEVEL, NONE, Params, Space, batch_limit};
    use super::*;

    const PARAMS: Params = Params { m: 8, m0: 16, ef_construction: 60 };

    #[test]
    fn a_walk_finds_what_a_scan_does() {
        let build = Build::new(Plane::random(3_000, 11), PARAMS).insert(batch_limit, 1).fill(1);
        let mut walk = Walk::default();
        for (ef, enough) in [(1, 0.8), (10, 0.99), (64, 1.0), (500, 1.0)] {
            let (mut found, mut wanted) = (0, 0);
            for node in (0..3_000).step_by(29) {
                let mut buffer = ();
                let point = build.space.point(node, &mut buffer);
                let nearest = walk.search(&point, &build.lists, build.entry.unwrap(), 3_000, ef);
                assert!(nearest.is_sorted() && nearest.len() == ef);
                let all = (0..3_000)
                    .map(|other| Neighbor { distance: build.space.distance(node, other), node: other });
                let mut truth: Vec<Neighbor> = all.collect();
                truth.sort();
                wanted += ef.min(10);
                found += truth[..ef.min(10)].iter().filter(|t| nearest.contains(t)).count();
            }
            assert!(found as f64 >= enough * wanted as f64, "ef {ef}: {found} of {wanted}");
        }
    }

    #[test]
    fn a_walk_over_nonsense_ends_and_stays_in_range() {
        let space = Plane::random(200, 1);
        let mut lists = MemoryLists::new(&PARAMS);
        lists.grow(200);
        for node in 0..200u32 {
            let list: Vec<NodeId> =
                (0..16).map(|i| node.wrapping_mul(2_654_435_761).wrapping_add(i * i * 977)).collect();
            let list: Vec<NodeId> = list.iter().map(|id| if id % 3 == 0 { *id } else { id % 300 }).collect();
            lists.write(0, node, &list);
        }
        let mut walk = Walk::default();
        for entry in [0, 199, 200, NONE] {
            for level in [0, 5, MAX_LEVEL, u8::MAX] {
                let mut buffer = ();
                let point = space.point(7, &mut buffer);
                let nearest = walk.search(&point, &lists, (entry, level), 200, 1_000);
                assert_eq!(nearest.is_empty(), entry >= 200);
                let mut nodes: Vec<NodeId> = nearest.iter().map(|n| n.node).collect();
                nodes.sort_unstable();
                nodes.dedup();
                assert!(nodes.len() == nearest.len() && nodes.iter().all(|node| *node < 200));
            }
        }
    }

    #[test]
    fn a_walk_sees_only_the_nodes_it_was_told_of() {
        let build = Build::new(Plane::random(500, 2), PARAMS).insert(batch_limit, 1);
        let mut buffer = ();
        let point = build.space.point(3, &mut buffer);
        let mut walk = Walk::default();
        let nearest = walk.search(&point, &build.lists, (0, 0), 100, 500);
        assert!(!nearest.is_empty() && nearest.iter().all(|n| n.node < 100));
    }

    #[test]
    fn distances_come_out_finite() {
        for (distance, expected) in
            [(f32::NAN, f32::MAX), (f32::INFINITY, f32::MAX), (f32::NEG_INFINITY, f32::MIN), (-3.0, -3.0)]
        {
            assert_eq!(finite(distance), expected);
        }
    }
}
