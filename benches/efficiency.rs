//! How near searches of real sets come to what the machine could do: counts the work of each search, measures the least
//! that work could take here, and the searches themselves.
//!
//! ```sh
//! cargo bench -p chassis-core --bench efficiency -- --data DIR --work DIR --sets glove100,s384,s1536 \
//!     [--recalls 0.95,0.99]
//! ```
//!
//! `--work` keeps the indexes, NAME.chassis, which are built with the defaults when they are not there. The bound is that of
//! `benches/roofline.rs`:
//!
//! ```text
//! bound = query + hops * t(list) + met * max(t(code), code kernel)
//!       + followed * max(t(8-bit record), 8-bit kernel) + measured * max(t(vector), f32 kernel)
//! ```
//!
//! with `t` the time of a block at a random place of as many as there are rows, known early enough to overlap with
//! others; `query` is the time to prepare the query for codes; the kernels run from the first cache. Choosing what to
//! read next, which no such bound counts, is what the rest of a search's time is: the pool, the filter of nodes met.
//! Times are CPU time of this thread, the best of several passes.

mod machine;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chassis_core::internals::codes::{Codec, Geometry, Prepared};
use chassis_core::internals::format::Kind;
use chassis_core::internals::kernels::{Lanes, WithLanes, dispatch};
use chassis_core::{BatchOptions, Hits, Id, Metric, Mode, OpenOptions, SearchOptions, VectorIndex};

use machine::{Blocks, Buffer, Kernel, LINE, Pages, independent, kernel_time};

type Outcome<T> = Result<T, String>;

const K: usize = 10;
const PASSES: usize = 7;
const CALLS: usize = 2_000;
const READS: usize = 150_000;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if words == ["--test"] {
        return Ok(());
    }
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name).ok_or(format!("{name} is needed"))?;
        words.get(at + 1).cloned().ok_or(format!("{name} needs a value"))
    };
    let recalls = value("--recalls").unwrap_or("0.95,0.99".into());
    let recalls: Result<Vec<f32>, _> = recalls.split(',').map(str::parse).collect();
    let recalls = recalls.map_err(|e| format!("--recalls: {e}"))?;
    let (data, work, sets) = (value("--data")?, value("--work")?, value("--sets")?);
    println!(
        "| set | recall asked, reached | met | lists | 8-bit | vectors | query us | bound us (2 MiB, 4 KiB pages) | measured us | efficiency |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for name in sets.split(',') {
        let set = Set::load(Path::new(&data), name)?;
        let index = set.index(&Path::new(&work).join(format!("{name}.chassis")))?;
        let shape = Shape::of(&index, &set)?;
        for &recall in &recalls {
            let options = SearchOptions { recall: Some(recall), ..SearchOptions::k(K) };
            let work = Work::count(&index, &set, &options)?;
            let measured = measure(&index, &set, &options)?;
            let [huge, small] = [Pages::Huge, Pages::Small].map(|pages| shape.bound(&work, pages));
            println!(
                "| {name} | {recall}, {:.4} | {:.0} | {:.1} | {:.1} | {:.1} | {:.2} | {:.1}, {:.1} | {:.1} | {:.2}, {:.2} |",
                work.recall,
                work.met,
                work.hops,
                if shape.eight.is_some() { work.followed } else { 0.0 },
                work.measured,
                shape.query_ns / 1e3,
                huge / 1e3,
                small / 1e3,
                measured / 1e3,
                huge / measured,
                small / measured,
            );
        }
        println!("{}", shape.describe(name));
    }
    Ok(())
}

/// Vectors, queries and true neighbors.
struct Set {
    base: PathBuf,
    metric: Metric,
    dimensions: usize,
    queries: Vec<f32>,
    truth: Vec<i32>,
    /// Neighbors of each query in `truth`, and the length before them.
    width: usize,
}

impl Set {
    fn load(folder: &Path, name: &str) -> Outcome<Set> {
        let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
        let meta = std::fs::read_to_string(file("base.meta.json")).map_err(|e| format!("{name}: {e}"))?;
        let field = |field: &str| {
            let value = meta.split_once(&format!("\"{field}\":")).ok_or(format!("{name} has no {field}"))?.1;
            let value = value.split([',', '}', '\n']).next().unwrap_or("");
            Ok::<_, String>(value.trim().trim_matches('"').to_owned())
        };
        let truth = words(&file("gt.ivecs"), i32::from_le_bytes)?;
        Ok(Set {
            base: file("base.f32bin"),
            metric: Metric::from_name(&field("metric")?).map_err(|e| e.to_string())?,
            dimensions: field("dim")?.parse().map_err(|_| "dim is no number")?,
            queries: words(&file("query.f32bin"), f32::from_le_bytes)?,
            width: truth.first().map_or(0, |&n| n as usize) + 1,
            truth,
        })
    }

