//! `check` of codes: the model reads, every record is that of its vector, the entry block copies records.
//!
//! What a search passes over is no damage: objects of a later layout, of another generation than the model, or no
//! objects at all.

use crate::codes::{Codec, EncodeScratch};
use crate::error::{ErrorKind, Result};
use crate::format::derived::codes::{Bits, Codes};
use crate::format::derived::entries::Entries;
use crate::graph::NodeId;
use crate::index::check::{CheckReport, MOST_PROBLEMS};
use crate::index::share::{Proceed, share};
use crate::index::{Inner, coded, default_threads, nodes};
use crate::kernels::{self, Lanes, WithLanes};
use crate::storage::{Kind, Rows, View};

/// Rows a thread compares at a time.
const ROWS: usize = 64;
/// Pieces of so many rows between two looks at whether enough was found.
const PIECES: usize = 256;

impl Inner {
    /// Model, records, entry block. Encodes every vector again, on all cores: what makes codes takes as long.
    pub(crate) fn check_codes(
        &self,
        view: &View,
        report: &mut CheckReport,
        proceed: Proceed<'_>,
    ) -> Result<()> {
        let codec = match coded::codec(view, self.metric) {
            Err(error) => return report.damage("model", Err(error)),
            Ok(None) => return Ok(()),
            Ok(Some(codec)) => codec,
        };
        for bits in [Bits::Four, Bits::Eight] {
            let compared = self.check_kind(view, codec, bits, report, proceed);
            report.damage(name(bits), compared)?;
        }
        let entries = check_entries(view, codec, report);
        report.damage("entry block", entries)
    }

    fn check_kind(
        &self,
        view: &View,
        codec: &Codec,
        bits: Bits,
        report: &mut CheckReport,
        proceed: Proceed<'_>,
    ) -> Result<()> {
        let Some(rows) = view.rows(bits.kind()) else { return Ok(()) };
        let layout = match Codes::from_descriptor(rows.descriptor(), view.header().dimensions) {
            Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Ok(()),
            layout => layout?,
        };
        if layout.generation != codec.layout(bits).generation {
            return Ok(());
        }
        let count = view.node_count() as usize;
        if !codec.has(bits) || layout != codec.layout(bits) {
            report.add("codes", name(bits).into(), "records of another layout than the model's".into());
            return Ok(());
        }
        if rows.len() < count {
            report.add("codes", name(bits).into(), format!("{} records for {count} nodes", rows.len()));
            return Ok(());
        }
        let stored = nodes::vectors(view)?;
        for from in (0..count).step_by(PIECES * ROWS) {
            let end = count.min(from + PIECES * ROWS);
            let wrong = share((end - from).div_ceil(ROWS), default_threads(), |piece| {
                proceed()?;
                let first = from + piece * ROWS;
                kernels::dispatch(Compare { codec, bits, stored, rows, nodes: first..end.min(first + ROWS) })
            })?;
            for node in wrong.into_iter().flatten() {
                let what = format!("its record of {} is not that of its vector", name(bits));
                report.add("code", format!("node {node}"), what);
            }
            if report.problems.len() >= MOST_PROBLEMS {
                break;
            }
        }
        Ok(())
    }
}

fn name(bits: Bits) -> &'static str {
    match bits {
        Bits::Four => "4-bit codes",
        Bits::Eight => "8-bit codes",
    }
}

/// Nodes exist, and the records beside them are theirs.
fn check_entries(view: &View, codec: &Codec, report: &mut CheckReport) -> Result<()> {
    let Some(block) = coded::whole(view, Kind::EntryBlock) else { return Ok(()) };
    let first = [Bits::Four, Bits::Eight].into_iter().find_map(|bits| Some((bits, view.rows(bits.kind())?)));
    let Some((bits, rows)) = first.filter(|(bits, _)| codec.has(*bits)) else { return Ok(()) };
    let (layout, count) = (codec.layout(bits), view.node_count());
    let entries = match Entries::decode(block.get(0)?, u32::MAX, layout.stride) {
        Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Ok(()),
        entries => entries?,
    };
    let generation = rows.descriptor().generation;
    if entries.code_generation != layout.generation || generation != layout.generation {
        return Ok(());
    }
    for (i, node) in entries.nodes().enumerate() {
        let place = || format!("entry {i}, node {node}");
        if node >= count {
            report.add("entry", place(), format!("there are {count} nodes"));
        } else if entries.record(i) != Some(rows.get(node as usize)?) {
            report.add("entry", place(), "its record is not the node's".into());
        }
    }
    Ok(())
}

/// The nodes of a few whose records are wrong.
struct Compare<'a> {
    codec: &'a Codec,
    bits: Bits,
    stored: &'a Rows,
    rows: &'a Rows,
    nodes: std::ops::Range<usize>,
}

impl WithLanes for Compare<'_> {
    type Output = Result<Vec<NodeId>>;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> Self::Output {
        let Compare { codec, bits, stored, rows, nodes } = self;
        let dimensions = codec.header().dimensions as usize;
        let (mut scratch, mut wrong) = (EncodeScratch::default(), Vec::new());
        for node in nodes {
            stored.read_on(node, 1);
            rows.read_on(node, 1);
            let vector = nodes::vector_in(stored.get(node)?, dimensions)?;
            if !codec.agrees(lanes, vector, bits, &mut scratch, rows.get(node)?) {
                wrong.push(node as NodeId);
            }
        }
        Ok(wrong)
    }
}
