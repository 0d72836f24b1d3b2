//! Proves the invariants of a graph, or names what breaks them.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

use super::{Lists, MAX_LEVEL, NONE, NodeId, Params};

/// The most problems reported: a badly damaged graph has one for every node.
const MAX_PROBLEMS: usize = 1_000;

/// One thing found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable word for the kind of damage.
    pub code: &'static str,
    /// Where, for example `node 7`.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

/// Checks every list of nodes `0..count`, the entry point, and that each node is reachable from it on layer 0. Asks
/// `proceed` at every node.
///
/// # Errors
/// What `proceed` fails with; `Io` where there is no memory for a bit a node.
pub fn check<L: Lists>(
    lists: &L,
    count: u32,
    entry: Option<(NodeId, u8)>,
    params: &Params,
    level_of: impl Fn(NodeId) -> u8,
    proceed: impl Fn() -> Result<()>,
) -> Result<Vec<Problem>> {
    let mut report = Report(Vec::new());
    let mut highest = None;
    for node in 0..count {
        proceed()?;
        highest = highest.max(Some(level_of(node)));
    }
    match entry {
        None if count > 0 => report.add("entry", "graph".into(), format!("no entry point for {count} nodes")),
        Some((node, _)) if node >= count => {
            report.add("entry", "graph".into(), format!("entry point {node}, but there are {count} nodes"));
        }
        Some((node, level)) if level != level_of(node) || Some(level) != highest => {
            let message =
                format!("entry point {node} at level {level}, but the highest is {}", highest.unwrap_or(0));
            report.add("entry", "graph".into(), message);
        }
        _ => {}
    }
    let mut list = Vec::new();
    for node in 0..count {
        proceed()?;
        for layer in 0..=level_of(node).min(MAX_LEVEL) {
            let stored = if layer == 0 { lists.base(node) } else { lists.upper(node, layer) };
            check_list(stored, node, layer, count, params, &level_of, &mut list, &mut report);
        }
    }
    if let Some((entry, _)) = entry.filter(|entry| entry.0 < count) {
        check_reachable(lists, count, entry, &mut report, proceed)?;
    }
    Ok(report.0)
}

struct Report(Vec<Problem>);

