//! Faults that were reproduced in an engine with the same promises, each as a test that has to pass here: a kill
//! after a commit, another `m` on open, a text file, NaN, hostile numbers under good checksums, flipped bits.
//!
//! Subsets of the writes of a power cut are tested by the simulation (`tests/sim`), and that a search allocates
//! nothing by `tests/alloc.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chassis_core::internals::format::{Kind, meta};
use chassis_core::internals::storage::{MemoryVfs, OpenTuning, Vfs};
use chassis_core::{
    BatchOptions, CheckLevel, ErrorKind, Id, Metric, Mode, OpenOptions, SearchOptions, VectorIndex,
};

use crate::child::{Spoken, say};
use crate::support::{Rng, clustered, options, place, reopen};
use crate::surgery::Patient;

/// A committed index of `rows` vectors with cheap links, after a few commits and deletes.
pub fn sample(path: &Path, rows: usize, dimensions: usize) -> VectorIndex {
    let mut open = options(dimensions, Metric::L2);
    (open.m, open.ef_construction) = (Some(6), Some(24));
    let index = VectorIndex::open(path, &open).unwrap();
    for part in clustered(rows, dimensions, 31).chunks(dimensions * rows.div_ceil(3)) {
        index.add_batch(part, &BatchOptions::default()).unwrap();
        index.commit().unwrap();
    }
    index.delete(&[Id::Integer(3), Id::Integer(rows as u64 / 2)]).unwrap();
    index.commit().unwrap();
    index
}

fn assert_clean(index: &VectorIndex) {
    let report = index.check(CheckLevel::Full).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
}

/// The child of the test below: commits 2,000 vectors, adds 300 more, and waits for its end.
pub fn add_and_wait(path: &Path) {
    let index = VectorIndex::open(path, &options(16, Metric::L2)).unwrap();
    index.add_batch(&clustered(2_000, 16, 1), &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    for vector in clustered(300, 16, 2).chunks(16) {
        index.add(vector).unwrap();
    }
    say("added");
    loop {
        std::thread::park();
    }
}

#[test]
fn inserts_succeed_after_a_kill_with_uncommitted_vectors() {
    let (_dir, path) = place();
    let mut child = Spoken::role("add-and-wait", &path, 0);
    assert_eq!(child.next().as_deref(), Some("added"));
    child.kill();
    let index = reopen(&path, Mode::Open);
    assert_eq!(index.len().unwrap(), 2_000);
    assert_clean(&index);
    for (i, vector) in clustered(200, 16, 3).chunks(16).enumerate() {
        assert_eq!(index.add(vector).unwrap(), Id::Integer(2_000 + i as u64));
    }
    index.commit().unwrap();
    assert_eq!(index.len().unwrap(), 2_200);
    assert_clean(&index);
}

#[test]
fn another_m_on_open_is_refused_and_loses_nothing() {
    let (_dir, path) = place();
    sample(&path, 500, 8).close().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for mode in [Mode::OpenOrCreate, Mode::Open, Mode::ReadOnly] {
        let options = OpenOptions { mode, m: Some(12), ..Default::default() };
        let error = VectorIndex::open(&path, &options).err().expect("another m");
        assert_eq!(error.kind(), ErrorKind::OptionMismatch);
        assert!(error.message().contains("12") && error.message().contains('6'), "{error}");
    }
    assert!(std::fs::read(&path).unwrap() == bytes, "the file was touched");
    assert_eq!(reopen(&path, Mode::Open).len().unwrap(), 498);
}

#[test]
fn a_text_file_is_refused_and_not_touched() {
    let (_dir, path) = place();
    let text = b"forty bytes of text, not a vector index.";
    assert_eq!(text.len(), 40);
    std::fs::write(&path, text).unwrap();
    for mode in [Mode::OpenOrCreate, Mode::Open, Mode::ReadOnly] {
        let options = OpenOptions { mode, ..options(8, Metric::L2) };
        let error = VectorIndex::open(&path, &options).err().expect("a text file");
        assert_eq!(error.kind(), ErrorKind::NotADatabase, "{mode:?}");
    }
    let create = OpenOptions { mode: Mode::Create, ..options(8, Metric::L2) };
    assert_eq!(VectorIndex::open(&path, &create).err().unwrap().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), text);
}

