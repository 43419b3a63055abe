use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::wire::testing::{hex, qos};

const ALG: HashAlg = HashAlg::Sha3_256;
const A: Address = Address(0x0403_0201);
const A_EID: Eid = Eid(0xa1b2_c3d4_0000_0041);
const B_EID: Eid = Eid(0x5566_7788_0000_0043);

const REQUEST: &str = "
    00 00 00 00 04 03 02 01 00 00 00 00 00 00 00 00 a1 b2 c3 d4 00 00 00 41 00 00 00 00 00 00 00 00
    00 00 00 00 ff ff ff ff 00 00 00 01 00 00 00 01 ff ff ff ff 00 01 d4 c0 00 00 00 00 00 80 81 82
    83 84 85 86 87 88 89 8a 8b 8c 8d 8e 8f 90 91 92 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f de ad be
    ef";
const VOICE_REQUEST: &str = "
    00 00 00 00 04 03 02 01 00 00 00 00 00 00 00 00 a1 b2 c3 d4 00 00 00 41 00 00 00 00 00 01 86 a0
    00 00 00 00 00 00 00 32 00 00 00 01 00 00 00 01 00 00 00 32 00 01 d4 c0 00 00 00 05 01";
const ACCEPTED: &str = "
    00 00 00 00 00 00 00 00 a1 b2 c3 d4 00 00 00 41 55 66 77 88 00 00 00 43 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 ca fe";
const REFUSED: &str = "
    00 00 00 00 00 00 00 00 a1 b2 c3 d4 00 00 00 41 55 66 77 88 00 00 00 43 00 00 00 00 00 00 00 00
    ff ff fc 0f 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00";
const UPDATE: &str = "
    00 00 00 00 00 00 00 00 a1 b2 c3 d4 00 00 00 41 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 29 02 00 00";

fn placeholder() -> NameHash {
    NameHash::new(&(0x80..=0x9f).collect::<Vec<u8>>()).unwrap()
}

fn check(bytes: &str, expected: Message<'_>) {
    let bytes = hex(bytes);
    assert_eq!(Message::parse(ALG, &bytes), Ok(expected));
    assert_eq!(expected.to_vec(), bytes);
    assert!(Raw::parse(&bytes).unwrap().is_canonical(ALG));
}

#[test]
fn messages_of_the_reference() {
    let request =
        FlowRequest { s_addr: A, s_eid: A_EID, qos: QosSpec::RAW, dst: placeholder(), data: &[0xde, 0xad, 0xbe, 0xef] };
    check(REQUEST, Message::Request(request));
    let mut voice = hex(VOICE_REQUEST);
    voice.extend(placeholder().as_bytes());
    let expected = FlowRequest { qos: QosSpec { ber: 1, ..QosSpec::VOICE }, data: &[], ..request };
    assert_eq!(Message::parse(ALG, &voice), Ok(Message::Request(expected)));
    assert_eq!(Message::Request(expected).to_vec(), voice);
    let reply = FlowReply { r_eid: A_EID, s_eid: B_EID, response: 0, data: &[0xca, 0xfe] };
    check(ACCEPTED, Message::Reply(reply));
    check(REFUSED, Message::Reply(FlowReply { response: -1009, data: &[], ..reply }));
    check(UPDATE, Message::Update(FlowUpdate { r_eid: A_EID, ece: 41, report: None }));
}

#[test]
fn cut_at_every_length() {
    let whole = hex(REQUEST);
    for have in 0..FIXED_LEN + ALG.len() {
        let need = if have < FIXED_LEN { FIXED_LEN } else { FIXED_LEN + ALG.len() };
        assert_eq!(Message::parse(ALG, &whole[..have]), Err(WireError::Truncated { need, have }));
    }
    for text in [ACCEPTED, UPDATE] {
        for have in 0..FIXED_LEN {
            let error = WireError::Truncated { need: FIXED_LEN, have };
            assert_eq!(Message::parse(ALG, &hex(text)[..have]), Err(error));
        }
    }
}

#[test]
fn other_codes_are_unknown() {
    let mut bytes = hex(REQUEST);
    for code in 3..=255 {
        bytes[58] = code;
        let error = WireError::Unknown { field: "flow allocator code", value: code.into() };
        assert_eq!(Message::parse(ALG, &bytes), Err(error));
        assert!(!Raw::parse(&bytes).unwrap().is_canonical(ALG));
    }
}

#[test]
fn an_update_may_be_followed_by_anything() {
    let mut bytes = hex(UPDATE);
    let update = Message::parse(ALG, &bytes).unwrap().to_vec();
    bytes.push(1);
    assert_eq!(Message::parse(ALG, &bytes).unwrap().to_vec(), update);
    assert!(!Raw::parse(&bytes).unwrap().is_canonical(ALG));
}

