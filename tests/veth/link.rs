//! Interfaces that change while they are used.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use o7s::device::{Frames as _, Link, Mac, PacketSocket, SendError};

use crate::net::{self, TYPE, cable, frame, ip, look, on_cable, open, receive, wait_until};

/// Waits until the socket knows the state of its link.
fn is(socket: &PacketSocket, link: Link) {
    wait_until(&format!("{link:?}"), || {
        look(socket);
        socket.link() == link
    });
}

/// Frames get from one to the other.
fn passes(from: &PacketSocket, to: &PacketSocket) {
    net::passes(TYPE, from, to);
}

#[test]
fn a_link_goes_down_and_comes_up() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        assert_eq!((a.link(), b.link()), (Link::Up, Link::Up));
        passes(&a, &b);
        ip("link set va down");
        is(&a, Link::Down);
        // Its peer has lost the carrier.
        is(&b, Link::Down);
        assert_eq!(a.send(&frame(&a, b.mac(), b"lost")), Err(SendError::InterfaceDown));
        ip("link set va up");
        is(&a, Link::Up);
        is(&b, Link::Up);
        passes(&a, &b);
        passes(&b, &a);
    });
}

#[test]
fn an_interface_that_is_down_can_be_opened() {
    on_cable(|| {
        ip("link set va down");
        let (a, b) = (open("va"), open("vb"));
        assert_eq!(a.link(), Link::Down);
        is(&b, Link::Down);
        ip("link set va up");
        is(&a, Link::Up);
        is(&b, Link::Up);
        passes(&a, &b);
    });
}

#[test]
fn an_interface_is_deleted_and_made_anew() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        for round in 0..5 {
            passes(&a, &b);
            ip("link del va");
            is(&a, Link::Gone);
            is(&b, Link::Gone);
            assert_eq!(a.send(&frame(&a, b.mac(), b"nowhere")), Err(SendError::InterfaceDown));
            if round == 3 {
                // The same number as before says nothing.
                ip("link add va index 77 type veth peer name vb index 78");
                ip("link del va");
                ip("link add va index 77 type veth peer name vb index 78");
                ip("link set va up");
                ip("link set vb up");
            } else {
                cable("va", "vb");
            }
            is(&a, Link::Up);
            is(&b, Link::Up);
        }
        passes(&a, &b);
    });
}

/// Nobody runs in circles: each wait lasts until it is over, when it has been told once.
#[test]
fn nobody_spins_while_the_link_is_down_or_gone() {
    on_cable(|| {
        let a = open("va");
        for line in ["link set va down", "link del va"] {
            ip(line);
            wait_until("the change", || {
                look(&a);
                a.link() != Link::Up
            });
            // What else the kernel has to tell of it.
            for _ in 0..10 {
                look(&a);
            }
            let begin = Instant::now();
            for _ in 0..5 {
                a.wait(Duration::from_millis(100));
                assert_eq!(a.recv(&mut Vec::new(), &mut o7s::device::BufCache::new(&o7s::device::BufPool::new(1))), 0);
            }
            assert!(begin.elapsed() >= Duration::from_millis(400), "after {line}");
        }
    });
}

#[test]
fn a_hundred_flaps_end_in_a_link_that_works() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        for _ in 0..100 {
            ip("link set vb down");
            let _ = a.send(&frame(&a, b.mac(), b"perhaps"));
            look(&a);
            ip("link set vb up");
        }
        is(&a, Link::Up);
        is(&b, Link::Up);
        look(&b);
        passes(&a, &b);
        passes(&b, &a);
    });
}

#[test]
fn the_mtu_is_followed() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        for mtu in [1280, 9000, 1500] {
            ip(&format!("link set va mtu {mtu}"));
            ip(&format!("link set vb mtu {mtu}"));
            wait_until("the MTU", || {
                look(&a);
                look(&b);
                (a.mtu(), b.mtu()) == (mtu, mtu)
            });
            let fits = frame(&a, b.mac(), &vec![3; mtu]);
            a.send(&fits).unwrap();
            assert_eq!(receive(&b, 1), [fits]);
            assert_eq!(a.send(&frame(&a, b.mac(), &vec![3; mtu + 1])), Err(SendError::TooLarge));
        }
        // Who is refused knows why at once.
        ip("link set va mtu 1000");
        assert_eq!(a.send(&frame(&a, b.mac(), &[3; 1400])), Err(SendError::TooLarge));
        assert_eq!(a.mtu(), 1000);
    });
}

/// Those who are refused look at the interface, too, all at the same time: none of them may put what was true before in place
/// of what is.
#[test]
fn the_mtu_is_followed_by_several_threads() {
    on_cable(|| {
        let a = open("va");
        let stop = AtomicBool::new(false);
        let large = frame(&a, Mac::BROADCAST, &[3; 5000]);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let _ = a.send(&large);
                    }
                });
            }
            for round in 0..300 {
                let mtu = 1280 + round % 7 * 100;
                ip(&format!("link set va mtu {mtu}"));
                wait_until("the MTU", || {
                    look(&a);
                    a.mtu() == mtu
                });
                // The looks that had begun before are over.
                std::thread::yield_now();
                if a.mtu() != mtu {
                    stop.store(true, Ordering::Relaxed);
                    panic!("{} in place of {mtu}, round {round}", a.mtu());
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

/// Frames keep coming, and nobody waits.
#[test]
fn changes_are_noticed_under_traffic() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        let (sent, mut out, mut cache) = (
            frame(&a, Mac::BROADCAST, &[1; 100]),
            Vec::new(),
            o7s::device::BufCache::new(&o7s::device::BufPool::new(100)),
        );
        ip("link set vb mtu 1400");
        wait_until("the MTU", || {
            for _ in 0..10 {
                a.send(&sent).unwrap();
            }
            assert!(b.recv(&mut out, &mut cache) > 0);
            out.clear();
            b.mtu() == 1400
        });
    });
}

#[test]
fn the_address_and_the_name_are_followed() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        ip("link set vb address 02:00:00:00:00:42");
        let wanted: Mac = "02:00:00:00:00:42".parse().unwrap();
        wait_until("the address", || {
            look(&b);
            b.mac() == wanted
        });
        passes(&a, &b);
        ip("link set vb down");
        ip("link set vb name renamed");
        ip("link set renamed up");
        ip("link set renamed mtu 1300");
        wait_until("the MTU", || {
            look(&b);
            b.mtu() == 1300
        });
        is(&b, Link::Up);
        passes(&a, &b);
        assert_eq!(b.interface(), "vb");
    });
}
