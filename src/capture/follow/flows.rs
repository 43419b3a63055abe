//! The flows that a capture shows: from their requests on.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::super::keys::{KeyLog, Logged, is_same_request};
use crate::base::buf::PacketBuf;
use crate::crypto::SessionKey;
use crate::crypto::backend::Backend;
use crate::crypto::protect::{Protection, Side};
use crate::crypto::suite::Cipher;
use crate::oap::{Peering, TOKEN_LEN, Tokens};
use crate::types::id::Address;
use crate::types::mac::Mac;
use crate::types::qos::QosSpec;
use crate::wire::cep;
use crate::wire::oap::{self as wire, ID_LEN};

/// Flows that are remembered at most; the oldest is forgotten for a further one.
const MAX_FLOWS: usize = 1 << 17;
/// The notices of flows without FRCT, by their last byte, behind a token.
const NOTICES: [&str; 4] = ["notice: writes no more", "notice: closed", "notice: given up", "notice: heard"];
/// What asks whether a peer has moved, from 1 on, and the answer; in front of the proof, with a number.
const PROBES: [&str; 2] = ["probe of a path", "answer to a probe"];
const PROBED: usize = 1 + size_of::<u64>();
/// Packets of a flow that are tried with keys which may not be its own.
const TRIES: u8 = 16;

/// The owner of a flow: a socket, an interface, a member of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Socket(SocketAddr),
    Interface(Mac),
    Member(Address),
}

/// A layer: 0 is that of UDP, 1 that of Ethernet, and what is on top of a layer is 2 more.
pub(super) type Scope = u32;

/// The scope of the layers on top of another; those that share one are told apart by their members' addresses.
pub(super) fn above(scope: Scope) -> Scope {
    scope.saturating_add(2)
}

/// A component of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    Enrollment,
    Management,
    DataTransfer,
    Broadcast,
}

impl Component {
    /// Which one a message connects to; `None` for none that is known. A refusal is of none.
    pub(super) fn of(message: &cep::Message) -> Option<Self> {
        match (message.component.as_str(), message.protocol.as_str()) {
            ("Enrollment", _) => Some(Self::Enrollment),
            ("Management", _) => Some(Self::Management),
            ("Data Transfer", "") => Some(Self::Broadcast),
            ("Data Transfer", _) => Some(Self::DataTransfer),
            _ => None,
        }
    }
}

/// A flow.
pub(super) struct Flow {
    /// Numbers are given in the order of the requests, from 1 on.
    pub(super) number: u64,
    requester: Node,
    s_eid: u64,
    /// The node that was asked, where replies do not say who they are from.
    pub(super) asked: Option<Node>,
    pub(super) qos: QosSpec,
    id: [u8; ID_LEN],
    pub(super) digest: u16,
    pub(super) cipher: Option<Cipher>,
    /// Openers of the packets: to the responder, and to the requester.
    openers: Option<Box<[Protection; 2]>>,
    tries: u8,
    /// Its ends' common knowledge, by which what they say to each other themselves is told from data.
    peering: Option<Peering>,
    /// If it is between two members of a layer.
    pub(super) component: Option<Component>,
    /// The keys of its ends: of the requester, and of the responder.
    keys: [Option<EndKey>; 2],
}

/// A node's own number of a flow, in its layer.
type EndKey = (Scope, Node, u64);

impl Flow {
    /// A flow without a request.
    pub(super) fn unasked(number: u64, qos: QosSpec) -> Self {
        Self {
            number,
            requester: Node::Member(Address(0)),
            s_eid: 0,
            asked: None,
            qos,
            id: [0; ID_LEN],
            digest: 0,
            cipher: None,
            openers: None,
            tries: 0,
            peering: None,
            component: None,
            keys: [None; 2],
        }
    }

    /// Returns `true` if notices and probes can be told by their tokens.
    pub(super) fn knows_tokens(&self) -> bool {
        self.peering.is_some()
    }

