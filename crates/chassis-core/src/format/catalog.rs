//! The catalog: one page that lists every object of a commit. Objects of a kind a reader does not know are
//! left alone, so that later releases can add derived ones.

use crate::error::{Error, Result};
use crate::format::checksum::{get_u16, get_u32, get_u64, put_u16, put_u32, put_u64};
use crate::format::table::Entry;
use crate::format::{BLOCK, Field, PAGE_HEADER, PAGE_PAYLOAD};

/// Bytes of a descriptor.
pub const DESCRIPTOR_LEN: usize = 96;
/// Objects a file can hold.
pub const MAX_OBJECTS: usize = PAGE_PAYLOAD / DESCRIPTOR_LEN;

/// Fields of a descriptor.
pub const LAYOUT: &[Field] = &[
    ("kind", 0, 2),
    ("form", 2, 1),
    ("chunk_shift", 3, 1),
    ("bits", 4, 1),
    ("flags", 5, 1),
    ("generation", 6, 2),
    ("dimension", 8, 4),
    ("stride", 12, 4),
    ("seed", 16, 8),
    ("model", 24, 4),
    ("version", 28, 4),
    ("units", 32, 8),
    ("rows", 40, 8),
    ("root", 48, 16),
    ("reserved", 64, 32),
];

/// What an object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Kind {
    /// Neighbor lists of layer 0.
    Lists = 1,
    /// Neighbor lists of the upper layers.
    Upper = 2,
    /// Node records.
    Nodes = 3,
    /// The live bitmap.
    Live = 4,
    /// The B+tree from id keys to nodes.
    Ids = 5,
    /// The vectors as they were added.
    Vectors = 6,
    /// Payloads and string ids.
    Heap = 7,
    /// Derived 4-bit codes.
    Codes4 = 8,
    /// A mean and a matrix that codes were made with.
    Model = 9,
    /// Search settings by recall class.
    Calibration = 10,
    /// Entry nodes with their code records.
    EntryBlock = 11,
    /// Runs of free blocks.
    FreeList = 12,
    /// Derived 8-bit codes.
    Codes8 = 13,
}

impl Kind {
    /// Every kind, by number.
    pub const ALL: [Kind; 13] = [
        Kind::Lists,
        Kind::Upper,
        Kind::Nodes,
        Kind::Live,
        Kind::Ids,
        Kind::Vectors,
        Kind::Heap,
        Kind::Codes4,
        Kind::Model,
        Kind::Calibration,
        Kind::EntryBlock,
        Kind::FreeList,
        Kind::Codes8,
    ];

    /// Whether objects of this kind are computed from others: they may be absent, dropped and made anew.
    pub fn is_derived(self) -> bool {
        use Kind::{Calibration, Codes4, Codes8, EntryBlock, Model};
        matches!(self, Codes4 | Codes8 | Model | Calibration | EntryBlock)
    }

    /// The kind with this number.
    pub fn from_number(number: u16) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| *k as u16 == number)
    }
}

/// How an object is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Pages with headers, addressed by number.
    Paged,
    /// Chunks of fixed-stride rows.
    Rows,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The number of its kind; unknown ones are carried along.
    pub kind: u16,
    /// How it is stored.
    pub form: Form,
    /// Rows of a chunk, as a power of two.
    pub chunk_shift: u8,
    /// Bits a component of a code takes, 0 when it is no code.
    pub bits: u8,
    /// Meaning depends on the kind; 0 in version 1.
    pub flags: u8,
    /// Generation of a derived object.
    pub generation: u16,
    /// Components of a code.
    pub dimension: u32,
    /// Bytes of a row.
    pub stride: u32,
    /// Seed of a rotation.
    pub seed: u64,
    /// Generation of the model object it was made with.
    pub model: u32,
    /// Version of the row's layout.
    pub version: u32,
    /// Pages or chunks.
    pub units: u64,
    /// Rows, 0 for a paged object.
    pub rows: u64,
    /// Where the table is.
    pub root: Entry,
}

impl Descriptor {
    /// A paged object of this kind without pages.
    pub fn paged(kind: Kind) -> Descriptor {
        Descriptor::new(kind, Form::Paged, 0, 0)
    }

    /// An object of rows without rows; a chunk is the smallest power of two of rows with `chunk_bytes` that leaves at
    /// most a 32nd of its blocks empty. Sixteen vectors of 784 dimensions are 12 1/4 blocks: in 13, files took 3 % more.
    pub fn rows(kind: Kind, stride: u32, chunk_bytes: u32) -> Descriptor {
        let block = BLOCK as u64;
        let is_chunk = |bytes: u64| {
            let room = bytes.next_multiple_of(block);
            bytes >= chunk_bytes as u64 && (bytes <= block || 32 * (room - bytes) <= room)
        };
        let shift = (0..31).find(|s| is_chunk((stride as u64) << s)).unwrap_or(31);
        Descriptor::new(kind, Form::Rows, stride, shift)
    }

