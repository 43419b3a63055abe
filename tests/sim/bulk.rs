//! 10 MiB over a reliable, encrypted flow, byte for byte, whatever the network does.

use o7s::QosSpec;
use o7s::frct::congestion::Algorithm;
use o7s::sim::{Link, Loss, Queue};

use super::world::{ENCRYPTED, Pair, Script, expect, ms, secs, send};

const TOTAL: usize = 10 << 20;

/// Transfers it all, which may take `limit` seconds of virtual time: about twice what it takes, so that a flow that
/// collapses is noticed.
fn transfer(seed: u64, link: Link, corrupt: f64, limit: f64) {
    // An algorithm that takes loss for congestion would take minutes.
    let algorithm = if corrupt > 0.0 { Algorithm::Bbr } else { Algorithm::Cubic };
    let pair = Pair::with(seed, link, ENCRYPTED, &algorithm);
    let net = &pair.net;
    let took = net.block_on(async {
        let (near, far) = pair.connect(QosSpec::DATA).await;
        assert!(near.as_blocking().is_encrypted() && far.as_blocking().is_encrypted());
        // From now on: nothing but UDP's checksum, which the simulation lacks, protects a flow's request from damage.
        net.set_default_link(link.corrupt(corrupt));
        let largest = near.as_blocking().max_packet();
        let start = net.now();
        let script = Script::new(net, "bulk", TOTAL, largest);
        let inner = net.clone();
        let reader = net.spawn(async move {
            expect(&far, script).await;
            // The receiver is kept: a dropped one could not acknowledge.
            (inner.now(), far)
        });
        send(&near, Script::new(net, "bulk", TOTAL, largest)).await;
        near.close(secs(120)).await.expect("all of it is acknowledged");
        reader.await.0.since(start).as_secs_f64()
    });
    assert!(took < limit, "{took} s");
}

fn bad(loss: f64) -> Link {
    Link::default().latency(ms(10)).jitter(ms(2)).loss(Loss::Random(loss)).reorder(0.05, ms(10)).duplicate(0.02)
}

#[test]
fn without_loss() {
    transfer(1, Link::default().latency(ms(10)), 0.0, 0.3);
}

#[test]
fn with_reordering_duplication_and_corruption() {
    transfer(2, bad(0.0), 0.01, 4.0);
}

#[test]
fn with_one_per_cent_loss() {
    transfer(3, bad(0.01), 0.01, 5.0);
}

#[test]
fn with_five_per_cent_loss() {
    transfer(4, bad(0.05), 0.01, 6.0);
}

#[test]
fn with_twenty_per_cent_loss() {
    // 0.6 to 1.7 s with most seeds; three of 13 end on a run of losses that only probes meet, and take 3 to 6.
    transfer(5, bad(0.2), 0.01, 12.0);
}

#[test]
fn with_bursty_loss() {
    // 0.4 s with 19 seeds of 22. But it is packets, not time, that end a burst of this link, and one that hits the very end
    // of the transfer meets nothing but probes: two for each timeout, which is twice as long as the last up to 64 times.
    // With this seed 14 in a row are lost, and it takes 10 s.
    transfer(6, bad(0.0).loss(Loss::bursty(0.03, 5.0)), 0.01, 20.0);
    transfer(7, bad(0.0).loss(Loss::bursty(0.03, 5.0)), 0.01, 5.0);
}

#[test]
fn through_a_narrow_link_with_a_short_queue() {
    // 20 Mbit/s and a queue of a quarter of what is in flight: 10 MiB take 4.3 s at best.
    transfer(7, Link::default().latency(ms(20)).rate(20_000_000).queue(Queue::Packets(20)), 0.0, 8.0);
}
