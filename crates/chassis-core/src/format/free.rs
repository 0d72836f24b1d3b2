//! The free list: runs of blocks that no commit from some number on refers to.

use crate::format::checksum::{get_u64, put_u64};
use crate::format::{Field, PAGE_HEADER, PAGE_PAYLOAD};

/// Bytes of a run.
pub const RUN_LEN: usize = 24;
/// Runs a page holds.
pub const RUNS_PER_PAGE: usize = PAGE_PAYLOAD / RUN_LEN;

/// Fields of a run. A run of no blocks ends the list of its page.
pub const LAYOUT: &[Field] = &[("start", 0, 8), ("blocks", 8, 8), ("freed", 16, 8)];

/// Free blocks side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First block.
    pub start: u64,
    /// How many.
    pub blocks: u64,
    /// The commit that stopped referring to them.
    pub freed: u64,
}

impl Run {
    /// One past the last block.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.blocks)
    }
}

/// Appends the runs of a verified page to `runs`.
pub fn decode(page: &[u8], runs: &mut Vec<Run>) {
    let read = |b: &[u8]| Run { start: get_u64(b, 0), blocks: get_u64(b, 8), freed: get_u64(b, 16) };
    let content = page.get(PAGE_HEADER..).unwrap_or(&[]);
    runs.extend(content.chunks_exact(RUN_LEN).map(read).take_while(|run| run.blocks != 0));
}

/// Writes runs into a page, to be signed.
pub fn encode(runs: &[Run], page: &mut [u8]) {
    debug_assert!(runs.len() <= RUNS_PER_PAGE, "{} runs", runs.len());
    for (run, b) in runs.iter().zip(page[PAGE_HEADER..].chunks_exact_mut(RUN_LEN)) {
        put_u64(b, 0, run.start);
        put_u64(b, 8, run.blocks);
        put_u64(b, 16, run.freed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::BLOCK;

    #[test]
    fn round_trip() {
        let runs: Vec<Run> =
            (1..=RUNS_PER_PAGE as u64).map(|i| Run { start: i * 100, blocks: i, freed: i + 7 }).collect();
        for n in [0, 1, RUNS_PER_PAGE - 1, RUNS_PER_PAGE] {
            let mut page = vec![0u8; BLOCK];
            encode(&runs[..n], &mut page);
            let mut back = Vec::new();
            decode(&page, &mut back);
            assert_eq!(back, runs[..n]);
        }
        let mut none = Vec::new();
        decode(&[1, 2, 3], &mut none);
        assert!(none.is_empty());
    }
}
