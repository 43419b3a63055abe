//! Paths of the RIB: monitoring relies on them.

use std::collections::BTreeSet;

use o7s::UnicastLayer;
use o7s::rib::Rib;
use o7s::sim::Network;

use super::world::everything::Everything;
use super::world::layer::Layer;
use super::world::secs;

/// Every path there is below `rib`, once, in the order in which it is shown: of things of which there may be several the
/// sort stands for the name.
fn paths(rib: &Rib, above: &str, out: &mut Vec<String>) {
    let at = match rib.sort() {
        // What there is depends on what kind it is of.
        Some("ipcp") => format!("{above}<{}>/", rib.word("info/type").unwrap()),
        Some(sort) => format!("{above}<{sort}>/"),
        // Its name has an address in it.
        None if rib.name.starts_with("dt.") => format!("{above}dt.<address>/"),
        None if rib.name.is_empty() => above.to_owned(),
        None => format!("{above}{}/", rib.name),
    };
    let texts = rib.texts.iter().map(|(name, _)| format!("{at}{name}: text"));
    let numbers = rib.values.iter().map(|value| {
        let kind = format!("{:?}", value.number);
        format!("{at}{}: {}", value.name, kind.split('(').next().unwrap().to_lowercase())
    });
    for line in texts.chain(numbers) {
        if !out.contains(&line) {
            out.push(line);
        }
    }
    rib.children.iter().for_each(|child| paths(child, &at, out));
}

/// The paths of stacks in which everything is.
fn all_paths() -> Vec<String> {
    let everything = Everything::new();
    let mut found = Vec::new();
    for host in &everything.hosts {
        let rib = host.stack().rib();
        println!("{rib}");
        paths(&rib, "", &mut found);
    }
    found
}

#[test]
fn rib_paths_match_the_snapshot() {
    let found = all_paths();
    for kind in ["local", "udp4", "udp6", "eth-dix", "eth-llc", "pipe", "unicast", "broadcast"] {
        let at = format!("ipcps/<{kind}>/info/type: text");
        assert!(found.contains(&at), "there is none of the kind {kind}");
    }
    let found = found.join("\n") + "\n";
    if std::env::var_os("O7S_BLESS").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rib.txt");
        std::fs::write(path, &found).unwrap();
    }
    assert!(found == include_str!("../data/rib.txt"), "the paths are now:\n{found}");
}

/// Paths in the manual, each with `*` for what has a name of its own, as they are written there: the first of a row in full,
/// further ones from where they differ.
fn documented_paths() -> Vec<String> {
    let text = include_str!("../../src/manual/operation.md");
    let table = text.split("| path | says | alarm if |\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut documented = Vec::new();
    for row in table.lines().skip(1) {
        let cell = row.split('|').nth(1).unwrap();
        let mut above = String::new();
        for path in cell.split('`').skip(1).step_by(2) {
            let path = if path.contains('/') { path.to_owned() } else { format!("{above}/{path}") };
            above = path.rsplit_once('/').unwrap().0.to_owned();
            documented.push(path);
        }
    }
    documented
}

#[test]
fn paths_in_the_manual_exist() {
    let documented = documented_paths();
    assert!(documented.len() > 20, "{documented:?}");
    let known: BTreeSet<String> = include_str!("../data/rib.txt")
        .lines()
        .map(|line| {
            let path = line.split(": ").next().unwrap();
            let part = |part: &str| match part.split_once('<') {
                Some((before, _)) => format!("{before}*"),
                None => part.to_owned(),
            };
            path.split('/').map(part).collect::<Vec<_>>().join("/")
        })
        .collect();
    let unknown: Vec<_> = documented.iter().filter(|path| !known.contains(*path)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn a_drawing_has_every_member_and_every_link_once() {
    let ring = [(0, 1), (1, 2), (2, 3), (3, 0)];
    let layer = Layer::build(Network::new(5), 4, &ring, UnicastLayer::new("net"));
    layer.converge(secs(10));
    let ribs: Vec<_> = layer.hosts.iter().map(|host| host.stack().rib()).collect();
    let dot = o7s::rib::graphviz(&ribs);
    println!("{dot}");
    assert_eq!(dot.matches("subgraph").count(), 1, "{dot}");
    assert_eq!(dot.matches(" [label=\"").count(), 4, "{dot}");
    for member in &layer.members {
        let (name, address) = (&member.info().name, member.address().unwrap());
        assert!(dot.contains(&format!("[label=\"{name}\\n{address}\"]")), "{name}: {dot}");
    }
    assert_eq!(dot.matches("[dir=none]").count(), ring.len(), "{dot}");
    assert!(!dot.contains("dashed"), "all links are announced by both ends: {dot}");
    // One next hop to each of two neighbours; the member opposite is reached by one of them.
    assert_eq!(dot.matches("color=blue, font").count(), 2 * 4, "{dot}");
    let destinations: usize =
        dot.split("constraint=false, label=").skip(1).map(|rest| rest[..1].parse::<usize>().unwrap()).sum();
    assert_eq!(destinations, 3 * 4, "{dot}");
}
