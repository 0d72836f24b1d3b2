//! What keeps every node reachable from every other on layer 0, batch after batch.
//!
//! *Links between older nodes.* Pruning drops a link `t → x` only if the graph after the batch has a way round of
//! two links: some `s` that stays in the list of `t`, with `x` in its own. Links without one stay; if that is
//! more than the list can hold, the list stays as it was, and new nodes take what room there is. In
//! either case the links between older nodes that merging kept are kept for good, so the ways round hold, all of
//! them at once. Whoever could reach whom before the batch still can.
//!
//! *New nodes to older ones.* Each new node links to the nearest node older than itself, and keeps that link
//! while the batch lasts: by induction it leads to a node of the graph before.
//!
//! *Older nodes to new ones.* A new node whose every back link was pruned is attached to the first node of its
//! own list that has room; if none has, it is put into a link: `t → y` becomes `t → new → y`.

use std::sync::atomic::Ordering;

use super::insert::{Batch, Merged, Planned, Targets};
use super::work::{self, BuildScratch, Job};
use super::{LinkWriter, NONE, NodeId, Space};

/// Step 3a: gives back the dropped links that have no way round.
pub(super) fn settle<S: Space, L: LinkWriter>(
    batch: &Batch<'_, S, L>,
    planned: &[Planned],
    targets: &mut Targets,
    threads: usize,
    scratch: &mut Vec<BuildScratch>,
) {
    let pruned: Vec<NodeId> =
        targets.iter().filter(|(_, merged)| merged.before.is_some()).map(|((_, node), _)| *node).collect();
    let job = Settle { batch, planned, targets, pruned: &pruned };
    let settled = work::run(batch.space, threads, scratch, pruned.len(), &job);
    for (node, list) in pruned.into_iter().zip(settled) {
        targets.insert((0, node), Merged { list, before: None });
    }
}

struct Settle<'a, 'b, S, L> {
    batch: &'a Batch<'b, S, L>,
    planned: &'a [Planned],
    targets: &'a Targets,
    pruned: &'a [NodeId],
}

impl<S: Space, L: LinkWriter> Job for Settle<'_, '_, S, L> {
    type Output = Vec<NodeId>;

    #[inline(always)]
    fn run(&self, scratch: &mut BuildScratch, index: usize) -> Vec<NodeId> {
        let Batch { first, end, params, .. } = *self.batch;
        let merged = &self.targets[&(0, self.pruned[index])];
        let before = merged.before.as_deref().unwrap_or(&[]);
        let mut list = merged.list.clone();
        let missing = &mut scratch.walk.visited;
        missing.clear(end);
        let mut left = 0;
        for &node in before.iter().filter(|node| !merged.list.contains(node)) {
            left += missing.insert(node) as usize;
        }
        for &kept in &merged.list {
            if left == 0 {
                return list;
            }
            self.for_each_neighbor(kept, |node| left -= missing.remove(node) as usize);
        }
        list.extend(before.iter().filter(|node| missing.contains(**node)));
        if list.len() > params.m0 {
            let new = merged.list.iter().filter(|node| **node >= first);
            list = before.iter().chain(new).copied().take(params.m0).collect();
        }
        list
    }
}

impl<S: Space, L: LinkWriter> Settle<'_, '_, S, L> {
    /// The neighbors a node has after merging.
    #[inline(always)]
    fn for_each_neighbor(&self, node: NodeId, mut visit: impl FnMut(NodeId)) {
        let Batch { lists, first, .. } = *self.batch;
        if node >= first {
            return self.planned[(node - first) as usize].lists[0].iter().copied().for_each(visit);
        }
        if let Some(merged) = self.targets.get(&(0, node)) {
            return merged.list.iter().copied().for_each(visit);
        }
        for slot in lists.base(node) {
            match slot.load(Ordering::Relaxed) {
                NONE => return,
                neighbor => visit(neighbor),
            }
        }
    }
}

/// Step 3b: leads from the older nodes to every new one.
pub(super) fn attach<S: Space, L: LinkWriter>(
    batch: &Batch<'_, S, L>,
    planned: &mut [Planned],
    targets: &mut Targets,
) {
    let mut reached = Reached { first: batch.first, marks: vec![false; planned.len()], stack: Vec::new() };
    if batch.entry.is_none() {
        reached.mark(batch.first);
    }
    for ((layer, _), merged) in targets.iter() {
        if *layer == 0 {
            merged.list.iter().for_each(|node| reached.mark(*node));
        }
    }
    reached.spread(planned);
    for node in batch.first..batch.end {
        if !reached.holds(node) {
            attach_one(batch, planned, targets, &reached, node);
            reached.mark(node);
            reached.spread(planned);
        }
    }
}

fn attach_one<S: Space, L: LinkWriter>(
    batch: &Batch<'_, S, L>,
    planned: &mut [Planned],
    targets: &mut Targets,
    reached: &Reached,
    node: NodeId,
) {
    let (first, m0) = (batch.first, batch.params.m0);
    let own = planned[(node - first) as usize].lists[0].clone();
    let Some(older) = planned[(node - first) as usize].older else { return };
    for &target in own.iter().filter(|target| reached.holds(**target)) {
        if let Some(list) = list_of(first, planned, targets, target)
            && list.len() < m0
        {
            list.push(node);
            return;
        }
    }
    let Some(list) = list_of(first, planned, targets, older) else { return };
    let Some(last) = list.last_mut() else { return };
    let moved = std::mem::replace(last, node);
    let own = &mut planned[(node - first) as usize].lists[0];
    if !own.contains(&moved) {
        if own.len() == m0 {
            let farthest = own.iter().rposition(|neighbor| *neighbor != older).unwrap_or(0);
            own.remove(farthest);
        }
        own.push(moved);
    }
}

/// The list of a node of the batch, or of an older node that one of them linked to.
fn list_of<'a>(
    first: NodeId,
    planned: &'a mut [Planned],
    targets: &'a mut Targets,
    node: NodeId,
) -> Option<&'a mut Vec<NodeId>> {
    if node >= first {
        return Some(&mut planned[(node - first) as usize].lists[0]);
    }
    targets.get_mut(&(0, node)).map(|merged| &mut merged.list)
}

/// The new nodes that an older node leads to.
struct Reached {
    first: NodeId,
    marks: Vec<bool>,
    stack: Vec<NodeId>,
}

impl Reached {
    fn holds(&self, node: NodeId) -> bool {
        node < self.first || self.marks[(node - self.first) as usize]
    }

    fn mark(&mut self, node: NodeId) {
        if node >= self.first && !std::mem::replace(&mut self.marks[(node - self.first) as usize], true) {
            self.stack.push(node);
        }
    }

    fn spread(&mut self, planned: &[Planned]) {
        while let Some(node) = self.stack.pop() {
            for &neighbor in &planned[(node - self.first) as usize].lists[0] {
                self.mark(neighbor);
            }
        }
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
        let far = |i: u32| [f32::MAX * if i % 2 == 0 { 1.0 } else { -1.0 }, i as f32];
        let inner = Plane { inner: true, ..Plane::random(1_000, seed) };
        vec![
            ("random", random),
            ("lattice", Plane::new(lattice)),
            ("copies first", Plane::new(copies)),
            ("copies last", Plane::new(late_copies)),
            ("a line", Plane::new(line)),
            ("infinitely far", Plane::new((0..600).map(far).collect())),
            ("inner product", inner),
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
