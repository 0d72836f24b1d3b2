//! The behavior of the engine, in one test binary.

/// What an index does, against a plain model.
mod api;
/// Each case of bad input has its code and no effect.
mod bad_input;
/// Searches beside a writer.
mod concurrency;
/// Seeded data, a model, temporary files.
mod support;
/// Which kernels run on this CPU.
mod cpu;
/// The documents against the code.
mod spec;
/// Rules of the source tree.
mod tidy;
