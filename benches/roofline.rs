//! How fast this machine could answer a search at best, and how near a measured search comes to that.
//!
//! ```sh
//! cargo bench --bench roofline                       # the machine: memory and kernels
//! cargo bench --bench roofline -- --rows 340479 --dims 100 --evals 2035 --code-bytes 64 --code-ns 4 \
//!     --hops 90 --list-bytes 192 --rerank 40 --measured-us 60
//! ```
//!
//! A walk reads one neighbor list a hop and one code an evaluation, at random places, then some whole rows. None
//! of it can be faster than memory gives it or than the kernels compute it:
//!
//! ```text
//! bound = fixed + hops * t(list) + evals * max(t(code), code kernel)
//!       + second * max(t(second), second kernel) + rerank * max(t(row), f32 kernel)
//! ```
//!
//! `t(bytes)` is the time of one block at a random place among as many as the index has rows, asked for early
//! enough to overlap with the others: the best a prefetching walk can do. Times are wall time, the best of
//! several repeats: a bound is what the machine can do when nothing disturbs it.

mod machine;

use chassis_core::internals::kernels::active;

use machine::{Blocks, Buffer, KERNELS, Kernel, LINE, Pages, dependent, independent, kernel_time, stream};

/// Sizes of blocks: lists and codes of several widths, rows of 384, 768 and 1,536 floats.
const BLOCKS: [usize; 9] = [64, 128, 192, 256, 448, 832, 1536, 3072, 6144];
const DIMENSIONS: [usize; 5] = [100, 384, 512, 784, 1536];

/// What the command line says about a search; sizes in bytes, counts per query.
#[derive(Default)]
struct Search {
    rows: usize,
    dims: usize,
    evals: f64,
    code_bytes: usize,
    code_ns: f64,
    hops: f64,
    list_bytes: usize,
    second: f64,
    second_bytes: usize,
    second_ns: f64,
    rerank: f64,
    fixed_us: f64,
    measured_us: f64,
}

impl Search {
    fn set(&mut self, name: &str, value: f64) -> Result<(), String> {
        match name {
            "rows" => self.rows = value as usize,
            "dims" => self.dims = value as usize,
            "evals" => self.evals = value,
            "code-bytes" => self.code_bytes = value as usize,
            "code-ns" => self.code_ns = value,
            "hops" => self.hops = value,
            "list-bytes" => self.list_bytes = value as usize,
            "second" => self.second = value,
            "second-bytes" => self.second_bytes = value as usize,
            "second-ns" => self.second_ns = value,
            "rerank" => self.rerank = value,
            "fixed-us" => self.fixed_us = value,
            "measured-us" => self.measured_us = value,
            _ => {
                return Err(format!(
                    "--{name} is not known; known are the fields of `Search` in benches/roofline.rs"
                ));
            }
        }
        Ok(())
    }

