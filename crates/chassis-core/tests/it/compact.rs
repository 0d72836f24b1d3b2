//! Compaction: what is kept, what is given back, and who else may be at the file meanwhile.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis_core::internals::format::BLOCK;
use chassis_core::internals::storage::{MemoryVfs, OpenTuning, Vfs};
use chassis_core::{
    BatchOptions, CheckLevel, CompactOptions, ErrorKind, Id, IdType, Metric, Mode, OpenOptions, Record,
    SearchOptions, VectorIndex,
};

use crate::support::{Rng, clustered, options, place, reopen};

const PLAIN: CompactOptions<'static> = CompactOptions { threads: None, progress: None, cancel: None };

fn assert_clean(index: &VectorIndex) {
    let report = index.check(CheckLevel::Full).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
}

/// Rows with ids that do not ascend, every third with a payload; the first half of the rows deleted.
fn worn(path: &Path, rows: usize, dimensions: usize) -> VectorIndex {
    let index = VectorIndex::open(path, &options(dimensions, Metric::L2)).unwrap();
    let ids: Vec<Id> = (0..rows as u64).map(|i| Id::Integer(i * 7_919 % 1_000_003)).collect();
    let texts: Vec<Vec<u8>> = (0..rows).map(|i| vec![i as u8; i % 300]).collect();
    let payloads: Vec<_> = texts.iter().enumerate().map(|(i, t)| (i % 3 == 0).then_some(&t[..])).collect();
    let options = BatchOptions { ids: Some(&ids), payloads: Some(&payloads), ..Default::default() };
    index.add_batch(&clustered(rows, dimensions, 5), &options).unwrap();
    index.set_user_version(77).unwrap();
    index.commit().unwrap();
    index.delete(&ids[..rows / 2]).unwrap();
    index.commit().unwrap();
    index
}

fn records(index: &VectorIndex, ids: impl Iterator<Item = Id>) -> BTreeMap<Id, Record> {
    ids.filter_map(|id| index.get(&id).unwrap().map(|record| (id, record))).collect()
}

fn left_overs(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|found| found != path).collect()
}

#[test]
fn records_stay_and_space_is_given_back() {
    let (_dir, path) = place();
    let index = worn(&path, 6_000, 32);
    let all = || (0..6_000u64).map(|i| Id::Integer(i * 7_919 % 1_000_003));
    let (before, stats) = (records(&index, all()), index.stats().unwrap());
    assert_eq!(before.len(), 3_000);
    let told = std::sync::Mutex::new(vec![]);
    let progress = |done: usize, total: usize| told.lock().unwrap().push((done, total));
    let report = index.compact(&CompactOptions { progress: Some(&progress), ..PLAIN }).unwrap();
    assert_eq!((report.records, report.removed), (3_000, 3_000));
    assert_eq!(report.bytes_before, stats.file_bytes);
    assert_eq!(report.bytes_after, std::fs::metadata(&path).unwrap().len());
    assert!(report.bytes_after * 10 < report.bytes_before * 7, "{report:?}");
    assert!(report.commit > stats.commit);
    let told = told.into_inner().unwrap();
    assert!(told.windows(2).all(|w| w[0].0 <= w[1].0), "{told:?}");
    assert_eq!(told.last(), Some(&(3_000, 3_000)));
    for index in [index.clone(), reopen(&path, Mode::ReadOnly)] {
        let now = index.stats().unwrap();
        assert_eq!((now.count, now.deleted, now.user_version), (3_000, 0, 77));
        assert_eq!((now.commit, now.recovered_previous_commit), (report.commit, false));
        assert_eq!(records(&index, all()), before);
        assert_clean(&index);
        for (id, record) in before.iter().take(300) {
            assert_eq!(index.search(&record.vector, &SearchOptions::k(1)).unwrap().id(0), *id);
        }
    }
    assert_eq!(left_overs(&path), Vec::<PathBuf>::new());
    // The largest id is gone, and still not given out again.
    let largest = all().max().unwrap();
    index.delete(std::slice::from_ref(&largest)).unwrap();
    index.compact(&PLAIN).unwrap();
    let Id::Integer(largest) = largest else { unreachable!() };
    assert_eq!(index.add(&[0.5; 32]).unwrap(), Id::Integer(largest + 1));
    assert!(index.commit().unwrap() > report.commit);
}

