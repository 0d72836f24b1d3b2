//! Few, large writes out of many blocks.

use crate::error::Result;
use crate::format::BLOCK;
use crate::storage::backend::File;

/// Bytes handed to the kernel in one write. A longer run is cut where the file's offset is a multiple of them: the cache
/// keeps pages of 2 MiB for writes that cover them whole, and only those can be mapped in one piece.
const WRITE_BYTES: usize = 8 << 20;

/// Joins writes to neighboring blocks.
pub(crate) struct BlockWriter<'a> {
    file: &'a dyn File,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> BlockWriter<'a> {
    pub(crate) fn new(file: &'a dyn File) -> BlockWriter<'a> {
        BlockWriter { file, start: 0, bytes: Vec::new() }
    }

    /// Writes blocks, now or with those that follow.
    pub(crate) fn put(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        let next = self.start + (self.bytes.len() / BLOCK) as u64;
        if block != next {
            self.flush()?;
            self.start = block;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = WRITE_BYTES - (self.start as usize * BLOCK + self.bytes.len()) % WRITE_BYTES;
            let now = rest.split_off(..rest.len().min(room)).unwrap_or(&[]);
            self.bytes.extend_from_slice(now);
            if now.len() == room {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes what was put so far.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if !self.bytes.is_empty() {
            self.file.write_at(&self.bytes, self.start * BLOCK as u64)?;
            self.start += (self.bytes.len() / BLOCK) as u64;
            self.bytes.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::storage::backend::{LockKind, MapView};
    use crate::storage::{MemoryVfs, Vfs};

    /// A file in memory that says where it was written.
    struct Watched {
        file: Arc<dyn File>,
        writes: Mutex<Vec<(u64, usize)>>,
    }

    impl File for Watched {
        fn len(&self) -> Result<u64> {
            self.file.len()
        }
        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
            self.file.read_at(buf, offset)
        }
        fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
            self.writes.lock().unwrap().push((offset, buf.len()));
            self.file.write_at(buf, offset)
        }
        fn allocate(&self, len: u64) -> Result<()> {
            self.file.allocate(len)
        }
        fn barrier(&self) -> Result<()> {
            self.file.barrier()
        }
        fn map(&self, min_len: u64) -> Result<Arc<dyn MapView>> {
            self.file.map(min_len)
        }
        fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool> {
            self.file.try_lock(start, len, kind)
        }
        fn unlock(&self, start: u64, len: u64) -> Result<()> {
            self.file.unlock(start, len)
        }
        fn find_lock(&self, start: u64, len: u64) -> Result<Option<u64>> {
            self.file.find_lock(start, len)
        }
        fn identity(&self) -> Result<(u64, u64)> {
            self.file.identity()
        }
    }

    #[test]
    fn long_runs_are_cut_at_multiples_of_a_write_and_nothing_is_lost() {
        const BLOCKS: u64 = (WRITE_BYTES / BLOCK) as u64;
        let file = MemoryVfs::new(64 << 20).create_new(Path::new("index")).unwrap();
        let file = Watched { file, writes: Mutex::default() };
        let mut out = BlockWriter::new(&file);
        // Units of one and of seven blocks from block 5 on, past two multiples, then a gap, then one over a multiple.
        let mut units: Vec<(u64, u64)> = Vec::new();
        let mut at = 5;
        while at < 2 * BLOCKS + 40 {
            units.push((at, if at.is_multiple_of(3) { 1 } else { 7 }));
            at += units[units.len() - 1].1;
        }
        let end = at;
        units.extend([(end + 9, 1), (3 * BLOCKS - 2, 7)]);
        for &(block, blocks) in &units {
            let bytes: Vec<u8> = (0..blocks).flat_map(|i| [(block + i) as u8; BLOCK]).collect();
            out.put(block, &bytes).unwrap();
        }
        out.flush().unwrap();
        let bytes = |from: u64, to: u64| (from * BLOCK as u64, ((to - from) as usize) * BLOCK);
        let wanted = [
            bytes(5, BLOCKS),
            bytes(BLOCKS, 2 * BLOCKS),
            bytes(2 * BLOCKS, end),
            bytes(end + 9, end + 10),
            bytes(3 * BLOCKS - 2, 3 * BLOCKS),
            bytes(3 * BLOCKS, 3 * BLOCKS + 5),
        ];
        assert_eq!(*file.writes.lock().unwrap(), wanted);
        for (block, blocks) in units {
            for block in block..block + blocks {
                let mut read = [0; BLOCK];
                file.read_at(&mut read, block * BLOCK as u64).unwrap();
                assert_eq!(read, [block as u8; BLOCK], "block {block}");
            }
        }
    }
}