    fn queries(&self) -> impl Iterator<Item = (&[f32], &[i32])> {
        self.queries.chunks_exact(self.dimensions).zip(self.truth.chunks_exact(self.width).map(|t| &t[1..=K]))
    }

    fn count(&self) -> f64 {
        self.queries().count() as f64
    }

    fn index(&self, path: &Path) -> Outcome<VectorIndex> {
        let text = |e: chassis_core::Error| e.to_string();
        if !path.exists() {
            let (dimensions, metric) = (Some(self.dimensions), Some(self.metric));
            let options = OpenOptions { mode: Mode::Create, dimensions, metric, ..Default::default() };
            let index = VectorIndex::open(path, &options).map_err(text)?;
            let rows = words(&self.base, f32::from_le_bytes)?;
            let ids: Vec<Id> = (0..(rows.len() / self.dimensions) as u64).map(Id::Integer).collect();
            index.add_batch(&rows, &BatchOptions { ids: Some(&ids), ..Default::default() }).map_err(text)?;
            index.commit().map_err(text)?;
        }
        let index = VectorIndex::open(path, &OpenOptions { mode: Mode::ReadOnly, ..Default::default() });
        let index = index.map_err(text)?;
        index.warm().map_err(text)?;
        Ok(index)
    }
}

/// A file of 4-byte little-endian values.
fn words<T>(file: &Path, from: fn([u8; 4]) -> T) -> Outcome<Vec<T>> {
    let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|word| from(*word)).collect())
}

/// What a search does, on average.
struct Work {
    recall: f64,
    met: f64,
    hops: f64,
    followed: f64,
    measured: f64,
}

impl Work {
    fn count(index: &VectorIndex, set: &Set, options: &SearchOptions) -> Outcome<Work> {
        let (mut sums, mut found) = ([0usize; 4], 0);
        for (query, truth) in set.queries() {
            let counts = index.search_counts(query, options).map_err(|e| e.to_string())?;
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            let hits = index.search(query, options).map_err(|e| e.to_string())?;
            found += hits.ids.iter().filter(|id| truth.contains(&(**id as i32))).count();
        }
        let [met, hops, followed, measured] = sums.map(|sum| sum as f64 / set.count());
        Ok(Work { recall: found as f64 / set.count() / K as f64, met, hops, followed, measured })
    }
}

/// Nanoseconds of a search, one query a call: CPU time where the system tells it, the best of several passes.
fn measure(index: &VectorIndex, set: &Set, options: &SearchOptions) -> Outcome<f64> {
    let mut hits = Hits::default();
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let (cpu, wall) = (thread_cpu_ns(), Instant::now());
        for (query, _) in set.queries() {
            index.search_into(query, options, &mut hits).map_err(|e| e.to_string())?;
        }
        let wall = wall.elapsed().as_nanos() as f64;
        best = best.min(cpu.zip(thread_cpu_ns()).map_or(wall, |(from, to)| to - from));
    }
    Ok(best / set.count())
}

/// Nanoseconds this thread has run, as Linux's scheduler counts them.
fn thread_cpu_ns() -> Option<f64> {
    // The count is brought up to date when the thread is scheduled; yielding asks for that.
    std::thread::yield_now();
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()
}

/// Records of one kind: bytes of one, and the least its estimate takes.
#[derive(Clone, Copy)]
struct Records {
    bytes: usize,
    kernel_ns: f64,
}

/// Sizes of what a search reads, and times of its arithmetic from the first cache.
struct Shape {
    rows: usize,
    list_bytes: usize,
    first: Records,
    eight: Option<Records>,
    vector: Records,
    query_ns: f64,
}

