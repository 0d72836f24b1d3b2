//! Runs workloads, crashes them at every moment in every way, and judges each distinct image once.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use chassis_core::internals::format::BLOCK;
use chassis_core::internals::storage::Bug;
use chassis_core::internals::storage::backend::Vfs;

use crate::images::{self, Recipe, Slate};
use crate::oracle::{self, Judge, Model, Spec};
use crate::rng::{Rng, mix};
use crate::session::{ROOM, Session, Stop};
use crate::simfs::{Disk, Mark, Op, SimVfs};
use crate::tears::{self, ABSENT, WHOLE};
use crate::trace::{self, Expect, Point, Unit};
use crate::workloads::Workload;

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// 0: the exhaustive families of every point; later passes: `extra` random images a point.
    pub pass: u64,
    pub extra: usize,
    /// Of the exhaustive families only one image in so many.
    pub thin: usize,
    /// Images that are crashed again, one in so many; 0 for none.
    pub nested_every: u64,
    /// Stop a workload at its first violation.
    pub first: bool,
}

/// What came of a workload.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Distinct images, none of them seen in another workload.
    pub images: u64,
    /// Images judged: the same one counts again where another outcome was expected.
    pub judged: u64,
    /// Images of crashes that followed a crash.
    pub nested: u64,
    pub violations: Vec<String>,
}

/// Hashes seen, shared by threads.
pub struct Seen(Vec<Mutex<HashSet<u64>>>);

impl Seen {
    pub fn new() -> Seen {
        Seen((0..64).map(|_| Mutex::default()).collect())
    }

    /// Whether it is new.
    pub fn insert(&self, hash: u64) -> bool {
        self.0[(hash >> 58) as usize].lock().unwrap_or_else(PoisonError::into_inner).insert(hash)
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// A panic of the engine is a violation like any other, without its noise.
#[expect(clippy::disallowed_methods, reason = "the process and its hook belong to this test")]
pub fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// A workload that has run, and the moments to crash it at.
struct Run<'a> {
    workload: &'a Workload,
    spec: Spec,
    model: Model,
    cases: Vec<(Point, Kind)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crash,
    Lying,
}

/// Runs one workload and judges its images.
pub fn explore(workload: &Workload, bug: Option<Bug>, seen: &Seen, effort: Effort) -> Outcome {
    let run = match record(workload, bug) {
        Ok(run) => run,
        Err(text) => {
            return Outcome { violations: vec![format!("{}: {text}", workload.name)], ..Default::default() };
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let shared = Shared {
        run: &run,
        seen,
        judged_before: Seen::new(),
        effort,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        images: AtomicU64::new(0),
        judged: AtomicU64::new(0),
        nested: AtomicU64::new(0),
        violations: Mutex::default(),
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(|| shared.work())));
    });
    Outcome {
        images: shared.images.into_inner(),
        judged: shared.judged.into_inner(),
        nested: shared.nested.into_inner(),
        violations: shared.violations.into_inner().unwrap_or_else(PoisonError::into_inner),
    }
}

/// Runs the script. What goes wrong while it runs is a violation too.
fn record(workload: &Workload, bug: Option<Bug>) -> Result<Run<'_>, String> {
    let mut spec = workload.spec;
    spec.tuning.bug = bug;
    let mut session = Session::new(&spec);
    let stopped = |stop: Stop| match stop {
        Stop::Engine(error) => format!("live: {error}"),
        Stop::Violation(text) => format!("live: {text}"),
    };
    let start = guarded(|| {
        session.run(&workload.setup).map_err(stopped)?;
        let start = session.vfs.disk();
        session.vfs.record();
        let acked = session.current;
        session.run(&workload.steps).map_err(stopped)?;
        session.kill();
        Ok((start, acked))
    });
    let (start, acked) = start?;
    let log = session.vfs.log();
    let mut cases: Vec<(Point, Kind)> =
        trace::points(&start, acked, &log).into_iter().map(|p| (p, Kind::Crash)).collect();
    if workload.rot {
        let rotten: Vec<_> = cases.iter().flat_map(|(p, _)| rot(p, &session.model)).collect();
        cases.extend(rotten.into_iter().map(|p| (p, Kind::Crash)));
    }
    if workload.lying {
        cases.extend(lies(&start, &log).into_iter().map(|p| (p, Kind::Lying)));
    }
    Ok(Run { workload, spec, model: session.model, cases })
}

/// The same moment with damaged copies of the newest durable commit record: one copy is made good by the other;
/// both mean the commit before it, intact, because its blocks are not used again for one more commit.
fn rot(point: &Point, model: &Model) -> Vec<Point> {
    let Some(&newest) = point.expect.allowed.first() else { return vec![] };
    let txn = model.versions[newest].txn as usize;
    let (slot, mirror) = (1 + (txn & 1), 3 + (txn & 1));
    let mut out = Vec::new();
    for blocks in [vec![slot], vec![mirror], vec![slot, mirror]] {
        let mut expect = point.expect.clone();
        if blocks.len() == 2 {
            // Where the next record is being written over the previous one, nothing whole may be left.
            if newest == 0 || point.units.iter().any(Unit::is_meta) {
                continue;
            }
            expect.allowed[0] = newest - 1;
            expect.fallback = Some(newest - 1);
        }
        for damage in 0..2u64 {
            let mut disk = (*point.base).clone();
            for &block in &blocks {
                let bytes = &mut disk.files[0][block * BLOCK..][..512];
                if damage == 0 { tears::garbage(block as u64, bytes) } else { bytes[100] ^= 4 }
            }
            out.push(Point {
                at: point.at,
                base: Arc::new(disk),
                units: point.units.clone(),
                expect: expect.clone(),
            });
        }
    }
    out
}

