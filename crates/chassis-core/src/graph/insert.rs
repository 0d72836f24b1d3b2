//! Inserting a batch of nodes: plan against the frozen graph, merge, and only then write.
//!
//! 1. *Plan*, in parallel: each new node walks the graph as it was before the batch, looks at every other node of
//!    the batch as well, and selects its links on each of its layers.
//! 2. *Merge*, in parallel: each node that was selected joins the nodes that selected it to its own list, and
//!    prunes the list when it is too long.
//! 3. *Settle* and *attach* (see `attach`): no node becomes unreachable.
//! 4. *Write*: the new nodes' own lists first, then the lists that lead to them.
//!
//! Steps 1 to 3 read the old graph and write nothing, and the results of the first two are put in order before
//! anyone looks at them: the outcome does not depend on threads. As the nodes of a batch see each other, a batch
//! is not worse than one by one, even when it holds a cluster of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Result;

use super::attach::{attach, settle};
use super::select_neighbors::select_neighbors;
use super::walk::finite;
use super::work::{self, BuildScratch, Job, sort_candidates};
use super::{LinkWriter, NONE, Neighbor, NodeId, Params, Point, Space, level_of};

/// The most nodes of one batch: each looks at all others, which must stay cheap beside its walk.
const MAX_BATCH: usize = 512;

/// How many nodes to insert at once into a graph of `linked` nodes.
pub fn batch_limit(linked: usize) -> usize {
    (linked / 8).clamp(16, MAX_BATCH)
}

/// What a batch is inserted into.
pub(super) struct Batch<'a, S, L> {
    pub(super) space: &'a S,
    pub(super) lists: &'a L,
    /// The first new node; all before it are in the graph.
    pub(super) first: NodeId,
    /// One past the last new node.
    pub(super) end: NodeId,
    pub(super) entry: Option<(NodeId, u8)>,
    pub(super) params: &'a Params,
}

/// A new node, on its way into the graph.
pub(super) struct Planned {
    /// Its list on each of its layers.
    pub(super) lists: Vec<Vec<NodeId>>,
    /// The nearest node that is older, kept in the list of layer 0: by way of these every node leads to node 0.
    pub(super) older: Option<NodeId>,
}

/// A list that changes because new nodes link to its node.
pub(super) struct Merged {
    pub(super) list: Vec<NodeId>,
    /// The list before, if links between older nodes were dropped from it.
    pub(super) before: Option<Vec<NodeId>>,
}

/// Lists that change, by layer and node.
pub(super) type Targets = BTreeMap<(u8, NodeId), Merged>;

/// Links nodes `first .. first + count`, whose lists are empty, and returns the entry point afterwards.
#[expect(clippy::too_many_arguments, reason = "the seam to the facade; all of it is needed")]
pub fn insert_batch<S: Space, L: LinkWriter>(
    space: &S,
    links: &mut L,
    first: NodeId,
    count: u32,
    entry: Option<(NodeId, u8)>,
    params: &Params,
    threads: usize,
    scratch: &mut Vec<BuildScratch>,
) -> Result<(NodeId, u8)> {
    let batch = Batch { space, lists: &*links, first, end: first + count, entry, params };
    let mut planned = work::run(space, threads, scratch, count as usize, &Plan(&batch));
    let edges = reverse_edges(first, &planned);
    let groups: Vec<&[Edge]> = edges.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).collect();
    let merge = Merge { batch: &batch, planned: &planned, groups: &groups };
    let merged = work::run(space, threads, scratch, groups.len(), &merge);
    let mut targets = Targets::new();
    for (group, merged) in groups.iter().zip(merged) {
        let (layer, target, _) = group[0];
        if target >= first {
            planned[(target - first) as usize].lists[layer as usize] = merged.list;
        } else {
            targets.insert((layer, target), merged);
        }
    }
    settle(&batch, &planned, &mut targets, threads, scratch);
    attach(&batch, &mut planned, &mut targets);
    write(links, first, &planned, &targets)?;
    Ok(entry_after(first, entry, &planned))
}

