//! Inserting and removing. Both find the place, make every page they will change writable, and only then change
//! the first word: a failure on the way leaves the tree as it was (a page that was appended for nothing stays
//! unused).

use crate::error::{Error, ErrorKind, Result};
use crate::format::ids::MAX_DEPTH;
use crate::storage::IdsRoot;
use crate::storage::ids::cursor::{Path, Step};
use crate::storage::ids::node::{Node, NodeMut, Slot, damaged};
use crate::storage::ids::{EditPages, Pair};

/// What an insert will do.
struct Plan {
    path: Path,
    /// Full pages from the leaf up, each of which is split.
    splits: u32,
    /// Whether the new pair comes after all others of the tree. Then a split leaves the full page full: ascending
    /// ids fill the pages to the last slot.
    at_end: bool,
    /// The first page number to append.
    first_new: u32,
}

impl Plan {
    fn new(pages: &impl EditPages, pair: Pair) -> Result<Plan> {
        let path = Path::find(pages, pair)?;
        let first_new = pages.page_count() as u32;
        let mut plan = Plan { path, splits: 0, at_end: true, first_new };
        let mut full = true;
        for level in 0..path.depth {
            let Step { page, slot } = path.steps[level as usize];
            let node = Node::read(pages, page, level)?;
            if level == 0 && slot < node.count() && node.pair(slot) == pair {
                return Err(damaged(page, &format!("holds key {} with node {} already", pair.0, pair.1)));
            }
            plan.at_end &= if level == 0 { slot == node.count() } else { slot + 1 == node.count() };
            full &= node.count() == pages.slots(level);
            plan.splits += full as u32;
        }
        if plan.grows() && path.depth == MAX_DEPTH {
            return Err(Error::new(ErrorKind::CapacityExceeded, "the id tree is full"));
        }
        Ok(plan)
    }

    /// Whether the tree gets a new root.
    fn grows(&self) -> bool {
        self.splits == self.path.depth
    }

    fn page(&self, level: u32) -> u32 {
        self.path.steps[level as usize].page
    }

    /// Makes writable whatever will change: first what exists, where damage may be met, then new pages.
    fn prepare(&self, pages: &mut impl EditPages) -> Result<()> {
        for level in 0..self.path.depth.min(self.splits + 1) {
            pages.edit(self.page(level))?;
        }
        for new in 0..self.splits + self.grows() as u32 {
            pages.edit(self.first_new + new)?;
        }
        Ok(())
    }
}

/// A page that `prepare` made writable.
fn writable(pages: &impl EditPages, number: u32, level: u32) -> Result<NodeMut<'_>> {
    match pages.edited(number) {
        Some(page) => Ok(NodeMut::new(page, level)),
        None => Err(Error::new(
            ErrorKind::Internal,
            format!("page {number} of the id tree was not made writable"),
        )),
    }
}

/// Enters a pair.
pub(super) fn insert(pages: &mut impl EditPages, pair: Pair) -> Result<()> {
    let plan = Plan::new(pages, pair)?;
    plan.prepare(pages)?;
    let root = pages.root();
    let mut carried = Slot { pair, child: 0 };
    for level in 0..plan.splits {
        let right = plan.first_new + level;
        let first = split(pages, &plan, level, right, carried)?;
        carried = Slot { pair: first, child: right };
    }
    let mut new_root = IdsRoot { count: root.count + 1, ..root };
    if plan.grows() {
        let (number, level) = (plan.first_new + plan.splits, plan.splits);
        let node = writable(pages, number, level)?;
        if level > 0 {
            node.insert(0, Slot { pair: (0, 0), child: root.root });
        }
        node.insert(node.count(), carried);
        new_root = IdsRoot { root: number, depth: level + 1, ..new_root };
    } else {
        let Step { page, slot } = plan.path.steps[plan.splits as usize];
        writable(pages, page, plan.splits)?.insert(slot + (plan.splits > 0) as usize, carried);
    }
    pages.set_root(new_root);
    Ok(())
}

/// Splits the full page on `level`, puts `carried` into the half it belongs to, and returns the first pair of
/// the new page on the right.
fn split(pages: &impl EditPages, plan: &Plan, level: u32, right: u32, carried: Slot) -> Result<Pair> {
    let Step { page, slot } = plan.path.steps[level as usize];
    let (left, right) = (writable(pages, page, level)?, writable(pages, right, level)?);
    let at = slot + (level > 0) as usize;
    let middle = if plan.at_end { left.count() } else { left.count() / 2 };
    left.move_tail(middle, &right);
    // At `middle` itself a pair could go to either side; the left one keeps the new page's separator exact.
    if at < middle || (at == middle && !plan.at_end) {
        left.insert(at, carried);
    } else {
        right.insert(at - middle, carried);
    }
    Ok(right.slot(0).pair)
}

/// Takes a pair out.
pub(super) fn remove(pages: &mut impl EditPages, pair: Pair) -> Result<()> {
    let path = Path::find(pages, pair)?;
    let Step { page, slot } = path.steps[0];
    let missing = || Error::corrupt(format!("key {} with node {} is not in the id tree", pair.0, pair.1));
    if path.depth == 0 {
        return Err(missing());
    }
    let leaf = Node::read(pages, page, 0)?;
    if slot >= leaf.count() || leaf.pair(slot) != pair {
        return Err(missing());
    }
    pages.edit(page)?;
    let root = pages.root();
    writable(pages, page, 0)?.remove(slot);
    pages.set_root(IdsRoot { count: root.count.saturating_sub(1), ..root });
    Ok(())
}
