//! The rooms of the crate and who may know whom.
//!
//! In a single crate one-way dependencies do not happen by discipline. A room is a folder (or file) of `src/`; it may
//! name rooms of a lower rank, itself, and nothing else. `unsafe` is for the rooms that touch the operating system.
//! The checker reads tokens, so comments, documentation and strings do not count, and macro bodies do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// Every room and its rank.
const ROOMS: &[(&str, u8)] = &[
    ("base", 0),
    ("types", 0),
    ("wire", 1),
    ("crypto", 2),
    ("frct", 3),
    ("oap", 3),
    ("flow", 4),
    ("irm", 5),
    ("ipcp", 5),
    ("node", 6),
    ("rib", 7),
    ("device", 7),
    ("shm", 7),
    ("stack", 8),
    ("sim", 9),
];

/// Rooms of one rank must not know each other, but for this: the traits in `types` speak of `base`'s packet buffers.
const NEIGHBOURS: &[(&str, &str)] = &[("types", "base")];

/// Where `unsafe` may be.
const UNSAFE_ROOMS: &[&str] = &["device", "shm"];

/// Longer files are pointed out.
const LONG: usize = 800;

#[test]
fn rooms_know_only_rooms_below_them() {
    let found = report(|file| file.references());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn unsafe_stays_with_the_operating_system() {
    let found = report(|file| file.unsafe_code());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn long_files_are_pointed_out() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > LONG {
            println!("note: src/{} has {lines} lines; consider splitting it", path.display());
        }
    }
}

/// What `check` has to say about every file of the crate.
fn report(check: impl Fn(&Source) -> Vec<Finding>) -> Vec<String> {
    let sources = sources();
    assert!(sources.iter().any(|(path, _)| path.ends_with("lib.rs")), "no sources found: the test would prove nothing");
    let all = sources.iter().flat_map(|(path, text)| {
        check(&Source::new(path, text)).into_iter().map(|finding| format!("src/{}:{finding}", path.display()))
    });
    all.collect()
}

/// The files of `src/`, by their path in it.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// Something that must not be, and where.
struct Finding {
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// A file of the crate.
struct Source {
    /// The modules that lead to it, the room first; none for the crate root.
    modules: Vec<String>,
    tokens: TokenStream,
}

impl Source {
    fn new(path: &Path, text: &str) -> Self {
        let mut modules: Vec<_> = path.with_extension("").iter().map(|m| m.to_str().unwrap().to_owned()).collect();
        if modules.last().is_some_and(|m| m == "mod" || m == "lib") {
            modules.pop();
        }
        let tokens = text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { modules, tokens }
    }

    fn room(&self) -> Option<&str> {
        self.modules.first().map(String::as_str)
    }

    /// References to rooms that this file's room must not know. Tests may know anything.
    fn references(&self) -> Vec<Finding> {
        let Some(room) = self.room() else { return Vec::new() };
        if self.modules.iter().any(|m| m == "tests") {
            return Vec::new();
        }
        let mut seen = Vec::new();
        references(&self.tokens, self.modules.len(), &mut seen);
        let objections = seen.into_iter().filter_map(|r| Some(Finding { line: r.line, what: objection(room, &r.to)? }));
        objections.collect()
    }

    /// `unsafe` where it must not be, tests included.
    fn unsafe_code(&self) -> Vec<Finding> {
        if self.room().is_some_and(|room| UNSAFE_ROOMS.contains(&room)) {
            return Vec::new();
        }
        let mut lines = Vec::new();
        lines_with_unsafe(&self.tokens, &mut lines);
        lines.into_iter().map(|line| Finding { line, what: "`unsafe` outside device/ and shm/".to_owned() }).collect()
    }
}

fn rank(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

/// Why `room` must not refer to `to`, if it must not.
fn objection(room: &str, to: &str) -> Option<String> {
    if room == to || NEIGHBOURS.contains(&(room, to)) {
        return None;
    }
    let Some(own) = rank(room) else { return Some(format!("the room `{room}` has no rank in tests/architecture.rs")) };
    match rank(to) {
        None => Some(format!("`crate::{to}` is no room; name the room where it is defined")),
        Some(other) if other < own => None,
        Some(other) if other == own => Some(format!("`{room}` and `{to}` (both rank {own}) must not know each other")),
        Some(other) => Some(format!("`{room}` (rank {own}) refers up to `{to}` (rank {other})")),
    }
}

/// The first segment of a path from the crate root.
struct Reference {
    line: usize,
    to: String,
}

/// Collects the references from the crate root in `tokens`, which are `depth` modules below it, but for test code.
fn references(tokens: &TokenStream, depth: usize, out: &mut Vec<Reference>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut rest = tokens.as_slice();
    while let [token, tail @ ..] = rest {
        rest = match token {
            TokenTree::Punct(p) if p.as_char() == '#' && is_test_attribute(tail) => after_item(tail),
            TokenTree::Ident(word) if word == "mod" => match tail {
                [TokenTree::Ident(_), TokenTree::Group(body), after @ ..] => {
                    references(&body.stream(), depth + 1, out);
                    after
                }
                _ => tail,
            },
            TokenTree::Ident(word) => match start(word, depth) {
                Some(level) => follow(tail, level, out),
                None => tail,
            },
            TokenTree::Group(group) => {
                references(&group.stream(), depth, out);
                tail
            }
            _ => tail,
        };
    }
}

/// How many modules below the root a path that starts with `word` in a module at `depth` is, if it is relative.
fn start(word: &Ident, depth: usize) -> Option<usize> {
    match word.to_string().as_str() {
        "crate" | "o7s" => Some(0),
        "super" => Some(depth.saturating_sub(1)),
        "self" => Some(depth),
        _ => None,
    }
}

/// Follows a path whose segments so far lead to a module `level` below the root. Returns what is after the path.
fn follow<'a>(mut rest: &'a [TokenTree], mut level: usize, out: &mut Vec<Reference>) -> &'a [TokenTree] {
    while let [a, b, next, tail @ ..] = rest
        && is_colon(a)
        && is_colon(b)
    {
        rest = tail;
        match segment(next, level, out) {
            Some(above) => level = above,
            None => break,
        }
    }
    rest
}

