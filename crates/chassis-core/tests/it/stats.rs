//! What `stats` says of codes, recall and memory, and what `check` says of codes that are not those of their vectors.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chassis_core::internals::format::derived::codes::FACTORS_LEN;
use chassis_core::internals::format::{Kind, checksum};
use chassis_core::{
    BatchOptions, CheckLevel, CodeStats, CompactOptions, ErrorKind, Metric, Mode, OpenOptions, Quantization,
    StatsOptions, VectorIndex,
};

use crate::child::{Spoken, command, say};
use crate::coded::{Small, add, latent};
use crate::support::{options, place, reopen};
use crate::surgery::Patient;

/// Links and candidates for a build that takes little time; codes do not depend on them.
fn quick(dimensions: usize, metric: Metric) -> OpenOptions {
    OpenOptions { m: Some(8), ef_construction: Some(32), ..options(dimensions, metric) }
}

fn codes(index: &VectorIndex) -> CodeStats {
    index.stats().expect("stats").codes.expect("codes")
}

#[test]
fn stats_say_what_codes_there_are() {
    let (auto, four, eight) = (Quantization::Auto, Quantization::Bits4, Quantization::Bits8);
    for (quantization, dimensions, kinds, components, projects) in [
        (auto, 96, &[four][..], 96, false),
        (auto, 320, &[four, eight], 240, true),
        (four, 320, &[four], 240, true),
        (eight, 96, &[eight], 0, false),
    ] {
        let small = Small::new(1_000);
        let rows = latent(4_000, dimensions, 3);
        let index =
            small.open(&OpenOptions { quantization: Some(quantization), ..quick(dimensions, Metric::L2) });
        add(&index, &rows[..999 * dimensions]);
        let stats = index.stats().expect("stats");
        assert_eq!((stats.codes, stats.recall), (None, None));
        add(&index, &rows[999 * dimensions..2_100 * dimensions]);
        let expected = CodeStats {
            generation: 1,
            kinds: kinds.to_vec(),
            components,
            projects,
            fitted_rows: 2_100,
            index_rows: 2_100,
            drift: 0.0,
        };
        assert_eq!(index.stats().expect("stats").codes, Some(expected.clone()));
        index.commit().expect("a commit");
        let recall = index.stats().expect("stats").recall.expect("a table");
        assert_eq!(recall.fitted_rows, 2_100);
        assert!((0.8..=0.995).contains(&recall.highest), "{}", recall.highest);
        add(&index, &rows[2_100 * dimensions..]);
        let more = codes(&index);
        assert_eq!(CodeStats { drift: 0.0, ..more.clone() }, expected);
        assert!(more.drift.abs() < 0.3, "{quantization:?} {dimensions}: {}", more.drift);
    }
    let none =
        Small::new(100).open(&OpenOptions { quantization: Some(Quantization::None), ..quick(8, Metric::L2) });
    add(&none, &latent(300, 8, 1));
    none.commit().expect("a commit");
    let stats = none.stats().expect("stats");
    assert_eq!((stats.codes, stats.recall.expect("a table").fitted_rows), (None, 300));
}

#[test]
fn a_large_sample_says_of_how_many_rows_it_is() {
    let index = Small::new(2_048).open(&quick(64, Metric::Cosine));
    add(&index, &latent(9_000, 64, 3));
    let codes = codes(&index);
    assert_eq!((codes.fitted_rows, codes.index_rows), (8_192, 9_000));
}

#[test]
fn a_model_counts_no_rows_of_a_batch_that_was_cancelled() {
    const ROWS: usize = 4_096;
    let rows = latent(ROWS, 64, 3);
    let other: Vec<f32> = latent(ROWS, 64, 4).iter().enumerate().map(|(i, x)| x + (i % 64) as f32).collect();
    let cancelled_after = |index: &VectorIndex, least: usize| {
        let cancel = AtomicBool::new(false);
        let progress = |done: usize, _: usize| cancel.store(done >= least, Ordering::Relaxed);
        let batch = BatchOptions { cancel: Some(&cancel), progress: Some(&progress), ..Default::default() };
        assert_eq!(index.add_batch(&rows, &batch).unwrap_err().kind(), ErrorKind::Cancelled);
        index.stats().expect("stats").deleted
    };
    let index = Small::new(1_000).open(&quick(64, Metric::L2));
    // So few rows have no codes, and those of a model that is all but new have no use.
    assert!(cancelled_after(&index, 0) < 1_000);
    assert_eq!(index.stats().expect("stats").codes, None);
    index.commit().expect("a commit");
    // Progress counts half of the rows that are linked.
    let linked = cancelled_after(&index, 600);
    assert!((1_200..ROWS as u64).contains(&linked), "{linked} rows linked");
    let before = codes(&index);
    assert!(before.index_rows == linked && (linked - 4..=linked).contains(&before.fitted_rows), "{before:?}");
    index.commit().expect("a commit");
    assert_eq!(codes(&index), before);
    add(&index, &other);
    let after = codes(&index);
    assert_eq!((after.generation, after.index_rows), (before.generation, linked));
    assert!(after.drift > 0.6, "rows of another kind, all of them newer: {after:?}");
    assert!(index.check(CheckLevel::Full).expect("a check").is_ok());
}

