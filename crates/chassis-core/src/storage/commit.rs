//! The commit, top to bottom. The only code that writes to an existing file.
//!
//! 1. plan: which units and table pages change, which blocks they leave, which free blocks they take;
//! 2. grow the file with real blocks, so that a full disk shows now and the transaction stays usable;
//! 3. write units, tables, free list and catalog into free blocks;
//! 4. barrier: from here on everything the record will refer to is durable (invariant I4);
//! 5. write the commit record to the slot of its parity and to the mirror;
//! 6. barrier: the commit is durable; show it to searches.
//!
//! A crash before 5 leaves the last commit; a crash during 5 or 6 leaves the last one or this one.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum::{crc, get_u32};
use crate::format::page::{PageHeader, PageType};
use crate::format::{BLOCK, Descriptor, Entry, Form, Kind, Meta, free, table};
use crate::storage::backend::File;
use crate::storage::block_writer::BlockWriter;
use crate::storage::mmap::{Page, Region};
use crate::storage::space::{Space, runs_of};
use crate::storage::store::{Shared, sign_catalog};
use crate::storage::tuning::Bug;
use crate::storage::txn::{Txn, Writer};
use crate::storage::units::{Units, level_len};
use crate::storage::view::{Change, View};
use crate::storage::{Object, locks, metas};

/// Objects that rewrite this many blocks get them side by side, so that the kernel can map them in 2 MiB pages.
const CONTIGUOUS: u64 = (2 << 20) / BLOCK as u64;
/// The file grows by an eighth, but by no less and no more than this.
const GROWTH: (u64, u64) = (64 << 10, 1 << 20);

impl Txn<'_> {
    /// Makes every change durable and returns the number of the commit; of the last one when nothing changed.
    pub fn commit(&mut self) -> Result<u64> {
        if !self.is_changed() {
            return Ok(self.view().meta().txn);
        }
        let (shared, writer) = (self.shared, &mut *self.writer);
        anchor(shared, writer)?;
        forget_lost(shared, writer)?;
        let space = match writer.space.take() {
            Some(space) => space,
            None => Space::load(&writer.view)?,
        };
        writer.space = Some(space.clone());
        let mut plan = Plan::new(shared, writer, space)?;
        plan.make()?;
        grow(shared.source.file.as_ref(), plan.space.end() * BLOCK as u64)?;
        let (meta, changes) = plan.write()?;
        let (txn, space) = (meta.txn, plan.space);
        let view = writer.view.advanced(meta, &changes, Arc::new(shared.pins.pin(txn)?))?;
        seal(shared, writer, &meta)?;
        writer.view = Arc::new(view);
        writer.space = Some(space);
        writer.forget();
        shared.show(&writer.view);
        Ok(txn)
    }
}

impl Txn<'_> {
    /// Writes the record of a commit that changes nothing, so that both slots have one of this content: a file that
    /// takes another's place has no commit before it to fall back to. Such a record names a catalog older than
    /// itself, which is how [`anchor`] knows that nothing was committed since.
    pub(crate) fn repeat(&mut self) -> Result<u64> {
        let (shared, writer) = (self.shared, &mut *self.writer);
        let last = *writer.view.meta();
        let meta = Meta { txn: last.txn + 1, previous: last.txn, ..last };
        let view = Arc::new(writer.view.advanced(meta, &[], Arc::new(shared.pins.pin(meta.txn)?))?);
        seal(shared, writer, &meta)?;
        shared.show(&view);
        writer.view = view;
        Ok(meta.txn)
    }
}

/// Steps 4 to 6. A failed barrier is never tried again (invariant I8): the kernel may have dropped the data and
/// would report success.
fn seal(shared: &Shared, writer: &mut Writer, meta: &Meta) -> Result<()> {
    let (file, tuning) = (shared.source.file.as_ref(), shared.source.tuning);
    let hidden = tuning.has(Bug::NoCompactBarrier) && writer.is_hidden;
    if !tuning.has(Bug::NoDataBarrier)
        && !tuning.has(Bug::EarlyPublish)
        && !hidden
        && let Err(cause) = file.barrier()
    {
        writer.poisoned = Some("an earlier commit could not be made durable");
        let text = "the data could not be made durable; the last commit is untouched; close and open again";
        return Err(Error::with_source(ErrorKind::Poisoned, text, cause));
    }
    let block = meta.encode();
    let write = |at: u64| file.write_at(&block, at * BLOCK as u64);
    let written = metas::blocks_of(meta.txn, tuning).into_iter().try_for_each(write).and_then(|()| {
        let skip = hidden || tuning.has(Bug::NoMetaBarrier) || tuning.has(Bug::EarlyPublish);
        if skip { Ok(()) } else { file.barrier() }
    });
    if let Err(cause) = written {
        writer.poisoned = Some("an earlier commit may or may not be durable");
        let text =
            format!("commit {} may or may not be durable; close and open again to learn which", meta.txn);
        return Err(Error::with_source(ErrorKind::CommitIndeterminate, text, cause));
    }
    writer.whole = [true; 2];
    Ok(())
}

