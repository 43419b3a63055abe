use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;

use super::*;

const A: Address = Address(0x1234_5678);
const B: Address = Address(0x0a0b_0c0d);

fn unicast(own: Address) -> Vec<Offer> {
    vec![
        Offer::enrollment(),
        Offer::new(Component::Management, Message::management(own)),
        Offer::new(Component::DataTransfer, Message::data_transfer(own)),
    ]
}

fn broadcast() -> Vec<Offer> {
    vec![Offer::enrollment(), Offer::new(Component::DataTransfer, Message::broadcast())]
}

fn packet(bytes: &[u8]) -> PacketBuf {
    PacketBuf::copy_of(bytes)
}

fn bytes(message: &Message) -> Vec<u8> {
    message.encode().unwrap()
}

/// Both sides of one connection.
fn connect(own: Message, offers: &[Offer]) -> (Accepted, Connected) {
    let mut initiator = Initiator::new(own);
    let accepted = accept(offers, &initiator.first()).unwrap();
    let connected = initiator.handle_packet(packet(&accepted.answer)).unwrap().unwrap();
    (accepted, connected)
}

#[test]
fn all_components_connect() {
    let cases = [
        (Message::enrollment(), Purpose::Enrollment, Address(0), Address(0)),
        (Message::management(A), Purpose::Component(Component::Management), A, B),
        (Message::data_transfer(A), Purpose::Component(Component::DataTransfer), A, B),
    ];
    for (own, purpose, initiator, acceptor) in cases {
        let (accepted, connected) = connect(own, &unicast(B));
        assert_eq!((accepted.purpose, accepted.peer), (purpose, initiator));
        assert_eq!(connected.peer, acceptor);
    }
    let (accepted, connected) = connect(Message::broadcast(), &broadcast());
    assert_eq!(accepted.purpose, Purpose::Component(Component::DataTransfer));
    assert_eq!((accepted.peer, connected.peer), (Address(0), Address(0)));
}

/// The packets of section "Components" of the wire format, as the reference sends them.
#[test]
fn messages_match_those_of_the_reference() {
    let data_transfer = b"\x0a\x0dData Transfer\x12\x03dtp\x18\x01\x28\x02\x40\xf8\xac\xd1\x91\x01";
    assert_eq!(Initiator::new(Message::data_transfer(A)).first(), data_transfer);
    let accepted = accept(&unicast(B), data_transfer).unwrap();
    assert_eq!(accepted.answer, b"\x0a\x0dData Transfer\x12\x03dtp\x18\x01\x28\x02\x40\x8d\x98\xac\x50");
    let enrollment = b"\x0a\x0aEnrollment\x12\x03OEP\x18\x01\x28\x00\x40\x00";
    assert_eq!(accept(&broadcast(), enrollment).unwrap().answer, enrollment);
    let refused = accept(&broadcast(), &bytes(&Message::management(A))).unwrap_err();
    assert_eq!(refused.answer.unwrap(), b"\x0a\x00\x12\x00\x18\x00\x28\x00\x40\x00");
}

#[test]
fn unknown_components_are_refused() {
    for asked in [Message::refusal(), Message { component: "management".into(), ..Message::management(A) }] {
        let refused = accept(&unicast(B), &bytes(&asked)).unwrap_err();
        assert_eq!((refused.why, refused.answer), (CepError::UnknownComponent, Some(bytes(&Message::refusal()))));
    }
    // Not a member of a layer yet: nothing is there.
    assert_eq!(accept(&[], &bytes(&Message::enrollment())).unwrap_err().why, CepError::UnknownComponent);
    // An offer without a name, which does not occur, is not found either.
    let nameless = [Offer::new(Component::DataTransfer, Message::refusal())];
    assert_eq!(accept(&nameless, &bytes(&Message::refusal())).unwrap_err().why, CepError::UnknownComponent);
}

#[test]
fn refusals_are_recognised_in_a_broadcast_layer() {
    for own in [Message::broadcast(), Message::management(A), Message::enrollment()] {
        let refusal = packet(&bytes(&Message::refusal()));
        assert_eq!(Initiator::new(own).handle_packet(refusal).unwrap_err(), CepError::Refused);
    }
}

#[test]
fn protocol_mismatch_is_refused_by_both_ends() {
    let own = Message::management(B);
    let peers = [
        Message { protocol: "LSP2".into(), ..Message::management(A) },
        Message { version: 2, ..Message::management(A) },
        Message { syntax: 2, ..Message::management(A) },
    ];
    for peer in peers {
        let refused = accept(&unicast(B), &bytes(&peer)).unwrap_err();
        assert_eq!(refused.why, CepError::OtherProtocol);
        assert!(refused.answer.is_some());
        let answer = packet(&bytes(&peer));
        assert_eq!(Initiator::new(own.clone()).handle_packet(answer).unwrap_err(), CepError::OtherProtocol);
    }
    // A broadcast member's data transfer is not a unicast member's.
    let refused = accept(&unicast(B), &bytes(&Message::broadcast())).unwrap_err();
    assert_eq!(refused.why, CepError::OtherProtocol);
}

