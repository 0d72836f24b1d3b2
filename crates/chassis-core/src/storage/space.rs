//! Free blocks, and when they may be used again.
//!
//! Invariant I5: a block freed by commit F is used again by commit U only if U >= F + 2, so that the commit
//! before the newest stays whole, and only if no view of a commit before F is left.

use crate::error::{Error, Result};
use crate::format::free::{self, Run};
use crate::format::{BLOCK, FIRST_DATA_BLOCK, Kind};
use crate::storage::view::View;

/// The free blocks after a commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    runs: Vec<Run>,
    /// One past the last block in use.
    end: u64,
}

impl Space {
    /// The free list of a commit, verified.
    pub(crate) fn load(view: &View) -> Result<Space> {
        let pages = view.pages(Kind::FreeList);
        let mut runs = Vec::new();
        let mut block = vec![0u8; BLOCK];
        for n in 0..pages.units.descriptor.units as usize {
            pages.get(n)?.copy_to(&mut block);
            free::decode(&block, &mut runs);
        }
        let end = view.meta().blocks;
        let mut last = FIRST_DATA_BLOCK;
        for run in &runs {
            if run.start < last || run.end() > end {
                return Err(Error::corrupt(format!("free run {}..{} overlaps", run.start, run.end())));
            }
            last = run.end();
        }
        Ok(Space { runs, end })
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// One past the last block in use.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Leaves the blocks up to `end` to the commits after `txn`: a reader may still use what lies there.
    pub(crate) fn skip_to(&mut self, end: u64, txn: u64) {
        if end > self.end {
            self.runs.push(Run { start: self.end, blocks: end - self.end, freed: txn });
            self.end = end;
        }
    }

    /// Takes `blocks` side by side: the lowest that fit among runs freed by commit `newest` or before, or new ones
    /// at the end.
    pub(crate) fn allocate(&mut self, blocks: u64, newest: Option<u64>) -> u64 {
        let fits = |run: &Run| newest.is_some_and(|n| run.freed <= n) && run.blocks >= blocks;
        match self.runs.iter().position(fits) {
            Some(i) => {
                let start = self.runs[i].start;
                self.runs[i].start += blocks;
                self.runs[i].blocks -= blocks;
                if self.runs[i].blocks == 0 {
                    self.runs.remove(i);
                }
                start
            }
            None => {
                let start = self.end;
                self.end += blocks;
                start
            }
        }
    }

    /// Adds freed runs; neighbors are joined when that delays nobody beyond commit `txn + 1`.
    pub(crate) fn release(&mut self, freed: &[Run], txn: u64) {
        self.runs.extend_from_slice(freed);
        self.runs.sort_unstable_by_key(|run| run.start);
        let mut joined: Vec<Run> = Vec::with_capacity(self.runs.len());
        for run in self.runs.drain(..) {
            match joined.last_mut() {
                Some(last)
                    if last.end() == run.start
                        && (last.freed == run.freed || last.freed.max(run.freed) < txn) =>
                {
                    last.blocks += run.blocks;
                    last.freed = last.freed.max(run.freed);
                }
                _ => joined.push(run),
            }
        }
        self.runs = joined;
    }

    /// Bytes that are free.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.blocks * BLOCK as u64).sum()
    }
}

/// Joins single blocks into runs.
pub(crate) fn runs_of(mut blocks: Vec<(u64, u64)>, freed: u64) -> Vec<Run> {
    blocks.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for (start, blocks) in blocks {
        match runs.last_mut() {
            Some(last) if last.end() == start => last.blocks += blocks,
            _ => runs.push(Run { start, blocks, freed }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_two_commits_later_and_lowest_first() {
        let mut space = Space { runs: Vec::new(), end: 20 };
        space.release(&runs_of(vec![(9, 1), (8, 1), (12, 2)], 5), 5);
        assert_eq!(space.runs.len(), 2);
        assert_eq!(space.allocate(1, Some(4)), 20, "freed by 5, not yet usable");
        assert_eq!(space.allocate(1, None), 21);
        assert_eq!(space.allocate(2, Some(5)), 8);
        assert_eq!(space.allocate(1, Some(5)), 12);
        assert_eq!(space.allocate(2, Some(5)), 22);
        assert_eq!(space.runs, [Run { start: 13, blocks: 1, freed: 5 }]);
    }

    #[test]
    fn neighbors_of_different_age_join_only_when_both_are_old() {
        let run = |start, freed| Run { start, blocks: 1, freed };
        let mut space = Space { runs: vec![run(8, 3)], end: 20 };
        space.release(&[run(9, 6)], 6);
        assert_eq!(space.runs.len(), 2);
        space.release(&[], 7);
        assert_eq!(space.runs, [Run { start: 8, blocks: 2, freed: 6 }]);
    }
}
