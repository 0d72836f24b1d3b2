//! The end of a bulk build: every list of layer 0 in order and full.
//!
//! While a graph grows, lists keep room, or every new link would prune a list. Once it has its size the room is
//! better used. A list is rewritten with its parent in front, its other nodes nearest first, and then the nearest
//! nodes two links away. Links are only added, so what could be reached still can; and they come last, so the first
//! links of a list are still a graph, a thinner one.

use crate::error::Result;

use super::merge::{read, score_list};
use super::tree::parent_of;
use super::work::{self, BuildScratch, Job, sort_candidates};
use super::{LinkWriter, NodeId, Params, Space};

/// Nodes rewritten at once. Later ones see the lists of earlier ones filled.
const CHUNK: u32 = 8_192;
/// A list takes its fillers from the lists of this many of its nearest nodes.
const VIA: usize = 8;

/// Fills the lists of the first `count` nodes.
pub fn fill<S: Space, L: LinkWriter>(
    space: &S,
    links: &mut L,
    count: u32,
    params: &Params,
    threads: usize,
    scratch: &mut Vec<BuildScratch>,
) -> Result<()> {
    work::reserve(scratch, threads, count)?;
    for first in (0..count).step_by(CHUNK as usize) {
        let end = first.saturating_add(CHUNK).min(count);
        let job = Fill { space, lists: &*links, first, count, params };
        let lists = work::run(space, threads, scratch, (end - first) as usize, &job);
        let places: Vec<(u8, NodeId)> = (first..end).map(|node| (0, node)).collect();
        links.prepare(&places)?;
        for (node, list) in (first..end).zip(&lists) {
            links.write(0, node, list);
        }
    }
    Ok(())
}

struct Fill<'a, S, L> {
    space: &'a S,
    lists: &'a L,
    first: NodeId,
    count: u32,
    params: &'a Params,
}

impl<S: Space, L: LinkWriter> Job for Fill<'_, S, L> {
    type Output = Vec<NodeId>;

    #[inline(always)]
    fn run(&self, scratch: &mut BuildScratch, index: usize) -> Vec<NodeId> {
        let node = self.first + index as NodeId;
        let point = self.space.point(node);
        let mut list = Vec::with_capacity(self.params.m0);
        read(self.lists.base(node), node, self.count, &mut list);
        score_list(&point, node, &list, &mut scratch.candidates);
        // A damaged one goes no further.
        let parent = parent_of(self.lists, node).filter(|parent| *parent < self.count && *parent != node);
        let rest = scratch.candidates.iter().map(|n| n.node).filter(|other| parent != Some(*other));
        list.clear();
        list.extend(parent.into_iter().chain(rest));
        if list.len() >= self.params.m0 {
            return list;
        }
        scratch.candidates.clear();
        let mut buffer = S::Buffer::default();
        let guide = self.space.guide(node, &mut buffer);
        scratch.walk.gather_around(&guide, self.lists, node, &list, VIA, self.count, &mut scratch.candidates);
        sort_candidates(node, &mut scratch.candidates);
        let room = self.params.m0 - list.len();
        list.extend(scratch.candidates.iter().take(room).map(|n| n.node));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Build, Plane};
    use super::super::tree::parent_of;
    use super::super::{LinkWriter, NodeId, Params, batch_limit};

    #[test]
    fn lists_are_full_and_the_links_from_before_come_first_in_order() {
        let params = Params { m: 8, m0: 16, ef_construction: 40 };
        let build = || Build::new(Plane::random(1_500, 7), params).insert(batch_limit, 1);
        let (before, after) = (build(), build().fill(1));
        let mut full = 0;
        for node in 0..1_500 {
            let (old, new) = (before.lists.list(0, node), after.lists.list(0, node));
            let mut sorted = old.clone();
            sorted[(node > 0) as usize..]
                .sort_by(|a, b| after.space.distance(node, *a).total_cmp(&after.space.distance(node, *b)));
            assert_eq!(new[..old.len()], sorted, "node {node}");
            full += (new.len() == params.m0) as usize;
        }
        assert!(full > 1_000, "{full} of 1500 lists are full");
        assert_eq!(after.problems(), []);
    }

    #[test]
    fn links_that_a_refine_selected_come_before_fillers_that_are_nearer() {
        const COUNT: u32 = 900;
        let params = Params { m: 8, m0: 16, ef_construction: 40 };
        for alpha in [1.0, 1.1] {
            let space = || Plane::random(COUNT as usize, 7);
            let refined = || Build::new(space(), params).insert(batch_limit, 1).refine(alpha, 24, 1);
            let (before, after) = (refined(), refined().fill(1));
            let mut nearer = 0;
            for node in 0..COUNT {
                let (old, new) = (before.lists.list(0, node), after.lists.list(0, node));
                let around: Vec<NodeId> = after.space.sorted_around(node).iter().map(|n| n.node).collect();
                let in_order = |list: &[NodeId]| -> Vec<NodeId> {
                    around.iter().copied().filter(|n| list.contains(n)).collect()
                };
                let parent = parent_of(&before.lists, node);
                let mut expected = in_order(&old);
                expected.retain(|other| parent != Some(*other));
                expected.splice(0..0, parent);
                let (links, fillers) = new.split_at(old.len());
                assert_eq!(links, expected, "node {node}, alpha {alpha}");
                assert_eq!(fillers, in_order(fillers), "fillers of node {node}, alpha {alpha}");
                let place = |other: Option<&NodeId>| around.iter().position(|n| Some(n) == other);
                nearer += u32::from(!fillers.is_empty() && place(fillers.first()) < place(links.last()));
            }
            assert!(
                nearer > COUNT / 2,
                "alpha {alpha}: {nearer} of {COUNT} begin with a filler nearer than a link"
            );
            assert_eq!(after.problems(), []);
        }
    }

    #[test]
    fn a_damaged_parent_is_not_written_again() {
        let params = Params { m: 8, m0: 16, ef_construction: 40 };
        let build = Build::new(Plane::random(300, 7), params).insert(batch_limit, 1);
        for (node, parent) in [(7, 300), (8, 8), (9, u32::MAX - 1)] {
            let mut list = build.lists.list(0, node);
            list[0] = parent;
            build.lists.write(0, node, &list);
        }
        let after = build.fill(1);
        for node in 0..300 {
            let list = after.lists.list(0, node);
            assert!(list.iter().all(|other| *other < 300 && *other != node), "node {node}: {list:?}");
        }
    }
}
