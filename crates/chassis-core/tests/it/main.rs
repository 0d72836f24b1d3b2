//! The behavior of the engine, in one test binary.

/// What an index does, against a plain model.
mod api;
/// Batches into an index that has rows.
mod append;
/// Each case of bad input has its code and no effect.
mod bad_input;
/// Batches against single searches.
mod batch;
/// Whole files, for any number of threads.
mod bytes;
/// A second process, to be killed or limited.
mod child;
/// Builds and searches over codes.
mod coded;
/// Live records in a new file, beside everything else.
mod compact;
/// Searches beside a writer.
mod concurrency;
/// Which kernels run on this CPU.
mod cpu;
/// Derived objects in transactions.
mod derived;
/// Full, limited and read-only disks.
mod disk;
/// `kill -9` loses no acknowledged commit.
mod durability;
/// Faults that were reproduced elsewhere and have to be impossible here.
mod extremes;
mod faults;
/// Files larger than memory.
mod larger;
/// Commits whose records are lost.
mod lost;
/// What an open reads.
mod open;
/// Files that overlayfs copied.
mod overlay;
/// Recalls asked for, and the table behind them.
mod recall;
/// Sparse files with claims as large.
mod sparse;
/// The documents against the code.
mod spec;
mod stats;
/// Seeded data, a model, temporary files.
mod support;
/// Hostile bytes under good checksums.
mod surgery;
/// Rules of the source tree.
mod tidy;
/// Searches beside many deleted records.
mod tombstones;
/// Reading in what searches need.
mod warm;
