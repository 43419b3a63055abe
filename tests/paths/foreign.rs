//! Peers that are not what one wishes: one that knows nothing of fragments, and some that send nothing but first ones.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use o7s::base::buf::{BufCache, BufPool, PacketBuf};
use o7s::base::rng::Randomness;
use o7s::base::seq::Seq;
use o7s::frct::{Config, Frct};
use o7s::oap::client::Client;
use o7s::settings::Limits;
use o7s::sim::{Link, Loss, Verdict};
use o7s::types::name::{HashAlg, Name};
use o7s::wire::frct::{Flags, Pci};
use o7s::wire::udp::{Datagram, FlowRequest, Mgmt};
use o7s::{QosSpec, SecurityConfig, WriteError};

use super::ends::{Ends, MIB, message, ms};

const STRANGER: &str = "10.0.0.9:3435";
const SERVER: &str = "10.0.0.2:3435";
/// The first EID of the stranger's.
const EID: u32 = 4711 << 8;
const PLAIN: QosSpec = QosSpec { ber: 1, ..QosSpec::DATA };

/// What has come to the stranger.
type Arrived = Rc<RefCell<Vec<Vec<u8>>>>;

fn arrivals(ends: &Ends) -> Arrived {
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    let arrived = Arrived::default();
    let to = Rc::clone(&arrived);
    let rule = ends.net.on_packet(move |p| {
        if p.dst != stranger {
            return Verdict::Pass;
        }
        to.borrow_mut().push(p.data.to_vec());
        Verdict::Drop
    });
    rule.keep();
    arrived
}

