//! A node at a distance, and the one order everything is sorted by.

use std::cmp::Ordering;

use super::NodeId;

/// A node and how far it is. Smaller is nearer; equal distances go by node; NaN is farthest of all.
#[derive(Debug, Clone, Copy)]
pub struct Neighbor {
    /// Distance, in the metric's inner scale.
    pub distance: f32,
    /// The node.
    pub node: NodeId,
}

impl Neighbor {
    /// The whole order in one integer.
    #[inline(always)]
    pub(super) fn key(self) -> u64 {
        (ordered(self.distance) as u64) << 32 | self.node as u64
    }

    /// The neighbor of a key.
    #[inline(always)]
    fn of_key(key: u64) -> Neighbor {
        let bits = (key >> 32) as u32;
        let flip = if bits >> 31 == 1 { 1 << 31 } else { u32::MAX };
        Neighbor { distance: f32::from_bits(bits ^ flip), node: key as u32 }
    }
}

/// The nodes of one to four neighbors, the last one repeated: for [`Point::distance4`](super::Point::distance4).
#[inline(always)]
pub fn nodes_of(neighbors: &[Neighbor]) -> [NodeId; 4] {
    let last = neighbors.len() - 1;
    [neighbors[0].node, neighbors[1.min(last)].node, neighbors[2.min(last)].node, neighbors[last].node]
}

/// Puts an item in the place of the largest of a heap, which is in front.
#[inline(always)]
pub fn replace_largest<T: Copy + PartialOrd>(heap: &mut [T], item: T) {
    let mut at = 0;
    loop {
        let mut child = 2 * at + 1;
        if child + 1 < heap.len() && heap[child] < heap[child + 1] {
            child += 1;
        }
        if child >= heap.len() || heap[child] <= item {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
}

/// Sorts by the order's integers, which compare faster than what they stand for.
#[inline(always)]
pub fn sort(neighbors: &mut [Neighbor], keys: &mut Vec<u64>) {
    keys.clear();
    for neighbor in neighbors.iter() {
        keys.push(neighbor.key());
    }
    keys.sort_unstable();
    for (neighbor, key) in neighbors.iter_mut().zip(keys) {
        *neighbor = Neighbor::of_key(*key);
    }
}

/// An integer that orders as the distance does: `total_cmp` with each NaN last.
#[inline(always)]
pub(super) fn ordered(distance: f32) -> u32 {
    let bits = distance.to_bits();
    let flip = if bits >> 31 == 1 { u32::MAX } else { 1 << 31 };
    if distance.is_nan() { u32::MAX } else { bits ^ flip }
}

impl Ord for Neighbor {
    #[inline(always)]
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Neighbor {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbor {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Neighbor {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_by_keys_is_sorting() {
        let distances =
            [3.0, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, -2.5, 3.0, f32::MIN_POSITIVE, f32::MAX];
        let mut sorted: Vec<Neighbor> = (0..200u32)
            .map(|i| Neighbor {
                distance: distances[i as usize % distances.len()],
                node: i.wrapping_mul(977) % 201,
            })
            .collect();
        let mut expected = sorted.clone();
        expected.sort_unstable();
        sort(&mut sorted, &mut vec![7; 3]);
        let bits = |n: &Neighbor| (n.distance.to_bits(), n.node);
        assert!(sorted.iter().map(bits).eq(expected.iter().map(bits)));
    }

    #[test]
    fn the_order_is_total_with_ties_by_node_and_nan_last() {
        let distances = [
            f32::NEG_INFINITY,
            -2.0,
            -f32::MIN_POSITIVE,
            -0.0,
            0.0,
            1e-45,
            1.0,
            f32::MAX,
            f32::INFINITY,
            f32::NAN,
        ];
        let mut all: Vec<Neighbor> = (0..distances.len() * 3)
            .map(|i| Neighbor { distance: distances[i * 7 % 10], node: i as u32 })
            .collect();
        all.sort();
        for (i, three) in all.chunks(3).enumerate() {
            assert!(three.iter().all(|n| n.distance.to_bits() == distances[i].to_bits()), "{three:?}");
            assert!(three[0].node < three[1].node && three[1].node < three[2].node, "{three:?}");
        }
        let negative_nan = Neighbor { distance: -f32::NAN, node: 0 };
        assert!(negative_nan > Neighbor { distance: f32::INFINITY, node: u32::MAX });
        assert!(negative_nan == Neighbor { distance: f32::NAN, node: 0 });
    }
}
