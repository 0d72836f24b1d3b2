//! Builds and searches over codes: exact distances, the same bytes for any threads, and codes that come, grow, are
//! made anew, and are lost without harm.

use std::path::Path;
use std::sync::Arc;

use chassis_core::internals::format::Kind;
use chassis_core::internals::storage::{MemoryVfs, OpenTuning, Vfs};
use chassis_core::{
    BatchOptions, CheckLevel, ErrorKind, Id, Metric, Mode, OpenOptions, Quantization, SearchOptions,
    VectorIndex,
};

use crate::support::{Rng, brute_force, clustered, options, place, reopen};
use crate::surgery::Patient;

const METRICS: [Metric; 3] = [Metric::L2, Metric::Ip, Metric::Cosine];

/// Rows with 24 directions of spread in many dimensions: what a projection can keep.
pub fn latent(rows: usize, dimensions: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng(seed);
    let basis: Vec<f32> = (0..24 * dimensions).map(|_| rng.unit()).collect();
    let weights = clustered(rows, 24, seed);
    let mut out = Vec::with_capacity(rows * dimensions);
    for weights in weights.chunks(24) {
        for d in 0..dimensions {
            let spread: f32 = (0..24).map(|i| weights[i] * basis[i * dimensions + d]).sum();
            out.push(spread + 0.05 * rng.unit());
        }
    }
    out
}

/// An index in memory that has codes from a few rows on.
pub struct Small {
    vfs: Arc<MemoryVfs>,
    codes_from: usize,
}

impl Small {
    pub fn new(codes_from: usize) -> Small {
        Small { vfs: MemoryVfs::new(64 << 20), codes_from }
    }

    pub fn open(&self, options: &OpenOptions) -> VectorIndex {
        let tuning = OpenTuning { codes_from: Some(self.codes_from), ..OpenTuning::default() };
        let vfs: Arc<dyn Vfs> = self.vfs.clone();
        VectorIndex::open_with(&vfs, Path::new("index"), options, &tuning).expect("it opens")
    }
}

/// Records of each kind of codes, as searches see them.
pub fn codes(index: &VectorIndex) -> (Option<usize>, Option<usize>) {
    let rows = |kind| index.with_store(|store| store.view().rows(kind).map(|rows| rows.len())).expect("open");
    (rows(Kind::Codes4), rows(Kind::Codes8))
}

fn generation(index: &VectorIndex) -> Option<u16> {
    let of = |kind| {
        index.with_store(|store| store.view().rows(kind).map(|r| r.descriptor().generation)).expect("open")
    };
    assert!(of(Kind::Codes4).is_none_or(|codes| Some(codes) == of(Kind::Model)));
    of(Kind::Model)
}

pub fn add(index: &VectorIndex, rows: &[f32]) {
    index.add_batch(rows, &BatchOptions::default()).expect("the rows are added");
}

/// The shape of a widely used embedding model (text-embedding-ada-002): vectors of one length, far from the origin, with
/// a mean cosine of 0.754 between two of them and most of their mean in one coordinate, of about 0.66.
fn far_from_the_origin(rows: usize, dimensions: usize) -> Vec<f32> {
    let mut all = latent(rows, dimensions, 9);
    let mut rng = Rng(10);
    let mut mean: Vec<f32> = (0..dimensions).map(|_| rng.unit()).collect();
    mean[dimensions / 3] = 0.0;
    let rest = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
    mean.iter_mut().for_each(|x| *x *= (0.754f32 - 0.66 * 0.66).sqrt() / rest);
    mean[dimensions / 3] = 0.66;
    let center: Vec<f32> =
        (0..dimensions).map(|d| all.iter().skip(d).step_by(dimensions).sum::<f32>() / rows as f32).collect();
    for row in all.chunks_mut(dimensions) {
        row.iter_mut().zip(&center).for_each(|(x, center)| *x -= center);
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().zip(&mean).for_each(|(x, mean)| *x = mean + *x * (1.0f32 - 0.754).sqrt() / length);
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    all
}

#[test]
fn vectors_far_from_the_origin_with_one_large_coordinate_keep_their_recall() {
    const ROWS: usize = 4_000;
    // With codes of vectors that are not centered, a short walk finds 733, 636, 655 and 654 of 1,000; with queries that
    // are not where the metric is `ip`, 701.
    for (dimensions, metric, least) in [
        (200, Metric::Cosine, 780),
        (320, Metric::Cosine, 730),
        (320, Metric::Ip, 740),
        (320, Metric::L2, 740),
    ] {
        let all = far_from_the_origin(ROWS + 100, dimensions);
        let (rows, queries) = all.split_at(ROWS * dimensions);
        let cosines = queries.chunks(dimensions).zip(rows.chunks(dimensions));
        let mean: f32 = cosines.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()).sum();
        assert!((0.7..0.81).contains(&(mean / 100.0)), "mean cosine {}", mean / 100.0);
        let index = Small::new(2_048).open(&options(dimensions, metric));
        add(&index, rows);
        index.commit().expect("a commit");
        assert_eq!(codes(&index), (Some(ROWS), (dimensions > 240).then_some(ROWS)));
        let recall = SearchOptions { recall: Some(0.95), ..SearchOptions::k(10) };
        let short = SearchOptions { ef_search: Some(10), ..SearchOptions::k(10) };
        let mut found = [0, 0];
        for query in queries.chunks(dimensions) {
            let exact =
                index.search(query, &SearchOptions { exact: true, ..SearchOptions::k(10) }).expect("a scan");
            for (options, found) in [&recall, &short].into_iter().zip(&mut found) {
                let hits = index.search(query, options).expect("hits");
                for (id, distance) in hits.ids.iter().zip(&hits.distances) {
                    let Some(at) = exact.ids.iter().position(|other| other == id) else { continue };
                    assert_eq!(exact.distances[at].to_bits(), distance.to_bits());
                    *found += 1;
                }
            }
        }
        let [found, short] = found;
        assert!(found >= 930 && short >= least, "{metric:?} {dimensions}: {found}, {short} of 1,000");
    }
}

