//! The four copies of commit records: commit N in the slot of its parity and that slot's mirror.
//!
//! The newest copy that is whole wins. Everything it refers to passed a barrier before it was written
//! (invariant I4), so a whole copy can be believed wherever it lies.

use crate::error::{Error, Result};
use crate::format::BLOCK;
use crate::format::meta::{self, Meta};
use crate::storage::backend::{File, MapView};
use crate::storage::mmap::map_bytes;
use crate::storage::tuning::{Bug, OpenTuning};

/// Blocks from a slot to its mirror.
const MIRROR: u64 = 2;

/// The blocks of a commit's record: slot, then mirror.
pub(crate) fn blocks_of(txn: u64, tuning: OpenTuning) -> [u64; 2] {
    let parity = if tuning.has(Bug::NoMetaAlternation) { 0 } else { txn & 1 };
    [1 + parity, 1 + parity + MIRROR]
}

/// The commit to use and the state of its record.
pub(crate) struct Choice {
    pub(crate) meta: Meta,
    /// Whether slot and mirror hold it whole.
    pub(crate) whole: [bool; 2],
    /// Whether the other slot holds something unreadable: a commit that was torn or has rotted.
    pub(crate) other_damaged: bool,
    /// Copies in the other slot that are neither whole nor empty.
    pub(crate) torn: Vec<u64>,
}

/// What replaces a torn copy before the next commit is written there. A torn record is that of a commit which
/// never came to be; the record of the commit that takes its number, torn in turn, could supply the very bytes it
/// lacks and bring it back to life, with its blocks long used for something else.
pub(crate) fn void() -> Vec<u8> {
    let mut block = vec![0u8; BLOCK];
    block[..meta::LEN].fill(0xff);
    block
}

/// Whether a map shows the commit that was read from the file, or a later one.
pub(crate) fn is_shown(map: &dyn MapView, txn: u64, tuning: OpenTuning) -> bool {
    let copy = |block: u64| map_bytes(map, block * BLOCK as u64, meta::LEN);
    let decode = |bytes: &[u8]| Meta::decode(bytes, !tuning.has(Bug::NoMetaChecksum));
    blocks_of(txn, tuning).into_iter().filter_map(copy).filter_map(decode).any(|meta| meta.txn >= txn)
}

/// Reads the four copies and picks the newest commit.
pub(crate) fn choose(file: &dyn File, tuning: OpenTuning) -> Result<Choice> {
    let mut blocks = vec![0u8; 4 * BLOCK];
    file.read_at(&mut blocks, BLOCK as u64)?;
    let copies: Vec<&[u8]> = blocks.chunks_exact(BLOCK).map(|b| &b[..meta::LEN]).collect();
    let decode = |i: usize| {
        let meta = Meta::decode(copies[i], !tuning.has(Bug::NoMetaChecksum))?;
        // A copy in a slot of the wrong parity is a misplaced write.
        blocks_of(meta.txn, tuning).contains(&(i as u64 + 1)).then_some(meta)
    };
    let metas: [Option<Meta>; 4] = std::array::from_fn(decode);
    let newest = metas.iter().flatten().max_by_key(|m| m.txn);
    let newest = *newest.ok_or_else(|| Error::corrupt("no commit record is readable"))?;
    newest.validate()?;
    let at = blocks_of(newest.txn, tuning).map(|block| block as usize - 1);
    let whole = at.map(|i| metas[i] == Some(newest));
    let others = (0..4).filter(|i| !at.contains(i));
    let torn = others.clone().filter(|&i| metas[i].is_none() && copies[i].iter().any(|b| *b != 0));
    let torn: Vec<u64> = torn.map(|i| i as u64 + 1).collect();
    let other_damaged = !torn.is_empty() && others.into_iter().all(|i| metas[i].is_none());
    Ok(Choice { meta: newest, whole, other_damaged, torn })
}
