//! The codes of a view as the graph's traits: [`CodePoint`] over records, [`CodeSpace`] for building.
//!
//! A view may have codes of 4 bits, of 8 bits, both, or none (see `codes`); none are made for few rows. What a walk
//! runs over is decided here, once a search.

use std::marker::PhantomData;

use crate::codes::{Codec, Geometry, Prepared, Stored};
use crate::error::{Error, ErrorKind, Result};
use crate::format::derived::codes::{Bits, Codes};
use crate::format::derived::entries::Entries;
use crate::format::derived::model::MAX_COMPONENTS;
use crate::graph::{self, Neighbor, NodeId};
use crate::index::Metric;
use crate::index::space::{Distances, Enter, Measure, Unread, VectorPoint, VectorSpace};
use crate::kernels::Lanes;
use crate::storage::{Kind, RowReader, Rows, View};

/// How the codes see vectors of a metric.
pub(crate) fn geometry(metric: Metric) -> Geometry {
    match metric {
        Metric::L2 => Geometry::Euclidean,
        Metric::Ip => Geometry::Inner,
        Metric::Cosine => Geometry::Unit,
    }
}

/// The codes of a view, whole for its first nodes.
#[derive(Clone, Copy)]
pub(crate) struct Coded<'a> {
    pub(crate) codec: &'a Codec,
    pub(crate) four: Option<&'a Rows>,
    pub(crate) eight: Option<&'a Rows>,
}

impl<'a> Coded<'a> {
    /// The codes that stand for each of the first `count` nodes, if there are such. What a later release may have
    /// written in a layout of its own counts as absent: the vectors are there.
    pub(crate) fn of(view: &'a View, metric: Metric, count: u32) -> Result<Option<Coded<'a>>> {
        let Some(codec) = codec(view, metric)? else { return Ok(None) };
        let rows = |bits: Bits| {
            let rows = view.rows(bits.kind()).filter(|rows| rows.len() >= count as usize)?;
            let stored = Codes::from_descriptor(rows.descriptor(), view.header().dimensions).ok()?;
            (codec.has(bits) && stored == codec.layout(bits)).then_some(rows)
        };
        let coded = Coded { codec, four: rows(Bits::Four), eight: rows(Bits::Eight) };
        Ok((coded.four.is_some() || coded.eight.is_some()).then_some(coded))
    }
}

impl Coded<'_> {
    /// What tells these codes from others.
    pub(crate) fn generation(&self) -> u16 {
        self.codec.header().generation as u16
    }

    /// Whether candidates are measured again by finer codes.
    pub(crate) fn has_second(&self) -> bool {
        self.four.is_some() && self.eight.is_some()
    }

    /// The layout of the records a walk runs over.
    pub(crate) fn first_layout(&self) -> Codes {
        self.codec.layout(if self.four.is_some() { Bits::Four } else { Bits::Eight })
    }
}

/// The nodes of the entry block of a view.
pub(crate) fn entry_nodes(view: &View, metric: Metric, count: u32) -> Result<&[NodeId]> {
    let Some(coded) = Coded::of(view, metric, count)? else { return Ok(&[]) };
    Ok(entry_block(view, &coded.first_layout(), count)?.map_or(&[], |block| &block.nodes))
}

/// A derived object that is made once and read whole. A transaction shows it empty before it shows its rows, all at
/// once: until then it counts as absent.
pub(crate) fn whole(view: &View, kind: Kind) -> Option<&Rows> {
    view.rows(kind).filter(|rows| !rows.is_empty())
}

/// The longest model: the most components, of the most dimensions.
const MAX_MODEL_BYTES: u64 = (2 + MAX_COMPONENTS as u64) << 18;

/// The model of a view.
pub(crate) fn codec(view: &View, metric: Metric) -> Result<Option<&Codec>> {
    let Some(model) = whole(view, Kind::Model) else { return Ok(None) };
    let decode = |rows: &Rows| {
        let len = (rows.len() as u64).saturating_mul(rows.stride() as u64);
        if len > MAX_MODEL_BYTES {
            return Err(Error::corrupt(format!("a model of {len} bytes")));
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(len as usize)
            .map_err(|_| Error::no_memory(format_args!("a model of {len} bytes")))?;
        for n in 0..rows.len() {
            bytes.extend_from_slice(rows.get_verified(n)?);
        }
        match Codec::decode(&bytes, geometry(metric), view.header().dimensions) {
            Err(e) if e.kind() == ErrorKind::UnsupportedVersion => Ok(None),
            codec => codec.map(Some),
        }
    };
    Ok(model.memo(decode)?.as_ref())
}

/// A kind of records that a walk can run over.
pub(crate) trait Stage: Copy + Send + Sync + 'static {
    const BITS: Bits;
    /// Estimates from four records; see `codes`.
    fn estimates<L: Lanes>(lanes: L, query: &Prepared, records: [&[u8]; 4]) -> [f32; 4];
}

