//! The source tree as data: which files there are, and Rust text without comments and literals.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the repository.
pub struct Source {
    /// Path from the root, with forward slashes.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl Source {
    /// The Rust code alone: comments, strings and characters blanked, lines kept.
    pub fn code(&self) -> String {
        blank_literals(&self.text)
    }

    /// Whether the name ends with one of these extensions.
    pub fn is(&self, extensions: &[&str]) -> bool {
        extensions.iter().any(|e| self.path.rsplit_once('.').is_some_and(|(_, have)| have == *e))
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's root")
}

/// Every text file that people write, sorted by path. What tools make is left out, as in `.gitignore`.
pub fn sources() -> Vec<Source> {
    let (root, mut out) = (root(), Vec::new());
    walk(&root, &root, &mut out);
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

/// The files of the tree with one of these extensions.
pub fn sources_of(extensions: &[&str]) -> Vec<Source> {
    sources().into_iter().filter(|s| s.is(extensions)).collect()
}

const MADE_BY_TOOLS: &[&str] =
    &["target", "node_modules", "dist", "pack", ".git", "data", "corpus", "artifacts"];
const TEXT: &[&str] = &[
    "rs", "ts", "mts", "cts", "js", "mjs", "cjs", "md", "toml", "json", "yml", "yaml", "c", "h", "py", "go",
    "sh", "run",
];

fn walk(root: &Path, dir: &Path, out: &mut Vec<Source>) {
    // A folder that another process removes meanwhile holds nothing to check.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if !MADE_BY_TOOLS.contains(&name.as_str()) && !name.starts_with("target-") {
                walk(root, &path, out);
            }
            continue;
        }
        let extension = name.rsplit_once('.').map_or(name.as_str(), |(_, e)| e);
        if TEXT.contains(&extension)
            && let Ok(text) = fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            out.push(Source { path, text });
        }
    }
}

/// Replaces everything inside comments and literals by spaces.
pub fn blank_literals(text: &str) -> String {
    let b = text.as_bytes();
    let mut out = b.to_vec();
    let mut i = 0;
    while i < b.len() {
        let end = match b[i] {
            b'/' if b.get(i + 1) == Some(&b'/') => find(b, i, b"\n").unwrap_or(b.len()),
            b'/' if b.get(i + 1) == Some(&b'*') => block_comment(b, i),
            b'"' => quoted(b, i, b'"'),
            b'r' if !follows_word(b, i) && raw_hashes(b, i).is_some() => raw(b, i),
            b'\'' => character(b, i),
            _ => i,
        };
        if end == i {
            i += 1;
            continue;
        }
        out[i..end].iter_mut().filter(|c| **c != b'\n').for_each(|c| *c = b' ');
        i = end;
    }
    String::from_utf8(out).expect("only whole characters are blanked")
}

fn find(b: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    b[from..].windows(what.len()).position(|w| w == what).map(|at| from + at)
}

fn follows_word(b: &[u8], i: usize) -> bool {
    // `br"..."` is a raw byte string although a letter precedes the r.
    i > 0 && (b[i - 1].is_ascii_alphanumeric() || b[i - 1] == b'_') && b[i - 1] != b'b'
}

fn block_comment(b: &[u8], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i + 1 < b.len() {
        match &b[i..i + 2] {
            b"/*" => (depth, i) = (depth + 1, i + 2),
            b"*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    b.len()
}

fn quoted(b: &[u8], start: usize, quote: u8) -> usize {
    let mut i = start + 1;
    while i < b.len() && b[i] != quote {
        i += if b[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(b.len())
}

fn raw_hashes(b: &[u8], r: usize) -> Option<usize> {
    let hashes = b[r + 1..].iter().take_while(|c| **c == b'#').count();
    (b.get(r + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw(b: &[u8], r: usize) -> usize {
    let hashes = raw_hashes(b, r).unwrap_or(0);
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    find(b, r + 2 + hashes, &close).map_or(b.len(), |at| at + close.len())
}

/// A character literal; a lifetime is left alone.
fn character(b: &[u8], start: usize) -> usize {
    match b.get(start + 1) {
        Some(b'\\') => quoted(b, start, b'\''),
        Some(_) => match b[start + 2..].iter().take(4).position(|c| *c == b'\'') {
            Some(len) if len == 0 || b[start + 1] >= 0x80 => start + 3 + len,
            _ => start,
        },
        None => start,
    }
}

#[test]
fn literals_and_comments_are_blanked() {
    let text =
        "a /* x /* y */ z */ b // c\n\"d\\\"e\" r#\"f\"g\"# br\"h\" 'i' '\\'' '\u{e4}' &'life j 'k: loop {}";
    let code = blank_literals(text);
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words, ["a", "b", "b", "&'life", "j", "'k:", "loop", "{}"]);
    assert_eq!(code.lines().count(), 2);
}
