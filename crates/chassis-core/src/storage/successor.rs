//! A file that is built beside an index and then takes its place: what a compaction makes.
//!
//! 1. an empty file under a temporary name, with the rights of the old one; its writer lock is taken;
//! 2. the caller fills it and commits: barriers and all;
//! 3. [`Place::take`] writes the record of the last commit again, for the other slot, renames the file over the old
//!    one, which is the moment of the compaction, makes the name durable, and retires the old store.
//!
//! Whoever waited for the lock of the old file finds, once they have it, that the path names another one, and starts
//! over there; the new file is locked from before anybody can open it. Readers of the old file keep it: it has no
//! name any more, and the system removes it when the last of them is gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, ErrorKind, Result};
use crate::format::Kind;
use crate::storage::backend::{Access, File, Vfs};
use crate::storage::locks;
use crate::storage::store::{Shared, Store, write_first_commit};
use crate::storage::tuning::Bug;
use crate::storage::txn::Txn;

/// The place that a new file is to take. Dropped before that, it removes the file.
pub struct Place {
    vfs: Arc<dyn Vfs>,
    temporary: PathBuf,
    target: PathBuf,
    taken: bool,
}

impl Store {
    /// Begins a file with the same header and an empty commit whose number follows that of the last one. Whoever asks
    /// is the running transaction, with nothing changed, and stays it until the place is taken.
    pub fn successor(&self, txn: &Txn<'_>) -> Result<(Store, Place)> {
        let (vfs, view) = (&self.shared.vfs, txn.view());
        if let Some((kind, _)) = view.objects().iter().find(|(kind, _)| Kind::from_number(*kind).is_none()) {
            let text = format!(
                "the file has an object of kind {kind}, which a newer release wrote: compact it there"
            );
            return Err(Error::new(ErrorKind::UnsupportedVersion, text));
        }
        self.shared.owns_name()?;
        let target = vfs.resolve(&self.shared.path)?;
        let temporary = temporary_name(&target);
        remove_left_over(vfs, &temporary)?;
        // A folder that cannot be made durable is refused now, not when all is built.
        vfs.sync_dir(&target)?;
        let file = vfs.create_like(&temporary, &target)?;
        // On an error the file is not ours to remove: who has its lock is about to, or did and made another.
        lock_named(vfs, file.as_ref(), &temporary)?;
        let place = Place { vfs: vfs.clone(), temporary, target, taken: false };
        let header = view.shared_header();
        write_first_commit(file.as_ref(), header, view.meta().txn + 1, self.tuning())?;
        let store = Store::of(vfs, &self.shared.path, file, header.clone(), false, self.tuning())?;
        let mut txn = store.txn()?;
        // Nobody else wrote to it, so it needs no anchor; nor later, for its name is made durable below.
        (txn.writer.anchored, txn.writer.is_hidden) = (true, true);
        drop(txn);
        Ok((store, place))
    }
}

impl Shared {
    /// Refuses when the path names another file, which must not be lost.
    fn owns_name(&self) -> Result<()> {
        if !self.is_replaced()? {
            return Ok(());
        }
        let text = format!("{} was replaced by another file; open it again", self.path.display());
        Err(Error::new(ErrorKind::Superseded, text))
    }
}

impl Place {
    /// Puts `new` in the place of the store that `old` is the running transaction of, and retires that one. An error
    /// within the outcome came after the rename: the new file is the index, but its name may not be durable, so it
    /// takes no writes.
    pub fn take(mut self, old: &Txn<'_>, new: &Store) -> Result<Result<()>> {
        debug_assert!(!old.is_changed(), "what is not committed would be lost");
        new.txn()?.repeat()?;
        old.shared.owns_name()?;
        if let Err(error) = self.vfs.replace(&self.temporary, &self.target) {
            // It may have been carried out all the same.
            let now = self.vfs.identity(&self.target).ok();
            if now.is_none() || now != new.file().identity().ok() {
                return Err(error);
            }
        }
        self.taken = true;
        old.shared.retired.store(true, Ordering::Release);
        let mut txn = new.txn()?;
        txn.writer.is_hidden = false;
        let skip = old.shared.source.tuning.has(Bug::NoCompactDirSync);
        let durable = if skip { Ok(()) } else { self.vfs.sync_dir(&self.target) };
        if durable.is_err() {
            txn.writer.poisoned = Some("the name of the compacted file could not be made durable");
        }
        locks::unlock_writer(old.shared.source.file.as_ref());
        Ok(durable.map_err(|cause| {
            let text = "the compacted file is in place, but a power cut may bring the old one back, which holds the same; \
                        close and open again before writing";
            Error::with_source(ErrorKind::CommitIndeterminate, text, cause)
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.taken {
            // What cannot be removed is removed by the next compaction.
            let _ = self.vfs.remove(&self.temporary);
        }
    }
}

/// Removes the file that a killed compaction left. The lock of the index is not enough to tell it from one that is being
/// filled: the path may have come to name another index since that compaction began, or two names share a hash. Its own
/// lock is: it is held as long as the file is filled.
fn remove_left_over(vfs: &Arc<dyn Vfs>, temporary: &Path) -> Result<()> {
    let file = match vfs.open(temporary, Access::ReadWrite) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    lock_named(vfs, file.as_ref(), temporary)?;
    match vfs.remove(temporary) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Takes the writer lock of a temporary file, which has to have its name still: whoever removes a file of this name holds
/// its lock, so it keeps the name from here on.
fn lock_named(vfs: &Arc<dyn Vfs>, file: &dyn File, temporary: &Path) -> Result<()> {
    locks::lock_writer(file, temporary, None)?;
    match vfs.identity(temporary) {
        Ok(named) if named == file.identity()? => Ok(()),
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => {
            let text = format!("another compaction has taken {}; try again", temporary.display());
            Err(Error::new(ErrorKind::WriterBusy, text))
        }
    }
}

/// One name for each index of a folder, short, so that it fits wherever the index's own name does.
fn temporary_name(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().as_encoded_bytes();
    // FNV-1a: two indexes of one folder that are compacted at once should not meet. Where they do, the second is refused.
    let hash =
        name.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3));
    target.with_file_name(format!(".chassis-compact-{hash:016x}"))
}
