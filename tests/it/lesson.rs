//! The measures of the lesson, printed and held: how much a student reads to follow the four paths that `src/lib.rs` walks.
//!
//! `cargo test --test it lesson:: -- --nocapture` prints them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The most lines of code in the lesson, and the most files.
const LESSON: (usize, usize) = (2000, 12);
/// The most files, functions and lines of code on the path of one piece.
const PIECE: (usize, usize, usize) = (9, 25, 450);
/// The most lines of the README.
const README: usize = 250;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file of the library without its tests, by its module: `client::download` for `src/client/download.rs`.
pub fn modules() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let module = module_of(&path);
                let code = code_of(&fs::read_to_string(&path).expect("UTF-8"));
                let test = module.ends_with("tests") || module.ends_with("::sequence");
                if !test && !module.starts_with("bin::") && !module.ends_with("::fake") {
                    found.insert(module, code);
                }
            }
        }
    }
    found
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).expect("in src");
    let inside = inside.with_extension("");
    let parts = inside
        .iter()
        .map(|part| part.to_string_lossy().into_owned());
    parts.collect::<Vec<_>>().join("::")
}

/// A file's code: no blank lines, no comments, no unit tests.
fn code_of(text: &str) -> String {
    let text = match text.split_once("\n#[cfg(test)]\nmod tests {") {
        Some((code, _)) => code,
        None => text,
    };
    let lines = text.lines();
    let code = lines.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"));
    code.map(|line| format!("{line}\n")).collect()
}

/// The text of `src/lib.rs` between two headings.
pub fn section(from: &str, to: &str) -> String {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("it is there");
    let (_, rest) = lib.split_once(from).expect(from);
    let (section, _) = rest.split_once(to).expect(to);
    section.to_owned()
}

/// The paths in a text's links, each once: `client::Client::ping_tracker`.
pub fn links(text: &str) -> BTreeSet<String> {
    let links = text.split("[`").skip(1);
    let links = links.filter_map(|rest| Some(rest.split_once("`]")?.0.to_owned()));
    links.collect()
}

/// The lesson's modules, by the first sentence about it.
pub fn lesson() -> BTreeSet<String> {
    links(&section("# The lesson\n", "What these files call"))
}

/// The module and the lines of a function of the lesson, by its own name.
fn function(modules: &BTreeMap<String, String>, path: &str) -> Option<(String, usize)> {
    let name = path.rsplit("::").next()?;
    let begins = [format!("fn {name}("), format!("fn {name}<")];
    let of_it = |(module, code): (&String, &String)| {
        let is_prefix = path.starts_with(module.as_str());
        let lines: Vec<&str> = code.lines().collect();
        let first = lines
            .iter()
            .position(|line| begins.iter().any(|begin| line.contains(begin)))?;
        let indent = lines[first].len() - lines[first].trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let len = lines[first..].iter().position(|line| *line == end)? + 1;
        Some((is_prefix, module.clone(), len))
    };
    let mut found: Vec<_> = modules.iter().filter_map(of_it).collect();
    // methods may stand in another file than their type: the longest of these that fits, or else any
    found.sort_by_key(|(is_prefix, module, _)| (!is_prefix, std::cmp::Reverse(module.len())));
    found
        .into_iter()
        .next()
        .map(|(_, module, len)| (module, len))
}

#[test]
fn the_lesson_is_short() {
    let (modules, lesson) = (modules(), lesson());
    let len = |module: &String| {
        let code = modules
            .get(module)
            .unwrap_or_else(|| panic!("no file for {module}"));
        code.lines().count()
    };
    let lens: Vec<(usize, &String)> = lesson.iter().map(|module| (len(module), module)).collect();
    let lines: usize = lens.iter().map(|(len, _)| len).sum();
    println!("the lesson: {lines} lines of code in {} files", lens.len());
    lens.iter()
        .for_each(|(len, module)| println!("{len:6} {module}"));
    assert!(lines <= LESSON.0 && lens.len() <= LESSON.1);
}

