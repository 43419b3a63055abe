//! Which bytes go out when, and what arriving ones do: byte for byte.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use std::format;
use std::string::String;

use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::{Config, Frct, Part};
use crate::wire::frct::{Flags, Pci};

/// A machine, its clock, and its packets in hexadecimal.
struct Bench {
    frct: Frct,
    cache: BufCache,
    now: Instant,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The same text without the spaces.
fn h(text: &str) -> String {
    hex(&unhex(text))
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(core::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

impl Bench {
    fn new(isn: u32, reliable: bool) -> Self {
        Self::with(isn, Config { reliable, congestion: false, ..Config::default() })
    }

    fn with(isn: u32, cfg: Config) -> Self {
        let now = Instant::from_millis(1000);
        Self { frct: Frct::new(cfg, isn), cache: BufCache::new(&BufPool::new(64)), now }
    }

    fn out(&mut self) -> Vec<String> {
        let mut all = vec![];
        while let Some(t) = self.frct.poll_transmit(self.now) {
            all.push(hex(&[t.header(), t.payload()].concat()));
        }
        all
    }

    fn send(&mut self, text: &str) -> Vec<String> {
        self.frct.send(self.now, PacketBuf::copy_of(text.as_bytes())).unwrap();
        self.out()
    }

    fn take(&mut self, bytes: &str) -> Vec<String> {
        self.frct.handle_packet(self.now, PacketBuf::copy_of(&unhex(bytes)), &mut self.cache);
        self.out()
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        self.frct.deliver(self.now, &mut self.cache).map(|p| p.to_vec())
    }

    /// Lets time pass, with every deadline on the way.
    fn pass(&mut self, millis: u64) -> Vec<String> {
        let end = self.now + Duration::from_millis(millis);
        let mut all = vec![];
        while let Some(at) = self.frct.next_deadline().filter(|t| *t <= end) {
            self.now = at;
            self.frct.handle_timeout(at, &mut self.cache);
            all.extend(self.out());
        }
        self.now = end;
        all
    }
}

const NONE: Vec<String> = Vec::new();

#[test]
fn first_packets_of_both_directions() {
    let mut a = Bench::new(0x27ab_4edc, true);
    // The rendez-vous, and the first data as in the manual.
    assert_eq!(a.send("req"), [h("12000000 27ab4edc 00000000"), h("03000000 27ab4edc 00000000 726571")]);
    assert_eq!(a.send("x"), [h("01000000 27ab4edd 00000000 78")], "only the first of a run carries the flag");
    // The peer's window, before anything else came from it, and its acknowledgement.
    assert_eq!(a.take("08ab4fdc 00000000 00000000"), NONE);
    assert_eq!(a.take("0cab4fdd 00000000 27ab4edd"), NONE);
    assert_eq!(a.frct.unacked(), 1);
    // Its answer starts our run; it is acknowledged on receipt, late enough to go with data.
    assert_eq!(a.take("0fab4fdd 84ac93d2 27ab4ede 727370"), NONE);
    assert_eq!(a.frct.unacked(), 0);
    assert_eq!(a.pass(3), NONE);
    let ack = h("0eac94d2 27ab4ede 84ac93d3");
    assert_eq!(a.pass(1), [ack], "acknowledged before it was read: the window has not moved");
    assert_eq!(a.read().as_deref(), Some(&b"rsp"[..]));
    assert_eq!(a.send("y"), [h("0fac94d3 27ab4ede 84ac93d3 79")]);
}

#[test]
fn the_answer_takes_the_acknowledgement_along() {
    let mut b = Bench::new(0x84ac_93d2, true);
    assert_eq!(b.take("03000000 27ab4edc 00000000 726571"), NONE);
    assert_eq!(b.read().as_deref(), Some(&b"req"[..]));
    let rdvs = h("12000000 84ac93d2 00000000");
    let data = h("0fab4fdd 84ac93d2 27ab4edd 727370");
    assert_eq!(b.send("rsp"), [rdvs, data]);
    assert_eq!(b.pass(10), NONE, "nothing is left to acknowledge");
}

#[test]
fn a_reference_is_asked_for_its_window_by_a_packet_alone() {
    let mut a = Bench::new(0x100, false);
    for _ in 0..48 {
        assert_eq!(a.send("x").len(), 1);
    }
    assert_eq!(a.pass(1), NONE);
    assert_eq!(a.send("x").len(), 1);
    assert_eq!(a.pass(1), NONE, "not soon after a packet");
    assert_eq!(a.pass(1), [h("12000000 00000131 00000000")]);
    assert_eq!(a.pass(90), NONE, "only once");

    let mut hurried = Bench::new(0x100, false);
    for _ in 0..64 {
        assert_eq!(hurried.send("x").len(), 1);
    }
    assert_eq!(hurried.send("x"), NONE, "the window is closed");
    assert_eq!(hurried.pass(2), [h("12000000 00000140 00000000")], "asked as soon, not after 100 ms");
    assert_eq!(hurried.take("08000180 00000000 00000000").len(), 1);
}

#[test]
fn nothing_is_acknowledged_before_a_run() {
    let mut a = Bench::new(7, true);
    for packet in [
        "10000000 00000000 00000000",
        "0c000100 00000000 00000000",
        "08000110 00000000 00000000",
        "04000000 00000000 00000043",
        "01000000 00000065 00000000 78",
        "0d000100 00000065 00000007 78",
    ] {
        assert_eq!(a.take(packet), NONE, "{packet}");
        assert_eq!(a.pass(1000), NONE);
        assert!(!a.frct.can_deliver());
    }
    assert_eq!(a.send("x")[1], h("03000000 00000007 00000000 78"));
}

#[test]
fn a_rendez_vous_is_answered_at_once() {
    let mut b = Bench::new(0x100, true);
    b.take("03000000 01000010 00000000 78");
    b.read();
    assert_eq!(b.take("10000000 00000000 00000000"), [h("0e000111 00000100 01000011")]);
    let mut b = Bench::new(0x100, false);
    b.take("03000000 01000010 00000000 78");
    b.read();
    assert_eq!(b.take("10000000 00000000 00000000"), [h("0a000111 00000100 00000000")]);
}

#[test]
fn a_rendez_vous_with_the_run_flag_starts_a_run() {
    let mut b = Bench::with(0x100, Config { o7s_peer: true, ..Config::default() });
    // From o7s: the window is the large one, and the answer says so.
    assert_eq!(b.take("12000000 00000200 00000000"), [h("0e001200 00000100 00000200")]);
    b.take("01000000 00000200 00000000 78");
    assert_eq!(b.read().as_deref(), Some(&b"x"[..]), "no need for the flag on the data");
}

#[test]
fn window_edges_of_a_run() {
    let mut b = Bench::new(0x100, true);
    let data = |flags: u8, seq: u32| format!("{flags:02x}000000{seq:08x}00000000") + "64";
    b.take(&data(1, 101));
    assert_eq!(b.frct.stats().no_run, 1);
    b.take(&data(3, 100));
    assert_eq!(b.take(&data(1, 102)).len(), 1, "a gap is reported at once");
    assert_eq!(b.read().map(|_| ()), Some(()));
    assert!(b.read().is_none(), "102 waits");
    b.take(&data(1, 101));
    assert!(b.read().is_some() && b.read().is_some());
    assert_eq!(b.take(&data(1, 100)), [h("0e000167 00000100 00000067")]);
    b.take(&data(1, 359));
    assert_eq!(b.frct.stats().out_of_window, 1);
    b.take(&data(1, 358));
    assert_eq!((b.frct.stats().out_of_window, b.frct.stats().out_of_order), (1, 2));
}

#[test]
fn a_retransmission_keeps_the_flag_and_brings_news() {
    let mut a = Bench::new(5, true);
    a.send("one");
    a.send("two");
    assert_eq!(a.take("03000000 00000900 00000000 78"), NONE);
    a.pass(5);
    let again = a.pass(1000);
    // The oldest only, as long as no round trip has been measured: perhaps the path is a long one.
    assert_eq!(again.len(), 2, "with a rendez-vous: perhaps the peer has never heard of the run");
    assert_eq!(again[1], h("0f000a00 00000005 00000901 6f6e65"));
}

#[test]
fn acknowledgements_and_windows_are_checked() {
    let mut a = Bench::new(0x00ff_ff00, true);
    a.send("x");
    a.take("0c000000 00000000 00ffff02");
    assert_eq!((a.frct.unacked(), a.frct.stats().implausible), (1, 1), "acknowledges what was never sent");
    a.take("0cffff30 00000000 00fffeff");
    assert_eq!(a.frct.unacked(), 1, "older than everything");
    // 0xffff40 is the limit: a window across the wrap counts, one behind and one far ahead do not.
    assert_eq!(a.frct.tx.limit.0, 0x00ff_ff40);
    a.take("08000010 00000000 00000000");
    assert_eq!(a.frct.tx.limit.0, 0x0100_0010);
    a.take("08ffffff 00000000 00000000");
    a.take("08700000 00000000 00000000");
    assert_eq!(a.frct.tx.limit.0, 0x0100_0010);
    assert_eq!(a.frct.stats().implausible, 2, "the acknowledgement, and the window far ahead");
}

#[test]
fn a_closed_window_is_asked_for_ever_more_seldom() {
    let mut a = Bench::new(0, true);
    for _ in 0..65 {
        a.send("x");
    }
    assert_eq!(a.frct.stats().sent, 64, "the window the reference begins with");
    assert_eq!(a.take("04000000 00000000 00000040"), NONE);
    let asked = a.pass(100_000);
    // After 100 ms, 200 ms and so on up to 6.4 s, and then all 6.4 s.
    assert!((19..=22).contains(&asked.len()), "{}", asked.len());
    assert!(asked.iter().all(|p| *p == h("12000000 00000040 00000000")));
    assert_eq!(a.take("08000140 00000000 00000000").len(), 1);
}

#[test]
fn a_run_continues_after_a_pause_with_a_rendez_vous() {
    let mut a = Bench::new(0, true);
    a.send("x");
    a.take("0c000101 00000000 00000001");
    a.pass(119_000);
    assert_eq!(a.send("y").len(), 1);
    a.take("0c000102 00000000 00000002");
    a.pass(121_000);
    let out = a.send("z");
    assert_eq!(out[0], h("12000000 00000002 00000000"));
    assert!(out[1].starts_with("03000000"));
}

#[test]
fn a_new_run_only_after_the_old_one_was_silent() {
    let mut b = Bench::new(0, true);
    b.take("03000000 00000064 00000000 78");
    b.take("03000000 90000000 00000000 79");
    assert!(b.read().is_some() && b.read().is_none());
    // 2 * 5 s + 10 s + 120 s; control packets of a reference do not keep the run alive.
    b.pass(139_000);
    b.take("0c000100 00000000 00000000");
    b.pass(2_000);
    b.take("03000000 90000000 00000000 79");
    assert_eq!(b.read().as_deref(), Some(&b"y"[..]));
    assert_eq!(b.pass(10), [h("0e000101 00000000 90000001")]);
}

#[test]
fn acknowledgements_cease() {
    let mut b = Bench::new(0, true);
    b.take("03000000 00000064 00000000 78");
    b.read();
    b.pass(9_000);
    assert!(b.send("x")[1].starts_with("0f"));
    b.pass(2);
    b.take("04000000 00000000 00000001");
    b.pass(2_000);
    assert!(b.send("x")[0].starts_with("0b"), "A has passed: the window is still told");
    b.take("04000000 00000000 00000002");
    b.pass(140_000);
    assert!(b.send("x")[1].starts_with("03"), "the run is over");
}

#[test]
fn closing_sends_delayed_acknowledgements() {
    let mut b = Bench::new(0, true);
    b.take("03000000 00000064 00000000 78");
    b.frct.finish(b.now);
    assert_eq!(b.out(), [h("0e000164 00000000 00000065")]);
    assert!(b.frct.is_drained() && !b.frct.can_send());
    assert!(b.frct.send(b.now, PacketBuf::copy_of(b"x")).is_err());
}

#[test]
fn malformed_packets_are_counted() {
    let mut b = Bench::new(0, true);
    for bad in ["", "03", "03000000 00000064 000000", "03000000 00000064 00000000", "23000000 00000064 00000000 78"] {
        assert_eq!(b.take(bad), NONE);
    }
    assert_eq!(b.frct.stats().malformed, 5);
    assert!(b.frct.send(b.now, PacketBuf::copy_of(b"")).is_err(), "an empty packet is a keepalive");
}

#[test]
fn the_flow_is_down_after_r() {
    let mut a = Bench::new(0, true);
    a.send("x");
    a.pass(119_900);
    assert!(!a.frct.is_down());
    assert!(a.frct.stats().retransmitted > 8, "patient, but not idle: {}", a.frct.stats().retransmitted);
    a.pass(200);
    assert!(a.frct.is_down());
    assert!(a.frct.next_deadline().is_none() && !a.frct.can_send());
    assert_eq!((a.frct.is_drained(), a.frct.unacked()), (true, 1), "nothing to wait for, one packet lost");
}

#[test]
fn our_own_packets_sent_back_change_nothing() {
    let tail = "52 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00";
    let mut a = Bench::new(0x3091_0000, true);
    a.send("x");
    let limit = a.frct.tx.limit;
    // As captured: an answer of ours behind a new acknowledgement, with the length of the lost data.
    for head in [
        "080fd258 00000000 30910001",
        "0a0fd258 00000000 30910001",
        "0e0fd258 30910000 30910001",
        "12000000 30910000 00000000",
    ] {
        assert_eq!(a.take(&format!("{head} {tail}")), NONE, "{head}");
    }
    assert_eq!((a.frct.stats().malformed, a.frct.unacked(), a.frct.tx.limit), (4, 1, limit));
    // Our first data: not a run of the peer's.
    assert_eq!(a.take("03000000 30910000 00000000 78"), NONE);
    assert_eq!(a.frct.stats().stray, 1);
    assert!(!a.frct.can_deliver());
    // And within a run: not even its acknowledgement counts.
    a.take("03000000 90000000 00000000 79");
    assert_eq!(a.read().as_deref(), Some(&b"y"[..]));
    a.take("0d0fd258 30910000 30910001 78");
    assert_eq!((a.frct.stats().stray, a.frct.unacked()), (2, 1));
}

#[test]
fn writers_that_pause_at_a_full_window_count_as_idle() {
    let mut a = Bench::with(7, Config { o7s_peer: true, ..Config::default() });
    let text = "x".repeat(956);
    let mut sent = 0;
    while sent < 10 {
        sent += a.send(&text).iter().filter(|p| p.len() > 100).count();
    }
    assert_eq!(a.frct.tx.flight, a.frct.tx.window(), "exactly full");
    // An endpoint does not poll while there is nothing to send.
    let acked = Seq(17);
    let pci = Pci { flags: Flags::ACK | Flags::FC, window: 500, seqno: Seq(1), ackno: acked };
    a.now += Duration::from_millis(10);
    a.frct.handle_packet(a.now, PacketBuf::copy_of(&pci.to_bytes()), &mut a.cache);
    assert!(a.frct.is_at_rest() && a.frct.tx.flight == 0);
    a.frct.push(a.now, PacketBuf::copy_of(b"more"), Part::Whole);
    assert!(a.frct.tx.rate.meter.is_starved(0));
}

#[test]
fn a_window_that_opens_and_shuts_is_tried_ever_more_seldom() {
    let mut b = Bench::with(100, Config { o7s_peer: true, congestion: false, ..Config::default() });
    let told = |b: &mut Bench, expected: u32, edge: u32| {
        let flags = Flags::ACK | Flags::FC | Flags::DRF;
        let pci = Pci { flags, window: edge, seqno: Seq(5000), ackno: Seq(expected) };
        b.frct.handle_packet(b.now, PacketBuf::copy_of(&pci.to_bytes()), &mut b.cache);
        b.out().into_iter().filter(|packet| packet.len() > 1400).count()
    };
    for first in [100, 101] {
        b.frct.send(b.now, PacketBuf::copy_of(&[7; 1400])).unwrap();
        b.out();
        assert_eq!(told(&mut b, first, first), 0);
        assert_eq!(told(&mut b, first, first + 100), 1, "there is memory now");
        // Somebody whose address this may be would get a packet of full size for each two of the least.
        let mut sent = 0;
        for _ in 0..20_000 {
            b.now += Duration::from_millis(1);
            sent += told(&mut b, first, first) + told(&mut b, first, first + 100);
            b.frct.handle_timeout(b.now, &mut b.cache);
            sent += b.out().into_iter().filter(|packet| packet.len() > 1400).count();
        }
        assert!((5..50).contains(&sent), "{sent} packets");
        told(&mut b, first + 1, first + 100);
        assert!(b.frct.is_drained(), "it has arrived");
    }
}
