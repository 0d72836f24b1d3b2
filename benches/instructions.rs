//! Instructions of searches and of a build, counted by callgrind and compared with `benches/instructions.txt`.
//!
//! ```sh
//! cargo bench -p chassis-core --bench instructions                  # counts; fails when one is more than 3 % above the file's
//! cargo bench -p chassis-core --bench instructions -- --record      # counts and writes the file
//! ```
//!
//! A count does not depend on what else the machine does, so a loss of a few per cent shows, where times vary by more.
//! It is no time: memory costs nothing in it. It depends on the compiler, whose version stands in the file.
//!
//! Each figure is counted in a process of its own: data and indexes are made outside of callgrind, the process opens
//! its index and runs everything once, and only the second run, inside [`counted`], is collected.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use chassis_core::{BatchOptions, Hits, Id, Metric, Mode, OpenOptions, SearchOptions, VectorIndex};

use support::{K, Set};

type Outcome<T> = Result<T, String>;

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/instructions.txt");
/// A count above the recorded one by more than this part fails; one below by more asks for a new record.
const TOLERANCE: f64 = 0.03;
/// The exit code of a lane that could not run.
const SKIPPED: u8 = 90;
const ROWS: usize = 20_000;
const QUERIES: usize = 200;
/// An exact search is thousands of times as long as the difference between two queries.
const EXACT_QUERIES: usize = 10;
/// Rows from which an index has codes and a table of recalls.
const BUILD_ROWS: usize = 2_048;

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Recall,
    Exact,
    /// Adding a batch to an empty index, with one thread.
    Build,
    /// The commit of the row that makes them enough, which fits codes and the table of recalls.
    Commit,
}

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    dimensions: usize,
    work: Work,
}

/// 100 dimensions have 4-bit codes of all components; 384 have 4-bit codes of a projection, then 8-bit codes.
const CASES: [Case; 5] = [
    Case { name: "search-100-recall95", dimensions: 100, work: Work::Recall },
    Case { name: "search-384-recall95", dimensions: 384, work: Work::Recall },
    Case { name: "search-100-exact", dimensions: 100, work: Work::Exact },
    Case { name: "build-100", dimensions: 100, work: Work::Build },
    Case { name: "commit-100", dimensions: 100, work: Work::Commit },
];

