//! Captures of the reference, replayed against our shim: it is put in the place of one station after the other, and hears
//! what the other stations sent. What the wire fixes of the reference's answers ours has, byte for byte: names are answered
//! with the same frame, requests with a reply that differs only in the number of our end and in the security header, and
//! what came on plain raw flows goes back to the same number with the same contents.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use o7s::device::Mac;
use o7s::types::name::HashAlg;
use o7s::wire::eth::{FlowReply, Format, Frame, Mgmt, Port};
use o7s::{Eth, Flow, Listener};
use pcap_parser::PcapCapture;

use super::station::{Station, hash, mgmt};

/// All names that are asked for in captures.
const NAMES: [&str; 4] = ["oping", "ob", "uni_a", "bc_a"];

/// What was compared.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Answers to name queries, equal in every byte.
    answers: usize,
    /// Positive replies, equal but for the number of the flow and the security header.
    replies: usize,
    /// Requests that ours refused and the reference accepted, or left without an answer: ours does not have what they propose.
    declined: usize,
    /// Requests that ours has accepted, and the reference answered to nobody or refused because of its own settings.
    more: usize,
    /// Packets sent back on plain raw flows, equal in every byte.
    echoed: usize,
}

/// The other end of a flow: its station, its number there, and how many flows have had that before.
type Peer = (Mac, u16, usize);

/// A frame, and when it was captured, nanoseconds since 1970.
type Captured = (u64, Vec<u8>);

fn frames(name: &str) -> Vec<Captured> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/captures/{name}.pcap"));
    let file = std::fs::read(path).unwrap();
    let capture = PcapCapture::from_file(&file).unwrap();
    let nanos = |sec: u32, usec: u32| (u64::from(sec) * 1_000_000 + u64::from(usec)) * 1000;
    capture.blocks.iter().map(|block| (nanos(block.ts_sec, block.ts_usec), block.data.to_vec())).collect()
}

fn message<'a>(frame: &Frame<'a>) -> Option<Mgmt<'a>> {
    let parsed = Mgmt::parse(frame.port.format(), HashAlg::Sha3_256, frame.payload);
    frame.port.is_mgmt().then(|| parsed.unwrap())
}

/// The number by which the receiver knows the flow of a data frame.
fn number(port: Port) -> u16 {
    match port {
        Port::Dix { eid, .. } => eid,
        Port::Llc { dsap, .. } => dsap.into(),
    }
}

/// Our shim in the place of one station.
struct Replay {
    station: Station,
    own: Mac,
    format: Format,
    listeners: Vec<Listener>,
    /// Flows that were accepted, and for which name.
    flows: Vec<(Flow, String)>,
    /// Requests that ours has accepted: by the peer's number, ours.
    accepted: BTreeMap<(Mac, u16), u16>,
    /// From the reference's number of an end to ours.
    ours: BTreeMap<u16, u16>,
    answers: Vec<Vec<u8>>,
    replies: Vec<(Mac, u16, i32)>,
    /// Requests so far with each number of each peer, which uses them again.
    turns: BTreeMap<(Mac, u16), usize>,
    data: BTreeMap<Peer, Vec<Vec<u8>>>,
}

impl Replay {
    fn new(captured: &[Captured], own: Mac, security: &str) -> Self {
        let format = Frame::parse(&captured[0].1).unwrap().port.format();
        let config = if format == Format::Dix { Eth::dix("eth0") } else { Eth::llc("eth0") };
        let station = Station::at(own, &config, captured[0].0, |builder| match security {
            "" => builder,
            text => builder.security(text.parse().unwrap()),
        });
        // Frames of the captures with larger ones have an MTU of 9000.
        station.device.set_mtu(9000);
        Self {
            station,
            own,
            format,
            listeners: Vec::new(),
            flows: Vec::new(),
            accepted: BTreeMap::new(),
            ours: BTreeMap::new(),
            answers: Vec::new(),
            replies: Vec::new(),
            turns: BTreeMap::new(),
            data: BTreeMap::new(),
        }
    }

    fn listen(&mut self, name: &str) {
        self.station.layer.register(name).unwrap();
        let listener = self.station.stack.bind(name).unwrap();
        self.listeners.push(listener);
    }

    /// Has a frame arrive that the reference received, with our number of the flow for its.
    fn hear(&mut self, frame: &Frame<'_>) {
        let mut frame = *frame;
        match &mut frame.port {
            port if port.is_mgmt() => {}
            Port::Dix { eid, .. } => match self.ours.get(eid) {
                Some(ours) => *eid = *ours,
                None => return,
            },
            Port::Llc { dsap, .. } => match self.ours.get(&(*dsap).into()) {
                Some(ours) => *dsap = *ours as u8,
                None => return,
            },
        }
        self.station.inject(&frame.to_vec().unwrap());
        self.work();
    }

