//! The end of a bulk build: every node selects its links on layer 0 again, in the finished graph.
//!
//! A node was linked in the graph of its time, and of what came later it knows what came to it. Looked for again,
//! its neighbors are the nearest of all. A chunk of nodes at a time is refined as a batch is inserted: each walks
//! the graph as the chunk before left it, selects from what the walk found and from the links it has, and joins the
//! lists of those it selected; then all lists are written. Again nothing depends on the number of threads.
//!
//! The tree stays as it is (see `tree`): a parent is in front of its child's list and a child in its parent's,
//! selected or not. So the invariants hold after every chunk, and at any time a search may be reading.
//!
//! Room that is left in a list is for `fill`, which puts its fillers behind the links selected here.

use crate::error::{Error, ErrorKind, Result};

use super::effort::Effort;
use super::merge::{self, Draft, Edge, Merge, lead_with, measure, read, shorten};
use super::select_neighbors::select_neighbors;
use super::tree::parent_of;
use super::work::{self, BuildScratch, Job, sort_candidates};
use super::{LinkWriter, Neighbor, NodeId, Params, Selection, Space};

/// Nodes refined at once. Chunks of 512 gave no better graph, one chunk of 60,000 a worse one by 4 % of distances.
const CHUNK: u32 = 4_096;

/// Refines the lists of the first `count` nodes, which are all there are. `alpha` is [`Params::alpha`], or 1 where
/// distances may be negative; `ef` is the number of candidates a walk holds. Before each chunk `go_on` is told how
/// many nodes are done, of how many. When it returns false that is the end, with [`ErrorKind::Cancelled`]: the
/// graph is sound, and part of it refined.
#[expect(clippy::too_many_arguments, reason = "the seam to the facade; all of it is needed")]
pub fn refine<S: Space, L: LinkWriter>(
    space: &S,
    links: &mut L,
    count: u32,
    entry: NodeId,
    params: &Params,
    alpha: f32,
    ef: usize,
    threads: usize,
    scratch: &mut Vec<BuildScratch>,
    go_on: &dyn Fn(usize, usize) -> bool,
) -> Result<()> {
    work::reserve(scratch, threads, count)?;
    for first in (0..count).step_by(CHUNK as usize) {
        if !go_on(first as usize, count as usize) {
            let message = format!("cancelled after refining {first} of {count} nodes");
            return Err(Error::new(ErrorKind::Cancelled, message));
        }
        let size = CHUNK.min(count - first) as usize;
        let lists = &*links;
        let select = Select { space, lists, first, count, entry, params, alpha, ef };
        let mut own = work::run(space, threads, scratch, size, &select);
        let mut edges = reverse_edges(first, &own);
        let (groups, draft) = (&merge::group(&mut edges), &Selected { lists, first, own: &own });
        let selection = Selection::Settled(alpha);
        let merge = Merge { space, lists, draft, groups, count, params, selection };
        let merged = work::run(space, threads, scratch, groups.len(), &merge);
        let mut others = Vec::with_capacity(groups.len());
        for (group, list) in groups.iter().zip(merged) {
            let (_, target, _) = group[0];
            match target.checked_sub(first).and_then(|at| own.get_mut(at as usize)) {
                Some(own) => *own = list,
                None => others.push((target, list)),
            }
        }
        let all: Vec<(NodeId, &[NodeId])> = (first..)
            .zip(own.iter().map(Vec::as_slice))
            .chain(others.iter().map(|(node, list)| (*node, list.as_slice())))
            .collect();
        links.prepare(&all.iter().map(|(node, _)| (0, *node)).collect::<Vec<_>>())?;
        work::run(space, threads, scratch, all.len(), &Write { lists: &*links, all: &all });
    }
    Ok(())
}

/// Writes lists, in any order. They are in pages all over the graph: one thread took 3 % of the time of a build by two.
struct Write<'a, L> {
    lists: &'a L,
    all: &'a [(NodeId, &'a [NodeId])],
}

