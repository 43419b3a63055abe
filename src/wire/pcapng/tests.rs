use std::string::String;

use pcap_parser::{Block as Parsed, PcapNGOption, parse_block_le};
use proptest::prelude::*;

use super::*;

/// The blocks in a file, read by somebody else's reader.
fn blocks(mut file: &[u8]) -> Vec<Parsed<'_>> {
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let (rest, block) = parse_block_le(file).unwrap();
        blocks.push(block);
        file = rest;
    }
    blocks
}

fn texts(options: &[PcapNGOption<'_>]) -> Vec<(u16, String)> {
    let text = |o: &PcapNGOption<'_>| (o.code.0, String::from_utf8_lossy(o.value()).trim_end_matches('\0').into());
    options.iter().map(text).collect()
}

#[test]
fn a_file_is_these_bytes() {
    let mut file = Vec::new();
    section("o7s", &mut file);
    let shb = [
        0x0a, 0x0d, 0x0d, 0x0a, 40, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 4, 0, 3, 0, b'o', b'7', b's', 0, 0, 0, 0, 0, 40, 0, 0, 0,
    ];
    assert_eq!(file, shb);
    file.clear();
    interface(LINK_RAW, 96, "a", "", &mut file);
    let idb = [
        1, 0, 0, 0, 40, 0, 0, 0, 101, 0, 0, 0, 96, 0, 0, 0, 2, 0, 1, 0, b'a', 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0,
        0, 40, 0, 0, 0,
    ];
    assert_eq!(file, idb);
    file.clear();
    Packet {
        interface: 1,
        unix_nanos: 0x0102_0304_0506_0708,
        head: b"he",
        data: b"ada",
        original: 9,
        direction: Some(Direction::Out),
        lost: 3,
        comment: "no",
    }
    .emit(&mut file);
    let epb = [
        6, 0, 0, 0, 72, 0, 0, 0, 1, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5, 5, 0, 0, 0, 9, 0, 0, 0, b'h', b'e', b'a', b'd',
        b'a', 0, 0, 0, 2, 0, 4, 0, 2, 0, 0, 0, 4, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, b'n', b'o', 0, 0, 0, 0,
        0, 0, 72, 0, 0, 0,
    ];
    assert_eq!(file, epb);
    file.clear();
    secrets(b"key", &mut file);
    assert_eq!(file, [10, 0, 0, 0, 24, 0, 0, 0, b'K', b'S', b'7', b'O', 3, 0, 0, 0, b'k', b'e', b'y', 0, 24, 0, 0, 0]);
}

#[test]
fn another_reader_reads_it() {
    let mut file = Vec::new();
    section("a program", &mut file);
    interface(LINK_ETHERNET, 0, "eth0", "cable", &mut file);
    let packet = Packet { data: b"12345", original: 5, comment: "dropped: for a reason", ..Packet::default() };
    packet.emit(&mut file);
    secrets(b"line\n", &mut file);
    statistics(0, 7, 10, 2, &mut file);
    let all = blocks(&file);
    let [
        Parsed::SectionHeader(_),
        Parsed::InterfaceDescription(idb),
        Parsed::EnhancedPacket(epb),
        Parsed::DecryptionSecrets(dsb),
        Parsed::InterfaceStatistics(isb),
    ] = all.as_slice()
    else {
        panic!("{all:?}")
    };
    assert_eq!((idb.linktype.0, idb.if_tsresol), (1, 9));
    assert!(texts(&idb.options).contains(&(IF_NAME, "eth0".into())));
    assert_eq!((epb.if_id, epb.caplen, epb.origlen, &epb.data[..5]), (0, 5, 5, &b"12345"[..]));
    assert!(texts(&epb.options).contains(&(OPT_COMMENT, "dropped: for a reason".into())));
    assert_eq!((dsb.secrets_type.0, &dsb.data[..5]), (SECRETS_O7S, &b"line\n"[..]));
    assert_eq!(isb.if_id, 0);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let mut file = Vec::new();
    let long = "ü".repeat(800);
    interface(LINK_RAW, 0, &long, &long, &mut file);
    let all = blocks(&file);
    let [Parsed::InterfaceDescription(idb)] = all.as_slice() else { panic!("{all:?}") };
    assert!(texts(&idb.options).contains(&(IF_NAME, "ü".repeat(500))));
}

#[test]
fn the_head_of_a_flows_packet_is_read_as_it_was_written() {
    for flags in 0..32u8 {
        let has = |bit: u8| flags & bit != 0;
        let head =
            Flow { flow: 7 << 40, frct: has(1), reliable: has(2), encrypted: has(4), sent: has(8), sealed: has(16) };
        let bytes = head.to_bytes();
        assert_eq!(bytes[1], flags);
        assert_eq!(Flow::parse(&bytes), Ok((head, &[][..])));
    }
    let mut other = Flow::default().to_bytes();
    other[0] = 2;
    assert!(Flow::parse(&other).is_err() && Flow::parse(&other[..11]).is_err());
}

proptest! {
    #[test]
    fn any_packet_is_a_block_of_the_length_it_says(
        data in proptest::collection::vec(any::<u8>(), 0..200),
        head in proptest::collection::vec(any::<u8>(), 0..50),
        comment in ".{0,40}",
        lost: u64,
    ) {
        let original = (head.len() + data.len()) as u32;
        let packet = Packet { head: &head, data: &data, original, comment: &comment, lost, ..Packet::default() };
        let mut file = Vec::new();
        packet.emit(&mut file);
        prop_assert!(file.len() <= packet.max_len());
        let all = blocks(&file);
        let [Parsed::EnhancedPacket(epb)] = all.as_slice() else { panic!("{all:?}") };
        let whole = [&head[..], &data[..]].concat();
        prop_assert_eq!(&epb.data[..whole.len()], &whole[..]);
    }
}
