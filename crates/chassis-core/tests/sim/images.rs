//! Crash images: for one moment, every disk that could be found after a crash there.
//!
//! A recipe says for each pending unit whether and how it reached the medium. Writes, lengths and names persist
//! independently of each other, so a file may be shorter or longer than its data. Blocks that were allocated but
//! not written hold zeros, noise, or an old block of the same file.

use std::path::PathBuf;
use std::sync::Arc;

use chassis_core::internals::format::BLOCK;

use crate::rng::{Rng, hash_block, mix};
use crate::simfs::{Disk, SimVfs};
use crate::tears::{self, ABSENT, GARBAGE, WHOLE, ZEROS};
use crate::trace::{Point, Unit};

/// Up to this many pending units all subsets are built.
const EXHAUSTIVE: usize = 12;
/// What fills blocks that nothing was written to: zeros, noise, another block.
const FILLS: u8 = 3;

/// One image of a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// One choice a unit: a tear for a block; 0, 1 or (lengths) 2, longer than asked for.
    pub choices: Vec<u8>,
    pub fill: u8,
}

impl Recipe {
    /// What reached the medium, and how.
    pub fn describe(&self, point: &Point) -> String {
        let one = |(unit, &choice): (&Unit, &u8)| match unit {
            Unit::Block { block, .. } => format!("block {block}: {}", tears::name(choice)),
            Unit::Length { to, .. } => format!("length {to}: {choice}"),
            Unit::Link { path, .. } => format!("link {}: {choice}", path.display()),
            Unit::Unlink { path } => format!("unlink {}: {choice}", path.display()),
        };
        let present = point.units.iter().zip(&self.choices).filter(|(_, choice)| **choice != ABSENT);
        let units: Vec<String> = present.map(one).collect();
        format!("[{}] of {} pending, fill {}", units.join(", "), point.units.len(), self.fill)
    }
}

/// The exhaustive families of a point.
pub fn families(point: &Point, rng: &mut Rng) -> Vec<Recipe> {
    let mut out = Vec::new();
    if point.units.is_empty() {
        out.push(Recipe { choices: vec![], fill: 0 });
        return out;
    }
    subsets(point, rng, &mut out);
    single_tears(point, rng, &mut out);
    metas(point, rng, &mut out);
    out
}

/// Random recipes on top of them.
pub fn random(point: &Point, count: usize, rng: &mut Rng) -> Vec<Recipe> {
    let count = if point.units.len() < 2 { 0 } else { count };
    let mut one = |_| {
        let choices = point.units.iter().map(|u| random_choice(u, rng)).collect();
        Recipe { choices, fill: rng.below(FILLS as usize) as u8 }
    };
    (0..count).map(&mut one).collect()
}

/// A few recipes of a point, for crashes within crashes.
pub fn sample(point: &Point, count: usize, rng: &mut Rng) -> Vec<Recipe> {
    let n = point.units.len();
    let uniform = |choice: u8| Recipe { choices: vec![choice; n], fill: 1 };
    let mut out = vec![uniform(ABSENT), uniform(WHOLE)];
    out.extend(random(point, if n == 1 { 0 } else { count }, rng));
    out
}

fn random_choice(unit: &Unit, rng: &mut Rng) -> u8 {
    match (rng.below(10), unit) {
        (0..4, _) => WHOLE,
        (4..7, _) => ABSENT,
        (_, Unit::Length { .. }) => 2,
        (_, Unit::Block { .. }) if unit.is_meta() => rng_tear(rng, tears::all()),
        (_, Unit::Block { .. }) => rng_tear(rng, tears::sectors()),
        _ => WHOLE,
    }
}

fn rng_tear(rng: &mut Rng, tears: std::ops::Range<u8>) -> u8 {
    tears.start + rng.below(tears.len()) as u8
}

fn subsets(point: &Point, rng: &mut Rng, out: &mut Vec<Recipe>) {
    let n = point.units.len();
    let longer: Vec<bool> = point.units.iter().map(|u| matches!(u, Unit::Length { .. })).collect();
    let mut push = |wanted: &dyn Fn(usize) -> bool| {
        let fill = (out.len() % FILLS as usize) as u8;
        let choices: Vec<u8> = (0..n).map(|i| wanted(i) as u8).collect();
        // Longer than asked for: noise behind the end must not matter.
        if out.len().is_multiple_of(4) && longer.iter().zip(&choices).any(|(&l, &c)| l && c == 1) {
            let long = choices.iter().zip(&longer).map(|(&c, &l)| if l && c == 1 { 2 } else { c }).collect();
            out.push(Recipe { choices: long, fill });
        }
        out.push(Recipe { choices, fill });
    };
    if n <= EXHAUSTIVE {
        (0u32..1 << n).for_each(|mask| push(&|i| mask >> i & 1 == 1));
        return;
    }
    for i in 0..=n {
        push(&|j| j < i);
        push(&|j| j != i);
        push(&|j| j == i);
        push(&|j| j >= i);
        (0..i).for_each(|k| push(&|j| j != i && j != k));
    }
    for _ in 0..1024 {
        let bits = rng.next();
        push(&|j| bits >> (j % 64) & 1 == 1);
    }
}