/// The node of the highest level; of several, the oldest.
fn entry_after(first: NodeId, entry: Option<(NodeId, u8)>, planned: &[Planned]) -> (NodeId, u8) {
    let new = planned.iter().zip(first..).map(|(planned, node)| (node, (planned.lists.len() - 1) as u8));
    entry.into_iter().chain(new).reduce(|best, next| if next.1 > best.1 { next } else { best }).unwrap_or((first, 0))
}

/// New nodes' own lists before the lists that lead to them: a reader that comes upon a node finds its way on.
fn write<L: LinkWriter>(links: &mut L, first: NodeId, planned: &[Planned], targets: &Targets) -> Result<()> {
    let own = planned.iter().zip(first..).flat_map(|(planned, node)| (0u8..).zip(&planned.lists).map(move |(l, list)| (l, node, list)));
    let others = targets.iter().map(|(&(layer, node), merged)| (layer, node, &merged.list));
    let all: Vec<(u8, NodeId, &Vec<NodeId>)> = own.chain(others).collect();
    let places: Vec<(u8, NodeId)> = all.iter().map(|&(layer, node, _)| (layer, node)).collect();
    links.prepare(&places)?;
    for (layer, node, list) in all {
        links.write(layer, node, list);
    }
    Ok(())
}

/// Layer, target, source.
type Edge = (u8, NodeId, NodeId);

fn reverse_edges(first: NodeId, planned: &[Planned]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (planned, node) in planned.iter().zip(first..) {
        for (layer, list) in (0u8..).zip(&planned.lists) {
            edges.extend(list.iter().map(|&target| (layer, target, node)));
        }
    }
    edges.sort_unstable();
    edges
}

/// Step 1: the links a new node makes.
struct Plan<'a, 'b, S, L>(&'a Batch<'b, S, L>);

impl<S: Space, L: LinkWriter> Job for Plan<'_, '_, S, L> {
    type Output = Planned;

    #[inline(always)]
    fn run(&self, scratch: &mut BuildScratch, index: usize) -> Planned {
        let Batch { space, lists, first, entry, params, .. } = *self.0;
        let node = first + index as NodeId;
        let level = level_of(node, params.m);
        let mut buffer = S::Buffer::default();
        let point = space.point(node, &mut buffer);
        self.score_mates(&point, node, &mut scratch.mates);
        let mut start = entry.map(|(node, _)| scratch.walk.first(&point, node));
        let far = start.map_or(0.0, |start| start.distance);
        let top = entry.map_or(0, |(_, top)| top);
        if let Some(start) = &mut start {
            for layer in (level + 1..=top).rev() {
                *start = scratch.walk.descend(&point, lists, layer, *start, first);
            }
        }
        let mut planned = Planned { lists: vec![Vec::new(); level as usize + 1], older: None };
        for layer in (0..=level).rev() {
            scratch.candidates.clear();
            if let Some(start) = &mut start
                && layer <= top
            {
                scratch.walk.search_layer(&point, lists, layer, *start, first, params.ef_construction, far);
                scratch.candidates.extend_from_slice(scratch.walk.nearest());
                *start = scratch.candidates[0];
            }
            self.add_mates(layer, scratch);
            sort_candidates(node, &mut scratch.candidates);
            if layer == 0 {
                planned.older = scratch.candidates.iter().map(|n| n.node).find(|n| *n < node);
            }
            scratch.candidates.truncate(params.ef_construction);
            select_neighbors(space, &scratch.candidates, { static K: std::sync::LazyLock<usize> = std::sync::LazyLock::new(|| std::env::var("FWD").ok().and_then(|x| x.parse().ok()).unwrap_or(0)); if layer == 0 && *K > 0 { *K } else { params.m } }, &mut scratch.selected);
            let list = &mut planned.lists[layer as usize];
            list.extend(scratch.selected.iter().map(|n| n.node));
        }
        keep_older(&mut planned, params.m);
        planned
    }
}

