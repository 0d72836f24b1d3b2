//! An open file: its newest view, its writer if it has one, and how it comes to be.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::format::page::{PageHeader, PageType};
use crate::format::{self, BLOCK, Descriptor, Entry, FIRST_DATA_BLOCK, Header, Kind, Meta, UnverifiedHeader};
use crate::storage::backend::{Access, File, Vfs};
use crate::storage::locks::{self, Pin, Pins};
use crate::storage::metas::{self, Choice};
use crate::storage::space::Space;
use crate::storage::tuning::{Bug, OpenTuning};
use crate::storage::txn::{Lost, Txn, Writer};
use crate::storage::units::Mapped;
use crate::storage::view::View;

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// A snapshot; nothing on disk is touched.
    ReadOnly,
    /// The one writer.
    ReadWrite,
}

/// Figures of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreStats {
    /// Length of the file.
    pub file_bytes: u64,
    /// Bytes of it that hold nothing.
    pub reclaimable_bytes: u64,
    /// Bytes on the heap.
    pub heap_bytes: u64,
    /// Bytes of address space mapped.
    pub mapped_bytes: u64,
    /// Whether the newest commit was unreadable at open.
    pub recovered_previous_commit: bool,
    /// Whether it was opened for reading only.
    pub read_only: bool,
}

/// An open file.
pub struct Store {
    pub(crate) shared: Shared,
    pid: u32,
    read_only: bool,
    recovered: bool,
}

/// What the store and its transactions share.
pub(crate) struct Shared {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) path: PathBuf,
    current: RwLock<Arc<View>>,
    /// Odd while the id tree changes.
    pub(crate) ids_changes: AtomicU64,
    pub(crate) source: Arc<Mapped>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) writer: Option<Mutex<Writer>>,
    /// Whether another file took this one's place. Set by whoever is the running transaction.
    pub(crate) retired: AtomicBool,
}

impl Shared {
    /// Makes the file's name durable.
    pub(crate) fn sync_name(&self) -> Result<()> {
        if self.source.tuning.has(Bug::NoDirSync) {
            return Ok(());
        }
        // Where a link led to the file, the name is another one.
        self.vfs.sync_dir(&self.vfs.resolve(&self.path)?)
    }

    /// Whether the path names another file than the open one.
    pub(crate) fn is_replaced(&self) -> Result<bool> {
        Ok(self.vfs.identity(&self.path)? != self.source.file.identity()?)
    }

    /// Makes a view the one that searches get.
    pub(crate) fn show(&self, view: &Arc<View>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = view.clone();
    }
}

impl Store {
    /// Creates a file with an empty commit 0. It appears under its name whole and durable, or not at all.
    pub fn create(vfs: &Arc<dyn Vfs>, path: &Path, mut header: Header, tuning: &OpenTuning) -> Result<()> {
        header.fanout = tuning.fanout.unwrap_or(header.fanout);
        header.chunk_bytes = tuning.chunk_bytes.unwrap_or(header.chunk_bytes);
        let (temporary, file) = create_temporary(vfs, path)?;
        let written = write_first_commit(file.as_ref(), &header, 0, tuning)
            .and_then(|()| vfs.rename_new(&temporary, path));
        if let Err(error) = written {
            let _ = vfs.remove(&temporary);
            return Err(error);
        }
        if tuning.has(Bug::NoDirSync) { Ok(()) } else { vfs.sync_dir(path) }
    }

    /// Opens a file at its newest commit. No scan and no repair: the cost does not depend on the size.
    pub fn open(
        vfs: &Arc<dyn Vfs>,
        path: &Path,
        mode: OpenMode,
        lock_timeout: Option<Duration>,
        tuning: &OpenTuning,
    ) -> Result<Store> {
        let read_only = mode == OpenMode::ReadOnly;
        let deadline = lock_timeout.map(locks::deadline);
        // The file is looked for again by its path, and the process may have gone to another folder by then.
        let path = &vfs.absolute(path)?;
        // Once more for each compaction that ends, or copy that is made, between the two looks.
        for _ in 0..1_000 {
            let file = vfs.open(path, if read_only { Access::Read } else { Access::ReadWrite })?;
            let header = Arc::new(read_header(file.as_ref(), read_only)?);
            if !read_only {
                locks::lock_writer(file.as_ref(), path, deadline)?;
                // A compaction may have put another file in the place of this one, and then given its lock back.
                if vfs.identity(path)? != file.identity()? {
                    continue;
                }
            }
            let store = Store::of(vfs, path, file, header, read_only, tuning)?;
            // A writer has the file that all see. For a reader it may have been copied before it was mapped.
            if read_only && !store.shared.source.shows(store.view().meta().txn)? {
                continue;
            }
            return Ok(store);
        }
        Err(Error::new(
            ErrorKind::Io,
            format!("{} was replaced faster than it could be opened", path.display()),
        ))
    }

