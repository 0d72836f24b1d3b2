//! A newest commit of which no copy of the record can be read: what the next writer may use again, and how long it is
//! spoken of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chassis_core::internals::format::BLOCK;
use chassis_core::internals::storage::{MemoryVfs, OpenTuning, Vfs};
use chassis_core::{BatchOptions, CheckLevel, Metric, Mode, OpenOptions, VectorIndex};

use crate::support::{clustered, options};

fn open(memory: &Arc<MemoryVfs>, mode: Mode) -> VectorIndex {
    let vfs: Arc<dyn Vfs> = memory.clone();
    let open = OpenOptions { mode, ..options(8, Metric::L2) };
    VectorIndex::open_with(&vfs, Path::new("index"), &open, &OpenTuning::default()).unwrap()
}

/// An index after a few commits, and the number of the last one.
fn made() -> (Arc<MemoryVfs>, u64) {
    let memory = MemoryVfs::new(8 << 20);
    let writer = open(&memory, Mode::OpenOrCreate);
    for seed in 0..6 {
        writer.add_batch(&clustered(60, 8, seed), &BatchOptions::default()).unwrap();
        writer.commit().unwrap();
    }
    let last = writer.stats().unwrap().commit;
    (memory, last)
}

/// Damages both copies of the record of a commit, in place.
fn lose(memory: &Arc<MemoryVfs>, commit: u64) {
    use chassis_core::internals::storage::backend::Access;
    let file = memory.open(&PathBuf::from("index"), Access::ReadWrite).unwrap();
    for block in [1 + (commit & 1), 3 + (commit & 1)] {
        file.write_at(&[0x55; 16], block * BLOCK as u64 + 100).unwrap();
    }
}

fn change(writer: &VectorIndex, version: u64) {
    writer.set_user_version(version).unwrap();
    writer.commit().unwrap();
}

fn blocks(memory: &Arc<MemoryVfs>) -> u64 {
    let bytes = memory.bytes(Path::new("index")).unwrap();
    crate::surgery::Patient::new(bytes).meta.blocks
}

#[test]
fn freed_blocks_are_used_again_after_a_commit_was_lost() {
    let (memory, last) = made();
    lose(&memory, last);
    let writer = open(&memory, Mode::Open);
    let stats = writer.stats().unwrap();
    assert_eq!((stats.commit, stats.recovered_previous_commit), (last - 1, true));
    (1..9).for_each(|version| change(&writer, version));
    let before = blocks(&memory);
    (0..40).for_each(|version| change(&writer, version));
    assert_eq!(blocks(&memory), before, "the file grows with each commit");
    assert!(writer.check(CheckLevel::Full).unwrap().is_ok());
}

#[test]
fn a_reader_of_the_lost_commit_keeps_its_blocks() {
    let (memory, last) = made();
    let reader = open(&memory, Mode::ReadOnly);
    assert_eq!(reader.stats().unwrap().commit, last);
    lose(&memory, last);
    let writer = open(&memory, Mode::Open);
    for round in 0..12 {
        writer.add_batch(&clustered(20, 8, 100 + round), &BatchOptions::default()).unwrap();
        writer.commit().unwrap();
    }
    // The reader has touched next to nothing yet: all of it is read now.
    let found = reader.check(CheckLevel::Full).unwrap();
    assert!(found.is_ok(), "{:?}", found.problems);
    assert_eq!(reader.len().unwrap(), 360);
    drop(reader);
    (1..9).for_each(|version| change(&writer, version));
    let before = blocks(&memory);
    (0..40).for_each(|version| change(&writer, version));
    assert_eq!(blocks(&memory), before, "nobody has the lost commit any more");
    assert!(writer.check(CheckLevel::Full).unwrap().is_ok());
}

#[test]
fn a_lost_commit_is_reported_until_another_takes_its_number() {
    let (memory, last) = made();
    lose(&memory, last);
    for mode in [Mode::ReadOnly, Mode::Open, Mode::ReadOnly] {
        assert!(open(&memory, mode).stats().unwrap().recovered_previous_commit, "nothing was written yet");
    }
    let writer = open(&memory, Mode::Open);
    for version in 1..4 {
        change(&writer, version);
        let reader = open(&memory, Mode::ReadOnly);
        assert!(!reader.stats().unwrap().recovered_previous_commit, "after {version} commits");
        assert!(reader.check(CheckLevel::Full).unwrap().notes.is_empty());
    }
    drop(writer);
    assert!(!open(&memory, Mode::Open).stats().unwrap().recovered_previous_commit);
}
