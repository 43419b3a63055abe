//! The largest packet and write, as the path is now.

use std::time::Duration;

use o7s::sim::Link;
use o7s::{QosSpec, UnicastLayer, WriteError};

use super::ends::{ENCRYPTED, Ends, MIB, ms};

fn link(mtu: usize) -> Link {
    Link::default().latency(ms(5)).mtu(mtu)
}

#[test]
fn max_packet_follows_the_device() {
    for security in ["", ENCRYPTED] {
        let ends = Ends::new(1, link(1500), security);
        ends.net.block_on(async {
            let (raw, far) = ends.connect(QosSpec::RAW).await;
            let (reliable, _far) = ends.connect(QosSpec::DATA).await;
            let (raw, reliable) = (raw.as_blocking(), reliable.as_blocking());
            let before = (raw.max_write(), reliable.max_packet());
            assert!(before.0 <= 1468 && before.0 > 1400);
            for mtu in [1280, 600, 9000, 1500] {
                ends.net.set_default_link(link(mtu));
                assert_eq!(1500 + raw.max_write(), before.0 + mtu, "as many bytes more or less");
                assert_eq!(1500 + reliable.max_packet(), before.1 + mtu);
                assert_eq!((raw.max_packet(), reliable.max_write()), (raw.max_write(), MIB));
                assert_eq!(reliable.stream_packet(), reliable.max_packet().min(1400));
                let (size, max) = (raw.max_write() + 1, raw.max_write());
                assert_eq!(raw.try_write(&vec![7; size]), Err(WriteError::TooLarge { size, max }));
                assert_eq!(raw.try_write(&vec![7; max]), Ok(max));
                assert_eq!(far.read_bytes().await.unwrap().len(), max);
            }
        });
    }
}

#[test]
fn max_packet_follows_the_layer_below() {
    let ends = Ends::new(2, link(1500), "");
    ends.net.block_on(async {
        let (here, there) = (ends.client.stack(), ends.server.stack());
        let first = there.unicast("b").over(&ends.server.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
        let second = here.unicast("a").over(&ends.client.udp4()[0]).enroll_async("b").await.unwrap();
        second.connect_async("b").await.unwrap();
        let listener = there.bind("above").unwrap();
        first.register("above").unwrap();
        let stack = here.clone();
        let near = ends.net.spawn(async move { stack.flow("above").qos(QosSpec::RAW).alloc_async().await.unwrap() });
        let far = listener.accept_async().await.unwrap();
        let near = near.await;
        let before = near.as_blocking().max_write();
        assert!(before > 1300 && before < 1468);
        for mtu in [1300, 1500] {
            ends.net.set_default_link(link(mtu));
            // The member looks now and then.
            ends.net.sleep(Duration::from_secs(30)).await;
            let max = near.as_blocking().max_write();
            assert_eq!(1500 + max, before + mtu);
            assert_eq!(near.write(&vec![7; max + 1]).await, Err(WriteError::TooLarge { size: max + 1, max }));
            near.write(&vec![7; max]).await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap().len(), max);
        }
    });
}
