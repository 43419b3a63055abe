//! Flows over simulated segments, good and bad ones.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use o7s::device::Mac;
use o7s::sim::{Host, Link, Loss, Network, Packet, Switch, Verdict};
use o7s::{AllocError, Eth, HashAlg, Listener, Name, QosSpec, aio};

use super::framings;
use super::world::{ENCRYPTED, Script, expect, ms, secs, send};

pub(crate) const CLIENT: &str = "02:00:00:00:00:01";
pub(crate) const SERVER: &str = "02:00:00:00:00:02";

/// Two hosts at a switch, and a name that one of them accepts flows for.
pub(crate) struct Pair {
    pub(crate) net: Network,
    pub(crate) switch: Switch,
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) listener: Listener,
}

impl Pair {
    pub(crate) fn new(seed: u64, link: Link, config: &Eth, security: &str) -> Self {
        Self::with(seed, link, [config, config], security)
    }

    /// The settings are those of the client, and of the server.
    fn with(seed: u64, link: Link, configs: [&Eth; 2], security: &str) -> Self {
        let net = Network::new(seed);
        let switch = net.switch();
        switch.set_default_link(link);
        let host = |name: &str, mac: &str, config: &Eth| {
            let builder = net.host(name).eth_with(&switch, mac, config.clone());
            match security {
                "" => builder.build(),
                text => builder.stack(|s| s.security(text.parse().unwrap())).build(),
            }
        };
        let (client, server) = (host("client", CLIENT, configs[0]), host("server", SERVER, configs[1]));
        let listener = server.listen("service");
        Self { net, switch, client, server, listener }
    }

    /// A flow from the client to the server: both ends. Tries again when the segment is too bad for a request.
    pub(crate) async fn connect(&self, qos: QosSpec) -> (aio::Flow, aio::Flow) {
        for _ in 0..20 {
            let stack = self.client.stack().clone();
            let near = async move { stack.flow("service").qos(qos).timeout(secs(30)).alloc_async().await };
            let near = self.net.spawn(near);
            let far = self.net.timeout(secs(31), self.listener.accept_async()).await;
            match (near.await, far) {
                (Ok(near), Ok(far)) => return (near, far.unwrap()),
                (Err(AllocError::TimedOut(_) | AllocError::Unreachable(_)), _) => {}
                (other, _) => panic!("{other:?}"),
            }
        }
        panic!("no flow in twenty attempts");
    }

    pub(crate) fn counter(&self, host: &Host, name: &str) -> u64 {
        host.eth()[0].rib().get(name).unwrap_or_else(|| panic!("{name}: {}", host.eth()[0].rib()))
    }
}

const QOSES: [QosSpec; 3] = [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA];

#[test]
fn flows_of_every_quality_in_both_framings() {
    for (config, security) in framings().iter().flat_map(|config| ["", ENCRYPTED].map(|security| (config, security))) {
        let pair = Pair::new(1, Link::default().latency(ms(1)), config, security);
        for qos in QOSES {
            pair.net.block_on(async {
                let (near, far) = pair.connect(qos).await;
                assert_eq!(near.as_blocking().is_encrypted(), !security.is_empty());
                for (from, to, what) in [(&near, &far, "there"), (&far, &near, "back")] {
                    let largest = from.as_blocking().max_packet();
                    for len in [1, 2, 45, 46, 47, 1000, largest] {
                        let message = vec![len as u8; len];
                        assert_eq!(from.write(&message).await, Ok(len), "{what}");
                        assert_eq!(to.read_bytes().await.unwrap()[..], message[..], "{what}, {config:?}, {qos:?}");
                    }
                }
            });
        }
        let [client, server] = [&pair.client, &pair.server];
        assert_eq!(pair.counter(client, "queries_out"), 1, "the answer is remembered");
        assert_eq!(pair.counter(server, "answers_out"), 1);
        assert_eq!((pair.counter(client, "requests_out"), pair.counter(server, "requests_in")), (3, 3));
        for host in [client, server] {
            for name in ["malformed", "foreign", "unknown_eid", "wrong_source", "not_ours", "send_drops"] {
                assert_eq!(pair.counter(host, name), 0, "{name}\n{}", host.eth()[0].rib());
            }
        }
    }
}

#[test]
fn keepalives_are_empty_packets_and_pass_in_both_directions() {
    for config in framings() {
        let pair = Pair::new(2, Link::default(), &config, "");
        pair.net.block_on(async {
            let (near, far) = pair.connect(QosSpec { timeout: 4000, ..QosSpec::RAW }).await;
            pair.net.sleep(secs(60)).await;
            near.write(b"still there").await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap()[..], b"still there"[..]);
            for flow in [&near, &far] {
                let counters = flow.as_blocking().counters();
                assert!(counters.keepalives_received >= 10 && counters.keepalives_sent >= 10, "{counters:?}");
            }
        });
    }
}

