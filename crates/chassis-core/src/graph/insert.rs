//! Inserting a batch of nodes: plan against the frozen graph, merge, and only then write.
//!
//! 1. *Plan*, in parallel: each new node walks the graph as it was before the batch, looks at every other node of
//!    the batch as well, and selects its links on each of its layers.
//! 2. *Merge*, in parallel: each node that was selected joins the nodes that selected it to its own list, and
//!    prunes the list when it is too long.
//! 3. *Write*: the new nodes' own lists first, then the lists that lead to them.
//!
//! The first two steps read the old graph and write nothing, and their results are put in order before anyone
//! looks at them: the outcome does not depend on threads. Between them each new node gets its parent (see
//! `tree`), one after another. As the nodes of a batch see each other, a batch is no worse than one by one, even
//! when it holds a cluster of its own.

use crate::error::Result;

use super::effort::Effort;
use super::merge::{self, Draft, Edge, Merge, measure};
use super::select_neighbors::select_neighbors;
use super::step::finite;
use super::tree::Parents;
use super::work::{self, BuildScratch, Job, sort_candidates};
use super::{LinkWriter, Lists, Neighbor, NodeId, Params, Point, Selection, Space, level_of};

/// The most nodes of one batch: each looks at all others, which must stay cheap beside its walk.
const MAX_BATCH: usize = 512;

/// How many nodes to insert at once into a graph of `linked` nodes.
pub fn batch_limit(linked: usize) -> usize {
    (linked / 8).clamp(16, MAX_BATCH)
}

/// What a batch is inserted into.
struct Batch<'a, S, L> {
    space: &'a S,
    lists: &'a L,
    /// The first new node; all before it are in the graph.
    first: NodeId,
    /// One past the last new node.
    end: NodeId,
    entry: Option<(NodeId, u8)>,
    params: &'a Params,
    selection: Selection,
}

/// A new node, on its way into the graph.
struct Planned {
    /// Its list on each of its layers.
    lists: Vec<Vec<NodeId>>,
    /// The nearest node that is older.
    older: Option<NodeId>,
}

/// Links nodes `first .. first + count`, whose lists are empty, and returns the entry point afterwards.
#[expect(clippy::too_many_arguments, reason = "the seam to the facade; all of it is needed")]
pub fn insert_batch<S: Space, L: LinkWriter>(
    space: &S,
    links: &mut L,
    first: NodeId,
    count: u32,
    entry: Option<(NodeId, u8)>,
    params: &Params,
    selection: Selection,
    threads: usize,
    scratch: &mut Vec<BuildScratch>,
) -> Result<(NodeId, u8)> {
    let batch = Batch { space, lists: &*links, first, end: first + count, entry, params, selection };
    work::reserve(scratch, threads, batch.end)?;
    let mut planned = work::run(space, threads, scratch, count as usize, &Plan(&batch));
    let mut parents = Parents::new(batch.lists, first, params.m0);
    planned.iter_mut().for_each(|planned| lead_with_parent(planned, &mut parents, params.m0));
    let mut edges = reverse_edges(first, &planned);
    let groups = merge::group(&mut edges);
    let draft = &Drafted { first, planned: &planned, parents: &parents };
    let (lists, groups) = (batch.lists, groups.as_slice());
    let merge = Merge { space, lists, draft, groups, count: first, params, selection };
    let merged = work::run(space, threads, scratch, groups.len(), &merge);
    let mut targets = Vec::with_capacity(groups.len());
    for (group, list) in groups.iter().zip(merged) {
        let (layer, target, _) = group[0];
        match target.checked_sub(first) {
            Some(new) => planned[new as usize].lists[layer as usize] = list,
            None => targets.push((layer, target, list)),
        }
    }
    write(links, first, &planned, &targets)?;
    Ok(entry_after(first, entry, &planned))
}

/// Puts a node's parent in front of its list on layer 0.
fn lead_with_parent<L: Lists>(planned: &mut Planned, parents: &mut Parents<'_, L>, m0: usize) {
    let list = &mut planned.lists[0];
    let nearest: Vec<NodeId> = planned.older.iter().chain(list.iter()).copied().collect();
    if let Some(parent) = parents.choose(&nearest) {
        list.retain(|node| *node != parent);
        list.insert(0, parent);
        list.truncate(m0);
    }
}