#[test]
fn equal_content_makes_equal_graphs_on_any_number_of_threads() {
    let dims = 100;
    let rows = clustered(2_600, dims, 9);
    let build = |parts: usize, noise: u64, threads: usize| {
        let (dir, path) = place();
        let index = VectorIndex::open(&path, &options(dims, Metric::Cosine)).unwrap();
        let mut order: Vec<usize> = (0..2_600).collect();
        let mut rng = Rng(noise);
        (1..order.len()).rev().for_each(|i| order.swap(i, rng.below(i + 1)));
        for part in order.chunks(2_600 / parts) {
            let ids: Vec<Id> = part.iter().map(|i| Id::Integer(*i as u64)).collect();
            let vectors: Vec<f32> = part.iter().flat_map(|i| &rows[i * dims..][..dims]).copied().collect();
            index.add_batch(&vectors, &BatchOptions { ids: Some(&ids), ..Default::default() }).unwrap();
        }
        index.commit().unwrap();
        index.compact(&CompactOptions { threads: Some(threads), ..PLAIN }).unwrap();
        drop(index);
        let bytes = std::fs::read(&path).unwrap();
        drop(dir);
        bytes
    };
    let one = build(1, 1, 1);
    for (parts, noise, threads) in [(1, 2, 2), (2, 3, 3), (4, 4, 8)] {
        let other = build(parts, noise, threads);
        // Each was committed once before, so even the numbers of commits are the same.
        assert!(one == other, "{parts} parts in order {noise} on {threads} threads");
    }
}

#[test]
fn nothing_and_string_ids_compact_as_well() {
    let (_dir, path) = place();
    let open = OpenOptions { id_type: Some(IdType::String), ..options(8, Metric::L2) };
    let index = VectorIndex::open(&path, &open).unwrap();
    let empty = index.compact(&PLAIN).unwrap();
    assert_eq!((empty.records, empty.removed), (0, 0));
    assert_clean(&index);
    let ids: Vec<Id> = (0..900).map(|i| Id::String(format!("doc-{}-{}", i % 7, i * 31 % 900))).collect();
    let vectors = clustered(900, 8, 2);
    index.add_batch(&vectors, &BatchOptions { ids: Some(&ids), ..Default::default() }).unwrap();
    index.delete(&ids[100..400]).unwrap();
    // What was not committed is committed first.
    let report = index.compact(&PLAIN).unwrap();
    assert_eq!((report.records, report.removed), (600, 300));
    assert!(report.commit > empty.commit);
    let index = {
        drop(index);
        reopen(&path, Mode::Open)
    };
    assert_clean(&index);
    for (i, id) in ids.iter().enumerate() {
        let found = index.get(id).unwrap().map(|record| record.vector);
        assert_eq!(found.as_deref(), (!(100..400).contains(&i)).then_some(&vectors[i * 8..][..8]), "{id}");
    }
    index.delete(&ids).unwrap();
    assert_eq!(index.compact(&PLAIN).unwrap().records, 0);
    assert_clean(&index);
    assert!(index.search(&[0.0; 8], &SearchOptions::k(3)).unwrap().is_empty());
    index.add_record(Some(&ids[0]), &[1.0; 8], None).unwrap();
    index.commit().unwrap();
    assert_eq!(reopen(&path, Mode::ReadOnly).len().unwrap(), 1);
}

#[test]
fn histories_with_compactions_follow_a_map() {
    for seed in 0..6 {
        let (vfs, path) = (MemoryVfs::new(4 << 20), Path::new("index"));
        let vfs: Arc<dyn Vfs> = vfs;
        let tuning = OpenTuning { portion: Some(500), codes_from: Some(60), ..Default::default() };
        let open = |mode| {
            let options =
                OpenOptions { mode, m: Some(4), ef_construction: Some(24), ..options(6, Metric::L2) };
            VectorIndex::open_with(&vfs, path, &options, &tuning).unwrap()
        };
        let (mut rng, mut model, mut next) = (Rng(seed), BTreeMap::new(), 0u64);
        let (mut index, mut reader, mut last) = (open(Mode::Create), open(Mode::ReadOnly), 0);
        for step in 0..120 {
            match rng.below(9) {
                0..=3 => {
                    let rows = 1 + rng.below(12);
                    let vectors: Vec<f32> = (0..rows * 6).map(|_| rng.unit()).collect();
                    // Ids given before a kill were never seen by anybody, and may be given again.
                    let ids = index.add_batch(&vectors, &BatchOptions::default()).unwrap();
                    for (id, row) in ids.into_iter().zip(vectors.chunks(6)) {
                        let Id::Integer(id) = id else { unreachable!("ids are integers") };
                        assert!(model.insert(id, row.to_vec()).is_none(), "id {id} was given twice");
                        next = next.max(id + 1);
                    }
                }
                4 | 5 => {
                    for _ in 0..rng.below(10) {
                        let id = rng.below(next.max(1) as usize) as u64;
                        let there = model.remove(&id).is_some();
                        assert_eq!(index.delete(&[Id::Integer(id)]).unwrap(), there as usize);
                    }
                }
                6 => {
                    drop(index);
                    index = open(Mode::Open);
                    model = reader_model(&index, next);
                }
                7 => drop(index.commit().unwrap()),
                _ => {
                    let report = index.compact(&PLAIN).unwrap();
                    assert_eq!(report.records, model.len() as u64, "seed {seed}, step {step}");
                    assert!(report.commit > last);
                    last = report.commit;
                    assert!(reader.refresh().unwrap(), "seed {seed}, step {step}");
                    assert_eq!(reader_model(&reader, next), model, "seed {seed}, step {step}");
                    if rng.below(3) == 0 {
                        reader = open(Mode::ReadOnly);
                    }
                }
            }
            if step % 10 == 9 {
                assert_clean(&index);
            }
            assert_eq!(index.len().unwrap(), model.len() as u64, "seed {seed}, step {step}");
        }
        assert_eq!(reader_model(&index, next), model);
    }
}

