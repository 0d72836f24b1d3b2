//! The 32-byte record of a node and the live bitmap, as words of their pages.

use crate::error::{Error, Result};
use crate::format::node as format;
use crate::graph::{Neighbor, NodeId};
use crate::index::{self, Id, ids};
use crate::kernels;
use crate::storage::{Kind, Page, PageMut, Rows, View};

/// Words of a node record.
const WORDS: usize = format::RECORD_LEN / 4;
/// `upper` of a node of level 0.
pub(crate) const NO_UPPER: u32 = format::NO_UPPER;
/// The word that holds the length of the string id, the level and the flags.
const PACKED: usize = format::ID_LEN / 4;
const LEVEL_SHIFT: usize = (format::LEVEL - format::ID_LEN) * 8;
const FLAGS_SHIFT: usize = (format::FLAGS - format::ID_LEN) * 8;

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
    (node as usize / format::PER_PAGE, node as usize % format::PER_PAGE * WORDS)
}

impl Record {
    /// Reads the record at `word`.
    pub(crate) fn read(page: &Page, word: usize) -> Record {
        let packed = page.word(word + PACKED);
        let has_payload = (packed >> FLAGS_SHIFT) as u8 & format::FLAG_PAYLOAD != 0;
        Record {
            id: page.u64(word + format::ID / 4),
            payload: page.u64(word + format::PAYLOAD / 4),
            payload_len: has_payload.then(|| page.word(word + format::PAYLOAD_LEN / 4)),
            id_len: packed as u16,
            level: (packed >> LEVEL_SHIFT) as u8,
            upper: page.word(word + format::UPPER / 4),
        }
    }

    /// Writes the record at `word`.
    pub(crate) fn write(&self, page: &PageMut<'_>, word: usize) {
        let flags = if self.payload_len.is_some() { format::FLAG_PAYLOAD } else { 0 };
        let packed = self.id_len as u32 | (self.level as u32) << LEVEL_SHIFT | (flags as u32) << FLAGS_SHIFT;
        page.set_u64(word + format::ID / 4, self.id);
        page.set_u64(word + format::PAYLOAD / 4, self.payload);
        page.set(word + format::PAYLOAD_LEN / 4, self.payload_len.unwrap_or(0));
        page.set(word + PACKED, packed);
        page.set(word + format::UPPER / 4, self.upper);
        page.set(word + WORDS - 1, 0);
    }
}

/// The record of a node.
pub(crate) fn record(view: &View, node: NodeId) -> Result<Record> {
    let (page, word) = place(node);
    Ok(Record::read(view.pages(Kind::Nodes).get(page)?, word))
}

/// Asks the memory system for the record of a node, if its page was touched before.
#[inline(always)]
pub(crate) fn prefetch(view: &View, node: NodeId) {
    let (page, word) = place(node);
    if let Some(page) = view.pages(Kind::Nodes).loaded(page) {
        kernels::prefetch_words(page.words().get(word..word + WORDS).unwrap_or(&[]));
    }
}

/// The stored vectors.
#[inline(always)]
pub(crate) fn vectors(view: &View) -> Result<&Rows> {
    view.rows(Kind::Vectors).ok_or_else(|| Error::corrupt("no vectors object"))
}

/// The vector in a row, which is as long as a multiple of 64 bytes.
#[inline(always)]
pub(crate) fn vector_in(row: &[u8], dimensions: usize) -> Result<&[f32]> {
    kernels::f32s(row).get(..dimensions).ok_or_else(|| Error::corrupt("a short row"))
}

/// A node as its user sees it, checksums verified.
pub(crate) fn get(view: &View, id: &Id, node: NodeId) -> Result<index::Record> {
    let row = vectors(view)?.get_verified(node as usize)?;
    let vector = vector_in(row, view.header().dimensions as usize)?;
    let record = record(view, node)?;
    let payload = record.payload_len.map(|len| ids::read_heap(view, record.payload, len as usize));
    Ok(index::Record { id: id.clone(), vector: vector.to_vec(), payload: payload.transpose()? })
}

/// Page, word and mask of a node's live bit.
pub(crate) fn live_place(node: NodeId) -> (usize, usize, u32) {
    let bit = node as usize % format::BITS_PER_PAGE;
    (node as usize / format::BITS_PER_PAGE, bit / 32, 1 << (bit % 32))
}

/// Whether a node is live: added and not deleted.
#[inline]
pub(crate) fn is_live(view: &View, node: NodeId) -> Result<bool> {
    let (page, word, mask) = live_place(node);
    Ok(view.pages(Kind::Live).get(page)?.word(word) & mask != 0)
}

/// How many nodes of a list [`live_of`] needs for `most` live ones among `count`: all where some may be tombstones.
#[inline]
pub(crate) fn wanted(view: &View, count: u32, most: usize) -> usize {
    if view.live_count() == count as u64 { most } else { usize::MAX }
}

/// The first live nodes of a list, at most `most`, in its order.
#[inline]
pub(crate) fn live_of(view: &View, nearest: &[Neighbor], most: usize, out: &mut Vec<Neighbor>) -> Result<()> {
    out.clear();
    for neighbor in nearest {
        if out.len() == most {
            break;
        }
        if is_live(view, neighbor.node)? {
            out.push(*neighbor);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{BLOCK, PAGE_HEADER, node};
    use crate::storage::mmap::private_page;

    #[test]
    fn records_lie_as_the_format_says() {
        let page = PageMut::new(private_page(None));
        let record = Record {
            id: 0x0102_0304_0506_0708,
            payload: 0x1112_1314_1516_1718,
            payload_len: Some(0x2122_2324),
            id_len: 0x3132,
            level: 0x41,
            upper: 0x5152_5354,
        };
        let (_, word) = place(3);
        record.write(&page, word);
        assert_eq!(Record::read(&page, word), record);
        let mut block = vec![0u8; BLOCK];
        page.copy_to(&mut block);
        let bytes = &block[PAGE_HEADER + 3 * node::RECORD_LEN..][..node::RECORD_LEN];
        let values = [record.id, record.payload, 0x2122_2324, 0x3132, 0x41, 1, 0x5152_5354, 0];
        for (&(field, at, size), value) in node::LAYOUT.iter().zip(values) {
            assert_eq!(bytes[at..at + size], value.to_le_bytes()[..size], "{field}");
        }
    }
}
