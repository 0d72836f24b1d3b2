//! The write side of codes: when a model is fitted, and the records of new rows.
//!
//! Codes begin with the first batch, or the first commit, that makes it [`CODES_FROM`] rows. The model is fitted on
//! rows spread evenly over all there are then, and once more each time there are [`REFIT`] times as many, until the
//! sample is full. A fit exchanges the model and the records of all rows in the running transaction: a crash leaves
//! the codes of the last commit, or none. One that is cancelled leaves the codes there were.

use crate::codes::{self, Codec, EncodeScratch, Sample};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Descriptor;
use crate::format::derived::codes::Bits;
use crate::format::derived::entries;
use crate::index::coded::{self, Coded, geometry};
use crate::index::options::Quantization;
use crate::index::share::share;
use crate::index::{Inner, nodes};
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::{Kind, RowWriter, Rows, Txn};

/// Rows from which an index has codes: for fewer a walk over the vectors is as good.
pub(crate) const CODES_FROM: usize = 2_048;
/// A model is fitted anew when there are so many times as many rows as it was fitted on.
const REFIT: usize = 8;
/// `auto` makes codes from so many dimensions: below, a vector is hardly longer than its record.
const AUTO_FROM: usize = 64;
/// Nodes of the entry block.
const ENTRIES: usize = 32;
/// Rows a thread encodes at a time.
const ROWS: usize = 64;

/// What may be spent on codes, and until when.
#[derive(Clone, Copy)]
pub(crate) struct Budget<'a> {
    /// Whether a model may be fitted, which takes up to a second.
    pub(crate) may_fit: bool,
    pub(crate) threads: usize,
    /// Asked all the time; the call ends with `Cancelled` when it says no.
    pub(crate) go_on: &'a (dyn Fn() -> bool + Sync),
}

/// Rows of vectors that may be half in the index.
struct Source<'a> {
    stored: &'a Rows,
    /// Nodes in the index.
    count: usize,
    /// Rows that follow them.
    new: &'a [f32],
    dimensions: usize,
}

impl<'a> Source<'a> {
    fn len(&self) -> usize {
        self.count + self.new.len() / self.dimensions
    }

    fn row(&self, n: usize) -> Result<&'a [f32]> {
        let Some(new) = n.checked_sub(self.count) else {
            return nodes::vector_in(self.stored.get(n)?, self.dimensions);
        };
        let row = self.new.get(new * self.dimensions..).and_then(|rest| rest.get(..self.dimensions));
        row.ok_or_else(|| Error::corrupt("a short row"))
    }
}

impl Inner {
    /// Writes the records of `new` rows, which will follow those of the index, so that they wait to be shown by
    /// [`show_codes`], and says whether there are any. Before that fits a model when it is time. When it is told to
    /// stop, the transaction is as it was.
    pub(crate) fn encode(&self, txn: &mut Txn<'_>, new: &[f32], budget: Budget<'_>) -> Result<bool> {
        let Some(first) = self.first_stage() else { return Ok(false) };
        let (view, dimensions) = (txn.view().clone(), self.header.dimensions as usize);
        let stored = nodes::vectors(&view)?;
        let count = view.node_count() as usize;
        let source = Source { stored, count, new, dimensions };
        let current = Coded::of(&view, self.metric, count as u32)?.map(|coded| coded.codec);
        let due = match current {
            Some(codec) => is_due(codec, source.len()),
            None => source.len() >= self.codes_from,
        };
        if due && budget.may_fit {
            let before = txn.derived();
            match self.fit(txn, &source, first, budget) {
                Ok(true) => return Ok(true),
                // No model fits these rows, and nothing was changed: the one there is goes on.
                Ok(false) => {}
                // A model without its records is of no use, and the old records are of none without theirs.
                Err(error) => {
                    txn.put_back(before);
                    return Err(error);
                }
            }
        }
        let Some(codec) = current else { return Ok(false) };
        self.encode_rows(txn, codec, &source, count, budget).map(|()| true)
    }