#[test]
fn reliable_flows_survive_bad_cables() {
    let bad = Link::default().latency(ms(2)).loss(Loss::Random(0.05)).duplicate(0.03).reorder(0.05, ms(5));
    for (config, security) in framings().iter().flat_map(|config| ["", ENCRYPTED].map(|security| (config, security))) {
        // What is damaged is noticed by the cipher only: there is no checksum, because the interfaces have theirs.
        let link = if security.is_empty() { bad } else { bad.corrupt(0.02) };
        let pair = Pair::new(3, link, config, security);
        pair.net.block_on(async {
            let (near, far) = pair.connect(QosSpec::DATA).await;
            let script = |purpose: &str| Script::new(&pair.net, purpose, 200_000, 1400);
            let both = pair.net.spawn({
                let script = script("there");
                async move {
                    send(&near, script).await;
                    near
                }
            });
            expect(&far, script("there")).await;
            let near = both.await;
            send(&far, script("back")).await;
            expect(&near, script("back")).await;
        });
    }
}

#[test]
fn streams_of_best_effort_lose_and_order_what_a_bad_cable_swaps() {
    for config in framings() {
        let link = Link::default().latency(ms(2)).loss(Loss::Random(0.05)).duplicate(0.05).reorder(0.1, ms(5));
        let pair = Pair::new(4, link, &config, "");
        pair.net.block_on(async {
            let (near, far) = pair.connect(QosSpec::BEST_EFFORT).await;
            for i in 0..1000_u32 {
                near.write(&i.to_be_bytes()).await.unwrap();
                pair.net.sleep(ms(1)).await;
            }
            let (mut last, mut count) = (None, 0);
            while let Ok(got) = pair.net.timeout(secs(1), far.read_bytes()).await {
                let i = u32::from_be_bytes(got.unwrap()[..].try_into().unwrap());
                assert!(last < Some(i), "{i} after {last:?}");
                (last, count) = (Some(i), count + 1);
            }
            assert!((700..1000).contains(&count), "{count}");
        });
    }
}

#[test]
fn a_slow_cable_holds_writers_up_and_loses_nothing_of_a_reliable_flow() {
    for config in framings() {
        let link = Link::default().latency(ms(1)).rate(10_000_000).queue(o7s::sim::Queue::Packets(50));
        let pair = Pair::new(5, link, &config, "");
        pair.net.block_on(async {
            let (near, far) = pair.connect(QosSpec::DATA).await;
            let script = Script::new(&pair.net, "bulk", 1_000_000, 1400);
            let writer = pair.net.spawn(async move {
                send(&near, script).await;
                near
            });
            let before = pair.net.now();
            expect(&far, Script::new(&pair.net, "bulk", 1_000_000, 1400)).await;
            let took = pair.net.now().since(before);
            assert!(took > ms(800) && took < secs(3), "8 Mbit at 10 Mbit/s: {took:?}");
            drop(writer.await);
        });
    }
}

/// As many flows as SAPs, and their numbers are free again afterwards, also those of requests that were refused.
#[test]
fn an_llc_layer_has_62_flows_and_takes_others_when_they_are_closed() {
    let pair = Pair::new(6, Link::default(), &Eth::llc("eth0"), "");
    pair.net.block_on(async {
        for round in 0..3 {
            let mut flows = Vec::new();
            for _ in 0..62 {
                flows.push(pair.connect(QosSpec { timeout: 0, ..QosSpec::RAW }).await);
            }
            assert_eq!(pair.counter(&pair.client, "flows"), 62);
            let refused = pair.client.stack().flow("service").timeout(secs(3)).alloc_async().await;
            assert!(matches!(refused, Err(AllocError::LayerFull)), "round {round}: {refused:?}");
            for (i, (near, far)) in flows.iter().enumerate() {
                near.write(&[i as u8; 10]).await.unwrap();
                assert_eq!(far.read_bytes().await.unwrap()[..], [i as u8; 10]);
            }
            for (near, far) in flows {
                near.close(secs(1)).await.unwrap();
                far.close(secs(1)).await.unwrap();
            }
            pair.net.sleep(secs(30)).await;
            assert_eq!((pair.counter(&pair.client, "flows"), pair.counter(&pair.server, "flows")), (0, 0));
        }
    });
}

