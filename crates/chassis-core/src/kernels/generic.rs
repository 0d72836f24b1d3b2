//! Each distance once, over any instruction set.
//!
//! A row has four partial sums of eight lanes: enough chains to hide the latency of a fused multiply-add, few
//! enough that two rows and the query stay in sixteen registers. So a group of four runs as two pairs, and each
//! load of the query serves two rows. Inner product with length has eight sums a row and is bound by arithmetic,
//! not by loads: there the rows go one by one.

use super::lanes::Simd;
use super::tile::{TILE_ROWS, Tile};
use super::{CodeQuery, Lanes, PANEL_ROWS, RecordQuery, WithLanes, codes};

const SUMS: usize = 4;
const BLOCK: usize = SUMS * 8;

/// What is summed over the elements of a pair.
trait Term {
    /// One partial sum.
    type Sum<S: Simd>: Copy;
    /// The whole sum.
    type Total: Copy + Default;
    fn zero<S: Simd>(s: S) -> Self::Sum<S>;
    fn step<S: Simd>(s: S, sum: Self::Sum<S>, q: S::V, v: S::V) -> Self::Sum<S>;
    fn total<S: Simd>(s: S, sums: [Self::Sum<S>; SUMS]) -> Self::Total;
}

#[inline(always)]
fn tree<S: Simd>(s: S, sums: [S::V; SUMS]) -> f32 {
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

struct SquaredDifference;
impl Term for SquaredDifference {
    type Sum<S: Simd> = S::V;
    type Total = f32;
    #[inline(always)]
    fn zero<S: Simd>(s: S) -> S::V {
        s.zero()
    }
    #[inline(always)]
    fn step<S: Simd>(s: S, sum: S::V, q: S::V, v: S::V) -> S::V {
        let d = s.sub(q, v);
        s.mul_add(d, d, sum)
    }
    #[inline(always)]
    fn total<S: Simd>(s: S, sums: [S::V; SUMS]) -> f32 {
        tree(s, sums)
    }
}

struct Product;
impl Term for Product {
    type Sum<S: Simd> = S::V;
    type Total = f32;
    #[inline(always)]
    fn zero<S: Simd>(s: S) -> S::V {
        s.zero()
    }
    #[inline(always)]
    fn step<S: Simd>(s: S, sum: S::V, q: S::V, v: S::V) -> S::V {
        s.mul_add(q, v, sum)
    }
    #[inline(always)]
    fn total<S: Simd>(s: S, sums: [S::V; SUMS]) -> f32 {
        tree(s, sums)
    }
}

struct ProductAndLength;
impl Term for ProductAndLength {
    type Sum<S: Simd> = (S::V, S::V);
    type Total = (f32, f32);
    #[inline(always)]
    fn zero<S: Simd>(s: S) -> (S::V, S::V) {
        (s.zero(), s.zero())
    }
    #[inline(always)]
    fn step<S: Simd>(s: S, sum: (S::V, S::V), q: S::V, v: S::V) -> (S::V, S::V) {
        (s.mul_add(q, v, sum.0), s.mul_add(v, v, sum.1))
    }
    #[inline(always)]
    fn total<S: Simd>(s: S, sums: [(S::V, S::V); SUMS]) -> (f32, f32) {
        let [a, b, c, d] = sums;
        (tree(s, [a.0, b.0, c.0, d.0]), tree(s, [a.1, b.1, c.1, d.1]))
    }
}

/// Adds eight elements of each row to partial sum `i`.
///
/// # Safety
/// Each slice holds at least `at + 8` floats.
#[inline(always)]
unsafe fn step<S: Simd, T: Term, const N: usize>(
    s: S,
    sums: &mut [[T::Sum<S>; SUMS]; N],
    i: usize,
    q: &[f32],
    v: &[&[f32]; N],
    at: usize,
) {
    debug_assert!(q.len() >= at + 8 && v.iter().all(|v| v.len() >= at + 8));
    // SAFETY: by the caller's promise.
    unsafe {
        let q = s.load(q.as_ptr().add(at));
        for row in 0..N {
            sums[row][i] = T::step(s, sums[row][i], q, s.load(v[row].as_ptr().add(at)));
        }
    }
}

/// Sums over `N` rows at once; a row's bits do not depend on `N`.
#[inline(always)]
fn totals<S: Simd, T: Term, const N: usize>(s: S, q: &[f32], v: [&[f32]; N]) -> [T::Total; N] {
    let len = v.iter().fold(q.len(), |len, v| len.min(v.len()));
    debug_assert!(v.iter().all(|v| v.len() == q.len()), "a pair has one length");
    let mut sums = [[T::zero(s); SUMS]; N];
    let mut at = 0;
    // SAFETY: each step follows a comparison of its end with `len`, which no slice is shorter than.
    unsafe {
        while at + BLOCK <= len {
            step::<S, T, N>(s, &mut sums, 0, q, &v, at);
            step::<S, T, N>(s, &mut sums, 1, q, &v, at + 8);
            step::<S, T, N>(s, &mut sums, 2, q, &v, at + 16);
            step::<S, T, N>(s, &mut sums, 3, q, &v, at + 24);
            at += BLOCK;
        }
        // At most three whole parts are left; written out, so that the sums stay in registers.
        if at + 8 <= len {
            step::<S, T, N>(s, &mut sums, 0, q, &v, at);
            at += 8;
        }
        if at + 8 <= len {
            step::<S, T, N>(s, &mut sums, 1, q, &v, at);
            at += 8;
        }
        if at + 8 <= len {
            step::<S, T, N>(s, &mut sums, 2, q, &v, at);
            at += 8;
        }
    }
    if at < len {
        let q = s.load_part(&q[at..len]);
        for row in 0..N {
            sums[row][3] = T::step(s, sums[row][3], q, s.load_part(&v[row][at..len]));
        }
    }
    // A loop, not `map`: a closure is compiled without the instruction set and called from here.
    let mut out = [T::Total::default(); N];
    for row in 0..N {
        out[row] = T::total(s, sums[row]);
    }
    out
}

#[inline(always)]
fn four<S: Simd, T: Term<Total = f32>>(s: S, q: &[f32], v: [&[f32]; 4]) -> [f32; 4] {
    let [a, b] = totals::<S, T, 2>(s, q, [v[0], v[1]]);
    let [c, d] = totals::<S, T, 2>(s, q, [v[2], v[3]]);
    [a, b, c, d]
}

impl<S: Simd> Lanes for S {
    #[inline(always)]
    fn l2(self, q: &[f32], v: &[f32]) -> f32 {
        totals::<S, SquaredDifference, 1>(self, q, [v])[0]
    }

    #[inline(always)]
    fn l2_4(self, q: &[f32], v: [&[f32]; 4]) -> [f32; 4] {
        four::<S, SquaredDifference>(self, q, v)
    }

    #[inline(always)]
    fn dot(self, q: &[f32], v: &[f32]) -> f32 {
        totals::<S, Product, 1>(self, q, [v])[0]
    }

    #[inline(always)]
    fn dot_4(self, q: &[f32], v: [&[f32]; 4]) -> [f32; 4] {
        four::<S, Product>(self, q, v)
    }

    #[inline(always)]
    fn cosine(self, q: &[f32], v: &[f32]) -> (f32, f32) {
        totals::<S, ProductAndLength, 1>(self, q, [v])[0]
    }

    #[inline(always)]
    fn cosine_4(self, q: &[f32], v: [&[f32]; 4]) -> ([f32; 4], [f32; 4]) {
        let [a, b, c, d] =
            [self.cosine(q, v[0]), self.cosine(q, v[1]), self.cosine(q, v[2]), self.cosine(q, v[3])];
        ([a.0, b.0, c.0, d.0], [a.1, b.1, c.1, d.1])
    }

    #[inline(always)]
    fn estimate_4bit(self, query: CodeQuery<'_, i8>, records: [&[u8]; 4]) -> [f32; 4] {
        codes::estimate_4bit(self, query, records)
    }

    #[inline(always)]
    fn estimate_8bit(self, query: CodeQuery<'_, i16>, records: [&[u8]; 4]) -> [f32; 4] {
        codes::estimate_8bit(self, query, records)
    }

    #[inline(always)]
    fn estimate_8bit_codes(self, query: RecordQuery<'_>, records: [&[u8]; 4]) -> [f32; 4] {
        codes::estimate_8bit_codes(self, query, records)
    }

    #[inline(always)]
    fn panel_4bit(self, values: &[i8], panel: &[u8]) -> [i32; PANEL_ROWS] {
        codes::panel_4bit(self, values, panel)
    }

    #[inline(always)]
    fn tile(self, queries: &[f32], rows: [&[f32]; TILE_ROWS], tile: &mut Tile) {
        self.products(queries, rows, tile);
    }

    #[inline(always)]
    fn run<W: WithLanes>(self, work: W) -> W::Output {
        self.run_simd(work)
    }
}
