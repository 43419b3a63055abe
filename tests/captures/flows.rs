//! Follows the flows of one layer: decodes what is said about them and what they carry, as deep as it goes, encodes it
//! again, and counts. If they carry another layer, that is followed in turn.

use std::collections::BTreeMap;

use o7s::base::buf::PacketBuf;
use o7s::base::seq::Seq;
use o7s::crypto::hash;
use o7s::crypto::suite::{Cipher, Digest, Kdf};
use o7s::types::name::NameHash;
use o7s::types::qos::QosSpec;
use o7s::wire::frct::{Flags, Pci};
use o7s::wire::oap;

use crate::member::{Conversation, Layer};
use crate::sealed::{Keys, Opener};

/// How often each kind of thing was seen.
pub(crate) type Tally = BTreeMap<String, usize>;

/// Whoever has flows in a layer: an interface, a host, a member.
pub(crate) type Node = u64;

/// A flow, from its request on.
struct Flow {
    requester: Node,
    responder: Option<Node>,
    qos: QosSpec,
    /// The OAP request.
    request: Vec<u8>,
    /// The OAP response.
    response: Vec<u8>,
    cipher: Option<Cipher>,
    /// What opens the packets, found by the first one: to the responder, and to the requester.
    openers: Option<[Opener; 2]>,
    /// If the flow is between two members of a layer.
    members: Option<Conversation>,
}

/// The flows of a layer so far.
pub(crate) struct Flows {
    flows: Vec<Flow>,
    /// Which flow a node means by a number of its own. Numbers are used again.
    ends: BTreeMap<(Node, u64), usize>,
    /// Session keys not yet known to belong to a flow.
    keys: Keys,
    /// Names that members of a layer on top have in this one.
    members: Vec<NameHash>,
    /// The layer on top.
    upper: Option<Box<Layer>>,
    tally: Tally,
}

impl Flows {
    pub(crate) fn new(keys: Keys, members: Vec<NameHash>) -> Self {
        Self { flows: Vec::new(), ends: BTreeMap::new(), keys, members, upper: None, tally: Tally::new() }
    }

    pub(crate) fn finish(mut self) -> Tally {
        assert!(self.keys.session.is_empty(), "every key belongs to a flow");
        if let Some(upper) = self.upper {
            let counts = upper.finish().into_iter();
            self.tally.extend(counts.map(|(what, count)| (format!("in the layer: {what}"), count)));
        }
        self.tally
    }

    pub(crate) fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn request(&mut self, requester: Node, s_eid: u64, qos: QosSpec, dst: &NameHash, data: &[u8]) {
        let oap = oap::Message::parse_request(data).unwrap();
        assert_eq!(oap.to_vec().unwrap(), data, "{oap}");
        if self.flows.iter().any(|flow| flow.request == data) {
            return self.count("requests once more");
        }
        self.count("requests");
        self.ends.insert((requester, s_eid), self.flows.len());
        self.flows.push(Flow {
            requester,
            responder: None,
            qos,
            request: data.to_vec(),
            response: Vec::new(),
            cipher: None,
            openers: None,
            members: self.members.contains(dst).then(Conversation::default),
        });
    }

    /// `theirs` is the number of the requester, `ours` that of the responder.
    pub(crate) fn reply(&mut self, responder: Node, ours: u64, requester: Node, theirs: u64, data: &[u8]) {
        let index = *self.ends.get(&(requester, theirs)).expect("a reply answers a request");
        let flow = &mut self.flows[index];
        if flow.responder == Some(responder) && flow.response == data {
            return self.count("replies once more");
        }
        assert_eq!((flow.requester, flow.responder), (requester, None), "once");
        flow.responder = Some(responder);
        flow.response = data.to_vec();
        self.ends.insert((responder, ours), index);

        let request = oap::Message::parse_request(&flow.request).unwrap();
        let response = oap::Message::parse_response(data, request.digest).unwrap();
        assert_eq!(response.to_vec().unwrap(), data, "{response}");
        assert_eq!(response.id, request.id);
        let digest = Digest::from_nid(request.digest).unwrap_or(Digest::Sha384);
        assert_eq!(hash::digest(digest, &[&flow.request]).as_ref(), response.request_hash);
        if response.cipher != 0 {
            let cipher = Cipher::from_nid(response.cipher).expect("checked by the decoder");
            let kdf = Kdf::from_nid(response.kdf).expect("checked by the decoder");
            flow.cipher = Some(cipher);
            // A requester that could not read the reply has logged nothing.
            if !self.keys.session.is_empty() {
                let key = self.keys.take(request.kex, response.kex, kdf);
                flow.openers = Some([(); 2].map(|()| Opener::new(cipher, key, self.keys.rotation_bit)));
            }
        }
        let (encrypted, certified) = (flow.cipher.is_some(), !response.certificate.is_empty());
        self.count("replies");
        if encrypted {
            self.count("encrypted flows");
        }
        if certified {
            self.count("certificates");
        }
    }

