//! The Node binding: converts arguments, calls `chassis-core`, maps errors. No default, no check of a value and no
//! loop over vectors lives here that the core could own, and nothing here is called by users directly: `ts/` is
//! the facade they see, and `index.d.ts` (generated) describes this layer to it.
//!
//! | file | part |
//! |---|---|
//! | `index` | the class `NativeIndex`: each operation as a promise and as a synchronous twin |
//! | `options` | arguments to core types |
//! | `task` | work on libuv's thread pool, cancelling, progress |
//! | `answer` | core results to JavaScript values |
//! | `error` | core errors and panics to JavaScript errors |
//!
//! # Rules
//!
//! - Inputs are copied on the JavaScript thread before work leaves it, for JavaScript may change them meanwhile.
//! - No view of the mapped file or of Rust's memory is handed out: results are copies that JavaScript owns.
//! - Every operation runs inside [`error::guard`], so a panic becomes `ERR_CHASSIS_INTERNAL`.

mod answer;
mod error;
mod index;
mod options;
mod task;

use chassis_core::{ErrorKind, Metric};
use napi::Env;
use napi::bindgen_prelude::Float32ArraySlice;
use napi_derive::napi;

/// Every error code of the core, for the test that compares them with the facade's union.
#[napi]
pub fn error_codes() -> Vec<&'static str> {
    ErrorKind::ALL.iter().map(|kind| kind.code()).collect()
}

/// The similarities that belong to distances under a metric.
#[napi]
pub fn similarities<'env>(
    env: &'env Env,
    metric: String,
    distances: &[f32],
) -> napi::Result<Float32ArraySlice<'env>> {
    let metric = Metric::from_name(&metric).map_err(error::to_js)?;
    let similarities: Vec<f32> = distances.iter().map(|&d| chassis_core::similarity(metric, d)).collect();
    Float32ArraySlice::copy_from(env, &similarities)
}

/// Panics on purpose, so that the tests can show what becomes of a panic. Not in `index.js` or `index.d.ts`.
#[napi(js_name = "__panicSync", skip_typescript)]
pub fn panic_sync() -> napi::Result<()> {
    error::guard(|| panic!("a deliberate panic")).map_err(error::to_js)
}

/// [`panic_sync`] on the thread pool.
#[napi(js_name = "__panic", skip_typescript)]
pub fn panic_async() -> task::Async<()> {
    task::run(None, || panic!("a deliberate panic"))
}
