//! `check`: the storage's own verification and the graph's, in one report.

use std::sync::atomic::AtomicBool;

use crate::error::{ErrorKind, Result};
use crate::graph::{self, NodeId};
use crate::index::share::{Proceed, proceed};
use crate::index::space::ListsView;
use crate::index::{Inner, VectorIndex, ids, nodes};
use crate::recovery;
use crate::storage::{Kind, View};

/// How deep a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CheckLevel {
    /// Header, commit records and tables.
    Meta,
    /// Also every page and chunk checksum and the account of every block.
    Pages,
    /// Also ids, records, the graph (degrees, levels, self edges, reachability) and every code against its vector.
    #[default]
    Full,
}

/// Options of [`VectorIndex::check_with`].
#[derive(Default, Clone, Copy)]
pub struct CheckOptions<'a> {
    /// How deep to look.
    pub level: CheckLevel,
    /// Set to true from anywhere to stop; the call then fails with [`ErrorKind::Cancelled`].
    pub cancel: Option<&'a AtomicBool>,
}

/// What can be cancelled here.
const WORK: &str = "the check";

/// One thing found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable word for the kind of damage.
    pub code: &'static str,
    /// Where, for example `node 7`.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

/// Problems that are listed: a badly damaged file could name billions; the first thousand say enough.
pub(crate) const MOST_PROBLEMS: usize = 1000;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Everything wrong; empty when the index is sound.
    pub problems: Vec<Problem>,
    /// Redundancy that is lost but costs nothing yet, as after a crash in the middle of a commit: a torn copy of a
    /// commit record. The next commits restore it.
    pub notes: Vec<Problem>,
    /// Nodes looked at.
    pub nodes: u64,
    /// Blocks accounted for.
    pub blocks: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }

    /// Damage that stopped a part of the check is a finding; any other error is the caller's.
    pub(crate) fn damage(&mut self, place: &str, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                self.add("damaged", place.to_owned(), e.message().to_owned());
                Ok(())
            }
            other => other,
        }
    }

    pub(crate) fn add(&mut self, code: &'static str, place: String, message: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem { code, place, message });
        }
    }
}

impl VectorIndex {
    /// Looks for damage. Problems are returned, not thrown. Writes of this handle wait until it is done; searches
    /// do not.
    pub fn check(&self, level: CheckLevel) -> Result<CheckReport> {
        self.check_with(&CheckOptions { level, cancel: None })
    }

    /// [`check`](VectorIndex::check) that can be stopped.
    ///
    /// # Errors
    /// `Cancelled` when it was stopped; `Io`.
    pub fn check_with(&self, options: &CheckOptions<'_>) -> Result<CheckReport> {
        self.on_newest(|inner| inner.check(options.level, &|| proceed(options.cancel, WORK)))
    }
}

impl Inner {
    /// Checks the committed state of a reader, or the current state of a writer, whose other threads wait.
    pub(crate) fn check(&self, level: CheckLevel, proceed: Proceed<'_>) -> Result<CheckReport> {
        // Half a change would read as damage. Where there is no transaction to be had, nothing changes anyway.
        let _quiet = match self.store.any_txn() {
            Err(e) if e.kind() == ErrorKind::Superseded => return Err(e),
            txn => txn.ok(),
        };
        let view = self.store.view();
        let mut report = CheckReport::default();
        let verified = recovery::verify(&self.store, &view, level >= CheckLevel::Pages, proceed)?;
        report.blocks = verified.blocks;
        let problem = |f: recovery::Finding| Problem { code: f.code, place: f.place, message: f.message };
        report.problems = verified.problems.into_iter().map(problem).collect();
        report.notes = verified.notes.into_iter().map(problem).collect();
        if level == CheckLevel::Full && report.is_ok() {
            report.nodes = view.node_count() as u64;
            let records = self.check_records(&view, &mut report, proceed);
            let have_records = records.is_ok();
            report.damage("records", records)?;
            // Without a record for each node their number may be a lie, which may say billions.
            if have_records {
                self.check_graph(&view, &mut report, proceed)?;
            }
            let codes = self.check_codes(&view, &mut report, proceed);
            report.damage("codes", codes)?;
        }
        Ok(report)
    }

