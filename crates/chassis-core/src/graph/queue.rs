//! The pool of a walk: what was met, nearest first out, with all but the `ef` nearest forgotten.
//!
//! A bucket queue. Distances are mapped linearly to buckets; a bucket chains its entries in no order. An insert
//! moves nothing, whatever `ef` is, where a sorted array moves half of it. The price is that entries of one
//! bucket come out in no order, and that the pool holds somewhat more than `ef`: it ends with a whole bucket.
//!
//! The range of the buckets is a guess from the first distances, corrected as better ones come in: a distance
//! below it widens it downward, and once too many of the `ef` nearest share the last bucket it is fitted to what
//! the pool holds. Each time the entries are sorted in again. So a wrong guess costs time and never a result,
//! and negative distances, infinite ones and clusters far from everything are like any others.

use super::pool::Pool;
use super::{Neighbor, NodeId, replace_largest};

const BUCKETS: usize = 1024;
const WORDS: usize = BUCKETS / 64;
/// End of a bucket's chain.
const END: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    distance: f32,
    node: NodeId,
    /// The next entry of the same bucket.
    next: u32,
    /// Taken out by `pop`; still counts as one of the nearest.
    popped: bool,
}

pub(super) struct Queue {
    entries: Vec<Entry>,
    /// First entry of a bucket whose bit in `open` is set.
    heads: Box<[u32; BUCKETS]>,
    /// Entries of a bucket, popped ones included.
    counts: Box<[u32; BUCKETS]>,
    /// Buckets with an entry that is not popped.
    open: [u64; WORDS],
    /// No word before this one has a bit set.
    first_word: usize,
    ef: usize,
    low: f32,
    scale: f32,
    /// Buckets above this one are forgotten.
    last: usize,
    /// Entries in buckets up to `last`.
    held: usize,
    /// Only distances below this one can enter.
    bound: f32,
    /// `last` when the range was last found to be as good as it gets.
    fitted: usize,
    /// The smallest distances, as many as [`Queue::watch`] asked for: a heap, the largest in front. In order
    /// they took 96 % of the time of a search for 39,000 results.
    best: Vec<f32>,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            entries: Vec::new(),
            heads: Box::new([END; BUCKETS]),
            counts: Box::new([0; BUCKETS]),
            open: [0; WORDS],
            first_word: WORDS,
            ef: 1,
            low: 0.0,
            scale: 1.0,
            last: BUCKETS - 1,
            held: 0,
            bound: f32::INFINITY,
            fitted: BUCKETS,
            best: Vec::new(),
        }
    }
}

impl Queue {
    fn set_range(&mut self, low: f32, width: f32) {
        self.low = low;
        self.scale = BUCKETS as f32 / width.clamp(1e-30, f32::MAX);
        self.fitted = BUCKETS;
    }

    fn empty_buckets(&mut self) {
        self.counts.fill(0);
        self.open.fill(0);
        self.first_word = WORDS;
        self.last = BUCKETS - 1;
        self.held = 0;
        self.bound = f32::INFINITY;
    }

    #[inline(always)]
    fn bucket(&self, distance: f32) -> usize {
        (((distance - self.low) * self.scale) as usize).min(BUCKETS - 1)
    }

    /// Keeps the smallest distances, when asked to.
    #[inline(always)]
    fn note(&mut self, distance: f32) {
        if self.best.first().is_some_and(|largest| distance < *largest) {
            replace_largest(&mut self.best, distance);
        }
    }

    /// Puts an entry into its bucket, and says whether no open entry is in a lower one.
    #[inline(always)]
    fn link(&mut self, index: usize, bucket: usize) -> bool {
        let nearest = lowest(&self.open, self.first_word, bucket);
        let (word, bit) = (bucket / 64 % WORDS, 1u64 << (bucket % 64));
        let entry = &mut self.entries[index];
        if !entry.popped {
            entry.next = if self.open[word] & bit != 0 { self.heads[bucket % BUCKETS] } else { END };
            self.heads[bucket % BUCKETS] = index as u32;
            self.open[word] |= bit;
            self.first_word = self.first_word.min(word);
        }
        self.counts[bucket % BUCKETS] += 1;
        self.held += 1;
        nearest
    }

