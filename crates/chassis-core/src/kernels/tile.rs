//! Products of twelve rows with sixteen queries: the inner loop of a scan for many queries.
//!
//! A lane is a query, so nothing is added across lanes, and each load of a row's element serves sixteen products.
//! Sums run in the order of elements: they differ in the last places from [`Lanes::dot`](super::Lanes::dot) and from
//! one instruction set to the next. Who compares with them allows for that (`index/bounds.rs`).

use super::lanes::Simd;

/// Queries of a tile: each element of the sixteen lies side by side, padded with zeros.
pub const TILE_QUERIES: usize = 16;
/// Rows of a tile.
pub const TILE_ROWS: usize = 12;
/// The products of each row with each query.
pub type Tile = [[f32; TILE_QUERIES]; TILE_ROWS];

/// Rows whose sums stay in sixteen registers, beside two parts of the queries and one element of a row.
const ROWS: usize = 6;

/// Elements that the queries and every row have.
#[inline(always)]
fn common(queries: &[f32], rows: &[&[f32]; TILE_ROWS]) -> usize {
    let mut len = queries.len() / TILE_QUERIES;
    for row in rows {
        debug_assert_eq!(row.len(), len, "rows and queries have one length");
        len = len.min(row.len());
    }
    len
}

/// Two halves of the tile, one after the other.
#[inline(always)]
pub(super) fn generic<S: Simd>(s: S, queries: &[f32], rows: [&[f32]; TILE_ROWS], tile: &mut Tile) {
    let len = common(queries, &rows);
    let [a, b, c, d, e, f, g, h, i, j, k, l] = rows;
    let (first, second) = tile.split_at_mut(ROWS);
    // SAFETY: `len` elements are in every row, and sixteen times as many in the queries.
    unsafe {
        half(s, queries, [a, b, c, d, e, f], len, first);
        half(s, queries, [g, h, i, j, k, l], len, second);
    }
}

/// # Safety
/// Every row has `len` floats, and the queries sixteen times as many.
#[inline(always)]
unsafe fn half<S: Simd>(
    s: S,
    queries: &[f32],
    rows: [&[f32]; ROWS],
    len: usize,
    tile: &mut [[f32; TILE_QUERIES]],
) {
    let mut sums = [[s.zero(); 2]; ROWS];
    for at in 0..len {
        // SAFETY: `at` is below `len`, by the caller's promise about it.
        unsafe {
            let query = queries.as_ptr().add(at * TILE_QUERIES);
            let (low, high) = (s.load(query), s.load(query.add(8)));
            for row in 0..ROWS {
                let element = s.splat(*rows[row].as_ptr().add(at));
                sums[row][0] = s.mul_add(low, element, sums[row][0]);
                sums[row][1] = s.mul_add(high, element, sums[row][1]);
            }
        }
    }
    for row in 0..ROWS {
        let (low, high) = tile[row].split_at_mut(8);
        s.store(sums[row][0], low);
        s.store(sums[row][1], high);
    }
}

/// Plain Rust.
#[inline(always)]
pub(super) fn plain(queries: &[f32], rows: [&[f32]; TILE_ROWS], tile: &mut Tile) {
    let len = common(queries, &rows);
    for (row, out) in rows.iter().zip(tile) {
        let mut sums = [0.0; TILE_QUERIES];
        for (queries, element) in queries.as_chunks::<TILE_QUERIES>().0.iter().zip(&row[..len]) {
            for lane in 0..TILE_QUERIES {
                sums[lane] += queries[lane] * element;
            }
        }
        *out = sums;
    }
}

/// Whether [`avx512`] may be called.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// The sixteen queries in one register: the tile's work in half the instructions. Only here, where the loop is bound
/// by arithmetic; a walk waits for memory.
///
/// # Safety
/// The CPU has AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn avx512(queries: &[f32], rows: [&[f32]; TILE_ROWS], tile: &mut Tile) {
    use std::arch::x86_64::*;
    let len = common(queries, &rows);
    let mut sums = [_mm512_setzero_ps(); TILE_ROWS];
    for at in 0..len {
        // SAFETY: `at` is below `len`, and that many elements are in every row and, times sixteen, in the queries.
        unsafe {
            let queries = _mm512_loadu_ps(queries.as_ptr().add(at * TILE_QUERIES));
            for row in 0..TILE_ROWS {
                let element = _mm512_set1_ps(*rows[row].as_ptr().add(at));
                sums[row] = _mm512_fmadd_ps(queries, element, sums[row]);
            }
        }
    }
    for row in 0..TILE_ROWS {
        // SAFETY: a row of the tile has sixteen floats.
        unsafe { _mm512_storeu_ps(tile[row].as_mut_ptr(), sums[row]) };
    }
}
