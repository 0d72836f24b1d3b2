//! A search over codes: a walk over records, the nearest measured again by finer ones, and those that may be results
//! by their vectors.
//!
//! 1. *Walk* over the first stage's records, from the entry block where there is one. Keeps `ef` candidates.
//! 2. *Second stage*, where 4-bit codes leave components out: the first `depth` candidates by 8-bit codes.
//! 3. *Exact*: vectors in that order, `k` of them and then on while the estimate is not clearly farther than the
//!    `k`-th. About as many vectors are read as there are results.

use crate::codes::Prepared;
use crate::error::Result;
use crate::graph::{Neighbor, NodeId, Point, Walk, nodes_of, sort};
use crate::index::coded::{CodePoint, Coded, Eight, Four, Stage, entry_block};
use crate::index::nodes;
use crate::index::plan::Plan;
use crate::index::scan::offer;
use crate::index::space::{ListsView, Unread, VectorPoint, ask};
use crate::kernels::{LINE, Lanes};
use crate::storage::{Rows, View};

/// An estimate farther than the `k`-th distance by more than this rules a vector out, in units of the product of the lengths
/// of the centered query and vector over the root of the number of components. Rounding to 4 bits is off by 0.11 of these
/// units (one standard deviation), to 8 bits by 0.009 to 0.02: the margins are three deviations and more.
const MARGIN_4: f32 = 0.385;
const MARGIN_8: f32 = 0.06;
/// Starts of a walk: the nearest of those in the entry block.
const STARTS: usize = 4;
/// Vectors asked for while the second stage runs.
const VECTORS_AHEAD: usize = 6;

/// Memory of one search over codes.
#[derive(Default)]
pub(crate) struct StageScratch {
    pub(crate) prepared: Prepared,
    starts: Vec<Neighbor>,
    candidates: Vec<Neighbor>,
    keys: Vec<u64>,
    /// Cache lines of a finer record; none without a second stage.
    finer_lines: usize,
    /// Vectors measured.
    measured: usize,
}

impl StageScratch {
    /// Candidates the last search followed up, the cache lines of a finer record of each, and how many of them it measured
    /// by their vectors.
    pub(crate) fn followed(&self) -> (usize, usize, usize) {
        (self.candidates.len(), self.finer_lines, self.measured)
    }
}

/// What one search over codes works with.
pub(crate) struct Stages<'a, L: Lanes> {
    pub(crate) lanes: L,
    pub(crate) view: &'a View,
    pub(crate) coded: Coded<'a>,
    pub(crate) point: &'a VectorPoint<'a, L>,
    pub(crate) failed: &'a Unread,
    pub(crate) count: u32,
    pub(crate) entry: (NodeId, u8),
    pub(crate) k: usize,
    /// See [`Effort::skip`](crate::graph::Effort).
    pub(crate) skip: Option<NodeId>,
}