#[test]
fn drift_tells_rows_of_another_kind_from_more_of_the_same() {
    const ROWS: usize = 4_096;
    for (dimensions, metric) in
        [(96, Metric::L2), (320, Metric::L2), (320, Metric::Cosine), (320, Metric::Ip)]
    {
        let what = format!("{metric:?} {dimensions}");
        let rows = latent(2 * ROWS, dimensions, 3);
        let (first, same) = rows.split_at(ROWS * dimensions);
        // A mean that moved by some times the spread of the rows, and rows of another subspace, which only a projection
        // cares for: a rotation keeps all directions.
        let moved: Vec<f32> =
            same.iter().enumerate().map(|(i, x)| x + [9.0, -9.0, 3.0][i % dimensions % 3]).collect();
        let other = latent(ROWS, dimensions, 77);
        let index = Small::new(2_048).open(&quick(dimensions, metric));
        add(&index, first);
        index.commit().expect("a commit");
        assert_eq!(codes(&index).drift, 0.0, "{what}: nothing was added");
        add(&index, &same[..63 * dimensions]);
        assert_eq!(codes(&index).drift, 0.0, "{what}: too few to tell");
        index.rollback().expect("back");
        for (kind, added, range) in [
            ("same", same, -0.25..0.25),
            ("moved", &moved, 1.0..f32::INFINITY),
            ("other", &other, if dimensions > 240 { 0.6..f32::INFINITY } else { -0.5..0.25 }),
            ("same again", same, -0.25..0.25),
        ] {
            add(&index, added);
            let drift = codes(&index).drift;
            println!("{what}, {kind}: {drift}");
            assert!(range.contains(&drift), "{what}, {kind}: {drift}");
            assert_eq!(codes(&index).drift, drift);
            index.rollback().expect("back");
            assert_eq!(codes(&index).drift, 0.0, "{what}: as before");
        }
    }
}

#[test]
fn a_compaction_mends_drift() {
    const ROWS: usize = 2_048;
    let index = Small::new(2_048).open(&quick(320, Metric::L2));
    add(&index, &latent(ROWS, 320, 3));
    index.commit().expect("a commit");
    add(&index, &latent(ROWS, 320, 77));
    let before = codes(&index);
    assert!(before.drift > 0.6 && before.index_rows == ROWS as u64, "{before:?}");
    index.compact(&CompactOptions::default()).expect("compacted");
    let after = codes(&index);
    assert!(after.drift == 0.0 && after.index_rows == 2 * ROWS as u64, "{after:?}");
}

#[test]
fn rows_without_distances_have_no_drift() {
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        let index = Small::new(500).open(&quick(64, metric));
        add(&index, &[0.5; 64 * 600]);
        add(&index, &[0.5; 64 * 300]);
        assert_eq!(codes(&index).drift, 0.0, "{metric:?}: copies of one vector");
        add(&index, &latent(900, 64, 3));
        let drift = codes(&index).drift;
        assert!(drift.is_finite() && drift > 1.0, "{metric:?}: a model of one vector for others: {drift}");
    }
}

/// A file of one chunk of each kind of codes, 320 dimensions.
pub fn build(path: &Path) {
    let index = VectorIndex::open(path, &quick(320, Metric::L2)).expect("it opens");
    add(&index, &latent(2_100, 320, 5));
    index.commit().expect("a commit");
    index.close().expect("it closes");
    say("built");
}

/// The codes and places of what a full check finds.
fn found(path: &Path) -> Vec<(String, String)> {
    let report = reopen(path, Mode::ReadOnly).check(CheckLevel::Full).expect("a check");
    report.problems.into_iter().map(|p| (p.code.to_owned(), p.place)).collect()
}

