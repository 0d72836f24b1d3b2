//! Fitting what a recall costs in this index: walks for rows of its own, each as if it were not there.
//!
//! A query that is a stored row finds itself at once, and by its own links everything near it: on glove100 that read
//! as a recall of .959 where real queries had .839. So the row counts as met from the start: it is never scored, never
//! followed, and no candidate. What is left of the bias (its neighbors were linked while it was there) is measured in
//! `docs/adr/0008-recall.md`.
//!
//! Costs are counted, not timed: nodes scored, lists read, candidates followed up and what was read for that. The
//! table is a function of the index, like all its bytes.

use crate::error::Result;
use crate::format::Descriptor;
use crate::format::derived::calibration::{self, Row};
use crate::graph::{NodeId, level_of};
use crate::index::coded::{self, Coded};
use crate::index::options::SearchOptions;
use crate::index::plan::{self, Aim, K_CLASSES, Plan, RECALLS};
use crate::index::share::share;
use crate::index::{Inner, Metric, nodes};
use crate::storage::{Kind, Txn, View};

/// Rows that stand for queries: of 4,000 neighbors a recall is known to within about 0.01.
const TRIALS: usize = 400;
/// Candidates that may be held, ascending.
const EFS: [usize; 21] =
    [10, 12, 14, 17, 20, 24, 29, 35, 42, 50, 60, 72, 88, 108, 136, 180, 250, 360, 520, 800, 1_200];
/// Gammas, ascending, for walks that hold the candidates of [`CAPS`].
const GAMMAS: [f32; 12] = [0.01, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.09, 0.10, 0.125, 0.16, 0.22];
const CAPS: [usize; 2] = [180, 2_000];
/// Queries a thread takes at a time.
const GROUP: usize = 16;

/// A plan, the share of true neighbors it found and what it cost.
#[derive(Clone, Copy)]
struct Tried {
    plan: Plan,
    recall: f64,
    cost: u64,
}

impl Tried {
    /// Whether this is a plan of the same family that looks less hard.
    fn is_below(&self, other: &Tried) -> bool {
        let (a, b) = (&self.plan, &other.plan);
        a.links == b.links
            && match (a.gamma, b.gamma) {
                (None, None) => a.ef < b.ef,
                (Some(a_gamma), Some(b_gamma)) => a.ef == b.ef && a_gamma < b_gamma,
                _ => false,
            }
    }
}

/// Rows that stand for queries, and the distance of the `k`-th true neighbor of each.
struct Trials<'a> {
    view: &'a View,
    nodes: Vec<NodeId>,
    /// Distances of the true neighbors, ascending, the row itself left out.
    truth: Vec<Vec<f32>>,
    threads: usize,
}