    fn lower(&mut self) {
        while self.held - (self.counts[self.last % BUCKETS] as usize) >= self.ef {
            self.held -= self.counts[self.last % BUCKETS] as usize;
            self.last -= 1;
        }
        if self.last < BUCKETS - 1 {
            self.bound = self.low + (self.last + 1) as f32 / self.scale;
        }
    }

    /// A distance below the range: widens it to at least twice its size.
    #[cold]
    #[inline(never)]
    fn widen(&mut self, distance: f32) {
        let high = (self.low + BUCKETS as f32 / self.scale).min(f32::MAX);
        let low = (distance - (high - distance)).max(f32::MIN);
        self.rescale(low, high - low);
    }

    /// Fits the range to the entries, with half of it below them, if that gives finer buckets.
    #[cold]
    #[inline(never)]
    fn fit(&mut self) {
        let held = self.entries.iter().map(|entry| entry.distance).filter(|d| self.bucket(*d) <= self.last);
        let (low, high) = held.fold((f32::MAX, f32::MIN), |(low, high), d| (low.min(d), high.max(d)));
        let width = (high - low).min(f32::MAX / 2.0) * 2.0;
        let beyond = self.last == BUCKETS - 1 && high > self.low + BUCKETS as f32 / self.scale;
        if high > low && (beyond || width * self.scale < BUCKETS as f32 / 2.0) {
            self.rescale((high - width).max(f32::MIN), width);
        }
        self.fitted = self.last;
    }

    /// Changes the range and sorts in again what is not forgotten.
    fn rescale(&mut self, low: f32, width: f32) {
        let (old_low, old_scale, old_last) = (self.low, self.scale, self.last);
        self.set_range(low, width);
        self.empty_buckets();
        let mut kept = 0;
        for i in 0..self.entries.len() {
            let entry = self.entries[i];
            let old = (((entry.distance - old_low) * old_scale) as usize).min(BUCKETS - 1);
            if old <= old_last {
                self.entries[kept] = entry;
                let _ = self.link(kept, self.bucket(entry.distance));
                kept += 1;
            }
        }
        self.entries.truncate(kept);
        self.lower();
    }

    /// The bucket the next entry comes from.
    #[inline(always)]
    fn first_bucket(&mut self) -> Option<usize> {
        while self.first_word < WORDS {
            let word = self.open[self.first_word];
            if word != 0 {
                let bucket = self.first_word * 64 + word.trailing_zeros() as usize;
                return (bucket <= self.last).then_some(bucket);
            }
            self.first_word += 1;
        }
        None
    }
}

/// Whether no bucket below this one is open.
#[inline(always)]
fn lowest(open: &[u64; WORDS], first_word: usize, bucket: usize) -> bool {
    let word = bucket / 64;
    match word.cmp(&first_word) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => open[word % WORDS] & ((1 << (bucket % 64)) - 1) == 0,
        // Words before may be empty by now; then this is wrong, and costs a prefetch.
        std::cmp::Ordering::Greater => false,
    }
}

impl Pool for Queue {
    #[inline]
    fn reset(&mut self, ef: usize, smallest: f32, largest: f32) {
        self.entries.clear();
        self.ef = ef.max(1);
        let spread = (largest - smallest).max(largest.abs() / 64.0).min(f32::MAX / 16.0);
        let below = (smallest - spread).max(f32::MIN);
        let low = if smallest >= 0.0 { below.max(0.0) } else { below };
        self.set_range(low, largest.min(f32::MAX / 4.0) + spread - low);
        self.empty_buckets();
        self.best.clear();
    }

    #[inline(always)]
    fn watch(&mut self, k: usize) {
        self.best.clear();
        self.best.resize(k, f32::INFINITY);
    }

