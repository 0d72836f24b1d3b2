//! Fitting what a recall costs in this index: walks for rows of its own, each as if it were not there.
//!
//! A query that is a stored row finds itself at once, and by its own links everything near it: on glove100 that read
//! as a recall of .959 where real queries had .839. So the row counts as met from the start: it is never scored, never
//! followed, and no candidate. What is left of the bias (its neighbors were linked while it was there) is measured in
//! `docs/adr/0008-recall.md`.
//!
//! Costs are counted, not timed: nodes met, lists read, nodes that entered the pool, candidates followed up and what was
//! read for that. The table is a function of the index, like all its bytes.

use crate::error::Result;
use crate::format::Descriptor;
use crate::format::derived::calibration::{self, Row};
use crate::graph::{Done, Neighbor, NodeId, level_of};
use crate::index::coded::{self, Coded};
use crate::index::options::SearchOptions;
use crate::index::plan::{self, Aim, K_CLASSES, Plan, RECALLS};
use crate::index::search::Scratch;
use crate::index::share::{Proceed, share};
use crate::index::{Inner, Metric, nodes};
use crate::storage::{Kind, Txn, View};

/// Rows that stand for queries: of 4,000 neighbors a recall is known to within about 0.01.
const TRIALS: usize = 400;
/// Candidates that may be held, ascending.
const EFS: [usize; 21] =
    [10, 12, 14, 17, 20, 24, 29, 35, 42, 50, 60, 72, 88, 108, 136, 180, 250, 360, 520, 800, 1_200];
/// Gammas, ascending.
const GAMMAS: [f32; 12] = [0.01, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.09, 0.10, 0.125, 0.16, 0.22];
/// Candidates held by walks that gamma ends, and the first gamma tried with them: a short walk does not fill a large pool.
const CAPS: [(usize, usize); 3] = [(40, 0), (80, 1), (2_000, 3)];
/// Shallower follow-ups than a plan's own, in tenths of `k`: with finer codes to sort the candidates first, and without.
const DEPTHS_SECOND: [usize; 5] = [12, 15, 20, 30, 40];
const DEPTHS: [usize; 4] = [30, 40, 60, 100];
/// A family is left where two plans in a row find no more than the last, or cost this much more than a plan that finds as
/// much.
const DEAR: f64 = 1.25;
/// Steps taken between a plan that falls short and the next one of its family.
const STEPS: usize = 2;
/// Queries a thread takes at a time.
const GROUP: usize = 16;

/// What the parts of a search cost: the nanoseconds that fit 480 plans on five sets of 100 to 1,536 dimensions best, on an
/// Emerald Rapids whose memory answers late. They predict those searches to within 1.2 to 2.5 %, one standard
/// deviation (`docs/adr/0008-recall.md`).
const MET_COST: usize = 10;
const HOP_COST: usize = 110;
/// A finer record, and each of its cache lines.
const FINER_COST: [usize; 2] = [15, 9];
/// A vector, and each of its cache lines.
const VECTOR_COST: [usize; 2] = [160, 4];
/// A bucket queue, and each node that enters.
const QUEUE_COST: [usize; 2] = [1_800, 20];
/// A node that enters a sorted pool, and each eight places it passes, in thirds.
const SORTED_THIRDS: [usize; 2] = [18, 4];

fn walk_cost(done: Done) -> usize {
    let pool = match done.places {
        Some(places) => {
            let eights = places.min(done.kept).div_ceil(8);
            done.kept * (SORTED_THIRDS[0] + eights * SORTED_THIRDS[1]) / 3
        }
        None => QUEUE_COST[0] + done.kept * QUEUE_COST[1],
    };
    done.met * MET_COST + done.hops * HOP_COST + pool
}

/// A plan, the share of true neighbors it found and what it cost.
#[derive(Clone, Copy)]
struct Tried {
    plan: Plan,
    /// Which of the depths tried with its walk this is.
    depth: usize,
    recall: f64,
    cost: u64,
}

