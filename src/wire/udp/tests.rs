use proptest::prelude::*;

use super::*;
use crate::wire::testing::{blob, hex, qos};

/// MD5 of `oping`.
const OPING: [u8; 16] =
    [0x78, 0x62, 0xc6, 0xfe, 0xc5, 0xec, 0xae, 0xf4, 0xaa, 0x2e, 0x39, 0x34, 0x72, 0x5e, 0x23, 0xb3];

fn request(data: &[u8]) -> FlowRequest<'_> {
    FlowRequest { s_eid: 64, qos: QosSpec::RAW, dst: NameHash::new(&OPING).unwrap(), data }
}

const REQUEST: &str = "
    00 00 00 00 00 00 00 40 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 ff ff ff ff 00 00 00 01
    00 00 00 01 ff ff ff ff 00 01 d4 c0 01 00 00 78
    62 c6 fe c5 ec ae f4 aa 2e 39 34 72 5e 23 b3 a0
    a1 a2 a3 a4 a5 a6 a7 a8 a9 aa ab ac ad ae af b0
    b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf c0
    c1 c2 c3";

const ACCEPTED: &str = "
    00 00 00 00 00 00 00 40 00 00 00 41 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 02 00 00 a0
    a1 a2 a3 a4 a5 a6 a7 a8 a9 aa ab ac ad ae af b0
    b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf c0
    c1 c2 c3";

const REFUSED: &str = "
    00 00 00 00 00 00 00 40 00 00 00 41 ff ff fc 0f
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 02 00 00";

fn check(bytes: &str, expected: Datagram<'_>) {
    let bytes = hex(bytes);
    assert_eq!(Datagram::parse(&bytes), Ok(expected));
    let mut out = Vec::new();
    expected.emit(&mut out);
    assert_eq!(out, bytes);
}

#[test]
fn datagrams_of_the_reference() {
    let blob = blob();
    check(REQUEST, Datagram::Mgmt(Mgmt::Request(request(&blob))));
    check(ACCEPTED, Datagram::Mgmt(Mgmt::Reply(FlowReply { s_eid: 64, d_eid: 65, response: 0, data: &blob })));
    check(REFUSED, Datagram::Mgmt(Mgmt::Reply(FlowReply { s_eid: 64, d_eid: 65, response: -1009, data: &[] })));
    check("00 00 00 41 68 65 6c 6c 6f", Datagram::Data { eid: 65, payload: b"hello" });
    check("00 00 00 41", Datagram::Data { eid: 65, payload: &[] });
    assert_eq!(request(&blob).to_vec(), hex(REQUEST));
}

#[test]
fn every_preset_survives() {
    let presets =
        [QosSpec::RAW, QosSpec::RAW_NO_ERRORS, QosSpec::BEST_EFFORT, QosSpec::VIDEO, QosSpec::VOICE, QosSpec::DATA];
    for qos in presets {
        let bytes = FlowRequest { qos, ..request(b"x") }.to_vec();
        let Ok(Mgmt::Request(parsed)) = Mgmt::parse(&bytes) else { panic!("not a request") };
        assert_eq!(parsed.qos, qos);
        assert!(Raw::parse(&bytes).unwrap().is_canonical());
    }
}

#[test]
fn cut_at_every_length() {
    let whole = hex(REQUEST);
    for have in 0..whole.len() {
        let result = Datagram::parse(&whole[..have]);
        let need = match have {
            0..EID_LEN => EID_LEN,
            EID_LEN..MGMT_LEN => MGMT_LEN,
            MGMT_LEN..FlowRequest::OVERHEAD => FlowRequest::OVERHEAD,
            _ => {
                // What is left has no length of its own: a shorter OAP message, for OAP to refuse.
                assert_eq!(result, Ok(Datagram::Mgmt(Mgmt::Request(request(&whole[63..have])))));
                continue;
            }
        };
        assert_eq!(result, Err(WireError::Truncated { need, have }));
    }
    let reply = hex(REFUSED);
    for have in EID_LEN..reply.len() {
        assert_eq!(Datagram::parse(&reply[..have]), Err(WireError::Truncated { need: MGMT_LEN, have }));
    }
}

#[test]
fn other_codes_are_unknown() {
    let mut bytes = hex(REQUEST);
    for code in (0..=255).filter(|c| ![CODE_REQUEST, CODE_REPLY].contains(c)) {
        bytes[44] = code;
        let error = WireError::Unknown { field: "management code", value: u32::from(code) };
        assert_eq!(Mgmt::parse(&bytes), Err(error));
        assert!(!Raw::parse(&bytes).unwrap().is_canonical());
    }
    bytes[3] = 1;
    assert_eq!(Mgmt::parse(&bytes), Err(WireError::Invalid { field: "eid" }), "a datagram of flow 1");
}

