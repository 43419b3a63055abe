use core::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::base::buf::{BufCache, BufPool};
use crate::sim::{Link, Loss, Queue, Verdict};
use crate::types::device::SendError;

fn share(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}

#[test]
fn a_perfect_link_delivers_everything_at_once_and_in_order() {
    let (net, a, b) = pair(1);
    let got = run_stream(&net, &b, &a, 100, 10, ms(1));
    assert_eq!(got, (0..100).map(|i| (i, f64::from(i))).collect::<Vec<_>>());
}

#[test]
fn latency_is_per_direction() {
    let (net, a, b) = pair(1);
    net.set_link("10.0.0.1", "10.0.0.2", Link::default().latency(ms(30)));
    net.set_link("10.0.0.2", "10.0.0.1", Link::default().latency(ms(5)));
    net.block_on(async {
        a.send(b.local_addr(), b"there", None).unwrap();
        let d = b.receive().await;
        assert_eq!(net.now().as_nanos(), 30_000_000);
        b.send(d.src, b"and back", None).unwrap();
        a.receive().await;
        assert_eq!(net.now().as_nanos(), 35_000_000);
    });
}

#[test]
fn random_loss_has_the_given_rate() {
    for p in [0.01, 0.05, 0.2, 0.5] {
        let (net, a, b) = pair(42);
        net.set_default_link(Link::default().loss(Loss::Random(p)));
        let got = run_stream(&net, &b, &a, 20_000, 4, ms(1)).len();
        let lost = 1.0 - got as f64 / 20_000.0;
        let tolerance = 4.0 * (p * (1.0 - p) / 20_000.0).sqrt();
        assert!((lost - p).abs() < tolerance, "{lost} lost, {p} asked for");
        let stats = net.link_stats("10.0.0.1", "10.0.0.2");
        assert_eq!((stats.sent, stats.delivered, stats.lost), (20_000, got as u64, 20_000 - got as u64));
    }
}

#[test]
fn loss_of_zero_and_one_is_exact() {
    for (p, arrive) in [(0.0, 1000), (1.0, 0), (f64::NAN, 1000), (-3.0, 1000), (7.0, 0)] {
        let (net, a, b) = pair(3);
        net.set_default_link(Link::default().loss(Loss::Random(p)));
        assert_eq!(run_stream(&net, &b, &a, 1000, 4, ms(1)).len(), arrive, "loss {p}");
    }
}

#[test]
fn bursty_loss_has_its_rate_and_its_bursts() {
    let (net, a, b) = pair(5);
    net.set_default_link(Link::default().loss(Loss::bursty(0.1, 8.0)));
    let got = run_stream(&net, &b, &a, 50_000, 4, ms(1));
    let lost = 1.0 - got.len() as f64 / 50_000.0;
    assert!((lost - 0.1).abs() < 0.02, "{lost} lost");
    let gaps: Vec<_> = got.windows(2).map(|w| w[1].0 - w[0].0 - 1).filter(|&gap| gap > 0).collect();
    let mean = f64::from(gaps.iter().sum::<u32>()) / gaps.len() as f64;
    assert!((mean - 8.0).abs() < 1.0, "bursts of {mean}");
}

#[test]
fn jitter_delays_but_keeps_the_order() {
    let (net, a, b) = pair(6);
    net.set_default_link(Link::default().latency(ms(10)).jitter(ms(20)));
    let got = run_stream(&net, &b, &a, 2000, 4, ms(1));
    assert!(got.windows(2).all(|w| w[0].0 < w[1].0), "in order");
    let delays: Vec<_> = got.iter().map(|(i, at)| at - f64::from(*i)).collect();
    assert!(delays.iter().all(|d| (10.0..=30.0).contains(d)));
    assert!(delays.iter().any(|d| *d < 15.0) && delays.iter().any(|d| *d > 25.0), "all of the range");
}

#[test]
fn reordering_overtakes_and_loses_nothing() {
    let (net, a, b) = pair(7);
    net.set_default_link(Link::default().latency(ms(10)).reorder(0.1, ms(5)));
    let got = run_stream(&net, &b, &a, 10_000, 4, ms(1));
    let stats = net.stats();
    assert_eq!(got.len(), 10_000);
    assert!((share(stats.reordered, 10_000) - 0.1).abs() < 0.015);
    let overtaken = got.windows(2).filter(|w| w[0].0 > w[1].0).count();
    assert!(overtaken > 500, "{overtaken} overtaken");
    assert!(got.iter().all(|(i, at)| at - f64::from(*i) <= 15.0));
}

#[test]
fn duplicates_arrive_twice() {
    let (net, a, b) = pair(8);
    net.set_default_link(Link::default().duplicate(0.25));
    let got = run_stream(&net, &b, &a, 10_000, 4, ms(1)).len() as u64;
    let stats = net.stats();
    assert_eq!((got, stats.delivered), (10_000 + stats.duplicated, got));
    assert!((share(stats.duplicated, 10_000) - 0.25).abs() < 0.02);
}

