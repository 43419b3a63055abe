use alloc::string::ToString;

use proptest::prelude::*;

use super::*;
use crate::types::name::{HashAlg, NameHash};
use crate::types::qos::QosSpec;
use crate::wire::testing::{blob, hex, qos};

const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
const ALG: HashAlg = HashAlg::Sha3_256;

const DIX_QUERY: &str = "
    ff ff ff ff ff ff 02 00 00 00 00 01 a0 00 00 00 00 47 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02 00 42 de e3 b0 41 5b 4f
    69 0f d9 1c bd 99 87 6f 1e 9b d8 d9 74 5e f7 fa 32 b1 42 77 3a f0 34 9d 54";
const DIX_ANSWER: &str = "
    02 00 00 00 00 01 02 00 00 00 00 02 a0 00 00 00 00 47 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 03 00 42 de e3 b0 41 5b 4f
    69 0f d9 1c bd 99 87 6f 1e 9b d8 d9 74 5e f7 fa 32 b1 42 77 3a f0 34 9d 54";
const DIX_REQUEST: &str = "
    02 00 00 00 00 02 02 00 00 00 00 01 a0 00 00 00 00 6b 00 40 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 01 00 00 07 d0 00 00 03 e8 00 01 d4 c0 00 00 00 00 01 00 00 42 de e3 b0 41 5b 4f
    69 0f d9 1c bd 99 87 6f 1e 9b d8 d9 74 5e f7 fa 32 b1 42 77 3a f0 34 9d 54 a0 a1 a2 a3 a4 a5 a6
    a7 a8 a9 aa ab ac ad ae af b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf c0 c1 c2 c3";
const DIX_ACCEPTED: &str = "
    02 00 00 00 00 01 02 00 00 00 00 02 a0 00 00 00 00 4b 00 41 00 40 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 a0 a1 a2 a3 a4 a5 a6
    a7 a8 a9 aa ab ac ad ae af b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf c0 c1 c2 c3";
const DIX_REFUSED: &str = "
    02 00 00 00 00 01 02 00 00 00 00 02 a0 00 00 00 00 27 00 41 00 40 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ff ff fc 0f 00 01 00";
const DIX_DATA: &str = "
    02 00 00 00 00 02 02 00 00 00 00 01 a0 00 00 41 00 05 68 65 6c 6c 6f";
const DIX_KEEPALIVE: &str = "
    02 00 00 00 00 02 02 00 00 00 00 01 a0 00 00 41 00 00";
const LLC_QUERY: &str = "
    ff ff ff ff ff ff 02 00 00 00 00 01 00 48 80 80 03 00 00 02 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 42 de e3 b0 41 5b 4f 69 0f d9
    1c bd 99 87 6f 1e 9b d8 d9 74 5e f7 fa 32 b1 42 77 3a f0 34 9d 54";
const LLC_ANSWER: &str = "
    02 00 00 00 00 01 02 00 00 00 00 02 00 48 80 80 03 00 00 03 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 42 de e3 b0 41 5b 4f 69 0f d9
    1c bd 99 87 6f 1e 9b d8 d9 74 5e f7 fa 32 b1 42 77 3a f0 34 9d 54";
const LLC_REQUEST: &str = "
    02 00 00 00 00 02 02 00 00 00 00 01 00 6c 80 80 03 02 00 00 00 00 00 00 01 00 00 00 00 00 00 00
    00 00 00 00 01 ff ff ff ff ff ff ff ff 00 01 d4 c0 00 00 00 00 00 42 de e3 b0 41 5b 4f 69 0f d9
    1c bd 99 87 6f 1e 9b d8 d9 74 5e f7 fa 32 b1 42 77 3a f0 34 9d 54 a0 a1 a2 a3 a4 a5 a6 a7 a8 a9
    aa ab ac ad ae af b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf c0 c1 c2 c3";
const LLC_ACCEPTED: &str = "
    02 00 00 00 00 01 02 00 00 00 00 02 00 4c 80 80 03 03 02 01 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 a0 a1 a2 a3 a4 a5 a6 a7 a8 a9
    aa ab ac ad ae af b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 ba bb bc bd be bf c0 c1 c2 c3";
