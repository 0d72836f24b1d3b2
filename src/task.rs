//! Work on libuv's thread pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chassis_core::{Error, ErrorKind, Result};
use napi::bindgen_prelude::{AsyncTask, FnArgs};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, ScopedTask, Status};
use napi_derive::napi;

use crate::answer::Answer;
use crate::error;

/// A promise of what an operation gives.
pub type Async<T> = AsyncTask<Job<T>>;

/// One operation on its way through the pool.
pub struct Job<T> {
    work: Option<Box<dyn FnOnce() -> Result<T> + Send>>,
    cancel: Option<Arc<AtomicBool>>,
}

/// Queues an operation. One that is cancelled before a thread takes it up never starts.
pub fn run<T: Answer>(
    cancel: Option<&CancelToken>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Async<T> {
    AsyncTask::new(Job { work: Some(Box::new(work)), cancel: cancel.map(|token| token.flag.clone()) })
}

impl<'task, T: Answer> ScopedTask<'task> for Job<T> {
    type Output = T;
    type JsValue = T::Js<'task>;

    // napi calls this from a plain C function: a panic that left it would end the process.
    fn compute(&mut self) -> napi::Result<T> {
        let cancelled = self.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed));
        let outcome = match self.work.take() {
            Some(_) if cancelled => Err(Error::new(ErrorKind::Cancelled, "cancelled before it started")),
            Some(work) => error::guard(work),
            None => Err(Error::new(ErrorKind::Internal, "a task ran twice")),
        };
        outcome.map_err(error::to_js)
    }

    fn resolve(&mut self, env: &'task Env, output: T) -> napi::Result<T::Js<'task>> {
        output.into_js(env)
    }
}

/// Stops an operation from outside.
#[napi]
#[derive(Default)]
pub struct CancelToken {
    flag: Arc<AtomicBool>,
}

#[napi]
impl CancelToken {
    #[napi(constructor)]
    pub fn new() -> Self {
        CancelToken::default()
    }

    /// Asks the operation to stop; it rejects with `ERR_CHASSIS_CANCELLED` unless it is past stopping.
    #[napi]
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        self.flag.clone()
    }
}

/// A JavaScript callback for progress. Weak: it does not keep the process running. Its queue is short and a tick
/// that finds it full is dropped, so a slow callback never slows the work.
pub type ProgressCallback =
    ThreadsafeFunction<FnArgs<(f64, f64)>, (), FnArgs<(f64, f64)>, Status, false, true, 16>;

/// Ticks no oftener than the eye can follow.
const TICK: Duration = Duration::from_millis(100);

/// Wraps the callback as the core wants it: callable from any of its threads.
pub fn throttled(callback: ProgressCallback) -> impl Fn(usize, usize) + Sync {
    let last = std::sync::Mutex::new(None::<Instant>);
    move |done, total| {
        let Ok(mut last) = last.try_lock() else { return };
        if last.is_none_or(|at| at.elapsed() >= TICK) {
            *last = Some(Instant::now());
            callback.call((done as f64, total as f64).into(), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}
