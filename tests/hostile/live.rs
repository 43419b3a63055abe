//! Bad input at a socket of the operating system.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use o7s::base::rng::Rng;
use o7s::base::time::Clock as _;
use o7s::{QosSpec, SecurityConfig, Stack, Udp4};

use super::forge::{Forge, KINDS};
use super::{ENCRYPTED, MAX_FLOWS, hash, is_bounded, limits, shim};

/// A server that echoes, a client, and the server's address.
fn live() -> (Stack, Stack, SocketAddr) {
    let security: SecurityConfig = ENCRYPTED.parse().unwrap();
    let server = Stack::builder().limits(limits()).security(security.clone()).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0").max_flows(MAX_FLOWS)).unwrap();
    net.register("echo").unwrap();
    server
        .bind_handler("echo", |flow| {
            let mut buf = [0; 2048];
            while let Ok(n) = flow.read(&mut buf) {
                if flow.write(&buf[..n]).is_err() {
                    return;
                }
            }
        })
        .unwrap();
    let addr = net.local_addr().unwrap();
    let client = Stack::builder().security(security.clone()).build().unwrap();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &addr.to_string()).system_resolver(false)).unwrap();
    (server, client, addr)
}

const BOUND: Duration = Duration::from_secs(20);

fn ping_live(flow: &o7s::Flow, i: u32) {
    let mut buf = [0; 64];
    flow.write(&i.to_be_bytes()).unwrap();
    assert_eq!(flow.read_timeout(&mut buf, BOUND), Ok(4));
    assert_eq!(buf[..4], i.to_be_bytes());
}

#[test]
fn a_live_socket_survives_a_flood() {
    let (server, client, addr) = live();
    let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flooding = Arc::clone(&stop);
    let clock = o7s::time::OsClock::new();
    let flood = Builder::new()
        .spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut forge = Forge::new(Rng::from_seed([5; 32]), "echo");
            let mut sent = 0u64;
            while !flooding.load(Ordering::Relaxed) && sent < 200_000 {
                let datagram = forge.make(sent % KINDS, clock.unix_nanos());
                // A full buffer, or a refusal: so much the better.
                let _ = socket.send_to(&datagram, addr);
                sent += 1;
                if sent.is_multiple_of(64) {
                    std::thread::yield_now();
                }
            }
            sent
        })
        .unwrap();
    for i in 0..500 {
        ping_live(&flow, i);
        if i % 50 == 0 {
            is_bounded(&server.rib());
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(flood.join().unwrap() > 100);
    let rib = server.rib();
    is_bounded(&rib);
    assert!(shim(&rib, "unknown_eid") > 0 && shim(&rib, "refused") > 0, "{rib}");
    ping_live(&flow, 1000);
}

#[test]
fn a_live_socket_takes_datagrams_of_every_length() {
    let (server, client, addr) = live();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = Rng::from_seed([6; 32]);
    let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
    let mut random = vec![0; 9000];
    rng.fill(&mut random);
    for len in 0..=9000u32 {
        // Management: nothing but zeros, a request, a reply; and data.
        for code in 0..3 {
            let mut datagram = random[..len as usize].to_vec();
            let eid = datagram.len().min(4);
            datagram[..eid].fill(0);
            if let Some(at) = datagram.get_mut(44) {
                *at = code;
            }
            if code == 1 && len >= 63 {
                datagram[47..63].copy_from_slice(hash("echo").as_bytes());
            }
            socket.send_to(&datagram, addr).unwrap();
        }
        socket.send_to(&random[..len as usize], addr).unwrap();
        if len % 200 == 0 {
            ping_live(&flow, len);
        }
    }
    is_bounded(&server.rib());
    ping_live(&flow, 1);
}

#[test]
fn every_truncation_and_every_flipped_bit_of_a_request_is_survived() {
    let (server, client, addr) = live();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let clock = o7s::time::OsClock::new();
    let mut forge = Forge::new(Rng::from_seed([7; 32]), "echo");
    let encrypted: SecurityConfig = ENCRYPTED.parse().unwrap();
    let good = forge.good(clock.unix_nanos(), &encrypted);
    for len in 0..good.len() {
        socket.send_to(&good[..len], addr).unwrap();
    }
    for bit in 0..good.len() * 8 {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        socket.send_to(&damaged, addr).unwrap();
        if bit % 100 == 0 {
            is_bounded(&server.rib());
        }
    }
    // The flows that came of it, if any, are silent; there is room for more.
    let flow = client.flow("echo").qos(QosSpec { timeout: 60_000, ..QosSpec::DATA }).timeout(BOUND).alloc().unwrap();
    ping_live(&flow, 1);
    is_bounded(&server.rib());
}
