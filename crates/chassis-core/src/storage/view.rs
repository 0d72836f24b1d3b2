//! What a search sees: the objects of one commit, what the running transaction changed in place, and the
//! counts that publish it.
//!
//! A transaction writes rows, records and lists first and the node count last (released), so a reader that
//! loads the entry point, then the count, sees every node below the count complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::format::{BLOCK, Descriptor, Form, Header, Kind, Meta, Run};
use crate::storage::heat::{self, Stay};
use crate::storage::locks::Pin;
use crate::storage::objects::{Object, Pages, Rows};
use crate::storage::space::Space;
use crate::storage::units::{Mapped, Units};

/// The counts that make nodes visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Nodes, tombstones among them.
    pub node_count: u32,
    /// Live nodes.
    pub live_count: u64,
    /// Slots of the upper layers in use.
    pub upper_count: u64,
    /// One past the largest integer id ever used.
    pub next_id: u64,
    /// Where walks begin, and that node's level.
    pub entry: Option<(u32, u8)>,
}

/// Where the id tree begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IdsRoot {
    /// Root page.
    pub root: u32,
    /// Levels: 0 when the tree is empty, 1 when the root is a leaf.
    pub depth: u32,
    /// Entries.
    pub count: u64,
}

#[derive(Default)]
struct State {
    node_count: AtomicU64,
    live_count: AtomicU64,
    upper_count: AtomicU64,
    next_id: AtomicU64,
    user_version: AtomicU64,
    /// Node in the low word, level above; `u64::MAX` without nodes.
    entry: AtomicU64,
    ids_root: AtomicU64,
    ids_count: AtomicU64,
}

/// What a commit did to one object.
pub(crate) struct Change {
    pub(crate) descriptor: Descriptor,
    /// Units (level 0) and table pages it rewrote, ascending.
    pub(crate) levels: Vec<Vec<u64>>,
}

/// One state of an index. Cheap to share; good as long as it is held.
pub struct View {
    header: Arc<Header>,
    meta: Meta,
    objects: Vec<(u16, Object)>,
    state: State,
    /// The commit itself, when a transaction created, replaced or dropped objects since.
    base: Option<Arc<View>>,
    pub(crate) pin: Arc<Pin>,
}

impl View {
    /// The state of a commit.
    pub(crate) fn new(
        header: Arc<Header>,
        meta: Meta,
        descriptors: Vec<Descriptor>,
        source: &Arc<Mapped>,
        pin: Arc<Pin>,
    ) -> Result<View> {
        // Each unit takes a block and each row its bytes: counts past that are lies, and would size allocations.
        let units = descriptors.iter().fold(0u64, |sum, d| sum.saturating_add(d.units));
        if units > meta.blocks {
            return Err(Error::corrupt(format!("objects of {units} units in {} blocks", meta.blocks)));
        }
        for d in &descriptors {
            let rows = d.rows.saturating_mul(d.stride as u64).div_ceil(BLOCK as u64);
            let vectors = d.kind == Kind::Vectors as u16;
            let (nodes, row) = if vectors { (meta.node_count, header.dimensions as u64 * 4) } else { (0, 0) };
            if rows > meta.blocks || nodes > d.rows || row > d.stride as u64 {
                return Err(Error::corrupt(format!(
                    "object kind {}: {} units, {} rows",
                    d.kind, d.units, d.rows
                )));
            }
        }
        let fanout = header.fanout as u64;
        let stay = staying(&descriptors.iter().collect::<Vec<_>>(), source, &meta);
        let object = |(d, stay): (Descriptor, Stay)| {
            Ok((d.kind, Object::new(Units::new(d, fanout, meta.blocks, source.clone(), stay)?)))
        };
        let objects = descriptors.into_iter().zip(stay).map(object).collect::<Result<_>>()?;
        View::assemble(header.clone(), meta, objects, pin)
    }