const LLC_REFUSED: &str = "
    02 00 00 00 00 01 02 00 00 00 00 02 00 28 80 80 03 04 02 01 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ff ff fc 0f 00";
const LLC_DATA: &str = "
    02 00 00 00 00 02 02 00 00 00 00 01 00 08 c0 40 03 68 65 6c 6c 6f";

fn oping() -> NameHash {
    ALG.hash(&"oping".parse().unwrap())
}

/// The reference library's default for "data": without the CRC.
const DATA: QosSpec = QosSpec { ber: 1, ..QosSpec::DATA };

/// Reads the frame, and encodes it again.
fn frame(bytes: &[u8]) -> Frame<'_> {
    let frame = Frame::parse(bytes).unwrap();
    assert_eq!(frame.to_vec().unwrap(), bytes);
    assert_eq!(frame.encoded_len(), bytes.len());
    frame
}

/// A management frame of the given format between the two.
fn check(bytes: &str, port: Port, (src, dst): (Mac, Mac), expected: Mgmt<'_>) {
    let bytes = hex(bytes);
    let Frame { payload, .. } = frame(&bytes);
    assert_eq!(frame(&bytes), Frame { dst, src, port, payload });
    assert!(port.is_mgmt());
    let format = port.format();
    assert_eq!(Mgmt::parse(format, ALG, payload), Ok(expected));
    assert_eq!(expected.to_vec(format).unwrap(), payload);
    assert!(Raw::parse(format, payload).unwrap().is_canonical(ALG));
}

#[test]
fn dix_frames_of_the_reference() {
    const PORT: Port = Port::Dix { ethertype: DEFAULT_ETHERTYPE, eid: MGMT_EID };
    let blob = blob();
    let reply = FlowReply { s_eid: 65, d_eid: 64, response: 0, data: &blob };
    check(DIX_QUERY, PORT, (A, Mac::BROADCAST), Mgmt::Query(oping()));
    check(DIX_ANSWER, PORT, (B, A), Mgmt::Answer(oping()));
    let request = FlowRequest { s_eid: 64, qos: DATA, dst: oping(), data: &blob };
    check(DIX_REQUEST, PORT, (A, B), Mgmt::Request(request));
    check(DIX_ACCEPTED, PORT, (B, A), Mgmt::Reply(reply));
    check(DIX_REFUSED, PORT, (B, A), Mgmt::Reply(FlowReply { response: -1009, data: &[], ..reply }));
    let port = Port::Dix { ethertype: DEFAULT_ETHERTYPE, eid: 65 };
    assert!(!port.is_mgmt());
    assert_eq!(frame(&hex(DIX_DATA)), Frame { dst: B, src: A, port, payload: b"hello" });
    assert_eq!(frame(&hex(DIX_KEEPALIVE)), Frame { dst: B, src: A, port, payload: &[] });
}

#[test]
fn llc_frames_of_the_reference() {
    const PORT: Port = Port::Llc { dsap: MGMT_SAP, ssap: MGMT_SAP };
    let blob = blob();
    let reply = FlowReply { s_eid: 3, d_eid: 2, response: 0, data: &blob };
    check(LLC_QUERY, PORT, (A, Mac::BROADCAST), Mgmt::Query(oping()));
    check(LLC_ANSWER, PORT, (B, A), Mgmt::Answer(oping()));
    let request = FlowRequest { s_eid: 2, qos: QosSpec::RAW, dst: oping(), data: &blob };
    check(LLC_REQUEST, PORT, (A, B), Mgmt::Request(request));
    check(LLC_ACCEPTED, PORT, (B, A), Mgmt::Reply(reply));
    check(LLC_REFUSED, PORT, (B, A), Mgmt::Reply(FlowReply { s_eid: 4, response: -1009, data: &[], ..reply }));
    let port = Port::Llc { dsap: 3, ssap: 2 };
    assert_eq!(frame(&hex(LLC_DATA)), Frame { dst: B, src: A, port, payload: b"hello" });
    assert!(!Port::Llc { dsap: MGMT_SAP, ssap: 2 }.is_mgmt(), "both must be");
}

