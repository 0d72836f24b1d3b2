//! From a product of another order of summation to what it proves about the exact distance: nothing that a scan for
//! many queries passes over can be as near as the results it holds.
//!
//! # The claim
//!
//! A row gets a *score*, `tile product * factor + addend`. Let `e` be its exact distance to the query (what
//! `VectorPoint::exact` computes, rounding and all). Then for each bound `t >= e`: `score >= least(t)`. So a row with
//! `score < least(t)` has `e > t`, and a scan that holds `k` results up to `t` need not measure it. A NaN on
//! either side proves nothing, and the row is measured: the comparison must be `!(score < least)`.
//!
//! # Why it holds
//!
//! `u = 2^-24` is the rounding of one operation, `n` the dimensions. A sum of `n` products in any order, fused or
//! not, is off by at most `n u / (1 - n u) * |q| |v|`. `g = 1.01 (n + 8) u` is larger than that with seven more
//! roundings in each term (`n u < 0.004`), and `g >= 9 u`. Write `N` for a squared length as computed: it is
//! `|v|^2 (1 +- g)`. `m` is what the query was scaled with, which rounds each component once.
//!
//! - **ip**, `m ~ 1 / |q|`: `e = -D`, and both `m D` and the tile's product are within `1.02 g |v|` of `m q.v`, so
//!   `e <= t` gives `product >= -m t - 2.04 g |v|`. The addend `3 g sqrt(N)` covers this and the rounding of itself
//!   and of the sum (`3 u |v|`).
//! - **cosine**, `m ~ 1 / |q|`, the very bits that the exact distance divides by: with `c = m q.v / |v|`, `e` is within
//!   `1.6 g + 5.3 u <= 2.2 g` of `1 - c`, and the score, product times `1 / sqrt(N)`, within `1.9 g` of `c`. So
//!   `e <= t` gives `score >= 1 - t - 4.1 g`.
//! - **l2**, `m = 1`: differences and squares round relative to themselves, so `d^2 <= t (1 + 1.01 g)` for the true
//!   distance `d`. From `2 q.v = |q|^2 + |v|^2 - d^2` and `|q| |v| <= (|q|^2 + |v|^2) / 2`, `e <= t` gives `product >=
//!   ((1 - g) (|q|^2 + |v|^2) - d^2) / 2`; in `N` that is `1 - 2.02 g`, and roundings of the score take `0.4 g`. `1 - 3 g`
//!   covers all, half of it in the row's addend, half in `least`.
//!
//! Overflow and underflow are outside of these terms. Lengths are therefore held between `2^-30` and `2^30`, where
//! neither matters: a row or query that is longer, or too short to divide by, gets NaN; a short one that is only
//! multiplied gets the margin of the shortest.

use crate::index::Metric;

/// The range of squared lengths that the claim is about.
const LOW: f32 = 1.0 / (1u64 << 60) as f32;
const HIGH: f32 = (1u64 << 60) as f32;

/// `g`, for vectors of so many dimensions.
#[derive(Clone, Copy)]
pub(crate) struct Margin(f64);

impl Margin {
    pub(crate) fn new(dimensions: usize) -> Margin {
        Margin(1.01 * (dimensions as f64 + 8.0) / (1u64 << 24) as f64)
    }

    /// A squared length less its margin.
    #[inline(always)]
    fn less(self, norm2: f32) -> f64 {
        norm2 as f64 - 3.0 * self.0 * norm2.max(LOW) as f64
    }
}

/// What a query is to the screen.
#[derive(Clone, Copy)]
pub(crate) struct Sides {
    pub(crate) margin: Margin,
    /// The query's squared length as computed.
    pub(crate) norm2: f32,
    /// What its components are multiplied by; NaN when nothing can be proven about it.
    pub(crate) scale: f32,
}

/// How products of tiles screen the rows of a scan.
impl Metric {
    /// What a query of this squared length is multiplied by.
    fn scale(self, norm2: f32) -> f32 {
        match self {
            Metric::L2 if norm2 <= HIGH => 1.0,
            Metric::L2 => f32::NAN,
            Metric::Ip | Metric::Cosine => inverse(norm2),
        }
    }

    /// Factor and addend of a row with this squared length.
    #[inline(always)]
    pub(crate) fn row(self, margin: Margin, norm2: f32) -> (f32, f32) {
        let addend = match self {
            Metric::Cosine => return (inverse(norm2), 0.0),
            Metric::Ip => 3.0 * margin.0 * (norm2.max(LOW) as f64).sqrt(),
            Metric::L2 => margin.less(norm2) * -0.5,
        };
        // Not `norm2 > HIGH`: the length of a damaged row may be NaN.
        if norm2 <= HIGH { (1.0, addend as f32) } else { (f32::NAN, f32::NAN) }
    }

    /// The claim's `least`, before its rounding.
    #[inline(always)]
    fn bound(self, query: Sides, distance: f64) -> f64 {
        let margin = query.margin;
        match self {
            Metric::Ip => -(query.scale as f64) * distance,
            Metric::Cosine => 1.0 - distance - 4.2 * margin.0,
            Metric::L2 => (margin.less(query.norm2) - distance * (1.0 + 1.01 * margin.0)) / 2.0,
        }
    }

