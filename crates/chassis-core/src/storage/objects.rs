//! The two forms of an object as readers use them: pages by number, rows by number.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::{Error, ErrorKind, Result};
use crate::format::Form;
use crate::storage::mmap::{Page, Slots, zeroed};
use crate::storage::units::Units;

/// A paged object.
pub struct Pages {
    pub(crate) units: Units,
    /// Pages in use, those of the running transaction among them.
    count: AtomicU64,
}

impl Pages {
    pub(crate) fn new(units: Units) -> Pages {
        let count = AtomicU64::new(units.descriptor.units);
        Pages { units, count }
    }

    /// What the catalog says of the object.
    pub fn descriptor(&self) -> &crate::format::Descriptor {
        &self.units.descriptor
    }

    /// Pages in use.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire) as usize
    }

    pub(crate) fn set_count(&self, count: u64) {
        self.count.store(count, Ordering::Release);
    }

    /// Page `n` when it was touched before.
    #[inline(always)]
    pub fn loaded(&self, n: usize) -> Option<&Page> {
        self.units.table().page(n)
    }

    /// Page `n`, verified at its first touch.
    #[inline]
    pub fn get(&self, n: usize) -> Result<&Page> {
        match self.loaded(n) {
            Some(page) => Ok(page),
            None => self.units.touch_page(n),
        }
    }
}

/// An object of rows of one size.
pub struct Rows {
    pub(crate) units: Units,
    /// Rows that may be read.
    len: AtomicU64,
    stride: usize,
    shift: u32,
    memo: Memo,
}

/// Chunks that are asked for together by those who read in order.
const PIECE: usize = 32;

/// What was made of an object once, for all views that have it.
type Memo = Arc<OnceLock<Box<dyn Any + Send + Sync>>>;

/// The rows of one moment. What a read needs is at hand: a walk reads each of thousands of records twice, and looking
/// all of it up each time was a tenth of its instructions.
#[derive(Clone, Copy)]
pub struct RowReader<'a> {
    slots: Slots<'a>,
    len: usize,
    mask: usize,
    shift: u32,
    stride: usize,
}

impl<'a> RowReader<'a> {
    /// Row `n` when it was there and its chunk was touched before.
    #[inline(always)]
    pub fn row(&self, n: usize) -> Option<&'a [u8]> {
        if n >= self.len {
            return None;
        }
        self.slots.bytes(n >> self.shift, (n & self.mask) * self.stride, self.stride)
    }
}

impl Rows {
    pub(crate) fn new(units: Units) -> Rows {
        let (stride, shift) = (units.descriptor.stride as usize, units.descriptor.chunk_shift as u32);
        Rows { len: AtomicU64::new(units.descriptor.rows), units, stride, shift, memo: Memo::default() }
    }

