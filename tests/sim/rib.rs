//! Paths of the RIB: monitoring relies on them.

use o7s::rib::Rib;
use o7s::sim::Network;
use o7s::{BroadcastLayer, LocalConfig, QosSpec, UnicastLayer};

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

#[test]
fn rib_paths_match_the_snapshot() {
    let layer = Layer::build(Network::new(3), 3, &[(0, 1), (1, 2)], UnicastLayer::new("net"));
    layer.converge(secs(10));
    let listener = layer.hosts[2].stack().bind("there").unwrap();
    layer.members[2].register("there").unwrap();
    let local = layer.hosts[0].stack().local(LocalConfig::new("local", "local"));
    let tv = layer.hosts[0].stack().broadcast("tv").bootstrap(BroadcastLayer::new("tv")).unwrap();
    layer.net.run_for(secs(1));
    let accepting = layer.net.spawn(async move { listener.accept_async().await.unwrap() });
    let stack = layer.hosts[0].stack().clone();
    let here = layer.net.block_on(async move { stack.flow("there").qos(QosSpec::DATA).alloc_async().await.unwrap() });
    let there = layer.net.block_on(accepting);
    layer.net.run_for(secs(1));
    let mut found = Vec::new();
    for host in &layer.hosts {
        let rib = host.stack().rib();
        println!("{rib}");
        paths(&rib, "", &mut found);
    }
    drop((here, there, tv, local));
    let found = found.join("\n") + "\n";
    assert!(found == include_str!("../data/rib.txt"), "the paths are now:\n{found}");
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
