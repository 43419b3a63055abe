//! Bad input in simulation: floods, replays, forgeries, reflections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use o7s::sim::{Link, Network, Verdict};
use o7s::types::name::Name;
use o7s::wire::udp::{FlowReply, Mgmt};
use o7s::{AllocError, QosSpec, SecurityConfig, Stack, Udp4, UnicastLayer};

use super::forge::{Forge, KINDS};
use super::{CLIENT, ENCRYPTED, SERVER, World, is_bounded, ping, shim, unix};

#[test]
fn floods_of_all_kinds_are_survived() {
    let world = World::new(1, ENCRYPTED);
    let net = &world.net;
    world.serve();
    let mut forge = Forge::new(net.rng("forge"), "echo");
    net.block_on(async {
        let flow = world.connect(QosSpec::DATA).await;
        assert!(flow.as_blocking().is_encrypted());
        let inner = net.clone();
        let flood = net.spawn(async move {
            for i in 0..60_000u64 {
                let src = forge.somebody();
                let datagram = forge.make(i % KINDS, unix(&inner));
                inner.inject(src, SERVER, &datagram);
                if i % 30 == 0 {
                    inner.sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let mut pings = 0;
        while !flood.is_finished() {
            let took = ping(net, &flow, pings).await;
            assert!(took <= Duration::from_millis(50), "{took:?}");
            pings += 1;
            if pings % 10 == 0 {
                is_bounded(&world.rib());
            }
        }
        assert!(pings > 50, "{pings}");
    });
    let rib = world.rib();
    is_bounded(&rib);
    for (name, least) in [("malformed", 5000), ("unknown_eid", 9000), ("replies_unexpected", 4000), ("refused", 10_000)]
    {
        assert!(shim(&rib, name) >= least, "{name}\n{rib}");
    }
    for (name, least) in [("bad_oap", 10_000), ("stale", 4000)] {
        assert!(rib.child("node").unwrap().get(name).unwrap() >= least, "{name}\n{rib}");
    }
}

#[test]
fn victims_of_forged_senders_get_no_amplification() {
    for accepts in [true, false] {
        let world = World::new(2, "");
        let net = &world.net;
        if accepts {
            world.serve();
        }
        let listener = (!accepts).then(|| world.server.listen("echo"));
        let sent: Rc<RefCell<BTreeMap<SocketAddr, usize>>> = Rc::default();
        let (answered, refusals) = (Rc::clone(&sent), Rc::new(Cell::new(0)));
        let count = Rc::clone(&refusals);
        let server: SocketAddr = SERVER.parse().unwrap();
        net.on_packet(move |packet| {
            if packet.src == server {
                let refused = packet.data.get(12).is_some_and(|b| *b == 0xff);
                count.set(count.get() + usize::from(refused));
                // An acceptance has the hash of the request in it, by the protocol.
                let allowed = if refused { 1 } else { 2 };
                let left = answered.borrow_mut().remove(&packet.dst).unwrap_or(0);
                assert!(packet.data.len() <= allowed * left, "{} bytes for {left}", packet.data.len());
            }
            Verdict::Pass
        })
        .keep();
        let mut forge = Forge::new(net.rng("forge"), "echo");
        for i in 0..20_000u64 {
            let src = forge.somebody();
            // Not flows with keepalives: those are owed to the peer that allocated them.
            let datagram = match forge.make(i % KINDS, unix(net)) {
                d if d.get(40..44).is_some_and(|timeout| timeout != [0; 4]) => continue,
                d => d,
            };
            *sent.borrow_mut().entry(src).or_default() += datagram.len();
            net.inject(src, SERVER, &datagram);
            if i % 100 == 0 {
                net.run_for(Duration::from_millis(1));
            }
        }
        net.run_for(Duration::from_secs(3));
        assert!(refusals.get() > 500, "{}", refusals.get());
        drop(listener);
    }
}

#[test]
fn incomplete_requests_do_not_accumulate() {
    for accepts in [true, false] {
        let world = World::new(3, "");
        let net = &world.net;
        if accepts {
            world.serve();
        }
        let listener = (!accepts).then(|| world.server.listen("echo"));
        let mut forge = Forge::new(net.rng("forge"), "echo");
        for i in 0..100_000u64 {
            let src = forge.somebody();
            let request = forge.good(unix(net), &SecurityConfig::default());
            net.inject(src, SERVER, &request);
            if i % 1000 == 0 {
                net.run_for(Duration::from_millis(20));
                is_bounded(&world.rib());
            }
        }
        // As long as those wait that may be references.
        net.run_for(Duration::from_secs(21));
        let rib = world.rib();
        is_bounded(&rib);
        assert_eq!(shim(&rib, "requests_in"), 100_000);
        assert!(shim(&rib, "refused") >= 90_000, "{rib}");
        if let Some(listener) = listener {
            assert_eq!(rib.get("names/echo/waiting"), Some(0), "{rib}");
            assert_eq!(rib.get("node/flows"), Some(0));
            // And it goes on as if nothing had been.
            net.block_on(async {
                let client = world.client.stack().clone();
                let near =
                    net.spawn(async move { client.flow("echo").qos(QosSpec::DATA).alloc_async().await.unwrap() });
                let far = listener.accept_async().await.unwrap();
                near.await.write(b"hello").await.unwrap();
                assert_eq!(&far.read_bytes().await.unwrap()[..], b"hello");
            });
        }
    }
}

#[test]
fn a_recorded_request_makes_one_flow() {
    let world = World::new(4, ENCRYPTED);
    let net = &world.net;
    world.serve();
    let requests = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&requests);
    let server: SocketAddr = SERVER.parse().unwrap();
    net.on_packet(move |packet| {
        if packet.dst == server && packet.data.starts_with(&[0; 4]) {
            record.borrow_mut().push((packet.src, packet.data.to_vec()));
        }
        Verdict::Pass
    })
    .keep();
    net.block_on(async {
        let flow = world.connect(QosSpec::DATA).await;
        let recorded = requests.borrow().clone();
        let (src, request) = recorded[0].clone();
        for i in 0..1000 {
            // From where it came and from elsewhere, soon and late.
            let src = if i % 2 == 0 { src } else { SocketAddr::new(src.ip(), 4000 + i as u16) };
            net.inject(src, SERVER, &request);
            net.sleep(Duration::from_millis(30)).await;
            if i % 100 == 0 {
                ping(net, &flow, i).await;
            }
        }
    });
    let rib = world.rib();
    assert_eq!(rib.get("node/accepted"), Some(1), "{rib}");
    assert!(rib.get("node/replayed").unwrap() > 500, "{rib}");
}

/// Records what the client sends over its flow, and lets a test send variations of it.
fn recorder(net: &Network) -> Rc<RefCell<Vec<Vec<u8>>>> {
    let packets: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let record = Rc::clone(&packets);
    let client: SocketAddr = CLIENT.parse().unwrap();
    net.on_packet(move |packet| {
        if packet.src == client
            && !packet.data.starts_with(&[0; 4])
            && packet.data.len() > 4
            && record.borrow().len() < 1000
        {
            record.borrow_mut().push(packet.data.to_vec());
        }
        Verdict::Pass
    })
    .keep();
    packets
}

#[test]
fn an_encrypted_flow_takes_no_forgeries() {
    let world = World::new(5, ENCRYPTED);
    let net = &world.net;
    world.serve();
    let packets = recorder(net);
    let mut rng = net.rng("forge");
    net.block_on(async {
        let flow = world.connect(QosSpec::DATA).await;
        for i in 0..2000 {
            ping(net, &flow, i).await;
            let recorded = packets.borrow().clone();
            let one = &recorded[rng.below(recorded.len() as u64) as usize];
            // Damaged, cut, lengthened, made up, and repeated as it was: all from the right address.
            let mut damaged = one.clone();
            let bit = 32 + rng.below((damaged.len() as u64 - 4) * 8) as usize;
            damaged[bit / 8] ^= 1 << (bit % 8);
            let cut = one[..4 + rng.below(one.len() as u64 - 4) as usize].to_vec();
            let mut longer = one.clone();
            longer.push(0);
            let mut made_up = one.clone();
            rng.fill(&mut made_up[4..]);
            for forged in [damaged, cut, longer, made_up, one.clone()] {
                net.inject(CLIENT, SERVER, &forged);
                // And from a wrong one.
                net.inject("10.0.0.66:3435", SERVER, &forged);
            }
        }
        let bulk: Vec<u8> = (0..1000u32).flat_map(u32::to_be_bytes).collect();
        let max = flow.as_blocking().max_packet();
        for part in bulk.chunks(max) {
            flow.write(part).await.unwrap();
            assert_eq!(&flow.read_bytes().await.unwrap()[..], part);
        }
    });
    let rib = world.rib();
    assert!(shim(&rib, "wrong_source") >= 9000, "{rib}");
    let flow = &rib.child("flows").unwrap().children[0];
    let (forged, replayed) = (flow.get("bad_crypt").unwrap(), flow.get("replayed").unwrap());
    assert!(replayed >= 2000, "{rib}");
    assert!(forged + replayed >= 9900, "{rib}");
    assert_eq!(flow.get("frct/duplicates").unwrap() + flow.get("frct/late").unwrap(), 0, "{rib}");
}

#[test]
fn reflected_packets_are_survived() {
    for security in [ENCRYPTED, ""] {
        let world = World::new(6, security);
        let net = &world.net;
        world.serve();
        // The network reflects everything that the client sends, in the server's name.
        let client: SocketAddr = CLIENT.parse().unwrap();
        let reflected: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let mirror = Rc::clone(&reflected);
        net.on_packet(move |packet| {
            if packet.src == client {
                mirror.borrow_mut().push(packet.data.to_vec());
            }
            Verdict::Pass
        })
        .keep();
        let inner = net.clone();
        net.spawn(async move {
            loop {
                for packet in reflected.take() {
                    inner.inject(SERVER, CLIENT, &packet);
                }
                inner.sleep(Duration::from_millis(1)).await;
            }
        });
        net.block_on(async {
            let flow = world.connect(QosSpec::DATA).await;
            for i in 0..200 {
                ping(net, &flow, i).await;
            }
        });
    }
}

/// The numbers by which we know flows have 32 random bits: they cannot be guessed.
#[test]
fn eids_are_random_in_all_their_bits() {
    let world = World::new(21, "");
    world.serve();
    let net = &world.net;
    let mut forge = Forge::new(net.rng("forge"), "echo");
    let eids: Rc<RefCell<Vec<u32>>> = Rc::default();
    let told = Rc::clone(&eids);
    let server: SocketAddr = SERVER.parse().unwrap();
    net.on_packet(move |p| {
        if p.src == server
            && let Ok(Mgmt::Reply(FlowReply { d_eid, response: 0, .. })) = Mgmt::parse(p.data)
        {
            told.borrow_mut().push(d_eid);
        }
        Verdict::Pass
    })
    .keep();
    for _ in 0..64 {
        let (src, request) = (forge.somebody(), forge.good(unix(net), &SecurityConfig::default()));
        net.inject(src, SERVER, &request);
        net.run_for(Duration::from_millis(30));
    }
    let eids = eids.borrow();
    assert!(eids.len() >= 60, "{}", eids.len());
    let (ones, zeros) = eids.iter().fold((0, 0), |(ones, zeros), e| (ones | e, zeros | !e));
    // A bit that is the same in all of them by chance: 2⁻⁵⁹ each.
    assert_eq!((ones, zeros), (u32::MAX, u32::MAX), "{eids:x?}");
    assert!(eids.iter().all(|e| *e >= 4096 && *e != u32::MAX), "a reference's, or nobody's");
    let mut distinct = eids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), eids.len());
}

/// A peer that asks a member for more flows than a neighbour needs gets no keys agreed on, and keeps no neighbour out.
#[test]
fn a_flood_of_requests_for_a_member_is_shed() {
    let net = Network::new(22);
    net.set_default_link(Link::default().latency(Duration::from_millis(5)));
    let security: SecurityConfig = ENCRYPTED.parse().unwrap();
    let host = |name: &str, at: &str| {
        net.host(name)
            .udp4(at)
            .stack({
                let security = security.clone();
                move |b| b.security(security)
            })
            .build()
    };
    let (victim, neighbour) = (host("victim", SERVER), host("neighbour", CLIENT));
    let member = victim.stack().unicast("node").over(&victim.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    net.names().insert_at(&Name::new("node").unwrap(), SERVER.parse().unwrap());
    let mut forge = Forge::new(net.rng("forge"), "node");
    let attacker: IpAddr = "10.6.6.6".parse().unwrap();
    let count = |name: &str| victim.stack().rib().get(&format!("node/{name}")).unwrap();
    let flood_from = |forge: &mut Forge, ports: u16| {
        for n in 0..300 {
            let request = forge.good(unix(&net), &security);
            net.inject(SocketAddr::new(attacker, 1000 + n % ports), SERVER, &request);
        }
        net.run_for(Duration::from_millis(20));
    };
    (0..5).for_each(|_| flood_from(&mut forge, 1));
    assert!(count("shed") > 1400, "{}", count("shed"));
    assert!(count("flows") <= 40, "{}", count("flows"));
    // A host has as many ports as it likes, and no more than a part of the handshakes.
    let flood = |forge: &mut Forge| flood_from(forge, 300);
    (0..5).for_each(|_| flood(&mut forge));
    assert!(count("shed") > 2700, "{}", count("shed"));
    assert!((200..=264).contains(&count("flows")), "{}", count("flows"));
    // A joiner and a connection in the middle of it.
    let joins = net.spawn(async move {
        let b = neighbour.stack().unicast("other").over(&neighbour.udp4()[0]).enroll_async("node").await.unwrap();
        b.connect_async("node").await.unwrap();
        // Kept, or the member would be told that its neighbour has gone.
        (b.connections().len(), b, neighbour)
    });
    for _ in 0..100 {
        if joins.is_finished() {
            break;
        }
        flood(&mut forge);
    }
    let (connections, _b, _neighbour) = net.block_on(joins);
    assert_eq!(connections, 2);
    assert!(!member.connections().is_empty());
}

#[test]
fn replies_from_other_addresses_are_ignored() {
    let world = World::new(7, "");
    let net = &world.net;
    let listener = world.server.listen("echo");
    let (client, other): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), "10.0.0.66:3435".parse().unwrap());
    // An observer of the request that is not the server refuses, and accepts.
    let inner = net.clone();
    net.on_packet(move |packet| {
        if packet.src == client && packet.data.starts_with(&[0; 4]) && packet.data[44] == 1 {
            let s_eid = u32::from_be_bytes(packet.data[4..8].try_into().unwrap());
            for response in [-1007, 0] {
                let reply = FlowReply { s_eid, d_eid: 77, response, data: &[] }.to_vec();
                inner.inject(other, client, &reply);
            }
        }
        Verdict::Pass
    })
    .keep();
    net.block_on(async {
        let stack = world.client.stack().clone();
        let near = net.spawn(async move { stack.flow("echo").qos(QosSpec::DATA).alloc_async().await });
        net.sleep(Duration::from_millis(100)).await;
        let far = listener.accept_async().await.unwrap();
        near.await.unwrap().write(b"hello").await.unwrap();
        assert_eq!(&far.read_bytes().await.unwrap()[..], b"hello");
    });
    assert!(shim(&world.client.stack().rib(), "replies_unexpected") >= 2);
}

