//! The walk: from the entry point down through the layers to the nearest nodes of layer 0.
//!
//! # The loop
//!
//! On real data a walk waits for memory most of its time, so the loop of `run` is ordered by it, and has two steps
//! under way at a time:
//!
//! 1. pop the nearest node and ask for the list of the one after it: if nothing nearer turns up, it is there when
//!    its turn comes;
//! 2. gather the neighbors not met before, without a branch for each;
//! 3. score the nodes gathered one step *earlier*, four at a time, and ask meanwhile for the whole records of those
//!    gathered now: they have the time of a step to arrive;
//! 4. offer those below the bound to the pool;
//! 5. when one of them is the nearest of all, ask for its list at once.
//!
//! A node is thus popped before the neighbors of the last one are scored. That costs a step or two on the way in, and
//! finds a little more: at equal recall GloVe (340,479 x 100) takes 0.78 to 0.85 of the time.
//!
//! A [`Point`] decides what a record is: a stored vector, or a code that stands for it. The loop is the same.

use std::sync::atomic::AtomicU32;

use super::effort::{Done, Effort, Stop};
use super::pool::Pool;
use super::queue::Queue;
use super::sorted::{MAX_PARTLY, MAX_SORTED, Sorted};
use super::step::{Batch, finite};
use super::visited::{SLOTS, Visited};
use super::{Lists, Neighbor, NodeId, Point, Work};
use crate::error::Result;

/// Distances compared with the bound at a time.
const GROUP: usize = 8;

#[inline(always)]
fn list<L: Lists>(lists: &L, layer: u8, node: NodeId) -> &[AtomicU32] {
    if layer == 0 { lists.base(node) } else { lists.upper(node, layer) }
}

/// As much of a list as the effort says.
#[inline(always)]
fn links<L: Lists>(lists: &L, layer: u8, node: NodeId, effort: Effort) -> &[AtomicU32] {
    let list = list(lists, layer, node);
    &list[..list.len().min(effort.links)]
}

/// How far a candidate may be to be followed.
#[inline(always)]
fn limit_of<Q: Pool>(stop: Option<Stop>, pool: &Q) -> f32 {
    match stop {
        Some(Stop { k, factor, zero }) => zero + factor * (pool.kth(k) - zero),
        None => f32::INFINITY,
    }
}

/// The memory of one search at a time. Kept and used again, it allocates nothing.
#[derive(Default)]
pub struct Walk {
    met: Met,
    queue: Queue,
    sorted: Sorted,
    nearest: Vec<Neighbor>,
    /// See [`Done`].
    places: Option<usize>,
}

/// What a walk has met.
#[derive(Default)]
struct Met {
    visited: Visited,
    /// Steps on this layer.
    hops: usize,
    /// Nodes that entered the pool.
    kept: usize,
}

/// The nodes of two steps.
struct Steps<'a, A> {
    /// Of the step before: scored next, or scored just now.
    batch: &'a mut Batch<A>,
    /// Gathered last.
    next: &'a mut Batch<A>,
}

impl<A: Copy + Default> Steps<'_, A> {
    /// Gathers the new nodes of a list.
    #[inline(always)]
    fn gather(&mut self, met: &mut Met, list: &[AtomicU32]) {
        self.next.gather(&mut met.visited, list);
        met.hops += 1;
    }

    /// What was gathered last is now what is scored next, and nothing comes after it.
    #[inline(always)]
    fn turn(&mut self) {
        std::mem::swap(&mut self.batch, &mut self.next);
        self.next.clear();
    }

    #[inline(always)]
    fn score<P: Point<Asked = A>>(&mut self, point: &P) {
        self.batch.score(point, self.next);
    }

    /// Gathers the new nodes of a list and scores them, with nothing else under way.
    #[inline(always)]
    fn step<P: Point<Asked = A>>(&mut self, met: &mut Met, point: &P, list: &[AtomicU32]) {
        self.gather(met, list);
        self.turn();
        self.score(point);
    }
}

impl Walk {
    /// Makes room for walks over `count` nodes. Without, a walk takes what it needs, and the process ends where there is
    /// no memory for it: call this first where the count comes from a file.
    ///
    /// # Errors
    /// `Io` where there is no memory.
    #[inline]
    pub fn reserve(&mut self, count: u32) -> Result<()> {
        self.met.visited.reserve(count)
    }