#[test]
fn a_name_that_nobody_has_is_unreachable_in_bounded_time_and_found_when_it_is_there() {
    for config in framings() {
        let pair = Pair::new(7, Link::default(), &config, "");
        pair.net.block_on(async {
            let stack = pair.client.stack();
            let before = pair.net.now();
            let nobody = stack.flow("nobody").timeout(secs(10)).alloc_async().await;
            assert!(matches!(nobody, Err(AllocError::Unreachable(_))), "{nobody:?}");
            assert!(pair.net.now().since(before) <= ms(2100));
            assert_eq!(pair.counter(&pair.client, "queries_out"), 5, "at 0, 100, 300, 700 and 1500 ms");
            let listener = pair.server.listen("nobody");
            pair.net.sleep(secs(1)).await;
            let stack = stack.clone();
            let near = pair.net.spawn(async move { stack.flow("nobody").timeout(secs(10)).alloc_async().await });
            listener.accept_async().await.unwrap();
            near.await.unwrap();
        });
    }
}

#[test]
fn queries_and_answers_that_are_lost_are_made_up_for() {
    for config in framings() {
        for seed in 0..10 {
            let pair = Pair::new(seed, Link::default().loss(Loss::Random(0.3)), &config, "");
            pair.net.block_on(async { pair.connect(QosSpec::RAW).await });
        }
    }
}

#[test]
fn a_name_that_moves_to_another_station_is_found_there() {
    for config in framings() {
        let pair = Pair::new(8, Link::default(), &config, "");
        let other = pair.net.host("other").eth_with(&pair.switch, "02:00:00:00:00:03", config.clone()).build();
        pair.net.block_on(async {
            pair.connect(QosSpec::RAW).await;
            pair.server.eth()[0].unregister("service");
            let moved = other.listen("service");
            let stack = pair.client.stack().clone();
            let near = pair.net.spawn(async move { stack.flow("service").timeout(secs(10)).alloc_async().await });
            let far = moved.accept_async().await.unwrap();
            near.await.unwrap().write(b"moved").await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap()[..], b"moved"[..]);
            assert!(pair.counter(&pair.server, "refused") >= 1, "the old place says no");
        });
        assert_eq!(pair.counter(&pair.client, "queries_out"), 2, "asked anew, and not before");
    }
}

#[test]
fn a_station_that_is_silent_is_asked_for_again_and_another_one_found() {
    for config in framings() {
        let pair = Pair::new(9, Link::default(), &config, "");
        let other = pair.net.host("other").eth_with(&pair.switch, "02:00:00:00:00:03", config.clone()).build();
        pair.net.block_on(async {
            pair.connect(QosSpec::RAW).await;
            pair.server.crash();
            let moved = other.listen("service");
            let stack = pair.client.stack().clone();
            let near = pair.net.spawn(async move { stack.flow("service").timeout(secs(20)).alloc_async().await });
            let far = moved.accept_async().await.unwrap();
            near.await.unwrap().write(b"moved").await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap()[..], b"moved"[..]);
        });
    }
}

#[test]
fn several_layers_share_a_segment_by_their_ethertypes() {
    let net = Network::new(10);
    let switch = net.switch();
    let layers = || [Eth::dix("a"), Eth::dix("b").ethertype(0xa001).layer("second"), Eth::llc("c")];
    let host = |name: &str, first: u8| {
        let mut builder = net.host(name);
        for (i, config) in layers().into_iter().enumerate() {
            builder = builder.eth_with(&switch, Mac([2, 0, 0, 0, first, i as u8]), config);
        }
        builder.build()
    };
    let (client, server) = (host("client", 1), host("server", 2));
    for (i, layer) in server.eth().iter().enumerate() {
        layer.register(&format!("service-{i}")).unwrap();
    }
    for i in 0..3 {
        let name = format!("service-{i}");
        let listener = server.stack().bind(&name).unwrap();
        net.block_on(async {
            let stack = client.stack().clone();
            let near = net.spawn(async move { stack.flow(&name).alloc_async().await });
            let far = listener.accept_async().await.unwrap();
            near.await.unwrap().write(b"x").await.unwrap();
            far.read_bytes().await.unwrap();
        });
        let counted = client.eth()[i].rib();
        assert_eq!(counted.get("requests_out"), Some(1), "{i}: {counted}");
        assert!(counted.get("foreign") >= Some(1), "{i}: {counted}");
    }
}

#[test]
fn ethertypes_that_are_lengths_or_reserved_are_refused_with_the_reason() {
    let net = Network::new(11);
    let (switch, host) = (net.switch(), net.host("host").build());
    let add =
        |config: Eth| host.stack().eth_over(switch.plug(CLIENT), config).map(|layer| layer.info().kind.to_string());
    for ethertype in [0, 0x05dc, 0x05ff, 0xffff] {
        let refused = add(Eth::dix("x").ethertype(ethertype)).unwrap_err().to_string();
        assert!(refused.contains(&format!("{ethertype:#06x}")) && refused.contains("0x0600"), "{refused}");
    }
    for ethertype in [0x0600, 0xa000, 0xfffe] {
        assert_eq!(add(Eth::dix("x").ethertype(ethertype)).unwrap(), "eth-dix");
    }
    assert_eq!(add(Eth::llc("x")).unwrap(), "eth-llc");
    assert!(add(Eth::llc("x").ethertype(0xa000)).unwrap_err().to_string().contains("LLC"));
}

