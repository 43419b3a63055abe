use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(core::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn pci(flags: Flags, window: u32, seqno: u32, ackno: u32) -> Pci {
    Pci { flags, window, seqno: Seq(seqno), ackno: Seq(ackno) }
}

/// The bytes that the C reference sends for each kind of packet.
#[test]
fn packets_of_the_reference() {
    let cases = [
        ("03 00 00 00 27 AB 4E DC 00 00 00 00 72 65 71", pci(Flags::DATA | Flags::DRF, 0, 0x27ab_4edc, 0), "req"),
        ("0C AB 4F DD 00 00 00 00 27 AB 4E DD", pci(Flags::ACK | Flags::FC, 0x00ab_4fdd, 0, 0x27ab_4edd), ""),
        (
            "0F AB 4F DD 84 AC 93 D2 27 AB 4E DD 72 73 70",
            pci(Flags::DATA | Flags::DRF | Flags::ACK | Flags::FC, 0x00ab_4fdd, 0x84ac_93d2, 0x27ab_4edd),
            "rsp",
        ),
        ("10 00 00 00 00 00 00 00 00 00 00 00", pci(Flags::RDVS, 0, 0, 0), ""),
        ("08 00 01 10 00 00 00 00 00 00 00 00", pci(Flags::FC, 0x0000_0110, 0, 0), ""),
        ("04 00 00 00 00 00 00 00 00 00 00 43", pci(Flags::ACK, 0, 0, 0x43), ""),
    ];
    for (bytes, expected, payload) in cases {
        let bytes = hex(bytes);
        assert_eq!(Pci::parse(&bytes), Ok(expected));
        let mut out = [0xff; Pci::LEN];
        expected.emit(&mut out);
        assert_eq!(out, bytes[..Pci::LEN]);
        assert_eq!(&bytes[Pci::LEN..], payload.as_bytes());
    }
}

#[test]
fn display_of_pci() {
    let data = pci(Flags::DATA | Flags::DRF | Flags::ACK | Flags::FC, 0x00ab_4fdd, 5, 3);
    assert_eq!(data.to_string(), "data|drf|ack|fc seq 5 ack 3 win 0xab4fdd");
    assert_eq!(pci(Flags::RDVS, 1, 2, 3).to_string(), "rdvs");
    assert_eq!(pci(Flags::RDVS | Flags::DRF, 1, 2, 3).to_string(), "drf|rdvs seq 2");
    assert_eq!(pci(Flags::NONE, 1, 2, 3).to_string(), "none");
    assert_eq!(
        Pci::piece(Flags::DATA | Flags::MFGM, Seq(9), 1200, 8900).to_string(),
        "data|rdvs|mfgm|end seq 9 piece at 1200 of 8900"
    );
    assert_eq!(Pci::probe(Seq(4)).to_string(), "rdvs|end path probe 4");
    assert_eq!(Pci::answer(Seq(4)).to_string(), "ack|rdvs|end path answer 4");
    assert_eq!(Flags::from_bits(0xff).to_string(), "data|drf|ack|fc|rdvs|ffgm|mfgm|end");
    assert_eq!(alloc::format!("{:?}", Flags::from_bits(0x80)), "Flags(end)");
}

/// The layout of what two o7s ends tell each other about a path, and nothing else that anyone sends.
#[test]
fn pieces_and_path_probes() {
    let piece = Pci::piece(Flags::DATA | Flags::DRF | Flags::FRAGMENT, Seq(0x0102_0304), 1200, 8900);
    assert_eq!(piece.to_bytes()[..], hex("f3 00 04 b0 01 02 03 04 00 00 22 c4"));
    assert_eq!(piece.path(), Some(PathPacket::Piece { offset: 1200, total: 8900 }));
    assert_eq!(Pci::probe(Seq(5)).to_bytes()[..], hex("90 00 00 00 00 00 00 05 00 00 00 00"));
    assert_eq!(Pci::answer(Seq(5)).to_bytes()[..], hex("94 00 00 00 00 00 00 00 00 00 00 05"));
    for bits in 0..=u8::MAX {
        let flags = Flags::from_bits(bits);
        let both = flags.contains(Flags::RDVS) && flags.contains(Flags::END);
        assert_eq!(pci(flags, 1, 2, 3).path().is_some(), both, "{flags}");
    }
}

#[test]
fn too_short_at_every_length() {
    let bytes = pci(Flags::DATA, 1, 2, 3).to_bytes();
    for have in 0..Pci::LEN {
        assert_eq!(Pci::parse(&bytes[..have]), Err(WireError::Truncated { need: Pci::LEN, have }));
    }
}

#[test]
fn a_window_is_cut_to_its_field() {
    let wide = pci(Flags::FC, 0x1234_5678, 0, 0);
    assert_eq!(wide.to_bytes()[..4], [0x08, 0x34, 0x56, 0x78], "never spills into the flags");
}

#[test]
fn sack_layout() {
    let mut sack = Sack::new(Seq(0xffff_fff0));
    assert!(sack.push(Seq(0xffff_fff2), Seq(0xffff_fff4)));
    assert!(sack.push(Seq(0xffff_ffff), Seq(0x0000_0002)), "numbers wrap");
    let mut out = [0xee; 19];
    sack.emit(&mut out).unwrap();
    assert_eq!(out[..18], hex("53 02 ff ff ff f2 ff ff ff f4 ff ff ff ff 00 00 00 02"));
    assert_eq!(out[18], 0xee, "nothing behind it is touched");
    assert_eq!(Sack::parse(Seq(0xffff_fff0), &out[..18]), Ok(sack));
    assert_eq!(sack.to_string(), "sack 4294967282-4294967283 4294967295-1");
    assert_eq!(sack.emit(&mut out[..17]), Err(WireError::NoRoom { need: 18 }));
}

#[test]
fn sack_rejects_unordered_blocks() {
    let bad: [&[(u32, u32)]; 6] = [
        &[(100, 102)],
        &[(105, 105)],
        &[(105, 104)],
        &[(90, 95)],
        &[(105, 107), (107, 108)],
        &[(105, 107), (106, 109)],
    ];
    for blocks in bad {
        let mut bytes = alloc::vec![0x53, blocks.len() as u8];
        for (first, end) in blocks {
            bytes.extend(first.to_be_bytes());
            bytes.extend(end.to_be_bytes());
        }
        let found = Sack::parse(Seq(100), &bytes);
        assert_eq!(found, Err(WireError::Invalid { field: "selective acknowledgement" }), "{blocks:?}");
    }
    let mut far = Sack::new(Seq(0));
    assert!(!far.push(Seq(5), Seq(0x8000_0000)), "end out of reach");
    assert!(far.push(Seq(5), Seq(0x7fff_ffff)));
}

#[test]
fn sack_takes_no_more_than_its_limit() {
    let mut sack = Sack::new(Seq(0));
    assert!(sack.is_empty());
    for i in 1..=Sack::MAX_BLOCKS as u32 {
        assert!(sack.push(Seq(10 * i), Seq(10 * i + 1)));
    }
    assert!(!sack.push(Seq(10_000), Seq(10_001)));
    assert_eq!(sack.encoded_len(), Sack::MAX_LEN);
    assert_eq!(sack.blocks().count(), Sack::MAX_BLOCKS);

    let mut bytes = [0; Sack::MAX_LEN];
    sack.emit(&mut bytes).unwrap();
    assert_eq!(Sack::parse(Seq(0), &bytes), Ok(sack));
    for have in 0..bytes.len() {
        assert!(matches!(Sack::parse(Seq(0), &bytes[..have]), Err(WireError::Truncated { .. })));
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(matches!(Sack::parse(Seq(0), &longer), Err(WireError::Length { value: 1, .. })));
    for n in [0, 33, 255] {
        bytes[1] = n;
        assert!(matches!(Sack::parse(Seq(0), &bytes), Err(WireError::Length { .. })));
    }
    bytes[0] = b's';
    assert!(matches!(Sack::parse(Seq(0), &bytes), Err(WireError::Unknown { .. })));
}

#[test]
fn an_empty_sack_is_not_sent() {
    let error = Sack::new(Seq(0)).emit(&mut [0; 8]);
    assert_eq!(error, Err(WireError::Invalid { field: "selective acknowledgement" }));
}

/// Ascending blocks with gaps, as distances from an acknowledgement.
fn blocks() -> impl Strategy<Value = Vec<(u32, u32)>> {
    proptest::collection::vec((1_u32..1000, 1_u32..1000), 1..=Sack::MAX_BLOCKS).prop_map(|steps| {
        let mut edge = 0;
        steps
            .into_iter()
            .map(|(gap, len)| {
                let first = edge + gap;
                edge = first + len;
                (first, edge)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_twelve_bytes_are_a_header(bytes: [u8; 12], payload: Vec<u8>) {
        let mut packet = bytes.to_vec();
        packet.extend(&payload);
        let pci = Pci::parse(&packet).unwrap();
        prop_assert_eq!(pci.to_bytes(), bytes);
        prop_assert!(!pci.to_string().is_empty());
    }

    #[test]
    fn any_header_round_trips(flags: u8, window in 0..=Pci::WINDOW_MASK, seqno: u32, ackno: u32) {
        let pci = pci(Flags::from_bits(flags), window, seqno, ackno);
        prop_assert_eq!(Pci::parse(&pci.to_bytes()), Ok(pci));
    }

    #[test]
    fn any_piece_and_probe_round_trips(flags: u8, seqno: u32, offset in 0..=Pci::WINDOW_MASK, total: u32) {
        let flags = Flags::from_bits(flags & 0x63) | Flags::DATA;
        let piece = Pci::piece(flags, Seq(seqno), offset, total);
        let parsed = Pci::parse(&piece.to_bytes()).unwrap();
        prop_assert_eq!((parsed, parsed.path()), (piece, Some(PathPacket::Piece { offset, total })));
        for (pci, packet) in [
            (Pci::probe(Seq(seqno)), PathPacket::Probe(Seq(seqno))),
            (Pci::answer(Seq(seqno)), PathPacket::Answer(Seq(seqno))),
        ] {
            prop_assert_eq!(Pci::parse(&pci.to_bytes()).unwrap().path(), Some(packet));
        }
    }

    #[test]
    fn any_sack_round_trips(ackno: u32, blocks in blocks()) {
        let mut sack = Sack::new(Seq(ackno));
        for &(first, end) in &blocks {
            prop_assert!(sack.push(Seq(ackno.wrapping_add(first)), Seq(ackno.wrapping_add(end))));
        }
        let mut bytes = alloc::vec![0; sack.encoded_len()];
        sack.emit(&mut bytes).unwrap();
        prop_assert_eq!(Sack::parse(Seq(ackno), &bytes), Ok(sack));
        prop_assert_eq!(sack.blocks().count(), blocks.len());
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_another_sack(ackno: u32, blocks in blocks(), bit: usize) {
        let mut sack = Sack::new(Seq(ackno));
        for (first, end) in blocks {
            sack.push(Seq(ackno.wrapping_add(first)), Seq(ackno.wrapping_add(end)));
        }
        let mut bytes = alloc::vec![0; sack.encoded_len()];
        sack.emit(&mut bytes).unwrap();
        let bit = bit % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Sack::parse(Seq(ackno), &bytes) {
            prop_assert_ne!(other, sack);
            let mut again = alloc::vec![0; other.encoded_len()];
            other.emit(&mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_sack_or_an_error(ackno: u32, mut bytes: Vec<u8>, plausible: bool) {
        if plausible && bytes.len() >= 2 {
            bytes[0] = 0x53;
            bytes[1] = ((bytes.len() - 2) / 8) as u8;
        }
        if let Ok(sack) = Sack::parse(Seq(ackno), &bytes) {
            let mut again = alloc::vec![0; sack.encoded_len()];
            sack.emit(&mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}