/// Takes one segment of a path, which may be a group of paths. Returns the level at which the path goes on.
fn segment(next: &TokenTree, level: usize, out: &mut Vec<Reference>) -> Option<usize> {
    match next {
        TokenTree::Ident(word) if word == "super" => return Some(level.saturating_sub(1)),
        TokenTree::Ident(word) if word == "self" && level > 0 => return Some(level),
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let is_comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
            for path in inner.split(is_comma) {
                if let [first, more @ ..] = path
                    && let Some(level) = segment(first, level, out)
                {
                    follow(more, level, out);
                }
            }
        }
        // `self` and `*` at the root name no room either, and are refused for that.
        name if level == 0 => out.push(Reference { line: name.span().start().line, to: name.to_string() }),
        // A module below the root: the path cannot climb any more.
        _ => {}
    }
    None
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(p) if p.as_char() == ':')
}

/// Whether what follows a `#` is `[cfg(test)]` or `[cfg(all(test, ...))]`.
fn is_test_attribute(tail: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(attribute)) = tail.first() else { return false };
    let inner: Vec<TokenTree> = attribute.stream().into_iter().collect();
    matches!(inner.as_slice(), [TokenTree::Ident(cfg), TokenTree::Group(condition)]
        if cfg == "cfg" && needs_test(&condition.stream()))
}

fn needs_test(condition: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.clone().into_iter().collect();
    tokens.iter().any(|t| matches!(t, TokenTree::Ident(word) if word == "test"))
        || matches!(tokens.as_slice(), [TokenTree::Ident(all), TokenTree::Group(args)]
            if all == "all" && needs_test(&args.stream()))
}

/// What is after the item to which an attribute belongs: its body in braces, or its semicolon.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let is_end = |t: &TokenTree| match t {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(p) => p.as_char() == ';',
        _ => false,
    };
    let end = tokens.iter().position(is_end).map_or(tokens.len(), |at| at + 1);
    tokens.get(end..).unwrap_or_default()
}

fn lines_with_unsafe(tokens: &TokenStream, lines: &mut Vec<usize>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => lines.push(word.span().start().line),
            TokenTree::Group(group) => lines_with_unsafe(&group.stream(), lines),
            _ => {}
        }
    }
}

/// The checker must be able to fail: what it says about snippets, rule by rule.
mod checker {
    use super::*;

    fn references(path: &str, text: &str) -> Vec<String> {
        Source::new(Path::new(path), text).references().iter().map(Finding::to_string).collect()
    }

    fn unsafe_code(path: &str, text: &str) -> usize {
        Source::new(Path::new(path), text).unsafe_code().len()
    }

    #[test]
    fn refuses_every_pair_that_the_table_refuses() {
        let mut refused = 0;
        for (room, own) in ROOMS {
            for (to, other) in ROOMS {
                let allowed = room == to || other < own || (*room, *to) == ("types", "base");
                let found = references(&format!("{room}/x.rs"), &format!("use crate::{to}::Thing;"));
                assert_eq!(found.is_empty(), allowed, "{room} and {to}: {found:?}");
                refused += found.len();
            }
        }
        assert!(refused > ROOMS.len() * (ROOMS.len() - 1) / 2);
    }

    #[test]
    fn refuses_an_upward_reference_and_says_where() {
        assert_eq!(
            references("wire/udp.rs", "use core::fmt;\n\nuse crate::flow::Endpoint;"),
            ["3: `wire` (rank 1) refers up to `flow` (rank 4)"]
        );
    }