    /// The nodes nearest to `point` among the first `count`, as many as are wanted, nearest first. `entry` is the
    /// entry point and its level. Lists may change meanwhile; nothing in them is trusted.
    #[inline(always)]
    pub fn search<P: Point, L: Lists>(
        &mut self,
        point: &P,
        lists: &L,
        entry: (NodeId, u8),
        count: u32,
        effort: Effort,
    ) -> &[Neighbor] {
        self.nearest.clear();
        if entry.0 < count {
            let (top, start) = self.way_down(point, lists, entry, count);
            self.search_layer(point, lists, 0, &[start], count, effort, top.distance);
        }
        &self.nearest
    }

    /// The entry point, and the start on layer 0 that the layers above lead to.
    #[inline(always)]
    pub fn way_down<P: Point, L: Lists>(
        &mut self,
        point: &P,
        lists: &L,
        entry: (NodeId, u8),
        count: u32,
    ) -> (Neighbor, Neighbor) {
        let top = self.first(point, entry.0);
        let mut start = top;
        for layer in (1..=entry.1).rev() {
            start = self.descend(point, lists, layer, start, count);
        }
        (top, start)
    }

    /// [`Walk::search`] on layer 0 from nodes already measured.
    #[inline(always)]
    pub fn search_from<P: Point, L: Lists>(
        &mut self,
        point: &P,
        lists: &L,
        starts: &[Neighbor],
        count: u32,
        effort: Effort,
        far: f32,
    ) -> &[Neighbor] {
        self.search_layer(point, lists, 0, starts, count, effort, far);
        &self.nearest
    }

    /// What the last walk of a layer did.
    pub fn done(&self) -> Done {
        Done { met: self.met.visited.len(), hops: self.met.hops, kept: self.met.kept, places: self.places }
    }

    /// A node as a start.
    #[inline(always)]
    pub(super) fn first<P: Point>(&mut self, point: &P, node: NodeId) -> Neighbor {
        Neighbor { distance: finite(point.distance4([node; 4])[0]), node }
    }

    /// What the last walk of a layer found.
    pub fn nearest(&self) -> &[Neighbor] {
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
        point.enter(Descent { met: &mut self.met, point, lists, layer, start, count })
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
        let met = &mut self.met;
        met.visited.clear(count);
        met.visited.insert(node);
        for &neighbor in list {
            met.visited.insert(neighbor);
        }
        let (mut batch, mut next) = (Batch::default(), Batch::default());
        let mut steps = Steps { batch: &mut batch, next: &mut next };
        for &neighbor in &list[..list.len().min(via)] {
            steps.step(met, point, lists.base(neighbor));
            out.extend((0..steps.batch.len).map(|i| steps.batch.neighbor(i)));
        }
    }

    /// Fills `nearest` with the nodes of one layer nearest to `point`, as far as a walk from `starts` finds them. `far` is
    /// a distance that is large for this point; it helps to guess the range.
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
        starts: &[Neighbor],
        count: u32,
        effort: Effort,
        far: f32,
    ) {
        point.enter(LayerWalk { walk: self, point, lists, layer, starts, count, effort, far });
    }
}

/// [`Walk::descend`] as a function of its own, one for all that walks from this kind of point.
struct Descent<'a, P, L> {
    met: &'a mut Met,
    point: &'a P,
    lists: &'a L,
    layer: u8,
    start: Neighbor,
    count: u32,
}

impl<P: Point, L: Lists> Work for Descent<'_, P, L> {
    type Output = Neighbor;

    #[inline(always)]
    fn call(self) -> Neighbor {
        let Descent { met, point, lists, layer, start, count } = self;
        met.visited.clear(count);
        met.visited.insert(start.node);
        let (mut batch, mut next) = (Batch::default(), Batch::default());
        let mut steps = Steps { batch: &mut batch, next: &mut next };
        let mut best = start;
        loop {
            let from = best;
            steps.step(met, point, list(lists, layer, from.node));
            for i in 0..steps.batch.len {
                best = best.min(steps.batch.neighbor(i));
            }
            if best == from {
                return best;
            }
        }
    }
}

/// [`Walk::search_layer`], likewise.
struct LayerWalk<'a, P, L> {
    walk: &'a mut Walk,
    point: &'a P,
    lists: &'a L,
    layer: u8,
    starts: &'a [Neighbor],
    count: u32,
    effort: Effort,
    far: f32,
}

