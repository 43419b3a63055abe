//! Replies that certificates make many times as large as the requests: what a forged sender address brings to its owner, and what
//! those notice who are where they say.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use o7s::base::rng::Randomness;
use o7s::crypto::suite::Kex;
use o7s::oap::client::Client;
use o7s::sim::Verdict;
use o7s::types::name::{HashAlg, Name};
use o7s::wire::udp::FlowRequest;
use o7s::{QosSpec, SecurityConfig};

use crate::issue::DAY;
use crate::renewal::World;

const SERVER: &str = "10.0.0.2:3435";
const VICTIM: &str = "10.0.0.99:3435";
/// What a host may be sent beyond three times its bytes.
const EXCESS: u64 = 64 << 10;

fn world(closes: bool) -> World {
    let world = World::new();
    if closes {
        let listener = world.server.listen("bank");
        world.net.spawn(async move { while listener.accept_async().await.map(drop).is_ok() {} });
    } else {
        world.serve();
    }
    // About as large as fits into a reply.
    world.show_more(1, 100 * DAY, |leaf| leaf.extension(99, false, &[7; 800]));
    world.believe(1);
    world
}

fn refused(world: &World) -> u64 {
    world.server.stack().rib().get("node/large_replies").unwrap()
}

/// Makes requests for which one gets an answer; `marked`: as this library does, not as a reference.
fn request(unix: u64, n: u32, marked: bool, rng: &mut Randomness) -> Vec<u8> {
    let (_, mut data) = Client::start(unix, &SecurityConfig::encrypted(Kex::X25519), &[], rng).unwrap();
    if !marked {
        // The mark is a hash of the rest of the id.
        data[..16].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
    }
    let dst = HashAlg::Md5.hash(&Name::new("bank").unwrap());
    FlowRequest { s_eid: (4711 + n) << 8, qos: QosSpec::DATA, dst, data: &data }.to_vec()
}

#[test]
fn forged_requests_bring_their_victim_little_more_than_they_cost() {
    // By a service that waits, and by one that lets each flow go at once.
    for (marked, closes) in [(true, false), (false, false), (true, true), (false, true)] {
        let world = world(closes);
        let victim: SocketAddr = VICTIM.parse().unwrap();
        let brought = Rc::new(Cell::new(0));
        let count = Rc::clone(&brought);
        let rule = world.net.on_packet(move |packet| {
            if packet.dst == victim {
                count.set(count.get() + packet.data.len() as u64);
            }
            Verdict::Pass
        });
        rule.keep();
        let (mut rng, mut cost) = (Randomness::from_seed([9; 32]), 0);
        // For as long as the first of them counts.
        for n in 0..1000 {
            let request = request(world.net.clock().unix_nanos(), n, marked, &mut rng);
            cost += request.len() as u64;
            world.net.inject(VICTIM, SERVER, &request);
            world.net.run_for(Duration::from_millis(40));
        }
        let (brought, most) = (brought.get(), 3 * cost + EXCESS);
        assert!(brought > EXCESS / 2, "they are answered");
        assert!(brought <= most, "marked: {marked}, closes: {closes}: {cost} bytes brought {brought}, at most {most}");
        assert!(refused(&world) > 900, "marked: {marked}: {} were refused", refused(&world));
        // One that is there is served all the same, from the same server.
        let flow = world.allocate().unwrap();
        assert!(closes || world.works(&flow));
    }
}

#[test]
fn who_is_where_he_says_is_served_however_often_he_asks() {
    let world = world(false);
    // One after the other: what is heard of counts no more.
    for _ in 0..100 {
        let flow = world.allocate().unwrap();
        assert!(world.works(&flow));
    }
    assert_eq!(refused(&world), 0);
    // Many at once show their address, which takes a round trip more.
    let asks: Vec<_> = (0..100)
        .map(|_| {
            let stack = world.client.stack().clone();
            world.net.spawn(async move { stack.flow("bank").timeout(Duration::from_secs(5)).alloc_async().await })
        })
        .collect();
    world.net.block_on(async {
        for asked in asks {
            asked.await.unwrap();
        }
    });
    assert!(refused(&world) > 0, "more than are answered without");
    world.net.run_for(Duration::from_secs(60));
    assert_eq!(world.server.stack().rib().get("node/replies_owed"), Some(0));
}
