//! Searches of an index that is larger than the memory of its process, against the same searches with memory to spare.
//!
//! ```sh
//! cargo run --release -p chassis-core --example bench_set -- --data DIR --set NAME --efs 10 --index FILE   # makes FILE
//! cargo bench -p chassis-core --bench larger_than_memory -- --data DIR --set NAME --index FILE \
//!     [--share 5] [--recall 0.95] [--warm no] [--queries 1000]
//! ```
//!
//! Two processes answer the queries of a set that are not in the index, one thread, one query a call. Each opens the file with nothing of it
//! cached, calls `warm()` (unless told not to), answers the first half of the queries, and is measured on the other
//! half, which it has not seen. The second process runs in a memory group (cgroup v1, which needs root) limited to the
//! length of the file divided by `--share`; what it cannot keep is read again. Bytes read are those of
//! `/proc/self/io`, faults those of `/proc/self/stat`.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use chassis_core::internals::format::{BLOCK, Kind};
use chassis_core::{Hits, Mode, OpenOptions, SearchOptions, VectorIndex};

type Outcome<T> = Result<T, String>;

const K: usize = 10;
const GROUPS: &str = "/sys/fs/cgroup/memory";
/// The exit code of a run that could not be made here.
const SKIPPED: u8 = 90;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if words == ["--test"] {
        return ExitCode::SUCCESS;
    }
    let outcome = Arguments::read(&words).and_then(|arguments| match arguments.get("group") {
        Ok(group) => measure(&arguments, group).map(|()| ExitCode::SUCCESS),
        Err(_) => compare(&arguments),
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn compare(arguments: &Arguments) -> Outcome<ExitCode> {
    let path = Path::new(arguments.get("index")?);
    let bytes = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.len();
    let share: u64 = arguments.number("share", 5)?;
    let limit = bytes / share.max(1);
    println!("file {} MiB, limit {} MiB", bytes >> 20, limit >> 20);
    print_parts(path)?;
    let group = format!("{GROUPS}/chassis-{}", std::process::id());
    if let Err(e) = std::fs::create_dir(&group) {
        println!("SKIPPED: larger-than-memory: no memory group can be made here (cgroup v1, as root): {e}");
        return Ok(ExitCode::from(SKIPPED));
    }
    let runs = std::fs::write(format!("{group}/memory.limit_in_bytes"), limit.to_string())
        .map_err(|e| format!("{group}: {e}"))
        .and_then(|()| Ok([child(arguments, path, "none")?, child(arguments, path, &group)?]));
    // The child has ended: nothing is left in the group.
    let removed = std::fs::remove_dir(&group);
    let [roomy, limited] = runs?;
    removed.map_err(|e| format!("{group}: {e}"))?;
    print_runs(&roomy, &limited)?;
    Ok(ExitCode::SUCCESS)
}

/// What takes how much of the file.
fn print_parts(path: &Path) -> Outcome<()> {
    let kinds = [Kind::Lists, Kind::Upper, Kind::Codes4, Kind::Codes8, Kind::Nodes, Kind::Ids, Kind::Vectors];
    let sizes = open(path)?.with_store(|store| {
        let view = store.view();
        kinds.map(|kind| {
            let rows = view.rows(kind).map(|rows| rows.descriptor().clone());
            let pages = view.optional_pages(kind).map(|pages| pages.descriptor().clone());
            let blocks = |d: chassis_core::internals::format::Descriptor| {
                (0..d.units).map(|unit| d.unit_blocks(unit) * BLOCK as u64).sum()
            };
            (kind, rows.or(pages).map_or(0u64, blocks))
        })
    });
    for (kind, bytes) in sizes.map_err(|e| e.to_string())? {
        println!("  {:<8} {:>7.1} MiB", format!("{kind:?}"), bytes as f64 / (1 << 20) as f64);
    }
    Ok(())
}

/// The figures one process prints, by name.
type Figures = HashMap<String, String>;

/// Runs the searches in a process of its own, with nothing of the file in the system's cache.
fn child(arguments: &Arguments, path: &Path, group: &str) -> Outcome<Figures> {
    let file = format!("if={}", path.display());
    let evict = Command::new("dd").args([&file, "iflag=nocache", "count=0", "status=none"]).status();
    if !evict.map_err(|e| format!("dd: {e}"))?.success() {
        return Err("dd did not drop the file from the cache".into());
    }
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new(program).args(arguments.words()).args(["--group", group]).output();
    let output = output.map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the searches in {group} ended with {}: {said}{log}", output.status));
    }
    Ok(said.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.into(), b.into())).collect())
}

fn print_runs(roomy: &Figures, limited: &Figures) -> Outcome<()> {
    println!("{:<28}{:>14}{:>14}", "", "memory enough", "limited");
    for name in
        ["recall", "warm_s", "first_qps", "first_faults", "first_kib", "qps", "faults", "kib", "p99_us"]
    {
        let of = |figures: &Figures| figures.get(name).cloned().unwrap_or("?".into());
        println!("{name:<28}{:>14}{:>14}", of(roomy), of(limited));
    }
    let qps = |figures: &Figures| figures.get("qps").and_then(|q| q.parse::<f64>().ok()).ok_or("no QPS");
    println!("times as long: {:.1}", qps(roomy)? / qps(limited)?);
    println!(
        "(faults: those that read, a query; kib: read from the disk, a query; first_: the first half of the queries)"
    );
    Ok(())
}

