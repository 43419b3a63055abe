//! Drawings of unicast layers: their members, links and routes, as text for Graphviz.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use core::fmt::Write as _;

use super::Rib;

#[cfg(test)]
mod tests;

/// One layer, as far as the members that were looked at know it.
#[derive(Default)]
struct Layer<'a> {
    /// The addresses of members, and the names of those that were looked at.
    members: BTreeMap<&'a str, Option<&'a str>>,
    /// Links by their ends, the lesser address first: which of the two announces it.
    links: BTreeMap<(&'a str, &'a str), Announced>,
    /// Members that were looked at, and their next hops: how many destinations are reached that way.
    routes: BTreeMap<(&'a str, &'a str), usize>,
}

#[derive(Clone, Copy, Default)]
struct Announced {
    by_first: bool,
    by_second: bool,
}

/// Draws the unicast layers of one or several stacks, as text for Graphviz's `dot`.
///
/// The links of a layer are those in the link-state databases of the members found in `ribs`, which are snapshots of
/// [stacks](crate::Stack::rib): one of a running stack, or those of all hosts of a simulation.
///
/// | in the drawing | is |
/// |---|---|
/// | a frame | a layer |
/// | a box | a member, by its address; with its name if it is in one of the `ribs` |
/// | a line | a link that both ends announce; dashed, one that only one end announces, which carries no routes |
/// | a blue arrow | from a member in one of the `ribs` to a next hop, with the number of destinations that are reached by it |
///
/// ```
/// use o7s::{LocalConfig, Stack, UnicastLayer, rib};
///
/// let stack = Stack::new()?;
/// let wire = stack.local(LocalConfig::new("wire", "wire"));
/// stack.unicast("node-a").over(&wire).bootstrap(UnicastLayer::new("campus"))?;
/// let dot = rib::graphviz([&stack.rib()]);
/// assert!(dot.contains("label=\"campus\""));
/// assert!(dot.contains("node-a"));
/// // std::fs::write("campus.dot", dot)?, and then: dot -Tsvg campus.dot -o campus.svg
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn graphviz<'a>(ribs: impl IntoIterator<Item = &'a Rib>) -> String {
    let mut layers: BTreeMap<&str, Layer<'_>> = BTreeMap::new();
    for ipcp in ribs.into_iter().filter_map(|rib| rib.child("ipcps")).flat_map(|list| &list.children) {
        // Members of other kinds of layers have neither.
        let (Some(address), Some(links)) = (ipcp.word("address"), ipcp.child("lsdb")) else { continue };
        let layer = layers.entry(ipcp.word("info/layer").unwrap_or_default()).or_default();
        layer.members.insert(address, Some(&ipcp.name));
        links.children.iter().for_each(|link| layer.add_link(link));
        let routes = ipcp.child("routes").into_iter().flat_map(|list| &list.children);
        routes.for_each(|route| layer.add_route(address, route));
    }
    let mut out = String::from(
        "digraph o7s {\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n",
    );
    for (number, (name, layer)) in layers.iter().enumerate() {
        layer.write(&mut out, number, name);
    }
    out + "}\n"
}

impl<'a> Layer<'a> {
    fn add_link(&mut self, link: &'a Rib) {
        // Management flows are listed among the links, too.
        let Some((from, to)) = link.name.split_once("--") else { return };
        if link.get("withdrawn") == Some(1) {
            return;
        }
        self.members.entry(from).or_default();
        self.members.entry(to).or_default();
        let announced = self.links.entry((from.min(to), from.max(to))).or_default();
        announced.by_first |= from <= to;
        announced.by_second |= from > to;
    }

    fn add_route(&mut self, own: &'a str, route: &'a Rib) {
        self.members.entry(&route.name).or_default();
        for hop in route.word("next").unwrap_or_default().split_whitespace() {
            *self.routes.entry((own, hop)).or_default() += 1;
        }
    }

    /// Writes the layer as a cluster. Addresses belong to one layer, so identifiers begin with its number.
    fn write(&self, out: &mut String, number: usize, name: &str) {
        let _ = writeln!(out, "  subgraph cluster_{number} {{\n    label={};", Quoted(name));
        let id = |address: &str| Quoted(&alloc::format!("{number}/{address}")).to_string();
        for (address, name) in &self.members {
            let label = match name {
                Some(name) => alloc::format!("{name}\n{address}"),
                None => (*address).to_string(),
            };
            let _ = writeln!(out, "    {} [label={}];", id(address), Quoted(&label));
        }
        for ((first, second), announced) in &self.links {
            let style = if announced.by_first && announced.by_second { "" } else { ", style=dashed" };
            let _ = writeln!(out, "    {} -> {} [dir=none{style}];", id(first), id(second));
        }
        for ((own, hop), destinations) in &self.routes {
            let (own, hop) = (id(own), id(hop));
            let _ = writeln!(
                out,
                "    {own} -> {hop} [color=blue, fontcolor=blue, constraint=false, label={destinations}];"
            );
        }
        out.push_str("  }\n");
    }
}

/// A string of Graphviz, in quotes.
struct Quoted<'a>(&'a str);

impl core::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                // Names may have anything in them but NUL.
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
