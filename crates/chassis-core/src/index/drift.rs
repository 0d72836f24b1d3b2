//! What codes there are, and drift: how much worse they tell distances of rows that came after the fit.
//!
//! The model is fitted on the rows of one moment. Vectors of another kind that come later lie far from its mean, or
//! in directions that its projection leaves out; their records say less. Two things suffer: the order among near
//! neighbors, by errors that differ from one to the next, and the distance between near ones and the others, when an
//! error is common to the near. (One common to all changes no order.) So the *relative error* of some rows is the
//! first kind of error over the smaller of two lengths: the distance of near neighbors, and what the estimates leave
//! of the gap to other rows. Drift is the relative error of rows since the fit over that of rows before it, minus one.
//!
//! Near neighbors are those in the sample, not in the graph: a build over codes that fit badly links badly, and lists
//! then hide what they should show. On Fashion-MNIST with a mean that moved out of the projection, errors between rows
//! and their links read as a drift of 0.8 where recall was 0.

use std::sync::{Mutex, PoisonError};

use crate::codes::{HELD_OUT, Prepared};
use crate::error::{Error, Result};
use crate::format::derived::codes::Bits;
use crate::graph::{NodeId, Point};
use crate::index::coded::{CodePoint, Coded, Eight, Four, Stage};
use crate::index::options::Quantization;
use crate::index::space::Unread;
use crate::index::{Inner, Metric, nodes, plan};
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::{Kind, Rows, View};

/// Rows that are looked at, of each kind: with four neighbors each an error is known to within some hundredths.
const SAMPLE: usize = 128;
/// Fewer new rows say nothing.
const LEAST: u32 = 64;
/// Near neighbors of a row.
const NEAR: usize = 4;
/// Nodes looked at for a live one.
const TRIES: u32 = 16;
/// Errors below this share of a distance change nothing; they would make a drift of nothing out of nothing.
const LEAST_ERROR: f64 = 1e-3;
/// The least that is taken for left of a gap, as a share of the distance of near neighbors.
const LEAST_GAP: f64 = 1e-2;

/// The codes that searches walk over.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeStats {
    /// Which of their models this is, counted from 1.
    pub generation: u32,
    /// Kinds of records: 4-bit, 8-bit or both, the one that walks run over first.
    pub kinds: Vec<Quantization>,
    /// Components of a 4-bit record; 0 when there are none.
    pub components: usize,
    /// Whether these are fewer than the dimensions: a projection on where the rows spread most.
    pub projects: bool,
    /// Rows the model was fitted on.
    pub fitted_rows: u64,
    /// Rows of the index then, deleted ones among them.
    pub index_rows: u64,
    /// How much larger the error of estimated distances is for rows added since the fit than for those before, in
    /// relation to the distances of near neighbors: 0 for equally good, 1 for twice the error; about 0 is also a
    /// little below it. Measured on up to 128 rows of each; 0 when fewer than 64 rows came since.
    pub drift: f32,
}

