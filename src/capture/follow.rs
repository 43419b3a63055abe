//! Following what a capture shows: which flow each packet belongs to, and what is in it, as deep as it goes.

mod flows;
mod followed;
mod ip;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use self::flows::{Component, Flow, Flows, Node, Request, Scope, above};
pub use self::followed::Followed;
use self::ip::Fragments;
use super::keys::KeyLog;
use crate::crypto::protect::ROTATION_BIT;
use crate::types::layer::LayerKind;
use crate::types::qos::QosSpec;
use crate::wire::dissect::{Dissector, Fields, Protocol};
use crate::wire::{cep, dt, enroll, eth, fa, frct, pcapng, udp};

/// Layers on top of each other, as deep as they are followed.
const MAX_DEPTH: Scope = 16;
/// Flows of stacks that are remembered at most, of captures of flows.
const MAX_SHOWN: usize = 1 << 16;
/// Bytes that encryption adds: initialisation vector and tag.
const SEALED: usize = 28;
const UDP: Scope = 0;
const ETHERNET: Scope = 1;

/// Follows the packets of a capture.
///
/// It is given them in the order in which they were captured, and remembers what requests and replies say: which EIDs are a
/// flow's, whether its packets have an FRCT header, a checksum, encryption, and which flows carry another layer.
///
/// ```
/// use o7s::capture::{CaptureConfig, Follower, Reader};
///
/// # fn show(file: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let mut reader = Reader::new(file)?;
/// let mut follower = Follower::default();
/// while let Some(packet) = reader.packet()? {
///     follower.add_keys(&reader.take_secrets());
///     println!("{}", follower.follow(packet.link, &packet.data));
/// }
/// # Ok(())
/// # }
/// ```
pub struct Follower {
    dissector: Dissector,
    ports: Vec<u16>,
    ethertype: u16,
    keys: KeyLog,
    rotation_bit: u32,
    fragments: Fragments,
    flows: Flows,
    /// Of captures of flows: by their numbers.
    shown: BTreeMap<u64, Flow>,
    /// Parameters of the layers for which an enrollment was seen.
    layers: BTreeMap<Scope, Dissector>,
}

impl Default for Follower {
    /// For layers with the defaults: UDP port 3435, EtherType 0xA000, names hashed by SHA3-256, addresses of 4 bytes.
    fn default() -> Self {
        Self {
            dissector: Dissector::default(),
            ports: vec![udp::DEFAULT_PORT],
            ethertype: eth::DEFAULT_ETHERTYPE,
            keys: KeyLog::default(),
            rotation_bit: ROTATION_BIT,
            fragments: Fragments::default(),
            flows: Flows::default(),
            shown: BTreeMap::new(),
            layers: BTreeMap::new(),
        }
    }
}

impl Follower {
    /// Sets how layers hash names, and how long addresses are, as far as no enrollment says so. Default: SHA3-256, 4 bytes.
    #[must_use]
    pub fn dissector(mut self, dissector: Dissector) -> Self {
        self.dissector = dissector;
        self
    }

    /// Sets the UDP ports of layers. Datagrams of other ports are looked at, too, if they are of a flow whose request was
    /// seen. Default: 3435.
    #[must_use]
    pub fn ports(mut self, ports: &[u16]) -> Self {
        self.ports = ports.to_vec();
        self
    }