/// Makes sure that the nearest older node is in the list of layer 0.
pub(super) fn keep_older(planned: &mut Planned, bound: usize) {
    let list = &mut planned.lists[0];
    if let Some(older) = planned.older
        && !list.contains(&older)
    {
        list.truncate(bound - 1);
        list.push(older);
    }
}

impl<S: Space, L: LinkWriter> Plan<'_, '_, S, L> {
    /// Distances of the other nodes of the batch.
    #[inline(always)]
    fn score_mates<P: Point>(&self, point: &P, node: NodeId, mates: &mut Vec<Neighbor>) {
        let Batch { first, end, .. } = *self.0;
        mates.clear();
        let mut at = first;
        while at < end && end - first > 1 {
            let four = [at, (at + 1).min(end - 1), (at + 2).min(end - 1), (at + 3).min(end - 1)];
            let distances = point.distance4(four);
            for i in 0..(end - at).min(4) as usize {
                if four[i] != node {
                    mates.push(Neighbor { distance: finite(distances[i]), node: four[i] });
                }
            }
            at += 4;
        }
    }

    /// Joins the nodes of the batch that are on this layer, unless they are farther than all the walk found.
    #[inline(always)]
    fn add_mates(&self, layer: u8, scratch: &mut BuildScratch) {
        let Batch { params, .. } = *self.0;
        let BuildScratch { candidates, mates, .. } = scratch;
        let bound = match candidates.last() {
            Some(last) if candidates.len() >= params.ef_construction => last.distance,
            _ => f32::INFINITY,
        };
        let near = mates.iter().filter(|mate| mate.distance <= bound);
        candidates.extend(near.filter(|mate| layer == 0 || level_of(mate.node, params.m) >= layer));
    }
}

/// The nodes of a stored list, without what does not belong in one.
pub(super) fn read(list: &[AtomicU32], node: NodeId, count: u32, out: &mut Vec<NodeId>) {
    out.clear();
    for slot in list {
        let id = slot.load(Ordering::Relaxed);
        if id == NONE {
            return;
        }
        if id < count && id != node && !out.contains(&id) {
            out.push(id);
        }
    }
}

/// Distances from `point` to every node of a list, sorted.
#[inline(always)]
pub(super) fn score_list<P: Point>(point: &P, node: NodeId, list: &[NodeId], out: &mut Vec<Neighbor>) {
    out.clear();
    let ahead = point.lookahead();
    list.iter().take(ahead).for_each(|node| point.prefetch(*node));
    for (at, four) in list.chunks(4).enumerate() {
        list.iter().skip(at * 4 + ahead).take(4).for_each(|node| point.prefetch(*node));
        let id = |i: usize| four[i.min(four.len() - 1)];
        let distances = point.distance4([id(0), id(1), id(2), id(3)]);
        out.extend(four.iter().zip(distances).map(|(&node, d)| Neighbor { distance: finite(d), node }));
    }
    sort_candidates(node, out);
}

/// Step 2: a node's list with the nodes that selected it.
struct Merge<'a, 'b, S, L> {
    batch: &'a Batch<'b, S, L>,
    planned: &'a [Planned],
    groups: &'a [&'a [Edge]],
}

impl<S: Space, L: LinkWriter> Job for Merge<'_, '_, S, L> {
    type Output = Merged;