#[test]
fn garbage_on_a_plain_flow_affects_only_that_flow() {
    let world = World::new(8, "");
    let net = &world.net;
    world.serve();
    let packets = recorder(net);
    let mut rng = net.rng("forge");
    net.block_on(async {
        for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
            let victim = world.connect(qos).await;
            ping(net, &victim, 1).await;
            let last = packets.borrow().last().cloned().unwrap();
            let other = world.connect(QosSpec::DATA).await;
            for i in 0..3000 {
                // An attacker that can forge the address of a plain flow can break it, and do no more.
                let mut forged = last[..4].to_vec();
                forged.resize(4 + rng.below(60) as usize, 0);
                rng.fill(&mut forged[4..]);
                net.inject(CLIENT, SERVER, &forged);
                if i % 100 == 0 {
                    ping(net, &other, i).await;
                    is_bounded(&world.rib());
                }
            }
            drop(victim);
        }
    });
}

#[test]
fn floods_of_handlers_and_lookups_are_bounded() {
    let stack = Stack::new().unwrap();
    let net = stack.udp4(Udp4::bind("127.0.0.1:0").max_directory(16).system_resolver(false)).unwrap();
    for i in 0..500 {
        let failed = stack.flow(&format!("name {i}")).alloc().map(drop);
        assert!(matches!(failed, Err(AllocError::Unreachable(_))), "{failed:?}");
    }
    let directory = net.rib().get("directory");
    assert!(directory.unwrap() <= 16);
}