    /// Each part of the bound: its name, how often, bytes of a block, and the least its arithmetic takes.
    fn parts(&self) -> [(&'static str, f64, usize, f64); 4] {
        let row = if self.dims == 0 { 0.0 } else { kernel_time(Kernel::L2, self.dims, 2000) };
        [
            ("lists", self.hops, self.list_bytes, 0.0),
            ("codes", self.evals, self.code_bytes, self.code_ns),
            ("second codes", self.second, self.second_bytes, self.second_ns),
            ("rows", self.rerank, self.dims * 4, row),
        ]
    }

    /// The bound in nanoseconds, printed part by part.
    fn bound(&self, pages: Pages, reads: usize) -> f64 {
        let mut total = self.fixed_us * 1e3;
        println!("  fixed{:>61.0} ns", total);
        for (name, times, size, arithmetic) in self.parts() {
            if times == 0.0 || size == 0 {
                continue;
            }
            let buffer = Buffer::new(self.rows * size.next_multiple_of(LINE), pages);
            let memory = independent(Blocks::new(buffer.bytes(), size), reads);
            let cost = times * memory.max(arithmetic);
            println!(
                "  {name:12} {times:8.0} x {size:5} B, {memory:6.1} ns of memory, {arithmetic:5.1} ns of arithmetic {cost:8.0} ns"
            );
            total += cost;
        }
        total
    }
}

fn measure_memory(len: usize, reads: usize) {
    println!("random blocks of a buffer of {} MiB, ns a block", len >> 20);
    println!(
        "  {:>6} {:>14} {:>14} {:>14} {:>14}",
        "bytes", "2 MiB ahead", "2 MiB depend.", "4 KiB ahead", "4 KiB depend."
    );
    let mut columns = Vec::new();
    for pages in [Pages::Huge, Pages::Small] {
        let buffer = Buffer::new(len, pages);
        columns.push(BLOCKS.map(|size| {
            let blocks = Blocks::new(buffer.bytes(), size);
            (independent(blocks, reads), dependent(blocks, reads / 4))
        }));
        let name = if pages == Pages::Huge { "2 MiB" } else { "4 KiB" };
        println!(
            "  in order, {name} pages: {:.1} GB/s; held in 2 MiB pages: {}",
            stream(buffer.bytes()) / 1e9,
            huge_share()
        );
    }
    for (i, size) in BLOCKS.iter().enumerate() {
        let ((a, b), (c, d)) = (columns[0][i], columns[1][i]);
        println!("  {size:>6} {a:>14.1} {b:>14.1} {c:>14.1} {d:>14.1}");
    }
}

/// The anonymous memory of this process that lies in 2 MiB pages, where the system tells.
fn huge_share() -> String {
    let Ok(text) = std::fs::read_to_string("/proc/self/smaps_rollup") else { return "unknown".into() };
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.map_or("unknown".into(), |rest| rest.trim().to_string())
}

fn measure_kernels(calls: usize) {
    println!(
        "\nf32 kernels ({}), four rows at a time in the first cache: ns a row (G elements/s)",
        active().name()
    );
    print!("  {:8}", "");
    DIMENSIONS.iter().for_each(|dimensions| print!("{dimensions:>16}"));
    println!();
    for (name, kernel) in KERNELS {
        print!("  {name:8}");
        for dimensions in DIMENSIONS {
            let time = kernel_time(kernel, dimensions, calls);
            print!("{:>16}", format!("{time:.1} ({:.1})", dimensions as f64 / time));
        }
        println!();
    }
}

fn main() -> Result<(), String> {
    let mut search = Search::default();
    let (mut len, mut reads, mut calls) = (1 << 30, 150_000, 20_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            // `cargo test --benches`: only that it works.
            "--test" => (len, reads, calls) = (4 << 20, 1_000, 10),
            _ => {
                let name = argument.strip_prefix("--").ok_or(format!("{argument} is not an option"))?;
                let value = arguments.next().and_then(|v| v.parse::<f64>().ok()).filter(|v| *v >= 0.0);
                let value = value.ok_or(format!("--{name} needs a number"))?;
                match name {
                    "buffer-mib" => len = (value.max(1.0) as usize) << 20,
                    _ => search.set(name, value)?,
                }
            }
        }
    }
    if search.rows == 0 {
        measure_memory(len, reads);
        measure_kernels(calls);
        return Ok(());
    }
    for (pages, name) in [(Pages::Huge, "2 MiB"), (Pages::Small, "4 KiB")] {
        println!("bound with {name} pages, {} rows of {} dimensions", search.rows, search.dims);
        let bound = search.bound(pages, reads);
        print!("  bound {bound:.0} ns a query, {:.0} queries a second", 1e9 / bound);
        if search.measured_us > 0.0 {
            print!(
                "; measured {:.0} ns: efficiency {:.2}",
                search.measured_us * 1e3,
                bound / (search.measured_us * 1e3)
            );
        }
        println!("\n");
    }
    Ok(())
}