/// Records of 4 bits a component.
#[derive(Clone, Copy)]
pub(crate) struct Four;
/// Records of 8 bits a component.
#[derive(Clone, Copy)]
pub(crate) struct Eight;

impl Stage for Four {
    const BITS: Bits = Bits::Four;
    #[inline(always)]
    fn estimates<L: Lanes>(lanes: L, query: &Prepared, records: [&[u8]; 4]) -> [f32; 4] {
        lanes.estimate_4bit(query.four.query(), records)
    }
}

impl Stage for Eight {
    const BITS: Bits = Bits::Eight;
    #[inline(always)]
    fn estimates<L: Lanes>(lanes: L, query: &Prepared, records: [&[u8]; 4]) -> [f32; 4] {
        lanes.estimate_8bit(query.eight.query(), records)
    }
}

/// Bytes of records to ask for ahead of the one being scored, between a few records and many.
const AHEAD_BYTES: usize = 2 * 1024;

/// … and of 8-bit records while links are selected.
const AHEAD_BYTES_8: usize = 8 * 1024;

/// A query, whatever it was made from.
trait Compare {
    /// Distances of four records.
    fn compare(&self, records: [&[u8]; 4]) -> [f32; 4];
}

/// The records of one kind.
struct Records<'a> {
    rows: &'a Rows,
    reader: RowReader<'a>,
    failed: &'a Unread,
}

impl<'a> Records<'a> {
    /// The record of a node; empty when its chunk was not touched before.
    #[inline(always)]
    fn located(&self, node: NodeId) -> &'a [u8] {
        self.reader.row(node as usize).unwrap_or(&[])
    }

    /// The record of a node. The call fails at its end when it cannot be read.
    #[inline(always)]
    fn read(&self, node: NodeId) -> Option<&'a [u8]> {
        let record = self.located(node);
        if record.is_empty() { self.touch([node; 4]).map(|[record, ..]| record) } else { Some(record) }
    }

    /// Distances of four nodes. Each way to their records has its own comparison: joined before it, they would pass
    /// through memory, which is 5 % of the instructions of a search.
    #[inline(always)]
    fn distances(&self, query: &impl Compare, nodes: [NodeId; 4]) -> [f32; 4] {
        let located =
            [self.located(nodes[0]), self.located(nodes[1]), self.located(nodes[2]), self.located(nodes[3])];
        self.distances_at(query, nodes, located)
    }

    /// The same, of nodes that were located.
    #[inline(always)]
    fn distances_at(&self, query: &impl Compare, nodes: [NodeId; 4], located: [&'a [u8]; 4]) -> [f32; 4] {
        let [a, b, c, d] = located;
        if a.len().min(b.len()).min(c.len()).min(d.len()) > 0 {
            return query.compare([a, b, c, d]);
        }
        match self.touch(nodes) {
            Some(records) => query.compare(records),
            None => [f32::INFINITY; 4],
        }
    }

    /// Four records, those read that were not located. The call fails at its end when one cannot be; until then what
    /// cannot be read is as far as can be.
    #[cold]
    #[inline(never)]
    fn touch(&self, nodes: [NodeId; 4]) -> Option<[&'a [u8]; 4]> {
        let mut records = [&[][..]; 4];
        for (record, node) in records.iter_mut().zip(nodes) {
            *record = self.failed.note(self.rows.get(node as usize))?;
        }
        Some(records)
    }
}

/// One query against the records of one kind.
pub(crate) struct CodePoint<'a, L: Lanes, S: Stage> {
    lanes: L,
    records: Records<'a>,
    query: &'a Prepared,
    ahead: usize,
    stage: PhantomData<S>,
}

impl<'a, L: Lanes, S: Stage> CodePoint<'a, L, S> {
    /// A query prepared for records of this kind; `failed` is set when a record cannot be read.
    #[inline(always)]
    pub(crate) fn new(lanes: L, rows: &'a Rows, query: &'a Prepared, failed: &'a Unread) -> Self {
        let ahead = (AHEAD_BYTES / rows.stride().max(1)).clamp(8, 32);
        let records = Records { rows, reader: rows.reader(), failed };
        CodePoint { lanes, records, query, ahead, stage: PhantomData }
    }

