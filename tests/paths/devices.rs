//! Stacks on several devices: layers, adjacencies and flows over all of them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use o7s::ipcp::unicast;
use o7s::sim::{Host, Link, Network};
use o7s::{IpcpHandle, QosSpec, UnicastLayer};

use super::world::{ms, secs};

/// One way.
const LATENCY: Duration = Duration::from_millis(2);

/// Two hosts with two devices each, IPv4 and IPv6, and a member on each with adjacencies over both.
struct Pair {
    net: Network,
    hosts: [Host; 2],
    members: [IpcpHandle; 2],
}

impl Pair {
    fn new(seed: u64) -> Self {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(LATENCY).rate(100_000_000));
        let host =
            |i: u8| net.host(&format!("host {i}")).udp4(&format!("10.0.0.{i}")).udp6(&format!("fd00::{i}")).build();
        let hosts = [host(1), host(2)];
        // Its name is known over the one device, the layer's over the other: each is a way to it.
        let [a, b] = &hosts;
        let first = b.stack().unicast("b").autobind(true).over(&b.udp4()[0]).over(&b.udp6()[0]);
        let first = first.bootstrap(UnicastLayer::new("net")).unwrap();
        b.udp4()[0].unregister("net");
        b.udp6()[0].unregister("b");
        let second = a.stack().unicast("a").autobind(false).over(&a.udp4()[0]).over(&a.udp6()[0]);
        let second = net.block_on(second.enroll_async("b")).unwrap();
        for name in ["b", "net"] {
            net.block_on(second.connect_async(name)).unwrap();
        }
        net.run_for(secs(5));
        Self { net, hosts, members: [second, first] }
    }
}

#[test]
fn one_device_fails_and_a_reliable_flow_loses_nothing() {
    let detection = unicast::Config::default().detection;
    for (seed, fails) in (0..2).flat_map(|seed| [(seed, "10.0.0.1"), (seed, "fd00::1")]) {
        let pair = Pair::new(seed);
        let (net, [a, b]) = (&pair.net, &pair.hosts);
        assert_eq!(pair.members[0].connections().len(), 4, "management and data transfer, over both");
        pair.members[1].register("sink").unwrap();
        let listener = b.stack().bind("sink").unwrap();
        net.run_for(secs(1));
        let longest = Rc::new(Cell::new(Duration::ZERO));
        let (pause, clock) = (Rc::clone(&longest), net.clone());
        const PACKETS: u32 = 20_000;
        let receiving = net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            let mut last = clock.now();
            for expected in 0..PACKETS {
                let packet = flow.read_bytes().await.unwrap();
                assert_eq!(u32::from_be_bytes(packet[..4].try_into().unwrap()), expected);
                if expected > 0 {
                    pause.set(pause.get().max(clock.now() - last));
                }
                last = clock.now();
            }
        });
        let (stack, clock) = (a.stack().clone(), net.clone());
        net.spawn(async move {
            let flow = stack.flow("sink").qos(QosSpec::DATA).alloc_async().await.unwrap();
            let mut packet = [7; 1000];
            for n in 0..PACKETS {
                packet[..4].copy_from_slice(&n.to_be_bytes());
                flow.write(&packet).await.unwrap();
                clock.sleep(Duration::from_micros(500)).await;
            }
            flow.close(secs(10)).await.unwrap();
        });
        net.run_for(secs(2));
        net.isolate(fails);
        net.block_on(receiving);
        let pause = longest.get();
        // And a moment until the sender sends again what was lost.
        assert!(pause <= detection + ms(500), "{pause:?}, device {fails}");
    }
}
