//! A member of a unicast layer among hostile neighbours: every input that is known to hurt the reference is dropped and
//! counted, answered to none but its sender, and leaves a good neighbour's flow as it was.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use o7s::ipcp::{Component, ConnectionRefused};
use o7s::types::id::{Address, Eid};
use o7s::types::name::NameHash;
use o7s::wire::dht::{Body, Contact, Extension, Message as Dht};
use o7s::wire::dt::{DIRECTORY, FLOW_ALLOCATOR, LayerSizes, Pci};
use o7s::wire::fa::{FlowReply, FlowRequest, FlowUpdate, Message, Report};
use o7s::wire::link_state::Lsu;
use o7s::{AllocError, QosSpec, ReadError};

use crate::frames::{
    BACKLOG, Frames, INBOX, Legitimate, MAX_FLOWS, NAME, NEIGHBOURS, OWN, UNIX, Via, hash, packet, packet_with,
};

const SECOND: Duration = Duration::from_secs(1);

/// A node with a flow from a good neighbour.
fn node() -> (Frames, Legitimate) {
    let mut frames = Frames::new();
    let flow = frames.allocate();
    frames.exchange(&flow);
    frames.sent_anywhere();
    (frames, flow)
}

/// Feeds a bad packet: a counter grows, nothing is answered, and the good flow is as it was.
#[track_caller]
fn is_dropped(counter: &str, least: u64, feed: impl FnOnce(&mut Frames, &Legitimate)) {
    let (mut frames, flow) = node();
    let (before, flows) = (frames.count(counter), frames.count("flows"));
    feed(&mut frames, &flow);
    frames.poll();
    let counted = frames.count(counter) - before;
    assert!(counted >= least, "{counter}: {counted} of {least}\n{}", frames.rib());
    let said: Vec<_> = frames.sent_anywhere().into_iter().filter(|(via, _)| *via != Via::Management).collect();
    assert!(said.is_empty(), "answers: {said:?}");
    assert_eq!(frames.count("flows"), flows, "nothing is kept of it");
    frames.check();
    frames.exchange(&flow);
}

// ----- data transfer -----

#[test]
fn truncated_packets_are_counted() {
    let whole = packet(OWN, Eid(0x1234_5678_9abc_def0), b"");
    is_dropped("short", whole.len() as u64 - 1, |frames, _| {
        // An N-1 flow takes no empty packet for one: it is a keepalive.
        for len in 1..whole.len() {
            frames.feed(Via::First, &whole[..len]);
        }
        frames.feed(Via::First, &[]);
    });
}

#[test]
fn expired_packets_are_counted() {
    for ttl in [0, 1] {
        is_dropped(&format!("dt.{OWN}/0/expired"), 2, |frames, _| {
            for dst in [NEIGHBOURS[1], NEIGHBOURS[0]] {
                frames.feed(Via::First, &packet_with(Pci { dst, qos: 0, ttl, ecn: 0, eid: Eid(4711) }, b"late"));
            }
        });
    }
}

#[test]
fn packets_without_route_are_counted() {
    is_dropped(&format!("dt.{OWN}/0/unroutable"), 3, |frames, _| {
        for dst in [Address(0), Address(4711), Address(u64::from(u32::MAX))] {
            frames.packet(dst, Eid(4711), b"who?");
        }
    });
}

#[test]
fn unknown_components_are_refused() {
    is_dropped("no_component", 62, |frames, _| {
        for eid in 2..64 {
            frames.packet(OWN, Eid(eid), b"hello?");
        }
    });
}

#[test]
fn unknown_flows_are_counted() {
    is_dropped("unknown_eid", 6 + 64, |frames, flow| {
        let eid = flow.remote.0;
        // Both halves have to be right, in every bit.
        for other in [64, u64::MAX, eid ^ 1 << 63, eid ^ 1 << 32, eid & 0xffff_ffff, eid ^ 1 << 31] {
            frames.packet(OWN, Eid(other), b"forged");
        }
        for bit in 0..64 {
            frames.packet(OWN, Eid(eid ^ 1 << bit), b"forged");
        }
    });
}

