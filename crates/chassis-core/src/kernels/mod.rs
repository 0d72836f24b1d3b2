//! Distances between slices of f32, and estimates of them from quantized codes, once for every instruction set.
//!
//! | file | part |
//! |---|---|
//! | `scalar` | the definition, in plain Rust; runs where nothing better does |
//! | `lanes` | eight floats side by side: what an instruction set must offer |
//! | `generic` | each distance written once over `lanes` |
//! | `codes` | products with quantized codes, over `lanes` |
//! | `tile` | products of twelve rows with sixteen queries, over `lanes` |
//! | `avx2`, `vnni`, `neon` | `lanes` for one instruction set, and the way into its code |
//! | `detect` | one probe of the CPU, kept |
//!
//! # How a loop gets its instructions
//!
//! [`dispatch`] looks at the CPU once and calls a `#[target_feature]` function that runs the caller's
//! [`WithLanes`]. Everything below it is `#[inline(always)]` and generic over [`Lanes`], so a whole search is
//! compiled for the instruction set: no call and no branch per distance. A value of a `Lanes` type exists only
//! where its instructions do, which is what makes the intrinsics sound.
//!
//! [`Lanes::run`] is where one function ends and another begins. What several callers share is run so: the walk of a
//! layer, a scan, the distances of four vectors. Inlined into each of them, they made functions of half a megabyte;
//! compiling took ten times as long, and a search no fewer instructions.
//!
//! # Bits
//!
//! The order of summation is fixed: element `i` goes to partial sum `i mod 32`, fused, and the sums are added as
//! a tree. A vector scored in a group of four gives the bits it gives alone, and AVX2 and NEON agree to the bit.
//! Tiles alone are outside of this: they add in another order.
//! The scalar form rounds products on their own and differs in the last places. Estimates from codes are the same
//! everywhere: they add integers and fuse nothing.
#![expect(unsafe_code, reason = "std::arch intrinsics; each use states why it is sound")]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod codes;
#[cfg(test)]
mod codes_tests;
mod detect;
mod generic;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::sync::atomic::AtomicU32;

pub use codes::{CodeQuery, PANEL_ROWS, PANEL_STEP, PANEL_VALUES, RecordQuery, panel_place};
pub use detect::{Isa, active};
pub use tile::{TILE_QUERIES, TILE_ROWS, Tile};

#[cfg(target_endian = "big")]
compile_error!("vectors are read in place as little-endian floats");

/// The distances of one instruction set. Both slices of a pair have the same length.
pub trait Lanes: Copy + Send + Sync + sealed::Sealed {
    /// Squared Euclidean distance.
    fn l2(self, q: &[f32], v: &[f32]) -> f32;
    /// Squared Euclidean distances of four vectors, each with the bits of [`Lanes::l2`].
    fn l2_4(self, q: &[f32], v: [&[f32]; 4]) -> [f32; 4];
    /// Inner product.
    fn dot(self, q: &[f32], v: &[f32]) -> f32;
    /// Inner products with four vectors, each with the bits of [`Lanes::dot`].
    fn dot_4(self, q: &[f32], v: [&[f32]; 4]) -> [f32; 4];
    /// Inner product, and the squared length of `v`.
    fn cosine(self, q: &[f32], v: &[f32]) -> (f32, f32);
    /// [`Lanes::cosine`] of four vectors, each with its bits.
    fn cosine_4(self, q: &[f32], v: [&[f32]; 4]) -> ([f32; 4], [f32; 4]);
    /// Estimates from four records of 4-bit codes: `bias - a * (scale * (2 * dot - offset))`, where `dot` is the
    /// integer product of codes (0 to 15) and query values. Records have one length, a multiple of 64, and the
    /// query covers it; records without room for factors give NaN.
    fn estimate_4bit(self, query: CodeQuery<'_, i8>, records: [&[u8]; 4]) -> [f32; 4];
    /// The same of 8-bit codes (0 to 255): `bias - a * (scale * (dot - offset))`. The caller's values keep `dot`
    /// inside an `i32`; it wraps.
    fn estimate_8bit(self, query: CodeQuery<'_, i16>, records: [&[u8]; 4]) -> [f32; 4];
    /// The same of 8-bit codes, of which a record is the query: `bias - a * (scale * dot)`, where `dot` is the integer
    /// product of codes counted from 128. A code of the query is at least 1.
    fn estimate_8bit_codes(self, query: RecordQuery<'_>, records: [&[u8]; 4]) -> [f32; 4];
    /// Integer products of a vector with rows of 4-bit codes (0 to 15), which lie as [`panel_place`] says, over as many
    /// whole steps as both have; they wrap.
    fn panel_4bit(self, values: &[i8], panel: &[u8]) -> [i32; PANEL_ROWS];
    /// Inner products of rows and interleaved queries: element `i` of query `j` is at `16 * i + j`. Each is a sum
    /// of as many products as there are elements, in some order: its bits are those of no other method.
    fn tile(self, queries: &[f32], rows: [&[f32]; TILE_ROWS], tile: &mut Tile);
    /// Runs `work` as code of this instruction set, in a function of its own.
    fn run<W: WithLanes>(self, work: W) -> W::Output;

    /// Asks the memory system for a whole record.
    #[inline(always)]
    fn prefetch(self, record: &[u8]) {
        prefetch(record);
    }
}

/// Work that is compiled for each instruction set. Mark `call` `#[inline(always)]`, and everything hot below it.
pub trait WithLanes {
    /// What it returns.
    type Output;
    /// Does the work.
    fn call<L: Lanes>(self, lanes: L) -> Self::Output;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::scalar::Scalar {}
    impl<S: super::lanes::Simd> Sealed for S {}
}

/// Runs `work` with the best instruction set of this CPU.
#[inline]
pub fn dispatch<W: WithLanes>(work: W) -> W::Output {
    match active() {
        #[cfg(target_arch = "x86_64")]
        Isa::Vnni(lanes) => lanes.run(work),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(lanes) => lanes.run(work),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon(lanes) => lanes.run(work),
        Isa::Scalar(lanes) => lanes.run(work),
    }
}

/// Stored bytes as floats, in place. Rows begin at multiples of 4; others read as empty.
#[inline(always)]
pub fn f32s(bytes: &[u8]) -> &[f32] {
    // SAFETY: every bit pattern is an f32, and align_to yields only aligned, whole values.
    let (before, floats, _) = unsafe { bytes.align_to::<f32>() };
    if before.is_empty() { floats } else { &[] }
}

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Asks the memory system for every cache line of a record that begins with one, as all rows do; of another it may leave
/// out the last.
#[inline(always)]
pub fn prefetch(record: &[u8]) {
    let start = record.as_ptr();
    prefetch_line(start);
    if record.len() > LINE {
        prefetch_line(start.wrapping_add(LINE));
        let mut at = 2 * LINE;
        while at < record.len() {
            prefetch_line(start.wrapping_add(at));
            at += LINE;
        }
    }
}

/// Asks the memory system for every cache line of a neighbor list.
#[inline(always)]
pub fn prefetch_words(words: &[AtomicU32]) {
    // SAFETY: the bytes of the words, only their address is used.
    prefetch(unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), size_of_val(words)) });
}

#[inline(always)]
fn prefetch_line(line: *const u8) {
    // SAFETY: a prefetch of any address has no effect a program can observe.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
    }
    // SAFETY: as above; the intrinsic is not stable, the instruction is.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{line}]", line = in(reg) line, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = line;
}
