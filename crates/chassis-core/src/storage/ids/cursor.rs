//! Finding a place in the tree, walking on from it, and proving the whole tree. Nothing recurses: a path is an
//! array with one step a level.

use crate::error::{Error, Result};
use crate::format::ids::MAX_DEPTH;
use crate::storage::ids::node::{Node, damaged};
use crate::storage::ids::{Pair, ReadPages};

/// A page and the slot taken in it.
#[derive(Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) page: u32,
    pub(super) slot: usize,
}

/// Steps from the root down; `steps[level]` belongs to a page of that level.
#[derive(Clone, Copy, Default)]
pub(super) struct Path {
    pub(super) steps: [Step; MAX_DEPTH as usize],
    /// Levels of the tree, 0 when it is empty.
    pub(super) depth: u32,
}

impl Path {
    /// The way to the leaf that `pair` belongs into, and the first slot there that is not below it.
    pub(super) fn find(pages: &impl ReadPages, pair: Pair) -> Result<Path> {
        let root = pages.root();
        if root.depth > MAX_DEPTH {
            return Err(Error::corrupt(format!("the id tree states {} levels", root.depth)));
        }
        let mut path = Path { depth: root.depth, ..Path::default() };
        let mut page = root.root;
        for level in (0..root.depth).rev() {
            let node = Node::read(pages, page, level)?;
            let slot = if level == 0 { node.lower_bound(pair) } else { node.child_for(pair) };
            path.steps[level as usize] = Step { page, slot };
            if level > 0 {
                page = node.child(slot);
            }
        }
        Ok(path)
    }
}

/// A place between two pairs.
pub(super) struct Cursor<'a, P: ReadPages> {
    pages: &'a P,
    path: Path,
    /// Leaves that may still be entered. A sound tree enters each page once; a damaged one could lead in circles.
    left: usize,
}

impl<'a, P: ReadPages> Cursor<'a, P> {
    /// The place before the first pair that is not below `pair`.
    pub(super) fn seek(pages: &'a P, pair: Pair) -> Result<Self> {
        Ok(Cursor { pages, path: Path::find(pages, pair)?, left: pages.page_count() })
    }

    /// The next pair.
    pub(super) fn next(&mut self) -> Result<Option<Pair>> {
        if self.path.depth == 0 {
            return Ok(None);
        }
        loop {
            let step = &mut self.path.steps[0];
            let leaf = Node::read(self.pages, step.page, 0)?;
            if step.slot < leaf.count() {
                step.slot += 1;
                return Ok(Some(leaf.pair(step.slot - 1)));
            }
            if !self.next_leaf()? {
                return Ok(None);
            }
        }
    }

    /// Goes to the start of the next leaf; `false` when this is the last.
    fn next_leaf(&mut self) -> Result<bool> {
        for level in 1..self.path.depth {
            let step = &mut self.path.steps[level as usize];
            let node = Node::read(self.pages, step.page, level)?;
            if step.slot + 1 >= node.count() {
                continue;
            }
            if self.left == 0 {
                return Err(damaged(step.page, "leads in a circle"));
            }
            self.left -= 1;
            step.slot += 1;
            let mut page = node.child(step.slot);
            for below in (0..level).rev() {
                let node = Node::read(self.pages, page, below)?;
                self.path.steps[below as usize] = Step { page, slot: 0 };
                if below > 0 {
                    page = node.child(0);
                }
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// What the pairs under a page may be: from `low`, below `high`.
#[derive(Clone, Copy, Default)]
struct Bounds {
    low: Pair,
    high: Option<Pair>,
}

impl Bounds {
    fn hold(&self, pair: Pair) -> bool {
        self.low <= pair && self.high.is_none_or(|high| pair < high)
    }
}

/// Walks every page once, in order. Returns the number of pairs.
pub(super) fn verify(pages: &impl ReadPages) -> Result<u64> {
    let root = pages.root();
    if root.depth > MAX_DEPTH || (root.depth == 0 && root.count > 0) {
        return Err(Error::corrupt(format!(
            "the id tree states {} pairs on {} levels",
            root.count, root.depth
        )));
    }
    if root.depth == 0 {
        return Ok(0);
    }
    let top = root.depth as usize - 1;
    let mut steps = [Step::default(); MAX_DEPTH as usize];
    let mut bounds = [Bounds::default(); MAX_DEPTH as usize];
    steps[top].page = root.root;
    let (mut level, mut entered, mut pairs) = (top, 1usize, 0u64);
    loop {
        let Step { page, slot } = steps[level];
        let node = Node::read(pages, page, level as u32)?;
        if slot == 0 {
            check_order(&node, page, bounds[level])?;
        }
        if level > 0 && slot < node.count() {
            entered += 1;
            if entered > pages.page_count() {
                return Err(damaged(page, "leads to a page that others lead to"));
            }
            steps[level].slot += 1;
            bounds[level - 1] = child_bounds(&node, slot, bounds[level]);
            steps[level - 1] = Step { page: node.child(slot), slot: 0 };
            level -= 1;
            continue;
        }
        if level == 0 {
            pairs += node.count() as u64;
        }
        if level == top {
            break;
        }
        level += 1;
    }
    if pairs == root.count {
        return Ok(pairs);
    }
    Err(Error::corrupt(format!("the id tree states {} pairs and has {pairs}", root.count)))
}

/// A page's pairs or separators ascend and lie within its bounds.
fn check_order(node: &Node<'_>, page: u32, bounds: Bounds) -> Result<()> {
    let mut last = None;
    for slot in 0..node.count() {
        let pair = node.pair(slot);
        if !bounds.hold(pair) || last.is_some_and(|last| last >= pair) {
            return Err(damaged(page, "is out of order"));
        }
        last = Some(pair);
    }
    Ok(())
}

/// The bounds of the child in `slot`.
fn child_bounds(node: &Node<'_>, slot: usize, parent: Bounds) -> Bounds {
    let high = if slot + 1 < node.count() { Some(node.pair(slot + 1)) } else { parent.high };
    Bounds { low: node.pair(slot), high }
}
