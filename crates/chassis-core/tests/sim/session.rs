//! Runs a script against the engine, keeps the model beside it, and notes promises in the log.

use std::sync::Arc;

use chassis_core::internals::storage::backend::Vfs;
use chassis_core::{CheckLevel, CompactOptions, Error, ErrorKind, Mode, VectorIndex};

use crate::derived;
use crate::oracle::{self, Judge, Model, Spec, Version};
use crate::simfs::{Call, Failure, Fault, Mark, SimVfs};
use crate::trace::Expect;
use crate::workloads::Step;

/// Bytes a simulated file may grow to.
pub const ROOM: usize = 4 << 20;

/// Why a script stopped.
#[derive(Debug)]
pub enum Stop {
    /// The engine returned an error that the script did not ask for.
    Engine(Error),
    /// The engine broke a promise.
    Violation(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Engine(error)
    }
}

/// A running script.
pub struct Session {
    pub vfs: Arc<SimVfs>,
    pub spec: Spec,
    pub model: Model,
    /// The newest version that was acknowledged or, after a kill, found.
    pub current: Option<usize>,
    /// Versions whose commit failed half-way since then.
    pub maybe: Vec<usize>,
    pub index: Option<VectorIndex>,
    draft: Version,
    /// A reader, the version it sees, and the file it has open.
    reader: Option<(VectorIndex, usize, Option<usize>)>,
    salt: u64,
}

impl Session {
    pub fn new(spec: &Spec) -> Session {
        Session {
            vfs: SimVfs::new(ROOM),
            spec: *spec,
            model: Model::default(),
            current: None,
            maybe: vec![],
            index: None,
            draft: Version::default(),
            reader: None,
            salt: 0,
        }
    }

    pub fn dyn_vfs(&self) -> Arc<dyn Vfs> {
        self.vfs.clone()
    }