    /// What `make` makes of these rows, made once. For objects whose rows do not change after they are first read:
    /// a transaction replaces them whole.
    pub fn memo<T: Send + Sync + 'static>(&self, make: impl FnOnce(&Rows) -> Result<T>) -> Result<&T> {
        let made = match self.memo.get() {
            Some(made) => made,
            None => {
                let made = Box::new(make(self)?);
                self.memo.get_or_init(|| made)
            }
        };
        let other = || Error::new(ErrorKind::Internal, "two kinds of things are made of one object");
        made.downcast_ref().ok_or_else(other)
    }

    /// What the catalog says of the object.
    pub fn descriptor(&self) -> &crate::format::Descriptor {
        &self.units.descriptor
    }

    /// Rows that may be read.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of a row.
    pub fn stride(&self) -> usize {
        self.stride
    }

    pub(crate) fn set_len(&self, len: u64) {
        self.len.store(len, Ordering::Release);
    }

    /// Chunk and byte offset of a row.
    #[inline(always)]
    pub(crate) fn place(&self, row: usize) -> (usize, usize) {
        (row >> self.shift, (row & ((1 << self.shift) - 1)) * self.stride)
    }

    /// Bytes of a full chunk.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.stride << self.shift
    }

    /// Chunks that the rows fill, those of the running transaction among them.
    pub(crate) fn chunks(&self) -> u64 {
        (self.len() as u64).div_ceil(1 << self.shift)
    }

    /// Chunks that a commit has to write: rows are only ever appended.
    pub(crate) fn changed_chunks(&self) -> std::ops::Range<u64> {
        let committed = self.units.descriptor.rows;
        if self.len() as u64 == committed { 0..0 } else { committed >> self.shift..self.chunks() }
    }

    /// Bytes of chunk `n` that committed rows fill.
    pub(crate) fn committed_bytes(&self, n: usize) -> usize {
        self.units.descriptor.unit_bytes(n as u64) as usize
    }

    /// Row `n` when its chunk was touched before.
    #[inline(always)]
    pub fn row(&self, n: usize) -> Option<&[u8]> {
        self.reader().row(n)
    }

    /// The rows that there are now, for a loop over many.
    #[inline(always)]
    pub fn reader(&self) -> RowReader<'_> {
        RowReader {
            len: self.len(),
            slots: self.units.table().slots(),
            mask: (1 << self.shift) - 1,
            shift: self.shift,
            stride: self.stride,
        }
    }

    /// Row `n`. Its checksum is not looked at: a walk reads thousands (see [`Rows::get_verified`]).
    #[inline]
    pub fn get(&self, n: usize) -> Result<&[u8]> {
        if let Some(row) = self.row(n) {
            return Ok(row);
        }
        self.touch(n)?;
        self.row(n).ok_or_else(|| self.missing(n))
    }

    /// Whether rows once read can be relied on to stay in memory. Where not, [`Rows::will_need`] is worth its system
    /// calls: many reads then take about as long as one. Look once for many rows where they are few instructions each.
    #[inline(always)]
    pub fn stay(&self) -> bool {
        self.units.stay()
    }

    /// Begins to read a row that will be needed soon. Nothing where rows stay in memory.
    pub fn will_need(&self, n: usize) {
        let (chunk, offset) = self.place(n);
        if !self.stay() && n < self.len() && !self.units.table().is_private(chunk) {
            self.units.will_need_part(chunk as u64, offset as u64, self.stride as u64);
        }
    }

    /// For those who read rows in order, `step` at a time: begins to read what follows row `n` each time `n` enters a
    /// piece of about a MiB. Nothing where rows stay in memory.
    #[inline(always)]
    pub fn read_on(&self, n: usize, step: usize) {
        if !self.stay() && n & ((PIECE << self.shift) - 1) < step {
            let chunk = (n >> self.shift) as u64;
            // The first piece has nobody before it who asked.
            let from = if chunk == 0 { chunk } else { chunk + PIECE as u64 };
            self.units.will_need(from..(chunk + 2 * PIECE as u64).min(self.units.descriptor.units));
        }
    }

    /// Row `n`, its chunk's checksum verified.
    pub fn get_verified(&self, n: usize) -> Result<&[u8]> {
        self.verify(n)?;
        self.get(n)
    }

    #[cold]
    fn touch(&self, n: usize) -> Result<()> {
        if n >= self.len() {
            return Err(self.missing(n));
        }
        let chunk = self.place(n).0;
        self.units.touch_chunk(chunk, self.committed_bytes(chunk))
    }

    fn verify(&self, n: usize) -> Result<()> {
        let chunk = self.place(n).0;
        if n < self.len() && self.units.table().is_private(chunk) {
            return Ok(());
        }
        self.units.verify_chunk(chunk, self.committed_bytes(chunk))
    }

    fn missing(&self, n: usize) -> Error {
        Error::corrupt(format!("row {n} of {} of object kind {}", self.len(), self.units.descriptor.kind))
    }

    /// `len` bytes of an object of single bytes, from `offset` on; they may cross chunks. Verified.
    pub fn read_bytes(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.bytes_by(offset, len, |at| self.verify(at))
    }

    fn bytes_by(
        &self,
        offset: u64,
        len: usize,
        mut verify: impl FnMut(usize) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len() as u64);
        let (Some(end), 1) = (end, self.stride) else {
            return Err(Error::corrupt(format!(
                "{len} bytes at {offset} of the heap of {} bytes",
                self.len()
            )));
        };
        let mut out = Vec::new();
        out.try_reserve_exact(len).map_err(|_| Error::corrupt(format!("{len} bytes in the heap")))?;
        let mut at = offset as usize;
        while (at as u64) < end {
            verify(at)?;
            self.get(at)?;
            let (chunk, start) = self.place(at);
            let take = (self.chunk_bytes() - start).min(end as usize - at);
            out.extend_from_slice(
                self.units.table().slots().bytes(chunk, start, take).ok_or_else(|| self.missing(at))?,
            );
            at += take;
        }
        Ok(out)
    }
}

