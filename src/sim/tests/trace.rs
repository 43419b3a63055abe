use super::*;
use crate::sim::{Digest, Event, Link, Loss, Queue, What, diff};

/// Two sides that talk at random over a bad link; `bystanders` others do so beside them.
fn chatter(seed: u64, bystanders: u8) -> (Digest, Vec<Event>) {
    let (net, a, b) = pair(seed);
    net.record(100_000);
    net.set_default_link(
        Link::default()
            .latency(ms(10))
            .jitter(ms(5))
            .loss(Loss::bursty(0.05, 3.0))
            .duplicate(0.02)
            .reorder(0.05, ms(20))
            .corrupt(0.01)
            .rate(1_000_000)
            .queue(Queue::Packets(20)),
    );
    for i in 0..bystanders {
        let (net2, me) = (net.clone(), net.udp(format!("10.0.1.{i}:1").as_str()));
        net.spawn(async move {
            loop {
                let _ = me.send("10.0.2.1:1".parse().unwrap(), b"noise", None);
                net2.sleep(ms(3)).await;
            }
        });
    }
    let net2 = net.clone();
    net.spawn(async move {
        let mut rng = net2.rng("chatter");
        loop {
            let mut data = vec![0; rng.below(1000) as usize];
            rng.fill(&mut data);
            a.send(B.parse().unwrap(), &data, None).unwrap();
            net2.sleep(Duration::from_micros(rng.below(10_000))).await;
        }
    });
    net.spawn(async move {
        loop {
            let got = b.receive().await;
            b.send(got.src, &got.data, None).unwrap();
        }
    });
    net.run_for(Duration::from_secs(5));
    (net.digest(), net.recorded())
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (first, second) = (chatter(1, 2), chatter(1, 2));
    assert_eq!(first.0, second.0);
    assert_eq!(diff(&first.1, &second.1), None);
    assert!(first.1.len() > 1000);
}

#[test]
fn different_seeds_give_different_traces() {
    let mut digests: Vec<_> = (0..50).map(|seed| chatter(seed, 0).0).collect();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 50);
}

#[test]
fn other_paths_do_not_change_a_trace() {
    let what_happened_between = |events: Vec<Event>| {
        let packets = events.into_iter().filter(|e| e.packet.is_some_and(|p| p.src.ip().to_string() == "10.0.0.1"));
        packets.map(|e| (e.at, e.what, e.packet)).collect::<Vec<_>>()
    };
    let (alone, in_company) = (what_happened_between(chatter(9, 0).1), what_happened_between(chatter(9, 5).1));
    assert!(alone.len() > 1000);
    assert_eq!(alone, in_company);
}

#[test]
fn the_first_difference_is_found() {
    let one_byte = |byte: u8| {
        let (net, a, b) = pair(4);
        net.record(1000);
        for i in 0..10 {
            let data = if i == 7 { [byte; 40] } else { [0; 40] };
            a.send(b.local_addr(), &data, None).unwrap();
            net.run_for(ms(1));
        }
        (net.digest(), net.recorded())
    };
    let (left, right) = (one_byte(1), one_byte(2));
    assert_ne!(left.0, right.0);
    let found = diff(&left.1, &right.1).unwrap();
    // Each datagram is sent and delivered.
    assert_eq!(found.common.unwrap().index, 13);
    assert_eq!(found.left.unwrap().what, What::Sent);
    assert_ne!(found.left.unwrap().packet.unwrap().hash, found.right.unwrap().packet.unwrap().hash);
    assert!(
        found
            .to_string()
            .starts_with("last in common: #13 0.006000000s Delivered 10.0.0.1:1000 > 10.0.0.2:2000 40 bytes")
    );

    let shorter = diff(&left.1, &left.1[..10]).unwrap();
    assert_eq!((shorter.common.unwrap().index, shorter.right), (9, None));
    assert_eq!(diff(&left.1[5..], &left.1), None, "recordings that begin later agree where they overlap");
    assert_eq!(diff(&left.1, &[]), None);
}

#[test]
fn a_recording_keeps_the_last_events() {
    let (net, a, b) = pair(4);
    net.record(3);
    for _ in 0..10 {
        a.send(b.local_addr(), b"", None).unwrap();
        net.run_for(ms(1));
    }
    let kept: Vec<_> = net.recorded().iter().map(|e| e.index).collect();
    assert_eq!((kept, net.events()), (vec![17, 18, 19], 20));
    net.record(1);
    assert_eq!(net.recorded().len(), 1);
}

#[test]
fn the_hash_depends_on_every_bit_and_the_length() {
    use crate::sim::trace::hash;
    let mut seen = std::collections::BTreeSet::new();
    for len in 0..100 {
        let mut data = vec![0; len];
        assert!(seen.insert(hash(&data)));
        for bit in 0..len * 8 {
            data[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(hash(&data)), "length {len}, bit {bit}");
            data[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
