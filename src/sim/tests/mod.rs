mod exec;
mod hosts;
mod netem;
mod trace;

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use super::{Network, UdpSocket};
use crate::types::device::Datagrams;

const A: &str = "10.0.0.1:1000";
const B: &str = "10.0.0.2:2000";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A world with a socket at [`A`] and one at [`B`].
fn pair(seed: u64) -> (Network, Arc<UdpSocket>, Arc<UdpSocket>) {
    let net = Network::new(seed);
    let (a, b) = (net.udp(A), net.udp(B));
    (net, a, b)
}

/// Sends `n` numbered datagrams of `len` bytes, one every `gap`, and returns the numbers and arrival times in milliseconds of
/// those that arrive within a second of the last.
fn run_stream(
    net: &Network,
    to: &Arc<UdpSocket>,
    from: &Arc<UdpSocket>,
    n: u32,
    len: usize,
    gap: Duration,
) -> Vec<(u32, f64)> {
    let dst: SocketAddr = to.local_addr();
    net.block_on(async {
        let (reader, clock) = (Arc::clone(to), net.clone());
        let got = std::rc::Rc::new(core::cell::RefCell::new(Vec::new()));
        let sink = std::rc::Rc::clone(&got);
        let task = net.spawn(async move {
            loop {
                let d = reader.receive().await;
                let number = u32::from_be_bytes(d.data[..4].try_into().unwrap());
                sink.borrow_mut().push((number, clock.now().as_nanos() as f64 / 1e6));
            }
        });
        let mut data = vec![0; len];
        for i in 0..n {
            data[..4].copy_from_slice(&i.to_be_bytes());
            from.send(dst, &data, None).unwrap();
            net.sleep(gap).await;
        }
        net.sleep(Duration::from_secs(1)).await;
        task.abort();
        got.take()
    })
}
