use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;

const T0: Instant = Instant::from_millis(1_000);
const A: N1FlowId = N1FlowId(1);
const B: N1FlowId = N1FlowId(2);
const C: N1FlowId = N1FlowId(3);
const APP: N1FlowId = N1FlowId(10);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn rng() -> Rng {
    Rng::from_seed([7; 32])
}

/// A member with neighbours A, B and C and an application, past its handshakes.
fn flood(config: Config) -> Flood {
    let mut flood = Flood::new(config, &mut rng());
    let long_ago = Instant::ZERO;
    for (port, kind) in [(A, Port::Neighbour), (B, Port::Neighbour), (C, Port::Neighbour), (APP, Port::Application)] {
        flood.add(long_ago, port, kind).unwrap();
    }
    flood
}

fn forward(flood: &mut Flood, now: Instant, from: N1FlowId, packet: &[u8]) -> Result<Vec<N1FlowId>, Dropped> {
    flood.forward(now, from, packet).map(Iterator::collect)
}

#[test]
fn packets_go_to_all_ports_but_their_own() {
    let mut flood = flood(Config::default());
    assert_eq!(forward(&mut flood, T0, A, b"1"), Ok(vec![B, C, APP]));
    assert_eq!(forward(&mut flood, T0, APP, b"2"), Ok(vec![A, B, C]));
    assert_eq!(forward(&mut flood, T0, A, b""), Err(Dropped::Empty));
    assert_eq!(forward(&mut flood, T0, N1FlowId(99), b"3"), Err(Dropped::Stranger));
    flood.remove(B);
    assert_eq!(forward(&mut flood, T0, A, b"4"), Ok(vec![C, APP]));
    assert_eq!(forward(&mut flood, T0, B, b"5"), Err(Dropped::Stranger));
    assert_eq!(flood.rib().get("forwarded"), Some(3));
    assert_eq!(flood.rib().get("dropped_stranger"), Some(2));
    assert_eq!(flood.ports().count(), 3);
}

#[test]
fn the_largest_count_of_a_neighbour_decides() {
    let mut flood = flood(Config::default());
    let mut passes = |from, expected: bool| {
        let decided = forward(&mut flood, T0, from, b"again and again");
        assert_eq!(decided.is_ok(), expected, "{decided:?}");
    };
    for (from, expected) in [(A, true), (B, false), (A, true), (A, true), (B, false), (B, false), (B, true), (C, false)]
    {
        passes(from, expected);
    }
    // An application here says it too: that is no copy, but what comes back of it is.
    for (from, expected) in [(APP, true), (APP, true), (A, false), (B, false), (B, false)] {
        passes(from, expected);
    }
}

#[test]
fn counts_of_neighbours_even_out() {
    let mut flood = flood(Config::default());
    for n in 0..10 {
        let now = T0 + ms(600 * n);
        assert!(forward(&mut flood, now, A, b"tick").is_ok());
        if n % 2 == 0 {
            assert_eq!(forward(&mut flood, now + ms(500), B, b"tick"), Err(Dropped::Copy));
        }
    }
    // A is gone, and B takes over.
    let last = T0 + ms(600 * 9);
    assert_eq!(forward(&mut flood, last + ms(1000), B, b"tick"), Err(Dropped::Copy));
    assert!(forward(&mut flood, last + ms(1001), B, b"tick").is_ok());
}

#[test]
fn repetitions_in_a_loop_are_limited() {
    let mut flood = flood(Config::default());
    let mut passed = |now, n, from| (0..n).filter(|_| forward(&mut flood, now, from, b"tick").is_ok()).count();
    assert_eq!(passed(T0, 200, A), 200, "nothing says that there is a loop");
    assert_eq!(passed(T0, 1, B), 0);
    assert_eq!(passed(T0, 200, A), 128);
    assert_eq!(passed(T0 + ms(500), 200, A), 0);
    assert_eq!(passed(T0 + ms(1001), 200, A), 200, "forgotten");
    assert_eq!(passed(T0 + ms(1001), 200, APP), 200, "what is said here is no copy");
}

