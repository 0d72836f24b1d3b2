//! The read path: check the query, take the view and a scratch, walk the graph or scan, and answer with exact
//! distances.
//!
//! Both ways end in the same function for the distance of a result, so a walk and a scan agree to the bit.

use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Effort, Neighbor, NodeId, Walk};
use crate::index::coded::Coded;
use crate::index::insert::check_vector;
use crate::index::options::{EXACT_BELOW, IdType, Metric, SearchOptions};
use crate::index::space::{ListsView, Unread, VectorPoint};
use crate::index::stages::{Plan, StageScratch, Stages};
use crate::index::{Id, Inner, ids, nodes};
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::{Kind, View};

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
    walk: Walk,
    stages: StageScratch,
    found: Vec<Neighbor>,
}

/// What one search runs with.
struct Job<'a> {
    view: &'a View,
    metric: Metric,
    query: &'a [f32],
    options: &'a SearchOptions,
    ef: usize,
    exact: bool,
    scratch: &'a mut Scratch,
}

impl Inner {
    /// Searches into reused buffers. See [`crate::VectorIndex::search`].
    pub(crate) fn search_into(&self, query: &[f32], options: &SearchOptions, hits: &mut Hits) -> Result<()> {
        hits.clear();
        let ef = options.ef()?;
        self.check_query(query)?;
        let view = self.store.view();
        if options.k == 0 || view.live_count() == 0 {
            return Ok(());
        }
        let mut scratch = self.scratch.take();
        let found = self.run(&view, query, options, ef, &mut scratch);
        let filled = found.and_then(|()| self.fill(&view, &scratch.found, hits));
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

    fn run(
        &self,
        view: &View,
        query: &[f32],
        options: &SearchOptions,
        ef: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let cost = view.node_count() as usize * query.len();
        let exact = options.exact || cost <= EXACT_BELOW || options.k as u64 >= view.live_count();
        let job = Job { view, metric: self.metric, query, options, ef, exact, scratch };
        kernels::dispatch(job)
    }

    fn fill(&self, view: &View, found: &[Neighbor], hits: &mut Hits) -> Result<()> {
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
        let rows = self.view.rows(Kind::Vectors).ok_or_else(|| Error::corrupt("no vectors object"))?;
        let failed = Unread::default();
        let point = VectorPoint::new(lanes, self.metric, rows, self.query, &failed);
        self.scratch.found.clear();
        let radius = self.options.radius.map_or(f32::INFINITY, |radius| self.metric.begin(radius));
        if self.exact {
            scan(self.view, &point, self.options.k, &mut self.scratch.found)?;
        } else {
            self.walk(lanes, &point, &failed)?;
        }
        failed.outcome()?;
        let found = &mut self.scratch.found;
        for neighbor in found.iter_mut() {
            neighbor.distance = point.exact(neighbor.node);
        }
        found.sort_unstable();
        found.retain(|n| n.distance <= radius);
        found.iter_mut().for_each(|n| n.distance = self.metric.finish(n.distance));
        Ok(())
    }
}

impl Job<'_> {
    /// Walks with a growing pool until `k` live results are found, or everything reachable has been seen.
    #[inline(always)]
    fn walk<L: Lanes>(&mut self, lanes: L, point: &VectorPoint<'_, L>, failed: &Unread) -> Result<()> {
        let (view, k) = (self.view, self.options.k);
        let Scratch { walk, stages, found } = &mut *self.scratch;
        // In this order: the count that is loaded after the entry point reaches past it.
        let Some(entry) = view.entry() else { return Ok(()) };
        let count = view.node_count();
        let coded = match Coded::of(view, self.metric, count)? {
            Some(coded) => Some(Stages { lanes, view, coded, point, failed, count, entry, k }),
            None => None,
        };
        if let Some(coded) = &coded {
            coded.prepare(self.query, stages);
        }
        let mut ef = self.ef;
        loop {
            match &coded {
                Some(coded) => {
                    let has_second = coded.coded.four.is_some() && coded.coded.eight.is_some();
                    coded.run(Plan::of(k, ef, has_second), walk, stages, found)?;
                }
                None => walk_vectors(view, point, entry, count, k, ef, walk, found)?,
            }
            if found.len() >= k.min(view.live_count() as usize) {
                return Ok(());
            }
            // Tombstones took the places: look wider, and scan once a scan is no dearer.
            ef = ef.saturating_mul(4);
            if ef >= count as usize / 4 {
                found.clear();
                return scan(view, point, k, found);
            }
        }
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
    ef: usize,
    walk: &mut Walk,
    found: &mut Vec<Neighbor>,
) -> Result<()> {
    let lists = ListsView::new(view);
    let nearest = walk.search(point, &lists, entry, count, Effort::of(ef));
    lists.outcome()?;
    found.clear();
    for neighbor in nearest {
        if found.len() == k {
            break;
        }
        if nodes::is_live(view, neighbor.node)? {
            found.push(*neighbor);
        }
    }
    Ok(())
}

/// The exact `k` nearest live nodes, by a scan in node order.
#[inline(always)]
fn scan<L: Lanes>(
    view: &View,
    point: &VectorPoint<'_, L>,
    k: usize,
    found: &mut Vec<Neighbor>,
) -> Result<()> {
    use crate::graph::Point;
    let count = view.node_count();
    let mut node: NodeId = 0;
    while node < count {
        let four = [0, 1, 2, 3].map(|i| (node + i).min(count - 1));
        let distances = point.distance4(four);
        for (i, &distance) in distances.iter().enumerate().take((count - node).min(4) as usize) {
            let neighbor = Neighbor { distance, node: four[i] };
            if (found.len() < k || neighbor < found[0]) && nodes::is_live(view, neighbor.node)? {
                offer(found, k, neighbor);
            }
        }
        node = node.saturating_add(4);
    }
    found.sort_unstable();
    Ok(())
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
    heap[0] = neighbor;
    let mut parent = 0;
    loop {
        let mut largest = 2 * parent + 1;
        if largest >= k {
            return;
        }
        if largest + 1 < k && heap[largest] < heap[largest + 1] {
            largest += 1;
        }
        if heap[parent] >= heap[largest] {
            return;
        }
        heap.swap(parent, largest);
        parent = largest;
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