    /// The state of a commit from objects already made.
    pub(crate) fn assemble(
        header: Arc<Header>,
        meta: Meta,
        objects: Vec<(u16, Object)>,
        pin: Arc<Pin>,
    ) -> Result<View> {
        let view = View { header, meta, objects, state: State::default(), base: None, pin };
        for kind in [Kind::Lists, Kind::Upper, Kind::Nodes, Kind::Live, Kind::Ids, Kind::FreeList] {
            view.object(kind)
                .filter(|o| o.units().descriptor.form == Form::Paged)
                .ok_or_else(|| absent(kind))?;
        }
        for kind in [Kind::Vectors, Kind::Heap] {
            view.rows(kind).ok_or_else(|| absent(kind))?;
        }
        view.set_committed();
        Ok(view)
    }

    /// A later commit: objects that `changes` does not name stay as they are, without what was private.
    pub(crate) fn advanced(&self, meta: Meta, changes: &[Change], pin: Arc<Pin>) -> Result<View> {
        let change = |kind: u16| changes.iter().find(|change| change.descriptor.kind == kind);
        let descriptors: Vec<&Descriptor> = self
            .objects
            .iter()
            .map(|(kind, object)| change(*kind).map_or(&object.units().descriptor, |c| &c.descriptor))
            .collect();
        let stay = staying(&descriptors, self.pages(Kind::FreeList).units.source(), &meta);
        let advance = |(&(kind, ref object), (descriptor, stay)): (&(u16, Object), (&&Descriptor, Stay))| {
            let levels = change(kind).map_or(&[][..], |change| &change.levels);
            let units = object.units().advanced((*descriptor).clone(), meta.blocks, levels, stay)?;
            Ok((kind, object.advanced(units)))
        };
        let objects = self.objects.iter().zip(descriptors.iter().zip(stay)).map(advance);
        View::assemble(self.header.clone(), meta, objects.collect::<Result<_>>()?, pin)
    }

    /// The same state with more room in one object.
    pub(crate) fn grown(&self, kind: Kind, capacity: usize) -> Result<View> {
        let room = |&(k, ref o): &(u16, Object)| {
            let now = o.units().table().capacity();
            Ok((k, o.grown(if k == kind as u16 { capacity } else { now })?))
        };
        self.with_objects(self.objects.iter().map(room).collect::<Result<_>>()?, self.base.clone())
    }

    /// The same state with another object of a kind, empty, or with none.
    pub(crate) fn replaced(self: &Arc<View>, kind: Kind, descriptor: Option<Descriptor>) -> Result<View> {
        let others = self.objects.iter().filter(|(k, _)| *k != kind as u16);
        let same = |(k, o): &(u16, Object)| Ok((*k, o.grown(o.units().table().capacity())?));
        let mut objects = others.map(same).collect::<Result<Vec<(u16, Object)>>>()?;
        if let Some(descriptor) = descriptor {
            let units = self.pages(Kind::FreeList).units.sibling(descriptor)?;
            objects.push((kind as u16, Object::new(units)));
        }
        self.with_objects(objects, Some(self.base.as_ref().unwrap_or(self).clone()))
    }

    fn with_objects(&self, objects: Vec<(u16, Object)>, base: Option<Arc<View>>) -> Result<View> {
        let view = View::assemble(self.header.clone(), self.meta, objects, self.pin.clone())?;
        let view = View { base, ..view };
        view.publish(self.published());
        view.set_user_version(self.user_version());
        view.set_ids_root(self.ids_root());
        Ok(view)
    }

    fn set_committed(&self) {
        let m = &self.meta;
        self.publish(Published {
            node_count: m.node_count as u32,
            live_count: m.live_count,
            upper_count: m.upper_count,
            next_id: m.next_id,
            entry: (m.node_count > 0).then_some((m.entry_node, m.entry_level as u8)),
        });
        self.set_user_version(m.user_version);
        self.set_ids_root(IdsRoot { root: m.ids_root, depth: m.ids_depth, count: m.ids_count });
    }

