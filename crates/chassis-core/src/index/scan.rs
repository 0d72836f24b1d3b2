//! Exact answers by looking at every row: for one query four rows at a time, for many in tiles.
//!
//! A tile is cheap because it gives up the bits of the exact distance; what its products cannot rule out is measured
//! exactly (see `bounds`). So both ways keep the same nodes at the same distances, to the bit.

use std::ops::Range;

use crate::error::Result;
use crate::graph::{Neighbor, NodeId, Point, Work, replace_largest};
use crate::index::bounds::{Margin, Sides};
use crate::index::nodes::is_live;
use crate::index::space::{Measure, Unread, VectorPoint};
use crate::index::{Metric, nodes};
use crate::kernels::{Lanes, TILE_QUERIES, TILE_ROWS, Tile, WithLanes};
use crate::storage::{Rows, View};

/// The exact `k` nearest live nodes of a range, by a scan in node order.
pub(crate) fn scan<L: Lanes>(
    view: &View,
    point: &VectorPoint<'_, L>,
    nodes: Range<NodeId>,
    k: usize,
    found: &mut Vec<Neighbor>,
) -> Result<()> {
    point.enter(Scan { view, point, nodes, k, found })
}

/// [`scan`] as a function of its own, one for all that scans.
struct Scan<'a, L: Lanes> {
    view: &'a View,
    point: &'a VectorPoint<'a, L>,
    nodes: Range<NodeId>,
    k: usize,
    found: &'a mut Vec<Neighbor>,
}

impl<L: Lanes> Work for Scan<'_, L> {
    type Output = Result<()>;

    #[inline(always)]
    fn call(self) -> Result<()> {
        let Scan { view, point, nodes, k, found } = self;
        let (mut node, count, stays) = (nodes.start, nodes.end, point.stays());
        while node < count {
            let four = [0, 1, 2, 3].map(|i| (node + i).min(count - 1));
            if !stays {
                point.read_on(node, four.len());
            }
            let distances = point.distances(four);
            if !distances[0].is_finite() {
                // A row that cannot be read is infinitely far. The others need not be tried: there may be billions.
                point.outcome()?;
            }
            for (i, &distance) in distances.iter().enumerate().take((count - node).min(4) as usize) {
                let neighbor = Neighbor { distance, node: four[i] };
                if (found.len() < k || neighbor < found[0]) && is_live(view, neighbor.node)? {
                    offer(found, k, neighbor);
                }
            }
            node = node.saturating_add(4);
        }
        found.sort_unstable();
        Ok(())
    }
}

/// Keeps the `k` smallest in `heap`, the largest of them first.
pub(crate) fn offer(heap: &mut Vec<Neighbor>, k: usize, neighbor: Neighbor) {
    if heap.len() < k {
        heap.push(neighbor);
        let mut child = heap.len() - 1;
        while child > 0 && heap[(child - 1) / 2] < heap[child] {
            heap.swap(child, (child - 1) / 2);
            child = (child - 1) / 2;
        }
        return;
    }
    replace_largest(heap, neighbor);
}

/// The `k` nearest live nodes of a range, for each of many queries.
pub(crate) struct ManyScan<'a> {
    pub(crate) view: &'a View,
    pub(crate) metric: Metric,
    /// Queries back to back, of `dimensions` each.
    pub(crate) queries: &'a [f32],
    pub(crate) dimensions: usize,
    pub(crate) k: usize,
    pub(crate) nodes: Range<NodeId>,
}

/// Sixteen queries, ready for tiles.
struct Pack<'a, L: Lanes> {
    metric: Metric,
    /// Their components scaled and interleaved.
    values: Vec<f32>,
    points: Vec<VectorPoint<'a, L>>,
    sides: Vec<Sides>,
    found: Vec<Vec<Neighbor>>,
    /// A row whose score is below this one is too far. NaN, which rules nothing out, while there are not `k`;
    /// infinite in lanes without a query.
    least: [f32; TILE_QUERIES],
}

/// Rows that lie one after the other in node order, and how their products become scores.
struct Block<'a> {
    first: NodeId,
    /// Rows that count; the others repeat one of them.
    len: usize,
    rows: [&'a [f32]; TILE_ROWS],
    factors: [f32; TILE_ROWS],
    addends: [f32; TILE_ROWS],
}

