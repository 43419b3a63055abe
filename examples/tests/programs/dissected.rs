//! odump beside tshark with the dissector: the same packets, the same fields, the same values. Skipped, visibly, where there is
//! no tshark.

use std::path::Path;

use super::tools::Tshark;
use super::{Shown, program, text};

/// What odump prints of each packet of a file.
fn printed(file: &Path) -> Vec<Shown> {
    // All, so that the numbers of the packets are those of the file.
    let output = program("odump").args(["--fields", "--all"]).arg(file).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    let mut packets = Vec::new();
    for line in text(&output.stdout).lines() {
        match line.strip_prefix("    ") {
            None => packets.push(Shown::new()),
            Some(field) => {
                let (name, value) = field.split_once('=').unwrap_or_else(|| panic!("no field: {line}"));
                packets.last_mut().unwrap().entry(name.to_owned()).or_default().push(value.to_owned());
            }
        }
    }
    packets
}

#[test]
fn odump_prints_the_fields_that_tshark_shows() {
    let Some(tshark) = Tshark::find() else { return };
    // A layer of each sort, in the clear and not: packets, and protocols among their fields.
    for (name, least, protocols) in [
        ("unicast-udp4", 50, &["udp", "oap", "cep", "enroll", "lsu", "dt", "dht", "fa", "frct"][..]),
        ("eth-llc", 10, &["eth", "oap", "frct"]),
        ("enc-dix-default", 10, &["eth", "oap", "sealed", "flow"]),
        ("broadcast-eth-dix", 10, &["eth", "enroll"]),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/data/captures/{name}.pcap"));
        let (ours, theirs) = (printed(&file), tshark.read(&file, &[]));
        assert_eq!(ours.len(), theirs.len(), "{name}: packets");
        for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "{name}, packet {}: odump beside tshark", number + 1);
        }
        assert!(ours.iter().filter(|packet| !packet.is_empty()).count() >= least, "{name}: {}", ours.len());
        for protocol in protocols {
            let prefix = format!("o7s.{protocol}.");
            assert!(ours.iter().flat_map(Shown::keys).any(|field| field.starts_with(&prefix)), "{name}: no {prefix}");
        }
    }
}
