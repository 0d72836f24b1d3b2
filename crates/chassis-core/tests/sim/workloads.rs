//! The workloads: short scripts that between them touch every structure of the file and every way a writer ends.
//!
//! Mostly at most 40 nodes each, lists of 4, tables with 2 or 4 entries and chunks of 256 bytes: few blocks a
//! commit, so that their subsets can all be built, and every structure grows by a level.

use chassis_core::internals::storage::{Kind, OpenTuning};
use chassis_core::{IdType, Quantization};

use crate::oracle::Spec;
use crate::simfs::Call;

/// One step of a script. Numbers name records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Opens for writing; creates when nothing is there.
    Open,
    /// Adds records one by one.
    Add(std::ops::Range<u64>),
    /// Adds records in one call.
    Batch(std::ops::Range<u64>),
    Delete(std::ops::Range<u64>),
    /// Puts a new derived object of so many rows in the place of the one of this kind, or where none is.
    Derive(Kind, usize),
    /// Appends rows to it, up to so many.
    Extend(Kind, usize),
    /// Drops it.
    Drop(Kind),
    Commit,
    Rollback,
    /// Everything is committed; its live records go to a new file, which takes the place of the old one.
    Compact,
    /// A compaction that has to fail with a full disk.
    CompactFull,
    /// The process dies within a compaction, at this call, when so many of them have passed.
    KillCompact(Call, u64),
    /// The process dies between calls.
    Kill,
    /// The process dies while it creates the file, which has its name already.
    KillCreating,
    /// The process dies within a commit, when this many barriers have passed.
    KillAt(u64),
    /// A reader opens and stays.
    Reader,
    /// It must still see what it saw.
    ReaderCheck,
    /// It moves to the newest commit.
    ReaderRefresh,
    ReaderClose,
    /// The disk has this many free blocks from here on.
    Free(u64),
    /// A commit that has to fail with a full disk.
    CommitFull,
    /// The disk has room again.
    Roomy,
}

/// A script with the shape of its index.
#[derive(Debug, Clone)]
pub struct Workload {
    pub name: &'static str,
    pub spec: Spec,
    /// Runs before the log starts.
    pub setup: Vec<Step>,
    pub steps: Vec<Step>,
    /// Also judged with damaged copies of the newest commit record.
    pub rot: bool,
    /// Also judged with every older content of every block.
    pub lying: bool,
}

use Step::*;

fn spec() -> Spec {
    let tuning = OpenTuning { fanout: Some(4), chunk_bytes: Some(256), ..OpenTuning::default() };
    Spec {
        dimensions: 3,
        m: 2,
        m0: 4,
        id_type: IdType::Integer,
        payloads: false,
        quantization: Quantization::Auto,
        tuning,
    }
}

fn workload(name: &'static str, setup: Vec<Step>, steps: Vec<Step>) -> Workload {
    Workload { name, spec: spec(), setup, steps, rot: false, lying: false }
}

/// `rounds` commits of `one(round)`.
fn rounds(rounds: std::ops::Range<u64>, one: impl Fn(u64) -> Vec<Step>) -> Vec<Step> {
    rounds.flat_map(|r| one(r).into_iter().chain([Commit])).collect()
}

fn then(parts: Vec<Vec<Step>>) -> Vec<Step> {
    parts.concat()
}

/// All workloads.
pub fn all() -> Vec<Workload> {
    let mut all = growth();
    all.extend(endings());
    all.extend(damage());
    all.extend(derived());
    all.extend(coded());
    all.extend(compacted());
    all
}