impl<P: Point, L: Lists> Work for LayerWalk<'_, P, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let LayerWalk { walk, point, lists, layer, starts, count, effort, far } = self;
        let Walk { met, queue, sorted, nearest, places } = walk;
        met.visited.clear(count);
        if let Some(skipped) = effort.skip {
            met.visited.insert(skipped);
        }
        (met.hops, met.kept) = (0, 0);
        let most = if effort.wanted < effort.ef { MAX_PARTLY } else { MAX_SORTED };
        *places = (effort.ef <= most).then_some(effort.ef);
        if places.is_some() {
            run(met, sorted, point, lists, layer, starts, effort, far);
            sorted.nearest(effort.wanted, nearest);
        } else {
            run(met, queue, point, lists, layer, starts, effort, far);
            queue.nearest(effort.wanted, nearest);
        }
    }
}

/// The loop. The list of the nearest start is read before the pool is made: its distances say what range to expect.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as `search_layer`")]
fn run<P: Point, L: Lists, Q: Pool>(
    met: &mut Met,
    pool: &mut Q,
    point: &P,
    lists: &L,
    layer: u8,
    starts: &[Neighbor],
    effort: Effort,
    far: f32,
) {
    let Some(&first) = starts.iter().min() else { return pool.reset(effort.ef, far, far) };
    met.visited.insert(first.node);
    let (mut batch, mut next) = (Batch::default(), Batch::default());
    let mut steps = Steps { batch: &mut batch, next: &mut next };
    steps.step(met, point, links(lists, layer, first.node, effort));
    open(met, steps.batch, pool, starts, first, effort, far);
    met.kept += offer(pool, steps.batch, lists, layer, f32::INFINITY);
    steps.turn();
    loop {
        let limit = limit_of(effort.stop, pool);
        match pool.pop(limit) {
            Some(from) => {
                if layer == 0
                    && let Some(after) = pool.peek()
                {
                    lists.prefetch(after);
                }
                steps.gather(met, links(lists, layer, from.node, effort));
            }
            None if steps.batch.len == 0 => return,
            None => {}
        }
        steps.score(point);
        met.kept += offer(pool, steps.batch, lists, layer, limit);
        steps.turn();
    }
}

/// Makes the pool: the starts are in it, `first` among them and popped.
#[inline(always)]
fn open<A, Q: Pool>(
    met: &mut Met,
    batch: &Batch<A>,
    pool: &mut Q,
    starts: &[Neighbor],
    first: Neighbor,
    effort: Effort,
    far: f32,
) {
    let (mut smallest, mut largest) = (first.distance, far);
    for distance in &batch.distances[..batch.len.min(SLOTS)] {
        smallest = smallest.min(*distance);
        largest = largest.max(*distance);
    }
    for start in starts {
        largest = largest.max(start.distance);
    }
    pool.reset(effort.ef, smallest, largest);
    if let Some(stop) = effort.stop {
        pool.watch(stop.k);
    }
    pool.push(first);
    pool.pop(f32::INFINITY);
    for start in starts {
        if met.visited.insert(start.node) {
            pool.push(*start);
        }
    }
}