#[test]
fn check_finds_codes_that_are_not_those_of_their_vectors() {
    let (_dir, path) = place();
    build(&path);
    let good = Patient::new(std::fs::read(&path).expect("a file"));
    let entry = |kind: Kind| good.object(kind).stride as usize;
    let (four, eight) = (entry(Kind::Codes4), entry(Kind::Codes8));
    let check = |kind: Kind, at: usize, change: &dyn Fn(&mut u8)| {
        let mut patient = good.clone();
        let rows = 1usize << patient.object(kind).chunk_shift;
        let stride = patient.object(kind).stride as usize;
        let chunk = at / (rows * stride);
        change(&mut patient.content(kind, chunk as u64)[at - chunk * rows * stride]);
        patient.sign(kind, chunk as u64);
        std::fs::write(&path, &patient.bytes).expect("written");
        found(&path)
    };
    assert_eq!(check(Kind::Codes4, 0, &|_| ()), []);
    let of = |code: &str, place: &str| [(code.to_owned(), place.to_owned())];
    // A code off by one in each kind, padding, both factors (the last byte but one has bits that count).
    for (kind, stride) in [(Kind::Codes4, four), (Kind::Codes8, eight)] {
        for at in [3, stride - FACTORS_LEN - 1, stride - 6, stride - 2] {
            let place = check(kind, 1_234 * stride + at, &|byte| *byte ^= 1);
            assert_eq!(place, of("code", "node 1234"), "{kind:?}, byte {at}");
        }
    }
    // Entries: 64 bytes, up to 64 node numbers, then records.
    let place = format!("entry 2, node {}", 2 * 2_100 / 32);
    assert_eq!(check(Kind::EntryBlock, 320 + 2 * four + 7, &|byte| *byte ^= 1), of("entry", &place));
    let past = check(Kind::EntryBlock, 64 + 4 * 2 + 3, &|byte| *byte = 0x7f);
    assert_eq!(past, of("entry", &format!("entry 2, node {}", 2 * 2_100 / 32 + (0x7f << 24))));
    assert_eq!(check(Kind::EntryBlock, 4, &|byte| *byte = 65), of("damaged", "entry block"));
    assert_eq!(check(Kind::Model, 4, &|byte| *byte = 7), of("damaged", "model"));
    // Any entry of the mean moves every record, and no more than a thousand are listed.
    let moved = check(Kind::Model, entry(Kind::Model) + 3, &|byte| *byte ^= 0x80);
    assert_eq!((moved.len(), moved[0].0.as_str()), (1_000, "code"));
    // What a search passes over is no damage.
    assert_eq!(check(Kind::Model, 0, &|byte| *byte = 9), []);
    assert_eq!(check(Kind::EntryBlock, 0, &|byte| *byte = 9), []);
    let mut patient = good.clone();
    patient.descriptor(Kind::Codes4, 6)[0] ^= 1;
    patient.sign_commit();
    std::fs::write(&path, &patient.bytes).expect("written");
    assert_eq!(found(&path), []);
}

/// Has another process build the file of [`build`] with kernels that are not the best this CPU has.
fn build_with(kernel: &str, path: &Path) {
    let program = std::env::current_exe().expect("the test binary");
    let mut command = command(program, &[], "build", path, 0);
    command.env("CHASSIS_KERNEL", kernel).env_remove("CHASSIS_EXPECT_KERNEL");
    assert_eq!(Spoken::start(command).next().as_deref(), Some("built"));
}

#[test]
fn codes_of_plain_kernels_are_sound_to_those_with_vector_instructions() {
    let ((_dir, path), (_other, here)) = (place(), place());
    build_with("scalar", &path);
    assert_eq!(found(&path), []);
    build(&here);
    let digest = |path: &Path| {
        let mut patient = Patient::new(std::fs::read(path).expect("a file"));
        checksum::crc(patient.content(Kind::Codes4, 0))
    };
    let is_plain = reopen(&here, Mode::ReadOnly).stats().expect("stats").kernel == "scalar";
    assert_eq!(digest(&path) == digest(&here), is_plain, "the records differ where kernels do");
}

#[test]
fn kernels_with_vector_instructions_build_the_same_file() {
    let ((_dir, path), (_other, here)) = (place(), place());
    build_with("avx2", &path);
    build(&here);
    let read = |path: &Path| std::fs::read(path).expect("a file");
    assert!(read(&path) == read(&here), "the kernels of this CPU against those of AVX2");
}

#[test]
fn huge_pages_are_counted_when_asked_for() {
    let (_dir, path) = place();
    let index = VectorIndex::open(&path, &quick(320, Metric::L2)).expect("it opens");
    add(&index, &latent(8_000, 320, 5));
    index.commit().expect("a commit");
    assert_eq!(index.stats().expect("stats").huge_page_bytes, None);
    index.close().expect("it closes");
    let index = reopen(&path, Mode::ReadOnly);
    index.warm().expect("it is read in");
    let stats = index.stats_with(&StatsOptions { huge_pages: true }).expect("stats");
    let huge = stats.huge_page_bytes.expect("asked for");
    assert!(huge <= stats.mapped_bytes && huge.is_multiple_of(2 << 20), "{huge} of {}", stats.mapped_bytes);
    let nothing = Small::new(100).open(&options(8, Metric::L2));
    let stats = nothing.stats_with(&StatsOptions { huge_pages: true }).expect("stats");
    assert_eq!(stats.huge_page_bytes, Some(0), "memory of no file");
}
