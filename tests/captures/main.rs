//! Captured traffic of the C reference: every frame decodes, to the innermost header, and encodes again to the same
//! bytes; encrypted packets are opened and sealed again. The counts are part of the test, so that it cannot pass by
//! seeing nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod ethernet;
mod flows;
mod member;
#[cfg(feature = "sim")]
mod own;
mod sealed;
mod shims;

use std::path::Path;

use flows::{Flows, Tally};
use o7s::capture::{Follower, Reader};
use o7s::dissect::{Dissector, Protocol};
use o7s::types::name::{HashAlg, NameHash};
use sealed::Keys;

/// What follows the frames of a capture: how it differs from shim to shim.
type Shim = fn(&[Vec<u8>], &mut Flows);

/// Names of the members of layers on top.
const MEMBERS: [&str; 6] = ["uni", "uni_a", "uni_b", "bc", "bc_a", "bc_b"];

/// Follows the capture of that name to its end.
fn follow(name: &str, shim: Shim, alg: HashAlg) -> (usize, Tally) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let frames = ethernet::frames(&std::fs::read(dir.join(format!("{name}.pcap"))).unwrap());
    let members: Vec<NameHash> = MEMBERS.iter().map(|name| alg.hash(&name.parse().unwrap())).collect();
    let mut flows = Flows::new(Keys::logged(&dir, name), members);
    shim(&frames, &mut flows);
    (frames.len(), flows.finish())
}

fn check(name: &str, (frames, tally): (usize, Tally), expected: (usize, &[(&str, usize)])) {
    let expected = (expected.0, expected.1.iter().map(|&(what, count)| (what.to_owned(), count)).collect());
    assert_eq!((frames, tally), expected, "{name}");
}

/// Asserts the number of frames over UDP, and of everything seen in them.
fn udp(name: &str, frames: usize, tally: &[(&str, usize)]) {
    check(name, follow(name, shims::udp, HashAlg::Md5), (frames, tally));
}

/// Asserts the number of Ethernet frames, and of everything seen in them.
fn eth(name: &str, frames: usize, tally: &[(&str, usize)]) {
    check(name, follow(name, shims::eth, HashAlg::Sha3_256), (frames, tally));
}

/// What tools show of a capture: every packet, and in requests and replies their security headers.
#[test]
fn every_captured_packet_is_dissected() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let (mut packets, mut secured) = (0, 0);
    for file in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        let frames = ethernet::frames(&std::fs::read(&file).unwrap());
        let (protocol, all) = if file.to_str().unwrap().contains("udp4") {
            (Protocol::Udp, ethernet::datagrams(&frames).into_iter().map(|udp| udp.payload).collect())
        } else {
            (Protocol::Ethernet, frames)
        };
        for bytes in all {
            let packet = Dissector::default().dissect(protocol, &bytes);
            let line = packet.unwrap_or_else(|error| panic!("{file:?}: {error}: {bytes:02x?}")).to_string();
            packets += 1;
            secured += usize::from(line.contains(" | oap id "));
        }
    }
    assert!(packets > 2000 && secured > 100, "{packets} packets, {secured} with a security header");
}

#[test]
fn keepalives_of_encrypted_flows_are_shown_as_such() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures/o7s-idle.pcapng");
    let mut reader = Reader::new(std::fs::File::open(file).unwrap()).unwrap();
    let (mut follower, mut shown) = (Follower::default(), Vec::new());
    while let Some(packet) = reader.packet().unwrap() {
        follower.add_keys(&reader.take_secrets());
        let followed = follower.follow(packet.link, &packet.data);
        assert!(followed.fields().iter().all(|field| field.name != "o7s.undecoded"), "{followed}");
        shown.push(followed.to_string());
    }
    let keepalives = shown.iter().filter(|line| line.ends_with("| opened 0 bytes | keepalive")).count();
    assert!(keepalives >= 4 && keepalives < shown.len(), "{shown:#?}");
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
    udp("udp4", 85, &tally);
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
    udp("udp4-loss", 791, &tally);
}