impl<L: LinkWriter> Job for Write<'_, L> {
    type Output = ();

    fn run(&self, _: &mut BuildScratch, index: usize) {
        let (node, list) = self.all[index];
        self.lists.write(0, node, list);
    }
}

fn reverse_edges(first: NodeId, own: &[Vec<NodeId>]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (list, node) in own.iter().zip(first..) {
        edges.extend(list.iter().map(|&target| (0, target, node)));
    }
    edges
}

/// The chunk's lists as the merge sees them.
struct Selected<'a, L> {
    lists: &'a L,
    first: NodeId,
    own: &'a [Vec<NodeId>],
}

impl<L: LinkWriter> Draft for Selected<'_, L> {
    #[inline(always)]
    fn list(&self, _: u8, node: NodeId) -> Option<&[NodeId]> {
        let at = node.checked_sub(self.first)?;
        Some(self.own.get(at as usize)?)
    }

    #[inline(always)]
    fn parent(&self, node: NodeId) -> Option<NodeId> {
        parent_of(self.lists, node)
    }
}

/// The links a node selects.
struct Select<'a, S, L> {
    space: &'a S,
    lists: &'a L,
    first: NodeId,
    count: u32,
    entry: NodeId,
    params: &'a Params,
    alpha: f32,
    ef: usize,
}

