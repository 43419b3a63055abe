//! Sockets of the operating system, on the loopback interface.

use std::thread::Builder;

use super::*;
use crate::base::buf::BufPool;

fn pair() -> (Arc<UdpSocket>, Arc<UdpSocket>) {
    pair_at("127.0.0.1:0").unwrap()
}

/// Two sockets at such an address, if the host has the family.
fn pair_at(addr: &str) -> Option<(Arc<UdpSocket>, Arc<UdpSocket>)> {
    let bind = || UdpSocket::bind(addr.parse().unwrap());
    match bind().and_then(|one| Ok((one, bind()?))) {
        Ok(pair) => Some(pair),
        Err(error) => {
            skip(&format!("{addr}: {error}"));
            None
        }
    }
}

/// Says past the capture of the harness what is not tested.
fn skip(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(io::stderr().lock(), "skipped: {why}");
}

fn recv(socket: &UdpSocket, n: usize) -> Vec<Datagram> {
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
    for _ in 0..100 {
        socket.recv(&mut out, &mut cache);
        if out.len() >= n {
            break;
        }
        socket.wait(Duration::from_millis(20));
    }
    out
}

#[test]
fn segments_arrive_as_datagrams() {
    for (a, b) in ["127.0.0.1:0", "[::1]:0"].into_iter().filter_map(pair_at) {
        let data: Vec<u8> = (0..10_050u32).map(|i| i as u8).collect();
        let segments = a.max_segments().min(10);
        for batch in data.chunks(1000 * segments) {
            a.send(b.local_addr(), batch, Some(1000)).unwrap();
        }
        let got = recv(&b, 11);
        assert_eq!(got.len(), 11);
        assert!(got.iter().all(|d| d.src == a.local_addr()));
        assert_eq!(got.iter().flat_map(|d| d.data.iter().copied()).collect::<Vec<_>>(), data);
        assert_eq!(got[10].data.len(), 50);
    }
}

/// Whatever the kernel puts together on the way: batches of any number of datagrams, the last one shorter.
#[test]
fn batches_of_any_number_arrive_as_the_datagrams_they_were() {
    for (a, b) in ["127.0.0.1:0", "[::1]:0"].into_iter().filter_map(pair_at) {
        for segment in [1, 2, 100, 1000] {
            for count in 1..=a.max_segments().min(64) {
                let data: Vec<u8> = (0..segment * count).map(|i| (i * 7 + count) as u8).collect();
                for batch in [&data[..], &data[..data.len() - segment / 2]] {
                    a.send(b.local_addr(), batch, Some(segment)).unwrap();
                    let got: Vec<_> = recv(&b, count).iter().map(|d| d.data.to_vec()).collect();
                    let sent: Vec<_> = batch.chunks(segment).map(<[u8]>::to_vec).collect();
                    assert!(got == sent, "{count} of {segment} bytes: {} arrived", got.len());
                }
            }
        }
    }
}

/// As of an interface that cannot cut up what it is given: the datagrams leave one by one, from then on as well.
#[cfg(target_os = "linux")]
#[test]
fn a_batch_that_the_kernel_refuses_leaves_datagram_by_datagram() {
    let (a, b) = pair();
    if a.max_segments() == 1 {
        return skip("this kernel has no segmentation offload");
    }
    // More than any kernel takes at once.
    let data: Vec<u8> = (0..2000u32).map(|i| (i / 10) as u8).collect();
    a.send(b.local_addr(), &data, Some(10)).unwrap();
    let got: Vec<_> = recv(&b, 200).iter().map(|d| d.data.to_vec()).collect();
    assert!(got == data.chunks(10).map(<[u8]>::to_vec).collect::<Vec<_>>(), "{} arrived", got.len());
    assert_eq!(a.max_segments(), 1, "it is not tried again");
    assert!(b.max_segments() > 1, "other sockets may have other interfaces");
}