fn reader_model(index: &VectorIndex, next: u64) -> BTreeMap<u64, Vec<f32>> {
    let get = |id| index.get(&Id::Integer(id)).unwrap().map(|record| (id, record.vector));
    (0..next).filter_map(get).collect()
}

#[test]
fn searches_go_on_and_readers_follow_when_told() {
    let (_dir, path) = place();
    let index = worn(&path, 6_000, 32);
    let (reader, stays) = (reopen(&path, Mode::ReadOnly), reopen(&path, Mode::ReadOnly));
    let query = clustered(6_000, 32, 5)[5_000 * 32..][..32].to_vec();
    let nearest = |index: &VectorIndex| index.search(&query, &SearchOptions::k(1)).unwrap().id(0);
    let (expected, done, searches) = (nearest(&index), AtomicBool::new(false), std::sync::Mutex::new(0));
    let asked = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            asked.wait();
            while !done.load(Ordering::Relaxed) {
                assert_eq!(nearest(&index), expected);
                *searches.lock().unwrap() += 1;
            }
        });
        let told = AtomicBool::new(false);
        let progress = |_, _| {
            // In the midst of it: the search above runs now.
            if !told.swap(true, Ordering::Relaxed) {
                asked.wait();
            }
        };
        index.compact(&CompactOptions { progress: Some(&progress), ..PLAIN }).unwrap();
        done.store(true, Ordering::Relaxed);
    });
    assert!(*searches.lock().unwrap() > 0, "no search beside the compaction");
    index.delete(std::slice::from_ref(&expected)).unwrap();
    index.commit().unwrap();
    assert_eq!(nearest(&stays), expected, "an old reader keeps its answers");
    assert_eq!(nearest(&reader), expected);
    assert!(reader.refresh().unwrap());
    assert_ne!(nearest(&reader), expected);
    assert!(!reader.refresh().unwrap(), "there is nothing newer");
    assert_clean(&reader);
    assert_clean(&stays);
    index.add(&[0.0; 32]).unwrap();
    index.commit().unwrap();
    assert!(reader.refresh().unwrap(), "a commit in the new file");
    assert_eq!(reader.len().unwrap(), 3_000);
}

