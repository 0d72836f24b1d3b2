//! From a unit's number to its bytes: down a tree of table pages, each verified against its parent's entry at
//! first touch, then through one pointer for ever after.
//!
//! A unit is a page of a paged object or a chunk of an object of rows. Tables exist for committed units only;
//! units a transaction adds are reached through the pointers the writer sets.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::error::{Error, Result};
use crate::format::checksum::{crc, get_u32};
use crate::format::page::{PageHeader, PageType};
use crate::format::table::{self, Entry};
use crate::format::{BLOCK, Descriptor, FIRST_DATA_BLOCK};
use crate::storage::backend::{File, MapView};
use crate::storage::heat::Stay;
use crate::storage::mmap::{Page, PtrTable, map_bytes};
use crate::storage::tuning::{Bug, OpenTuning};
use crate::storage::{metas, smaps};

/// Bytes read at once when units are read ahead of their use.
const READ_BYTES: u64 = 1 << 20;

/// Reads blocks of the file through its newest map.
pub(crate) struct Mapped {
    pub(crate) file: Arc<dyn File>,
    maps: Mutex<Maps>,
    pub(crate) tuning: OpenTuning,
}

struct Maps {
    newest: Arc<dyn MapView>,
    /// Through which objects that do not stay are read, once there is one: see `heat`.
    seldom: Option<Arc<dyn MapView>>,
    /// Those before them that somebody may still hold.
    older: Vec<Weak<dyn MapView>>,
}

impl Maps {
    fn retire(&mut self, old: &Arc<dyn MapView>) {
        self.older.retain(|map| map.strong_count() > 0);
        self.older.push(Arc::downgrade(old));
    }
}

impl Mapped {
    pub(crate) fn new(file: Arc<dyn File>, len: u64, tuning: OpenTuning) -> Result<Mapped> {
        let maps = Mutex::new(Maps { newest: file.map(len)?, seldom: None, older: Vec::new() });
        Ok(Mapped { file, maps, tuning })
    }

    /// A map that reaches `end`. Older maps stay where they are for those who hold them.
    pub(crate) fn reaching(&self, end: u64) -> Result<Arc<dyn MapView>> {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        if (maps.newest.len() as u64) < end {
            let old = std::mem::replace(&mut maps.newest, self.file.map(end)?);
            maps.retire(&old);
        }
        Ok(maps.newest.clone())
    }

    /// Whether the map is of the file that reads are of. Where overlayfs copied a file because a writer opened it, reads
    /// through older handles see the copy and maps stay those of the original: what a newer commit refers to is not in
    /// them, and past the end of the original there is nothing but SIGBUS.
    pub(crate) fn shows(&self, txn: u64) -> Result<bool> {
        Ok(metas::is_shown(self.reaching(0)?.as_ref(), txn, self.tuning))
    }

    /// The same for what is read seldom.
    fn seldom_reaching(&self, end: u64) -> Result<Arc<dyn MapView>> {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = maps.seldom.as_ref().filter(|map| map.len() as u64 >= end) {
            return Ok(map.clone());
        }
        let map = self.file.map_seldom(end)?;
        if let Some(old) = maps.seldom.replace(map.clone()) {
            maps.retire(&old);
        }
        Ok(map)
    }

    /// Addresses that are mapped.
    pub(crate) fn ranges(&self) -> Vec<Range<usize>> {
        let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let older = maps.older.iter().filter_map(Weak::upgrade);
        let range = |map: Arc<dyn MapView>| map.base().addr()..map.base().addr() + map.len();
        older.chain(maps.seldom.clone()).chain([maps.newest.clone()]).map(range).collect()
    }

    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.ranges().iter().map(|range| range.len() as u64).sum()
    }

    /// Bytes of them in pages of 2 MiB; see [`smaps`].
    pub(crate) fn huge_bytes(&self) -> u64 {
        smaps::huge_bytes(&self.ranges())
    }
}

/// The committed tables of one object, and the pointers to its units.
pub(crate) struct Units {
    pub(crate) descriptor: Descriptor,
    fanout: u64,
    /// Blocks of the file at this commit: no entry may point past them.
    limit: u64,
    depth: u32,
    /// Level 0 holds the units, level `l` the table pages that lie `l` above them.
    levels: Vec<PtrTable>,
    source: Arc<Mapped>,
    stay: Stay,
}