/// Makes sure that the newest commit is on the medium before anything builds on it: a killed writer may have left
/// it in the kernel's cache only. One copy of its record is written again, never both: a torn write must not take
/// the last whole one. What is torn in the other slot is made void in the same step. The first commit of a file, new
/// or compacted, makes its name durable as well: who gave it that name may have been killed before that.
fn anchor(shared: &Shared, writer: &mut Writer) -> Result<()> {
    if writer.anchored {
        return Ok(());
    }
    let (file, tuning) = (shared.source.file.as_ref(), shared.source.tuning);
    let meta = *writer.view.meta();
    let copies = metas::blocks_of(meta.txn, tuning);
    let other = if writer.whole[0] { &copies[1..] } else { &copies[..1] };
    let rewrite = if tuning.has(Bug::AnchorRewritesBoth) { &copies } else { other };
    for block in rewrite {
        file.write_at(&meta.encode(), block * BLOCK as u64)?;
    }
    for block in writer.torn.iter().filter(|_| !tuning.has(Bug::KeepTornMetas)) {
        file.write_at(&metas::void(), block * BLOCK as u64)?;
    }
    let compacted = meta.catalog.birth != meta.txn as u32 && !tuning.has(Bug::NoCompactAnchor);
    // Where the newest record could not be read, it may have been the one that tells.
    let is_first = meta.txn == 0 || compacted || writer.lost.is_some();
    let name = if is_first { shared.sync_name() } else { Ok(()) };
    if let Err(cause) = name.and_then(|()| file.barrier()) {
        writer.poisoned = Some("the last commit could not be made durable");
        return Err(Error::with_source(
            ErrorKind::Poisoned,
            "the last commit could not be made durable",
            cause,
        ));
    }
    writer.anchored = true;
    writer.whole = [true; 2];
    writer.torn.clear();
    Ok(())
}

/// Lets the blocks of a lost commit go once there are two good commits after it and no reader pins it. Its record is void
/// on the medium since the anchor, so nobody can come to use it any more. A pin of the commit that took its number counts
/// as well, which can only delay this.
fn forget_lost(shared: &Shared, writer: &mut Writer) -> Result<()> {
    if let Some(lost) = writer.lost
        && writer.view.meta().txn > lost.txn
        && !locks::is_pinned(shared.source.file.as_ref(), lost.txn)?
    {
        writer.lost = None;
    }
    Ok(())
}

/// Grows the file ahead of need when there is room, and to the exact need when there is not.
fn grow(file: &dyn File, need: u64) -> Result<()> {
    if need <= file.len()? {
        return Ok(());
    }
    let ahead = (need + (need / 8).clamp(GROWTH.0, GROWTH.1)).next_multiple_of(GROWTH.0);
    match file.allocate(ahead) {
        Err(e) if e.kind() == ErrorKind::DiskFull => file.allocate(need),
        other => other,
    }
}

/// What a commit will write and where.
struct Plan<'a> {
    shared: &'a Shared,
    writer: &'a Writer,
    txn: u64,
    space: Space,
    /// Blocks freed by commits up to this one may be used.
    newest: Option<u64>,
    freed: Vec<(u64, u64)>,
    objects: Vec<ObjectPlan>,
    /// The free list's levels, then the catalog's block.
    list: ObjectPlan,
    catalog: u64,
}

/// One object: its new descriptor, and per level the numbers and blocks of what is rewritten.
struct ObjectPlan {
    descriptor: Descriptor,
    levels: Vec<Vec<(u64, u64)>>,
}