    fn check_graph(&self, view: &View, report: &mut CheckReport, proceed: Proceed<'_>) -> Result<()> {
        let lists = ListsView::new(view);
        let level_of = |node: NodeId| nodes::record(view, node).map_or(0, |r| r.level);
        for p in graph::check(&lists, view.node_count(), view.entry(), &self.params, level_of, proceed)? {
            report.add(p.code, p.place, p.message);
        }
        report.damage("lists", lists.outcome())
    }

    /// Records against levels, live bits, the id tree and the counts.
    fn check_records(&self, view: &View, report: &mut CheckReport, proceed: Proceed<'_>) -> Result<()> {
        let (mut live, mut upper) = (0u64, 0u64);
        let published = view.published();
        for node in 0..view.node_count() {
            proceed()?;
            let record = nodes::record(view, node)?;
            let expected = graph::level_of(node, self.params.m);
            if record.level != expected {
                report.add(
                    "level",
                    format!("node {node}"),
                    format!("level {}, not {expected}", record.level),
                );
            }
            if record.level > 0 && record.upper as u64 != upper {
                report.add(
                    "upper-slot",
                    format!("node {node}"),
                    format!("slot {}, not {upper}", record.upper),
                );
            }
            upper += record.level as u64;
            if !nodes::is_live(view, node)? {
                continue;
            }
            live += 1;
            let id = ids::of(view, self.id_type, &record)?;
            if ids::find(view, &id)? != Some(node) {
                report.add("id", format!("node {node}"), format!("id {id} is not in the id tree"));
            }
        }
        if live != view.live_count() {
            report.add(
                "live-count",
                "meta".into(),
                format!("{} live nodes, {live} found", view.live_count()),
            );
        }
        if upper != published.upper_count {
            report.add(
                "upper-count",
                "meta".into(),
                format!("{} upper slots, {upper} found", published.upper_count),
            );
        }
        if view.rows(Kind::Vectors).map_or(0, |rows| rows.len()) < view.node_count() as usize {
            report.add("vectors", "meta".into(), "fewer vectors than nodes".into());
        }
        let entries = crate::storage::ids::len(view)?;
        if entries != live {
            report.add("id-count", "id tree".into(), format!("{entries} entries for {live} live nodes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;
    use crate::index::{BatchOptions, OpenOptions};
    use crate::storage::{MemoryVfs, OpenTuning, Vfs};

    #[test]
    fn a_check_hears_that_it_should_stop_at_every_page_node_and_code() {
        let vfs: Arc<dyn Vfs> = MemoryVfs::new(16 << 20);
        let tuning = OpenTuning { codes_from: Some(100), ..OpenTuning::default() };
        let options = OpenOptions { dimensions: Some(64), ..OpenOptions::default() };
        let index = VectorIndex::open_with(&vfs, Path::new("index"), &options, &tuning).expect("a new index");
        let rows: Vec<f32> = (0..500 * 64).map(|i| ((i * i) as f32 * 0.01).sin()).collect();
        index.add_batch(&rows, &BatchOptions::default()).expect("rows");
        index.commit().expect("a commit");
        let inner = index.inner().expect("it is open");
        let run = |level: CheckLevel, stop: usize| {
            let looks = AtomicUsize::new(0);
            let outcome = inner.check(level, &|| match looks.fetch_add(1, Ordering::Relaxed) < stop {
                true => Ok(()),
                false => Err(Error::new(ErrorKind::Cancelled, "stopped")),
            });
            (outcome.map(|report| report.is_ok()).map_err(|e| e.kind()), looks.into_inner())
        };
        let (sound, pages) = run(CheckLevel::Pages, usize::MAX);
        assert!(sound == Ok(true) && pages > 30, "{pages} looks");
        let (sound, all) = run(CheckLevel::Full, usize::MAX);
        // Records, levels, lists, reachability, and a look for each 64 codes.
        assert_eq!((sound, all), (Ok(true), pages + 4 * 500 + 8));
        for stop in 0..all {
            assert_eq!(run(CheckLevel::Full, stop).0, Err(ErrorKind::Cancelled), "look {stop} of {all}");
        }
        let cancel = AtomicBool::new(true);
        let stopped = index.check_with(&CheckOptions { cancel: Some(&cancel), ..CheckOptions::default() });
        assert_eq!(stopped.expect_err("it is set").message(), "the check was cancelled");
    }
}