#[test]
fn distances_are_those_of_the_scan_and_most_neighbors_are_found() {
    for metric in METRICS {
        for (quantization, dimensions) in [
            (Quantization::Auto, 96),
            (Quantization::Auto, 320),
            (Quantization::Bits4, 320),
            (Quantization::Bits8, 96),
            (Quantization::None, 96),
        ] {
            let rows = latent(3_000, dimensions, 3);
            let small = Small::new(500);
            let index =
                small.open(&OpenOptions { quantization: Some(quantization), ..options(dimensions, metric) });
            add(&index, &rows);
            let four =
                (quantization != Quantization::None && quantization != Quantization::Bits8).then_some(3_000);
            let second = quantization == Quantization::Auto && dimensions > 240;
            let eight = (second || quantization == Quantization::Bits8).then_some(3_000);
            assert_eq!(codes(&index), (four, eight), "{quantization:?} {dimensions}");
            let what = format!("{metric:?} {quantization:?} {dimensions}");
            let queries = latent(3_040, dimensions, 3).split_off(3_000 * dimensions);
            let mut found = 0;
            for query in queries.chunks(dimensions) {
                let hits = index.search(query, &SearchOptions::k(10)).expect("a search");
                let scan = SearchOptions { exact: true, ..SearchOptions::k(3_000) };
                let scan = index.search(query, &scan).expect("a scan");
                assert_eq!(hits.len(), 10);
                for (id, distance) in hits.ids.iter().zip(&hits.distances) {
                    let at = scan.ids.iter().position(|other| other == id).expect("a record");
                    assert_eq!(distance.to_bits(), scan.distances[at].to_bits(), "{what}: id {id}");
                }
                assert!(hits.distances.is_sorted());
                let truth = brute_force(metric, &rows, dimensions, query, 10);
                found += truth.iter().filter(|(_, id)| hits.ids.contains(id)).count();
            }
            assert!(found >= 380, "{what}: {found} of 400");
            assert!(index.check(CheckLevel::Full).expect("a check").is_ok());
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads() {
    let rows = latent(4_000, 80, 5);
    let build = |threads| {
        let (dir, path) = place();
        let index = VectorIndex::open(&path, &options(80, Metric::Cosine)).expect("it opens");
        let options = BatchOptions { threads: Some(threads), ..Default::default() };
        index.add_batch(&rows[..3_500 * 80], &options).expect("rows");
        index.commit().expect("a commit");
        index.add_batch(&rows[3_500 * 80..], &options).expect("rows");
        index.commit().expect("a commit");
        assert_eq!(codes(&index), (Some(4_000), None));
        let bytes = std::fs::read(&path).expect("a file");
        drop(dir);
        bytes
    };
    let one = build(1);
    assert!(one == build(2) && one == build(3));
}

#[test]
fn codes_begin_with_a_batch_or_a_commit_and_are_made_anew_as_the_index_grows() {
    let rows = latent(2_000, 64, 7);
    let row = |i: usize| &rows[i * 64..][..64];
    let small = Small::new(100);
    let index = small.open(&options(64, Metric::L2));
    (0..150).for_each(|i| drop(index.add(row(i)).expect("a row")));
    assert_eq!(codes(&index), (None, None), "a fit takes longer than a call that adds one row may");
    index.commit().expect("a commit");
    assert_eq!((codes(&index), generation(&index)), ((Some(150), None), Some(1)));
    index.add(row(150)).expect("a row");
    assert_eq!(codes(&index).0, Some(151));
    add(&index, &rows[151 * 64..400 * 64]);
    assert_eq!((codes(&index).0, generation(&index)), (Some(400), Some(1)));
    index.rollback().expect("back");
    assert_eq!((codes(&index).0, generation(&index)), (Some(150), Some(1)));
    // Eight times as many rows as the model was fitted on.
    add(&index, &rows[150 * 64..1_300 * 64]);
    assert_eq!((codes(&index).0, generation(&index)), (Some(1_300), Some(2)));
    index.rollback().expect("back");
    assert_eq!((codes(&index).0, generation(&index)), (Some(150), Some(1)));
    add(&index, &rows[150 * 64..]);
    index.commit().expect("a commit");
    drop(index);
    let index = small.open(&OpenOptions::default());
    assert_eq!((codes(&index).0, generation(&index)), (Some(2_000), Some(2)));
    let hits = index.search(row(777), &SearchOptions::k(1)).expect("a search");
    assert_eq!((hits.ids[0], hits.distances[0]), (777, 0.0));
    assert!(index.check(CheckLevel::Full).expect("a check").is_ok());
}

#[test]
fn what_is_deleted_is_not_found_and_its_place_is_filled() {
    let rows = latent(3_000, 96, 11);
    let index = Small::new(100).open(&options(96, Metric::Cosine));
    add(&index, &rows);
    let query = &rows[..96];
    let nearest = index.search(query, &SearchOptions::k(600)).expect("a search");
    let gone: Vec<Id> = nearest.ids[..590].iter().map(|id| Id::from(*id)).collect();
    index.delete(&gone).expect("they are deleted");
    let hits = index.search(query, &SearchOptions::k(10)).expect("a search");
    let scan = index.search(query, &SearchOptions { exact: true, ..SearchOptions::k(10) }).expect("a scan");
    assert_eq!((hits.len(), &hits.ids), (10, &scan.ids));
}

#[test]
fn a_cancelled_batch_leaves_codes_for_the_nodes_there_are() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let rows = latent(3_000, 64, 13);
    let index = Small::new(100).open(&options(64, Metric::L2));
    let cancel = AtomicBool::new(true);
    let batch = BatchOptions { cancel: Some(&cancel), ..Default::default() };
    assert_eq!(index.add_batch(&rows, &batch).unwrap_err().kind(), ErrorKind::Cancelled);
    let stats = index.stats().expect("stats");
    assert_eq!((stats.count, stats.deleted, stats.codes), (0, 0, None), "stopped before anything was linked");
    assert_eq!(index.commit().expect("a commit"), 0, "nothing to commit");
    cancel.store(false, Ordering::Relaxed);
    let stop = |done: usize, _: usize| cancel.fetch_or(done > 700, Ordering::Relaxed);
    let progress = |done: usize, all: usize| {
        stop(done, all);
    };
    let batch = BatchOptions { cancel: Some(&cancel), progress: Some(&progress), ..Default::default() };
    assert_eq!(index.add_batch(&rows, &batch).unwrap_err().kind(), ErrorKind::Cancelled);
    let linked = index.stats().expect("stats").deleted as usize;
    assert_eq!(codes(&index).0, Some(linked));
    index.commit().expect("a commit");
    add(&index, &rows);
    index.commit().expect("a commit");
    assert_eq!(codes(&index).0, Some(linked + 3_000));
    let hits = index.search(&rows[64 * 9..64 * 10], &SearchOptions::k(1)).expect("a search");
    assert_eq!((hits.ids[0], hits.distances[0]), (9, 0.0));
    assert!(index.check(CheckLevel::Full).expect("a check").is_ok());
}

#[test]
fn damaged_models_are_errors_and_those_of_later_releases_are_passed_over() {
    let rows = latent(2_600, 80, 17);
    let (dir, path) = place();
    let index = VectorIndex::open(&path, &options(80, Metric::L2)).expect("it opens");
    add(&index, &rows);
    index.commit().expect("a commit");
    index.close().expect("closed");
    let good = Patient::new(std::fs::read(&path).expect("a file"));
    let open = |change: &dyn Fn(&mut Patient)| {
        let mut patient = good.clone();
        change(&mut patient);
        std::fs::write(&path, &patient.bytes).expect("written");
        reopen(&path, Mode::ReadOnly)
    };
    let search = |index: &VectorIndex| {
        let hits = index.search(&rows[80 * 5..80 * 6], &SearchOptions::k(1))?;
        Ok::<_, chassis_core::Error>((hits.ids[0], hits.distances[0]))
    };
    assert_eq!(search(&open(&|_| ())).expect("a search"), (5, 0.0));
    // A version of the model, of the entry block: the first field of each.
    for kind in [Kind::Model, Kind::EntryBlock] {
        let index = open(&|patient| {
            patient.content(kind, 0)[0] = 9;
            patient.sign(kind, 0);
            patient.sign_commit();
        });
        assert_eq!(search(&index).expect("the vectors are there"), (5, 0.0), "{kind:?}");
        let index = open(&|patient| {
            patient.content(kind, 0)[4] ^= 0x40;
            patient.sign(kind, 0);
            patient.sign_commit();
        });
        assert_eq!(search(&index).unwrap_err().kind(), ErrorKind::Corrupt, "{kind:?}");
        let index = open(&|patient| patient.content(kind, 0)[70] ^= 1);
        assert_eq!(search(&index).unwrap_err().kind(), ErrorKind::Corrupt, "{kind:?}, unsigned");
    }
    // Records of nonsense: distances stay exact, nothing panics.
    let index = open(&|patient| {
        let content = patient.content(Kind::Codes4, 0);
        content.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 31) as u8 | 0xf0);
        patient.sign(Kind::Codes4, 0);
        patient.sign_commit();
    });
    let hits = index.search(&rows[..80], &SearchOptions::k(10)).expect("a search");
    for (id, distance) in hits.ids.iter().zip(&hits.distances) {
        let row = &rows[*id as usize * 80..][..80];
        let truth = crate::support::distance(Metric::L2, &rows[..80], row);
        assert!((truth - *distance as f64).abs() < 1e-3);
    }
    drop(dir);
}