/// The table that says what a recall costs.
#[derive(Debug, Clone, PartialEq)]
pub struct RecallStats {
    /// Rows of the index when it was fitted, deleted ones among them.
    pub fitted_rows: u64,
    /// The highest recall it promises for up to 10 results.
    pub highest: f32,
}

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

    /// Live nodes, spread evenly over those since the fit.
    fn sample(&self, view: &View) -> Result<Vec<NodeId>> {
        let (len, end) = (self.newer as usize, self.fit + self.newer);
        let wanted = SAMPLE.min(len);
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

/// Rows of before the fit that the matrix was not fitted to: others lie in the projection better than any that come
/// later (by a quarter, 8,000 sentences of 384 dimensions).
fn held_out(coded: &Coded<'_>, count: u32) -> Vec<NodeId> {
    let header = coded.codec.header();
    let (fitted, all) = (header.fitted_rows, header.index_rows.max(header.fitted_rows));
    let held_out = fitted.div_ceil(HELD_OUT as u64);
    let wanted = (SAMPLE as u64).min(held_out);
    let row = |i: u64| (i * held_out / wanted * HELD_OUT as u64) * all / fitted;
    (0..wanted).map(row).filter(|node| *node < count as u64).map(|node| node as NodeId).collect()
}

impl Inner {
    /// See [`CodeStats`].
    pub(crate) fn code_stats(&self, view: &View) -> Result<Option<CodeStats>> {
        let count = view.node_count();
        let Some(coded) = Coded::of(view, self.metric, count)? else { return Ok(None) };
        let header = coded.codec.header();
        let kinds = [(coded.four, Quantization::Bits4), (coded.eight, Quantization::Bits8)];
        Ok(Some(CodeStats {
            generation: header.generation,
            kinds: kinds.into_iter().filter_map(|(rows, kind)| rows.map(|_| kind)).collect(),
            components: if coded.four.is_some() { header.components as usize } else { 0 },
            projects: coded.four.is_some() && coded.codec.projects(),
            fitted_rows: header.fitted_rows,
            index_rows: header.index_rows.max(header.fitted_rows),
            drift: self.drift_of(view, &coded, count)?,
        }))
    }

    /// The table for the codes of a view, if there is one.
    pub(crate) fn recall_stats(&self, view: &View) -> Result<Option<RecallStats>> {
        let generation = Coded::of(view, self.metric, view.node_count())?.map_or(0, |c| c.generation());
        let Some(table) = plan::table(view)? else { return Ok(None) };
        let highest = table.highest(generation, plan::K_CLASSES[0]);
        Ok(highest
            .map(|recall| RecallStats { fitted_rows: table.nodes as u64, highest: recall as f32 / 1000.0 }))
    }

    fn drift_of(&self, view: &View, coded: &Coded<'_>, count: u32) -> Result<f32> {
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
        let (old, new) = (held_out(coded, count), since.sample(view)?);
        let error = |nodes: &[NodeId]| {
            let measure = Measure { view, metric: self.metric, coded: *coded, nodes, others: &old };
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
    /// Rows that have to be told from those.
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

/// Sums over queries.
#[derive(Default)]
struct Sums {
    error: f64,
    near: f64,
    gap: f64,
}

impl Measure<'_> {
    #[inline(always)]
    fn run<L: Lanes, S: Stage>(&self, lanes: L, rows: &Rows) -> Result<Option<f64>> {
        let stored = self.view.rows(Kind::Vectors).ok_or_else(|| Error::corrupt("no vectors object"))?;
        let dimensions = self.view.header().dimensions as usize;
        let (failed, mut prepared, mut sums) = (Unread::default(), Prepared::default(), Sums::default());
        let (mut near, mut measured) = (Vec::with_capacity(SAMPLE), Vec::with_capacity(SAMPLE));
        let vectors = self.nodes.iter().map(|node| vector(stored, *node, dimensions));
        let vectors = vectors.collect::<Result<Vec<&[f32]>>>()?;
        for (query, node) in vectors.iter().zip(self.nodes) {
            let four = S::BITS == Bits::Four;
            self.coded.codec.prepare(lanes, query, four, !four, &mut prepared);
            let point = CodePoint::<L, S>::new(lanes, rows, &prepared, &failed);
            estimate(&point, self.nodes, &mut near);
            estimate(&point, self.others, &mut measured);
            let length = self.metric.prepare(lanes, query);
            for ((other, at), place) in vectors.iter().zip(self.nodes).zip(&mut near) {
                let exact = self.metric.one(lanes, query, length, other);
                // Inner products have no zero to be in proportion to: half the squared distance stands for it.
                let distance = if self.metric.is_square() { exact } else { lanes.l2(query, other) / 2.0 };
                place.distance = if at == node { f32::INFINITY } else { distance };
                place.error = place.estimate - exact;
            }
            sums.add(&mut near, &measured);
        }
        failed.outcome()?;
        let least = sums.near.min(sums.gap.max(LEAST_GAP * sums.near));
        Ok((least > 0.0).then(|| sums.error / least))
    }
}

/// A row as a query sees it.
#[derive(Clone, Copy, Default)]
struct Seen {
    estimate: f32,
    distance: f32,
    error: f32,
}

impl Sums {
    /// One query: the rows it may have near, and others.
    fn add(&mut self, rows: &mut [Seen], others: &[Seen]) {
        if rows.len() <= NEAR || others.is_empty() {
            return;
        }
        rows.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance));
        let near = &rows[..NEAR];
        let mean = |rows: &[Seen], of: fn(&Seen) -> f32| {
            rows.iter().map(|seen| of(seen) as f64).sum::<f64>() / rows.len() as f64
        };
        let common = mean(near, |seen| seen.error);
        let error = near.iter().map(|seen| (seen.error as f64 - common).abs()).sum::<f64>() / NEAR as f64;
        let gap = mean(others, |seen| seen.estimate) - mean(near, |seen| seen.estimate);
        let distance = mean(near, |seen| seen.distance);
        if error.is_finite() && gap.is_finite() && distance.is_finite() {
            *self = Sums { error: self.error + error, near: self.near + distance, gap: self.gap + gap };
        }
    }
}

/// The estimates for some nodes.
#[inline(always)]
fn estimate<L: Lanes, S: Stage>(point: &CodePoint<'_, L, S>, nodes: &[NodeId], out: &mut Vec<Seen>) {
    out.clear();
    for four in nodes.chunks(4) {
        let last = four.len() - 1;
        let estimates = point.distance4([four[0], four[1.min(last)], four[2.min(last)], four[last]]);
        for (_, estimate) in four.iter().zip(estimates) {
            out.push(Seen { estimate, ..Seen::default() });
        }
    }
}

#[inline(always)]
fn vector(stored: &Rows, node: NodeId, dimensions: usize) -> Result<&[f32]> {
    let row = kernels::f32s(stored.get(node as usize)?).get(..dimensions);
    row.ok_or_else(|| Error::corrupt("a short row"))
}