    /// Sets the EtherType of layers. Default: 0xA000.
    #[must_use]
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = ethertype;
        self
    }

    /// Adds keys of encrypted flows: lines of a [key log](super#key-logs).
    pub fn add_keys(&mut self, log: &str) {
        self.keys.add(log);
    }

    /// Has keys change every 2^`bit` packets: for captures of hosts that were built so.
    #[doc(hidden)]
    #[must_use]
    pub fn rotation_bit(mut self, bit: u32) -> Self {
        self.rotation_bit = bit;
        self
    }

    /// Decodes the next packet of the capture, which is of this link type: 1, 101, 228, 229 or 147. Others are not known.
    pub fn follow(&mut self, link: u16, packet: &[u8]) -> Followed {
        let mut found = Followed::default();
        match link {
            pcapng::LINK_ETHERNET => self.frame(&mut found, packet),
            pcapng::LINK_RAW | 228 | 229 => self.ip(&mut found, packet),
            pcapng::LINK_FLOW => self.shown(&mut found, packet),
            _ => {}
        }
        found
    }

    fn frame(&mut self, found: &mut Followed, frame: &[u8]) {
        const TAGS: [u16; 2] = [0x8100, 0x88a8];
        let kind = |frame: &[u8]| frame.get(12..)?.first_chunk().map(|kind| u16::from_be_bytes(*kind));
        let mut behind = frame.get(12..).unwrap_or_default();
        while let Some((&[a, b, _, _], rest)) = behind.split_first_chunk()
            && TAGS.contains(&u16::from_be_bytes([a, b]))
        {
            behind = rest;
        }
        let untagged = [frame.get(..12).unwrap_or(frame), behind].concat();
        match kind(&untagged) {
            Some(0x0800 | 0x86dd) => self.ip(found, untagged.get(14..).unwrap_or_default()),
            Some(kind) if kind == self.ethertype || kind < eth::MIN_ETHERTYPE => self.ethernet(found, &untagged),
            _ => {}
        }
    }

    fn ip(&mut self, found: &mut Followed, packet: &[u8]) {
        let Some(datagram) = self.fragments.take(packet) else { return };
        let (src, dst) = (datagram.src, datagram.dst);
        let configured = self.ports.contains(&src.port()) || self.ports.contains(&dst.port());
        if configured || self.is_ours(dst, &datagram.payload) {
            found.say(format!("{src} > {dst}"));
            self.udp(found, src, dst, &datagram.payload);
        }
    }

    /// Returns `true` if a datagram of any port is one of a layer: a message about a flow, or a packet of one that was asked
    /// for.
    fn is_ours(&mut self, dst: SocketAddr, payload: &[u8]) -> bool {
        match udp::split_eid(payload) {
            Ok((udp::MGMT_EID, _)) => udp::Raw::parse(payload).is_ok_and(|raw| raw.is_canonical()),
            Ok((eid, _)) => self.flows.end(UDP, Node::Socket(dst), eid.into()).is_some(),
            Err(_) => false,
        }
    }

    fn udp(&mut self, found: &mut Followed, src: SocketAddr, dst: SocketAddr, bytes: &[u8]) {
        let (from, to) = (Node::Socket(src), Node::Socket(dst));
        let message = udp::Datagram::parse(bytes);
        let digest = match &message {
            Ok(udp::Datagram::Mgmt(udp::Mgmt::Reply(reply))) => self.digest_of(UDP, to, reply.s_eid.into()),
            _ => None,
        };
        let Ok(dissection) = self.dissector.digest(digest).dissect(Protocol::Udp, bytes) else {
            return found.undecoded(bytes);
        };
        found.take(&dissection);
        match message {
            Ok(udp::Datagram::Data { eid, payload }) => self.data(found, UDP, to, eid.into(), payload),
            Ok(udp::Datagram::Mgmt(udp::Mgmt::Request(m))) => {
                let (qos, data) = (m.qos, m.data);
                let request = Request { requester: from, s_eid: m.s_eid.into(), asked: None, qos, data };
                self.request(found, UDP, &request);
            }
            Ok(udp::Datagram::Mgmt(udp::Mgmt::Reply(m))) => {
                let to = (to, m.s_eid.into());
                self.reply(found, UDP, Some(from), m.d_eid.into(), to, (m.response, m.data));
            }
            Err(_) => {}
        }
    }

    fn ethernet(&mut self, found: &mut Followed, bytes: &[u8]) {
        let Ok(frame) = eth::Frame::parse(bytes) else { return };
        let eid = match frame.port {
            eth::Port::Dix { eid, .. } => eid,
            // Other protocols have other numbers.
            eth::Port::Llc { dsap, .. } if dsap == 0 || dsap > *eth::FLOW_SAPS.end() => return,
            eth::Port::Llc { dsap, .. } => dsap.into(),
        };
        let (from, to) = (Node::Interface(frame.src), Node::Interface(frame.dst));
        let alg = self.dissector.hash_alg();
        let message = frame.port.is_mgmt().then(|| eth::Mgmt::parse(frame.port.format(), alg, frame.payload));
        let digest = match &message {
            Some(Ok(eth::Mgmt::Reply(reply))) => self.digest_of(ETHERNET, to, reply.d_eid.into()),
            _ => None,
        };
        let Ok(dissection) = self.dissector.digest(digest).dissect(Protocol::Ethernet, bytes) else {
            return found.undecoded(frame.payload);
        };
        found.take(&dissection);
        match message {
            None => self.data(found, ETHERNET, to, eid.into(), frame.payload),
            Some(Ok(eth::Mgmt::Request(m))) => {
                let (qos, data) = (m.qos, m.data);
                let request = Request { requester: from, s_eid: m.s_eid.into(), asked: None, qos, data };
                self.request(found, ETHERNET, &request);
            }
            Some(Ok(eth::Mgmt::Reply(m))) => {
                let to = (to, m.d_eid.into());
                self.reply(found, ETHERNET, Some(from), m.s_eid.into(), to, (m.response, m.data));
            }
            Some(_) => {}
        }
    }

    /// The digest in the request of a reply that comes to this end.
    fn digest_of(&mut self, scope: Scope, node: Node, eid: u64) -> Option<u16> {
        self.flows.end(scope, node, eid).map(|(flow, _)| flow.digest)
    }

    fn request(&mut self, found: &mut Followed, scope: Scope, request: &Request<'_>) {
        if let Some(flow) = self.flows.request(scope, request) {
            found.flow(flow, None);
        }
    }

    fn reply(
        &mut self,
        found: &mut Followed,
        scope: Scope,
        from: Option<Node>,
        eid: u64,
        to: (Node, u64),
        (response, data): (i32, &[u8]),
    ) {
        let Some((flow, _)) = self.flows.end(scope, to.0, to.1) else { return };
        found.flow(flow, None);
        let from = from.or(flow.asked);
        if let Some(from) = from.filter(|_| response == 0) {
            self.flows.accept(scope, from, eid, to, data);
        }
    }

    /// A packet for what `node` calls `eid`.
    fn data(&mut self, found: &mut Followed, scope: Scope, node: Node, eid: u64, payload: &[u8]) {
        let Some((flow, to_requester)) = self.flows.end(scope, node, eid) else { return found.rest(payload) };
        found.flow(flow, Some(to_requester));
        let packet = without_checksum(found, flow, payload);
        if packet.is_empty() {
            return found.say("keepalive".into());
        }
        // What the ends say to each other is found out by its token, where that is known.
        let by_shape = !flow.knows_tokens();
        if flow.cipher.is_none() {
            let component = inner(found, flow, Some(to_requester), packet);
            return self.component(found, scope, component, packet, by_shape);
        }
        let opened = flow.open(&self.keys, self.rotation_bit, to_requester, packet);
        found.sealed(packet, opened.is_some());
        if let Some(clear) = opened {
            let component = inner(found, flow, Some(to_requester), &clear);
            self.component(found, scope, component, &clear, by_shape);
        }
    }

    /// A packet of a member's component, on a flow of the layer `scope`. `by_shape`: notices and probes are known by nothing
    /// else.
    fn component(&mut self, found: &mut Followed, scope: Scope, component: Inner, packet: &[u8], by_shape: bool) {
        if let Inner::Component(component) = component
            && by_shape
            && may_be_said(packet)
            && self.is_nothing_else(scope, component, packet)
        {
            return found.said("notice or probe", packet.len());
        }
        let protocol = match component {
            Inner::Done => return,
            Inner::Component(Component::Broadcast) => return found.rest(packet),
            Inner::Component(Component::DataTransfer) => return self.data_transfer(found, above(scope), packet),
            Inner::Component(Component::Enrollment) => Protocol::Enrollment,
            Inner::Component(Component::Management) => Protocol::LinkState,
        };
        let Ok(dissection) = self.dissector.dissect(protocol, packet) else { return found.undecoded(packet) };
        found.take(&dissection);
        if protocol == Protocol::Enrollment
            && let Ok(response) = enroll::Response::decode(packet)
            && let enroll::Verdict::Granted(config) = response.verdict
        {
            let mut layer = self.dissector.hash(config.hash);
            if let LayerKind::Unicast(unicast) = &config.kind
                && let Ok(sizes) = dt::LayerSizes::of(unicast)
            {
                layer = layer.sizes(sizes);
            }
            self.layers.insert(above(scope), layer);
        }
    }

    /// Returns `true` if a packet is no message of a component, as far as that can be told without knowing more of the flow.
    fn is_nothing_else(&mut self, scope: Scope, component: Component, packet: &[u8]) -> bool {
        match component {
            Component::Enrollment | Component::Management => true,
            Component::Broadcast => false,
            Component::DataTransfer => {
                let scope = above(scope);
                let sizes = self.layers.get(&scope).unwrap_or(&self.dissector).layer_sizes();
                dt::Pci::parse(sizes, packet).is_ok_and(|(pci, _)| {
                    ![dt::FLOW_ALLOCATOR, dt::DIRECTORY].contains(&pci.eid)
                        && self.flows.end(scope, Node::Member(pci.dst), pci.eid.0).is_none()
                })
            }
        }
    }

    fn data_transfer(&mut self, found: &mut Followed, scope: Scope, packet: &[u8]) {
        let layer = *self.layers.get(&scope).unwrap_or(&self.dissector);
        let (alg, sizes) = (layer.hash_alg(), layer.layer_sizes());
        let Ok((pci, payload)) = dt::Pci::parse(sizes, packet) else { return found.undecoded(packet) };
        let to = Node::Member(pci.dst);
        let message = (pci.eid == dt::FLOW_ALLOCATOR).then(|| fa::Message::parse(alg, payload));
        let digest = match &message {
            Some(Ok(fa::Message::Reply(reply))) => self.digest_of(scope, to, reply.r_eid.0),
            _ => None,
        };
        let Ok(dissection) = layer.digest(digest).dissect(Protocol::DataTransfer, packet) else {
            return found.undecoded(packet);
        };
        found.take(&dissection);
        match message {
            Some(Ok(fa::Message::Request(m))) => {
                let (requester, s_eid) = (Node::Member(m.s_addr), m.s_eid.0);
                self.request(found, scope, &Request { requester, s_eid, asked: Some(to), qos: m.qos, data: m.data });
            }
            Some(Ok(fa::Message::Reply(m))) => {
                self.reply(found, scope, None, m.s_eid.0, (to, m.r_eid.0), (m.response, m.data));
            }
            Some(_) => {}
            None if pci.eid == dt::DIRECTORY => {}
            None if scope >= MAX_DEPTH => found.rest(payload),
            None => self.data(found, scope, to, pci.eid.0, payload),
        }
    }

    /// A packet of a flow, from a capture of flows.
    fn shown(&mut self, found: &mut Followed, packet: &[u8]) {
        let Ok((head, packet)) = pcapng::Flow::parse(packet) else { return found.undecoded(packet) };
        let mut fields = Fields(&mut found.fields);
        fields.number("o7s.capture.flow", head.flow);
        fields.number("o7s.capture.flags", head.flags());
        found.say(format!("flow {} {}", head.flow, if head.sent { "sent" } else { "received" }));
        if head.sealed {
            return found.rest(packet);
        }
        if self.shown.len() >= MAX_SHOWN {
            self.shown.clear();
        }
        let qos = QosSpec { in_order: head.frct, loss: u32::from(!head.reliable), ..QosSpec::RAW };
        let flow = self.shown.entry(head.flow).or_insert_with(|| Flow::unasked(head.flow, qos));
        let component = inner(found, flow, None, packet);
        // The layers of one stack, whatever they are on top of.
        self.component(found, UDP, component, packet, true);
    }
}

