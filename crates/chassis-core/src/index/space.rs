//! The stored bytes and the kernels, seen as the graph's traits: [`Lists`] over neighbor-list pages,
//! [`Point`] and [`Space`] over the stored vectors.
//!
//! Every id met here is range-checked by the page and row tables; what cannot be read counts as infinitely far
//! (a point) or empty (a list), and the failure is kept so that the call fails with it instead of answering.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::error::Result;
use crate::format::neighbors;
use crate::graph::{self, NodeId};
use crate::index::nodes;
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::{Kind, Page, Pages, Rows, View};

// The graph knows nothing of files, so both name the mark that ends a list.
const _: () = assert!(graph::NONE == neighbors::NONE);

/// How a metric compares vectors. The scale is internal: squared for l2, `1 - cos`, `-dot`.
pub(crate) trait Measure: Copy + Send + Sync + 'static {
    /// What is needed to know about the query beside its components.
    fn prepare<L: Lanes>(lanes: L, query: &[f32]) -> f32;
    /// Distance of one vector.
    fn one<L: Lanes>(lanes: L, query: &[f32], prepared: f32, v: &[f32]) -> f32;
    /// Distances of four vectors.
    fn four<L: Lanes>(lanes: L, query: &[f32], prepared: f32, v: [&[f32]; 4]) -> [f32; 4];
    /// The distance users see.
    fn finish(distance: f32) -> f32;
    /// The internal distance for one users state.
    fn begin(distance: f32) -> f32;
}

/// Squared Euclidean distance.
#[derive(Clone, Copy)]
pub(crate) struct L2;
/// Negative inner product.
#[derive(Clone, Copy)]
pub(crate) struct Ip;
/// One minus the cosine.
#[derive(Clone, Copy)]
pub(crate) struct Cosine;

impl Measure for L2 {
    #[inline(always)]
    fn prepare<L: Lanes>(_: L, _: &[f32]) -> f32 {
        0.0
    }
    #[inline(always)]
    fn one<L: Lanes>(lanes: L, query: &[f32], _: f32, v: &[f32]) -> f32 {
        lanes.l2(query, v)
    }
    #[inline(always)]
    fn four<L: Lanes>(lanes: L, query: &[f32], _: f32, v: [&[f32]; 4]) -> [f32; 4] {
        lanes.l2_4(query, v)
    }
    fn finish(distance: f32) -> f32 {
        distance.max(0.0).sqrt()
    }
    fn begin(distance: f32) -> f32 {
        distance.max(0.0) * distance
    }
}

impl Measure for Ip {
    #[inline(always)]
    fn prepare<L: Lanes>(_: L, _: &[f32]) -> f32 {
        0.0
    }
    #[inline(always)]
    fn one<L: Lanes>(lanes: L, query: &[f32], _: f32, v: &[f32]) -> f32 {
        -lanes.dot(query, v)
    }
    #[inline(always)]
    fn four<L: Lanes>(lanes: L, query: &[f32], _: f32, v: [&[f32]; 4]) -> [f32; 4] {
        lanes.dot_4(query, v).map(|d| -d)
    }
    fn finish(distance: f32) -> f32 {
        distance
    }
    fn begin(distance: f32) -> f32 {
        distance
    }
}

impl Measure for Cosine {
    #[inline(always)]
    fn prepare<L: Lanes>(lanes: L, query: &[f32]) -> f32 {
        1.0 / lanes.dot(query, query).sqrt()
    }
    #[inline(always)]
    fn one<L: Lanes>(lanes: L, query: &[f32], inverse: f32, v: &[f32]) -> f32 {
        let (dot, norm2) = lanes.cosine(query, v);
        1.0 - dot * inverse / norm2.sqrt()
    }
    #[inline(always)]
    fn four<L: Lanes>(lanes: L, query: &[f32], inverse: f32, v: [&[f32]; 4]) -> [f32; 4] {
        let (dot, norm2) = lanes.cosine_4(query, v);
        std::array::from_fn(|i| 1.0 - dot[i] * inverse / norm2[i].sqrt())
    }
    fn finish(distance: f32) -> f32 {
        distance
    }
    fn begin(distance: f32) -> f32 {
        distance
    }
}