impl<L: Lanes> Stages<'_, L> {
    /// Makes the query ready. Call once, before `run`.
    #[inline(always)]
    pub(crate) fn prepare(&self, query: &[f32], scratch: &mut StageScratch) {
        let Coded { codec, four, eight } = self.coded;
        codec.prepare(self.lanes, query, four.is_some(), eight.is_some(), &mut scratch.prepared);
    }

    /// The `k` nearest live nodes into `found`, a heap with the farthest in front; fewer when too many candidates
    /// were tombstones.
    #[inline(always)]
    pub(crate) fn run(
        &self,
        plan: Plan,
        walk: &mut Walk,
        scratch: &mut StageScratch,
        found: &mut Vec<Neighbor>,
    ) -> Result<()> {
        let StageScratch { prepared, starts, candidates, keys, finer_lines, measured } = scratch;
        (*finer_lines, *measured) = (0, 0);
        found.clear();
        match (self.coded.four, self.coded.eight) {
            (Some(rows), second) => {
                self.walk::<Four>(rows, prepared, plan, walk, starts, candidates)?;
                let margin = match second {
                    Some(second) if candidates.len() > self.k => {
                        self.measure_again(second, prepared, candidates, keys);
                        *finer_lines = second.stride() / LINE;
                        MARGIN_8 * self.unit::<Eight>(second, prepared, candidates)
                    }
                    // What a projection leaves out is not in the estimate's error: no estimate rules anything out.
                    _ if self.coded.codec.projects() => f32::INFINITY,
                    _ => MARGIN_4 * self.unit::<Four>(rows, prepared, candidates),
                };
                *measured = self.measure_exactly(candidates, margin, found);
            }
            (None, Some(rows)) => {
                self.walk::<Eight>(rows, prepared, plan, walk, starts, candidates)?;
                let margin = MARGIN_8 * self.unit::<Eight>(rows, prepared, candidates);
                *measured = self.measure_exactly(candidates, margin, found);
            }
            (None, None) => {}
        }
        self.failed.outcome()
    }

    /// Stage 1: the live among the nearest candidates, at most as many as are followed up.
    #[inline(always)]
    fn walk<S: Stage>(
        &self,
        rows: &Rows,
        prepared: &Prepared,
        plan: Plan,
        walk: &mut Walk,
        starts: &mut Vec<Neighbor>,
        candidates: &mut Vec<Neighbor>,
    ) -> Result<()> {
        let point = CodePoint::<L, S>::new(self.lanes, rows, prepared, self.failed);
        let lists = ListsView::new(self.view);
        let layout = self.coded.codec.layout(S::BITS);
        let wanted = nodes::wanted(self.view, self.count, plan.depth);
        let effort = plan.effort(wanted, prepared.zero, self.skip);
        starts.clear();
        walk.reserve(self.count)?;
        let far = match entry_block(self.view, &layout, self.count)? {
            Some(block) => {
                point.measure_entries(block, starts);
                take_nearest(starts)
            }
            None => {
                let (top, start) = walk.way_down(&point, &lists, self.entry, self.count);
                starts.push(start);
                top.distance
            }
        };
        let nearest = walk.search_from(&point, &lists, starts, self.count, effort, far);
        lists.outcome()?;
        nodes::live_of(self.view, nearest, plan.depth, candidates)
    }

    /// Stage 2: finer estimates, sorted.
    #[inline(always)]
    fn measure_again(
        &self,
        rows: &Rows,
        prepared: &Prepared,
        candidates: &mut [Neighbor],
        keys: &mut Vec<u64>,
    ) {
        let point = CodePoint::<L, Eight>::new(self.lanes, rows, prepared, self.failed);
        if !rows.stay() {
            ask(rows, candidates);
        }
        for candidate in candidates.iter() {
            point.prefetch(candidate.node);
        }
        for candidate in candidates.iter().take(VECTORS_AHEAD) {
            self.point.prefetch(candidate.node);
        }
        for four in candidates.chunks_mut(4) {
            let distances = point.distance4(nodes_of(four));
            for (candidate, distance) in four.iter_mut().zip(distances) {
                candidate.distance = distance;
            }
        }
        sort(candidates, keys);
    }

    /// What errors of estimates are in proportion to. A vector that must not be ruled out is about as long as the nearest
    /// candidates are, who may be much longer than a query near the mean; it is taken to be as long as the query at least.
    #[inline(always)]
    fn unit<S: Stage>(&self, rows: &Rows, prepared: &Prepared, candidates: &[Neighbor]) -> f32 {
        let (layout, reader) = (self.coded.codec.layout(S::BITS), rows.reader());
        let nearest = &candidates[..candidates.len().min(self.k)];
        let mut squares = 0.0;
        for candidate in nearest {
            let factors = reader.row(candidate.node as usize).and_then(|record| layout.factors(record));
            // Half the square of the centered vector; see `codes`.
            squares += factors.map_or(0.0, |factors| 2.0 * factors.bias);
        }
        let length = (squares / nearest.len().max(1) as f32).sqrt();
        prepared.unit * length.max(prepared.length)
    }

    /// Stage 3: exact distances, in the order of the estimates, until no further one can matter. Returns how many
    /// it measured.
    #[inline(always)]
    fn measure_exactly(&self, candidates: &[Neighbor], margin: f32, found: &mut Vec<Neighbor>) -> usize {
        // A row is long: only those that are likely to be measured are worth asking for.
        let likely = likely(candidates, self.k, margin);
        if !self.point.stays() {
            self.point.ask_for(&candidates[..likely]);
        }
        let ahead = self.point.lookahead();
        let prefetch = |from: usize, to: usize| {
            for candidate in &candidates[from.min(likely)..to.min(likely)] {
                self.point.prefetch(candidate.node);
            }
        };
        prefetch(0, ahead);
        for candidate in candidates.iter().take(self.k) {
            nodes::prefetch(self.view, candidate.node);
        }
        let mut at = 0;
        while at < candidates.len() {
            if found.len() == self.k && candidates[at].distance > found[0].distance + margin {
                break;
            }
            let end = (at + 4).min(if at < likely { likely } else { candidates.len() });
            prefetch(at + ahead, end + ahead);
            let four = &candidates[at..end];
            for (candidate, distance) in four.iter().zip(self.point.distance4(nodes_of(four))) {
                let neighbor = Neighbor { distance, node: candidate.node };
                if found.len() < self.k || neighbor < found[0] {
                    offer(found, self.k, neighbor);
                }
            }
            at = end;
        }
        at
    }
}

/// How many of the candidates, sorted by their estimates, will be measured for `k` results, unless the `k`-th distance is
/// far from its estimate.
#[inline(always)]
fn likely(candidates: &[Neighbor], k: usize, margin: f32) -> usize {
    let Some(kth) = candidates.get(k - 1) else { return candidates.len() };
    let farthest = kth.distance + margin;
    k + candidates[k..].iter().take_while(|candidate| candidate.distance <= farthest).count()
}

/// Keeps the nearest of the entries, and says how far the farthest was.
#[inline(always)]
fn take_nearest(starts: &mut Vec<Neighbor>) -> f32 {
    // Side by side, as in `codes::largest`.
    let mut lanes = [f32::MIN; 8];
    for group in starts.chunks(lanes.len()) {
        for (lane, start) in lanes.iter_mut().zip(group) {
            *lane = if start.distance > *lane { start.distance } else { *lane };
        }
    }
    let farthest = lanes.into_iter().fold(f32::MIN, f32::max);
    let nearest = STARTS.min(starts.len());
    starts[..nearest].sort_unstable();
    for at in nearest..starts.len() {
        let mut place = nearest - 1;
        if starts[at] < starts[place] {
            starts.swap(at, place);
            while place > 0 && starts[place] < starts[place - 1] {
                starts.swap(place, place - 1);
                place -= 1;
            }
        }
    }
    starts.truncate(STARTS);
    farthest
}