    #[inline(always)]
    fn bound(&self) -> f32 {
        self.bound
    }

    #[inline(always)]
    fn push(&mut self, neighbor: Neighbor) -> bool {
        if neighbor.distance < self.low {
            self.widen(neighbor.distance);
        }
        let bucket = self.bucket(neighbor.distance);
        // The last bucket may hold more than `ef` needs, so that its entries need no order, but not without
        // end: among thousands of equal distances a walk would never stop.
        if bucket > self.last || (bucket == self.last && self.held >= 2 * self.ef) {
            return false;
        }
        self.entries.push(Entry {
            distance: neighbor.distance,
            node: neighbor.node,
            next: END,
            popped: false,
        });
        self.note(neighbor.distance);
        self.link(self.entries.len() - 1, bucket)
    }

    #[inline(always)]
    fn trim(&mut self) {
        let last = self.counts[self.last % BUCKETS] as usize;
        if self.held - last >= self.ef {
            self.lower();
        } else if self.held >= self.ef && last > self.ef / 8 + 8 && self.fitted != self.last {
            self.fit();
        }
    }

    #[inline(always)]
    fn peek(&mut self) -> Option<NodeId> {
        let bucket = self.first_bucket()?;
        Some(self.entries[self.heads[bucket % BUCKETS] as usize].node)
    }

    #[inline(always)]
    fn pop(&mut self, limit: f32) -> Option<Neighbor> {
        let bucket = self.first_bucket()?;
        let entry = &mut self.entries[self.heads[bucket % BUCKETS] as usize];
        if entry.distance > limit {
            return None;
        }
        entry.popped = true;
        self.heads[bucket % BUCKETS] = entry.next;
        if entry.next == END {
            self.open[bucket / 64 % WORDS] &= !(1 << (bucket % 64));
        }
        Some(Neighbor { distance: entry.distance, node: entry.node })
    }

    #[inline(always)]
    fn kth(&self, k: usize) -> f32 {
        debug_assert_eq!(k, self.best.len(), "as many as are watched");
        self.best.first().copied().unwrap_or(f32::INFINITY)
    }

