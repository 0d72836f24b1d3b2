//! NEON: eight floats in two registers, so that sums come out as they do with AVX2; or the codes of 16 bytes.

use std::arch::aarch64::*;

use super::WithLanes;
use super::codes::{PANEL_ROWS, PANEL_STEP, PANEL_VALUES};
use super::lanes::Simd;

/// Exists only where the CPU has NEON.
#[derive(Debug, Clone, Copy)]
pub struct Neon(());

impl Neon {
    /// The proof, if this CPU gives it.
    pub fn detect() -> Option<Neon> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Neon(()))
    }
}

/// Never inlined: a function for each work, whoever runs it.
#[target_feature(enable = "neon")]
#[inline(never)]
fn enter<W: WithLanes>(lanes: Neon, work: W) -> W::Output {
    work.call(lanes)
}

/// Adds the products of 16 bytes of each record to its eight 16-bit sums. They add at most 4 * 15 * 128 = 7,680 to
/// a sum: four such steps fit.
///
/// # Safety
/// The CPU has NEON; 16 values are readable at `low` and `high`, and 16 bytes of each record from byte `at` on.
#[inline(always)]
unsafe fn add_16(
    sums: &mut [int16x8_t; 4],
    low: *const i8,
    high: *const i8,
    records: [*const u8; 4],
    at: usize,
) {
    // SAFETY: by the caller's promise; the loads need no alignment.
    unsafe {
        let (low, high) = (vld1q_s8(low), vld1q_s8(high));
        for row in 0..4 {
            let bytes = vld1q_u8(records[row].add(at));
            let low_codes = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
            let high_codes = vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes));
            let sum = vmlal_s8(sums[row], vget_low_s8(low_codes), vget_low_s8(low));
            let sum = vmlal_high_s8(sum, low_codes, low);
            let sum = vmlal_s8(sum, vget_low_s8(high_codes), vget_low_s8(high));
            sums[row] = vmlal_high_s8(sum, high_codes, high);
        }
    }
}

/// The sum of the four integers of each record.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn add_across(sums: [int32x4_t; 4]) -> int32x4_t {
    // SAFETY: by the caller's promise.
    unsafe { vpaddq_s32(vpaddq_s32(sums[0], sums[1]), vpaddq_s32(sums[2], sums[3])) }
}

/// Steps of a panel whose products 16 bits hold: 15 * 128 each.
const NARROW_STEPS: usize = 16;

/// Adds the products of sixteen rows, whose codes `panel` begins with: four 16-bit sums a row, of a value in four each,
/// become one of 32 bits.
///
/// # Safety
/// The CPU has NEON; so many steps of the panel and of the values are readable, at most [`NARROW_STEPS`].
#[inline(always)]
unsafe fn add_block(values: *const i8, panel: *const u8, steps: usize, sums: &mut [i32; 16]) {
    // SAFETY: by the caller's promise; the loads need no alignment. Four times four sums are all there are.
    unsafe {
        let mut narrow = [vdupq_n_s16(0); 8];
        for step in 0..steps {
            let four = values.add(PANEL_VALUES * step).cast::<i32>().read_unaligned();
            let four = vreinterpret_s8_s32(vdup_n_s32(four));
            for part in 0..2 {
                let bytes = vld1q_u8(panel.add(PANEL_STEP * step + 16 * part));
                let low = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
                let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes));
                for (at, codes) in [(2 * part, low), (2 * part + 4, high)] {
                    narrow[at] = vmlal_s8(narrow[at], vget_low_s8(codes), four);
                    narrow[at + 1] = vmlal_s8(narrow[at + 1], vget_high_s8(codes), four);
                }
            }
        }
        for part in 0..4 {
            let (a, b) = (vpaddlq_s16(narrow[2 * part]), vpaddlq_s16(narrow[2 * part + 1]));
            let place = sums.as_mut_ptr().add(4 * part);
            vst1q_s32(place, vaddq_s32(vld1q_s32(place), vpaddq_s32(a, b)));
        }
    }
}

impl Simd for Neon {
    type V = float32x4x2_t;
    type Quad = int32x4_t;

