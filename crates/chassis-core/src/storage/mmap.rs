//! Memory that is shared between a writer and searches, and the only `unsafe` of the storage layer.
//!
//! Two kinds of memory back a page or a chunk: the read-only map of the file, and private memory of the writer.
//! A [`PtrTable`] holds one pointer a unit and keeps alive whatever its pointers point into, so a reference
//! taken from it is good as long as the table.
//!
//! Why reading is sound although another thread writes:
//! - mapped blocks that a view refers to are never written (invariant I3 of `docs/durability.md`);
//! - private pages are words read and written as relaxed atomics;
//! - private chunk bytes are written once, before the row count that makes them readable is released.
//!
//! What no process can exclude is another program that truncates the file under the map (`docs/durability.md`).
#![expect(unsafe_code, reason = "the one place where pointers into maps and private memory are followed")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::format::{BLOCK, PAGE_HEADER};
use crate::storage::backend::MapView;

#[cfg(target_endian = "big")]
compile_error!("files are little-endian and read in place");

/// A page as the searches see it.
#[repr(C, align(64))]
pub struct Page([AtomicU32; BLOCK / 4]);

const HEADER_WORDS: usize = PAGE_HEADER / 4;

impl Page {
    /// Words of content.
    pub const WORDS: usize = BLOCK / 4 - HEADER_WORDS;

    /// A word of content; 0 when out of range.
    #[inline(always)]
    pub fn word(&self, i: usize) -> u32 {
        self.words().get(i).map_or(0, |w| w.load(Ordering::Relaxed))
    }

    /// Two words of content as one number.
    #[inline]
    pub fn u64(&self, i: usize) -> u64 {
        self.word(i) as u64 | (self.word(i + 1) as u64) << 32
    }

    /// All words of content.
    #[inline(always)]
    pub fn words(&self) -> &[AtomicU32] {
        &self.0[HEADER_WORDS..]
    }

    /// The content of all 1,024 words as bytes, for signing and writing.
    pub(crate) fn copy_to(&self, block: &mut [u8]) {
        for (word, bytes) in self.0.iter().zip(block.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
    }
}

/// A private page, and the right to change it.
#[derive(Clone)]
pub struct PageMut<'a> {
    page: Arc<Page>,
    txn: std::marker::PhantomData<&'a ()>,
}

impl PageMut<'_> {
    pub(crate) fn new(page: Arc<Page>) -> Self {
        PageMut { page, txn: std::marker::PhantomData }
    }

    /// Writes a word of content. Several threads may write different words.
    #[inline]
    pub fn set(&self, i: usize, value: u32) {
        self.page.words()[i].store(value, Ordering::Relaxed);
    }

    /// Writes two words of content.
    #[inline]
    pub fn set_u64(&self, i: usize, value: u64) {
        self.set(i, value as u32);
        self.set(i + 1, (value >> 32) as u32);
    }
}

impl std::ops::Deref for PageMut<'_> {
    type Target = Page;
    fn deref(&self) -> &Page {
        &self.page
    }
}

/// A new private page: a copy of `of`, or zeroes.
pub(crate) fn private_page(of: Option<&Page>) -> Arc<Page> {
    let word = |i: usize| AtomicU32::new(of.map_or(0, |p| p.0[i].load(Ordering::Relaxed)));
    Arc::new(Page(std::array::from_fn(word)))
}

/// Values that zeroed memory holds.
///
/// # Safety
/// All bytes zero must be a valid value, of a type whose size is not zero.
unsafe trait FromZero {}

// SAFETY: a null pointer.
unsafe impl FromZero for AtomicPtr<u8> {}
// SAFETY: false.
unsafe impl FromZero for AtomicBool {}
// SAFETY: false.
unsafe impl FromZero for bool {}
// SAFETY: zero.
unsafe impl FromZero for AtomicU64 {}

