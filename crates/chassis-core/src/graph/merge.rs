//! What new lists do to the lists of the nodes they lead to: each such node joins the nodes that selected it to
//! its own list, and prunes the list when it is too long.

use std::sync::atomic::{AtomicU32, Ordering};

use super::select_neighbors::{add_neighbors, select_neighbors};
use super::step::finite;
use super::work::{BuildScratch, Job, sort_candidates};
use super::{LinkWriter, NONE, Neighbor, NodeId, Params, Point, Selection, Space, nodes_of};

/// Layer, target, source: the target joins the source.
pub(super) type Edge = (u8, NodeId, NodeId);

/// Sorts edges and parts them by the list they go to.
pub(super) fn group(edges: &mut [Edge]) -> Vec<&[Edge]> {
    edges.sort_unstable();
    edges.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).collect()
}

/// New lists, selected and not yet written.
pub(super) trait Draft: Sync {
    /// The list a node is about to get; none for a node that keeps its stored one.
    fn list(&self, layer: u8, node: NodeId) -> Option<&[NodeId]>;
    /// The parent of a node, new or old.
    fn parent(&self, node: NodeId) -> Option<NodeId>;
}

/// Computes the list of each group's target, as its links and those of the group leave it.
pub(super) struct Merge<'a, S, L, D> {
    pub(super) space: &'a S,
    pub(super) lists: &'a L,
    pub(super) draft: &'a D,
    pub(super) groups: &'a [&'a [Edge]],
    /// What a stored list holds is below.
    pub(super) count: u32,
    pub(super) params: &'a Params,
    /// How a list is pruned.
    pub(super) selection: Selection,
}

impl<S: Space, L: LinkWriter, D: Draft> Job for Merge<'_, S, L, D> {
    type Output = Vec<NodeId>;

    #[inline(always)]
    fn run(&self, scratch: &mut BuildScratch, index: usize) -> Vec<NodeId> {
        let Merge { lists, count, params, .. } = *self;
        let (layer, target, _) = self.groups[index][0];
        let mut list = Vec::with_capacity(params.degree(layer));
        match self.draft.list(layer, target) {
            Some(new) => list.extend_from_slice(new),
            None if layer == 0 => read(lists.base(target), target, count, &mut list),
            None => read(lists.upper(target, layer), target, count, &mut list),
        }
        let known = list.len();
        for &(_, _, source) in self.groups[index] {
            if !list[..known].contains(&source) {
                list.push(source);
            }
        }
        if list.len() > params.degree(layer) {
            self.prune(layer, target, &mut list, known, scratch);
        }
        list
    }
}

impl<S: Space, L: LinkWriter, D: Draft> Merge<'_, S, L, D> {
    /// Makes a list short again. Links of the tree stay, whatever they are worth.
    #[inline(always)]
    fn prune(
        &self,
        layer: u8,
        target: NodeId,
        list: &mut Vec<NodeId>,
        known: usize,
        scratch: &mut BuildScratch,
    ) {
        let Merge { space, lists, draft, params, selection, .. } = *self;
        let BuildScratch { candidates, selected, mates: fresh, .. } = scratch;
        list.iter().for_each(|node| lists.prefetch(*node));
        let point = space.point(target);
        score_list(&point, target, list, candidates);
        let parent = if layer == 0 { draft.parent(target) } else { None };
        let fixed = |node| layer == 0 && (parent == Some(node) || draft.parent(node) == Some(target));
        let (kept, alpha) = (selection.kept(params, layer), selection.alpha());
        if let Selection::Settled(_) = selection {
            add_neighbors(space, candidates, &list[known..], kept, alpha, fixed, fresh, selected);
        } else {
            select_neighbors(space, candidates, kept, alpha, fixed, selected);
        }
        shorten(selected, params.degree(layer), fixed);
        lead_with(parent, selected, list);
    }
}

/// Drops the farthest until `selected` is short enough; a `fixed` node only when there is no other.
#[inline(always)]
pub(super) fn shorten(selected: &mut Vec<Neighbor>, bound: usize, fixed: impl Fn(NodeId) -> bool) {
    while selected.len() > bound {
        let farthest = selected.iter().rposition(|n| !fixed(n.node)).unwrap_or(selected.len() - 1);
        selected.remove(farthest);
    }
}

/// Makes a list of what was selected, the parent in front.
pub(super) fn lead_with(parent: Option<NodeId>, selected: &[Neighbor], list: &mut Vec<NodeId>) {
    list.clear();
    list.extend(parent.filter(|parent| selected.iter().any(|n| n.node == *parent)));
    list.extend(selected.iter().map(|n| n.node).filter(|node| parent != Some(*node)));
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
    out.extend(list.iter().map(|&node| Neighbor { distance: 0.0, node }));
    measure(point, node, out);
}

/// Gives every candidate its distance from `point`, which is that of `node`, and sorts them by it.
#[inline(always)]
pub(super) fn measure<P: Point>(point: &P, node: NodeId, candidates: &mut [Neighbor]) {
    let ahead = point.lookahead();
    for candidate in candidates.iter().take(ahead) {
        point.prefetch(candidate.node);
    }
    let len = candidates.len();
    let mut at = 0;
    while at < len {
        let next = (at + ahead).min(len)..(at + ahead + 4).min(len);
        for candidate in &candidates[next] {
            point.prefetch(candidate.node);
        }
        let four = &mut candidates[at..(at + 4).min(len)];
        let distances = point.distance4(nodes_of(four));
        for (candidate, distance) in four.iter_mut().zip(distances) {
            candidate.distance = finite(distance);
        }
        at += 4;
    }
    sort_candidates(node, candidates);
}
