//! The graph: HNSW over two traits, with no file, no vector and no `unsafe` in sight.
//!
//! Each node has a *level*; it is on every *layer* from 0 to its level and has a *neighbor list* on each. A walk
//! starts at the *entry point*, a node of the highest level, and goes down layer by layer.
//!
//! | file | part | Malkov & Yashunin |
//! |---|---|---|
//! | `level` | a node's level | algorithm 1, line 4 |
//! | `walk` | one layer; all layers | algorithms 2 and 5 |
//! | `effort` | how far a walk goes, and went | |
//! | `step` | the nodes of one list, scored | |
//! | `select_neighbors` | which candidates become links | algorithm 4, "heuristic 2" |
//! | `insert` | a batch of nodes: plan, merge, write | algorithm 1 |
//! | `merge` | what new lists do to the lists they lead to | |
//! | `tree` | what keeps every node reachable | |
//! | `refine` | the end of a bulk build: links selected again in the finished graph | |
//! | `fill` | after that: full lists, nearest first | |
//! | `check` | proves the invariants | |
//! | `pool`: `sorted`, `queue` | the candidates of a short walk, of a long one | |
//! | `visited`, `neighbor`, `params` | parts of the above | |
//!
//! # Invariants
//!
//! Between two batches, or chunks that are refined or filled, for every node and each of its layers:
//!
//! 1. A list holds at most `m` nodes, on layer 0 at most `m0`; no node twice, not the node itself.
//! 2. A node in a list of layer `l` has a level of at least `l`.
//! 3. On layer 0 the first of a list is the node's parent (node 0 has none), and its parent has it in its own list.
//!    It follows that every node can be reached from every other.
//!
//! The graph is a function of the vectors, their order, the batches and when it was refined: levels come from a hash, ties are broken
//! by number, and what threads compute does not depend on their number.
//!
//! # Trust
//!
//! Lists may come from a damaged file and may change while a walk reads them. A walk skips what is no node, and
//! meets each node once; so it ends, whatever it reads.

mod check;
mod effort;
mod fill;
mod insert;
mod level;
mod merge;
mod neighbor;
mod params;
mod pool;
mod queue;
mod refine;
mod select_neighbors;
mod sorted;
mod step;
#[cfg(test)]
mod testing;
mod tree;
mod visited;
mod walk;
mod work;

use std::sync::atomic::AtomicU32;

use crate::error::Result;

pub use check::{Problem, check};
pub use effort::{Done, Effort, Stop};
pub use fill::fill;
pub use insert::{batch_limit, insert_batch};
pub use level::{MAX_LEVEL, level_of};
pub use neighbor::{Neighbor, nodes_of, replace_largest, sort};
pub use params::{MAX_DEGREE, Params, Selection};
pub use refine::refine;
pub use walk::Walk;
pub use work::{BuildScratch, Work};

/// The number of a node, counted from 0 in the order of insertion.
pub type NodeId = u32;

/// No node: ends a neighbor list that is not full.
pub const NONE: NodeId = u32::MAX;

/// One query, scored against stored records.
pub trait Point {
    /// What is kept of a record between asking for it and scoring it: where it is, if that takes time to find.
    type Asked: Copy + Default;

    /// Distances of four nodes.
    fn distance4(&self, nodes: [NodeId; 4]) -> [f32; 4];

    /// Asks the memory system for the whole record of a node.
    fn prefetch(&self, node: NodeId);

    /// [`Point::prefetch`], and what [`Point::asked4`] wants to know.
    #[inline(always)]
    fn ask(&self, node: NodeId) -> Self::Asked {
        self.prefetch(node);
        Self::Asked::default()
    }

    /// [`Point::distance4`] of nodes that were asked for.
    #[inline(always)]
    fn asked4(&self, nodes: [NodeId; 4], _asked: [Self::Asked; 4]) -> [f32; 4] {
        self.distance4(nodes)
    }

    /// How many records to ask for ahead of the one being scored: as many as the caches can take in at once.
    #[inline(always)]
    fn lookahead(&self) -> usize {
        16
    }

    /// See [`Space::enter`].
    #[inline(always)]
    fn enter<W: Work>(&self, work: W) -> W::Output {
        work.call()
    }
}

/// All records, each of which may stand as the query: what building needs.
pub trait Space: Sync {
    /// Whether a guide's distances are estimates. Candidates are then measured again before links are selected.
    const ESTIMATES: bool;
    /// A record standing as the query, distances exact.
    type Point<'p>: Point
    where
        Self: 'p;
    /// Where the query of a guide is kept.
    type Buffer: Default;
    /// A record standing as the query of a walk: distances good enough to find the way by.
    type Guide<'p>: Point
    where
        Self: 'p;

    /// The record of a node as a query: what links are selected by.
    fn point(&self, node: NodeId) -> Self::Point<'_>;

    /// The record of a node as a query: what candidates are found by.
    fn guide<'p>(&'p self, node: NodeId, buffer: &'p mut Self::Buffer) -> Self::Guide<'p>;

    /// Runs `work` as code that [`Point::distance4`] can be compiled into. Threads begin without it.
    #[inline(always)]
    fn enter<W: Work>(&self, work: W) -> W::Output {
        work.call()
    }
}

/// Neighbor lists, as long as their bound and ended by [`NONE`].
pub trait Lists {
    /// A node's list on layer 0.
    fn base(&self, node: NodeId) -> &[AtomicU32];
    /// A node's list on a layer above; empty when the node is not on it.
    fn upper(&self, node: NodeId, layer: u8) -> &[AtomicU32];
    /// Asks the memory system for a node's list on layer 0.
    fn prefetch(&self, node: NodeId);
}

/// Neighbor lists that can be written. Readers may be reading them.
pub trait LinkWriter: Lists + Sync {
    /// Makes these lists writable, or fails before any is written.
    fn prepare(&mut self, targets: &[(u8, NodeId)]) -> Result<()>;
    /// Replaces one prepared list.
    fn write(&self, layer: u8, node: NodeId, list: &[NodeId]);
}
