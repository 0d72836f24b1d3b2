//! The crash simulation: workloads run on a simulated disk, which is then crashed at every moment in every way
//! that a real one allows; each image must recover to an acknowledged commit or the one in flight.
//!
//! `CHASSIS_SIM_IMAGES` is the least number of distinct images (default 200,000); `CHASSIS_SIM_ONLY`
//! and `CHASSIS_SIM_BUG` take part of a workload's or seeded bug's name and leave out the others. A violation
//! prints its reproducer: workload, operation, and what became of each pending write; everything is seeded.
//!
//! | module | part |
//! |---|---|
//! | `simfs` | a file system that logs every operation and fails where told |
//! | `trace` | from the log to moments: what is durable, what pending, what may be found |
//! | `images`, `tears` | the disks a crash can leave at a moment |
//! | `oracle`, `derived` | what must be found |
//! | `workloads`, `session` | scripts, and the engine run by them |
//! | `explore` | all of it together, on all cores |
//! | `faults` | failing calls instead of crashes |

mod derived;
mod explore;
mod faults;
mod images;
mod oracle;
mod rng;
mod session;
mod simfs;
mod tears;
mod trace;
mod workloads;

use std::time::Instant;

use chassis_core::internals::storage::Bug;

use explore::{Effort, Outcome, Seen, explore};

fn wanted() -> u64 {
    let stated = std::env::var("CHASSIS_SIM_IMAGES").ok().and_then(|n| n.parse().ok());
    stated.unwrap_or(200_000)
}

/// Runs only workloads whose name holds this text.
fn selected() -> Vec<workloads::Workload> {
    let only = std::env::var("CHASSIS_SIM_ONLY").unwrap_or_default();
    workloads::all().into_iter().filter(|w| w.name.contains(&only)).collect()
}

#[test]
fn every_crash_recovers() {
    let (started, seen) = (Instant::now(), Seen::new());
    let workloads = selected();
    let mut totals: Vec<Outcome> = workloads.iter().map(|_| Outcome::default()).collect();
    let images = |totals: &[Outcome]| totals.iter().map(|t| t.images).sum::<u64>();
    let mut effort = Effort { pass: 0, extra: 0, thin: 1, nested_every: 4, first: false };
    // The first pass is exhaustive; further ones are random and go on until there are enough.
    while effort.pass == 0 || (images(&totals) < wanted() && effort.pass < 1000) {
        for (workload, total) in workloads.iter().zip(&mut totals) {
            let outcome = explore(workload, None, &seen, effort);
            total.images += outcome.images;
            total.judged += outcome.judged;
            total.nested += outcome.nested;
            total.violations.extend(outcome.violations);
        }
        if totals.iter().any(|t| !t.violations.is_empty()) {
            break;
        }
        effort = Effort { pass: effort.pass + 1, extra: 500, ..effort };
    }
    for (workload, t) in workloads.iter().zip(&totals) {
        let (name, violations) = (workload.name, t.violations.len());
        println!(
            "sim  {name:<26} {:>8} images {:>8} judged {:>7} nested {violations:>3} violations",
            t.images, t.judged, t.nested
        );
    }
    let (images, nested) = (images(&totals), totals.iter().map(|t| t.nested).sum::<u64>());
    let seconds = started.elapsed().as_secs_f64();
    println!("sim  total: {images} distinct images, {nested} nested, {seconds:.1} s");
    let violations: Vec<&String> = totals.iter().flat_map(|t| &t.violations).collect();
    violations.iter().for_each(|v| println!("VIOLATION  {v}"));
    assert!(violations.is_empty(), "{} violations; see above", violations.len());
    assert!(images >= wanted(), "{images} images are fewer than {}", wanted());
}

#[test]
fn every_seeded_bug_is_caught() {
    let only = std::env::var("CHASSIS_SIM_BUG").unwrap_or_default();
    let mut missed = Vec::new();
    for &bug in Bug::ALL.iter().filter(|bug| format!("{bug:?}").contains(&only)) {
        let (seen, mut images, mut caught) = (Seen::new(), 0, None);
        // Most bugs show in a few images of the right workload: first a thin pass over all of them, then a whole one.
        for (thin, workload) in
            [16, 1].into_iter().flat_map(|thin| selected().into_iter().map(move |w| (thin, w)))
        {
            let effort = Effort { pass: 0, extra: 0, thin, nested_every: 4, first: true };
            let outcome = explore(&workload, Some(bug), &seen, effort);
            images += outcome.images;
            caught = outcome.violations.into_iter().next();
            if caught.is_some() {
                break;
            }
        }
        match caught {
            Some(text) => println!("bug  {bug:<20?} caught after {images:>7} images: {text}"),
            None => {
                println!("bug  {bug:<20?} NOT CAUGHT in {images} images");
                missed.push(bug);
            }
        }
    }
    assert!(missed.is_empty(), "seeded bugs the simulation does not notice: {missed:?}");
}

#[test]
fn every_failing_call_is_survived() {
    let mut violations = Vec::new();
    for workload in selected() {
        let sweep = faults::sweep(&workload);
        let (name, bad) = (workload.name, sweep.violations.len());
        println!("io   {name:<26} {:>8} calls {:>9} faults {bad:>3} violations", sweep.calls, sweep.runs);
        violations.extend(sweep.violations);
    }
    violations.iter().take(30).for_each(|v| println!("VIOLATION  {v}"));
    assert!(violations.is_empty(), "{} violations; see above", violations.len());
}