/// Reads all rows of an object in any order, and looks at the checksum of each chunk once.
pub struct VerifiedRows<'a> {
    rows: &'a Rows,
    seen: Box<[bool]>,
}

impl<'a> VerifiedRows<'a> {
    /// Nothing is verified yet.
    ///
    /// # Errors
    /// `Io` where there is no memory for a mark a chunk.
    pub fn new(rows: &'a Rows) -> Result<VerifiedRows<'a>> {
        Ok(VerifiedRows { rows, seen: zeroed(rows.chunks() as usize)? })
    }

    /// [`Rows::get_verified`].
    pub fn get(&mut self, n: usize) -> Result<&'a [u8]> {
        Self::verify(self.rows, &mut self.seen, n)?;
        self.rows.get(n)
    }

    /// [`Rows::read_bytes`].
    pub fn read_bytes(&mut self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let (rows, seen) = (self.rows, &mut self.seen);
        rows.bytes_by(offset, len, |at| Self::verify(rows, seen, at))
    }

    fn verify(rows: &Rows, seen: &mut [bool], n: usize) -> Result<()> {
        let seen = seen.get_mut(rows.place(n).0).ok_or_else(|| rows.missing(n))?;
        if !*seen {
            rows.verify(n)?;
            *seen = true;
        }
        Ok(())
    }
}

/// An object of a view.
pub(crate) enum Object {
    Pages(Pages),
    Rows(Rows),
}

impl Object {
    pub(crate) fn new(units: Units) -> Object {
        match units.descriptor.form {
            Form::Paged => Object::Pages(Pages::new(units)),
            Form::Rows => Object::Rows(Rows::new(units)),
        }
    }

    pub(crate) fn units(&self) -> &Units {
        match self {
            Object::Pages(pages) => &pages.units,
            Object::Rows(rows) => &rows.units,
        }
    }

    /// Whether the transaction appended rows.
    pub(crate) fn has_new_rows(&self) -> bool {
        matches!(self, Object::Rows(rows) if !rows.changed_chunks().is_empty())
    }

    /// The same object with room for `capacity` units.
    pub(crate) fn grown(&self, capacity: usize) -> Result<Object> {
        Ok(match self {
            Object::Pages(old) => {
                let pages = Pages::new(old.units.grown(capacity)?);
                pages.set_count(old.count() as u64);
                Object::Pages(pages)
            }
            Object::Rows(old) => {
                let rows = Rows { memo: old.memo.clone(), ..Rows::new(old.units.grown(capacity)?) };
                rows.set_len(old.len() as u64);
                Object::Rows(rows)
            }
        })
    }

    /// The object of a later commit, in which it was not replaced.
    pub(crate) fn advanced(&self, units: Units) -> Object {
        match (self, Object::new(units)) {
            (Object::Rows(old), Object::Rows(new)) => Object::Rows(Rows { memo: old.memo.clone(), ..new }),
            (_, other) => other,
        }
    }

    /// Reads committed units in, verifies them, and makes them reachable by their pointers. Says how many bytes were
    /// read; what the writer holds in private memory is there already.
    pub(crate) fn warm(&self, units: std::ops::Range<u64>) -> Result<u64> {
        let bytes = self.units().read_in(units.clone())?;
        for number in units {
            match self {
                Object::Pages(pages) => pages.get(number as usize).map(|_| ())?,
                Object::Rows(rows) => rows.get_verified((number as usize) << rows.shift).map(|_| ())?,
            }
        }
        Ok(bytes)
    }

    /// Verifies the committed content of one unit anew.
    pub(crate) fn verify_unit(&self, number: u64) -> Result<()> {
        match self {
            Object::Pages(pages) => pages.units.verify_page(0, number),
            Object::Rows(rows) => {
                rows.units.verify_chunk(number as usize, rows.committed_bytes(number as usize))
            }
        }
    }
}