#[test]
fn invalid_addresses_are_refused_by_both_ends() {
    let cases = [
        (Address(0), CepError::InvalidAddress),
        (Address(1 << 32), CepError::InvalidAddress),
        (Address(u64::MAX), CepError::InvalidAddress),
        (B, CepError::OwnAddress(B)),
    ];
    for (address, why) in cases {
        for message in [Message::management, Message::data_transfer] {
            let peer = bytes(&message(address));
            assert_eq!(accept(&unicast(B), &peer).unwrap_err().why, why);
            assert_eq!(Initiator::new(message(B)).handle_packet(packet(&peer)).unwrap_err(), why);
        }
    }
    // Where there are none, whatever is said is not believed.
    let enrollment = Message { address: A, ..Message::enrollment() };
    assert_eq!(accept(&unicast(B), &bytes(&enrollment)).unwrap().peer, Address(0));
}

/// Returns a message of a member of our own kind with this incarnation.
fn in_life(incarnation: u32, message: Message) -> Message {
    let terms = Terms { incarnation, patience: core::time::Duration::ZERO, round_trip: core::time::Duration::ZERO };
    Message { versions: terms.versions(), ..message }
}

#[test]
fn equal_addresses_are_reported_to_both_ends() {
    let own = in_life(1, Message::management(A));
    let offers = [Offer::new(Component::Management, in_life(2, Message::management(A)))];
    let mut initiator = Initiator::new(own);
    let refused = accept(&offers, &initiator.first()).unwrap_err();
    assert_eq!((refused.why, refused.incarnation), (CepError::OwnAddress(A), Some(1)));
    let answer = packet(&refused.answer.unwrap());
    assert_eq!(initiator.handle_packet(answer).unwrap_err(), CepError::OwnAddress(A));
    // A reference would take that for success.
    let refused = accept(&offers, &bytes(&Message::management(A))).unwrap_err();
    assert_eq!((refused.why, refused.incarnation), (CepError::OwnAddress(A), None));
    assert_eq!(refused.answer, Some(bytes(&Message::refusal())));
}

#[test]
fn connections_to_oneself_differ_from_address_conflicts() {
    let own = in_life(1, Message::management(A));
    let offers = [Offer::new(Component::Management, own.clone())];
    let refused = accept(&offers, &bytes(&own)).unwrap_err();
    assert_eq!((refused.why, refused.answer), (CepError::Ourselves, Some(bytes(&own))));
    assert_eq!(Initiator::new(own.clone()).handle_packet(packet(&bytes(&own))).unwrap_err(), CepError::Ourselves);
}

#[test]
fn noise_gets_no_answer() {
    for noise in [&b""[..], b"hello", &[0; 24], &[0xff; 200]] {
        let refused = accept(&unicast(B), noise).unwrap_err();
        assert!(matches!(refused.why, CepError::Wire(_)));
        assert_eq!(refused.answer, None);
    }
}

#[test]
fn packets_before_the_answer_are_kept_for_the_component() {
    use crate::wire::link_state::Lsu;
    let records: Vec<_> = (1..4).map(|n| Lsu { dst: Address(n), src: B, seqno: 0 }.to_bytes()).collect();
    let mut initiator = Initiator::new(Message::management(A));
    for record in &records {
        assert!(initiator.handle_packet(packet(&[])).unwrap().is_none(), "a keepalive");
        assert!(initiator.handle_packet(packet(record)).unwrap().is_none());
    }
    let connected = initiator.handle_packet(packet(&bytes(&Message::management(B)))).unwrap().unwrap();
    let early: Vec<_> = connected.early.iter().map(|early| early.to_vec()).collect();
    assert_eq!(early, records);
    assert_eq!(initiator.dropped(), 0);
}

#[test]
fn kept_packets_are_bounded() {
    let mut initiator = Initiator::new(Message::management(A));
    assert!(initiator.handle_packet(packet(&[1; EARLY_MAX_LEN + 1])).unwrap().is_none());
    for _ in 0..2 * EARLY_LIMIT {
        assert!(initiator.handle_packet(packet(&[1; 24])).unwrap().is_none());
    }
    assert_eq!(initiator.dropped() as usize, EARLY_LIMIT + 1);
    let connected = initiator.handle_packet(packet(&bytes(&Message::management(B)))).unwrap().unwrap();
    assert_eq!(connected.early.len(), EARLY_LIMIT);
}

#[test]
fn error_texts_give_advice() {
    assert!(CepError::Refused.to_string().contains("same kind of layer"));
    let refused = accept(&unicast(B), &bytes(&Message::management(B))).unwrap_err();
    assert!(refused.to_string().contains("our own address"));
}

proptest! {
    #[test]
    fn arbitrary_packets_are_safe(noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..50)) {
        let mut initiator = Initiator::new(Message::broadcast());
        for bytes in &noise {
            if let Ok(accepted) = accept(&unicast(B), bytes) {
                prop_assert!(accepted.purpose == Purpose::Enrollment || address::is_valid(accepted.peer));
            }
            let _ = initiator.handle_packet(packet(bytes));
        }
        prop_assert!(initiator.early.len() <= EARLY_LIMIT);
    }

    #[test]
    fn damaged_messages_reach_no_wrong_component(bit in 0..8 * 30usize) {
        let mut request = bytes(&Message::data_transfer(A));
        request[bit / 8] ^= 1 << (bit % 8);
        if let Ok(accepted) = accept(&unicast(B), &request) {
            // Only the address can have changed, or fields that are not read.
            prop_assert_eq!(accepted.purpose, Purpose::Component(Component::DataTransfer));
        }
    }
}
