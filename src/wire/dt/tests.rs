use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::wire::testing::hex;

const DEFAULT: LayerSizes = LayerSizes { addr: 4, eid: 8 };
const TO_B: Pci = Pci { dst: Address(0x1413_1211), qos: 0, ttl: 60, ecn: 0, eid: Eid(0x5566_7788_0000_0043) };

fn check(sizes: LayerSizes, bytes: &str, expected: Pci, payload: &[u8]) {
    let bytes = hex(bytes);
    assert_eq!(Pci::parse(sizes, &bytes), Ok((expected, payload)));
    let mut again = vec![0xee; bytes.len()];
    expected.emit(sizes, &mut again).unwrap();
    again[sizes.header_len()..].copy_from_slice(payload);
    assert_eq!(again, bytes);
}

#[test]
fn packets_of_the_reference() {
    check(DEFAULT, "11 12 13 14 00 3c 00 43 00 00 00 88 77 66 55 68 65 6c 6c 6f", TO_B, b"hello");
    check(DEFAULT, "11 12 13 14 00 3b 03 43 00 00 00 88 77 66 55", Pci { ttl: 59, ecn: 3, ..TO_B }, &[]);
    check(DEFAULT, "11 12 13 14 00 3c 00 01 00 00 00 00 00 00 00 08 00", Pci { eid: DIRECTORY, ..TO_B }, &[8, 0]);
    let sizes = LayerSizes::new(2, 8).unwrap();
    check(sizes, "01 02 00 3c 00 43 00 00 00 88 77 66 55", Pci { dst: Address(0x0201), ..TO_B }, &[]);
    let sizes = LayerSizes::new(8, 8).unwrap();
    let dst = Address(0x0807_0605_0403_0201);
    check(sizes, "01 02 03 04 05 06 07 08 00 3c 00 43 00 00 00 88 77 66 55", Pci { dst, ..TO_B }, &[]);
}

#[test]
fn sizes_have_limits() {
    assert_eq!(LayerSizes::new(4, 8), Ok(LayerSizes::default()));
    assert_eq!(LayerSizes::default().header_len(), 15);
    for addr in [0, 9, 255] {
        assert_eq!(LayerSizes::new(addr, 8), Err(WireError::Length { field: "address", value: addr.into() }));
        assert_eq!(LayerSizes::new(4, addr), Err(WireError::Length { field: "eid", value: addr.into() }));
    }
}

#[test]
fn cut_at_every_length() {
    for (addr, eid) in [(4, 8), (1, 1), (8, 8), (3, 5)] {
        let sizes = LayerSizes::new(addr, eid).unwrap();
        let mut packet = vec![0; sizes.header_len()];
        for have in 0..packet.len() {
            let error = WireError::Truncated { need: sizes.header_len(), have };
            assert_eq!(Pci::parse(sizes, &packet[..have]), Err(error));
            assert_eq!(HeaderMut::new(sizes, &mut packet[..have]).err(), Some(error));
            let none = Pci { dst: Address(0), eid: Eid(0), ..TO_B };
            assert_eq!(none.emit(sizes, &mut packet[..have]), Err(WireError::NoRoom { need: sizes.header_len() }));
        }
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let sizes = LayerSizes::new(2, 3).unwrap();
    let mut out = [0; 8];
    let most = Pci { dst: Address(0xffff), eid: Eid(0xff_ffff), ..TO_B };
    assert_eq!(most.emit(sizes, &mut out), Ok(()));
    assert_eq!(Pci::parse(sizes, &out), Ok((most, &[][..])));
    let error = WireError::Invalid { field: "address" };
    assert_eq!(Pci { dst: Address(0x1_0000), ..most }.emit(sizes, &mut out), Err(error));
    assert_eq!(Pci { eid: Eid(0x100_0000), ..most }.emit(sizes, &mut out), Err(WireError::Invalid { field: "eid" }));
}

#[test]
fn ttl_at_the_last_hop() {
    let mut packet = hex("11 12 13 14 00 02 05 43 00 00 00 88 77 66 55");
    for left in [1, 0, 0] {
        let mut header = HeaderMut::new(DEFAULT, &mut packet).unwrap();
        assert_eq!(header.hop(), left);
        header.mark(2);
        assert_eq!(header.dst(), TO_B.dst);
    }
    assert_eq!(packet, hex("11 12 13 14 00 00 07 43 00 00 00 88 77 66 55"));
}

#[test]
fn display_of_pci() {
    assert_eq!(TO_B.to_string(), "dst 11.12.13.14 qos 0 ttl 60 ecn 0 eid 6153737366847619139");
}

proptest! {
    #[test]
    fn any_packet_round_trips(addr in 1..=8_u8, eid in 1..=8_u8, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let sizes = LayerSizes::new(addr, eid).unwrap();
        let Ok((pci, payload)) = Pci::parse(sizes, &bytes) else {
            prop_assert!(bytes.len() < sizes.header_len());
            return Ok(());
        };
        let mut again = vec![0; sizes.header_len()];
        pci.emit(sizes, &mut again).unwrap();
        again.extend(payload);
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn forwarding_changes_two_bytes(addr in 1..=8_u8, eid in 1..=8_u8, queue: u8, mut packet: [u8; 32]) {
        let sizes = LayerSizes::new(addr, eid).unwrap();
        let (before, payload) = Pci::parse(sizes, &packet).map(|(pci, payload)| (pci, payload.to_vec())).unwrap();
        let mut header = HeaderMut::new(sizes, &mut packet).unwrap();
        prop_assert_eq!(header.dst(), before.dst);
        let left = header.hop();
        header.mark(queue);
        let expected = Pci { ttl: before.ttl.saturating_sub(1), ecn: before.ecn | queue, ..before };
        prop_assert_eq!(left, expected.ttl);
        let (after, rest): (Pci, Vec<u8>) = Pci::parse(sizes, &packet).map(|(pci, rest)| (pci, rest.to_vec())).unwrap();
        prop_assert_eq!((after, rest), (expected, payload));
    }
}
