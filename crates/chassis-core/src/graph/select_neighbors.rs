//! Which candidates become links: the heuristic 2 of the HNSW paper, on all layers.

use super::step::finite;
use super::{Neighbor, NodeId, Point, Space, nodes_of};

/// Selects up to `bound` of `candidates`, which are sorted nearest first, into `selected`, in the same order.
///
/// A candidate is passed over when a selected one is nearer to it than the node itself is: a walk gets there by
/// way of that one. So it is when all three are equally far from each other, which is what copies of one vector
/// are: a list holds one of them, and the rest of it leads elsewhere. A `fixed` node is always selected, and may
/// make it more than `bound`.
///
/// `alpha`, at least 1, says how much nearer the selected one must be: a larger one passes over fewer candidates.
/// It does not apply to equal distances. Copies may be some rounding errors apart, and a factor would part them.
#[inline(always)]
pub(super) fn select_neighbors<S: Space>(
    space: &S,
    candidates: &[Neighbor],
    bound: usize,
    alpha: f32,
    fixed: impl Fn(NodeId) -> bool,
    selected: &mut Vec<Neighbor>,
) {
    selected.clear();
    for candidate in candidates {
        let room = selected.len() < bound;
        if fixed(candidate.node) || (room && !is_covered(space, *candidate, selected, alpha)) {
            selected.push(*candidate);
        }
    }
}

/// [`select_neighbors`] for a list that was selected before, and `added` nodes: pairs of which neither was added are
/// not compared again. `fresh` is memory.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as `select_neighbors`, and what is new")]
pub(super) fn add_neighbors<S: Space>(
    space: &S,
    candidates: &[Neighbor],
    added: &[NodeId],
    bound: usize,
    alpha: f32,
    fixed: impl Fn(NodeId) -> bool,
    fresh: &mut Vec<Neighbor>,
    selected: &mut Vec<Neighbor>,
) {
    fresh.clear();
    selected.clear();
    for candidate in candidates {
        let room = selected.len() < bound;
        let is_new = added.contains(&candidate.node);
        let others = if is_new { &*selected } else { &*fresh };
        if fixed(candidate.node) || (room && !is_covered(space, *candidate, others, alpha)) {
            selected.push(*candidate);
            if is_new {
                fresh.push(*candidate);
            }
        }
    }
}

