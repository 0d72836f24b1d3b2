//! From a log to the moments a crash can strike: what is durable, what is pending, and what may be found.

use std::path::PathBuf;
use std::sync::Arc;

use chassis_core::internals::format::BLOCK;

use crate::simfs::{Disk, Mark, Op};

/// A pending operation that reaches the medium or does not, on its own.
#[derive(Debug, Clone)]
pub enum Unit {
    /// Bytes of one block; `from..from + len` of `data`.
    Block {
        file: usize,
        block: usize,
        at: usize,
        data: Arc<[u8]>,
        from: usize,
        len: usize,
    },
    Length {
        file: usize,
        to: u64,
    },
    Link {
        path: PathBuf,
        file: usize,
    },
    Unlink {
        path: PathBuf,
    },
}

impl Unit {
    /// Whether it writes a commit record.
    pub fn is_meta(&self) -> bool {
        matches!(self, Unit::Block { block: 1..=4, .. })
    }

    pub fn is_block(&self) -> bool {
        matches!(self, Unit::Block { .. })
    }

    fn is_name(&self) -> bool {
        matches!(self, Unit::Link { .. } | Unit::Unlink { .. })
    }

    fn in_file(&self, file: usize) -> bool {
        matches!(self, Unit::Block { file: f, .. } | Unit::Length { file: f, .. } if *f == file)
    }
}

/// What may be found after a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expect {
    /// Versions of the model.
    pub allowed: Vec<usize>,
    /// Whether the file may be missing.
    pub absent: bool,
    /// Finding this version means that a damaged commit was passed over, which must be reported.
    pub fallback: Option<usize>,
}

/// One moment.
pub struct Point {
    /// Index of the operation it comes before.
    pub at: usize,
    /// What is durable.
    pub base: Arc<Disk>,
    /// What is pending, in order.
    pub units: Vec<Unit>,
    pub expect: Expect,
}

struct Tracer {
    base: Arc<Disk>,
    units: Vec<(Unit, bool)>,
    acked: Option<usize>,
    maybe: Vec<usize>,
    begun: Option<usize>,
    points: Vec<Point>,
    /// Whether only the last moment is wanted.
    last_only: bool,
}

/// Every moment of a log. Between two barriers the last moment stands for all: what is legal earlier is a
/// subset of what is legal then.
pub fn points(start: &Disk, acked: Option<usize>, log: &[Op]) -> Vec<Point> {
    trace(start, acked, log, false)
}

/// The moment at the end of a log.
pub fn end(start: &Disk, acked: Option<usize>, log: &[Op]) -> Option<Point> {
    trace(start, acked, log, true).pop()
}

fn trace(start: &Disk, acked: Option<usize>, log: &[Op], last_only: bool) -> Vec<Point> {
    let base = Arc::new(start.clone());
    let mut t = Tracer { base, units: vec![], acked, maybe: vec![], begun: None, points: vec![], last_only };
    for (at, op) in log.iter().enumerate() {
        t.step(at, op);
    }
    t.last_only = false;
    t.emit(log.len());
    t.points
}

impl Tracer {
    fn emit(&mut self, at: usize) {
        if self.last_only {
            return;
        }
        let mut allowed: Vec<usize> = [self.acked, self.begun].into_iter().flatten().collect();
        allowed.extend(&self.maybe);
        allowed.sort_unstable();
        allowed.dedup();
        let expect = Expect { allowed, absent: self.acked.is_none(), fallback: None };
        let units: Vec<Unit> = self.units.iter().map(|u| u.0.clone()).collect();
        self.points.push(Point { at, base: self.base.clone(), units, expect });
    }

    fn step(&mut self, at: usize, op: &Op) {
        match op {
            Op::Write { file, offset, data } => self.write(*file, *offset as usize, data),
            Op::Length { file, to } => self.units.push((Unit::Length { file: *file, to: *to }, false)),
            Op::Link { path, file } => {
                self.units.push((Unit::Link { path: path.clone(), file: *file }, false))
            }
            Op::Unlink { path } => self.units.push((Unit::Unlink { path: path.clone() }, false)),
            Op::Barrier { file } => {
                self.emit(at);
                self.flush(|u| u.in_file(*file));
            }
            Op::SyncDir => {
                self.emit(at);
                self.flush(Unit::is_name);
            }
            Op::FailedBarrier { file } => {
                self.emit(at);
                // The pages count as clean from now on: no later barrier writes them. Lengths are journaled apart.
                for (unit, lost) in &mut self.units {
                    *lost |= unit.in_file(*file) && unit.is_block();
                }
            }
            Op::Mark(mark) => self.mark(at, *mark),
        }
    }

    fn mark(&mut self, at: usize, mark: Mark) {
        match mark {
            Mark::Begin(version) => {
                if !self.units.is_empty() {
                    self.emit(at);
                }
                self.begun = Some(version);
            }
            Mark::Ack(version) => (self.acked, self.maybe, self.begun) = (Some(version), vec![], None),
            Mark::Maybe(version) => {
                self.maybe.push(version);
                self.begun = None;
            }
            Mark::Failed => self.begun = None,
        }
    }

    fn write(&mut self, file: usize, offset: usize, data: &Arc<[u8]>) {
        let mut from = 0;
        while from < data.len() {
            let (block, at) = ((offset + from) / BLOCK, (offset + from) % BLOCK);
            let len = (BLOCK - at).min(data.len() - from);
            self.units.push((Unit::Block { file, block, at, data: data.clone(), from, len }, false));
            from += len;
        }
    }

    /// Makes units durable. What a failed barrier lost stays optional until something newer covers it.
    fn flush(&mut self, which: impl Fn(&Unit) -> bool) {
        let disk = Arc::make_mut(&mut self.base);
        let mut covered = vec![];
        for (unit, lost) in &self.units {
            if *lost || !which(unit) {
                continue;
            }
            if let Unit::Block { file, block, .. } = unit {
                covered.push((*file, *block));
            }
            settle(disk, unit);
        }
        self.units.retain(|(unit, lost)| match unit {
            Unit::Block { file, block, .. } if *lost => !covered.contains(&(*file, *block)),
            _ => !which(unit),
        });
    }
}

/// Applies a unit to a disk for good.
pub fn settle(disk: &mut Disk, unit: &Unit) {
    let mut grow = |file: usize, to: usize| {
        if disk.files.len() <= file {
            disk.files.resize(file + 1, vec![]);
        }
        if disk.files[file].len() < to {
            disk.files[file].resize(to, 0);
        }
    };
    match unit {
        Unit::Block { file, block, at, data, from, len } => {
            let start = block * BLOCK + at;
            grow(*file, start + len);
            disk.files[*file][start..start + len].copy_from_slice(&data[*from..from + len]);
        }
        Unit::Length { file, to } => grow(*file, *to as usize),
        Unit::Link { path, file } => {
            grow(*file, 0);
            disk.names.insert(path.clone(), *file);
        }
        Unit::Unlink { path } => drop(disk.names.remove(path)),
    }
}
