//! The write path: validate everything, place rows and records, link them in frozen-graph batches, and only
//! then make them live.
//!
//! While a call runs its nodes are tombstones: they route, but no search returns them. The last step flips
//! their live bits and enters their ids, so a call that fails or is cancelled half-way has added nothing; what
//! it had linked stays behind as tombstones. Searches go on throughout.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{meta::MAX_NODES, neighbors};
use crate::graph::{self, NodeId};
use crate::index::coded::{CodeSpace, Coded, Eight, Four, Stage};
use crate::index::encode::{Budget, show_codes};
use crate::index::nodes::{self, Record};
use crate::index::options::{BatchOptions, IdType, MAX_PAYLOAD, Metric};
use crate::index::space::{ListsView, VectorSpace};
use crate::index::{Id, Inner, ids};
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::{Kind, Published, Rows, Txn, View, ids as tree};

/// A call that adds at least this many rows is a bulk build, and ends by refining and filling all neighbor lists, …
const BULK_ROWS: usize = 1_000;
/// … if its rows are at least this share of the index: one in four.
const BULK_SHARE: usize = 4;

/// The first nodes of a bulk build hold all their candidates: they make the links between far clusters, which the refine
/// pass does not look for. With fewer, 12 of 12,500 rows in 16 clusters were not found from the entry point.
const FOUNDERS: NodeId = 1 << 14;

/// One batch, checked and ready.
struct Batch<'a> {
    vectors: &'a [f32],
    dimensions: usize,
    ids: Option<&'a [Id]>,
    payloads: Option<&'a [Option<&'a [u8]>]>,
    rows: usize,
}

impl Inner {
    /// Adds rows; all or nothing.
    pub(crate) fn insert(&self, vectors: &[f32], options: &BatchOptions<'_>) -> Result<Vec<Id>> {
        let dimensions = self.header.dimensions as usize;
        let batch = self.check_batch(vectors, dimensions, options)?;
        self.store.txn()?.change(|txn| self.insert_batch(txn, &batch, options))
    }

    fn insert_batch(
        &self,
        txn: &mut Txn<'_>,
        batch: &Batch<'_>,
        options: &BatchOptions<'_>,
    ) -> Result<Vec<Id>> {
        let view = txn.view().clone();
        if view.node_count() as u64 + batch.rows as u64 > MAX_NODES {
            return Err(Error::new(
                ErrorKind::CapacityExceeded,
                format!("an index holds at most {MAX_NODES} records"),
            ));
        }
        let ids = assign_ids(&view, batch, self.id_type)?;
        if batch.rows == 0 {
            return Ok(ids);
        }
        let first = view.node_count();
        if let Err(error) = self.link_all(txn, batch, &ids, options) {
            // Whatever becomes of that, this is why the call failed.
            drop(self.forget_unadded(txn));
            return Err(error);
        }
        make_live(txn, first, ids.iter())?;
        Ok(ids)
    }