    pub fn run(&mut self, steps: &[Step]) -> Result<(), Stop> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    pub fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Open => self.open(),
            Step::Add(range) => range.clone().try_for_each(|n| self.add(n)),
            Step::Batch(range) => self.batch(range.clone()),
            Step::Delete(range) => self.delete(range.clone()),
            Step::Derive(..) | Step::Extend(..) | Step::Drop(_) => self.derive(step),
            Step::Commit => self.commit().map(drop),
            Step::Rollback => self.rollback(),
            Step::Compact => self.compact(),
            Step::CompactFull => self.compact_full(),
            Step::KillCompact(call, after) => self.kill_compact(*call, *after),
            Step::Kill => {
                self.kill();
                Ok(())
            }
            Step::KillCreating => self.kill_creating(),
            Step::KillAt(barriers) => self.kill_at(*barriers),
            Step::Reader => self.open_reader(),
            Step::ReaderCheck => self.check_reader(),
            Step::ReaderRefresh => self.refresh_reader(),
            Step::ReaderClose => {
                self.reader = None;
                Ok(())
            }
            Step::Free(blocks) => {
                self.vfs.set_limit(Some(self.vfs.largest() + blocks * 4096));
                Ok(())
            }
            Step::CommitFull => self.commit_full(),
            Step::Roomy => {
                self.vfs.set_limit(None);
                Ok(())
            }
        }
    }

    fn index(&self) -> Result<&VectorIndex, Stop> {
        self.index.as_ref().ok_or_else(|| Stop::Violation("the script uses a closed index".into()))
    }

    fn open(&mut self) -> Result<(), Stop> {
        let new = self.current.is_none();
        if new && self.model.versions.is_empty() {
            self.model.versions.push(Version::default());
            self.vfs.mark(Mark::Begin(0));
        }
        let creates = !self.vfs.exists(&oracle::path());
        let index = match self.spec.open(&self.dyn_vfs(), Mode::OpenOrCreate) {
            Ok(index) => index,
            Err(error) => {
                if new {
                    self.vfs.mark(Mark::Maybe(0));
                }
                return Err(error.into());
            }
        };
        if new && creates {
            // Whoever finds a file that somebody died creating is promised nothing before the first commit.
            self.vfs.mark(Mark::Ack(0));
        }
        self.current.get_or_insert(0);
        let found = index.user_version()? as usize;
        if self.current != Some(found) && !self.maybe.contains(&found) {
            let text = format!("reopened at version {found}, not {:?} or {:?}", self.current, self.maybe);
            return Err(Stop::Violation(text));
        }
        self.current = Some(found);
        self.draft = self.model.versions[found].clone();
        self.model.versions[found].txn = index.stats()?.commit;
        self.look(&index, &self.draft)?;
        self.index = Some(index);
        Ok(())
    }

    /// The process dies when the new file has its name, before the name is durable.
    fn kill_creating(&mut self) -> Result<(), Stop> {
        if self.vfs.armed() {
            return Ok(());
        }
        let fault = Fault { after: 0, call: Some(Call::SyncDir), failure: Failure::Killed, sticky: true };
        self.vfs.set_fault(Some(fault));
        let outcome = self.open();
        self.kill();
        self.vfs.set_fault(None);
        match outcome {
            Err(Stop::Violation(text)) => Err(Stop::Violation(text)),
            _ => Ok(()),
        }
    }

    fn add(&mut self, n: u64) -> Result<(), Stop> {
        self.salt += 1;
        let (id, row) = (self.spec.id(n), self.spec.row(n, self.salt));
        self.spec.add(self.index()?, &id, &row)?;
        self.model.ever.insert(id.clone());
        self.draft.records.insert(id, row);
        Ok(())
    }

    fn batch(&mut self, range: std::ops::Range<u64>) -> Result<(), Stop> {
        self.salt += 1;
        let rows: Vec<_> = range.map(|n| (self.spec.id(n), self.spec.row(n, self.salt))).collect();
        let ids: Vec<_> = rows.iter().map(|r| r.0.clone()).collect();
        let vectors: Vec<f32> = rows.iter().flat_map(|r| r.1.vector.iter().copied()).collect();
        let payloads: Vec<_> = rows.iter().map(|r| r.1.payload.as_deref()).collect();
        let options = chassis_core::BatchOptions {
            ids: Some(&ids),
            payloads: Some(&payloads),
            threads: Some(1),
            ..Default::default()
        };
        self.index()?.add_batch(&vectors, &options)?;
        self.model.ever.extend(ids);
        self.draft.records.extend(rows);
        Ok(())
    }

    fn delete(&mut self, range: std::ops::Range<u64>) -> Result<(), Stop> {
        let ids: Vec<_> = range.map(|n| self.spec.id(n)).collect();
        self.index()?.delete(&ids)?;
        ids.iter().for_each(|id| drop(self.draft.records.remove(id)));
        Ok(())
    }

    fn derive(&mut self, step: &Step) -> Result<(), Stop> {
        self.salt += 1;
        let (index, all) = (self.index.as_ref(), &mut self.draft.derived);
        let index = index.ok_or_else(|| Stop::Violation("the script uses a closed index".into()))?;
        match *step {
            Step::Derive(kind, len) => derived::replace(index, all, kind, self.salt as u16, len)?,
            Step::Extend(kind, len) => derived::extend(index, all, kind, len)?,
            Step::Drop(kind) => derived::drop_object(index, all, kind)?,
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<usize, Stop> {
        let version = self.model.versions.len();
        self.index()?.set_user_version(version as u64)?;
        self.model.versions.push(self.draft.clone());
        self.vfs.mark(Mark::Begin(version));
        Ok(version)
    }

    /// Commits. An error leaves `maybe` saying what may be found.
    pub fn commit(&mut self) -> Result<usize, Stop> {
        let version = self.begin()?;
        match self.index()?.commit() {
            Ok(txn) => {
                self.vfs.mark(Mark::Ack(version));
                self.model.versions[version].txn = txn;
                self.draft.txn = txn;
                self.current = Some(version);
                self.maybe.clear();
                Ok(version)
            }
            Err(error) => {
                let unsure = error.kind() == ErrorKind::CommitIndeterminate || self.vfs.tripped();
                self.vfs.mark(if unsure { Mark::Maybe(version) } else { Mark::Failed });
                if unsure {
                    self.maybe.push(version);
                }
                Err(error.into())
            }
        }
    }

    fn rollback(&mut self) -> Result<(), Stop> {
        self.index()?.rollback()?;
        let current = self.current.unwrap_or(0);
        self.draft = self.model.versions[current].clone();
        self.look(self.index()?, &self.draft)
    }

    /// The records stay the same, so there is no new version: what is found has to be the current one.
    fn compact(&mut self) -> Result<(), Stop> {
        let before = self.vfs.named(&oracle::path());
        let options = CompactOptions { threads: Some(1), ..Default::default() };
        let outcome = self.index()?.compact(&options);
        let (moved, records) = (self.vfs.named(&oracle::path()) != before, self.draft.records.len() as u64);
        match outcome {
            Ok(report) if !moved || report.records != records => {
                Err(Stop::Violation(format!("{report:?} of {records} records, renamed: {moved}")))
            }
            Ok(report) => {
                let current = self.current.unwrap_or(0);
                if report.commit <= self.model.versions[current].txn {
                    return Err(Stop::Violation(format!("a commit number went back to {}", report.commit)));
                }
                self.model.versions[current].txn = report.commit;
                self.look(self.index()?, &self.draft)
            }
            Err(error) if moved != (error.kind() == ErrorKind::CommitIndeterminate) => {
                Err(Stop::Violation(format!("renamed: {moved}, and {error}")))
            }
            Err(error) => {
                // Whatever failed, searches go on.
                let seen = self.index()?;
                let compared =
                    self.vfs.paused(|| oracle::compare(seen, &self.spec, &self.model, &self.draft));
                compared.map_err(Stop::Violation)?;
                Err(error.into())
            }
        }
    }

    fn compact_full(&mut self) -> Result<(), Stop> {
        self.vfs.set_limit(Some(9 * 4096));
        let outcome = self.compact();
        self.vfs.set_limit(None);
        match outcome {
            Ok(()) => Err(Stop::Violation("a compaction found room on a full disk".into())),
            Err(Stop::Engine(e)) if e.kind() == ErrorKind::DiskFull => self.look(self.index()?, &self.draft),
            Err(other) => Err(other),
        }
    }

    fn kill_compact(&mut self, call: Call, after: u64) -> Result<(), Stop> {
        if self.vfs.armed() {
            // The fault sweep has a failure of its own in store.
            self.compact()?;
            self.kill();
            return Ok(());
        }
        let fault = Fault { after, call: Some(call), failure: Failure::Killed, sticky: true };
        self.vfs.set_fault(Some(fault));
        let outcome = self.compact();
        let struck = self.vfs.tripped();
        self.kill();
        self.vfs.set_fault(None);
        match outcome {
            Err(Stop::Engine(_)) if struck => Ok(()),
            Err(Stop::Violation(text)) => Err(Stop::Violation(text)),
            other => Err(Stop::Violation(format!("a kill at {call:?} {after} did not strike: {other:?}"))),
        }
    }

    /// A check that may meet a fault, then a comparison that meets none.
    fn look(&self, index: &VectorIndex, version: &Version) -> Result<(), Stop> {
        let report = index.check(CheckLevel::Full)?;
        if let Some(problem) = report.problems.first() {
            return Err(Stop::Violation(format!("check: {problem:?}")));
        }
        let compared = self.vfs.paused(|| oracle::compare(index, &self.spec, &self.model, version));
        compared.map_err(Stop::Violation)
    }

    /// Ends the writer without a word. What it wrote stays in the page cache.
    pub fn kill(&mut self) {
        self.index = None;
    }

    fn kill_at(&mut self, barriers: u64) -> Result<(), Stop> {
        if self.vfs.armed() {
            // The fault sweep has a failure of its own in store.
            self.commit()?;
            self.kill();
            return Ok(());
        }
        let fault =
            Fault { after: barriers, call: Some(Call::Barrier), failure: Failure::Killed, sticky: true };
        self.vfs.set_fault(Some(fault));
        let outcome = self.commit();
        self.kill();
        self.vfs.set_fault(None);
        match outcome {
            // Fewer barriers than that: the commit was through before the kill.
            Ok(_) | Err(Stop::Engine(_)) => Ok(()),
            Err(violation) => Err(violation),
        }
    }

    fn commit_full(&mut self) -> Result<(), Stop> {
        match self.commit() {
            Ok(_) => Err(Stop::Violation("a commit found room on a full disk".into())),
            Err(Stop::Engine(e)) if e.kind() == ErrorKind::DiskFull => {
                // The transaction is as it was: everything added is still there.
                self.look(self.index()?, &self.draft)
            }
            Err(other) => Err(other),
        }
    }

    fn open_reader(&mut self) -> Result<(), Stop> {
        let index = self.spec.open(&self.dyn_vfs(), Mode::ReadOnly)?;
        self.reader = Some((index, self.current.unwrap_or(0), self.vfs.named(&oracle::path())));
        self.check_reader()
    }

    /// The reader's snapshot, block by block and record by record: `check` looks again at pages seen before.
    fn check_reader(&mut self) -> Result<(), Stop> {
        let Some((reader, version, _)) = &self.reader else { return Ok(()) };
        self.look(reader, &self.model.versions[*version]).map_err(|stop| match stop {
            Stop::Violation(text) => Stop::Violation(format!("the reader's snapshot: {text}")),
            engine => engine,
        })
    }

    fn refresh_reader(&mut self) -> Result<(), Stop> {
        let current = self.current.unwrap_or(0);
        let named = self.vfs.named(&oracle::path());
        if let Some((reader, version, file)) = &mut self.reader {
            let moved = reader.refresh()?;
            if moved != (*version != current || *file != named) {
                return Err(Stop::Violation(format!("refresh from {version} to {current} said {moved}")));
            }
            (*version, *file) = (current, named);
        }
        self.check_reader()
    }

    /// What a restart of the process may find: the page cache is intact.
    pub fn expect_now(&self) -> Expect {
        let mut allowed: Vec<usize> = self.current.into_iter().collect();
        allowed.extend(&self.maybe);
        Expect { allowed, absent: self.current.is_none(), fallback: None }
    }

    /// Judges what is in the page cache.
    pub fn judge_now(&self, how: Judge) -> Result<Option<usize>, String> {
        let (vfs, expect) = (self.dyn_vfs(), self.expect_now());
        self.vfs.paused(|| oracle::judge(&vfs, &self.spec, &self.model, &expect, how))
    }
}
