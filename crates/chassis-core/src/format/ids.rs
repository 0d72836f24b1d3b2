//! A node of the id tree: the content of one page.
//!
//! The tree orders pairs of (key, node): the key is an integer id or the 64-bit hash of a string id, the node
//! its number. Pairs are unique, keys need not be. Offsets count from the start of the page's content.
//!
//! A branch page with `n` children has `n` separators. Child `i` holds the pairs from separator `i` up to, but
//! not including, separator `i + 1`; separator 0 is a lower bound that searches need not look at. Slots past
//! `count` are zero.

use crate::format::{Field, PAGE_PAYLOAD};

/// Levels a tree may have; 8 hold more pairs than there can be nodes.
pub const MAX_DEPTH: u32 = 8;
/// Bytes before the slots.
pub const HEADER: usize = 16;
/// Pairs of a leaf.
pub const LEAF_SLOTS: usize = (PAGE_PAYLOAD - HEADER) / 12;
/// Children of a branch.
pub const BRANCH_SLOTS: usize = (PAGE_PAYLOAD - HEADER) / 16;

/// Pairs or children in use.
pub const COUNT: usize = 0;
/// Levels below this one; a leaf has 0.
pub const LEVEL: usize = 4;
/// Where the keys begin, of pairs and of separators.
pub const KEYS: usize = HEADER;
/// Where the node numbers of a leaf begin.
pub const LEAF_NODES: usize = KEYS + LEAF_SLOTS * 8;
/// Where the node numbers of a branch begin.
pub const BRANCH_NODES: usize = KEYS + BRANCH_SLOTS * 8;
/// Where the page numbers of the children begin.
pub const CHILDREN: usize = BRANCH_NODES + BRANCH_SLOTS * 4;

/// Fields of a leaf.
pub const LEAF_LAYOUT: &[Field] = &[
    ("count", COUNT, 4),
    ("level", LEVEL, 4),
    ("reserved", 8, 8),
    ("keys", KEYS, LEAF_SLOTS * 8),
    ("nodes", LEAF_NODES, LEAF_SLOTS * 4),
    ("unused", LEAF_NODES + LEAF_SLOTS * 4, PAGE_PAYLOAD - LEAF_NODES - LEAF_SLOTS * 4),
];

/// Fields of a branch.
pub const BRANCH_LAYOUT: &[Field] = &[
    ("count", COUNT, 4),
    ("level", LEVEL, 4),
    ("reserved", 8, 8),
    ("separator_keys", KEYS, BRANCH_SLOTS * 8),
    ("separator_nodes", BRANCH_NODES, BRANCH_SLOTS * 4),
    ("children", CHILDREN, BRANCH_SLOTS * 4),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_fill_the_page() {
        for layout in [LEAF_LAYOUT, BRANCH_LAYOUT] {
            let end = layout.iter().fold(0, |at, &(name, offset, len)| {
                assert_eq!(offset, at, "{name}");
                at + len
            });
            assert_eq!(end, PAGE_PAYLOAD);
        }
        assert_eq!((LEAF_SLOTS, BRANCH_SLOTS), (334, 251));
    }
}
