//! What a walk needs of its pool: the candidates it met, nearest first out, all but the `ef` nearest forgotten.
//!
//! Two forms: a sorted array for short walks, a bucket queue for long ones.

use super::{Neighbor, NodeId};

pub(super) trait Pool {
    /// Empties the pool and sets its size. The smallest and largest distance known so far help to guess a range.
    fn reset(&mut self, ef: usize, smallest: f32, largest: f32);
    /// Has the pool know its `k`-th smallest distance from here on. Call after `reset`.
    fn watch(&mut self, _k: usize) {}
    /// Only distances below this one can enter.
    fn bound(&self) -> f32;
    /// Adds a node, unless it is too far. Its distance is finite. Says whether it may be the next to come out.
    fn push(&mut self, neighbor: Neighbor) -> bool;
    /// Forgets what is too far. Call after each group of pushes.
    fn trim(&mut self);
    /// The node that `pop` would return if nothing were too far.
    fn peek(&mut self) -> Option<NodeId>;
    /// A nearest node that was not popped before, unless it is farther than `limit`.
    fn pop(&mut self, limit: f32) -> Option<Neighbor>;
    /// The `k`-th smallest distance; infinite with fewer. `k` is what `watch` was given, and counts from 1.
    fn kth(&self, k: usize) -> f32;
    /// The nearest `wanted` of all that entered, at most `ef`, sorted.
    fn nearest(&self, wanted: usize, out: &mut Vec<Neighbor>);
}

#[cfg(test)]
mod tests {
    use super::super::level::hash;
    use super::super::queue::Queue;
    use super::super::sorted::{MAX_SORTED, Sorted};
    use super::*;

    /// What a pool is, with each operation as its definition.
    struct Slow {
        all: Vec<(Neighbor, bool)>,
        ef: usize,
    }

    impl Slow {
        fn push(&mut self, neighbor: Neighbor) {
            let at = self.all.partition_point(|(n, _)| n.distance <= neighbor.distance);
            self.all.insert(at, (neighbor, false));
            self.all.truncate(self.ef);
        }

        fn pop(&mut self, limit: f32) -> Option<Neighbor> {
            let open = self.all.iter_mut().find(|(_, popped)| !popped)?;
            if open.0.distance > limit {
                return None;
            }
            open.1 = true;
            Some(open.0)
        }
    }

    #[test]
    fn the_sorted_pool_does_what_the_definition_says() {
        let mut pool = Sorted::default();
        for (seed, ef) in [1, 2, 7, 8, 9, 10, 63, 64, 65, 128, MAX_SORTED].into_iter().enumerate() {
            for spread in [3, 50, 1_000_000] {
                pool.reset(ef, 0.0, 1.0);
                let mut slow = Slow { all: Vec::new(), ef };
                for i in 0..2_000u32 {
                    let random = hash((seed as u64) << 40 ^ (spread << 20) ^ i as u64);
                    if random.is_multiple_of(5) {
                        let head = slow.all.iter().find(|(_, popped)| !popped).map(|(n, _)| n.node);
                        assert_eq!(pool.peek(), head);
                        let limit =
                            if random.is_multiple_of(2) { f32::INFINITY } else { spread as f32 / 4.0 };
                        assert_eq!(pool.pop(limit), slow.pop(limit), "ef {ef} step {i}");
                    } else {
                        let distance = (random >> 8) as f32 % spread as f32 - 1.0;
                        let neighbor = Neighbor { distance, node: i };
                        let before = slow.all.iter().find(|(_, popped)| !popped).map(|(n, _)| n.node);
                        let full = slow.all.len() == ef && slow.all[ef - 1].0.distance <= distance;
                        if !full {
                            slow.push(neighbor);
                        }
                        let head = slow.all.iter().find(|(_, popped)| !popped).map(|(n, _)| n.node);
                        let nearest = pool.push(neighbor);
                        assert!(nearest || head == before, "ef {ef} step {i}: a new head, not told");
                    }
                    let kth = |k: usize| slow.all.get(k - 1).map_or(f32::INFINITY, |(n, _)| n.distance);
                    assert_eq!((pool.kth(1), pool.kth(ef), pool.bound()), (kth(1), kth(ef), kth(ef)));
                }
                let (mut out, expected) = (Vec::new(), slow.all.iter().map(|(n, _)| *n));
                pool.nearest(ef, &mut out);
                assert!(out.iter().copied().eq(expected.clone()), "ef {ef}");
                pool.nearest(ef / 2, &mut out);
                assert!(out.iter().copied().eq(expected.take(ef / 2)), "half of ef {ef}");
            }
        }
    }

    #[test]
    fn both_pools_know_the_kth_distance() {
        let (mut queue, mut sorted) = (Queue::default(), Sorted::default());
        for k in [1, 2, 10, 16] {
            queue.reset(100, 0.0, 1.0);
            sorted.reset(100, 0.0, 1.0);
            queue.watch(k);
            for i in 0..500u32 {
                let distance = (hash(i as u64) >> 40) as f32;
                queue.push(Neighbor { distance, node: i });
                sorted.push(Neighbor { distance, node: i });
                queue.trim();
                assert_eq!(queue.kth(k), sorted.kth(k), "k {k} step {i}");
            }
        }
    }
}
