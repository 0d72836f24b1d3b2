//! Drift: how much worse codes tell distances of rows that came after their fit.
//!
//! The model is fitted on the rows of one moment. Vectors of another kind that come later lie far from its mean, or
//! in directions that its projection leaves out; their records say less. Two things suffer: the order among near
//! neighbors, by errors that differ from one to the next (one common to all changes no order), and the order of near
//! neighbors and older rows, when near ones seem farther than they are and older ones do not. The *relative error* of
//! a row is the sum of both over the distance of its near neighbors. Drift is that of rows since the fit over that of
//! rows before it, minus one, each the mean over a sample.
//!
//! Near neighbors are those in the sample, not in the graph: a build over codes that fit badly links badly, and lists
//! then hide what they should show. On Fashion-MNIST with a mean that moved out of the projection, errors between rows
//! and their links read as a drift of 0.8 where recall was 0. Rows of before the fit come in two halves, one in the
//! place of the newer rows and one that both are told from, so that more of the same gives 0 but for chance.

use std::sync::{Mutex, PoisonError};

use crate::codes::{HELD_OUT, Prepared};
use crate::error::Result;
use crate::format::derived::codes::Bits;
use crate::graph::{NodeId, Point};
use crate::index::coded::{CodePoint, Coded, Eight, Four, Stage};
use crate::index::space::Unread;
use crate::index::{Inner, Metric, nodes};
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::{Rows, View};

/// Rows of each of three samples: with four neighbors each an error is known to within some hundredths.
const SAMPLE: usize = 128;
/// Fewer new rows say nothing.
const LEAST: u32 = 64;
/// Near neighbors of a row.
const NEAR: usize = 4;
/// Nodes looked at for a live one.
const TRIES: u32 = 16;
/// Errors below this share of a distance change nothing; they would make a drift of nothing out of nothing.
const LEAST_ERROR: f64 = 1e-3;
/// Errors of so many times a distance count as no more: rows that are nearly the same have next to none.
const MOST_ERROR: f64 = 4.0;

/// The drift measured last.
#[derive(Default)]
pub(crate) struct DriftMemo(Mutex<Option<(Since, f32)>>);

impl DriftMemo {
    /// Forgets it: rows that were taken back may be followed by others.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What a drift is of.
#[derive(Clone, Copy, PartialEq)]
struct Since {
    generation: u16,
    /// Nodes there were at the fit.
    fit: u32,
    /// Nodes since that are taken into account: rounded down to steps of an eighth and less, so that a growing index
    /// is not measured at every call.
    newer: u32,
}

impl Since {
    fn of(coded: &Coded<'_>, count: u32) -> Since {
        let header = coded.codec.header();
        let fit = header.index_rows.max(header.fitted_rows).min(count as u64) as u32;
        let newer = count - fit;
        let step = (newer.max(1).ilog2()).saturating_sub(3);
        Since { generation: coded.generation(), fit, newer: newer >> step << step }
    }

    /// Live nodes, spread evenly over those since the fit: as many as there are of before it, for the nearest of more
    /// rows are nearer.
    fn sample(&self, view: &View, most: usize) -> Result<Vec<NodeId>> {
        let (len, end) = (self.newer as usize, self.fit + self.newer);
        let wanted = most.min(len);
        let mut out: Vec<NodeId> = Vec::with_capacity(wanted);
        for i in 0..wanted {
            let from = self.fit + ((2 * i + 1) * len / (2 * wanted)) as u32;
            for node in from..end.min(from + TRIES) {
                if out.last().is_none_or(|last| *last < node) && nodes::is_live(view, node)? {
                    out.push(node);
                    break;
                }
            }
        }
        Ok(out)
    }
}

/// Two samples of rows of before the fit that the matrix was not fitted to: others lie in the projection better than
/// any that come later (by a quarter, 8,000 sentences of 384 dimensions).
fn held_out(coded: &Coded<'_>, count: u32) -> (Vec<NodeId>, Vec<NodeId>) {
    let header = coded.codec.header();
    let (fitted, all) = (header.fitted_rows, header.index_rows.max(header.fitted_rows));
    let rows = fitted.div_ceil(HELD_OUT as u64);
    let wanted = (2 * SAMPLE as u64).min(rows);
    let (mut old, mut others) = (Vec::with_capacity(SAMPLE), Vec::with_capacity(SAMPLE));
    for i in 0..wanted {
        let node = (i * rows / wanted * HELD_OUT as u64) * all / fitted;
        if node < count as u64 {
            if i % 2 == 0 { &mut old } else { &mut others }.push(node as NodeId);
        }
    }
    (old, others)
}

impl Inner {
    /// See [`CodeStats::drift`](crate::CodeStats).
    pub(crate) fn drift_of(&self, view: &View, coded: &Coded<'_>, count: u32) -> Result<f32> {
        let since = Since::of(coded, count);
        if since.newer < LEAST {
            return Ok(0.0);
        }
        let known = *self.drift.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((measured, drift)) = known
            && measured == since
        {
            return Ok(drift);
        }
        let (old, others) = held_out(coded, count);
        let new = since.sample(view, old.len())?;
        let error = |nodes: &[NodeId]| {
            let measure = Measure { view, metric: self.metric, coded: *coded, nodes, others: &others };
            kernels::dispatch(measure)
        };
        let (before, after) = (error(&old)?, error(&new)?);
        let drift = match after {
            Some(after) => after.max(LEAST_ERROR) / before.unwrap_or(0.0).max(LEAST_ERROR) - 1.0,
            None => 0.0,
        } as f32;
        *self.drift.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((since, drift));
        Ok(drift)
    }
}

/// The relative error of estimates for a sample of nodes; none when nothing lies at a distance from its neighbors.
struct Measure<'a> {
    view: &'a View,
    metric: Metric,
    coded: Coded<'a>,
    /// Rows that stand for queries, and among which their near neighbors are.
    nodes: &'a [NodeId],
    /// Older rows, that have to be told from those.
    others: &'a [NodeId],
}

