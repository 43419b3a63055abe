//! From a capture file to the frames in it (pcap), and from those to UDP datagrams: Ethernet, IPv4 with fragments, UDP.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use pcap_parser::{Linktype, PcapCapture};

/// One UDP datagram.
pub(crate) struct Udp {
    pub(crate) src: (Ipv4Addr, u16),
    pub(crate) dst: (Ipv4Addr, u16),
    pub(crate) payload: Vec<u8>,
}

/// A packet of which fragments have come: (offset, bytes), and the length once it is known.
#[derive(Default)]
struct Partial {
    pieces: BTreeMap<usize, Vec<u8>>,
    len: Option<usize>,
}

impl Partial {
    fn whole(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for (&at, piece) in &self.pieces {
            if at != out.len() {
                return None;
            }
            out.extend(piece);
        }
        (Some(out.len()) == self.len).then_some(out)
    }
}

/// The frames of a capture.
pub(crate) fn frames(file: &[u8]) -> Vec<Vec<u8>> {
    let capture = PcapCapture::from_file(file).unwrap();
    assert_eq!(capture.header.network, Linktype::ETHERNET);
    let read: usize = 24 + capture.blocks.iter().map(|b| 16 + b.caplen as usize).sum::<usize>();
    assert_eq!(read, file.len(), "the file was read to its end");
    assert!(capture.blocks.iter().all(|block| block.caplen == block.origlen), "frames are whole");
    capture.blocks.iter().map(|block| block.data.to_vec()).collect()
}

/// The datagrams in frames that hold nothing but UDP over IPv4; anything else is a failure of the test.
pub(crate) fn datagrams(frames: &[Vec<u8>]) -> Vec<Udp> {
    let mut partial: BTreeMap<(Ipv4Addr, Ipv4Addr, u16), Partial> = BTreeMap::new();
    let mut datagrams = Vec::new();
    for frame in frames {
        let ip = &frame[14..];
        assert_eq!(&frame[12..14], [0x08, 0x00], "IPv4");
        assert_eq!((ip[0], ip[9]), (0x45, 17), "no options, UDP");
        let src = Ipv4Addr::from(<[u8; 4]>::try_from(&ip[12..16]).unwrap());
        let dst = Ipv4Addr::from(<[u8; 4]>::try_from(&ip[16..20]).unwrap());
        let body = &ip[20..usize::from(be16(&ip[2..]))];
        let (more, at) = (ip[6] & 0x20 != 0, 8 * usize::from(be16(&ip[6..]) & 0x1fff));
        if !more && at == 0 {
            datagrams.push(udp(src, dst, body));
            continue;
        }
        let key = (src, dst, be16(&ip[4..]));
        let packet = partial.entry(key).or_default();
        packet.pieces.insert(at, body.to_vec());
        if !more {
            packet.len = Some(at + body.len());
        }
        if let Some(whole) = packet.whole() {
            partial.remove(&key);
            datagrams.push(udp(src, dst, &whole));
        }
    }
    assert!(partial.is_empty(), "every fragment found the others");
    datagrams
}

fn udp(src: Ipv4Addr, dst: Ipv4Addr, packet: &[u8]) -> Udp {
    assert_eq!(usize::from(be16(&packet[4..])), packet.len());
    Udp { src: (src, be16(packet)), dst: (dst, be16(&packet[2..])), payload: packet[8..].to_vec() }
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}
