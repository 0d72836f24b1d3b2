//! AVX2, and an instruction that multiplies bytes and adds the products up to 32 bits (AVX-VNNI).
//!
//! Integers add up to the same in any order: estimates have the bits of every other instruction set. Floats are those of
//! [`Avx2`], whose order of summation they have to keep.
//!
//! The instruction of AVX-512 does the same and was tried, as was its form for 64 bytes: a search compiled for AVX-512
//! took 0.97 to 1.0 times as long as one for AVX2 on an Emerald Rapids, compiled for this it takes 0.94.

use std::arch::x86_64::*;

use super::WithLanes;
use super::avx2::{self, Avx2, BLOCKS, BYTE_MASKS};
use super::codes::{PANEL_ROWS, PANEL_STEP, PANEL_VALUES};
use super::lanes::Simd;
use super::tile::{TILE_ROWS, Tile};

/// Exists only where the CPU has what [`Avx2`] asks for, and AVX-VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Vnni(Avx2);

impl Vnni {
    /// The proof, if this CPU gives it.
    pub fn detect() -> Option<Vnni> {
        Avx2::detect().filter(|_| is_x86_feature_detected!("avxvnni")).map(Vnni)
    }
}

/// Never inlined: a function for each work, whoever runs it.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,avxvnni")]
#[inline(never)]
fn enter<W: WithLanes>(lanes: Vnni, work: W) -> W::Output {
    work.call(lanes)
}

impl Simd for Vnni {
    type V = <Avx2 as Simd>::V;
    type Quad = <Avx2 as Simd>::Quad;

    #[inline(always)]
    fn zero(self) -> __m256 {
        self.0.zero()
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.load(from) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        self.0.splat(value)
    }

    #[inline(always)]
    fn store(self, v: __m256, to: &mut [f32]) {
        self.0.store(v, to);
    }

    #[inline(always)]
    fn load_part(self, from: &[f32]) -> __m256 {
        self.0.load_part(from)
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        self.0.add(a, b)
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        self.0.sub(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        self.0.mul_add(a, b, c)
    }

    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        self.0.sum(v)
    }

    #[inline(always)]
    unsafe fn products_4bit(self, query: *const i8, records: [*const u8; 4], chunks: usize) -> __m128i {
        // SAFETY: each chunk is below `chunks`, which query and records have by the caller's promise; the loads need no
        // alignment.
        unsafe {
            let half = _mm256_set1_epi8(15);
            // Two sums a record: an instruction waits four cycles for the one before it. The second is of the high halves
            // where they stand, sixteen times as large: 32 bits hold those of a million codes.
            let (mut lows, mut highs) = ([_mm256_setzero_si256(); 4], [_mm256_setzero_si256(); 4]);
            let mut chunk = 0;
            while chunk < chunks {
                let low = _mm256_loadu_si256(query.add(64 * chunk).cast());
                let high = _mm256_loadu_si256(query.add(64 * chunk + 32).cast());
                for row in 0..4 {
                    let bytes = _mm256_loadu_si256(records[row].add(32 * chunk).cast());
                    lows[row] = _mm256_dpbusd_avx_epi32(lows[row], _mm256_and_si256(bytes, half), low);
                    highs[row] = _mm256_dpbusd_avx_epi32(highs[row], _mm256_andnot_si256(half, bytes), high);
                }
                chunk += 1;
            }
            for row in 0..4 {
                lows[row] = _mm256_add_epi32(lows[row], _mm256_srai_epi32::<4>(highs[row]));
            }
            avx2::add_across(lows)
        }
    }

    #[inline(always)]
    unsafe fn products_8bit(self, query: *const i16, records: [*const u8; 4], len: usize) -> __m128i {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.products_8bit(query, records, len) }
    }

    #[inline(always)]
    unsafe fn products_8bit_codes(self, query: *const u8, records: [*const u8; 4], len: usize) -> __m128i {
        // SAFETY: a step reads 32 bytes from below `len` rounded up to a multiple of 32, which query and records have
        // by the caller's promise; the loads need no alignment. `32 - left` is at most 31, and 64 mask bytes exist.
        unsafe {
            let middle = _mm256_set1_epi8(-128);
            let mut sums = [_mm256_setzero_si256(); 4];
            // Codes are counted from 0 here, which adds 128 times the values.
            let mut excess = _mm256_setzero_si256();
            let mut at = 0;
            while at < len {
                let values = _mm256_xor_si256(_mm256_loadu_si256(query.add(at).cast()), middle);
                let mut values = _mm256_max_epi8(values, _mm256_set1_epi8(-127));
                if len - at < 32 {
                    let mask = _mm256_loadu_si256(BYTE_MASKS.as_ptr().add(32 - (len - at)).cast());
                    values = _mm256_and_si256(values, mask);
                }
                excess = _mm256_dpbusd_avx_epi32(excess, middle, values);
                for row in 0..4 {
                    let codes = _mm256_loadu_si256(records[row].add(at).cast());
                    sums[row] = _mm256_dpbusd_avx_epi32(sums[row], codes, values);
                }
                at += 32;
            }
            for sum in &mut sums {
                *sum = _mm256_sub_epi32(*sum, excess);
            }
            avx2::add_across(sums)
        }
    }

    #[inline(always)]
    unsafe fn panel_4bit(self, values: *const i8, panel: *const u8, steps: usize) -> [i32; PANEL_ROWS] {
        // SAFETY: each step is below `steps`, which values and panel have by the caller's promise, and ten times eight
        // sums are all there are; loads and stores need no alignment.
        unsafe {
            let half = _mm256_set1_epi8(15);
            // As in `products_4bit` the second is sixteen times as large: 32 bits hold those of 69,900 columns.
            let (mut lows, mut highs) = ([_mm256_setzero_si256(); BLOCKS], [_mm256_setzero_si256(); BLOCKS]);
            for step in 0..steps {
                let four = values.add(PANEL_VALUES * step).cast::<i32>().read_unaligned();
                let four = _mm256_set1_epi32(four);
                for block in 0..BLOCKS {
                    let bytes = _mm256_loadu_si256(panel.add(PANEL_STEP * step + 32 * block).cast());
                    lows[block] = _mm256_dpbusd_avx_epi32(lows[block], _mm256_and_si256(bytes, half), four);
                    highs[block] =
                        _mm256_dpbusd_avx_epi32(highs[block], _mm256_andnot_si256(half, bytes), four);
                }
            }
            let mut sums = [0; PANEL_ROWS];
            for block in 0..BLOCKS {
                avx2::add_to(&mut sums, 16 * block, lows[block]);
                avx2::add_to(&mut sums, 16 * block + 8, _mm256_srai_epi32::<4>(highs[block]));
            }
            sums
        }
    }

    #[inline(always)]
    fn twice(self, quad: __m128i) -> __m128i {
        self.0.twice(quad)
    }

    #[inline(always)]
    unsafe fn estimates(self, quad: __m128i, offset: i32, scale: f32, factors: [*const u8; 4]) -> [f32; 4] {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.estimates(quad, offset, scale, factors) }
    }

    #[inline(always)]
    fn products(self, queries: &[f32], rows: [&[f32]; TILE_ROWS], tile: &mut Tile) {
        self.0.products(queries, rows, tile);
    }

    #[inline(always)]
    fn run_simd<W: WithLanes>(self, work: W) -> W::Output {
        // SAFETY: `self` exists, so the CPU has the instructions.
        unsafe { enter(self, work) }
    }
}