#[test]
fn padding_is_not_payload() {
    for text in [DIX_DATA, DIX_KEEPALIVE, LLC_DATA] {
        let short = hex(text);
        let mut padded = short.clone();
        padded.resize(60, 0);
        assert_eq!(Frame::parse(&padded), Frame::parse(&short));
    }
}

#[test]
fn frames_cut_at_every_length() {
    for whole in [hex(DIX_REQUEST), hex(LLC_REQUEST), hex(DIX_KEEPALIVE), hex(LLC_DATA)] {
        for have in 0..whole.len() {
            let error = Frame::parse(&whole[..have]).unwrap_err();
            let WireError::Truncated { need, have: told } = error else { panic!("{error}") };
            assert!(told == have && have < need && need <= whole.len(), "{error}");
        }
    }
}

#[test]
fn messages_cut_at_every_length() {
    for (text, format) in
        [(DIX_REQUEST, Format::Dix), (DIX_ANSWER, Format::Dix), (LLC_REQUEST, Format::Llc), (LLC_QUERY, Format::Llc)]
    {
        let bytes = hex(text);
        let whole = Frame::parse(&bytes).unwrap().payload;
        let fixed = format.mgmt_len();
        for have in 0..fixed + ALG.len() {
            let need = if have < fixed { fixed } else { fixed + ALG.len() };
            assert_eq!(Mgmt::parse(format, ALG, &whole[..have]), Err(WireError::Truncated { need, have }));
        }
    }
}

#[test]
fn foreign_frames_are_refused() {
    let mut control = hex(LLC_DATA);
    control[16] = 0xe3;
    assert_eq!(Frame::parse(&control), Err(WireError::Unknown { field: "llc control", value: 0xe3 }));
    let mut short = hex(LLC_DATA);
    short[13] = 2;
    assert_eq!(Frame::parse(&short), Err(WireError::Length { field: "llc frame", value: 2 }));
    let mut code = hex(DIX_REFUSED);
    code[18 + 37] = 4;
    let error = WireError::Unknown { field: "management code", value: 4 };
    assert_eq!(Mgmt::parse(Format::Dix, ALG, &code[18..]), Err(error));
    assert!(!Raw::parse(Format::Dix, &code[18..]).unwrap().is_canonical(ALG));
}

#[test]
fn oversized_frames_are_not_encoded() {
    let long = vec![0; 0x1_0000];
    let dix = Port::Dix { ethertype: DEFAULT_ETHERTYPE, eid: 64 };
    for (port, len, max) in [(dix, 0x1_0000, 0xffff), (Port::Llc { dsap: 2, ssap: 2 }, 1533, 1532)] {
        let frame = Frame { dst: B, src: A, port, payload: &long[..len] };
        assert_eq!(frame.to_vec(), Err(WireError::Length { field: "payload", value: len }));
        assert!(Frame { payload: &long[..max], ..frame }.to_vec().is_ok());
    }
    let port = Port::Dix { ethertype: 0x05ff, eid: 64 };
    let error = WireError::Invalid { field: "ethertype" };
    assert_eq!(Frame { dst: B, src: A, port, payload: &[] }.to_vec(), Err(error));
    let reply = Mgmt::Reply(FlowReply { s_eid: 256, d_eid: 2, response: 0, data: &[] });
    assert_eq!(reply.to_vec(Format::Llc), Err(WireError::Invalid { field: "sap" }));
    assert!(reply.to_vec(Format::Dix).is_ok());
}

/// Every bit of the fixed part either is part of the message or is reported.
#[test]
fn no_bit_is_lost_unnoticed() {
    for text in [DIX_QUERY, DIX_REQUEST, DIX_REFUSED, LLC_ANSWER, LLC_REQUEST, LLC_ACCEPTED] {
        let frame = hex(text);
        let frame = Frame::parse(&frame).unwrap();
        let format = frame.port.format();
        let original = Mgmt::parse(format, ALG, frame.payload).unwrap();
        for bit in 0..8 * format.mgmt_len() {
            let mut bytes = frame.payload.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let raw = Raw::parse(format, &bytes).unwrap();
            let mut again = Vec::new();
            raw.emit(&mut again);
            assert_eq!(again, bytes);
            if raw.is_canonical(ALG) {
                assert_ne!(raw.message(ALG).unwrap(), original, "bit {bit}");
            }
        }
    }
}

