//! The stored bytes and the kernels, seen as the graph's traits: [`Lists`] over neighbor-list pages,
//! [`Point`] and [`Space`] over the stored vectors.
//!
//! Every id met here is range-checked by the page and row tables; what cannot be read counts as infinitely far
//! (a point) or empty (a list), and the failure is kept so that the call fails with it instead of answering.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

use crate::error::{Error, Result};
use crate::format::neighbors;
use crate::graph::{self, NodeId};
use crate::index::nodes;
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::{Kind, Page, Pages, Rows, View};

// The graph knows nothing of files, so both name the mark that ends a list.
const _: () = assert!(graph::NONE == neighbors::NONE);

/// How a metric compares vectors. The scale is internal: squared for l2, `1 - cos`, `-dot`.
pub(crate) trait Measure: Copy + Send + Sync + 'static {
    /// Whether distances are squares, or in proportion to squares: comparing one with a multiple of another has a
    /// meaning then.
    const SQUARES: bool;
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
    const SQUARES: bool = true;
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
    const SQUARES: bool = false;
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
    // Half the squared distance of the vectors at unit length.
    const SQUARES: bool = true;
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
        // Rounding may leave a cosine of equal directions just past 1.
        distance.clamp(0.0, 2.0)
    }
    fn begin(distance: f32) -> f32 {
        distance
    }
}

/// The first failure to read something that a walk took for empty or infinitely far. Kept, not tried again: a
/// second try may succeed, and the walk would still have missed what it did not see.
#[derive(Default)]
pub(crate) struct Unread(OnceLock<Error>);

impl Unread {
    #[inline(always)]
    fn note<T>(&self, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.keep(error);
                None
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn keep(&self, error: Error) {
        // A failure after the first one adds nothing.
        let _ = self.0.set(error);
    }

    /// The error the call should fail with, if there was one.
    pub(crate) fn outcome(&self) -> Result<()> {
        self.0.get().map_or(Ok(()), |error| Err(Error::new(error.kind(), error.message())))
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
    failed: Unread,
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
            failed: Unread::default(),
        }
    }

    /// The degree bound of a layer.
    pub(crate) fn degree(&self, layer: u8) -> usize {
        if layer == 0 { self.m0 } else { self.m }
    }

    /// The error of a page that read as empty, if there was one.
    pub(crate) fn outcome(&self) -> Result<()> {
        self.failed.outcome()
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
        let page = self.failed.note(self.nodes.get(page))?;
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
        self.failed.note(self.base.get(page))
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
        match self.failed.note(self.upper.get(page)) {
            Some(page) => page.words().get(word..word + self.m).unwrap_or(&[]),
            None => &[],
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
    failed: &'a Unread,
    measure: std::marker::PhantomData<M>,
}

/// Bytes of records to ask for ahead of the one being scored, between a few records and many.
const AHEAD_BYTES: usize = 24 * 1024;

impl<'a, L: Lanes, M: Measure> VectorPoint<'a, L, M> {
    /// A query; `failed` is set when a row cannot be read.
    #[inline(always)]
    pub(crate) fn new(lanes: L, rows: &'a Rows, query: &'a [f32], failed: &'a Unread) -> Self {
        let prepared = M::prepare(lanes, query);
        VectorPoint { lanes, rows, query, prepared, failed, measure: std::marker::PhantomData }
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
        self.failed.note(self.rows.get(node as usize))
    }

    /// The exact distance of one node, as the scan computes it.
    #[inline(always)]
    pub(crate) fn exact(&self, node: NodeId) -> f32 {
        match self.vector(node) {
            Some(v) => M::one(self.lanes, self.query, self.prepared, v),
            None => f32::INFINITY,
        }
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

    #[inline(always)]
    fn lookahead(&self) -> usize {
        (AHEAD_BYTES / size_of_val(self.query).max(1)).clamp(4, 16)
    }
}

/// All stored vectors, each of which may stand as the query: what building the graph needs.
pub(crate) struct VectorSpace<'a, L: Lanes, M: Measure> {
    lanes: L,
    rows: &'a Rows,
    dimensions: usize,
    failed: Unread,
    measure: std::marker::PhantomData<M>,
}

impl<'a, L: Lanes, M: Measure> VectorSpace<'a, L, M> {
    pub(crate) fn new(lanes: L, view: &'a View) -> Result<Self> {
        let rows = view.rows(Kind::Vectors).ok_or_else(|| Error::corrupt("no vectors object"))?;
        let dimensions = view.header().dimensions as usize;
        Ok(VectorSpace {
            lanes,
            rows,
            dimensions,
            failed: Unread::default(),
            measure: std::marker::PhantomData,
        })
    }

    /// The error of a row that read as infinitely far, if there was one.
    pub(crate) fn outcome(&self) -> Result<()> {
        self.failed.outcome()
    }
}

/// Graph work as kernel work.
struct Enter<W>(W);

impl<W: graph::Work> WithLanes for Enter<W> {
    type Output = W::Output;

    #[inline(always)]
    fn call<L: Lanes>(self, _: L) -> W::Output {
        self.0.call()
    }
}

impl<L: Lanes, M: Measure> graph::Space for VectorSpace<'_, L, M> {
    const ESTIMATES: bool = false;
    type Point<'p>
        = VectorPoint<'p, L, M>
    where
        Self: 'p;
    type Buffer = ();
    type Guide<'p>
        = VectorPoint<'p, L, M>
    where
        Self: 'p;

    #[inline(always)]
    fn guide<'p>(&'p self, node: NodeId, _: &'p mut ()) -> VectorPoint<'p, L, M> {
        self.point(node)
    }

    #[inline(always)]
    fn point(&self, node: NodeId) -> VectorPoint<'_, L, M> {
        let row = self.failed.note(self.rows.get(node as usize)).map_or(&[][..], kernels::f32s);
        let query = row.get(..self.dimensions).unwrap_or(&[]);
        VectorPoint::new(self.lanes, self.rows, query, &self.failed)
    }

    #[inline(always)]
    fn enter<W: graph::Work>(&self, work: W) -> W::Output {
        self.lanes.run(Enter(work))
    }
}