    #[inline(always)]
    fn run(&self, scratch: &mut BuildScratch, index: usize) -> Merged {
        let Batch { space, lists, first, params, .. } = *self.batch;
        let (layer, target, _) = self.groups[index][0];
        let mut list = Vec::with_capacity(params.degree(layer));
        let new = target.checked_sub(first).map(|i| &self.planned[i as usize]);
        match new {
            Some(planned) => list.extend_from_slice(&planned.lists[layer as usize]),
            None if layer == 0 => read(lists.base(target), target, first, &mut list),
            None => read(lists.upper(target, layer), target, first, &mut list),
        }
        let known = list.len();
        for &(_, _, source) in self.groups[index] {
            if !list[..known].contains(&source) {
                list.push(source);
            }
        }
        if list.len() <= params.degree(layer) {
            return Merged { list, before: None };
        }
        let mut buffer = S::Buffer::default();
        let point = space.point(target, &mut buffer);
        score_list(&point, target, &list, &mut scratch.candidates);
        select_neighbors(space, &scratch.candidates, params.keep(layer), &mut scratch.selected);
        let kept: Vec<NodeId> = scratch.selected.iter().map(|n| n.node).collect();
        if layer > 0 {
            return Merged { list: kept, before: None };
        }
        if let Some(planned) = new {
            let mut kept = Planned { lists: vec![kept], older: planned.older };
            keep_older(&mut kept, params.m0);
            return Merged { list: kept.lists.swap_remove(0), before: None };
        }
        list.truncate(known);
        let dropped = list.iter().any(|node| !kept.contains(node));
        Merged { list: kept, before: dropped.then_some(list) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Build, Plane};
    use super::*;

    const PARAMS: Params = Params { m: 8, m0: 16, ef_construction: 40 };

    #[test]
    fn the_graph_does_not_depend_on_the_number_of_threads() {
        let build = |threads| Build::new(Plane::random(2_000, 1), PARAMS).insert(batch_limit, threads).fill(threads);
        let one = build(1);
        for threads in [2, 3, 8] {
            let other = build(threads);
            assert!(one.lists.all() == other.lists.all() && one.entry == other.entry, "{threads} threads");
        }
    }

    #[test]
    fn the_entry_point_is_the_oldest_node_of_the_highest_level() {
        let build = Build::new(Plane::random(700, 2), PARAMS);
        let mut expected = (0, 0);
        for node in 0..700 {
            let level = level_of(node, PARAMS.m);
            expected = if level > expected.1 { (node, level) } else { expected };
        }
        assert_eq!(build.insert(|_| 33, 1).entry, Some(expected));
    }

    #[test]
    fn nodes_of_one_batch_find_each_other() {
        // A new cluster, far from all that was there: in a single batch it is found as well as one by one.
        let mut points = Plane::random(600, 5).points;
        points.extend(Plane::random(400, 6).points.iter().map(|[x, y]| [x.fract() + 1_000.0, y.fract()]));
        let found = |batch| {
            let cut = |linked| if linked < 600 { 100 } else { batch };
            let build = Build::new(Plane::new(points.clone()), PARAMS).insert(cut, 1);
            let mut walk = super::super::Walk::default();
            let found_by = |node| {
                let mut buffer = ();
                let point = build.space.point(node, &mut buffer);
                let nearest = walk.search(&point, &build.lists, build.entry.unwrap(), 1_000, 100);
                let truth = build.space.sorted_around(node);
                truth[..5].iter().filter(|t| nearest.iter().any(|n| n.node == t.node)).count()
            };
            (600..1_000).map(found_by).sum::<usize>()
        };
        let (together, one_by_one) = (found(400), found(1));
        assert!(together >= one_by_one && together > 1_900, "{together} together, {one_by_one} one by one");
    }

    #[test]
    fn every_new_node_links_to_its_nearest_older_one() {
        let build = Build::new(Plane::random(300, 8), Params { m: 16, m0: 96, ef_construction: 400 });
        let build = build.insert(|_| 40, 1);
        for node in 1..300 {
            let nearest = build.space.sorted_around(node).into_iter().find(|n| n.node < node).unwrap();
            assert!(build.lists.list(0, node).contains(&nearest.node), "node {node}");
        }
    }
}
