//! Connections between members: no packet and no order of events panics; nobody is connected to something it did not ask
//! for, joins with numbers that do harm, or makes a machine keep more than it may.
#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use o7s::base::buf::PacketBuf;
use o7s::base::rng::Rng;
use o7s::base::time::Instant;
use o7s::ipcp::Component;
use o7s::ipcp::connect::address::is_valid;
use o7s::ipcp::connect::cep::{EARLY_LIMIT, Initiator, Offer, accept};
use o7s::ipcp::connect::enroll::{AdmitAll, Joiner, Kind, Layer, Member, Progress, check};
use o7s::ipcp::connect::manager::{Action, Config, Manager, Want};
use o7s::ipcp::connect::{Purpose, enroll};
use o7s::routing::Watch;
use o7s::types::id::{Address, N1FlowId};
use o7s::types::layer::{LayerConfig, LayerKind, Unicast};
use o7s::types::name::{HashAlg, Name};
use o7s::wire::cep::Message;
use o7s::wire::link_state::Lsu;

const OWN: Address = Address(7);
const NOW: Instant = Instant::from_millis(1_000);
const MEMORY: Duration = Duration::from_secs(90);
const UNIX: u64 = 1_767_225_600_000_000_000;

#[derive(Arbitrary, Debug)]
enum Input {
    Packets { component: u8, packets: Vec<Vec<u8>> },
    Enroll { broadcast: bool, damage: Vec<(u8, u16, u8)>, noise: Vec<Vec<u8>> },
    Manage(Vec<Event>),
    Watch(Vec<(bool, u8, u8)>),
}

#[derive(Arbitrary, Debug)]
enum Event {
    Want(u8, bool),
    Unwant(u8, bool),
    Failed(u8),
    CameUp(u8, u8),
    Accepted,
    WentDown(u8),
    Pass(u32),
}

fuzz_target!(|input: Input| {
    match input {
        Input::Packets { component, packets } => connect(component, packets),
        Input::Enroll { broadcast, damage, noise } => enroll(broadcast, &damage, &noise),
        Input::Manage(events) => manage(events),
        Input::Watch(signs) => watch(&signs),
    }
});

fn connect(component: u8, packets: Vec<Vec<u8>>) {
    let own = match component % 4 {
        0 => Message::enrollment(),
        1 => Message::management(OWN),
        2 => Message::data_transfer(OWN),
        _ => Message::broadcast(),
    };
    let has_address = own.address == OWN;
    let offers = [Offer::enrollment(), Offer::new(Component::DataTransfer, own.clone())];
    let mut initiator = Initiator::new(own.clone());
    for packet in packets {
        if let Ok(accepted) = accept(&offers, &packet) {
            assert!(accepted.purpose == Purpose::Enrollment || Message::decode(&packet).unwrap().agrees_with(&own));
            assert!(!has_address || accepted.purpose == Purpose::Enrollment || is_valid(accepted.peer));
            assert!(accepted.peer != OWN);
        }
        if let Ok(Some(connected)) = initiator.handle_packet(PacketBuf::copy_of(&packet)) {
            assert_eq!(has_address, is_valid(connected.peer));
            assert!(connected.early.len() <= EARLY_LIMIT && connected.peer != OWN);
        }
    }
}

