//! What must be found: a plain map per commit, compared to the last bit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use chassis_core::internals::storage::OpenTuning;
use chassis_core::internals::storage::backend::Vfs;
use chassis_core::{
    BatchOptions, CheckLevel, Error, ErrorKind, Hits, Id, IdType, Metric, Mode, OpenOptions, Quantization,
    Record, SearchOptions, VectorIndex,
};

use crate::derived;
use crate::rng::{Rng, mix};
use crate::trace::Expect;

/// A vector and its payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub vector: Vec<f32>,
    pub payload: Option<Vec<u8>>,
}

/// One version of an index: the state of one commit. Its number is its `user_version`.
#[derive(Debug, Clone, Default)]
pub struct Version {
    pub records: BTreeMap<Id, Row>,
    /// Derived objects.
    pub derived: derived::All,
    /// Number of the commit, once acknowledged.
    pub txn: u64,
}

/// All versions of one run.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub versions: Vec<Version>,
    /// Every id ever used.
    pub ever: BTreeSet<Id>,
}

/// The shape of a workload's index.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub dimensions: usize,
    pub m: usize,
    pub m0: usize,
    pub id_type: IdType,
    pub payloads: bool,
    pub quantization: Quantization,
    pub tuning: OpenTuning,
}

/// How an image is opened and judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// For reading: an acknowledged or begun version, whole.
    Reader,
    /// For writing, the same.
    Writer,
    /// After a write that the disk lost: damage may be reported instead, but nothing wrong may be answered.
    Detect,
}

pub fn path() -> PathBuf {
    PathBuf::from("sim/index.chassis")
}

impl Spec {
    pub fn options(&self, mode: Mode) -> OpenOptions {
        OpenOptions {
            mode,
            dimensions: Some(self.dimensions),
            metric: Some(Metric::L2),
            id_type: Some(self.id_type),
            m: Some(self.m),
            m0: Some(self.m0),
            ef_construction: Some(16),
            quantization: Some(self.quantization),
            ..Default::default()
        }
    }

    pub fn open(&self, vfs: &Arc<dyn Vfs>, mode: Mode) -> Result<VectorIndex, Error> {
        VectorIndex::open_with(vfs, &path(), &self.options(mode), &self.tuning)
    }

    pub fn id(&self, n: u64) -> Id {
        match self.id_type {
            IdType::Integer => Id::Integer(n),
            IdType::String => Id::String(format!("doc-{n}-{}", "x".repeat(n as usize % 40))),
        }
    }

    /// The row a run adds under number `n`; `salt` tells generations of one id apart.
    pub fn row(&self, n: u64, salt: u64) -> Row {
        let mut rng = Rng(mix(n) ^ salt);
        let vector = (0..self.dimensions).map(|_| rng.unit() * 8.0).collect();
        let payload =
            (self.payloads && !n.is_multiple_of(3)).then(|| vec![(n + salt) as u8; (n as usize * 37) % 150]);
        Row { vector, payload }
    }

    pub fn add(&self, index: &VectorIndex, id: &Id, row: &Row) -> Result<(), Error> {
        let payloads = [row.payload.as_deref()];
        let options = BatchOptions {
            ids: Some(std::slice::from_ref(id)),
            payloads: Some(&payloads),
            threads: Some(1),
            ..Default::default()
        };
        index.add_batch(&row.vector, &options).map(drop)
    }
}

/// Whether the kind of an error says "damaged", which is an answer when the disk lied.
fn damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Truncated | ErrorKind::NotADatabase)
}

fn shown(what: &str) -> impl Fn(Error) -> String + '_ {
    move |e| format!("{what}: {e}")
}

/// Opens an image and compares. `Ok(None)`: there is no index, and that is allowed; else the version found.
pub fn judge(
    vfs: &Arc<dyn Vfs>,
    spec: &Spec,
    model: &Model,
    expect: &Expect,
    how: Judge,
) -> Result<Option<usize>, String> {
    let mode = if how == Judge::Reader { Mode::ReadOnly } else { Mode::Open };
    let index = match spec.open(vfs, mode) {
        Ok(index) => index,
        Err(e) if e.kind() == ErrorKind::NotFound && expect.absent => return Ok(None),
        Err(e) if how == Judge::Detect && damage(&e) => return Ok(None),
        Err(e) => return Err(format!("open: {e}")),
    };
    let found = index.user_version().map_err(shown("user_version"))? as usize;
    if !expect.allowed.contains(&found) {
        return Err(format!("found version {found}, allowed are {:?}", expect.allowed));
    }
    let version = model.versions.get(found).ok_or("a version that never was")?;
    if how == Judge::Detect {
        return detect(&index, spec, model, version).map(|()| Some(found));
    }
    compare(&index, spec, model, version)?;
    if expect.fallback == Some(found) && !index.stats().map_err(shown("stats"))?.recovered_previous_commit {
        return Err("a damaged commit was passed over in silence".into());
    }
    Ok(Some(found))
}