/// Asks for a flow to the server's service, as this library does or as a reference.
fn ask(ends: &Ends, qos: QosSpec, n: u32, o7s: bool) {
    let unix = ends.server.stack().node().clock().unix_nanos();
    let (plain, mut rng) = (SecurityConfig::default(), Randomness::from_seed([n as u8; 32]));
    let mut id = [7; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    let (_, data) = if o7s {
        Client::start_within(unix, &plain, &[], None, MIB as u32, &mut rng).unwrap()
    } else {
        Client::start_with(unix, &plain, &[], id, None, &mut Randomness::from_seed([3; 32])).unwrap()
    };
    let dst = HashAlg::Md5.hash(&Name::new("peer").unwrap());
    ends.net.inject(STRANGER, SERVER, &FlowRequest { s_eid: EID + n, qos, dst, data: &data }.to_vec());
}

/// The EID of the server's in its answer to that.
async fn answer(ends: &Ends, arrived: &Arrived, n: u32) -> u32 {
    loop {
        for datagram in arrived.borrow().iter() {
            if let Ok(Datagram::Mgmt(Mgmt::Reply(reply))) = Datagram::parse(datagram)
                && reply.s_eid == EID + n
            {
                assert_eq!(reply.response, 0);
                return reply.d_eid;
            }
        }
        ends.net.sleep(ms(1)).await;
    }
}

fn with_eid(eid: u32, packet: &[u8]) -> Vec<u8> {
    [&eid.to_be_bytes()[..], packet].concat()
}

/// Even where each packet is lost so often that one of our own kind would be sent pieces.
#[test]
fn a_reference_is_sent_no_unknown_flag() {
    let ends = Ends::new(1, Link::default().latency(ms(5)), "");
    let arrived = arrivals(&ends);
    let (flags, got) = ends.net.block_on(async {
        ask(&ends, PLAIN, 0, false);
        let flow = ends.listener.accept_async().await.unwrap();
        let theirs = answer(&ends, &arrived, 0).await;
        let max = flow.as_blocking().max_packet();
        assert_eq!(flow.as_blocking().max_write(), max);
        for size in [max + 1, 2 * max, MIB] {
            assert_eq!(flow.write(&vec![7; size]).await, Err(WriteError::TooLarge { size, max }));
        }
        let writer = ends.net.spawn(async move {
            for n in 0..60 {
                flow.write(&message(n, max)).await.unwrap();
            }
            flow.close(Duration::from_secs(100)).await.unwrap();
        });
        // The stranger: a machine that takes its peer for a reference, and behaves as one. Half of all is lost.
        let mut cache = BufCache::new(&BufPool::new(64));
        let mut machine = Frct::new(Config::default(), 99);
        let (mut flags, mut got, mut count) = (Vec::new(), 0, 0u32);
        while !writer.is_finished() {
            ends.net.sleep(ms(1)).await;
            let now = ends.net.now();
            for datagram in std::mem::take(&mut *arrived.borrow_mut()) {
                let packet = &datagram[4..];
                if datagram[..4] != EID.to_be_bytes() || packet.is_empty() {
                    continue;
                }
                flags.push((packet[0], packet.len()));
                count += 1;
                if count.wrapping_mul(0x9e37_79b9) >> 31 == 0 {
                    machine.handle_packet(now, PacketBuf::copy_of(packet), &mut cache);
                }
            }
            if machine.next_deadline().is_some_and(|at| at <= now) {
                machine.handle_timeout(now, &mut cache);
            }
            while let Some(packet) = machine.deliver(now, &mut cache) {
                assert!(packet[..] == message(got, max), "packet {got}");
                got += 1;
            }
            while let Some(transmit) = machine.poll_transmit(now) {
                let packet = [transmit.header(), transmit.payload()].concat();
                ends.net.inject(STRANGER, SERVER, &with_eid(theirs, &packet));
            }
        }
        writer.await;
        (flags, got)
    });
    assert_eq!(got, 60);
    assert!(flags.len() > 100);
    for (flags, len) in flags {
        assert_eq!(flags & 0xe0, 0, "{flags:02x}");
        assert!(flags & 0x11 != 0x11, "a piece: {flags:02x}");
        assert!(flags & 1 == 1 || len == Pci::LEN, "a control packet of {len} bytes");
    }
}

/// The packet numbered `n` of a run, with 1000 bytes.
fn fragment(n: u32, flags: Flags) -> Vec<u8> {
    let first = if n == 0 { Flags::DRF } else { Flags::NONE };
    let mut packet = Pci { flags: Flags::DATA | first | flags, seqno: Seq(n), ..Pci::default() }.to_bytes().to_vec();
    packet.resize(Pci::LEN + 1000, 7);
    packet
}

/// Messages that begin and never end: of one fragment each, and of as many as there can be.
#[test]
fn messages_that_never_end_hold_no_more_than_the_budgets() {
    const FLOWS: u32 = 40;
    let limits = Limits::default().peer_bytes(MIB).stack_bytes(2 * MIB);
    for qos in [PLAIN, QosSpec { ber: 1, ..QosSpec::BEST_EFFORT }] {
        for (follow, most) in [(Flags::FRAGMENT, 4 * MIB), (Flags::MFGM, 5 * MIB)] {
            let link = Link::default().latency(ms(1)).loss(Loss::None);
            let ends = Ends::with(2, link, "", [Limits::default(), limits.clone()]);
            let arrived = arrivals(&ends);
            ends.net.block_on(async {
                let mut flows = Vec::new();
                for n in 0..FLOWS {
                    ask(&ends, qos, n, true);
                    let flow = ends.listener.accept_async().await.unwrap();
                    flows.push((flow, answer(&ends, &arrived, n).await));
                }
                for n in 0..300 {
                    for (_, eid) in &flows {
                        let flags = if n == 0 { Flags::FRAGMENT } else { follow };
                        ends.net.inject(STRANGER, SERVER, &with_eid(*eid, &fragment(n, flags)));
                    }
                    ends.net.sleep(ms(5)).await;
                    for (flow, _) in &flows {
                        assert!(flow.as_blocking().try_read(&mut [0; 10]).is_err());
                    }
                    arrived.borrow_mut().clear();
                    assert!(ends.held() < most as u64, "{} of {most} after {n}", ends.held());
                }
                let wait = if qos == PLAIN { 200 } else { 20 };
                for _ in 0..wait {
                    ends.net.sleep(Duration::from_secs(1)).await;
                    for (_, eid) in &flows {
                        // A sign of life.
                        ends.net.inject(STRANGER, SERVER, &eid.to_be_bytes());
                    }
                }
                assert_eq!(ends.held(), 0, "and not for longer than {wait} s");
            });
        }
    }
}