#[test]
fn a_recall_asked_for_is_reached_by_queries_from_the_same_source() {
    // A fitted table, the same without codes, and an index too small for one.
    for (quantization, rows, dimensions) in
        [(Quantization::Auto, 6_000, 96), (Quantization::Auto, 4_000, 320), (Quantization::None, 6_000, 48)]
    {
        let all = latent(rows + 200, dimensions, 23);
        let (base, queries) = all.split_at(rows * dimensions);
        for metric in METRICS {
            let index = Small::new(500)
                .open(&OpenOptions { quantization: Some(quantization), ..options(dimensions, metric) });
            add(&index, base);
            index.commit().expect("a commit");
            let table = |kind| index.with_store(|store| store.view().rows(kind).is_some()).expect("open");
            assert!(table(Kind::Calibration));
            for (k, recall) in [(10, 0.9), (10, 0.99), (1, 0.95), (25, 0.95)] {
                let options = SearchOptions { recall: Some(recall), ..SearchOptions::k(k) };
                let mut found = 0;
                for query in queries.chunks(dimensions) {
                    let hits = index.search(query, &options).expect("a search");
                    let truth = brute_force(metric, base, dimensions, query, k);
                    found += truth.iter().filter(|(_, id)| hits.ids.contains(id)).count();
                }
                let reached = found as f32 / (200 * k) as f32;
                // 200 queries tell a recall to within a hundredth or so, and so does the fit.
                assert!(
                    reached > recall - 0.025,
                    "{quantization:?} {metric:?} {dimensions} k {k}: {reached}"
                );
            }
        }
    }
}

