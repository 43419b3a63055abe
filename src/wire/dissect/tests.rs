use alloc::string::{String, ToString};

use proptest::prelude::*;

use super::*;
use crate::types::id::{Address, Eid};
use crate::types::name::{Name, NameHash};
use crate::types::qos::QosSpec;

const ALL: [Protocol; 10] = [
    Protocol::Udp,
    Protocol::Ethernet,
    Protocol::DataTransfer,
    Protocol::FlowAllocator,
    Protocol::Directory,
    Protocol::LinkState,
    Protocol::Frct,
    Protocol::Connection,
    Protocol::Enrollment,
    Protocol::Security,
];

fn shown(protocol: Protocol, bytes: &[u8]) -> String {
    Dissector::default().dissect(protocol, bytes).unwrap().to_string()
}

fn security() -> Vec<u8> {
    oap::Message { id: [7; oap::ID_LEN], ..oap::Message::default() }.to_vec().unwrap()
}

fn name(hash: HashAlg) -> NameHash {
    hash.hash(&Name::new("echo").unwrap())
}

#[test]
fn requests_show_their_security_header() {
    let data = &security();
    let request = udp::FlowRequest { s_eid: 64, qos: QosSpec::RAW, dst: name(HashAlg::Md5), data };
    let line = shown(Protocol::Udp, &request.to_vec());
    assert!(line.starts_with("flow request s_eid 64 "), "{line}");
    assert!(line.ends_with(&std::format!(" | oap id {} time 0.000000000", "07".repeat(oap::ID_LEN))), "{line}");
    assert_eq!(shown(Protocol::Security, data), line.rsplit(" | ").next().unwrap());
}

#[test]
fn data_transfer_shows_what_is_for_the_components_of_a_member() {
    let within = |eid: Eid, message: &[u8]| {
        let pci = dt::Pci { dst: Address(9), qos: 0, ttl: 60, ecn: 0, eid };
        let mut packet = std::vec![0; dt::LayerSizes::default().header_len()];
        pci.emit(dt::LayerSizes::default(), &mut packet).unwrap();
        [&packet, message].concat()
    };
    let (data, dst) = (&security(), name(HashAlg::Sha3_256));
    let request = fa::FlowRequest { s_addr: Address(3), s_eid: Eid(77), qos: QosSpec::RAW, dst, data };
    let line = shown(Protocol::DataTransfer, &within(dt::FLOW_ALLOCATOR, &fa::Message::Request(request).to_vec()));
    assert_eq!(line.matches(" | ").count(), 2, "{line}");
    assert!(line.contains(" | flow request s_addr "), "{line}");

    let src = dht::Contact { id: dst, address: Address(3) };
    let find = dht::Message { src, body: dht::Body::FindValue { cookie: 1, key: dst } };
    let line = shown(Protocol::DataTransfer, &within(dt::DIRECTORY, &find.encode().unwrap()));
    assert!(line.contains(" | dht src "), "{line}");

    let packet = within(Eid(4711), b"data");
    let dissected = Dissector::default().dissect(Protocol::DataTransfer, &packet).unwrap();
    assert_eq!(dissected.payload(), b"data");
    assert!(dissected.to_string().ends_with(" | 4 bytes"), "{dissected}");
}

#[test]
fn link_state_shows_every_update_and_its_age() {
    let update = Lsu { dst: Address(1), src: Address(2), seqno: 5 };
    let packet = [update.to_bytes(), Age(core::time::Duration::from_secs(2)).to_lsu().to_bytes()].concat();
    assert_eq!(shown(Protocol::LinkState, &packet), std::format!("{update} | age 2000 ms"));
    for len in [0, Lsu::LEN - 1, Lsu::LEN + 1] {
        let cut = packet.get(..len).unwrap();
        assert!(Dissector::default().dissect(Protocol::LinkState, cut).is_err(), "{len} bytes");
    }
}

#[test]
fn enrollment_messages_are_told_apart() {
    let id = [1; enroll::ID_LEN];
    let denied = enroll::Response { id, seconds: 1, nanoseconds: 2, verdict: enroll::Verdict::Denied(-1) };
    for (bytes, start) in [
        (enroll::Request { id }.encode().unwrap(), "enrollment request"),
        (denied.encode().unwrap(), "enrollment response"),
        (enroll::Ack { id, result: 0 }.encode().unwrap(), "enrollment ack"),
    ] {
        let line = shown(Protocol::Enrollment, &bytes);
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn selective_acknowledgements_are_shown_and_data_is_not_taken_for_them() {
    use crate::base::seq::Seq;
    let mut sack = frct::Sack::new(Seq(10));
    assert!(sack.push(Seq(12), Seq(14)));
    let mut payload = std::vec![0; sack.encoded_len()];
    sack.emit(&mut payload).unwrap();
    let packet = |flags| {
        let pci = frct::Pci { flags, ackno: Seq(10), ..frct::Pci::default() };
        [&pci.to_bytes(), &payload[..]].concat()
    };
    let line = shown(Protocol::Frct, &packet(frct::Flags::ACK));
    assert!(line.ends_with(&sack.to_string()), "{line}");
    let line = shown(Protocol::Frct, &packet(frct::Flags::ACK | frct::Flags::DATA));
    assert!(line.ends_with(&std::format!("{} bytes", payload.len())), "{line}");
}

#[test]
fn what_goes_because_of_the_path_is_named() {
    use crate::base::seq::Seq;
    let packet = |pci: frct::Pci, len| {
        let mut packet = pci.to_bytes().to_vec();
        packet.resize(frct::Pci::LEN + len, 0x53);
        packet
    };
    let (data, two) = (frct::Flags::DATA | frct::Flags::FFGM, Seq(2));
    for (bytes, expected) in [
        // Neither the reason of an end nor a report, whatever is in them.
        (
            packet(frct::Pci::piece(data, two, 1200, 1201), 1),
            "data|rdvs|ffgm|end seq 2 piece at 1200 of 1201 | 1 bytes",
        ),
        (packet(frct::Pci::probe(two), 0), "rdvs|end path probe 2 | padding 0"),
        (packet(frct::Pci::probe(two), 1), "rdvs|end path probe 2 | padding 1"),
        (packet(frct::Pci::probe(two), 1400), "rdvs|end path probe 2 | padding 1400"),
        (packet(frct::Pci::answer(two), 0), "ack|rdvs|end path answer 2"),
    ] {
        assert_eq!(shown(Protocol::Frct, &bytes), expected);
    }
}

#[test]
fn address_lengths_that_there_are_not_are_refused() {
    assert!(Dissector::default().address_len(0).is_err());
    assert!(Dissector::default().address_len(9).is_err());
    let short = Dissector::default().address_len(1).unwrap();
    assert_eq!(short.dissect(Protocol::DataTransfer, &[9; 13]).unwrap().payload().len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_shown_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for protocol in ALL {
            match Dissector::default().dissect(protocol, &bytes) {
                Ok(packet) => {
                    prop_assert!(!packet.to_string().is_empty());
                    prop_assert!(packet.payload().len() <= bytes.len());
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