    /// What the index is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn shared_header(&self) -> &Arc<Header> {
        &self.header
    }

    /// The commit this state rests on.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    pub(crate) fn objects(&self) -> &[(u16, Object)] {
        &self.objects
    }

    /// A view with the objects of the commit, whatever the transaction did to their set.
    pub(crate) fn committed(&self) -> &View {
        self.base.as_deref().unwrap_or(self)
    }

    /// The object of a kind. None when there are two, which no writer makes: a derived kind is then as good as
    /// absent, and replacing it frees both.
    pub(crate) fn object(&self, kind: Kind) -> Option<&Object> {
        // A dozen objects at most; those of the search path are looked up once a search.
        let mut found = self.objects.iter().filter(|(k, _)| *k == kind as u16);
        let object = found.next().map(|(_, object)| object);
        object.filter(|_| found.next().is_none())
    }

    /// The paged object of a kind every file has.
    pub fn pages(&self, kind: Kind) -> &Pages {
        match self.object(kind) {
            Some(Object::Pages(pages)) => pages,
            _ => unreachable!("{kind:?} is not a paged object; assemble() checked those that are"),
        }
    }

    /// The paged object of this kind, if there is one.
    pub fn optional_pages(&self, kind: Kind) -> Option<&Pages> {
        match self.object(kind)? {
            Object::Pages(pages) => Some(pages),
            Object::Rows(_) => None,
        }
    }

    /// The object of rows of this kind.
    pub fn rows(&self, kind: Kind) -> Option<&Rows> {
        match self.object(kind)? {
            Object::Rows(rows) => Some(rows),
            Object::Pages(_) => None,
        }
    }

    /// Nodes, tombstones among them. Load [`View::entry`] first.
    #[inline]
    pub fn node_count(&self) -> u32 {
        self.state.node_count.load(Ordering::Acquire) as u32
    }

    /// Live nodes.
    pub fn live_count(&self) -> u64 {
        self.state.live_count.load(Ordering::Acquire)
    }

    /// Where walks begin, and that node's level.
    pub fn entry(&self) -> Option<(u32, u8)> {
        match self.state.entry.load(Ordering::Acquire) {
            u64::MAX => None,
            packed => Some((packed as u32, (packed >> 32) as u8)),
        }
    }

    /// The caller's number.
    pub fn user_version(&self) -> u64 {
        self.state.user_version.load(Ordering::Acquire)
    }

    /// Where the id tree begins.
    pub fn ids_root(&self) -> IdsRoot {
        let packed = self.state.ids_root.load(Ordering::Acquire);
        let count = self.state.ids_count.load(Ordering::Acquire);
        IdsRoot { root: packed as u32, depth: (packed >> 32) as u32, count }
    }

    /// All counts.
    pub fn published(&self) -> Published {
        let entry = self.entry();
        Published {
            node_count: self.node_count(),
            live_count: self.live_count(),
            upper_count: self.state.upper_count.load(Ordering::Acquire),
            next_id: self.state.next_id.load(Ordering::Acquire),
            entry,
        }
    }

    /// Makes a state visible: the count of nodes before the entry point, which may be one of the new ones.
    pub(crate) fn publish(&self, new: Published) {
        let s = &self.state;
        s.live_count.store(new.live_count, Ordering::Release);
        s.upper_count.store(new.upper_count, Ordering::Release);
        s.next_id.store(new.next_id, Ordering::Release);
        s.node_count.store(new.node_count as u64, Ordering::Release);
        let entry = new.entry.map_or(u64::MAX, |(node, level)| node as u64 | (level as u64) << 32);
        s.entry.store(entry, Ordering::Release);
    }

    pub(crate) fn set_user_version(&self, version: u64) {
        self.state.user_version.store(version, Ordering::Release);
    }

    pub(crate) fn set_ids_root(&self, new: IdsRoot) {
        self.state.ids_root.store(new.root as u64 | (new.depth as u64) << 32, Ordering::Release);
        self.state.ids_count.store(new.count, Ordering::Release);
    }

    /// The free runs of the commit.
    pub(crate) fn free_runs(&self) -> Result<Vec<Run>> {
        Ok(Space::load(self)?.runs().to_vec())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.objects.iter().map(|(_, o)| o.units().heap_bytes()).sum()
    }
}

/// For each object of a commit whether it stays in memory.
fn staying(objects: &[&Descriptor], source: &Mapped, meta: &Meta) -> Vec<Stay> {
    let fits = |bytes| source.file.fits_in_memory(bytes);
    heat::staying(objects, fits(meta.blocks * BLOCK as u64), fits)
}

fn absent(kind: Kind) -> Error {
    Error::corrupt(format!("the {kind:?} object is missing or of another form"))
}
