//! The set of nodes a walk has met: one bit a node, so that it stays in the first caches, and a log by which it is
//! emptied in the time it took to fill, or less.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{MAX_DEGREE, NONE, NodeId};
use crate::error::{Error, Result};

/// Slots for the new nodes of one list, with room to fill the last group of four.
pub(super) const SLOTS: usize = 128;
const _: () = assert!(MAX_DEGREE + 4 <= SLOTS && SLOTS.is_power_of_two());

/// Words that are emptied in order in the time of one that is looked up: four to a register, of which two are written in
/// the time of one such step.
const SWEPT: usize = 8;

/// One bit past the nodes of the walk is always set: ids that are no node, [`NONE`] included, lead there and so
/// count as met.
#[derive(Default)]
pub(super) struct Visited {
    words: Vec<u64>,
    /// Every node in the set.
    log: Vec<NodeId>,
    count: u32,
}

#[inline(always)]
fn place(node: NodeId) -> (usize, u64) {
    (node as usize / 64, 1 << (node % 64))
}

impl Visited {
    /// Makes room for sets of nodes below `count`, which a file says there are. Allocates only when the graph has grown
    /// by a quarter since.
    #[inline]
    pub(super) fn reserve(&mut self, count: u32) -> Result<()> {
        let (word, _) = place(count);
        if word < self.words.len() {
            return Ok(());
        }
        let len = word + 1 + word / 4;
        let refused = |_| Error::no_memory(format_args!("a walk over {count} nodes"));
        self.words.try_reserve_exact(len - self.words.len()).map_err(refused)?;
        self.words.resize(len, 0);
        Ok(())
    }

    /// An empty set of nodes below `count`. Allocates only what was not reserved.
    #[inline]
    pub(super) fn clear(&mut self, count: u32) {
        let (last, _) = place(self.count);
        if last < SWEPT * self.log.len() {
            // Few words, or many nodes: all words in order take less time than those of the log one by one.
            let end = self.words.len().min(last + 1);
            self.words[..end].fill(0);
        } else {
            for &node in &self.log {
                self.words[node as usize / 64] = 0;
            }
        }
        self.log.clear();
        if let Some(word) = self.words.get_mut(last) {
            *word = 0;
        }
        let (word, bit) = place(count);
        if self.words.len() <= word {
            self.words.resize(word + 1 + word / 4, 0);
        }
        self.count = count;
        self.words[word] = bit;
    }

    /// Adds a node and says whether it is a node and was not in the set.
    #[inline(always)]
    pub(super) fn insert(&mut self, node: NodeId) -> bool {
        let (word, bit) = place(node.min(self.count));
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        if fresh {
            self.log.push(node);
        }
        fresh
    }

    /// Writes the nodes of a list that were not in the set to the front of `out`, adds them, and returns how many
    /// there were. No branch depends on whether a node was met: that is as good as random.
    #[inline(always)]
    pub(super) fn gather(&mut self, list: &[AtomicU32], out: &mut [NodeId; SLOTS]) -> usize {
        let Visited { words, log, count } = self;
        let words = &mut words[..=*count as usize / 64];
        let mut len = 0;
        for part in list[..list.len().min(MAX_DEGREE)].chunks(8) {
            if part[0].load(Ordering::Relaxed) == NONE {
                break;
            }
            for slot in part {
                let node = slot.load(Ordering::Relaxed);
                let (word, bit) = place(node.min(*count));
                let before = words[word];
                words[word] = before | bit;
                out[len % SLOTS] = node;
                len += (before & bit == 0) as usize;
            }
        }
        log.extend_from_slice(&out[..len.min(SLOTS)]);
        len
    }

    /// How many nodes are in the set.
    pub(super) fn len(&self) -> usize {
        self.log.len()
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
        for round in 0..60 {
            visited.clear(100);
            assert!(visited.insert(7) && !visited.insert(7) && !visited.insert(100) && !visited.insert(NONE));
            let len = visited.gather(&list, &mut out);
            assert_eq!(out[..len], [3, 0, 9, 99, 5], "round {round}");
            assert_eq!((visited.gather(&list, &mut out), visited.len()), (0, 6));
            assert!(round % 7 != 0 || visited.insert(50), "round {round}");
            assert!(!visited.insert(3) && visited.insert(4));
        }
        visited.clear(101);
        assert_eq!(visited.gather(&list[3..4], &mut out), 1, "node 100 exists now");
        for count in [0, 63, 64, 65, 1_000, 64] {
            visited.clear(count);
            assert!(!visited.insert(count) && visited.len() == 0, "count {count}");
            assert!((0..count).all(|node| visited.insert(node)) && visited.len() == count as usize);
        }
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