#[test]
fn out_of_range_cubes_and_marks_are_ignored() {
    let (mut frames, flow) = node();
    for qos in 0..=255 {
        frames.feed(Via::First, &packet_with(Pci { dst: NEIGHBOURS[1], qos, ttl: 9, ecn: qos, eid: Eid(4711) }, b"x"));
        let pci = Pci { dst: OWN, qos, ttl: 0, ecn: 255, eid: flow.remote };
        frames.feed(Via::First, &packet_with(pci, b"x"));
    }
    assert_eq!(frames.sent(Via::Second).len(), 256, "what others mean by them is their business");
    while flow.flow.try_read(&mut [0; 8]).is_ok() {}
    frames.check();
    frames.exchange(&flow);
}

#[test]
fn packets_in_a_loop_expire() {
    let (mut frames, flow) = node();
    // The second neighbour sends everything back to us.
    let mut pkt = packet(NEIGHBOURS[1], Eid(4711), b"round and round");
    let mut rounds = 0;
    loop {
        frames.feed(Via::Second, &pkt);
        let Some(again) = frames.sent(Via::Second).pop() else { break };
        pkt = again;
        rounds += 1;
        assert!(rounds <= 255);
    }
    assert_eq!(rounds, 59);
    frames.exchange(&flow);
}

// ----- the flow allocator -----

#[test]
fn malformed_messages_are_counted() {
    is_dropped("malformed", 97 + 3, |frames, _| {
        let (_, good) = frames.request(NEIGHBOURS[0], Eid(4711));
        // A request without a security header would be 93 bytes.
        for len in 0..93 {
            frames.fa(&good[..len]);
            frames.poll();
        }
        for code in [3, 4, 127, 255] {
            let mut other = good.clone();
            // Where the code is: the first byte in which a request and a reply of zeros differ.
            let at = code_offset();
            other[at] = code;
            frames.fa(&other);
            frames.poll();
        }
        let mut long = good.clone();
        long.resize(2049, 0);
        frames.fa(&long);
        long.resize(9000, 0);
        frames.fa(&long);
        frames.poll();
        frames.fa(&vec![0xff; 2049]);
    });
}

/// Offset of the code in a message.
fn code_offset() -> usize {
    let (r_eid, s_eid) = (Eid(0), Eid(0));
    let reply = Message::Reply(FlowReply { r_eid, s_eid, response: 0, data: &[] }).to_vec();
    let update = Message::Update(FlowUpdate { r_eid, ece: 0, report: None }).to_vec();
    reply.iter().zip(&update).position(|(a, b)| a != b).unwrap()
}

fn reply(r_eid: Eid, s_eid: Eid, response: i32) -> FlowReply<'static> {
    FlowReply { r_eid, s_eid, response, data: &[] }
}

#[test]
fn unexpected_replies_are_counted() {
    is_dropped("replies_unexpected", 8, |frames, flow| {
        for response in [0, -1007] {
            // The table's entry 0, a component's, an unused one, and that of a flow that is open.
            for r_eid in [Eid(0), Eid(1), Eid(u64::MAX), flow.remote] {
                frames.reply(reply(r_eid, Eid(0x6666_0000_0000_6666), response));
            }
        }
    });
}

#[test]
fn unexpected_updates_are_counted() {
    is_dropped("updates_unexpected", 3, |frames, _| {
        for r_eid in [Eid(0), Eid(63), Eid(u64::MAX)] {
            frames.update(r_eid, u16::MAX);
        }
    });
    let (mut frames, flow) = node();
    for ece in (0..=u16::MAX).rev().step_by(97).chain([u16::MAX; 64]) {
        frames.update(flow.remote, ece);
        frames.poll();
    }
    frames.check();
    // A peer of our own kind reports more than a level; one that does not is not believed.
    frames.live_on(&flow, Duration::from_secs(60));
}