/// Compares everything: structure, records, absent ids, exact search.
pub fn compare(index: &VectorIndex, spec: &Spec, model: &Model, version: &Version) -> Result<(), String> {
    let report = index.check(CheckLevel::Full).map_err(shown("check"))?;
    if let Some(problem) = report.problems.first() {
        return Err(format!("check: {problem:?} and {} more", report.problems.len() - 1));
    }
    let count = index.len().map_err(shown("len"))?;
    if count != version.records.len() as u64 {
        return Err(format!("{count} records, {} expected", version.records.len()));
    }
    for (id, row) in &version.records {
        same(id, row, index.get(id).map_err(shown("get"))?)?;
    }
    for id in model.ever.iter().filter(|id| !version.records.contains_key(id)) {
        if index.has(id).map_err(shown("has"))? {
            return Err(format!("id {id} should not be there"));
        }
    }
    for seed in 0..2 {
        let (query, options) = query(spec, seed);
        let hits = index.search(&query, &options).map_err(shown("search"))?;
        same_hits(&hits, &query, version)?;
    }
    derived::compare(index, &version.derived, |e| Err(format!("derived: {e}")))
}

/// Like [`compare`], but every call may report damage instead of answering. Records are right or refused. Only
/// the order of search results may be wrong, because distances are computed over vectors whose checksums `get`
/// and `check` verify, not each search; then `check` must say so.
fn detect(index: &VectorIndex, spec: &Spec, model: &Model, version: &Version) -> Result<(), String> {
    let mut reported = false;
    let mut ok = |e: Error, what: &str| {
        reported = true;
        if damage(&e) { Ok(()) } else { Err(format!("{what}: {e}")) }
    };
    for (id, row) in &version.records {
        match index.get(id) {
            Ok(record) => same(id, row, record)?,
            Err(e) => ok(e, "get")?,
        }
    }
    for id in model.ever.iter().filter(|id| !version.records.contains_key(id)) {
        match index.has(id) {
            Ok(false) => {}
            Ok(true) => return Err(format!("id {id} should not be there")),
            Err(e) => ok(e, "has")?,
        }
    }
    let mut misplaced = None;
    for seed in 0..2 {
        let (query, options) = query(spec, seed);
        match index.search(&query, &options) {
            Ok(hits) => {
                if let Some(id) =
                    (0..hits.len()).map(|i| hits.id(i)).find(|id| !version.records.contains_key(id))
                {
                    return Err(format!("a search found id {id}, which is not there"));
                }
                misplaced = misplaced.or(same_hits(&hits, &query, version).err());
            }
            Err(e) => ok(e, "search")?,
        }
    }
    derived::compare(index, &version.derived, |e| ok(e, "derived"))?;
    let clean = match index.check(CheckLevel::Full) {
        Ok(report) => report.is_ok(),
        Err(e) => {
            ok(e, "check")?;
            false
        }
    };
    match misplaced {
        _ if clean && reported => Err("check is clean although a read reported damage".into()),
        Some(text) if clean => Err(text),
        _ => Ok(()),
    }
}

fn same(id: &Id, row: &Row, found: Option<Record>) -> Result<(), String> {
    let found = found.ok_or_else(|| format!("id {id} is missing"))?;
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    if bits(&found.vector) != bits(&row.vector) {
        return Err(format!("id {id}: another vector {:?}", found.vector));
    }
    if found.payload != row.payload {
        return Err(format!("id {id}: payload {:?}", found.payload));
    }
    Ok(())
}

fn query(spec: &Spec, seed: u64) -> (Vec<f32>, SearchOptions) {
    let mut rng = Rng(seed ^ 0x51ab);
    let query = (0..spec.dimensions).map(|_| rng.unit() * 6.0).collect();
    (query, SearchOptions { k: 5, exact: seed == 0, ..Default::default() })
}

