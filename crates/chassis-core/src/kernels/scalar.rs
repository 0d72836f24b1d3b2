//! The distances by their definition, which every instruction set is tested against.
//!
//! Eight partial sums instead of one: a CPU without AVX2 still adds several at a time, and the rounding error
//! grows with an eighth of the length.

use super::{Lanes, WithLanes};

/// Plain Rust, on any CPU.
#[derive(Debug, Clone, Copy)]
pub struct Scalar;

const SUMS: usize = 8;

#[inline(always)]
fn total(q: &[f32], v: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    debug_assert_eq!(q.len(), v.len(), "a pair has one length");
    let mut sums = [0.0; SUMS];
    let ((q, q_rest), (v, v_rest)) = (q.as_chunks::<SUMS>(), v.as_chunks::<SUMS>());
    for (q, v) in q.iter().zip(v) {
        for i in 0..SUMS {
            sums[i] += term(q[i], v[i]);
        }
    }
    for (sum, (&q, &v)) in sums.iter_mut().zip(q_rest.iter().zip(v_rest)) {
        *sum += term(q, v);
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}

impl Lanes for Scalar {
    #[inline(always)]
    fn l2(self, q: &[f32], v: &[f32]) -> f32 {
        total(q, v, |q, v| (q - v) * (q - v))
    }

    #[inline(always)]
    fn l2_4(self, q: &[f32], v: [&[f32]; 4]) -> [f32; 4] {
        v.map(|v| self.l2(q, v))
    }

    #[inline(always)]
    fn dot(self, q: &[f32], v: &[f32]) -> f32 {
        total(q, v, |q, v| q * v)
    }

    #[inline(always)]
    fn dot_4(self, q: &[f32], v: [&[f32]; 4]) -> [f32; 4] {
        v.map(|v| self.dot(q, v))
    }

    #[inline(always)]
    fn cosine(self, q: &[f32], v: &[f32]) -> (f32, f32) {
        (self.dot(q, v), self.dot(v, v))
    }

    #[inline(always)]
    fn cosine_4(self, q: &[f32], v: [&[f32]; 4]) -> ([f32; 4], [f32; 4]) {
        (self.dot_4(q, v), v.map(|v| self.dot(v, v)))
    }

    #[inline(always)]
    fn run<W: WithLanes>(self, work: W) -> W::Output {
        work.call(self)
    }
}
