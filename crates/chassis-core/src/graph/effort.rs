//! How far a walk goes, and how far it went.

use super::{MAX_DEGREE, NodeId};

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Candidates held.
    pub ef: usize,
    /// Of these, the nearest that are asked for: the others are not sorted.
    pub wanted: usize,
    /// When it may end before all of them were followed up.
    pub stop: Option<Stop>,
    /// Links of a list that are followed.
    pub links: usize,
    /// A node that counts as not there, on layer 0: a record that stands for a query from outside. It must not be
    /// among the starts.
    pub skip: Option<NodeId>,
}

impl Effort {
    /// Follows every link until the `ef` nearest candidates are exhausted.
    pub fn of(ef: usize) -> Effort {
        Effort { ef, wanted: ef, stop: None, links: MAX_DEGREE, skip: None }
    }
}

/// A walk ends when the nearest open candidate is farther than `zero + factor * (d - zero)`, with `d` the `k`-th
/// smallest distance met: what is left could hardly lead to anything nearer. This is the gamma stop; `factor` is
/// its `(1 + gamma)^2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Results wanted, at least 1.
    pub k: usize,
    /// At least 1.
    pub factor: f32,
    /// Distance of the query to itself.
    pub zero: f32,
}

/// What a walk did, for those who want to know what it cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Done {
    /// Nodes met.
    pub met: usize,
    /// Lists read.
    pub hops: usize,
    /// Nodes that entered the pool.
    pub kept: usize,
    /// Places of a sorted pool; `None` of a bucket queue.
    pub places: Option<usize>,
}