    /// The store of an open file; the writer holds its lock.
    pub(crate) fn of(
        vfs: &Arc<dyn Vfs>,
        path: &Path,
        file: Arc<dyn File>,
        header: Arc<Header>,
        read_only: bool,
        tuning: &OpenTuning,
    ) -> Result<Store> {
        let pins = Pins::new(read_only.then(|| file.clone()));
        let (choice, pin) = settle(file.as_ref(), &pins, *tuning)?;
        let file_len = check_length(file.as_ref(), &choice.meta)?;
        let source = Arc::new(Mapped::new(file, choice.meta.blocks * BLOCK as u64, *tuning)?);
        let view = Arc::new(view_of(&header, choice.meta, &source, pin)?);
        let recovered = choice.other_damaged;
        let lost = recovered.then(|| Lost { txn: choice.meta.txn + 1, end: file_len.div_ceil(BLOCK as u64) });
        let writer =
            (!read_only).then(|| Mutex::new(Writer::new(view.clone(), choice.whole, choice.torn, lost)));
        let (ids_changes, retired) = (AtomicU64::new(0), AtomicBool::new(false));
        let (vfs, path, current) = (vfs.clone(), path.to_owned(), RwLock::new(view));
        let shared = Shared { vfs, path, current, ids_changes, source, pins, writer, retired };
        Ok(Store { shared, pid: std::process::id(), read_only, recovered })
    }

    /// The current state.
    pub fn view(&self) -> Arc<View> {
        self.shared.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads that must not see the id tree half changed: repeated while a writer is at it, in turn with it after
    /// many tries.
    pub fn consistent<T>(&self, read: impl Fn(&View) -> Result<T>) -> Result<T> {
        for _ in 0..256 {
            let before = self.shared.ids_changes.load(Ordering::Acquire);
            let view = self.view();
            let outcome = read(&view);
            fence(Ordering::Acquire);
            let unchanged = self.shared.ids_changes.load(Ordering::Relaxed) == before;
            if unchanged && before.is_multiple_of(2) && Arc::ptr_eq(&view, &self.view()) {
                return outcome;
            }
            std::thread::yield_now();
        }
        let guard = self.shared.writer.as_ref().map(|w| w.lock().unwrap_or_else(PoisonError::into_inner));
        let outcome = read(&self.view());
        drop(guard);
        outcome
    }

    /// Becomes the running transaction, after those of other threads.
    pub fn txn(&self) -> Result<Txn<'_>> {
        let txn = self.any_txn()?;
        if txn.writer.half_done {
            let text = "an earlier write failed half-way; call rollback() to return to the last commit";
            return Err(Error::new(ErrorKind::Poisoned, text));
        }
        Ok(txn)
    }