    /// Fits a model to the first `count` stored rows, nodes or not yet, when an index of so many has one, and shows
    /// their records.
    pub(crate) fn encode_stored(&self, txn: &mut Txn<'_>, count: usize, budget: Budget<'_>) -> Result<()> {
        let Some(first) = self.first_stage().filter(|_| count >= self.codes_from) else { return Ok(()) };
        let (view, dimensions) = (txn.view().clone(), self.header.dimensions as usize);
        let stored = nodes::vectors(&view)?;
        self.fit(txn, &Source { stored, count, new: &[], dimensions }, first, budget).map(drop)
    }

    /// Exchanges the model, and with it all records.
    fn fit(&self, txn: &mut Txn<'_>, source: &Source<'_>, first: Bits, budget: Budget<'_>) -> Result<bool> {
        let rows = codes::sample_rows(source.dimensions).min(source.len());
        let mut sample = Vec::with_capacity(rows * source.dimensions);
        for i in 0..rows {
            sample.extend_from_slice(source.row(i * source.len() / rows)?);
        }
        // One that no record in the file was made with.
        let last = txn.view().rows(Kind::Model).map_or(0, |model| model.descriptor().generation);
        let generation = u32::from(last) % 0xffff + 1;
        let sample = Sample { rows: &sample, dimensions: source.dimensions, of: source.len() };
        let fitted = codes::fit(geometry(self.metric), sample, first, generation, budget.go_on)?;
        let Some(codec) = fitted else { return Ok(false) };
        put_model(txn, &codec, self.header.chunk_bytes)?;
        let four = codec.has(Bits::Four);
        let eight = !four || (self.is_auto() && codec.projects());
        for (bits, is_wanted) in [(Bits::Four, four), (Bits::Eight, eight)] {
            match is_wanted {
                true => txn.replace(codec.layout(bits).descriptor(self.header.chunk_bytes))?,
                false => txn.drop_object(bits.kind())?,
            }
        }
        txn.drop_object(Kind::EntryBlock)?;
        self.encode_rows(txn, &codec, source, 0, budget)?;
        show_codes(txn, source.count)?;
        Ok(true)
    }

    /// After a call that failed with rows it did not add: a model that was drawn from them counts the rows there are,
    /// or goes, with its codes, when there are too few for one.
    pub(crate) fn forget_unadded(&self, txn: &mut Txn<'_>) -> Result<()> {
        let view = txn.view().clone();
        let count = view.node_count() as u64;
        let Some(codec) = coded::codec(&view, self.metric)? else { return Ok(()) };
        let header = *codec.header();
        if header.index_rows <= count {
            return Ok(());
        }
        if count < self.codes_from as u64 {
            let kinds = [Kind::EntryBlock, Kind::Codes4, Kind::Codes8, Kind::Model];
            return kinds.into_iter().try_for_each(|kind| txn.drop_object(kind));
        }
        // The sample is spread evenly over the rows it was drawn from.
        let fitted = header.fitted_rows.saturating_mul(count) / header.index_rows;
        put_model(txn, &codec.counting(fitted, count)?, self.header.chunk_bytes)
    }

    /// What walks of this index should run over, if over codes.
    fn first_stage(&self) -> Option<Bits> {
        match Quantization::from_byte(self.header.quantization).ok()? {
            Quantization::None => None,
            Quantization::Auto if (self.header.dimensions as usize) < AUTO_FROM => None,
            Quantization::Auto | Quantization::Bits4 => Some(Bits::Four),
            Quantization::Bits8 => Some(Bits::Eight),
        }
    }

    fn is_auto(&self) -> bool {
        self.header.quantization == Quantization::Auto.to_byte()
    }

