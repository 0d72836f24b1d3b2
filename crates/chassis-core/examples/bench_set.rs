//! Builds an index from a benchmark set and prints what tuning needs: build cost, file size, time to the first
//! result, and recall@10 against queries per second for each ef.
//!
//! ```text
//! cargo run --release -p chassis-core --example bench_set -- --data DIR --set NAME [options]
//!   --rows N             the first N rows only (the true neighbors are then found by exact searches)
//!   --metric NAME        default: what NAME.base.meta.json says
//!   --m N --m0 N --ef-construction N --threads N
//!   --efs LIST           default 10,14,20,28,40,56,80,112,160,224,320,448,640,900
//!   --seconds S          least length of a timed pass, default 0.5
//!   --rounds N           passes at each ef, the median counts, default 3
//!   --index FILE         keep the index there, and use it when it exists
//! ```
//!
//! The set is NAME.base.f32bin and NAME.query.f32bin (bare little-endian rows), their .meta.json files, and
//! NAME.gt.ivecs. Times are of the searching thread's CPU where the system tells it, else of the clock.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use chassis_core::{BatchOptions, Hits, Id, Metric, Mode, OpenOptions, SearchOptions, VectorIndex};

type Outcome<T> = Result<T, Box<dyn Error>>;

const K: usize = 10;
const EFS: &str = "10,14,20,28,40,56,80,112,160,224,320,448,640,900";
const TARGETS: [f64; 3] = [0.90, 0.95, 0.99];

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    let set = Set::load(&arguments)?;
    println!(
        "{}: {} x {}, {}, {} queries",
        set.name,
        set.rows(),
        set.dimensions,
        set.metric.name(),
        set.queries()
    );
    let folder = tempfile::tempdir()?;
    let path = arguments.get("index").map_or_else(|| folder.path().join("bench.chassis"), PathBuf::from);
    if !path.exists() {
        build(&path, &set, &arguments)?;
    }
    open(&path, &set)?;
    search(&path, set, &arguments)
}

fn build(path: &Path, set: &Set, arguments: &Arguments) -> Outcome<()> {
    let options = OpenOptions {
        mode: Mode::Create,
        dimensions: Some(set.dimensions),
        metric: Some(set.metric),
        m: arguments.number("m")?,
        m0: arguments.number("m0")?,
        ef_construction: arguments.number("ef-construction")?,
        ..Default::default()
    };
    let started = Moment::now();
    let index = VectorIndex::open(path, &options)?;
    let ids: Vec<Id> = (0..set.rows() as u64).map(Id::Integer).collect();
    // The first half of what a bulk build tells of its progress is linking, the second the refine pass.
    let plain = OnceLock::new();
    let progress = |done: usize, total: usize| {
        if 2 * done >= total {
            plain.get_or_init(|| started.until_now());
        }
    };
    let threads = arguments.number("threads")?;
    let options = BatchOptions { ids: Some(&ids), threads, progress: Some(&progress), ..Default::default() };
    index.add_batch(&set.base, &options)?;
    let added = started.until_now();
    index.commit()?;
    let whole = started.until_now();
    println!("build: {whole}; without the refine pass and the commit {}", plain.get().unwrap_or(&added));
    println!("commit: {:.2} s", whole.wall - added.wall);
    Ok(())
}

/// A moment of this process.
struct Moment {
    cpu: Option<f64>,
    wall: Instant,
}

impl Moment {
    fn now() -> Moment {
        Moment { cpu: process_cpu_seconds(), wall: Instant::now() }
    }

    fn until_now(&self) -> Span {
        let cpu = self.cpu.zip(process_cpu_seconds()).map(|(from, to)| to - from);
        Span { cpu, wall: self.wall.elapsed().as_secs_f64() }
    }
}

/// Seconds between two moments.
struct Span {
    cpu: Option<f64>,
    wall: f64,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cpu {
            Some(cpu) => write!(f, "{cpu:.1} CPU s, {:.1} s", self.wall),
            None => write!(f, "unknown CPU s, {:.1} s", self.wall),
        }
    }
}