impl Inner {
    /// Fits the table when there is none, and anew when the index has doubled. An index too small for codes has none:
    /// it is scanned, or walked with the defaults of [`plan`].
    pub(crate) fn renew_calibration(&self, txn: &mut Txn<'_>, threads: usize) -> Result<()> {
        let view = txn.view().clone();
        let count = view.node_count();
        let current = plan::table(&view)?.map(|table| table.nodes);
        if view.live_count() < self.codes_from as u64 || current.is_some_and(|nodes| count / 2 < nodes) {
            return Ok(());
        }
        let coded = Coded::of(&view, self.metric, count)?;
        let generation = coded.map_or(0, |coded| coded.generation());
        let has_second = coded.is_some_and(|coded| coded.has_second());
        let mut rows = Vec::new();
        for class in K_CLASSES {
            let k = class as usize;
            // Fewer rows than a few times `k` have no `k` neighbors worth the name.
            if (view.live_count() as usize) < 8 * k {
                continue;
            }
            let trials = self.trials(&view, if k > 10 { TRIALS / 4 } else { TRIALS }, k, threads)?;
            let tried = self.try_all(&trials, k, has_second)?;
            for recall in RECALLS {
                if let Some(best) = self.cheapest(&trials, &tried, k, recall, has_second)? {
                    rows.push(row(best.plan, generation, class, recall));
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
    fn trials<'a>(&self, view: &'a View, wanted: usize, k: usize, threads: usize) -> Result<Trials<'a>> {
        let count = view.node_count();
        let starts = coded::entry_nodes(view, self.metric, count)?;
        let (mut chosen, mut queries) = (Vec::new(), Vec::new());
        let stored = nodes::vectors(view)?;
        let wanted = wanted.min(count as usize / 8);
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
        let found = self.scan_nodes(view, &queries, k + 1, threads)?;
        let truth = chosen.iter().zip(found).map(|(node, found)| {
            let others = found.iter().filter(|other| other.node != *node);
            others.take(k).map(|other| self.metric.finish(other.distance)).collect()
        });
        Ok(Trials { view, truth: truth.collect(), nodes: chosen, threads })
    }

    /// Every family of plans, each from the cheapest on until nothing is left to find.
    fn try_all(&self, trials: &Trials<'_>, k: usize, has_second: bool) -> Result<Vec<Tried>> {
        let enough = RECALLS[RECALLS.len() - 1] as f64 / 1000.0;
        let m0 = self.params.m0;
        let mut tried = Vec::new();
        for links in [m0, m0 * 5 / 8] {
            let scale = k.div_ceil(10);
            let whole = EFS.iter().map(|ef| Plan { links, ..Plan::of(k, ef * scale, has_second) });
            let mut families: Vec<Vec<Plan>> = vec![whole.collect()];
            if self.metric != Metric::Ip {
                for cap in CAPS {
                    let stopped = |gamma: &f32| Plan {
                        links,
                        gamma: Some(*gamma),
                        ..Plan::of(k, cap * scale, has_second)
                    };
                    families.push(GAMMAS.iter().map(stopped).collect());
                }
            }
            for family in families {
                for plan in family {
                    let outcome = self.try_plan(trials, k, plan)?;
                    tried.push(outcome);
                    if outcome.recall >= enough {
                        break;
                    }
                }
            }
        }
        Ok(tried)
    }

    /// The cheapest plan with this recall, followed up no deeper than it needs; none when no plan reaches it.
    fn cheapest(
        &self,
        trials: &Trials<'_>,
        tried: &[Tried],
        k: usize,
        recall: u16,
        has_second: bool,
    ) -> Result<Option<Tried>> {
        let wanted = recall as f64 / 1000.0;
        let reached = tried.iter().filter(|tried| tried.recall >= wanted);
        let Some(best) = reached.min_by_key(|tried| tried.cost) else {
            return Ok(None);
        };
        let mut best = *best;
        // The family goes up in steps: the plan before this one falls short, what lies between may do.
        let below = tried.iter().filter(|other| other.is_below(&best)).max_by_key(|other| other.cost);
        if let Some(mut below) = below.copied() {
            for _ in 0..3 {
                let between = self.try_plan(trials, k, below.plan.between(&best.plan))?;
                match between.recall >= wanted {
                    true => best = between,
                    false => below = between,
                }
            }
        }
        let second = [k + k / 5 + 1, k + k / 2, 2 * k, 3 * k, 4 * k];
        let depths = if has_second { &second[..] } else { &[8 * k, 12 * k] };
        for &depth in depths {
            let plan = Plan { depth, ..best.plan };
            if depth < best.plan.depth {
                let shallow = self.try_plan(trials, k, plan)?;
                if shallow.recall >= wanted {
                    return Ok(Some(shallow));
                }
            }
        }
        Ok(Some(best))
    }

    fn try_plan(&self, trials: &Trials<'_>, k: usize, plan: Plan) -> Result<Tried> {
        let dimensions = self.header.dimensions as usize;
        let options = SearchOptions::k(k);
        let groups: Vec<(&[NodeId], &[Vec<f32>])> =
            trials.nodes.chunks(GROUP).zip(trials.truth.chunks(GROUP)).collect();
        let stored = nodes::vectors(trials.view)?;
        let parts = share(groups.len(), trials.threads, |group| {
            let (mut found, mut wanted, mut cost) = (0u64, 0u64, 0u64);
            let mut scratch = self.scratch.take();
            for (node, truth) in groups[group].0.iter().zip(groups[group].1) {
                let query = nodes::vector_in(stored.get(*node as usize)?, dimensions)?;
                self.run(trials.view, query, &options, Aim::Trial(plan, *node), &mut scratch)?;
                let (near, spent) = scratch.outcome(truth);
                (found, wanted, cost) = (found + near, wanted + truth.len() as u64, cost + spent);
            }
            self.scratch.put(scratch);
            Ok((found, wanted, cost))
        })?;
        let (mut found, mut wanted, mut cost) = (0, 0, 0);
        for part in parts {
            (found, wanted, cost) = (found + part.0, wanted + part.1, cost + part.2);
        }
        Ok(Tried { plan, recall: found as f64 / wanted.max(1) as f64, cost })
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