#[test]
fn leaves_and_members_without_suppression_do_not_count() {
    let mut leaf = flood(Config::default());
    leaf.remove(B);
    leaf.remove(C);
    let mut told = flood(Config { suppress: false, ..Config::default() });
    for _ in 0..5 {
        assert!(forward(&mut leaf, T0, A, b"x").is_ok());
        assert!(forward(&mut leaf, T0, APP, b"x").is_ok());
        assert!(forward(&mut told, T0, A, b"x").is_ok());
        assert!(forward(&mut told, T0, B, b"x").is_ok());
    }
    assert_eq!(leaf.rib().get("remembered"), Some(0));
}

#[test]
fn duplicated_handshakes_are_not_passed_on() {
    let mut flood = Flood::new(Config::default(), &mut rng());
    flood.add(T0, A, Port::Neighbour).unwrap();
    flood.add(T0, APP, Port::Application).unwrap();
    for message in [Message::broadcast(), Message { versions: vec![1], ..Message::broadcast() }] {
        let handshake = message.encode().unwrap();
        assert_eq!(forward(&mut flood, T0 + ms(999), A, &handshake), Err(Dropped::Handshake));
    }
    let handshake = Message::broadcast().encode().unwrap();
    // Sent later, or by the application here, it is meant.
    assert!(forward(&mut flood, T0 + ms(1000), A, &handshake).is_ok());
    assert!(forward(&mut flood, T0, APP, &handshake).is_ok());
}

#[test]
fn neighbours_are_limited() {
    let rate = |burst| Rate { per_second: 10, burst };
    let mut flood = flood(Config { packets: rate(20), repetitions: rate(5), ..Config::default() });
    // The bucket may go into debt once.
    let passed = (0..100).filter(|_| forward(&mut flood, T0, A, b"storm").is_ok()).count();
    assert!((5..=8).contains(&passed), "{passed}");
    let passed = (0..100).filter(|n: &u64| forward(&mut flood, T0, B, &n.to_be_bytes()).is_ok()).count();
    assert!((20..=22).contains(&passed), "{passed}");
    // A second later, ten more; applications are not limited.
    let passed = (200..300).filter(|n: &u64| forward(&mut flood, T0 + ms(1000), B, &n.to_be_bytes()).is_ok()).count();
    assert!((10..=12).contains(&passed), "{passed}");
    assert!((0..1000).all(|_| forward(&mut flood, T0, APP, b"storm").is_ok()));
    assert!(flood.rib().get("dropped_too_many") > Some(100) && flood.rib().get("dropped_too_often") > Some(10));
}

#[test]
fn memory_is_bounded() {
    let mut flood = flood(Config { memory: 100, ..Config::default() });
    for n in 0..10_000u32 {
        forward(&mut flood, T0, APP, &n.to_be_bytes()).unwrap();
    }
    assert_eq!((flood.memory.len(), flood.memory.counters().evictions), (100, 9_900));
    // The newest are known, the oldest are not.
    assert_eq!(forward(&mut flood, T0, A, &9_999u32.to_be_bytes()), Err(Dropped::Copy));
    assert!(forward(&mut flood, T0, A, &0u32.to_be_bytes()).is_ok());
    // In time all are forgotten.
    for n in 0..100u64 {
        forward(&mut flood, T0 + ms(2_000), APP, &n.to_be_bytes()).unwrap();
    }
    assert_eq!(flood.memory.len(), 100);
    let mut quiet = tests::flood(Config::default());
    for n in 0..100u64 {
        forward(&mut quiet, T0, APP, &n.to_be_bytes()).unwrap();
    }
    (0..40).for_each(|_| drop(forward(&mut quiet, T0 + ms(2_000), APP, b"later")));
    assert_eq!(quiet.memory.len(), 1);
}

#[test]
fn ports_are_limited() {
    let mut flood = flood(Config { max_ports: 4, ..Config::default() });
    let full = flood.add(T0, N1FlowId(20), Port::Application).unwrap_err();
    assert!(full.to_string().contains("no more than 4"));
    flood.remove(A);
    flood.add(T0, N1FlowId(20), Port::Application).unwrap();
}

// Whole layers.

/// The application at every member.
const HERE: N1FlowId = N1FlowId(0);

/// Members and the flows between them, in virtual time.
struct Layer {
    now: Instant,
    members: Vec<Flood>,
    links: Vec<Link>,
    /// Packets under way by arrival: to which member, over which link.
    flying: BTreeMap<(Instant, u64), (usize, usize, Vec<u8>)>,
    /// Packets that the application at each member got.
    heard: Vec<Vec<Vec<u8>>>,
    sent: u64,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    ends: [usize; 2],
    delay: u64,
}