/// Access points and switches pass no others: frames leave from the interface's own address, to a station or to all, and
/// never to an address that is reserved.
#[test]
fn frames_go_from_the_own_address_to_a_station_or_to_all() {
    for config in framings() {
        let pair = Pair::new(5, Link::default().latency(ms(1)), &config, "");
        let seen = Rc::new(RefCell::new(BTreeSet::new()));
        let ends = Rc::clone(&seen);
        let look = move |packet: &Packet<'_>| {
            let mac = |at: usize| Mac(packet.data[at..at + 6].try_into().unwrap()).to_string();
            ends.borrow_mut().insert((mac(6), mac(0)));
            Verdict::Pass
        };
        pair.net.on_packet(look).keep();
        pair.net.block_on(async {
            for qos in QOSES {
                let (near, far) = pair.connect(qos).await;
                near.write(b"there").await.unwrap();
                far.write(b"back").await.unwrap();
            }
            assert!(pair.server.stack().flow("nobody").timeout(secs(3)).alloc_async().await.is_err());
        });
        let all = "ff:ff:ff:ff:ff:ff";
        let expected = [(CLIENT, SERVER), (CLIENT, all), (SERVER, CLIENT), (SERVER, all)];
        let expected = expected.map(|(from, to)| (from.to_owned(), to.to_owned()));
        assert_eq!(*seen.borrow(), BTreeSet::from(expected));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = || {
        let link = Link::default().latency(ms(1)).loss(Loss::Random(0.1)).duplicate(0.05).corrupt(0.01);
        let pair = Pair::new(12, link, &Eth::dix("eth0"), ENCRYPTED);
        pair.net.block_on(async {
            let (near, far) = pair.connect(QosSpec::DATA).await;
            let writer = pair.net.spawn({
                let script = Script::new(&pair.net, "bulk", 50_000, 1000);
                async move {
                    send(&near, script).await;
                    near
                }
            });
            expect(&far, Script::new(&pair.net, "bulk", 50_000, 1000)).await;
            drop(writer.await);
        });
        pair.net.digest()
    };
    assert_eq!(run(), run());
}

#[test]
fn names_are_hashed_as_the_settings_say() {
    for (config, hash) in framings().iter().flat_map(|config| HashAlg::ALL.map(|hash| (config, hash))) {
        let pair = Pair::new(6, Link::default().latency(ms(1)), &config.clone().hash(hash), ENCRYPTED);
        let named = hash.hash(&Name::new("service").unwrap());
        let naming = Rc::new(RefCell::new(BTreeSet::new()));
        let frames = Rc::clone(&naming);
        let look = move |packet: &Packet<'_>| {
            if packet.data.windows(hash.len()).any(|bytes| bytes == named.as_bytes()) {
                frames.borrow_mut().insert(packet.data.to_vec());
            }
            Verdict::Pass
        };
        pair.net.on_packet(look).keep();
        for qos in QOSES {
            pair.net.block_on(async {
                let (near, far) = pair.connect(qos).await;
                near.write(b"there").await.unwrap();
                assert_eq!(far.read_bytes().await.unwrap()[..], *b"there", "{hash}");
                far.write(b"back").await.unwrap();
                assert_eq!(near.read_bytes().await.unwrap()[..], *b"back", "{hash}");
            });
        }
        // The query, its answer, and a request for each flow.
        assert_eq!(naming.borrow().len(), 2 + QOSES.len(), "{hash}, {config:?}");
        assert_eq!(pair.counter(&pair.server, "malformed"), 0, "{hash}");
    }
}

#[test]
fn stations_with_different_hashes_do_not_find_each_other() {
    let all = HashAlg::ALL;
    let pairs = all.into_iter().flat_map(|a| all.map(|b| (a, b))).filter(|(a, b)| a != b);
    for (config, (a, b)) in framings().iter().flat_map(|config| pairs.clone().map(move |pair| (config, pair))) {
        let configs = [a, b].map(|hash| config.clone().hash(hash));
        let pair = Pair::with(7, Link::default().latency(ms(1)), configs.each_ref(), "");
        pair.net.block_on(async {
            let refused = pair.client.stack().flow("service").timeout(secs(5)).alloc_async().await.map(drop);
            assert!(
                matches!(&refused, Err(AllocError::Unreachable(name)) if name.as_str() == "service"),
                "{a} and {b}: {refused:?}"
            );
        });
        assert!(pair.counter(&pair.client, "queries_out") > 0);
        assert_eq!(pair.counter(&pair.server, "answers_out"), 0, "{a} and {b}");
    }
}
