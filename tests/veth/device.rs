//! Frames through packet sockets: which are handed up, which are not, and that those are counted.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use o7s::device::{Frames as _, Mac, PacketBuf, PacketSocket, SendError};

use crate::net::{OTHER, TYPE, cable, frame, ip, look, of_type, on_cable, open, passes, receive, try_ip, wait_until};

#[test]
fn frames_arrive_whole_and_once() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        assert_eq!((a.mtu(), a.interface()), (1500, "va"));
        assert!(!a.mac().is_group() && a.mac() != b.mac());
        for len in [0, 1, 45, 46, 47, 1400, 1500] {
            let payload = vec![len as u8; len];
            for to in [b.mac(), Mac::BROADCAST] {
                let sent = frame(&a, to, &payload);
                a.send(&sent).unwrap();
                assert_eq!(receive(&b, 1), [sent], "{len} bytes");
            }
        }
        // The sender does not see its own.
        assert!(look(&a).is_empty());
    });
}

#[test]
fn batches_arrive_in_order() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        let frames: Vec<_> =
            (0..200_u8).map(|i| PacketBuf::copy_of(&frame(&a, b.mac(), &vec![i; 5 * usize::from(i)]))).collect();
        let mut sent = 0;
        while sent < frames.len() {
            let taken = a.send_batch(&frames[sent..]).unwrap();
            assert!((1..=a.max_batch()).contains(&taken));
            sent += taken;
        }
        let got = receive(&b, frames.len());
        assert_eq!(got, frames.iter().map(|f| f.to_vec()).collect::<Vec<_>>());
        assert_eq!(b.losses(), Default::default());
    });
}

#[test]
fn frames_for_others_stay_in_the_kernel() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        let mut other = b.mac();
        other.0[5] ^= 1;
        // Other protocols, lengths in place of the type, another host, a group, and too short to be a frame.
        for ethertype in [OTHER, 0x0800, 0x0806, 0x86dd, 0x8870, 0, 0x2e, 0x05dc, 0xffff] {
            a.send(&of_type(ethertype, &a, b.mac(), &[0x42, 0x42, 3, 7])).unwrap();
        }
        a.send(&frame(&a, other, b"another host")).unwrap();
        a.send(&frame(&a, Mac([1, 0x80, 0xc2, 0, 0, 0x0e]), b"a group")).unwrap();
        // Somebody else listens to everything.
        ip("link set vb promisc on");
        a.send(&frame(&a, other, b"another host")).unwrap();
        let last = frame(&a, b.mac(), b"for us");
        a.send(&last).unwrap();
        assert_eq!(receive(&b, 1), [last]);
        assert_eq!(b.losses(), Default::default());
    });
}

#[test]
fn tagged_frames_are_counted_and_not_taken_for_others() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        let tagged = |tags: &[(u16, u16)], to: Mac| {
            let tags = tags.iter().flat_map(|(tpid, tci)| [tpid.to_be_bytes(), tci.to_be_bytes()].concat());
            let mut bytes = [&to.0[..], &a.mac().0].concat();
            bytes.extend(tags.chain(TYPE.to_be_bytes()).chain(*b"\0\x41\0\0"));
            bytes
        };
        a.send(&tagged(&[(0x8100, 5)], b.mac())).unwrap();
        a.send(&tagged(&[(0x8100, 0xe005)], Mac::BROADCAST)).unwrap();
        a.send(&tagged(&[(0x88a8, 5)], b.mac())).unwrap();
        // A tag that is only a priority says of no VLAN; the kernel takes it out.
        a.send(&tagged(&[(0x8100, 0xe000)], b.mac())).unwrap();
        // The inner tag is not ours: of another type for the kernel.
        a.send(&tagged(&[(0x88a8, 5), (0x8100, 6)], b.mac())).unwrap();
        a.send(&tagged(&[(0x8100, 5), (0x8100, 5)], b.mac())).unwrap();
        assert_eq!(receive(&b, 1), [frame(&a, b.mac(), b"\0\x41\0\0")]);
        assert_eq!(b.losses().tagged, 3);
    });
}

