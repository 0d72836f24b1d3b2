//! How hard a search looks: what a caller asked for, and what it comes to in this index.

use crate::error::{ErrorKind, Result};
use crate::format::derived::calibration::{self, Row};
use crate::graph::{Effort, NodeId, Stop};
use crate::index::coded::whole;
use crate::storage::{Kind, Rows, View};

/// Recalls a table is fitted for, in thousandths.
pub(crate) const RECALLS: [u16; 9] = [800, 850, 900, 925, 950, 970, 980, 990, 995];
/// Numbers of results a table is fitted for.
pub(crate) const K_CLASSES: [u32; 2] = [10, 100];
/// Candidates for each of [`RECALLS`] where there is no table: enough on every set measured, more than most need.
const UNFITTED: [usize; 9] = [48, 64, 96, 128, 160, 240, 320, 600, 1_000];

/// What a caller asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// So many candidates.
    Ef(usize),
    /// A recall, in thousandths.
    Recall(u16),
    /// A plan under test; the node stands for a query from outside, and counts as not there.
    Trial(Plan, NodeId),
}

/// A walk, and how it is followed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Candidates held.
    pub(crate) ef: usize,
    /// The walk may end once the nearest open candidate is `1 + gamma` times as far as the `stop_at`-th nearest.
    pub(crate) gamma: Option<f32>,
    /// The number of results that gamma was fitted for, or more: counted from a nearer one it would end too early.
    pub(crate) stop_at: usize,
    /// Links of a list that are followed.
    pub(crate) links: usize,
    /// Candidates that are followed up by finer codes or vectors.
    pub(crate) depth: usize,
}

impl Plan {
    /// What `ef` candidates are worth following up for `k` results. `has_second`: by finer codes first.
    pub(crate) fn of(k: usize, ef: usize, has_second: bool) -> Plan {
        let spare = if has_second { 2 * k + 16 } else { 5 * k + 30 };
        let links = crate::graph::MAX_DEGREE;
        Plan { ef, gamma: None, stop_at: k, links, depth: (spare + ef / 8).min(ef).max(k) }
    }

    /// The walk's part, of whose candidates `wanted` are asked for, for distances of which `zero` is that of the
    /// query to itself.
    #[inline(always)]
    pub(crate) fn effort(&self, wanted: usize, zero: Option<f32>, skip: Option<NodeId>) -> Effort {
        let stop = match (self.gamma, zero) {
            // Distances are squares.
            (Some(gamma), Some(zero)) => {
                Some(Stop { k: self.stop_at, factor: (1.0 + gamma) * (1.0 + gamma), zero })
            }
            _ => None,
        };
        Effort { ef: self.ef, wanted: wanted.min(self.ef), stop, links: self.links, skip }
    }

    /// The plan for an index of which only `live` of `count` nodes are: tombstones take places in their share, so places
    /// grow by it, up to one a node. The follow-up is of live candidates alone.
    pub(crate) fn among(self, live: u64, count: NodeId) -> Plan {
        let grown = |places: usize| {
            let needed = (places as u64).saturating_mul(count.into()).div_ceil(live.max(1));
            places.max(needed.min(count.into()) as usize)
        };
        Plan { ef: grown(self.ef), stop_at: grown(self.stop_at), ..self }
    }

    /// A share of the way to another plan of the same family.
    pub(crate) fn between(&self, other: &Plan, share: f32) -> Plan {
        let gamma = match (self.gamma, other.gamma) {
            (Some(a), Some(b)) => Some(a + (b - a) * share),
            _ => None,
        };
        let part = |a: usize, b: usize| a + ((b - a) as f32 * share) as usize;
        Plan { ef: part(self.ef, other.ef), gamma, depth: part(self.depth, other.depth), ..*self }
    }

    fn from_row(row: &Row, k: usize, recall: u16) -> Plan {
        // A row is for up to `k_class` results; for more of them everything grows alike. Where the 100 nearest lie in one
        // cluster as many candidates may have been enough for them; a few hundred may lie in several.
        let class = row.k_class as usize;
        let grown = |n: u32| if k > class { n as usize * k / class } else { n as usize };
        let least = if k > class { unfitted(k, recall) } else { k };
        let links = match row.links_read {
            0 => crate::graph::MAX_DEGREE,
            links => links as usize,
        };
        let (ef, depth) = (grown(row.ef).max(least), grown(row.stage2_depth).max(k));
        Plan { ef, gamma: row.gamma, stop_at: k.max(class), links, depth }
    }
}

/// The table of a view, as it was fitted.
pub(crate) struct Table {
    rows: Vec<Row>,
    /// Nodes of the index then.
    pub(crate) nodes: u32,
}

impl Table {
    /// Whether it was fitted for codes of this generation.
    pub(crate) fn is_for(&self, generation: u16) -> bool {
        self.rows.iter().all(|row| row.code_generation == generation)
    }

    /// The highest recall promised for so many results by walks over codes of a generation, in thousandths.
    pub(crate) fn highest(&self, generation: u16, class: u32) -> Option<u16> {
        let rows = self.rows.iter().filter(|row| row.code_generation == generation && row.k_class == class);
        rows.map(|row| row.recall_thousandths).max()
    }
}

/// The table of a view; `None` when there is none that this release knows.
pub(crate) fn table(view: &View) -> Result<Option<&Table>> {
    let Some(rows) = whole(view, Kind::Calibration) else { return Ok(None) };
    let decode = |rows: &Rows| {
        let bytes = rows.get_verified(0)?;
        match calibration::decode(bytes) {
            Err(e) if e.kind() == ErrorKind::UnsupportedVersion => Ok(None),
            table => Ok(Some(Table { rows: table?, nodes: calibration::fitted_rows(bytes) })),
        }
    };
    Ok(rows.memo(decode)?.as_ref())
}

/// The plan for a recall, from the table when it was fitted for these codes.
pub(crate) fn for_recall(
    view: &View,
    generation: u16,
    k: usize,
    recall: u16,
    has_second: bool,
) -> Result<Plan> {
    let rows = table(view)?.map_or(&[][..], |table| &table.rows);
    let class = K_CLASSES.into_iter().find(|class| *class as usize >= k).unwrap_or(K_CLASSES[1]);
    // Rows ascend by recall within a class: the first that promises enough, else the last.
    let mut best = None;
    for row in rows.iter().filter(|row| row.code_generation == generation && row.k_class == class) {
        best = Some(row);
        if row.recall_thousandths >= recall {
            break;
        }
    }
    if let Some(row) = best {
        let plan = Plan::from_row(row, k, recall);
        // Past what was fitted, or could be reached, more candidates are the only way on.
        let short = row.recall_thousandths < recall;
        return Ok(if short {
            Plan { ef: plan.ef * 2, gamma: None, depth: plan.depth * 2, ..plan }
        } else {
            plan
        });
    }
    Ok(Plan::of(k, unfitted(k, recall), has_second))
}

/// Candidates for a recall where none were fitted.
fn unfitted(k: usize, recall: u16) -> usize {
    let at = RECALLS.iter().position(|class| *class >= recall).unwrap_or(RECALLS.len() - 1);
    let candidates = if recall > RECALLS[RECALLS.len() - 1] { 2 * UNFITTED[at] } else { UNFITTED[at] };
    candidates.max(candidates / 4 * k.div_ceil(10)).max(k)
}