/// The node of the highest level; of several, the oldest.
fn entry_after(first: NodeId, entry: Option<(NodeId, u8)>, planned: &[Planned]) -> (NodeId, u8) {
    let new = planned.iter().zip(first..).map(|(planned, node)| (node, (planned.lists.len() - 1) as u8));
    entry
        .into_iter()
        .chain(new)
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .unwrap_or((first, 0))
}

/// New nodes' own lists before the lists that lead to them: a reader that comes upon a node finds its way on.
fn write<L: LinkWriter>(
    links: &mut L,
    first: NodeId,
    planned: &[Planned],
    targets: &[(u8, NodeId, Vec<NodeId>)],
) -> Result<()> {
    let mut all: Vec<(u8, NodeId, &Vec<NodeId>)> = Vec::new();
    for (planned, node) in planned.iter().zip(first..) {
        all.extend(layers(planned).map(|(layer, list)| (layer, node, list)));
    }
    all.extend(targets.iter().map(|(layer, node, list)| (*layer, *node, list)));
    let places: Vec<(u8, NodeId)> = all.iter().map(|&(layer, node, _)| (layer, node)).collect();
    links.prepare(&places)?;
    for (layer, node, list) in all {
        links.write(layer, node, list);
    }
    Ok(())
}

fn layers(planned: &Planned) -> impl Iterator<Item = (u8, &Vec<NodeId>)> {
    (0u8..).zip(&planned.lists)
}

fn reverse_edges(first: NodeId, planned: &[Planned]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (planned, node) in planned.iter().zip(first..) {
        for (layer, list) in layers(planned) {
            edges.extend(list.iter().map(|&target| (layer, target, node)));
        }
    }
    edges
}

/// The new nodes as the merge sees them.
struct Drafted<'a, 'b, L> {
    first: NodeId,
    planned: &'a [Planned],
    parents: &'a Parents<'b, L>,
}

impl<L: LinkWriter> Draft for Drafted<'_, '_, L> {
    #[inline(always)]
    fn list(&self, layer: u8, node: NodeId) -> Option<&[NodeId]> {
        let new = node.checked_sub(self.first)?;
        Some(&self.planned[new as usize].lists[layer as usize])
    }

    #[inline(always)]
    fn parent(&self, node: NodeId) -> Option<NodeId> {
        self.parents.of(node)
    }
}

/// Step 1: the links a new node makes.
struct Plan<'a, 'b, S, L>(&'a Batch<'b, S, L>);

impl<S: Space, L: LinkWriter> Job for Plan<'_, '_, S, L> {
    type Output = Planned;