    fn new(kind: Kind, form: Form, stride: u32, chunk_shift: u8) -> Descriptor {
        Descriptor {
            kind: kind as u16,
            form,
            chunk_shift,
            bits: 0,
            flags: 0,
            generation: 0,
            dimension: 0,
            stride,
            seed: 0,
            model: 0,
            version: 1,
            units: 0,
            rows: 0,
            root: Entry::default(),
        }
    }

    /// Bytes of a full chunk.
    pub fn chunk_bytes(&self) -> u64 {
        (self.stride as u64) << self.chunk_shift
    }

    /// Bytes of unit `number` that hold content: of a page all, of a chunk its rows.
    pub fn unit_bytes(&self, number: u64) -> u64 {
        match self.form {
            Form::Paged => BLOCK as u64,
            Form::Rows => {
                let before = number.saturating_mul(1 << self.chunk_shift);
                self.rows.saturating_sub(before).min(1 << self.chunk_shift) * self.stride as u64
            }
        }
    }

    /// Blocks that unit `number` takes.
    pub fn unit_blocks(&self, number: u64) -> u64 {
        self.unit_bytes(number).div_ceil(BLOCK as u64)
    }

    /// Blocks that all units take: each but the last is full.
    pub fn blocks(&self) -> u64 {
        let Some(last) = self.units.checked_sub(1) else { return 0 };
        self.unit_blocks(0).saturating_mul(last).saturating_add(self.unit_blocks(last))
    }

    fn decode(b: &[u8]) -> Result<Descriptor> {
        let d = Descriptor {
            kind: get_u16(b, 0),
            form: match b[2] {
                0 => Form::Paged,
                1 => Form::Rows,
                other => return Err(Error::corrupt(format!("object form {other}"))),
            },
            chunk_shift: b[3],
            bits: b[4],
            flags: b[5],
            generation: get_u16(b, 6),
            dimension: get_u32(b, 8),
            stride: get_u32(b, 12),
            seed: get_u64(b, 16),
            model: get_u32(b, 24),
            version: get_u32(b, 28),
            units: get_u64(b, 32),
            rows: get_u64(b, 40),
            root: Entry::decode(b, 48),
        };
        if d.is_sound() {
            Ok(d)
        } else {
            Err(Error::corrupt(format!("the descriptor of object kind {}", d.kind)))
        }
    }

    /// Whether its numbers go together and stay within the format's bounds.
    pub fn is_sound(&self) -> bool {
        match self.form {
            Form::Paged => self.units <= 1 << 32,
            Form::Rows => {
                self.stride > 0
                    && self.chunk_shift < 32
                    && self.chunk_bytes() <= 1 << 28
                    && self.rows <= 1 << 48
                    && self.units == self.rows.div_ceil(1 << self.chunk_shift)
            }
        }
    }

    fn encode(&self, b: &mut [u8]) {
        put_u16(b, 0, self.kind);
        b[2] = (self.form == Form::Rows) as u8;
        b[3] = self.chunk_shift;
        b[4] = self.bits;
        b[5] = self.flags;
        put_u16(b, 6, self.generation);
        put_u32(b, 8, self.dimension);
        put_u32(b, 12, self.stride);
        put_u64(b, 16, self.seed);
        put_u32(b, 24, self.model);
        put_u32(b, 28, self.version);
        put_u64(b, 32, self.units);
        put_u64(b, 40, self.rows);
        self.root.encode(b, 48);
    }
}

/// Reads the list of objects from a verified catalog page.
pub fn decode(page: &[u8]) -> Result<Vec<Descriptor>> {
    let content = &page[PAGE_HEADER..];
    let slots = content.chunks_exact(DESCRIPTOR_LEN).take(MAX_OBJECTS);
    slots.take_while(|b| get_u16(b, 0) != 0).map(Descriptor::decode).collect()
}

/// Writes the list of objects into a catalog page, to be signed.
pub fn encode(objects: &[Descriptor], page: &mut [u8]) {
    debug_assert!(objects.len() <= MAX_OBJECTS, "{} objects", objects.len());
    for (object, slot) in objects.iter().zip(page[PAGE_HEADER..].chunks_exact_mut(DESCRIPTOR_LEN)) {
        object.encode(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_as_small_as_they_may_and_waste_little() {
        let chunk_bytes = 32 << 10;
        for dimension in 1..=4096u32 {
            let stride = (4 * dimension).next_multiple_of(64);
            let is_full = |shift: u8| {
                let bytes = (stride as u64) << shift;
                bytes >= chunk_bytes && bytes * 32 >= bytes.div_ceil(BLOCK as u64) * BLOCK as u64 * 31
            };
            let made = Descriptor::rows(Kind::Vectors, stride, chunk_bytes as u32);
            assert!(is_full(made.chunk_shift), "{dimension}");
            assert!((0..made.chunk_shift).all(|shift| !is_full(shift)), "{dimension}");
            assert!(made.chunk_bytes() <= 512 << 10, "{dimension}: chunks of {} bytes", made.chunk_bytes());
        }
        assert_eq!(Descriptor::rows(Kind::Heap, 1, chunk_bytes as u32).chunk_bytes(), chunk_bytes);
    }
}