    /// The same for what may follow a change that failed half-way: to roll it back, or to look while nothing changes.
    pub(crate) fn any_txn(&self) -> Result<Txn<'_>> {
        let Some(writer) = &self.shared.writer else {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                format!("{} is open read-only", self.shared.path.display()),
            ));
        };
        self.refuse_after_fork()?;
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_retired() {
            let text = format!("{} was compacted; its new file is the index now", self.shared.path.display());
            return Err(Error::new(ErrorKind::Superseded, text));
        }
        match writer.poisoned {
            Some(why) => {
                Err(Error::new(ErrorKind::Poisoned, format!("{why}; close the index and open it again")))
            }
            None => Ok(Txn { shared: &self.shared, writer }),
        }
    }

    fn refuse_after_fork(&self) -> Result<()> {
        if std::process::id() == self.pid {
            return Ok(());
        }
        let text = "this handle belongs to the parent process; open the file again after fork()";
        Err(Error::new(ErrorKind::ForkedHandle, text))
    }

    /// Whether a compaction of this handle put another file in this one's place.
    pub fn is_retired(&self) -> bool {
        self.shared.retired.load(Ordering::Acquire)
    }

    /// Whether the path names another file than the open one.
    pub fn is_replaced(&self) -> Result<bool> {
        self.shared.is_replaced()
    }

    /// Opens for reading what the path names now.
    pub fn reopen(&self) -> Result<Store> {
        Store::open(&self.shared.vfs, &self.shared.path, OpenMode::ReadOnly, None, self.tuning())
    }

    /// The knobs it was opened with.
    pub(crate) fn tuning(&self) -> &OpenTuning {
        &self.shared.source.tuning
    }

    /// Moves a reader to the newest commit of its file; says whether there was a newer one.
    ///
    /// # Errors
    /// `Superseded` when the file has to be opened again to be seen as it is now.
    pub fn refresh(&self) -> Result<bool> {
        if !self.read_only {
            return Ok(false);
        }
        self.refuse_after_fork()?;
        let file = &self.shared.source.file;
        let view = self.view();
        let tuning = self.shared.source.tuning;
        if metas::choose(file.as_ref(), tuning)?.meta.txn == view.meta().txn {
            return Ok(false);
        }
        let (choice, pin) = settle(file.as_ref(), &self.shared.pins, tuning)?;
        check_length(file.as_ref(), &choice.meta)?;
        if !self.shared.source.shows(choice.meta.txn)? {
            let text = format!("{} was copied by its file system; open it again", self.shared.path.display());
            return Err(Error::new(ErrorKind::Superseded, text));
        }
        self.shared.show(&Arc::new(view_of(view.shared_header(), choice.meta, &self.shared.source, pin)?));
        Ok(true)
    }

    /// Facts and figures.
    pub fn stats(&self) -> Result<StoreStats> {
        let view = self.view();
        let file_bytes = self.shared.source.file.len()?;
        let tail = file_bytes.saturating_sub(view.meta().blocks * BLOCK as u64);
        Ok(StoreStats {
            file_bytes,
            reclaimable_bytes: Space::load(&view)?.free_bytes() + tail,
            heap_bytes: view.heap_bytes() as u64,
            mapped_bytes: self.shared.source.mapped_bytes(),
            recovered_previous_commit: self.recovered,
            read_only: self.read_only,
        })
    }

    /// Whether it was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Bytes of the maps that the kernel serves by pages of 2 MiB now; takes milliseconds.
    pub fn huge_bytes(&self) -> u64 {
        self.shared.source.huge_bytes()
    }

    /// The header as it is in the file now.
    pub(crate) fn stored_header(&self) -> Result<Header> {
        read_header(self.file(), true)
    }

    /// A block as it is in the file now.
    pub(crate) fn read_block(&self, number: u64, block: &mut [u8]) -> Result<()> {
        self.file().read_at(block, number * BLOCK as u64)
    }

    pub(crate) fn file(&self) -> &dyn File {
        self.shared.source.file.as_ref()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Views may outlive the store and keep the file open; the next writer need not wait for them.
        if !self.read_only && std::process::id() == self.pid {
            locks::unlock_writer(self.file());
        }
    }
}

/// Creates a file to be renamed, under a name that is short, so that it fits wherever the final one does. Where
/// process ids come again, as in containers, a killed process may have left the same name behind: that one stays.
fn create_temporary(vfs: &Arc<dyn Vfs>, path: &Path) -> Result<(PathBuf, Arc<dyn File>)> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    loop {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let name = path.with_file_name(OsString::from(format!(".chassis-{}-{call}", std::process::id())));
        match vfs.create_new(&name) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (name, file)),
        }
    }
}