/// Every bit of the fixed part either is part of the message or is reported.
#[test]
fn no_bit_is_lost_unnoticed() {
    for whole in [hex(REQUEST), hex(REFUSED)] {
        let original = Mgmt::parse(&whole).unwrap();
        for bit in 8 * EID_LEN..8 * MGMT_LEN {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let raw = Raw::parse(&bytes).unwrap();
            let mut again = Vec::new();
            raw.emit(&mut again);
            assert_eq!(again, bytes);
            let Ok(message) = raw.message() else {
                assert_eq!(bit / 8, 44, "only the code makes a message unreadable");
                continue;
            };
            if raw.is_canonical() {
                assert_ne!(message, original, "bit {bit}");
            }
        }
    }
}

#[test]
fn hashes_of_other_lengths_keep_the_layout() {
    for len in [28, 32, 64] {
        let long = vec![7; len];
        let bytes = FlowRequest { dst: NameHash::new(&long).unwrap(), ..request(b"data") }.to_vec();
        assert_eq!(bytes.len(), FlowRequest::OVERHEAD + 4);
        assert_eq!(&bytes[FlowRequest::OVERHEAD..], b"data");
    }
}

#[test]
fn display_of_messages() {
    let reply = FlowReply { s_eid: 64, d_eid: 65, response: -1009, data: &[] };
    assert_eq!(Datagram::Mgmt(Mgmt::Reply(reply)).to_string(), "flow reply s_eid 64 d_eid 65 response -1009 data 0");
    assert_eq!(Datagram::Data { eid: 9, payload: &[] }.to_string(), "eid 9 keepalive");
    assert_eq!(Datagram::Data { eid: 9, payload: b"abc" }.to_string(), "eid 9 length 3");
    let request = "flow request s_eid 64 dst 7862c6fec5ecaef4aa2e3934725e23b3 delay 4294967295 bandwidth 0 \
                   availability 0 loss 1 ber 1 in_order 0 max_gap 4294967295 timeout 120000 data 2";
    assert_eq!(self::request(&[1, 2]).to_string(), request);
}

proptest! {
    #[test]
    fn any_request_round_trips(s_eid: u32, qos in qos(), hash: [u8; 16], data: Vec<u8>) {
        let message = FlowRequest { s_eid, qos, dst: NameHash::new(&hash).unwrap(), data: &data };
        let bytes = message.to_vec();
        prop_assert_eq!(Mgmt::parse(&bytes), Ok(Mgmt::Request(message)));
        prop_assert!(Raw::parse(&bytes).unwrap().is_canonical());
    }

    #[test]
    fn any_reply_round_trips(s_eid: u32, d_eid: u32, response: i32, data: Vec<u8>) {
        let message = FlowReply { s_eid, d_eid, response, data: &data };
        let bytes = message.to_vec();
        prop_assert_eq!(Mgmt::parse(&bytes), Ok(Mgmt::Reply(message)));
        prop_assert!(Raw::parse(&bytes).unwrap().is_canonical());
    }

    #[test]
    fn any_bytes_decode_and_encode(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), mgmt: bool, code: u8) {
        if mgmt && bytes.len() >= MGMT_LEN {
            bytes[..EID_LEN].fill(0);
            bytes[44] = code % 4;
        }
        if let Ok(datagram) = Datagram::parse(&bytes) {
            let canonical = Raw::parse(&bytes).map_or(true, |raw| raw.is_canonical());
            let mut again = Vec::new();
            datagram.emit(&mut again);
            prop_assert_eq!(again == bytes, canonical);
            prop_assert!(!datagram.to_string().is_empty());
        }
        if let Ok(raw) = Raw::parse(&bytes) {
            let mut again = Vec::new();
            raw.emit(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn sparse_headers_are_canonical_iff_they_encode_back(at in 4_usize..47, value: u8, code in 1_u8..=2, data: [u8; 20]) {
        let mut bytes = vec![0; MGMT_LEN];
        bytes.extend(data);
        bytes[at] = value;
        bytes[44] = code;
        let raw = Raw::parse(&bytes).unwrap();
        let mut again = Vec::new();
        raw.message().unwrap().emit(&mut again);
        prop_assert_eq!(again == bytes, raw.is_canonical());
    }
}
