//! Follows the flows of a capture: decodes every datagram as deep as it goes, encodes it again, and counts.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use o7s::base::seq::Seq;
use o7s::crypto::hash;
use o7s::crypto::suite::{Cipher, Digest};
use o7s::types::qos::QosSpec;
use o7s::wire::frct::{Flags, Pci};
use o7s::wire::oap;
use o7s::wire::udp::{DEFAULT_PORT, Datagram, FlowReply, FlowRequest, Mgmt, Raw};

use crate::ethernet::Udp;
use crate::sealed;

/// How often each kind of thing was seen.
pub(crate) type Tally = BTreeMap<&'static str, usize>;

/// A flow, from its request on.
struct Flow {
    requester: Ipv4Addr,
    responder: Option<Ipv4Addr>,
    qos: QosSpec,
    /// The OAP request.
    request: Vec<u8>,
    cipher: Option<Cipher>,
    /// The one of the logged keys that opened the first packet.
    key: Option<[u8; 32]>,
}

/// The state of the capture so far.
pub(crate) struct Follower {
    flows: Vec<Flow>,
    /// Which flow a host means by an EID of its own. EIDs are used again.
    ends: BTreeMap<(Ipv4Addr, u32), usize>,
    /// Session keys not yet known to belong to a flow.
    keys: Vec<[u8; 32]>,
    tally: Tally,
}

impl Follower {
    pub(crate) fn new(keys: Vec<[u8; 32]>) -> Self {
        Self { flows: Vec::new(), ends: BTreeMap::new(), keys, tally: Tally::new() }
    }

    pub(crate) fn datagram(&mut self, udp: &Udp) {
        assert_eq!((udp.src.1, udp.dst.1), (DEFAULT_PORT, DEFAULT_PORT));
        let datagram = Datagram::parse(&udp.payload).unwrap();
        let mut again = Vec::new();
        datagram.emit(&mut again);
        assert_eq!(again, udp.payload, "{datagram}");
        match datagram {
            Datagram::Mgmt(message) => {
                assert!(Raw::parse(&udp.payload).unwrap().is_canonical());
                match message {
                    Mgmt::Request(request) => self.request(udp, &request),
                    Mgmt::Reply(reply) => self.reply(udp, &reply),
                }
            }
            Datagram::Data { eid, payload } => {
                let flow = *self.ends.get(&(udp.dst.0, eid)).expect("data is for a flow seen being allocated");
                self.data(udp, flow, payload);
            }
        }
    }

    pub(crate) fn finish(self) -> Tally {
        assert!(self.keys.is_empty(), "every key belongs to a flow");
        self.tally
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn request(&mut self, udp: &Udp, request: &FlowRequest<'_>) {
        self.count("requests");
        assert_eq!(request.dst.as_bytes().len(), 16);
        let oap = oap::Message::parse_request(request.data).unwrap();
        assert_eq!(oap.to_vec().unwrap(), request.data, "{oap}");
        self.ends.insert((udp.src.0, request.s_eid), self.flows.len());
        self.flows.push(Flow {
            requester: udp.src.0,
            responder: None,
            qos: request.qos,
            request: request.data.to_vec(),
            cipher: None,
            key: None,
        });
    }

    fn reply(&mut self, udp: &Udp, reply: &FlowReply<'_>) {
        assert_eq!(reply.response, 0, "no capture has a refusal");
        self.count("replies");
        let index = *self.ends.get(&(udp.dst.0, reply.s_eid)).expect("a reply answers a request");
        let flow = &mut self.flows[index];
        assert_eq!((flow.requester, flow.responder), (udp.dst.0, None), "once");
        flow.responder = Some(udp.src.0);
        self.ends.insert((udp.src.0, reply.d_eid), index);

        let request = oap::Message::parse_request(&flow.request).unwrap();
        let response = oap::Message::parse_response(reply.data, request.digest).unwrap();
        assert_eq!(response.to_vec().unwrap(), reply.data, "{response}");
        assert_eq!(response.id, request.id);
        let digest = Digest::from_nid(request.digest).unwrap_or(Digest::Sha384);
        assert_eq!(hash::digest(digest, &[&flow.request]).as_ref(), response.request_hash);
        if response.cipher != 0 {
            flow.cipher = Some(Cipher::from_nid(response.cipher).expect("checked by the decoder"));
            self.count("encrypted flows");
        }
        if !response.certificate.is_empty() {
            self.count("certificates");
        }
    }

    fn data(&mut self, udp: &Udp, index: usize, payload: &[u8]) {
        let flow = &self.flows[index];
        let responder = flow.responder.expect("data flows once the flow is accepted");
        assert!([(flow.requester, responder), (responder, flow.requester)].contains(&(udp.src.0, udp.dst.0)));
        let qos = flow.qos;
        if payload.is_empty() {
            return self.count("keepalives");
        }
        assert!(!qos.has_crc(), "no capture has a CRC");
        let Some(cipher) = flow.cipher else {
            return self.packet(&qos, payload);
        };
        let key = flow.key.unwrap_or_else(|| self.key_of(index, cipher, payload));
        let clear = sealed::open(cipher, key, payload).expect("no capture has a forged packet");
        self.count("encrypted packets");
        self.packet(&qos, &clear);
    }

    /// Finds the key of an encrypted flow by its first packet.
    fn key_of(&mut self, index: usize, cipher: Cipher, payload: &[u8]) -> [u8; 32] {
        let opens = |key: &[u8; 32]| sealed::open(cipher, *key, payload).is_some();
        let key = self.keys.remove(self.keys.iter().position(opens).expect("the key was logged"));
        self.flows[index].key = Some(key);
        key
    }

    /// A packet of a flow, in the clear.
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
