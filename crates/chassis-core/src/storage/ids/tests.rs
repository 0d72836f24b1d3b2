//! The tree against a set of pairs, over pages in memory with few slots, failing edits and damaged words.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::format::ids::{KEYS, MAX_DEPTH};
use crate::storage::mmap::private_page;

#[derive(Clone)]
struct Memory {
    pages: Vec<Arc<Page>>,
    root: IdsRoot,
    leaf_slots: usize,
    branch_slots: usize,
    /// Pages made writable since the last call, so that writing any other page is noticed.
    writable: HashSet<u32>,
    /// Edits that succeed before one fails.
    edits_left: usize,
}

impl Memory {
    fn new(leaf_slots: usize, branch_slots: usize) -> Memory {
        let root = IdsRoot { root: 0, depth: 0, count: 0 };
        Memory {
            pages: Vec::new(),
            root,
            leaf_slots,
            branch_slots,
            writable: HashSet::new(),
            edits_left: usize::MAX,
        }
    }

    fn insert(&mut self, pair: Pair) -> Result<()> {
        self.writable.clear();
        edit::insert(self, pair)
    }

    fn remove(&mut self, pair: Pair) -> Result<()> {
        self.writable.clear();
        edit::remove(self, pair)
    }

    fn verify(&self) -> Result<u64> {
        cursor::verify(self)
    }

    /// All words, and the root. Pages past `pages` are left out.
    fn state(&self, pages: usize) -> (Vec<u32>, IdsRoot) {
        let words = self.pages[..pages].iter().flat_map(|p| (0..Page::WORDS).map(|i| p.word(i)));
        (words.collect(), self.root)
    }

    /// A copy that shares no page.
    fn deep_clone(&self) -> Memory {
        let pages = self.pages.iter().map(|p| private_page(Some(p))).collect();
        Memory { pages, ..self.clone() }
    }

    fn filled(leaf_slots: usize, branch_slots: usize, pairs: u32, seed: u64) -> Memory {
        let (mut tree, mut rng) = (Memory::new(leaf_slots, branch_slots), Rng(seed));
        for node in 0..pairs {
            tree.insert((rng.next() % (pairs as u64 * 4), node)).unwrap();
        }
        tree
    }
}

impl ReadPages for Memory {
    fn page(&self, number: u32) -> Result<&Page> {
        self.pages
            .get(number as usize)
            .map(|p| &**p)
            .ok_or_else(|| Error::corrupt(format!("no page {number}")))
    }
    fn page_count(&self) -> usize {
        self.pages.len()
    }
    fn root(&self) -> IdsRoot {
        self.root
    }
    fn slots(&self, level: u32) -> usize {
        if level == 0 { self.leaf_slots } else { self.branch_slots }
    }
}

impl EditPages for Memory {
    fn edit(&mut self, number: u32) -> Result<()> {
        if self.edits_left == 0 {
            return Err(Error::new(ErrorKind::Io, "injected"));
        }
        self.edits_left -= 1;
        assert!(number as usize <= self.pages.len(), "page {number} of {}", self.pages.len());
        if number as usize == self.pages.len() {
            self.pages.push(private_page(None));
        }
        self.writable.insert(number);
        Ok(())
    }
    fn edited(&self, number: u32) -> Option<PageMut<'_>> {
        self.writable.contains(&number).then(|| PageMut::new(self.pages[number as usize].clone()))
    }
    fn set_root(&mut self, root: IdsRoot) {
        self.root = root;
    }
}

struct Rng(u64);