    /// What one end says to the other in a packet of a flow without FRCT, if that is not data: how it ends, or whether the
    /// other end has moved.
    pub(super) fn said(&self, to_requester: bool, packet: &[u8]) -> Option<&'static str> {
        let peering = self.peering.as_ref()?;
        if let Some((byte, token)) = packet.split_last().filter(|_| packet.len() == TOKEN_LEN + 1) {
            let Tokens { own, peer } = peering.tokens();
            return if token == if to_requester { peer } else { own } {
                NOTICES.get(usize::from(*byte)).copied()
            } else {
                None
            };
        }
        let (&[kind, number @ ..], proof) = packet.split_first_chunk::<PROBED>()?;
        let of = if to_requester { Side::Server } else { Side::Client };
        let said = *PROBES.get(usize::from(kind).checked_sub(1)?)?;
        (*proof == peering.proof(of, kind, u64::from_be_bytes(number))).then_some(said)
    }

    /// The content of a packet; `None` if no key opens it.
    pub(super) fn open(&mut self, keys: &KeyLog, bit: u32, to_requester: bool, packet: &[u8]) -> Option<PacketBuf> {
        // Without authentication nobody could tell whether it was opened.
        let cipher = self.cipher.filter(|cipher| cipher.is_aead())?;
        if self.openers.is_none() && self.tries < TRIES {
            self.tries += 1;
            for mut openers in keys.of_flow(&self.id).filter_map(|logged| openers(cipher, logged, bit)) {
                if let Some(clear) = open(&mut openers, to_requester, packet) {
                    self.openers = Some(openers);
                    return Some(clear);
                }
            }
        }
        open(self.openers.as_mut()?, to_requester, packet)
    }
}

/// Openers of the packets of a flow with this key, to the responder and to the requester.
fn openers(cipher: Cipher, logged: &Logged, bit: u32) -> Option<Box<[Protection; 2]>> {
    let key = || SessionKey::from_bytes(*logged.key);
    let of = |side| {
        let made = if logged.o7s_peer {
            Protection::between_peers(Backend::preferred(), cipher, key(), side)
        } else {
            Protection::new(cipher, key())
        };
        made.ok().map(|protection| protection.with_rotation_bit(bit))
    };
    Some(Box::new([of(Side::Server)?, of(Side::Client)?]))
}

fn open(openers: &mut [Protection; 2], to_requester: bool, packet: &[u8]) -> Option<PacketBuf> {
    let [to_responder, back] = openers;
    let opener = if to_requester { back } else { to_responder };
    let mut clear = PacketBuf::copy_of(packet);
    opener.open(&mut clear).ok().map(|()| clear)
}

/// The flows of a capture, as many as are remembered.
pub(super) struct Flows {
    flows: VecDeque<Flow>,
    limit: usize,
    /// Number of the first one; others follow.
    first: u64,
    /// Which flow a node means by a number of its own. Numbers are used again. Each flow has two at most.
    ends: BTreeMap<EndKey, u64>,
}

impl Default for Flows {
    fn default() -> Self {
        Self::with_limit(MAX_FLOWS)
    }
}

/// A request for a flow.
pub(super) struct Request<'a> {
    pub(super) requester: Node,
    pub(super) s_eid: u64,
    pub(super) asked: Option<Node>,
    pub(super) qos: QosSpec,
    /// The security header.
    pub(super) data: &'a [u8],
}

impl Flows {
    fn with_limit(limit: usize) -> Self {
        Self { flows: VecDeque::new(), limit, first: 1, ends: BTreeMap::new() }
    }

