//! A small seeded generator (SplitMix64): every run draws the same, so that a line of output is a reproducer.

pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// Uniform in -0.5..0.5.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    }
}

/// A bijection without fixed structure.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Hashes a block and its place. Four independent lanes, so that it costs less than copying did.
pub fn hash_block(place: u64, bytes: &[u8]) -> u64 {
    const K: u64 = 0x9fb2_1c65_1e98_df25;
    let mut lanes = [place ^ K, place.rotate_left(17), !place, place.wrapping_mul(K)];
    let word = |b: &[u8]| b.try_into().map_or(0, u64::from_le_bytes);
    for group in bytes.chunks_exact(32) {
        for (lane, b) in lanes.iter_mut().zip(group.chunks_exact(8)) {
            *lane = (*lane ^ word(b)).wrapping_mul(K).rotate_left(29);
        }
    }
    lanes.iter().fold(mix(place), |h, &lane| mix(h ^ lane).wrapping_add(lane))
}