    /// Programs accept flows, and send back what they read as `oping` does; what leaves is sorted.
    fn work(&mut self) {
        for _ in 0..8 {
            self.station.pass(Duration::from_millis(1));
            for listener in &self.listeners {
                if let Ok(flow) = listener.try_accept() {
                    self.flows.push((flow, listener.name().as_str().to_owned()));
                }
            }
            let mut buf = vec![0; 9000];
            for (flow, name) in &self.flows {
                while let Ok(n) = flow.try_read(&mut buf) {
                    let reply = &mut buf[..n];
                    if let [0, 0, 0, kind @ 0, ..] = reply
                        && name == "oping"
                    {
                        *kind = 1;
                        let _ = flow.try_write(reply);
                    }
                }
            }
            let sent = self.station.sent();
            sent.iter().for_each(|bytes| self.sort(bytes));
        }
    }

    /// To which end of a flow a data frame goes.
    fn peer(&self, frame: &Frame<'_>) -> Peer {
        let at = (frame.dst, number(frame.port));
        (at.0, at.1, self.turns.get(&at).copied().unwrap_or(0))
    }

    fn sort(&mut self, bytes: &[u8]) {
        let frame = Frame::parse(bytes).unwrap();
        assert_eq!(frame.src, self.own);
        match message(&frame) {
            Some(Mgmt::Answer(_)) => self.answers.push(bytes.to_vec()),
            Some(Mgmt::Reply(m)) => {
                self.replies.push((frame.dst, m.d_eid, m.response));
                if m.response == 0 {
                    self.accepted.insert((frame.dst, m.d_eid), m.s_eid);
                }
                // Nothing but what a reply says: all other fields are zero.
                let expected = FlowReply { s_eid: m.s_eid, d_eid: m.d_eid, response: m.response, data: m.data };
                assert_eq!(mgmt(self.format, self.own, frame.dst, &Mgmt::Reply(expected)), bytes);
                assert!(m.response == 0 || m.data.is_empty(), "a refusal has no security header");
            }
            Some(other) => panic!("nobody asked for {other}"),
            None if frame.payload.is_empty() => {}
            None => self.data.entry(self.peer(&frame)).or_default().push(frame.payload.to_vec()),
        }
    }
}

