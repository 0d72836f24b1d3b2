//! The write side of codes: when a model is fitted, and the records of new rows.
//!
//! Codes begin with the first batch, or the first commit, that makes it [`CODES_FROM`] rows. The model is fitted on
//! rows spread evenly over all there are then, and once more each time there are [`REFIT`] times as many, until the
//! sample is full. A fit exchanges the model and the records of all rows in the running transaction: a crash leaves
//! the codes of the last commit, or none.

use crate::codes::{self, Codec, EncodeScratch};
use crate::error::{Error, Result};
use crate::format::Descriptor;
use crate::format::derived::codes::Bits;
use crate::format::derived::entries;
use crate::index::Inner;
use crate::index::coded::{self, Coded, geometry};
use crate::index::options::Quantization;
use crate::index::share::share;
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
        let row = match n.checked_sub(self.count) {
            Some(new) => self.new.get(new * self.dimensions..).unwrap_or(&[]),
            None => kernels::f32s(self.stored.get(n)?),
        };
        row.get(..self.dimensions).ok_or_else(|| Error::corrupt("a short row"))
    }
}

impl Inner {
    /// Writes the records of `new` rows, which will follow those of the index, so that they wait to be shown by
    /// [`show_codes`], and says whether there are any. Before that fits a model when it is time, unless the caller
    /// has none to spend: a fit takes up to a second.
    pub(crate) fn encode(
        &self,
        txn: &mut Txn<'_>,
        new: &[f32],
        may_fit: bool,
        threads: usize,
    ) -> Result<bool> {
        let Some(first) = self.first_stage() else { return Ok(false) };
        let (view, dimensions) = (txn.view().clone(), self.header.dimensions as usize);
        let stored = view.rows(Kind::Vectors).ok_or_else(|| Error::corrupt("no vectors object"))?;
        let count = view.node_count() as usize;
        let source = Source { stored, count, new, dimensions };
        let current = Coded::of(&view, self.metric, count as u32)?.map(|coded| coded.codec);
        let due = match current {
            Some(codec) => is_due(codec, source.len()),
            None => source.len() >= self.codes_from,
        };
        if due && may_fit {
            return self.fit(txn, &source, first, threads);
        }
        let Some(codec) = current else { return Ok(false) };
        self.encode_rows(txn, codec, &source, count, threads).map(|()| true)
    }

    /// Exchanges the model, and with it all records.
    fn fit(&self, txn: &mut Txn<'_>, source: &Source<'_>, first: Bits, threads: usize) -> Result<bool> {
        let rows = codes::sample_rows(source.dimensions).min(source.len());
        let mut sample = Vec::with_capacity(rows * source.dimensions);
        for i in 0..rows {
            sample.extend_from_slice(source.row(i * source.len() / rows)?);
        }
        // One that no record in the file was made with.
        let last = txn.view().rows(Kind::Model).map_or(0, |model| model.descriptor().generation);
        let generation = u32::from(last) % 0xffff + 1;
        let fitted = codes::fit(geometry(self.metric), &sample, source.dimensions, first, generation)?;
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
        self.encode_rows(txn, &codec, source, 0, threads)?;
        show_codes(txn, source.count)?;
        Ok(true)
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

    /// Writes the records of rows `from ..` of the source, on up to `threads` threads.
    fn encode_rows(
        &self,
        txn: &mut Txn<'_>,
        codec: &Codec,
        source: &Source<'_>,
        from: usize,
        threads: usize,
    ) -> Result<()> {
        for bits in [Bits::Four, Bits::Eight] {
            if txn.view().rows(bits.kind()).is_none() || !codec.has(bits) || from == source.len() {
                continue;
            }
            txn.reserve_rows(bits.kind(), source.len())?;
            let writer = &txn.row_writer(bits.kind())?;
            share((source.len() - from).div_ceil(ROWS), threads, |piece| {
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
