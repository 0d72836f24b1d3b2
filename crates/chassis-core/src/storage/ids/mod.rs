//! The id tree: a B+tree from 64-bit keys to nodes, in the pages of [`Kind::Ids`].
//!
//! | file | part |
//! |---|---|
//! | `node` | one page: counts, pairs, searching within it |
//! | `cursor` | finding a place and walking on from there; checking the whole tree |
//! | `edit` | inserting and removing |
//!
//! Everything read from a page is untrusted: it may be damaged, and it may change while it is read, because the
//! writer edits its private pages in place (the store repeats a read that overlapped an edit). So counts are
//! compared with what a page can hold, page numbers with the pages there are, the level a page states with the
//! level it is met on; a descent takes at most [`MAX_DEPTH`](crate::format::ids::MAX_DEPTH) steps and a walk touches no more pages than there
//! are.
//!
//! Removing never merges pages. A leaf may become empty; it stays in place and takes the next pairs that fall
//! into its range. Compaction builds a new tree.

mod cursor;
mod edit;
mod node;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::format::ids::{BRANCH_SLOTS, LEAF_SLOTS};
use crate::storage::{IdsRoot, Kind, Page, PageMut, Txn, View};

use cursor::Cursor;

/// What the tree orders: a key and a node, compared in this order.
pub type Pair = (u64, u32);

/// Where a tree is read from.
trait ReadPages {
    /// A page by number; an error when there is none or when it is damaged.
    fn page(&self, number: u32) -> Result<&Page>;
    /// How many pages there are.
    fn page_count(&self) -> usize;
    /// The root, as last set.
    fn root(&self) -> IdsRoot;
    /// Slots used on a page of this level; the tests use fewer to get deep trees.
    fn slots(&self, level: u32) -> usize {
        if level == 0 { LEAF_SLOTS } else { BRANCH_SLOTS }
    }
}

/// Where a tree is changed.
trait EditPages: ReadPages {
    /// Makes a page writable; the number of pages appends one.
    fn edit(&mut self, number: u32) -> Result<()>;
    /// A page made writable before.
    fn edited(&self, number: u32) -> Option<PageMut<'_>>;
    /// Sets the root.
    fn set_root(&mut self, root: IdsRoot);
}

impl ReadPages for View {
    fn page(&self, number: u32) -> Result<&Page> {
        self.pages(Kind::Ids).get(number as usize)
    }
    fn page_count(&self) -> usize {
        self.pages(Kind::Ids).count()
    }
    fn root(&self) -> IdsRoot {
        self.ids_root()
    }
}

impl ReadPages for Txn<'_> {
    fn page(&self, number: u32) -> Result<&Page> {
        self.view().pages(Kind::Ids).get(number as usize)
    }
    fn page_count(&self) -> usize {
        Txn::page_count(self, Kind::Ids)
    }
    fn root(&self) -> IdsRoot {
        self.view().ids_root()
    }
}

impl EditPages for Txn<'_> {
    fn edit(&mut self, number: u32) -> Result<()> {
        Txn::edit(self, Kind::Ids, number as usize).map(|_| ())
    }
    fn edited(&self, number: u32) -> Option<PageMut<'_>> {
        Txn::edited(self, Kind::Ids, number as usize)
    }
    fn set_root(&mut self, root: IdsRoot) {
        self.set_ids_root(root);
    }
}

/// The lowest node under a key.
pub(crate) fn get(view: &View, key: u64) -> Result<Option<u32>> {
    first(view, key)
}

fn first(pages: &impl ReadPages, key: u64) -> Result<Option<u32>> {
    let found = Cursor::seek(pages, (key, 0))?.next()?;
    Ok(found.filter(|pair| pair.0 == key).map(|pair| pair.1))
}

/// Every node under a key, in order. Takes no more memory than the tree has pages.
pub(crate) fn get_all(view: &View, key: u64) -> Result<Vec<u32>> {
    all(view, key)
}

fn all(pages: &impl ReadPages, key: u64) -> Result<Vec<u32>> {
    let mut cursor = Cursor::seek(pages, (key, 0))?;
    let mut nodes = Vec::new();
    while let Some(pair) = cursor.next()?.filter(|pair| pair.0 == key) {
        nodes.push(pair.1);
    }
    Ok(nodes)
}

/// Up to `limit` pairs in order, from the first that is not below `from`.
pub fn scan(view: &View, from: Pair, limit: usize) -> Result<Vec<Pair>> {
    range(view, from, limit)
}

fn range(pages: &impl ReadPages, from: Pair, limit: usize) -> Result<Vec<Pair>> {
    let mut cursor = Cursor::seek(pages, from)?;
    let mut pairs = Vec::new();
    while pairs.len() < limit {
        match cursor.next()? {
            Some(pair) => pairs.push(pair),
            None => break,
        }
    }
    Ok(pairs)
}

/// Counts the pairs and proves the tree: levels, order, separators, the stated count.
pub(crate) fn len(view: &View) -> Result<u64> {
    cursor::verify(view)
}

/// Enters a pair that is not there yet. When it fails, the tree is as it was.
pub(crate) fn insert(txn: &mut Txn<'_>, key: u64, node: u32) -> Result<()> {
    edit::insert(txn, (key, node))
}

/// Takes a pair out that is there. When it fails, the tree is as it was.
pub(crate) fn remove(txn: &mut Txn<'_>, key: u64, node: u32) -> Result<()> {
    edit::remove(txn, (key, node))
}
