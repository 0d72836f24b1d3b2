//! Files larger than memory: what does not stay is asked for in one go before it is read, answers do not change, and
//! nothing is asked for where all of it fits.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chassis_core::internals::storage::backend::{Access, File, LockKind, MapView};
use chassis_core::internals::storage::{MemoryVfs, OpenTuning, Vfs};
use chassis_core::{
    BatchOptions, CheckLevel, CompactOptions, Hits, Metric, Mode, OpenOptions, Result, SearchOptions,
    VectorIndex,
};

use crate::support::{clustered, options};

const DIMS: usize = 320;
const ROWS: usize = 3_000;

/// Files in memory on a machine that has, as they say, `memory` bytes for them.
struct Tight {
    files: Arc<MemoryVfs>,
    memory: u64,
    asked: Arc<Asked>,
}

/// What was asked for ahead, and how much was read.
#[derive(Default)]
pub struct Asked {
    ranges: Mutex<Vec<(u64, u64)>>,
    seldom_maps: AtomicU64,
    /// Bytes read by calls, not through maps.
    pub bytes_read: AtomicU64,
}

impl Asked {
    pub fn take(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.ranges.lock().unwrap())
    }
}

struct TightFile {
    file: Arc<dyn File>,
    memory: u64,
    asked: Arc<Asked>,
}

impl Tight {
    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(TightFile { file, memory: self.memory, asked: self.asked.clone() })
    }
}

impl Vfs for Tight {
    fn open(&self, path: &Path, access: Access) -> Result<Arc<dyn File>> {
        Ok(self.wrap(self.files.open(path, access)?))
    }
    fn create_new(&self, path: &Path) -> Result<Arc<dyn File>> {
        Ok(self.wrap(self.files.create_new(path)?))
    }
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        self.files.rename_new(from, to)
    }
    fn replace(&self, from: &Path, to: &Path) -> Result<()> {
        self.files.replace(from, to)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.files.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.files.sync_dir(path)
    }
}

