//! The flows that a capture shows: from their requests on.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::super::keys::{KeyLog, Logged, is_same_request};
use crate::base::buf::PacketBuf;
use crate::crypto::SessionKey;
use crate::crypto::backend::Backend;
use crate::crypto::protect::{Protection, Side};
use crate::crypto::suite::Cipher;
use crate::types::id::Address;
use crate::types::mac::Mac;
use crate::types::qos::QosSpec;
use crate::wire::cep;
use crate::wire::oap::{self, ID_LEN};

/// Flows that are remembered at most; further ones are not followed.
const MAX_FLOWS: usize = 1 << 17;
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
    /// Whom the requester has asked, where replies do not say who they are from.
    pub(super) asked: Option<Node>,
    pub(super) qos: QosSpec,
    id: [u8; ID_LEN],
    pub(super) digest: u16,
    pub(super) cipher: Option<Cipher>,
    /// Openers of the packets: to the responder, and to the requester.
    openers: Option<Box<[Protection; 2]>>,
    tries: u8,
    /// If it is between two members of a layer.
    pub(super) component: Option<Component>,
}

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
            component: None,
        }
    }

    /// The content of a packet; `None` if no key opens it.
    pub(super) fn open(&mut self, keys: &KeyLog, bit: u32, to_requester: bool, packet: &[u8]) -> Option<PacketBuf> {
        let cipher = self.cipher.filter(|cipher| cipher.is_available())?;
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

/// All flows so far.
#[derive(Default)]
pub(super) struct Flows {
    flows: Vec<Flow>,
    /// Which flow a node means by a number of its own. Numbers are used again.
    ends: BTreeMap<(Scope, Node, u64), usize>,
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
    /// The flow of which a node is an end, and whether it is the requester.
    pub(super) fn end(&mut self, scope: Scope, node: Node, eid: u64) -> Option<(&mut Flow, bool)> {
        let flow = self.flows.get_mut(*self.ends.get(&(scope, node, eid))?)?;
        let to_requester = flow.requester == node && flow.s_eid == eid;
        Some((flow, to_requester))
    }

    /// A flow is asked for, perhaps once more.
    pub(super) fn request(&mut self, scope: Scope, request: &Request<'_>) -> Option<&Flow> {
        let oap = oap::Message::parse_request(request.data).ok();
        let (id, digest) = oap.map_or(([0; ID_LEN], 0), |oap| (oap.id, oap.digest));
        let key = (scope, request.requester, request.s_eid);
        let before = self.ends.get(&key).copied();
        let again = before.filter(|at| self.flows.get(*at).is_some_and(|flow| is_same_request(&flow.id, &id)));
        if let Some(at) = again {
            let flow = self.flows.get_mut(at)?;
            flow.digest = digest;
            return Some(flow);
        }
        if self.flows.len() >= MAX_FLOWS {
            return None;
        }
        self.ends.insert(key, self.flows.len());
        self.flows.push(Flow {
            requester: request.requester,
            s_eid: request.s_eid,
            asked: request.asked,
            id,
            digest,
            ..Flow::unasked(self.flows.len() as u64 + 1, request.qos)
        });
        self.flows.last()
    }

    /// A request is accepted: `from`, which calls the flow `eid`, answers `to`, which calls it `s_eid`.
    pub(super) fn accept(&mut self, scope: Scope, from: Node, eid: u64, to: (Node, u64), data: &[u8]) {
        let Some(&at) = self.ends.get(&(scope, to.0, to.1)) else { return };
        let Some(flow) = self.flows.get_mut(at) else { return };
        if let Ok(oap) = oap::Message::parse_response(data, flow.digest) {
            flow.cipher = Cipher::from_nid(oap.cipher);
        }
        self.ends.insert((scope, from, eid), at);
    }
}