/// A slice whose length comes from the file. A sparse file claims any length at no cost, so memory that is not to be had
/// is an error, and the system takes none before it is touched.
#[expect(private_bounds, reason = "the list of types is closed")]
pub(crate) fn zeroed<T: FromZero>(len: usize) -> Result<Box<[T]>> {
    let refused = || Error::no_memory(format_args!("{len} entries of a table"));
    let layout = Layout::array::<T>(len).map_err(|_| refused())?;
    if len == 0 {
        return Ok(Box::default());
    }
    // SAFETY: the layout is not of size zero: `len` is not, nor is the size of `T`.
    let memory = unsafe { alloc_zeroed(layout) }.cast::<T>();
    if memory.is_null() {
        return Err(refused());
    }
    // SAFETY: `len` values of `T`, which zeroes are, in memory of the layout that a box of them is given back with.
    Ok(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(memory, len)) })
}

/// Zeroed memory of a fixed size that never moves: a private chunk, or a whole file in memory.
pub struct Region {
    memory: *mut u8,
    layout: Layout,
}

// SAFETY: the memory is owned; `write` is the only way to change it and its callers keep writers apart from
// readers of the same bytes (see the module's header).
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Zeroed memory of `len` bytes, taken from the system as it is touched.
    pub fn new(len: usize) -> Region {
        Region::try_new(len).unwrap_or_else(|_| handle_alloc_error(Layout::new::<u8>()))
    }

    /// The same of a length that comes from a file.
    pub(crate) fn try_new(len: usize) -> Result<Region> {
        let refused = || Error::no_memory(format_args!("{len} bytes of rows"));
        let layout = Layout::from_size_align(len.max(1), BLOCK).map_err(|_| refused())?;
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { alloc_zeroed(layout) };
        if memory.is_null() {
            return Err(refused());
        }
        Ok(Region { memory, layout })
    }

    /// Copies `bytes` in; what does not fit is cut off.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let len = bytes.len().min(self.layout.size().saturating_sub(offset));
        // SAFETY: offset + len lies within the allocation, and `bytes` cannot overlap memory only we hand out
        // read-only. Readers of these bytes start only after the writer has published them.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.memory.add(offset.min(self.layout.size())),
                len,
            )
        }
    }

    /// Copies components in as little-endian bytes; what does not fit is cut off.
    pub fn write_f32(&self, offset: usize, values: &[f32]) {
        // SAFETY: every bit pattern of f32 is four valid bytes, and all targets are little-endian (see below).
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        self.write(offset, bytes);
    }

    /// Copies bytes out; what lies outside reads as zero.
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        let len = out.len().min(self.layout.size().saturating_sub(offset));
        out[len..].fill(0);
        // SAFETY: offset + len lies within the allocation; `out` is exclusively borrowed.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.memory.add(offset.min(self.layout.size())),
                out.as_mut_ptr(),
                len,
            )
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.memory, self.layout) }
    }
}

impl MapView for Region {
    fn base(&self) -> *const u8 {
        self.memory
    }
    fn len(&self) -> usize {
        self.layout.size()
    }
}

/// What the system is told about the reads of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing: a fault reads much around its page, and used pages are kept.
    Usual,
    /// All of it will stay in memory: pages of 2 MiB, which Linux gives where it has cached the file in pieces of that
    /// size. Elsewhere as `Usual`.
    Huge,
    /// A fault reads its own page, and Linux does not keep a page for having been used.
    Seldom,
}

/// A read-only map of a file.
pub(crate) struct FileMap(memmap2::Mmap);

impl FileMap {
    /// Maps the first `len` bytes; on Unix that may reach past the end of the file.
    pub(crate) fn new(file: &std::fs::File, len: usize, reading: Reading) -> std::io::Result<FileMap> {
        // SAFETY: the map is read-only and only blocks inside the file's committed length are read; the engine never
        // shrinks a file. Truncation by other programs is the documented limit of every mapping engine.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file) }?;
        // A kernel built without huge pages, for one, refuses; the map is as good without.
        let _ = match reading {
            #[cfg(target_os = "linux")]
            Reading::Huge => map.advise(memmap2::Advice::HugePage),
            Reading::Seldom => map.advise(memmap2::Advice::Random),
            _ => Ok(()),
        };
        Ok(FileMap(map))
    }
}

