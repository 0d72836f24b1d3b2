//! AVX2 with FMA: eight floats in one register, or the codes of 32 bytes.

use std::arch::x86_64::*;

use super::WithLanes;
use super::codes::{PANEL_ROWS, PANEL_STEP, PANEL_VALUES};
use super::lanes::Simd;
use super::tile::{self, TILE_ROWS, Tile};

/// Exists only where the CPU has AVX2 and FMA, and the bit instructions that came with them.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, if this CPU gives it.
    pub fn detect() -> Option<Avx2> {
        let bits = is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2");
        let counts = is_x86_feature_detected!("lzcnt") && is_x86_feature_detected!("popcnt");
        let floats = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        (floats && bits && counts).then_some(Avx2(()))
    }
}

/// Never inlined: a function for each work, whoever runs it.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
#[inline(never)]
fn enter<W: WithLanes>(lanes: Avx2, work: W) -> W::Output {
    work.call(lanes)
}

/// Eight lanes on, then eight off: read at `8 - n`, it selects the first `n`.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// 32 bytes on, then 32 off: read at `32 - n`, it selects the first `n`.
pub(super) static BYTE_MASKS: [u8; 64] = {
    let mut masks = [0; 64];
    let mut at = 0;
    while at < 32 {
        masks[at] = u8::MAX;
        at += 1;
    }
    masks
};

/// Adds the products of one chunk of each record to its sixteen 16-bit sums. A chunk adds at most 4 * 15 * 128 =
/// 7,680 to a sum: four chunks fit, and no product saturates.
///
/// # Safety
/// The CPU has AVX2; 64 values are readable at `query`, and 32 bytes of each record from byte `at` on.
#[inline(always)]
unsafe fn add_chunk(sums: &mut [__m256i; 4], query: *const i8, records: [*const u8; 4], at: usize) {
    // SAFETY: by the caller's promise; the loads need no alignment.
    unsafe {
        let half = _mm256_set1_epi8(15);
        let (low, high) = (_mm256_loadu_si256(query.cast()), _mm256_loadu_si256(query.add(32).cast()));
        for row in 0..4 {
            let bytes = _mm256_loadu_si256(records[row].add(at).cast());
            let low = _mm256_maddubs_epi16(_mm256_and_si256(bytes, half), low);
            let high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16::<4>(bytes), half), high);
            sums[row] = _mm256_add_epi16(sums[row], _mm256_add_epi16(low, high));
        }
    }
}

/// Adds 16-bit sums to 32-bit ones.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn widen(wide: &mut [__m256i; 4], sums: [__m256i; 4]) {
    // SAFETY: by the caller's promise.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        for row in 0..4 {
            wide[row] = _mm256_add_epi32(wide[row], _mm256_madd_epi16(sums[row], ones));
        }
    }
}

/// The sum of the eight integers of each record.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn add_across(sums: [__m256i; 4]) -> __m128i {
    // SAFETY: by the caller's promise.
    unsafe {
        let (ab, cd) = (_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
        let halves = _mm256_hadd_epi32(ab, cd);
        _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
    }
}

/// Sixteen rows of a panel: 32 bytes a step, the low halves of eight rows and the high halves of eight others.
pub(super) const BLOCKS: usize = PANEL_ROWS / 16;
/// Steps of a panel whose products 16 bits hold: 2 * 15 * 128 each.
const NARROW_STEPS: usize = 8;

/// Adds to eight of the sums from `at` on.
///
/// # Safety
/// The CPU has AVX2, and there are sums up to `at + 8`.
#[inline(always)]
pub(super) unsafe fn add_to(sums: &mut [i32; PANEL_ROWS], at: usize, more: __m256i) {
    debug_assert!(at + 8 <= PANEL_ROWS);
    // SAFETY: by the caller's promise; neither load nor store needs alignment.
    unsafe {
        let place = sums.as_mut_ptr().add(at).cast::<__m256i>();
        _mm256_storeu_si256(place, _mm256_add_epi32(_mm256_loadu_si256(place), more));
    }
}