/// Reports of what was never sent, and questions without end: an answer for each, and none is longer.
#[test]
fn arbitrary_reports_are_bounded() {
    let (mut frames, flow) = node();
    frames.sent(Via::First);
    let (mut asked, mut answered) = (0, 0);
    for n in 0..2000_u32 {
        let n = n.wrapping_mul(0x9e37_79b9);
        let (delivered, marks, answers) = (n.rotate_left(7), n.rotate_left(13), n.is_multiple_of(3).then_some(n));
        let report = Report { sent: n, delivered, marks, asks: n.is_multiple_of(2), answers };
        asked += usize::from(report.asks);
        frames.report(flow.remote, report);
        frames.poll();
        let answers = frames.sent(Via::First);
        let is_update =
            |pkt: &&Vec<u8>| Pci::parse(LayerSizes::default(), pkt).is_ok_and(|(pci, _)| pci.eid == FLOW_ALLOCATOR);
        answered += answers.iter().filter(is_update).count();
    }
    assert_eq!((asked, answered), (1000, 1000));
    frames.check();
    frames.live_on(&flow, Duration::from_secs(60));
}

#[test]
fn requests_with_invalid_addresses_are_dropped() {
    is_dropped("malformed", 9, |frames, _| {
        for s_eid in [Eid(0), Eid(1), Eid(63), Eid(u64::MAX)] {
            let (_, request) = frames.request(NEIGHBOURS[0], s_eid);
            frames.fa(&request);
        }
        for s_addr in [Address(0), OWN, Address(1 << 32), Address(u64::MAX), Address(1 << 32 | NEIGHBOURS[0].0)] {
            let (_, request) = frames.request(s_addr, Eid(4711));
            frames.fa(&request);
        }
    });
}

#[test]
fn refusals_are_no_longer_than_requests() {
    let (mut frames, flow) = node();
    let (_, good) = frames.request(NEIGHBOURS[1], Eid(4711));
    let unknown =
        FlowRequest { s_addr: NEIGHBOURS[1], s_eid: Eid(4712), qos: QosSpec::RAW, dst: hash("nobody"), data: &[0; 36] };
    let unknown = Message::Request(unknown).to_vec();
    let garbage = FlowRequest { s_eid: Eid(4713), dst: hash(NAME), ..parse(&unknown) };
    let garbage = Message::Request(garbage).to_vec();
    let asked = good.len() + LayerSizes::default().header_len();
    // It comes by way of the first neighbour, and says that it is from the second.
    frames.fa(&unknown);
    frames.fa(&garbage);
    frames.poll();
    assert!(frames.sent(Via::First).is_empty());
    let answers = frames.sent(Via::Second);
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|pkt| pkt.len() <= asked));
    frames.exchange(&flow);
}

