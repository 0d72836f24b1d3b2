//! The documents against the code: byte tables, constants, error codes, words, links.
//!
//! `docs/file-format.md` is normative, so a number that stands there and in `format/` must be the same. Tables
//! that are compared follow a comment `<!-- table: NAME -->`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chassis_core::ErrorKind;
use chassis_core::internals::format::{self, Field, Kind};
use chassis_core::internals::storage::Bug;

use crate::tidy::source::{Source, root, sources, sources_of};

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Rows of the markdown table that follows `marker`, without head and rule; cells without backticks.
fn table(text: &str, name: &str) -> Vec<Vec<String>> {
    let marker = format!("<!-- table: {name} -->");
    let at = text.find(&marker).unwrap_or_else(|| panic!("no {marker}"));
    let rows =
        text[at..].lines().skip(1).skip_while(|l| l.trim().is_empty()).take_while(|l| l.starts_with('|'));
    let cells = |l: &str| {
        let inside = l.strip_prefix('|').and_then(|l| l.strip_suffix('|')).unwrap_or(l);
        inside.split('|').map(|c| c.trim().replace('`', "")).collect::<Vec<_>>()
    };
    rows.skip(2).map(cells).collect()
}

/// Every layout of the code, by the name of its table.
fn layouts() -> Vec<(&'static str, &'static [Field])> {
    vec![
        ("header", format::header::LAYOUT),
        ("meta", format::meta::LAYOUT),
        ("entry", format::table::LAYOUT),
        ("page", format::page::LAYOUT),
        ("descriptor", format::catalog::LAYOUT),
        ("node", format::node::LAYOUT),
        ("leaf", format::ids::LEAF_LAYOUT),
        ("branch", format::ids::BRANCH_LAYOUT),
        ("run", format::free::LAYOUT),
        ("factors", format::derived::codes::FACTORS_LAYOUT),
        ("model", format::derived::model::LAYOUT),
        ("calibration", format::derived::calibration::HEADER_LAYOUT),
        ("setting", format::derived::calibration::ROW_LAYOUT),
        ("entry-block", format::derived::entries::LAYOUT),
    ]
}

#[test]
fn byte_tables_equal_the_layouts() {
    let text = document("docs/file-format.md");
    for (name, layout) in layouts() {
        let documented: Vec<(String, usize, usize)> = table(&text, name)
            .into_iter()
            .map(|row| {
                let number = |i: usize| row[i].parse().unwrap_or_else(|e| panic!("{name}, {row:?}: {e}"));
                (row[2].clone(), number(0), number(1))
            })
            .collect();
        let coded: Vec<_> = layout.iter().map(|&(field, at, size)| (field.to_owned(), at, size)).collect();
        assert_eq!(documented, coded, "table {name} of docs/file-format.md");
        let mut end = 0;
        for (field, at, size) in coded {
            assert!(at >= end && size > 0, "{name}: {field} overlaps the field before it");
            end = at + size;
        }
    }
}

#[test]
fn every_layout_of_the_code_is_documented() {
    let of_format =
        sources_of(&["rs"]).into_iter().filter(|s| s.path.starts_with("crates/chassis-core/src/format/"));
    let count: usize = of_format.map(|s| s.text.matches("LAYOUT: &[Field] =").count()).sum();
    assert_eq!(count, layouts().len(), "a LAYOUT constant is missing in layouts() above");
}

#[test]
fn documented_constants_equal_the_code() {
    let coded = [
        ("BLOCK", format::BLOCK),
        ("PAGE_HEADER", format::PAGE_HEADER),
        ("PAGE_PAYLOAD", format::PAGE_PAYLOAD),
        ("FIRST_DATA_BLOCK", format::FIRST_DATA_BLOCK as usize),
        ("ENTRY_LEN", format::table::ENTRY_LEN),
        ("MAX_FANOUT", format::MAX_FANOUT),
        ("DESCRIPTOR_LEN", format::catalog::DESCRIPTOR_LEN),
        ("MAX_OBJECTS", format::catalog::MAX_OBJECTS),
        ("RUN_LEN", format::free::RUN_LEN),
        ("LEAF_SLOTS", format::ids::LEAF_SLOTS),
        ("BRANCH_SLOTS", format::ids::BRANCH_SLOTS),
        ("MAJOR", format::header::MAJOR as usize),
        ("MINOR", format::header::MINOR as usize),
    ];
    let text = document("docs/file-format.md");
    let documented: Vec<_> =
        table(&text, "constants").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(documented, coded.map(|(name, value)| (name.to_owned(), value.to_string())));
    let kinds: Vec<_> =
        table(&text, "kinds").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(kinds, Kind::ALL.map(|kind| ((kind as u16).to_string(), format!("{kind:?}"))));
    let magic: Vec<String> = format::header::MAGIC.iter().map(|b| format!("{b:02x}")).collect();
    assert!(table(&text, "header")[0][3].contains(&magic.join(" ")), "the magic of the header");
}