/// The nearest five by definition, in f64. Random components make ties a non-event.
fn same_hits(hits: &Hits, query: &[f32], version: &Version) -> Result<(), String> {
    let distance = |v: &[f32]| -> f64 {
        query.iter().zip(v).map(|(&a, &b)| (a as f64 - b as f64).powi(2)).sum::<f64>().sqrt()
    };
    let mut all: Vec<(f64, &Id)> =
        version.records.iter().map(|(id, row)| (distance(&row.vector), id)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    all.truncate(5);
    if hits.len() != all.len() {
        return Err(format!("{} hits, {} expected", hits.len(), all.len()));
    }
    for (i, (distance, id)) in all.iter().enumerate() {
        if hits.id(i) != **id || (hits.distances[i] as f64 - distance).abs() > 1e-4 {
            return Err(format!("hit {i}: {} at {}, not {id} at {distance}", hits.id(i), hits.distances[i]));
        }
    }
    Ok(())
}

/// Adds a record to an index that may be damaged and commits: both may be refused. What is committed is judged
/// like any image of a disk that lied.
pub fn go_on_damaged(vfs: &Arc<dyn Vfs>, spec: &Spec, model: &Model, version: usize) -> Result<(), String> {
    let mut model = model.clone();
    let n = 1_000_000 + model.ever.len() as u64;
    let (id, row) = (spec.id(n), spec.row(n, 0));
    let mut next = model.versions[version].clone();
    let mut write = || -> Result<(), Error> {
        let index = spec.open(vfs, Mode::Open)?;
        spec.add(&index, &id, &row)?;
        renew(&index, &mut next)?;
        index.set_user_version(model.versions.len() as u64)?;
        index.commit().map(drop)
    };
    match write() {
        Ok(()) => {}
        Err(e) if damage(&e) => return Ok(()),
        Err(e) => return Err(format!("writing over damage: {e}")),
    }
    next.records.insert(id.clone(), row);
    model.ever.insert(id);
    model.versions.push(next);
    let expect = Expect { allowed: vec![model.versions.len() - 1], ..Default::default() };
    judge(vfs, spec, &model, &expect, Judge::Detect)
        .map(drop)
        .map_err(|e| format!("after writing over damage: {e}"))
}

/// Replaces one derived object and extends another, where there are any.
fn renew(index: &VectorIndex, version: &mut Version) -> Result<(), Error> {
    let all = &mut version.derived;
    if let Some(&kind) = all.keys().next() {
        derived::replace(index, all, kind, u16::MAX, 5)?;
    }
    if let Some((&kind, object)) = all.iter().next_back() {
        let len = object.len + 1;
        derived::extend(index, all, kind, len)?;
    }
    Ok(())
}

/// Adds a record to what a crash left, commits, closes, reopens and compares. Returns the model with that commit. With
/// `on`, a writer that found the newest commit lost goes on until it uses freed blocks again.
pub fn go_on(
    vfs: &Arc<dyn Vfs>,
    spec: &Spec,
    model: &Model,
    found: Option<usize>,
    on: bool,
) -> Result<Model, String> {
    let index = spec.open(vfs, Mode::OpenOrCreate).map_err(shown("open to go on"))?;
    let lost = index.stats().map_err(shown("stats to go on"))?.recovered_previous_commit;
    let mut model = model.clone();
    let mut version = found.map_or(Version::default(), |v| model.versions[v].clone());
    for _ in 0..if lost && on { 5 } else { 1 } {
        let n = 1_000_000 + model.ever.len() as u64;
        let (id, row) = (spec.id(n), spec.row(n, 0));
        spec.add(&index, &id, &row).map_err(shown("add to go on"))?;
        renew(&index, &mut version).map_err(shown("derive to go on"))?;
        index.set_user_version(model.versions.len() as u64).map_err(shown("set_user_version"))?;
        version.records.insert(id.clone(), row);
        model.ever.insert(id);
        version.txn = index.commit().map_err(shown("commit to go on"))?;
        model.versions.push(version.clone());
    }
    drop(index);
    let expect = Expect { allowed: vec![model.versions.len() - 1], ..Default::default() };
    judge(vfs, spec, &model, &expect, Judge::Reader).map_err(|e| format!("after going on: {e}"))?;
    Ok(model)
}
