//! Rules of the source tree that a compiler does not check: arrows between layers, headers, sizes, `unsafe`.
//!
//! Each rule collects every violation and fails once, with one line a violation, so that one run shows all.

pub mod source;

use std::collections::BTreeSet;

use source::{Source, root, sources, sources_of};

/// Longest file and longest function, in lines.
const MAX_FILE: usize = 600;
const MAX_FUNCTION: usize = 70;

fn none(what: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{what}:\n  {}", violations.join("\n  "));
}

/// Files that tools write and that are committed.
fn generated(path: &str) -> bool {
    matches!(path, "index.js" | "index.d.ts" | "crates/chassis-ffi/include/chassis.h")
        || path.ends_with("package-lock.json")
        || path.starts_with("npm/")
}

fn lines(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    source.text.lines().enumerate().map(|(i, line)| (i + 1, line))
}

/// The layer a file of the core belongs to: its folder, or its own name.
fn layer(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("crates/chassis-core/src/")?;
    Some(inside.split('/').next()?.trim_end_matches(".rs"))
}

/// What each layer may name. `graph` asks through its own traits, so it names neither kernels nor storage.
fn may_name(layer: &str) -> &'static [&'static str] {
    match layer {
        "error" => &["error"],
        "format" => &["format", "error"],
        "storage" => &["storage", "format", "error"],
        "kernels" => &["kernels", "error"],
        "codes" => &["codes", "kernels", "format", "error"],
        "graph" => &["graph", "error"],
        "recovery" => &["recovery", "storage", "format", "error"],
        _ => &["index", "graph", "codes", "kernels", "recovery", "storage", "format", "error"],
    }
}

/// The layers that `crate::…` paths of this code name; re-exports count as where they come from.
fn named_layers(code: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let top = group.chars().take_while(|c| {
                depth += (*c == '{') as i32 - (*c == '}') as i32;
                depth >= 0
            });
            let mut nested = 0;
            let flat: String = top
                .filter(|c| {
                    nested += (*c == '{') as i32;
                    let keep = nested == 0;
                    nested -= (*c == '}') as i32;
                    keep
                })
                .collect();
            out.extend(flat.split(',').map(first_word).filter(|w| !w.is_empty()).map(home));
        } else {
            out.insert(home(first_word(rest)));
        }
    }
    out
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn home(word: String) -> String {
    match word.as_str() {
        "Error" | "ErrorKind" | "Result" => "error".into(),
        w if w.starts_with(char::is_uppercase) => "index".into(),
        _ => word,
    }
}

#[test]
fn arrows_point_down() {
    let mut bad = Vec::new();
    for source in sources_of(&["rs"]) {
        let Some(layer) = layer(&source.path).filter(|l| *l != "lib") else { continue };
        let code = source.code();
        for named in named_layers(&code) {
            if !may_name(layer).contains(&named.as_str()) {
                bad.push(format!("{}: {layer} names {named}", source.path));
            }
        }
        // A path of `super` that climbs out of the layer would go around the rule. Inline modules add a step.
        let depth = source.path.matches('/').count() - 3;
        let inline = code.lines().any(|l| l.contains("mod ") && l.trim_end().ends_with('{')) as usize;
        let climb = depth.saturating_sub(source.path.ends_with("/mod.rs") as usize) + 1 + inline;
        if code.contains(&"super::".repeat(climb)) {
            bad.push(format!("{}: climbs out of its layer with `super`", source.path));
        }
    }
    none("a layer names one it may not", bad);
}

#[test]
fn the_rule_of_arrows_can_fail() {
    let named = |code| named_layers(code).into_iter().collect::<Vec<_>>();
    assert_eq!(
        named("use crate::{format::{self, Meta}, graph, error::Result as R};"),
        ["error", "format", "graph"]
    );
    assert_eq!(
        named("let x: crate::Error = crate::kernels::dot(); my_crate::index::y(); crate::VectorIndex::z()"),
        ["error", "index", "kernels"]
    );
    assert!(!may_name("graph").contains(&"kernels") && !may_name("format").contains(&"storage"));
}