/// After each acknowledged commit: every older content of every block, as if the disk had dropped the writes
/// since. One unit each; the images take them one or two at a time.
fn lies(start: &Disk, log: &[Op]) -> Vec<Point> {
    let mut history: HashMap<usize, Vec<Arc<[u8]>>> = HashMap::new();
    let mut disk = start.clone();
    for (block, bytes) in start.files[0].chunks(BLOCK).enumerate() {
        history.entry(block).or_default().push(bytes.into());
    }
    let mut out = Vec::new();
    for (at, op) in log.iter().enumerate() {
        match op {
            Op::Write { offset, data, .. } => {
                let unit = |block: usize, at: usize, from: usize, len: usize| Unit::Block {
                    file: 0,
                    block,
                    at,
                    data: data.clone(),
                    from,
                    len,
                };
                let (first, last) = (*offset as usize / BLOCK, (*offset as usize + data.len() - 1) / BLOCK);
                for block in first..=last {
                    let start = (block * BLOCK).max(*offset as usize);
                    let end = ((block + 1) * BLOCK).min(*offset as usize + data.len());
                    trace::settle(
                        &mut disk,
                        &unit(block, start - block * BLOCK, start - *offset as usize, end - start),
                    );
                    let now = disk.files[0][block * BLOCK..].chunks(BLOCK).next().unwrap_or(&[]);
                    history.entry(block).or_default().push(now.into());
                }
            }
            Op::Length { file, to } => trace::settle(&mut disk, &Unit::Length { file: *file, to: *to }),
            Op::Mark(Mark::Ack(version)) => out.push(lie(at, &disk, &history, *version)),
            _ => {}
        }
    }
    out
}

fn lie(at: usize, disk: &Disk, history: &HashMap<usize, Vec<Arc<[u8]>>>, version: usize) -> Point {
    let mut units = Vec::new();
    let history: BTreeMap<_, _> = history.iter().collect();
    for (&block, contents) in history {
        let zeros: Arc<[u8]> = vec![0; BLOCK].into();
        let now = &disk.files[0][block * BLOCK..][..BLOCK];
        let mut tried: Vec<&Arc<[u8]>> = vec![];
        for data in contents.iter().rev().take(6).chain([&zeros]) {
            if data.len() == BLOCK && data[..] != *now && !tried.contains(&data) {
                tried.push(data);
                units.push(Unit::Block { file: 0, block, at: 0, data: data.clone(), from: 0, len: BLOCK });
            }
        }
    }
    let expect = Expect { allowed: vec![version], absent: false, fallback: None };
    Point { at, base: Arc::new(disk.clone()), units, expect }
}

/// One lost write, or two. Two commit records would be a whole lost commit, which nothing on the disk can tell.
fn lost_writes(point: &Point, rng: &mut Rng) -> Vec<Recipe> {
    let n = point.units.len();
    let one = |i: usize, choice: u8| {
        let choices = (0..n).map(|j| if j == i { choice } else { ABSENT }).collect();
        Recipe { choices, fill: 0 }
    };
    let mut out: Vec<Recipe> = (0..n).map(|i| one(i, WHOLE)).collect();
    for _ in 0..n {
        let (a, b) = (rng.below(n), rng.below(n));
        if n > 0 && !point.units[a].is_meta() && !point.units[b].is_meta() {
            let mut two = one(a, WHOLE);
            two.choices[b] = WHOLE;
            out.push(two);
        }
    }
    out
}

struct Shared<'a> {
    run: &'a Run<'a>,
    seen: &'a Seen,
    judged_before: Seen,
    effort: Effort,
    next: AtomicUsize,
    stop: AtomicBool,
    images: AtomicU64,
    judged: AtomicU64,
    nested: AtomicU64,
    violations: Mutex<Vec<String>>,
}

