//! Is everything that a commit refers to there and whole?
//!
//! Opening needs no recovery: a crash leaves blocks that no commit record refers to, and the next commit uses
//! them (`docs/durability.md`). Which record to believe is `storage::metas`; this module answers `check`.

mod verify;

pub use verify::{Finding, Verified, verify};