#[test]
fn a_unicast_layer_over_udp4() {
    let tally = [
        ("requests", 3),
        ("replies", 3),
        ("CEP questions", 3),
        ("CEP answers", 3),
        ("enrollment requests", 1),
        ("enrollment responses", 1),
        ("enrollment acknowledgements", 1),
        ("link-state updates", 2),
        ("packets of the layer", 103),
        ("in the layer: directory: store", 2),
        ("in the layer: directory: find node", 2),
        ("in the layer: directory: found node", 2),
        ("in the layer: requests", 6),
        ("in the layer: replies", 6),
        ("in the layer: raw packets", 19),
        ("in the layer: data, start of a run", 36),
        ("in the layer: data", 10),
        ("in the layer: acknowledgements", 15),
        ("in the layer: last acknowledgements", 5),
    ];
    udp("unicast-udp4", 120, &tally);
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
    udp("enc-udp4-default", 16, &tally);
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
    udp("pqc-udp4-mlkem768", 17, &tally);
    udp("pqc-udp4-mlkem1024", 21, &tally);
}

#[test]
fn a_certificate_in_two_fragments() {
    let tally = [("requests", 1), ("replies", 1), ("encrypted flows", 1), ("certificates", 1)];
    udp("pqc-udp4-mldsa", 3, &tally);
}

#[test]
fn ethernet() {
    let tally = [
        ("name queries", 2),
        ("name answers", 2),
        ("requests", 6),
        ("replies", 6),
        ("raw packets", 19),
        ("data, start of a run", 40),
        ("data", 10),
        ("acknowledgements", 15),
        ("last acknowledgements", 4),
    ];
    eth("eth-dix", 104, &tally);
    let tally = [
        ("name queries", 2),
        ("name answers", 2),
        ("requests", 6),
        ("replies", 6),
        ("raw packets", 19),
        ("data, start of a run", 25),
        ("data", 13),
        ("acknowledgements", 13),
        ("last acknowledgements", 3),
    ];
    eth("eth-llc", 89, &tally);
}

#[test]
fn ethernet_through_a_bad_link() {
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 3),
        ("replies", 2),
        ("replies to nobody", 1),
        ("data, start of a run", 78),
        ("data", 84),
        ("acknowledgements", 34),
        ("last acknowledgements", 3),
    ];
    eth("eth-dix-loss", 207, &tally);
}

#[test]
fn a_unicast_layer_over_ethernet() {
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 3),
        ("replies", 3),
        ("CEP questions", 3),
        ("CEP answers", 3),
        ("enrollment requests", 1),
        ("enrollment responses", 1),
        ("enrollment acknowledgements", 1),
        ("link-state updates", 4),
        ("packets of the layer", 99),
        ("in the layer: directory: store", 2),
        ("in the layer: directory: find node", 2),
        ("in the layer: directory: found node", 2),
        ("in the layer: requests", 6),
        ("in the layer: replies", 6),
        ("in the layer: raw packets", 19),
        ("in the layer: data, start of a run", 34),
        ("in the layer: data", 10),
        ("in the layer: acknowledgements", 13),
        ("in the layer: last acknowledgements", 5),
    ];
    eth("unicast-eth-dix", 120, &tally);
}

/// Loop-free alternates, no congestion avoidance, a ttl of 30, SHA3-512.
#[test]
fn a_unicast_layer_with_other_options() {
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 3),
        ("replies", 3),
        ("CEP questions", 3),
        ("CEP answers", 3),
        ("enrollment requests", 1),
        ("enrollment responses", 1),
        ("enrollment acknowledgements", 1),
        ("link-state updates", 2),
        ("packets of the layer", 99),
        ("in the layer: directory: store", 2),
        ("in the layer: directory: find node", 2),
        ("in the layer: directory: found node", 2),
        ("in the layer: requests", 6),
        ("in the layer: replies", 6),
        ("in the layer: raw packets", 19),
        ("in the layer: data, start of a run", 36),
        ("in the layer: data", 12),
        ("in the layer: acknowledgements", 11),
        ("in the layer: last acknowledgements", 3),
    ];
    eth("unicast-eth-dix-opts", 118, &tally);
}

