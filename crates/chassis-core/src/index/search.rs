//! The read path: check the query, take the view and a scratch, walk the graph or scan, and answer with exact
//! distances.
//!
//! All ways measure their results by the same kernels, four at a time or alone with the same bits, so a walk and a scan
//! agree to the bit.

use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Neighbor, NodeId, Walk};
use crate::index::coded::Coded;
use crate::index::insert::check_vector;
use crate::index::options::{EXACT_BELOW, IdType, Metric, SearchOptions};
use crate::index::plan::{self, Aim, Plan};
use crate::index::scan::scan;
use crate::index::space::{ListsView, Unread, VectorPoint};
use crate::index::stages::{StageScratch, Stages};
use crate::index::{Id, Inner, ids, nodes};
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::View;

/// Results of one search, nearest first; equal distances by age. Reuse one to search without allocation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hits {
    /// Ids of an index with integer ids, else empty.
    pub ids: Vec<u64>,
    /// Ids of an index with string ids, else empty.
    pub string_ids: Vec<String>,
    /// Distances, one a result.
    pub distances: Vec<f32>,
}

impl Hits {
    /// Number of results.
    pub fn len(&self) -> usize {
        self.distances.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.distances.is_empty()
    }

    /// The id of result `i`.
    pub fn id(&self, i: usize) -> Id {
        match self.ids.get(i) {
            Some(&id) => Id::Integer(id),
            None => Id::String(self.string_ids[i].clone()),
        }
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.string_ids.clear();
        self.distances.clear();
    }
}

/// Memory of one search, kept for the next.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) walk: Walk,
    pub(crate) stages: StageScratch,
    pub(crate) found: Vec<Neighbor>,
}

impl Scratch {
    /// Of the last search over codes: nodes met, lists read, candidates followed up, vectors measured.
    #[cfg(feature = "__internals")]
    pub(crate) fn counts(&self) -> [usize; 4] {
        let (walked, (followed, _, measured)) = (self.walk.done(), self.stages.followed());
        [walked.met, walked.hops, followed, measured]
    }
}

/// What one search runs with.
struct Job<'a> {
    view: &'a View,
    metric: Metric,
    query: &'a [f32],
    options: &'a SearchOptions,
    aim: Aim,
    exact: bool,
    scratch: &'a mut Scratch,
}

impl Inner {
    /// Searches into reused buffers. See [`crate::VectorIndex::search`].
    pub(crate) fn search_into(&self, query: &[f32], options: &SearchOptions, hits: &mut Hits) -> Result<()> {
        hits.clear();
        let aim = options.aim()?;
        self.check_query(query)?;
        let view = self.store.view();
        if options.k == 0 || view.live_count() == 0 {
            return Ok(());
        }
        self.search_view(&view, query, options, aim, hits)
    }

    /// Searches one state for a query that was checked. `hits` are empty.
    pub(crate) fn search_view(
        &self,
        view: &View,
        query: &[f32],
        options: &SearchOptions,
        aim: Aim,
        hits: &mut Hits,
    ) -> Result<()> {
        let mut scratch = self.scratch.take();
        let found = self.run(view, query, options, aim, &mut scratch);
        let filled = found.and_then(|()| self.fill(view, &scratch.found, hits));
        self.scratch.put(scratch);
        filled
    }

    pub(crate) fn check_query(&self, query: &[f32]) -> Result<()> {
        let dimensions = self.header.dimensions as usize;
        if query.len() != dimensions {
            return Err(Error::new(
                ErrorKind::DimensionMismatch,
                format!("the query has {} dimensions, the index {dimensions}", query.len()),
            ));
        }
        check_vector(query, self.metric, ErrorKind::InvalidQuery, || "the query".to_owned())
    }

    /// Whether a search is a scan: asked for, no dearer than a walk, or of everything.
    pub(crate) fn is_scan(&self, view: &View, options: &SearchOptions) -> bool {
        let cost = view.node_count() as usize * self.header.dimensions as usize;
        options.exact || cost <= EXACT_BELOW || options.k as u64 >= view.live_count()
    }

    /// Leaves the nearest in `scratch`.
    pub(crate) fn run(
        &self,
        view: &View,
        query: &[f32],
        options: &SearchOptions,
        aim: Aim,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let exact = self.is_scan(view, options) && !matches!(aim, Aim::Trial(..));
        let job = Job { view, metric: self.metric, query, options, aim, exact, scratch };
        kernels::dispatch(job)
    }

