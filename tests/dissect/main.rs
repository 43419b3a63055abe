//! The Wireshark dissector beside the decoder of the crate: tshark reads every capture of the reference, and captures of our
//! own, with the script, and shows the same fields with the same values, and nothing malformed. Skipped, visibly, where there
//! is no tshark.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod own;
mod pdml;
#[path = "../world/sink.rs"]
mod sink;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use o7s::base::rng::Rng;
use o7s::capture::{DISSECTOR, Follower, Reader};
use o7s::dissect::Dissector;
use o7s::types::name::HashAlg;

use tools::{Scratch, Tshark};

/// The fields of a packet: for each name its values, in their order.
type Shown = BTreeMap<String, Vec<String>>;

/// What the decoder of the crate shows of each packet of a capture.
fn ours(file: &[u8], mut follower: Follower) -> Vec<Shown> {
    let mut reader = Reader::new(file).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = reader.packet().unwrap() {
        let mut shown = Shown::new();
        for field in follower.follow(packet.link, &packet.data).fields() {
            shown.entry(field.name.to_owned()).or_default().push(field.value.to_string());
        }
        packets.push(shown);
    }
    packets
}

/// Compares the two, packet by packet and field by field; returns the names that were seen.
fn compare(what: &str, tshark: &[Shown], ours: &[Shown]) -> BTreeSet<String> {
    assert_eq!(tshark.len(), ours.len(), "{what}: packets");
    let mut names = BTreeSet::new();
    for (number, (theirs, ours)) in tshark.iter().zip(ours).enumerate() {
        for name in theirs.keys().chain(ours.keys()) {
            let (theirs, ours) = (theirs.get(name), ours.get(name));
            assert_eq!(theirs, ours, "{what}, packet {}: {name}, tshark beside ours", number + 1);
            names.insert(name.clone());
        }
    }
    names
}

fn captures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "pcap")).collect();
    files.sort();
    files
}

/// Fields that no capture has: refusals of enrollment, unfinished frames, packets of flows.
const UNSEEN: [&str; 3] = ["o7s.undecoded", "o7s.capture.flow", "o7s.capture.flags"];

#[test]
fn tshark_shows_every_captured_packet_as_our_decoder_does() {
    let Some(tshark) = Tshark::find() else { return };
    let mut names = BTreeSet::new();
    let (mut packets, files) = (0, captures());
    for file in &files {
        let what = file.file_stem().unwrap().to_string_lossy().into_owned();
        let theirs = tshark.read(file, &[]);
        let ours = ours(&std::fs::read(file).unwrap(), Follower::default());
        names.extend(compare(&what, &theirs, &ours));
        packets += ours.len();
    }
    assert!(files.len() >= 27 && packets > 2000, "{packets} packets of {} captures", files.len());
    for name in UNSEEN {
        assert!(!names.contains(name), "{name}");
    }
    // Enough of every protocol: fewer would mean that something is not looked into any more.
    for (protocol, fields) in [
        ("o7s.udp.", 14),
        ("o7s.eth.", 17),
        ("o7s.oap.", 14),
        ("o7s.dt.", 5),
        ("o7s.fa.", 15),
        ("o7s.dht.", 7),
        ("o7s.lsu.", 3),
        ("o7s.frct.", 12),
        ("o7s.cep.", 5),
        ("o7s.enroll.", 24),
        ("o7s.flow.", 3),
        ("o7s.sealed.", 3),
    ] {
        let seen: Vec<_> = names.iter().filter(|name| name.starts_with(protocol)).collect();
        assert!(seen.len() >= fields, "{protocol} has only {seen:?}");
    }
}

/// Names of the fields that the script makes, by protocol and name as they are in it.
fn scripted() -> BTreeSet<String> {
    let (mut names, mut prefix, mut with_qos) = (BTreeSet::new(), "", false);
    let mut qos = Vec::new();
    for line in DISSECTOR.lines() {
        if let Some(proto) = line.strip_prefix("fields(") {
            let proto = proto.split(',').next().unwrap();
            prefix = if proto == "shown" { "capture" } else { proto };
            with_qos = line.contains("with_qos");
        } else if line.starts_with("local QOS = {") {
            prefix = "QOS";
        } else if !line.starts_with("  {") && !line.starts_with("    ") {
            prefix = "";
        }
        for name in line.split("{ \"").skip(1).filter_map(|rest| rest.split('"').next()).filter(|_| !prefix.is_empty())
        {
            let name = match prefix {
                "QOS" => {
                    qos.push(name.to_owned());
                    continue;
                }
                "o7s" => format!("o7s.{name}"),
                prefix => format!("o7s.{prefix}.{name}"),
            };
            names.insert(name);
        }
        if with_qos && !prefix.is_empty() {
            names.extend(qos.iter().map(|name| format!("o7s.{prefix}.{name}")));
        }
    }
    names
}

#[test]
fn the_documentation_has_every_field_of_the_script() {
    let names = scripted();
    assert!(names.len() > 120, "{names:?}");
    let documentation = include_str!("../../src/wire/dissect/fields.md");
    for name in &names {
        assert!(documentation.contains(&format!("`{name}`")), "{name} is not documented in o7s::dissect");
    }
}

