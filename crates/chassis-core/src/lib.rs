//! Chassis: vector search in one crash-safe file, inside your process.
pub mod error;
pub use error::{Error, ErrorKind, Result};