impl Tried {
    /// Whether this is a plan of the same family that looks less hard.
    fn is_below(&self, other: &Tried) -> bool {
        let (a, b) = (&self.plan, &other.plan);
        self.depth == other.depth
            && match (a.gamma, b.gamma) {
                (None, None) => a.ef < b.ef,
                (Some(a_gamma), Some(b_gamma)) => a.ef == b.ef && a_gamma < b_gamma,
                _ => false,
            }
    }

    /// Whether another plan finds as much for clearly less.
    fn is_beaten(&self, all: &[Tried]) -> bool {
        all.iter().any(|other| other.recall >= self.recall && other.cost as f64 * DEAR < self.cost as f64)
    }
}

/// Rows that stand for queries, and their true neighbors.
struct Trials<'a> {
    view: &'a View,
    nodes: Vec<NodeId>,
    /// Distances of the true neighbors, ascending, the row itself left out.
    truth: Vec<Vec<f32>>,
    threads: usize,
    proceed: Proceed<'a>,
}

impl Trials<'_> {
    /// Keeps one in so many.
    fn thin_out(&mut self, every: usize) {
        self.nodes = self.nodes.iter().copied().step_by(every).collect();
        self.truth = std::mem::take(&mut self.truth).into_iter().step_by(every).collect();
    }
}

impl Scratch {
    /// Of the last search, for each of `depths`: how many results as near as the true neighbors it has if only so many
    /// candidates are followed up, and what it costs then in units of about a nanosecond. `ranks` is memory for the
    /// candidates in the order of the walk. Results that only a shallower follow-up would have count as not found.
    fn outcomes(
        &self,
        view: &View,
        truth: &[f32],
        depths: &[usize],
        ranks: &mut Vec<Neighbor>,
    ) -> Result<Vec<(u64, u64)>> {
        let farthest = truth.last().copied().unwrap_or(f32::NEG_INFINITY);
        let mut near: Vec<NodeId> =
            self.found.iter().filter(|n| n.distance <= farthest).map(|n| n.node).collect();
        near.sort_unstable();
        nodes::live_of(view, self.walk.nearest(), usize::MAX, ranks)?;
        let is_near = |rank: &Neighbor| near.binary_search(&rank.node).is_ok();
        let (followed, finer_lines, measured) = self.stages.followed();
        let walked = walk_cost(self.walk.done());
        let finer = if finer_lines > 0 { FINER_COST[0] + finer_lines * FINER_COST[1] } else { 0 };
        let vector = VECTOR_COST[0] + nodes::vector_lines(view) * VECTOR_COST[1];
        let outcome = |&depth: &usize| {
            let found = ranks.iter().take(depth).filter(|rank| is_near(rank)).count();
            let cost = walked + followed.min(depth) * finer + measured.min(depth) * vector;
            (found.min(truth.len()) as u64, cost as u64)
        };
        Ok(depths.iter().map(outcome).collect())
    }
}

impl Inner {
    /// Fits the table when there is none, and anew when the index has doubled. An index too small for codes has none:
    /// it is scanned, or walked with the defaults of [`plan`]. Nothing changes before the table is complete.
    pub(crate) fn renew_calibration(
        &self,
        txn: &mut Txn<'_>,
        threads: usize,
        proceed: Proceed<'_>,
    ) -> Result<()> {
        let view = txn.view().clone();
        let count = view.node_count();
        let coded = Coded::of(&view, self.metric, count)?;
        let generation = coded.map_or(0, |coded| coded.generation());
        // A table of other codes is of no use.
        let current = plan::table(&view)?.filter(|table| table.is_for(generation)).map(|table| table.nodes);
        if view.live_count() < self.codes_from as u64 || current.is_some_and(|nodes| count / 2 < nodes) {
            return Ok(());
        }
        let has_second = coded.is_some_and(|coded| coded.has_second());
        let mut rows = Vec::new();
        // Fewer rows than a few times `k` have no `k` neighbors worth the name.
        let classes = || K_CLASSES.into_iter().filter(|k| view.live_count() >= 8 * u64::from(*k));
        if let Some(most) = classes().max() {
            let mut trials = self.trials(&view, most as usize, threads, proceed)?;
            for class in classes() {
                let k = class as usize;
                if k > 10 {
                    trials.thin_out(4);
                }
                let tried = self.try_all(&trials, k, has_second)?;
                for recall in RECALLS {
                    if let Some(best) = self.cheapest(&trials, &tried, k, recall)? {
                        rows.push(row(best.plan, generation, class, recall));
                    }
                }
            }
        }
        let content = calibration::encode(&rows, count)?;
        let stride = content.len() as u32;
        txn.replace(Descriptor { generation, ..Descriptor::rows(Kind::Calibration, stride, stride) })?;
        txn.put_row(Kind::Calibration, 0, &content)
    }