/// What is written.
fn growth() -> Vec<Workload> {
    let one = |r: u64| vec![Add(r..r + 1)];
    let three = |r: u64| vec![Add(3 * r..3 * r + 3)];
    let strings = Spec { id_type: IdType::String, payloads: true, ..spec() };
    let wide = Spec { m: 48, m0: 96, tuning: OpenTuning { fanout: Some(2), ..spec().tuning }, ..spec() };
    vec![
        workload("create", vec![], vec![Open, Commit]),
        workload("create, killed", vec![], vec![KillCreating, Open, Add(0..2), Commit, Add(2..3), Commit]),
        workload("first insert", vec![Open], vec![Add(0..1), Commit, Add(1..2), Commit]),
        workload("entry point change", vec![Open], rounds(0..12, one)),
        workload("list overflow and pruning", vec![Open, Batch(0..6), Commit], rounds(2..9, three)),
        Workload {
            spec: wide,
            ..workload("page-table growth", vec![Open, Batch(0..9), Commit], rounds(3..8, three))
        },
        workload("extent growth", vec![Open, Batch(0..3), Commit], rounds(1..8, three)),
        Workload {
            spec: strings,
            ..workload(
                "string ids and payloads",
                vec![Open, Batch(0..4), Commit],
                rounds(2..8, |r| vec![Add(2 * r..2 * r + 2), Delete(r - 2..r - 1)]),
            )
        },
        workload(
            "deletes",
            vec![Open, Batch(0..20), Commit],
            rounds(0..6, |r| vec![Delete(3 * r..3 * r + 2)]),
        ),
        workload(
            "many small commits",
            vec![Open, Batch(0..6), Commit],
            rounds(6..22, |r| {
                if r % 3 == 0 { vec![Delete(r - 6..r - 4), Add(r - 6..r - 5)] } else { vec![Add(r..r + 1)] }
            }),
        ),
    ]
}

/// How writers end, and who watches.
fn endings() -> Vec<Workload> {
    vec![
        workload(
            "abandoned transaction",
            vec![Open, Batch(0..5), Commit],
            vec![
                Add(5..8),
                Rollback,
                Add(8..10),
                Commit,
                Batch(10..14),
                Delete(0..2),
                Kill,
                Open,
                Add(14..16),
                Commit,
                Delete(14..15),
                Rollback,
                Commit,
                Add(16..17),
                Commit,
            ],
        ),
        workload(
            "two writers, killed",
            vec![Open, Batch(0..5), Commit],
            then(vec![
                vec![Add(5..7), KillAt(1), Open, Add(7..8), Commit, Add(8..9), Commit],
                vec![Add(9..10), KillAt(0), Open, Add(10..11), Commit],
                vec![
                    Kill,
                    Open,
                    Add(11..12),
                    KillAt(2),
                    Open,
                    Add(12..13),
                    KillAt(2),
                    Open,
                    Add(13..14),
                    Commit,
                ],
                vec![Delete(0..3), KillAt(1), Open, Kill, Open, Add(14..15), Commit, Add(15..16), Commit],
            ]),
        ),
        workload(
            "pinned reader",
            vec![Open, Batch(0..8), Commit],
            then(vec![
                vec![Reader],
                rounds(8..14, |r| vec![ReaderCheck, Add(r..r + 1), Delete(r - 8..r - 7)]),
                vec![ReaderCheck, ReaderRefresh],
                rounds(14..19, |r| vec![Add(r..r + 1), ReaderCheck]),
                vec![ReaderCheck, ReaderClose],
                rounds(19..23, |r| vec![Add(r..r + 1), Delete(r - 8..r - 7)]),
            ]),
        ),
    ]
}

/// What the disk does.
fn damage() -> Vec<Workload> {
    let churn = |from: u64, to: u64| rounds(from..to, |r| vec![Add(r..r + 1), Delete(r - 4..r - 3)]);
    let strings = Spec { id_type: IdType::String, payloads: true, ..spec() };
    vec![
        Workload {
            spec: Spec { dimensions: 64, ..spec() },
            ..workload(
                "full disk",
                vec![Open, Batch(0..6), Commit],
                then(vec![
                    vec![Batch(6..40), Free(0), CommitFull, Free(2), CommitFull, Roomy, Commit],
                    vec![Batch(40..76), Free(1), CommitFull, Rollback, Roomy, Add(76..77), Commit],
                    vec![Add(77..78), Commit],
                ]),
            )
        },
        Workload {
            rot: true,
            ..workload("rotten commit records", vec![Open, Batch(0..5), Commit], churn(5, 13))
        },
        Workload { lying: true, ..workload("lying disk", vec![Open, Batch(0..6), Commit], churn(6, 18)) },
        Workload {
            lying: true,
            spec: strings,
            ..workload("lying disk, strings", vec![Open, Batch(0..6), Commit], churn(6, 14))
        },
    ]
}