#[test]
fn bindings_depend_on_the_core_alone() {
    let mut bad = Vec::new();
    for source in sources_of(&["toml"]).iter().filter(|s| s.path.ends_with("Cargo.toml")) {
        if source.path == "crates/chassis-core/Cargo.toml" || source.path.contains("/fuzz/") {
            continue;
        }
        let mut section = "";
        for (n, line) in lines(source) {
            section = if line.starts_with('[') { line } else { section };
            let ours = line.starts_with("chassis") && line.contains("path");
            if ours && !line.starts_with("chassis-core") {
                bad.push(format!("{}:{n}: depends on another binding", source.path));
            }
            if ours && line.contains("__internals") && section == "[dependencies]" {
                bad.push(format!("{}:{n}: uses the internals of the core", source.path));
            }
        }
    }
    for source in sources_of(&["rs"]).iter().filter(|s| !s.path.starts_with("crates/chassis-core/")) {
        if !source.path.starts_with("benches/") && source.code().contains("chassis_core::internals") {
            bad.push(format!("{}: uses the internals of the core", source.path));
        }
    }
    none("a binding reaches past the facade", bad);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut bad = Vec::new();
    for source in sources_of(&["rs", "ts", "mts", "cts", "mjs"]).iter().filter(|s| !generated(&s.path)) {
        let first = source.text.lines().find(|l| !l.trim().is_empty() && !l.starts_with("#!/")).unwrap_or("");
        let opens: &[&str] = if source.is(&["rs"]) { &["//! "] } else { &["/** ", "/**", "// "] };
        let header = opens.iter().any(|o| if *o == "/**" { first == *o } else { first.starts_with(o) });
        if !header {
            bad.push(format!("{} opens with {first:?}", source.path));
        }
    }
    none("a file does not open with a comment that states its purpose", bad);
}

#[test]
fn files_and_functions_are_short() {
    let mut bad = Vec::new();
    for source in sources_of(&["rs", "ts", "mts", "cts", "mjs"]).iter().filter(|s| !generated(&s.path)) {
        let count = source.text.lines().count();
        if count >= MAX_FILE {
            bad.push(format!("{}: {count} lines", source.path));
        }
        let text = if source.is(&["rs"]) { source.code() } else { source.text.clone() };
        for (line, length) in functions(&text, source.is(&["rs"])) {
            if length >= MAX_FUNCTION {
                bad.push(format!("{}:{line}: a function of {length} lines", source.path));
            }
        }
    }
    none("too long", bad);
}

/// First line and length of each function, by the indentation that rustfmt and prettier give it.
fn functions(text: &str, rust: bool) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = if rust { starts_rust_fn } else { starts_ts_fn };
    let mut out = Vec::new();
    for (i, line) in lines.iter().enumerate().filter(|(_, line)| starts(line)) {
        let indent = line.len() - line.trim_start().len();
        let at_indent = |l: &str| l.len() - l.trim_start().len() == indent && !l.trim().is_empty();
        for (j, other) in lines.iter().enumerate().skip(i) {
            let closes = j > i && at_indent(other) && other.trim_start().starts_with('}');
            let one_line = j == i && (other.trim_end().ends_with(['}', ';']));
            if closes || one_line {
                out.push((i + 1, j - i + 1));
                break;
            }
            // Of what stands at the same indentation only the rest of a signature belongs to the function.
            let signature = ["where", "{", ")"].iter().any(|s| other.trim_start().starts_with(s));
            if j > i && at_indent(other) && (!signature || other.trim_end().ends_with([';', ')'])) {
                break;
            }
        }
    }
    out
}

fn starts_rust_fn(line: &str) -> bool {
    let words = line.split_whitespace().take_while(|w| !w.contains('(') || w.starts_with("pub("));
    let prefix = ["pub", "const", "async", "unsafe", "extern", "fn", "default", "\"C\""];
    let known = |w: &&str| prefix.contains(w) || w.starts_with("pub(");
    words.clone().any(|w| w == "fn") && words.take_while(|w| *w != "fn").all(|w| known(&w))
}

fn starts_ts_fn(line: &str) -> bool {
    let word = line.trim_start();
    let control =
        ["if", "for", "while", "switch", "catch", "return", "else", "try", "do", "}", "//", "*", "class"];
    let first = word.split([' ', '(']).next().unwrap_or("");
    let opens = word.ends_with('{') || word.ends_with('(');
    opens && word.contains('(') && !control.contains(&first) && !word.starts_with("new ")
}

#[test]
fn the_rule_of_length_can_fail() {
    let body = |n| {
        format!(
            "impl X {{\n    pub(crate) fn a(\n        x: u8,\n    ) -> u8 {{\n{}    }}\n}}\n",
            "        x;\n".repeat(n)
        )
    };
    assert_eq!(functions(&body(66), true), [(2, 70)]);
    let ts = format!(
        "class X {{\n  async add(x: number): Promise<void> {{\n{}  }}\n}}\n",
        "    x();\n".repeat(80)
    );
    assert_eq!(functions(&ts, false), [(2, 82)]);
    assert!(
        starts_ts_fn("export function a(")
            && starts_ts_fn("const f = (x) => {")
            && !starts_ts_fn("  if (x) {")
    );
}

/// Where `unsafe` may stand: kernels, the two files under the storage, the bindings, and one test allocator.
fn may_be_unsafe(path: &str) -> bool {
    let core = ["src/kernels/", "src/storage/mmap.rs", "src/storage/sys.rs", "tests/alloc.rs"];
    let binding = ["src/", "crates/chassis-ffi/", "crates/chassis-python/"];
    core.iter().any(|p| path.strip_prefix("crates/chassis-core/").is_some_and(|rest| rest.starts_with(p)))
        || binding.iter().any(|p| path.starts_with(p))
}