impl Simd for Avx2 {
    type V = __m256;
    type Quad = __m128i;

    #[inline(always)]
    fn zero(self) -> __m256 {
        // SAFETY: `self` exists, so the CPU has AVX2 and FMA; the same holds below.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: eight floats are readable, by the caller's promise; the load needs no alignment.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: see `zero`.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn store(self, v: __m256, to: &mut [f32]) {
        let to = &mut to[..8];
        // SAFETY: see `zero`; eight floats are written, and the store needs no alignment.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn load_part(self, from: &[f32]) -> __m256 {
        let n = from.len().min(8);
        // SAFETY: 8 - n + 8 is at most 16 mask words; a lane that is off is not read from memory.
        unsafe {
            let mask = _mm256_loadu_si256(MASKS.as_ptr().add(8 - n).cast());
            _mm256_maskload_ps(from.as_ptr(), mask)
        }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see `zero`.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see `zero`.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see `zero`.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        // SAFETY: see `zero`.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    unsafe fn products_4bit(self, query: *const i8, records: [*const u8; 4], chunks: usize) -> __m128i {
        // SAFETY: each chunk is below `chunks`, which query and records have by the caller's promise.
        unsafe {
            let zero = [_mm256_setzero_si256(); 4];
            let mut wide = zero;
            let mut chunk = 0;
            while chunk + 4 <= chunks {
                let mut sums = zero;
                add_chunk(&mut sums, query.add(64 * chunk), records, 32 * chunk);
                add_chunk(&mut sums, query.add(64 * chunk + 64), records, 32 * chunk + 32);
                add_chunk(&mut sums, query.add(64 * chunk + 128), records, 32 * chunk + 64);
                add_chunk(&mut sums, query.add(64 * chunk + 192), records, 32 * chunk + 96);
                widen(&mut wide, sums);
                chunk += 4;
            }
            if chunk + 2 <= chunks {
                let mut sums = zero;
                add_chunk(&mut sums, query.add(64 * chunk), records, 32 * chunk);
                add_chunk(&mut sums, query.add(64 * chunk + 64), records, 32 * chunk + 32);
                widen(&mut wide, sums);
            }
            add_across(wide)
        }
    }

    #[inline(always)]
    unsafe fn products_8bit(self, query: *const i16, records: [*const u8; 4], len: usize) -> __m128i {
        // SAFETY: a step reads 16 bytes and 16 values from below `len`, which query and records have by the
        // caller's promise; the loads need no alignment.
        unsafe {
            let mut sums = [_mm256_setzero_si256(); 4];
            let mut at = 0;
            while at + 16 <= len {
                let values = _mm256_loadu_si256(query.add(at).cast());
                for row in 0..4 {
                    let codes = _mm256_cvtepu8_epi16(_mm_loadu_si128(records[row].add(at).cast()));
                    sums[row] = _mm256_add_epi32(sums[row], _mm256_madd_epi16(codes, values));
                }
                at += 16;
            }
            add_across(sums)
        }
    }