/// An answer to a neighbour that numbers its flows as a reference does is held back for a moment. Who gives up an accept
/// meanwhile refuses nobody.
#[test]
fn an_accept_that_is_given_up_refuses_no_neighbour() {
    let (mut frames, flow) = node();
    let s_eid = Eid(0x7000_0000_0000_0040);
    let (_, request) = frames.request(NEIGHBOURS[0], s_eid);
    frames.fa(&request);
    frames.poll();
    let millisecond = Duration::from_millis(1);
    for _ in 0..2 {
        {
            let mut accepting = pin!(frames.listener.accept_async());
            assert!(accepting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(frames.replies(), []);
        frames.pass(millisecond);
    }
    let accepted = frames.listener.try_accept();
    assert!(accepted.is_ok(), "{accepted:?}");
    frames.poll();
    assert_eq!(frames.replies(), [(NEIGHBOURS[0], s_eid, 0)]);
    frames.exchange(&flow);
}

fn parse(request: &[u8]) -> FlowRequest<'_> {
    match Message::parse(o7s::types::name::HashAlg::Sha3_256, request) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn floods_of_requests_are_refused_beyond_the_limit() {
    let (mut frames, flow) = node();
    let mut asked = 0;
    for round in 0..200u64 {
        for i in 0..20 {
            let (_, request) = frames.request(NEIGHBOURS[0], Eid(0x4000_0000_0000_0000 | round << 8 | i));
            frames.fa(&request);
            asked += 1;
        }
        frames.pass(Duration::from_millis(10));
        frames.check();
    }
    assert_eq!(frames.count("requests_in"), asked + 1);
    // Without an acceptor, the requests that the listener has room for wait, and are refused in time.
    frames.pass(25 * SECOND);
    let refused = frames.replies();
    assert_eq!(refused.len() as u64, asked, "one answer each");
    assert!(refused.iter().all(|(to, _, response)| *to == NEIGHBOURS[0] && *response < 0));
    assert_eq!(frames.count("flows"), 1);
    frames.check();
    frames.exchange(&flow);
    let another = frames.allocate();
    frames.exchange(&another);
}

#[test]
fn unused_flows_are_bounded() {
    let (mut frames, flow) = node();
    let mut held = Vec::new();
    while let Some(another) = frames.try_allocate() {
        held.push(another);
        assert!(held.len() <= MAX_FLOWS);
    }
    assert_eq!(held.len(), MAX_FLOWS - 1);
    frames.check();
    frames.exchange(&flow);
    held.clear();
    frames.pass(5 * SECOND);
    assert_eq!(frames.count("flows"), 1);
    let another = frames.allocate();
    frames.exchange(&another);
}

/// Members that ask never to be missed are missed all the same: one that was never heard with its silence, one that was
/// heard when the longest timeout that the node grants is over, though the neighbour they are behind lives on.
#[test]
fn flows_with_endless_timeouts_end_with_their_member() {
    let (mut frames, flow) = node();
    let endless = QosSpec { timeout: 0, ..QosSpec::RAW };
    let unheard = frames.allocate_of(endless).unwrap();
    let heard = frames.allocate_of(endless).unwrap();
    frames.exchange(&heard);
    let state = |frames: &mut Frames, time: Duration| {
        frames.live_on(&flow, time);
        [&unheard, &heard].map(|held| held.flow.try_read(&mut [0; 8]).unwrap_err())
    };
    let (silence, longest) = (Duration::from_secs(45), Duration::from_secs(600));
    assert_eq!(state(&mut frames, silence - 15 * SECOND), [ReadError::WouldBlock, ReadError::WouldBlock]);
    assert_eq!(state(&mut frames, 30 * SECOND), [ReadError::PeerGone, ReadError::WouldBlock]);
    assert_eq!(state(&mut frames, longest - silence - 60 * SECOND), [ReadError::PeerGone, ReadError::WouldBlock]);
    assert_eq!(state(&mut frames, 90 * SECOND), [ReadError::PeerGone, ReadError::PeerGone]);
    drop((unheard, heard));
    frames.pass(5 * SECOND);
    assert_eq!(frames.count("flows"), 1, "nothing is kept of them");
    frames.exchange(&flow);
}

#[test]
fn repeated_requests_open_one_flow() {
    let (mut frames, flow) = node();
    let (_, request) = frames.request(NEIGHBOURS[0], Eid(4711));
    frames.fa(&request);
    frames.poll();
    let accepted = frames.listener.try_accept().unwrap();
    frames.poll();
    for _ in 0..50 {
        frames.fa(&request);
        frames.pass(Duration::from_millis(100));
    }
    assert_eq!(frames.count("flows"), 2);
    assert!(frames.listener.try_accept().is_err());
    frames.check();
    drop(accepted);
    frames.exchange(&flow);
}

/// The node asks for a flow itself, and the answer is not what it should be.
#[test]
fn forged_replies_to_own_requests() {
    let positive = [(Eid(0x6666_0000_0000_6666), 1007), (Eid(0x6666_0000_0000_6666), i32::MAX)];
    let negative = [(Eid(0), -1007), (Eid(0), i32::MIN), (Eid(u64::MAX), -1)];
    let no_flow = [(Eid(0), 0), (Eid(63), 0), (Eid(u64::MAX), 0)];
    for (s_eid, response) in positive.into_iter().chain(negative).chain(no_flow) {
        let (mut frames, flow) = node();
        let (r_eid, mut asking) = asks(&mut frames);
        frames.reply(reply(r_eid, s_eid, response));
        // Twice: the second one has no request any more.
        frames.reply(reply(r_eid, s_eid, response));
        frames.pass(25 * SECOND);
        assert!(matches!(asking.poll(), Some(Err(_))), "{s_eid} {response}");
        assert_eq!(frames.count("replies_unexpected"), 1);
        drop(asking);
        frames.pass(SECOND);
        assert_eq!(frames.count("flows"), 1);
        frames.check();
        frames.exchange(&flow);
    }
}

type Asking = std::pin::Pin<Box<dyn Future<Output = Result<o7s::aio::Flow, AllocError>>>>;

struct Ask(Asking);

impl Ask {
    fn poll(&mut self) -> Option<Result<o7s::aio::Flow, AllocError>> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(result) => Some(result),
            std::task::Poll::Pending => None,
        }
    }
}

