//! Captured traffic of the C reference: every UDP packet decodes, to the innermost header, and encodes again to the
//! same bytes; encrypted ones are opened and sealed again. The counts are part of the test, so that it cannot pass by
//! seeing nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod ethernet;
mod flows;
mod sealed;

use std::path::Path;

use flows::{Follower, Tally};

/// Follows the capture of that name to its end.
fn follow(name: &str) -> (usize, usize, Tally) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let captured = ethernet::read(&std::fs::read(dir.join(format!("{name}.pcap"))).unwrap());
    let mut follower = Follower::new(sealed::logged_keys(&dir, name));
    for datagram in &captured.datagrams {
        follower.datagram(datagram);
    }
    (captured.frames, captured.datagrams.len(), follower.finish())
}

/// Asserts the number of frames, of datagrams, and of everything seen in them.
fn expect(name: &str, frames: usize, datagrams: usize, tally: &[(&'static str, usize)]) {
    let tally: Tally = tally.iter().copied().collect();
    assert_eq!(follow(name), (frames, datagrams, tally));
}

#[test]
fn udp4() {
    let tally = [
        ("requests", 6),
        ("replies", 5),
        ("raw packets", 19),
        ("data, start of a run", 31),
        ("data", 13),
        ("acknowledgements", 10),
        ("last acknowledgements", 1),
    ];
    expect("udp4", 85, 85, &tally);
}

#[test]
fn udp4_through_a_bad_link() {
    let tally = [
        ("requests", 3),
        ("replies", 2),
        ("data, start of a run", 70),
        ("data", 648),
        ("acknowledgements", 3),
        ("windows", 58),
        ("last acknowledgements", 1),
        ("retransmissions of something else", 6),
    ];
    expect("udp4-loss", 791, 791, &tally);
}

#[test]
fn a_unicast_layer_over_udp4() {
    expect("unicast-udp4", 120, 120, &[("requests", 3), ("replies", 3), ("raw packets", 114)]);
}

#[test]
fn encrypted() {
    let tally = [
        ("requests", 2),
        ("replies", 2),
        ("encrypted flows", 2),
        ("encrypted packets", 12),
        ("raw packets", 6),
        ("data, start of a run", 4),
        ("acknowledgements", 1),
        ("last acknowledgements", 1),
    ];
    expect("enc-udp4-default", 16, 16, &tally);
}

#[test]
fn encrypted_after_a_post_quantum_key_exchange() {
    let tally = [
        ("requests", 2),
        ("replies", 2),
        ("encrypted flows", 2),
        ("encrypted packets", 13),
        ("raw packets", 6),
        ("data, start of a run", 4),
        ("acknowledgements", 2),
        ("last acknowledgements", 1),
    ];
    expect("pqc-udp4-mlkem768", 17, 17, &tally);
    expect("pqc-udp4-mlkem1024", 21, 17, &tally);
}

#[test]
fn a_certificate_in_two_fragments() {
    let tally = [("requests", 1), ("replies", 1), ("encrypted flows", 1), ("certificates", 1)];
    expect("pqc-udp4-mldsa", 3, 2, &tally);
}