/// A report of the network on an earlier datagram neither ends reading nor costs the next datagram.
#[cfg(target_os = "linux")]
#[test]
fn reports_on_earlier_datagrams_are_counted_and_skipped() {
    let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = gone.local_addr().unwrap();
    let connected = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.connect(to).unwrap();
    let a = UdpSocket::from_std(connected).unwrap();
    drop(gone);
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
    for n in 1..=10 {
        a.send(to, b"for nobody", None).unwrap();
        a.wait(Duration::from_secs(5));
        assert_eq!((a.recv(&mut out, &mut cache), a.rejected()), (0, n));
    }
    let back = UdpSocket::bind(to).unwrap();
    a.send(to, b"question", None).unwrap();
    assert_eq!(recv(&back, 1).len(), 1);
    back.send(a.local_addr(), b"answer", None).unwrap();
    assert_eq!(recv(&a, 1).len(), 1);
}

#[test]
fn large_and_empty_datagrams_pass() {
    for (a, b) in ["127.0.0.1:0", "[::1]:0"].into_iter().filter_map(pair_at) {
        let max = a.max_datagram();
        assert!(max >= MAX_UDP);
        for len in [0, 1, 8980, max] {
            a.send(b.local_addr(), &vec![7; len], None).unwrap();
            assert_eq!(recv(&b, 1)[0].data.len(), len);
        }
        assert_eq!(a.send(b.local_addr(), &vec![7; max + 1], None), Err(SendError::TooLarge));
    }
}

#[test]
fn two_threads_wait_and_each_is_told_for_itself() {
    let (a, _) = pair();
    for _ in 0..200 {
        let (b, c) = (Arc::clone(&a), Arc::clone(&a));
        let waits = Builder::new().spawn(move || b.wait(Duration::from_secs(60))).unwrap();
        let guards = Builder::new().spawn(move || c.guard(Duration::from_secs(60))).unwrap();
        a.interrupt();
        waits.join().unwrap();
        assert!(!guards.is_finished(), "an interrupt is not for the guard");
        a.dismiss();
        guards.join().unwrap();
    }
}

#[test]
fn a_closed_socket_is_free_at_once_despite_waiters() {
    for _ in 0..50 {
        let (a, b) = pair();
        let addr = a.local_addr();
        let (c, d) = (Arc::clone(&a), Arc::clone(&a));
        let waits = Builder::new().spawn(move || c.wait(Duration::from_secs(60))).unwrap();
        let guards = Builder::new()
            .spawn(move || {
                while !d.is_closed() {
                    d.guard(Duration::from_secs(60))
                }
            })
            .unwrap();
        a.close();
        let again = UdpSocket::bind(addr).unwrap();
        waits.join().unwrap();
        guards.join().unwrap();
        assert_eq!(a.send(b.local_addr(), b"late", None), Err(SendError::Down));
        b.send(addr, b"for the next", None).unwrap();
        assert!(recv(&a, 1).is_empty());
        assert_eq!(recv(&again, 1).len(), 1);
        a.close();
    }
}

#[test]
fn a_socket_of_all_addresses_says_which_was_meant_and_answers_from_it() {
    let all = UdpSocket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let (peer, _) = pair();
    let port = all.local_addr().port();
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let to = SocketAddr::new(ip.parse().unwrap(), port);
        peer.send(to, b"question", None).unwrap();
        let got = recv(&all, 1);
        assert_eq!(got[0].local, Some(to.ip()));
        all.send_from(got[0].local, got[0].src, b"answer", None).unwrap();
        assert_eq!(recv(&peer, 1)[0].src, to);
        assert_eq!(peer.local_addr().ip(), got[0].src.ip());
    }
}

#[test]
fn errors_have_names() {
    let (a, _) = pair();
    // From a loopback address nothing goes elsewhere, and this one is nobody's.
    let far: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let got = a.send(far, b"x", None);
    assert!(matches!(got, Err(SendError::Unreachable | SendError::Denied)), "{got:?}");
}

#[cfg(unix)]
#[test]
fn error_codes_are_told_apart() {
    for (code, error) in [
        (rustix::io::Errno::AGAIN, SendError::Full),
        (rustix::io::Errno::NOBUFS, SendError::NoBuffers),
        (rustix::io::Errno::NOMEM, SendError::NoBuffers),
        (rustix::io::Errno::MSGSIZE, SendError::TooLarge),
        (rustix::io::Errno::NETUNREACH, SendError::Unreachable),
        (rustix::io::Errno::HOSTUNREACH, SendError::Unreachable),
        (rustix::io::Errno::INVAL, SendError::Unreachable),
        (rustix::io::Errno::PERM, SendError::Denied),
        (rustix::io::Errno::ACCESS, SendError::Denied),
        (rustix::io::Errno::NETDOWN, SendError::InterfaceDown),
        (rustix::io::Errno::IO, SendError::Down),
    ] {
        assert_eq!(send_error(&io::Error::from_raw_os_error(code.raw_os_error())), error, "{code:?}");
    }
}

