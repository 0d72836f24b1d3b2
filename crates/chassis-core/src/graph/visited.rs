//! The set of nodes a walk has met: one byte a node, cleared by counting up.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{MAX_DEGREE, NONE, NodeId};

/// Slots for the new nodes of one list, with room to fill the last group of four.
pub(super) const SLOTS: usize = 128;
const _: () = assert!(MAX_DEGREE + 4 <= SLOTS && SLOTS.is_power_of_two());

/// A node is in the set when its tag is the current epoch. One slot past the nodes of the walk is always in the
/// set: ids that are no node, [`NONE`] included, lead there and so count as met.
#[derive(Default)]
pub(super) struct Visited {
    tags: Vec<u8>,
    epoch: u8,
    count: u32,
}

impl Visited {
    /// An empty set of nodes below `count`. Allocates only when the graph has grown by a quarter since.
    #[inline]
    pub(super) fn clear(&mut self, count: u32) {
        let slots = count as usize + 1;
        if self.tags.len() < slots {
            self.tags.resize(slots + slots / 4, 0);
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.tags.fill(0);
            self.epoch = 1;
        }
        self.count = count;
        self.tags[count as usize] = self.epoch;
    }

    /// Adds a node and says whether it is a node and was not in the set.
    #[inline(always)]
    pub(super) fn insert(&mut self, node: NodeId) -> bool {
        let tag = &mut self.tags[node.min(self.count) as usize];
        let fresh = *tag != self.epoch;
        *tag = self.epoch;
        fresh
    }

    /// Writes the nodes of a list that were not in the set to the front of `out`, adds them, and returns how many
    /// there were. No branch depends on whether a node was met: that is as good as random.
    #[inline(always)]
    pub(super) fn gather(&mut self, list: &[AtomicU32], out: &mut [NodeId; SLOTS]) -> usize {
        let tags = &mut self.tags[..=self.count as usize];
        let mut len = 0;
        for part in list[..list.len().min(MAX_DEGREE)].chunks(8) {
            if part[0].load(Ordering::Relaxed) == NONE {
                break;
            }
            for slot in part {
                let node = slot.load(Ordering::Relaxed);
                let tag = &mut tags[node.min(self.count) as usize];
                out[len % SLOTS] = node;
                len += (*tag != self.epoch) as usize;
                *tag = self.epoch;
            }
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathering_skips_what_was_met_and_what_is_no_node() {
        let list: Vec<AtomicU32> =
            [3, 3, 7, 100, 0, 101, NONE - 1, 9, 99, NONE, 5].into_iter().map(AtomicU32::new).collect();
        let (mut visited, mut out) = (Visited::default(), [0; SLOTS]);
        for round in 0..600 {
            visited.clear(100);
            assert!(visited.insert(7) && !visited.insert(7) && !visited.insert(100) && !visited.insert(NONE));
            let len = visited.gather(&list, &mut out);
            assert_eq!(out[..len], [3, 0, 9, 99, 5], "round {round}");
            assert_eq!(visited.gather(&list, &mut out), 0);
            // 255 rounds on the epoch is the same again, and the tag of node 50 must not be.
            assert!(round % 255 != 10 || visited.insert(50), "round {round}");
            assert!(!visited.insert(3) && visited.insert(4));
        }
        visited.clear(101);
        assert_eq!(visited.gather(&list[3..4], &mut out), 1, "node 100 exists now");
    }

    #[test]
    fn a_list_longer_than_any_stored_one_is_cut() {
        let list: Vec<AtomicU32> = (0..500).map(AtomicU32::new).collect();
        let (mut visited, mut out) = (Visited::default(), [0; SLOTS]);
        visited.clear(1_000);
        assert_eq!(visited.gather(&list, &mut out), MAX_DEGREE);
        assert_eq!(out[MAX_DEGREE - 1], MAX_DEGREE as u32 - 1);
    }
}
