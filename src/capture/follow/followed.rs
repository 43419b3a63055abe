//! Packets that were followed, as they are shown.

use std::fmt;

use super::flows::Flow;
use crate::wire::dissect::{Dissection, Field, Fields};

/// A packet that was followed.
///
/// `Display` prints it in one line, from its addresses inwards.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    parts: Vec<String>,
    pub(super) fields: Vec<Field>,
    payload: Vec<u8>,
}

impl Followed {
    /// Returns `true` if it is a packet of a layer.
    pub fn is_o7s(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Its fields, in their order, by the [names](crate::dissect#fields) that the Wireshark dissector has for them.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The payload of the flow, as far as it could be opened.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn say(&mut self, part: String) {
        self.parts.push(part);
    }

    pub(super) fn take(&mut self, dissection: &Dissection<'_>) {
        self.parts.push(dissection.headers().to_string());
        self.fields.extend_from_slice(dissection.fields());
    }

    /// Which flow it belongs to, and to which end it goes if it is a packet of it.
    pub(super) fn flow(&mut self, flow: &Flow, to_requester: Option<bool>) {
        let mut fields = Fields(&mut self.fields);
        fields.number("o7s.flow.number", flow.number);
        let qos = match (flow.qos.has_frct(), flow.qos.is_reliable()) {
            (false, _) => "raw",
            (true, false) => "ordered",
            (true, true) => "reliable",
        };
        fields.text("o7s.flow.qos", qos);
        if let Some(to_requester) = to_requester {
            fields.text("o7s.flow.to", if to_requester { "requester" } else { "responder" });
        }
        let number = flow.number;
        self.say(match to_requester {
            None => format!("flow {number} ({qos})"),
            Some(true) => format!("flow {number} ({qos}), to the requester"),
            Some(false) => format!("flow {number} ({qos}), to the responder"),
        });
    }

    pub(super) fn sealed(&mut self, packet: &[u8], opened: bool) {
        let Some((iv, rest)) = packet.split_first_chunk::<12>() else { return self.undecoded(packet) };
        let Some((sealed, tag)) = rest.split_last_chunk::<16>() else { return self.undecoded(packet) };
        let mut fields = Fields(&mut self.fields);
        fields.bytes("o7s.sealed.iv", iv);
        fields.len("o7s.sealed.length", sealed.len());
        fields.bytes("o7s.sealed.tag", tag);
        self.say(format!("{} {} bytes", if opened { "opened" } else { "sealed" }, sealed.len()));
    }

    /// Notes bytes that are not decoded any further.
    pub(super) fn rest(&mut self, payload: &[u8]) {
        if !payload.is_empty() {
            Fields(&mut self.fields).len("o7s.payload", payload.len());
            self.say(format!("{} bytes", payload.len()));
            self.payload = payload.to_vec();
        }
    }

    /// Notes what the ends of a flow say to each other, which is no data.
    pub(super) fn said(&mut self, what: &str, len: usize) {
        Fields(&mut self.fields).len("o7s.payload", len);
        self.say(what.into());
    }

    /// Notes bytes that cannot be decoded.
    pub(super) fn undecoded(&mut self, bytes: &[u8]) {
        Fields(&mut self.fields).len("o7s.undecoded", bytes.len());
        self.say(match bytes.len() {
            // A keepalive, for instance.
            0 => "empty".into(),
            n => format!("{n} bytes that are not understood"),
        });
    }
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for part in &self.parts {
            write!(f, "{separator}{part}")?;
            separator = " | ";
        }
        Ok(())
    }
}