fn single_tears(point: &Point, rng: &mut Rng, out: &mut Vec<Recipe>) {
    let n = point.units.len();
    for (i, unit) in point.units.iter().enumerate().filter(|(_, u)| u.is_block()) {
        for tear in if unit.is_meta() { tears::all() } else { tears::sectors() } {
            let fill = tear % FILLS;
            for rest in 0..4u8 {
                let other = |rng: &mut Rng| match rest {
                    0 | 1 => rest,
                    _ => rng.below(2) as u8,
                };
                let choices = (0..n).map(|j| if j == i { tear } else { other(rng) }).collect();
                out.push(Recipe { choices, fill });
            }
        }
    }
}

/// Commit records in all combinations of all patterns, with the rest there, missing, or mixed.
fn metas(point: &Point, rng: &mut Rng, out: &mut Vec<Recipe>) {
    let n = point.units.len();
    let at: Vec<usize> = (0..n).filter(|&i| point.units[i].is_meta()).collect();
    if at.is_empty() {
        return;
    }
    let patterns = tears::for_metas();
    let few = [ABSENT, WHOLE, ZEROS, GARBAGE];
    let patterns: &[u8] = if at.len() <= 2 { &patterns } else { &few };
    let combinations = patterns.len().pow(at.len().min(4) as u32);
    let rests = if at.len() == n { 1..2 } else { 0..3u8 };
    for combination in 0..combinations {
        for rest in rests.clone() {
            let other = |rng: &mut Rng| if rest < 2 { rest } else { rng.below(2) as u8 };
            let mut choices: Vec<u8> = (0..n).map(|_| other(rng)).collect();
            let mut digits = combination;
            for &i in &at {
                choices[i] = patterns[digits % patterns.len()];
                digits /= patterns.len();
            }
            out.push(Recipe { choices, fill: (combination % FILLS as usize) as u8 });
        }
    }
}

/// One file of the image being built.
#[derive(Default, Clone)]
struct Shape {
    len: usize,
    changed: Vec<usize>,
}

/// Where one thread builds its images: a disk on which only what differs is rewritten.
pub struct Slate {
    pub vfs: Arc<SimVfs>,
    base: Arc<Disk>,
    hashes: Vec<Vec<u64>>,
    shapes: Vec<Shape>,
    blocks: Vec<(usize, usize, Box<[u8; BLOCK]>)>,
    spare: Vec<Box<[u8; BLOCK]>>,
}

impl Slate {
    pub fn new() -> Slate {
        Slate {
            vfs: SimVfs::new(1 << 20),
            base: Arc::default(),
            hashes: vec![],
            shapes: vec![],
            blocks: vec![],
            spare: vec![],
        }
    }

    /// Starts on another base.
    pub fn load(&mut self, base: &Arc<Disk>) {
        self.base = base.clone();
        self.vfs.load(base);
        let hash = |(f, bytes): (usize, &Vec<u8>)| -> Vec<u64> {
            bytes.chunks(BLOCK).enumerate().map(|(b, block)| hash_block(place(f, b), block)).collect()
        };
        self.hashes = base.files.iter().enumerate().map(hash).collect();
    }

    /// Builds an image in memory and returns its hash; [`Slate::put`] then shows it on the disk.
    pub fn build(&mut self, point: &Point, recipe: &Recipe) -> u64 {
        self.spare.extend(self.blocks.drain(..).map(|b| b.2));
        self.shape(point, recipe);
        for (unit, &choice) in point.units.iter().zip(&recipe.choices) {
            if let Unit::Block { file, block, at, data, from, len } = unit
                && choice != ABSENT
                && block * BLOCK < self.shapes[*file].len
            {
                let i = self.touch(*file, *block, recipe.fill);
                tears::apply(
                    choice,
                    place(*file, *block),
                    &mut self.blocks[i].2[..],
                    *at,
                    &data[*from..from + len],
                );
            }
        }
        for file in 0..self.shapes.len() {
            let have = self.base.files.get(file).map_or(0, |f| f.len().div_ceil(BLOCK));
            for block in have..self.shapes[file].len.div_ceil(BLOCK) {
                self.touch(file, block, recipe.fill);
            }
        }
        self.hash(point, recipe)
    }

