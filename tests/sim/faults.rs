//! Partitions, and peers that are not there any more.

use o7s::sim::{Link, Loss, Packet, Verdict};
use o7s::wire::udp::{Datagram, Mgmt};
use o7s::{QosSpec, ReadError};

use super::world::{CLIENT, ENCRYPTED, Pair, SERVER, Script, expect, ms, secs, send};

fn link() -> Link {
    Link::default().latency(ms(10)).loss(Loss::Random(0.01))
}

#[test]
fn a_partition_of_ten_seconds_heals() {
    let pair = Pair::new(1, link().rate(10_000_000), ENCRYPTED);
    let net = &pair.net;
    net.block_on(async {
        let (near, far) = pair.connect(QosSpec::DATA).await;
        let largest = near.as_blocking().max_packet();
        let script = || Script::new(net, "partition", 4 << 20, largest);
        let (inner, written, read) = (net.clone(), script(), script());
        net.spawn(async move {
            inner.sleep(secs(1)).await;
            inner.partition(&[CLIENT], &[SERVER]);
            inner.sleep(secs(10)).await;
            inner.heal();
        });
        let reader = net.spawn(async move {
            expect(&far, read).await;
            far
        });
        send(&near, written).await;
        let far = reader.await;
        let took = net.now().as_nanos() as f64 / 1e9;
        assert!((11.0..40.0).contains(&took), "{took} s");
        near.close(secs(10)).await.unwrap();
        drop(far);
    });
}

/// Returns the time at which the client notices that the server is gone, seconds after it went; `qos` sets the limit.
fn noticed_after(qos: QosSpec, vanish: impl FnOnce(&Pair)) -> (ReadError, f64) {
    let pair = Pair::new(2, link(), ENCRYPTED);
    let net = &pair.net;
    net.block_on(async {
        let (near, far) = pair.connect(qos).await;
        for _ in 0..10 {
            far.write(b"still here").await.unwrap();
            near.read_bytes().await.unwrap();
        }
        let gone = net.now();
        vanish(&pair);
        let error = near.read_bytes().await.unwrap_err();
        (error, net.now().since(gone).as_secs_f64())
    })
}

#[test]
fn a_peer_that_vanishes_is_reported_within_its_timeout() {
    for timeout in [2_000, 10_000, 120_000] {
        let qos = QosSpec { timeout, ..QosSpec::DATA };
        let (error, after) = noticed_after(qos, |pair| pair.server.crash());
        assert_eq!(error, ReadError::PeerGone);
        let limit = f64::from(timeout) / 1000.0;
        assert!((limit * 0.5..limit * 1.5 + 0.5).contains(&after), "noticed after {after} s of {limit}");
    }
}

#[test]
fn an_unreachable_peer_counts_as_vanished() {
    let qos = QosSpec { timeout: 5_000, ..QosSpec::DATA };
    let (error, after) = noticed_after(qos, |pair| pair.net.isolate(SERVER));
    assert_eq!(error, ReadError::PeerGone);
    assert!(after < 8.0, "noticed after {after} s");
}

#[test]
fn an_idle_flow_is_kept_alive() {
    let pair = Pair::new(3, link(), ENCRYPTED);
    let net = &pair.net;
    net.block_on(async {
        let (near, far) = pair.connect(QosSpec { timeout: 10_000, ..QosSpec::DATA }).await;
        net.sleep(secs(3600)).await;
        near.write(b"after an hour").await.unwrap();
        assert_eq!(&far.read_bytes().await.unwrap()[..], b"after an hour");
    });
}

#[test]
fn a_restarted_host_is_a_new_peer() {
    let pair = Pair::new(4, link(), ENCRYPTED);
    let net = &pair.net;
    net.block_on(async {
        let (near, _far) = pair.connect(QosSpec { timeout: 4_000, ..QosSpec::DATA }).await;
        pair.server.crash();
        let again = net.host("server").udp4(SERVER).stack(|s| s.security(ENCRYPTED.parse().unwrap())).build();
        let listener = again.listen("service");
        // The old flow is nothing to the new host.
        near.write(b"do you know me?").await.unwrap();
        assert_eq!(near.read_bytes().await.unwrap_err(), ReadError::PeerGone);
        let server = net.spawn(async move { listener.accept_async().await.unwrap() });
        let near = pair.client.stack().flow("service").qos(QosSpec::DATA).alloc_async().await.unwrap();
        let far = server.await;
        far.write(b"welcome").await.unwrap();
        assert_eq!(&near.read_bytes().await.unwrap()[..], b"welcome");
    });
}

/// A flow that was accepted waits for its first packet for 45 s: so long the requester can ask for a reply that it did
/// not get, even if no other flow is accepted.
#[test]
fn replies_are_repeated_while_the_flow_waits() {
    for security in ["", ENCRYPTED] {
        let pair = Pair::new(2, Link::default().latency(ms(10)), security);
        let net = &pair.net;
        net.block_on(async {
            let listener = pair.server.listen("once");
            let accepting = net.spawn(async move { (listener.accept_async().await.unwrap(), listener) });
            let (clock, until) = (net.clone(), net.now() + secs(30));
            let lose = move |packet: &Packet<'_>| match Datagram::parse(packet.data) {
                Ok(Datagram::Mgmt(Mgmt::Reply(_))) if clock.now() < until => Verdict::Drop,
                _ => Verdict::Pass,
            };
            net.on_packet(lose).keep();
            let asking = pair.client.stack().flow("once").qos(QosSpec::DATA).timeout(secs(60));
            let near = asking.alloc_async().await.unwrap();
            let (far, _listener) = accepting.await;
            near.write(b"at last").await.unwrap();
            assert_eq!(&far.read_bytes().await.unwrap()[..], b"at last");
        });
    }
}
