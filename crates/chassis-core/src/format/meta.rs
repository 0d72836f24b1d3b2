//! A commit record: the first 512 bytes of blocks 1 to 4. Commit N lives in the slot of its parity and in that
//! slot's mirror two blocks on.

use crate::error::{Error, Result};
use crate::format::checksum::{crc, crc_with, get_u32, get_u64, put_u32, put_u64};
use crate::format::table::Entry;
use crate::format::{Field, MAX_BLOCKS};

/// Opens every commit record.
pub const MAGIC: u64 = u64::from_le_bytes(*b"CHSMETA1");
/// The largest number of nodes: a walk marks those it followed by the highest bit of their number.
pub const MAX_NODES: u64 = (1 << 31) - 1;
/// Bytes in use; the rest of the block is zero.
pub const LEN: usize = 512;
/// Start of the second checksum.
const SECOND: u32 = 0x5bd1_e995;

/// Fields of a commit record. Both checksums cover the bytes before them.
pub const LAYOUT: &[Field] = &[
    ("magic", 0, 8),
    ("txn", 8, 8),
    ("previous", 16, 8),
    ("blocks", 24, 8),
    ("node_count", 32, 8),
    ("live_count", 40, 8),
    ("upper_count", 48, 8),
    ("next_id", 56, 8),
    ("user_version", 64, 8),
    ("entry_node", 72, 4),
    ("entry_level", 76, 4),
    ("catalog", 80, 16),
    ("ids_root", 96, 4),
    ("ids_depth", 100, 4),
    ("ids_count", 104, 8),
    ("reserved", 112, 392),
    ("crc", 504, 4),
    ("crc2", 508, 4),
];

/// One commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Number of the commit.
    pub txn: u64,
    /// The one before it.
    pub previous: u64,
    /// Length of the file in blocks; what lies beyond is no part of it.
    pub blocks: u64,
    /// Nodes, tombstones among them.
    pub node_count: u64,
    /// Live nodes.
    pub live_count: u64,
    /// Slots of the upper layers in use.
    pub upper_count: u64,
    /// One past the largest integer id ever used.
    pub next_id: u64,
    /// The caller's number.
    pub user_version: u64,
    /// Where walks begin, and that node's level; `u32::MAX` without nodes.
    pub entry_node: u32,
    /// Level of the entry point.
    pub entry_level: u32,
    /// The catalog page.
    pub catalog: Entry,
    /// Root page of the id tree.
    pub ids_root: u32,
    /// Levels of the id tree, 0 when it is empty.
    pub ids_depth: u32,
    /// Entries of the id tree.
    pub ids_count: u64,
}

impl Meta {
    /// Reads a commit record; `None` when it is torn, damaged or absent.
    pub fn decode(b: &[u8], check: bool) -> Option<Meta> {
        if b.len() < LEN || get_u64(b, 0) != MAGIC {
            return None;
        }
        if check && (crc(&b[..504]) != get_u32(b, 504) || crc_with(SECOND, &b[..504]) != get_u32(b, 508)) {
            return None;
        }
        Some(Meta {
            txn: get_u64(b, 8),
            previous: get_u64(b, 16),
            blocks: get_u64(b, 24),
            node_count: get_u64(b, 32),
            live_count: get_u64(b, 40),
            upper_count: get_u64(b, 48),
            next_id: get_u64(b, 56),
            user_version: get_u64(b, 64),
            entry_node: get_u32(b, 72),
            entry_level: get_u32(b, 76),
            catalog: Entry::decode(b, 80),
            ids_root: get_u32(b, 96),
            ids_depth: get_u32(b, 100),
            ids_count: get_u64(b, 104),
        })
    }

    /// The block to write.
    pub fn encode(&self) -> Vec<u8> {
        let mut b = vec![0u8; crate::format::BLOCK];
        let numbers = [
            MAGIC,
            self.txn,
            self.previous,
            self.blocks,
            self.node_count,
            self.live_count,
            self.upper_count,
            self.next_id,
            self.user_version,
        ];
        for (i, value) in numbers.into_iter().enumerate() {
            put_u64(&mut b, i * 8, value);
        }
        put_u32(&mut b, 72, self.entry_node);
        put_u32(&mut b, 76, self.entry_level);
        self.catalog.encode(&mut b, 80);
        put_u32(&mut b, 96, self.ids_root);
        put_u32(&mut b, 100, self.ids_depth);
        put_u64(&mut b, 104, self.ids_count);
        let (first, second) = (crc(&b[..504]), crc_with(SECOND, &b[..504]));
        put_u32(&mut b, 504, first);
        put_u32(&mut b, 508, second);
        b
    }

    /// Range-checks every number, so that nothing later trusts one by accident.
    pub fn validate(&self) -> Result<()> {
        let nodes = self.node_count;
        let sound = self.blocks < MAX_BLOCKS
            && nodes <= MAX_NODES
            && self.live_count <= nodes
            && self.upper_count <= nodes.saturating_mul(31)
            && self.upper_count < u32::MAX as u64
            && self.entry_level <= 31
            && (nodes == 0) == (self.entry_node == u32::MAX)
            && (nodes == 0 || (self.entry_node as u64) < nodes)
            && self.ids_depth <= 8
            && self.ids_count <= nodes;
        if sound {
            Ok(())
        } else {
            Err(Error::corrupt(format!("a number in commit {} is out of range", self.txn)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_bit() {
        let meta = Meta {
            txn: 7,
            previous: 6,
            blocks: 99,
            node_count: 5,
            live_count: 4,
            upper_count: 1,
            next_id: 12,
            user_version: 3,
            entry_node: 2,
            entry_level: 1,
            catalog: Entry { block: 9, blocks: 1, birth: 7, crc: 1 },
            ids_root: 1,
            ids_depth: 1,
            ids_count: 4,
        };
        let bytes = meta.encode();
        assert_eq!(Meta::decode(&bytes, true), Some(meta));
        meta.validate().unwrap();
        for bit in 0..LEN * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Meta::decode(&bad, true), None, "bit {bit}");
        }
    }
}
