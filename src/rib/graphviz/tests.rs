use alloc::vec::Vec;

use super::*;

fn link(from: &str, to: &str, withdrawn: u64) -> Rib {
    Rib::item("link", alloc::format!("{from}--{to}")).gauge("withdrawn", withdrawn)
}

/// A stack with one member of the layer "net".
fn stack(name: &str, address: &str, links: Vec<Rib>, routes: &[(&str, &str)]) -> Rib {
    let routes = routes.iter().map(|(to, next)| Rib::item("route", *to).text("next", *next));
    let member = Rib::item("ipcp", name)
        .text("address", address)
        .with(Rib::new("info").text("layer", "net"))
        .with(Rib::list("lsdb").with_all(links).with(Rib::item("management", ".mgmt 2")))
        .with(Rib::list("routes").with_all(routes));
    let shim = Rib::item("ipcp", "udp").with(Rib::new("info").text("layer", "ground"));
    Rib::new("").with(Rib::list("ipcps").with(shim).with(member))
}

fn line(dot: &str, beginning: &str) -> Option<String> {
    dot.lines().map(str::trim).find(|line| line.starts_with(beginning)).map(String::from)
}

#[test]
fn links_are_drawn_once_and_one_sided_ones_dashed() {
    let links = alloc::vec![link("1", "2", 0), link("2", "1", 0), link("2", "3", 0), link("3", "1", 1)];
    let dot = graphviz([&stack("a", "1", links, &[])]);
    assert_eq!(line(&dot, "\"0/1\" -> \"0/2\"").as_deref(), Some("\"0/1\" -> \"0/2\" [dir=none];"), "{dot}");
    assert_eq!(line(&dot, "\"0/2\" -> \"0/1\""), None, "{dot}");
    assert_eq!(
        line(&dot, "\"0/2\" -> \"0/3\"").as_deref(),
        Some("\"0/2\" -> \"0/3\" [dir=none, style=dashed];"),
        "{dot}"
    );
    assert_eq!(line(&dot, "\"0/1\" -> \"0/3\""), None, "withdrawn: {dot}");
    assert!(!dot.contains("mgmt") && !dot.contains("ground"), "{dot}");
}

#[test]
fn routes_are_counted_by_next_hop() {
    let dot = graphviz([&stack("a", "1", Vec::new(), &[("2", "2"), ("3", "2 4"), ("4", "4")])]);
    let arrow = |hop: &str| line(&dot, &alloc::format!("\"0/1\" -> \"0/{hop}\"")).unwrap_or_default();
    assert!(arrow("2").contains("label=2]"), "{dot}");
    assert!(arrow("4").contains("label=2]"), "{dot}");
    assert!(dot.contains("\"0/3\" [label=\"3\"];"), "{dot}");
}

#[test]
fn several_stacks_make_one_drawing_of_a_layer() {
    let links = || alloc::vec![link("1", "2", 0), link("2", "1", 0)];
    let dot = graphviz([&stack("a", "1", links(), &[("2", "2")]), &stack("b", "2", links(), &[("1", "1")])]);
    assert_eq!(dot.matches("subgraph").count(), 1, "{dot}");
    assert!(dot.contains("[label=\"a\\n1\"]") && dot.contains("[label=\"b\\n2\"]"), "{dot}");
    assert_eq!(dot.matches("dir=none").count(), 1, "{dot}");
    assert_eq!(dot.matches("color=blue, font").count(), 2, "{dot}");
}

#[test]
fn names_are_quoted() {
    let dot = graphviz([&stack("a\"];\\ b", "1", Vec::new(), &[])]);
    assert!(dot.contains("[label=\"a\\\"];\\\\ b\\n1\"];"), "{dot}");
}