    fn check_batch<'a>(
        &self,
        vectors: &'a [f32],
        dimensions: usize,
        options: &BatchOptions<'a>,
    ) -> Result<Batch<'a>> {
        if !vectors.len().is_multiple_of(dimensions) {
            return Err(Error::new(
                ErrorKind::DimensionMismatch,
                format!("{} values are not whole vectors of {dimensions} dimensions", vectors.len()),
            ));
        }
        let rows = vectors.len() / dimensions;
        for (row, vector) in vectors.chunks_exact(dimensions).enumerate() {
            check_vector(vector, self.metric, ErrorKind::InvalidVector, || format!("vector {row}"))?;
        }
        if let Some(ids) = options.ids {
            same_length("ids", ids.len(), rows)?;
            ids.iter().try_for_each(|id| ids::validate(id, self.id_type))?;
        } else if self.id_type == IdType::String && rows > 0 {
            return Err(Error::new(
                ErrorKind::InvalidId,
                "an index with string ids needs an id for each vector",
            ));
        }
        if let Some(payloads) = options.payloads {
            same_length("payloads", payloads.len(), rows)?;
            if let Some(long) = payloads.iter().flatten().find(|p| p.len() > MAX_PAYLOAD) {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("a payload has {} bytes; allowed are up to {MAX_PAYLOAD}", long.len()),
                ));
            }
        }
        Ok(Batch { vectors, dimensions, ids: options.ids, payloads: options.payloads, rows })
    }

    /// Places and links every row of a call.
    fn link_all(
        &self,
        txn: &mut Txn<'_>,
        batch: &Batch<'_>,
        ids: &[Id],
        options: &BatchOptions<'_>,
    ) -> Result<()> {
        let threads = options.threads.unwrap_or_else(crate::index::default_threads).max(1);
        let (progress, cancel) = (options.progress, options.cancel);
        let go_on = || !cancel.is_some_and(|flag| flag.load(Ordering::Relaxed));
        let budget = Budget { may_fit: batch.rows > 1, threads, go_on: &go_on };
        let has_codes = self.encode(txn, batch.vectors, budget)?;
        let total = batch.rows;
        let first = txn.view().node_count();
        let bulk = total >= BULK_ROWS && total * BULK_SHARE >= first as usize + total;
        self.link_rows(txn, &Linking { total, bulk, has_codes, threads, progress, cancel }, |txn, node| {
            let row = (node - first) as usize;
            let vector = &batch.vectors[row * batch.dimensions..][..batch.dimensions];
            let payload = batch.payloads.and_then(|p| p[row]);
            let placed = place(txn, &ids[row], vector, payload, node, self.params.m)?;
            clear_lists(txn, node, placed.level, placed.upper)
        })
    }

    /// Links the rows that follow those of the index, a frozen-graph batch at a time; `place` makes each a node with
    /// empty lists.
    pub(crate) fn link_rows(
        &self,
        txn: &mut Txn<'_>,
        linking: &Linking<'_>,
        place: impl Fn(&mut Txn<'_>, NodeId) -> Result<()>,
    ) -> Result<()> {
        let Linking { total, bulk, has_codes, threads, progress, cancel } = *linking;
        let (mut done, cancelled) = (0, || cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)));
        while done < total {
            if cancelled() {
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    format!("cancelled after {done} of {total} rows"),
                ));
            }
            let linked = txn.view().node_count();
            let size = graph::batch_limit(linked as usize).min(total - done);
            (linked..linked + size as u32).try_for_each(|node| place(txn, node))?;
            if has_codes {
                show_codes(txn, linked as usize + size)?;
            }
            let insert = Task::Insert { first: linked, count: size as u32, refined: bulk };
            let entry = self.link(txn, insert, threads)?;
            let now = txn.view().published();
            txn.publish(Published { node_count: linked + size as u32, entry, ..now });
            done += size;
            match progress {
                Some(progress) if !bulk => progress(done, total),
                // Refining takes about as long as linking, which is half of a bulk build.
                Some(progress) if done < total => progress(done / 2, total),
                _ => {}
            }
        }
        if bulk {
            let go_on = |refined: usize, nodes: usize| {
                if let Some(progress) = progress {
                    progress(total.div_ceil(2) + total / 2 * refined / nodes, total);
                }
                !cancelled()
            };
            self.link(txn, Task::Refine(&go_on), threads)?;
            self.link(txn, Task::Fill, threads)?;
            if let Some(progress) = progress {
                progress(total, total);
            }
        }
        self.renew_entries(txn, bulk)
    }

    fn link(&self, txn: &mut Txn<'_>, task: Task<'_>, threads: usize) -> Result<Option<(NodeId, u8)>> {
        let view = &txn.view().clone();
        let count = match task {
            Task::Insert { first, count, .. } => first + count,
            Task::Refine(_) | Task::Fill => view.node_count(),
        };
        let mut params = self.params;
        if let Task::Insert { first, refined: true, .. } = task
            && first >= FOUNDERS
        {
            params.ef_construction = (params.ef_construction / 3).max(params.m);
        }
        let coded = Coded::of(view, self.metric, count)?;
        let links = Links { lists: ListsView::new(view), txn };
        let mut scratch = self.walks.take();
        let (metric, params, scratch_of) = (self.metric, &params, &mut scratch);
        let link = Link { view, metric, coded, links, task, params, threads, scratch: scratch_of };
        let linked = kernels::dispatch(link);
        self.walks.put(scratch);
        linked
    }
}

/// Rows to be linked, and how.
pub(crate) struct Linking<'a> {
    pub(crate) total: usize,
    /// Whether all lists are refined and filled at the end.
    pub(crate) bulk: bool,
    /// Whether codes wait to be shown with their nodes.
    pub(crate) has_codes: bool,
    pub(crate) threads: usize,
    /// As in [`BatchOptions`].
    pub(crate) progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
    pub(crate) cancel: Option<&'a AtomicBool>,
}