/// Offers the scored nodes to the pool; those that cannot enter are sorted out without a branch for each. The list
/// of a node that is to come out next is asked for at once: it has the time of the rest to arrive. Returns how many were
/// offered, nearly all of which enter.
#[inline(always)]
fn offer<A: Copy + Default, L: Lists, Q: Pool>(
    pool: &mut Q,
    batch: &Batch<A>,
    lists: &L,
    layer: u8,
    limit: f32,
) -> usize {
    let mut kept = 0;
    let bound = pool.bound().min(limit);
    for (group, distances) in batch.distances.as_chunks::<GROUP>().0.iter().enumerate() {
        let first = group * GROUP;
        if first >= batch.len {
            break;
        }
        let mut near = 0u32;
        for (i, &distance) in distances.iter().enumerate() {
            near |= ((distance < bound) as u32) << i;
        }
        // What lies behind the last is of an earlier step.
        near &= u32::MAX >> (32 - (batch.len - first).min(GROUP));
        kept += near.count_ones() as usize;
        while near != 0 {
            let neighbor = batch.neighbor(first + near.trailing_zeros() as usize);
            near &= near - 1;
            if pool.push(neighbor) && layer == 0 {
                lists.prefetch(neighbor.node);
            }
        }
    }
    pool.trim();
    kept
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
                let point = build.space.point(node);
                let nearest = walk.search(&point, &build.lists, build.entry.unwrap(), 3_000, Effort::of(ef));
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
    fn a_walk_from_measured_nodes_finds_what_one_from_the_entry_does() {
        let build = Build::new(Plane::random(3_000, 12), PARAMS).insert(batch_limit, 1).fill(1);
        let mut walk = Walk::default();
        for node in (0..3_000).step_by(53) {
            let point = build.space.point(node);
            for ef in [50, 400] {
                let effort = Effort::of(ef);
                let down = walk.search(&point, &build.lists, build.entry.unwrap(), 3_000, effort).to_vec();
                // One of them twice: a node counts once, however often it is given.
                let starts = [2_999, 5, 1_234, 5].map(|node| walk.first(&point, node));
                let found = walk.search_from(&point, &build.lists, &starts, 3_000, effort, 1.0);
                assert_eq!(found[..10], down[..10], "node {node} ef {ef}");
                assert!(walk.search_from(&point, &build.lists, &[], 3_000, effort, 1.0).is_empty());
            }
        }
    }

    #[test]
    fn a_walk_that_may_stop_or_reads_fewer_links_does_less() {
        let build = Build::new(Plane::random(3_000, 13), PARAMS).insert(batch_limit, 1).fill(1);
        let mut walk = Walk::default();
        for ef in [100, 400] {
            let (mut costs, mut lost) = ([(0, 0); 4], 0);
            let stop = |factor| Some(Stop { k: 10, factor, zero: 0.0 });
            let whole = Effort::of(ef);
            let efforts = [
                whole,
                Effort { stop: stop(f32::MAX), ..whole },
                Effort { stop: stop(4.0), ..whole },
                Effort { links: 4, ..whole },
            ];
            for node in (0..3_000).step_by(53) {
                let point = build.space.point(node);
                let found = efforts.map(|effort| {
                    let entry = build.entry.unwrap();
                    let nearest = walk.search(&point, &build.lists, entry, 3_000, effort);
                    let ten: Vec<Neighbor> = nearest[..10].to_vec();
                    (ten, walk.done())
                });
                assert_eq!(found[1], found[0], "a stop that is never reached changes nothing");
                lost += found[0].0.iter().filter(|neighbor| !found[2].0.contains(neighbor)).count();
                for (sum, (_, done)) in costs.iter_mut().zip(&found) {
                    *sum = (sum.0 + done.met, sum.1 + done.hops);
                }
            }
            assert!(2 * costs[2].0 < costs[0].0 && 2 * costs[2].1 < costs[0].1, "ef {ef}: {costs:?}");
            assert!(costs[3].0 < costs[0].0, "ef {ef}: {costs:?}");
            assert!(lost < 57 * 10 / 20, "ef {ef}: {lost} of the ten nearest of 57 nodes lost by the stop");
        }
    }

    #[test]
    fn a_walk_ends_at_a_candidate_past_the_limit_although_it_entered_before() {
        let near = |i: u32| if i < 3 { [0.1 * i as f32, 0.0] } else { [10.0, i as f32] };
        let space = Plane::new((0..9).map(near).collect());
        let mut lists = MemoryLists::new(&PARAMS);
        lists.grow(9);
        lists.write(0, 0, &[1, 2, 3, 4, 5, 6, 7, 8]);
        let mut walk = Walk::default();
        let point = space.point(0);
        for (ef, factor, hops) in [(20, 2.0, 3), (500, 2.0, 3), (20, 1e9, 9), (500, 1e9, 9)] {
            let effort = Effort { stop: Some(Stop { k: 3, factor, zero: 0.0 }), ..Effort::of(ef) };
            walk.search(&point, &lists, (0, 0), 9, effort);
            assert_eq!((walk.done().met, walk.done().hops), (9, hops), "ef {ef} factor {factor}");
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
                let point = space.point(7);
                let nearest = walk.search(&point, &lists, (entry, level), 200, Effort::of(1_000));
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
        let point = build.space.point(3);
        let mut walk = Walk::default();
        let nearest = walk.search(&point, &build.lists, (0, 0), 100, Effort::of(500));
        assert!(!nearest.is_empty() && nearest.iter().all(|n| n.node < 100));
    }
}