    #[inline(always)]
    fn run(&self, scratch: &mut BuildScratch, index: usize) -> Planned {
        let Batch { space, lists, first, entry, params, selection, .. } = *self.0;
        let node = first + index as NodeId;
        let level = level_of(node, params.m);
        let mut buffer = S::Buffer::default();
        let guide = space.guide(node, &mut buffer);
        let point = space.point(node);
        self.score_mates(&guide, node, &mut scratch.mates);
        let mut start = entry.map(|(node, _)| scratch.walk.first(&guide, node));
        let far = start.map_or(0.0, |start| start.distance);
        let top = entry.map_or(0, |(_, top)| top);
        if let Some(start) = &mut start {
            for layer in (level + 1..=top).rev() {
                *start = scratch.walk.descend(&guide, lists, layer, *start, first);
            }
        }
        let mut planned = Planned { lists: vec![Vec::new(); level as usize + 1], older: None };
        for layer in (0..=level).rev() {
            scratch.candidates.clear();
            if let Some(start) = &mut start
                && layer <= top
            {
                let effort = Effort::of(params.ef_construction);
                scratch.walk.search_layer(&guide, lists, layer, &[*start], first, effort, far);
                scratch.candidates.extend_from_slice(scratch.walk.nearest());
                *start = scratch.candidates[0];
            }
            self.add_mates(layer, scratch);
            sort_candidates(node, &mut scratch.candidates);
            // There is always one before the list is cut: mates alone may be nearer than every older node.
            let older = nearest_older(node, &scratch.candidates);
            scratch.candidates.truncate(params.ef_construction);
            if S::ESTIMATES {
                measure(&point, node, &mut scratch.candidates);
            }
            planned.older = nearest_older(node, &scratch.candidates).or(older);
            let (bound, alpha) = (selection.links(params, layer), selection.alpha());
            select_neighbors(space, &scratch.candidates, bound, alpha, |_| false, &mut scratch.selected);
            let list = &mut planned.lists[layer as usize];
            list.extend(scratch.selected.iter().map(|n| n.node));
        }
        planned
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
            let four = [0, 1, 2, 3].map(|i| at.saturating_add(i).min(end - 1));
            let distances = point.distance4(four);
            for i in 0..(end - at).min(4) as usize {
                if four[i] != node {
                    mates.push(Neighbor { distance: finite(distances[i]), node: four[i] });
                }
            }
            at = at.saturating_add(4);
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

/// The nearest candidate that was there before a node.
fn nearest_older(node: NodeId, candidates: &[Neighbor]) -> Option<NodeId> {
    candidates.iter().map(|n| n.node).find(|other| *other < node)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Build, Plane, shapes};
    use super::*;

    const PARAMS: Params = Params { m: 8, m0: 16, ef_construction: 40 };

    #[test]
    fn the_graph_does_not_depend_on_the_number_of_threads() {
        for selection in [Selection::Provisional, Selection::Settled(1.1)] {
            let build = |threads| {
                let build = Build::new(Plane::random(2_000, 1), PARAMS);
                build.insert_with(batch_limit, selection, threads).fill(threads)
            };
            let one = build(1);
            for threads in [2, 3, 8] {
                let other = build(threads);
                let same = one.lists.all() == other.lists.all() && one.entry == other.entry;
                assert!(same, "{selection:?}, {threads} threads");
            }
        }
    }

    #[test]
    fn graphs_that_no_refine_pass_follows_are_sound_and_keep_full_lists_full() {
        for params in [Params { m: 2, m0: 4, ef_construction: 8 }, Params { m: 4, m0: 4, ..PARAMS }, PARAMS] {
            for alpha in [1.0, 1.2] {
                for (name, space) in shapes(1) {
                    let build =
                        Build::new(space, params).insert_with(batch_limit, Selection::Settled(alpha), 1);
                    build.assert_sound(&format!("{name}, alpha {alpha}, {params:?}"));
                }
            }
        }
        // Filled, then grown by a tenth: the mean length of the first lists.
        let mean = |build: &Build| {
            (0..2_000).map(|node| build.lists.list(0, node).len()).sum::<usize>() as f64 / 2_000.0
        };
        let all = Plane::random(2_200, 9).points;
        let first = || Build::new(Plane::new(all[..2_000].to_vec()), PARAMS).insert(batch_limit, 1).fill(1);
        let grown =
            |selection| Build { space: Plane::new(all.clone()), ..first() }.insert_with(|_| 50, selection, 1);
        let (full, shortened, kept) =
            (first(), grown(Selection::Provisional), grown(Selection::Settled(1.1)));
        let [full, shortened, kept] = [&full, &shortened, &kept].map(mean);
        assert!(kept > 0.95 * full && shortened < 0.9 * full, "{full}, {shortened}, {kept}");
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
                let point = build.space.point(node);
                let nearest = walk.search(&point, &build.lists, build.entry.unwrap(), 1_000, Effort::of(100));
                let truth = build.space.sorted_around(node);
                truth[..5].iter().filter(|t| nearest.iter().any(|n| n.node == t.node)).count()
            };
            (600..1_000).map(found_by).sum::<usize>()
        };
        let (together, one_by_one) = (found(400), found(1));
        assert!(together >= one_by_one && together > 1_900, "{together} together, {one_by_one} one by one");
    }
}
