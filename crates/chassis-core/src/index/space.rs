//! The stored bytes and the kernels, seen as the graph's traits: [`Lists`] over neighbor-list pages,
//! [`Point`] and [`Space`] over the stored vectors.
//!
//! Every id met here is range-checked by the page and row tables; what cannot be read counts as infinitely far
//! (a point) or empty (a list), and the failure is kept so that the call fails with it instead of answering.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

use crate::error::{Error, Result};
use crate::format::neighbors;
use crate::graph::{self, Neighbor, NodeId, Point as _};
use crate::index::{Metric, nodes};
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::{Kind, Page, Pages, RowReader, Rows, View};

// The graph knows nothing of files, so both name the mark that ends a list.
const _: () = assert!(graph::NONE == neighbors::NONE);

/// How a metric compares vectors. The scale is internal: squared for l2, `1 - cos`, `-dot`.
///
/// The metric is looked at for each four vectors. The branch always goes the same way, and a walk, a scan and a build
/// are compiled once for each instruction set, not once more for each metric.
impl Metric {
    /// Whether distances are squares, or in proportion to squares: comparing one with a multiple of another has a
    /// meaning then. A cosine's is half the squared distance of the vectors at unit length.
    pub(crate) fn is_square(self) -> bool {
        self != Metric::Ip
    }

    /// What is needed to know about the query beside its components.
    #[inline(always)]
    pub(crate) fn prepare<L: Lanes>(self, lanes: L, query: &[f32]) -> f32 {
        match self {
            Metric::Cosine => 1.0 / lanes.dot(query, query).sqrt(),
            Metric::L2 | Metric::Ip => 0.0,
        }
    }

    /// Distance of one vector.
    #[inline(always)]
    pub(crate) fn one<L: Lanes>(self, lanes: L, query: &[f32], prepared: f32, v: &[f32]) -> f32 {
        match self {
            Metric::L2 => lanes.l2(query, v),
            Metric::Ip => -lanes.dot(query, v),
            Metric::Cosine => {
                let (dot, norm2) = lanes.cosine(query, v);
                1.0 - dot * prepared / norm2.sqrt()
            }
        }
    }

    /// Distances of four vectors, each with the bits of [`Metric::one`].
    #[inline(always)]
    fn four<L: Lanes>(self, lanes: L, query: &[f32], prepared: f32, v: [&[f32]; 4]) -> [f32; 4] {
        match self {
            Metric::L2 => lanes.l2_4(query, v),
            Metric::Ip => {
                let [a, b, c, d] = lanes.dot_4(query, v);
                [-a, -b, -c, -d]
            }
            Metric::Cosine => {
                let (mut dot, norm2) = lanes.cosine_4(query, v);
                for (dot, norm2) in dot.iter_mut().zip(norm2) {
                    *dot = 1.0 - *dot * prepared / norm2.sqrt();
                }
                dot
            }
        }
    }

    /// The distance users see.
    pub(crate) fn finish(self, distance: f32) -> f32 {
        match self {
            Metric::L2 => distance.max(0.0).sqrt(),
            // Not -0.
            Metric::Ip => distance + 0.0,
            // Rounding may leave a cosine of equal directions just past 1.
            Metric::Cosine => distance.clamp(0.0, 2.0),
        }
    }
}

/// The first failure to read something that a walk took for empty or infinitely far. Kept, not tried again: a
/// second try may succeed, and the walk would still have missed what it did not see.
#[derive(Default)]
pub(crate) struct Unread(OnceLock<Error>);

impl Unread {
    #[inline(always)]
    pub(crate) fn note<T>(&self, outcome: Result<T>) -> Option<T> {
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

/// Begins to read the rows of candidates.
#[cold]
#[inline(never)]
pub(crate) fn ask(rows: &Rows, candidates: &[Neighbor]) {
    candidates.iter().for_each(|candidate| rows.will_need(candidate.node as usize));
}

/// One query against the stored vectors.
pub(crate) struct VectorPoint<'a, L: Lanes> {
    lanes: L,
    rows: &'a Rows,
    reader: RowReader<'a>,
    query: &'a [f32],
    prepared: f32,
    failed: &'a Unread,
    metric: Metric,
}

/// Bytes of records to ask for ahead of the one being scored, between a few records and many.
const AHEAD_BYTES: usize = 24 * 1024;

impl<'a, L: Lanes> VectorPoint<'a, L> {
    /// A query; `failed` is set when a row cannot be read.
    #[inline(always)]
    pub(crate) fn new(
        lanes: L,
        metric: Metric,
        rows: &'a Rows,
        query: &'a [f32],
        failed: &'a Unread,
    ) -> Self {
        let prepared = metric.prepare(lanes, query);
        VectorPoint { lanes, rows, reader: rows.reader(), query, prepared, failed, metric }
    }

    /// The vector of a row; empty when there is none.
    #[inline(always)]
    fn vector_of(&self, row: &'a [u8]) -> &'a [f32] {
        kernels::f32s(row).get(..self.query.len()).unwrap_or(&[])
    }

    /// The vector of a node; empty when its chunk was not touched before.
    #[inline(always)]
    fn located(&self, node: NodeId) -> &'a [f32] {
        self.vector_of(self.reader.row(node as usize).unwrap_or(&[]))
    }

    #[inline(always)]
    fn vector(&self, node: NodeId) -> Option<&'a [f32]> {
        let vector = self.located(node);
        if vector.is_empty() { self.touch(node) } else { Some(vector) }
    }