#[test]
fn a_file_of_another_shape_is_not_followed() {
    let (dir, path) = place();
    let index = worn(&path, 100, 8);
    let reader = reopen(&path, Mode::ReadOnly);
    let other = dir.path().join("other");
    drop(VectorIndex::open(&other, &options(9, Metric::L2)).unwrap());
    std::fs::rename(&other, &path).unwrap();
    assert_eq!(reader.refresh().unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(reader.len().unwrap(), 50);
    // Nor does a compaction put its file over one that is not its own.
    assert_eq!(index.compact(&PLAIN).unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(reopen(&path, Mode::ReadOnly).dimensions().unwrap(), 9);
    assert_eq!(index.len().unwrap(), 50);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(index.compact(&PLAIN).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(left_overs(&path), Vec::<PathBuf>::new());
}

/// Runs `during` on a thread of its own from the midst of a compaction, which goes on when the other thread has had
/// time to get to where it has to wait. If it did not get there the test proves less, but does not fail.
fn beside<T: Send>(index: &VectorIndex, during: impl FnOnce(&VectorIndex) -> T + Send) -> T {
    let (begin, started) = (std::sync::Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let begin = &begin;
        let other = scope.spawn(move || {
            begin.wait();
            during(index)
        });
        let progress = |_, _| {
            if !started.swap(true, Ordering::Relaxed) {
                begin.wait();
                (0..1_000).for_each(|_| std::thread::yield_now());
            }
        };
        index.compact(&CompactOptions { progress: Some(&progress), threads: Some(1), ..PLAIN }).unwrap();
        other.join().unwrap()
    })
}

#[test]
fn writes_that_waited_go_to_the_new_file() {
    let (_dir, path) = place();
    let index = worn(&path, 3_000, 16);
    let next = 1_000_003;
    beside(&index, |index| {
        let id = index.add_record(Some(&Id::Integer(next)), &[9.0; 16], Some(b"kept")).unwrap();
        index.delete(&[Id::Integer(1_600 * 7_919 % 1_000_003)]).unwrap();
        index.set_user_version(78).unwrap();
        index.commit().unwrap();
        assert_eq!(id, Id::Integer(next));
    });
    beside(&index, |index| {
        index.rollback().unwrap();
        assert_clean(index);
    });
    drop(index);
    let index = reopen(&path, Mode::Open);
    assert_eq!(index.len().unwrap(), 1_500);
    assert_eq!(index.user_version().unwrap(), 78);
    assert_eq!(index.get(&Id::Integer(next)).unwrap().unwrap().payload.as_deref(), Some(&b"kept"[..]));
    assert_clean(&index);
}

#[test]
fn a_second_compaction_waits_and_works_on_the_new_file() {
    let (_dir, path) = place();
    let index = worn(&path, 3_000, 16);
    let report = beside(&index, |index| index.compact(&PLAIN).unwrap());
    assert_eq!((report.records, report.removed), (1_500, 0));
    assert_eq!(index.stats().unwrap().commit, report.commit);
    assert_clean(&index);
    assert_eq!(left_overs(&path), Vec::<PathBuf>::new());
}

#[test]
fn a_close_lets_a_compaction_finish() {
    let (_dir, path) = place();
    let index = worn(&path, 3_000, 16);
    beside(&index, |index| index.close().unwrap());
    assert_eq!(index.compact(&PLAIN).unwrap_err().kind(), ErrorKind::Closed);
    // The new file is unlocked: the handle does not hold it.
    let index = reopen(&path, Mode::Open);
    assert_eq!((index.len().unwrap(), index.stats().unwrap().deleted), (1_500, 0));
    assert_clean(&index);
}

#[test]
fn a_writer_that_waited_for_the_old_file_opens_the_new_one() {
    let (_dir, path) = place();
    let index = worn(&path, 3_000, 16);
    let open =
        OpenOptions { lock_timeout: Some(Duration::from_secs(60)), mode: Mode::Open, ..Default::default() };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let other = VectorIndex::open(&path, &open).unwrap();
            other.add_record(Some(&Id::Integer(5_000_000)), &[3.0; 16], None).unwrap();
            other.commit().unwrap();
            other.stats().unwrap().deleted
        });
        index.compact(&PLAIN).unwrap();
        let busy = VectorIndex::open(&path, &OpenOptions { lock_timeout: None, ..open.clone() });
        assert_eq!(busy.err().map(|e| e.kind()), Some(ErrorKind::WriterBusy));
        index.close().unwrap();
        assert_eq!(waiting.join().unwrap(), 0, "the file without tombstones");
    });
    assert!(reopen(&path, Mode::ReadOnly).has(&Id::Integer(5_000_000)).unwrap());
}

#[test]
fn cancelled_refused_and_damaged_compactions_leave_everything_as_it_was() {
    let (_dir, path) = place();
    let index = worn(&path, 3_000, 16);
    let bytes = std::fs::read(&path).unwrap();
    let cancel = AtomicBool::new(true);
    let cancelled = |progress: &(dyn Fn(usize, usize) + Sync)| {
        let options = CompactOptions { cancel: Some(&cancel), progress: Some(progress), threads: Some(1) };
        assert_eq!(index.compact(&options).unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(left_overs(&path), Vec::<PathBuf>::new());
        assert!(std::fs::read(&path).unwrap() == bytes);
    };
    cancelled(&|_, _| {});
    for when in [1, 400, 1_400] {
        cancel.store(false, Ordering::Relaxed);
        cancelled(&|done, _| cancel.store(done >= when, Ordering::Relaxed));
    }
    let reader = reopen(&path, Mode::ReadOnly);
    assert_eq!(reader.compact(&PLAIN).unwrap_err().kind(), ErrorKind::ReadOnly);
    index.add(&[0.25; 16]).unwrap();
    index.rollback().unwrap();
    assert_clean(&index);
}

#[test]
fn damage_is_not_copied() {
    let (_dir, path) = place();
    drop(worn(&path, 600, 16));
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for block in (6..whole.len() / BLOCK).step_by(3) {
        let mut bytes = whole.clone();
        bytes[block * BLOCK + 2_000] ^= 16;
        std::fs::write(&path, &bytes).unwrap();
        let Ok(index) = VectorIndex::open(&path, &OpenOptions { mode: Mode::Open, ..Default::default() })
        else {
            continue;
        };
        match index.compact(&PLAIN) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "block {block}");
                assert!(std::fs::read(&path).unwrap() == bytes, "block {block}");
                assert_eq!(left_overs(&path), Vec::<PathBuf>::new());
                refused += 1;
            }
            // Nothing that is copied lies there: the new file is whole.
            Ok(_) => assert_clean(&index),
        }
    }
    assert!(refused > 5, "{refused} damaged blocks were noticed");
}

