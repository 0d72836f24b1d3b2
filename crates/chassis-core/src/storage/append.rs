//! Rows of the running transaction: one at a time, bytes of the heap, or many from several threads.
//!
//! Rows are appended, never changed: their bytes are written once, before the count that makes them readable is
//! released. Only the last committed chunk is copied, so that rows can follow those it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::format::Kind;
use crate::storage::mmap::{Region, zeroed};
use crate::storage::objects::Rows;
use crate::storage::txn::Txn;

impl Txn<'_> {
    /// Writes row `n`: the next one, or one this transaction wrote that is not visible yet.
    pub fn put_row_f32(&mut self, kind: Kind, n: usize, values: &[f32]) -> Result<()> {
        let (chunk, offset) = self.writable_row(kind, n, size_of_val(values))?;
        chunk.write_f32(offset, values);
        self.show_row(kind, n)
    }

    /// [`Txn::put_row_f32`] of bytes.
    pub fn put_row(&mut self, kind: Kind, n: usize, bytes: &[u8]) -> Result<()> {
        let (chunk, offset) = self.writable_row(kind, n, bytes.len())?;
        chunk.write(offset, bytes);
        self.show_row(kind, n)
    }

    fn writable_row(&mut self, kind: Kind, n: usize, bytes: usize) -> Result<(Arc<Region>, usize)> {
        let rows = self.rows(kind)?;
        let (len, stride) = (rows.len(), rows.stride());
        if n > len || (n as u64) < rows.units.descriptor.rows || bytes > stride {
            let text = format!("row {n} of {kind:?} cannot be written after {len} rows");
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let (chunk, offset) = rows.place(n);
        Ok((self.writable_chunk(kind, chunk)?, offset))
    }

    fn show_row(&self, kind: Kind, n: usize) -> Result<()> {
        let rows = self.rows(kind)?;
        rows.set_len(rows.len().max(n + 1) as u64);
        Ok(())
    }

    /// Appends bytes to the heap and says where they begin.
    pub fn append_bytes(&mut self, bytes: &[u8]) -> Result<u64> {
        let rows = self.rows(Kind::Heap)?;
        let (begin, chunk_bytes) = (rows.len(), rows.chunk_bytes());
        let mut done = 0;
        while done < bytes.len() {
            let (chunk, offset) = self.rows(Kind::Heap)?.place(begin + done);
            let take = (chunk_bytes - offset).min(bytes.len() - done);
            self.writable_chunk(Kind::Heap, chunk)?.write(offset, &bytes[done..done + take]);
            done += take;
        }
        self.rows(Kind::Heap)?.set_len((begin + bytes.len()) as u64);
        Ok(begin as u64)
    }

    /// Makes room for all rows below `upto` without showing any: [`Txn::row_writer`] fills them,
    /// [`Txn::publish_rows`] shows them. Rows that are not published by then are forgotten by the commit.
    pub fn reserve_rows(&mut self, kind: Kind, upto: usize) -> Result<()> {
        let rows = self.rows(kind)?;
        let (len, capacity) = (rows.len(), rows.units.table().capacity());
        if upto <= len {
            return Ok(());
        }
        let chunks = rows.place(len).0..rows.place(upto - 1).0 + 1;
        self.make_room(kind, chunks.end - 1, capacity)?;
        chunks.into_iter().try_for_each(|chunk| self.writable_chunk(kind, chunk).map(drop))
    }

    /// A writer of the rows that are reserved and not published, for several threads at once.
    pub fn row_writer(&mut self, kind: Kind) -> Result<RowWriter<'_>> {
        let rows = self.rows(kind)?;
        let (first, stride) = (rows.len(), rows.stride());
        let first_chunk = rows.place(first).0;
        let reserved = &self.writer.chunks[kind as usize];
        let chunks: Vec<Arc<Region>> = (first_chunk..).map_while(|n| reserved.get(n).cloned()).collect();
        let per_chunk = rows.chunk_bytes() / stride;
        let end = ((first_chunk + chunks.len()) * per_chunk).max(first);
        let written = zeroed((end - first).div_ceil(64))?;
        Ok(RowWriter { chunks, first, end, per_chunk, stride, written, txn: std::marker::PhantomData })
    }

    /// Shows the rows below `len`. They have to be reserved; what nobody wrote is zero.
    pub fn publish_rows(&mut self, kind: Kind, len: usize) -> Result<()> {
        let rows = self.rows(kind)?;
        if len <= rows.len() {
            return Ok(());
        }
        let mut chunks = rows.place(rows.len()).0..=rows.place(len - 1).0;
        if !chunks.all(|n| self.writer.chunks[kind as usize].get(n).is_some()) {
            let text = format!("{len} rows of {kind:?} are more than were reserved");
            return Err(Error::new(ErrorKind::Internal, text));
        }
        rows.set_len(len as u64);
        Ok(())
    }

    fn rows(&self, kind: Kind) -> Result<&Rows> {
        self.view().rows(kind).ok_or_else(|| Error::corrupt(format!("no {kind:?} object")))
    }

    /// A chunk to append to: new, or a private copy of the committed tail.
    fn writable_chunk(&mut self, kind: Kind, n: usize) -> Result<Arc<Region>> {
        if let Some(chunk) = self.writer.chunks[kind as usize].get(n) {
            return Ok(chunk.clone());
        }
        let rows = self.rows(kind)?;
        let chunk = Arc::new(Region::try_new(rows.chunk_bytes())?);
        let used = rows.committed_bytes(n);
        if used > 0 {
            rows.units.verify_chunk(n, used)?;
            rows.units.touch_chunk(n, used)?;
            let gone = || Error::corrupt(format!("chunk {n} of {kind:?}"));
            chunk.write(0, rows.units.table().slots().bytes(n, 0, used).ok_or_else(gone)?);
        }
        let capacity = rows.units.table().capacity();
        self.make_room(kind, n, capacity)?;
        self.rows(kind)?.units.table().set_chunk(n, &chunk);
        self.writer.chunks[kind as usize].set(n, chunk.clone());
        Ok(chunk)
    }
}

/// Writes rows that no reader can see yet, from any number of threads. Each row is written once: a bit a row sees
/// to it, so that two threads never write the same bytes.
pub struct RowWriter<'t> {
    chunks: Vec<Arc<Region>>,
    /// First row that is not published, and one past the last reserved.
    first: usize,
    end: usize,
    per_chunk: usize,
    stride: usize,
    written: Box<[AtomicU64]>,
    /// The transaction can do nothing else meanwhile, publishing included.
    txn: std::marker::PhantomData<&'t mut ()>,
}

impl RowWriter<'_> {
    /// Rows that can be written.
    pub fn rows(&self) -> std::ops::Range<usize> {
        self.first..self.end
    }

    /// Writes row `n`; an error when it is published, not reserved, or written already.
    pub fn write(&self, n: usize, bytes: &[u8]) -> Result<()> {
        if !self.rows().contains(&n) || bytes.len() > self.stride || !self.claim(n - self.first) {
            let (rows, len) = (self.rows(), bytes.len());
            let text = format!("{len} bytes of row {n} cannot be written: rows {rows:?}, each once");
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let chunk = n / self.per_chunk - self.first / self.per_chunk;
        self.chunks[chunk].write(n % self.per_chunk * self.stride, bytes);
        Ok(())
    }

    /// Whether this is the first call for a row. Nothing is read through the bit, so its order does not matter.
    fn claim(&self, n: usize) -> bool {
        let bit = 1u64 << (n % 64);
        self.written[n / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}