    fn nearest(&self, wanted: usize, out: &mut Vec<Neighbor>) {
        out.clear();
        let wanted = wanted.min(self.ef);
        // Whole buckets, as many as hold what is wanted: the rest, often most of them, need no order.
        let (mut upto, mut held) = (0, self.counts[0] as usize);
        while held < wanted && upto < self.last {
            upto += 1;
            held += self.counts[upto % BUCKETS] as usize;
        }
        for entry in &self.entries {
            if self.bucket(entry.distance) <= upto {
                out.push(Neighbor { distance: entry.distance, node: entry.node });
            }
        }
        out.sort_unstable_by_key(|neighbor| neighbor.key());
        out.truncate(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::super::level::hash;
    use super::*;

    fn fill(queue: &mut Queue, distances: &[f32]) {
        for (node, &distance) in distances.iter().enumerate() {
            queue.push(Neighbor { distance, node: node as u32 });
            queue.trim();
        }
    }

    fn nearest(distances: &[f32], ef: usize) -> Vec<Neighbor> {
        let mut all: Vec<Neighbor> = distances
            .iter()
            .enumerate()
            .map(|(i, &distance)| Neighbor { distance, node: i as u32 })
            .collect();
        all.sort();
        all.truncate(ef);
        all
    }

    /// Distances of many shapes: the range is guessed from the first two only.
    fn shapes() -> Vec<Vec<f32>> {
        let random = |i: u64| (hash(i) >> 40) as f32 / (1 << 24) as f32;
        let mut shapes: Vec<Vec<f32>> = vec![
            (0..3_000).map(random).collect(),
            (0..3_000).map(|i| -1_000.0 * random(i)).collect(),
            (0..3_000).map(|i| random(i) * 1e-20).collect(),
            (0..3_000).map(|i| (random(i) - 0.5) * 1e38).collect(),
            (0..3_000).map(|i| 1.0 - i as f32).collect(),
            (0..3_000).map(|i| 1.0 + i as f32 * i as f32).collect(),
            (0..3_000).map(|i| if i % 3 == 0 { f32::MAX } else { f32::MIN / (1.0 + i as f32) }).collect(),
        ];
        shapes.push((0..3_000).map(|i| if i < 100 { 0.0 } else { random(i) }).collect());
        shapes
    }

    #[test]
    fn the_nearest_survive_whatever_the_range() {
        let (mut queue, mut out) = (Queue::default(), Vec::new());
        for (shape, distances) in shapes().iter().enumerate() {
            for ef in [1, 7, 100, 2_000, 5_000] {
                let (a, b) = (distances[0], distances[1]);
                queue.reset(ef, a.min(b), a.max(b));
                fill(&mut queue, distances);
                queue.nearest(ef, &mut out);
                let mut some = Vec::new();
                queue.nearest(ef.div_ceil(3), &mut some);
                assert_eq!(some, out[..ef.div_ceil(3).min(out.len())], "shape {shape} ef {ef}");
                let expected = nearest(distances, ef);
                // Entries of the last bucket may lose to earlier ones of it; nothing nearer ever does.
                let width = 2.0 / queue.scale;
                assert_eq!(out.len(), expected.len(), "shape {shape} ef {ef}");
                for (got, expected) in out.iter().zip(&expected) {
                    let off = got.distance - expected.distance;
                    assert!(
                        off >= 0.0 && (off <= width || off.is_infinite()),
                        "shape {shape} ef {ef}: {got:?} {expected:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn nodes_come_out_once_and_nearest_first_up_to_a_bucket() {
        let mut queue = Queue::default();
        for (shape, distances) in shapes().iter().enumerate() {
            queue.reset(10_000, distances[0].min(distances[1]), distances[0].max(distances[1]));
            fill(&mut queue, distances);
            let mut seen = vec![false; distances.len()];
            let mut last = 0;
            for _ in 0..distances.len() {
                let peeked = queue.peek();
                let node = queue.pop(f32::INFINITY).unwrap().node as usize;
                assert_eq!(peeked, Some(node as u32));
                assert!(!std::mem::replace(&mut seen[node], true), "shape {shape}");
                let bucket = queue.bucket(distances[node]);
                assert!(bucket >= last, "shape {shape}");
                last = bucket;
            }
            assert_eq!((queue.peek(), queue.pop(f32::INFINITY)), (None, None));
        }
    }

    #[test]
    fn popped_entries_stay_popped_when_the_range_widens() {
        let mut queue = Queue::default();
        queue.reset(50, 1.0, 2.0);
        let mut popped = Vec::new();
        for step in 0..40 {
            queue.push(Neighbor { distance: 1.0 - 2f32.powi(step), node: step as u32 });
            queue.trim();
            if step % 2 == 1 {
                popped.extend(queue.pop(f32::INFINITY).map(|n| n.node));
                popped.extend(queue.pop(f32::INFINITY).map(|n| n.node));
            }
        }
        popped.extend(std::iter::from_fn(|| queue.pop(f32::INFINITY).map(|n| n.node)));
        popped.sort_unstable();
        assert_eq!(popped, (0..40).collect::<Vec<_>>());
        let mut out = Vec::new();
        queue.nearest(50, &mut out);
        assert_eq!(out.len(), 40);
    }

    #[test]
    fn equal_distances_do_not_fill_the_pool_without_end() {
        let mut queue = Queue::default();
        for distance in [0.0, 1.0, -5.0, f32::MAX, f32::MIN] {
            queue.reset(20, distance, distance);
            fill(&mut queue, &[distance; 10_000]);
            assert!((20..=40).contains(&queue.entries.len()), "{distance}: {}", queue.entries.len());
        }
    }
}
