//! Unicast layers over simulated UDP: hosts, one member on each, adjacencies as a list of edges.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use o7s::sim::{Host, JoinHandle, Link, Network};
use o7s::types::id::{Address, Eid};
use o7s::{Connect, IpcpHandle, MemberError, Name, QosSpec, UnicastLayer};

use super::topology::{Edges, neighbours, waves};
use super::{ms, secs};

/// A layer of members 0, 1, 2, ... called `node-0` and so on, each on a host of its own.
pub(crate) struct Layer {
    pub(crate) net: Network,
    /// Those of crashed members are of no use.
    pub(crate) hosts: Vec<Host>,
    pub(crate) members: Vec<IpcpHandle>,
    pub(crate) edges: Edges,
    pub(crate) dead: BTreeSet<usize>,
    how: Connect,
}

/// What member `i` is called.
pub(crate) fn name(i: usize) -> String {
    format!("node-{i}")
}

/// The address of the host of member `i`.
pub(crate) fn address(i: usize) -> String {
    format!("10.{}.{}.{}", 1 + i / 62_500, i / 250 % 250, 1 + i % 250)
}

/// Connections that are noticed to be gone after this time.
pub(crate) fn noticed_after(timeout: Duration) -> Connect {
    let qos = QosSpec { timeout: timeout.as_millis() as u32, ..Connect::QOS };
    // The worst networks of the tests need a few attempts.
    Connect::new().qos(qos).timeout(secs(120))
}

impl Layer {
    /// Bootstraps member 0, has the others enrol and connect as soon as a neighbour has, and connects all edges.
    pub(crate) fn build(net: Network, n: usize, edges: &[(usize, usize)], layer: UnicastLayer) -> Self {
        Self::build_with(net, n, edges, layer, Connect::new())
    }

    /// As [`build`](Self::build), with a say in what N-1 flows are like.
    pub(crate) fn build_with(
        net: Network,
        n: usize,
        edges: &[(usize, usize)],
        layer: UnicastLayer,
        how: Connect,
    ) -> Self {
        Self::build_secure(net, n, edges, layer, how, "")
    }

    /// As [`build_with`](Self::build_with); all flows are encrypted as `security` says, if it says anything.
    pub(crate) fn build_secure(
        net: Network,
        n: usize,
        edges: &[(usize, usize)],
        layer: UnicastLayer,
        how: Connect,
        security: &str,
    ) -> Self {
        let hosts: Vec<_> = (0..n).map(|i| host(&net, i, security)).collect();
        let first = member_of(&hosts[0], 0).bootstrap(layer).unwrap();
        let mut members = BTreeMap::from([(0, first)]);
        for wave in waves(n, edges) {
            let joining: Vec<_> =
                wave.into_iter().map(|(i, by)| (i, join(&net, &hosts[i], i, by, how.clone()))).collect();
            for (i, member) in joining {
                members.insert(i, net.block_on(member).unwrap_or_else(|e| panic!("member {i}: {e:?}")));
            }
        }
        let members: Vec<_> = members.into_values().collect();
        let world = Self { net, hosts, members, edges: edges.to_vec(), dead: BTreeSet::new(), how };
        let tasks: Vec<_> = (0..n).flat_map(|i| world.connect(i)).collect();
        for task in tasks {
            world.net.block_on(task).unwrap();
        }
        world
    }

    /// Makes the connections that are up to member `i`: those to neighbours with lower numbers. Those that stand are
    /// left alone.
    fn connect(&self, i: usize) -> Vec<JoinHandle<Result<(), MemberError>>> {
        let connect = |j| {
            let (member, how) = (self.members[i].clone(), self.how.clone());
            self.net.spawn(async move { member.connect_with_async(&name(j), how).await })
        };
        self.neighbours(i).into_iter().filter(|j| *j < i).map(connect).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The members that are there.
    pub(crate) fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter(|i| !self.dead.contains(i))
    }

    pub(crate) fn address(&self, i: usize) -> Address {
        self.members[i].address().unwrap()
    }

    /// The neighbours that member `i` should have.
    pub(crate) fn neighbours(&self, i: usize) -> Vec<usize> {
        neighbours(self.len(), &self.edges).swap_remove(i)
    }

    /// The neighbours to which member `i` has adjacencies, once for each.
    pub(crate) fn adjacencies(&self, i: usize) -> Vec<Address> {
        let all = self.members[i].connections();
        let mut peers: Vec<_> =
            all.iter().filter(|c| c.component == o7s::ipcp::Component::DataTransfer).map(|c| c.peer).collect();
        peers.sort_unstable();
        peers
    }

