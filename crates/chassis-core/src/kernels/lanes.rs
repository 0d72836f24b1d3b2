//! What an instruction set must offer: eight floats side by side.

use super::WithLanes;

/// An instruction set as seen by `generic`. A value of the type proves that the CPU has the instructions.
pub trait Simd: Copy + Send + Sync {
    /// Eight floats.
    type V: Copy;

    /// Eight zeros.
    fn zero(self) -> Self::V;
    /// Eight floats from any address.
    ///
    /// # Safety
    /// Eight floats are readable at `from`.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Up to seven floats, the other lanes zero.
    fn load_part(self, from: &[f32]) -> Self::V;
    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// All lanes added: `((0+4)+(2+6)) + ((1+5)+(3+7))`.
    fn sum(self, v: Self::V) -> f32;
    /// Runs `work` as code of this instruction set.
    fn run_simd<W: WithLanes>(self, work: W) -> W::Output;
}
