//! An open does no work: what it reads does not grow with the index.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chassis_core::internals::format::{BLOCK, Kind};
use chassis_core::internals::storage::{MemoryVfs, OpenTuning, Vfs};
use chassis_core::{
    BatchOptions, ErrorKind, Id, Metric, Mode, OpenOptions, Quantization, SearchOptions, VectorIndex,
};

use crate::larger::open_as;
use crate::support::{clustered, options};
use crate::surgery::Patient;

const DIMENSIONS: usize = 16;

/// A file of so many rows with codes, a recall table, payloads, tombstones and a free list.
fn built(rows: usize) -> Arc<MemoryVfs> {
    let files = MemoryVfs::new(64 << 20);
    let vfs: Arc<dyn Vfs> = files.clone();
    let open = OpenOptions {
        quantization: Some(Quantization::Bits4),
        m: Some(4),
        ef_construction: Some(16),
        ..options(DIMENSIONS, Metric::L2)
    };
    let tuning = OpenTuning { codes_from: Some(100), ..OpenTuning::default() };
    let index = VectorIndex::open_with(&vfs, Path::new("index"), &open, &tuning).expect("it opens");
    let payloads = vec![Some(&b"some text beside a vector"[..]); rows / 2];
    for part in clustered(rows, DIMENSIONS, 3).chunks(rows / 2 * DIMENSIONS) {
        let batch = BatchOptions { payloads: Some(&payloads), ..Default::default() };
        index.add_batch(part, &batch).expect("the rows are added");
        index.commit().expect("a commit");
    }
    let gone: Vec<Id> = (0..rows as u64).step_by(7).map(Id::Integer).collect();
    index.delete(&gone).expect("they are deleted");
    index.commit().expect("a commit");
    files
}

#[test]
fn an_open_reads_as_much_of_a_small_file_as_of_a_large_one() {
    let (small, large) = (built(120), built(12_000));
    let length = |files: &MemoryVfs| files.bytes(Path::new("index")).expect("a file").len();
    assert!(length(&large) > 10 * length(&small), "{} and {}", length(&small), length(&large));
    for mode in [Mode::ReadOnly, Mode::Open] {
        let open = OpenOptions { mode, ..Default::default() };
        for memory in [u64::MAX, 0] {
            let read = [&small, &large].map(|files| {
                let (_index, asked) = open_as(files, memory, &open);
                assert_eq!(asked.take(), vec![], "nothing is asked for ahead");
                asked.bytes_read.load(Ordering::Relaxed)
            });
            assert_eq!(read[0], read[1], "{mode:?}");
            // The header, the commit records, which a reader looks at twice, and the catalog.
            assert!((6..=10).contains(&(read[0] / BLOCK as u64)), "{mode:?}: {} bytes", read[0]);
        }
    }
}

/// What is read through a map is not counted. Here nothing else can have been read.
#[test]
fn an_open_looks_at_nothing_but_header_commit_records_and_catalog() {
    let files = built(3_000);
    let path = Path::new("index");
    let whole = files.bytes(path).expect("a file");
    let patient = Patient::new(whole.clone());
    let catalog = patient.meta.catalog.block as usize;
    for kind in [Kind::Model, Kind::Codes4, Kind::EntryBlock, Kind::Calibration, Kind::FreeList] {
        assert!(patient.object(kind).units > 0, "there is none of {kind:?}");
    }
    let mut bytes = whole;
    for (number, block) in bytes.chunks_mut(BLOCK).enumerate() {
        if number >= 5 && number != catalog {
            block.fill(0xa5);
        }
    }
    files.put(path, &bytes);
    for mode in [Mode::ReadOnly, Mode::Open] {
        let open = OpenOptions { mode, ..Default::default() };
        let (index, _) = open_as(&files, u64::MAX, &open);
        assert_eq!(index.len().expect("open"), 3_000 - 3_000u64.div_ceil(7), "{mode:?}");
        assert_eq!(index.dimensions().expect("open"), DIMENSIONS);
        let error = index.search(&[0.5; DIMENSIONS], &SearchOptions::k(1)).expect_err("nothing is left");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{mode:?}");
    }
}