#[test]
fn nan_is_an_error_and_leaves_the_index_as_it_was() {
    let (_dir, path) = place();
    let index = sample(&path, 500, 8);
    let query = [0.25; 8];
    let before = index.search(&query, &SearchOptions::k(20)).unwrap();
    for position in 0..8 {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut vector = [0.5; 8];
            vector[position] = bad;
            assert_eq!(index.add(&vector).err().unwrap().kind(), ErrorKind::InvalidVector);
            let batch = [[0.5; 8], vector].concat();
            let error = index.add_batch(&batch, &BatchOptions::default()).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidVector);
            let error = index.search(&vector, &SearchOptions::k(3)).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidQuery);
        }
    }
    assert_eq!(index.search(&query, &SearchOptions::k(20)).unwrap(), before);
    assert_eq!(index.len().unwrap(), 498);
    index.add(&query).unwrap();
    index.commit().unwrap();
    assert_clean(&index);
}

/// Uses an index in every way. Anything may come back, but something has to, and no panic.
fn use_all(bytes: &[u8], dimensions: usize) {
    let (vfs, path) = (MemoryVfs::new(8 << 20), PathBuf::from("hostile"));
    vfs.put(&path, bytes);
    let vfs: Arc<dyn Vfs> = vfs;
    let open = |mode| {
        let options = OpenOptions { mode, ..Default::default() };
        VectorIndex::open_with(&vfs, &path, &options, &OpenTuning::default())
    };
    if let Ok(index) = open(Mode::ReadOnly) {
        let query = vec![0.3; dimensions];
        for exact in [false, true] {
            let search = SearchOptions { k: 10, ef_search: Some(60), exact, ..Default::default() };
            if let Ok(hits) = index.search(&query, &search) {
                assert!(hits.len() <= 10);
            }
        }
        let _ = index.check(CheckLevel::Full);
        let _ = (0..40).filter(|id| index.get(&Id::Integer(id * 40)).is_ok()).count();
    }
    if let Ok(index) = open(Mode::Open) {
        let _ = index.delete(&[Id::Integer(5), Id::Integer(1_000)]);
        let added = (0..3).map_while(|i| index.add(&vec![i as f32; dimensions]).ok()).count();
        if added > 0 && index.commit().is_ok() {
            let _ = index.search(&vec![0.1; dimensions], &SearchOptions::k(5));
        }
    }
}

/// An index that is walked, not scanned, as bytes.
fn walked() -> (Patient, usize) {
    let (_dir, path) = place();
    let dimensions = 128;
    sample(&path, 1_700, dimensions).close().unwrap();
    (Patient::new(std::fs::read(&path).unwrap()), dimensions)
}