impl Shape {
    fn of(index: &VectorIndex, set: &Set) -> Outcome<Shape> {
        let stats = index.stats().map_err(|e| e.to_string())?;
        let geometry = match set.metric {
            Metric::L2 => Geometry::Euclidean,
            Metric::Ip => Geometry::Inner,
            Metric::Cosine => Geometry::Unit,
        };
        let rows = |kind: Kind, most: usize| {
            let read = index.with_store(|store| {
                let view = store.view();
                let rows = view.rows(kind)?;
                (0..rows.len().min(most)).map(|n| rows.get(n).map(<[u8]>::to_vec).ok()).collect()
            });
            read.map_err(|e| e.to_string()).map(Option::<Vec<Vec<u8>>>::unwrap_or_default)
        };
        let model = rows(Kind::Model, usize::MAX)?.concat();
        if model.is_empty() {
            return Err("the index has no codes".into());
        }
        let codec = Codec::decode(&model, geometry, set.dimensions as u32).map_err(|e| e.to_string())?;
        let query = &set.queries[..set.dimensions];
        let (four, eight) = (rows(Kind::Codes4, 4)?, rows(Kind::Codes8, 4)?);
        let has = (four.len() == 4, eight.len() == 4);
        let time = |part: Part, records: &[Vec<u8>]| {
            let records = [0, 1, 2, 3].map(|i| records.get(i).map_or(&[][..], Vec::as_slice));
            let work = Timed { codec: &codec, query, records, has, part };
            (0..machine::REPEATS).map(|_| dispatch(work)).fold(f64::INFINITY, f64::min)
        };
        let of = |part, records: &[Vec<u8>]| Records {
            bytes: records[0].len(),
            kernel_ns: time(part, records) / 4.0,
        };
        let first = if has.0 { of(Part::Four, &four) } else { of(Part::Eight, &eight) };
        let kernel = match set.metric {
            Metric::L2 => Kernel::L2,
            Metric::Ip => Kernel::Dot,
            Metric::Cosine => Kernel::Cosine,
        };
        Ok(Shape {
            rows: stats.count as usize,
            list_bytes: stats.m0 * 4,
            first,
            eight: (has.0 && has.1).then(|| of(Part::Eight, &eight)),
            vector: Records {
                bytes: set.dimensions * 4,
                kernel_ns: kernel_time(kernel, set.dimensions, CALLS),
            },
            query_ns: time(Part::Query, &[]),
        })
    }

    /// The least a search could take, in nanoseconds.
    fn bound(&self, work: &Work, pages: Pages) -> f64 {
        let memory = |bytes: usize| {
            let buffer = Buffer::new(self.rows * bytes.next_multiple_of(LINE), pages);
            independent(Blocks::new(buffer.bytes(), bytes), READS)
        };
        let part = |count: f64, records: Records| count * memory(records.bytes).max(records.kernel_ns);
        let second = self.eight.map_or(0.0, |records| part(work.followed, records));
        self.query_ns
            + part(work.hops, Records { bytes: self.list_bytes, kernel_ns: 0.0 })
            + part(work.met, self.first)
            + second
            + part(work.measured, self.vector)
    }

    fn describe(&self, name: &str) -> String {
        let of = |records: Records| format!("{} B, {:.1} ns", records.bytes, records.kernel_ns);
        format!(
            "\n{name}: {} rows; list {} B; first code {}; 8-bit record {}; vector {}\n",
            self.rows,
            self.list_bytes,
            of(self.first),
            self.eight.map_or("none".to_owned(), of),
            of(self.vector)
        )
    }
}

/// A part of a search that is arithmetic.
#[derive(Clone, Copy)]
enum Part {
    Query,
    Four,
    Eight,
}

/// Repeats a part with everything in the first cache; gives nanoseconds of one call.
#[derive(Clone, Copy)]
struct Timed<'a> {
    codec: &'a Codec,
    query: &'a [f32],
    records: [&'a [u8]; 4],
    /// Whether there are codes of 4 bits, of 8.
    has: (bool, bool),
    part: Part,
}

impl WithLanes for Timed<'_> {
    type Output = f64;

    #[inline(always)]
    fn call<L: Lanes>(self, lanes: L) -> f64 {
        let mut prepared = Prepared::default();
        self.codec.prepare(lanes, self.query, self.has.0, self.has.1, &mut prepared);
        let started = Instant::now();
        for _ in 0..CALLS {
            let records = black_box(self.records);
            match self.part {
                Part::Query => {
                    self.codec.prepare(lanes, black_box(self.query), self.has.0, self.has.1, &mut prepared);
                }
                Part::Four => drop(black_box(lanes.estimate_4bit(prepared.four.query(), records))),
                Part::Eight => drop(black_box(lanes.estimate_8bit(prepared.eight.query(), records))),
            }
            black_box(&prepared);
        }
        started.elapsed().as_nanos() as f64 / CALLS as f64
    }
}
