//! Exporting the tree: a visit to every node, and where that node is.

use alloc::string::String;
use alloc::vec::Vec;

use super::Rib;

/// Visitor that exports a tree node by node, in a format of the program's own.
///
/// ```
/// use o7s::rib::{self, Exporter, Place, Rib};
///
/// /// Lines of path and number.
/// #[derive(Default)]
/// struct Lines(String);
///
/// impl Exporter for Lines {
///     fn node(&mut self, place: &Place<'_>, node: &Rib) {
///         for (name, number) in node.numbers() {
///             self.0 += &format!("{}/{name} {number}\n", place.path());
///         }
///     }
/// }
///
/// let stack = o7s::Stack::new()?;
/// let mut lines = Lines::default();
/// rib::export(&stack.rib(), &mut lines);
/// assert!(lines.0.contains("node/accepted 0\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Exporter {
    /// Takes one node: its [words](Rib::texts) and [numbers](Rib::values), not what is below. A node comes before those
    /// below it, and these in their order.
    fn node(&mut self, place: &Place<'_>, node: &Rib);
}

/// The place of a node in a tree: the nodes on the way there.
#[derive(Clone, Debug)]
pub struct Place<'a>(Vec<&'a Rib>);

impl<'a> Place<'a> {
    /// The nodes from below the root to the node itself; none for the root.
    pub fn nodes(&self) -> &[&'a Rib] {
        &self.0
    }

    /// The names of these nodes, separated by `/`, as in [`Rib::get`]. Empty for the root.
    pub fn path(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|node| node.name.as_str()).collect();
        names.join("/")
    }

    /// The items of lists on the way: their sort and their name, which tell this node from others of its kind. A member's
    /// flow has two, for instance: `("ipcp", "node-a")` and `("flow", "3f")`.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        self.0.iter().filter_map(|node| Some((node.sort()?, node.name.as_str())))
    }

    /// Parts of a metric's name for these nodes: the names of parts, the sorts of items, nothing for lists.
    pub fn metric_parts(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|node| node.metric_part()).filter(|part| !part.is_empty())
    }
}

/// Hands every node of a tree to `to`, the root first.
pub fn export(rib: &Rib, to: &mut dyn Exporter) {
    visit(rib, &mut Place(Vec::new()), to);
}

fn visit<'a>(node: &'a Rib, place: &mut Place<'a>, to: &mut dyn Exporter) {
    to.node(place, node);
    for child in &node.children {
        place.0.push(child);
        visit(child, place, to);
        place.0.pop();
    }
}
