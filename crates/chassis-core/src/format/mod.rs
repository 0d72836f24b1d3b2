//! Bytes to values and back. Pure: no I/O, no allocation sized by what the bytes say, no panic on any input.
//!
//! Everything is little-endian and everything unused is zero. `docs/file-format.md` is the normative text; a
//! test compares its tables with the `LAYOUT` constants here.
//!
//! | file | structure |
//! |---|---|
//! | `header` | block 0, written once |
//! | `meta` | one commit: blocks 1 to 4 |
//! | `page` | the 64 bytes that open every page |
//! | `table` | entries that point to pages, chunks and tables |
//! | `catalog` | the list of objects |
//! | `node`, `neighbors` | node records and live bits; slots of neighbor lists |
//! | `derived` | codes, model, calibration, entry block |
//! | `free` | runs of free blocks |
//! | `ids` | nodes of the id tree |
//! | `checksum` | CRC32C, and words from bytes |

pub mod catalog;
pub mod checksum;
pub mod derived;
pub mod free;
pub mod header;
pub mod ids;
pub mod meta;
pub mod neighbors;
pub mod node;
pub mod page;
pub mod table;

pub use catalog::{Descriptor, Form, Kind};
pub use free::Run;
pub use header::{Header, UnverifiedHeader};
pub use meta::Meta;
pub use page::{PageHeader, PageType};
pub use table::Entry;

/// Bytes of a block, the unit of allocation, on every platform.
pub const BLOCK: usize = 4096;
/// Bytes of the header every page opens with.
pub const PAGE_HEADER: usize = 64;
/// Bytes of a page that hold content.
pub const PAGE_PAYLOAD: usize = BLOCK - PAGE_HEADER;
/// First block that holds data.
pub const FIRST_DATA_BLOCK: u64 = 8;
/// The largest fan-out of a table node.
pub const MAX_FANOUT: usize = PAGE_PAYLOAD / table::ENTRY_LEN;
/// Blocks are numbered with 48 bits.
pub const MAX_BLOCKS: u64 = 1 << 48;

/// One field of a structure: name, offset, size in bytes.
pub type Field = (&'static str, usize, usize);