    #[cold]
    #[inline(never)]
    fn touch(&self, node: NodeId) -> Option<&'a [f32]> {
        let vector = self.vector_of(self.failed.note(self.rows.get(node as usize))?);
        (!vector.is_empty()).then_some(vector)
    }

    /// The error of a row that could not be read, if there was one.
    #[inline]
    pub(crate) fn outcome(&self) -> Result<()> {
        self.failed.outcome()
    }

    /// See [`Rows::read_on`].
    #[inline(always)]
    pub(crate) fn read_on(&self, node: NodeId, step: usize) {
        self.rows.read_on(node as usize, step);
    }

    /// See [`Rows::stay`].
    #[inline(always)]
    pub(crate) fn stays(&self) -> bool {
        self.rows.stay()
    }

    /// Begins to read the vectors of candidates.
    #[inline(always)]
    pub(crate) fn ask_for(&self, candidates: &[Neighbor]) {
        ask(self.rows, candidates);
    }

    /// The distance of the query to itself, where nothing can be nearer.
    #[inline(always)]
    pub(crate) fn zero(&self) -> Option<f32> {
        if self.metric.is_square() { Some(0.0) } else { None }
    }

    /// The exact distance of one node, as the scan computes it.
    #[inline(always)]
    pub(crate) fn exact(&self, node: NodeId) -> f32 {
        self.enter(Distance(self, node))
    }
}

impl<L: Lanes> Measure for VectorPoint<'_, L> {
    #[inline(always)]
    fn distances(&self, nodes: [NodeId; 4]) -> [f32; 4] {
        let vectors =
            [self.located(nodes[0]), self.located(nodes[1]), self.located(nodes[2]), self.located(nodes[3])];
        let [a, b, c, d] = vectors;
        if a.len().min(b.len()).min(c.len()).min(d.len()) > 0 {
            return self.metric.four(self.lanes, self.query, self.prepared, vectors);
        }
        nodes.map(|node| self.exact(node))
    }
}

/// The distance of one node as a function of its own, for all that asks for it.
struct Distance<'a, L: Lanes>(&'a VectorPoint<'a, L>, NodeId);

impl<L: Lanes> graph::Work for Distance<'_, L> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let Distance(point, node) = self;
        match point.vector(node) {
            Some(v) => point.metric.one(point.lanes, point.query, point.prepared, v),
            None => f32::INFINITY,
        }
    }
}

/// Distances of four nodes, compiled into the caller.
pub(crate) trait Measure {
    fn distances(&self, nodes: [NodeId; 4]) -> [f32; 4];
}

/// [`Measure::distances`] as a function of its own, one for all that asks a kind of point for them.
pub(crate) struct Distances<'a, P>(pub(crate) &'a P, pub(crate) [NodeId; 4]);

impl<P: Measure> graph::Work for Distances<'_, P> {
    type Output = [f32; 4];

    #[inline(always)]
    fn call(self) -> [f32; 4] {
        self.0.distances(self.1)
    }
}

impl<L: Lanes> graph::Point for VectorPoint<'_, L> {
    type Asked = ();

    #[inline(always)]
    fn distance4(&self, nodes: [NodeId; 4]) -> [f32; 4] {
        self.enter(Distances(self, nodes))
    }

    #[inline(always)]
    fn enter<W: graph::Work>(&self, work: W) -> W::Output {
        self.lanes.run(Enter(work))
    }

    #[inline(always)]
    fn prefetch(&self, node: NodeId) {
        self.lanes.prefetch(self.reader.row(node as usize).unwrap_or(&[]));
    }

    #[inline(always)]
    fn lookahead(&self) -> usize {
        (AHEAD_BYTES / size_of_val(self.query).max(1)).clamp(4, 16)
    }
}

/// All stored vectors, each of which may stand as the query: what building the graph needs.
pub(crate) struct VectorSpace<'a, L: Lanes> {
    lanes: L,
    rows: &'a Rows,
    dimensions: usize,
    failed: Unread,
    metric: Metric,
}

impl<'a, L: Lanes> VectorSpace<'a, L> {
    pub(crate) fn new(lanes: L, metric: Metric, view: &'a View) -> Result<Self> {
        let rows = nodes::vectors(view)?;
        let dimensions = view.header().dimensions as usize;
        Ok(VectorSpace { lanes, rows, dimensions, failed: Unread::default(), metric })
    }

    /// The vector of a node; empty when it cannot be read, and the call fails at its end.
    #[inline(always)]
    pub(crate) fn vector(&self, node: NodeId) -> &'a [f32] {
        let row = self.failed.note(self.rows.get(node as usize)).map_or(&[][..], kernels::f32s);
        row.get(..self.dimensions).unwrap_or(&[])
    }

    /// The error of a row that read as infinitely far, if there was one.
    pub(crate) fn outcome(&self) -> Result<()> {
        self.failed.outcome()
    }
}

/// Graph work as kernel work.
pub(crate) struct Enter<W>(pub(crate) W);

impl<W: graph::Work> WithLanes for Enter<W> {
    type Output = W::Output;

    #[inline(always)]
    fn call<L: Lanes>(self, _: L) -> W::Output {
        self.0.call()
    }
}

impl<L: Lanes> graph::Space for VectorSpace<'_, L> {
    const ESTIMATES: bool = false;
    type Point<'p>
        = VectorPoint<'p, L>
    where
        Self: 'p;
    type Buffer = ();
    type Guide<'p>
        = VectorPoint<'p, L>
    where
        Self: 'p;

    #[inline(always)]
    fn guide<'p>(&'p self, node: NodeId, _: &'p mut ()) -> VectorPoint<'p, L> {
        self.point(node)
    }

    #[inline(always)]
    fn point(&self, node: NodeId) -> VectorPoint<'_, L> {
        VectorPoint::new(self.lanes, self.metric, self.rows, self.vector(node), &self.failed)
    }

    #[inline(always)]
    fn enter<W: graph::Work>(&self, work: W) -> W::Output {
        self.lanes.run(Enter(work))
    }
}