    /// Writes the records of rows `from ..` of the source.
    fn encode_rows(
        &self,
        txn: &mut Txn<'_>,
        codec: &Codec,
        source: &Source<'_>,
        from: usize,
        budget: Budget<'_>,
    ) -> Result<()> {
        for bits in [Bits::Four, Bits::Eight] {
            if txn.view().rows(bits.kind()).is_none() || !codec.has(bits) || from == source.len() {
                continue;
            }
            txn.reserve_rows(bits.kind(), source.len())?;
            let writer = &txn.row_writer(bits.kind())?;
            share((source.len() - from).div_ceil(ROWS), budget.threads, |piece| {
                if !(budget.go_on)() {
                    return Err(Error::new(ErrorKind::Cancelled, "cancelled while rows were encoded"));
                }
                let first = from + piece * ROWS;
                let rows = first..source.len().min(first + ROWS);
                kernels::dispatch(Encode { codec, bits, source, writer, rows })
            })?;
        }
        Ok(())
    }

    /// Writes the entry block when there is none for these codes, or the index has grown out of it.
    pub(crate) fn renew_entries(&self, txn: &mut Txn<'_>, always: bool) -> Result<()> {
        let view = txn.view().clone();
        let count = view.node_count();
        let Some(coded) = Coded::of(&view, self.metric, count)? else { return Ok(()) };
        let (layout, Some(rows)) = (coded.first_layout(), coded.four.or(coded.eight)) else { return Ok(()) };
        let current = coded::entry_block(&view, &layout, count)?;
        let last = current.and_then(|block| block.nodes.iter().max());
        if !always && last.is_some_and(|last| count / 2 <= *last) {
            return Ok(());
        }
        let entries = ENTRIES.min(count as usize);
        let nodes: Vec<u32> = (0..entries).map(|i| (i * count as usize / entries) as u32).collect();
        let mut records = Vec::new();
        for node in &nodes {
            records.extend_from_slice(rows.get(*node as usize)?);
        }
        let bytes = entries::encode(&nodes, &records, layout.stride, layout.generation)?;
        let stride = bytes.len() as u32;
        txn.replace(Descriptor {
            generation: layout.generation,
            ..Descriptor::rows(Kind::EntryBlock, stride, stride)
        })?;
        txn.put_row(Kind::EntryBlock, 0, &bytes)
    }
}

/// Whether a model should be fitted anew for so many rows.
fn is_due(codec: &Codec, rows: usize) -> bool {
    let header = codec.header();
    let fitted = header.fitted_rows as usize;
    fitted < codes::sample_rows(header.dimensions as usize) && rows >= fitted.saturating_mul(REFIT)
}

/// Writes a model; searches see all of it or nothing.
fn put_model(txn: &mut Txn<'_>, codec: &Codec, chunk_bytes: u32) -> Result<()> {
    let (bytes, header) = (codec.to_bytes()?, codec.header());
    let stride = header.stride();
    txn.replace(Descriptor {
        generation: header.generation as u16,
        dimension: header.dimensions,
        ..Descriptor::rows(Kind::Model, stride as u32, chunk_bytes)
    })?;
    txn.reserve_rows(Kind::Model, header.rows())?;
    let writer = txn.row_writer(Kind::Model)?;
    bytes.chunks(stride).enumerate().try_for_each(|(n, row)| writer.write(n, row))?;
    drop(writer);
    txn.publish_rows(Kind::Model, header.rows())
}

/// Shows the records of the first `count` nodes.
pub(crate) fn show_codes(txn: &mut Txn<'_>, count: usize) -> Result<()> {
    for bits in [Bits::Four, Bits::Eight] {
        if txn.view().rows(bits.kind()).is_some() {
            txn.publish_rows(bits.kind(), count)?;
        }
    }
    Ok(())
}

/// The records of a few rows.
struct Encode<'a> {
    codec: &'a Codec,
    bits: Bits,
    source: &'a Source<'a>,
    writer: &'a RowWriter<'a>,
    rows: std::ops::Range<usize>,
}