/// Objects that come, grow, change and go beside the records.
fn derived() -> Vec<Workload> {
    use Kind::{Calibration, Codes4, Codes8, EntryBlock};
    let begin = || vec![Open, Batch(0..5), Derive(Codes4, 9), Derive(Calibration, 1), Commit];
    // What has no records keeps the images of a commit few.
    let change = |r: u64| match r % 6 {
        0 => vec![Derive(Codes4, 6 + r as usize), Add(100 + r..101 + r)],
        1 => vec![Derive(Codes8, 7), Derive(EntryBlock, 1), Extend(Codes4, 10 + r as usize)],
        2 => vec![Extend(Codes8, 11), Drop(Calibration)],
        3 => vec![Drop(Codes4), Derive(Calibration, 3)],
        4 => vec![Derive(Codes4, 3), Derive(Codes4, 12), Derive(EntryBlock, 2)],
        _ => vec![Derive(Codes8, 0), Extend(Calibration, 4), Delete(r - 5..r - 4)],
    };
    vec![
        Workload { lying: true, ..workload("derived objects", begin(), rounds(0..9, change)) },
        workload(
            "derived, pinned reader",
            begin(),
            then(vec![
                vec![Reader],
                rounds(0..6, |r| {
                    vec![ReaderCheck, Derive(Codes4, 8 + r as usize % 3), Derive(Calibration, 2)]
                }),
                vec![ReaderCheck, ReaderRefresh],
                rounds(0..5, |r| then(vec![change(r), vec![ReaderCheck]])),
                vec![ReaderCheck, ReaderClose],
                rounds(6..9, change),
            ]),
        ),
        workload(
            "derived, abandoned",
            begin(),
            then(vec![
                vec![Derive(Codes4, 20), Drop(Calibration), Derive(Codes8, 2), Rollback],
                vec![Extend(Codes4, 14), Commit, Extend(Codes4, 18), Derive(Codes4, 3), Rollback],
                vec![Derive(EntryBlock, 2), Drop(EntryBlock), Add(5..6), Commit],
                vec![Derive(Codes4, 11), Drop(Codes4), Kill, Open, Drop(Codes4), KillAt(1), Open],
                vec![Derive(Codes4, 5), KillAt(0), Open, Derive(Codes4, 7), KillAt(2), Open],
                vec![Extend(Codes4, 16), Commit, Derive(Codes4, 16), Commit],
            ]),
        ),
    ]
}

/// Codes as the engine makes them: they begin, follow the rows, and are made anew.
fn coded() -> Vec<Workload> {
    let spec = |quantization, from| Spec {
        quantization,
        tuning: OpenTuning { codes_from: Some(from), ..spec().tuning },
        ..spec()
    };
    let grow = |r: u64| match r % 3 {
        0 => vec![Batch(8 * r..8 * r + 8)],
        1 => vec![Add(8 * r..8 * r + 2), Delete(8 * r - 6..8 * r - 4), Batch(8 * r + 2..8 * r + 8)],
        _ => vec![Add(8 * r..8 * r + 8)],
    };
    vec![
        Workload {
            spec: spec(Quantization::Bits4, 6),
            ..workload("codes begin and grow", vec![Open, Batch(0..4), Commit], rounds(1..8, grow))
        },
        Workload {
            spec: spec(Quantization::Bits8, 3),
            lying: true,
            ..workload("codes of 8 bits", vec![Open, Batch(0..4), Commit], rounds(1..5, grow))
        },
        Workload {
            spec: spec(Quantization::Bits4, 5),
            ..workload(
                "codes, abandoned",
                vec![Open, Batch(0..4), Commit],
                then(vec![
                    vec![
                        Batch(4..9),
                        Rollback,
                        Add(4..9),
                        Commit,
                        Batch(9..60),
                        Rollback,
                        Batch(9..12),
                        Commit,
                    ],
                    vec![Reader, Batch(12..60), KillAt(1), Open, ReaderCheck, Batch(60..64), KillAt(2), Open],
                    vec![ReaderCheck, ReaderRefresh, Batch(64..110), Commit, ReaderCheck, ReaderClose],
                    vec![Add(110..112), Kill, Open, Batch(112..116), Commit],
                ]),
            )
        },
    ]
}

