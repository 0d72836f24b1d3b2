//! One page of the tree: [`format::ids`](crate::format::ids) in words, and the search within a page.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::format::ids::{BRANCH_NODES, CHILDREN, COUNT, KEYS, LEAF_NODES, LEVEL};
use crate::storage::ids::{Pair, ReadPages};
use crate::storage::{Page, PageMut};

/// A page whose level and count have been checked. `count` is what was read once: a writer may change the page
/// at any time.
pub(super) struct Node<'a> {
    page: &'a Page,
    level: u32,
    count: usize,
}

/// The number of a page's slots in use, if it can be; a branch always has a child.
fn checked_count(page: &Page, level: u32, slots: usize) -> Option<usize> {
    let count = page.word(COUNT / 4) as usize;
    (page.word(LEVEL / 4) == level && count <= slots && (level == 0 || count > 0)).then_some(count)
}

impl<'a> Node<'a> {
    /// Reads page `number`, which has to be on `level`.
    pub(super) fn read<P: ReadPages>(pages: &'a P, number: u32, level: u32) -> Result<Node<'a>> {
        let page = pages.page(number)?;
        match checked_count(page, level, pages.slots(level)) {
            Some(count) => Ok(Node { page, level, count }),
            None => Err(damaged(number, "is not on its level or has an impossible count")),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The pair, or the separator, in a slot below `count`.
    pub(super) fn pair(&self, slot: usize) -> Pair {
        pair(self.page, self.level, slot)
    }

    /// The page number of a branch's child.
    pub(super) fn child(&self, slot: usize) -> u32 {
        self.page.word(CHILDREN / 4 + slot)
    }

    /// Where in `range` the slots that are below end, by bisection: it ends also over pairs in no order.
    fn below(&self, range: Range<usize>, is_below: impl Fn(Pair) -> bool) -> usize {
        let (mut from, mut to) = (range.start, range.end);
        while from < to {
            let middle = from + (to - from) / 2;
            match is_below(self.pair(middle)) {
                true => from = middle + 1,
                false => to = middle,
            }
        }
        from
    }

    /// The first slot of a leaf whose pair is not below `pair`.
    pub(super) fn lower_bound(&self, pair: Pair) -> usize {
        self.below(0..self.count, |other| other < pair)
    }

    /// The slot of the child whose range holds `pair`.
    pub(super) fn child_for(&self, pair: Pair) -> usize {
        self.below(1..self.count, |separator| separator <= pair) - 1
    }
}

pub(super) fn damaged(number: u32, what: &str) -> Error {
    Error::corrupt(format!("page {number} of the id tree {what}"))
}

fn pair(page: &Page, level: u32, slot: usize) -> Pair {
    (page.u64(KEYS / 4 + slot * 2), page.word(nodes_at(level) + slot))
}

/// First word of the node numbers.
fn nodes_at(level: u32) -> usize {
    if level == 0 { LEAF_NODES / 4 } else { BRANCH_NODES / 4 }
}

/// A slot's content.
#[derive(Clone, Copy, Default)]
pub(super) struct Slot {
    pub(super) pair: Pair,
    /// 0 in a leaf.
    pub(super) child: u32,
}

/// A page being changed. The caller has checked its level and count.
pub(super) struct NodeMut<'a> {
    page: PageMut<'a>,
    level: u32,
}

impl<'a> NodeMut<'a> {
    pub(super) fn new(page: PageMut<'a>, level: u32) -> Self {
        NodeMut { page, level }
    }

    pub(super) fn count(&self) -> usize {
        self.page.word(COUNT / 4) as usize
    }

    pub(super) fn set_count(&self, count: usize) {
        self.page.set(COUNT / 4, count as u32);
        self.page.set(LEVEL / 4, self.level);
    }

    pub(super) fn slot(&self, slot: usize) -> Slot {
        let child = if self.level == 0 { 0 } else { self.page.word(CHILDREN / 4 + slot) };
        Slot { pair: pair(&self.page, self.level, slot), child }
    }

    pub(super) fn set_slot(&self, slot: usize, content: Slot) {
        self.page.set_u64(KEYS / 4 + slot * 2, content.pair.0);
        self.page.set(nodes_at(self.level) + slot, content.pair.1);
        if self.level > 0 {
            self.page.set(CHILDREN / 4 + slot, content.child);
        }
    }

    /// Puts a slot in at `at` and moves the later ones up. There has to be room.
    pub(super) fn insert(&self, at: usize, content: Slot) {
        let count = self.count();
        for slot in (at..count).rev() {
            self.set_slot(slot + 1, self.slot(slot));
        }
        self.set_slot(at, content);
        self.set_count(count + 1);
    }

    /// Takes the slot at `at` out and moves the later ones down.
    pub(super) fn remove(&self, at: usize) {
        let count = self.count();
        for slot in at + 1..count {
            self.set_slot(slot - 1, self.slot(slot));
        }
        self.set_slot(count - 1, Slot::default());
        self.set_count(count - 1);
    }

    /// Moves the slots from `at` on to an empty page.
    pub(super) fn move_tail(&self, at: usize, right: &NodeMut<'_>) {
        let count = self.count();
        for slot in at..count {
            right.set_slot(slot - at, self.slot(slot));
            self.set_slot(slot, Slot::default());
        }
        right.set_count(count - at);
        self.set_count(at);
    }
}