impl Case {
    /// What a figure is per: queries or rows.
    fn units(&self) -> usize {
        match self.work {
            Work::Recall => QUERIES,
            Work::Exact => EXACT_QUERIES,
            Work::Build | Work::Commit => BUILD_ROWS,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [] => compare(false),
        ["--record"] => compare(true),
        ["--test"] => try_all().map(|()| ExitCode::SUCCESS),
        ["--case", name, folder] => run_case(name, Path::new(folder)).map(|()| ExitCode::SUCCESS),
        _ => Err(format!("unknown arguments {words:?}; --record, or none")),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn skip(why: &str) -> Outcome<ExitCode> {
    println!("LANE SKIPPED: instructions: {why}");
    Ok(ExitCode::from(SKIPPED))
}

fn compare(record: bool) -> Outcome<ExitCode> {
    let compiler = version(&std::env::var("RUSTC").unwrap_or("rustc".into()), "-V")
        .ok_or("rustc does not say its version")?;
    let Some(valgrind) = version("valgrind", "--version") else { return skip("valgrind is not installed") };
    let recorded = std::fs::read_to_string(FIGURES).unwrap_or_default();
    let made_by = recorded.lines().find_map(|line| line.strip_prefix("# compiler: ")).unwrap_or("none");
    if !record && made_by != compiler {
        return skip(&format!(
            "the figures are of {made_by:?}, this is {compiler:?}: record them anew where they held before"
        ));
    }
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    prepare(folder.path(), ROWS)?;
    println!("{compiler}, {valgrind}; instructions a query, a row for build and commit");
    let (mut lines, mut failed) = (String::new(), false);
    for case in &CASES {
        let (kernel, total) = count(case, folder.path())?;
        if cfg!(target_arch = "x86_64") && kernel != "avx2" {
            return skip(&format!("the figures are of AVX2, here the kernel is {kernel}"));
        }
        let figure = total / case.units() as u64;
        lines += &format!("{} {figure}\n", case.name);
        let before = figure_of(&recorded, case.name).filter(|_| !record);
        failed |= report(case.name, figure, before);
    }
    if record {
        std::fs::write(FIGURES, header(&compiler) + &lines).map_err(|e| e.to_string())?;
        println!("written to benches/instructions.txt");
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn header(compiler: &str) -> String {
    "# Instructions a query, or a row for build and commit: see benches/instructions.rs, which writes this file.\n"
        .to_owned()
        + &format!("# compiler: {compiler}\n")
}

/// Prints a figure beside the recorded one; says whether it is too far above.
fn report(name: &str, figure: u64, before: Option<u64>) -> bool {
    let Some(before) = before else {
        println!("  {name:<22}{figure:>12}");
        return false;
    };
    let change = figure as f64 / before as f64 - 1.0;
    let verdict = match change {
        c if c > TOLERANCE => "TOO MANY",
        c if c < -TOLERANCE => {
            "fewer: lower the figure with `cargo bench -p chassis-core --bench instructions -- --record`"
        }
        _ => "",
    };
    println!("  {name:<22}{figure:>12} recorded {before:>12} {:>+7.2} % {verdict}", 100.0 * change);
    change > TOLERANCE
}

fn figure_of(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The first line a program says about itself.
fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned())
}

/// The kernel a case ran with, and the instructions callgrind collected.
fn count(case: &Case, folder: &Path) -> Outcome<(String, u64)> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    // On one CPU a commit uses one thread: what others do would not be collected.
    let output = Command::new("taskset")
        .args(["-c", &first_cpu(), "valgrind"])
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=*instructions::counted*",
        ])
        .arg(program)
        .args(["--case", case.name])
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("taskset: {e}"))?;
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let kernel = said.lines().find_map(|line| line.strip_prefix("kernel ")).map(str::to_owned);
    let collected = log.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match (output.status.success(), kernel, collected) {
        // Nothing collected: the function to collect in was not found.
        (true, Some(kernel), Some(collected)) if collected > 0 => Ok((kernel, collected)),
        _ => Err(format!("{} under callgrind:\n{said}{log}", case.name)),
    }
}

/// A CPU this process may run on.
fn first_cpu() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
    list.trim().chars().take_while(char::is_ascii_digit).collect()
}

fn index_path(folder: &Path, dimensions: usize) -> PathBuf {
    folder.join(format!("{dimensions}.chassis"))
}

/// An index one row short of codes.
fn few_path(folder: &Path, dimensions: usize) -> PathBuf {
    folder.join(format!("{dimensions}.few.chassis"))
}

fn data_path(folder: &Path, dimensions: usize, part: &str) -> PathBuf {
    folder.join(format!("{dimensions}.{part}.f32bin"))
}

/// Makes data and indexes, and prints what the searches that are to be counted find.
fn prepare(folder: &Path, rows: usize) -> Outcome<()> {
    for dimensions in [100, 384] {
        let mut set = Set::clustered(rows, QUERIES, dimensions);
        set.find_truth();
        let index = empty(&index_path(folder, dimensions), dimensions, set.metric)?;
        add(&index, &set.base, None)?;
        index.commit().map_err(|e| e.to_string())?;
        let recall = set.recall_with(&index, &SearchOptions { recall: Some(0.95), ..SearchOptions::k(K) });
        println!(
            "{rows} rows of {dimensions} dimensions in clusters: recall 0.95 asked, {recall:.4} reached"
        );
        write(&data_path(folder, dimensions, "query"), &set.queries)?;
        let base = &set.base[..BUILD_ROWS * dimensions];
        write(&data_path(folder, dimensions, "base"), base)?;
        let few = empty(&few_path(folder, dimensions), dimensions, set.metric)?;
        add(&few, &base[..(BUILD_ROWS - 1) * dimensions], None)?;
        few.commit().map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn empty(path: &Path, dimensions: usize, metric: Metric) -> Outcome<VectorIndex> {
    let options = OpenOptions {
        mode: Mode::Create,
        dimensions: Some(dimensions),
        metric: Some(metric),
        ..Default::default()
    };
    VectorIndex::open(path, &options).map_err(|e| e.to_string())
}

fn add(index: &VectorIndex, rows: &[f32], threads: Option<usize>) -> Outcome<()> {
    let dimensions = index.dimensions().map_err(|e| e.to_string())?;
    let ids: Vec<Id> = (0..(rows.len() / dimensions) as u64).map(Id::Integer).collect();
    let options = BatchOptions { ids: Some(&ids), threads, ..Default::default() };
    index.add_batch(rows, &options).map(|_| ()).map_err(|e| e.to_string())
}

fn write(path: &Path, values: &[f32]) -> Outcome<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path, bytes).map_err(|e| e.to_string())
}