    /// A packet for what the receiver calls `eid`; from whom, if it says so.
    pub(crate) fn data(&mut self, sender: Option<Node>, receiver: Node, eid: u64, payload: &[u8]) {
        let index = *self.ends.get(&(receiver, eid)).expect("data is for a flow seen being allocated");
        let flow = &mut self.flows[index];
        let responder = flow.responder.expect("data flows once the flow is accepted");
        let to_requester = receiver == flow.requester;
        let other = if to_requester { responder } else { flow.requester };
        assert!(sender.is_none_or(|sender| sender == other), "data is between the ends of a flow");
        let qos = flow.qos;
        if payload.is_empty() {
            return self.count("keepalives");
        }
        assert!(!qos.has_crc(), "no capture has a CRC");
        let Some(cipher) = flow.cipher else {
            return self.clear(index, to_requester, payload);
        };
        let openers = flow.openers.as_mut().expect("the key was logged");
        // Without authentication everything opens, and what was not sealed is known by having no form then.
        let is_genuine = |clear: &PacketBuf| {
            let known = |pci: Pci| kind(&pci, &clear[Pci::LEN..], qos.is_reliable()).is_some();
            cipher.is_aead() || !qos.has_frct() || Pci::parse(clear).is_ok_and(known)
        };
        let Some(clear) = openers[usize::from(to_requester)].open(payload).filter(is_genuine) else {
            let pci = Pci::parse(payload).unwrap();
            assert!(kind(&pci, &payload[Pci::LEN..], qos.is_reliable()).is_some(), "neither genuine nor in the clear");
            return self.count("packets in the clear that should not be");
        };
        self.count("encrypted packets");
        self.packet(&qos, &clear);
    }

    /// What an unencrypted flow carries.
    fn clear(&mut self, index: usize, to_requester: bool, packet: &[u8]) {
        let flow = &mut self.flows[index];
        let Some(members) = &mut flow.members else {
            let qos = flow.qos;
            return self.packet(&qos, packet);
        };
        let said = members.packet(to_requester, packet, &mut self.upper);
        self.count(said);
    }

    /// A packet of an application's flow, in the clear.
    fn packet(&mut self, qos: &QosSpec, packet: &[u8]) {
        if !qos.has_frct() {
            return self.count("raw packets");
        }
        let pci = Pci::parse(packet).unwrap();
        let (header, payload) = packet.split_at(Pci::LEN);
        assert_eq!(pci.to_bytes(), header, "{pci}");
        let kind = kind(&pci, payload, qos.is_reliable()).unwrap_or_else(|| panic!("unheard of: {pci}, {payload:?}"));
        self.count(kind);
    }
}

/// Which of the packets the reference sends this is, if it has the form of one.
fn kind(pci: &Pci, payload: &[u8], reliable: bool) -> Option<&'static str> {
    let Pci { flags, window, seqno, ackno } = *pci;
    let ack_fc = Flags::ACK | Flags::FC;
    if pci.is_data() {
        let rest = Flags::from_bits(flags.bits() & !(Flags::DATA | Flags::DRF).bits());
        let fields_hold = match rest {
            // A retransmission has an acknowledgement number though the flag may be off.
            Flags::NONE => window == 0 && (reliable || ackno == Seq(0)),
            Flags::FC => reliable || ackno == Seq(0),
            rest => rest == ack_fc && reliable,
        };
        let kind = if flags.contains(Flags::DRF) { "data, start of a run" } else { "data" };
        return (fields_hold && !payload.is_empty()).then_some(kind);
    }
    let (kind, fields_hold) = match flags {
        Flags::RDVS => ("rendez-vous", window == 0 && ackno == Seq(0)),
        Flags::FC if payload.is_empty() => ("windows", ackno == Seq(0)),
        // Sent from a buffer in which another packet had arrived meanwhile; only the ackno is its own.
        Flags::FC => return (reliable && seqno == Seq(0)).then_some("retransmissions of something else"),
        Flags::ACK => ("last acknowledgements", window == 0),
        flags if flags == ack_fc => ("acknowledgements", true),
        _ => return None,
    };
    (fields_hold && seqno == Seq(0) && payload.is_empty()).then_some(kind)
}
