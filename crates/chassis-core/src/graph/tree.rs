//! The tree inside layer 0 that keeps every node reachable, however lists are pruned.
//!
//! Each node but node 0 has a *parent*: a node that was there before it, near it, and first in its list. The
//! parent has it in its own list, and neither of the two links is ever dropped. So each node leads up to node 0
//! and node 0 leads down to each: on layer 0 every node can be reached from every other, by construction.
//!
//! A node has few children beside the links that are selected, at most half of its list. A new node whose
//! nearest nodes have no room is passed down to their children; a node without children has room.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::level::hash;
use super::{Lists, NONE, NodeId};

/// The parent of a node as its list says.
#[inline(always)]
pub(super) fn parent_of<L: Lists>(lists: &L, node: NodeId) -> Option<NodeId> {
    let first = lists.base(node).first()?.load(Ordering::Relaxed);
    (node != 0 && first != NONE).then_some(first)
}

/// The parents of a batch, chosen in the order of its nodes.
pub(super) struct Parents<'a, L> {
    lists: &'a L,
    /// The first node of the batch.
    first: NodeId,
    chosen: Vec<Option<NodeId>>,
    /// Children of the nodes asked for so far.
    children: BTreeMap<NodeId, Vec<NodeId>>,
    limit: usize,
}

impl<'a, L: Lists> Parents<'a, L> {
    pub(super) fn new(lists: &'a L, first: NodeId, m0: usize) -> Self {
        Parents { lists, first, chosen: Vec::new(), children: BTreeMap::new(), limit: m0 / 2 }
    }

    /// The parent of a node, new or old.
    #[inline(always)]
    pub(super) fn of(&self, node: NodeId) -> Option<NodeId> {
        match node.checked_sub(self.first) {
            Some(new) => self.chosen.get(new as usize).copied().flatten(),
            None => parent_of(self.lists, node),
        }
    }

    fn children(&mut self, node: NodeId) -> &mut Vec<NodeId> {
        let Parents { lists, first, children, .. } = self;
        children.entry(node).or_insert_with(|| {
            let list = if node < *first { lists.base(node) } else { &[] };
            let nodes = list.iter().map(|slot| slot.load(Ordering::Relaxed));
            nodes.filter(|child| *child < *first && parent_of(*lists, *child) == Some(node)).collect()
        })
    }

    /// Chooses the parent of the next node: the first of `nearest` that is older and has room, else a
    /// descendant of the nearest. Only node 0 gets none.
    pub(super) fn choose(&mut self, nearest: &[NodeId]) -> Option<NodeId> {
        let node = self.first + self.chosen.len() as NodeId;
        let mut older = nearest.iter().copied().filter(|other| *other < node);
        let found = older.clone().find(|other| self.children(*other).len() < self.limit);
        let parent = found.or_else(|| older.next().map(|start| self.descend(node, start)));
        if let Some(parent) = parent {
            self.children(parent).push(node);
        }
        self.chosen.push(parent);
        parent
    }

    /// Goes down from `start`, each time to a child picked by a hash, until one has room.
    fn descend(&mut self, node: NodeId, start: NodeId) -> NodeId {
        let (mut at, limit) = (start, self.limit);
        // In a sound graph a way down ends; in a damaged one it might not.
        for step in 0..node {
            let children = self.children(at);
            if children.len() < limit {
                break;
            }
            at = children[hash((node as u64) << 32 ^ step as u64) as usize % children.len()];
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Build, Plane, shapes};
    use super::super::{Params, batch_limit};

    const TINY: Params = Params { m: 2, m0: 4, ef_construction: 8 };
    const USUAL: Params = Params { m: 16, m0: 32, ef_construction: 60 };

    #[test]
    fn every_node_reaches_every_other_whatever_the_points() {
        for seed in 0..3 {
            for params in [TINY, Params { m: 4, m0: 4, ef_construction: 16 }, USUAL] {
                for (name, space) in shapes(seed) {
                    let build = Build::new(space, params).insert(batch_limit, 1);
                    build.assert_sound(&format!("{name}, seed {seed}, {params:?}"));
                    build.fill(1).assert_sound(&format!("{name}, filled, seed {seed}, {params:?}"));
                }
            }
        }
    }

    #[test]
    fn batches_of_any_size_keep_it_so() {
        for batch in [1, 2, 7, 100, 500] {
            for (name, space) in shapes(9) {
                let build = Build::new(space, TINY).insert(|_| batch, 1);
                build.assert_sound(&format!("{name}, batches of {batch}"));
            }
        }
    }

    #[test]
    fn inserting_goes_on_after_filling() {
        let space = Plane::random(1_500, 4);
        let (old, new) = space.points.split_at(1_000);
        let mut build = Build::new(Plane::new(old.to_vec()), USUAL).insert(batch_limit, 1).fill(1);
        build.space.points.extend_from_slice(new);
        build.insert(|_| 50, 1).assert_sound("filled, then grown");
    }
}