/// What is done to the graph.
#[derive(Clone, Copy)]
enum Task<'a> {
    /// Links a batch of placed nodes; with a third of the candidates when a refine pass follows, but for the first ones.
    Insert { first: NodeId, count: u32, refined: bool },
    /// Selects all links of layer 0 again, while it is told to go on.
    Refine(&'a dyn Fn(usize, usize) -> bool),
    /// Fills the lists.
    Fill,
}

/// A task with all it needs.
struct Link<'a, 't> {
    view: &'a View,
    metric: Metric,
    coded: Option<Coded<'a>>,
    links: Links<'a, 't>,
    task: Task<'a>,
    params: &'a graph::Params,
    threads: usize,
    scratch: &'a mut Vec<graph::BuildScratch>,
}

impl WithLanes for Link<'_, '_> {
    type Output = Result<Option<(NodeId, u8)>>;

    fn call<L: Lanes>(self, lanes: L) -> Self::Output {
        match self.coded {
            Some(coded @ Coded { four: Some(rows), .. }) => self.by_codes::<L, Four>(lanes, coded, rows),
            Some(coded @ Coded { eight: Some(rows), .. }) => self.by_codes::<L, Eight>(lanes, coded, rows),
            _ => {
                let space = VectorSpace::<L>::new(lanes, self.metric, self.view)?;
                let entry = self.run(&space)?;
                space.outcome().map(|()| entry)
            }
        }
    }
}

impl<'a> Link<'a, '_> {
    fn by_codes<L: Lanes, S: Stage>(
        self,
        lanes: L,
        coded: Coded<'a>,
        rows: &'a Rows,
    ) -> Result<Option<(NodeId, u8)>> {
        let space = CodeSpace::<L, S>::new(lanes, self.metric, self.view, coded, rows)?;
        let entry = self.run(&space)?;
        space.outcome().map(|()| entry)
    }

    fn run<S: graph::Space>(self, space: &S) -> Result<Option<(NodeId, u8)>> {
        let Link { view, metric, mut links, task, params, threads, scratch, .. } = self;
        let alpha = if metric.is_square() { params.alpha() } else { 1.0 };
        let entry = match task {
            Task::Insert { first, count, refined } => {
                let (entry, for_good) = (view.entry(), graph::Selection::Settled(alpha));
                let selection = if refined { graph::Selection::Provisional } else { for_good };
                Some(graph::insert_batch(
                    space, &mut links, first, count, entry, params, selection, threads, scratch,
                )?)
            }
            Task::Refine(go_on) => {
                if let Some((entry, _)) = view.entry() {
                    let (nodes, ef) = (view.node_count(), params.ef_construction);
                    graph::refine(
                        space, &mut links, nodes, entry, params, alpha, ef, threads, scratch, go_on,
                    )?;
                }
                view.entry()
            }
            Task::Fill => {
                graph::fill(space, &mut links, view.node_count(), params, threads, scratch)?;
                view.entry()
            }
        };
        links.lists.outcome()?;
        Ok(entry)
    }
}

/// Refuses what would poison distances.
pub(crate) fn check_vector(
    vector: &[f32],
    metric: Metric,
    kind: ErrorKind,
    name: impl Fn() -> String,
) -> Result<()> {
    // Nearly all vectors pass here: components that are not finite leave no finite sum of squares.
    let squares = kernels::dispatch(Squares(vector));
    let usual = if metric == Metric::Cosine { USUAL_SQUARES } else { 0.0..=f32::MAX };
    if usual.contains(&squares) {
        return Ok(());
    }
    // Without a branch per component both passes are vectorized; the slow pass only names the culprit.
    if !vector.iter().fold(true, |finite, v| finite & v.is_finite()) {
        let bad = vector.iter().enumerate().find(|(_, v)| !v.is_finite());
        let (position, value) = bad.map_or((0, f32::NAN), |(i, v)| (i, *v));
        return Err(Error::new(kind, format!("{} has {value} at position {position}", name())));
    }
    if metric != Metric::Cosine {
        return Ok(());
    }
    let mut sums = [0.0f64; 8];
    for part in vector.chunks(8) {
        part.iter().zip(&mut sums).for_each(|(&v, sum)| *sum += v as f64 * v as f64);
    }
    let norm2: f64 = sums.iter().sum();
    if norm2.sqrt() < MIN_NORM {
        return Err(Error::new(
            ErrorKind::ZeroNorm,
            format!(
                "{} has length {:e}; the cosine metric needs at least {MIN_NORM:e}",
                name(),
                norm2.sqrt()
            ),
        ));
    }
    if norm2.sqrt() > MAX_NORM {
        return Err(Error::new(
            kind,
            format!("{} has length {:e}; at most {MAX_NORM:e}", name(), norm2.sqrt()),
        ));
    }
    Ok(())
}

