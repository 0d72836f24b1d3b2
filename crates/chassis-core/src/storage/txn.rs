//! The running transaction: private copies of pages and chunks, reached through the current view.
//!
//! Nothing here writes to the file (invariant I2). Searches of this process see the private copies at once and
//! read them while they change; what they must not see is kept from them by the counts of the view.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Descriptor, Kind};
use crate::storage::mmap::{Page, PageMut, Region, private_page};
use crate::storage::space::Space;
use crate::storage::store::Shared;
use crate::storage::view::{IdsRoot, Published, View};

/// What the transaction changed in one object.
pub(crate) struct Dirty<T> {
    units: Vec<Option<Arc<T>>>,
    changed: Vec<usize>,
}

impl<T> Default for Dirty<T> {
    fn default() -> Self {
        Dirty { units: Vec::new(), changed: Vec::new() }
    }
}

impl<T> Dirty<T> {
    pub(crate) fn get(&self, n: usize) -> Option<&Arc<T>> {
        self.units.get(n)?.as_ref()
    }

    fn set(&mut self, n: usize, unit: Arc<T>) {
        if n >= self.units.len() {
            self.units.resize(n + 1, None);
        }
        self.units[n] = Some(unit);
        self.changed.push(n);
    }

    /// Numbers of changed units, ascending.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.changed.iter().map(|n| *n as u64).collect();
        numbers.sort_unstable();
        numbers
    }

    fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }
}

/// State of the one writer.
pub(crate) struct Writer {
    pub(crate) view: Arc<View>,
    /// The last commit, without anything of the transaction.
    pub(crate) base: Arc<View>,
    /// Kinds whose committed object the transaction put another one in the place of, or dropped.
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
    pub(crate) poisoned: Option<&'static str>,
}

