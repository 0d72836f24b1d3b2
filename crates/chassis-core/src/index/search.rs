//! The read path: check the query, take the view and a scratch, walk the graph or scan, and answer with exact
//! distances.
//!
//! Both ways end in the same function for the distance of a result, so a walk and a scan agree to the bit.

use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Effort, Neighbor, Walk};
use crate::index::insert::check_vector;
use crate::index::options::{EXACT_BELOW, IdType, Metric, SearchOptions};
use crate::index::scan::scan;
use crate::index::space::{Cosine, Ip, L2, ListsView, Measure, Unread, VectorPoint};
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
    found: Vec<Neighbor>,
}

/// What one search runs with.
struct Job<'a, M> {
    view: &'a View,
    query: &'a [f32],
    options: &'a SearchOptions,
    ef: usize,
    exact: bool,
    scratch: &'a mut Scratch,
    measure: std::marker::PhantomData<M>,
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
        self.search_view(&view, query, options, ef, hits)
    }

    /// Searches one state for a query that was checked. `hits` are empty.
    pub(crate) fn search_view(
        &self,
        view: &View,
        query: &[f32],
        options: &SearchOptions,
        ef: usize,
        hits: &mut Hits,
    ) -> Result<()> {
        let mut scratch = self.scratch.take();
        let found = match self.metric {
            Metric::L2 => self.run::<L2>(view, query, options, ef, &mut scratch),
            Metric::Ip => self.run::<Ip>(view, query, options, ef, &mut scratch),
            Metric::Cosine => self.run::<Cosine>(view, query, options, ef, &mut scratch),
        };
        let filled = found.and_then(|()| self.fill(view, &scratch.found, hits));
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

    /// Whether a search is a scan: asked for, no dearer than a walk, or of everything.
    pub(crate) fn is_scan(&self, view: &View, options: &SearchOptions) -> bool {
        let cost = view.node_count() as usize * self.header.dimensions as usize;
        options.exact || cost <= EXACT_BELOW || options.k as u64 >= view.live_count()
    }

    fn run<M: Measure>(
        &self,
        view: &View,
        query: &[f32],
        options: &SearchOptions,
        ef: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let exact = self.is_scan(view, options);
        let measure = std::marker::PhantomData::<M>;
        kernels::dispatch(Job { view, query, options, ef, exact, scratch, measure })
    }

    /// Turns nodes into results.
    pub(crate) fn fill(&self, view: &View, found: &[Neighbor], hits: &mut Hits) -> Result<()> {
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

impl<M: Measure> WithLanes for Job<'_, M> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> Result<()> {
        let rows = self.view.rows(Kind::Vectors).ok_or_else(|| Error::corrupt("no vectors object"))?;
        let failed = Unread::default();
        let point = VectorPoint::<L, M>::new(lanes, rows, self.query, &failed);
        let Scratch { walk, found } = self.scratch;
        found.clear();
        let radius = self.options.radius.map_or(f32::INFINITY, M::begin);
        if self.exact {
            scan(self.view, &point, 0..self.view.node_count(), self.options.k, found)?;
        } else {
            graph_search(self.view, &point, self.options.k, self.ef, walk, found)?;
        }
        failed.outcome()?;
        for neighbor in found.iter_mut() {
            neighbor.distance = point.exact(neighbor.node);
        }
        found.sort_unstable();
        found.retain(|n| n.distance <= radius);
        found.iter_mut().for_each(|n| n.distance = M::finish(n.distance));
        Ok(())
    }
}

/// Walks with a growing pool until `k` live results are found, or everything reachable has been seen.
#[inline(always)]
fn graph_search<L: Lanes, M: Measure>(
    view: &View,
    point: &VectorPoint<'_, L, M>,
    k: usize,
    ef: usize,
    walk: &mut Walk,
    found: &mut Vec<Neighbor>,
) -> Result<()> {
    let lists = ListsView::new(view);
    // In this order: the count that is loaded after the entry point reaches past it.
    let Some(entry) = view.entry() else { return Ok(()) };
    let count = view.node_count();
    let mut ef = ef;
    loop {
        let nearest = walk.search(point, &lists, entry, count, Effort::of(ef));
        lists.outcome()?;
        found.clear();
        let wanted = k.min(view.live_count() as usize);
        for neighbor in nearest {
            if found.len() == k {
                break;
            }
            if nodes::is_live(view, neighbor.node)? {
                found.push(*neighbor);
            }
        }
        if found.len() >= wanted {
            return Ok(());
        }
        // Tombstones took the places: look wider, and scan once a scan is no dearer.
        ef = ef.saturating_mul(4);
        if ef >= count as usize / 4 {
            found.clear();
            return scan(view, point, 0..count, k, found);
        }
    }
}