/// The field that once made a search hang, and every other number of a commit record and a descriptor.
#[test]
fn hostile_numbers_in_commits_and_catalogs_are_survived() {
    let (good, dimensions) = walked();
    use_all(&good.bytes, dimensions);
    let values = [
        0u64,
        1,
        7,
        31,
        32,
        255,
        4_000_000_000,
        u32::MAX as u64 - 1,
        u32::MAX as u64,
        1 << 47,
        u64::MAX - 1,
        u64::MAX,
    ];
    for &(name, at, len) in
        meta::LAYOUT.iter().filter(|f| !matches!(f.0, "magic" | "txn" | "crc" | "crc2" | "reserved"))
    {
        for value in values {
            let mut bad = good.clone();
            let mut block = bad.meta.encode();
            let len = len.min(8);
            block[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            bad.meta = meta::Meta::decode(&block, false).unwrap_or_else(|| panic!("{name}"));
            // Signing the catalog would set its checksum right: this one is about the record alone.
            let block = bad.meta.encode();
            for copy in [1 + (bad.meta.txn & 1), 3 + (bad.meta.txn & 1)] {
                let start = copy as usize * block.len();
                bad.bytes[start..start + block.len()].copy_from_slice(&block);
            }
            use_all(&bad.bytes, dimensions);
        }
    }
    let fields = chassis_core::internals::format::catalog::LAYOUT;
    for kind in [Kind::Lists, Kind::Upper, Kind::Nodes, Kind::Ids, Kind::Vectors, Kind::Heap, Kind::FreeList]
    {
        for &(_, at, len) in fields.iter().filter(|f| f.0 != "reserved") {
            for value in values.iter().step_by(2) {
                let mut bad = good.clone();
                let len = len.min(8);
                bad.descriptor(kind, at)[..len].copy_from_slice(&value.to_le_bytes()[..len]);
                bad.sign_commit();
                use_all(&bad.bytes, dimensions);
            }
        }
    }
}

/// Levels, slots, links, tree nodes and free runs of every sort of nonsense, under checksums that fit.
#[test]
fn hostile_words_in_pages_are_survived() {
    let (good, dimensions) = walked();
    let mut rng = Rng(77);
    let kinds = [Kind::Lists, Kind::Upper, Kind::Nodes, Kind::Live, Kind::Ids, Kind::FreeList, Kind::Vectors];
    for round in 0..400 {
        let mut bad = good.clone();
        let kind = kinds[round % kinds.len()];
        let units = bad.object(kind).units;
        for _ in 0..1 + rng.below(3) {
            let number = rng.below(units as usize) as u64;
            let content = bad.content(kind, number);
            let all = rng.below(8) == 0;
            let words = if all { 0..content.len() / 4 } else { at_random(&mut rng, content.len() / 4) };
            for word in words {
                let value =
                    [rng.next() as u32, rng.below(1_700) as u32, 0, u32::MAX, u32::MAX - 1][rng.below(5)];
                content[word * 4..word * 4 + 4].copy_from_slice(&value.to_le_bytes());
            }
            bad.sign(kind, number);
        }
        use_all(&bad.bytes, dimensions);
    }
}

/// One word, more often near the start, where counts are.
fn at_random(rng: &mut Rng, words: usize) -> std::ops::Range<usize> {
    let near = if rng.below(2) == 0 { 16.min(words) } else { words };
    let at = rng.below(near);
    at..at + 1
}

/// Flips one bit at a time. Each is noticed by opening or by a check, unless it hit a block that holds nothing.
#[test]
fn single_bit_flips_are_noticed() {
    let (_dir, path) = place();
    let rows = 400;
    let index = sample(&path, rows, 16);
    index.close().unwrap();
    let good = std::fs::read(&path).unwrap();
    let free = Patient::new(good.clone()).free_blocks();
    assert!(free.iter().filter(|f| !**f).count() * 4096 > 60_000, "most of the file is in use");
    let (mut rng, mut noticed, mut harmless) = (Rng(1_500), 0, 0);
    for _ in 0..1_500 {
        let bit = rng.below(good.len() * 8);
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let clean = seems_clean(&bytes, rows as u64 - 2);
        assert!(!clean || free[bit / 8 / 4096], "bit {} of byte {} went unnoticed", bit % 8, bit / 8);
        *(if clean { &mut harmless } else { &mut noticed }) += 1;
    }
    assert!(noticed > 500, "{noticed} noticed, {harmless} in free blocks");
}

/// Whether opening and checking find nothing wrong. A file that opens is never taken for an empty one.
fn seems_clean(bytes: &[u8], live: u64) -> bool {
    let (vfs, path) = (MemoryVfs::new(0), PathBuf::from("flipped"));
    vfs.put(&path, bytes);
    let vfs: Arc<dyn Vfs> = vfs;
    let options = OpenOptions { mode: Mode::ReadOnly, ..Default::default() };
    let Ok(index) = VectorIndex::open_with(&vfs, &path, &options, &OpenTuning::default()) else {
        return false;
    };
    let _ = index.search(&[0.2; 16], &SearchOptions { k: 5, ef_search: Some(50), ..Default::default() });
    let Ok(stats) = index.stats() else { return false };
    let fallen_back = stats.recovered_previous_commit;
    assert!(fallen_back || stats.count == live, "{} vectors", stats.count);
    index.check(CheckLevel::Full).is_ok_and(|report| report.is_ok() && report.notes.is_empty())
        && !fallen_back
}