/// Has the node ask the second neighbour whether it has the name "theirs", as somebody said: with which cookie.
fn asked(frames: &mut Frames) -> (Contact, u64, NameHash) {
    let src = Contact { id: hash("an id"), address: NEIGHBOURS[1] };
    let expires = (UNIX / 1_000_000_000) as u32 + 3600;
    let store = Dht { src, body: Body::Store { key: hash("theirs"), value: NEIGHBOURS[1], expires } };
    frames.dht(&store.encode().unwrap());
    frames.poll();
    for pkt in frames.sent(Via::Second) {
        let (_, body) = Pci::parse(LayerSizes::default(), &pkt).unwrap();
        let question = Dht::decode(o7s::types::name::HashAlg::Sha3_256, body).map(|question| question.body);
        if let Ok(Body::FindValue { cookie, key }) = question {
            return (src, cookie, key);
        }
    }
    panic!("it does not ask\n{}", frames.rib());
}

/// The answer that it has.
fn answer(src: Contact, cookie: u64, key: NameHash) -> Vec<u8> {
    dht(src, Body::FoundValue { cookie, key, contacts: vec![src], values: vec![NEIGHBOURS[1]] })
}

fn allocates(frames: &Frames) -> Ask {
    let stack = frames.stack.clone();
    Ask(Box::pin(async move { stack.flow("theirs").qos(QosSpec::RAW).alloc_async().await }))
}

/// Under which EID the node waits for the reply to a request that it has sent to the second neighbour, if it has sent one.
fn requested(frames: &mut Frames) -> Option<Eid> {
    frames.sent(Via::Second).iter().find_map(|pkt| {
        let (pci, body) = Pci::parse(LayerSizes::default(), pkt).unwrap();
        (pci.eid == FLOW_ALLOCATOR).then(|| parse(body).s_eid)
    })
}

/// Has the node ask the second neighbour for a flow: under which EID it waits for the answer.
fn asks(frames: &mut Frames) -> (Eid, Ask) {
    let (src, cookie, key) = asked(frames);
    frames.dht(&answer(src, cookie, key));
    frames.poll();
    let mut ask = allocates(frames);
    for _ in 0..100 {
        assert!(ask.poll().is_none());
        if let Some(eid) = requested(frames) {
            return (eid, ask);
        }
        frames.pass(Duration::from_millis(20));
    }
    panic!("it does not ask\n{}", frames.rib());
}

/// It waits for a reply among more messages than have room, over the same N-1 flow: replies that nobody waits for, updates of
/// flows that there are not, and those of a neighbour that has a flow.
#[test]
fn a_flood_of_messages_for_flows_does_not_push_out_a_reply() {
    let (mut frames, flow) = node();
    let (r_eid, mut asking) = asks(&mut frames);
    let packet = |message: Message<'_>| packet(OWN, FLOW_ALLOCATOR, &message.to_vec());
    let update = |r_eid| FlowUpdate { r_eid, ece: 7, report: None };
    let flood = [
        packet(Message::Reply(reply(Eid(4711), Eid(0x6666_0000_0000_6666), 0))),
        packet(Message::Update(update(Eid(4711)))),
        packet(Message::Update(update(flow.remote))),
    ];
    let answer = packet(Message::Reply(reply(r_eid, Eid(0), -1007)));
    let mut burst: Vec<&[u8]> = (0..4 * INBOX).map(|i| &flood[i % flood.len()][..]).collect();
    burst[2 * INBOX] = &answer;
    // A second one has no place.
    burst[2 * INBOX + 1] = &answer;
    frames.feed_all(Via::First, &burst);
    frames.poll();
    assert_eq!(frames.count("replies_in"), 1, "{}", frames.rib());
    frames.pass(25 * SECOND);
    assert!(matches!(asking.poll(), Some(Err(_))));
    drop(asking);
    frames.check();
    frames.exchange(&flow);
}

