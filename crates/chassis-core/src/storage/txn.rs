//! The running transaction: private copies of pages and chunks, reached through the current view.
//!
//! Nothing here writes to the file (invariant I2). Searches of this process see the private copies at once and
//! read them while they change; what they must not see is kept from them by the counts of the view.

use std::collections::HashMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, MutexGuard};

use crate::error::{Error, ErrorKind, Result};
use crate::format::catalog::MAX_OBJECTS;
use crate::format::{BLOCK, Descriptor, Entry, Kind};
use crate::storage::mmap::{Page, PageMut, Region, private_page};
use crate::storage::objects::Pages;
use crate::storage::space::Space;
use crate::storage::store::Shared;
use crate::storage::view::{IdsRoot, Published, View};

/// What the transaction changed in one object.
pub(crate) struct Dirty<T>(HashMap<usize, Arc<T>>);

impl<T> Default for Dirty<T> {
    fn default() -> Self {
        Dirty(HashMap::new())
    }
}

impl<T> Dirty<T> {
    pub(crate) fn get(&self, n: usize) -> Option<&Arc<T>> {
        self.0.get(&n)
    }

    pub(crate) fn set(&mut self, n: usize, unit: Arc<T>) {
        self.0.insert(n, unit);
    }

    /// Numbers of changed units, ascending.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.0.keys().map(|n| *n as u64).collect();
        numbers.sort_unstable();
        numbers
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same units, shared.
    fn same(&self) -> Dirty<T> {
        Dirty(self.0.clone())
    }
}

/// A commit that was the newest and whose record cannot be read any more. A reader that opened it before may still use
/// its blocks, which the free list of the commit before it may have, or the end of the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost {
    pub(crate) txn: u64,
    /// One past the last block it may have used.
    pub(crate) end: u64,
}

/// State of the one writer.
pub(crate) struct Writer {
    pub(crate) view: Arc<View>,
    /// Kinds of which the transaction made or dropped an object. [`View::committed`] has those of the commit.
    pub(crate) replaced: Vec<Kind>,
    pub(crate) pages: Vec<Dirty<Page>>,
    pub(crate) chunks: Vec<Dirty<Region>>,
    /// Loaded by the first commit.
    pub(crate) space: Option<Space>,
    /// Whether this writer knows the newest commit to be on the medium.
    pub(crate) anchored: bool,
    /// The whole copies of the newest commit's record, as found at open.
    pub(crate) whole: [bool; 2],
    /// Torn copies of another commit's record, as found at open.
    pub(crate) torn: Vec<u64>,
    /// The newest commit, when its record could not be read at open.
    pub(crate) lost: Option<Lost>,
    pub(crate) poisoned: Option<&'static str>,
    /// Whether a change failed half-way: nothing but a rollback may follow.
    pub(crate) half_done: bool,
    /// Whether the file has no name yet that anybody opens.
    pub(crate) is_hidden: bool,
}

impl Writer {
    pub(crate) fn new(view: Arc<View>, whole: [bool; 2], torn: Vec<u64>, lost: Option<Lost>) -> Writer {
        let mut writer = Writer {
            replaced: vec![],
            view,
            pages: vec![],
            chunks: vec![],
            space: None,
            anchored: false,
            whole,
            torn,
            lost,
            poisoned: None,
            half_done: false,
            is_hidden: false,
        };
        writer.forget();
        writer
    }

    /// Forgets all private copies.
    pub(crate) fn forget(&mut self) {
        let kinds = Kind::ALL.len() + 1;
        self.pages = (0..kinds).map(|_| Dirty::default()).collect();
        self.chunks = (0..kinds).map(|_| Dirty::default()).collect();
        self.replaced.clear();
    }
}

/// The derived objects of a transaction at one moment, to go back to.
pub(crate) struct Before {
    view: Arc<View>,
    replaced: Vec<Kind>,
    objects: Vec<(Kind, Dirty<Page>, Dirty<Region>)>,
}

