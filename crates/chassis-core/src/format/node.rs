//! What a file holds of each node beside its vector and lists: a record of 32 bytes and a bit.
//!
//! Page `n / PER_PAGE` of the node records holds record `n`; page `n / BITS_PER_PAGE` of the live bitmap holds
//! bit `n`, the lowest bit of a byte first. A set bit means live: added, committed and not deleted.

use crate::format::{Field, PAGE_PAYLOAD};

/// Bytes of a record.
pub const RECORD_LEN: usize = 32;
/// Records a page holds.
pub const PER_PAGE: usize = PAGE_PAYLOAD / RECORD_LEN;
/// Bits a page of the live bitmap holds.
pub const BITS_PER_PAGE: usize = PAGE_PAYLOAD * 8;

/// The integer id, or where the string id begins in the heap.
pub const ID: usize = 0;
/// Where the payload begins in the heap.
pub const PAYLOAD: usize = 8;
/// Bytes of the payload.
pub const PAYLOAD_LEN: usize = 16;
/// Bytes of the string id, 0 for an integer id.
pub const ID_LEN: usize = 20;
/// Highest layer the node is on.
pub const LEVEL: usize = 22;
/// See [`FLAG_PAYLOAD`].
pub const FLAGS: usize = 23;
/// First of the node's slots in the upper layers, one a layer.
pub const UPPER: usize = 24;

/// Set when there is a payload, which may be of length 0.
pub const FLAG_PAYLOAD: u8 = 1;
/// `upper` of a node of level 0.
pub const NO_UPPER: u32 = u32::MAX;

/// Fields of a record.
pub const LAYOUT: &[Field] = &[
    ("id", ID, 8),
    ("payload", PAYLOAD, 8),
    ("payload_len", PAYLOAD_LEN, 4),
    ("id_len", ID_LEN, 2),
    ("level", LEVEL, 1),
    ("flags", FLAGS, 1),
    ("upper", UPPER, 4),
    ("reserved", 28, 4),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::derived::testing::end_of;

    #[test]
    fn the_fields_fill_the_record() {
        assert_eq!((end_of(LAYOUT), PER_PAGE, BITS_PER_PAGE), (RECORD_LEN, 126, 32_256));
    }
}