impl Rng {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn compare(tree: &Memory, model: &BTreeSet<Pair>, key: u64) {
    let expected: Vec<u32> = model.range((key, 0)..=(key, u32::MAX)).map(|p| p.1).collect();
    assert_eq!(all(tree, key).unwrap(), expected, "key {key}");
    assert_eq!(first(tree, key).unwrap(), expected.first().copied(), "key {key}");
    let from = (key, 3);
    let expected: Vec<Pair> = model.range(from..).take(20).copied().collect();
    assert_eq!(range(tree, from, 20).unwrap(), expected, "from key {key}");
}

/// 100,000 operations in all, over few keys, so that most have several nodes, and over many.
#[test]
fn random_operations_agree_with_a_set() {
    for (leaf, branch, keys, seed) in [(4, 5, 60, 1), (8, 8, 300, 2), (7, 3, 40, 3), (334, 251, 1 << 40, 4)] {
        let (mut tree, mut model, mut rng) = (Memory::new(leaf, branch), BTreeSet::new(), Rng(seed));
        for step in 0..25_000 {
            // Phases of growth and of decay, so that leaves become empty and fill again.
            let growing = step / 2_000 % 2 == 0;
            let pair = (rng.below(keys), rng.below(8) as u32);
            if rng.below(10) < if growing { 7 } else { 3 } {
                let outcome = tree.insert(pair);
                assert_eq!(outcome.is_ok(), model.insert(pair), "step {step}: insert {pair:?}");
            } else {
                let stored = model.range(pair..).next().copied().unwrap_or(pair);
                assert_eq!(
                    tree.remove(stored).is_ok(),
                    model.remove(&stored),
                    "step {step}: remove {stored:?}"
                );
            }
            compare(&tree, &model, rng.below(keys));
            if step % 500 == 0 {
                assert_eq!(tree.verify().unwrap(), model.len() as u64, "step {step}");
            }
        }
        assert_eq!(tree.verify().unwrap(), model.len() as u64);
        assert_eq!(range(&tree, (0, 0), usize::MAX).unwrap(), model.iter().copied().collect::<Vec<_>>());
        for pair in model {
            tree.remove(pair).unwrap();
        }
        assert_eq!((tree.verify().unwrap(), tree.root.count), (0, 0));
        let pages = tree.pages.len();
        for key in 0..leaf.min(branch) as u64 {
            tree.insert((key, 0)).unwrap();
        }
        assert!(tree.pages.len() <= pages + 1, "empty leaves are used again");
    }
}

#[test]
fn ascending_keys_fill_every_page() {
    let mut tree = Memory::new(334, 251);
    for key in 0..334 * 1_000u64 {
        tree.insert((key, key as u32)).unwrap();
    }
    assert_eq!(tree.pages.len(), 1_000 + 4 + 1, "1,000 full leaves, 4 branches, a root");
    assert_eq!((tree.root.depth, tree.verify().unwrap()), (3, 334_000));
    assert_eq!(first(&tree, 200_000).unwrap(), Some(200_000));
    assert_eq!(first(&tree, 334_000).unwrap(), None);
    // A duplicate in the middle splits a full leaf in half and the full branch above it.
    tree.insert((1_000, u32::MAX)).unwrap();
    assert_eq!((tree.verify().unwrap(), all(&tree, 1_000).unwrap()), (334_001, vec![1_000, u32::MAX]));
}

#[test]
fn extreme_keys_and_an_empty_tree() {
    let mut tree = Memory::new(4, 4);
    assert_eq!((first(&tree, 0).unwrap(), all(&tree, 7).unwrap(), tree.verify().unwrap()), (None, vec![], 0));
    assert_eq!(tree.remove((1, 1)).unwrap_err().kind(), ErrorKind::Corrupt);
    let pairs = [(0, 0), (0, u32::MAX), (u64::MAX, 0), (u64::MAX, u32::MAX), (1, 0), (u64::MAX - 1, 5)];
    for (i, pair) in pairs.into_iter().enumerate() {
        tree.insert(pair).unwrap();
        assert_eq!(tree.insert(pair).unwrap_err().kind(), ErrorKind::Corrupt, "twice");
        assert_eq!(tree.verify().unwrap(), i as u64 + 1);
    }
    assert_eq!(all(&tree, u64::MAX).unwrap(), [0, u32::MAX]);
    assert_eq!(range(&tree, (u64::MAX, 1), 9).unwrap(), [(u64::MAX, u32::MAX)]);
}

#[test]
fn a_full_tree_refuses_and_stays_sound() {
    let mut tree = Memory::new(2, 2);
    let mut rng = Rng(5);
    let error = loop {
        let state = (tree.state(tree.pages.len()), tree.pages.len());
        if let Err(error) = tree.insert((rng.next(), 0)) {
            assert_eq!((tree.state(tree.pages.len()), tree.pages.len()), state);
            break error;
        }
    };
    assert_eq!((error.kind(), tree.root.depth), (ErrorKind::CapacityExceeded, MAX_DEPTH));
    assert_eq!(tree.verify().unwrap(), tree.root.count);
}

#[test]
fn a_failed_edit_changes_nothing() {
    let (mut tree, mut rng, mut failures) = (Memory::filled(4, 4, 200, 6), Rng(7), 0);
    for node in 1_000..1_200 {
        let pair = (rng.below(1_000), node);
        for allowed in 0.. {
            let (pages, mut attempt) = (tree.pages.len(), tree.deep_clone());
            attempt.edits_left = allowed;
            let outcome = attempt.insert(pair);
            if outcome.is_ok() {
                break;
            }
            failures += 1;
            assert_eq!(attempt.state(pages), tree.state(pages), "{allowed} edits");
            assert_eq!(attempt.verify().unwrap(), tree.root.count);
            // The same call works once edits do, beside pages appended for nothing.
            attempt.edits_left = usize::MAX;
            attempt.insert(pair).unwrap();
            assert_eq!(attempt.verify().unwrap(), tree.root.count + 1);
        }
        tree.insert(pair).unwrap();
        let mut attempt = tree.deep_clone();
        attempt.edits_left = 0;
        assert!(attempt.remove(pair).is_err());
        assert_eq!(attempt.state(tree.pages.len()), tree.state(tree.pages.len()));
        if node % 3 == 0 {
            tree.remove(pair).unwrap();
        }
    }
    assert!(failures > 300, "{failures} failures were injected");
}

/// Every call on a damaged tree comes back, with a value or an error, and verifying notices a wrong order.
#[test]
fn damaged_pages_never_panic_or_hang() {
    let (good, mut rng, mut noticed) = (Memory::filled(6, 6, 400, 8), Rng(9), 0);
    assert_eq!(good.verify().unwrap(), 400);
    for round in 0..3_000 {
        let mut tree = good.deep_clone();
        for _ in 0..1 + rng.below(4) {
            let page = PageMut::new(tree.pages[rng.below(tree.pages.len() as u64) as usize].clone());
            let word = if rng.below(2) == 0 { rng.below(40) } else { rng.below(Page::WORDS as u64) };
            let value = [rng.next() as u32, rng.below(300) as u32, 0, u32::MAX][rng.below(4) as usize];
            page.set(word as usize, value);
        }
        if rng.below(4) == 0 {
            let limit = tree.pages.len() as u64 + 3;
            tree.root =
                IdsRoot { root: rng.below(limit) as u32, depth: rng.below(10) as u32, count: rng.next() };
        }
        noticed += tree.verify().is_err() as usize;
        for _ in 0..5 {
            let pair = (rng.below(2_000), rng.below(500) as u32);
            let _ = (first(&tree, pair.0), all(&tree, pair.0), range(&tree, pair, 1_000));
            let _ = if round % 2 == 0 { tree.insert(pair) } else { tree.remove(pair) };
        }
        let _ = tree.verify();
    }
    assert!(noticed > 1_000, "{noticed} of 3,000 were noticed");
}

/// Branches that all lead to the same pages would make a walk exponential.
#[test]
fn circles_are_bounded() {
    let mut tree = Memory::new(6, 6);
    for level in 0..8u32 {
        tree.edit(level).unwrap();
        let node = node::NodeMut::new(tree.edited(level).unwrap(), level);
        for slot in 0..if level == 0 { 0 } else { 6 } {
            node.set_slot(slot, node::Slot { pair: (slot as u64, 0), child: level - 1 });
        }
        node.set_count(if level == 0 { 0 } else { 6 });
    }
    tree.root = IdsRoot { root: 7, depth: 8, count: 0 };
    assert_eq!(tree.verify().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(range(&tree, (0, 0), 10).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(all(&tree, 3).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Words past the slots in use are zero, whatever was there before.
#[test]
fn unused_slots_are_zero() {
    let (mut tree, mut rng) = (Memory::filled(5, 5, 300, 10), Rng(11));
    for pair in range(&tree, (0, 0), usize::MAX).unwrap() {
        if rng.below(2) == 0 {
            tree.remove(pair).unwrap();
        }
    }
    for page in &tree.pages {
        let (count, level) = (page.word(0) as usize, page.word(1));
        let keys = KEYS / 4 + count * 2..KEYS / 4 + 10;
        assert!(keys.into_iter().all(|i| page.word(i) == 0));
        assert!(level < 8 && count <= 5);
    }
}
