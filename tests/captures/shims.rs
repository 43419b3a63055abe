//! The messages of a shim about flows.

use std::net::Ipv4Addr;

use o7s::types::name::HashAlg;
use o7s::wire::eth::{self, Frame, Mac, Port};
use o7s::wire::udp::{DEFAULT_PORT, Datagram, Mgmt, Raw};

use crate::ethernet::{self, Udp};
use crate::flows::{Flows, Node};

/// Frames of the shim over UDP.
pub(crate) fn udp(frames: &[Vec<u8>], flows: &mut Flows) {
    for udp in ethernet::datagrams(frames) {
        datagram(&udp, flows);
    }
}

fn datagram(udp: &Udp, flows: &mut Flows) {
    assert_eq!((udp.src.1, udp.dst.1), (DEFAULT_PORT, DEFAULT_PORT));
    let datagram = Datagram::parse(&udp.payload).unwrap();
    let mut again = Vec::new();
    datagram.emit(&mut again);
    assert_eq!(again, udp.payload, "{datagram}");
    let node = |ip: Ipv4Addr| Node::from(u32::from(ip));
    let (src, dst) = (node(udp.src.0), node(udp.dst.0));
    let Datagram::Mgmt(message) = datagram else {
        let Datagram::Data { eid, payload } = datagram else { unreachable!("there are two kinds") };
        return flows.data(Some(src), dst, eid.into(), payload);
    };
    assert!(Raw::parse(&udp.payload).unwrap().is_canonical());
    match message {
        Mgmt::Request(request) => flows.request(src, request.s_eid.into(), request.qos, &request.dst, request.data),
        Mgmt::Reply(reply) => {
            assert_eq!(reply.response, 0, "no capture has a refusal");
            flows.reply(src, reply.d_eid.into(), dst, reply.s_eid.into(), reply.data);
        }
    }
}

/// Frames of the shims over Ethernet.
pub(crate) fn eth(frames: &[Vec<u8>], flows: &mut Flows) {
    for bytes in frames {
        let frame = Frame::parse(bytes).unwrap();
        let (whole, padding) = bytes.split_at(frame.encoded_len());
        assert_eq!(frame.to_vec().unwrap(), whole, "{frame}");
        assert!(padding.iter().all(|byte| *byte == 0), "{frame}");
        let (src, dst) = (node(frame.src), node(frame.dst));
        match frame.port {
            port if port.is_mgmt() => management(&frame, flows),
            Port::Dix { ethertype, eid } => {
                assert_eq!(ethertype, eth::DEFAULT_ETHERTYPE);
                flows.data(Some(src), dst, eid.into(), frame.payload);
            }
            Port::Llc { dsap, .. } => flows.data(Some(src), dst, dsap.into(), frame.payload),
        }
    }
}

fn node(mac: Mac) -> Node {
    mac.0.iter().fold(0, |number, byte| number << 8 | Node::from(*byte))
}

fn management(frame: &Frame<'_>, flows: &mut Flows) {
    let (format, alg) = (frame.port.format(), HashAlg::Sha3_256);
    let raw = eth::Raw::parse(format, frame.payload).unwrap();
    assert!(raw.is_canonical(alg));
    let message = raw.message(alg).unwrap();
    assert_eq!(message.to_vec(format).unwrap(), frame.payload, "{message}");
    assert_eq!(frame.dst == Mac::BROADCAST, matches!(message, eth::Mgmt::Query(_)));
    let (src, dst) = (node(frame.src), node(frame.dst));
    match message {
        eth::Mgmt::Query(_) => flows.count("name queries"),
        eth::Mgmt::Answer(_) => flows.count("name answers"),
        eth::Mgmt::Request(request) => {
            flows.request(src, request.s_eid.into(), request.qos, &request.dst, request.data);
        }
        // Accepted before the reference had noted who asked.
        eth::Mgmt::Reply(reply) if reply.d_eid == u16::MAX => {
            assert_eq!(frame.dst, Mac([0; 6]));
            flows.count("replies to nobody");
        }
        eth::Mgmt::Reply(reply) if reply.response != 0 => {
            assert_eq!((reply.response, reply.data), (-1009, &[][..]));
            flows.count("refusals");
        }
        eth::Mgmt::Reply(reply) => {
            flows.reply(src, reply.s_eid.into(), dst, reply.d_eid.into(), reply.data);
        }
    }
}
