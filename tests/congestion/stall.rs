//! Retransmissions that are lost, too: what an answer proves is repaired at once, not one packet a timeout.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use o7s::QosSpec;
use o7s::sim::{Link, Network, Queue, Verdict};

use super::scenario::{ms, secs};

/// A run of packets is lost, and with them everything that is sent again within a second. Then the link is free.
#[test]
fn lost_retransmissions_are_repaired_within_two_round_trips() {
    for (seed, run) in [(1, 4), (2, 12), (3, 40)] {
        let net = Network::new(seed);
        let link = Link::default().latency(ms(20));
        net.set_default_link(link);
        net.set_link("10.0.0.2", "10.0.0.1", link.rate(10_000_000).queue(Queue::Packets(100)));
        let (server, client) =
            (net.host("server").udp4("10.0.0.1").build(), net.host("client").udp4("10.0.0.2").build());
        let listener = server.listen("sink");
        // The first time that a number is seen; packets of data are the large ones.
        let seen: RefCell<HashSet<[u8; 4]>> = RefCell::default();
        let (dropping, left) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let (on, count) = (Rc::clone(&dropping), Rc::clone(&left));
        net.on_packet(move |p| {
            if p.data.len() < 1000 {
                return Verdict::Pass;
            }
            let again = !seen.borrow_mut().insert(p.data[8..12].try_into().unwrap());
            if count.get() > 0 && !again {
                count.set(count.get() - 1);
                return Verdict::Drop;
            }
            if on.get() && again { Verdict::Drop } else { Verdict::Pass }
        })
        .keep();
        let (inner, got) = (net.clone(), Rc::new(Cell::new((0u32, net.now()))));
        let progress = Rc::clone(&got);
        net.spawn(async move {
            let flow = listener.accept_async().await.unwrap();
            while flow.read_bytes().await.is_ok() {
                progress.set((progress.get().0 + 1, inner.now()));
            }
        });
        let (inner, stack) = (net.clone(), client.stack().clone());
        net.spawn(async move {
            let flow = stack.flow("sink").qos(QosSpec::DATA).alloc_async().await.unwrap();
            loop {
                flow.write(&[7; 1400]).await.unwrap();
                if inner.now() > o7s::time::Instant::from_millis(60_000) {
                    break;
                }
            }
            core::mem::forget(flow);
        });
        net.run_for(secs(5));
        dropping.set(true);
        left.set(run);
        net.run_for(secs(1));
        let stuck = got.get().0;
        net.run_for(ms(100));
        assert_eq!(got.get().0, stuck, "the reader waits for the gap");
        dropping.set(false);
        let free = net.now();
        // A round trip with a full queue: 40 ms and 100 packets of 1.16 ms.
        let rtt = ms(40 + 116);
        while got.get().0 == stuck && net.now().since(free) < secs(20) {
            net.run_for(ms(1));
        }
        // Everything that waited behind the gap comes with its last packet.
        let mut last = got.get().0;
        let mut repaired = net.now();
        let end = net.now() + secs(2);
        while net.now() < end {
            net.run_for(ms(1));
            if got.get().0 > last + 200 {
                repaired = net.now();
            }
            last = got.get().0;
        }
        let took = repaired.since(free);
        println!(
            "{run} packets and their retransmissions lost for 1.1 s, then repaired in {took:?}; a round trip is {rtt:?}"
        );
        assert!(took <= rtt * 2, "{run}: {took:?}");
    }
}
