//! Facts and figures of an index: what it is, what it takes, what codes it has and how well they still fit.

use crate::error::Result;
use crate::index::coded::Coded;
use crate::index::{IdType, Inner, Metric, Quantization, plan};
use crate::kernels;
use crate::storage::View;

/// Facts and figures of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Live records.
    pub count: u64,
    /// Tombstones: deleted records whose space is not given back yet.
    pub deleted: u64,
    /// Dimensions of every vector.
    pub dimensions: usize,
    /// The metric.
    pub metric: Metric,
    /// The type of ids.
    pub id_type: IdType,
    /// Links a new node makes.
    pub m: usize,
    /// Degree bound of layer 0.
    pub m0: usize,
    /// Candidates held while inserting.
    pub ef_construction: usize,
    /// The codes asked for at creation.
    pub quantization: Quantization,
    /// The codes there are; none before 2,048 records.
    pub codes: Option<CodeStats>,
    /// The table searches with a `recall` go by; none before the first commit with 2,048 records.
    pub recall: Option<RecallStats>,
    /// The model stamp, empty when none was given.
    pub model: String,
    /// The caller's own version number, committed with the data.
    pub user_version: u64,
    /// Number of the commit this handle sees.
    pub commit: u64,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Bytes of the file that hold nothing and will be used again.
    pub reclaimable_bytes: u64,
    /// Bytes this handle holds on the heap, about.
    pub heap_bytes: u64,
    /// Bytes of address space mapped; the kernel gives and takes the memory behind them.
    pub mapped_bytes: u64,
    /// Bytes of those that the kernel serves by pages of 2 MiB now, when asked for by [`StatsOptions::huge_pages`]; 0
    /// where it does not say (it does on Linux).
    pub huge_page_bytes: Option<u64>,
    /// The kernel in use: `avx2`, `neon` or `scalar`.
    pub kernel: &'static str,
    /// Whether the newest commit was unreadable at open and the one before it was used.
    pub recovered_previous_commit: bool,
    /// Whether this handle was opened for reading only.
    pub read_only: bool,
}

/// Options of [`stats_with`](VectorIndex::stats_with).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatsOptions {
    /// Also say how much is mapped by pages of 2 MiB. The kernel looks at all memory of the process for it: 1 to 20
    /// milliseconds.
    pub huge_pages: bool,
}

/// The codes that searches walk over.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeStats {
    /// Which of their models this is, counted from 1.
    pub generation: u32,
    /// Kinds of records: 4-bit, 8-bit or both, the one that walks run over first.
    pub kinds: Vec<Quantization>,
    /// Components of a 4-bit record; 0 when there are none.
    pub components: usize,
    /// Whether these are fewer than the dimensions: a projection on where the rows spread most.
    pub projects: bool,
    /// Rows the model was fitted on.
    pub fitted_rows: u64,
    /// Rows of the index then, deleted ones among them.
    pub index_rows: u64,
    /// How much larger the error of estimated distances is for rows added since the fit than for those before, in
    /// relation to the distances of near neighbors: 0 for equally good, 1 for twice the error; about 0 is also a
    /// little below it. Measured on up to 128 rows of each; 0 when fewer than 64 rows came since.
    pub drift: f32,
}

/// The table that says what a recall costs.
#[derive(Debug, Clone, PartialEq)]
pub struct RecallStats {
    /// Rows of the index when it was fitted, deleted ones among them.
    pub fitted_rows: u64,
    /// The highest recall it promises for up to 10 results.
    pub highest: f32,
}

impl Inner {
    /// See [`crate::VectorIndex::stats_with`].
    pub(crate) fn stats(&self, options: &StatsOptions) -> Result<Stats> {
        let (view, header, store) = (self.store.view(), &self.header, self.store.stats()?);
        let count = view.node_count();
        let coded = Coded::of(&view, self.metric, count)?;
        Ok(Stats {
            count: view.live_count(),
            deleted: (view.node_count() as u64).saturating_sub(view.live_count()),
            dimensions: header.dimensions as usize,
            metric: self.metric,
            id_type: self.id_type,
            m: self.params.m,
            m0: self.params.m0,
            ef_construction: self.params.ef_construction,
            quantization: Quantization::from_byte(header.quantization)?,
            codes: coded.map(|coded| self.code_stats(&view, &coded, count)).transpose()?,
            recall: recall_stats(&view, coded.map_or(0, |coded| coded.generation()))?,
            model: header.model.clone(),
            user_version: view.user_version(),
            commit: view.meta().txn,
            file_bytes: store.file_bytes,
            reclaimable_bytes: store.reclaimable_bytes,
            heap_bytes: store.heap_bytes,
            mapped_bytes: store.mapped_bytes,
            huge_page_bytes: options.huge_pages.then(|| self.store.huge_bytes()),
            kernel: kernels::active().name(),
            recovered_previous_commit: store.recovered_previous_commit,
            read_only: store.read_only,
        })
    }

    /// See [`CodeStats`].
    fn code_stats(&self, view: &View, coded: &Coded<'_>, count: u32) -> Result<CodeStats> {
        let header = coded.codec.header();
        let kinds = [(coded.four, Quantization::Bits4), (coded.eight, Quantization::Bits8)];
        Ok(CodeStats {
            generation: header.generation,
            kinds: kinds.into_iter().filter_map(|(rows, kind)| rows.map(|_| kind)).collect(),
            components: if coded.four.is_some() { header.components as usize } else { 0 },
            projects: coded.four.is_some() && coded.codec.projects(),
            fitted_rows: header.fitted_rows,
            index_rows: header.index_rows.max(header.fitted_rows),
            drift: self.drift_of(view, coded, count)?,
        })
    }
}

/// The table for codes of a generation, if there is one.
fn recall_stats(view: &View, generation: u16) -> Result<Option<RecallStats>> {
    let Some(table) = plan::table(view)? else { return Ok(None) };
    let highest = table.highest(generation, plan::K_CLASSES[0]);
    Ok(highest.map(|recall| RecallStats { fitted_rows: table.nodes as u64, highest: recall as f32 / 1000.0 }))
}