impl Writer {
    pub(crate) fn new(view: Arc<View>, whole: [bool; 2], torn: Vec<u64>) -> Writer {
        let mut writer = Writer {
            base: view.clone(),
            replaced: vec![],
            view,
            pages: vec![],
            chunks: vec![],
            space: None,
            anchored: false,
            whole,
            torn,
            poisoned: None,
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
            || !self.writer.chunks.iter().all(Dirty::is_empty)
            || !self.writer.replaced.is_empty()
            || view.user_version() != meta.user_version
            || now.node_count as u64 != meta.node_count
            || now.next_id != meta.next_id
    }

    /// Pages of a paged object, new ones among them.
    pub fn page_count(&self, kind: Kind) -> usize {
        self.view().pages(kind).count()
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
        let count = self.page_count(kind);
        if n > count {
            let text = format!("page {n} of {kind:?} would leave a gap after {count} pages");
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let page =
            if n == count { private_page(None) } else { private_page(Some(self.view().pages(kind).get(n)?)) };
        self.reserve(kind, n, self.view().pages(kind).units.table().capacity())?;
        let pages = self.writer.view.pages(kind);
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
    fn reserve(&mut self, kind: Kind, n: usize, capacity: usize) -> Result<()> {
        if n < capacity {
            return Ok(());
        }
        let view = Arc::new(self.writer.view.grown(kind, (2 * (n + 1)).max(64))?);
        self.shared.show(&view);
        self.writer.view = view;
        Ok(())
    }

    /// Puts an empty object in the place of the one of its kind, if there is one. Searches that run go on with the
    /// old one; its blocks are freed by the commit.
    pub fn replace(&mut self, descriptor: Descriptor) -> Result<()> {
        let kind = Kind::from_number(descriptor.kind).filter(|kind| kind.is_derived());
        let kind =
            kind.ok_or_else(|| Error::new(ErrorKind::Internal, "only derived objects are replaced"))?;
        self.exchange(kind, Some(descriptor))
    }

    /// Drops a derived object.
    pub fn drop_object(&mut self, kind: Kind) -> Result<()> {
        debug_assert!(kind.is_derived());
        if self.view().object(kind).is_none() { Ok(()) } else { self.exchange(kind, None) }
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

    /// Writes row `n`: the next one, or one this transaction wrote that is not visible yet.
    pub fn put_row_f32(&mut self, kind: Kind, n: usize, values: &[f32]) -> Result<()> {
        let (chunk, offset) = self.writable_row(kind, n, size_of_val(values))?;
        chunk.write_f32(offset, values);
        self.show_row(kind, n)
    }

    /// [`Txn::put_row_f32`] of bytes.
    pub fn put_row(&mut self, kind: Kind, n: usize, bytes: &[u8]) -> Result<()> {
        let (chunk, offset) = self.writable_row(kind, n, bytes.len())?;
        chunk.write(offset, bytes);
        self.show_row(kind, n)
    }

    fn writable_row(&mut self, kind: Kind, n: usize, bytes: usize) -> Result<(Arc<Region>, usize)> {
        let rows = self.rows(kind)?;
        let (len, stride) = (rows.len(), rows.stride());
        if n > len || (n as u64) < rows.units.descriptor.rows || bytes > stride {
            let text = format!("row {n} of {kind:?} cannot be written after {len} rows");
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let (chunk, offset) = rows.place(n);
        Ok((self.writable_chunk(kind, chunk)?, offset))
    }

    fn show_row(&self, kind: Kind, n: usize) -> Result<()> {
        let rows = self.rows(kind)?;
        rows.set_len(rows.len().max(n + 1) as u64);
        Ok(())
    }

    /// Appends bytes to the heap and says where they begin.
    pub fn append_bytes(&mut self, bytes: &[u8]) -> Result<u64> {
        let rows = self.rows(Kind::Heap)?;
        let (begin, chunk_bytes) = (rows.len(), rows.chunk_bytes());
        let mut done = 0;
        while done < bytes.len() {
            let (chunk, offset) = self.rows(Kind::Heap)?.place(begin + done);
            let take = (chunk_bytes - offset).min(bytes.len() - done);
            self.writable_chunk(Kind::Heap, chunk)?.write(offset, &bytes[done..done + take]);
            done += take;
        }
        self.rows(Kind::Heap)?.set_len((begin + bytes.len()) as u64);
        Ok(begin as u64)
    }

    fn rows(&self, kind: Kind) -> Result<&crate::storage::Rows> {
        self.view().rows(kind).ok_or_else(|| Error::corrupt(format!("no {kind:?} object")))
    }

    /// A chunk to append to: new, or a private copy of the committed tail.
    fn writable_chunk(&mut self, kind: Kind, n: usize) -> Result<Arc<Region>> {
        if let Some(chunk) = self.writer.chunks[kind as usize].get(n) {
            return Ok(chunk.clone());
        }
        let rows = self.rows(kind)?;
        let chunk = Arc::new(Region::new(rows.chunk_bytes()));
        let used = rows.committed_bytes(n);
        if used > 0 {
            rows.units.verify_chunk(n, used)?;
            rows.units.touch_chunk(n, used)?;
            let gone = || Error::corrupt(format!("chunk {n} of {kind:?}"));
            chunk.write(0, rows.units.table().bytes(n, 0, used).ok_or_else(gone)?);
        }
        let capacity = rows.units.table().capacity();
        self.reserve(kind, n, capacity)?;
        self.rows(kind)?.units.table().set_chunk(n, &chunk);
        self.writer.chunks[kind as usize].set(n, chunk.clone());
        Ok(chunk)
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
        let outcome = change(self);
        self.shared.ids_changes.fetch_add(1, Ordering::AcqRel);
        outcome
    }

    /// Forgets every change since the last commit.
    pub fn rollback(&mut self) -> Result<()> {
        if !self.is_changed() {
            return Ok(());
        }
        let old = &self.writer.base;
        let view = Arc::new(old.advanced(*old.meta(), &[], old.pin.clone())?);
        self.writer.forget();
        self.shared.show(&view);
        self.writer.base = view.clone();
        self.writer.view = view;
        Ok(())
    }
}