impl WithLanes for ManyScan<'_> {
    type Output = Result<Vec<Vec<Neighbor>>>;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> Self::Output {
        let rows = nodes::vectors(self.view)?;
        let failed = Unread::default();
        if self.queries.len() == self.dimensions {
            let point = VectorPoint::new(lanes, self.metric, rows, self.queries, &failed);
            let mut found = Vec::new();
            scan(self.view, &point, self.nodes, self.k, &mut found)?;
            failed.outcome()?;
            // What was measured in groups of four has the bits of one alone.
            return Ok(vec![found]);
        }
        let margin = Margin::new(self.dimensions);
        let mut packs = Vec::new();
        for queries in self.queries.chunks(TILE_QUERIES * self.dimensions) {
            packs.push(Pack::new(lanes, self.metric, rows, queries, self.dimensions, &failed));
        }
        let (mut node, mut tile) = (self.nodes.start, Tile::default());
        while node < self.nodes.end {
            let block = Block::read(lanes, self.metric, rows, node..self.nodes.end, self.dimensions, margin)?;
            for pack in &mut packs {
                lanes.tile(&pack.values, block.rows, &mut tile);
                pack.take(self.view, &block, &tile, self.k)?;
            }
            node += block.len as NodeId;
        }
        failed.outcome()?;
        let mut found: Vec<Vec<Neighbor>> = packs.into_iter().flat_map(|pack| pack.found).collect();
        found.iter_mut().for_each(|found| found.sort_unstable());
        Ok(found)
    }
}

impl<'a> Block<'a> {
    /// The first rows of a range that is not empty.
    #[inline(always)]
    fn read<L: Lanes>(
        lanes: L,
        metric: Metric,
        rows: &'a Rows,
        nodes: Range<NodeId>,
        dimensions: usize,
        margin: Margin,
    ) -> Result<Block<'a>> {
        let len = nodes.len().min(TILE_ROWS);
        rows.read_on(nodes.start as usize, TILE_ROWS);
        let mut block = Block {
            first: nodes.start,
            len,
            rows: [&[]; TILE_ROWS],
            factors: [f32::NAN; TILE_ROWS],
            addends: [f32::NAN; TILE_ROWS],
        };
        for i in 0..TILE_ROWS {
            let row = nodes::vector_in(rows.get(nodes.start as usize + i.min(len - 1))?, dimensions)?;
            block.rows[i] = row;
            (block.factors[i], block.addends[i]) = metric.row(margin, lanes.dot(row, row));
        }
        Ok(block)
    }
}

impl<'a, L: Lanes> Pack<'a, L> {
    #[inline(always)]
    fn new(
        lanes: L,
        metric: Metric,
        rows: &'a Rows,
        queries: &'a [f32],
        dimensions: usize,
        failed: &'a Unread,
    ) -> Self {
        let mut pack = Pack {
            metric,
            values: vec![0.0; TILE_QUERIES * dimensions],
            points: Vec::new(),
            sides: Vec::new(),
            found: Vec::new(),
            least: [f32::INFINITY; TILE_QUERIES],
        };
        for (lane, query) in queries.chunks_exact(dimensions).enumerate() {
            let sides = metric.sides(Margin::new(dimensions), lanes.dot(query, query));
            for (i, value) in query.iter().enumerate() {
                pack.values[TILE_QUERIES * i + lane] = value * sides.scale;
            }
            pack.points.push(VectorPoint::new(lanes, metric, rows, query, failed));
            pack.sides.push(sides);
            pack.found.push(Vec::new());
            pack.least[lane] = f32::NAN;
        }
        pack
    }

    /// Keeps what is near enough of a block, in node order.
    #[inline(always)]
    fn take(&mut self, view: &View, block: &Block<'_>, tile: &Tile, k: usize) -> Result<()> {
        for row in 0..block.len {
            let mut near = false;
            for lane in 0..TILE_QUERIES {
                near |= !self.is_far(block, tile, row, lane);
            }
            if !near {
                continue;
            }
            for lane in 0..self.points.len() {
                if !self.is_far(block, tile, row, lane) {
                    self.measure(view, block.first + row as NodeId, lane, k)?;
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn is_far(&self, block: &Block<'_>, tile: &Tile, row: usize, lane: usize) -> bool {
        tile[row][lane] * block.factors[row] + block.addends[row] < self.least[lane]
    }

    /// The step of [`scan`] for one node.
    #[inline(always)]
    fn measure(&mut self, view: &View, node: NodeId, lane: usize, k: usize) -> Result<()> {
        let neighbor = Neighbor { distance: self.points[lane].exact(node), node };
        let found = &mut self.found[lane];
        if (found.len() < k || neighbor < found[0]) && is_live(view, node)? {
            offer(found, k, neighbor);
            if found.len() == k {
                self.least[lane] = self.metric.least(self.sides[lane], found[0].distance);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offering_keeps_the_smallest() {
        for k in 1..20 {
            let mut heap = Vec::new();
            let mut all: Vec<Neighbor> =
                (0..100u32).map(|i| Neighbor { distance: (i * 37 % 101) as f32, node: i }).collect();
            for n in &all {
                if heap.len() < k || *n < heap[0] {
                    offer(&mut heap, k, *n);
                }
            }
            heap.sort_unstable();
            all.sort_unstable();
            assert_eq!(heap, all[..k]);
        }
    }
}
