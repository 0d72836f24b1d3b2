//! Which candidates become links: the heuristic 2 of the HNSW paper, on all layers.

use super::walk::finite;
use super::{Neighbor, NodeId, Point, Space};

/// Selects up to `bound` of `candidates`, which are sorted nearest first, into `selected`, in the same order.
///
/// A candidate is passed over when a selected one is nearer to it than the node itself is: a walk gets there by
/// way of that one. So it is when all three are equally far from each other, which is what copies of one vector
/// are: a list holds one of them, and the rest of it leads elsewhere. A `fixed` node is always selected, and may
/// make it more than `bound`.
#[inline(always)]
pub(super) fn select_neighbors<S: Space>(
    space: &S,
    candidates: &[Neighbor],
    bound: usize,
    fixed: impl Fn(NodeId) -> bool,
    selected: &mut Vec<Neighbor>,
) {
    selected.clear();
    for candidate in candidates {
        let room = selected.len() < bound;
        if fixed(candidate.node) || (room && !is_covered(space, *candidate, selected)) {
            selected.push(*candidate);
        }
    }
}

#[inline(always)]
fn is_covered<S: Space>(space: &S, candidate: Neighbor, selected: &[Neighbor]) -> bool {
    if selected.is_empty() {
        return false;
    }
    let point = space.point(candidate.node);
    for four in selected.chunks(4) {
        let node = |i: usize| four[i.min(four.len() - 1)].node;
        let distances = point.distance4([node(0), node(1), node(2), node(3)]);
        for (neighbor, distance) in four.iter().zip(distances) {
            let distance = finite(distance);
            let equal = distance == candidate.distance && neighbor.distance == candidate.distance;
            if distance < candidate.distance || equal {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::testing::Plane;
    use super::*;

    /// The rule as the paper states it, with each distance on its own.
    fn slow(space: &Plane, candidates: &[Neighbor], bound: usize) -> Vec<Neighbor> {
        let mut selected: Vec<Neighbor> = Vec::new();
        for c in candidates {
            let covered = selected.iter().any(|s| {
                let d = space.distance(s.node, c.node);
                d < c.distance || (d == c.distance && s.distance == c.distance)
            });
            if !covered && selected.len() < bound {
                selected.push(*c);
            }
        }
        selected
    }

    #[test]
    fn the_fast_form_selects_what_the_slow_one_does() {
        let space = Plane::random(400, 3);
        for node in 0..50 {
            let mut candidates = space.sorted_around(node);
            candidates.truncate(60);
            for bound in [1, 2, 5, 16, 100] {
                let mut selected = Vec::new();
                select_neighbors(&space, &candidates, bound, |_| false, &mut selected);
                assert_eq!(selected, slow(&space, &candidates, bound), "node {node} bound {bound}");
            }
        }
    }

    #[test]
    fn a_list_holds_one_of_many_copies() {
        let mut points = vec![[0.0, 0.0]; 20];
        points.extend([[1.0, 0.0], [-1.0, 0.5], [0.0, -2.0]]);
        let space = Plane::new(points);
        let mut selected = Vec::new();
        select_neighbors(&space, &space.sorted_around(0), 16, |_| false, &mut selected);
        assert_eq!(selected.iter().filter(|n| n.distance == 0.0).count(), 1);
        assert_eq!(selected.len(), 4, "{selected:?}");
    }

    #[test]
    fn infinite_distances_are_copies_of_each_other() {
        let space = Plane::new(vec![[f32::MAX, 0.0], [-f32::MAX, 0.0], [0.0, f32::MAX], [0.0, -f32::MAX]]);
        let mut selected = Vec::new();
        select_neighbors(&space, &space.sorted_around(0), 16, |_| false, &mut selected);
        assert_eq!(selected.len(), 1);
    }
}
