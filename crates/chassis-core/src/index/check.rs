//! `check`: the storage's own verification and the graph's, in one report.

use crate::error::{ErrorKind, Result};
use crate::graph::{self, NodeId};
use crate::index::space::ListsView;
use crate::index::{Inner, ids, nodes};
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

impl Inner {
    /// Checks the committed state of a reader, or the current state of a writer, whose other threads wait.
    pub(crate) fn check(&self, level: CheckLevel) -> Result<CheckReport> {
        // Half a change would read as damage. Where there is no transaction to be had, nothing changes anyway.
        let _quiet = match self.store.any_txn() {
            Err(e) if e.kind() == ErrorKind::Superseded => return Err(e),
            txn => txn.ok(),
        };
        let view = self.store.view();
        let mut report = CheckReport::default();
        let verified = recovery::verify(&self.store, &view, level >= CheckLevel::Pages)?;
        report.blocks = verified.blocks;
        let problem = |f: recovery::Finding| Problem { code: f.code, place: f.place, message: f.message };
        report.problems = verified.problems.into_iter().map(problem).collect();
        report.notes = verified.notes.into_iter().map(problem).collect();
        if level == CheckLevel::Full && report.is_ok() {
            report.nodes = view.node_count() as u64;
            let records = self.check_records(&view, &mut report);
            let have_records = records.is_ok();
            report.damage("records", records)?;
            // Without a record for each node their number may be a lie, which may say billions.
            if have_records {
                self.check_graph(&view, &mut report)?;
            }
            let codes = self.check_codes(&view, &mut report);
            report.damage("codes", codes)?;
        }
        Ok(report)
    }

    fn check_graph(&self, view: &View, report: &mut CheckReport) -> Result<()> {
        let lists = ListsView::new(view);
        let level_of = |node: NodeId| nodes::record(view, node).map_or(0, |r| r.level);
        for p in graph::check(&lists, view.node_count(), view.entry(), &self.params, level_of)? {
            report.add(p.code, p.place, p.message);
        }
        report.damage("lists", lists.outcome())
    }

    /// Records against levels, live bits, the id tree and the counts.
    fn check_records(&self, view: &View, report: &mut CheckReport) -> Result<()> {
        let (mut live, mut upper) = (0u64, 0u64);
        let published = view.published();
        for node in 0..view.node_count() {
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