#[test]
fn llc_frames_of_flows_pass_and_no_others() {
    on_cable(|| {
        let (a, b) = (PacketSocket::llc("va").unwrap(), PacketSocket::llc("vb").unwrap());
        let llc = |header: [u8; 3], payload: &[u8]| {
            of_type(3 + payload.len() as u16, &a, b.mac(), &[&header[..], payload].concat())
        };
        let good = [
            llc([0x80, 0x80, 3], b"management"),
            llc([0xc0, 0x40, 3], b"data"),
            llc([0xfc, 0x40, 3], b""),
            llc([0x40, 0x40, 3], &[7; 1497]),
        ];
        let bad = [
            // Spanning tree, SNAP, IP over LLC, another control byte, DIX.
            llc([0x42, 0x42, 3], &[0; 35]),
            llc([0xaa, 0xaa, 3], &[0; 30]),
            llc([0x06, 0x06, 3], b"ip"),
            llc([0xc0, 0x40, 0x7f], b"test"),
            frame(&a, b.mac(), b"\0\x41\0\0"),
            of_type(3, &a, b.mac(), b""),
        ];
        for sent in bad.iter().chain(&good) {
            a.send(sent).unwrap();
        }
        assert_eq!(receive(&b, good.len()), good);
        assert_eq!(b.losses(), Default::default());
    });
}

#[test]
fn jumbo_frames_arrive_whole() {
    on_cable(|| {
        for interface in ["va", "vb"] {
            ip(&format!("link set {interface} mtu 9000"));
        }
        let (a, b) = (open("va"), open("vb"));
        for len in [1770, 1777, 1778, 1779, 1792, 5000, 8999, 9000] {
            let payload: Vec<u8> = (0..len as u32).map(|i| (i * 7) as u8).collect();
            let frames = copies(3, &frame(&a, b.mac(), &payload));
            assert_eq!(a.send_batch(&frames), Ok(3));
            assert_eq!(receive(&b, 3), frames.iter().map(|f| f.to_vec()).collect::<Vec<_>>(), "{len} bytes");
        }
        assert_eq!(b.losses(), Default::default());
    });
}

#[test]
fn frames_above_the_mtu_are_counted_and_not_cut() {
    on_cable(|| {
        // What arrives at a port of a bridge is not measured against the bridge's own MTU.
        if !try_ip("link add br type bridge") {
            eprintln!("skipped: no bridges");
            return;
        }
        for line in ["va mtu 9000", "vb mtu 9000", "vb master br", "br mtu 1500", "br up"] {
            ip(&format!("link set {line}"));
        }
        let (a, b) = (open("va"), open("br"));
        assert_eq!(b.mtu(), 1500);
        passes(TYPE, &a, &b);
        for len in [1800, 4000, 9000] {
            a.send(&frame(&a, b.mac(), &vec![1; len])).unwrap();
        }
        let last = frame(&a, b.mac(), &[2; 1500]);
        a.send(&last).unwrap();
        assert_eq!(receive(&b, 1), [last]);
        assert_eq!(b.losses().oversized, 3);
    });
}

#[test]
fn two_sockets_on_the_loopback_interface_get_each_frame_once() {
    on_cable(|| {
        ip("link set lo up");
        let (a, b) = (open("lo"), open("lo"));
        passes(TYPE, &a, &b);
        for to in [Mac([0; 6]), Mac::BROADCAST] {
            let sent = frame(&a, to, b"to whom it may concern");
            a.send(&sent).unwrap();
            assert_eq!(receive(&b, 1), [sent]);
            assert!(look(&b).is_empty());
        }
    });
}

#[test]
fn nothing_of_other_interfaces_arrives_while_one_is_opened() {
    on_cable(|| {
        cable("wa", "wb");
        let (other, done) = (open("wa"), AtomicBool::new(false));
        let noise = frame(&other, Mac::BROADCAST, b"not for you");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = other.send(&noise);
                }
            });
            for _ in 0..200 {
                let socket = open("vb");
                assert!(socket.recv(&mut Vec::new(), &mut cache()) == 0);
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn overrun_frames_are_counted() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        let frames = copies(64, &frame(&a, b.mac(), &[0; 46]));
        let mut sent = 0;
        // Until the receiver's buffer is full, whatever its size.
        wait_until("an overrun", || {
            for _ in 0..100 {
                sent += a.send_batch(&frames).unwrap_or(0) as u64;
            }
            b.losses().overrun > 0
        });
        let seen = look(&b).len() as u64;
        assert_eq!(seen + b.losses().overrun, sent);
    });
}