    /// The nodes of the entry block with their distances, appended.
    #[inline(always)]
    pub(crate) fn measure_entries(&self, block: &EntryBlock, out: &mut Vec<Neighbor>) {
        for (nodes, four) in block.nodes.chunks(4).zip(block.records.chunks(4 * block.stride)) {
            let last = four.len() / block.stride - 1;
            let mut records = [four; 4];
            for (i, record) in records.iter_mut().enumerate() {
                *record = &four[i.min(last) * block.stride..][..block.stride];
            }
            let distances = self.compare(records);
            for (node, distance) in nodes.iter().zip(distances) {
                out.push(Neighbor { distance, node: *node });
            }
        }
    }
}

impl<L: Lanes, S: Stage> Compare for CodePoint<'_, L, S> {
    #[inline(always)]
    fn compare(&self, records: [&[u8]; 4]) -> [f32; 4] {
        let Prepared { base, factor, .. } = *self.query;
        let [a, b, c, d] = S::estimates(self.lanes, self.query, records);
        [base + factor * a, base + factor * b, base + factor * c, base + factor * d]
    }
}

impl<'a, L: Lanes, S: Stage> graph::Point for CodePoint<'a, L, S> {
    type Asked = &'a [u8];

    #[inline(always)]
    fn distance4(&self, nodes: [NodeId; 4]) -> [f32; 4] {
        self.records.distances(self, nodes)
    }

    #[inline(always)]
    fn enter<W: graph::Work>(&self, work: W) -> W::Output {
        self.lanes.run(Enter(work))
    }

    #[inline(always)]
    fn prefetch(&self, node: NodeId) {
        self.ask(node);
    }

    /// Looked up once: that twice for each node was a twentieth of a search's instructions.
    #[inline(always)]
    fn ask(&self, node: NodeId) -> &'a [u8] {
        let record = self.records.located(node);
        self.lanes.prefetch(record);
        record
    }

    #[inline(always)]
    fn asked4(&self, nodes: [NodeId; 4], asked: [&'a [u8]; 4]) -> [f32; 4] {
        self.records.distances_at(self, nodes, asked)
    }

    #[inline(always)]
    fn lookahead(&self) -> usize {
        self.ahead
    }
}

/// A stored record of 8-bit codes standing as the query.
pub(crate) struct RecordPoint<'a, L: Lanes> {
    lanes: L,
    records: Records<'a>,
    stored: Stored<'a>,
}

impl<L: Lanes> Compare for RecordPoint<'_, L> {
    #[inline(always)]
    fn compare(&self, records: [&[u8]; 4]) -> [f32; 4] {
        let Stored { query, bias, factor } = self.stored;
        if query.record.is_empty() {
            return [f32::INFINITY; 4];
        }
        let [a, b, c, d] = self.lanes.estimate_8bit_codes(query, records);
        [factor * (bias + a), factor * (bias + b), factor * (bias + c), factor * (bias + d)]
    }
}

impl<L: Lanes> Measure for RecordPoint<'_, L> {
    #[inline(always)]
    fn distances(&self, nodes: [NodeId; 4]) -> [f32; 4] {
        self.records.distances(self, nodes)
    }
}

impl<L: Lanes> graph::Point for RecordPoint<'_, L> {
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
        self.lanes.prefetch(self.records.located(node));
    }

    #[inline(always)]
    fn lookahead(&self) -> usize {
        (AHEAD_BYTES_8 / self.records.rows.stride().max(1)).clamp(4, 16)
    }
}

/// What links are selected by.
pub(crate) enum LinkPoint<'a, L: Lanes> {
    /// The vectors.
    Vector(VectorPoint<'a, L>),
    /// Codes of 8 bits, where there are such: a quarter of the bytes, and links as good.
    Record(RecordPoint<'a, L>),
}

/// The branch always goes the same way; see [`Metric`].
impl<L: Lanes> graph::Point for LinkPoint<'_, L> {
    type Asked = ();

    #[inline(always)]
    fn distance4(&self, nodes: [NodeId; 4]) -> [f32; 4] {
        match self {
            LinkPoint::Vector(point) => point.distance4(nodes),
            LinkPoint::Record(point) => point.distance4(nodes),
        }
    }

    #[inline(always)]
    fn prefetch(&self, node: NodeId) {
        match self {
            LinkPoint::Vector(point) => point.prefetch(node),
            LinkPoint::Record(point) => point.prefetch(node),
        }
    }

    #[inline(always)]
    fn lookahead(&self) -> usize {
        match self {
            LinkPoint::Vector(point) => point.lookahead(),
            LinkPoint::Record(point) => point.lookahead(),
        }
    }
}