#[test]
fn display_of_frames() {
    let line = "02:00:00:00:00:01 > 02:00:00:00:00:02 dix a000 eid 65 length 5";
    assert_eq!(frame(&hex(DIX_DATA)).to_string(), line);
    let line = "02:00:00:00:00:01 > 02:00:00:00:00:02 dix a000 eid 65 keepalive";
    assert_eq!(frame(&hex(DIX_KEEPALIVE)).to_string(), line);
    let line = "02:00:00:00:00:01 > 02:00:00:00:00:02 llc ssap 2 dsap 3 length 5";
    assert_eq!(frame(&hex(LLC_DATA)).to_string(), line);
    assert_eq!(Mgmt::Query(NameHash::new(&[1, 2]).unwrap()).to_string(), "name query 0102");
    let refused = FlowReply { s_eid: 4, d_eid: 2, response: -1009, data: &[] };
    assert_eq!(Mgmt::Reply(refused).to_string(), "flow reply s_eid 4 d_eid 2 response -1009 data 0");
}

fn format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Dix), Just(Format::Llc)]
}

proptest! {
    #[test]
    fn any_frame_round_trips(
        dst: [u8; 6], src: [u8; 6], format in format(), kind in MIN_ETHERTYPE.., eid: u16,
        payload in proptest::collection::vec(any::<u8>(), 0..1533),
    ) {
        let [dsap, ssap] = eid.to_be_bytes();
        let port = match format {
            Format::Dix => Port::Dix { ethertype: kind, eid },
            Format::Llc => Port::Llc { dsap, ssap },
        };
        let frame = Frame { dst: Mac(dst), src: Mac(src), port, payload: &payload };
        let bytes = frame.to_vec().unwrap();
        prop_assert_eq!(Frame::parse(&bytes), Ok(frame));
        prop_assert_eq!(bytes.len(), frame.encoded_len());
    }

    #[test]
    fn any_request_round_trips(format in format(), sap: u8, qos in qos(), name: u8, data: Vec<u8>) {
        let alg = HashAlg::ALL[usize::from(name) % HashAlg::ALL.len()];
        let dst = NameHash::new(&[name; 64][..alg.len()]).unwrap();
        let message = Mgmt::Request(FlowRequest { s_eid: sap.into(), qos, dst, data: &data });
        let bytes = message.to_vec(format).unwrap();
        prop_assert_eq!(Mgmt::parse(format, alg, &bytes), Ok(message));
        prop_assert!(Raw::parse(format, &bytes).unwrap().is_canonical(alg));
    }

    #[test]
    fn any_reply_round_trips(format in format(), s_sap: u8, d_sap: u8, response: i32, data: Vec<u8>) {
        let message = Mgmt::Reply(FlowReply { s_eid: s_sap.into(), d_eid: d_sap.into(), response, data: &data });
        let bytes = message.to_vec(format).unwrap();
        prop_assert_eq!(Mgmt::parse(format, ALG, &bytes), Ok(message));
        prop_assert!(Raw::parse(format, &bytes).unwrap().is_canonical(ALG));
    }

    #[test]
    fn any_bytes_decode_and_encode(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let Ok(frame) = Frame::parse(&bytes) else { return Ok(()) };
        prop_assert_eq!(frame.to_vec().unwrap(), &bytes[..frame.encoded_len()]);
    }

    #[test]
    fn sparse_messages_are_canonical_iff_they_encode_back(
        format in format(), at in 0..37_usize, value: u8, code in 0..=3_u8, rest in 30..40_usize,
    ) {
        let mut bytes = vec![0; format.mgmt_len() + rest];
        bytes[at] = value;
        bytes[if format == Format::Dix { 37 } else { 2 }] = code;
        let raw = Raw::parse(format, &bytes).unwrap();
        let again = raw.message(ALG).and_then(|message| message.to_vec(format));
        prop_assert_eq!(again.is_ok_and(|again| again == bytes), raw.is_canonical(ALG));
        let mut again = Vec::new();
        raw.emit(&mut again);
        prop_assert_eq!(again, bytes);
    }
}
