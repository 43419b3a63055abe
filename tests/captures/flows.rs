//! Follows the flows of a capture: decodes every datagram as deep as it goes, encodes it again, and counts.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use o7s::base::seq::Seq;
use o7s::types::qos::QosSpec;
use o7s::wire::frct::{Flags, Pci};
use o7s::wire::udp::{DEFAULT_PORT, Datagram, FlowReply, FlowRequest, Mgmt, Raw};

use crate::ethernet::Udp;

/// How often each kind of thing was seen.
pub(crate) type Tally = BTreeMap<&'static str, usize>;

/// A flow, from its request on.
struct Flow {
    requester: Ipv4Addr,
    responder: Option<Ipv4Addr>,
    qos: QosSpec,
}

/// The state of the capture so far.
#[derive(Default)]
pub(crate) struct Follower {
    flows: Vec<Flow>,
    /// Which flow a host means by an EID of its own. EIDs are used again.
    ends: BTreeMap<(Ipv4Addr, u32), usize>,
    tally: Tally,
}

impl Follower {
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
        self.tally
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn request(&mut self, udp: &Udp, request: &FlowRequest<'_>) {
        self.count("requests");
        assert_eq!(request.dst.as_bytes().len(), 16);
        self.ends.insert((udp.src.0, request.s_eid), self.flows.len());
        self.flows.push(Flow { requester: udp.src.0, responder: None, qos: request.qos });
    }

    fn reply(&mut self, udp: &Udp, reply: &FlowReply<'_>) {
        assert_eq!(reply.response, 0, "no capture has a refusal");
        self.count("replies");
        let index = *self.ends.get(&(udp.dst.0, reply.s_eid)).expect("a reply answers a request");
        let flow = &mut self.flows[index];
        assert_eq!((flow.requester, flow.responder), (udp.dst.0, None), "once");
        flow.responder = Some(udp.src.0);
        self.ends.insert((udp.src.0, reply.d_eid), index);
    }

    fn data(&mut self, udp: &Udp, index: usize, payload: &[u8]) {
        let flow = &self.flows[index];
        let responder = flow.responder.expect("data flows once the flow is accepted");
        assert!([(flow.requester, responder), (responder, flow.requester)].contains(&(udp.src.0, udp.dst.0)));
        let qos = flow.qos;
        if payload.is_empty() {
            return self.count("keepalives");
        }
        assert_ne!(qos.ber, 0, "no capture has a CRC");
        self.packet(&qos, payload);
    }

    /// A packet of a flow, in the clear.
    fn packet(&mut self, qos: &QosSpec, packet: &[u8]) {
        if !qos.in_order {
            return self.count("raw packets");
        }
        let pci = Pci::parse(packet).unwrap();
        let (header, payload) = packet.split_at(Pci::LEN);
        assert_eq!(pci.to_bytes(), header, "{pci}");
        let kind = kind(&pci, payload, qos.loss == 0).unwrap_or_else(|| panic!("unheard of: {pci}, {payload:?}"));
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