/// Returns `true` if a packet is as long as what the ends of a flow without FRCT say to each other, and says such a thing: of
/// flows whose request was not seen, there is nothing else to tell it by.
fn may_be_said(packet: &[u8]) -> bool {
    match packet {
        [.., last] if packet.len() == 17 => *last <= 3,
        [1 | 2, ..] => packet.len() == 25,
        _ => false,
    }
}

/// The part of a packet still to be decoded.
enum Inner {
    Done,
    Component(Component),
}

/// Takes off the checksum, if the packet has one.
fn without_checksum<'a>(found: &mut Followed, flow: &Flow, packet: &'a [u8]) -> &'a [u8] {
    let sealed = if flow.cipher.is_some() { SEALED } else { 0 };
    // The reference sends FRCT's own packets without. They are too short to have one.
    let bare = flow.qos.has_frct() && packet.len() == frct::Pci::LEN + sealed;
    match packet.split_last_chunk::<4>() {
        Some((packet, crc)) if flow.qos.has_crc() && !bare => {
            Fields(&mut found.fields).number("o7s.crc", u32::from_be_bytes(*crc));
            packet
        }
        _ => packet,
    }
}

/// The payload of a flow, in the clear, to one of its ends if that is known.
fn inner(found: &mut Followed, flow: &mut Flow, to_requester: Option<bool>, packet: &[u8]) -> Inner {
    if packet.is_empty() {
        found.say("keepalive".into());
        return Inner::Done;
    }
    let dissector = Dissector::default();
    if flow.qos.has_frct() {
        match dissector.dissect(Protocol::Frct, packet) {
            Ok(dissection) => {
                found.take(&dissection);
                found.rest(dissection.payload());
            }
            Err(_) => found.undecoded(packet),
        }
        return Inner::Done;
    }
    if let Some(said) = to_requester.and_then(|to_requester| flow.said(to_requester, packet)) {
        found.said(said, packet.len());
        return Inner::Done;
    }
    let message = cep::Message::decode(packet).ok();
    let message = message.filter(|message| message.is_refusal() || Component::of(message).is_some());
    let Some(message) = message else {
        return flow.component.map_or_else(
            || {
                found.rest(packet);
                Inner::Done
            },
            Inner::Component,
        );
    };
    if let Some(component) = Component::of(&message) {
        flow.component = Some(component);
    }
    if let Ok(dissection) = dissector.dissect(Protocol::Connection, packet) {
        found.take(&dissection);
    }
    Inner::Done
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("ports", &self.ports).field("keys", &self.keys).finish_non_exhaustive()
    }
}