/// The neighbor lists of one view.
pub(crate) struct ListsView<'a> {
    base: &'a Pages,
    upper: &'a Pages,
    nodes: &'a Pages,
    m: usize,
    m0: usize,
    per_base: u32,
    per_upper: u32,
    /// One past the layer-0 page that could not be read, 0 when all could.
    failed: AtomicUsize,
}

impl<'a> ListsView<'a> {
    pub(crate) fn new(view: &'a View) -> Self {
        let (m, m0) = (view.header().m as usize, view.header().m0 as usize);
        ListsView {
            base: view.pages(Kind::Lists),
            upper: view.pages(Kind::Upper),
            nodes: view.pages(Kind::Nodes),
            m,
            m0,
            per_base: neighbors::per_page(m0) as u32,
            per_upper: neighbors::per_page(m) as u32,
            failed: AtomicUsize::new(0),
        }
    }

    /// The degree bound of a layer.
    pub(crate) fn degree(&self, layer: u8) -> usize {
        if layer == 0 { self.m0 } else { self.m }
    }

    /// The error of a page that read as empty, if there was one.
    pub(crate) fn outcome(&self) -> Result<()> {
        match self.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            page => self.base.get(page - 1).map(|_| ()),
        }
    }

    /// Page and first word of a node's list on layer 0.
    #[inline(always)]
    pub(crate) fn base_slot(&self, node: NodeId) -> (usize, usize) {
        ((node / self.per_base) as usize, (node % self.per_base) as usize * self.m0)
    }

    /// Page and first word of an upper slot.
    pub(crate) fn upper_slot(&self, slot: u32) -> (usize, usize) {
        ((slot / self.per_upper) as usize, (slot % self.per_upper) as usize * self.m)
    }

    /// Slot of a node's list on an upper layer.
    pub(crate) fn upper_index(&self, node: NodeId, layer: u8) -> Option<u32> {
        let (page, word) = nodes::place(node);
        let page = self.nodes.get(page).ok()?;
        let record = nodes::Record::read(page, word);
        if layer == 0 || layer > record.level {
            return None;
        }
        record.upper.checked_add(layer as u32 - 1)
    }

    /// First touch of a page; a damaged one reads as an empty list, and the call fails at its end.
    #[cold]
    #[inline(never)]
    fn touch(&self, page: usize) -> Option<&'a Page> {
        let found = self.base.get(page).ok();
        if found.is_none() {
            self.failed.store(page + 1, Ordering::Relaxed);
        }
        found
    }
}

impl graph::Lists for ListsView<'_> {
    #[inline(always)]
    fn base(&self, node: NodeId) -> &[AtomicU32] {
        let (page, word) = self.base_slot(node);
        match self.base.loaded(page).or_else(|| self.touch(page)) {
            Some(page) => page.words().get(word..word + self.m0).unwrap_or(&[]),
            None => &[],
        }
    }

    fn upper(&self, node: NodeId, layer: u8) -> &[AtomicU32] {
        let Some(slot) = self.upper_index(node, layer) else { return &[] };
        let (page, word) = self.upper_slot(slot);
        match self.upper.get(page) {
            Ok(page) => page.words().get(word..word + self.m).unwrap_or(&[]),
            Err(_) => &[],
        }
    }

    #[inline(always)]
    fn prefetch(&self, node: NodeId) {
        let (page, word) = self.base_slot(node);
        if let Some(page) = self.base.loaded(page) {
            kernels::prefetch_words(page.words().get(word..word + self.m0).unwrap_or(&[]));
        }
    }
}

/// One query against the stored vectors.
pub(crate) struct VectorPoint<'a, L: Lanes, M: Measure> {
    lanes: L,
    rows: &'a Rows,
    query: &'a [f32],
    prepared: f32,
    failed: Cell<bool>,
    measure: std::marker::PhantomData<M>,
}

impl<'a, L: Lanes, M: Measure> VectorPoint<'a, L, M> {
    #[inline(always)]
    pub(crate) fn new(lanes: L, rows: &'a Rows, query: &'a [f32]) -> Self {
        let prepared = M::prepare(lanes, query);
        VectorPoint { lanes, rows, query, prepared, failed: Cell::new(false), measure: std::marker::PhantomData }
    }

