//! The entry block: up to 64 nodes that walks start from, with copies of their code records side by side, so
//! that starting costs no page and no random read. One row of
//! [`Kind::EntryBlock`](crate::format::Kind::EntryBlock).

use crate::error::Result;
use crate::format::Field;
use crate::format::checksum::{get_u16, get_u32, put_u16, put_u32};
use crate::format::derived::codes::ALIGN;
use crate::format::derived::{ensure, known_version};

/// Layout of the block.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = 64;
/// The largest number of entries.
pub const MAX_ENTRIES: usize = 64;
/// Where the node numbers begin.
pub const NODES: usize = HEADER_LEN;
/// Where the records begin.
pub const RECORDS: usize = NODES + MAX_ENTRIES * 4;

/// Fields of the block, without the `count` records of `stride` bytes that follow.
pub const LAYOUT: &[Field] = &[
    ("version", 0, 4),
    ("count", 4, 2),
    ("code_generation", 6, 2),
    ("stride", 8, 4),
    ("reserved", 12, 52),
    ("nodes", NODES, MAX_ENTRIES * 4),
];

/// A decoded entry block, in place.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a> {
    /// Generation of the codes that were copied.
    pub code_generation: u16,
    stride: usize,
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Checks a block of an index with `node_count` nodes whose codes have records of `stride` bytes.
    pub fn decode(bytes: &'a [u8], node_count: u32, stride: u32) -> Result<Entries<'a>> {
        ensure(bytes.len() >= RECORDS, "an entry block without a header")?;
        known_version("the entry block", get_u32(bytes, 0), VERSION)?;
        let count = get_u16(bytes, 4) as usize;
        let stated = get_u32(bytes, 8) as usize;
        ensure((1..=MAX_ENTRIES).contains(&count), "the number of entries")?;
        ensure(
            stated == stride as usize && stated > 0 && stated.is_multiple_of(ALIGN),
            "the stride of the entry block",
        )?;
        ensure(bytes.len() >= len(count, stated), "the length of the entry block")?;
        let entries = Entries { code_generation: get_u16(bytes, 6), stride: stated, count, bytes };
        let in_range = entries.nodes().all(|node| node < node_count);
        let distinct =
            entries.nodes().enumerate().all(|(i, node)| entries.nodes().take(i).all(|n| n != node));
        ensure(in_range && distinct, "the nodes of the entry block")?;
        Ok(entries)
    }

    /// Number of entries.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The nodes, in the order of their records.
    pub fn nodes(&self) -> impl Iterator<Item = u32> + use<'a> {
        let bytes = self.bytes;
        (0..self.count).map(move |i| get_u32(bytes, NODES + i * 4))
    }

    /// The code record of entry `i`.
    pub fn record(&self, i: usize) -> Option<&'a [u8]> {
        let at = RECORDS + i.checked_mul(self.stride)?;
        if i < self.count { self.bytes.get(at..at + self.stride) } else { None }
    }
}

/// Bytes of a block.
pub fn len(count: usize, stride: usize) -> usize {
    RECORDS + count * stride
}

/// The bytes of a block; `records` holds one record of `stride` bytes for each node, back to back.
pub fn encode(nodes: &[u32], records: &[u8], stride: u32, code_generation: u16) -> Result<Vec<u8>> {
    let fits = nodes.len() <= MAX_ENTRIES && records.len() == nodes.len() * stride as usize;
    ensure(fits, "an entry block to write")?;
    let mut bytes = vec![0u8; len(nodes.len(), stride as usize)];
    put_u32(&mut bytes, 0, VERSION);
    put_u16(&mut bytes, 4, nodes.len() as u16);
    put_u16(&mut bytes, 6, code_generation);
    put_u32(&mut bytes, 8, stride);
    for (i, &node) in nodes.iter().enumerate() {
        put_u32(&mut bytes, NODES + i * 4, node);
    }
    bytes[RECORDS..].copy_from_slice(records);
    Entries::decode(&bytes, u32::MAX, stride)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::derived::testing::{abuse, end_of};

    fn block(count: usize) -> Vec<u8> {
        let nodes: Vec<u32> = (0..count as u32).map(|i| i * 10 + 5).collect();
        let records: Vec<u8> = (0..count * 128).map(|i| i as u8).collect();
        encode(&nodes, &records, 128, 3).unwrap()
    }

    #[test]
    fn round_trip() {
        assert_eq!((end_of(LAYOUT), RECORDS % ALIGN), (RECORDS, 0));
        for count in [1, 2, 63, 64] {
            let bytes = block(count);
            let entries = Entries::decode(&bytes, 1_000, 128).unwrap();
            assert_eq!((entries.count(), entries.code_generation), (count, 3));
            assert!(entries.nodes().eq((0..count as u32).map(|i| i * 10 + 5)));
            for i in 0..count {
                assert!(
                    entries.record(i).unwrap().iter().copied().eq((i * 128..(i + 1) * 128).map(|i| i as u8))
                );
            }
            assert_eq!((entries.record(count), entries.record(usize::MAX)), (None, None));
        }
    }

    #[test]
    fn every_number_is_checked() {
        let good = block(8);
        assert!(Entries::decode(&good, 75, 128).is_err(), "node 75 of 75");
        assert!(Entries::decode(&good, 76, 128).is_ok());
        assert!(Entries::decode(&good, 76, 64).is_err(), "codes of another stride");
        assert!(Entries::decode(&good[..good.len() - 1], 76, 128).is_err());
        for (at, value) in [(0, 2), (4, 0), (4, 65), (4, 9), (8, 64), (NODES, 15)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Entries::decode(&bad, 76, 128).is_err(), "byte {at} set to {value}");
        }
        assert!(encode(&[], &[], 128, 1).is_err());
        assert!(encode(&[1; 65], &[0; 65 * 64], 64, 1).is_err());
        assert!(encode(&[1, 2], &[0; 64], 64, 1).is_err());
        assert!(encode(&[1, 1], &[0; 128], 64, 1).is_err());
        assert!(encode(&[1], &[0; 60], 60, 1).is_err());
        abuse(&good, |bytes| {
            if let Ok(entries) = Entries::decode(bytes, 76, 128) {
                assert!(entries.nodes().count() <= MAX_ENTRIES && entries.record(0).is_some());
            }
        });
    }
}