/// An enrollment whose messages are damaged: bytes of the request, the response or the acknowledgement.
fn enroll(broadcast: bool, damage: &[(u8, u16, u8)], noise: &[Vec<u8>]) {
    let kind = if broadcast { Kind::Broadcast } else { Kind::Unicast };
    let config = LayerConfig {
        name: "layer".parse().unwrap(),
        hash: HashAlg::Sha3_256,
        kind: if broadcast { LayerKind::Broadcast } else { LayerKind::Unicast(Unicast::default()) },
    };
    let layer = Layer { config: &config, address: OWN, admission: &AdmitAll };
    let spoil = |which: u8, mut message: Vec<u8>| {
        for (_, at, value) in damage.iter().filter(|(message, ..)| message % 3 == which) {
            if let Some(byte) = message.get_mut(usize::from(*at)) {
                *byte ^= *value;
            }
        }
        message
    };
    let (joiner, request) = Joiner::start(NOW, kind, &mut Rng::from_seed([7; 32]));
    let mut member = Member::new(NOW);
    for packet in noise {
        let _ = joiner.handle_packet(packet);
        assert!(!matches!(member.clone().handle_packet(NOW, UNIX, packet, &layer), Ok(Progress::Deny(_))));
    }
    let Ok(Progress::Send(response)) = member.handle_packet(NOW, UNIX, &spoil(0, request), &layer) else { return };
    let Ok(Some(granted)) = joiner.handle_packet(&spoil(1, response)) else { return };
    assert_eq!(Kind::of(&granted.config), kind);
    assert_eq!(check(granted.config.clone(), kind), Ok((granted.config.clone(), vec![])));
    let done = member.handle_packet(NOW, UNIX, &spoil(2, granted.ack(0)), &layer);
    assert!(matches!(done, Ok(Progress::Wait | Progress::Joined) | Err(enroll::EnrollError::Failed(_))));
}

fn manage(events: Vec<Event>) {
    let config = Config { max_wanted: 6, max_connections: 8, ..Config::default() };
    let mut manager = Manager::new(config, Rng::from_seed([7; 32]));
    let (mut now, mut next, mut flows, mut attempts) = (NOW, 0, BTreeSet::new(), Vec::new());
    let name = |n: u8| (n % 8).to_string().parse::<Name>().unwrap();
    let component = |management| if management { Component::Management } else { Component::DataTransfer };
    for event in events {
        match event {
            Event::Want(n, management) => drop(manager.want(now, Want::new(name(n), component(management)))),
            Event::Unwant(n, management) => drop(manager.unwant(now, &name(n).into(), component(management))),
            Event::Failed(n) => {
                if let Some(attempt) = attempts.get(usize::from(n)) {
                    manager.attempt_failed(now, *attempt);
                }
            }
            Event::CameUp(n, peer) => {
                if let Some(attempt) = attempts.get(usize::from(n)) {
                    next += 1;
                    let flow = N1FlowId(next);
                    if manager.came_up(now, *attempt, flow, Address(u64::from(peer % 4))).is_ok() {
                        flows.insert(flow);
                    }
                }
            }
            Event::Accepted => {
                next += 1;
                if manager.accepted(now, N1FlowId(next), Component::DataTransfer, Address(1)).is_ok() {
                    flows.insert(N1FlowId(next));
                }
            }
            Event::WentDown(n) => {
                let flow = N1FlowId(n.into());
                assert_eq!(manager.went_down(now, flow).is_some(), flows.remove(&flow));
            }
            Event::Pass(ms) => now += Duration::from_millis(ms.into()),
        }
        for round in 0.. {
            assert!(round < 100, "it never has enough");
            match manager.poll_action(now) {
                Some(Action::Start { attempt, .. }) => attempts.push(attempt),
                Some(Action::Close(flow)) => assert!(flows.remove(&flow), "a flow that there is not"),
                Some(Action::Abandon(attempt)) => assert!(attempts.contains(&attempt)),
                None => break,
            }
        }
        assert!(manager.connections().map(|(flow, _)| flow).eq(flows.iter().copied()));
        assert!(flows.len() <= 8);
        assert!(manager.next_deadline().is_none_or(|at| at > now));
    }
}

fn watch(signs: &[(bool, u8, u8)]) {
    let mut watch = Watch::new(OWN, MEMORY);
    let mut own = BTreeSet::new();
    for (announce, neighbour, seqno) in signs {
        let (dst, seqno) = (Address((*neighbour).into()), u64::from(*seqno));
        if *announce {
            watch.announcing(NOW, dst, seqno);
            own.insert((dst, seqno));
        } else if own.contains(&(dst, seqno)) {
            assert_eq!(watch.heard(NOW, &Lsu { dst, src: OWN, seqno }), None, "what it announced itself");
        } else {
            let _ = watch.heard(NOW, &Lsu { dst, src: OWN, seqno });
            assert_eq!(watch.heard(NOW, &Lsu { dst, src: OWN, seqno }), None, "the same again");
        }
    }
}
