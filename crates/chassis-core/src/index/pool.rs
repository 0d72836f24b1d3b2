//! Memory kept between calls, so that a warm search allocates nothing.

use std::sync::{Mutex, PoisonError};

/// A stack of reusable values. The lock is held for one push or pop, never during a search.
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    pub(crate) fn new() -> Self {
        Pool(Mutex::new(Vec::new()))
    }

    /// A used value, or a new one.
    pub(crate) fn take(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives a value back. A call that panics keeps its value, which is then dropped.
    pub(crate) fn put(&self, value: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    }
}