#[test]
fn links_modes_and_left_overs() {
    let (dir, link) = place();
    let target = dir.path().join("other-folder/real");
    std::fs::create_dir(target.parent().unwrap()).unwrap();
    drop(worn(&target, 400, 8));
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("other-folder/real", &link).unwrap();
    let index = reopen(&link, Mode::Open);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    let before = inode(&target);
    // The number of a file that is gone may be given again, so it is held open.
    let held = std::fs::File::open(&target).unwrap();
    // A compaction that was killed.
    let name = {
        let seen = std::sync::Mutex::new(None);
        let progress = |_, _| *seen.lock().unwrap() = left_overs(&target).pop();
        index.compact(&CompactOptions { progress: Some(&progress), ..PLAIN }).unwrap();
        seen.into_inner().unwrap().expect("a temporary file beside the target")
    };
    assert!(name.file_name().unwrap().to_string_lossy().starts_with(".chassis-"));
    assert_ne!(inode(&target), before);
    drop(held);
    std::fs::write(&name, vec![7; 100_000]).unwrap();
    index.compact(&PLAIN).unwrap();
    assert_eq!(left_overs(&target), Vec::<PathBuf>::new());
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    index.add(&[1.0; 8]).unwrap();
    index.commit().unwrap();
    drop(index);
    let index = reopen(&link, Mode::Open);
    assert_eq!(index.len().unwrap(), 201);
    index.add(&[2.0; 8]).unwrap();
    index.commit().unwrap();
    assert_clean(&index);
}

#[test]
fn both_commit_records_of_a_new_file_hold_its_content() {
    let (_dir, path) = place();
    let index = worn(&path, 400, 8);
    let commit = index.compact(&PLAIN).unwrap().commit;
    drop(index);
    let mut bytes = std::fs::read(&path).unwrap();
    for block in [1 + (commit & 1), 3 + (commit & 1)] {
        bytes[block as usize * BLOCK + 100] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let index = reopen(&path, Mode::Open);
    let stats = index.stats().unwrap();
    assert_eq!((stats.count, stats.commit, stats.recovered_previous_commit), (200, commit - 1, true));
    assert_clean(&index);
    index.add(&[2.0; 8]).unwrap();
    index.commit().unwrap();
    drop(index);
    assert_clean(&reopen(&path, Mode::ReadOnly));
}

/// The path comes to name another index while the one it named is compacted: both compactions use one temporary name.
#[test]
fn the_temporary_file_of_a_compaction_that_runs_is_not_taken_away() {
    let (dir, path) = place();
    let (index, aside) = (worn(&path, 400, 8), dir.path().join("aside"));
    drop(worn(&aside, 300, 8));
    let held = std::fs::File::open(&path).unwrap();
    let other = std::sync::Mutex::new(None);
    let progress = |_, _| {
        let mut other = other.lock().unwrap();
        if other.is_none() {
            std::fs::rename(&aside, &path).unwrap();
            let temporary = left_overs(&path).pop().expect("a temporary file");
            let second = reopen(&path, Mode::Open);
            assert_eq!(second.compact(&PLAIN).unwrap_err().kind(), ErrorKind::WriterBusy);
            assert_eq!(left_overs(&path), [temporary]);
            *other = Some(second);
        }
    };
    let ended = index.compact(&CompactOptions { progress: Some(&progress), threads: Some(1), ..PLAIN });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(left_overs(&path), Vec::<PathBuf>::new());
    let second = other.into_inner().unwrap().expect("the other index");
    assert_eq!(second.compact(&PLAIN).unwrap().records, 150);
    assert_clean(&second);
    drop(held);
}
