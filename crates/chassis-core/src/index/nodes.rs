//! The 32-byte record of a node and the live bitmap, as words of their pages.

use crate::error::Result;
use crate::graph::NodeId;
use crate::storage::{Kind, Page, PageMut, View};

/// Words of a node record.
const WORDS: usize = 8;
/// Records a page holds.
const PER_PAGE: usize = Page::WORDS / WORDS;
/// Bits a page of the live bitmap holds.
const BITS: usize = Page::WORDS * 32;
/// `upper` of a node of level 0.
pub(crate) const NO_UPPER: u32 = u32::MAX;

/// What the file knows of a node beside its vector and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Record {
    /// The integer id, or where the string id begins in the heap.
    pub(crate) id: u64,
    /// Where the payload begins in the heap.
    pub(crate) payload: u64,
    /// Its length, when there is one.
    pub(crate) payload_len: Option<u32>,
    /// Length of the string id.
    pub(crate) id_len: u16,
    /// Highest layer the node is on.
    pub(crate) level: u8,
    /// First of the node's slots in the upper layers.
    pub(crate) upper: u32,
}

/// Page and first word of a node's record.
pub(crate) fn place(node: NodeId) -> (usize, usize) {
    (node as usize / PER_PAGE, node as usize % PER_PAGE * WORDS)
}

impl Record {
    /// Reads the record at `word`.
    pub(crate) fn read(page: &Page, word: usize) -> Record {
        let packed = page.word(word + 5);
        let has_payload = packed >> 24 & 1 == 1;
        Record {
            id: page.u64(word),
            payload: page.u64(word + 2),
            payload_len: has_payload.then(|| page.word(word + 4)),
            id_len: packed as u16,
            level: (packed >> 16) as u8,
            upper: page.word(word + 6),
        }
    }

    /// Writes the record at `word`.
    pub(crate) fn write(&self, page: &PageMut<'_>, word: usize) {
        page.set_u64(word, self.id);
        page.set_u64(word + 2, self.payload);
        page.set(word + 4, self.payload_len.unwrap_or(0));
        let packed = self.id_len as u32 | (self.level as u32) << 16 | (self.payload_len.is_some() as u32) << 24;
        page.set(word + 5, packed);
        page.set(word + 6, self.upper);
        page.set(word + 7, 0);
    }
}

/// The record of a node.
pub(crate) fn record(view: &View, node: NodeId) -> Result<Record> {
    let (page, word) = place(node);
    Ok(Record::read(view.pages(Kind::Nodes).get(page)?, word))
}

/// Page, word and mask of a node's live bit.
pub(crate) fn live_place(node: NodeId) -> (usize, usize, u32) {
    let bit = node as usize % BITS;
    (node as usize / BITS, bit / 32, 1 << (bit % 32))
}

/// Whether a node is live: added and not deleted.
#[inline]
pub(crate) fn is_live(view: &View, node: NodeId) -> Result<bool> {
    let (page, word, mask) = live_place(node);
    Ok(view.pages(Kind::Live).get(page)?.word(word) & mask != 0)
}
