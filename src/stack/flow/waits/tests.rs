//! Threads that wait, over devices in memory and a clock that is set by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panics")]

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use super::*;
use crate::base::buf::BufCache;
use crate::base::sync::Mutex;
use crate::base::time::{Clock, ManualClock};
use crate::stack::wait::block_on;
use crate::types::device::{Datagram, Datagrams, SendError};
use crate::{Flow, Listener, QosSpec, Stack, Udp4};

/// Datagrams that one receive brings while there is no end of them, and the time that it takes.
const BATCH: usize = 64;
const TAKES: Duration = Duration::from_micros(100);
/// What is for the reader comes after so many batches.
const LATE: usize = 1000;

/// A device whose queue may have no end.
#[derive(Default)]
struct Device {
    peer: Mutex<Weak<Self>>,
    port: u16,
    clock: Arc<ManualClock>,
    queue: Mutex<VecDeque<Vec<u8>>>,
    /// What comes again and again, and what comes late.
    flood: Mutex<Option<[Vec<u8>; 2]>>,
    batches: Mutex<usize>,
}

impl Device {
    fn pair(clocks: [&Arc<ManualClock>; 2]) -> [Arc<Self>; 2] {
        let device = |port, clock| Arc::new(Self { port, clock: Arc::clone(clock), ..Self::default() });
        let [a, b] = [device(1, clocks[0]), device(2, clocks[1])];
        *a.peer.lock() = Arc::downgrade(&b);
        *b.peer.lock() = Arc::downgrade(&a);
        [a, b]
    }

    fn addr(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    /// Takes what has just arrived.
    fn take(&self) -> Vec<u8> {
        self.queue.lock().pop_front().unwrap()
    }
}

impl Datagrams for Device {
    fn local_addr(&self) -> SocketAddr {
        Self::addr(self.port)
    }

    fn max_datagram(&self) -> usize {
        1400
    }

    fn send(&self, _: SocketAddr, data: &[u8], _: Option<usize>) -> Result<(), SendError> {
        let peer = self.peer.lock().upgrade();
        peer.iter().for_each(|peer| peer.queue.lock().push_back(data.to_vec()));
        Ok(())
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let mut arrived: Vec<_> = self.queue.lock().drain(..).collect();
        if let Some([again, late]) = &*self.flood.lock() {
            let mut batches = self.batches.lock();
            *batches += 1;
            self.clock.advance_to(self.clock.now() + TAKES);
            arrived.extend((0..BATCH).map(|_| again.clone()));
            arrived.extend((*batches > LATE).then(|| late.clone()));
        }
        for bytes in &arrived {
            let mut data = cache.take(bytes.len());
            data.extend_from_slice(bytes).unwrap();
            out.push(Datagram::new(Self::addr(3 - self.port), data));
        }
        arrived.len()
    }

    fn wait(&self, timeout: Duration) {
        panic!("nobody waits {timeout:?} for what is there");
    }

    fn interrupt(&self) {}
}

/// A flow of this name, the client's end first.
fn flow(name: &str, stacks: [&Stack; 2], listener: &Listener) -> (Flow, Flow) {
    let mut alloc = Box::pin(stacks[0].flow(name).qos(QosSpec::RAW).alloc_async());
    let mut far = None;
    for _ in 0..100 {
        if let Poll::Ready(near) = alloc.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return (near.unwrap().into_blocking(), far.unwrap());
        }
        far = far.or_else(|| listener.try_accept().ok());
        for stack in stacks {
            stack.poll(stack.now());
        }
    }
    panic!("no flow to {name}");
}

/// A reader that drives the device of its flow takes in one batch after the other, for whomever they are, and looks at its own
/// deadline after each.
#[test]
fn a_reader_returns_in_time_from_a_device_whose_queue_has_no_end() {
    let clocks = [1, 2].map(|_| Arc::new(ManualClock::new(0)));
    let devices = Device::pair(clocks.each_ref());
    let [client, server] = clocks.each_ref().map(|clock| Stack::builder().polled_with(clock).build().unwrap());
    let at = Device::addr(2).to_string();
    let config = || Udp4::bind("10.0.0.1").host("quiet", &at).host("flooded", &at).system_resolver(false);
    let [_, net] = [(&client, &devices[0]), (&server, &devices[1])]
        .map(|(stack, device)| stack.udp4_over(Arc::clone(device) as Arc<dyn Datagrams>, config()).unwrap());
    let open = |name| {
        net.register(name).unwrap();
        let listener = server.bind(name).unwrap();
        flow(name, [&client, &server], &listener)
    };
    let [(quiet, late), (flooded, floods)] = ["quiet", "flooded"].map(open);
    while client.poll(client.now()).is_some_and(|at| at <= client.now()) {}
    let flood = [&floods, &late].map(|flow| {
        flow.try_write(b"data").unwrap();
        devices[0].take()
    });
    *devices[0].flood.lock() = Some(flood);
    // As long as 20 batches take.
    let deadline = clocks[0].now() + 20 * TAKES;
    let mut buf = [0; 9];
    let endpoint = &quiet.inner.endpoint;
    let read = |e: &Endpoint, call: Call<'_>| read_packet(e, call, &mut buf, ReadMode::Whole);
    let mut reading = Reading { endpoint, waiter: None, read };
    assert!(block_on(&*clocks[0], Some(deadline), &mut reading).is_none());
    assert_eq!((*devices[0].batches.lock(), clocks[0].now()), (20, deadline));
    assert!(flooded.try_read(&mut [0; 9]).is_ok(), "others are served meanwhile");
    // It would have read what came in time.
    let deadline = deadline + 2 * LATE as u32 * TAKES;
    let reading = block_on(&*clocks[0], Some(deadline), &mut reading);
    assert_eq!((reading, *devices[0].batches.lock()), (Some(Ok(4)), LATE + 1));
}
