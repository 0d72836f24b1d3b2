//! Every instruction set against the definition: all lengths, any alignment, values at the edges.

use super::scalar::Scalar;
use super::*;

/// Seeded values between -1 and 1.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn close(got: f32, expected: f32, scale: f32) -> bool {
    (got.is_nan() && expected.is_nan()) || got == expected || (got - expected).abs() <= 2e-6 * scale
}

/// All distances of a pair, and the size their rounding errors are measured against.
fn check_pair<L: Lanes>(lanes: L, q: &[f32], v: &[f32]) {
    let finite = |x: f32| if x.is_finite() { x.abs() } else { 0.0 };
    let scale: f32 = q.iter().zip(v).map(|(&q, &v)| (finite(q) + finite(v)).powi(2)).sum();
    let pairs = [
        (lanes.l2(q, v), Scalar.l2(q, v)),
        (lanes.dot(q, v), Scalar.dot(q, v)),
        (lanes.cosine(q, v).0, Scalar.cosine(q, v).0),
        (lanes.cosine(q, v).1, Scalar.cosine(q, v).1),
    ];
    for (i, (got, expected)) in pairs.into_iter().enumerate() {
        assert!(close(got, expected, scale), "distance {i}, length {}: {got} for {expected}", q.len());
    }
}

/// Grouped forms against single ones, to the bit.
fn check_group<L: Lanes>(lanes: L, q: &[f32], v: [&[f32]; 4]) {
    let bits = |values: [f32; 4]| values.map(f32::to_bits);
    assert_eq!(bits(lanes.l2_4(q, v)), bits(v.map(|v| lanes.l2(q, v))), "l2, length {}", q.len());
    assert_eq!(bits(lanes.dot_4(q, v)), bits(v.map(|v| lanes.dot(q, v))), "dot, length {}", q.len());
    let (dots, norms) = lanes.cosine_4(q, v);
    assert_eq!(bits(dots), bits(v.map(|v| lanes.cosine(q, v).0)), "cosine, length {}", q.len());
    assert_eq!(bits(norms), bits(v.map(|v| lanes.cosine(q, v).1)), "norm, length {}", q.len());
}

struct EveryLength;
impl WithLanes for EveryLength {
    type Output = ();
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) {
        let (q, v) = (values(300, 1), values(1_300, 2));
        for len in 0..=257 {
            for start in [0, 1, 3, 7] {
                let q = &q[start..][..len];
                let rows = [0, 257, 515, 773].map(|at| &v[at + start..][..len]);
                rows.iter().for_each(|v| check_pair(lanes, q, v));
                check_group(lanes, q, rows);
            }
        }
    }
}

struct EdgeValues;
impl WithLanes for EdgeValues {
    type Output = ();
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) {
        let denormal = f32::MIN_POSITIVE / 8.0;
        let edges =
            [0.0, -0.0, denormal, -denormal, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN];
        for len in [1, 5, 8, 31, 32, 33, 40, 100] {
            for (i, &a) in edges.iter().enumerate() {
                for &b in &edges {
                    let (mut q, mut v) = (values(len, 3), values(len, 4));
                    q[i % len] = a;
                    v[i % len] = b;
                    check_pair(lanes, &q, &v);
                    check_group(lanes, &q, [&v, &q, &v, &q]);
                }
            }
        }
        let tiny = [denormal; 40];
        assert_eq!((lanes.l2(&tiny, &tiny), lanes.dot(&tiny, &[1.0; 40])), (0.0, 40.0 * denormal));
    }
}

/// Values and sums that are exact in f32, so that every order of summation gives them.
struct Exact;
impl WithLanes for Exact {
    type Output = ();
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) {
        for len in 0..=257usize {
            let q: Vec<f32> = (0..len).map(|i| (i % 7) as f32).collect();
            let v: Vec<f32> = (0..len).map(|i| (i % 5) as f32 - 2.0).collect();
            let sum = |f: fn(f32, f32) -> f32| q.iter().zip(&v).map(|(q, v)| f(*q, *v)).sum::<f32>();
            assert_eq!(lanes.l2(&q, &v), sum(|q, v| (q - v) * (q - v)));
            assert_eq!(lanes.dot(&q, &v), sum(|q, v| q * v));
            assert_eq!(lanes.cosine(&q, &v), (sum(|q, v| q * v), sum(|_, v| v * v)));
        }
    }
}

