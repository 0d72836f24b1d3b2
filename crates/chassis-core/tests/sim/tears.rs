//! How a write of one block may end up on the medium: whole, not at all, or torn.

use std::sync::OnceLock;

use chassis_core::internals::format::{BLOCK, meta};

use crate::rng::{Rng, mix};

/// The write never reached the medium: the block holds what it held before.
pub const ABSENT: u8 = 0;
/// All of it did.
pub const WHOLE: u8 = 1;
const PREFIX: u8 = 2;
const SUFFIX: u8 = 9;
const EVEN: u8 = 16;
const ODD: u8 = 17;
pub const ZEROS: u8 = 18;
const GARBAGE_SECTOR: u8 = 19;
pub const GARBAGE: u8 = 27;
const HOLE: u8 = 28;
const BYTES: u8 = 36;

const SECTOR: usize = 512;

/// Where byte-granular tears cut: around every field of a commit record, where a tear could matter most.
fn cuts() -> &'static [usize] {
    static CUTS: OnceLock<Vec<usize>> = OnceLock::new();
    CUTS.get_or_init(|| {
        let mut cuts: Vec<usize> =
            meta::LAYOUT.iter().flat_map(|f| [f.1, f.1 + f.2 / 2, f.1 + f.2]).collect();
        cuts.extend([1, 9, 63, 64, 65, 497, 511]);
        cuts.retain(|c| (1..SECTOR).contains(c));
        cuts.sort_unstable();
        cuts.dedup();
        cuts.truncate(100);
        cuts
    })
}

/// Every tear there is.
pub fn all() -> std::ops::Range<u8> {
    PREFIX..BYTES + 2 * cuts().len() as u8
}

/// The tears of sectors.
pub fn sectors() -> std::ops::Range<u8> {
    PREFIX..BYTES
}

/// The patterns that are combined over all pending commit records: each effect on their first sector once, with
/// every second byte-granular cut.
pub fn for_metas() -> Vec<u8> {
    let n = cuts().len() as u8;
    let mut patterns = vec![ABSENT, WHOLE, PREFIX, SUFFIX + 6, ZEROS, GARBAGE_SECTOR, GARBAGE];
    patterns.extend((0..n).step_by(2).map(|i| BYTES + i));
    patterns.extend((1..n).step_by(3).map(|i| BYTES + n + i));
    patterns
}

/// What a choice means, for reproducers.
pub fn name(choice: u8) -> String {
    let n = cuts().len() as u8;
    match choice {
        ABSENT => "-".into(),
        WHOLE => "whole".into(),
        EVEN => "even sectors".into(),
        ODD => "odd sectors".into(),
        ZEROS => "zeros".into(),
        GARBAGE => "garbage".into(),
        c if c < SUFFIX => format!("first {} sectors", c - PREFIX + 1),
        c if c < EVEN => format!("last {} sectors", c - SUFFIX + 1),
        c if c < GARBAGE => format!("garbage in sector {}", c - GARBAGE_SECTOR),
        c if c < BYTES => format!("all but sector {}", c - HOLE),
        c if c < BYTES + n => format!("first {} bytes", cuts()[(c - BYTES) as usize]),
        c => format!("all but the first {} bytes", cuts()[(c - BYTES - n) as usize]),
    }
}

/// A sector's worth of noise that depends on its place only.
pub fn garbage(seed: u64, out: &mut [u8]) {
    let mut rng = Rng(mix(seed));
    out.chunks_mut(8).for_each(|c| c.copy_from_slice(&rng.next().to_le_bytes()[..c.len()]));
}

/// Applies a write of `data` at `at` within `block`, torn as `choice` says.
pub fn apply(choice: u8, place: u64, block: &mut [u8], at: usize, data: &[u8]) {
    debug_assert!(at + data.len() <= BLOCK, "a unit lies within one block");
    let end = at + data.len();
    // The part of a byte range of the block that this write covers.
    let mut copy = |from: usize, to: usize| {
        let (from, to) = (from.max(at), to.min(end));
        if from < to {
            block[from..to].copy_from_slice(&data[from - at..to - at]);
        }
    };
    let n = cuts().len() as u8;
    match choice {
        ABSENT => {}
        WHOLE => copy(0, BLOCK),
        EVEN | ODD => {
            (0..8)
                .filter(|s| s % 2 == (choice - EVEN) as usize)
                .for_each(|s| copy(s * SECTOR, (s + 1) * SECTOR));
        }
        ZEROS => block[at..end].fill(0),
        GARBAGE => garbage(place, &mut block[at..end]),
        c if c < SUFFIX => copy(0, (c - PREFIX + 1) as usize * SECTOR),
        c if c < EVEN => copy(BLOCK - (c - SUFFIX + 1) as usize * SECTOR, BLOCK),
        c if c < GARBAGE => {
            copy(0, BLOCK);
            let sector = (c - GARBAGE_SECTOR) as usize * SECTOR;
            garbage(place ^ c as u64, &mut block[sector..sector + SECTOR]);
        }
        c if c < BYTES => {
            let hole = (c - HOLE) as usize * SECTOR;
            copy(0, hole);
            copy(hole + SECTOR, BLOCK);
        }
        c if c < BYTES + n => copy(0, cuts()[(c - BYTES) as usize]),
        c => copy(cuts()[(c - BYTES - n) as usize], BLOCK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tear_is_a_mix_of_old_new_and_noise() {
        let new: Vec<u8> = (0..BLOCK).map(|i| 1 + (i % 100) as u8).collect();
        let mut seen = std::collections::HashSet::new();
        for choice in [ABSENT, WHOLE].into_iter().chain(all()) {
            let mut block = vec![200u8; BLOCK];
            apply(choice, 7, &mut block, 0, &new);
            // All but the first or last sector are the longest suffix and prefix.
            let twin = choice == HOLE || choice == HOLE + 7;
            assert_eq!(seen.insert(block), !twin, "{}", name(choice));
        }
        let mut block = vec![200u8; BLOCK];
        apply(PREFIX + 1, 7, &mut block, 600, &new[..1000]);
        assert_eq!((block[599], block[600], block[1023], block[1024]), (200, new[0], new[423], 200));
    }
}
