//! From packets of IP to UDP datagrams.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Packets of which fragments are kept at most.
const MAX_PARTIAL: usize = 64;
/// Fragments of a packet at most.
const MAX_PIECES: usize = 64;
const UDP: u8 = 17;

/// A UDP datagram.
pub(super) struct Datagram {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) payload: Vec<u8>,
}

type Key = (Ipv4Addr, Ipv4Addr, u16);

/// Packets of which fragments have come.
#[derive(Default)]
pub(super) struct Fragments {
    partial: BTreeMap<Key, Partial>,
    order: VecDeque<Key>,
}

#[derive(Default)]
struct Partial {
    pieces: BTreeMap<usize, Vec<u8>>,
    len: Option<usize>,
}

impl Partial {
    fn whole(&self) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        for (&at, piece) in &self.pieces {
            if at > whole.len() {
                return None;
            }
            whole.truncate(at);
            whole.extend_from_slice(piece);
        }
        (Some(whole.len()) == self.len).then_some(whole)
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

impl Fragments {
    /// The datagram in a packet; `None` if there is none, or not the whole of it yet.
    pub(super) fn take(&mut self, packet: &[u8]) -> Option<Datagram> {
        match packet.first()? >> 4 {
            4 => self.v4(packet),
            6 => v6(packet),
            _ => None,
        }
    }

    fn v4(&mut self, packet: &[u8]) -> Option<Datagram> {
        let head = usize::from(packet.first()? & 15) * 4;
        let total = usize::from(be16(packet, 2)?);
        let address = |at: usize| packet.get(at..)?.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes));
        let (src, dst) = (address(12)?, address(16)?);
        if *packet.get(9)? != UDP {
            return None;
        }
        let body = packet.get(head..total)?;
        let fragment = be16(packet, 6)?;
        let (more, at) = (fragment & 0x2000 != 0, 8 * usize::from(fragment & 0x1fff));
        if !more && at == 0 {
            return udp(src.into(), dst.into(), body);
        }
        let key = (src, dst, be16(packet, 4)?);
        if !self.partial.contains_key(&key) {
            self.order.push_back(key);
            if self.order.len() > MAX_PARTIAL {
                let oldest = self.order.pop_front()?;
                self.partial.remove(&oldest);
            }
        }
        let partial = self.partial.entry(key).or_default();
        if partial.pieces.len() >= MAX_PIECES {
            return None;
        }
        partial.pieces.insert(at, body.to_vec());
        if !more {
            partial.len = Some(at + body.len());
        }
        let whole = partial.whole()?;
        self.partial.remove(&key);
        self.order.retain(|other| *other != key);
        udp(src.into(), dst.into(), &whole)
    }
}

fn v6(packet: &[u8]) -> Option<Datagram> {
    let address = |at: usize| packet.get(at..)?.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes));
    let len = usize::from(be16(packet, 4)?);
    if *packet.get(6)? != UDP {
        return None;
    }
    udp(address(8)?.into(), address(24)?.into(), packet.get(40..40 + len)?)
}

fn udp(src: IpAddr, dst: IpAddr, segment: &[u8]) -> Option<Datagram> {
    let len = usize::from(be16(segment, 4)?);
    let payload = segment.get(8..len)?.to_vec();
    let (from, to) = (be16(segment, 0)?, be16(segment, 2)?);
    Some(Datagram { src: SocketAddr::new(src, from), dst: SocketAddr::new(dst, to), payload })
}

#[cfg(test)]
mod tests {
    use super::super::super::headers;
    use super::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut packet = headers::udp("10.9.0.1:7".parse().unwrap(), "10.9.0.2:8".parse().unwrap(), payload).to_vec();
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn fragments_in_any_order_make_the_datagram() {
        let payload: Vec<u8> = (0..100).collect();
        let whole = packet(&payload);
        let (head, body) = whole.split_at(20);
        let piece = |at: usize, end: usize| {
            let mut piece = head.to_vec();
            piece.extend_from_slice(&body[at..end]);
            let more = if end < body.len() { 0x2000 } else { 0 };
            let fields = [(piece.len() as u16), 77, more | (at / 8) as u16];
            for (i, field) in fields.into_iter().enumerate() {
                piece[2 + 2 * i..4 + 2 * i].copy_from_slice(&field.to_be_bytes());
            }
            piece
        };
        let mut fragments = Fragments::default();
        assert!(fragments.take(&piece(48, 108)).is_none());
        assert!(fragments.take(&piece(48, 108)).is_none(), "a copy");
        let datagram = fragments.take(&piece(0, 48)).unwrap();
        assert_eq!((datagram.src.port(), datagram.dst.port(), datagram.payload), (7, 8, payload));
        assert!(fragments.partial.is_empty() && fragments.order.is_empty());
    }

    #[test]
    fn fragments_that_never_find_the_others_are_bounded() {
        let mut fragments = Fragments::default();
        for id in 0..500u16 {
            let mut piece = packet(b"12345678");
            piece[4..6].copy_from_slice(&id.to_be_bytes());
            piece[6] = 0x20;
            assert!(fragments.take(&piece).is_none());
        }
        assert_eq!(fragments.partial.len(), MAX_PARTIAL);
    }

    #[test]
    fn truncated_packets_are_not_datagrams() {
        let whole = packet(b"hello");
        for len in 0..whole.len() {
            assert!(Fragments::default().take(&whole[..len]).is_none(), "{len} bytes");
        }
        assert_eq!(Fragments::default().take(&whole).unwrap().payload, b"hello");
    }
}
