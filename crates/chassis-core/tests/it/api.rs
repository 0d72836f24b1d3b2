//! What an index does, against a plain model: add, get, search, commit, reopen, delete, snapshots.

use chassis_core::{
    BatchOptions, CheckLevel, EXACT_BELOW, ErrorKind, Id, IdType, Metric, Mode, OpenOptions, Quantization,
    SearchOptions, VectorIndex,
};

use crate::support::{Rng, brute_force, clustered, distance, options, place, reopen};

fn recall(index: &VectorIndex, rows: &[f32], queries: &[f32], dims: usize, metric: Metric, ef: usize) -> f64 {
    let mut found = 0;
    for query in queries.chunks(dims) {
        let truth = brute_force(metric, rows, dims, query, 10);
        let search = SearchOptions { k: 10, ef_search: Some(ef), ..Default::default() };
        let hits = index.search(query, &search).unwrap();
        assert_eq!(hits.len(), 10);
        assert!(hits.distances.is_sorted(), "{:?}", hits.distances);
        found += truth.iter().filter(|(_, id)| hits.ids.contains(id)).count();
    }
    found as f64 / (queries.len() / dims * 10) as f64
}

#[test]
fn recall_is_high_for_every_metric_and_survives_reopening() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Ip] {
        let (_dir, path) = place();
        let (dims, n) = (24, 12_000);
        let all = clustered(n + 50, dims, 5);
        let (rows, queries) = all.split_at(n * dims);
        let index = VectorIndex::open(&path, &options(dims, metric)).unwrap();
        let ids = index.add_batch(rows, &BatchOptions::default()).unwrap();
        assert_eq!(ids, (0..n as u64).map(Id::Integer).collect::<Vec<_>>());
        let before = recall(&index, rows, queries, dims, metric, 100);
        assert!(before > if metric == Metric::Ip { 0.85 } else { 0.97 }, "{metric:?}: recall {before}");
        assert_eq!(index.commit().unwrap(), index.stats().unwrap().commit);
        index.close().unwrap();
        let index = reopen(&path, Mode::ReadOnly);
        assert_eq!(recall(&index, rows, queries, dims, metric, 100), before);
        let report = index.check(CheckLevel::Full).unwrap();
        assert!(report.is_ok(), "{:?}", report.problems);
    }
}

#[test]
fn exact_search_equals_the_definition() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Ip] {
        let (_dir, path) = place();
        let dims = 17;
        let rows = clustered(800, dims, 7);
        let index = VectorIndex::open(&path, &options(dims, metric)).unwrap();
        index.add_batch(&rows, &BatchOptions::default()).unwrap();
        for query in clustered(20, dims, 8).chunks(dims) {
            let search = SearchOptions { k: 25, exact: true, ..Default::default() };
            let hits = index.search(query, &search).unwrap();
            for (i, (expected, id)) in brute_force(metric, &rows, dims, query, 25).into_iter().enumerate() {
                let close = (hits.distances[i] as f64 - expected).abs() < 1e-4 * (1.0 + expected.abs());
                assert!(close, "{metric:?} result {i}: {} for {expected}", hits.distances[i]);
                let same = hits.ids[i] == id || {
                    let row = &rows[hits.ids[i] as usize * dims..][..dims];
                    (distance(metric, query, row) - expected).abs() < 1e-5 * (1.0 + expected.abs())
                };
                assert!(same, "{metric:?} result {i}: id {} for {id}", hits.ids[i]);
            }
        }
    }
}