    #[inline(always)]
    fn zero(self) -> float32x4x2_t {
        // SAFETY: `self` exists, so the CPU has NEON; the same holds below.
        unsafe { float32x4x2_t(vdupq_n_f32(0.0), vdupq_n_f32(0.0)) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4x2_t {
        // SAFETY: eight floats are readable, by the caller's promise; the loads need no alignment.
        unsafe { float32x4x2_t(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4x2_t {
        // SAFETY: see `zero`.
        unsafe { float32x4x2_t(vdupq_n_f32(value), vdupq_n_f32(value)) }
    }

    #[inline(always)]
    fn store(self, v: float32x4x2_t, to: &mut [f32]) {
        let to = &mut to[..8];
        // SAFETY: see `zero`; eight floats are written.
        unsafe {
            vst1q_f32(to.as_mut_ptr(), v.0);
            vst1q_f32(to.as_mut_ptr().add(4), v.1);
        }
    }

    #[inline(always)]
    fn load_part(self, from: &[f32]) -> float32x4x2_t {
        let mut all = [0.0; 8];
        for (to, from) in all.iter_mut().zip(from) {
            *to = *from;
        }
        // SAFETY: eight floats.
        unsafe { self.load(all.as_ptr()) }
    }

    #[inline(always)]
    fn add(self, a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: see `zero`.
        unsafe { float32x4x2_t(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: see `zero`.
        unsafe { float32x4x2_t(vsubq_f32(a.0, b.0), vsubq_f32(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4x2_t, b: float32x4x2_t, c: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: see `zero`.
        unsafe { float32x4x2_t(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }

    #[inline(always)]
    fn sum(self, v: float32x4x2_t) -> f32 {
        // SAFETY: see `zero`.
        unsafe {
            let four = vaddq_f32(v.0, v.1);
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    unsafe fn products_4bit(self, query: *const i8, records: [*const u8; 4], chunks: usize) -> int32x4_t {
        // SAFETY: each pair of chunks is below `chunks`, which query and records have by the caller's promise.
        unsafe {
            let mut wide = [vdupq_n_s32(0); 4];
            let mut chunk = 0;
            while chunk + 2 <= chunks {
                let mut sums = [vdupq_n_s16(0); 4];
                let (query, at) = (query.add(64 * chunk), 32 * chunk);
                add_16(&mut sums, query, query.add(32), records, at);
                add_16(&mut sums, query.add(16), query.add(48), records, at + 16);
                add_16(&mut sums, query.add(64), query.add(96), records, at + 32);
                add_16(&mut sums, query.add(80), query.add(112), records, at + 48);
                for row in 0..4 {
                    wide[row] = vpadalq_s16(wide[row], sums[row]);
                }
                chunk += 2;
            }
            add_across(wide)
        }
    }

    #[inline(always)]
    unsafe fn products_8bit(self, query: *const i16, records: [*const u8; 4], len: usize) -> int32x4_t {
        // SAFETY: a step reads 16 bytes and 16 values from below `len`, which query and records have by the
        // caller's promise; the loads need no alignment.
        unsafe {
            let mut sums = [vdupq_n_s32(0); 4];
            let mut at = 0;
            while at + 16 <= len {
                let (first, second) = (vld1q_s16(query.add(at)), vld1q_s16(query.add(at + 8)));
                for row in 0..4 {
                    let bytes = vld1q_u8(records[row].add(at));
                    let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
                    let high = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
                    let sum = vmlal_s16(sums[row], vget_low_s16(low), vget_low_s16(first));
                    let sum = vmlal_high_s16(sum, low, first);
                    let sum = vmlal_s16(sum, vget_low_s16(high), vget_low_s16(second));
                    sums[row] = vmlal_high_s16(sum, high, second);
                }
                at += 16;
            }
            add_across(sums)
        }
    }

    #[inline(always)]
    unsafe fn products_8bit_codes(self, query: *const u8, records: [*const u8; 4], len: usize) -> int32x4_t {
        // SAFETY: a step reads 16 bytes from below `len` rounded up to a multiple of 16, which query and records have
        // by the caller's promise.
        unsafe {
            let middle = vdupq_n_u8(128);
            let places = vld1q_u8([0u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].as_ptr());
            let mut sums = [vdupq_n_s32(0); 4];
            let mut at = 0;
            while at < len {
                let values = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(query.add(at)), middle));
                let here = vcltq_u8(places, vdupq_n_u8((len - at).min(16) as u8));
                let values = vandq_s8(vmaxq_s8(values, vdupq_n_s8(-127)), vreinterpretq_s8_u8(here));
                for row in 0..4 {
                    let codes = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(records[row].add(at)), middle));
                    let sum = vpadalq_s16(sums[row], vmull_s8(vget_low_s8(codes), vget_low_s8(values)));
                    sums[row] = vpadalq_s16(sum, vmull_high_s8(codes, values));
                }
                at += 16;
            }
            add_across(sums)
        }
    }

    #[inline(always)]
    unsafe fn panel_4bit(self, values: *const i8, panel: *const u8, steps: usize) -> [i32; PANEL_ROWS] {
        let mut sums = [0; PANEL_ROWS];
        for (block, sums) in sums.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            for first in (0..steps).step_by(NARROW_STEPS) {
                // SAFETY: from `first` on there are so many steps, by the caller's promise.
                unsafe {
                    let (values, panel) = (values.add(PANEL_VALUES * first), panel.add(PANEL_STEP * first));
                    add_block(values, panel.add(32 * block), NARROW_STEPS.min(steps - first), sums);
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn twice(self, quad: int32x4_t) -> int32x4_t {
        // SAFETY: see `zero`.
        unsafe { vaddq_s32(quad, quad) }
    }

    #[inline(always)]
    unsafe fn estimates(self, quad: int32x4_t, offset: i32, scale: f32, factors: [*const u8; 4]) -> [f32; 4] {
        let mut out = [0.0; 4];
        // SAFETY: see `zero`; eight bytes are read at each address, as the caller promised, at any alignment.
        unsafe {
            let value = vcvtq_f32_s32(vsubq_s32(quad, vdupq_n_s32(offset)));
            let value = vmulq_f32(vdupq_n_f32(scale), value);
            let ab = vreinterpretq_f32_u8(vcombine_u8(vld1_u8(factors[0]), vld1_u8(factors[1])));
            let cd = vreinterpretq_f32_u8(vcombine_u8(vld1_u8(factors[2]), vld1_u8(factors[3])));
            let (a, bias) = (vuzp1q_f32(ab, cd), vuzp2q_f32(ab, cd));
            vst1q_f32(out.as_mut_ptr(), vsubq_f32(bias, vmulq_f32(a, value)));
        }
        out
    }

    #[inline(always)]
    fn run_simd<W: WithLanes>(self, work: W) -> W::Output {
        // SAFETY: see `zero`.
        unsafe { enter(self, work) }
    }
}