/// Writes the header and an empty commit, and makes them durable.
pub(crate) fn write_first_commit(
    file: &dyn File,
    header: &Header,
    txn: u64,
    tuning: &OpenTuning,
) -> Result<()> {
    let stride = (header.dimensions * 4).next_multiple_of(64);
    let mut objects: Vec<Descriptor> =
        [Kind::Lists, Kind::Upper, Kind::Nodes, Kind::Live, Kind::Ids].map(Descriptor::paged).into();
    objects.push(Descriptor::rows(Kind::Vectors, stride, header.chunk_bytes));
    objects.push(Descriptor::rows(Kind::Heap, 1, header.chunk_bytes));
    objects.push(Descriptor::paged(Kind::FreeList));
    let mut bytes = vec![0u8; (FIRST_DATA_BLOCK as usize + 1) * BLOCK];
    bytes[..BLOCK].copy_from_slice(&header.encode());
    let catalog =
        sign_catalog(&objects, FIRST_DATA_BLOCK, txn, &mut bytes[FIRST_DATA_BLOCK as usize * BLOCK..]);
    let meta = Meta {
        txn,
        previous: txn.saturating_sub(1),
        blocks: FIRST_DATA_BLOCK + 1,
        node_count: 0,
        live_count: 0,
        upper_count: 0,
        next_id: 0,
        user_version: 0,
        entry_node: u32::MAX,
        entry_level: 0,
        catalog,
        ids_root: 0,
        ids_depth: 0,
        ids_count: 0,
    };
    for block in metas::blocks_of(txn, *tuning) {
        bytes[block as usize * BLOCK..][..BLOCK].copy_from_slice(&meta.encode());
    }
    file.allocate(bytes.len() as u64)?;
    file.write_at(&bytes, 0)?;
    if tuning.has(Bug::NoCreateBarrier) { Ok(()) } else { file.barrier() }
}

/// Writes a catalog into a block and gives the entry for the commit record.
pub(crate) fn sign_catalog(objects: &[Descriptor], block: u64, txn: u64, page: &mut [u8]) -> Entry {
    format::catalog::encode(objects, page);
    catalog_header(txn).sign(page);
    Entry { block, blocks: 1, birth: txn as u32, crc: format::checksum::get_u32(page, 0) }
}

fn catalog_header(txn: u64) -> PageHeader {
    PageHeader { page_type: PageType::Catalog, kind: 0, number: 0, birth: txn, level: 0 }
}

fn read_header(file: &dyn File, read_only: bool) -> Result<Header> {
    let mut block = vec![0u8; (file.len()? as usize).min(BLOCK)];
    file.read_at(&mut block, 0)?;
    if block.len() < BLOCK && block.starts_with(&format::header::MAGIC) {
        return Err(Error::new(
            ErrorKind::Truncated,
            format!("the file has {} bytes, less than a header", block.len()),
        ));
    }
    let header = UnverifiedHeader(&block).verify()?;
    if header.ro_compat != 0 && !read_only {
        let text = format!("the file uses features {:#x} that this release can only read", header.ro_compat);
        return Err(Error::new(ErrorKind::UnsupportedVersion, text));
    }
    if file.len()? < (FIRST_DATA_BLOCK + 1) * BLOCK as u64 {
        return Err(Error::new(ErrorKind::Truncated, "the file ends before its first commit"));
    }
    Ok(header)
}

/// Chooses the newest commit and pins it. Whoever finds a newer one after pinning starts over: the writer looks for
/// pins only after a commit, so a pin taken while that commit was the newest is always seen.
fn settle(file: &dyn File, pins: &Arc<Pins>, tuning: OpenTuning) -> Result<(Choice, Arc<Pin>)> {
    for _ in 0..1_000 {
        let choice = metas::choose(file, tuning)?;
        let pin = pins.pin(choice.meta.txn)?;
        if metas::choose(file, tuning)?.meta == choice.meta {
            return Ok((choice, Arc::new(pin)));
        }
    }
    Err(Error::new(ErrorKind::Io, "commits came faster than they could be pinned; try again"))
}

fn check_length(file: &dyn File, meta: &Meta) -> Result<u64> {
    let (have, need) = (file.len()?, meta.blocks * BLOCK as u64);
    if have < need {
        let text = format!("the file has {have} bytes, its last commit needs {need}");
        return Err(Error::new(ErrorKind::Truncated, text));
    }
    Ok(have)
}

fn view_of(header: &Arc<Header>, meta: Meta, source: &Arc<Mapped>, pin: Arc<Pin>) -> Result<View> {
    let at = meta.catalog;
    if at.blocks != 1 || at.block < FIRST_DATA_BLOCK || at.block >= meta.blocks {
        return Err(Error::corrupt(format!("commit {} has its catalog at block {}", meta.txn, at.block)));
    }
    let mut page = vec![0u8; BLOCK];
    source.file.read_at(&mut page, at.block * BLOCK as u64)?;
    catalog_header(at.birth as u64).verify(&page)?;
    if format::checksum::get_u32(&page, 0) != at.crc {
        return Err(Error::corrupt("the catalog is not the one its commit record means"));
    }
    View::new(header.clone(), meta, format::catalog::decode(&page)?, source, pin)
}