/// Lengths whose squares f32 can hold: outside them a cosine would come out as 0, NaN or infinity.
const MIN_NORM: f64 = 1e-18;
const MAX_NORM: f64 = 1e18;

/// Sums of squares of lengths well within these, whatever the rounding.
const USUAL_SQUARES: RangeInclusive<f32> = 1e-30..=1e30;

/// The sum of the squares.
struct Squares<'a>(&'a [f32]);

impl WithLanes for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> f32 {
        lanes.dot(self.0, self.0)
    }
}

fn same_length(what: &str, got: usize, rows: usize) -> Result<()> {
    if got == rows {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, format!("{got} {what} for {rows} vectors")))
}

/// The ids of a batch: the caller's, none of them taken, or the next free ones.
fn assign_ids(view: &View, batch: &Batch<'_>, id_type: IdType) -> Result<Vec<Id>> {
    let Some(ids) = batch.ids else {
        debug_assert!(id_type == IdType::Integer || batch.rows == 0, "string ids are always stated");
        let next = view.published().next_id;
        return match next.checked_add(batch.rows as u64) {
            Some(end) if end < u64::MAX => Ok((next..end).map(Id::Integer).collect()),
            _ => Err(Error::new(ErrorKind::CapacityExceeded, "no integer ids are left to assign")),
        };
    };
    let mut seen = HashSet::with_capacity(ids.len());
    for id in ids {
        if !seen.insert(id) {
            return Err(Error::new(ErrorKind::DuplicateId, format!("id {id} is twice in the batch")));
        }
        if ids::find(view, id)?.is_some() {
            return Err(Error::new(ErrorKind::DuplicateId, format!("id {id} is taken; delete it first")));
        }
    }
    Ok(ids.to_vec())
}

/// Writes a row, its record and its live bit, which is off. Its lists are for [`clear_lists`].
pub(crate) fn place(
    txn: &mut Txn<'_>,
    id: &Id,
    vector: &[f32],
    payload: Option<&[u8]>,
    node: NodeId,
    m: usize,
) -> Result<Record> {
    txn.put_row_f32(Kind::Vectors, node as usize, vector)?;
    let level = graph::level_of(node, m);
    let now = txn.view().published();
    let upper = now.upper_count;
    let (id, id_len) = match id {
        Id::Integer(id) => (*id, 0),
        Id::String(text) => (txn.append_bytes(text.as_bytes())?, text.len() as u16),
    };
    let record = Record {
        id,
        id_len,
        payload: payload.map_or(Ok(0), |bytes| txn.append_bytes(bytes))?,
        payload_len: payload.map(|bytes| bytes.len() as u32),
        level,
        upper: if level == 0 { nodes::NO_UPPER } else { upper as u32 },
    };
    let (page, word) = nodes::place(node);
    record.write(&txn.edit(Kind::Nodes, page)?, word);
    let (page, word, mask) = nodes::live_place(node);
    let live = txn.edit(Kind::Live, page)?;
    live.set(word, live.word(word) & !mask);
    txn.publish(Published { upper_count: upper + level as u64, ..now });
    Ok(record)
}

/// Gives a new node empty lists.
pub(crate) fn clear_lists(txn: &mut Txn<'_>, node: NodeId, level: u8, upper: u32) -> Result<()> {
    let (m, m0) = (txn.view().header().m as usize, txn.view().header().m0 as usize);
    let none = |txn: &mut Txn<'_>, kind, slot: usize, len: usize| -> Result<()> {
        let per = neighbors::per_page(len);
        let page = txn.edit(kind, slot / per)?;
        (0..len).for_each(|i| page.set(slot % per * len + i, graph::NONE));
        Ok(())
    };
    none(txn, Kind::Lists, node as usize, m0)?;
    (0..level as usize).try_for_each(|l| none(txn, Kind::Upper, upper as usize + l, m))
}