#[test]
fn a_broadcast_layer_over_ethernet() {
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 2),
        ("replies", 2),
        ("CEP questions", 2),
        ("CEP answers", 2),
        ("enrollment requests", 1),
        ("enrollment responses", 1),
        ("enrollment acknowledgements", 1),
        ("broadcast packets", 2),
    ];
    eth("broadcast-eth-dix", 15, &tally);
}

#[test]
fn encrypted_over_ethernet() {
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 2),
        ("replies", 2),
        ("encrypted flows", 2),
        ("encrypted packets", 13),
        ("raw packets", 6),
        ("data, start of a run", 4),
        ("acknowledgements", 2),
        ("last acknowledgements", 1),
    ];
    let captures = [
        "enc-dix-default",
        "enc-dix-ffdhe2048",
        "enc-dix-x25519-chacha",
        "pqc-dix-mlkem1024-mtu9000",
        "pqc-dix-mlkem512",
        "pqc-dix-mlkem768",
    ];
    for name in captures {
        eth(name, 19, &tally);
    }
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 2),
        ("replies", 2),
        ("encrypted flows", 2),
        ("encrypted packets", 12),
        ("raw packets", 6),
        ("data, start of a run", 4),
        ("acknowledgements", 1),
        ("last acknowledgements", 1),
    ];
    let captures = ["enc-dix-x448-aes128gcm-sha512", "pqc-dix-x25519mlkem768"];
    for name in captures {
        eth(name, 18, &tally);
    }
}

/// Every 256 packets, twice.
#[test]
fn rotated_keys() {
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 1),
        ("replies", 1),
        ("encrypted flows", 1),
        ("encrypted packets", 603),
        ("raw packets", 603),
    ];
    eth("enc-dix-keyrotation-kr8", 607, &tally);
}

/// Without authentication there is nothing to tell a genuine packet by, but what is inside.
#[test]
fn without_authentication() {
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 2),
        ("replies", 2),
        ("encrypted flows", 2),
        ("encrypted packets", 11),
        ("packets in the clear that should not be", 1),
        ("raw packets", 6),
        ("data, start of a run", 4),
        ("acknowledgements", 1),
    ];
    eth("enc-dix-p384-aes256ctr", 18, &tally);
}

#[test]
fn authenticated() {
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 2),
        ("replies", 2),
        ("certificates", 2),
        ("raw packets", 6),
        ("data, start of a run", 4),
        ("acknowledgements", 1),
        ("last acknowledgements", 1),
    ];
    eth("auth-dix-ec", 18, &tally);
    let tally = [
        ("name queries", 1),
        ("name answers", 1),
        ("requests", 2),
        ("replies", 2),
        ("encrypted flows", 2),
        ("encrypted packets", 12),
        ("certificates", 2),
        ("raw packets", 6),
        ("data, start of a run", 4),
        ("acknowledgements", 1),
        ("last acknowledgements", 1),
    ];
    eth("auth-enc-dix-ec", 18, &tally);
    let tally = [("name queries", 1), ("name answers", 1), ("requests", 2), ("refusals", 2)];
    eth("auth-enc-dix-ed25519", 6, &tally);
}

/// The request or the reply was never sent.
#[test]
fn messages_too_long_for_a_frame() {
    let tally = [("name queries", 1), ("name answers", 1)];
    eth("pqc-dix-mlkem1024-mtu1500", 2, &tally);
    let tally = [("name queries", 1), ("name answers", 1), ("requests", 2)];
    eth("pqc-dix-mldsa-mtu9000", 4, &tally);
}
