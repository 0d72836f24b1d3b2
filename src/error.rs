//! Core errors and panics as JavaScript errors.
//!
//! The code travels at the head of the message, `ERR_CHASSIS_…: sentence`, because a message is all that survives
//! each of napi's ways to throw and to reject. The facade takes the two apart again.

use std::any::Any;
use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chassis_core::{Error, ErrorKind, Result};
use napi::Status;

/// The error to throw or to reject with; the cause is kept.
pub fn to_js(error: Error) -> napi::Error {
    let mut js = napi::Error::new(Status::GenericFailure, error.to_string());
    if let Some(cause) = error.source() {
        js.set_cause(napi::Error::new(Status::GenericFailure, cause.to_string()));
    }
    js
}

/// Runs an operation; a panic inside becomes an `Internal` error instead of ending the process.
///
/// Unwind safety: the core's state is behind locks that survive a poisoned guard, and a write that stops half-way
/// leaves a transaction that can only be rolled back.
pub fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = format!("a bug in Chassis, please report it: {}", panic_text(&*payload));
        Err(Error::new(ErrorKind::Internal, text))
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}