    #[inline(always)]
    unsafe fn products_8bit_codes(self, query: *const u8, records: [*const u8; 4], len: usize) -> __m128i {
        // SAFETY: a step reads 32 bytes from below `len` rounded up to a multiple of 32, which query and records have
        // by the caller's promise; the loads need no alignment. `32 - left` is at most 31, and 64 mask bytes exist.
        unsafe {
            let (middle, ones) = (_mm256_set1_epi8(-128), _mm256_set1_epi16(1));
            let mut sums = [_mm256_setzero_si256(); 4];
            let mut at = 0;
            while at < len {
                let values = _mm256_xor_si256(_mm256_loadu_si256(query.add(at).cast()), middle);
                // From -127 on: a sign is put on it.
                let mut values = _mm256_max_epi8(values, _mm256_set1_epi8(-127));
                if len - at < 32 {
                    let mask = _mm256_loadu_si256(BYTE_MASKS.as_ptr().add(32 - (len - at)).cast());
                    values = _mm256_and_si256(values, mask);
                }
                for row in 0..4 {
                    let codes = _mm256_xor_si256(_mm256_loadu_si256(records[row].add(at).cast()), middle);
                    // At most 2 * 128 * 127 = 32,512: no pair saturates.
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(values, codes));
                    sums[row] = _mm256_add_epi32(sums[row], _mm256_madd_epi16(pairs, ones));
                }
                at += 32;
            }
            add_across(sums)
        }
    }

    #[inline(always)]
    unsafe fn panel_4bit(self, values: *const i8, panel: *const u8, steps: usize) -> [i32; PANEL_ROWS] {
        // SAFETY: each step is below `steps`, which values and panel have by the caller's promise, and ten times eight
        // sums are all there are; the loads need no alignment.
        unsafe {
            let mut sums = [0; PANEL_ROWS];
            let (half, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
            for first in (0..steps).step_by(NARROW_STEPS) {
                let (mut lows, mut highs) =
                    ([_mm256_setzero_si256(); BLOCKS], [_mm256_setzero_si256(); BLOCKS]);
                for step in first..steps.min(first + NARROW_STEPS) {
                    let four = values.add(PANEL_VALUES * step).cast::<i32>().read_unaligned();
                    let four = _mm256_set1_epi32(four);
                    for block in 0..BLOCKS {
                        let bytes = _mm256_loadu_si256(panel.add(PANEL_STEP * step + 32 * block).cast());
                        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), half);
                        let low = _mm256_maddubs_epi16(_mm256_and_si256(bytes, half), four);
                        lows[block] = _mm256_add_epi16(lows[block], low);
                        highs[block] = _mm256_add_epi16(highs[block], _mm256_maddubs_epi16(upper, four));
                    }
                }
                for block in 0..BLOCKS {
                    add_to(&mut sums, 16 * block, _mm256_madd_epi16(lows[block], ones));
                    add_to(&mut sums, 16 * block + 8, _mm256_madd_epi16(highs[block], ones));
                }
            }
            sums
        }
    }

    #[inline(always)]
    fn twice(self, quad: __m128i) -> __m128i {
        // SAFETY: see `zero`.
        unsafe { _mm_add_epi32(quad, quad) }
    }

    #[inline(always)]
    unsafe fn estimates(self, quad: __m128i, offset: i32, scale: f32, factors: [*const u8; 4]) -> [f32; 4] {
        let mut out = [0.0; 4];
        // SAFETY: see `zero`; eight bytes are read at each address, as the caller promised, at any alignment.
        unsafe {
            let value = _mm_cvtepi32_ps(_mm_sub_epi32(quad, _mm_set1_epi32(offset)));
            let value = _mm_mul_ps(_mm_set1_ps(scale), value);
            let [a, b, c, d] = factors;
            let (a, b) = (_mm_loadl_epi64(a.cast()), _mm_loadl_epi64(b.cast()));
            let (c, d) = (_mm_loadl_epi64(c.cast()), _mm_loadl_epi64(d.cast()));
            let ab = _mm_castsi128_ps(_mm_unpacklo_epi64(a, b));
            let cd = _mm_castsi128_ps(_mm_unpacklo_epi64(c, d));
            let (a, bias) =
                (_mm_shuffle_ps::<0b10_00_10_00>(ab, cd), _mm_shuffle_ps::<0b11_01_11_01>(ab, cd));
            _mm_storeu_ps(out.as_mut_ptr(), _mm_sub_ps(bias, _mm_mul_ps(a, value)));
        }
        out
    }

    #[inline(always)]
    fn products(self, queries: &[f32], rows: [&[f32]; TILE_ROWS], tile: &mut Tile) {
        if tile::has_avx512() {
            // SAFETY: the CPU was asked.
            unsafe { tile::avx512(queries, rows, tile) }
        } else {
            tile::generic(self, queries, rows, tile);
        }
    }

    #[inline(always)]
    fn run_simd<W: WithLanes>(self, work: W) -> W::Output {
        // SAFETY: see `zero`.
        unsafe { enter(self, work) }
    }
}