#[test]
fn unsafe_is_rare_and_argued() {
    let mut bad = Vec::new();
    for source in sources_of(&["rs"]) {
        let code = source.code();
        let raw: Vec<&str> = source.text.lines().collect();
        for (i, line) in code.lines().enumerate() {
            let uses = line.match_indices("unsafe").any(|(at, word)| {
                let after = line[at + word.len()..].chars().next();
                let before = line[..at].chars().next_back();
                !after.is_some_and(|c| c.is_alphanumeric() || "_(".contains(c))
                    && !before.is_some_and(|c| c.is_alphanumeric() || "_(".contains(c))
            });
            if !uses {
                continue;
            }
            if !may_be_unsafe(&source.path) {
                bad.push(format!("{}:{}: unsafe is not allowed here", source.path, i + 1));
            }
            let in_trait = line.trim_start().starts_with("unsafe fn") && line.starts_with("    ");
            if !in_trait && !argued(&raw, i) {
                bad.push(format!("{}:{}: no SAFETY comment", source.path, i + 1));
            }
        }
    }
    none("unsafe", bad);
}

/// Whether the comment above this line, or above the statement it is part of, speaks of safety.
fn argued(lines: &[&str], at: usize) -> bool {
    let speaks = |l: &str| l.contains("SAFETY:") || l.contains("# Safety");
    let mut above = lines[..at].iter().rev().take(24).take_while(|l| !l.trim().is_empty());
    speaks(lines[at]) || above.any(|l| l.trim_start().starts_with("//") && speaks(l))
}

#[test]
fn sources_are_ascii_outside_text() {
    let mut bad = Vec::new();
    // Marks that reorder or hide text are refused even in comments and strings.
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{a0}');
    for source in sources() {
        for (n, line) in lines(&source) {
            if let Some(c) = line.chars().find(|c| hidden(*c)) {
                bad.push(format!("{}:{n}: U+{:04X}", source.path, c as u32));
            }
        }
        if source.is(&["rs"]) {
            for (n, line) in source.code().lines().enumerate().filter(|(_, l)| !l.is_ascii()) {
                bad.push(format!("{}:{}: {line}", source.path, n + 1));
            }
        }
    }
    none("not ASCII", bad);
}

#[test]
fn nothing_is_left_unfinished_or_tied_to_a_machine() {
    // Put together here, so that this file does not hold what it looks for.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let places = ["work", "root", "home", "tmp"].map(|p| format!("/{p}/"));
    let mut bad = Vec::new();
    for source in sources() {
        for (n, line) in lines(&source) {
            if source.is(&["rs", "ts", "mts", "cts", "mjs"]) && marks.iter().any(|m| line.contains(m)) {
                bad.push(format!("{}:{n}: an unfinished mark", source.path));
            }
            let names_place = |p: &String| {
                line.split([' ', '"', '\'', '`', '(', '=', ':']).any(|w| w.starts_with(p.as_str()))
            };
            if places.iter().any(names_place) {
                bad.push(format!("{}:{n}: a path of one machine", source.path));
            }
            if source.path.ends_with("package-lock.json") && line.contains("\"resolved\": \"http") {
                bad.push(format!("{}:{n}: a download address in a lock file", source.path));
            }
        }
    }
    bad.truncate(40);
    none("left behind", bad);
}

#[test]
fn every_rust_file_is_part_of_a_crate() {
    let mut bad = Vec::new();
    for source in sources_of(&["rs"]) {
        let path = root().join(&source.path);
        let (dir, name) =
            (path.parent().expect("a folder"), path.file_stem().expect("a name").to_string_lossy());
        let root_file = matches!(name.as_ref(), "lib" | "main" | "build");
        let standalone =
            ["tests", "benches", "examples", "bin", "fuzz_targets"].iter().any(|d| dir.ends_with(d));
        if root_file || standalone {
            continue;
        }
        let (owner_dir, module) = match name.as_ref() {
            "mod" => (dir.parent().expect("a folder"), dir.file_name().expect("a name").to_string_lossy()),
            _ => (dir, name.clone()),
        };
        let beside = owner_dir.with_extension("rs");
        let owners = ["mod.rs", "lib.rs", "main.rs"].map(|o| owner_dir.join(o)).into_iter().chain([beside]);
        let declared = owners.filter_map(|o| std::fs::read_to_string(o).ok()).any(|text| {
            let code = source::blank_literals(&text);
            code.lines().any(|l| l.trim_end().ends_with(&format!("mod {module};")))
        });
        let included = ["benches", "tests"].iter().any(|d| source.path.starts_with(d)) && name == "mod";
        if !declared && !included {
            bad.push(format!("{}: no `mod {module};` names it", source.path));
        }
    }
    none("orphan files", bad);
}