#[test]
fn a_recall_is_checked_like_every_option() {
    let index = Small::new(500).open(&options(3, Metric::L2));
    let search = |recall, ef_search| {
        let options = SearchOptions { recall: Some(recall), ef_search, ..SearchOptions::default() };
        index.search(&[1.0, 2.0, 3.0], &options).map(|hits| hits.len()).map_err(|e| e.kind())
    };
    assert_eq!((search(0.5, None), search(0.999, None)), (Ok(0), Ok(0)));
    for recall in [0.0, 0.49, 0.9991, 1.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(search(recall, None), Err(ErrorKind::InvalidOption), "{recall}");
    }
    assert_eq!(search(0.9, Some(64)), Err(ErrorKind::InvalidOption));
}

#[test]
fn searches_between_two_steps_of_a_fit_answer() {
    // A transaction shows an object as soon as it is there, and its rows a moment later.
    let rows = latent(3_000, 80, 29);
    let index = Small::new(500).open(&options(80, Metric::L2));
    add(&index, &rows);
    index.commit().expect("a commit");
    for kind in [Kind::EntryBlock, Kind::Calibration, Kind::Codes4, Kind::Model] {
        let replaced = index.with_store(|store| {
            let descriptor = store.view().rows(kind).expect("it is there").descriptor().clone();
            store.txn().expect("a transaction").replace(descriptor)
        });
        replaced.expect("open").expect("an empty object");
        for recall in [None, Some(0.95)] {
            let options = SearchOptions { recall, ..SearchOptions::k(3) };
            let hits = index.search(&rows[80 * 5..80 * 6], &options).expect("a search");
            assert_eq!((hits.ids[0], hits.distances[0]), (5, 0.0), "{kind:?} {recall:?}");
        }
    }
}
