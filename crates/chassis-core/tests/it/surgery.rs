//! Changes bytes inside an index file and signs everything above them anew: damage that no checksum shows, as an
//! attacker or a bug in another writer would make it.

use chassis_core::internals::format::checksum::{crc, get_u32, put_u32};
use chassis_core::internals::format::{
    BLOCK, Descriptor, Entry, Form, Kind, MAX_FANOUT, Meta, PAGE_HEADER, Run, catalog, free, table,
};

/// The bytes of a file, and its newest commit.
#[derive(Clone)]
pub struct Patient {
    pub bytes: Vec<u8>,
    pub meta: Meta,
    pub objects: Vec<Descriptor>,
}

impl Patient {
    pub fn new(bytes: Vec<u8>) -> Patient {
        let metas = (1..5).filter_map(|block| Meta::decode(&bytes[block * BLOCK..], true));
        let meta = metas.max_by_key(|meta| meta.txn).expect("a commit");
        let at = meta.catalog.block as usize * BLOCK;
        let objects = catalog::decode(&bytes[at..at + BLOCK]).expect("a catalog");
        Patient { bytes, meta, objects }
    }

    fn slot(&self, kind: Kind) -> usize {
        self.objects.iter().position(|d| d.kind == kind as u16).expect("an object")
    }

    pub fn object(&self, kind: Kind) -> &Descriptor {
        &self.objects[self.slot(kind)]
    }

    /// Offsets of the entries on the way to a unit, from the one in the catalog to the unit's own.
    fn entries(&self, kind: Kind, number: u64) -> Vec<usize> {
        let slot = self.slot(kind);
        let root =
            self.meta.catalog.block as usize * BLOCK + PAGE_HEADER + slot * catalog::DESCRIPTOR_LEN + 48;
        let fanout = MAX_FANOUT as u64;
        let mut at = vec![root];
        for level in (0..table::depth(self.objects[slot].units, fanout)).rev() {
            let page = Entry::decode(&self.bytes, at[at.len() - 1]).block as usize * BLOCK;
            let child = number / fanout.pow(level) % fanout;
            at.push(page + PAGE_HEADER + child as usize * table::ENTRY_LEN);
        }
        at
    }

    /// The content of a page, or the rows of a chunk.
    pub fn content(&mut self, kind: Kind, number: u64) -> &mut [u8] {
        let skip = if self.object(kind).form == Form::Paged { PAGE_HEADER } else { 0 };
        let last = self.entries(kind, number).pop().expect("an entry");
        let entry = Entry::decode(&self.bytes, last);
        let start = entry.block as usize * BLOCK;
        &mut self.bytes[start + skip..start + entry.blocks as usize * BLOCK]
    }

    /// Signs a unit anew, and everything above it.
    pub fn sign(&mut self, kind: Kind, number: u64) {
        let paged = self.object(kind).form == Form::Paged;
        for (above, at) in self.entries(kind, number).into_iter().rev().enumerate() {
            let entry = Entry::decode(&self.bytes, at);
            let start = entry.block as usize * BLOCK;
            let sum = match above == 0 && !paged {
                true => crc(&self.bytes[start..start + entry.blocks as usize * BLOCK]),
                false => self.sign_page(start),
            };
            put_u32(&mut self.bytes, at + 12, sum);
        }
        self.sign_commit();
    }

    fn sign_page(&mut self, start: usize) -> u32 {
        let sum = crc(&self.bytes[start + 4..start + BLOCK]);
        put_u32(&mut self.bytes, start, sum);
        sum
    }

    /// Signs the catalog, and the commit record in both its copies.
    pub fn sign_commit(&mut self) {
        self.meta.catalog.crc = self.sign_page(self.meta.catalog.block as usize * BLOCK);
        let block = self.meta.encode();
        for copy in [1 + (self.meta.txn & 1), 3 + (self.meta.txn & 1)] {
            self.bytes[copy as usize * BLOCK..][..BLOCK].copy_from_slice(&block);
        }
    }

    /// Bytes `at..` of the descriptor of an object, in the catalog. Call [`Patient::sign_commit`] after a change.
    pub fn descriptor(&mut self, kind: Kind, at: usize) -> &mut [u8] {
        let start = self.meta.catalog.block as usize * BLOCK
            + PAGE_HEADER
            + self.slot(kind) * catalog::DESCRIPTOR_LEN;
        &mut self.bytes[start + at..start + catalog::DESCRIPTOR_LEN]
    }

    /// Blocks that hold nothing: those of the free list, and what lies past the commit.
    pub fn free_blocks(&mut self) -> Vec<bool> {
        let mut runs: Vec<Run> = Vec::new();
        for number in 0..self.object(Kind::FreeList).units {
            let content = self.content(Kind::FreeList, number).to_vec();
            free::decode(&[&[0; PAGE_HEADER][..], &content].concat(), &mut runs);
        }
        let blocks = self.bytes.len().div_ceil(BLOCK) as u64;
        let free = |block| {
            block >= self.meta.blocks || runs.iter().any(|run| (run.start..run.end()).contains(&block))
        };
        (0..blocks).map(free).collect()
    }
}

/// The checksum of a page lies in its first four bytes; a page signed right is found right.
#[test]
fn signing_nothing_changes_nothing() {
    let (_dir, path) = crate::support::place();
    let index = crate::faults::sample(&path, 600, 8);
    index.close().expect("it closes");
    let bytes = std::fs::read(&path).expect("the file");
    let mut patient = Patient::new(bytes.clone());
    for kind in Kind::ALL {
        if let Some(units) = patient.objects.iter().find(|d| d.kind == kind as u16).map(|d| d.units) {
            (0..units).for_each(|number| patient.sign(kind, number));
        }
    }
    assert!(patient.bytes == bytes, "signed bytes differ");
    let page = patient.meta.catalog.block as usize * BLOCK;
    assert_eq!(get_u32(&patient.bytes, page), patient.meta.catalog.crc);
}