/// Tiles of every length against f64, within the rounding that any order of summation keeps to.
struct Tiles;
impl WithLanes for Tiles {
    type Output = ();
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) {
        for len in (0..70).chain([100, 257, 1_000]) {
            check_tile(len, |queries, rows, tile| lanes.tile(queries, rows, tile));
        }
    }
}

fn check_tile(len: usize, tile_of: impl Fn(&[f32], [&[f32]; TILE_ROWS], &mut Tile)) {
    let (queries, rows) = (values(len * TILE_QUERIES, 5), values(len * TILE_ROWS + 3, 6));
    let rows: [&[f32]; TILE_ROWS] = std::array::from_fn(|row| &rows[row * len + 3..][..len]);
    let mut tile = [[f32::NAN; TILE_QUERIES]; TILE_ROWS];
    tile_of(&queries, rows, &mut tile);
    for (row, products) in rows.iter().zip(tile) {
        for (lane, product) in products.into_iter().enumerate() {
            let terms = || (0..len).map(|i| queries[i * TILE_QUERIES + lane] as f64 * row[i] as f64);
            let (sum, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
            let off = (product as f64 - sum).abs();
            assert!(off <= 1.01 * len as f64 * size / (1 << 24) as f64, "length {len}: off by {off}");
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn tiles_of_avx2_are_right_where_avx512_takes_their_place() {
    struct Generic(super::avx2::Avx2);
    impl WithLanes for Generic {
        type Output = ();
        fn call<L: Lanes>(self, _: L) {
            for len in (0..70).chain([100, 257, 1_000]) {
                check_tile(len, |queries, rows, out| tile::generic(self.0, queries, rows, out));
            }
        }
    }
    match super::avx2::Avx2::detect() {
        Some(lanes) => lanes.run(Generic(lanes)),
        None => eprintln!("this CPU has no AVX2: not tested"),
    }
}

/// A test of each piece of work for each instruction set this CPU has.
macro_rules! every_isa {
    ($($test:ident => $work:expr;)*) => {
        every_isa! { @isa plain, Some(Scalar); $($test => $work;)* }
        #[cfg(target_arch = "x86_64")]
        every_isa! { @isa vnni, crate::kernels::vnni::Vnni::detect(); $($test => $work;)* }
        #[cfg(target_arch = "x86_64")]
        every_isa! { @isa avx2, crate::kernels::avx2::Avx2::detect(); $($test => $work;)* }
        #[cfg(target_arch = "aarch64")]
        every_isa! { @isa neon, crate::kernels::neon::Neon::detect(); $($test => $work;)* }
    };
    (@isa $isa:ident, $lanes:expr; $($test:ident => $work:expr;)*) => {
        mod $isa {
            use super::*;

            $(#[test]
            fn $test() {
                match $lanes {
                    Some(lanes) => lanes.run($work),
                    None => eprintln!("this CPU has no {}: not tested", stringify!($isa)),
                }
            })*
        }
    };
}
pub(super) use every_isa;

every_isa! {
    agrees_with_the_definition_at_every_length => EveryLength;
    agrees_with_the_definition_on_nan_infinity_and_denormals => EdgeValues;
    is_exact_on_small_integers => Exact;
    tiles_are_off_by_rounding_alone => Tiles;
}

struct Name;
impl WithLanes for Name {
    type Output = &'static str;
    fn call<L: Lanes>(self, _: L) -> &'static str {
        std::any::type_name::<L>()
    }
}

#[test]
fn dispatch_runs_what_is_active() {
    let name = dispatch(Name).to_lowercase();
    assert!(name.ends_with(active().name()), "{name} against {}", active().name());
    if let Ok(expected) = std::env::var("CHASSIS_EXPECT_KERNEL") {
        assert_eq!(active().name(), expected);
    }
}

#[test]
fn bytes_are_read_in_place() {
    let floats = [1.5f32, -2.0, 3.25];
    let bytes: Vec<u8> = floats.iter().flat_map(|f| f.to_le_bytes()).collect();
    let mut aligned = vec![0.0f32; 4];
    // SAFETY: the bytes of four floats, for the length of this test.
    let view = unsafe { std::slice::from_raw_parts_mut(aligned.as_mut_ptr().cast::<u8>(), 16) };
    view[..12].copy_from_slice(&bytes);
    assert_eq!(f32s(&view[..12]), floats);
    assert_eq!(f32s(&view[..11]), &floats[..2]);
    assert!(f32s(&view[1..]).is_empty(), "a row that is not aligned is refused, not copied");
    prefetch(&view[..0]);
    prefetch(view);
    prefetch_words(&[]);
}
