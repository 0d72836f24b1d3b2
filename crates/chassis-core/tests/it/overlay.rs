//! Readers whose map is of another file than their reads: what overlayfs makes of a file that a writer opens after
//! them. Reads see the copy, a map stays that of the original, which is shorter.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use chassis_core::internals::storage::backend::{Access, File, LockKind, MapView};
use chassis_core::internals::storage::mmap::Region;
use chassis_core::internals::storage::{MemoryVfs, OpenTuning, Vfs};
use chassis_core::{BatchOptions, CheckLevel, Metric, Mode, OpenOptions, Result, SearchOptions, VectorIndex};

use crate::support::{clustered, options};

const DIMS: usize = 32;

/// Files whose maps show what was there when the file was opened.
struct Copied(Arc<MemoryVfs>);

struct CopiedFile {
    file: Arc<dyn File>,
    original: Arc<Region>,
}

impl Vfs for Copied {
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn File>> {
        let bytes = self.0.bytes(path).unwrap_or_default();
        let original = Arc::new(Region::new(bytes.len()));
        original.write(0, &bytes);
        Ok(Arc::new(CopiedFile { file: self.0.open(path, access)?, original }))
    }
    fn create_new(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.0.create_new(path)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.rename_new(from, to)
    }
    fn replace(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.replace(from, to)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.0.sync_dir(path)
    }
    fn identity(&self, path: &Path) -> Result<(u64, u64)> {
        self.0.identity(path)
    }
}

impl File for CopiedFile {
    fn len(&self) -> Result<u64> {
        self.file.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.file.write_at(buf, offset)
    }
    fn allocate(&self, len: u64) -> Result<()> {
        self.file.allocate(len)
    }
    fn barrier(&self) -> Result<()> {
        self.file.barrier()
    }
    fn map(&self, _: u64) -> Result<Arc<dyn MapView>> {
        Ok(self.original.clone())
    }
    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool> {
        self.file.try_lock(start, len, kind)
    }
    fn unlock(&self, start: u64, len: u64) -> Result<()> {
        self.file.unlock(start, len)
    }
    fn find_lock(&self, start: u64, len: u64) -> Result<Option<u64>> {
        self.file.find_lock(start, len)
    }
    fn identity(&self) -> Result<(u64, u64)> {
        self.file.identity()
    }
}

/// The reader follows the writer, and the views it gave answer as they did.
fn follows(reader: &VectorIndex, writer: &VectorIndex) {
    for round in 1..4u32 {
        let rows = clustered(700, DIMS, round.into());
        let before = reader.len().unwrap();
        writer.add_batch(&rows, &BatchOptions::default()).unwrap();
        writer.commit().unwrap();
        assert_eq!(reader.len().unwrap(), before);
        assert!(reader.check(CheckLevel::Full).unwrap().is_ok(), "before the refresh");
        assert!(reader.refresh().unwrap() && !reader.refresh().unwrap());
        assert_eq!(reader.len().unwrap(), before + 700);
        for exact in [false, true] {
            let search = SearchOptions { k: 1, exact, ..Default::default() };
            let hits = reader.search(&rows[600 * DIMS..601 * DIMS], &search).unwrap();
            assert_eq!(hits.distances[0], 0.0, "a row of the new commit");
        }
        assert!(reader.check(CheckLevel::Full).unwrap().is_ok(), "after it");
    }
}

#[test]
fn a_map_of_another_file_than_the_reads_is_not_believed() {
    let (memory, path) = (MemoryVfs::new(8 << 20), PathBuf::from("index"));
    let open = |vfs: Arc<dyn Vfs>, options: &OpenOptions| {
        VectorIndex::open_with(&vfs, &path, options, &OpenTuning::default()).unwrap()
    };
    let writer = open(memory.clone(), &options(DIMS, Metric::L2));
    writer.add_batch(&clustered(100, DIMS, 9), &BatchOptions::default()).unwrap();
    writer.commit().unwrap();
    let read_only = OpenOptions { mode: Mode::ReadOnly, ..Default::default() };
    let reader = open(Arc::new(Copied(memory.clone())), &read_only);
    follows(&reader, &writer);
}

/// Unmounts.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The real thing, where this process may mount.
#[test]
fn readers_follow_a_file_that_overlayfs_copied() {
    let dir = tempfile::tempdir().unwrap();
    let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|n| dir.path().join(n));
    [&lower, &upper, &work, &merged].into_iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    let first = VectorIndex::open(lower.join("index"), &options(DIMS, Metric::L2)).unwrap();
    first.add_batch(&clustered(100, DIMS, 9), &BatchOptions::default()).unwrap();
    first.commit().unwrap();
    drop(first);
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let mount = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&merged).output();
    if !mount.is_ok_and(|out| out.status.success()) {
        return;
    }
    let mounted = Mounted(merged.clone());
    let read_only = OpenOptions { mode: Mode::ReadOnly, ..Default::default() };
    let reader = VectorIndex::open(merged.join("index"), &read_only).unwrap();
    let writer = VectorIndex::open(merged.join("index"), &OpenOptions::default()).unwrap();
    follows(&reader, &writer);
    drop((reader, writer, mounted));
}