/// Noise without clusters, of which a short walk over many dimensions misses some.
#[test]
fn up_to_exact_below_a_search_is_a_scan_and_past_it_a_walk() {
    let (dims, mut rng) = (100, Rng(59));
    let limit = EXACT_BELOW / dims;
    let rows: Vec<f32> = (0..(limit + 1) * dims).map(|_| rng.unit()).collect();
    let queries: Vec<f32> = (0..60 * dims).map(|_| rng.unit()).collect();
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        let (_dir, path) = place();
        let open = OpenOptions { quantization: Some(Quantization::None), ..options(dims, metric) };
        let index = VectorIndex::open(&path, &open).unwrap();
        let short = SearchOptions { ef_search: Some(10), ..SearchOptions::k(10) };
        let efforts = [short, SearchOptions { recall: Some(0.5), ..SearchOptions::k(10) }];
        // Nodes met by walks, and how many queries are answered otherwise than by an exact search.
        let compare = |options: &SearchOptions| {
            let met = |query| index.search_counts(query, options).unwrap()[0];
            let walked: usize = queries.chunks(dims).map(met).sum();
            let truth = SearchOptions { exact: true, ..SearchOptions::k(options.k) };
            let truth = index.search_batch(&queries, &truth, None).unwrap();
            let batch = index.search_batch(&queries, options, None).unwrap();
            let other = |(i, query): (usize, &[f32])| {
                let hits = index.search(query, options).unwrap();
                assert_eq!(batch[i], hits);
                hits != truth[i]
            };
            (walked, queries.chunks(dims).enumerate().filter(|query| other(*query)).count())
        };
        index.add_batch(&rows[..limit * dims], &BatchOptions::default()).unwrap();
        for options in &efforts {
            assert_eq!(compare(options), (0, 0), "{metric:?}, {limit} rows of {dims}");
        }
        index.add(&rows[limit * dims..]).unwrap();
        for options in &efforts {
            let (walked, others) = compare(options);
            assert!(walked > 0 && others > 0, "{metric:?}, one more: {walked} met, {others} answers");
        }
        // All of them are a scan at any size.
        assert_eq!(compare(&SearchOptions::k(limit + 1)), (0, 0), "{metric:?}");
    }
}

#[test]
fn a_walk_and_a_scan_give_the_same_distances_to_the_bit() {
    let (_dir, path) = place();
    let dims = 33;
    let rows = clustered(9_000, dims, 3);
    let index = VectorIndex::open(&path, &options(dims, Metric::Cosine)).unwrap();
    index.add_batch(&rows, &BatchOptions::default()).unwrap();
    for query in clustered(10, dims, 4).chunks(dims) {
        let walk = index
            .search(query, &SearchOptions { k: 10, ef_search: Some(200), ..Default::default() })
            .unwrap();
        let scan =
            index.search(query, &SearchOptions { k: 9_000, exact: true, ..Default::default() }).unwrap();
        for (id, distance) in walk.ids.iter().zip(&walk.distances) {
            let at = scan.ids.iter().position(|x| x == id).unwrap();
            assert_eq!(scan.distances[at].to_bits(), distance.to_bits());
        }
    }
}

#[test]
fn get_returns_the_very_bits_with_payload_and_string_id() {
    let (_dir, path) = place();
    let mut open = options(5, Metric::Cosine);
    open.id_type = Some(IdType::String);
    let index = VectorIndex::open(&path, &open).unwrap();
    let vector = [1e-30f32, -0.0, f32::MIN_POSITIVE / 2.0, 3.0, 1e9];
    let id = Id::from("sch\u{00e4}ssis/1");
    index.add_record(Some(&id), &vector, Some(b"payload")).unwrap();
    let long = vec![7u8; 200_000];
    index.add_record(Some(&Id::from("b")), &[1.0; 5], Some(&long)).unwrap();
    index.commit().unwrap();
    index.close().unwrap();
    let index = reopen(&path, Mode::ReadOnly);
    let record = index.get(&id).unwrap().unwrap();
    assert_eq!(record.vector.map_bits(), vector.map(f32::to_bits));
    assert_eq!(record.payload.as_deref(), Some(&b"payload"[..]));
    assert_eq!(index.get(&Id::from("b")).unwrap().unwrap().payload, Some(long));
    assert_eq!(index.get(&Id::from("c")).unwrap(), None);
    let hits = index.search(&[0.0, 0.0, 0.0, 0.0, 1.0], &SearchOptions::k(1)).unwrap();
    assert_eq!(hits.id(0), id);
}

