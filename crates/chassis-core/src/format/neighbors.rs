//! Neighbor lists: fixed slots of node numbers, nothing else, so that a list is read in one go.
//!
//! A slot of layer 0 has `m0` numbers, one of an upper layer `m`; both are in the file's header. Slots lie back
//! to back from the start of a page's content and never cross a page. Slot `n` of layer 0 belongs to node `n`;
//! the slots of the upper layers are numbered in the order of their nodes, and a node of level `l` has `l` of
//! them, layer 1 first. A list ends at the first [`NONE`] or with its slot, the nearest selected link comes
//! first, so a prefix of a list is a valid thinner list.

use crate::format::PAGE_PAYLOAD;

/// Ends a list.
pub const NONE: u32 = u32::MAX;
/// Bytes of a link.
pub const LINK_LEN: usize = 4;

/// Slots a page holds when each has `links` numbers.
pub const fn per_page(links: usize) -> usize {
    PAGE_PAYLOAD / (links * LINK_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_the_usual_degrees() {
        assert_eq!([16, 32, 48, 96].map(per_page), [63, 31, 21, 10]);
    }
}