impl<'a> Plan<'a> {
    fn new(shared: &'a Shared, writer: &'a Writer, mut space: Space) -> Result<Plan<'a>> {
        let txn = writer.view.meta().txn + 1;
        let tuning = shared.source.tuning;
        let mut newest = txn.checked_sub(if tuning.has(Bug::ReuseLagOne) { 1 } else { 2 });
        if !tuning.has(Bug::IgnorePins) {
            let pins = [shared.pins.oldest(), locks::oldest_pin(shared.source.file.as_ref())?];
            newest = pins.into_iter().flatten().fold(newest, |n, pin| n.map(|n| n.min(pin)));
        }
        if let Some(lost) = writer.lost {
            newest = None;
            space.skip_to(lost.end, txn);
        }
        if tuning.has(Bug::ReuseAtOnce) {
            newest = Some(u64::MAX);
        }
        let list = ObjectPlan { descriptor: Descriptor::paged(Kind::FreeList), levels: vec![] };
        Ok(Plan { shared, writer, txn, space, newest, freed: vec![], objects: vec![], list, catalog: 0 })
    }

    /// Step 1.
    fn make(&mut self) -> Result<()> {
        let view = self.writer.view.clone();
        for (kind, object) in view.objects() {
            if *kind == Kind::FreeList as u16 {
                self.free_all(object.units(), false)?;
                continue;
            }
            let dirty = match (Kind::from_number(*kind), object) {
                (Some(kind), Object::Pages(_)) => self.writer.pages[kind as usize].numbers(),
                (Some(_), Object::Rows(rows)) => rows.changed_chunks().collect(),
                (None, _) => vec![],
            };
            if !dirty.is_empty() {
                let plan = self.plan_object(object, dirty)?;
                self.objects.push(plan);
            }
        }
        self.free_replaced(&view)?;
        let catalog = view.meta().catalog;
        self.freed.push((catalog.block, catalog.blocks as u64));
        if self.shared.source.tuning.has(Bug::ReuseAtOnce) {
            let freed = runs_of(std::mem::take(&mut self.freed), 0);
            self.space.release(&freed, u64::MAX);
        }
        self.place_objects();
        self.place_free_list(view.header().fanout as u64);
        Ok(())
    }

    /// Frees the committed objects that the transaction put others in the place of, or dropped.
    fn free_replaced(&mut self, view: &View) -> Result<()> {
        let (tuning, before) = (self.shared.source.tuning, self.freed.len());
        for (kind, object) in view.committed().objects() {
            if self.writer.replaced.iter().any(|k| *k as u16 == *kind) && !tuning.has(Bug::KeepReplaced) {
                self.free_all(object.units(), true)?;
            }
        }
        if tuning.has(Bug::ReplaceFreesEarly) {
            let freed = runs_of(self.freed.split_off(before), 0);
            self.space.release(&freed, u64::MAX);
        }
        Ok(())
    }

    /// Frees every block of an object: of the free list, which each commit writes anew, or of one replaced. What
    /// hangs below a damaged table is lost until a compaction where that is better than keeping the object for ever.
    fn free_all(&mut self, units: &Units, damaged: bool) -> Result<()> {
        if units.descriptor.units == 0 {
            return Ok(());
        }
        units.for_each_entry(|_, _, entry| match entry {
            Ok(entry) => {
                self.freed.push((entry.block, entry.blocks as u64));
                Ok(true)
            }
            Err(error) if damaged && error.kind() == ErrorKind::Corrupt => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// Which table pages change with these units, and which blocks that frees. Blocks are chosen later.
    fn plan_object(&mut self, object: &Object, dirty: Vec<u64>) -> Result<ObjectPlan> {
        let units = object.units();
        let mut descriptor = units.descriptor.clone();
        match object {
            Object::Pages(pages) => descriptor.units = pages.count() as u64,
            Object::Rows(rows) => {
                descriptor.rows = rows.len() as u64;
                descriptor.units = rows.chunks();
            }
        }
        let depth = table::depth(descriptor.units, units.fanout());
        let in_place = self.shared.source.tuning.has(Bug::InPlacePages) && descriptor.form == Form::Paged;
        let mut numbers = dirty;
        let mut levels = Vec::new();
        for level in 0..=depth {
            if level > 0 {
                numbers.iter_mut().for_each(|n| *n /= units.fanout());
                numbers.dedup();
            }
            let mut rewritten = Vec::with_capacity(numbers.len());
            for &number in &numbers {
                let mut block = 0;
                if level <= units.depth() && number < units.len_at(level) {
                    let old = units.entry(level, number)?;
                    if in_place && level == 0 {
                        block = old.block;
                    } else {
                        self.freed.push((old.block, old.blocks as u64));
                    }
                }
                rewritten.push((number, block));
            }
            levels.push(rewritten);
        }
        Ok(ObjectPlan { descriptor, levels })
    }

    fn place_objects(&mut self) {
        for plan in &mut self.objects {
            let d = &plan.descriptor;
            let size = |number: u64| d.unit_blocks(number);
            let total: u64 = plan.levels[0].iter().map(|(n, _)| size(*n)).sum();
            let mut run = (total >= CONTIGUOUS).then(|| self.space.allocate(total, self.newest));
            for (number, block) in plan.levels[0].iter_mut().filter(|(_, block)| *block == 0) {
                let blocks = size(*number);
                *block = match &mut run {
                    Some(next) => std::mem::replace(next, *next + blocks),
                    None => self.space.allocate(blocks, self.newest),
                };
            }
            for (_, block) in plan.levels[1..].iter_mut().flatten() {
                *block = self.space.allocate(1, self.newest);
            }
        }
    }

    /// Places the list's own pages. Their number is bounded before they are placed: taking blocks from runs never
    /// makes more runs.
    fn place_free_list(&mut self, fanout: u64) {
        let freed = runs_of(self.freed.clone(), self.txn);
        let pages = (self.space.runs().len() + freed.len()).div_ceil(free::RUNS_PER_PAGE) as u64;
        self.list.descriptor.units = pages;
        for level in 0..=table::depth(pages, fanout) {
            let place = |number| (number, self.space.allocate(1, self.newest));
            self.list.levels.push((0..level_len(pages, fanout, level)).map(place).collect());
        }
        self.catalog = self.space.allocate(1, self.newest);
        self.space.release(&freed, self.txn);
    }

    /// Step 3: everything but the commit record.
    fn write(&mut self) -> Result<(Meta, Vec<Change>)> {
        let file = self.shared.source.file.clone();
        let mut out = BlockWriter::new(file.as_ref());
        let objects = std::mem::take(&mut self.objects);
        let mut changes = Vec::with_capacity(objects.len() + 1);
        for plan in objects {
            changes.push(self.write_object(plan, &mut out)?);
        }
        let list = ObjectPlan {
            descriptor: self.list.descriptor.clone(),
            levels: std::mem::take(&mut self.list.levels),
        };
        changes.push(self.write_object(list, &mut out)?);
        let mut descriptors = Vec::new();
        for (kind, object) in self.writer.view.objects() {
            let changed = changes.iter().find(|c| c.descriptor.kind == *kind);
            descriptors.push(changed.map_or(&object.units().descriptor, |c| &c.descriptor).clone());
        }
        let mut page = vec![0u8; BLOCK];
        let catalog = sign_catalog(&descriptors, self.catalog, self.txn, &mut page);
        out.put(self.catalog, &page)?;
        out.flush()?;
        Ok((self.meta(catalog), changes))
    }

    fn meta(&self, catalog: Entry) -> Meta {
        let view = &self.writer.view;
        let (now, ids) = (view.published(), view.ids_root());
        Meta {
            txn: self.txn,
            previous: view.meta().txn,
            blocks: self.space.end(),
            node_count: now.node_count as u64,
            live_count: now.live_count,
            upper_count: now.upper_count,
            next_id: now.next_id,
            user_version: view.user_version(),
            entry_node: now.entry.map_or(u32::MAX, |(node, _)| node),
            entry_level: now.entry.map_or(0, |(_, level)| level as u32),
            catalog,
            ids_root: ids.root,
            ids_depth: ids.depth,
            ids_count: ids.count,
        }
    }

    /// Writes the units of an object, then its table pages from the leaves up.
    fn write_object(&self, mut plan: ObjectPlan, out: &mut BlockWriter<'_>) -> Result<Change> {
        let mut below: Vec<(u64, Entry)> = Vec::new();
        for (level, rewritten) in plan.levels.iter().enumerate() {
            let mut entries = Vec::with_capacity(rewritten.len());
            for &(number, block) in rewritten {
                let entry = match level {
                    0 => self.write_unit(&plan.descriptor, number, block, out)?,
                    _ => self.write_table(&plan.descriptor, level as u32, number, block, &below, out)?,
                };
                entries.push((number, entry));
            }
            below = entries;
        }
        plan.descriptor.root = below.first().map_or(Entry::default(), |(_, entry)| *entry);
        let levels =
            plan.levels.iter().map(|level| level.iter().map(|(number, _)| *number).collect()).collect();
        Ok(Change { descriptor: plan.descriptor, levels })
    }

    fn write_unit(
        &self,
        d: &Descriptor,
        number: u64,
        block: u64,
        out: &mut BlockWriter<'_>,
    ) -> Result<Entry> {
        let kind = d.kind as usize;
        let lost =
            || Error::new(ErrorKind::Internal, format!("unit {number} of object kind {kind} is not private"));
        if d.kind == Kind::FreeList as u16 {
            let mut page = vec![0u8; BLOCK];
            let skip = number as usize * free::RUNS_PER_PAGE;
            let runs: Vec<_> =
                self.space.runs().iter().skip(skip).take(free::RUNS_PER_PAGE).copied().collect();
            free::encode(&runs, &mut page);
            return self.sign(d, PageType::Content, 0, number, block, &mut page, out);
        }
        if d.form == Form::Paged {
            let page: &Arc<Page> = self.writer.pages[kind].get(number as usize).ok_or_else(lost)?;
            let mut bytes = vec![0u8; BLOCK];
            page.copy_to(&mut bytes);
            return self.sign(d, PageType::Content, 0, number, block, &mut bytes, out);
        }
        let chunk: &Arc<Region> = self.writer.chunks[kind].get(number as usize).ok_or_else(lost)?;
        let (len, mut bytes) = (d.unit_blocks(number) as usize * BLOCK, Vec::new());
        bytes.try_reserve_exact(len).map_err(|_| Error::no_memory(format_args!("{len} bytes of rows")))?;
        bytes.resize(len, 0u8);
        // Rows that were written and not published stay behind.
        chunk.read(0, &mut bytes[..d.unit_bytes(number) as usize]);
        out.put(block, &bytes)?;
        Ok(Entry { block, blocks: (bytes.len() / BLOCK) as u16, birth: self.txn as u32, crc: crc(&bytes) })
    }

    /// A table page: what it was, with the entries of rewritten children.
    fn write_table(
        &self,
        d: &Descriptor,
        level: u32,
        number: u64,
        block: u64,
        children: &[(u64, Entry)],
        out: &mut BlockWriter<'_>,
    ) -> Result<Entry> {
        let view = &self.writer.view;
        let fanout = view.header().fanout as u64;
        let mut bytes = vec![0u8; BLOCK];
        let mut put = |slot: u64, entry: &Entry| {
            entry.encode(&mut bytes, crate::format::PAGE_HEADER + slot as usize * 16)
        };
        // The free list starts from nothing; other objects from the table page of the last commit.
        let old = view.objects().iter().find(|(kind, _)| *kind == d.kind && d.kind != Kind::FreeList as u16);
        if let Some(units) = old.map(|(_, object)| object.units()) {
            if level <= units.depth() && number < units.len_at(level) {
                let first = number * fanout;
                for child in first..(first + fanout).min(units.len_at(level - 1)) {
                    put(child - first, &units.entry(level - 1, child)?);
                }
            } else if level == units.depth() + 1 && number == 0 && units.descriptor.units > 0 {
                put(0, &units.descriptor.root);
            }
        }
        let own = children.partition_point(|(child, _)| child / fanout < number);
        let own = children[own..].iter().take_while(|(child, _)| child / fanout == number);
        own.for_each(|(child, entry)| put(child % fanout, entry));
        self.sign(d, PageType::Table, level, number, block, &mut bytes, out)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a page header, once")]
    fn sign(
        &self,
        d: &Descriptor,
        page_type: PageType,
        level: u32,
        number: u64,
        block: u64,
        bytes: &mut [u8],
        out: &mut BlockWriter<'_>,
    ) -> Result<Entry> {
        PageHeader { page_type, kind: d.kind, number, birth: self.txn, level }.sign(bytes);
        out.put(block, bytes)?;
        Ok(Entry { block, blocks: 1, birth: self.txn as u32, crc: get_u32(bytes, 0) })
    }
}