    /// Member `i` is gone without a word.
    pub(crate) fn crash(&mut self, i: usize) {
        self.hosts[i].crash();
        self.dead.insert(i);
    }

    /// A new host under the name of a crashed one begins to join the layer by way of a neighbour.
    pub(crate) fn revive(&mut self, i: usize) -> Option<JoinHandle<Result<IpcpHandle, MemberError>>> {
        let by = self.neighbours(i).into_iter().find(|j| !self.dead.contains(j))?;
        self.hosts[i] = host(&self.net, i, "");
        let (member, by) = (member_of(&self.hosts[i], i).timeout(secs(120)), name(by));
        Some(self.net.spawn(async move { member.enroll_async(&by).await }))
    }

    /// It has joined: it keeps the connections that are up to it from now on.
    pub(crate) fn revived(&mut self, i: usize, member: IpcpHandle) {
        self.dead.remove(&i);
        for j in self.neighbours(i).into_iter().filter(|j| *j < i) {
            member.keep_connected(&name(j), &self.how).unwrap();
        }
        self.members[i] = member;
    }

    /// What the path between the hosts of two members is like, from now on.
    pub(crate) fn set_link(&self, (a, b): (usize, usize), link: Link) {
        self.net.set_link_between(address(a).as_str(), address(b).as_str(), link);
    }

    /// The way of a packet as the forwarding tables have it: the members that it visits.
    pub(crate) fn walk(&self, from: usize, to: usize, flow: Eid) -> Walk {
        self.walk_in(&self.numbers(), from, to, flow)
    }

    /// Whose address it is, of those that are there.
    pub(crate) fn numbers(&self) -> BTreeMap<Address, usize> {
        self.alive().map(|i| (self.address(i), i)).collect()
    }

    pub(crate) fn walk_in(&self, numbers: &BTreeMap<Address, usize>, from: usize, to: usize, flow: Eid) -> Walk {
        let destination = self.address(to);
        let mut way = vec![from];
        let mut at = from;
        while at != to {
            let next = self.members[at].next_hop(destination, flow);
            let Some(&next) = next.and_then(|address| numbers.get(&address)) else { return Walk::Ends(way) };
            let around = way.contains(&next);
            way.push(next);
            if around {
                return Walk::Loops(way);
            }
            at = next;
        }
        Walk::Arrives(way)
    }

    /// Runs until there is a way from everybody to everybody, `limit` at most.
    pub(crate) fn converge(&self, limit: Duration) {
        let until = self.net.now() + limit;
        while let Some((from, to)) = self.unreachable() {
            assert!(self.net.now() < until, "no way from {from} to {to}: {:?}", self.walk(from, to, Eid(1)));
            self.net.run_for(ms(20));
        }
    }

    /// A pair without a way.
    fn unreachable(&self) -> Option<(usize, usize)> {
        let numbers = self.numbers();
        let pairs = self.alive().flat_map(|a| self.alive().map(move |b| (a, b)));
        pairs.into_iter().find(|&(a, b)| !matches!(self.walk_in(&numbers, a, b, Eid(1)), Walk::Arrives(_)))
    }
}

/// The way of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    Arrives(Vec<usize>),
    /// The last one has no route, or one to a neighbour that is dead.
    Ends(Vec<usize>),
    /// The last one was visited before.
    Loops(Vec<usize>),
}

/// A host with a UDP layer, known to the others by the name of its member-to-be.
fn host(net: &Network, i: usize, security: &str) -> Host {
    let builder = net.host(&format!("host-{i}")).udp4(&address(i));
    let host = match security {
        "" => builder.build(),
        text => builder.stack(|s| s.security(text.parse().unwrap())).build(),
    };
    let addr = host.udp4()[0].local_addr().unwrap();
    net.names().insert_at(&Name::new(&name(i)).unwrap(), addr);
    host
}

fn member_of(host: &Host, i: usize) -> o7s::UnicastBuilder {
    host.stack().unicast(&name(i)).over(&host.udp4()[0])
}

/// Enrols and connects by way of a neighbour. Of the two the one with the higher number makes the connection.
fn join(net: &Network, host: &Host, i: usize, by: usize, how: Connect) -> JoinHandle<Result<IpcpHandle, MemberError>> {
    let builder = member_of(host, i).timeout(secs(120));
    net.spawn(async move {
        let member = builder.enroll_async(&name(by)).await?;
        if by < i {
            member.connect_with_async(&name(by), how).await?;
        }
        Ok(member)
    })
}