impl<S: Space, L: LinkWriter> Job for Select<'_, S, L> {
    type Output = Vec<NodeId>;

    #[inline(always)]
    fn run(&self, scratch: &mut BuildScratch, index: usize) -> Vec<NodeId> {
        let Select { space, lists, first, count, entry, params, alpha, ef } = *self;
        let BuildScratch { walk, candidates, selected, .. } = scratch;
        let node = first + index as NodeId;
        let mut buffer = S::Buffer::default();
        let guide = space.guide(node, &mut buffer);
        let point = space.point(node);
        // From the node itself: what is near it is near. Coming down from the entry point finds the same and takes
        // 5 to 20 % longer. The entry point is but a node that is far from most.
        let (far, start) = (walk.first(&guide, entry).distance, walk.first(&guide, node));
        candidates.clear();
        candidates.extend_from_slice(walk.search_from(&guide, lists, &[start], count, Effort::of(ef), far));
        candidates.retain(|n| n.node != node);
        let walked = candidates.len();
        let mut list = Vec::with_capacity(params.m0);
        read(lists.base(node), node, count, &mut list);
        for &node in &list {
            if !candidates[..walked].iter().any(|n| n.node == node) {
                candidates.push(Neighbor { distance: 0.0, node });
            }
        }
        if S::ESTIMATES {
            measure(&point, node, candidates);
        } else {
            // What the walk found has its exact distance.
            measure(&point, node, &mut candidates[walked..]);
            sort_candidates(node, candidates);
        }
        let parent = parent_of(lists, node);
        let fixed = |other| parent == Some(other) || parent_of(lists, other) == Some(node);
        select_neighbors(space, candidates, params.m0, alpha, fixed, selected);
        shorten(selected, params.m0, fixed);
        lead_with(parent, selected, &mut list);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Build, Plane, shapes};
    use super::super::{Walk, batch_limit};
    use super::*;

    const TINY: Params = Params { m: 2, m0: 4, ef_construction: 8 };
    const PARAMS: Params = Params { m: 8, m0: 16, ef_construction: 40 };

    /// Each node's parent.
    fn parents(build: &Build) -> Vec<Option<NodeId>> {
        (0..build.lists.count()).map(|node| parent_of(&build.lists, node)).collect()
    }

    #[test]
    fn the_invariants_and_the_tree_are_kept_whatever_the_points() {
        for params in [TINY, Params { m: 4, m0: 4, ef_construction: 16 }, PARAMS] {
            for alpha in [1.0, 1.2] {
                for (name, space) in shapes(1) {
                    let what = format!("{name}, alpha {alpha}, {params:?}");
                    let build = Build::new(space, params).insert(batch_limit, 1);
                    let tree = parents(&build);
                    let build = build.refine(alpha, 20, 1);
                    build.assert_sound(&what);
                    let build = build.fill(1).refine(alpha, 30, 1).fill(1);
                    build.assert_sound(&format!("twice, {what}"));
                    assert!(tree == parents(&build), "another tree: {what}");
                }
            }
        }
    }

    #[test]
    fn the_graph_does_not_depend_on_the_number_of_threads() {
        let space = || Plane { error: 0.1, ..Plane::random(CHUNK as usize + 900, 1) };
        let build = |threads| Build::new(space(), PARAMS).insert(batch_limit, 2).refine(1.1, 24, threads);
        let (plain, one) = (Build::new(space(), PARAMS).insert(batch_limit, 2), build(1));
        assert!(plain.lists.all() != one.lists.all());
        for threads in [2, 3, 8] {
            assert!(one.lists.all() == build(threads).lists.all(), "{threads} threads");
        }
    }

    /// Of the true ten nearest of each point, how many a search finds, and the nodes it meets on the way.
    fn found(build: &Build, ef: usize) -> (usize, usize) {
        let (mut walk, mut found, mut met) = (Walk::default(), 0, 0);
        let count = build.lists.count();
        for node in (0..count).step_by(7) {
            let point = build.space.point(node);
            let nearest = walk.search(&point, &build.lists, build.entry.unwrap(), count, Effort::of(ef));
            let truth = build.space.sorted_around(node);
            found += truth[..10].iter().filter(|t| nearest.iter().any(|n| n.node == t.node)).count();
            met += walk.done().met;
        }
        (found, met)
    }

    #[test]
    fn a_search_finds_more_with_less_work() {
        // Built with little effort, so that there is something to find again.
        let build = |seed| Build::new(Plane::random(3_000, seed), TINY).insert(batch_limit, 1);
        for seed in [21, 22] {
            let (plain, refined) = (build(seed).fill(1), build(seed).refine(1.0, 40, 1).fill(1));
            for (wide, narrow) in [(16, 11), (24, 16)] {
                let (before, after) = (found(&plain, wide), found(&refined, narrow));
                assert!(after.0 > before.0 && after.1 < before.1, "{before:?}, then {after:?}");
            }
        }
    }

    #[test]
    fn a_graph_built_with_effort_becomes_no_worse() {
        for seed in [21, 22] {
            let build = || Build::new(Plane::random(3_000, seed), PARAMS).insert(batch_limit, 1);
            let (plain, refined) = (build().fill(1), build().refine(1.0, 40, 1).fill(1));
            let (before, after) = (found(&plain, 11), found(&refined, 11));
            assert!(after.0 >= before.0 && after.1 <= before.1 * 51 / 50, "{before:?}, then {after:?}");
        }
    }

    #[test]
    fn cancelling_leaves_a_sound_graph() {
        let mut build = Build::new(Plane::random(CHUNK as usize + 500, 3), TINY).insert(batch_limit, 2);
        let before = build.lists.all();
        let calls = std::cell::RefCell::new(Vec::new());
        let Build { space, lists, params, entry } = &mut build;
        let count = space.points.len();
        let mut refine_until = |last: usize| {
            let go_on = |done: usize, all: usize| {
                calls.borrow_mut().push((done, all));
                done < last
            };
            let entry = entry.unwrap().0;
            refine(space, lists, count as u32, entry, params, 1.0, 16, 2, &mut Vec::new(), &go_on)
        };
        assert_eq!(refine_until(0).unwrap_err().kind(), ErrorKind::Cancelled);
        let error = refine_until(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(error.message(), "cancelled after refining 4096 of 4596 nodes");
        assert!(before != build.lists.all());
        build.assert_sound("cancelled");
        let chunk = CHUNK as usize;
        assert_eq!(calls.into_inner(), [(0, count), (0, count), (chunk, count)]);
    }
}