    #[inline(always)]
    fn vector(&self, node: NodeId) -> Option<&'a [f32]> {
        let row = match self.rows.row(node as usize) {
            Some(row) => row,
            None => self.touch(node)?,
        };
        kernels::f32s(row).get(..self.query.len())
    }

    #[cold]
    #[inline(never)]
    fn touch(&self, node: NodeId) -> Option<&'a [u8]> {
        let row = self.rows.get(node as usize).ok();
        self.failed.set(self.failed.get() || row.is_none());
        row
    }

    /// The exact distance of one node, as the scan computes it.
    #[inline(always)]
    pub(crate) fn exact(&self, node: NodeId) -> f32 {
        match self.vector(node) {
            Some(v) => M::one(self.lanes, self.query, self.prepared, v),
            None => f32::INFINITY,
        }
    }

    /// Whether a row could not be read.
    pub(crate) fn failed(&self) -> bool {
        self.failed.get()
    }
}

impl<L: Lanes, M: Measure> graph::Point for VectorPoint<'_, L, M> {
    #[inline(always)]
    fn distance4(&self, nodes: [NodeId; 4]) -> [f32; 4] {
        if let (Some(a), Some(b), Some(c), Some(d)) =
            (self.vector(nodes[0]), self.vector(nodes[1]), self.vector(nodes[2]), self.vector(nodes[3]))
        {
            return M::four(self.lanes, self.query, self.prepared, [a, b, c, d]);
        }
        nodes.map(|node| self.exact(node))
    }

    #[inline(always)]
    fn prefetch(&self, node: NodeId) {
        if let Some(row) = self.rows.row(node as usize) {
            self.lanes.prefetch(row);
        }
    }
}

/// All stored vectors, each of which may stand as the query: what building the graph needs.
///
/// Threads start outside any `target_feature` context, so each group of four is dispatched on its own: one
/// indirect branch for four vectors.
pub(crate) struct VectorSpace<'a, M: Measure> {
    rows: &'a Rows,
    dimensions: usize,
    measure: std::marker::PhantomData<M>,
}

impl<'a, M: Measure> VectorSpace<'a, M> {
    pub(crate) fn new(view: &'a View) -> Result<Self> {
        let rows = view.rows(Kind::Vectors).ok_or_else(|| crate::Error::corrupt("no vectors object"))?;
        Ok(VectorSpace { rows, dimensions: view.header().dimensions as usize, measure: std::marker::PhantomData })
    }
}

/// A stored vector standing as the query.
pub(crate) struct StoredPoint<'a, M: Measure> {
    rows: &'a Rows,
    query: &'a [f32],
    prepared: f32,
    measure: std::marker::PhantomData<M>,
}

struct Prepare<'a, M>(&'a [f32], std::marker::PhantomData<M>);
impl<M: Measure> WithLanes for Prepare<'_, M> {
    type Output = f32;
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> f32 {
        M::prepare(lanes, self.0)
    }
}

struct Four<'a, 'b, M: Measure>(&'b StoredPoint<'a, M>, [NodeId; 4]);
impl<M: Measure> WithLanes for Four<'_, '_, M> {
    type Output = [f32; 4];
    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> [f32; 4] {
        let point = VectorPoint::<L, M> {
            lanes,
            rows: self.0.rows,
            query: self.0.query,
            prepared: self.0.prepared,
            failed: Cell::new(false),
            measure: std::marker::PhantomData,
        };
        graph::Point::distance4(&point, self.1)
    }
}

impl<M: Measure> graph::Point for StoredPoint<'_, M> {
    #[inline(always)]
    fn distance4(&self, nodes: [NodeId; 4]) -> [f32; 4] {
        kernels::dispatch(Four(self, nodes))
    }

    #[inline(always)]
    fn prefetch(&self, node: NodeId) {
        if let Some(row) = self.rows.row(node as usize) {
            kernels::prefetch(row);
        }
    }
}

impl<M: Measure> graph::Space for VectorSpace<'_, M> {
    type Buffer = ();
    type Point<'p>
        = StoredPoint<'p, M>
    where
        Self: 'p;

    fn point<'p>(&'p self, node: NodeId, _: &'p mut ()) -> StoredPoint<'p, M> {
        let row = self.rows.get(node as usize).map(kernels::f32s).unwrap_or(&[]);
        let query = row.get(..self.dimensions).unwrap_or(&[]);
        let prepared = kernels::dispatch(Prepare::<M>(query, std::marker::PhantomData));
        StoredPoint { rows: self.rows, query, prepared, measure: std::marker::PhantomData }
    }
}