    /// What the query's side of the screen is made of.
    pub(crate) fn sides(self, margin: Margin, norm2: f32) -> Sides {
        Sides { margin, norm2, scale: self.scale(norm2) }
    }

    /// A row whose score is below this one is farther than `distance`.
    #[inline(always)]
    pub(crate) fn least(self, query: Sides, distance: f32) -> f32 {
        (self.bound(query, distance as f64) as f32).next_down()
    }
}

#[inline(always)]
fn inverse(norm2: f32) -> f32 {
    if (LOW..=HIGH).contains(&norm2) { 1.0 / norm2.sqrt() } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{self, Lanes, TILE_QUERIES, TILE_ROWS, Tile, WithLanes};

    /// Values between -1 and 1, as multiples of a scale, around an offset.
    fn values(len: usize, seed: u64, scale: f32, offset: f32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..len).map(|_| (next() + offset) * scale).collect()
    }

    /// For each pair the claim at its tightest, `t = e`. Counts pairs, and those that a screen without margins
    /// would wrongly pass over.
    struct Claim<'a> {
        metric: Metric,
        queries: &'a [f32],
        rows: &'a [f32],
        dimensions: usize,
    }

    impl WithLanes for Claim<'_> {
        type Output = (usize, usize);

        fn call<L: Lanes>(self, lanes: L) -> (usize, usize) {
            let n = self.dimensions;
            let (margin, none) = (Margin::new(n), Margin(0.0));
            let (mut pairs, mut missed) = (0, 0);
            for query in self.queries.chunks_exact(n) {
                let sides = self.metric.sides(margin, lanes.dot(query, query));
                let prepared = self.metric.prepare(lanes, query);
                let mut packed = vec![0.0; n * TILE_QUERIES];
                for (i, value) in query.iter().enumerate() {
                    packed[TILE_QUERIES * i + 7] = value * sides.scale;
                }
                for row in self.rows.chunks_exact(n) {
                    let mut tile = Tile::default();
                    lanes.tile(&packed, [row; TILE_ROWS], &mut tile);
                    let exact = self.metric.one(lanes, query, prepared, row);
                    let far = |margin: Margin| {
                        let (factor, addend) = self.metric.row(margin, lanes.dot(row, row));
                        let least = self.metric.least(Sides { margin, ..sides }, exact);
                        tile[3][7] * factor + addend < least
                    };
                    assert!(!far(margin), "{n} dimensions: {query:?} and {row:?} at {exact}");
                    pairs += 1;
                    missed += far(none) as usize;
                }
            }
            (pairs, missed)
        }
    }

    fn check(metric: Metric, what: &str) {
        let (mut pairs, mut missed) = (0, 0);
        for dimensions in [1, 2, 7, 17, 100, 333] {
            for (seed, scale) in [1.0, 1e-3, 1e5, 1e-12, 1e-25, 1e12, 1e18, 1e-40].into_iter().enumerate() {
                for offset in [0.0, 0.9, 50.0] {
                    let queries = values(6 * dimensions, seed as u64 + 1, scale, offset);
                    let mut rows = values(40 * dimensions, seed as u64 + 77, scale, offset);
                    // The query itself, its opposite, a multiple, and one hardly away from it.
                    for factor in [1.0f32, -1.0, 3.7, 1.000_001] {
                        rows.extend(queries[..dimensions].iter().map(|v| v * factor));
                    }
                    rows.extend(vec![0.0; dimensions]);
                    let (queries, rows) = (&queries[..], &rows[..]);
                    let (all, some) = kernels::dispatch(Claim { metric, queries, rows, dimensions });
                    (pairs, missed) = (pairs + all, missed + some);
                }
            }
        }
        assert!(pairs > 30_000 && missed > 100, "{what}: {missed} of {pairs} pairs need the margin");
    }

    #[test]
    fn no_row_that_is_near_enough_is_passed_over() {
        check(Metric::L2, "l2");
        check(Metric::Ip, "ip");
        check(Metric::Cosine, "cosine");
    }

    #[test]
    fn what_the_claim_is_not_about_is_measured() {
        let margin = Margin::new(10);
        for norm2 in [f32::NAN, f32::INFINITY, 2.0 * HIGH] {
            for (factor, addend) in [
                Metric::L2.row(margin, norm2),
                Metric::Ip.row(margin, norm2),
                Metric::Cosine.row(margin, norm2),
            ] {
                assert!((1.0 * factor + addend).is_nan(), "{norm2}");
            }
            assert!(
                Metric::L2.scale(norm2).is_nan()
                    && Metric::Ip.scale(norm2).is_nan()
                    && Metric::Cosine.scale(norm2).is_nan()
            );
        }
        assert!(Metric::Cosine.row(margin, LOW / 2.0).0.is_nan() && Metric::Ip.scale(0.0).is_nan());
        let sides = Metric::Ip.sides(margin, 1.0);
        assert!(Metric::Ip.least(sides, f32::NAN).is_nan(), "a NaN among the results rules nothing out");
        assert_eq!(Metric::Ip.least(sides, f32::INFINITY), f32::NEG_INFINITY);
    }
}