/// The right to change the index, one at a time. Dropping it keeps the changes pending: [`Txn::commit`] or
/// [`Txn::rollback`] ends them.
pub struct Txn<'s> {
    pub(crate) shared: &'s Shared,
    pub(crate) writer: MutexGuard<'s, Writer>,
}

impl Txn<'_> {
    /// The current state, changes included.
    pub fn view(&self) -> &Arc<View> {
        &self.writer.view
    }

    /// Whether a commit would write anything.
    pub fn is_changed(&self) -> bool {
        let (view, meta) = (&self.writer.view, self.writer.view.meta());
        let now = view.published();
        !self.writer.pages.iter().all(Dirty::is_empty)
            || view.objects().iter().any(|(_, object)| object.has_new_rows())
            || !self.writer.replaced.is_empty()
            || view.user_version() != meta.user_version
            || now.node_count as u64 != meta.node_count
            || now.next_id != meta.next_id
    }

    /// Runs a change. One that fails half-way through its own bookkeeping, or panics, leaves a transaction that can only be
    /// rolled back, and nobody gets it for anything else: those who wait for it find it marked. Everything a caller can
    /// get wrong is refused by other kinds of errors, before that point.
    pub(crate) fn change<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.writer.half_done = true;
        let outcome = work(self);
        let half_way = [ErrorKind::Io, ErrorKind::Corrupt, ErrorKind::Internal];
        self.writer.half_done = outcome.as_ref().is_err_and(|error| half_way.contains(&error.kind()));
        outcome
    }

    /// Pages of a paged object, new ones among them.
    pub fn page_count(&self, kind: Kind) -> usize {
        self.view().optional_pages(kind).map_or(0, Pages::count)
    }

    fn pages(&self, kind: Kind) -> Result<&Pages> {
        let absent = || Error::new(ErrorKind::Internal, format!("there is no {kind:?} object of pages"));
        self.view().optional_pages(kind).ok_or_else(absent)
    }

    /// Makes page `n` writable: a private copy, or a zeroed page when `n` is the number of pages. The copied page
    /// was verified before, so damage is never signed anew.
    pub fn edit(&mut self, kind: Kind, n: usize) -> Result<PageMut<'_>> {
        if self.writer.pages[kind as usize].get(n).is_none() {
            self.make_private(kind, n)?;
        }
        self.edited(kind, n).ok_or_else(|| Error::new(ErrorKind::Internal, "a private page vanished"))
    }

    fn make_private(&mut self, kind: Kind, n: usize) -> Result<()> {
        let count = self.pages(kind)?.count();
        if n > count {
            let text = format!("page {n} of {kind:?} would leave a gap after {count} pages");
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let page =
            if n == count { private_page(None) } else { private_page(Some(self.pages(kind)?.get(n)?)) };
        self.make_room(kind, n, self.pages(kind)?.units.table().capacity())?;
        let pages = self.pages(kind)?;
        pages.units.table().set_page(n, &page);
        if n == count {
            pages.set_count(n as u64 + 1);
        }
        self.writer.pages[kind as usize].set(n, page);
        Ok(())
    }

    /// Page `n` when [`Txn::edit`] made it writable before.
    pub fn edited(&self, kind: Kind, n: usize) -> Option<PageMut<'_>> {
        self.writer.pages[kind as usize].get(n).map(|page| PageMut::new(page.clone()))
    }

    /// Gives the view room for unit `n`: a new view, since searches hold the old one.
    pub(crate) fn make_room(&mut self, kind: Kind, n: usize, capacity: usize) -> Result<()> {
        if n < capacity {
            return Ok(());
        }
        let view = Arc::new(self.writer.view.grown(kind, (2 * (n + 1)).max(64))?);
        self.shared.show(&view);
        self.writer.view = view;
        Ok(())
    }

    /// Puts an empty object in the place of the one of its kind, if there is one. Searches that run go on with the
    /// old one; its blocks are freed by the commit. What the descriptor says of units, rows and root is not looked at.
    pub fn replace(&mut self, descriptor: Descriptor) -> Result<()> {
        let kind = Kind::from_number(descriptor.kind).filter(|kind| kind.is_derived());
        let kind =
            kind.ok_or_else(|| Error::new(ErrorKind::Internal, "only derived objects are replaced"))?;
        let descriptor = Descriptor { units: 0, rows: 0, root: Entry::default(), ..descriptor };
        if !descriptor.is_sound() || descriptor.chunk_bytes() > (u16::MAX as usize * BLOCK) as u64 {
            let text = format!("no object of {kind:?} can be made from {descriptor:?}");
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let others = self.view().objects().iter().filter(|(k, _)| *k != kind as u16).count();
        if others >= MAX_OBJECTS {
            let text = format!("the file has {others} objects; there is no room for {kind:?} in its catalog");
            return Err(Error::new(ErrorKind::Internal, text));
        }
        self.exchange(kind, Some(descriptor))
    }

    /// Drops a derived object, if there is one; its blocks are freed by the commit.
    pub fn drop_object(&mut self, kind: Kind) -> Result<()> {
        if !kind.is_derived() {
            return Err(Error::new(ErrorKind::Internal, format!("{kind:?} objects are not derived")));
        }
        let there = self.view().objects().iter().any(|(k, _)| *k == kind as u16);
        if there { self.exchange(kind, None) } else { Ok(()) }
    }

    fn exchange(&mut self, kind: Kind, descriptor: Option<Descriptor>) -> Result<()> {
        let view = Arc::new(self.writer.view.replaced(kind, descriptor)?);
        let writer = &mut *self.writer;
        (writer.pages[kind as usize], writer.chunks[kind as usize]) = (Dirty::default(), Dirty::default());
        if !writer.replaced.contains(&kind) {
            writer.replaced.push(kind);
        }
        self.shared.show(&view);
        writer.view = view;
        Ok(())
    }

    /// The derived objects as they are now, for [`Txn::put_back`].
    pub(crate) fn derived(&self) -> Before {
        let writer = &*self.writer;
        let changed =
            |kind: &Kind| (*kind, writer.pages[*kind as usize].same(), writer.chunks[*kind as usize].same());
        let objects = Kind::ALL.iter().filter(|kind| kind.is_derived()).map(changed).collect();
        Before { view: writer.view.clone(), replaced: writer.replaced.clone(), objects }
    }

    /// Undoes what was done to derived objects since. Nothing else may have changed meanwhile: no page, no row of
    /// another object, no count.
    pub(crate) fn put_back(&mut self, before: Before) {
        debug_assert_eq!(self.view().published(), before.view.published(), "only derived objects changed");
        let writer = &mut *self.writer;
        for (kind, pages, chunks) in before.objects {
            (writer.pages[kind as usize], writer.chunks[kind as usize]) = (pages, chunks);
        }
        writer.replaced = before.replaced;
        self.shared.show(&before.view);
        self.writer.view = before.view;
    }

    /// Makes new counts visible to searches of this process.
    pub fn publish(&mut self, new: Published) {
        self.view().publish(new);
    }

    /// Sets the caller's number.
    pub fn set_user_version(&mut self, version: u64) {
        self.view().set_user_version(version);
    }

    /// Sets where the id tree begins.
    pub fn set_ids_root(&mut self, root: IdsRoot) {
        self.view().set_ids_root(root);
    }

    /// Runs a change of the id tree; [`crate::storage::Store::consistent`] repeats reads that overlap it.
    pub fn change_ids<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.shared.ids_changes.fetch_add(1, Ordering::AcqRel);
        // Who sees a page of the change must see that it has begun.
        fence(Ordering::Release);
        let outcome = change(self);
        self.shared.ids_changes.fetch_add(1, Ordering::AcqRel);
        outcome
    }

    /// Forgets every change since the last commit.
    pub fn rollback(&mut self) -> Result<()> {
        if !self.is_changed() && self.writer.chunks.iter().all(Dirty::is_empty) {
            self.writer.half_done = false;
            return Ok(());
        }
        let old = self.view().committed();
        let view = Arc::new(old.advanced(*old.meta(), &[], old.pin.clone())?);
        self.writer.forget();
        self.shared.show(&view);
        self.writer.view = view;
        self.writer.half_done = false;
        Ok(())
    }
}
