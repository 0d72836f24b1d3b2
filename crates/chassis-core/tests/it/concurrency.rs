//! Searches beside a writer: they never wait, never fail, and see only complete nodes.

use std::sync::atomic::{AtomicBool, Ordering};

use chassis_core::{BatchOptions, CheckLevel, Id, Metric, SearchOptions, VectorIndex};

use crate::support::{clustered, options, place};

#[test]
fn searches_run_while_another_thread_writes() {
    let (_dir, path) = place();
    let dims = 32;
    let index = VectorIndex::open(&path, &options(dims, Metric::L2)).unwrap();
    let rows = clustered(12_000, dims, 21);
    index.add_batch(&rows[..2_000 * dims], &BatchOptions::default()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let (index, done, rows) = (&index, &done, &rows);
            scope.spawn(move || {
                let mut at = thread as usize;
                while !done.load(Ordering::Relaxed) {
                    let query = &rows[at % 2_000 * dims..][..dims];
                    let hits = index.search(query, &SearchOptions { k: 5, ..Default::default() }).unwrap();
                    assert!(hits.distances[0] == 0.0, "row {at} is its own nearest: {hits:?}");
                    for (id, distance) in hits.ids.iter().zip(&hits.distances) {
                        let row = &rows[*id as usize * dims..][..dims];
                        let exact: f32 =
                            query.iter().zip(row).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
                        assert!((exact - distance).abs() <= 1e-3 * (1.0 + exact), "{exact} {distance}");
                    }
                    at += 7;
                }
            });
        }
        for (i, part) in rows[2_000 * dims..].chunks(500 * dims).enumerate() {
            index.add_batch(part, &BatchOptions::default()).unwrap();
            match i % 4 {
                0 => drop(index.commit().unwrap()),
                1 => drop(index.delete(&[Id::Integer(2_000 + i as u64 * 500)]).unwrap()),
                _ => {}
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    index.commit().unwrap();
    assert!(index.check(CheckLevel::Full).unwrap().is_ok());
}

#[test]
fn rows_of_far_clusters_find_themselves_as_an_index_grows() {
    // What a refine pass thinks of as needless, the only links between clusters, are what walks cross by.
    let dims = 32;
    let (_dir, path) = place();
    let index = VectorIndex::open(&path, &options(dims, Metric::L2)).unwrap();
    let rows = clustered(12_000, dims, 21);
    let mut lost = 0;
    for part in [0..2_000, 2_000..4_000, 4_000..7_000, 7_000..12_000] {
        let (from, to) = (part.start, part.end);
        index.add_batch(&rows[from * dims..to * dims], &BatchOptions::default()).unwrap();
        for query in rows[..to * dims].chunks(dims).step_by(2) {
            lost += (index.search(query, &SearchOptions::k(1)).unwrap().distances[0] != 0.0) as usize;
        }
    }
    assert!(lost == 0, "{lost} of 12,500 rows are not their own nearest");
}

#[test]
fn batch_search_equals_single_search_at_any_thread_count() {
    let (_dir, path) = place();
    let dims = 20;
    let index = VectorIndex::open(&path, &options(dims, Metric::Cosine)).unwrap();
    index.add_batch(&clustered(12_000, dims, 4), &BatchOptions::default()).unwrap();
    let queries = clustered(37, dims, 5);
    let search = SearchOptions::k(7);
    let singles: Vec<_> = queries.chunks(dims).map(|q| index.search(q, &search).unwrap()).collect();
    for threads in [1, 2, 5, 64] {
        assert_eq!(index.search_batch(&queries, &search, Some(threads)).unwrap(), singles);
    }
    assert!(index.search_batch(&[], &search, None).unwrap().is_empty());
}

#[test]
fn a_check_beside_a_writer_finds_nothing() {
    let (_dir, path) = place();
    let dims = 8;
    let index = VectorIndex::open(&path, &options(dims, Metric::L2)).unwrap();
    let rows = clustered(6_000, dims, 6);
    index.add_batch(&rows[..300 * dims], &BatchOptions::default()).unwrap();
    index.commit().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for part in rows[300 * dims..].chunks(50 * dims) {
                index.add_batch(part, &BatchOptions { threads: Some(1), ..Default::default() }).unwrap();
                index.commit().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let report = index.check(CheckLevel::Full).unwrap();
            assert!(report.is_ok(), "{:?}", &report.problems[..report.problems.len().min(3)]);
        }
    });
}

#[test]
fn a_get_beside_a_rollback_finds_the_record_or_nothing() {
    let (_dir, path) = place();
    let index = VectorIndex::open(&path, &options(4, Metric::L2)).unwrap();
    let (id, done) = (Id::Integer(7), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3_000 {
                index.add_record(Some(&id), &[1.0; 4], Some(b"payload")).unwrap();
                index.rollback().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            if let Some(record) = index.get(&id).unwrap() {
                assert_eq!((record.vector, record.payload), (vec![1.0; 4], Some(b"payload".to_vec())));
            }
        }
    });
}