    fn of(&mut self, number: u64) -> Option<&mut Flow> {
        self.flows.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The flow of which a node is an end, and whether it is the requester.
    pub(super) fn end(&mut self, scope: Scope, node: Node, eid: u64) -> Option<(&mut Flow, bool)> {
        let number = *self.ends.get(&(scope, node, eid))?;
        let flow = self.of(number)?;
        let to_requester = flow.requester == node && flow.s_eid == eid;
        Some((flow, to_requester))
    }

    /// A flow is asked for, perhaps once more.
    pub(super) fn request(&mut self, scope: Scope, request: &Request<'_>) -> Option<&Flow> {
        let oap = wire::Message::parse_request(request.data).ok();
        let (id, digest) = oap.map_or(([0; ID_LEN], 0), |oap| (oap.id, oap.digest));
        let key = (scope, request.requester, request.s_eid);
        let before = self.ends.get(&key).copied();
        if let Some(flow) = before.and_then(|number| self.of(number)).filter(|flow| is_same_request(&flow.id, &id)) {
            flow.digest = digest;
            let number = flow.number;
            return self.of(number).map(|flow| &*flow);
        }
        if self.flows.len() >= self.limit {
            self.forget_first();
        }
        let number = self.first + self.flows.len() as u64;
        self.ends.insert(key, number);
        self.flows.push_back(Flow {
            requester: request.requester,
            s_eid: request.s_eid,
            asked: request.asked,
            id,
            digest,
            keys: [Some(key), None],
            ..Flow::unasked(number, request.qos)
        });
        self.flows.back()
    }

    /// A request is accepted: `from`, which calls the flow `eid`, answers `to`, which calls it `s_eid`.
    pub(super) fn accept(&mut self, scope: Scope, from: Node, eid: u64, to: (Node, u64), data: &[u8]) {
        let Some(&number) = self.ends.get(&(scope, to.0, to.1)) else { return };
        let key = (scope, from, eid);
        let Some(flow) = self.of(number) else { return };
        if let Ok(oap) = wire::Message::parse_response(data, flow.digest) {
            flow.cipher = Cipher::from_nid(oap.cipher);
            let hash = Some(oap.request_hash).filter(|hash| !hash.is_empty());
            flow.peering = hash.map(|hash| Peering::new(Side::Client, 0, hash));
        }
        // To the requester's own number a reply adds nothing.
        if flow.keys.first() == Some(&Some(key)) {
            return;
        }
        let [_, responder] = &mut flow.keys;
        let before = responder.replace(key);
        if let Some(before) = before.filter(|before| *before != key) {
            self.forget_end(before, number);
        }
        self.ends.insert(key, number);
    }

    fn forget_end(&mut self, key: EndKey, number: u64) {
        if self.ends.get(&key) == Some(&number) {
            self.ends.remove(&key);
        }
    }

    fn forget_first(&mut self) {
        let Some(flow) = self.flows.pop_front() else { return };
        self.first += 1;
        for key in flow.keys.into_iter().flatten() {
            self.forget_end(key, flow.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100;

    fn node(n: u64) -> Node {
        Node::Member(Address(n))
    }

    fn request(flows: &mut Flows, requester: u64, s_eid: u64) -> u64 {
        let request = Request { requester: node(requester), s_eid, asked: None, qos: QosSpec::RAW, data: &[] };
        flows.request(0, &request).unwrap().number
    }

    #[test]
    fn a_flood_of_requests_and_replies_is_remembered_within_bounds_the_newest() {
        let mut flows = Flows::with_limit(LIMIT);
        for n in 0..10_000 {
            request(&mut flows, n, 1);
            flows.accept(0, node(1_000_000 + n), 7, (node(n), 1), &[]);
            assert!(flows.flows.len() <= LIMIT && flows.ends.len() <= 2 * LIMIT);
        }
        assert!(flows.end(0, node(1), 1).is_none() && flows.end(0, node(1_000_001), 7).is_none());
        let number = flows.end(0, node(9_999), 1).map(|(flow, to_requester)| (flow.number, to_requester));
        assert_eq!(number, Some((10_000, true)));
        let number = flows.end(0, node(1_009_950), 7).map(|(flow, to_requester)| (flow.number, to_requester));
        assert_eq!(number, Some((9_951, false)));
    }

    #[test]
    fn a_flood_of_replies_to_one_request_is_remembered_as_the_last() {
        let mut flows = Flows::with_limit(LIMIT);
        request(&mut flows, 1, 1);
        for n in 0..10_000 {
            flows.accept(0, node(2), n, (node(1), 1), &[]);
            assert!(flows.ends.len() <= 2);
        }
        assert!(flows.end(0, node(2), 9_999).is_some() && flows.end(0, node(2), 9_998).is_none());
    }

    #[test]
    fn a_number_that_is_used_again_is_not_forgotten_with_the_flow_before() {
        let mut flows = Flows::with_limit(2);
        let numbers: Vec<u64> = (0..5).map(|n| request(&mut flows, n / 2, 1)).collect();
        assert_eq!(numbers, [1, 1, 2, 2, 3], "repeated");
        flows.accept(0, node(2), 7, (node(1), 1), &[]);
        flows.accept(0, node(2), 7, (node(2), 1), &[]);
        request(&mut flows, 9, 1);
        assert_eq!(flows.end(0, node(2), 7).map(|(flow, _)| flow.number), Some(3));
    }
}
