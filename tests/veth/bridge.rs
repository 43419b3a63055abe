//! A switch between packet sockets: frames of all kinds pass through it as they are, and flows with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use o7s::device::{Bridge, Datagrams as _, Frames, Mac, PacketSocket, UdpSocket};
use o7s::time::{Clock as _, OsClock};
use o7s::{Eth, QosSpec, Stack};

use crate::net::{BOUND, TYPE, cable, frame, ip, look, of_type, on_cable, open, receive, wait_until};

/// Has the switch end, also when a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has a switch between `vb` and `wb` work meanwhile.
fn with_bridge(test: impl FnOnce(&Bridge)) {
    cable("wa", "wb");
    let devices = ["vb", "wb"].map(|name| PacketSocket::all(name).unwrap());
    let bridge = Bridge::new(["vb", "wb"].into_iter().zip(devices.clone().map(|device| device as Arc<dyn Frames>)));
    let (done, clock) = (AtomicBool::new(false), OsClock::new());
    std::thread::scope(|scope| {
        for (port, device) in devices.iter().enumerate() {
            let (bridge, done, clock) = (&bridge, &done, &clock);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    if bridge.poll(clock.now(), port) == 0 {
                        device.wait(Duration::from_millis(100));
                    }
                }
            });
        }
        let _ends = Ends(&done);
        test(&bridge);
    });
}

#[test]
fn frames_pass_a_switch_as_they_are() {
    on_cable(|| {
        with_bridge(|bridge| {
            let (a, b) = (open("va"), open("wa"));
            for to in [Mac::BROADCAST, b.mac()] {
                for payload in [&b"short"[..], &[7; 1500]] {
                    let sent = frame(&a, to, payload);
                    a.send(&sent).unwrap();
                    assert_eq!(receive(&b, 1), [sent]);
                }
            }
            let back = frame(&b, a.mac(), b"back");
            b.send(&back).unwrap();
            assert_eq!(receive(&a, 1), [back]);
            wait_until("both are learned", || bridge.learned(OsClock::new().now()).len() == 2);
        });
    });
}

#[test]
fn tags_pass_a_switch() {
    on_cable(|| {
        with_bridge(|_| {
            let (a, whole) = (open("va"), PacketSocket::all("wa").unwrap());
            for (tpid, tci, payload) in [(0x8100_u16, 5_u16, 46), (0x88a8, 0xe006, 46), (0x8100, 7, 1500)] {
                let inner = [&tci.to_be_bytes()[..], &TYPE.to_be_bytes(), &vec![1; payload]].concat();
                let sent = of_type(tpid, &a, Mac([2, 0, 0, 0, 0, 9]), &inner);
                a.send(&sent).unwrap();
                assert_eq!(receive(&whole, 1), [sent], "{tpid:#x}");
            }
        });
    });
}

#[test]
fn jumbo_frames_with_a_tag_pass_a_switch() {
    on_cable(|| {
        for interface in ["va", "vb"] {
            ip(&format!("link set {interface} mtu 9000"));
        }
        let (a, b) = (PacketSocket::all("va").unwrap(), PacketSocket::all("vb").unwrap());
        let inner = [&[0, 5][..], &TYPE.to_be_bytes(), &vec![3; 9000]].concat();
        let sent = of_type(0x8100, &a, b.mac(), &inner);
        a.send(&sent).unwrap();
        assert_eq!(receive(&b, 1), [sent]);
    });
}

#[test]
fn layers_meet_through_a_switch() {
    on_cable(|| {
        with_bridge(|bridge| {
            let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
            server.eth(Eth::dix("wa")).unwrap().register("echo").unwrap();
            client.eth(Eth::dix("va")).unwrap();
            server
                .bind_handler("echo", |flow| {
                    let mut buf = [0; 2000];
                    while let Ok(len) = flow.read(&mut buf) {
                        let _ = flow.write(&buf[..len]);
                    }
                })
                .unwrap();
            let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
            let mut buf = [0; 2000];
            for n in 1..100 {
                flow.write(&[7; 1400][..14 * n]).unwrap();
                assert_eq!(flow.read_timeout(&mut buf, BOUND).unwrap(), 14 * n);
            }
            assert!(bridge.to_string().contains(" sent, 0 dropped"), "{bridge}");
        });
    });
}

/// A socket of the kernel whose datagrams leave by `va`, and where there is somebody to be sent to.
fn datagrams() -> (Arc<UdpSocket>, SocketAddr) {
    ip("addr add 10.9.0.1/24 dev va");
    ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev va");
    (UdpSocket::bind("10.9.0.1:0".parse().unwrap()).unwrap(), "10.9.0.2:9".parse().unwrap())
}

#[test]
fn frames_that_the_hardware_was_to_finish_are_counted_and_not_handed_up() {
    on_cable(|| {
        let (all, (socket, to)) = (PacketSocket::all("vb").unwrap(), datagrams());
        // Of each datagram the checksum is missing.
        for n in 1..=3 {
            socket.send(to, &[7; 1000], None).unwrap();
            wait_until("it is counted", || {
                assert!(look(&all).is_empty());
                all.losses().damaged == n
            });
        }
        assert_eq!((all.losses().oversized, all.losses().tagged, all.losses().overrun), (0, 0, 0));
        let (a, b) = (open("va"), open("vb"));
        let whole = frame(&a, b.mac(), b"whole");
        a.send(&whole).unwrap();
        assert_eq!(receive(&all, 1), [whole]);
    });
}

#[test]
fn frames_that_several_were_put_together_into_are_counted_and_not_cut() {
    on_cable(|| {
        let (all, (socket, to)) = (PacketSocket::all("vb").unwrap(), datagrams());
        if socket.max_segments() < 10 {
            eprintln!("skipped: no segmentation offload");
            return;
        }
        for n in 1..=3 {
            socket.send(to, &[7; 10_000], Some(1000)).unwrap();
            wait_until("it is counted", || {
                assert!(look(&all).is_empty());
                all.losses().oversized == n
            });
        }
        assert_eq!((all.losses().damaged, all.losses().tagged, all.losses().overrun), (0, 0, 0));
        let (a, b) = (open("va"), open("vb"));
        let whole = frame(&a, b.mac(), &[8; 1500]);
        a.send(&whole).unwrap();
        assert_eq!(receive(&all, 1), [whole]);
    });
}