    /// Live rows spread over the index, none of which is in an upper layer or in the entry block: walks start from
    /// those.
    fn trials<'a>(
        &self,
        view: &'a View,
        k: usize,
        threads: usize,
        proceed: Proceed<'a>,
    ) -> Result<Trials<'a>> {
        let count = view.node_count();
        let starts = coded::entry_nodes(view, self.metric, count)?;
        let (mut chosen, mut queries) = (Vec::new(), Vec::new());
        let stored = nodes::vectors(view)?;
        let wanted = TRIALS.min(count as usize / 8);
        for i in 0..wanted {
            let from = ((2 * i + 1) * count as usize / (2 * wanted)) as NodeId;
            for node in from..count.min(from + 64) {
                let fits = level_of(node, self.params.m) == 0 && !starts.contains(&node);
                if fits && chosen.last().is_none_or(|last| *last < node) && nodes::is_live(view, node)? {
                    chosen.push(node);
                    let row = stored.get(node as usize)?;
                    queries.extend_from_slice(nodes::vector_in(row, self.header.dimensions as usize)?);
                    break;
                }
            }
        }
        let found = self.scan_nodes(view, &queries, k + 1, threads, proceed)?;
        let truth = chosen.iter().zip(found).map(|(node, found)| {
            let others = found.iter().filter(|other| other.node != *node);
            others.take(k).map(|other| self.metric.finish(other.distance)).collect()
        });
        Ok(Trials { view, truth: truth.collect(), nodes: chosen, threads, proceed })
    }

    /// Every family of plans, each from the cheapest on until nothing is left to find.
    fn try_all(&self, trials: &Trials<'_>, k: usize, has_second: bool) -> Result<Vec<Tried>> {
        let (mut tried, scale) = (Vec::new(), k.div_ceil(10));
        if self.metric != Metric::Ip {
            for (cap, from) in CAPS {
                let plan = |gamma: &f32| Plan { gamma: Some(*gamma), ..Plan::of(k, cap * scale, has_second) };
                let family: Vec<Plan> = GAMMAS[from..].iter().map(plan).collect();
                self.try_family(trials, k, &family, has_second, &mut tried)?;
            }
        }
        let family: Vec<Plan> = EFS.iter().map(|ef| Plan::of(k, ef * scale, has_second)).collect();
        self.try_family(trials, k, &family, has_second, &mut tried)?;
        Ok(tried)
    }

    /// The plans of a family until they find nearly everything, or are no use any more.
    fn try_family(
        &self,
        trials: &Trials<'_>,
        k: usize,
        family: &[Plan],
        has_second: bool,
        tried: &mut Vec<Tried>,
    ) -> Result<()> {
        let enough = RECALLS[RECALLS.len() - 1] as f64 / 1000.0;
        let tenths = if has_second { &DEPTHS_SECOND[..] } else { &DEPTHS[..] };
        let (mut useless, mut reached) = (0, 0.0);
        for plan in family {
            let mut depths: Vec<usize> =
                tenths.iter().map(|t| (t * k).div_ceil(10).min(plan.depth)).collect();
            depths.push(plan.depth);
            let outcomes = self.try_plan(trials, *plan, k, &depths)?;
            let recall = outcomes[depths.len() - 1].recall;
            let is_beaten = outcomes.iter().all(|outcome| outcome.is_beaten(tried));
            tried.extend(outcomes);
            useless = if is_beaten || recall <= reached { useless + 1 } else { 0 };
            reached = recall;
            if recall >= enough || useless == 2 {
                break;
            }
        }
        Ok(())
    }

    /// The cheapest plan with this recall; none when no plan reaches it.
    fn cheapest(&self, trials: &Trials<'_>, tried: &[Tried], k: usize, recall: u16) -> Result<Option<Tried>> {
        let wanted = recall as f64 / 1000.0;
        let reached = tried.iter().filter(|tried| tried.recall >= wanted);
        let Some(best) = reached.min_by_key(|tried| tried.cost) else {
            return Ok(None);
        };
        let mut best = *best;
        // The family goes up in steps: the plan before this one falls short, what lies between may do.
        let below = tried.iter().filter(|other| other.is_below(&best)).max_by_key(|other| other.cost);
        if let Some(mut below) = below.copied().filter(|below| below.recall < wanted) {
            for _ in 0..STEPS {
                // Where a straight line would reach it, and a little farther: recall bends.
                let share = (wanted - below.recall) / (best.recall - below.recall);
                let plan = below.plan.between(&best.plan, (share + 0.05).clamp(0.1, 0.9) as f32);
                let outcome = self.try_plan(trials, plan, k, &[plan.depth])?[0];
                let between = Tried { depth: best.depth, ..outcome };
                match between.recall >= wanted {
                    true => best = between,
                    false => below = between,
                }
            }
        }
        Ok(Some(best))
    }

    /// What a plan finds and costs if its candidates are followed up to each of `depths`, of which none is deeper than its own.
    fn try_plan(&self, trials: &Trials<'_>, plan: Plan, k: usize, depths: &[usize]) -> Result<Vec<Tried>> {
        let dimensions = self.header.dimensions as usize;
        let options = SearchOptions::k(k);
        let groups: Vec<(&[NodeId], &[Vec<f32>])> =
            trials.nodes.chunks(GROUP).zip(trials.truth.chunks(GROUP)).collect();
        let stored = nodes::vectors(trials.view)?;
        let parts = share(groups.len(), trials.threads, |group| {
            let mut sums = vec![(0u64, 0u64, 0u64); depths.len()];
            let (mut scratch, mut ranks) = (self.scratch.take(), Vec::new());
            for (node, truth) in groups[group].0.iter().zip(groups[group].1) {
                (trials.proceed)()?;
                let query = nodes::vector_in(stored.get(*node as usize)?, dimensions)?;
                let truth = &truth[..truth.len().min(k)];
                self.run(trials.view, query, &options, Aim::Trial(plan, *node), &mut scratch)?;
                let outcomes = scratch.outcomes(trials.view, truth, depths, &mut ranks)?;
                for (sum, (near, cost)) in sums.iter_mut().zip(outcomes) {
                    *sum = (sum.0 + near, sum.1 + truth.len() as u64, sum.2 + cost);
                }
            }
            self.scratch.put(scratch);
            Ok(sums)
        })?;
        let outcome = |(at, depth): (usize, &usize)| {
            let (mut found, mut wanted, mut cost) = (0, 0, 0);
            for part in &parts {
                (found, wanted, cost) = (found + part[at].0, wanted + part[at].1, cost + part[at].2);
            }
            let recall = found as f64 / wanted.max(1) as f64;
            Tried { plan: Plan { depth: *depth, ..plan }, depth: at, recall, cost }
        };
        Ok(depths.iter().enumerate().map(outcome).collect())
    }
}

fn row(plan: Plan, code_generation: u16, k_class: u32, recall_thousandths: u16) -> Row {
    Row {
        code_generation,
        k_class,
        recall_thousandths,
        ef: plan.ef as u32,
        gamma: plan.gamma,
        stage2_depth: plan.depth as u32,
        links_read: plan.links.min(crate::graph::MAX_DEGREE) as u16,
    }
}