/// All nodes of a view: found by the codes of a walk's first stage, linked by 8-bit codes or by their vectors.
pub(crate) struct CodeSpace<'a, L: Lanes, S: Stage> {
    vectors: VectorSpace<'a, L>,
    lanes: L,
    codec: &'a Codec,
    rows: &'a Rows,
    fine: Option<&'a Rows>,
    failed: Unread,
    stage: PhantomData<S>,
}

impl<'a, L: Lanes, S: Stage> CodeSpace<'a, L, S> {
    pub(crate) fn new(
        lanes: L,
        metric: Metric,
        view: &'a View,
        coded: Coded<'a>,
        rows: &'a Rows,
    ) -> Result<Self> {
        let vectors = VectorSpace::new(lanes, metric, view)?;
        let Coded { codec, eight, .. } = coded;
        let failed = Unread::default();
        Ok(CodeSpace { vectors, lanes, codec, rows, fine: eight, failed, stage: PhantomData })
    }

    /// The error of something that read as infinitely far, if there was one.
    pub(crate) fn outcome(&self) -> Result<()> {
        self.vectors.outcome().and_then(|()| self.failed.outcome())
    }
}

impl<L: Lanes, S: Stage> graph::Space for CodeSpace<'_, L, S> {
    const ESTIMATES: bool = true;
    type Point<'p>
        = LinkPoint<'p, L>
    where
        Self: 'p;
    type Buffer = Prepared;
    type Guide<'p>
        = CodePoint<'p, L, S>
    where
        Self: 'p;

    #[inline(always)]
    fn point(&self, node: NodeId) -> LinkPoint<'_, L> {
        let Some(rows) = self.fine else { return LinkPoint::Vector(self.vectors.point(node)) };
        let records = Records { rows, reader: rows.reader(), failed: &self.failed };
        let stored = self.codec.stored(records.read(node).unwrap_or(&[]));
        LinkPoint::Record(RecordPoint { lanes: self.lanes, records, stored })
    }

    #[inline(always)]
    fn guide<'p>(&'p self, node: NodeId, buffer: &'p mut Prepared) -> CodePoint<'p, L, S> {
        let query = self.vectors.vector(node);
        self.codec.prepare(self.lanes, query, S::BITS == Bits::Four, S::BITS == Bits::Eight, buffer);
        CodePoint::new(self.lanes, self.rows, buffer, &self.failed)
    }

    #[inline(always)]
    fn enter<W: graph::Work>(&self, work: W) -> W::Output {
        self.lanes.run(Enter(work))
    }
}

/// The entry block of a view, checked.
pub(crate) struct EntryBlock {
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) records: Vec<u8>,
    pub(crate) stride: usize,
}

/// Nodes a walk may start from without a way down through the layers, when there are some for these codes. A block
/// that names a node past `count`, as a search that began before it was written would see it, counts as absent.
pub(crate) fn entry_block<'a>(view: &'a View, layout: &Codes, count: u32) -> Result<Option<&'a EntryBlock>> {
    let Some(rows) = whole(view, Kind::EntryBlock) else { return Ok(None) };
    let decode = |rows: &Rows| {
        let bytes = rows.get_verified(0)?;
        let entries = match Entries::decode(bytes, u32::MAX, layout.stride) {
            Err(e) if e.kind() == ErrorKind::UnsupportedVersion => return Ok(None),
            entries => entries?,
        };
        if entries.code_generation != layout.generation {
            return Ok(None);
        }
        let mut records = Vec::with_capacity(entries.count() * layout.stride as usize);
        (0..entries.count()).filter_map(|i| entries.record(i)).for_each(|r| records.extend_from_slice(r));
        Ok(Some(EntryBlock { nodes: entries.nodes().collect(), records, stride: layout.stride as usize }))
    };
    let block = rows.memo(decode)?.as_ref();
    Ok(block.filter(|block| block.stride == layout.stride as usize && block.nodes.iter().all(|n| *n < count)))
}
