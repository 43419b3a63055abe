//! Stacks with a member of every kind of layer, and flows through them.

use std::sync::Arc;
use std::time::Duration;

use o7s::device::Mac;
use o7s::sim::{Host, Network};
use o7s::{BroadcastLayer, Eth, IpcpHandle, LocalConfig, QosSpec, UnicastLayer, aio};

#[path = "../doors/pipe.rs"]
pub(crate) mod pipe;
use pipe::{PipeEnd, PipeShim};

/// Hosts in a row, members of one layer of each kind: local, UDP over IPv4 and IPv6, both framings of Ethernet, one of the
/// program's own, unicast, broadcast. The last one serves names, which the first one has flows to.
pub(crate) struct Everything {
    pub(crate) net: Network,
    pub(crate) hosts: Vec<Host>,
    /// What would be left or closed otherwise.
    pub(crate) flows: Vec<aio::Flow>,
    members: Vec<IpcpHandle>,
    /// Those of the last host in the layer of the program's own and in the unicast layer.
    serving: Vec<IpcpHandle>,
}

impl Everything {
    pub(crate) fn new() -> Self {
        let net = Network::new(1);
        let (dix, llc) = (net.switch(), net.switch());
        let host = |n: u8| {
            let builder = net.host(&format!("host-{n}")).udp4(&format!("10.0.0.{n}")).udp6(&format!("fd00::{n}"));
            let builder = builder.eth_with(&dix, Mac([2, 0, 0, 0, 0, n]), Eth::dix("dix"));
            builder.eth_with(&llc, Mac([2, 0, 0, 0, 1, n]), Eth::llc("llc")).build()
        };
        let hosts: Vec<_> = (1..=3).map(host).collect();
        let mut all = Self { net, hosts, flows: Vec::new(), members: Vec::new(), serving: Vec::new() };
        for host in &all.hosts {
            all.members.push(host.stack().local(LocalConfig::new("local", "local")));
        }
        all.join_custom();
        all.join_unicast();
        all.join_broadcast();
        all.net.run_for(Duration::from_secs(10));
        let last = &all.hosts[2];
        let ways = [&last.udp4()[0], &last.udp6()[0], &last.eth()[0], &last.eth()[1]].map(Clone::clone);
        for (n, member) in ways.iter().chain(&all.serving.clone()).enumerate() {
            all.connect(&format!("there-{n}"), member);
        }
        all
    }

    /// Members of a layer that the library does not know, on the first and the last host.
    fn join_custom(&mut self) {
        let (one, other) = (Arc::new(PipeEnd::default()), Arc::new(PipeEnd::default()));
        let add = |host: &Host, own: &Arc<PipeEnd>, peer: &Arc<PipeEnd>| {
            host.stack().add(PipeShim::info(), |layer| PipeShim::new(layer, own, peer)).unwrap()
        };
        self.members.push(add(&self.hosts[0], &one, &other));
        self.serving.push(add(&self.hosts[2], &other, &one));
    }

    /// Members of a unicast layer, over UDP, each connected to the one before.
    fn join_unicast(&mut self) {
        let mut before: Option<String> = None;
        for (n, host) in self.hosts.iter().enumerate() {
            let name = format!("node-{n}");
            let builder = host.stack().unicast(&name).over(&host.udp4()[0]);
            let member = match &before {
                None => builder.bootstrap(UnicastLayer::new("net")).unwrap(),
                Some(before) => self.net.block_on(async {
                    let member = builder.enroll_async(before).await.unwrap();
                    member.connect_async(before).await.unwrap();
                    member
                }),
            };
            let list = if n == 2 { &mut self.serving } else { &mut self.members };
            list.push(member);
            before = Some(name);
        }
    }

    /// Members of a broadcast layer, over Ethernet, in which the first and the last host take part.
    fn join_broadcast(&mut self) {
        for (n, host) in self.hosts.iter().enumerate() {
            let builder = host.stack().broadcast(&format!("tv-{n}")).over(&host.eth()[0]);
            let member = match n {
                0 => builder.bootstrap(BroadcastLayer::new("tv")).unwrap(),
                _ => self.net.block_on(async {
                    let member = builder.enroll_async("tv-0").await.unwrap();
                    member.connect_async("tv-0").await.unwrap();
                    member
                }),
            };
            self.members.push(member);
            if n != 1 {
                self.flows.push(host.stack().join("tv").unwrap().into_async());
            }
        }
    }

    /// A reliable flow to a name that is registered with this member alone, and an echo over it.
    fn connect(&mut self, name: &str, member: &IpcpHandle) {
        let listener = self.hosts[2].stack().bind(name).unwrap();
        member.register(name).unwrap();
        self.net.run_for(Duration::from_secs(5));
        let accepting = self.net.spawn(async move { listener.accept_async().await.unwrap() });
        let stack = self.hosts[0].stack().clone();
        let to = name.to_owned();
        let (near, far) = self.net.block_on(async move {
            let near = stack.flow(&to).qos(QosSpec::DATA).alloc_async().await.unwrap();
            let far = accepting.await;
            near.write(b"hello").await.unwrap();
            assert_eq!(&far.read_bytes().await.unwrap()[..], b"hello");
            (near, far)
        });
        self.flows.extend([near, far]);
    }
}
