//! Unicast layers over simulated UDP: hosts, one member on each, adjacencies as a list of edges.

use o7s::sim::{Host, Network};
use o7s::{IpcpHandle, Name, UnicastLayer};

/// A layer of members 0, 1, 2, ... called `node-0` and so on, each on a host of its own.
pub(crate) struct Layer {
    pub(crate) net: Network,
    pub(crate) hosts: Vec<Host>,
    pub(crate) members: Vec<IpcpHandle>,
}

/// What member `i` is called.
pub(crate) fn name(i: usize) -> String {
    format!("node-{i}")
}

/// The address of the host of member `i`.
pub(crate) fn address(i: usize) -> String {
    format!("10.{}.{}.{}", 1 + i / 62_500, i / 250 % 250, 1 + i % 250)
}

impl Layer {
    /// Bootstraps member 0 and has the others enrol, each by way of the neighbour with the lowest number that it has, then
    /// connects all edges. A member other than 0 needs an edge to one with a lower number.
    pub(crate) fn build(net: Network, n: usize, edges: &[(usize, usize)], layer: UnicastLayer) -> Self {
        let mut world = Self { net, hosts: Vec::new(), members: Vec::new() };
        for i in 0..n {
            world.add_host(i);
        }
        let first = world.member_of(0).bootstrap(layer).unwrap();
        world.members.push(first);
        for i in 1..n {
            let by = edges.iter().filter_map(|&(a, b)| other(a, b, i)).min().filter(|&j| j < i).unwrap();
            let by = name(by);
            let joining = world.member_of(i).enroll_async(&by);
            let member = world.net.block_on(joining).unwrap();
            world.members.push(member);
        }
        for &(a, b) in edges {
            let (from, to) = (a.max(b), a.min(b));
            world.net.block_on(world.members[from].connect_async(&name(to))).unwrap();
        }
        world
    }

    fn add_host(&mut self, i: usize) {
        let host = self.net.host(&format!("host-{i}")).udp4(&address(i)).build();
        let addr = host.udp4()[0].local_addr().unwrap();
        self.net.names().insert_at(&Name::new(&name(i)).unwrap(), addr);
        self.hosts.push(host);
    }

    fn member_of(&self, i: usize) -> o7s::UnicastBuilder {
        let host = &self.hosts[i];
        host.stack().unicast(&name(i)).over(&host.udp4()[0])
    }
}

fn other(a: usize, b: usize, i: usize) -> Option<usize> {
    match i {
        _ if a == i => Some(b),
        _ if b == i => Some(a),
        _ => None,
    }
}