// ----- link state -----

fn lsu(src: Address, dst: Address, seqno: u64) -> [u8; 24] {
    Lsu { dst, src, seqno }.to_bytes()
}

#[test]
fn implausible_updates_are_counted() {
    let somebody = Address(0x0d0d_0d04);
    is_dropped("routing/implausible", 6, |frames, _| {
        for (src, dst, seqno) in [
            (somebody, somebody, 1),
            (OWN, OWN, 1),
            (Address(0), somebody, 1),
            (somebody, Address(0), 1),
            (somebody, NEIGHBOURS[0], u64::MAX),
            (NEIGHBOURS[0], OWN, u64::MAX),
        ] {
            frames.feed(Via::Management, &lsu(src, dst, seqno));
        }
    });
    is_dropped("routing/malformed", 40 - 2, |frames, _| {
        let long = [1; 40];
        for len in (1..40).filter(|len| *len != Lsu::LEN) {
            frames.feed(Via::Management, &long[..len]);
        }
    });
}

#[test]
fn claims_about_own_links_are_contradicted() {
    is_dropped("routing/contested", 2, |frames, _| {
        frames.feed(Via::Management, &lsu(OWN, Address(0x0d0d_0d04), 7));
        frames.feed(Via::Management, &lsu(OWN, NEIGHBOURS[0], u64::MAX - 1));
    });
    let (frames, _flow) = node();
    assert_eq!(frames.ipcp.address(), Some(OWN), "it keeps its address");
}

#[test]
fn a_frozen_link_of_a_neighbour_thaws() {
    let (mut frames, flow) = node();
    // A forged update with the greatest possible number claims that the link to the second neighbour exists.
    frames.feed(Via::Management, &lsu(NEIGHBOURS[1], OWN, u64::MAX - 1));
    frames.live_on(&flow, Duration::from_secs(300));
    frames.sent_anywhere();
    frames.packet(NEIGHBOURS[1], Eid(4711), b"on");
    assert_eq!(frames.sent(Via::Second).len(), 1, "there is a route again");
    frames.exchange(&flow);
}

#[test]
fn a_flood_of_links_fills_the_database_to_its_bound() {
    let (mut frames, flow) = node();
    let mut rng = o7s::base::rng::Rng::from_seed([3; 32]);
    // Twice as many as there is room for: those that lead nowhere are given up, but not twice in a second.
    for _ in 0..140_000 {
        let (src, dst) = (Address(1 + u64::from(rng.u32())), Address(1 + u64::from(rng.u32())));
        frames.feed(Via::Management, &lsu(src, dst, 1 + rng.below(1000)));
    }
    frames.poll();
    assert!(frames.count("routing/refused") > 0, "{}", frames.count("routing/accepted"));
    frames.check();
    // One member has more neighbours than anybody.
    let before = frames.count("routing/refused");
    for dst in 1..6000 {
        frames.feed(Via::Management, &lsu(NEIGHBOURS[0], Address(0x1111_0000 + dst), 1));
    }
    frames.poll();
    assert!(frames.count("routing/refused") > before);
    // Links that are not announced again are forgotten.
    frames.live_on(&flow, Duration::from_secs(300));
    frames.check();
    assert!(frames.links() < 20);
}

#[test]
fn updates_over_data_transfer_flows_are_ignored() {
    is_dropped("routing/received", 0, |frames, _| {
        let before = frames.count("routing/received");
        for via in [Via::First, Via::Second] {
            frames.feed(via, &lsu(Address(0x0d0d_0d04), Address(0x0e0e_0e05), 1));
        }
        frames.poll();
        assert_eq!(frames.count("routing/received"), before);
    });
}

// ----- the directory -----

fn contact(i: u32) -> Contact {
    let id = o7s::types::name::HashAlg::Sha3_256.hash(&format!("contact {i}").parse().unwrap());
    Contact { id, address: Address(0x2222_0000 + u64::from(i)) }
}

