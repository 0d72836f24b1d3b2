//! Table entries: where a page, a chunk or a lower table is, how long, who wrote it, and its checksum.
//!
//! The parent keeps the child's checksum. A block that a lost or misplaced write left behind has a checksum of
//! its own that fits; it does not fit the parent's.

use crate::format::Field;
use crate::format::checksum::{get_u16, get_u32, get_u64, put_u16, put_u32, put_u64};

/// Bytes of an entry.
pub const ENTRY_LEN: usize = 16;

/// Fields of an entry.
pub const LAYOUT: &[Field] = &[("block", 0, 6), ("blocks", 6, 2), ("birth", 8, 4), ("crc", 12, 4)];

/// A pointer to blocks. All zero: nothing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// First block (48 bits).
    pub block: u64,
    /// How many blocks.
    pub blocks: u16,
    /// Low 32 bits of the transaction that wrote them.
    pub birth: u32,
    /// Of a page: its own checksum field. Of a chunk: CRC32C of all its bytes.
    pub crc: u32,
}

impl Entry {
    /// Whether it points nowhere.
    pub fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    /// Reads an entry.
    pub fn decode(bytes: &[u8], at: usize) -> Entry {
        Entry {
            block: get_u64(bytes, at) & 0xffff_ffff_ffff,
            blocks: get_u16(bytes, at + 6),
            birth: get_u32(bytes, at + 8),
            crc: get_u32(bytes, at + 12),
        }
    }

    /// Reads an entry from the four little-endian words it is made of.
    pub fn from_words(words: [u32; 4]) -> Entry {
        let block = words[0] as u64 | (words[1] as u64) << 32;
        Entry {
            block: block & 0xffff_ffff_ffff,
            blocks: (words[1] >> 16) as u16,
            birth: words[2],
            crc: words[3],
        }
    }

    /// The four little-endian words an entry is made of.
    pub fn to_words(&self) -> [u32; 4] {
        [self.block as u32, (self.block >> 32) as u32 | (self.blocks as u32) << 16, self.birth, self.crc]
    }

    /// Writes an entry.
    pub fn encode(&self, bytes: &mut [u8], at: usize) {
        debug_assert!(self.block < crate::format::MAX_BLOCKS, "block {}", self.block);
        put_u64(bytes, at, self.block);
        put_u16(bytes, at + 6, self.blocks);
        put_u32(bytes, at + 8, self.birth);
        put_u32(bytes, at + 12, self.crc);
    }
}

/// Levels of table above `units` units: 0 when the root entry points to the only unit.
pub fn depth(units: u64, fanout: u64) -> u32 {
    let (mut depth, mut reach) = (0, 1u64);
    while reach < units {
        reach = reach.saturating_mul(fanout);
        depth += 1;
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths() {
        for (units, fanout, expected) in
            [(0, 2, 0), (1, 2, 0), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 2, 3), (252, 252, 1), (253, 252, 2)]
        {
            assert_eq!(depth(units, fanout), expected, "{units} units");
        }
        assert_eq!(depth(u64::MAX, 2), 64);
    }

    #[test]
    fn round_trip() {
        let entry = Entry { block: 0xabcd_1234_5678, blocks: 513, birth: 77, crc: 0xdead_beef };
        let mut bytes = [0u8; 32];
        entry.encode(&mut bytes, 16);
        assert_eq!(Entry::decode(&bytes, 16), entry);
        assert_eq!(Entry::decode(&bytes, 0), Entry::default());
        assert_eq!(Entry::from_words(entry.to_words()), entry);
        assert_eq!(Entry::from_words(std::array::from_fn(|i| get_u32(&bytes, 16 + 4 * i))), entry);
    }
}
