//! Servers that serve once, and members that have only so long to join.

use std::cell::Cell;
use std::rc::Rc;

use core::time::Duration;

use o7s::sim::{Host, Link, Network, Packet, Verdict};
use o7s::{IpcpHandle, QosSpec, Udp4, UnicastLayer};

use super::world::layer::Layer;
use super::world::{CLIENT, ENCRYPTED, SERVER, ms, secs, topology};

/// Drops what is sent to `client`, or to anybody if that is empty, for as long as it is told to.
fn losing(net: &Network, client: &'static str) -> impl Fn(bool) + 'static + use<> {
    let lost = Rc::new(Cell::new(false));
    let rule = Rc::clone(&lost);
    let lose = move |packet: &Packet<'_>| {
        let is_meant = client.is_empty() || packet.dst.ip().to_string() == client;
        if rule.get() && is_meant { Verdict::Drop } else { Verdict::Pass }
    };
    net.on_packet(lose).keep();
    move |now| lost.set(now)
}

/// A server that accepts one flow to "once", under which it is registered in `layer`, and wants no other; the first reply
/// is lost. The client gets what the server has, all the same.
fn one_shot(
    net: &Network,
    lose: impl Fn(bool) + 'static,
    client: &Host,
    (server, layer): (&Host, &IpcpHandle),
    leaves: bool,
) {
    let listener = server.stack().bind("once").unwrap();
    layer.register("once").unwrap();
    let (clock, layer) = (net.clone(), layer.clone());
    let accepting = net.spawn(async move {
        while !listener.has_request() {
            clock.sleep(ms(1)).await;
        }
        lose(true);
        let flow = listener.accept_async().await.unwrap();
        drop(listener);
        if leaves {
            layer.unregister("once");
        }
        clock.sleep(secs(1)).await;
        lose(false);
        flow
    });
    net.block_on(async {
        let near = client.stack().flow("once").qos(QosSpec::DATA).timeout(secs(20)).alloc_async().await;
        let near = near.unwrap_or_else(|e| panic!("the server has a flow, and the client has none: {e}"));
        let far = accepting.await;
        near.write(b"at last").await.unwrap();
        assert_eq!(&far.read_bytes().await.unwrap()[..], b"at last");
    });
    // Whoever else asks is refused.
    let other = net.block_on(client.stack().flow("once").timeout(secs(5)).alloc_async());
    assert!(other.is_err(), "nobody is bound to the name any more");
}

#[test]
fn a_server_that_serves_once_repeats_its_reply() {
    for (security, leaves) in [("", false), ("", true), (ENCRYPTED, false), (ENCRYPTED, true)] {
        let net = Network::new(2);
        net.set_default_link(Link::default().latency(ms(10)));
        let host = |name: &str, at: &str, config: Udp4| {
            let builder = net.host(name).udp4_with(at, config);
            if security.is_empty() { builder } else { builder.stack(|s| s.security(security.parse().unwrap())) }.build()
        };
        // It knows where the server is, whatever becomes of the name.
        let client = host("client", CLIENT, Udp4::bind(CLIENT).host("once", SERVER));
        let server = host("server", SERVER, Udp4::bind(SERVER));
        one_shot(&net, losing(&net, CLIENT), &client, (&server, &server.udp4()[0]), leaves);
        assert_eq!(server.stack().rib().get("node/resent"), Some(1), "{security:?}, {leaves}");
    }
}

#[test]
fn a_server_in_a_routed_layer_that_serves_once_repeats_its_reply() {
    for leaves in [false, true] {
        let net = Network::new(5);
        net.set_default_link(Link::default().latency(ms(10)));
        let layer = Layer::build(net, 2, &topology::star(2), UnicastLayer::new("net"));
        layer.converge(secs(10));
        let (client, server) = (&layer.hosts[0], &layer.hosts[1]);
        one_shot(&layer.net, losing(&layer.net, "10.1.0.1"), client, (server, &layer.members[1]), leaves);
    }
}

#[test]
fn a_server_on_ethernet_that_serves_once_repeats_its_reply() {
    for leaves in [false, true] {
        let net = Network::new(6);
        let switch = net.switch();
        switch.set_default_link(Link::default().latency(ms(10)));
        let host = |name: &str, mac: &str| net.host(name).eth(&switch, mac).build();
        let (client, server) = (host("client", "02:00:00:00:00:01"), host("server", "02:00:00:00:00:02"));
        // The cables of a switch carry packets, too.
        one_shot(&net, losing(&net, ""), &client, (&server, &server.eth()[0]), leaves);
        assert_eq!(server.stack().rib().get("node/resent"), Some(1), "{leaves}");
    }
}

// ----- time limits of enrollments -----

/// How long an enrollment takes with a member that is not there, or is there and says nothing once a flow to it is asked.
fn takes(timeout: Option<Duration>, silent: bool) -> Duration {
    let net = Network::new(7);
    net.set_default_link(Link::default().latency(ms(10)));
    let host = net.host("joiner").udp4_with(CLIENT, Udp4::bind(CLIENT).host("net", SERVER)).build();
    let other = net.host("other").udp4(SERVER).build();
    if silent {
        // It takes flows, and does not know what they are for.
        let listener = other.listen("net");
        net.spawn(async move {
            let mut kept = Vec::new();
            while let Ok(flow) = listener.accept_async().await {
                kept.push(flow);
            }
        });
    } else {
        net.partition(&[CLIENT], &[SERVER]);
    }
    let joining = host.stack().unicast("late").over(&host.udp4()[0]);
    let joining = timeout.into_iter().fold(joining, |joining, timeout| joining.timeout(timeout));
    let began = net.now();
    let joined = net.block_on(joining.enroll_async("net"));
    let error = joined.map(drop).expect_err("nobody is there");
    let took = net.now() - began;
    println!("{timeout:?}, silent {silent}: {error} after {took:?}");
    took
}

#[test]
fn an_enrollment_takes_no_longer_than_it_may() {
    for silent in [false, true] {
        for (timeout, limit) in [
            (Some(ms(100)), ms(100)),
            (Some(ms(700)), ms(700)),
            (Some(secs(1)), secs(1)),
            (Some(secs(7)), secs(7)),
            (None, secs(20)),
        ] {
            let took = takes(timeout, silent);
            assert!(took <= limit, "{took:?} for {timeout:?}, silent {silent}");
            // It does not give up before an attempt could not be made any more: pauses are up to two seconds.
            assert!(took + secs(2) >= limit, "{took:?} for {timeout:?}, silent {silent}");
        }
    }
}