#[test]
fn error_codes_equal_the_documents_and_the_facade() {
    let codes: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
    let text = document("docs/errors.md");
    let rows = table(&text, "errors");
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), codes);
    for row in &rows {
        let exit: u8 = row[4].parse().unwrap_or_else(|e| panic!("{row:?}: {e}"));
        assert!([2, 3, 4, 5, 6, 7, 8, 70, 130].contains(&exit), "{}: exit code {exit}", row[0]);
    }
    let facade = document("ts/errors.ts");
    let listed =
        facade.split("CHASSIS_ERROR_CODES = [").nth(1).and_then(|t| t.split(']').next()).expect("the union");
    let mut listed: Vec<&str> = listed.split('\'').filter(|w| w.starts_with("ERR_")).collect();
    assert_eq!(listed.pop(), Some("ERR_CHASSIS_BINDING_NOT_FOUND"), "the one code of the package alone");
    assert_eq!(listed, codes);
}

#[test]
fn every_seeded_bug_is_documented() {
    let rows = table(&document("docs/durability.md"), "bugs");
    let documented: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(documented, Bug::ALL.iter().map(|bug| format!("{bug:?}")).collect::<Vec<_>>());
}

#[test]
fn exit_codes_equal_the_command_line() {
    let source = document("ts/cli/errors.ts");
    let dense: String = source.split_whitespace().collect();
    let exit = |name: &str| {
        let all = source.split("export const Exit = {").nth(1).expect("the exit codes");
        let at = all.find(&format!("\n  {name}: ")).unwrap_or_else(|| panic!("exit code {name}"));
        all[at..]
            .split(": ")
            .nth(1)
            .expect("a number")
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .expect("digits")
    };
    for row in table(&document("docs/errors.md"), "errors") {
        let mapped = dense.split(&format!("{}:[Exit.", row[0])).nth(1);
        let name = mapped.map_or("internal", |rest| rest.split([',', ']']).next().expect("a name"));
        assert_eq!(exit(name), row[4], "{} exits with {name}", row[0]);
    }
}

#[test]
fn words_are_those_of_the_glossary() {
    let core: Vec<(String, String)> = sources_of(&["rs"])
        .into_iter()
        .filter(|s| s.path.starts_with("crates/chassis-core/src/"))
        .map(|s| (s.path.clone(), s.code()))
        .collect();
    let facade: String =
        sources_of(&["ts"]).into_iter().filter(|s| s.path.starts_with("ts/")).map(|s| s.text).collect();
    let words = |code: &str| -> BTreeSet<String> {
        code.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
    };
    let used: Vec<(String, BTreeSet<String>)> =
        core.iter().map(|(path, code)| (path.clone(), words(code))).collect();
    let of_facade = words(&facade);
    for row in table(&document("docs/glossary.md"), "words") {
        let rust = &row[1];
        assert!(rust.is_empty() || used.iter().any(|(_, words)| words.contains(rust)), "nobody says {rust}");
        assert!(row[2].is_empty() || of_facade.contains(&row[2]), "the facade does not say {}", row[2]);
        for banned in row[3].split(", ").filter(|w| !w.is_empty()) {
            let said = used.iter().find(|(_, words)| words.contains(banned));
            assert!(said.is_none(), "{}: says {banned} instead of {rust}", said.expect("a file").0);
        }
    }
    // To score is what a walk does to a node; what a caller gets is a distance or a similarity.
    let index = used.iter().filter(|(path, _)| path.contains("/src/index/"));
    assert!(!index.clone().any(|(_, words)| words.contains("score")), "a score in the index");
    assert!(!of_facade.contains("score"), "a score in the facade");
}

/// Anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Targets of the links of a document, outside code blocks.
fn links(text: &str) -> Vec<&str> {
    let outside: Vec<&str> = text.split("```").step_by(2).collect();
    outside
        .iter()
        .flat_map(|part| part.split("](").skip(1).filter_map(|rest| rest.split(')').next()))
        .collect()
}

#[test]
fn links_and_paths_lead_somewhere() {
    let mut bad = Vec::new();
    let roots = [
        "crates/",
        "docs/",
        "ts/",
        "src/",
        "scripts/",
        "examples/",
        "benches/",
        "__test__/",
        ".ci/",
        ".github/",
    ];
    for source in sources_of(&["md"]) {
        let folder = root().join(&source.path);
        let folder = folder.parent().expect("a folder");
        for link in links(&source.text).into_iter().filter(|l| !l.contains("://")) {
            let (file, heading) = link.split_once('#').map_or((link, None), |(f, h)| (f, Some(h)));
            let target = if file.is_empty() { root().join(&source.path) } else { folder.join(file) };
            let text = fs::read_to_string(&target);
            let found = heading
                .is_none_or(|h| text.is_ok_and(|t| t.lines().any(|l| l.starts_with('#') && anchor(l) == h)));
            if !target.exists() || !found {
                bad.push(format!("{}: link to {link}", source.path));
            }
        }
        let tokens = source.text.split('`').skip(1).step_by(2);
        for path in
            tokens.filter(|t| roots.iter().any(|r| t.starts_with(r)) && !t.contains([' ', '*', '<', '\n']))
        {
            let in_core = root().join("crates/chassis-core").join(path);
            if !root().join(path).exists() && !in_core.exists() && path != "crates/chassis-ffi" {
                bad.push(format!("{}: path {path}", source.path));
            }
        }
    }
    assert!(bad.is_empty(), "lead nowhere:\n  {}", bad.join("\n  "));
}

#[test]
fn decisions_are_numbered_complete_and_listed() {
    let index = document("docs/README.md");
    let mut names: Vec<String> = fs::read_dir(root().join("docs/adr"))
        .expect("docs/adr")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for (number, name) in names.iter().enumerate() {
        assert!(name.starts_with(&format!("{number:04}-")), "{name}: expected number {number:04}");
        let text = document(&format!("docs/adr/{name}"));
        assert!(text.starts_with(&format!("# {number:04}: ")), "{name}: its title");
        for part in
            ["\nStatus: ", "\n## Context\n", "\n## Decision\n", "\n## Consequences\n", "\n## Alternatives\n"]
        {
            assert!(text.contains(part), "{name}: no {part:?}");
        }
        assert!(text.lines().count() <= 70, "{name}: longer than a page");
        assert!(index.contains(name), "{name}: docs/README.md does not list it");
    }
    for entry in fs::read_dir(root().join("docs")).expect("docs") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || index.contains(&name), "docs/README.md does not list {name}");
    }
}

fn toml_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|l| {
        l.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().strip_prefix('"')?.strip_suffix('"')
    })
}

#[test]
fn versions_and_licences_agree() {
    let workspace = document("Cargo.toml");
    let section = workspace.split("[workspace.package]").nth(1).expect("a workspace");
    let version = toml_value(section, "version").expect("a version");
    let licence = toml_value(section, "license").expect("a licence");
    assert_eq!(licence, "MIT OR Apache-2.0");
    assert!(document("CHANGELOG.md").contains(&format!("\n## [{version}]")), "CHANGELOG.md has no {version}");
    let manifest = document("package.json");
    assert!(manifest.contains(&format!("\"version\": \"{version}\"")), "package.json is not at {version}");
    let ours: Vec<Source> = sources().into_iter().filter(|s| !s.path.contains("package-lock")).collect();
    for s in ours.iter().filter(|s| s.path.ends_with("Cargo.toml") && s.text.contains("[package]")) {
        let stated =
            s.text.contains("license.workspace = true") || toml_value(&s.text, "license") == Some(licence);
        assert!(stated || s.text.contains("publish = false"), "{}: no licence", s.path);
    }
    for s in ours.iter().filter(|s| s.path.ends_with("package.json") && s.text.contains("\"version\"")) {
        let stated =
            s.text.contains("\"license\": \"MIT OR Apache-2.0\"") || s.text.contains("\"private\": true");
        assert!(stated, "{}: no licence", s.path);
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(Path::new(&root()).join(file).exists(), "no {file}");
    }
}
