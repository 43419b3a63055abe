//! The fields of packets, by the names that the Wireshark dissector has for them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Age, Part};
use crate::types::layer::{CongestionAvoidance, LayerConfig, LayerKind};
use crate::types::qos::QosSpec;
use crate::wire::{cep, dht, dt, enroll, eth, frct, oap};

/// A field of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Its [name](super#fields).
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A number.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
}

impl fmt::Display for Value {
    /// Numbers in decimal, bytes in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Signed(n) => n.fmt(f),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Collects fields.
pub(crate) struct Fields<'a>(pub(crate) &'a mut Vec<Field>);

impl Fields<'_> {
    pub(crate) fn number(&mut self, name: &'static str, value: impl Into<u64>) {
        self.0.push(Field { name, value: Value::Number(value.into()) });
    }

    pub(crate) fn signed(&mut self, name: &'static str, value: impl Into<i64>) {
        self.0.push(Field { name, value: Value::Signed(value.into()) });
    }

    /// Bytes, unless there are none.
    pub(crate) fn bytes(&mut self, name: &'static str, value: &[u8]) {
        if !value.is_empty() {
            self.0.push(Field { name, value: Value::Bytes(value.to_vec()) });
        }
    }

    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        self.0.push(Field { name, value: Value::Text(value.into()) });
    }

    pub(crate) fn len(&mut self, name: &'static str, value: usize) {
        self.number(name, value as u64);
    }

    /// The fields of a header or message. Those of the shims' and the flow allocator's messages are collected where they are
    /// read, unused ones included.
    pub(super) fn part(&mut self, part: &Part<'_>) {
        match part {
            Part::Udp(_) | Part::EthernetMessage(_) | Part::FlowAllocator(_) => {}
            Part::Ethernet(frame) => self.frame(frame),
            Part::DataTransfer(pci) => self.data_transfer(pci),
            Part::Directory(message, extension) => self.directory(message, extension),
            Part::LinkState(update) => {
                self.number("o7s.lsu.dst", update.dst.0);
                self.number("o7s.lsu.src", update.src.0);
                self.number("o7s.lsu.seqno", update.seqno);
            }
            Part::Age(Age(age)) => self.number("o7s.lsu.age", age.as_millis() as u64),
            Part::Frct(pci) => self.frct(pci),
            Part::Sack(sack) => {
                for (first, end) in sack.blocks() {
                    self.number("o7s.frct.sack.first", first.0);
                    self.number("o7s.frct.sack.end", end.0);
                }
            }
            Part::End(reason) => self.number("o7s.frct.reason", *reason),
            Part::Padding(len) => self.len("o7s.frct.probe.padding", *len),
            Part::Connection(message) => self.connection(message),
            Part::EnrollmentRequest(message) => self.bytes("o7s.enroll.id", &message.id),
            Part::EnrollmentResponse(message) => self.response(message),
            Part::EnrollmentAck(message) => {
                self.bytes("o7s.enroll.id", &message.id);
                self.signed("o7s.enroll.result", message.result);
            }
            Part::Security(message) => self.security(message),
        }
    }

    fn frame(&mut self, frame: &eth::Frame<'_>) {
        match frame.port {
            eth::Port::Dix { eid, .. } => {
                self.number("o7s.eth.eid", eid);
                self.len("o7s.eth.length", frame.payload.len());
            }
            eth::Port::Llc { dsap, ssap } => {
                self.number("o7s.eth.dsap", dsap);
                self.number("o7s.eth.ssap", ssap);
            }
        }
    }

    fn data_transfer(&mut self, pci: &dt::Pci) {
        self.number("o7s.dt.dst", pci.dst.0);
        self.number("o7s.dt.qos", pci.qos);
        self.number("o7s.dt.ttl", pci.ttl);
        self.number("o7s.dt.ecn", pci.ecn);
        self.number("o7s.dt.eid", pci.eid.0);
    }

    fn directory(&mut self, message: &dht::Message, extension: &dht::Extension) {
        let code: u8 = match &message.body {
            dht::Body::Store { .. } => 0,
            dht::Body::FindNode { .. } => 1,
            dht::Body::FoundNode { .. } => 2,
            dht::Body::FindValue { .. } => 3,
            dht::Body::FoundValue { .. } => 4,
        };
        self.number("o7s.dht.code", code);
        self.bytes("o7s.dht.src.id", message.src.id.as_bytes());
        self.number("o7s.dht.src.addr", message.src.address.0);
        let none = (&[][..], &[][..]);
        let (contacts, values) = match &message.body {
            dht::Body::Store { key, value, expires } => {
                self.bytes("o7s.dht.key", key.as_bytes());
                self.number("o7s.dht.value", value.0);
                self.number("o7s.dht.expires", *expires);
                none
            }
            dht::Body::FindNode { cookie, key } | dht::Body::FindValue { cookie, key } => {
                self.number("o7s.dht.cookie", *cookie);
                self.bytes("o7s.dht.key", key.as_bytes());
                none
            }
            dht::Body::FoundNode { cookie, key, contacts } => {
                self.number("o7s.dht.cookie", *cookie);
                self.bytes("o7s.dht.key", key.as_bytes());
                (contacts.as_slice(), &[][..])
            }
            dht::Body::FoundValue { cookie, key, contacts, values } => {
                self.number("o7s.dht.cookie", *cookie);
                self.bytes("o7s.dht.key", key.as_bytes());
                (contacts.as_slice(), values.as_slice())
            }
        };
        for contact in contacts {
            self.bytes("o7s.dht.contact.id", contact.id.as_bytes());
            self.number("o7s.dht.contact.addr", contact.address.0);
        }
        values.iter().for_each(|value| self.number("o7s.dht.value", value.0));
        if extension.token.is_some() || extension.padding > 0 {
            self.number("o7s.dht.token", extension.token.unwrap_or(0));
            self.len("o7s.dht.padding", extension.padding);
        }
    }

    fn frct(&mut self, pci: &frct::Pci) {
        self.number("o7s.frct.flags", pci.flags.bits());
        for (flag, name) in FLAGS {
            self.number(name, u8::from(pci.flags.contains(flag)));
        }
        self.number("o7s.frct.window", pci.window);
        self.number("o7s.frct.seqno", pci.seqno.0);
        self.number("o7s.frct.ackno", pci.ackno.0);
        match pci.path() {
            Some(frct::PathPacket::Piece { offset, total }) => {
                self.number("o7s.frct.piece.offset", offset);
                self.number("o7s.frct.piece.total", total);
            }
            Some(frct::PathPacket::Probe(number)) => self.number("o7s.frct.probe", number.0),
            Some(frct::PathPacket::Answer(number)) => self.number("o7s.frct.probe.answer", number.0),
            None => {}
        }
    }

    fn connection(&mut self, message: &cep::Message) {
        self.text("o7s.cep.comp_name", &message.component);
        self.text("o7s.cep.protocol", &message.protocol);
        self.signed("o7s.cep.pref_version", message.version);
        message.versions.iter().for_each(|version| self.signed("o7s.cep.supp_version", *version));
        self.signed("o7s.cep.pref_syntax", message.syntax);
        self.number("o7s.cep.address", message.address.0);
    }

    fn response(&mut self, message: &enroll::Response) {
        self.bytes("o7s.enroll.id", &message.id);
        self.signed("o7s.enroll.t_sec", message.seconds);
        self.signed("o7s.enroll.t_nsec", message.nanoseconds);
        match &message.verdict {
            enroll::Verdict::Denied(code) => self.signed("o7s.enroll.response", *code),
            enroll::Verdict::Granted(config) => {
                self.signed("o7s.enroll.response", 0);
                self.configuration(config);
            }
        }
    }

    fn configuration(&mut self, config: &LayerConfig) {
        self.text("o7s.enroll.layer", config.name.as_str());
        self.number("o7s.enroll.hash_algo", config.hash.number());
        let LayerKind::Unicast(unicast) = &config.kind else { return self.number("o7s.enroll.ipcp_type", 2u8) };
        let (routing, directory) = (&unicast.routing, &unicast.directory);
        let cong_avoid: u8 = match unicast.congestion {
            CongestionAvoidance::None => 0,
            CongestionAvoidance::MbEcn => 1,
        };
        // Of the policies in between there is only one each, 0.
        for (name, value) in [
            ("o7s.enroll.ipcp_type", 1),
            ("o7s.enroll.addr_size", unicast.addr_size.into()),
            ("o7s.enroll.eid_size", unicast.eid_size.into()),
            ("o7s.enroll.max_ttl", unicast.max_ttl.into()),
            ("o7s.enroll.routing_pol", 0),
            ("o7s.enroll.ls_pol", routing.policy.number().into()),
            ("o7s.enroll.t_recalc", routing.t_recalc.into()),
            ("o7s.enroll.t_update", routing.t_update.into()),
            ("o7s.enroll.t_timeo", routing.t_timeo.into()),
            ("o7s.enroll.dir_pol", 0),
            ("o7s.enroll.alpha", directory.alpha.into()),
            ("o7s.enroll.k", directory.k.into()),
            ("o7s.enroll.t_expire", directory.t_expire.into()),
            ("o7s.enroll.t_refresh", directory.t_refresh.into()),
            ("o7s.enroll.t_replicate", directory.t_replicate.into()),
            ("o7s.enroll.peer", directory.peer.0),
            ("o7s.enroll.addr_auth", 0),
            ("o7s.enroll.cong_avoid", cong_avoid.into()),
        ] {
            self.number(name, value);
        }
    }

    fn security(&mut self, message: &oap::Message<'_>) {
        self.bytes("o7s.oap.id", &message.id);
        self.number("o7s.oap.timestamp", message.timestamp);
        self.number("o7s.oap.cipher", message.cipher);
        self.number("o7s.oap.kdf", message.kdf);
        self.number("o7s.oap.digest", message.digest);
        self.len("o7s.oap.certificate_len", message.certificate.len());
        self.number("o7s.oap.kex_format", u8::from(message.kex.raw));
        self.number("o7s.oap.kex_role", u8::from(message.kex.client_encapsulates));
        self.len("o7s.oap.kex_len", message.kex.bytes.len());
        self.len("o7s.oap.data_len", message.data.len());
        self.bytes("o7s.oap.certificate", message.certificate);
        self.bytes("o7s.oap.kex", message.kex.bytes);
        self.bytes("o7s.oap.data", message.data);
        self.bytes("o7s.oap.request_hash", message.request_hash);
        self.bytes("o7s.oap.signature", message.signature);
    }

    /// The QoS of a message, by the names of its fields: delay, bandwidth, availability, loss, ber, `max_gap`, timeout.
    pub(crate) fn qos(&mut self, qos: &QosSpec, names: [&'static str; 7]) {
        let [delay, bandwidth, availability, loss, ber, max_gap, timeout] = names;
        self.number(delay, qos.delay);
        self.number(bandwidth, qos.bandwidth);
        self.number(availability, qos.availability);
        self.number(loss, qos.loss);
        self.number(ber, qos.ber);
        self.number(max_gap, qos.max_gap);
        self.number(timeout, qos.timeout);
    }
}

const FLAGS: [(frct::Flags, &str); 8] = [
    (frct::Flags::DATA, "o7s.frct.flags.data"),
    (frct::Flags::DRF, "o7s.frct.flags.drf"),
    (frct::Flags::ACK, "o7s.frct.flags.ack"),
    (frct::Flags::FC, "o7s.frct.flags.fc"),
    (frct::Flags::RDVS, "o7s.frct.flags.rdvs"),
    (frct::Flags::FFGM, "o7s.frct.flags.ffgm"),
    (frct::Flags::MFGM, "o7s.frct.flags.mfgm"),
    (frct::Flags::END, "o7s.frct.flags.end"),
];