#[test]
fn one_piece_is_followed_in_few_functions() {
    let (mut modules, lesson) = (modules(), lesson());
    modules.retain(|module, _| lesson.contains(module));
    let walk = section("## A piece, from disk to disk", "## The life of a piece");
    let (mut files, mut lines, mut functions) = (BTreeSet::new(), 0, Vec::new());
    for path in links(&walk) {
        let Some((module, len)) = function(&modules, &path) else {
            let name = path.rsplit("::").next().expect("a name");
            assert!(name.starts_with(char::is_uppercase), "no function {path}");
            continue;
        };
        lines += len;
        functions.push((len, path, module.clone()));
        files.insert(module);
    }
    let n = functions.len();
    println!(
        "one piece: {n} functions of {lines} lines in {} files",
        files.len()
    );
    functions
        .iter()
        .for_each(|(len, path, module)| println!("{len:6} {path} in {module}"));
    assert!(files.len() <= PIECE.0 && n <= PIECE.1 && lines <= PIECE.2);
}

#[test]
fn a_type_name_means_one_thing() {
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, code) in modules() {
        for line in code.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words
                .iter()
                .position(|word| matches!(*word, "struct" | "enum" | "trait"));
            let Some(at) = at.filter(|at| *at <= 1) else {
                continue;
            };
            let name = words.get(at + 1).copied().unwrap_or_default();
            let name = name.split(|c: char| !c.is_alphanumeric()).next();
            let name = name.filter(|name| name.starts_with(char::is_uppercase));
            named
                .entry(name.unwrap_or_default().to_owned())
                .or_default()
                .push(module.clone());
        }
    }
    named.remove("");
    named.retain(|_, modules| modules.len() > 1);
    println!("type names that are defined twice: {}", named.len());
    assert!(named.is_empty(), "{named:#?}");
}

#[test]
fn imports_go_down_only() {
    let modules = modules();
    let names: BTreeSet<&String> = modules.keys().collect();
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, code) in &modules {
        for used in uses(module, code) {
            // the longest beginning of the path that is a module
            let mut path: Vec<&str> = used.split("::").collect();
            while !path.is_empty() && !names.contains(&path.join("::")) {
                path.pop();
            }
            let used = path.join("::");
            if let Some((from, to)) = siblings(module, &used) {
                arrows.entry(from).or_default().insert(to);
            }
        }
    }
    let circles: Vec<String> = arrows
        .keys()
        .filter_map(|from| circle(&arrows, from))
        .collect();
    println!("import cycles: {}", circles.len());
    assert!(circles.is_empty(), "{circles:#?}");
}

/// The paths that a module's code names, from the crate's root.
fn uses(module: &str, code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    for (prefix, base) in [("crate::", ""), ("super::", parent), ("self::", module)] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            let rest = rest.split(';').next().unwrap_or_default();
            for path in expand(rest) {
                found.insert(if base.is_empty() {
                    path
                } else {
                    format!("{base}::{path}")
                });
            }
        }
    }
    found
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn expand(path: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let head: String = path.chars().take_while(|c| is_path(*c)).collect();
    let rest = path[head.len()..].trim_start();
    let Some(inner) = rest
        .strip_prefix('{')
        .filter(|_| head.ends_with("::") || head.is_empty())
    else {
        return vec![head];
    };
    let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
    for c in inner.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                part.push(c);
            }
        }
    }
    parts.push(part);
    let parts = parts.iter().flat_map(|part| expand(part.trim()));
    parts.map(|part| format!("{head}{part}")).collect()
}

/// Two modules as the neighbours in one folder that contain them; none where one contains the other, which is one room.
fn siblings(from: &str, to: &str) -> Option<(String, String)> {
    let (from, to): (Vec<&str>, Vec<&str>) = (from.split("::").collect(), to.split("::").collect());
    let at = from.iter().zip(&to).position(|(from, to)| from != to)?;
    let room = |path: &[&str]| (!path[0].is_empty()).then(|| path[..=at].join("::"));
    Some((room(&from)?, room(&to)?))
}

/// A way along the arrows that ends where it began.
fn circle(arrows: &BTreeMap<String, BTreeSet<String>>, start: &str) -> Option<String> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in arrows.get(way.last()?).into_iter().flatten() {
            if next == start {
                return Some(format!("{} -> {start}", way.join(" -> ")));
            }
            if seen.insert(next.clone()) {
                ways.push([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).expect("it is there");
    let lines = readme.lines().count();
    println!("README: {lines} lines");
    assert!(lines <= README);
}