#[test]
fn corruption_flips_a_few_bits_and_nothing_else() {
    let (net, a, b) = pair(9);
    net.set_default_link(Link::default().corrupt(0.3));
    let sent = vec![0x55; 100];
    let mut damaged = 0;
    net.block_on(async {
        for _ in 0..2000 {
            a.send(b.local_addr(), &sent, None).unwrap();
            let got = b.receive().await;
            assert_eq!(got.data.len(), 100);
            let bits: u32 = got.data.iter().map(|x| (x ^ 0x55).count_ones()).sum();
            assert!(bits <= 4);
            damaged += u64::from(bits > 0);
        }
        // Nothing to flip in nothing.
        a.send(b.local_addr(), b"", None).unwrap();
        assert!(b.receive().await.data.is_empty());
    });
    assert!((share(damaged, 2000) - 0.3).abs() < 0.05, "{damaged} damaged");
}

#[test]
fn a_rate_spaces_datagrams_out() {
    let (net, a, b) = pair(10);
    // 1000 bytes with headers, 1 Mbit/s: 8 ms each.
    net.set_default_link(Link::default().rate(1_000_000).latency(ms(2)));
    let got = run_stream(&net, &b, &a, 20, 972, Duration::ZERO);
    let expected: Vec<_> = (0..20).map(|i| (i, f64::from(i + 1) * 8.0 + 2.0)).collect();
    assert_eq!(got, expected);
}

#[test]
fn an_idle_link_owes_nothing() {
    let (net, a, b) = pair(10);
    net.set_default_link(Link::default().rate(1_000_000));
    let got = run_stream(&net, &b, &a, 10, 972, ms(100));
    assert!(got.iter().all(|(i, at)| (at - f64::from(*i) * 100.0 - 8.0).abs() < 1e-6));
}

#[test]
fn a_full_queue_drops_the_tail() {
    for (queue, fit) in [
        (Queue::Packets(5), 5),
        (Queue::Packets(0), 0),
        (Queue::Bytes(5000), 5),
        (Queue::Bytes(4999), 4),
        (Queue::Packets(20), 20),
        (Queue::Packets(21), 20),
    ] {
        let (net, a, b) = pair(11);
        net.set_default_link(Link::default().rate(1_000_000).queue(queue));
        let got = run_stream(&net, &b, &a, 20, 972, Duration::ZERO);
        let first: Vec<_> = got.iter().map(|g| g.0).collect();
        assert_eq!(first, (0..fit).collect::<Vec<_>>(), "{queue:?}");
        assert_eq!(net.stats().queue_full, 20 - u64::from(fit));
    }
}

#[test]
fn a_queue_drains_at_the_rate() {
    let (net, a, b) = pair(12);
    net.set_default_link(Link::default().rate(1_000_000).queue(Queue::Packets(5)));
    // Twice what the link takes: after the queue has filled up, every other one is dropped.
    let got = run_stream(&net, &b, &a, 1000, 972, ms(4));
    assert!((500..=506).contains(&got.len()), "{} arrived", got.len());
}

#[test]
fn the_mtu_is_exact() {
    let (net, a, b) = pair(13);
    assert_eq!(a.max_datagram(), 1472);
    assert_eq!(net.udp("[fd00::1]:1").max_datagram(), 1452);
    assert_eq!(a.send(b.local_addr(), &[0; 1473], None), Err(SendError::TooLarge));
    // A narrower path on the way swallows what does not fit.
    net.set_link(A, B, Link::default().mtu(1000));
    for len in [972, 973, 1472] {
        a.send(b.local_addr(), &vec![0; len], None).unwrap();
    }
    net.run_for(ms(1));
    assert_eq!((b.unread(), net.stats().dropped), (1, 2));
}