    /// Turns nodes into results.
    pub(crate) fn fill(&self, view: &View, found: &[Neighbor], hits: &mut Hits) -> Result<()> {
        for neighbor in found {
            let record = nodes::record(view, neighbor.node)?;
            match self.id_type {
                IdType::Integer => hits.ids.push(record.id),
                IdType::String => match ids::of(view, self.id_type, &record)? {
                    Id::String(id) => hits.string_ids.push(id),
                    Id::Integer(_) => {
                        return Err(Error::corrupt("an integer id in an index with string ids"));
                    }
                },
            }
            hits.distances.push(neighbor.distance);
        }
        Ok(())
    }
}

impl WithLanes for Job<'_> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<L: Lanes>(mut self, lanes: L) -> Result<()> {
        let rows = nodes::vectors(self.view)?;
        let failed = Unread::default();
        let point = VectorPoint::new(lanes, self.metric, rows, self.query, &failed);
        self.scratch.found.clear();
        if self.exact {
            scan(self.view, &point, 0..self.view.node_count(), self.options.k, &mut self.scratch.found)?;
        } else {
            self.walk(lanes, &point, &failed)?;
        }
        failed.outcome()?;
        let found = &mut self.scratch.found;
        found.sort_unstable();
        as_stated(found, self.metric, self.options.radius);
        Ok(())
    }
}

impl Job<'_> {
    /// Whether a scan is no dearer than such a walk.
    fn is_wide(plan: &Plan, count: NodeId) -> bool {
        plan.ef >= count as usize / 4
    }

    /// Walks with a growing pool until `k` live results are found, or everything reachable has been seen.
    #[inline(always)]
    fn walk<L: Lanes>(&mut self, lanes: L, point: &VectorPoint<'_, L>, failed: &Unread) -> Result<()> {
        let (view, k) = (self.view, self.options.k);
        let Scratch { walk, stages, found } = &mut *self.scratch;
        // In this order: the count that is loaded after the entry point reaches past it.
        let Some(entry) = view.entry() else { return Ok(()) };
        let count = view.node_count();
        let coded = Coded::of(view, self.metric, count)?;
        let has_second = coded.is_some_and(|coded| coded.has_second());
        let (mut plan, skip) = match self.aim {
            Aim::Ef(ef) => (Plan::of(k, ef, has_second), None),
            Aim::Recall(recall) => {
                let generation = coded.map_or(0, |coded| coded.generation());
                (plan::for_recall(view, generation, k, recall, has_second)?, None)
            }
            Aim::Trial(plan, node) => (plan, Some(node)),
        };
        plan = plan.among(view.live_count(), count);
        let coded = coded.map(|coded| Stages { lanes, view, coded, point, failed, count, entry, k, skip });
        if let Some(coded) = &coded {
            coded.prepare(self.query, stages);
        }
        if Self::is_wide(&plan, count) && skip.is_none() && point.stays() {
            return scan(view, point, 0..count, k, found);
        }
        loop {
            match &coded {
                Some(coded) => coded.run(plan, walk, stages, found)?,
                None => walk_vectors(view, point, entry, count, k, plan, skip, walk, found)?,
            }
            if found.len() >= k.min(view.live_count() as usize) || skip.is_some() {
                return Ok(());
            }
            // There were more tombstones here than elsewhere: look wider, and scan once a scan is no dearer.
            plan = Plan::of(k, plan.ef.saturating_mul(4), has_second);
            if Self::is_wide(&plan, count) {
                found.clear();
                return scan(view, point, 0..count, k, found);
            }
        }
    }
}

/// Turns internal distances into those users see, and keeps what is within the radius: compared before, rounding would leave
/// out what is just that far.
pub(crate) fn as_stated(found: &mut Vec<Neighbor>, metric: Metric, radius: Option<f32>) {
    found.iter_mut().for_each(|n| n.distance = metric.finish(n.distance));
    if let Some(radius) = radius {
        found.retain(|n| n.distance <= radius);
    }
}

/// The nearest live nodes that one walk over the vectors finds.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "what it reads, each on its own")]
fn walk_vectors<L: Lanes>(
    view: &View,
    point: &VectorPoint<'_, L>,
    entry: (NodeId, u8),
    count: u32,
    k: usize,
    plan: Plan,
    skip: Option<NodeId>,
    walk: &mut Walk,
    found: &mut Vec<Neighbor>,
) -> Result<()> {
    let lists = ListsView::new(view);
    let effort = plan.effort(nodes::wanted(view, count, k), point.zero(), skip);
    walk.reserve(count)?;
    let nearest = walk.search(point, &lists, entry, count, effort);
    lists.outcome()?;
    nodes::live_of(view, nearest, k, found)?;
    // A walk takes what is infinite or no number for as far as can be.
    found.iter_mut().for_each(|neighbor| neighbor.distance = point.exact(neighbor.node));
    Ok(())
}
