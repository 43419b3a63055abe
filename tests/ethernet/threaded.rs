//! Threads of the operating system over a link in memory.

use std::sync::Arc;
use std::thread::scope;
use std::time::Duration;

use o7s::device::{Frames, Link, Mac, MemoryFrames};
use o7s::{Eth, QosSpec, Stack};

use super::framings;

const BOUND: Duration = Duration::from_secs(20);

struct Ends {
    client: Stack,
    server: Stack,
    devices: [Arc<MemoryFrames>; 2],
}

/// A server that echoes, and a client.
fn ends(config: &Eth) -> Ends {
    let (a, b) = MemoryFrames::pair(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let (client, server) = (Stack::new().unwrap(), Stack::new().unwrap());
    client.eth_over(Arc::clone(&a) as Arc<dyn Frames>, config.clone()).unwrap();
    server.eth_over(Arc::clone(&b) as Arc<dyn Frames>, config.clone()).unwrap().register("echo").unwrap();
    server
        .bind_handler("echo", |flow| {
            let mut buf = [0; 2048];
            while let Ok(n) = flow.read(&mut buf) {
                if flow.write(&buf[..n]).is_err() {
                    return;
                }
            }
        })
        .unwrap();
    Ends { client, server, devices: [a, b] }
}

#[test]
fn packets_are_echoed_one_by_one_and_in_bulk() {
    for config in framings() {
        let ends = ends(&config);
        for qos in [QosSpec::RAW, QosSpec::DATA] {
            let flow = ends.client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap();
            let mut buf = [0; 2048];
            for i in 0..2000_u32 {
                flow.write(&i.to_be_bytes()).unwrap();
                assert_eq!(flow.read_timeout(&mut buf, BOUND), Ok(4));
                assert_eq!(buf[..4], i.to_be_bytes());
            }
        }
        let flow = ends.client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
        scope(|s| {
            s.spawn(|| {
                for i in 0..5000_u32 {
                    flow.write(&[&i.to_be_bytes()[..], &[0; 1000]].concat()).unwrap();
                }
            });
            let mut buf = [0; 2048];
            for i in 0..5000_u32 {
                assert_eq!(flow.read_timeout(&mut buf, BOUND), Ok(1004));
                assert_eq!(buf[..4], i.to_be_bytes());
            }
        });
    }
}

#[test]
fn a_blocked_reader_goes_on_when_the_link_is_up_again() {
    let ends = ends(&framings()[0]);
    let flow = ends.client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc().unwrap();
    for state in [Link::Down, Link::Gone] {
        ends.devices[0].set_link(state);
        flow.write(b"kept").unwrap();
        let mut buf = [0; 64];
        assert!(flow.read_timeout(&mut buf, Duration::from_millis(20)).is_err());
        ends.devices[0].set_link(Link::Up);
        assert_eq!(flow.read_timeout(&mut buf, BOUND), Ok(4));
    }
}

#[test]
fn a_layer_that_is_left_gives_its_device_back() {
    let ends = ends(&framings()[1]);
    let flow = ends.client.flow("echo").timeout(BOUND).alloc().unwrap();
    ends.client.shutdown();
    ends.server.shutdown();
    for device in &ends.devices {
        assert_eq!((device.link(), device.send(&[0; 60])), (Link::Gone, Err(o7s::device::SendError::Down)));
    }
    assert!(flow.write(b"late").is_err());
    drop(ends.client);
    drop(ends.server);
}