fn key(i: u32) -> NameHash {
    hash(&format!("name {i}"))
}

fn dht(src: Contact, body: Body) -> Vec<u8> {
    Dht { src, body }.encode().unwrap()
}

#[test]
fn malformed_directory_messages_are_counted() {
    let good = dht(contact(1), Body::FindNode { cookie: 1, key: key(1) });
    is_dropped("dht/stats/malformed", 60, |frames, _| {
        for len in 0..good.len() {
            frames.dht(&good[..len]);
            frames.poll();
        }
        frames.dht(&[0xff; 100]);
        // An address of 0 for a contact, and for a value.
        let none = Contact { address: Address(0), ..contact(2) };
        frames.dht(&dht(none, Body::FindNode { cookie: 1, key: key(1) }));
        let expires = u32::MAX;
        frames.dht(&dht(contact(3), Body::Store { key: key(1), value: Address(0), expires }));
    });
}

#[test]
fn id_conflicts_are_counted() {
    is_dropped("dht/stats/id_conflicts", 4, |frames, _| {
        let src = Contact { address: OWN, ..contact(1) };
        let (cookie, expires) = (1, u32::MAX);
        frames.dht(&dht(src, Body::FindNode { cookie, key: key(1) }));
        frames.dht(&dht(src, Body::FindValue { cookie, key: hash(NAME) }));
        frames.dht(&dht(src, Body::Store { key: hash(NAME), value: NEIGHBOURS[0], expires }));
        frames.dht(&dht(src, Body::FoundNode { cookie, key: key(1), contacts: vec![contact(2)] }));
    });
}

#[test]
fn unsolicited_answers_are_counted() {
    is_dropped("dht/stats/unsolicited", 100, |frames, _| {
        for cookie in 0..50 {
            let contacts: Vec<_> = (0..100).map(contact).collect();
            frames.dht(&dht(contact(1), Body::FoundNode { cookie, key: key(1), contacts: contacts.clone() }));
            let values = vec![Address(4711); 20];
            frames.dht(&dht(contact(1), Body::FoundValue { cookie, key: key(1), contacts, values }));
            frames.poll();
        }
    });
}

/// It waits for an answer among more messages than have room, over the same N-1 flow.
#[test]
fn a_flood_of_made_up_answers_does_not_push_out_the_true_one() {
    let (mut frames, flow) = node();
    let (src, cookie, key) = asked(&mut frames);
    let packet = |message: Vec<u8>| packet(OWN, DIRECTORY, &message);
    let lies: Vec<_> = (1..=4 * INBOX as u64).map(|n| packet(answer(src, cookie ^ (n << 16), key))).collect();
    let truth = packet(answer(src, cookie, key));
    let mut burst: Vec<&[u8]> = lies.iter().map(|lie| &lie[..]).collect();
    burst[2 * INBOX] = &truth;
    frames.feed_all(Via::First, &burst);
    frames.poll();
    let mut ask = allocates(&frames);
    assert!(ask.poll().is_none());
    assert!(requested(&mut frames).is_some(), "it knows where the name is\n{}", frames.rib());
    drop(ask);
    frames.check();
    frames.exchange(&flow);
}

