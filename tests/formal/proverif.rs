//! Runs the models, and compares what is found with what the files expect.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// The key exchanges that each model is run with, by the names of their files.
const EXCHANGES: [&str; 3] = ["dh", "server_kem", "client_kem"];
/// The chapter of the manual with the table of what was found.
const MANUAL: &str = include_str!("../../src/manual/security.md");

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formal")
}

/// The models by their names.
fn models() -> BTreeMap<String, String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let models = files.filter(|path| path.extension().is_some_and(|extension| extension == "pv"));
    models
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// What a model expects with each exchange, in the order of [`EXCHANGES`].
fn expected(model: &str) -> Result<[bool; 3], String> {
    if !model.starts_with("(* ") || model.starts_with("(* expect:") {
        return Err("it does not begin with its claim".into());
    }
    for (keyword, count) in
        [("query ", model.matches("\nquery ").count()), ("process ", model.matches("\nprocess ").count())]
    {
        if count != 1 {
            return Err(format!("{count} lines begin with {keyword:?}, not 1"));
        }
    }
    let mut lines = model.lines().filter_map(|line| line.strip_prefix("(* expect: ")?.strip_suffix(" *)"));
    let line = lines.next().ok_or("there is no line \"(* expect: .. *)\"")?;
    let words: Vec<_> = line.split(", ").map(|part| part.split_once(' ')).collect();
    let verdict = |at: usize| match words.get(at) {
        Some(Some((exchange, "true"))) if *exchange == EXCHANGES[at] => Ok(true),
        Some(Some((exchange, "false"))) if *exchange == EXCHANGES[at] => Ok(false),
        other => Err(format!("{other:?} does not say true or false for {}", EXCHANGES[at])),
    };
    if words.len() != EXCHANGES.len() || lines.next().is_some() {
        return Err(format!("{line:?} is not one verdict for each exchange"));
    }
    Ok([verdict(0)?, verdict(1)?, verdict(2)?])
}

/// The verdict in what ProVerif prints for one query: neither none, nor several, nor "cannot be proved".
fn verdict(printed: &str) -> Result<bool, String> {
    // Of a query with `inj-event` it may also say that it fails without.
    let results = printed.lines().filter(|line| line.starts_with("RESULT ") && !line.starts_with("RESULT (even "));
    match results.collect::<Vec<_>>()[..] {
        [result] if result.ends_with(" is true.") => Ok(true),
        [result] if result.ends_with(" is false.") => Ok(false),
        ref results => Err(format!("no verdict in {results:?}\n{printed}")),
    }
}

/// The program; `None`, and a line that says so, if there is none.
fn program() -> Option<OsString> {
    let program = env::var_os("PROVERIF").unwrap_or_else(|| "proverif".into());
    if Command::new(&program).arg("-help").output().is_ok() {
        return Some(program);
    }
    // Past the capture of the test harness.
    let _ = writeln!(std::io::stderr().lock(), "skipped: there is no proverif on this host");
    None
}

fn run_all(exchange: usize) {
    let Some(program) = program() else { return };
    let library = |name: &str| folder().join(format!("{name}.pvl"));
    let mut wrong = Vec::new();
    for (name, model) in models() {
        let mut command = Command::new(&program);
        command.arg("-lib").arg(library(EXCHANGES[exchange])).arg("-lib").arg(library("oap"));
        let output = command.arg(folder().join(format!("{name}.pv"))).output().unwrap();
        let found = verdict(&String::from_utf8_lossy(&output.stdout));
        let expected = expected(&model).map(|verdicts| verdicts[exchange]);
        if found.is_err() || found != expected {
            wrong.push(format!("{name} with {}: found {found:?}, expected {expected:?}", EXCHANGES[exchange]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn diffie_hellman() {
    run_all(0);
}

#[test]
fn server_encapsulation() {
    run_all(1);
}

#[test]
fn client_encapsulation() {
    run_all(2);
}

#[test]
fn every_model_says_what_is_expected_of_it() {
    let models = models();
    assert!(models.len() >= 60, "{} models: the test would prove nothing", models.len());
    for (name, model) in &models {
        if let Err(error) = expected(model) {
            panic!("{name}.pv: {error}");
        }
    }
    // Of an exchange that cannot succeed everything is true.
    for model in models.iter().filter(|(name, _)| name.starts_with("reachable_")) {
        assert_eq!(expected(model.1), Ok([false; 3]), "{}", model.0);
    }
}

#[test]
fn what_is_no_expectation_and_no_verdict_is_noticed() {
    let good =
        "(* A claim. *)\n(* expect: dh true, server_kem false, client_kem true *)\nquery attacker(m).\nprocess p\n";
    assert_eq!(expected(good), Ok([true, false, true]));
    for (from, to) in [
        ("(* A claim. *)\n", ""),
        ("(* expect: dh true, server_kem false, client_kem true *)\n", ""),
        (", client_kem true", ""),
        ("dh true", "dh yes"),
        ("server_kem", "kem_server"),
        ("process p\n", "process p\n(* expect: dh false, server_kem false, client_kem true *)\n"),
        ("query attacker(m).\n", ""),
        ("query attacker(m).\n", "query attacker(m).\nquery attacker(n).\n"),
    ] {
        assert!(expected(&good.replacen(from, to, 1)).is_err(), "{from:?} to {to:?}");
    }
    let injective = "RESULT inj-event(a) ==> inj-event(b) is false.\nRESULT (even event(a) ==> event(b) is false.)\n";
    assert_eq!(verdict(injective), Ok(false));
    assert_eq!(verdict("-- Query\nRESULT not attacker(m[]) is true.\n"), Ok(true));
    for printed in [
        "",
        "Error: Syntax error.",
        "RESULT not attacker(m[]) cannot be proved.",
        "RESULT not attacker(m[]) is true.\nRESULT not attacker(n[]) is true.",
    ] {
        assert!(verdict(printed).is_err(), "{printed:?}");
    }
}

/// Rows of the manual's table: the claim, the verdict with each exchange, and the models that it comes from.
#[test]
fn the_table_of_the_manual_says_what_the_models_expect() {
    let table = MANUAL.split("\n# Formal model\n").nth(1).expect("the manual has no section on the model");
    let table = table.split("\n# ").next().unwrap();
    let models = models();
    let mut shown = 0;
    for row in table.lines().filter(|line| line.starts_with('|') && line.ends_with("` |")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let says: Vec<_> = cells[1..4].iter().map(|cell| *cell == "holds").collect();
        assert!(cells[1..4].iter().all(|cell| ["holds", "**fails**"].contains(cell)), "{row}");
        for model in cells[cells.len() - 1].split(", ").map(|name| name.trim_matches('`')) {
            let verdicts = expected(models.get(model).unwrap_or_else(|| panic!("there is no {model}.pv")));
            assert_eq!(verdicts.unwrap()[..], says[..], "{row}");
            shown += 1;
        }
    }
    let claims = models.keys().filter(|name| !name.starts_with("reachable_")).count();
    assert_eq!(shown, claims, "every claim has its place in the table");
}