impl WithLanes for Encode<'_> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> Result<()> {
        let Encode { codec, bits, source, writer, rows } = self;
        let mut scratch = EncodeScratch::default();
        let mut record = vec![0u8; codec.layout(bits).stride as usize];
        for n in rows {
            if n < source.count {
                source.stored.read_on(n, 1);
            }
            codec.encode(lanes, source.row(n)?, bits, &mut scratch, &mut record);
            writer.write(n, &record)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::index::{BatchOptions, CheckLevel, OpenOptions, SearchOptions, VectorIndex};
    use crate::storage::{MemoryVfs, OpenTuning, Vfs};

    const DIMENSIONS: usize = 300;

    /// Rows of rank eight, so that a model projects.
    fn rows(rows: std::ops::Range<usize>) -> Vec<f32> {
        let value = |i: usize| {
            let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let component = |n: usize, d: usize| {
            (0..8).map(|i| value(n * 8 + i) * value(d * 8 + i + 77)).sum::<f32>() + 0.1 * value(n * 301 + d)
        };
        rows.flat_map(|n| (0..DIMENSIONS).map(move |d| component(n, d))).collect()
    }

    /// All that a batch or a commit looks at.
    fn state(txn: &Txn<'_>) -> impl PartialEq + std::fmt::Debug + use<> {
        let view = txn.view();
        let records = [Kind::Model, Kind::Codes4, Kind::Codes8, Kind::EntryBlock].map(|kind| {
            let rows = view.rows(kind)?;
            let read = |n| crc32c::crc32c(rows.get(n).expect("a row"));
            Some((rows.descriptor().generation, (0..rows.len()).map(read).collect::<Vec<u32>>()))
        });
        (records, view.published(), txn.is_changed(), txn.writer.replaced.clone())
    }

    #[test]
    fn a_fit_that_is_stopped_anywhere_leaves_what_there_was() {
        let vfs: Arc<dyn Vfs> = MemoryVfs::new(64 << 20);
        let tuning = OpenTuning { codes_from: Some(100), ..OpenTuning::default() };
        let options = OpenOptions { dimensions: Some(DIMENSIONS), ..OpenOptions::default() };
        let index = VectorIndex::open_with(&vfs, Path::new("index"), &options, &tuning).expect("a new index");
        // The first model; a committed one that is due again; one of this transaction that is due again.
        for (there, commit) in [(0..90, true), (90..120, true), (120..1_100, false)] {
            index.add_batch(&rows(there), &BatchOptions::default()).expect("rows");
            if commit {
                index.commit().expect("a commit");
            }
            let inner = index.inner().expect("it is open");
            let mut txn = inner.store.txn().expect("a transaction");
            let count = txn.view().node_count() as usize;
            let new = rows(count..count * 8);
            let looks = AtomicUsize::new(0);
            let stopped_at = |stop: usize| {
                looks.store(0, Ordering::Relaxed);
                move |looks: &AtomicUsize| looks.fetch_add(1, Ordering::Relaxed) < stop
            };
            let mut run = |stop: usize| {
                let go_on = stopped_at(stop);
                let budget = Budget { may_fit: true, threads: 2, go_on: &|| go_on(&looks) };
                let before = (state(&txn), txn.derived());
                let outcome = inner.encode(&mut txn, &new, budget);
                if outcome.is_ok() {
                    assert!(before.0 != state(&txn), "a fit changes something");
                    txn.put_back(before.1);
                }
                assert_eq!(before.0, state(&txn), "{count} rows, stopped at look {stop}");
                outcome.map_err(|e| e.kind())
            };
            assert_eq!(run(usize::MAX), Ok(true));
            let all = looks.load(Ordering::Relaxed);
            assert!(all > DIMENSIONS, "{all} looks: for each row of a matrix, and every 64 rows");
            for stop in [0, 1, DIMENSIONS, all / 2, all - 3, all - 1] {
                assert_eq!(run(stop), Err(ErrorKind::Cancelled));
            }
            drop(txn);
            assert!(index.check(CheckLevel::Full).expect("a check").is_ok());
        }
        index.commit().expect("a commit");
        index.add_batch(&rows(1_100..1_300), &BatchOptions::default()).expect("rows");
        index.commit().expect("a commit");
        let hits = index.search(&rows(1_250..1_251), &SearchOptions::k(1)).expect("a search");
        assert_eq!(hits.ids, [1_250]);
        assert!(index.check(CheckLevel::Full).expect("a check").is_ok());
    }
}