/// What a table page or unit must say of itself.
#[derive(Clone, Copy)]
struct Expected {
    level: u32,
    number: u64,
    entry: Entry,
}

impl Units {
    /// The object of a descriptor at a commit of `limit` blocks, nothing touched yet.
    pub(crate) fn new(
        descriptor: Descriptor,
        fanout: u64,
        limit: u64,
        source: Arc<Mapped>,
        stay: Stay,
    ) -> Result<Units> {
        let depth = table::depth(descriptor.units, fanout);
        let count = |level| level_len(descriptor.units, fanout, level) as usize;
        let levels = (0..=depth).map(|level| PtrTable::new(count(level))).collect::<Result<_>>()?;
        Ok(Units { descriptor, fanout, limit, depth, levels, source, stay })
    }

    /// An object without units, of the same file and commit.
    pub(crate) fn sibling(&self, descriptor: Descriptor) -> Result<Units> {
        Units::new(descriptor, self.fanout, self.limit, self.source.clone(), Stay::All)
    }

    /// The same commit with room for `capacity` units.
    pub(crate) fn grown(&self, capacity: usize) -> Result<Units> {
        let mut levels = vec![self.levels[0].grown(capacity)?];
        for level in &self.levels[1..] {
            levels.push(level.grown(level.capacity())?);
        }
        let (descriptor, source) = (self.descriptor.clone(), self.source.clone());
        Ok(Units { descriptor, levels, source, ..*self })
    }

    /// A later commit of the object: pointers of units and table pages that `changed` does not name, level by level,
    /// are kept.
    pub(crate) fn advanced(
        &self,
        descriptor: Descriptor,
        limit: u64,
        changed: &[Vec<u64>],
        stay: Stay,
    ) -> Result<Units> {
        let mut fresh = Units::new(descriptor, self.fanout, limit, self.source.clone(), stay)?;
        for (level, (own, new)) in self.levels.iter().zip(&mut fresh.levels).enumerate() {
            *new = own.mapped_only(new.capacity())?;
            new.forget(changed.get(level).map_or(&[], Vec::as_slice));
        }
        Ok(fresh)
    }