impl File for TightFile {
    fn len(&self) -> Result<u64> {
        self.file.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.asked.bytes_read.fetch_add(buf.len() as u64, Ordering::Relaxed);
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
    fn map(&self, min_len: u64) -> Result<Arc<dyn MapView>> {
        self.file.map(min_len)
    }
    fn map_seldom(&self, min_len: u64) -> Result<Arc<dyn MapView>> {
        self.asked.seldom_maps.fetch_add(1, Ordering::Relaxed);
        self.file.map(min_len)
    }
    fn fits_in_memory(&self, bytes: u64) -> bool {
        bytes <= self.memory
    }
    fn will_need(&self, offset: u64, len: u64) {
        self.asked.ranges.lock().unwrap().push((offset, len));
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

/// A committed index with codes of two stages.
fn built() -> (Arc<MemoryVfs>, Vec<f32>) {
    let files = MemoryVfs::new(64 << 20);
    let rows = clustered(ROWS, DIMS, 3);
    let vfs: Arc<dyn Vfs> = files.clone();
    let index =
        VectorIndex::open_with(&vfs, Path::new("index"), &options(DIMS, Metric::L2), &OpenTuning::default());
    let index = index.unwrap();
    index.add_batch(&rows, &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    (files, rows)
}

fn open(files: &Arc<MemoryVfs>, memory: u64) -> (VectorIndex, Arc<Asked>) {
    open_as(files, memory, &OpenOptions { mode: Mode::ReadOnly, ..Default::default() })
}

pub fn open_as(files: &Arc<MemoryVfs>, memory: u64, options: &OpenOptions) -> (VectorIndex, Arc<Asked>) {
    let asked = Arc::new(Asked::default());
    let vfs: Arc<dyn Vfs> = Arc::new(Tight { files: files.clone(), memory, asked: asked.clone() });
    (VectorIndex::open_with(&vfs, Path::new("index"), options, &OpenTuning::default()).unwrap(), asked)
}

fn search(index: &VectorIndex, query: &[f32], exact: bool) -> Hits {
    index.search(query, &SearchOptions { exact, ..SearchOptions::k(10) }).unwrap()
}

/// Whether the bytes of a vector lie in one of the ranges of the file.
fn covers(file: &[u8], ranges: &[(u64, u64)], vector: &[f32]) -> bool {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    ranges.iter().any(|&(offset, len)| {
        let range = &file[offset as usize..(offset + len) as usize];
        range.windows(bytes.len()).step_by(64).any(|window| window == bytes)
    })
}

#[test]
fn nothing_is_asked_for_where_the_file_fits() {
    let (files, rows) = built();
    let (index, asked) = open(&files, u64::MAX);
    search(&index, &rows[..DIMS], false);
    search(&index, &rows[..DIMS], true);
    assert!(index.check(CheckLevel::Full).unwrap().is_ok());
    assert_eq!((asked.take(), asked.seldom_maps.load(Ordering::Relaxed)), (vec![], 0));
}

#[test]
fn what_a_search_measures_is_asked_for_before_it_is_read() {
    let (files, rows) = built();
    let file = files.bytes(Path::new("index")).unwrap();
    let (roomy, _) = open(&files, u64::MAX);
    // Lists and 4-bit codes stay, 8-bit codes and vectors do not; then nothing does.
    for memory in [1 << 20, 0] {
        let (tight, asked) = open(&files, memory);
        for query in rows.chunks(DIMS).step_by(97) {
            let hits = search(&tight, query, false);
            assert_eq!(hits, search(&roomy, query, false));
            let ranges = asked.take();
            for id in &hits.ids {
                let row = &rows[*id as usize * DIMS..][..DIMS];
                assert!(covers(&file, &ranges, row), "the vector of {id} was not asked for");
            }
            // The records of all candidates, then about as many vectors as there are results.
            let vectors = ranges.iter().filter(|range| range.1 == 4 * DIMS as u64).count();
            assert!((10..40).contains(&vectors) && ranges.len() > vectors, "{vectors} of {ranges:?}");
        }
        assert!(asked.seldom_maps.load(Ordering::Relaxed) >= 1);
    }
}

#[test]
fn a_scan_asks_for_what_comes_next_in_large_pieces() {
    let (files, rows) = built();
    let (roomy, _) = open(&files, u64::MAX);
    let (tight, asked) = open(&files, 1 << 20);
    assert_eq!(search(&tight, &rows[..DIMS], true), search(&roomy, &rows[..DIMS], true));
    let bytes: u64 = asked.take().iter().map(|range| range.1).sum();
    let vectors = (ROWS * DIMS * 4) as u64;
    assert!((vectors..vectors + vectors / 8).contains(&bytes), "{bytes} of {vectors}");
    let exact = SearchOptions { exact: true, ..SearchOptions::k(10) };
    let queries = &rows[..20 * DIMS];
    assert_eq!(
        tight.search_batch(queries, &exact, None).unwrap(),
        roomy.search_batch(queries, &exact, None).unwrap()
    );
}

#[test]
fn a_check_asks_for_each_chunk_and_then_for_codes_and_vectors_in_order() {
    let (files, _) = built();
    let (tight, asked) = open(&files, 0);
    assert!(tight.check(CheckLevel::Full).unwrap().is_ok());
    let (large, small): (Vec<u64>, Vec<u64>) =
        asked.take().iter().map(|range| range.1).partition(|bytes| *bytes > 64 << 10);
    let (large, small): (u64, u64) = (large.iter().sum(), small.iter().sum());
    let vectors = (ROWS * DIMS * 4) as u64;
    assert!(small > vectors, "{small}: chunks are verified");
    // Vectors once for each kind of codes made of them, and those codes.
    assert!((2 * vectors + 2 * vectors / 8..3 * vectors).contains(&large), "{large} of {vectors}");
}

#[test]
fn an_index_that_outgrows_the_memory_answers_as_before() {
    let files = MemoryVfs::new(64 << 20);
    let rows = clustered(ROWS + 200, DIMS, 3);
    let (first, second) = rows.split_at(500 * DIMS);
    let (index, asked) = open_as(&files, 2 << 20, &options(DIMS, Metric::L2));
    index.add_batch(first, &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    search(&index, &first[..DIMS], false);
    let fitted = index.stats().unwrap().mapped_bytes;
    assert_eq!((asked.take(), asked.seldom_maps.load(Ordering::Relaxed)), (vec![], 0));
    // Codes of rows since the fit are compared with those before it.
    let (second, third) = second.split_at((ROWS - 500) * DIMS);
    for rows in [second, third] {
        index.add_batch(rows, &BatchOptions::default()).unwrap();
        index.commit().unwrap();
    }
    asked.take();
    assert!(index.stats().unwrap().mapped_bytes > fitted, "a map for each way of reading");
    assert_ne!(asked.take(), vec![], "the rows of a sample are asked for");
    let compared = |index: &VectorIndex| {
        let (roomy, _) = open(&files, u64::MAX);
        for query in rows.chunks(DIMS).step_by(211) {
            assert_eq!(search(index, query, false), search(&roomy, query, false));
            assert_ne!(asked.take(), vec![]);
        }
        assert!(index.check(CheckLevel::Full).unwrap().is_ok());
    };
    compared(&index);
    let maps = asked.seldom_maps.load(Ordering::Relaxed);
    index.compact(&CompactOptions::default()).unwrap();
    compared(&index);
    assert!(asked.seldom_maps.load(Ordering::Relaxed) > maps, "the new file has one of its own");
}

#[test]
fn warming_reads_what_stays() {
    let (files, _) = built();
    let warmed = |memory| open(&files, memory).0.warm().unwrap().bytes;
    let file = files.bytes(Path::new("index")).unwrap().len() as u64;
    let (all, some) = (warmed(file), warmed(1 << 20));
    assert!(all > (ROWS * DIMS * 4) as u64 && all < file);
    assert!(some > (ROWS * 64) as u64 && some <= 1 << 20, "{some}");
    assert!(warmed(all) <= all - (ROWS * DIMS * 4) as u64, "no vectors unless all of the file fits");
    assert_eq!(warmed(0), 0);
}
