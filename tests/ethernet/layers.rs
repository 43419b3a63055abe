//! Layers on top: unicast and broadcast, over segments and over several of them.

use o7s::sim::{Host, Link, Network, Switch};
use o7s::{BroadcastLayer, Eth, IpcpHandle, QosSpec, UnicastLayer};

use super::framings;
use super::world::{ms, secs};

fn host(net: &Network, switch: &Switch, i: u8, config: &Eth) -> Host {
    net.host(&format!("host-{i}")).eth_with(switch, o7s::device::Mac([2, 0, 0, 0, 0, i]), config.clone()).build()
}

/// Hosts at one switch.
fn segment(seed: u64, n: u8, config: &Eth) -> (Network, Vec<Host>) {
    let net = Network::new(seed);
    let switch = net.switch();
    switch.set_default_link(Link::default().latency(ms(1)));
    let hosts = (1..=n).map(|i| host(&net, &switch, i, config)).collect();
    (net, hosts)
}

#[test]
fn a_unicast_layer_carries_flows_between_all_members() {
    for config in framings() {
        let (net, hosts) = segment(1, 4, &config);
        let members: Vec<IpcpHandle> = (0..4)
            .map(|i| {
                let builder = hosts[i].stack().unicast(&format!("member-{i}")).over(&hosts[i].eth()[0]);
                match i {
                    0 => builder.bootstrap(UnicastLayer::new("net")).unwrap(),
                    _ => net.block_on(builder.enroll_async("member-0")).unwrap(),
                }
            })
            .collect();
        for member in &members[1..] {
            net.block_on(member.connect_async("member-0")).unwrap();
        }
        net.block_on(net.sleep(secs(2)));
        for (i, member) in members.iter().enumerate() {
            member.register(&format!("service-{i}")).unwrap();
        }
        net.block_on(net.sleep(secs(1)));
        for (from, to) in (0..4).flat_map(|from| (0..4).map(move |to| (from, to))).filter(|(from, to)| from != to) {
            net.block_on(async {
                let name = format!("service-{to}");
                let listener = hosts[to].stack().bind(&name).unwrap();
                let stack = hosts[from].stack().clone();
                let near = net
                    .spawn(async move { stack.flow(&name).qos(QosSpec::DATA).timeout(secs(10)).alloc_async().await });
                let far = listener.accept_async().await.unwrap();
                let near = near.await.unwrap();
                near.write(&vec![from as u8; 1000]).await.unwrap();
                assert_eq!(far.read_bytes().await.unwrap()[..], vec![from as u8; 1000][..], "{from} to {to}");
            });
        }
    }
}

#[test]
fn a_broadcast_layer_reaches_everybody_once() {
    for config in framings() {
        let (net, hosts) = segment(2, 3, &config);
        let builder = |i: usize| hosts[i].stack().broadcast(&format!("member-{i}")).over(&hosts[i].eth()[0]);
        let mut members = vec![builder(0).bootstrap(BroadcastLayer::new("news")).unwrap()];
        for i in 1..3 {
            members.push(net.block_on(builder(i).enroll_async("member-0")).unwrap());
            net.block_on(members[i].connect_async("member-0")).unwrap();
        }
        let programs: Vec<_> = hosts.iter().map(|host| host.stack().join("news").unwrap()).collect();
        net.block_on(net.sleep(secs(2)));
        programs[1].write(b"hear me").unwrap();
        net.block_on(net.sleep(secs(1)));
        let mut buf = [0; 100];
        for (i, program) in programs.iter().enumerate().filter(|(i, _)| *i != 1) {
            assert_eq!(program.try_read(&mut buf), Ok(7), "{i}");
            assert_eq!(&buf[..7], b"hear me");
            assert!(program.try_read(&mut buf).is_err(), "{i}: once");
        }
    }
}

/// Two segments with different MTUs and framings, a member on both between them.
#[test]
fn a_unicast_layer_spans_segments_of_different_kinds() {
    let net = Network::new(3);
    let (left, right) = (net.switch(), net.switch());
    left.set_default_link(Link::default().latency(ms(1)).mtu(9000));
    right.set_default_link(Link::default().latency(ms(1)));
    let a = host(&net, &left, 1, &Eth::dix("left"));
    let b = net
        .host("between")
        .eth_with(&left, "02:00:00:00:00:02", Eth::dix("left"))
        .eth_with(&right, "02:00:00:00:00:02", Eth::llc("right"))
        .build();
    let c = host(&net, &right, 3, &Eth::llc("right"));
    let middle = b.stack().unicast("b").over(&b.eth()[0]).over(&b.eth()[1]);
    let middle = middle.bootstrap(UnicastLayer::new("net")).unwrap();
    let members: Vec<_> = [(&a, "a"), (&c, "c")]
        .into_iter()
        .map(|(host, name)| {
            let builder = host.stack().unicast(name).over(&host.eth()[0]);
            let member = net.block_on(builder.enroll_async("b")).unwrap();
            net.block_on(member.connect_async("b")).unwrap();
            member
        })
        .collect();
    net.block_on(net.sleep(secs(2)));
    members[1].register("service").unwrap();
    net.block_on(net.sleep(secs(1)));
    net.block_on(async {
        let listener = c.stack().bind("service").unwrap();
        let stack = a.stack().clone();
        let near =
            net.spawn(async move { stack.flow("service").qos(QosSpec::DATA).timeout(secs(10)).alloc_async().await });
        let far = listener.accept_async().await.unwrap();
        let near = near.await.unwrap();
        for i in 0..100_u8 {
            near.write(&[i; 1300]).await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap()[..], [i; 1300]);
        }
    });
    drop(middle);
}