    #[test]
    fn refuses_neighbours() {
        let says = |a, b| format!("1: `{a}` and `{b}` (both rank {}) must not know each other", rank(a).unwrap());
        for (a, b) in [("frct", "oap"), ("oap", "frct"), ("irm", "ipcp"), ("ipcp", "irm"), ("base", "types")] {
            assert_eq!(references(&format!("{a}.rs"), &format!("use crate::{b};")), [says(a, b)]);
        }
    }

    #[test]
    fn finds_references_in_groups() {
        let text = "use crate::{\n base::time::Instant,\n irm::{self, names},\n types,\n};";
        assert_eq!(references("flow/mod.rs", text), ["3: `flow` (rank 4) refers up to `irm` (rank 5)"]);
    }

    #[test]
    fn finds_references_that_climb() {
        assert_eq!(references("frct/tx.rs", "use super::super::oap::Client;").len(), 1);
        assert_eq!(references("frct/tx.rs", "use super::{super::{oap, base}};").len(), 1);
        assert_eq!(references("frct/tx.rs", "use self::super::super::oap;").len(), 1);
        assert_eq!(references("frct/mod.rs", "use super::oap;").len(), 1);
        assert_eq!(references("frct/mod.rs", "mod inner { use super::super::oap; }").len(), 1);
        // One level less: names a module of its own room.
        assert_eq!(references("frct/tx.rs", "use super::oap;").len(), 0);
        assert_eq!(references("frct/mod.rs", "mod inner { use super::oap; }").len(), 0);
    }

    #[test]
    fn finds_references_in_code_and_macros() {
        assert_eq!(references("frct/tx.rs", "fn f() -> u32 { g(1, [crate::oap::LIMIT]) }").len(), 1);
        assert_eq!(references("frct/tx.rs", "macro_rules! m { () => { $crate::oap::LIMIT } }").len(), 1);
        assert_eq!(references("frct/tx.rs", "fn f(x: Vec<crate::oap::Client>, y: &dyn crate::stack::T) {}").len(), 2);
        assert_eq!(references("frct/tx.rs", "struct S { client: crate::oap::Client }").len(), 1);
        assert_eq!(references("frct/tx.rs", "#[derive(crate::oap::D)] struct S;").len(), 1);
    }

    #[test]
    fn refuses_names_of_the_root() {
        for text in ["use crate::Stack;", "use crate::*;", "use crate::{self as all};", "use super::super::*;"] {
            assert_eq!(references("flow/x.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn refuses_a_room_without_a_rank() {
        let found = references("attic/mod.rs", "use crate::base::time::Instant;");
        assert_eq!(found, ["1: the room `attic` has no rank in tests/architecture.rs"]);
    }

    #[test]
    fn leaves_alone_what_does_not_count() {
        for text in [
            "// use crate::stack::Flow;\n/* crate::stack */",
            "//! See [`crate::stack::Flow`].\n\n/// [`crate::stack`]\nstruct S;",
            "const S: &str = \"crate::stack\"; const R: &str = r#\"use crate::stack;\"#;",
            "#[cfg(test)]\nmod tests { use crate::stack::Flow; }",
            "#[cfg(test)] #[allow(dead_code)] fn helper(f: crate::stack::Flow) {}",
            "#[cfg(all(test, feature = \"sim\"))] use crate::sim::Network;",
            "pub(crate) fn f() {} pub(in crate::base) fn g() {} pub(super) fn h() {}",
            "use other::crate_::stack; use ::log::debug;",
        ] {
            assert_eq!(references("base/x.rs", text), Vec::<String>::new(), "{text}");
        }
        assert!(references("base/x/tests.rs", "use crate::stack::Flow;").is_empty());
        assert!(references("base/tests/faults.rs", "use crate::stack::Flow;").is_empty());
        assert!(references("lib.rs", "pub use crate::stack::Flow;").is_empty());
    }

    #[test]
    fn sees_what_is_behind_test_code() {
        let text = "#[cfg(test)] mod tests;\n#[cfg(not(test))] use crate::stack::A;\nuse crate::stack::B;";
        assert_eq!(references("base/x.rs", text).len(), 2);
    }

    #[test]
    fn refuses_unsafe_code() {
        for text in ["unsafe fn f() {}", "fn f() { let x = unsafe { g() }; }", "unsafe impl Send for S {}"] {
            assert_eq!(unsafe_code("base/buf.rs", text), 1, "{text}");
            assert_eq!(unsafe_code("lib.rs", text), 1, "{text}");
            assert_eq!(unsafe_code("device/socket.rs", text), 0, "{text}");
            assert_eq!(unsafe_code("shm.rs", text), 0, "{text}");
        }
        assert_eq!(unsafe_code("base/buf.rs", "// unsafe\n#![deny(unsafe_code)] const S: &str = \"unsafe\";"), 0);
    }
}