/// Files that take the place of others. A portion of a few rows makes several commits of the new file.
fn compacted() -> Vec<Workload> {
    let spec = || Spec { tuning: OpenTuning { portion: Some(400), ..spec().tuning }, ..spec() };
    let strings = Spec { id_type: IdType::String, payloads: true, ..spec() };
    let coded = Spec {
        quantization: Quantization::Bits4,
        tuning: OpenTuning { codes_from: Some(6), ..spec().tuning },
        ..spec()
    };
    let begin = || vec![Open, Batch(0..14), Commit, Delete(0..6), Commit];
    let plain = vec![
        vec![Compact, Add(14..15), Commit, CompactFull],
        vec![Delete(7..9), Commit, Compact, Compact],
        vec![Add(15..17), Commit, Delete(0..40), Commit, Compact],
        vec![Add(20..21), Commit],
    ];
    let killed = vec![
        vec![KillCompact(Call::SyncDir, 1), Open, Add(14..15), Commit],
        vec![KillCompact(Call::Barrier, 2), Open, Add(15..16), Commit, Compact],
        vec![KillCompact(Call::Rename, 0), Open, Kill, Open, Add(16..17), Commit],
        vec![KillCompact(Call::SyncDir, 1), Open, Compact, Delete(8..10), Commit],
    ];
    let read = vec![
        vec![Reader, Compact, ReaderCheck, Add(14..16), Commit, ReaderCheck, ReaderRefresh],
        vec![Add(16..17), Delete(9..11), Commit, ReaderCheck, Compact, ReaderRefresh],
        vec![Add(17..18), Commit, ReaderRefresh, ReaderClose],
    ];
    vec![
        Workload { spec: spec(), ..workload("compaction", begin(), then(plain)) },
        Workload { spec: strings, ..workload("compaction, killed", begin(), then(killed)) },
        Workload { spec: coded, ..workload("compaction, codes and reader", begin(), then(read)) },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chassis_core::internals::format::{BLOCK, neighbors, table};
    use chassis_core::internals::graph;

    use super::*;
    use crate::session::Session;
    use crate::simfs::Op;

    fn named(name: &str) -> Workload {
        all().into_iter().find(|w| w.name == name).unwrap_or_else(|| panic!("no workload {name}"))
    }

    fn log(workload: &Workload) -> Vec<Op> {
        let mut session = Session::new(&workload.spec);
        session.run(&workload.setup).expect("the setup runs");
        session.vfs.record();
        session.run(&workload.steps).expect("the steps run");
        session.vfs.log()
    }

    #[test]
    fn the_entry_point_changes() {
        let levels: Vec<u8> =
            (0..12).map(|n| graph::level_of(n, named("entry point change").spec.m)).collect();
        let higher = (1..levels.len()).filter(|&i| levels[..i].iter().all(|l| *l < levels[i])).count();
        assert!(higher >= 2, "levels {levels:?} raise the entry point {higher} times");
    }

    #[test]
    fn tables_and_extents_grow_by_levels() {
        let spec = named("page-table growth").spec;
        let fanout = spec.tuning.fanout.expect("stated") as u64;
        let depth = |nodes: usize| table::depth(nodes.div_ceil(neighbors::per_page(spec.m0)) as u64, fanout);
        assert!(depth(24) >= depth(9) + 2, "lists grow from depth {} to {}", depth(9), depth(24));
        // A row takes 64 bytes, a chunk 256.
        let depth = |nodes: u64| table::depth(nodes.div_ceil(4), 4);
        assert!(depth(24) >= depth(3) + 2, "vectors grow from depth {} to {}", depth(3), depth(24));
        assert!(
            log(&named("extent growth")).iter().any(|op| matches!(op, Op::Length { .. })),
            "the file grows"
        );
    }

    #[test]
    fn new_files_take_their_place_after_several_commits() {
        let log = log(&named("compaction"));
        let renamed = |op: &Op| matches!(op, Op::Link { path, .. } if *path == crate::oracle::path());
        assert_eq!(log.iter().filter(|op| renamed(op)).count(), 4);
        let first = log.iter().position(renamed).expect("a rename");
        let barriers = log[..first].iter().filter(|op| matches!(op, Op::Barrier { .. })).count();
        // Of the empty commit and of the repeated one; two of each other.
        assert!(barriers >= 3 + 2 * 3, "{barriers} barriers before the rename");
    }

    #[test]
    fn blocks_are_used_again() {
        let mut writes: BTreeMap<u64, u32> = BTreeMap::new();
        for op in log(&named("many small commits")) {
            if let Op::Write { offset, data, .. } = op {
                let blocks = offset / BLOCK as u64..(offset + data.len() as u64).div_ceil(BLOCK as u64);
                blocks.filter(|b| *b >= 8).for_each(|b| *writes.entry(b).or_default() += 1);
            }
        }
        let reused = writes.values().filter(|n| **n > 1).count();
        assert!(reused >= 10, "{reused} blocks are written more than once");
    }
}