impl Report {
    fn add(&mut self, code: &'static str, place: String, message: String) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(Problem { code, place, message });
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one list and all it is held against")]
fn check_list(
    stored: &[AtomicU32],
    node: NodeId,
    layer: u8,
    count: u32,
    params: &Params,
    level_of: &impl Fn(NodeId) -> u8,
    list: &mut Vec<NodeId>,
    report: &mut Report,
) {
    let mut problem = |code, message| report.add(code, format!("node {node} layer {layer}"), message);
    list.clear();
    list.extend(stored.iter().map(|slot| slot.load(Ordering::Relaxed)));
    let len = list.iter().position(|id| *id == NONE).unwrap_or(list.len());
    if stored.is_empty() {
        problem("list", "the list cannot be read".into());
    }
    if list[len..].iter().any(|id| *id != NONE) {
        problem("list", "nodes follow the end of the list".into());
    }
    list.truncate(len);
    if len > params.degree(layer) {
        problem("degree", format!("{len} neighbors; at most {}", params.degree(layer)));
    }
    for &neighbor in list.iter() {
        if neighbor >= count {
            problem("neighbor", format!("neighbor {neighbor}, but there are {count} nodes"));
        } else if neighbor == node {
            problem("self-edge", "the node is its own neighbor".into());
        } else if level_of(neighbor) < layer {
            problem("neighbor-level", format!("neighbor {neighbor} has level {}", level_of(neighbor)));
        }
    }
    list.sort_unstable();
    if let Some(pair) = list.windows(2).find(|pair| pair[0] == pair[1]) {
        problem("duplicate-neighbor", format!("neighbor {} is there twice", pair[0]));
    }
}

fn check_reachable<L: Lists>(
    lists: &L,
    count: u32,
    entry: NodeId,
    report: &mut Report,
    proceed: impl Fn() -> Result<()>,
) -> Result<()> {
    let (mut reached, words) = (Vec::new(), count as usize / 64 + 1);
    reached
        .try_reserve_exact(words)
        .map_err(|_| Error::no_memory(format_args!("a check of {count} nodes")))?;
    reached.resize(words, 0u64);
    let mut mark = |node: NodeId| {
        let (word, bit) = (&mut reached[node as usize / 64], 1 << (node % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    };
    let mut open = vec![entry];
    mark(entry);
    while let Some(node) = open.pop() {
        proceed()?;
        let ids = lists.base(node).iter().map(|slot| slot.load(Ordering::Relaxed));
        open.extend(ids.filter(|id| *id < count).filter(|id| mark(*id)));
    }
    for node in 0..count {
        if reached[node as usize / 64] & 1 << (node % 64) == 0 {
            report.add("unreachable", format!("node {node}"), format!("no path from entry point {entry}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryLists;
    use super::super::{LinkWriter, level_of};
    use super::*;

    const PARAMS: Params = Params { m: 4, m0: 8, ef_construction: 8 };

    /// A ring of nodes on layer 0, the highest node as entry.
    fn ring(count: u32) -> (MemoryLists, (NodeId, u8)) {
        let mut lists = MemoryLists::new(&PARAMS);
        lists.grow(count);
        (0..count).for_each(|node| lists.write(0, node, &[(node + 1) % count]));
        let entry = (0..count).map(|node| (node, level_of(node, 4))).max_by_key(|e| (e.1, u32::MAX - e.0));
        (lists, entry.unwrap())
    }

    fn codes(lists: &MemoryLists, entry: Option<(NodeId, u8)>) -> Vec<&'static str> {
        let problems = check(lists, lists.count(), entry, &PARAMS, |node| level_of(node, 4), || Ok(()));
        problems.expect("nobody stops it").iter().map(|p| p.code).collect()
    }

    #[test]
    fn a_sound_graph_passes_and_each_damage_is_named() {
        let (lists, entry) = ring(100);
        assert!(codes(&lists, Some(entry)).is_empty());
        assert_eq!(codes(&MemoryLists::new(&PARAMS), None), [""; 0]);
        assert_eq!(codes(&lists, None), ["entry"]);
        assert_eq!(codes(&lists, Some((100, 0))), ["entry"]);
        assert_eq!(codes(&lists, Some((entry.0, entry.1 + 1))), ["entry"]);
        let damaged = |layer, node: NodeId, list: &[NodeId], expected: &[&str]| {
            let (lists, entry) = ring(100);
            lists.write(layer, node, list);
            assert_eq!(codes(&lists, Some(entry)), expected, "{list:?}");
        };
        damaged(0, 7, &[8, 7], &["self-edge"]);
        damaged(0, 7, &[8, 100], &["neighbor"]);
        damaged(0, 7, &[8, 3, 9, 3], &["duplicate-neighbor"]);
        damaged(0, 7, &[8, NONE, 9], &["list"]);
        damaged(0, entry.0, &[(entry.0 + 2) % 100], &["unreachable"]);
        let low = (0..100).find(|node| level_of(*node, 4) == 0).unwrap();
        damaged(1, entry.0, &[low], &["neighbor-level"]);
        let (mut lists, entry) = ring(100);
        lists.widen(20);
        lists.write(0, 7, &(8..18).collect::<Vec<_>>());
        assert_eq!(codes(&lists, Some(entry)), ["degree"]);
    }

    #[test]
    fn a_graph_of_nothing_but_damage_is_reported_briefly() {
        let mut lists = MemoryLists::new(&PARAMS);
        lists.grow(5_000);
        let entry = (0..5_000).map(|node| (node, level_of(node, 4))).max_by_key(|e| e.1);
        assert_eq!(codes(&lists, entry).len(), MAX_PROBLEMS);
    }
}