/// Fate of a packet on a link: lost (0), or that many copies of it, each delayed by so many milliseconds.
type Fate = dyn FnMut() -> Vec<u64>;

impl Layer {
    fn new(members: usize, links: &[Link], config: Config) -> Self {
        let mut rng = rng();
        let mut floods: Vec<_> = (0..members).map(|_| Flood::new(config, &mut rng)).collect();
        for (n, link) in links.iter().enumerate() {
            for end in link.ends {
                floods[end].add(Instant::ZERO, port_of(n), Port::Neighbour).unwrap();
            }
        }
        for flood in &mut floods {
            flood.add(Instant::ZERO, HERE, Port::Application).unwrap();
        }
        let heard = vec![vec![]; members];
        Self { now: T0, members: floods, links: links.to_vec(), flying: BTreeMap::new(), heard, sent: 0 }
    }

    fn say(&mut self, member: usize, packet: &[u8], fate: &mut Fate) {
        self.arrive(member, HERE, packet.to_vec(), fate);
    }

    fn arrive(&mut self, member: usize, port: N1FlowId, packet: Vec<u8>, fate: &mut Fate) {
        let Ok(others) = forward(&mut self.members[member], self.now, port, &packet) else { return };
        for other in others {
            if other == HERE {
                self.heard[member].push(packet.clone());
                continue;
            }
            let link = self.links[other.0 as usize - 1];
            let to = if link.ends[0] == member { link.ends[1] } else { link.ends[0] };
            for later in fate() {
                self.sent += 1;
                let at = self.now + ms(link.delay + later);
                self.flying.insert((at, self.sent), (to, other.0 as usize - 1, packet.clone()));
            }
        }
    }

    /// Goes on for so long, or until nothing moves any more if there is no limit.
    fn run(&mut self, until: Instant, fate: &mut Fate) {
        while let Some((&(at, n), _)) = self.flying.first_key_value().filter(|((at, _), _)| *at <= until) {
            assert!(self.sent < 200_000, "a storm");
            let (to, link, packet) = self.flying.remove(&(at, n)).unwrap();
            self.now = at;
            self.arrive(to, port_of(link), packet, fate);
        }
        if until < Instant::FAR_FUTURE {
            self.now = until;
        }
    }
}

fn port_of(link: usize) -> N1FlowId {
    N1FlowId(link as u32 + 1)
}

fn safe() -> Vec<u64> {
    vec![0]
}

/// A connected graph of up to 12 members with up to 12 links more than a tree has, doubled ones among them.
fn graph() -> impl Strategy<Value = (usize, Vec<Link>)> {
    (2..12usize).prop_flat_map(|members| {
        let tree = prop::collection::vec((any::<u16>(), 0..40u64), members - 1);
        let more = prop::collection::vec((0..members, 0..members, 0..40u64), 0..12);
        (Just(members), tree, more).prop_map(|(members, tree, more)| {
            let tree = tree.into_iter().enumerate().map(|(n, (up, delay))| ([up as usize % (n + 1), n + 1], delay));
            let more = more.into_iter().filter(|(a, b, _)| a != b).map(|(a, b, delay)| ([a, b], delay));
            (members, tree.chain(more).map(|(ends, delay)| Link { ends, delay }).collect())
        })
    })
}