/// Puts our shim in the place of the `role`th station.
fn replay(name: &str, role: usize, security: &str) -> Tally {
    let captured = frames(name);
    let parsed: Vec<(u64, Frame<'_>)> =
        captured.iter().map(|(at, bytes)| (*at, Frame::parse(bytes).unwrap())).collect();
    let mut stations: Vec<Mac> = Vec::new();
    for (_, frame) in &parsed {
        if !stations.contains(&frame.src) {
            stations.push(frame.src);
        }
    }
    let own = stations[role];
    let mut replay = Replay::new(&captured, own, security);
    // The names that this station has: those for which it has answered, or replied to a request.
    for text in NAMES {
        let asked = parsed.iter().any(|(_, frame)| match message(frame) {
            Some(Mgmt::Answer(name)) => frame.src == own && name == hash(text),
            Some(Mgmt::Request(m)) => frame.dst == own && m.dst == hash(text),
            _ => false,
        });
        if asked {
            replay.listen(text);
        }
    }
    let mut tally = Tally::default();
    let (mut raw, mut echoed) = (Vec::new(), BTreeMap::<Peer, Vec<Vec<u8>>>::new());
    let (mut answers, mut replies) = (Vec::new(), Vec::new());
    let mut last = captured[0].0;
    for (at, frame) in &parsed {
        let gap = Duration::from_nanos(at.saturating_sub(last)).saturating_sub(Duration::from_millis(8));
        last = *at;
        replay.station.pass(gap);
        match message(frame) {
            Some(Mgmt::Answer(_)) if frame.src == own => answers.push(frame.to_vec().unwrap()),
            // Of a reference that had not noted yet who asked.
            Some(Mgmt::Reply(m)) if frame.src == own && m.d_eid == u16::MAX => {}
            Some(Mgmt::Reply(m)) if frame.src == own => {
                replies.push((frame.dst, m.d_eid, m.response));
                if let Some(ours) = replay.accepted.get(&(frame.dst, m.d_eid)) {
                    replay.ours.insert(m.s_eid, *ours);
                }
            }
            None if frame.src == own && raw.contains(&replay.peer(frame)) && !frame.payload.is_empty() => {
                echoed.entry(replay.peer(frame)).or_default().push(frame.payload.to_vec());
            }
            _ if frame.src == own => {}
            Some(Mgmt::Request(m)) if frame.dst == own => {
                // The end of the security header says what key is proposed; a plain one has none.
                let turn = replay.turns.entry((frame.src, m.s_eid)).or_default();
                *turn += 1;
                if !m.qos.in_order && m.data.len() < 60 && m.dst == hash("oping") {
                    raw.push((frame.src, m.s_eid, *turn));
                }
                replay.hear(frame);
            }
            Some(Mgmt::Reply(_)) => {}
            _ if frame.dst == own || frame.dst == Mac::BROADCAST => replay.hear(frame),
            _ => {}
        }
    }
    replay.work();
    assert_eq!(replay.answers, answers, "{name}, {own}");
    tally.answers = answers.len();
    let mut ours = replay.replies.clone();
    for (to, number, response) in replies {
        let at = ours.iter().position(|reply| (reply.0, reply.1) == (to, number));
        let at = at.unwrap_or_else(|| panic!("{name}, {own}: no reply to {to}, {number}"));
        match ours.remove(at).2 {
            same if same == response => tally.replies += 1,
            // It refuses because of its own certificate, which ours does not have.
            0 if response == -1009 => tally.more += 1,
            refused => {
                assert!(response == 0 && refused < 0, "{name}, {own}: {refused} instead of {response}");
                tally.declined += 1;
            }
        }
    }
    let refused = ours.iter().filter(|(_, _, response)| *response < 0).count();
    tally.declined += refused;
    tally.more += ours.len() - refused;
    for (flow, expected) in &echoed {
        let ours = replay.data.get(flow).cloned().unwrap_or_default();
        assert_eq!(ours.len(), expected.len(), "{name}, {own}, {flow:?}");
        assert!(ours == *expected, "{name}, {own}, {flow:?}");
        tally.echoed += ours.len();
    }
    assert_eq!(replay.station.counter("malformed"), 0, "{}", replay.station.layer.rib());
    assert_eq!(replay.station.counter("wrong_source"), 0);
    tally
}

/// Everything compared in both roles.
fn both(name: &str, security: &str) -> Tally {
    let sum = |a: Tally, b: Tally| Tally {
        answers: a.answers + b.answers,
        replies: a.replies + b.replies,
        declined: a.declined + b.declined,
        more: a.more + b.more,
        echoed: a.echoed + b.echoed,
    };
    sum(replay(name, 0, security), replay(name, 1, security))
}

#[test]
fn every_ethernet_capture_is_answered_as_the_reference_answered() {
    let (plain, curve, x25519) = ("", "prime256v1,aes-256-gcm", "X25519,chacha20-poly1305");
    let tally = |answers, replies, echoed| Tally { answers, replies, echoed, ..Tally::default() };
    let all = [
        ("eth-dix", plain, tally(2, 6, 3)),
        ("eth-llc", plain, tally(2, 6, 3)),
        ("eth-dix-loss", plain, Tally { more: 1, ..tally(1, 2, 0) }),
        ("unicast-eth-dix", plain, tally(1, 3, 0)),
        ("unicast-eth-dix-opts", plain, tally(1, 3, 0)),
        ("broadcast-eth-dix", plain, tally(1, 2, 0)),
        ("auth-dix-ec", plain, tally(1, 2, 3)),
        ("auth-enc-dix-ec", x25519, tally(1, 2, 0)),
        ("auth-enc-dix-ed25519", curve, Tally { more: 2, ..tally(1, 0, 0) }),
        ("enc-dix-default", curve, tally(1, 2, 0)),
        ("enc-dix-keyrotation-kr8", x25519, tally(1, 1, 0)),
        ("enc-dix-x25519-chacha", x25519, tally(1, 2, 0)),
        ("enc-dix-ffdhe2048", plain, tally(1, 2, 0)),
        ("enc-dix-p384-aes256ctr", x25519, tally(1, 2, 0)),
        ("enc-dix-x448-aes128gcm-sha512", x25519, tally(1, 2, 0)),
        ("pqc-dix-mldsa-mtu9000", x25519, Tally { more: 2, ..tally(1, 0, 0) }),
        ("pqc-dix-mlkem1024-mtu1500", x25519, tally(1, 0, 0)),
        ("pqc-dix-mlkem1024-mtu9000", x25519, tally(1, 2, 0)),
        ("pqc-dix-mlkem512", x25519, tally(1, 2, 0)),
        ("pqc-dix-mlkem768", x25519, tally(1, 2, 0)),
        ("pqc-dix-x25519mlkem768", x25519, tally(1, 2, 0)),
    ];
    let mut files = 0;
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if let Some(name) = name.strip_suffix(".pcap").filter(|name| !name.contains("udp4")) {
            assert!(all.iter().any(|(known, ..)| *known == name), "{name} is not replayed");
            files += 1;
        }
    }
    assert_eq!(files, all.len());
    let results: Vec<_> = all.iter().map(|(name, security, _)| (*name, both(name, security))).collect();
    let expected: Vec<_> = all.into_iter().map(|(name, _, tally)| (name, tally)).collect();
    assert_eq!(results, expected);
}