#[test]
fn segments_are_split() {
    let (net, a, b) = pair(14);
    let data: Vec<u8> = (0..250).collect();
    a.send(b.local_addr(), &data, Some(100)).unwrap();
    net.set_max_segments(2);
    assert_eq!(a.send(b.local_addr(), &data, Some(100)), Err(SendError::TooLarge));
    assert_eq!(a.send(b.local_addr(), &data, Some(0)), Err(SendError::TooLarge));
    net.run_for(ms(1));
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
    assert_eq!(b.recv(&mut out, &mut cache), 3);
    let sizes: Vec<_> = out.iter().map(|d| d.data.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(out.iter().flat_map(|d| d.data.to_vec()).collect::<Vec<_>>(), data);
    assert_eq!(b.recv(&mut out, &mut cache), 0);
}

#[test]
fn a_receiver_that_does_not_read_drops() {
    let (net, a, b) = pair(15);
    net.set_receive_queue(3);
    for _ in 0..5 {
        a.send(b.local_addr(), b"x", None).unwrap();
    }
    net.run_for(ms(1));
    assert_eq!((b.unread(), net.stats().delivered, net.stats().dropped), (3, 3, 2));
}

#[test]
fn addresses_are_unbound_and_bound_again() {
    let (net, a, b) = pair(16);
    let to = b.local_addr();
    drop(b);
    a.send(to, b"lost", None).unwrap();
    net.run_for(ms(1));
    assert_eq!(net.stats().dropped, 1);
    let b = net.udp(B);
    a.send(to, b"found", None).unwrap();
    assert_eq!(&net.block_on(b.receive()).data[..], b"found");
}

#[test]
#[should_panic(expected = "there is a socket at 10.0.0.1:1000 already")]
fn an_address_has_one_socket() {
    let (net, _a, _b) = pair(1);
    let _ = net.udp(A);
}

#[test]
#[should_panic(expected = "\"10.0.0.300:1\" is not a socket address")]
fn addresses_are_checked() {
    let _ = Network::new(1).udp("10.0.0.300:1");
}

#[test]
fn partitions_cut_and_heal() {
    let (net, a, b) = pair(17);
    let c = net.udp("10.0.0.3:3000");
    let arrivals = |from: &Arc<UdpSocket>, to: &Arc<UdpSocket>| {
        let before = to.unread();
        from.send(to.local_addr(), b"x", None).unwrap();
        net.run_for(ms(1));
        to.unread() - before
    };
    // A path that was used before and one that was not.
    assert_eq!(arrivals(&a, &b), 1);
    net.partition(&["10.0.0.1"], &["10.0.0.2"]);
    assert_eq!((arrivals(&a, &b), arrivals(&b, &a)), (0, 0));
    assert_eq!((arrivals(&a, &c), arrivals(&c, &b)), (1, 1));
    net.heal();
    assert_eq!((arrivals(&a, &b), arrivals(&b, &a)), (1, 1));
    net.isolate(c.local_addr());
    assert_eq!((arrivals(&a, &c), arrivals(&c, &b), arrivals(&a, &b)), (0, 0, 1));
    net.heal();
    assert_eq!(arrivals(&a, &c), 1);
}

#[test]
fn rules_decide_in_order_until_removed() {
    let (net, a, b) = pair(18);
    net.set_default_link(Link::default().latency(ms(50)));
    let seen = Rc::new(Cell::new(0));
    let count = Rc::clone(&seen);
    net.on_packet(move |_| {
        count.set(count.get() + 1);
        Verdict::Pass
    })
    .keep();
    let guard = net.on_packet(|p| match p.data {
        b"drop" => Verdict::Drop,
        b"fast" => Verdict::Deliver(ms(1)),
        b"change" => Verdict::Rewrite(b"changed".to_vec()),
        _ => Verdict::Pass,
    });
    let contents = |n: usize| {
        net.block_on(async {
            for word in ["drop", "change", "pass", "fast"] {
                a.send(b.local_addr(), word.as_bytes(), None).unwrap();
            }
            let mut got = Vec::new();
            for _ in 0..n {
                got.push(String::from_utf8(b.receive().await.data.to_vec()).unwrap());
            }
            got
        })
    };
    assert_eq!(contents(3), ["fast", "changed", "pass"]);
    drop(guard);
    assert_eq!(contents(4), ["drop", "change", "pass", "fast"]);
    assert_eq!(seen.get(), 8);
}

#[test]
fn a_rule_may_install_rules_and_use_the_network() {
    let (net, a, b) = pair(19);
    let inner = net.clone();
    let mut guard = None;
    net.on_packet(move |_| {
        guard.get_or_insert_with(|| inner.on_packet(|_| Verdict::Drop));
        inner.heal();
        Verdict::Pass
    })
    .keep();
    for _ in 0..3 {
        a.send(b.local_addr(), b"x", None).unwrap();
    }
    net.run_for(ms(1));
    assert_eq!(b.unread(), 1, "the rule that came with the first one drops the others");
}

#[test]
fn injected_datagrams_have_the_given_source() {
    let (net, _a, b) = pair(20);
    net.inject("192.0.2.66:6", B, b"forged");
    assert_eq!(net.block_on(b.receive()).src, "192.0.2.66:6".parse().unwrap());
}

#[test]
fn the_outbox_is_bounded() {
    let (net, a, b) = pair(21);
    let sent = (0..100_000).filter(|_| a.send(b.local_addr(), b"", None).is_ok()).count();
    assert_eq!(sent, 65_536);
    net.run_for(ms(1));
    assert!(a.send(b.local_addr(), b"", None).is_ok());
}