proptest! {
    /// Loops or not: every other member hears each packet once, and then there is silence.
    #[test]
    fn every_member_hears_every_packet_once(
        (members, links) in graph(), says in prop::collection::vec((any::<u16>(), 0..100u64), 1..20),
    ) {
        let mut layer = Layer::new(members, &links, Config::default());
        for (n, (who, pause)) in says.iter().enumerate() {
            layer.say(*who as usize % members, &[n as u8], &mut safe);
            let until = layer.now + ms(*pause);
            layer.run(until, &mut safe);
        }
        layer.run(Instant::FAR_FUTURE, &mut safe);
        for (member, heard) in layer.heard.iter_mut().enumerate() {
            heard.sort();
            let others = says.iter().enumerate().filter(|(_, (who, _))| *who as usize % members != member);
            let expected: Vec<_> = others.map(|(n, _)| vec![n as u8]).collect();
            prop_assert_eq!(&*heard, &expected);
        }
    }

    /// Repetitions of one sender are heard as often as they were sent, in one go or in any rhythm.
    #[test]
    fn repetitions_are_heard_as_often_as_sent(
        (members, links) in graph(), who: u16, pauses in prop::collection::vec(prop::sample::select(vec![0, 0, 3, 50, 400, 1500]), 1..50),
    ) {
        let who = who as usize % members;
        let mut layer = Layer::new(members, &links, Config::default());
        for pause in &pauses {
            layer.say(who, b"tick", &mut safe);
            let until = layer.now + ms(*pause);
            layer.run(until, &mut safe);
        }
        layer.run(Instant::FAR_FUTURE, &mut safe);
        for (member, heard) in layer.heard.iter().enumerate() {
            prop_assert_eq!(heard.len(), if member == who { 0 } else { pauses.len() });
        }
    }

    /// With loss and reordering, no packet is heard more often than it was sent, and the flood ends.
    #[test]
    fn loss_and_reordering_cause_no_storm(
        (members, links) in graph(), says in prop::collection::vec((any::<u16>(), 0..3u8), 1..20), seed: [u8; 32],
    ) {
        let mut layer = Layer::new(members, &links, Config::default());
        let mut chance = Rng::from_seed(seed);
        let mut fate = move || if chance.chance(0.2) { vec![] } else { vec![chance.below(30)] };
        let mut said = [0; 3];
        for (who, what) in &says {
            layer.say(*who as usize % members, &[*what], &mut fate);
            said[*what as usize] += 1;
        }
        layer.run(Instant::FAR_FUTURE, &mut fate);
        for heard in &layer.heard {
            for (what, said) in said.iter().enumerate() {
                let times = heard.iter().filter(|packet| ***packet == [what as u8]).count();
                prop_assert!(times <= *said);
            }
        }
    }

    /// Packets that a flow below duplicates in a loop go around for a while, but not forever.
    #[test]
    fn duplicates_cause_no_storm(
        (members, links) in graph(), says in prop::collection::vec(any::<(u16, u8)>(), 1..20), seed: [u8; 32],
    ) {
        let mut layer = Layer::new(members, &links, Config::default());
        let (mut chance, mut left) = (Rng::from_seed(seed), 10);
        let mut fate = move || {
            let twice = left > 0 && chance.chance(0.2);
            left -= u32::from(twice);
            if twice { vec![0, chance.below(30)] } else { vec![chance.below(30)] }
        };
        for (who, what) in &says {
            layer.say(*who as usize % members, &[*what], &mut fate);
        }
        layer.run(Instant::FAR_FUTURE, &mut fate);
        prop_assert!(layer.now - T0 < Duration::from_secs(300), "{:?}", layer.now);
    }

    /// Members that do not count make a storm of a ring; one that does ends it.
    #[test]
    fn one_counting_member_protects_a_ring(
        members in 3..8usize, who: u8, counting in 1..3usize, says in 1..20u64, pause in 0..20u64,
    ) {
        let links: Vec<_> = (0..members).map(|n| Link { ends: [n, (n + 1) % members], delay: 5 }).collect();
        let mut layer = Layer::new(members, &links, Config::default());
        for member in &mut layer.members[counting..] {
            member.config.suppress = false;
        }
        for _ in 0..says {
            layer.say(who as usize % members, b"storm", &mut safe);
            let until = layer.now + ms(pause);
            layer.run(until, &mut safe);
        }
        layer.run(Instant::FAR_FUTURE, &mut safe);
        let passed = says + 2 * 129;
        prop_assert!(layer.sent <= members as u64 * passed, "{} packets", layer.sent);
    }

    #[test]
    fn any_packet_is_safe(packets in prop::collection::vec((0..5u32, prop::collection::vec(any::<u8>(), 0..30), 0..500u64), 0..200)) {
        let mut flood = flood(Config { memory: 8, ..Config::default() });
        let mut now = T0;
        for (from, packet, later) in packets {
            now += ms(later);
            if let Ok(others) = forward(&mut flood, now, N1FlowId(from), &packet) {
                prop_assert!(others.len() == 3 && !others.contains(&N1FlowId(from)));
            }
            prop_assert!(flood.memory.len() <= 8);
        }
    }
}