fn open(path: &Path, set: &Set) -> Outcome<()> {
    let mut times = Vec::new();
    for _ in 0..7 {
        let started = Instant::now();
        let index = VectorIndex::open(path, &OpenOptions { mode: Mode::ReadOnly, ..Default::default() })?;
        let opened = started.elapsed();
        index.search(set.query(0), &SearchOptions::k(K))?;
        times.push((started.elapsed().as_secs_f64() * 1e6, opened.as_secs_f64() * 1e6));
        index.close()?;
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (total, opened) = times[times.len() / 2];
    println!(
        "open: {opened:.0} us, with the first result {total:.0} us (median of {}, same process)",
        times.len()
    );
    Ok(())
}

fn search(path: &Path, mut set: Set, arguments: &Arguments) -> Outcome<()> {
    let index = VectorIndex::open(path, &OpenOptions { mode: Mode::ReadOnly, ..Default::default() })?;
    let stats = index.stats()?;
    let raw = (set.base.len() * 4) as f64;
    println!(
        "file: {} bytes, {:.2} x raw, reclaimable {}; m {}, m0 {}, efConstruction {}; kernel {}",
        stats.file_bytes,
        stats.file_bytes as f64 / raw,
        stats.reclaimable_bytes,
        stats.m,
        stats.m0,
        stats.ef_construction,
        stats.kernel
    );
    set.complete_truth(&index)?;
    let seconds: f64 = arguments.get("seconds").unwrap_or("0.5").parse()?;
    let rounds = arguments.number("rounds")?.unwrap_or(3).max(1);
    println!("{:>6} {:>10} {:>10} {:>10} {:>10}", "ef", "recall@10", "QPS", "us", "us/ef");
    let mut curve = Vec::new();
    for ef in arguments.get("efs").unwrap_or(EFS).split(',') {
        let ef: usize = ef.parse()?;
        let recall = set.recall(&index, ef)?;
        let mut passes =
            (0..rounds).map(|_| pass(&index, &set, ef, seconds)).collect::<Outcome<Vec<f64>>>()?;
        passes.sort_by(f64::total_cmp);
        let qps = passes[passes.len() / 2];
        println!("{ef:>6} {recall:>10.4} {qps:>10.0} {:>10.1} {:>10.3}", 1e6 / qps, 1e6 / qps / ef as f64);
        curve.push((recall, qps));
        if recall >= 0.999 {
            break;
        }
    }
    for target in TARGETS {
        match at_recall(&curve, target) {
            Some(qps) => println!("QPS at {target:.2}: {qps:.0}"),
            None => println!("QPS at {target:.2}: not between two points of the curve"),
        }
    }
    Ok(())
}

/// Queries per second of searching one query a call, after a run that warms the caches.
fn pass(index: &VectorIndex, set: &Set, ef: usize, seconds: f64) -> Outcome<f64> {
    let options = SearchOptions { ef_search: Some(ef), ..SearchOptions::k(K) };
    let mut hits = Hits::default();
    for i in 0..set.queries().min(100) {
        index.search_into(set.query(i), &options, &mut hits)?;
    }
    let (cpu, wall, mut done) = (thread_cpu_seconds(), Instant::now(), 0);
    while wall.elapsed().as_secs_f64() < seconds {
        for i in 0..set.queries() {
            index.search_into(set.query(i), &options, &mut hits)?;
        }
        done += set.queries();
    }
    let wall = wall.elapsed().as_secs_f64();
    Ok(done as f64 / cpu.zip(thread_cpu_seconds()).map_or(wall, |(a, b)| b - a))
}

/// Speed at a recall: log(speed) is taken as linear in log(1 - recall) between two measured points.
fn at_recall(curve: &[(f64, f64)], recall: f64) -> Option<f64> {
    let pair = curve.windows(2).find(|pair| pair[0].0 < recall && pair[1].0 >= recall)?;
    let miss = |recall: f64| (1.0 - recall).max(1e-5).ln();
    let share = (miss(recall) - miss(pair[0].0)) / (miss(pair[1].0) - miss(pair[0].0));
    Some((pair[0].1.ln() + share * (pair[1].1.ln() - pair[0].1.ln())).exp())
}

/// Nanoseconds this thread has run, as Linux's scheduler counts them.
fn thread_cpu_seconds() -> Option<f64> {
    // The count is brought up to date when the thread is scheduled; yielding asks for that.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

/// CPU seconds of all threads of this process, ended ones too, in Linux's hundredths.
fn process_cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold spaces: count fields after it.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

/// Vectors, queries and the true neighbors of each query.
struct Set {
    name: String,
    metric: Metric,
    dimensions: usize,
    base: Vec<f32>,
    query: Vec<f32>,
    /// Absent for a set cut short: its neighbors are others.
    truth: Option<Vec<Vec<u64>>>,
}

impl Set {
    fn load(arguments: &Arguments) -> Outcome<Set> {
        let (Some(folder), Some(name)) = (arguments.get("data"), arguments.get("set")) else {
            return Err("--data DIR and --set NAME are needed".into());
        };
        let file = |suffix: &str| Path::new(folder).join(format!("{name}.{suffix}"));
        let meta = std::fs::read_to_string(file("base.meta.json"))?;
        let dimensions: usize = field(&meta, "dim").ok_or("base.meta.json has no dim")?.parse()?;
        let metric = arguments.get("metric").or_else(|| field(&meta, "metric")).unwrap_or("cosine");
        let mut base = words(&file("base.f32bin"), f32::from_le_bytes)?;
        let whole = base.len() / dimensions;
        let rows = arguments.number("rows")?.unwrap_or(whole).min(whole);
        base.truncate(rows * dimensions);
        let truth = (rows == whole).then(|| words(&file("gt.ivecs"), i32::from_le_bytes)).transpose()?;
        Ok(Set {
            name: name.to_owned(),
            metric: Metric::from_name(metric)?,
            dimensions,
            base,
            query: words(&file("query.f32bin"), f32::from_le_bytes)?,
            truth: truth.map(|all| lists(&all)),
        })
    }

    fn rows(&self) -> usize {
        self.base.len() / self.dimensions
    }

    fn queries(&self) -> usize {
        self.query.len() / self.dimensions
    }

    fn query(&self, i: usize) -> &[f32] {
        &self.query[i * self.dimensions..][..self.dimensions]
    }

    fn complete_truth(&mut self, index: &VectorIndex) -> Outcome<()> {
        if self.truth.is_none() {
            let options = SearchOptions { exact: true, ..SearchOptions::k(K) };
            let hits = index.search_batch(&self.query, &options, None)?;
            self.truth = Some(hits.into_iter().map(|hits| hits.ids).collect());
        }
        Ok(())
    }

    fn recall(&self, index: &VectorIndex, ef: usize) -> Outcome<f64> {
        let options = SearchOptions { ef_search: Some(ef), ..SearchOptions::k(K) };
        let truth = self.truth.as_deref().unwrap_or_default();
        let mut found = 0;
        for (i, nearest) in truth.iter().enumerate() {
            let hits = index.search(self.query(i), &options)?;
            found += hits.ids.iter().filter(|id| nearest.contains(id)).count();
        }
        Ok(found as f64 / (truth.len() * K) as f64)
    }
}

/// A file of 4-byte little-endian values.
fn words<T>(file: &Path, from: fn([u8; 4]) -> T) -> Outcome<Vec<T>> {
    let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|word| from(*word)).collect())
}

/// The lists of an ivecs file, each behind its length, cut to the first `K`.
fn lists(all: &[i32]) -> Vec<Vec<u64>> {
    let width = all.first().map_or(0, |&n| n as usize);
    all.chunks_exact(width + 1)
        .map(|list| list[1..].iter().take(K).map(|&row| row as u64).collect())
        .collect()
}

/// A value of a flat JSON object, quotes removed.
fn field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let value = json.split_once(&format!("\"{name}\":"))?.1;
    Some(value.split([',', '}', '\n']).next()?.trim().trim_matches('"'))
}

/// `--name value` pairs.
struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read() -> Outcome<Arguments> {
        let mut words = std::env::args().skip(1);
        let mut pairs = HashMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("unexpected argument {word}"))?;
            pairs.insert(name.to_owned(), words.next().ok_or_else(|| format!("--{name} needs a value"))?);
        }
        Ok(Arguments(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Outcome<Option<usize>> {
        Ok(self.get(name).map(str::parse).transpose()?)
    }
}