    /// Lengths of all files, from the units that were chosen.
    fn shape(&mut self, point: &Point, recipe: &Recipe) {
        self.shapes.clear();
        self.shapes.extend(self.base.files.iter().map(|f| Shape { len: f.len(), changed: vec![] }));
        for (unit, &choice) in point.units.iter().zip(&recipe.choices) {
            let (file, to) = match unit {
                Unit::Length { file, to } if choice > 0 => {
                    (*file, *to as usize + (choice as usize - 1) * 2 * BLOCK)
                }
                Unit::Length { file, .. } | Unit::Block { file, .. } | Unit::Link { file, .. } => (*file, 0),
                Unit::Unlink { .. } => continue,
            };
            if self.shapes.len() <= file {
                self.shapes.resize(file + 1, Shape::default());
            }
            self.shapes[file].len = self.shapes[file].len.max(to);
        }
    }

    /// The buffer of a block, as it was before any pending write.
    fn touch(&mut self, file: usize, block: usize, fill: u8) -> usize {
        if self.shapes[file].changed.contains(&block) {
            return self.blocks.iter().position(|b| (b.0, b.1) == (file, block)).unwrap_or(0);
        }
        let mut buffer = self.spare.pop().unwrap_or_else(|| Box::new([0; BLOCK]));
        let old = self.base.files.get(file).map_or(&[][..], |f| f.get(block * BLOCK..).unwrap_or(&[]));
        let known = old.len().min(BLOCK);
        buffer[..known].copy_from_slice(&old[..known]);
        if known < BLOCK {
            self.unwritten(file, block, fill, &mut buffer[known..]);
        }
        self.shapes[file].changed.push(block);
        self.blocks.push((file, block, buffer));
        self.blocks.len() - 1
    }

    /// What stands where nothing was ever written.
    fn unwritten(&self, file: usize, block: usize, fill: u8, out: &mut [u8]) {
        let base = self.base.files.get(file).map_or(&[][..], |f| &f[..]);
        match fill {
            2 if base.len() >= 9 * BLOCK && out.len() == BLOCK => {
                // A whole old page at the wrong place: its own checksum fits.
                let data = base.len() / BLOCK - 8;
                let other = 8 + (mix(block as u64) % data as u64) as usize;
                out.copy_from_slice(&base[other * BLOCK..][..BLOCK]);
            }
            0 => out.fill(0),
            _ => tears::garbage(place(file, block), out),
        }
    }

    fn hash(&self, point: &Point, recipe: &Recipe) -> u64 {
        let mut h = 0u64;
        for (file, shape) in self.shapes.iter().enumerate() {
            let known = self.hashes.get(file).map_or(&[][..], |h| &h[..]);
            h ^= known.iter().fold(mix(place(file, shape.len)), |h, b| h ^ b);
        }
        for (file, block, bytes) in &self.blocks {
            let old = self.hashes.get(*file).and_then(|h| h.get(*block)).copied().unwrap_or(0);
            h ^= old ^ hash_block(place(*file, *block), &bytes[..]);
        }
        for (path, file) in &self.names(point, recipe) {
            // Temporary names hold a process id; what they are called makes no other image.
            let temporary = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
            h ^= mix(mix(*file as u64 + 1) ^ temporary as u64);
        }
        h
    }

    fn names(&self, point: &Point, recipe: &Recipe) -> std::collections::BTreeMap<PathBuf, usize> {
        let mut names = self.base.names.clone();
        for (unit, &choice) in point.units.iter().zip(&recipe.choices) {
            match unit {
                Unit::Link { path, file } if choice > 0 => drop(names.insert(path.clone(), *file)),
                Unit::Unlink { path } if choice > 0 => drop(names.remove(path)),
                _ => {}
            }
        }
        names
    }

    /// Shows the image that was built.
    pub fn put(&self, point: &Point, recipe: &Recipe) {
        if self.shapes.len() > self.base.files.len() {
            // A file that is not durable yet: its inode has to exist.
            let mut disk = (*self.base).clone();
            disk.files.resize(self.shapes.len(), vec![]);
            self.vfs.load(&disk);
        }
        for (file, block, bytes) in &self.blocks {
            self.vfs.poke(*file, block * BLOCK, &bytes[..]);
        }
        for (file, shape) in self.shapes.iter().enumerate() {
            self.vfs.set_len(file, shape.len as u64);
        }
        self.vfs.set_names(&self.names(point, recipe));
    }

    /// Puts the base back where the image differed.
    pub fn wipe(&self) {
        for (file, block, _) in &self.blocks {
            if let Some(old) = self.base.files.get(*file).and_then(|f| f.get(block * BLOCK..)) {
                self.vfs.poke(*file, block * BLOCK, &old[..old.len().min(BLOCK)]);
            }
        }
    }
}

fn place(file: usize, block: usize) -> u64 {
    mix((file as u64) << 40 ^ block as u64)
}
