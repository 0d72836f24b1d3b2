//! Chassis: vector search in one crash-safe file, inside your process.
//!
//! [`VectorIndex`] is the whole API: open a file, add, commit, search. What was committed survives a kill, a
//! power cut and a full disk; what is damaged is reported by a typed [`Error`], never answered from.
//!
//! Layers, each using only those below it (`docs/architecture.md`):
//!
//! ```text
//!                  index     the facade: options, write path, read path
//!           codes
//!   graph   kernels   recovery
//!                  storage   pages, rows, commits, locks over a file, memory or a simulation
//!                  format    bytes to values and back
//! ```
//!
//! Reading order: `index::insert` and `index::search` for the two paths, `storage::commit` for durability,
//! `graph::walk` for the loop that decides the speed.

mod error;
mod index;

pub use error::{Error, ErrorKind, Result};
pub use index::*;

#[cfg(feature = "__internals")]
#[doc(hidden)]
pub mod codes;
#[cfg(not(feature = "__internals"))]
mod codes;
#[cfg(feature = "__internals")]
#[doc(hidden)]
pub mod format;
#[cfg(not(feature = "__internals"))]
#[allow(dead_code, unused_imports, reason = "some parts serve tests, benches and later releases only")]
mod format;
#[cfg(feature = "__internals")]
#[doc(hidden)]
pub mod graph;
#[cfg(not(feature = "__internals"))]
#[allow(dead_code, unused_imports, reason = "some parts serve tests, benches and later releases only")]
mod graph;
#[cfg(feature = "__internals")]
#[doc(hidden)]
pub mod kernels;
#[cfg(not(feature = "__internals"))]
#[allow(dead_code, unused_imports, reason = "some parts serve tests, benches and later releases only")]
mod kernels;
#[cfg(feature = "__internals")]
#[doc(hidden)]
pub mod recovery;
#[cfg(not(feature = "__internals"))]
#[allow(dead_code, unused_imports, reason = "some parts serve tests, benches and later releases only")]
mod recovery;
#[cfg(feature = "__internals")]
#[doc(hidden)]
pub mod storage;
#[cfg(not(feature = "__internals"))]
#[allow(dead_code, unused_imports, reason = "some parts serve tests, benches and later releases only")]
mod storage;

/// The layers under the facade, for the simulation, tests and benches. Not part of the stable API.
#[cfg(feature = "__internals")]
pub mod internals {
    pub use crate::{codes, format, graph, kernels, recovery, storage};
}