#[test]
fn a_report_follows_an_update() {
    let report = Report { sent: 0x0102_0304, delivered: u32::MAX, marks: 7, asks: true, answers: None };
    let report = [report, Report { asks: false, answers: Some(5), ..report }];
    let tails = [
        "01 01 00 00 01 02 03 04 ff ff ff ff 00 00 00 07 00 00 00 00",
        "01 02 00 00 01 02 03 04 ff ff ff ff 00 00 00 07 00 00 00 05",
    ];
    for (report, tail) in report.into_iter().zip(tails) {
        let update = Message::Update(FlowUpdate { r_eid: A_EID, ece: 41, report: Some(report) });
        check(&format!("{UPDATE} {tail}"), update);
        let bytes = update.to_vec();
        // A reference reads the same as without.
        assert_eq!(bytes[..FIXED_LEN], hex(UPDATE));
        for other in [&bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat()] {
            let Ok(Message::Update(other)) = Message::parse(ALG, other) else { panic!("no update") };
            assert_eq!(other.report, None, "another length");
        }
        let mut other = bytes;
        other[FIXED_LEN] = 2;
        let Ok(Message::Update(other)) = Message::parse(ALG, &other) else { panic!("no update") };
        assert_eq!(other.report, None, "another version");
    }
}

/// Every bit of the fixed part either is part of the message or is reported.
#[test]
fn no_bit_is_lost_unnoticed() {
    for whole in [hex(REQUEST), hex(ACCEPTED), hex(UPDATE)] {
        let original = Message::parse(ALG, &whole).unwrap();
        for bit in 0..8 * FIXED_LEN {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let raw = Raw::parse(&bytes).unwrap();
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
fn display_of_messages() {
    let reply = FlowReply { r_eid: Eid(70), s_eid: Eid(71), response: -1009, data: &[] };
    assert_eq!(Message::Reply(reply).to_string(), "flow reply r_eid 70 s_eid 71 response -1009 data 0");
    assert_eq!(
        Message::Update(FlowUpdate { r_eid: Eid(70), ece: 41, report: None }).to_string(),
        "flow update r_eid 70 ece 41"
    );
    let request = Message::parse(ALG, &hex(REQUEST)).map(|m| m.to_string()).unwrap();
    assert!(request.starts_with("flow request s_addr 01.02.03.04 s_eid 11651590501261377601 dst 8081"), "{request}");
    assert!(request.ends_with("in_order 0 max_gap 4294967295 timeout 120000 data 4"), "{request}");
}

proptest! {
    #[test]
    fn any_request_round_trips(s_addr: u64, s_eid: u64, qos in qos(), name: u8, data: Vec<u8>) {
        let alg = HashAlg::ALL[usize::from(name) % HashAlg::ALL.len()];
        let dst = NameHash::new(&[name; 64][..alg.len()]).unwrap();
        let message =
            Message::Request(FlowRequest { s_addr: Address(s_addr), s_eid: Eid(s_eid), qos, dst, data: &data });
        let bytes = message.to_vec();
        prop_assert_eq!(Message::parse(alg, &bytes), Ok(message));
        prop_assert!(Raw::parse(&bytes).unwrap().is_canonical(alg));
    }

    #[test]
    fn any_reply_and_update_round_trips(r_eid: u64, s_eid: u64, response: i32, ece: u16, data: Vec<u8>) {
        let (r_eid, s_eid) = (Eid(r_eid), Eid(s_eid));
        let reply = Message::Reply(FlowReply { r_eid, s_eid, response, data: &data });
        for message in [reply, Message::Update(FlowUpdate { r_eid, ece, report: None })] {
            let bytes = message.to_vec();
            prop_assert_eq!(Message::parse(ALG, &bytes), Ok(message));
            prop_assert!(Raw::parse(&bytes).unwrap().is_canonical(ALG));
        }
    }

    #[test]
    fn sparse_messages_are_canonical_iff_they_encode_back(
        at in 0..FIXED_LEN, value: u8, code in 0..=3_u8, rest in 0..40_usize,
    ) {
        let mut bytes = vec![0; FIXED_LEN + rest];
        bytes[at] = value;
        bytes[58] = code;
        let raw = Raw::parse(&bytes).unwrap();
        let again = raw.message(ALG).map(|message| message.to_vec());
        prop_assert_eq!(again.is_ok_and(|again| again == bytes), raw.is_canonical(ALG));
        let mut again = Vec::new();
        raw.emit(&mut again);
        prop_assert_eq!(again, bytes);
    }
}
