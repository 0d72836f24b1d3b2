//! Verifies a commit and accounts for every block: header, commit records, tables, units, free list.
//!
//! All loops are bounded by counts that were compared with the length of the file before.

use crate::error::{Error, ErrorKind, Result};
use crate::format::{BLOCK, FIRST_DATA_BLOCK, Meta, meta};
use crate::storage::{Object, Store, View};

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable word.
    pub code: &'static str,
    /// Where.
    pub place: String,
    /// What.
    pub message: String,
}

/// What verification found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Damage.
    pub problems: Vec<Finding>,
    /// Lost redundancy that costs nothing yet: a torn copy of a commit record.
    pub notes: Vec<Finding>,
    /// Blocks accounted for.
    pub blocks: u64,
    /// A read that failed, which says nothing about what is in the file.
    failure: Option<Error>,
}

/// Findings listed of each sort at most: a badly damaged file could name billions.
const MOST: usize = 1_000;

impl Verified {
    fn problem(&mut self, code: &'static str, place: impl Into<String>, message: impl Into<String>) {
        if self.problems.len() < MOST {
            self.problems.push(Finding { code, place: place.into(), message: message.into() });
        }
    }

    fn damage(&mut self, code: &'static str, place: impl Into<String>, error: Error) {
        if error.kind() == ErrorKind::Io {
            self.failure.get_or_insert(error);
        } else {
            self.problem(code, place, error.message());
        }
    }

    fn note(&mut self, place: impl Into<String>, message: impl Into<String>) {
        if self.notes.len() < MOST {
            self.notes.push(Finding { code: "meta-copy", place: place.into(), message: message.into() });
        }
    }
}

/// Verifies the commit a view rests on; with `units`, the checksum of every page and chunk too. Asks `proceed` at every
/// page and chunk, and ends with what that fails with.
pub fn verify(store: &Store, view: &View, units: bool, proceed: &dyn Fn() -> Result<()>) -> Result<Verified> {
    // A transaction may have put objects in the place of committed ones, whose blocks are in use until it commits.
    let view = view.committed();
    let mut found = Verified::default();
    verify_front(store, view, &mut found)?;
    let mut owners = Owners { claims: Vec::new(), limit: view.meta().blocks };
    owners.take(view.meta().catalog.block, 1, "catalog", &mut found);
    for (kind, object) in view.objects() {
        verify_object(*kind, object, units, &mut owners, &mut found, proceed)?;
    }
    match view.free_runs() {
        Ok(runs) => runs.iter().for_each(|run| owners.take(run.start, run.blocks, "free list", &mut found)),
        Err(error) => found.damage("free-list", "free list", error),
    }
    owners.account(&mut found);
    found.failure.take().map_or(Ok(found), Err)
}

/// The blocks before the first data block.
fn verify_front(store: &Store, view: &View, found: &mut Verified) -> Result<()> {
    match store.stored_header() {
        Ok(header) if header == *view.header() => {}
        Ok(_) => found.problem("header", "block 0", "the header changed since the file was opened"),
        Err(error) => found.damage("header", "block 0", error),
    }
    let mut block = vec![0u8; BLOCK];
    for number in 1..FIRST_DATA_BLOCK {
        store.read_block(number, &mut block)?;
        let is_meta = (1..5).contains(&number);
        let rest = if is_meta { &block[meta::LEN..] } else { &block[..] };
        let whole =
            !is_meta || Meta::decode(&block, true).is_some() || block[..meta::LEN].iter().all(|b| *b == 0);
        if !whole {
            found.note(
                format!("block {number}"),
                "this copy of a commit record is torn; the next commits replace it",
            );
        }
        if rest.iter().any(|b| *b != 0) {
            found.note(format!("block {number}"), "reserved bytes are not zero");
        }
    }
    Ok(())
}

fn verify_object(
    kind: u16,
    object: &Object,
    units: bool,
    owners: &mut Owners,
    found: &mut Verified,
    proceed: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let tables = object.units();
    if tables.descriptor.units == 0 {
        return Ok(());
    }
    tables.for_each_entry(|level, number, entry| {
        proceed()?;
        let place = || format!("object kind {kind}, level {level}, number {number}");
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                found.damage("table", place(), error);
                return Ok(false);
            }
        };
        owners.take(entry.block, entry.blocks as u64, "object", found);
        if level == 0 && entry.blocks as u64 != tables.descriptor.unit_blocks(number) {
            found.problem("unit", place(), format!("{} blocks", entry.blocks));
        }
        let outcome = match level {
            0 if !units => Ok(()),
            0 => object.verify_unit(number),
            _ => tables.verify_page(level, number),
        };
        let believed = outcome.is_ok();
        if let Err(error) = outcome {
            found.damage(if level == 0 { "unit" } else { "table" }, place(), error);
        }
        Ok(believed)
    })
}

/// Who has which blocks. Runs rather than a bit a block: how many blocks there are is the file's word.
struct Owners {
    /// First block, one past the last, and whose. What follows the run before is joined with it.
    claims: Vec<(u64, u64, &'static str)>,
    limit: u64,
}

impl Owners {
    fn take(&mut self, start: u64, blocks: u64, owner: &'static str, found: &mut Verified) {
        let end = start.saturating_add(blocks);
        if end > self.limit {
            found.problem(
                "block-range",
                format!("block {start}"),
                format!("the {owner} reaches past the commit"),
            );
        }
        if start < FIRST_DATA_BLOCK {
            found.problem("block-twice", format!("block {start}"), format!("claimed by the {owner}"));
        }
        match self.claims.last_mut() {
            Some(last) if last.1 == start && last.2 == owner => last.1 = end.min(self.limit),
            _ => self.claims.push((start, end.min(self.limit), owner)),
        }
    }

    fn account(mut self, found: &mut Verified) {
        self.claims.sort_unstable();
        let mut reached = 0;
        for (start, end, owner) in self.claims {
            if start < reached.min(end) {
                let text = format!("claimed again up to block {}, by the {owner}", reached.min(end) - 1);
                found.problem("block-twice", format!("block {start}"), text);
            }
            found.blocks += end.saturating_sub(start.max(reached));
            reached = reached.max(end);
        }
        let leaked = (self.limit - FIRST_DATA_BLOCK).saturating_sub(found.blocks);
        if leaked > 0 && found.problems.is_empty() {
            found.problem(
                "block-leaked",
                "free list",
                format!("{leaked} blocks are neither in use nor free"),
            );
        }
    }
}
