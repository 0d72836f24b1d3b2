//! The level of a node: drawn from a hash of its number, so that it depends on nothing else.

use super::NodeId;

/// The highest level there is.
pub const MAX_LEVEL: u8 = 31;

/// A number that looks random, the same on every machine.
pub(super) fn hash(value: u64) -> u64 {
    // The finalizer of SplitMix64.
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The highest layer a node is on: one node in `m` is on layer 1, one of these in `m` on layer 2, and so on.
/// Integers only: a logarithm could round differently elsewhere.
pub fn level_of(node: NodeId, m: usize) -> u8 {
    let drawn = hash(node as u64);
    let mut bound = u64::MAX / m as u64;
    let mut level = 0;
    while drawn < bound && level < MAX_LEVEL {
        level += 1;
        bound /= m as u64;
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_one_node_in_m_of_the_layer_below() {
        for m in [2usize, 4, 16, 64] {
            let mut on_layer = [0u32; MAX_LEVEL as usize + 1];
            for node in 0..1_000_000 {
                on_layer[..=level_of(node, m) as usize].iter_mut().for_each(|count| *count += 1);
            }
            for pair in on_layer.windows(2).filter(|pair| pair[0] > 20_000) {
                let share = pair[1] as f64 * m as f64 / pair[0] as f64;
                assert!((0.85..1.15).contains(&share), "m {m}: {pair:?}");
            }
        }
    }

    #[test]
    fn levels_never_change() {
        // Stored files hold these levels: a change here breaks every one of them.
        let level_of_first: Vec<u8> = (0..32).map(|node| level_of(node, 2)).collect();
        assert!(level_of_first.iter().any(|l| *l > 1) && level_of_first.contains(&0), "{level_of_first:?}");
        assert_eq!(hash(0), 0xe220_a839_7b1d_cdaf, "SplitMix64 from state 0, as published");
        assert_eq!(hash(u64::MAX - 0x9e37_79b9_7f4a_7c14), 0, "its only zero");
        assert_eq!(level_of(u32::MAX, 2).max(MAX_LEVEL), MAX_LEVEL);
    }
}