/// Enters the ids and flips the live bits of nodes `first..`.
pub(crate) fn make_live<'i>(
    txn: &mut Txn<'_>,
    first: NodeId,
    ids: impl ExactSizeIterator<Item = &'i Id> + Clone,
) -> Result<()> {
    for (i, id) in ids.clone().enumerate() {
        if let Err(error) = txn.change_ids(|txn| tree::insert(txn, ids::key(id), first + i as u32)) {
            for (j, id) in ids.take(i).enumerate() {
                txn.change_ids(|txn| tree::remove(txn, ids::key(id), first + j as u32))?;
            }
            return Err(error);
        }
    }
    let mut next_id = txn.view().published().next_id;
    for (i, id) in ids.clone().enumerate() {
        let (page, word, mask) = nodes::live_place(first + i as u32);
        let live = txn.edit(Kind::Live, page)?;
        live.set(word, live.word(word) | mask);
        if let Id::Integer(id) = id {
            next_id = next_id.max(id + 1);
        }
    }
    let now = txn.view().published();
    txn.publish(Published { live_count: now.live_count + ids.len() as u64, next_id, ..now });
    Ok(())
}

impl Inner {
    /// Deletes what is there; ids that are not are passed over.
    pub(crate) fn delete(&self, ids: &[Id]) -> Result<usize> {
        ids.iter().try_for_each(|id| ids::validate(id, self.id_type))?;
        self.store.txn()?.change(|txn| delete(txn, ids))
    }
}

fn delete(txn: &mut Txn<'_>, ids: &[Id]) -> Result<usize> {
    let mut deleted = 0;
    for id in ids {
        let Some(node) = ids::find(txn.view(), id)? else { continue };
        txn.change_ids(|txn| tree::remove(txn, ids::key(id), node))?;
        let (page, word, mask) = nodes::live_place(node);
        let live = txn.edit(Kind::Live, page)?;
        live.set(word, live.word(word) & !mask);
        deleted += 1;
        let now = txn.view().published();
        txn.publish(Published { live_count: now.live_count.saturating_sub(1), ..now });
    }
    Ok(deleted)
}

/// The neighbor lists as the writer sees them.
struct Links<'a, 't> {
    lists: ListsView<'a>,
    txn: &'a mut Txn<'t>,
}

impl Links<'_, '_> {
    fn slot(&self, layer: u8, node: NodeId) -> Option<(Kind, usize, usize)> {
        if layer == 0 {
            let (page, word) = self.lists.base_slot(node);
            return Some((Kind::Lists, page, word));
        }
        let (page, word) = self.lists.upper_slot(self.lists.upper_index(node, layer)?);
        Some((Kind::Upper, page, word))
    }
}

impl graph::Lists for Links<'_, '_> {
    #[inline(always)]
    fn base(&self, node: NodeId) -> &[AtomicU32] {
        self.lists.base(node)
    }

    fn upper(&self, node: NodeId, layer: u8) -> &[AtomicU32] {
        self.lists.upper(node, layer)
    }

    #[inline(always)]
    fn prefetch(&self, node: NodeId) {
        self.lists.prefetch(node);
    }
}

impl graph::LinkWriter for Links<'_, '_> {
    fn prepare(&mut self, targets: &[(u8, NodeId)]) -> Result<()> {
        self.lists.outcome()?;
        for &(layer, node) in targets {
            let (kind, page, _) =
                self.slot(layer, node).ok_or_else(|| Error::corrupt(format!("node {node}")))?;
            self.txn.edit(kind, page)?;
        }
        Ok(())
    }

    fn write(&self, layer: u8, node: NodeId, list: &[NodeId]) {
        let Some((kind, page, word)) = self.slot(layer, node) else { return };
        let Some(page) = self.txn.edited(kind, page) else {
            debug_assert!(false, "prepare() made every target writable");
            return;
        };
        let len = self.lists.degree(layer);
        debug_assert!(list.len() <= len, "a list of {} in a slot of {len}", list.len());
        for i in 0..len {
            page.set(word + i, list.get(i).copied().unwrap_or(graph::NONE));
        }
    }
}