impl Shared<'_> {
    fn work(&self) {
        let mut slate = Slate::new();
        let mut inner = Slate::new();
        while let Some((point, kind)) = self.run.cases.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let mut rng = Rng(mix(point.at as u64) ^ self.effort.pass);
            let recipes = match kind {
                Kind::Crash if self.effort.pass == 0 => images::families(point, &mut rng),
                Kind::Crash => images::random(point, self.effort.extra, &mut rng),
                Kind::Lying => lost_writes(point, &mut rng),
            };
            slate.load(&point.base);
            let about =
                point.expect.allowed.iter().fold(point.expect.absent as u64, |h, &v| mix(h ^ v as u64));
            let thin = if *kind == Kind::Crash { self.effort.thin } else { 1 };
            for recipe in recipes.iter().step_by(thin) {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                let hash = slate.build(point, recipe);
                if self.seen.insert(hash) {
                    self.images.fetch_add(1, Ordering::Relaxed);
                }
                if self.judged_before.insert(hash ^ about) {
                    self.judged.fetch_add(1, Ordering::Relaxed);
                    self.image(&mut slate, &mut inner, point, *kind, recipe, hash);
                }
            }
        }
    }

    fn image(
        &self,
        slate: &mut Slate,
        inner: &mut Slate,
        point: &Point,
        kind: Kind,
        recipe: &Recipe,
        hash: u64,
    ) {
        let how = match kind {
            Kind::Lying => Judge::Detect,
            Kind::Crash if hash.is_multiple_of(4) => Judge::Writer,
            Kind::Crash => Judge::Reader,
        };
        slate.put(point, recipe);
        let found = self.judge(slate, point, how);
        let outcome = found.and_then(|found| match found {
            _ if !(hash >> 8).is_multiple_of(16) => Ok(()),
            found if kind == Kind::Crash => self.second_life(slate, inner, found, hash),
            Some(version) => self.damaged_life(slate, version),
            None => Ok(()),
        });
        slate.wipe();
        if let Err(text) = outcome {
            let smallest = self.shrink(slate, point, recipe, how);
            self.violation(point, &smallest, &text);
        }
    }

    fn judge(&self, slate: &Slate, point: &Point, how: Judge) -> Result<Option<usize>, String> {
        let vfs: Arc<dyn Vfs> = slate.vfs.clone();
        guarded(|| oracle::judge(&vfs, &self.run.spec, &self.run.model, &point.expect, how))
    }

    /// Goes on from what the crash left; for some images, crashes that again.
    fn second_life(
        &self,
        slate: &Slate,
        inner: &mut Slate,
        found: Option<usize>,
        hash: u64,
    ) -> Result<(), String> {
        let disk = slate.vfs.disk();
        let vfs = SimVfs::from_disk(&disk, 1 << 20);
        let nested = self.effort.nested_every > 0 && (hash >> 16).is_multiple_of(self.effort.nested_every);
        if nested {
            vfs.record();
        }
        let next = self.run.model.versions.len();
        vfs.mark(Mark::Begin(next));
        let shared: Arc<dyn Vfs> = vfs.clone();
        let model = guarded(|| oracle::go_on(&shared, &self.run.spec, &self.run.model, found, !nested))?;
        vfs.mark(Mark::Ack(next));
        if !nested {
            return Ok(());
        }
        let mut rng = Rng(hash);
        for mut point in trace::points(&disk, found, &vfs.log()) {
            if found.is_none() {
                point.expect.allowed.push(0);
            }
            inner.load(&point.base);
            for recipe in images::sample(&point, 8, &mut rng) {
                if !self.judged_before.insert(inner.build(&point, &recipe) ^ mix(hash)) {
                    continue;
                }
                self.nested.fetch_add(1, Ordering::Relaxed);
                inner.put(&point, &recipe);
                let vfs: Arc<dyn Vfs> = inner.vfs.clone();
                let judged =
                    guarded(|| oracle::judge(&vfs, &self.run.spec, &model, &point.expect, Judge::Reader));
                inner.wipe();
                judged.map_err(|e| {
                    format!("second crash at op {}, {}: {e}", point.at, recipe.describe(&point))
                })?;
            }
        }
        Ok(())
    }

    /// Goes on writing over damage that was not noticed yet: it must not be signed anew.
    fn damaged_life(&self, slate: &Slate, version: usize) -> Result<(), String> {
        let vfs: Arc<dyn Vfs> = SimVfs::from_disk(&slate.vfs.disk(), 1 << 20);
        guarded(|| oracle::go_on_damaged(&vfs, &self.run.spec, &self.run.model, version))
    }

    /// Takes damage away while the violation stays.
    fn shrink(&self, slate: &mut Slate, point: &Point, recipe: &Recipe, how: Judge) -> Recipe {
        let mut best = recipe.clone();
        for i in 0..best.choices.len() {
            for simpler in [ABSENT, WHOLE] {
                if best.choices[i] == simpler {
                    break;
                }
                let mut tried = best.clone();
                tried.choices[i] = simpler;
                slate.build(point, &tried);
                slate.put(point, &tried);
                let bad = self.judge(slate, point, how).is_err();
                slate.wipe();
                if bad {
                    best = tried;
                    break;
                }
            }
        }
        best
    }

    fn violation(&self, point: &Point, recipe: &Recipe, text: &str) {
        let mut list = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < 20 {
            let name = self.run.workload.name;
            list.push(format!("{name}: crash before op {} {}: {text}", point.at, recipe.describe(point)));
        }
        if self.effort.first || list.len() >= 20 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Memory for files of a second life is small; scripts may need more.
const _: () = assert!(ROOM >= 1 << 20, "second lives start from a script's disk");