trait MapBits {
    fn map_bits(&self) -> [u32; 5];
}
impl MapBits for Vec<f32> {
    fn map_bits(&self) -> [u32; 5] {
        std::array::from_fn(|i| self[i].to_bits())
    }
}

#[test]
fn random_operations_agree_with_a_model() {
    let (_dir, path) = place();
    let (dims, mut rng) = (6, Rng(11));
    let mut index = VectorIndex::open(&path, &options(dims, Metric::L2)).unwrap();
    let mut model = std::collections::BTreeMap::<u64, Vec<f32>>::new();
    let mut committed = model.clone();
    for step in 0..1_500 {
        let vector: Vec<f32> = (0..dims).map(|_| rng.unit()).collect();
        let id = rng.next() % 400;
        match rng.below(20) {
            0..=9 => match index.add_record(Some(&Id::Integer(id)), &vector, None) {
                Ok(_) => assert!(model.insert(id, vector).is_none(), "step {step}: duplicate {id} was taken"),
                Err(e) => {
                    assert!(e.kind() == ErrorKind::DuplicateId && model.contains_key(&id), "step {step}: {e}")
                }
            },
            10..=13 => {
                let deleted = index.delete(&[Id::Integer(id)]).unwrap();
                assert_eq!(deleted == 1, model.remove(&id).is_some(), "step {step}");
            }
            14..=16 => {
                let hits = index.search(&vector, &SearchOptions { k: 5, ..Default::default() }).unwrap();
                let mut truth: Vec<f64> = model.values().map(|v| distance(Metric::L2, &vector, v)).collect();
                truth.sort_by(f64::total_cmp);
                assert_eq!(hits.len(), truth.len().min(5), "step {step}");
                for (d, t) in hits.distances.iter().zip(truth) {
                    assert!((*d as f64 - t).abs() < 1e-5, "step {step}: {d} for {t}");
                }
            }
            17 => {
                index.commit().unwrap();
                committed = model.clone();
            }
            18 => {
                index.rollback().unwrap();
                model = committed.clone();
            }
            _ => {
                index.close().unwrap();
                model = committed.clone();
                index = reopen(&path, Mode::Open);
            }
        }
        assert_eq!(index.len().unwrap(), model.len() as u64, "step {step}");
    }
    index.commit().unwrap();
    let report = index.check(CheckLevel::Full).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    for (id, vector) in &model {
        assert_eq!(&index.get(&Id::Integer(*id)).unwrap().unwrap().vector, vector);
    }
}

#[test]
fn readers_keep_their_snapshot_until_they_refresh() {
    let (_dir, path) = place();
    let writer = VectorIndex::open(&path, &options(4, Metric::L2)).unwrap();
    writer.add(&[1.0; 4]).unwrap();
    writer.commit().unwrap();
    let reader = reopen(&path, Mode::ReadOnly);
    for round in 0..20 {
        writer.add(&[round as f32; 4]).unwrap();
        assert_eq!(reader.len().unwrap(), 1);
        writer.commit().unwrap();
        let hits = reader.search(&[0.0; 4], &SearchOptions::k(10)).unwrap();
        assert_eq!((hits.ids, hits.distances), (vec![0], vec![2.0]));
    }
    assert!(reader.refresh().unwrap());
    assert!(!reader.refresh().unwrap());
    assert_eq!(reader.len().unwrap(), 21);
    assert!(reader.check(CheckLevel::Full).unwrap().is_ok());
}

