//! What an instruction set must offer: eight floats side by side, and products of codes.

use super::WithLanes;
use super::codes::PANEL_ROWS;
use super::tile::{self, TILE_ROWS, Tile};

/// An instruction set as seen by `generic`. A value of the type proves that the CPU has the instructions.
pub trait Simd: Copy + Send + Sync {
    /// Eight floats.
    type V: Copy;
    /// Four integers, one a record.
    type Quad: Copy;

    /// Eight zeros.
    fn zero(self) -> Self::V;
    /// Eight floats from any address.
    ///
    /// # Safety
    /// Eight floats are readable at `from`.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// The same float eight times.
    fn splat(self, value: f32) -> Self::V;
    /// Writes the floats to the first eight of `to`.
    fn store(self, v: Self::V, to: &mut [f32]);
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

    /// Products of 4-bit codes and query values, added up (wrapping) over `chunks` pieces of 32 bytes.
    ///
    /// # Safety
    /// `chunks` is even, 32 bytes a chunk are readable at each record and 64 values a chunk at `query`.
    unsafe fn products_4bit(self, query: *const i8, records: [*const u8; 4], chunks: usize) -> Self::Quad;
    /// Products of 8-bit codes and query values, added up (wrapping) over `len` bytes.
    ///
    /// # Safety
    /// `len` is a multiple of 64, and as many bytes are readable at each record and values at `query`.
    unsafe fn products_8bit(self, query: *const i16, records: [*const u8; 4], len: usize) -> Self::Quad;
    /// Products of the first `len` 8-bit codes of each record and of `query`, both counted from 128, added up
    /// (wrapping). A code of the query below 1 counts as 1.
    ///
    /// # Safety
    /// `len` bytes, rounded up to a multiple of 32, are readable at each record and at `query`.
    unsafe fn products_8bit_codes(self, query: *const u8, records: [*const u8; 4], len: usize) -> Self::Quad;
    /// Products of each row's 4-bit codes and the values, added up (wrapping) over `steps` times four columns, which lie as [`panel_place`](super::codes::panel_place) says.
    ///
    /// # Safety
    /// [`PANEL_STEP`](super::codes::PANEL_STEP) bytes a step are readable at `panel` and 4 values a step at `values`.
    unsafe fn panel_4bit(self, values: *const i8, panel: *const u8, steps: usize) -> [i32; PANEL_ROWS];
    /// Each integer doubled, wrapping.
    fn twice(self, quad: Self::Quad) -> Self::Quad;
    /// `bias - a * (scale * (quad - offset))`, the subtraction wrapping, each float operation rounded.
    ///
    /// # Safety
    /// `a` and `bias` are readable at each of `factors`.
    unsafe fn estimates(self, quad: Self::Quad, offset: i32, scale: f32, factors: [*const u8; 4])
    -> [f32; 4];

    /// See [`Lanes::tile`](super::Lanes::tile).
    #[inline(always)]
    fn products(self, queries: &[f32], rows: [&[f32]; TILE_ROWS], tile: &mut Tile) {
        tile::generic(self, queries, rows, tile);
    }

    /// Runs `work` as code of this instruction set.
    fn run_simd<W: WithLanes>(self, work: W) -> W::Output;
}
