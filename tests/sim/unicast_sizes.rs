//! Devices with small frames: names are found over them, and link state crosses them, also when they became so of late.

use o7s::device::Mac;
use o7s::sim::{Host, Link, Network, Switch};
use o7s::types::id::Eid;
use o7s::types::name::HashAlg;
use o7s::{Eth, IpcpHandle, QosSpec, UnicastLayer};

use super::world::{ENCRYPTED, ms, secs};

fn host(net: &Network, i: u8, switches: &[&Switch], security: &str) -> Host {
    let mut builder = net.host(&format!("host {i}"));
    for (n, switch) in switches.iter().enumerate() {
        builder = builder.eth_with(switch, Mac([2, 0, 0, 0, n as u8, i]), Eth::dix(&format!("wire {n}")));
    }
    match security {
        "" => builder.build(),
        text => builder.stack(|s| s.security(text.parse().unwrap())).build(),
    }
}

/// A member over the first of its host's interfaces, enrolled and connected by `by`.
fn join(net: &Network, host: &Host, name: &str, by: &str) -> IpcpHandle {
    let builder = host.stack().unicast(name).over(&host.eth()[0]);
    let member = net.block_on(builder.enroll_async(by)).unwrap();
    net.block_on(member.connect_async(by)).unwrap();
    member
}

/// Whether one of `n` members on a device of so many bytes finds what another has registered, and has a flow to it.
fn is_found(mtu: usize, n: u8, security: &str, hash: HashAlg) -> bool {
    let net = Network::new(19);
    let switch = net.switch();
    let hosts: Vec<Host> = (1..=n).map(|i| host(&net, i, &[&switch], security)).collect();
    hosts.iter().for_each(|host| host.interfaces()[0].set_mtu(mtu));
    net.run_for(secs(2));
    let first = hosts[0].stack().unicast("m0").over(&hosts[0].eth()[0]);
    let mut members = vec![first.bootstrap(UnicastLayer::new("net").hash(hash)).unwrap()];
    for (i, host) in hosts.iter().enumerate().skip(1) {
        members.push(join(&net, host, &format!("m{i}"), "m0"));
    }
    members[(n as usize - 1) / 2].register("service").unwrap();
    net.run_for(secs(10));
    let found = net.block_on(members[n as usize - 1].locate_async("service"));
    let listener = hosts[(n as usize - 1) / 2].stack().bind("service").unwrap();
    let stack = hosts[n as usize - 1].stack().clone();
    let asks = net.spawn(async move { stack.flow("service").qos(QosSpec::DATA).timeout(secs(10)).alloc_async().await });
    let accepts = net.spawn(async move { listener.accept_async().await.unwrap().read_bytes().await.unwrap().len() });
    let flow = net.block_on(asks);
    println!("{mtu} bytes, {n} members, {security:?}: {found:?}, {:?}", flow.as_ref().err());
    let Ok(flow) = flow else { return false };
    net.block_on(flow.write(&[7; 5000])).unwrap();
    net.block_on(accepts) == 5000 && found.is_ok_and(|at| !at.is_empty())
}

#[test]
fn names_are_found_over_devices_with_small_frames() {
    for (security, hash) in [("", HashAlg::Sha3_256), (ENCRYPTED, HashAlg::Sha3_256), ("", HashAlg::Sha3_512)] {
        for (mtu, n) in [1500, 1000, 700, 600, 500, 400, 300].into_iter().flat_map(|mtu| [2, 3, 12].map(|n| (mtu, n))) {
            assert!(is_found(mtu, n, security, hash), "{mtu} bytes, {n} members, {security:?}, {hash}");
        }
    }
}

/// Whoever asks does not see how narrow the way is further on.
#[test]
fn names_behind_a_narrow_device_are_found() {
    let net = Network::new(20);
    let switches = [net.switch(), net.switch()];
    let hosts = [host(&net, 1, &[&switches[0]], ""), host(&net, 2, &[&switches[0], &switches[1]], "")];
    let far = net.host("far").eth_with(&switches[1], Mac([2, 0, 0, 0, 1, 3]), Eth::dix("wire 1")).build();
    for host in [&hosts[1], &far] {
        host.interfaces().last().unwrap().set_mtu(500);
    }
    net.run_for(secs(1));
    let middle = hosts[1].stack().unicast("middle").over(&hosts[1].eth()[0]).over(&hosts[1].eth()[1]);
    let middle = middle.bootstrap(UnicastLayer::new("net")).unwrap();
    let near = join(&net, &hosts[0], "near", "middle");
    let end = join(&net, &far, "end", "middle");
    end.register("far away").unwrap();
    near.register("nearby").unwrap();
    net.run_for(secs(20));
    for (member, name) in [(&near, "far away"), (&end, "nearby"), (&middle, "far away")] {
        let found = net.block_on(member.locate_async(name)).unwrap();
        assert!(!found.is_empty(), "{name}");
    }
    // All know each other.
    for member in [&near, &middle, &end] {
        let rib = member.rib();
        assert_eq!(rib.get("dht/stats/contacts"), Some(2), "{rib}");
    }
}

/// Of 40 members behind another, those that a member beyond a device of so many bytes knows three seconds after they came.
fn known_in_time(mtu: usize, back: bool) -> usize {
    const LEAVES: usize = 40;
    let net = Network::new(17);
    net.set_default_link(Link::default().latency(ms(5)));
    let switch = net.switch();
    let a = net.host("a").udp4("10.0.0.1").eth(&switch, "02:00:00:00:00:01").build();
    let b = net.host("b").eth(&switch, "02:00:00:00:00:02").build();
    let x = net.host("x").udp4("10.0.0.2").build();
    let first = a.stack().unicast("a").over(&a.udp4()[0]).over(&a.eth()[0]);
    let _first = first.bootstrap(UnicastLayer::new("net")).unwrap();
    let second = net.block_on(b.stack().unicast("b").over(&b.eth()[0]).enroll_async("a")).unwrap();
    net.block_on(second.connect_async("a")).unwrap();
    let third = net.block_on(x.stack().unicast("x").over(&x.udp4()[0]).enroll_async("a")).unwrap();
    let leaves: Vec<Host> =
        (0..LEAVES).map(|i| net.host(&format!("l{i}")).udp4(&format!("10.0.1.{}", i + 1)).build()).collect();
    let mut members = Vec::new();
    for (i, leaf) in leaves.iter().enumerate() {
        let builder = leaf.stack().unicast(&format!("l{i}")).over(&leaf.udp4()[0]);
        let member = net.block_on(builder.enroll_async("a")).unwrap();
        net.block_on(member.connect_async("x")).unwrap();
        members.push(member);
    }
    net.run_for(secs(10));
    for mtu in [mtu].into_iter().chain(back.then_some(1500)) {
        [&a, &b].iter().for_each(|host| host.interfaces()[0].set_mtu(mtu));
        net.run_for(secs(5));
    }
    net.block_on(third.connect_async("a")).unwrap();
    net.run_for(secs(3));
    members.iter().filter(|m| second.next_hop(m.address().unwrap(), Eid(77)).is_some()).count()
}

#[test]
fn a_subtree_is_known_in_time_over_a_link_that_has_become_narrower() {
    for (mtu, back) in [(1500, false), (600, false), (300, false), (200, false), (200, true)] {
        assert_eq!(known_in_time(mtu, back), 40, "{mtu} bytes, and wide again: {back}");
    }
}
