//! NEON: eight floats in two registers, so that sums come out as they do with AVX2.

use std::arch::aarch64::*;

use super::WithLanes;
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

#[target_feature(enable = "neon")]
fn enter<W: WithLanes>(lanes: Neon, work: W) -> W::Output {
    work.call(lanes)
}

impl Simd for Neon {
    type V = float32x4x2_t;

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
    fn run_simd<W: WithLanes>(self, work: W) -> W::Output {
        // SAFETY: see `zero`.
        unsafe { enter(self, work) }
    }
}
