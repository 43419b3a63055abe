//! Clocks that are wrong: what is refused, what is counted and said, and to whom, and what can be set.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use o7s::settings::Limits;
use o7s::sim::{Host, Network, Verdict};
use o7s::wire::udp::{FlowReply, FlowRequest, Mgmt};
use o7s::{AllocError, Code, QosSpec, SecurityConfig};

use crate::ends::{count, serve};

const SERVER: &str = "10.0.0.2:3435";
const CLIENT: &str = "10.0.0.1:3435";
const MS: u64 = 1_000_000;

struct World {
    net: Network,
    server: Host,
}

impl World {
    fn new(limits: Limits) -> Self {
        let net = Network::new(61);
        let server = net.host("server").udp4(SERVER).stack(|s| s.limits(limits)).build();
        Self { net, server }
    }

    /// The answer to the request of a client whose clock is off by so much, milliseconds.
    fn answer(&self, n: u16, off: i64, is_o7s: bool) -> Option<i32> {
        let unix = self.net.clock().unix_nanos().saturating_add_signed(off * MS as i64);
        let mut rng = o7s::base::rng::Randomness::from_seed([n as u8; 32]);
        let mut oap = o7s::oap::client::Client::start(unix, &SecurityConfig::default(), b"", &mut rng).unwrap().1;
        if !is_o7s {
            oap[15] ^= 1;
        }
        let dst = o7s::types::name::HashAlg::Md5.hash(&"vault".parse().unwrap());
        let request = FlowRequest { s_eid: 0x10_0000, qos: QosSpec::RAW, dst, data: &oap }.to_vec();
        let from = SocketAddr::from(([10, 7, (n >> 8) as u8, n as u8], 4000));
        let told: Rc<RefCell<Option<i32>>> = Rc::default();
        let tells = Rc::clone(&told);
        let guard = self.net.on_packet(move |packet| {
            if packet.dst == from
                && let Ok(Mgmt::Reply(FlowReply { response, .. })) = Mgmt::parse(packet.data)
            {
                *tells.borrow_mut() = Some(response);
            }
            Verdict::Pass
        });
        self.net.inject(from, SERVER, &request);
        self.net.run_for(Duration::from_millis(50));
        drop(guard);
        told.take()
    }
}

const STALE: i32 = -62;
const AUTH: i32 = -1009;

/// How far the clock of a client is ahead, whether it is served by the defaults, and by the longest window that can be set.
const CLOCKS: [(i64, bool, bool); 10] = [
    (-7_200_000, false, false),
    (-601_000, false, false),
    (-599_000, false, true),
    (-25_000, false, true),
    (-19_000, true, true),
    (0, true, true),
    (50, true, true),
    (200, false, true),
    (4_900, false, true),
    (5_200, false, false),
];

#[test]
fn the_window_is_a_setting_within_what_is_safe() {
    let widest = || Limits::default().request_age(Duration::from_secs(999)).clock_ahead(Duration::from_secs(999));
    for (limits, is_widest) in [(Limits::default(), false), (widest(), true)] {
        let world = World::new(limits);
        // Before a stack was started, nothing is known of what was served.
        world.net.run_for(Duration::from_secs(700));
        let _flows = serve(&world.net, &world.server);
        let mut stale = 0;
        for (n, (off, by_default, at_most)) in CLOCKS.into_iter().enumerate() {
            let is_served = if is_widest { at_most } else { by_default };
            // What comes back is told apart by those who understand it.
            let n = n as u16 * 2;
            let (to_o7s, to_reference) = if is_served { (0, 0) } else { (STALE, AUTH) };
            assert_eq!(world.answer(n, off, true), Some(to_o7s), "{off} ms, widest: {is_widest}");
            assert_eq!(world.answer(n + 1, off, false), Some(to_reference), "{off} ms, widest: {is_widest}");
            stale += 2 * u64::from(!is_served);
        }
        assert_eq!(
            (count(&world.server, "stale"), count(&world.server, "bad_oap"), count(&world.server, "replayed")),
            (stale, 0, 0)
        );
    }
}

/// A program is told what is wrong, not that somebody has not authenticated.
#[test]
fn a_program_is_told_that_clocks_differ() {
    let world = World::new(Limits::default());
    let _flows = serve(&world.net, &world.server);
    let client = world.net.host("client").udp4(CLIENT).build();
    // Its clock is a second ahead, as far as anybody can tell.
    let (net, from, to): (_, SocketAddr, SocketAddr) =
        (world.net.clone(), CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    let changed: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let rule = world.net.on_packet(move |packet| {
        if packet.src != from || packet.data[..4] != [0; 4] || changed.borrow().iter().any(|sent| *sent == packet.data)
        {
            return Verdict::Pass;
        }
        let (mut datagram, at) = (packet.data.to_vec(), packet.data.len() - 36 + 16);
        let time = u64::from_be_bytes(datagram[at..at + 8].try_into().unwrap());
        datagram[at..at + 8].copy_from_slice(&(time + 1000 * MS).to_be_bytes());
        changed.borrow_mut().push(datagram.clone());
        net.inject(from, to, &datagram);
        Verdict::Drop
    });
    rule.keep();
    let failed = world.net.block_on(client.stack().flow("vault").alloc_async()).map(drop).unwrap_err();
    assert!(matches!(failed, AllocError::Refused { code: Code::TIME, .. }), "{failed:?}");
    assert!(failed.to_string().contains("clock"), "{failed}");
}

/// A replay is no matter of clocks, and is not answered.
#[test]
fn replays_are_counted_apart() {
    let world = World::new(Limits::default());
    let _flows = serve(&world.net, &world.server);
    let tape: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let (records, to): (_, SocketAddr) = (Rc::clone(&tape), SERVER.parse().unwrap());
    let rule = world.net.on_packet(move |packet| {
        if packet.dst == to {
            records.borrow_mut().push(packet.data.to_vec());
        }
        Verdict::Pass
    });
    rule.keep();
    assert_eq!(world.answer(1, 0, true), Some(0));
    let request = tape.borrow()[0].clone();
    for (age, replayed, stale) in [(0, 1, 0), (10, 2, 0), (30, 2, 1)] {
        world.net.run_for(Duration::from_secs(age));
        world.net.inject("10.7.7.7:4000", SERVER, &request);
        world.net.run_for(Duration::from_millis(50));
        let counted =
            (count(&world.server, "replayed"), count(&world.server, "stale"), count(&world.server, "accepted"));
        assert_eq!(counted, (replayed, stale, 1), "after {age} s more");
    }
}
