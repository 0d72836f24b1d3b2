//! One probe of the CPU for the life of the process.

use std::sync::OnceLock;

use super::scalar::Scalar;

/// An instruction set, with the proof that this CPU has it.
#[derive(Debug, Clone, Copy)]
pub enum Isa {
    /// AVX2 with FMA, and AVX-VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni(super::vnni::Vnni),
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2(super::avx2::Avx2),
    /// NEON, in every arm64 CPU.
    #[cfg(target_arch = "aarch64")]
    Neon(super::neon::Neon),
    /// Plain Rust.
    Scalar(Scalar),
}

impl Isa {
    /// Its name, as statistics show it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Vnni(_) => "vnni",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "neon",
            Isa::Scalar(_) => "scalar",
        }
    }
}

/// The instruction set searches use: the best this CPU has. `CHASSIS_KERNEL` in the environment forces a lesser one,
/// `scalar` or `avx2`.
#[inline]
pub fn active() -> Isa {
    static ACTIVE: OnceLock<Isa> = OnceLock::new();
    *ACTIVE.get_or_init(probe)
}

#[cold]
fn probe() -> Isa {
    let forced = std::env::var_os("CHASSIS_KERNEL").unwrap_or_default();
    if forced == "scalar" {
        return Isa::Scalar(Scalar);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(lanes) = super::vnni::Vnni::detect().filter(|_| forced != "avx2") {
        return Isa::Vnni(lanes);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(lanes) = super::avx2::Avx2::detect() {
        return Isa::Avx2(lanes);
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(lanes) = super::neon::Neon::detect() {
        return Isa::Neon(lanes);
    }
    Isa::Scalar(Scalar)
}
