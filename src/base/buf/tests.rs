use super::*;

#[test]
fn edges_hold() {
    let mut p = PacketBuf::with_capacity(10);
    assert!(p.push(HEADROOM).is_some());
    assert!(p.push(1).is_none());
    assert!(p.append(POOLED_PAYLOAD + TAILROOM).is_some());
    assert!(p.append(1).is_none());
    assert_eq!(p.tailroom(), 0);
    p.truncate(3);
    assert_eq!(p.len(), 3);
    assert!(p.pull(4).is_none());
    assert_eq!(p.len(), 3);
}

#[test]
fn a_packet_of_just_its_length_has_the_room_that_all_have() {
    for bytes in [&[][..], b"link state"] {
        let p = PacketBuf::roomy_of(bytes);
        assert_eq!((&p[..], p.headroom(), p.tailroom()), (bytes, HEADROOM, TAILROOM));
    }
}
