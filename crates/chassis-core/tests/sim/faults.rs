//! The I/O fault sweep: every call of every workload fails in every way it can, once and for good.
//!
//! Whatever happens, the error is typed, nothing panics, the last commit is intact on the disk and in the page
//! cache, a full disk leaves the transaction as it was, and a restarted writer goes on.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chassis_core::internals::storage::backend::Vfs;
use chassis_core::{Error, ErrorKind};

use crate::explore::guarded;
use crate::images::{self, Slate};
use crate::oracle::{self, Judge};
use crate::rng::Rng;
use crate::session::{Session, Stop};
use crate::simfs::{Call, Disk, Failure, Fault};
use crate::trace;
use crate::workloads::{Step, Workload};

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Runs in which the failure struck.
    pub runs: u64,
    /// Calls of the workload.
    pub calls: usize,
    pub violations: Vec<String>,
}

const FAILURES: [Failure; 4] = [Failure::Eio, Failure::Enospc, Failure::Short, Failure::LostBarrier];

/// Sweeps one workload.
pub fn sweep(workload: &Workload) -> Sweep {
    let calls = match count_calls(workload) {
        Ok(calls) => calls,
        Err(text) => {
            return Sweep { violations: vec![format!("{}: {text}", workload.name)], ..Default::default() };
        }
    };
    let mut faults = Vec::new();
    for (n, &call) in calls.iter().enumerate() {
        for failure in FAILURES.into_iter().filter(|f| f.can_hit(call)) {
            faults.extend([false, true].map(|sticky| (n, call, failure, sticky)));
        }
    }
    let (next, runs, violations) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::new(vec![]));
    let work = || {
        let mut slate = Slate::new();
        while let Some(&(n, call, failure, sticky)) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            let fault = Fault { after: n as u64, call: None, failure, sticky };
            match guarded(|| one(workload, fault, &mut slate)) {
                Ok(struck) => drop(runs.fetch_add(struck as u64, Ordering::Relaxed)),
                Err(text) => {
                    let often = if sticky { "for good" } else { "once" };
                    let text = format!("{}: call {n} ({call:?}) {failure:?} {often}: {text}", workload.name);
                    violations.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let violations = violations.into_inner().unwrap_or_else(PoisonError::into_inner);
    Sweep { runs: runs.into_inner(), calls: calls.len(), violations }
}

fn begin(workload: &Workload) -> Result<(Session, Disk, Option<usize>), String> {
    let mut session = Session::new(&workload.spec);
    session.run(&workload.setup).map_err(|e| format!("setup: {e:?}"))?;
    let (disk, acked) = (session.vfs.disk(), session.current);
    session.vfs.record();
    Ok((session, disk, acked))
}

fn count_calls(workload: &Workload) -> Result<Vec<Call>, String> {
    let (mut session, _, _) = begin(workload)?;
    session.run(&workload.steps).map_err(|e| format!("without a fault: {e:?}"))?;
    Ok(session.vfs.calls())
}

/// One run with one fault. Says whether it struck.
fn one(workload: &Workload, fault: Fault, slate: &mut Slate) -> Result<bool, String> {
    let (mut session, start, acked) = begin(workload)?;
    session.vfs.set_fault(Some(fault));
    let mut struck = false;
    for (at, step) in workload.steps.iter().enumerate() {
        let outcome = session.step(step);
        struck |= session.vfs.tripped();
        match outcome {
            Ok(()) => {}
            Err(Stop::Engine(error)) if struck => {
                let text = format!("step {at} {step:?}: {error}");
                typed(&error).map_err(|e| format!("{text}: {e}"))?;
                if !recover(&mut session, step, &error, &start, acked, slate)
                    .map_err(|e| format!("{text}: {e}"))?
                {
                    return Ok(true);
                }
            }
            Err(stop) => return Err(format!("step {at} {step:?}: {stop:?}")),
        }
    }
    session.vfs.set_fault(None);
    session.judge_now(Judge::Reader).map_err(|e| format!("at the end: {e}"))?;
    crash(&session, &start, acked, slate)?;
    Ok(struck)
}

fn typed(error: &Error) -> Result<(), String> {
    use ErrorKind::*;
    match error.kind() {
        Io | DiskFull | Poisoned | CommitIndeterminate => Ok(()),
        other => Err(format!("{other:?} is no answer to a failed call")),
    }
}

/// After an error: the disk first, then this process or the next one. Says whether the script goes on.
fn recover(
    session: &mut Session,
    step: &Step,
    error: &Error,
    start: &Disk,
    acked: Option<usize>,
    slate: &mut Slate,
) -> Result<bool, String> {
    crash(session, start, acked, slate).map_err(|e| format!("a crash after the error: {e}"))?;
    session.vfs.set_fault(None);
    let again = |session: &mut Session, step: &Step| {
        session.step(step).map_err(|e| format!("the same again without the fault: {e:?}"))
    };
    match step {
        Step::Reader | Step::ReaderCheck | Step::ReaderRefresh => again(session, step).map(|()| true),
        Step::Open => {
            // The commit that creates a file may have gone through before the error.
            again(session, step).map(|()| true)
        }
        Step::Commit if error.kind() == ErrorKind::DiskFull => again(session, step).map(|()| true),
        Step::CommitFull if error.kind() == ErrorKind::DiskFull => again(session, step).map(|()| true),
        // Before the rename nothing has changed; what cannot be told apart is a failing `check` after it.
        Step::Compact | Step::CompactFull if error.kind() != ErrorKind::CommitIndeterminate => {
            again(session, step).map(|()| true)
        }
        Step::Add(_)
        | Step::Batch(_)
        | Step::Delete(_)
        | Step::Rollback
        | Step::Derive(..)
        | Step::Extend(..)
            if error.kind() != ErrorKind::Poisoned =>
        {
            again(session, &Step::Rollback)?;
            finish(session, start, acked, slate)
        }
        _ => {
            session.kill();
            again(session, &Step::ReaderClose)?;
            again(session, &Step::Roomy)?;
            session.judge_now(Judge::Reader).map_err(|e| format!("restarted: {e}"))?;
            again(session, &Step::Open)?;
            finish(session, start, acked, slate)
        }
    }
}

/// One more commit, and a crash after it.
fn finish(
    session: &mut Session,
    start: &Disk,
    acked: Option<usize>,
    slate: &mut Slate,
) -> Result<bool, String> {
    for step in [Step::Roomy, Step::Add(900..902), Step::Commit] {
        session.step(&step).map_err(|e| format!("going on, {step:?}: {e:?}"))?;
    }
    session.judge_now(Judge::Writer).or_else(|_| session.judge_now(Judge::Reader))?;
    crash(session, start, acked, slate).map_err(|e| format!("a crash after going on: {e}"))?;
    Ok(false)
}

/// Crashes here, in some of the ways there are.
fn crash(session: &Session, start: &Disk, acked: Option<usize>, slate: &mut Slate) -> Result<(), String> {
    let Some(point) = trace::end(start, acked, &session.vfs.log()) else { return Ok(()) };
    slate.load(&point.base);
    for recipe in images::sample(&point, 4, &mut Rng(point.at as u64)) {
        slate.build(&point, &recipe);
        slate.put(&point, &recipe);
        let vfs: Arc<dyn Vfs> = slate.vfs.clone();
        let judged = oracle::judge(&vfs, &session.spec, &session.model, &point.expect, Judge::Reader);
        slate.wipe();
        judged.map_err(|e| format!("{}: {e}", recipe.describe(&point)))?;
    }
    Ok(())
}
