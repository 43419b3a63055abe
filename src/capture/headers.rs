//! Headers of IP and UDP for datagrams of which a device tells only the addresses: what a socket is given has none.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use smallvec::SmallVec;

const UDP: u8 = 17;
const UDP_LEN: usize = 8;
const TTL: u8 = 64;

/// The headers in front of `payload`. Lengths are right, and checksums; what cannot be known, the identification for
/// instance, is 0. Addresses of both families are written as those of IPv6.
pub(super) fn udp(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> SmallVec<[u8; 64]> {
    let len = (UDP_LEN + payload.len()).min(usize::from(u16::MAX)) as u16;
    let mut head = SmallVec::new();
    match (src.ip(), dst.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = len.saturating_add(20);
            head.extend_from_slice(&[0x45, 0]);
            head.extend_from_slice(&total.to_be_bytes());
            head.extend_from_slice(&[0, 0, 0, 0, TTL, UDP, 0, 0]);
            head.extend_from_slice(&from.octets());
            head.extend_from_slice(&to.octets());
            let sum = !fold(sum(&head));
            if let Some(place) = head.get_mut(10..12) {
                place.copy_from_slice(&sum.to_be_bytes());
            }
            // 0 says that there is no checksum, which IPv4 allows.
            put_udp(&mut head, src, dst, len, 0);
        }
        (from, to) => {
            let (from, to) = (mapped(from), mapped(to));
            head.extend_from_slice(&[0x60, 0, 0, 0]);
            head.extend_from_slice(&len.to_be_bytes());
            head.extend_from_slice(&[UDP, TTL]);
            head.extend_from_slice(&from.octets());
            head.extend_from_slice(&to.octets());
            let ports = u64::from(src.port()) + u64::from(dst.port());
            let pseudo = sum(&from.octets()) + sum(&to.octets()) + 2 * u64::from(len) + u64::from(UDP);
            let check = !fold(pseudo + ports + sum(payload));
            put_udp(&mut head, src, dst, len, if check == 0 { u16::MAX } else { check });
        }
    }
    head
}

fn put_udp(head: &mut SmallVec<[u8; 64]>, src: SocketAddr, dst: SocketAddr, len: u16, check: u16) {
    for field in [src.port(), dst.port(), len, check] {
        head.extend_from_slice(&field.to_be_bytes());
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Sum of 16-bit numbers (RFC 1071), not folded yet.
fn sum(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>() + last
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_over_ipv4_are_whole_and_sum_up() {
        let head = udp("10.9.0.1:3435".parse().unwrap(), "10.9.0.2:4000".parse().unwrap(), b"hello");
        let expected = [
            0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0x66, 0xb6, 10, 9, 0, 1, 10, 9, 0, 2, 0x0d, 0x6b, 0x0f, 0xa0, 0, 13, 0,
            0,
        ];
        assert_eq!(head[..10], expected[..10]);
        assert_eq!(head[12..], expected[12..]);
        assert_eq!(fold(sum(&head[..20])), 0xffff, "the checksum is right");
    }

    #[test]
    fn headers_over_ipv6_are_whole_and_sum_up() {
        let payload = b"an odd number";
        let (src, dst) = ("[fe80::1]:3435".parse().unwrap(), "[2001:db8::2]:9".parse().unwrap());
        let head = udp(src, dst, payload);
        assert_eq!(head.len(), 48);
        assert_eq!((head[0], u16::from_be_bytes([head[4], head[5]])), (0x60, 21));
        let pseudo = sum(&head[8..40]) + 21 + 17;
        assert_eq!(fold(pseudo + sum(&head[40..]) + sum(payload)), 0xffff, "the checksum is right");
    }

    #[test]
    fn families_that_meet_are_written_as_ipv6() {
        let head = udp("127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap(), b"");
        assert_eq!(head[8..24], "::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap().octets());
    }
}