#[test]
fn ten_thousand_identical_vectors_stay_findable() {
    let (_dir, path) = place();
    let dims = 24;
    let index = VectorIndex::open(&path, &options(dims, Metric::Cosine)).unwrap();
    index.add_batch(&vec![0.5; 10_000 * dims], &BatchOptions::default()).unwrap();
    index.add_batch(&clustered(3_000, dims, 1), &BatchOptions::default()).unwrap();
    let report = index.check(CheckLevel::Full).unwrap();
    assert!(report.is_ok(), "{:?}", &report.problems[..report.problems.len().min(5)]);
    let search = SearchOptions { k: 10_000, ef_search: Some(13_000), ..Default::default() };
    let hits = index.search(&vec![0.5; dims], &search).unwrap();
    assert_eq!(hits.ids.iter().filter(|id| **id < 10_000).count(), 10_000);
}

#[test]
fn the_same_operations_give_the_same_bytes_at_any_thread_count() {
    let rows = clustered(4_000, 16, 2);
    let file = |threads| {
        let (_dir, path) = place();
        let index = VectorIndex::open(&path, &options(16, Metric::L2)).unwrap();
        for part in rows.chunks(1_000 * 16) {
            index.add_batch(part, &BatchOptions { threads: Some(threads), ..Default::default() }).unwrap();
            index.commit().unwrap();
        }
        index.delete(&[Id::Integer(17), Id::Integer(3_999)]).unwrap();
        index.commit().unwrap();
        index.close().unwrap();
        std::fs::read(&path).unwrap()
    };
    let one = file(1);
    assert!(one == file(2) && one == file(3), "files differ");
}

#[test]
fn a_bulk_build_is_half_done_when_it_is_linked_and_may_be_cancelled_after_that() {
    let (_dir, path) = place();
    let index = VectorIndex::open(&path, &options(8, Metric::L2)).unwrap();
    let (rows, half) = (5_001, 2_501);
    let (ticks, cancel) = (std::sync::Mutex::new(Vec::new()), std::sync::atomic::AtomicBool::new(false));
    let stop = |done: usize, total: usize| {
        ticks.lock().unwrap().push((done, total));
        cancel.store(done >= half, std::sync::atomic::Ordering::Relaxed);
    };
    let vectors = clustered(rows, 8, 2);
    let batch = BatchOptions { progress: Some(&stop), cancel: Some(&cancel), ..Default::default() };
    let error = index.add_batch(&vectors, &batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(ticks.lock().unwrap().last(), Some(&(half, rows)), "nothing of it is refined");
    assert_eq!(index.len().unwrap(), 0);
    ticks.lock().unwrap().clear();
    index.add_batch(&vectors, &BatchOptions { cancel: None, ..batch }).unwrap();
    let ticks = ticks.into_inner().unwrap();
    assert!(ticks.is_sorted_by(|a, b| a.0 < b.0) && ticks.contains(&(half, rows)), "{ticks:?}");
    assert_eq!(ticks.last(), Some(&(rows, rows)));
    assert_eq!(index.len().unwrap(), rows as u64);
    index.commit().unwrap();
    assert!(index.check(CheckLevel::Full).unwrap().is_ok());
}

#[test]
fn a_cancelled_batch_adds_nothing() {
    let (_dir, path) = place();
    let index = VectorIndex::open(&path, &options(8, Metric::L2)).unwrap();
    index.add_batch(&clustered(500, 8, 1), &BatchOptions::default()).unwrap();
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let stop = |done: usize, _: usize| cancel.store(done > 50, std::sync::atomic::Ordering::Relaxed);
    let batch = BatchOptions { progress: Some(&stop), cancel: Some(&cancel), ..Default::default() };
    let error = index.add_batch(&clustered(500, 8, 2), &batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(index.len().unwrap(), 500);
    assert!(index.search(&[0.0; 8], &SearchOptions::k(1_000)).unwrap().ids.iter().all(|id| *id < 500));
    assert_eq!(index.add(&[0.0; 8]).unwrap(), Id::Integer(500));
    index.commit().unwrap();
    assert!(index.check(CheckLevel::Full).unwrap().is_ok());
}