#[test]
fn a_full_queue_is_not_a_failure() {
    on_cable(|| {
        let mut tc = Command::new("tc");
        tc.args("qdisc add dev va root tbf rate 100kbit burst 2kb limit 4kb".split(' ')).stderr(Stdio::null());
        if !tc.status().is_ok_and(|s| s.success()) {
            eprintln!("skipped: no tbf");
            return;
        }
        let (a, b) = (open("va"), open("vb"));
        let sent = frame(&a, b.mac(), &[7; 1000]);
        let mut full = 0;
        let mut taken = 0;
        while full < 100 {
            match a.send(&sent) {
                Ok(()) => taken += 1,
                Err(e) => {
                    assert!(e.is_temporary(), "{e}");
                    full += 1;
                }
            }
        }
        // Those that were taken leave, in their time.
        assert_eq!(receive(&b, taken).len(), taken);
        a.set_queue_bypass(true).unwrap();
        for _ in 0..20 {
            a.send(&sent).unwrap();
        }
        assert_eq!(receive(&b, 20).len(), 20);
    });
}

#[test]
fn too_large_a_frame_is_refused() {
    on_cable(|| {
        let a = open("va");
        assert_eq!(a.send(&frame(&a, Mac::BROADCAST, &[0; 1501])), Err(SendError::TooLarge));
        a.send(&frame(&a, Mac::BROADCAST, &[0; 1500])).unwrap();
    });
}

#[test]
fn a_closed_socket_does_nothing() {
    on_cable(|| {
        let (a, b) = (open("va"), open("vb"));
        a.send(&frame(&a, b.mac(), b"before")).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| open("va").wait(Duration::from_millis(1)));
            let guards = scope.spawn(|| b.guard(Duration::from_secs(60)));
            waits.join().unwrap();
            b.close();
            guards.join().unwrap();
        });
        assert!(b.is_closed() && !a.is_closed());
        assert!(look(&b).is_empty());
        assert_eq!(b.send(&frame(&a, a.mac(), b"after")), Err(SendError::Down));
        b.close();
    });
}

#[test]
fn an_interrupt_ends_a_wait_and_no_guard() {
    on_cable(|| {
        let a = open("va");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let guards = scope.spawn(|| {
                a.guard(Duration::from_secs(60));
                assert!(over.load(Ordering::SeqCst), "ended by what was not for it");
            });
            a.interrupt();
            a.wait(Duration::from_secs(60));
            let waits = scope.spawn(|| a.wait(Duration::from_secs(60)));
            a.interrupt();
            waits.join().unwrap();
            over.store(true, Ordering::SeqCst);
            a.dismiss();
            guards.join().unwrap();
        });
    });
}

#[test]
fn errors_of_opening_say_what_is_missing() {
    on_cable(|| {
        let error = PacketSocket::dix("nosuch0", TYPE).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!(error.to_string().contains("nosuch0"), "{error}");
        if try_ip("link add tunl type sit remote 127.0.0.1") {
            let error = PacketSocket::llc("tunl").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::Unsupported, "{error}");
        }
        let long = "a-name-that-no-interface-has";
        assert!(PacketSocket::dix(long, TYPE).unwrap_err().to_string().contains(long));
    });
}

/// What the next test runs without the right.
#[test]
#[ignore = "a helper of the next test"]
fn opened_without_the_right() {
    match PacketSocket::dix("va", TYPE) {
        Ok(_) => println!("opened"),
        Err(error) => println!("told: {:?} {error}", error.kind()),
    }
}

#[test]
fn the_missing_right_is_named() {
    on_cable(|| {
        let exe = std::env::current_exe().unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-net_raw", "--inh-caps", "-net_raw", "--"]).arg(exe);
        command.args(["--exact", "device::opened_without_the_right", "--ignored", "--nocapture"]);
        let Ok(output) = command.output() else {
            eprintln!("skipped: no setpriv");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let told = text.lines().find(|line| line.contains("told: ")).unwrap_or_else(|| panic!("{output:?}"));
        for part in ["PermissionDenied", "va: ", "CAP_NET_RAW", "setcap"] {
            assert!(told.contains(part), "{told}");
        }
    });
}

fn copies(n: usize, frame: &[u8]) -> Vec<PacketBuf> {
    (0..n).map(|_| PacketBuf::copy_of(frame)).collect()
}

fn cache() -> o7s::device::BufCache {
    o7s::device::BufCache::new(&o7s::device::BufPool::new(100))
}