#[test]
fn an_interrupt_ends_the_wait_even_if_it_came_first() {
    let (a, _) = pair();
    a.interrupt();
    a.wait(Duration::from_secs(60));
    let b = Arc::clone(&a);
    let t = Builder::new().spawn(move || b.wait(Duration::from_secs(60))).unwrap();
    a.interrupt();
    t.join().unwrap();
}

#[test]
fn sockets_of_ipv6_take_no_ipv4_unless_they_are_to() {
    let Some((only, peer)) = pair_at("[::]:0") else { return };
    // The port is free for IPv4, which it were not if the socket took that as well.
    let beside = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], only.local_addr().port()))).unwrap();
    drop((beside, peer));
    let v4 = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    v4.send(SocketAddr::from(([127, 0, 0, 1], only.local_addr().port())), b"for nobody", None).unwrap();
    assert!(recv(&only, 1).is_empty());
}

#[test]
fn a_dual_socket_shows_ipv4_as_such_and_answers_from_the_address_that_was_asked() {
    let dual = SocketOptions { dual: true, ..SocketOptions::default() };
    let Ok(all) = UdpSocket::bind_with("[::]:0".parse().unwrap(), &dual) else { return skip("no IPv6") };
    let port = all.local_addr().port();
    for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
        let to = SocketAddr::new(ip.parse().unwrap(), port);
        let any = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let peer = UdpSocket::bind(any.parse().unwrap()).unwrap();
        peer.send(to, b"question", None).unwrap();
        let got = recv(&all, 1);
        assert_eq!((got[0].local, got[0].src), (Some(to.ip()), peer.local_addr()));
        all.send_from(got[0].local, got[0].src, b"answer", None).unwrap();
        assert_eq!(recv(&peer, 1)[0].src, to);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_bound_to_an_interface_uses_no_other() {
    let bound_to = |interface: &str| SocketOptions { interface: Some(interface.into()), ..SocketOptions::default() };
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let a = match UdpSocket::bind_with(any, &bound_to("lo")) {
        Ok(socket) => socket,
        Err(error) => return skip(&format!("binding to an interface: {error}")),
    };
    let (b, _) = pair();
    a.send(b.local_addr(), b"here", None).unwrap();
    assert_eq!(recv(&b, 1).len(), 1);
    assert!(UdpSocket::bind_with(any, &bound_to("no such if")).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn a_port_is_shared_only_by_those_who_say_so() {
    let shared = SocketOptions { reuse: true, ..SocketOptions::default() };
    let one = UdpSocket::bind_with("127.0.0.1:0".parse().unwrap(), &shared).unwrap();
    assert!(UdpSocket::bind(one.local_addr()).is_err());
    let other = UdpSocket::bind_with(one.local_addr(), &shared).unwrap();
    let (peer, _) = pair();
    for _ in 0..3 {
        peer.send(one.local_addr(), b"for one of them", None).unwrap();
    }
    // All of one peer arrive at the same.
    let mut got = [recv(&one, 3).len(), recv(&other, 3).len()];
    got.sort_unstable();
    assert_eq!(got, [0, 3]);
}

/// The kernel drops what nobody takes, and says how much.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn datagrams_that_have_no_room_are_counted() {
    let small = SocketOptions { receive_buffer: 4096, ..SocketOptions::default() };
    let (a, _) = pair();
    let b = UdpSocket::bind_with("127.0.0.1:0".parse().unwrap(), &small).unwrap();
    assert_eq!((b.clamped(), b.overrun()), (None, 0));
    for _ in 0..100 {
        a.send(b.local_addr(), &[7; 1000], None).unwrap();
    }
    let got = recv(&b, 100).len() as u64;
    assert!(got < 100, "all of them had room");
    assert_eq!(got + b.overrun(), 100);
    b.close();
    assert_eq!(b.overrun(), 0);
}
