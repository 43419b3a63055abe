//! A broadcast layer of a few members, connected anyhow: no order of packets, connections and pauses panics, makes a storm
//! or makes a member remember more than it may; nobody hears more than was said.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use o7s::base::rng::Rng;
use o7s::base::time::Instant;
use o7s::ipcp::broadcast::flood::{Config, Flood, Port};
use o7s::types::id::N1FlowId;

const MEMBERS: usize = 5;
const MEMORY: usize = 8;
/// The program at every member.
const HERE: N1FlowId = N1FlowId(0);

#[derive(Arbitrary, Debug)]
enum Op {
    Say {
        who: u8,
        what: u8,
    },
    /// The packet that has been under way for the longest arrives, or is lost.
    Arrive {
        lost: bool,
    },
    Connect {
        a: u8,
        b: u8,
    },
    Disconnect {
        link: u8,
    },
    /// Somebody else sends a packet to a member.
    Inject {
        who: u8,
        port: u8,
        bytes: Vec<u8>,
    },
    Pass {
        ms: u16,
    },
}

struct Layer {
    now: Instant,
    members: Vec<Flood>,
    links: BTreeMap<N1FlowId, [usize; 2]>,
    next_link: u32,
    flying: VecDeque<(usize, N1FlowId, Vec<u8>)>,
    /// How often each packet was said, and how often each member's program heard it.
    said: BTreeMap<Vec<u8>, usize>,
    heard: Vec<BTreeMap<Vec<u8>, usize>>,
}

impl Layer {
    fn arrive(&mut self, member: usize, port: N1FlowId, packet: Vec<u8>) {
        let Ok(others) = self.members[member].forward(self.now, port, &packet) else { return };
        let others: Vec<_> = others.collect();
        assert!(!packet.is_empty() && !others.contains(&port));
        for other in others {
            match self.links.get(&other) {
                None => {
                    assert_eq!(other, HERE);
                    *self.heard[member].entry(packet.clone()).or_default() += 1;
                }
                Some(ends) => {
                    let to = if ends[0] == member { ends[1] } else { ends[0] };
                    self.flying.push_back((to, other, packet.clone()));
                }
            }
        }
        let remembered = self.members[member].rib().get("remembered").unwrap();
        assert!(remembered <= MEMORY as u64);
    }
}

fuzz_target!(|ops: Vec<Op>| {
    let config = Config::default().max_ports(6).memory(MEMORY).in_loops(16);
    let mut rng = Rng::from_seed([7; 32]);
    let mut layer = Layer {
        now: Instant::from_millis(10_000),
        members: (0..MEMBERS).map(|_| Flood::new(config, &mut rng)).collect(),
        links: BTreeMap::new(),
        next_link: 0,
        flying: VecDeque::new(),
        said: BTreeMap::new(),
        heard: vec![BTreeMap::new(); MEMBERS],
    };
    for member in &mut layer.members {
        member.add(Instant::ZERO, HERE, Port::Application).unwrap();
    }
    // While these hold, nobody hears more than was said.
    let (mut honest, mut steady) = (true, true);
    for op in ops {
        match op {
            Op::Say { who, what } => {
                // As few packets as are remembered.
                let packet = vec![what % MEMORY as u8];
                *layer.said.entry(packet.clone()).or_default() += 1;
                layer.arrive(usize::from(who) % MEMBERS, HERE, packet);
            }
            Op::Arrive { lost } => {
                if let Some((to, port, packet)) = layer.flying.pop_front().filter(|_| !lost) {
                    layer.arrive(to, port, packet);
                }
            }
            Op::Connect { a, b } => {
                let ends = [usize::from(a) % MEMBERS, usize::from(b) % MEMBERS];
                layer.next_link += 1;
                let port = N1FlowId(layer.next_link);
                let [first, second] = ends;
                if first != second && layer.members[first].add(Instant::ZERO, port, Port::Neighbour).is_ok() {
                    if layer.members[second].add(Instant::ZERO, port, Port::Neighbour).is_ok() {
                        layer.links.insert(port, ends);
                        // A leaf does not remember what it has passed on.
                        steady &= layer.said.is_empty();
                    } else {
                        layer.members[first].remove(port);
                    }
                }
            }
            Op::Disconnect { link } => {
                let port = N1FlowId(link.into());
                if let Some(ends) = layer.links.remove(&port) {
                    ends.into_iter().for_each(|end| layer.members[end].remove(port));
                    layer.flying.retain(|(_, over, _)| *over != port);
                    steady &= layer.said.is_empty();
                }
            }
            Op::Inject { who, port, bytes } => {
                honest = false;
                layer.arrive(usize::from(who) % MEMBERS, N1FlowId(port.into()), bytes);
            }
            Op::Pass { ms } => {
                // What is under way for longer than the window is taken for new.
                steady &= layer.flying.is_empty();
                layer.now += Duration::from_millis(ms.into());
            }
        }
    }
    let mut left = 1_000_000;
    while let Some((to, port, packet)) = layer.flying.pop_front() {
        left -= 1;
        assert!(left > 0, "a storm");
        layer.arrive(to, port, packet);
    }
    if honest && steady {
        for (packet, times) in layer.heard.iter().flatten() {
            assert!(times <= &layer.said[packet], "{packet:?} was heard {times} times");
        }
    }
});
