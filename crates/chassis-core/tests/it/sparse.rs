//! Sparse files that claim as much as their length allows: any length costs nothing, so no number of theirs may size
//! memory that ends the process where it is not to be had, or that is touched.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use chassis_core::internals::format::{BLOCK, Kind, catalog, meta::MAX_NODES};
use chassis_core::{
    CheckLevel, CompactOptions, ErrorKind, Id, Mode, OpenOptions, Result, SearchOptions, VectorIndex,
};

use crate::faults::sample;
use crate::support::place;
use crate::surgery::Patient;

const DIMS: usize = 16;

/// Stores a number in a field of a descriptor.
fn set(patient: &mut Patient, kind: Kind, field: &str, value: u64) {
    let &(_, at, len) = catalog::LAYOUT.iter().find(|f| f.0 == field).expect("a field");
    patient.descriptor(kind, at)[..len].copy_from_slice(&value.to_le_bytes()[..len]);
}

/// What a commit of `blocks` blocks can claim at most, by name.
fn lies(good: &Patient, blocks: u64) -> Vec<(&'static str, Patient)> {
    let room = blocks - 1_000;
    let paged = |kind| {
        let mut bad = good.clone();
        set(&mut bad, kind, "units", room.min(1 << 32));
        bad
    };
    let mut bytes = good.clone();
    let rows = room.saturating_mul(BLOCK as u64).min(1 << 48);
    let per_chunk = 1u64 << good.object(Kind::Heap).chunk_shift;
    set(&mut bytes, Kind::Heap, "rows", rows);
    set(&mut bytes, Kind::Heap, "units", rows.div_ceil(per_chunk));
    let mut tiny = good.clone();
    set(&mut tiny, Kind::Heap, "chunk_shift", 0);
    set(&mut tiny, Kind::Heap, "rows", room.min(1 << 48));
    set(&mut tiny, Kind::Heap, "units", room.min(1 << 48));
    let mut nodes = good.clone();
    set(&mut nodes, Kind::Vectors, "rows", MAX_NODES);
    let per_chunk = 1u64 << good.object(Kind::Vectors).chunk_shift;
    set(&mut nodes, Kind::Vectors, "units", MAX_NODES.div_ceil(per_chunk));
    (nodes.meta.node_count, nodes.meta.live_count) = (MAX_NODES, MAX_NODES);
    vec![
        ("lists", paged(Kind::Lists)),
        ("upper lists", paged(Kind::Upper)),
        ("records", paged(Kind::Nodes)),
        ("ids", paged(Kind::Ids)),
        ("free list", paged(Kind::FreeList)),
        ("heap", bytes),
        ("heap of tiny chunks", tiny),
        ("nodes", nodes),
    ]
}

/// Every way to read it and to write to it: an answer or an error of the right sort, soon.
fn use_all(path: &Path, what: &str) {
    fn sorted<T>(outcome: Result<T>, what: &str) -> Option<T> {
        let kinds = [ErrorKind::Corrupt, ErrorKind::Io, ErrorKind::DiskFull, ErrorKind::CapacityExceeded];
        outcome.map_err(|e| assert!(kinds.contains(&e.kind()), "{what}: {e}")).ok()
    }
    let open = |mode| VectorIndex::open(path, &OpenOptions { mode, ..Default::default() });
    if let Some(index) = sorted(open(Mode::ReadOnly), what) {
        for exact in [false, true] {
            let search = SearchOptions { k: 10, ef_search: Some(60), exact, ..Default::default() };
            sorted(index.search(&[0.3; DIMS], &search), what);
        }
        if let Some(report) = sorted(index.check(CheckLevel::Full), what) {
            assert!(!report.is_ok(), "{what}: a lie that nobody noticed");
        }
        sorted(index.get(&Id::Integer(7)), what);
        sorted(index.stats(), what);
        sorted(index.warm(), what);
    }
    if let Some(index) = sorted(open(Mode::Open), what) {
        if sorted(index.add(&[0.5; DIMS]), what).is_some() {
            sorted(index.commit(), what);
        }
        let _ = index.rollback();
        sorted(index.compact(&CompactOptions::default()), what);
    }
}

#[test]
fn sparse_files_that_claim_all_their_length_are_survived() {
    let (_dir, path) = place();
    sample(&path, 600, DIMS).close().expect("it closes");
    let mut good = Patient::new(std::fs::read(&path).expect("the file"));
    let file = File::options().write(true).open(&path).expect("the file");
    // As long as the file system lets a file be.
    let lengths = [1 << 60, 1 << 50, (1 << 44) - BLOCK as u64, 1 << 43, 1 << 40, 1 << 36];
    let Some(len) = lengths.into_iter().find(|len| file.set_len(*len).is_ok()) else { return };
    good.meta.blocks = len / BLOCK as u64;
    for (what, mut bad) in lies(&good, good.meta.blocks) {
        bad.sign_commit();
        let file = File::options().write(true).create(true).truncate(true).open(&path).expect("a file");
        file.write_all_at(&bad.bytes, 0).expect("a write");
        file.set_len(len).expect("a length");
        use_all(&path, what);
    }
}