#[test]
fn preferences_set_ports_and_sizes() {
    let Some(tshark) = Tshark::find() else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures/eth-dix.pcap");
    let shown = tshark.read(&file, &["-o", "o7s.ethertype:45056"]);
    assert!(shown.iter().all(Shown::is_empty), "another EtherType");
    let shown = tshark.read(&file, &["-o", "o7s.hash_len:64"]);
    let follower = Follower::default().dissector(Dissector::default().hash(HashAlg::Sha3_512));
    let ours = ours(&std::fs::read(&file).unwrap(), follower);
    // A query of 32 bytes is too short then.
    assert!(ours[0].contains_key("o7s.undecoded") && shown[0].contains_key("o7s.undecoded"));
}

#[test]
fn damaged_packets_harm_neither() {
    let Some(tshark) = Tshark::find() else { return };
    for name in ["unicast-eth-dix", "udp4"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/captures/{name}.pcap"));
        let mut bytes = std::fs::read(file).unwrap();
        // Every 37th byte behind the headers of the first packets.
        let mut at = 24;
        while at + 16 < bytes.len() {
            let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
            let end = at + 16 + len;
            for place in (at + 16 + 44..end).step_by(37) {
                bytes[place] ^= 0x55;
            }
            at = end;
        }
        let damaged = Scratch::new(&format!("damaged-{name}.pcap"), &bytes);
        // No error of the script, and nothing that it reads beyond its end.
        let theirs = tshark.read(damaged.path(), &[]);
        assert_eq!(theirs.len(), ours(&bytes, Follower::default()).len());
    }
}

/// A file of datagrams over IPv4, with their ports.
fn datagrams(all: &[(u16, u16, Vec<u8>)]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0];
    for (from, to, data) in all {
        let (udp, ip) = (8 + data.len() as u16, 28 + data.len() as u16);
        file.extend([&[0; 8][..], &u32::from(ip).to_le_bytes(), &u32::from(ip).to_le_bytes()].concat());
        file.extend(
            [&[0x45, 0][..], &ip.to_be_bytes(), &[0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]].concat(),
        );
        file.extend([&from.to_be_bytes()[..], &to.to_be_bytes(), &udp.to_be_bytes(), &[0, 0], data].concat());
    }
    file
}

/// Datagrams of others, at ports of nobody's: DNS, the long header of QUIC, zeros, and anything.
#[test]
fn datagrams_of_other_protocols_are_not_claimed() {
    let Some(tshark) = Tshark::find() else { return };
    let mut chance = Rng::from_seed([9; 32]);
    let mut random = |len: usize| (0..len).map(|_| chance.u64() as u8).collect::<Vec<u8>>();
    let dns = [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1][..], b"a\x03net\x00\x00\x01\x00\x01"].concat();
    let quic = [&[0xc3, 0, 0, 0, 1, 8][..], &random(1194)].concat();
    let mut all = vec![(40_000, 53, dns.clone()), (53, 40_000, dns), (40_001, 443, quic)];
    for len in 0..200 {
        all.push((40_002, 40_003, random(len)));
        all.push((40_004, 40_005, vec![0; len]));
        // An EID of 0, as messages about flows have it, and no message.
        all.push((40_006, 40_007, [&[0; 4][..], &random(len)].concat()));
    }
    let scratch = Scratch::new("others.pcap", &datagrams(&all));
    let shown = tshark.read(scratch.path(), &[]);
    assert_eq!(shown.len(), all.len());
    for (packet, (from, _, data)) in shown.iter().zip(&all) {
        assert!(packet.is_empty(), "{from}, {} bytes: {packet:?}", data.len());
    }
}

#[test]
fn keys_that_a_reference_logged_open_its_packets() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    for (name, packets) in [
        ("enc-udp4-default", 12),
        ("enc-dix-default", 13),
        ("enc-dix-x25519-chacha", 13),
        ("pqc-udp4-mlkem1024", 13),
        ("auth-enc-dix-ec", 12),
        ("enc-dix-keyrotation-kr8", 603),
        // Without authentication nobody could tell whether it was opened.
        ("enc-dix-p384-aes256ctr", 0),
    ] {
        let mut follower = Follower::default().rotation_bit(if name.ends_with("kr8") { 8 } else { 20 });
        follower.add_keys(&std::fs::read_to_string(dir.join(format!("{name}.keyloga.txt"))).unwrap());
        let file = std::fs::read(dir.join(format!("{name}.pcap"))).unwrap();
        let mut reader = Reader::new(&file[..]).unwrap();
        let (mut opened, mut retransmitted) = (0, 0);
        while let Some(packet) = reader.packet().unwrap() {
            let followed = follower.follow(packet.link, &packet.data);
            let line = followed.to_string();
            opened += usize::from(line.contains("| opened "));
            retransmitted += usize::from(line.contains("| opened ") && line.contains("data|drf"));
        }
        assert_eq!(opened, packets, "{name}");
        assert!(opened == 0 || name.ends_with("kr8") || retransmitted > 0, "{name}: no FRCT inside");
    }
}
