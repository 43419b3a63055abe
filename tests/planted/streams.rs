//! Faults in streams of data.

use core::time::Duration;

use o7s::QosSpec;
use o7s::sim::{Link, Network, Packet, Verdict};
use o7s::types::id::Eid;
use o7s::types::layer::RoutePolicy;

use super::caught;
use super::world::layer::{Layer, Walk};
use super::world::outage::{Outage, cut_a_link, has_alternate, layer, layer_of, link_on_the_way};
use super::world::plant::{self, Kind};
use super::world::{Pair, Script, expect, ms, secs, send, topology};

/// A link fails on the way of a stream half round a ring, and no packet can go around it before members further back
/// have heard of it, which takes as long as `news`.
fn in_a_ring(policy: RoutePolicy, news: Option<Duration>) -> Outage {
    let net = Network::new(1);
    net.set_default_link(Link::default().latency(ms(1)));
    let layer = layer_of(net, 9, &topology::ring(9), policy);
    assert_eq!(layer.walk(0, 3, Eid(1)), Walk::Arrives(vec![0, 1, 2, 3]));
    delayed(&layer, (0, 3), (2, 3), news)
}

/// A link fails around which there is an alternate.
fn with_an_alternate(policy: RoutePolicy, news: Option<Duration>) -> Outage {
    let layer = layer(30, 30, 60, policy);
    let pairs = (0..30).flat_map(|from| (0..30).filter(move |to| *to != from).map(move |to| (from, to)));
    let of = |pair| Some((pair, link_on_the_way(&layer, pair, has_alternate)?));
    let (pair, cut) = pairs.into_iter().find_map(of).unwrap();
    delayed(&layer, pair, cut, news)
}

fn delayed(layer: &Layer, pair: (usize, usize), cut: (usize, usize), news: Option<Duration>) -> Outage {
    if let Some(time) = news {
        plant::delay(&layer.net, Kind::LinkState, time);
    }
    cut_a_link(layer, pair, cut)
}

#[test]
fn news_of_a_failed_link_take_their_time() {
    in_a_ring(RoutePolicy::Simple, None).assert_over(ms(100));
    let late = in_a_ring(RoutePolicy::Simple, Some(ms(400)));
    caught("routes do not avoid the link", || late.assert_over(ms(100)));
}

#[test]
fn an_alternate_is_not_used() {
    with_an_alternate(RoutePolicy::LoopFreeAlternates, Some(ms(400))).assert_over_when_noticed();
    let none = in_a_ring(RoutePolicy::LoopFreeAlternates, Some(ms(400)));
    caught("the alternate is not used", || none.assert_over_when_noticed());
}

#[test]
fn a_byte_is_not_the_one_that_was_sent() {
    let pair = Pair::new(1, Link::default().latency(ms(10)), "");
    let net = &pair.net;
    net.block_on(async {
        let (near, far) = pair.connect(QosSpec::DATA).await;
        let change = |packet: &Packet<'_>| match packet.data {
            data if data.len() < 500 => Verdict::Pass,
            data => {
                let mut forged = data.to_vec();
                forged[400] ^= 1;
                Verdict::Rewrite(forged)
            }
        };
        net.on_packet(change).keep();
        let script = || Script::new(net, "script", 20_000, 1000);
        send(&near, script()).await;
        let forged = net.timeout(secs(10), far.read_bytes()).await.unwrap().unwrap();
        let first = script().next().unwrap();
        assert!(forged.len() == first.len() && forged[..] != first[..], "nothing but a script can tell");
    });
    caught("message 0: ", || {
        let pair = Pair::new(1, Link::default().latency(ms(10)), "");
        let net = &pair.net;
        net.block_on(async {
            let (near, far) = pair.connect(QosSpec::DATA).await;
            send(&near, Script::new(net, "another", 20_000, 1000)).await;
            expect(&far, Script::new(net, "script", 20_000, 1000)).await;
        });
    });
}
