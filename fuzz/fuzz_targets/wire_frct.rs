//! FRCT headers and selective acknowledgements: no input panics, and what decodes encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::wire::frct::{Flags, PathPacket, Pci, Sack};

fuzz_target!(|packet: &[u8]| {
    let Ok(pci) = Pci::parse(packet) else {
        return assert!(packet.len() < Pci::LEN);
    };
    let (header, payload) = packet.split_at(Pci::LEN);
    assert_eq!(pci.to_bytes(), header);
    assert!(!pci.to_string().is_empty());
    let again = match pci.path() {
        Some(PathPacket::Piece { offset, total }) => Some(Pci::piece(pci.flags, pci.seqno, offset, total)),
        Some(PathPacket::Probe(number)) if pci.flags == Flags::PATH => Some(Pci::probe(number)),
        Some(PathPacket::Answer(number)) if pci.flags == Flags::PATH | Flags::ACK => Some(Pci::answer(number)),
        _ => None,
    };
    assert!(again.is_none_or(|again| again.path() == pci.path() && again.flags == pci.flags));

    let Ok(sack) = Sack::parse(pci.ackno, payload) else {
        return;
    };
    let mut again = vec![0; sack.encoded_len()];
    sack.emit(&mut again).expect("the buffer has the length asked for");
    assert_eq!(again, payload);
    let mut edge = 0;
    for (first, end) in sack.blocks() {
        let (first, end) = (first.0.wrapping_sub(pci.ackno.0), end.0.wrapping_sub(pci.ackno.0));
        assert!(edge < first && first < end && end <= 0x7fff_ffff);
        edge = end;
    }
});
