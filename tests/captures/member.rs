//! The messages of two members of a layer on a flow of the layer below, and the layer that results.

use std::collections::BTreeMap;

use o7s::types::id::Eid;
use o7s::types::layer::{LayerConfig, LayerKind};
use o7s::types::name::HashAlg;
use o7s::wire::dht;
use o7s::wire::dt::{DIRECTORY, FLOW_ALLOCATOR, HeaderMut, LayerSizes, Pci};
use o7s::wire::enroll::{Ack, Request, Response, Verdict};
use o7s::wire::fa::{Message, Raw};
use o7s::wire::link_state::Lsu;
use o7s::wire::{WireError, cep};

use crate::flows::{Flows, Node, Tally};
use crate::sealed::Keys;

/// A unicast or broadcast layer on top of another.
pub(crate) struct Layer {
    flows: Flows,
    alg: HashAlg,
    /// Of a unicast layer: its sizes, and the ttl of its packets.
    unicast: Option<(LayerSizes, u8)>,
    /// Whom a member has asked for a flow with this EID: a reply does not say whose it is.
    asked: BTreeMap<(Node, u64), Node>,
}

/// What was said on a flow between members.
#[derive(Default)]
pub(crate) struct Conversation {
    question: Option<cep::Message>,
    answer: Option<cep::Message>,
}

/// Decodes, encodes again, and compares.
fn exact<M: ToString>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<M, WireError>,
    encode: impl Fn(&M) -> Result<Vec<u8>, WireError>,
) -> M {
    let message = decode(bytes).unwrap();
    assert_eq!(encode(&message).unwrap(), bytes, "{}", message.to_string());
    message
}

impl Conversation {
    /// Reads a packet, says what it was, and notes in `layer` what it means for the layer.
    pub(crate) fn packet(&mut self, to_requester: bool, packet: &[u8], layer: &mut Option<Box<Layer>>) -> &'static str {
        let (side, name) = match to_requester {
            false => (&mut self.question, "CEP questions"),
            true => (&mut self.answer, "CEP answers"),
        };
        if side.is_none() {
            *side = Some(exact(packet, cep::Message::decode, cep::Message::encode));
            self.agree();
            return name;
        }
        let Some(component) = &self.question else { unreachable!("the question comes first") };
        if component.component == cep::Message::enrollment().component {
            return enrollment(to_requester, packet, layer);
        }
        let layer = layer.as_mut().expect("members have been enrolled");
        match component.component.as_str() {
            "Management" => {
                exact(packet, Lsu::parse, |lsu| Ok(lsu.to_bytes().to_vec()));
                "link-state updates"
            }
            "Data Transfer" if *component == cep::Message::broadcast() => {
                assert!(layer.unicast.is_none());
                "broadcast packets"
            }
            "Data Transfer" => layer.packet(packet),
            other => panic!("a component {other:?}"),
        }
    }

    /// Both sides say the same component, and what the table says about it.
    fn agree(&self) {
        let Some(question) = &self.question else { panic!("the question comes first") };
        let known = [
            cep::Message::enrollment(),
            cep::Message::broadcast(),
            cep::Message::management(question.address),
            cep::Message::data_transfer(question.address),
        ];
        assert!(known.contains(question), "{question}");
        if let Some(answer) = &self.answer {
            assert_eq!((&question.component, question.agrees_with(answer)), (&answer.component, true));
            assert!(question.address.0 == 0 || question.address != answer.address);
        }
    }
}

fn enrollment(to_requester: bool, packet: &[u8], layer: &mut Option<Box<Layer>>) -> &'static str {
    if to_requester {
        let Verdict::Granted(config) = exact(packet, Response::decode, Response::encode).verdict else {
            panic!("no capture has a denial")
        };
        assert!(layer.replace(Box::new(Layer::new(&config))).is_none(), "a single one is enrolled");
        "enrollment responses"
    } else if layer.is_none() {
        exact(packet, Request::decode, Request::encode);
        "enrollment requests"
    } else {
        assert_eq!(exact(packet, Ack::decode, Ack::encode).result, 0);
        "enrollment acknowledgements"
    }
}

impl Layer {
    fn new(config: &LayerConfig) -> Self {
        let unicast = match &config.kind {
            LayerKind::Unicast(unicast) => Some((LayerSizes::of(unicast).unwrap(), unicast.max_ttl)),
            LayerKind::Broadcast => None,
        };
        Self { flows: Flows::new(Keys::default(), Vec::new()), alg: config.hash, unicast, asked: BTreeMap::new() }
    }

    pub(crate) fn finish(self) -> Tally {
        self.flows.finish()
    }

    /// A packet of data transfer.
    fn packet(&mut self, packet: &[u8]) -> &'static str {
        let (sizes, max_ttl) = self.unicast.expect("the layer is a unicast layer");
        let (pci, payload) = Pci::parse(sizes, packet).unwrap();
        assert_eq!((pci.qos, pci.ttl), (0, max_ttl), "from a neighbour: {pci}");
        let mut again = vec![0; sizes.header_len()];
        pci.emit(sizes, &mut again).unwrap();
        assert_eq!(again, packet[..again.len()], "{pci}");
        assert_eq!(HeaderMut::new(sizes, &mut again).unwrap().dst(), pci.dst);
        match pci.eid {
            FLOW_ALLOCATOR => self.allocation(pci.dst.0, payload),
            DIRECTORY => {
                let said = exact(payload, |bytes| dht::Message::decode(self.alg, bytes), dht::Message::encode);
                self.flows.count(match said.body {
                    dht::Body::Store { .. } => "directory: store",
                    dht::Body::FindNode { .. } => "directory: find node",
                    dht::Body::FoundNode { .. } => "directory: found node",
                    dht::Body::FindValue { .. } => "directory: find value",
                    dht::Body::FoundValue { .. } => "directory: found value",
                });
            }
            Eid(eid) => {
                assert!(!pci.eid.is_component(), "{pci}");
                self.flows.data(None, pci.dst.0, eid, payload);
            }
        }
        "packets of the layer"
    }

    /// A message for the flow allocator of the member `to`.
    fn allocation(&mut self, to: u64, bytes: &[u8]) {
        let message = Message::parse(self.alg, bytes).unwrap();
        assert_eq!(message.to_vec(), bytes, "{message}");
        assert!(Raw::parse(bytes).unwrap().is_canonical(self.alg));
        match message {
            Message::Request(request) => {
                let (from, eid) = (request.s_addr.0, request.s_eid.0);
                self.asked.insert((from, eid), to);
                self.flows.request(from, eid, request.qos, &request.dst, request.data);
            }
            Message::Reply(reply) => {
                assert_eq!(reply.response, 0, "no capture has a refusal");
                let from = self.asked[&(to, reply.r_eid.0)];
                self.flows.reply(from, reply.s_eid.0, to, reply.r_eid.0, reply.data);
            }
            Message::Update(_) => self.flows.count("congestion updates"),
        }
    }
}