impl MapView for FileMap {
    fn base(&self) -> *const u8 {
        self.0.as_ptr()
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

/// Bytes of a map, when it reaches that far.
pub(crate) fn map_bytes(map: &dyn MapView, offset: u64, len: usize) -> Option<&[u8]> {
    let end = offset.checked_add(len as u64)?;
    if end > map.len() as u64 {
        return None;
    }
    // SAFETY: inside the map; blocks handed out this way are committed or were written before by this process, and are
    // not written again while a view refers to them.
    Some(unsafe { std::slice::from_raw_parts(map.base().add(offset as usize), len) })
}

/// One pointer a unit; null means not touched yet.
pub(crate) struct PtrTable {
    slots: Box<[AtomicPtr<u8>]>,
    /// Which units point into private memory of the writer.
    private: Box<[AtomicBool]>,
    /// Which groups of slots were ever written.
    groups: Box<[AtomicBool]>,
    keep: Mutex<Keep>,
}

/// Slots of a group: a page of pointers.
const GROUP: usize = 512;

/// The pointers of a table, at hand for loops that follow many.
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a>(&'a [AtomicPtr<u8>]);

impl<'a> Slots<'a> {
    /// `len` bytes at `offset` within unit `n`. The caller has checked that they lie within the unit's rows.
    #[inline(always)]
    pub(crate) fn bytes(self, n: usize, offset: usize, len: usize) -> Option<&'a [u8]> {
        let pointer = self.0.get(n)?.load(Ordering::Acquire);
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the only callers (Rows, RowReader) pass offsets below the number of rows published for the table, and
        // every unit stored in it holds all rows published for it; its `keep` keeps it alive as long as the table.
        Some(unsafe { std::slice::from_raw_parts(pointer.add(offset), len) })
    }
}

/// What the pointers of a table point into.
#[derive(Default, Clone)]
struct Keep {
    maps: Vec<Arc<dyn MapView>>,
    pages: Vec<Arc<Page>>,
    chunks: Vec<Arc<Region>>,
}

impl PtrTable {
    pub(crate) fn new(capacity: usize) -> Result<PtrTable> {
        let (slots, private) = (zeroed(capacity)?, zeroed(capacity)?);
        Ok(PtrTable { slots, private, groups: zeroed(capacity.div_ceil(GROUP))?, keep: Mutex::default() })
    }

    /// The same pointers with room for `capacity` units, for a transaction that outgrew its table.
    pub(crate) fn grown(&self, capacity: usize) -> Result<PtrTable> {
        let table = self.copy(capacity, Keep::clone, |_| true)?;
        for i in self.touched().filter(|i| self.is_private(*i)) {
            table.private[i].store(true, Ordering::Relaxed);
        }
        Ok(table)
    }

    /// The pointers into the map only: what a commit or a rollback leaves. Private units start untouched.
    pub(crate) fn mapped_only(&self, capacity: usize) -> Result<PtrTable> {
        let maps = |keep: &Keep| Keep { maps: keep.maps.clone(), ..Keep::default() };
        self.copy(capacity, maps, |i| !self.is_private(i))
    }

    /// Unsets the pointers of these units.
    pub(crate) fn forget(&self, units: &[u64]) {
        for slot in units.iter().filter_map(|n| self.slots.get(*n as usize)) {
            slot.store(std::ptr::null_mut(), Ordering::Release);
        }
    }

    /// Pointers first, then what they point into: a search that maps a unit meanwhile keeps the map before it stores the
    /// pointer.
    fn copy(
        &self,
        capacity: usize,
        keep: impl Fn(&Keep) -> Keep,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<PtrTable> {
        let mut table = PtrTable::new(capacity.max(self.slots.len()))?;
        for i in self.touched().filter(|i| wanted(*i)) {
            table.store(i, self.slots[i].load(Ordering::Acquire));
        }
        table.keep = Mutex::new(keep(&self.keep.lock().unwrap_or_else(PoisonError::into_inner)));
        Ok(table)
    }

    /// Slots that may hold a pointer. The others are not looked at: a file can claim billions of units, and a copy would
    /// take the time and the memory of all of them.
    fn touched(&self) -> impl Iterator<Item = usize> {
        let groups = self.groups.iter().enumerate().filter(|(_, touched)| touched.load(Ordering::Relaxed));
        groups.flat_map(|(group, _)| group * GROUP..((group + 1) * GROUP).min(self.slots.len()))
    }

    /// Points a slot somewhere.
    fn store(&self, n: usize, pointer: *mut u8) {
        self.groups[n / GROUP].store(true, Ordering::Relaxed);
        self.slots[n].store(pointer, Ordering::Release);
    }

    /// Whether unit `n` is private memory of the writer.
    pub(crate) fn is_private(&self, n: usize) -> bool {
        self.private.get(n).is_some_and(|flag| flag.load(Ordering::Acquire))
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The page of slot `n`. Every pointer of a table of pages leads to a whole block.
    #[inline(always)]
    pub(crate) fn page(&self, n: usize) -> Option<&Page> {
        let pointer = self.slots.get(n)?.load(Ordering::Acquire);
        // SAFETY: non-null pointers were stored by `set_*` below: they lead to a whole, 64-byte aligned block that `keep`
        // keeps alive as long as this table. Reads of mapped words as atomics are plain loads.
        unsafe { pointer.cast::<Page>().as_ref() }
    }

    /// The pointers alone.
    #[inline(always)]
    pub(crate) fn slots(&self) -> Slots<'_> {
        Slots(&self.slots)
    }

    /// Points an untouched slot into a map, when the map reaches that far. A slot that got a pointer meanwhile keeps
    /// it: the writer may have made the unit private while a reader looked it up.
    pub(crate) fn set_mapped(&self, n: usize, map: &Arc<dyn MapView>, offset: u64, len: usize) -> bool {
        let Some(bytes) = map_bytes(map.as_ref(), offset, len) else { return false };
        let mut keep = self.keep.lock().unwrap_or_else(PoisonError::into_inner);
        if !keep.maps.iter().any(|m| Arc::ptr_eq(m, map)) {
            keep.maps.push(map.clone());
        }
        let pointer = bytes.as_ptr().cast_mut();
        self.groups[n / GROUP].store(true, Ordering::Relaxed);
        let _ = self.slots[n].compare_exchange(
            std::ptr::null_mut(),
            pointer,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        true
    }

    /// Points a slot at a private page.
    pub(crate) fn set_page(&self, n: usize, page: &Arc<Page>) {
        self.keep.lock().unwrap_or_else(PoisonError::into_inner).pages.push(page.clone());
        self.private[n].store(true, Ordering::Release);
        self.store(n, Arc::as_ptr(page).cast_mut().cast());
    }

    /// Points a slot at a private chunk.
    pub(crate) fn set_chunk(&self, n: usize, chunk: &Arc<Region>) {
        self.keep.lock().unwrap_or_else(PoisonError::into_inner).chunks.push(chunk.clone());
        self.private[n].store(true, Ordering::Release);
        self.store(n, chunk.base().cast_mut());
    }

    /// Bytes of memory this table keeps on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let keep = self.keep.lock().unwrap_or_else(PoisonError::into_inner);
        keep.pages.len() * BLOCK + keep.chunks.iter().map(|c| c.len()).sum::<usize>() + self.slots.len() * 9
    }
}