#[test]
fn a_flood_of_names_is_bounded_and_does_not_hide_our_own() {
    let (mut frames, flow) = node();
    let expires = (UNIX / 1_000_000_000) as u32 + 3600;
    for i in 0..6000 {
        let from = contact(i % 1500);
        frames.dht(&dht(from, Body::Store { key: key(i), value: from.address, expires }));
        // And other addresses for ours.
        frames.dht(&dht(from, Body::Store { key: hash(NAME), value: from.address, expires }));
        if i % 20 == 0 {
            frames.pass(Duration::from_millis(5));
        }
    }
    frames.pass(SECOND);
    frames.check();
    assert!(frames.count("dht/stats/keys") <= 4096);
    assert!(frames.count("dht/stats/sources") <= 1024);
    assert!(frames.count("dht/stats/contacts") <= 16 * 32);
    assert!(frames.count("dht/stats/rate_limited") > 0);
    // Members that ask for our name hear of us first.
    frames.sent_anywhere();
    let asking = Contact { address: NEIGHBOURS[1], ..contact(1_000_000) };
    let question = Dht { src: asking, body: Body::FindValue { cookie: 42, key: hash(NAME) } };
    frames.dht(&question.encode_extended(Extension { token: None, padding: 1000 }).unwrap());
    frames.pass(SECOND);
    let answers = frames.sent(Via::Second);
    let values = answers.iter().find_map(|pkt| {
        let (_, body) = Pci::parse(LayerSizes::default(), pkt).ok()?;
        match Dht::decode(o7s::types::name::HashAlg::Sha3_256, body).ok()?.body {
            Body::FoundValue { cookie: 42, values, .. } => Some(values),
            _ => None,
        }
    });
    assert_eq!(values.expect("an answer").first(), Some(&OWN));
    frames.exchange(&flow);
}

#[test]
fn floods_of_questions_are_answered_up_to_a_limit() {
    let (mut frames, flow) = node();
    let asking = Contact { address: NEIGHBOURS[1], ..contact(1) };
    for cookie in 0..5000 {
        frames.dht(&dht(asking, Body::FindNode { cookie, key: key(1) }));
        frames.poll();
    }
    assert!(frames.count("dht/stats/rate_limited") >= 4000, "{}", frames.rib());
    let answers = frames.sent(Via::Second).len();
    assert!(answers <= 1100, "{answers} answers\n{}", frames.rib());
    frames.check();
    frames.exchange(&flow);
}

// ----- what all components share -----

#[test]
fn a_flood_of_messages_for_components_stays_within_the_inbox() {
    let (mut frames, flow) = node();
    let garbage = [packet(OWN, Eid(0), b"no message"), packet(OWN, Eid(1), b"no message")];
    let mut burst: Vec<&[u8]> = (0..4 * INBOX).map(|i| &garbage[i % 2][..]).collect();
    let data = packet(OWN, flow.remote, b"among them");
    burst[INBOX] = &data;
    for round in 0..50 {
        frames.feed_all(Via::First, &burst);
        frames.poll();
        let mut buf = [0; 16];
        assert_eq!(flow.flow.try_read(&mut buf), Ok(10), "round {round}");
        assert_eq!(flow.flow.try_read(&mut buf), Err(ReadError::WouldBlock));
        assert_eq!(frames.count("inbox"), 0);
    }
    assert!(frames.count("malformed") >= 50);
    assert!(frames.count("inbox_full") >= 50);
    frames.check();
    frames.exchange(&flow);
}

// ----- connections -----

#[test]
fn impossible_neighbours_are_refused() {
    let (mut frames, flow) = node();
    for component in [Component::DataTransfer, Component::Management] {
        for peer in [Address(0), OWN, Address(1 << 32), Address(u64::MAX)] {
            let refused = frames.connect(component, peer);
            assert!(matches!(refused, Err(ConnectionRefused::Address(a)) if a == peer), "{peer}: {refused:?}");
        }
    }
    assert_eq!(frames.count("adjacencies"), 2);
    frames.exchange(&flow);
}

#[test]
fn the_backlog_of_a_listener_is_bounded() {
    let (mut frames, flow) = node();
    for i in 0..3 * BACKLOG as u64 {
        let (_, request) = frames.request(NEIGHBOURS[0], Eid(0x4000 + i));
        frames.fa(&request);
        frames.poll();
    }
    let at_once = frames.replies();
    assert_eq!(at_once.len(), 2 * BACKLOG);
    frames.check();
    frames.exchange(&flow);
}

#[test]
fn leaving_the_layer_ends_pending_requests() {
    let (mut frames, flow) = node();
    let (_, mut asking) = asks(&mut frames);
    frames.ipcp.clone().leave();
    frames.poll();
    assert!(matches!(asking.poll(), Some(Err(_))), "no answer can come");
    // As by a shutdown: it is this end that goes, and the other one is told.
    assert_eq!(flow.flow.try_read(&mut [0; 8]), Err(ReadError::ClosedHere));
}