fn read(path: &Path) -> Outcome<Vec<f32>> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect())
}

/// The only function in which callgrind collects.
#[inline(never)]
fn counted(work: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    std::hint::black_box(work())
}

/// One case, in a process of its own.
fn run_case(name: &str, folder: &Path) -> Outcome<()> {
    let case = CASES.iter().find(|case| case.name == name).ok_or(format!("no case {name}"))?;
    let index = match case.work {
        Work::Recall | Work::Exact => count_searches(case, folder)?,
        Work::Build | Work::Commit => count_build(case, folder)?,
    };
    println!("kernel {}", index.stats().map_err(|e| e.to_string())?.kernel);
    Ok(())
}

fn count_searches(case: &Case, folder: &Path) -> Outcome<VectorIndex> {
    let options = OpenOptions { mode: Mode::ReadOnly, ..Default::default() };
    let index =
        VectorIndex::open(index_path(folder, case.dimensions), &options).map_err(|e| e.to_string())?;
    let queries = read(&data_path(folder, case.dimensions, "query"))?;
    let queries = &queries[..case.units() * case.dimensions];
    let exact = case.work == Work::Exact;
    let options = SearchOptions { exact, recall: (!exact).then_some(0.95), ..SearchOptions::k(K) };
    let mut hits = Hits::default();
    // The first run touches pages and verifies them.
    search_all(&index, queries, &options, &mut hits)?;
    counted(|| search_all(&index, queries, &options, &mut hits))?;
    Ok(index)
}

fn search_all(index: &VectorIndex, queries: &[f32], options: &SearchOptions, hits: &mut Hits) -> Outcome<()> {
    let dimensions = index.dimensions().map_err(|e| e.to_string())?;
    for query in queries.chunks_exact(dimensions) {
        index.search_into(query, options, hits).map_err(|e| e.to_string())?;
        std::hint::black_box(&hits);
    }
    Ok(())
}

fn count_build(case: &Case, folder: &Path) -> Outcome<VectorIndex> {
    let rows = read(&data_path(folder, case.dimensions, "base"))?;
    if case.work == Work::Build {
        let index = empty(&folder.join(case.name), case.dimensions, Metric::Cosine)?;
        counted(|| add(&index, &rows, Some(1)))?;
        return Ok(index);
    }
    let index = VectorIndex::open(few_path(folder, case.dimensions), &OpenOptions::default());
    let index = index.map_err(|e| e.to_string())?;
    index.add(&rows[rows.len() - case.dimensions..]).map_err(|e| e.to_string())?;
    counted(|| index.commit().map(|_| ()).map_err(|e| e.to_string()))?;
    Ok(index)
}

/// Every case once without callgrind, on few rows: that the bench works.
fn try_all() -> Outcome<()> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    prepare(folder.path(), BUILD_ROWS)?;
    for case in &CASES {
        run_case(case.name, folder.path())?;
    }
    if figure_of("# a 1\nsearch-1 5\nsearch-10 7\n", "search-1") != Some(5) {
        return Err("a figure is read from another's line".into());
    }
    if !report("above", 104, Some(100)) || report("within", 103, Some(100)) || report("below", 90, Some(100))
    {
        return Err("the gate does not hold".into());
    }
    Ok(())
}