#[inline(always)]
fn is_covered<S: Space>(space: &S, candidate: Neighbor, selected: &[Neighbor], alpha: f32) -> bool {
    if selected.is_empty() {
        return false;
    }
    let point = space.point(candidate.node);
    for four in selected.chunks(4) {
        let distances = point.distance4(nodes_of(four));
        for (neighbor, distance) in four.iter().zip(distances) {
            let distance = finite(distance);
            let equal = distance == candidate.distance && neighbor.distance == candidate.distance;
            if alpha * distance < candidate.distance || equal {
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
    fn slow(space: &Plane, candidates: &[Neighbor], bound: usize, alpha: f32) -> Vec<Neighbor> {
        let mut selected: Vec<Neighbor> = Vec::new();
        for c in candidates {
            let covered = selected.iter().any(|s| {
                let d = space.distance(s.node, c.node);
                alpha * d < c.distance || (d == c.distance && s.distance == c.distance)
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
            let bounds = [1, 2, 5, 16, 100];
            for (bound, alpha) in bounds.into_iter().flat_map(|b| [1.0, 1.1, 1.2, 4.0].map(|a| (b, a))) {
                let mut selected = Vec::new();
                select_neighbors(&space, &candidates, bound, alpha, |_| false, &mut selected);
                let expected = slow(&space, &candidates, bound, alpha);
                assert_eq!(selected, expected, "node {node} bound {bound} alpha {alpha}");
            }
        }
    }

    #[test]
    fn nodes_added_to_a_selected_list_are_as_if_all_were_selected_again() {
        let space = Plane::random(400, 4);
        let mut changed = 0;
        for (node, alpha) in (0..60).flat_map(|node| [1.0, 1.1].map(|alpha| (node, alpha))) {
            let around = space.sorted_around(node);
            let (old, new): (Vec<Neighbor>, Vec<Neighbor>) =
                around[..90].iter().partition(|n| (n.node + node) % 7 > 1);
            let (mut list, mut fresh, mut selected) = (Vec::new(), Vec::new(), Vec::new());
            select_neighbors(&space, &old, 90, alpha, |_| false, &mut list);
            let added: Vec<NodeId> = new.iter().map(|n| n.node).collect();
            let mut candidates: Vec<Neighbor> = list.iter().chain(&new).copied().collect();
            candidates.sort();
            for bound in [4, 90] {
                add_neighbors(
                    &space,
                    &candidates,
                    &added,
                    bound,
                    alpha,
                    |_| false,
                    &mut fresh,
                    &mut selected,
                );
                assert_eq!(selected, slow(&space, &candidates, bound, alpha), "node {node} alpha {alpha}");
            }
            changed += usize::from(selected != list);
            let mut fixed = Vec::new();
            add_neighbors(&space, &candidates, &added, 4, alpha, |_| true, &mut fresh, &mut fixed);
            assert_eq!(fixed, candidates);
        }
        assert!(changed > 60, "{changed} lists changed");
    }

    #[test]
    fn a_larger_alpha_passes_over_fewer() {
        let space = Plane::random(400, 3);
        let candidates = space.sorted_around(7);
        let lengths = [1.0, 1.1, 1.2, 2.0].map(|alpha| {
            let mut selected = Vec::new();
            select_neighbors(&space, &candidates, 100, alpha, |_| false, &mut selected);
            selected.len()
        });
        assert!(lengths.is_sorted() && lengths[0] < lengths[3], "{lengths:?}");
    }

    /// Copies of one vector under a metric that rounds: each is as far from each as from itself, and that is not 0.
    struct Copies;

    impl Point for Copies {
        type Asked = ();
        fn distance4(&self, _: [NodeId; 4]) -> [f32; 4] {
            [5.960_464_5e-8; 4]
        }
        fn prefetch(&self, _: NodeId) {}
    }

    impl Space for Copies {
        const ESTIMATES: bool = false;
        type Point<'p> = Copies;
        type Buffer = ();
        type Guide<'p> = Copies;
        fn point(&self, _: NodeId) -> Copies {
            Copies
        }
        fn guide<'p>(&'p self, _: NodeId, _: &'p mut ()) -> Copies {
            Copies
        }
    }

    #[test]
    fn copies_a_rounding_error_apart_are_copies_for_every_alpha() {
        let distance = Copies.distance4([0; 4])[0];
        let candidates: Vec<Neighbor> = (1..20).map(|node| Neighbor { distance, node }).collect();
        for alpha in [1.0, 1.1, 1.2] {
            let mut selected = Vec::new();
            select_neighbors(&Copies, &candidates, 16, alpha, |_| false, &mut selected);
            assert_eq!(selected.len(), 1, "alpha {alpha}");
        }
    }

    #[test]
    fn a_list_holds_one_of_many_copies() {
        let mut points = vec![[0.0, 0.0]; 20];
        points.extend([[1.0, 0.0], [-1.0, 0.5], [0.0, -2.0]]);
        let space = Plane::new(points);
        let mut selected = Vec::new();
        select_neighbors(&space, &space.sorted_around(0), 16, 1.0, |_| false, &mut selected);
        assert_eq!(selected.iter().filter(|n| n.distance == 0.0).count(), 1);
        assert_eq!(selected.len(), 4, "{selected:?}");
    }

    #[test]
    fn infinite_distances_are_copies_of_each_other() {
        let space = Plane::new(vec![[f32::MAX, 0.0], [-f32::MAX, 0.0], [0.0, f32::MAX], [0.0, -f32::MAX]]);
        let mut selected = Vec::new();
        select_neighbors(&space, &space.sorted_around(0), 16, 1.0, |_| false, &mut selected);
        assert_eq!(selected.len(), 1);
    }
}
