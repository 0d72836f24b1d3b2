//! A warm search allocates nothing: every allocation of this process is counted.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use chassis_core::{BatchOptions, Hits, Metric, OpenOptions, Quantization, SearchOptions, VectorIndex};

struct Counting;
static CALLS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on to the system allocator unchanged; counting touches no memory it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is ours.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is ours.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is ours.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_search_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alloc.chassis");
    let value = |i: usize| ((i * 2_654_435_761) % 1_000) as f32 / 500.0 - 1.0;
    // Walks over vectors, over codes of 4 bits, and over those of a projection with a second stage: rows of rank eight.
    for (dims, quantization) in
        [(48, Quantization::None), (96, Quantization::Auto), (300, Quantization::Auto)]
    {
        let component = |row: usize, d: usize| {
            (0..8).map(|i| value(row * 8 + i) * value(d * 8 + i + 77)).sum::<f32>()
                + 0.1 * value(row * dims + d)
        };
        let rows: Vec<f32> = (0..5_000 * dims).map(|i| component(i / dims, i % dims)).collect();
        for metric in [Metric::L2, Metric::Cosine, Metric::Ip] {
            let options = OpenOptions {
                dimensions: Some(dims),
                metric: Some(metric),
                quantization: Some(quantization),
                ..Default::default()
            };
            let index = VectorIndex::open(&path, &options).unwrap();
            index.add_batch(&rows, &BatchOptions::default()).unwrap();
            index.commit().unwrap();
            let k = SearchOptions::k(10);
            let efforts = [16, 100, 500].map(|ef| SearchOptions { ef_search: Some(ef), ..k });
            let others = [SearchOptions { exact: true, ..k }, SearchOptions { recall: Some(0.95), ..k }];
            for search in efforts.into_iter().chain(others) {
                assert_warm_searches_allocate_nothing(&index, &search, &rows, dims);
            }
            index.close().unwrap();
            std::fs::remove_file(&path).unwrap();
        }
    }
}

fn assert_warm_searches_allocate_nothing(
    index: &VectorIndex,
    search: &SearchOptions,
    rows: &[f32],
    dims: usize,
) {
    let mut hits = Hits::default();
    let run = |hits: &mut Hits| {
        for query in rows.chunks(dims).step_by(97) {
            index.search_into(query, search, hits).unwrap();
            assert_eq!(hits.len(), 10);
        }
    };
    run(&mut hits);
    let before = CALLS.load(Ordering::Relaxed);
    run(&mut hits);
    let metric = index.metric().unwrap();
    assert_eq!(CALLS.load(Ordering::Relaxed) - before, 0, "{metric:?} of {dims} dimensions, {search:?}");
}
