//! Packets and answers that somebody has recorded, and delivers where they were not sent, or when.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use o7s::sim::{Host, Link, Network, Verdict};
use o7s::{QosSpec, aio};

const SERVER: &str = "10.0.0.2:3435";
const CLIENT: &str = "10.0.0.1:3435";

struct World {
    net: Network,
    server: Host,
    client: Host,
    /// Datagrams to the server and to the client.
    tapes: [Rc<RefCell<Vec<Vec<u8>>>>; 2],
}

impl World {
    fn new(seed: u64) -> Self {
        let net = Network::new(seed);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)));
        let encrypted = |stack: o7s::Builder| stack.security("X25519".parse().unwrap());
        let server = net.host("server").udp4(SERVER).stack(encrypted).build();
        let client = net.host("client").udp4(CLIENT).stack(encrypted).build();
        let tapes = [SERVER, CLIENT].map(|to| {
            let to: SocketAddr = to.parse().unwrap();
            let tape: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
            let records = Rc::clone(&tape);
            net.on_packet(move |packet| {
                if packet.dst == to {
                    records.borrow_mut().push(packet.data.to_vec());
                }
                Verdict::Pass
            })
            .keep();
            tape
        });
        Self { net, server, client, tapes }
    }

    fn flow(&self, name: &str, qos: QosSpec) -> (aio::Flow, aio::Flow) {
        let (stack, name, listener) = (self.client.stack().clone(), name.to_owned(), self.server.listen(name));
        let here = self.net.spawn(async move { stack.flow(&name).qos(qos).alloc_async().await.unwrap() });
        self.net.block_on(async move {
            let there = listener.accept_async().await.unwrap();
            (here.await, there)
        })
    }

    /// The datagrams to one end since this was asked last, without those of management.
    fn recorded(&self, to: usize) -> Vec<Vec<u8>> {
        let all = std::mem::take(&mut *self.tapes[to].borrow_mut());
        all.into_iter().filter(|packet| packet.len() > 4 && packet[..4] != [0; 4]).collect()
    }

    fn unexpected(&self) -> u64 {
        self.client.stack().rib().child("ipcps").unwrap().children[0].get("replies_unexpected").unwrap()
    }
}

/// Two flows between the same hosts: a packet of one of them is none of the other, in either direction.
#[test]
fn packets_of_one_flow_do_not_open_on_another() {
    for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
        let world = World::new(41);
        let (one, far_one) = world.flow("one", qos);
        let (two, far_two) = world.flow("two", qos);
        world.net.run_for(Duration::from_secs(1));
        let _before = [0, 1].map(|to| world.recorded(to));
        let addresses = [(CLIENT, SERVER), (SERVER, CLIENT)];
        for (to, near, far, other_near, other_far) in
            [(0, &one, &far_one, &two, &far_two), (1, &far_one, &one, &far_two, &two)]
        {
            // The endpoint id of the other flow, by one of its packets.
            other_near.as_blocking().try_write(b"of the other").unwrap();
            world.net.run_for(Duration::from_secs(1));
            let eid: [u8; 4] = world.recorded(to)[0][..4].try_into().unwrap();
            assert_eq!(other_far.as_blocking().try_read(&mut [0; 99]), Ok(12));
            for n in 0..20_u8 {
                near.as_blocking().try_write(&[n; 30]).unwrap();
            }
            world.net.run_for(Duration::from_secs(1));
            // Those whose numbers the other flow has had already are not even tried.
            let refused = || {
                let counters = other_far.as_blocking().counters();
                counters.bad_crypt + counters.replayed
            };
            let before = refused();
            let packets: Vec<_> = world.recorded(to).into_iter().filter(|packet| packet.len() > 30).collect();
            assert!(packets.len() >= 20, "{}", packets.len());
            for packet in &packets {
                let crossed = [&eid[..], &packet[4..]].concat();
                world.net.inject(addresses[to].0, addresses[to].1, &crossed);
            }
            world.net.run_for(Duration::from_secs(1));
            assert_eq!(refused() - before, packets.len() as u64, "{qos:?}: each is counted");
            assert!(other_far.as_blocking().counters().bad_crypt > before, "{qos:?}");
            assert!(other_far.as_blocking().try_read(&mut [0; 99]).is_err(), "{qos:?}");
            // Where they belong, all of them have arrived, and the other flow goes on.
            assert!((0..20_u8).all(|n| {
                let mut buf = [0; 99];
                far.as_blocking().try_read(&mut buf) == Ok(30) && buf[0] == n
            }));
            other_near.as_blocking().try_write(b"and goes on").unwrap();
            world.net.run_for(Duration::from_secs(1));
            assert_eq!(other_far.as_blocking().try_read(&mut [0; 99]), Ok(11));
        }
    }
}

/// The answer to a request, delivered again: soon and late, to the flow that came of it and to an allocation that waits.
#[test]
fn a_recorded_reply_is_ignored_whatever_its_age() {
    let world = World::new(42);
    let (one, far) = world.flow("one", QosSpec { timeout: 600_000, ..QosSpec::DATA });
    let replies: Vec<_> = world.tapes[1].borrow().iter().filter(|packet| packet[..4] == [0; 4]).cloned().collect();
    assert!(!replies.is_empty());
    let mut expected = world.unexpected();
    for age in [1, 1_000, 20_000, 200_000] {
        world.net.run_for(Duration::from_millis(age));
        for reply in &replies {
            world.net.inject(SERVER, CLIENT, reply);
            expected += 1;
        }
        world.net.run_for(Duration::from_millis(50));
        assert_eq!(world.unexpected(), expected, "after {age} ms");
        one.as_blocking().try_write(b"still here").unwrap();
        world.net.run_for(Duration::from_millis(50));
        assert_eq!(far.as_blocking().try_read(&mut [0; 99]), Ok(10));
    }
    // Another allocation waits, under an endpoint id of its own; the attacker knows it, and puts it into the old reply.
    let (stack, listener) = (world.client.stack().clone(), world.server.listen("two"));
    world.tapes[0].borrow_mut().clear();
    let here = world.net.spawn(async move { stack.flow("two").qos(QosSpec::DATA).alloc_async().await });
    world.net.run_for(Duration::from_millis(20));
    let request = world.tapes[0].borrow().iter().find(|packet| packet[..4] == [0; 4]).cloned().unwrap();
    for reply in &replies {
        world.net.inject(SERVER, CLIENT, reply);
        let mut forged = reply.clone();
        // The requester's endpoint id is in the same place in both.
        forged[4..8].copy_from_slice(&request[4..8]);
        forged[8..12].copy_from_slice(&reply[8..12]);
        world.net.inject(SERVER, CLIENT, &forged);
    }
    world.net.run_for(Duration::from_millis(50));
    assert!(!here.is_finished(), "neither a flow nor a failure comes of it");
    world.net.block_on(async move {
        let there = listener.accept_async().await.unwrap();
        let here = here.await.unwrap();
        here.write(b"the real one").await.unwrap();
        assert_eq!(&there.read_bytes().await.unwrap()[..], b"the real one");
    });
}
