//! The 64 bytes that open every page: what it is, which one, who wrote it.

use crate::error::{Error, Result};
use crate::format::checksum::{crc, get_u16, get_u32, get_u64, put_u16, put_u32, put_u64};
use crate::format::{BLOCK, Field};

/// Fields of the page header. `crc` covers the block from byte 4 on.
pub const LAYOUT: &[Field] = &[
    ("crc", 0, 4),
    ("type", 4, 2),
    ("kind", 6, 2),
    ("number", 8, 8),
    ("birth", 16, 8),
    ("level", 24, 4),
    ("reserved", 28, 36),
];

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum PageType {
    /// Content of a paged object.
    Content = 1,
    /// Entries that point to pages, chunks or other tables.
    Table = 2,
    /// The list of objects.
    Catalog = 3,
}

/// Who a page says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// What it holds.
    pub page_type: PageType,
    /// The object it belongs to (0 for the catalog).
    pub kind: u16,
    /// Its number within the object, or within its level of the table.
    pub number: u64,
    /// The transaction that wrote it.
    pub birth: u64,
    /// Level of a table node, 1 just above content.
    pub level: u32,
}

impl PageHeader {
    /// Signs a page: writes the header and the checksum.
    pub fn sign(&self, block: &mut [u8]) {
        put_u16(block, 4, self.page_type as u16);
        put_u16(block, 6, self.kind);
        put_u64(block, 8, self.number);
        put_u64(block, 16, self.birth);
        put_u32(block, 24, self.level);
        block[28..64].fill(0);
        let sum = crc(&block[4..BLOCK]);
        put_u32(block, 0, sum);
    }

    /// Checks that a page is intact and is the one that was asked for (`birth` by its low 32 bits).
    pub fn verify(&self, block: &[u8]) -> Result<()> {
        let intact = block.len() == BLOCK && crc(&block[4..]) == get_u32(block, 0);
        let right = get_u16(block, 4) == self.page_type as u16
            && get_u16(block, 6) == self.kind
            && get_u64(block, 8) == self.number
            && get_u64(block, 16) as u32 == self.birth as u32
            && get_u32(block, 24) == self.level;
        if intact && right {
            return Ok(());
        }
        let what = if intact { "is another page than it should be" } else { "fails its checksum" };
        Err(Error::corrupt(format!(
            "{:?} page {} of object kind {} {what}",
            self.page_type, self.number, self.kind
        )))
    }
}
