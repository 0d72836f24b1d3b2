//! `warm` reads what searches need, tells damage, can be stopped, and is in nobody's way.

use std::sync::atomic::{AtomicBool, Ordering};

use chassis_core::internals::format::Kind;
use chassis_core::internals::format::{BLOCK, Descriptor};
use chassis_core::{
    BatchOptions, CheckLevel, ErrorKind, Id, Metric, Mode, OpenOptions, SearchOptions, VectorIndex,
    WarmOptions,
};

use crate::support::{clustered, options, place, reopen};
use crate::surgery::Patient;

const DIMS: usize = 16;

fn built(path: &std::path::Path, rows: usize) -> VectorIndex {
    let index = VectorIndex::open(path, &options(DIMS, Metric::L2)).unwrap();
    index.add_batch(&clustered(rows, DIMS, 1), &BatchOptions::default()).unwrap();
    index
}

#[test]
fn it_reads_the_index_and_changes_no_answer() {
    let (_dir, path) = place();
    let index = built(&path, 3_000);
    let queries = clustered(20, DIMS, 2);
    let before = index.search_batch(&queries, &SearchOptions::k(10), None).unwrap();
    assert_eq!(index.warm().unwrap().bytes, 0, "nothing is in the file yet");
    index.commit().unwrap();
    let bytes = index.warm().unwrap().bytes;
    assert!(bytes > (3_000 * DIMS * 4) as u64 && bytes < index.stats().unwrap().file_bytes, "{bytes} bytes");
    assert_eq!(index.warm().unwrap().bytes, bytes, "what the system dropped meanwhile is read again");
    index.delete(&[Id::Integer(5)]).unwrap();
    assert_eq!(index.warm().unwrap().bytes, bytes, "beside a transaction");
    index.rollback().unwrap();
    assert_eq!(index.search_batch(&queries, &SearchOptions::k(10), None).unwrap(), before);
    index.close().unwrap();
    assert_eq!(index.warm().unwrap_err().kind(), ErrorKind::Closed);
    let reader = reopen(&path, Mode::ReadOnly);
    assert_eq!(reader.warm().unwrap().bytes, bytes);
    assert_eq!(reader.search_batch(&queries, &SearchOptions::k(10), None).unwrap(), before);
}

#[test]
fn an_empty_index_has_nothing_to_read() {
    let (_dir, path) = place();
    let index = VectorIndex::open(&path, &options(2, Metric::Cosine)).unwrap();
    assert_eq!(index.warm().unwrap().bytes, 0);
}

#[test]
fn codes_are_read_too() {
    let (_dir, path) = place();
    let index = built(&path, 500);
    index.commit().unwrap();
    let without = index.warm().unwrap().bytes;
    let blocks = index
        .with_store(|store| {
            let mut txn = store.txn().unwrap();
            let codes = Descriptor {
                generation: 1,
                bits: 4,
                dimension: 4,
                ..Descriptor::rows(Kind::Codes4, 64, 4096)
            };
            txn.replace(codes).unwrap();
            (0..500).for_each(|row| txn.put_row(Kind::Codes4, row, &[7; 64]).unwrap());
            txn.publish_rows(Kind::Codes4, 500).unwrap();
            txn.commit().unwrap();
            (64 * 500_usize).div_ceil(BLOCK)
        })
        .unwrap();
    assert_eq!(index.warm().unwrap().bytes, without + (blocks * BLOCK) as u64);
}

#[test]
fn it_can_be_stopped() {
    let (_dir, path) = place();
    let index = built(&path, 300);
    index.commit().unwrap();
    let cancel = AtomicBool::new(true);
    let options = WarmOptions { cancel: Some(&cancel) };
    assert_eq!(index.warm_with(&options).unwrap_err().kind(), ErrorKind::Cancelled);
    cancel.store(false, Ordering::Relaxed);
    assert!(index.warm_with(&options).unwrap().bytes > 0);
}

#[test]
fn damage_is_an_error_with_a_type() {
    let (_dir, path) = place();
    built(&path, 600).commit().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for kind in [Kind::Lists, Kind::Upper, Kind::Nodes, Kind::Live, Kind::Vectors] {
        let mut patient = Patient::new(whole.clone());
        patient.content(kind, 0)[5] ^= 1;
        std::fs::write(&path, &patient.bytes).unwrap();
        let index = reopen(&path, Mode::ReadOnly);
        assert_eq!(index.warm().unwrap_err().kind(), ErrorKind::Corrupt, "{kind:?}");
    }
}

#[test]
fn it_disturbs_neither_searches_nor_a_writer() {
    let (_dir, path) = place();
    let index = built(&path, 2_000);
    index.commit().unwrap();
    let done = AtomicBool::new(false);
    let queries = clustered(8, DIMS, 3);
    std::thread::scope(|scope| {
        let warming = scope.spawn(|| {
            let mut runs = 0;
            while !done.load(Ordering::Acquire) || runs == 0 {
                assert!(index.warm().unwrap().bytes > 0);
                runs += 1;
            }
        });
        let searching = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let hits = index.search_batch(&queries, &SearchOptions::k(5), Some(1)).unwrap();
                assert!(hits.iter().all(|hits| hits.len() == 5));
            }
        });
        for seed in 0..30 {
            index.add_batch(&clustered(100, DIMS, 10 + seed), &BatchOptions::default()).unwrap();
            index.delete(&[Id::Integer(seed)]).unwrap();
            index.commit().unwrap();
        }
        done.store(true, Ordering::Release);
        warming.join().unwrap();
        searching.join().unwrap();
    });
    index.close().unwrap();
    let index = VectorIndex::open(&path, &OpenOptions::default()).unwrap();
    assert!(index.check(CheckLevel::Full).unwrap().is_ok());
    assert_eq!(index.len().unwrap(), 2_000 + 30 * 99);
}