fn open(path: &Path) -> Outcome<VectorIndex> {
    let options = OpenOptions { mode: Mode::ReadOnly, ..Default::default() };
    VectorIndex::open(path, &options).map_err(|e| e.to_string())
}

/// What this process has read so far.
struct Reads {
    faults: u64,
    bytes: u64,
}

impl Reads {
    fn now() -> Reads {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The program's name, in parentheses, may hold spaces; major faults are the tenth field after it.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let faults = fields.split_whitespace().nth(9).and_then(|n| n.parse().ok()).unwrap_or(0);
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let bytes = io.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok());
        Reads { faults, bytes: bytes.unwrap_or(0) }
    }
}

fn measure(arguments: &Arguments, group: &str) -> Outcome<()> {
    if group != "none" {
        std::fs::write(format!("{group}/cgroup.procs"), std::process::id().to_string())
            .map_err(|e| format!("{group}: {e}"))?;
    }
    let (folder, set) = (arguments.get("data")?, arguments.get("set")?);
    let index = open(Path::new(arguments.get("index")?))?;
    let dimensions = index.dimensions().map_err(|e| e.to_string())?;
    let queries = words(&format!("{folder}/{set}.query.f32bin"), f32::from_le_bytes)?;
    let truth = words(&format!("{folder}/{set}.gt.ivecs"), i32::from_le_bytes)?;
    let width = truth.first().map_or(0, |&n| n as usize) + 1;
    if arguments.get("warm") != Ok("no") {
        let started = Instant::now();
        index.warm().map_err(|e| e.to_string())?;
        println!("warm_s {:.2}", started.elapsed().as_secs_f64());
    }
    let options = SearchOptions { recall: Some(arguments.number("recall", 0.95)?), ..SearchOptions::k(K) };
    let all: Vec<(&[f32], &[i32])> =
        queries.chunks_exact(dimensions).zip(truth.chunks_exact(width)).collect();
    let all = &all[..all.len().min(arguments.number("queries", usize::MAX)?)];
    let (first, second) = all.split_at(all.len() / 2);
    let mut found = 0;
    for (half, prefix) in [(first, "first_"), (second, "")] {
        let (before, mut times) = (Reads::now(), Vec::with_capacity(half.len()));
        let mut hits = Hits::default();
        for (query, truth) in half {
            let started = Instant::now();
            index.search_into(query, &options, &mut hits).map_err(|e| e.to_string())?;
            times.push(started.elapsed().as_secs_f64());
            found += hits.ids.iter().filter(|id| truth[1..=K].contains(&(**id as i32))).count();
        }
        let (after, count) = (Reads::now(), half.len() as f64);
        println!("{prefix}qps {:.0}", count / times.iter().sum::<f64>());
        println!("{prefix}faults {:.2}", (after.faults - before.faults) as f64 / count);
        println!("{prefix}kib {:.1}", (after.bytes - before.bytes) as f64 / 1024.0 / count);
        times.sort_by(f64::total_cmp);
        println!("{prefix}p99_us {:.0}", 1e6 * times[times.len() * 99 / 100]);
    }
    println!("recall {:.4}", found as f64 / (all.len() * K) as f64);
    Ok(())
}

/// A file of 4-byte little-endian values.
fn words<T>(file: &str, from: fn([u8; 4]) -> T) -> Outcome<Vec<T>> {
    let bytes = std::fs::read(file).map_err(|e| format!("{file}: {e}"))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|word| from(*word)).collect())
}

/// `--name value` pairs.
struct Arguments(Vec<(String, String)>);

impl Arguments {
    fn read(words: &[String]) -> Outcome<Arguments> {
        let mut pairs = Vec::new();
        for pair in words.chunks(2) {
            let name = pair[0].strip_prefix("--").ok_or(format!("unexpected argument {}", pair[0]))?;
            if !["data", "set", "index", "share", "recall", "warm", "queries", "group"].contains(&name) {
                return Err(format!("--{name} is not known"));
            }
            pairs.push((name.to_owned(), pair.get(1).ok_or(format!("--{name} needs a value"))?.clone()));
        }
        Ok(Arguments(pairs))
    }

    fn get(&self, name: &str) -> Outcome<&str> {
        let pair = self.0.iter().find(|(other, _)| other == name);
        pair.map(|(_, value)| value.as_str()).ok_or(format!("--{name} is needed"))
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Outcome<T> {
        match self.get(name) {
            Ok(text) => text.parse().map_err(|_| format!("--{name} {text} is no number")),
            Err(_) => Ok(default),
        }
    }

    fn words(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()])
    }
}
