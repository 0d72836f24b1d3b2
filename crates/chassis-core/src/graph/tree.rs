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
    use super::super::testing::{Build, Plane};
    use super::super::{NodeId, Params, batch_limit};

    const TINY: Params = Params { m: 2, m0: 4, ef_construction: 8 };
    const USUAL: Params = Params { m: 16, m0: 32, ef_construction: 60 };

    /// The invariants, and that node 0 can be reached from every node: with the check's own walk from the entry
    /// point that makes every node reachable from every other.
    fn assert_sound(build: &Build, what: &str) {
        assert_eq!(build.problems(), [], "{what}");
        let count = build.lists.count();
        let mut back = vec![Vec::new(); count as usize];
        for node in 0..count {
            build.lists.list(0, node).iter().for_each(|to| back[*to as usize].push(node));
        }
        let mut reached = vec![false; count as usize];
        let mut open: Vec<NodeId> = vec![0];
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut reached[node as usize], true) {
                open.extend(&back[node as usize]);
            }
        }
        assert_eq!(reached.iter().position(|reached| !reached), None, "{what}: no way to node 0");
        for node in 1..count {
            let parent = build.lists.list(0, node)[0];
            assert!(build.lists.list(0, parent).contains(&node), "{what}: node {node} of parent {parent}");
        }
    }

    /// Point sets that tear graphs apart.
    fn shapes(seed: u64) -> Vec<(&'static str, Plane)> {
        let random = Plane::random(1_200, seed);
        let mut lattice = Vec::new();
        (0..30).for_each(|x| lattice.extend((0..30).map(|y| [x as f32, y as f32])));
        let mut copies = vec![[0.5, 0.5]; 900];
        copies.extend(Plane::random(300, seed).points);
        let mut late_copies = Plane::random(300, seed).points;
        late_copies.extend(vec![[40.0, 40.0]; 700]);
        let line = (0..1_000).map(|i| [(i as f32).powi(3), 0.0]).collect();
        let far = |i: u32| [f32::MAX * if i.is_multiple_of(2) { 1.0 } else { -1.0 }, i as f32];
        let inner = Plane { inner: true, ..Plane::random(1_000, seed) };
        let rough = Plane { error: 0.5, ..Plane::random(1_000, seed) };
        vec![
            ("random", random),
            ("lattice", Plane::new(lattice)),
            ("copies first", Plane::new(copies)),
            ("copies last", Plane::new(late_copies)),
            ("a line", Plane::new(line)),
            ("infinitely far", Plane::new((0..600).map(far).collect())),
            ("inner product", inner),
            ("rough guides", rough),
        ]
    }

    #[test]
    fn every_node_reaches_every_other_whatever_the_points() {
        for seed in 0..3 {
            for params in [TINY, Params { m: 4, m0: 4, ef_construction: 16 }, USUAL] {
                for (name, space) in shapes(seed) {
                    let build = Build::new(space, params).insert(batch_limit, 1);
                    assert_sound(&build, &format!("{name}, seed {seed}, {params:?}"));
                    assert_sound(&build.fill(1), &format!("{name}, filled, seed {seed}, {params:?}"));
                }
            }
        }
    }

    #[test]
    fn batches_of_any_size_keep_it_so() {
        for batch in [1, 2, 7, 100, 500] {
            for (name, space) in shapes(9) {
                let build = Build::new(space, TINY).insert(|_| batch, 1);
                assert_sound(&build, &format!("{name}, batches of {batch}"));
            }
        }
    }

    #[test]
    fn inserting_goes_on_after_filling() {
        let space = Plane::random(1_500, 4);
        let (old, new) = space.points.split_at(1_000);
        let mut build = Build::new(Plane::new(old.to_vec()), USUAL).insert(batch_limit, 1).fill(1);
        build.space.points.extend_from_slice(new);
        assert_sound(&build.insert(|_| 50, 1), "filled, then grown");
    }
}