impl WithLanes for Measure<'_> {
    type Output = Result<Option<f64>>;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> Self::Output {
        match (self.coded.four, self.coded.eight) {
            (Some(rows), _) => self.run::<L, Four>(lanes, rows),
            (None, Some(rows)) => self.run::<L, Eight>(lanes, rows),
            (None, None) => Ok(None),
        }
    }
}

impl Measure<'_> {
    #[inline(always)]
    fn run<L: Lanes, S: Stage>(&self, lanes: L, rows: &Rows) -> Result<Option<f64>> {
        let stored = nodes::vectors(self.view)?;
        let dimensions = self.view.header().dimensions as usize;
        let (failed, mut prepared, mut sums) = (Unread::default(), Prepared::default(), Sums::default());
        let (mut near, mut others) = (Vec::with_capacity(SAMPLE), Vec::with_capacity(SAMPLE));
        for node in self.nodes.iter().chain(self.others) {
            stored.will_need(*node as usize);
            rows.will_need(*node as usize);
        }
        let read = |nodes: &[NodeId]| {
            let vectors = nodes.iter().map(|node| nodes::vector_in(stored.get(*node as usize)?, dimensions));
            vectors.collect::<Result<Vec<&[f32]>>>()
        };
        let (vectors, old) = (read(self.nodes)?, read(self.others)?);
        for (at, query) in vectors.iter().enumerate() {
            let four = S::BITS == Bits::Four;
            self.coded.codec.prepare(lanes, query, four, !four, &mut prepared);
            let point = CodePoint::<L, S>::new(lanes, rows, &prepared, &failed);
            estimate(&point, self.nodes, &mut near);
            near.swap_remove(at);
            estimate(&point, self.others, &mut others);
            let length = self.metric.prepare(lanes, query);
            for seen in &mut near {
                let other = vectors[seen.at];
                seen.exact = self.metric.one(lanes, query, length, other);
                // Inner products have no zero to be in proportion to: half the squared distance stands for it.
                let is_square = self.metric.is_square();
                seen.distance = if is_square { seen.exact } else { lanes.l2(query, other) / 2.0 };
            }
            near.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance));
            others.sort_unstable_by(|a, b| a.estimate.total_cmp(&b.estimate));
            for seen in others.iter_mut().take(NEAR) {
                seen.exact = self.metric.one(lanes, query, length, old[seen.at]);
            }
            if let (Some(near), Some(others)) = (near.first_chunk(), others.first_chunk()) {
                sums.add(near, others);
            }
        }
        failed.outcome()?;
        Ok((sums.queries > 0).then(|| sums.error / f64::from(sums.queries)))
    }
}

/// A row of a sample as a query sees it.
#[derive(Clone, Copy, Default)]
struct Seen {
    at: usize,
    estimate: f32,
    exact: f32,
    distance: f32,
}

/// The sum over queries of relative errors, and their number.
#[derive(Default)]
struct Sums {
    error: f64,
    queries: u32,
}

impl Sums {
    /// One query: the nearest rows of its kind, and the older rows that seem nearest.
    fn add(&mut self, near: &[Seen; NEAR], others: &[Seen; NEAR]) {
        let mean = |of: [f32; NEAR]| of.iter().map(|value| *value as f64).sum::<f64>() / NEAR as f64;
        let error = |seen: &Seen| seen.estimate - seen.exact;
        let common = mean(near.each_ref().map(error));
        let differing = mean(near.each_ref().map(|seen| (error(seen) as f64 - common).abs() as f32));
        // How much nearer the others seem, as far as that is an error.
        let ahead = mean(near.map(|seen| seen.estimate)) - mean(others.map(|seen| seen.estimate));
        let wrongly = ahead.min(common - mean(others.each_ref().map(error))).max(0.0);
        let distance = mean(near.map(|seen| seen.distance));
        // Not the sum of errors over that of distances: a few rows far from all others would outweigh the rest.
        let error = (differing + wrongly) / distance;
        if distance > 0.0 && error.is_finite() {
            *self = Sums { error: self.error + error.min(MOST_ERROR), queries: self.queries + 1 };
        }
    }
}

/// The estimates for some nodes.
#[inline(always)]
fn estimate<L: Lanes, S: Stage>(point: &CodePoint<'_, L, S>, nodes: &[NodeId], out: &mut Vec<Seen>) {
    out.clear();
    for (first, four) in nodes.chunks(4).enumerate() {
        let last = four.len() - 1;
        let estimates = point.distance4([four[0], four[1.min(last)], four[2.min(last)], four[last]]);
        for (i, estimate) in estimates.into_iter().enumerate().take(four.len()) {
            out.push(Seen { at: 4 * first + i, estimate, ..Seen::default() });
        }
    }
}
