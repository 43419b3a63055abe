//! Metrics of the member: the reference's tree, and what that leaves out. State of the machines is copied under their
//! lock and formatted when it is released: every control message waits for it.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::Unicast;
use super::fa::FaFlow;
use crate::base::time::Instant;
use crate::directory;
use crate::forward::ca::Phase;
use crate::types::tree::Tree;

impl Unicast {
    pub(super) fn tree(&self, now: Instant) -> Tree {
        let (waiting, dropped) = self.control.inbox();
        Tree::item("ipcp", &*self.shared.info.name)
            .text("address", self.address().to_string())
            .counters(self.data.counters.rows())
            .counters(dropped)
            .counters(self.flows.counters.rows())
            .counters(self.control.counters.rows())
            .gauge("flows", self.flows.len() as u64)
            .gauge("names", self.flows.names().len() as u64)
            .gauge("adjacencies", self.data.len() as u64)
            .gauge("managements", self.control.management_peers().len() as u64)
            .gauge("inbox", waiting as u64)
            .with(self.data_transfer_tree())
            .with(self.flow_allocator_tree())
            .with(self.link_state_tree(now))
            .with(self.routing_tree())
            .with(self.routes_tree())
            .with(self.directory_tree(now))
    }

    fn data_transfer_tree(&self) -> Tree {
        let adjacencies = self.data.adjacencies();
        Tree::list(format!("dt.{}", self.address())).metric("dt").with_all(adjacencies.iter().map(|a| a.tree()))
    }

    fn flow_allocator_tree(&self) -> Tree {
        Tree::list("flow-allocator").with_all(self.flows.flows().iter().map(|flow| flow_tree(flow)))
    }

    fn link_state_tree(&self, now: Instant) -> Tree {
        let managements = self.control.management_peers();
        let entries = self.control.with_machines(|routing, _| routing.entries(now).collect::<Vec<_>>());
        let links = entries.into_iter().map(|link| {
            Tree::item("link", format!("{}--{}", link.src, link.dst))
                .gauge("seqno", link.seqno)
                .time("age", link.age)
                .gauge("withdrawn", u64::from(link.withdrawn))
        });
        let peers = managements.iter().map(|peer| Tree::item("management", format!(".mgmt {peer}")));
        Tree::list("lsdb").with_all(links).with_all(peers)
    }

    fn routing_tree(&self) -> Tree {
        let stats = self.control.with_machines(|routing, _| routing.stats());
        Tree::new("routing").counters(stats.rows())
    }

    /// The members that packets can be forwarded to, each with the neighbours on the way.
    fn routes_tree(&self) -> Tree {
        let table = self.data.table();
        let mut routes: Vec<_> = table.destinations().collect();
        routes.sort_unstable();
        Tree::list("routes").with_all(routes.into_iter().map(|dst| {
            let next: Vec<_> = table.next_hops(dst).map(|adjacency| adjacency.peer.to_string()).collect();
            Tree::item("route", dst.to_string()).text("next", next.join(" "))
        }))
    }

    fn directory_tree(&self, now: Instant) -> Tree {
        let (names, kept, counters, sizes, id) = self.control.with_machines(|_, directory| {
            let names: Vec<_> = directory.names().collect();
            (names, directory.entries(), directory.counters(), directory.sizes(), directory.own().id)
        });
        let names = names
            .into_iter()
            .map(|(name, stored)| Tree::item("name", name.to_string()).gauge("stored", u64::from(stored)));
        let kept = kept.into_iter().map(|kept| {
            Tree::item("key", format!("{}--{}", kept.name, kept.address))
                .time("expires_in", kept.expires.since(now))
                .gauge("by_owner", u64::from(kept.by_owner))
        });
        Tree::new("dht")
            .with(Tree::list("names").with_all(names))
            .with(Tree::list("database").with_all(kept))
            .with(directory_stats(&counters, &sizes).text("id", id.to_string()))
    }
}

fn directory_stats(c: &directory::Counters, sizes: &directory::Sizes) -> Tree {
    Tree::new("stats")
        .counters(c.rows())
        .gauge("names", sizes.names as u64)
        .gauge("keys", sizes.keys as u64)
        .gauge("contacts", sizes.contacts as u64)
        .gauge("spares", sizes.replacements as u64)
        .gauge("walks", sizes.lookups as u64)
        .gauge("questions", sizes.outstanding as u64)
        .gauge("cache", sizes.cache as u64)
        .gauge("sources", sizes.sources as u64)
        .gauge("waiting", sizes.waiting as u64)
        .gauge("held", sizes.held as u64)
        .gauge("withdrawals", sizes.withdrawals as u64)
        .gauge("confirms", sizes.confirms as u64)
        .gauge("relays", sizes.relays as u64)
        .gauge("handoffs", sizes.handoffs as u64)
        .gauge("chores", sizes.background as u64)
        .gauge("timers", sizes.timers as u64)
}

fn flow_tree(flow: &FaFlow) -> Tree {
    let (remote, waiting) = flow.facts();
    let tree = Tree::item("flow", flow.eid().to_string())
        .text("remote_address", flow.peer().to_string())
        .text("remote_eid", remote.map_or_else(|| "unknown".into(), |eid| eid.to_string()))
        .counters(flow.counters.rows())
        .gauge("waiting", waiting as u64);
    flow.with_ca(|pacer, receiver| {
        let phase = match pacer.phase() {
            Phase::Off => "off",
            Phase::SlowStart => "slow start",
            Phase::Increase => "increase",
            Phase::Decrease => "decrease",
        };
        tree.with(
            Tree::new("ca")
                .text("phase", phase)
                .gauge("rate", pacer.rate())
                .gauge("upstream_level", pacer.level().into())
                .gauge("downstream_level", receiver.level().into())
                .gauge("marked", receiver.marked().into()),
        )
    })
}