    /// The pointers to units.
    #[inline(always)]
    pub(crate) fn table(&self) -> &PtrTable {
        &self.levels[0]
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn fanout(&self) -> u64 {
        self.fanout
    }

    /// Units (level 0) or table pages there are at a level.
    pub(crate) fn len_at(&self, level: u32) -> u64 {
        level_len(self.descriptor.units, self.fanout, level)
    }

    /// The entry of a unit (level 0) or of a table page. Bounded: one step a level.
    pub(crate) fn entry(&self, level: u32, number: u64) -> Result<Entry> {
        if level > self.depth || number >= self.len_at(level) {
            let what = format!("unit {number} of object kind {} does not exist", self.descriptor.kind);
            return Err(Error::corrupt(what));
        }
        let mut entry = self.descriptor.root;
        for above in (level + 1..=self.depth).rev() {
            let from_leaf = above - level;
            let page = number / self.fanout.pow(from_leaf);
            let slot = number / self.fanout.pow(from_leaf - 1) % self.fanout;
            let page = self.table_page(above, page, entry)?;
            entry = Entry::from_words(std::array::from_fn(|i| page.word(slot as usize * 4 + i)));
        }
        self.check_entry(entry)?;
        Ok(entry)
    }

    /// Visits the entries of all table pages and units, from the root down; `visit` says whether a table page can be
    /// believed. What lies below one that cannot is passed over: an entry takes 16 bytes of the file, so the walk ends
    /// with what the file really holds, whatever it claims.
    pub(crate) fn for_each_entry(
        &self,
        mut visit: impl FnMut(u32, u64, Result<Entry>) -> Result<bool>,
    ) -> Result<()> {
        let mut above = vec![0];
        for level in (0..=self.depth).rev() {
            let mut believed = Vec::new();
            for parent in above {
                let first = if level == self.depth { 0 } else { parent * self.fanout };
                for number in first..(first + self.fanout).min(self.len_at(level)) {
                    if visit(level, number, self.entry(level, number))? && level > 0 {
                        believed.push(number);
                    }
                }
            }
            above = believed;
        }
        Ok(())
    }

    /// Refuses an entry that points outside the commit.
    fn check_entry(&self, entry: Entry) -> Result<()> {
        let end = entry.block.saturating_add(entry.blocks as u64);
        if entry.is_empty() || entry.block < FIRST_DATA_BLOCK || end > self.limit {
            let what =
                format!("object kind {} points to blocks {}..{end}", self.descriptor.kind, entry.block);
            return Err(Error::corrupt(what));
        }
        Ok(())
    }

    /// A table page of the committed tree, by the entry its parent has for it.
    pub(crate) fn table_page(&self, level: u32, number: u64, entry: Entry) -> Result<&Page> {
        let slots = &self.levels[level as usize];
        if let Some(page) = slots.page(number as usize) {
            return Ok(page);
        }
        self.load_page(slots, Expected { level, number, entry })
    }

    /// Page `number` of a paged object, verified at first touch.
    #[cold]
    #[inline(never)]
    pub(crate) fn touch_page(&self, number: usize) -> Result<&Page> {
        let entry = self.entry(0, number as u64)?;
        self.load_page(&self.levels[0], Expected { level: 0, number: number as u64, entry })
    }

    fn load_page<'a>(&self, slots: &'a PtrTable, expected: Expected) -> Result<&'a Page> {
        let number = expected.number as usize;
        let gone = || Error::corrupt(format!("page {number} of object kind {}", self.descriptor.kind));
        let bytes = self.verified_page(expected)?;
        let offset = expected.entry.block * BLOCK as u64;
        if number >= slots.capacity() || !slots.set_mapped(number, &bytes, offset, BLOCK) {
            return Err(gone());
        }
        slots.page(number).ok_or_else(gone)
    }

    /// Verifies a page against its parent's entry and gives the map it lies in.
    fn verified_page(&self, expected: Expected) -> Result<Arc<dyn MapView>> {
        let Expected { level, number, entry } = expected;
        self.check_entry(entry)?;
        if entry.blocks != 1 {
            return Err(Error::corrupt(format!(
                "a page of object kind {} has {} blocks",
                self.descriptor.kind, entry.blocks
            )));
        }
        let offset = entry.block * BLOCK as u64;
        let map = self.map_reaching(offset + BLOCK as u64)?;
        let bytes =
            map_bytes(map.as_ref(), offset, BLOCK).ok_or_else(|| Error::corrupt("a block past the map"))?;
        let page_type = if level == 0 { PageType::Content } else { PageType::Table };
        let mut header =
            PageHeader { page_type, kind: self.descriptor.kind, number, birth: entry.birth as u64, level };
        let tuning = self.source.tuning;
        if tuning.has(Bug::NoPageChecksum) {
            return Ok(map);
        }
        if tuning.has(Bug::StaleTableEntry) {
            header.birth = crate::format::checksum::get_u64(bytes, 16);
            return header.verify(bytes).map(|()| map);
        }
        header.verify(bytes)?;
        if get_u32(bytes, 0) != entry.crc {
            let what = format!(
                "page {number} of object kind {} is not the one its parent means",
                self.descriptor.kind
            );
            return Err(Error::corrupt(what));
        }
        Ok(map)
    }

    /// Points a chunk's slot into the map. `used` bytes of it hold rows.
    #[cold]
    #[inline(never)]
    pub(crate) fn touch_chunk(&self, number: usize, used: usize) -> Result<()> {
        let (entry, map) = self.chunk(number, used)?;
        if !self.levels[0].set_mapped(number, &map, entry.block * BLOCK as u64, used) {
            return Err(Error::corrupt(format!("chunk {number} of object kind {}", self.descriptor.kind)));
        }
        Ok(())
    }

    fn chunk(&self, number: usize, used: usize) -> Result<(Entry, Arc<dyn MapView>)> {
        let entry = self.entry(0, number as u64)?;
        if entry.blocks as usize != used.div_ceil(BLOCK) {
            let what =
                format!("chunk {number} of object kind {} has {} blocks", self.descriptor.kind, entry.blocks);
            return Err(Error::corrupt(what));
        }
        let end = (entry.block + entry.blocks as u64) * BLOCK as u64;
        Ok((entry, self.map_reaching(end)?))
    }

    /// Verifies the committed bytes of a unit without keeping anything: for `get` and `check`.
    pub(crate) fn verify_chunk(&self, number: usize, used: usize) -> Result<()> {
        let (entry, map) = self.chunk(number, used)?;
        let (offset, len) = (entry.block * BLOCK as u64, entry.blocks as usize * BLOCK);
        if !self.stay() {
            self.source.file.will_need(offset, len as u64);
        }
        let bytes =
            map_bytes(map.as_ref(), offset, len).ok_or_else(|| Error::corrupt("a block past the map"))?;
        if crc(bytes) != entry.crc && !self.source.tuning.has(Bug::NoPageChecksum) {
            let what = format!("chunk {number} of object kind {} fails its checksum", self.descriptor.kind);
            return Err(Error::corrupt(what));
        }
        Ok(())
    }

    /// Begins to read committed units that will be touched soon; neighbors in the file are asked for together. What
    /// cannot be found is an error when it is touched.
    #[cold]
    #[inline(never)]
    pub(crate) fn will_need(&self, units: Range<u64>) {
        let ask = |from: u64, end: u64| {
            if end > from {
                self.source.file.will_need(from * BLOCK as u64, (end - from) * BLOCK as u64);
            }
        };
        let (mut from, mut end) = (0, 0);
        for number in units {
            let Ok(entry) = self.entry(0, number) else { return };
            if entry.block != end {
                ask(from, end);
                from = entry.block;
            }
            end = entry.block + entry.blocks as u64;
        }
        ask(from, end);
    }

    /// Begins to read `len` bytes at `offset` within a committed unit.
    #[cold]
    #[inline(never)]
    pub(crate) fn will_need_part(&self, number: u64, offset: u64, len: u64) {
        let Ok(entry) = self.entry(0, number) else { return };
        self.source.file.will_need(entry.block * BLOCK as u64 + offset, len);
    }

    /// Whether units once read can be relied on to stay in memory.
    #[inline(always)]
    pub(crate) fn stay(&self) -> bool {
        self.stay != Stay::Passes
    }

    /// Where it is read from.
    pub(crate) fn source(&self) -> &Mapped {
        &self.source
    }

    fn map_reaching(&self, end: u64) -> Result<Arc<dyn MapView>> {
        if self.stay == Stay::All { self.source.reaching(end) } else { self.source.seldom_reaching(end) }
    }

    /// Reads committed units through a buffer, in the order and in as large pieces as they lie in the file, so that
    /// their first touches find them in the system's cache: a fault reads a few blocks, or one. Says how many bytes.
    pub(crate) fn read_in(&self, units: Range<u64>) -> Result<u64> {
        // An entry that claims more blocks than a unit has is refused at its touch, not read here.
        let entry = |number| {
            let entry = self.entry(0, number)?;
            let blocks = self.descriptor.unit_blocks(number).min(entry.blocks as u64) as u16;
            Ok(Entry { blocks, ..entry })
        };
        // The system keeps what was read twice before what was read once; that a map is used does not count there.
        let times = if self.stay == Stay::Busy { 2 } else { 1 };
        let mut entries = units.map(entry).collect::<Result<Vec<Entry>>>()?;
        entries.sort_unstable_by_key(|entry| entry.block);
        let (mut buffer, mut bytes) = (Vec::new(), 0);
        let mut rest = &entries[..];
        while let Some(first) = rest.first() {
            let mut end = first.block;
            let joined = rest.iter().take_while(|entry| {
                let joins = entry.block == end && (entry.block - first.block) * (BLOCK as u64) < READ_BYTES;
                end += if joins { entry.blocks as u64 } else { 0 };
                joins
            });
            rest = &rest[joined.count()..];
            let (mut at, end) = (first.block * BLOCK as u64, end * BLOCK as u64);
            while at < end {
                buffer.resize((end - at).min(READ_BYTES) as usize, 0);
                for _ in 0..times {
                    self.source.file.read_at(&mut buffer, at)?;
                }
                at += buffer.len() as u64;
                bytes += buffer.len() as u64;
            }
        }
        Ok(bytes)
    }

    /// Verifies a committed page of any level anew, for `check`.
    pub(crate) fn verify_page(&self, level: u32, number: u64) -> Result<()> {
        let entry = self.entry(level, number)?;
        self.verified_page(Expected { level, number, entry }).map(|_| ())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.levels.iter().map(PtrTable::heap_bytes).sum()
    }
}

/// Table pages of `level` above `units` units (level 0: the units themselves).
pub(crate) fn level_len(units: u64, fanout: u64, level: u32) -> u64 {
    (0..level).fold(units, |n, _| n.div_ceil(fanout))
}
