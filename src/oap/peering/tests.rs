use super::*;
use crate::crypto::suite::Digest;

#[test]
fn only_marked_ids_are_recognised() {
    let mut id = [7; ID_LEN];
    assert!(!is_marked(&id));
    mark(&mut id, None);
    assert!(is_marked(&id));
    assert_eq!(id[WAIT_LEN..SAID_LEN], [7; SAID_LEN - WAIT_LEN]);
    for bit in 0..ID_LEN * 8 {
        let mut other = id;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(!is_marked(&other), "bit {bit}");
    }
}

/// Their responses say less, and so do the requests that they understand: such a peer is as good as a foreign one.
#[test]
fn marks_of_earlier_layouts_are_not_recognised() {
    for earlier in [&b"o7s request"[..], b"o7s request 2", b"o7s request 3", b"o7s request 4"] {
        let mut id = [7; ID_LEN];
        let (said, place) = id.split_at_mut(SAID_LEN);
        place.copy_from_slice(&hash::sha256(&[earlier, said])[..ID_LEN - SAID_LEN]);
        assert!(!is_marked(&id), "{}", earlier.escape_ascii());
    }
}

#[test]
fn the_wait_of_a_requester_is_rounded_down() {
    let said = |of| {
        let mut id = [7; ID_LEN];
        mark(&mut id, of);
        wait(&id)
    };
    let ms = Duration::from_millis;
    for (of, expected) in [
        (None, None),
        (Some(Duration::ZERO), Some(ms(10))),
        (Some(ms(1239)), Some(ms(1230))),
        (Some(ms(20_000)), Some(ms(20_000))),
        (Some(Duration::MAX), Some(ms(655_350))),
    ] {
        assert_eq!(said(of), expected, "{of:?}");
    }
    assert_eq!(wait(&[7; ID_LEN]), None, "a reference's");
}

#[test]
fn a_trailer_belongs_to_one_request_and_leaves_the_data() {
    for data in [&b""[..], b"welcome"] {
        let mut sent = data.to_vec();
        let terms = Terms { timeout: 120_000, message: 1 << 20, format: Format::of(&QosSpec::DATA) };
        append_trailer(&mut sent, terms, &[1; 48]);
        assert_eq!(sent.len(), data.len() + TRAILER_LEN);
        assert_eq!(split_trailer(&sent, &[1; 48]), (data, Some(terms)));
        assert_eq!(split_trailer(&sent, &[2; 48]), (&sent[..], None), "another request");
        for bit in data.len() * 8..sent.len() * 8 {
            let mut damaged = sent.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(split_trailer(&damaged, &[1; 48]).1, None);
        }
    }
    for len in 0..TRAILER_LEN {
        assert_eq!(split_trailer(&[0; TRAILER_LEN][..len], &[1; 48]).1, None);
    }
}

#[test]
fn terms_survive_the_wire() {
    for qos in [QosSpec::RAW, QosSpec::RAW_NO_ERRORS, QosSpec::BEST_EFFORT, QosSpec::DATA, QosSpec::NP1] {
        for exponent in 1..32 {
            let terms = Terms { timeout: 7, message: 1 << exponent, format: Format::of(&qos) };
            assert_eq!(Terms::from_bytes(terms.to_bytes()), terms, "{qos:?}");
        }
    }
}

#[test]
fn proofs_differ_in_everything() {
    let [one, other] = [b"1", b"2"].map(|request| hash::digest(Digest::Sha384, &[request]));
    let here = Peering::new(Side::Client, 5, &one);
    let proof = here.proof(Side::Client, 1, 7);
    assert_eq!(proof, Peering::new(Side::Server, 5, &one).proof(Side::Client, 1, 7), "both ends know it");
    for unlike in [
        here.proof(Side::Server, 1, 7),
        here.proof(Side::Client, 2, 7),
        here.proof(Side::Client, 1, 8),
        Peering::new(Side::Client, 5, &other).proof(Side::Client, 1, 7),
    ] {
        assert_ne!(proof, unlike);
    }
}

#[test]
fn limits_of_messages_are_rounded_down_to_powers_of_two() {
    for (limit, told) in [(0, 0), (1, 0), (2, 2), (3, 2), (1 << 20, 1 << 20), ((2 << 20) - 1, 1 << 20)] {
        let mut id = [7; ID_LEN];
        say_message(&mut id, limit);
        mark(&mut id, None);
        assert!(is_marked(&id));
        assert_eq!(message(&id), told, "{limit}");
        let again = without_wait(id);
        say_message(&mut id, 77);
        assert_eq!(without_wait(id), again, "no part of what tells requests apart");
    }
    assert_eq!((message_of(255), message_of(31)), (1 << 31, 1 << 31));
}

#[test]
fn tokens_agree_and_differ_by_direction() {
    let [one, other] = [b"1", b"2"].map(|request| hash::digest(Digest::Sha384, &[request]));
    let [client, server] = [Side::Client, Side::Server].map(|side| Peering::new(side, 5, &one).tokens());
    assert_eq!((client.own, client.peer), (server.peer, server.own));
    assert_ne!(client.own, client.peer);
    assert_ne!(client.own, Peering::new(Side::Client, 5, &other).tokens().own);
}
