//! Turns: packets are left to some thread at any time, and a layer gets them one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use o7s::base::buf::PacketBuf;
use o7s::base::time::Instant;
use o7s::flow::{Event, Fault, Params, Port, Sink, Watcher};

use super::{NOW, Sleeper, Told, check, closed, deliver, finds, flow, params, pending, read, spawn};

/// Packets that several threads deliver, and one thread reads.
fn read_what_others_deliver(rx_limit: usize) {
    let world = pending(9);
    let params = Params { rx_limit, ..params(None) };
    world.endpoint.activate(NOW, Arc::clone(&world.device) as Arc<dyn Port>, params);
    let done = Arc::new(Mutex::new(0));
    let reader = {
        let (done, host) = (Arc::clone(&done), Arc::clone(&world.host));
        spawn(&world, move |e| {
            let got = [read(e).unwrap(), read(e).unwrap(), read(e).unwrap()];
            host.finished(&done);
            got.to_vec()
        })
    };
    let other = spawn(&world, |e| deliver(e, &[3]));
    deliver(&world.endpoint, &[1, 2]);
    other.join().unwrap();
    let got = world.host.drive(&world.endpoint, vec![reader], &done).concat();
    let first: Vec<_> = got.iter().copied().filter(|b| *b != 3).collect();
    assert_eq!((got.len(), first), (3, vec![1, 2]), "{got:?}");
}

#[test]
fn readers_get_everything_in_order_with_little_room() {
    check(|| read_what_others_deliver(8));
    check(|| read_what_others_deliver(1));
}

/// Notes what it gets, and that it never gets it twice at a time.
#[derive(Default)]
struct Layer {
    got: Mutex<Vec<u8>>,
    busy: AtomicBool,
    sleeper: Arc<Sleeper>,
}

impl Watcher for Layer {
    fn notify(&self, _token: u64, _event: Event) {}
}

impl Sink for Layer {
    fn deliver(&self, _token: u64, _now: Instant, pkts: &mut VecDeque<PacketBuf>) {
        assert!(!self.busy.swap(true, Ordering::AcqRel), "it is being delivered to already");
        self.got.lock().unwrap().extend(pkts.drain(..).map(|pkt| pkt[0]));
        self.busy.store(false, Ordering::Release);
        Waker::from(Arc::clone(&self.sleeper)).wake();
    }
}

impl Layer {
    fn wait_for(&self, n: usize) -> Vec<u8> {
        loop {
            let got = self.got.lock().unwrap().clone();
            if got.len() >= n {
                return got;
            }
            self.sleeper.sleep();
        }
    }
}

/// A layer takes over a flow while packets come from two sides.
fn attach_while_packets_come() {
    let world = flow(9);
    let layer = Arc::new(Layer::default());
    let one = spawn(&world, |e| {
        deliver(e, &[1]);
        deliver(e, &[2]);
    });
    let other = spawn(&world, |e| deliver(e, &[3]));
    let sink: Arc<dyn Sink> = Arc::clone(&layer) as _;
    world.endpoint.attach(&sink, 5);
    let got = layer.wait_for(3);
    let first: Vec<_> = got.iter().copied().filter(|b| *b != 3).collect();
    assert_eq!((got.len(), first), (3, vec![1, 2]), "{got:?}");
    one.join().unwrap();
    other.join().unwrap();
}

#[test]
fn an_attached_layer_gets_everything_once_and_in_order() {
    check(attach_while_packets_come);
}

#[test]
fn removing_a_watcher_leaves_no_reader_asleep() {
    check(|| {
        let world = flow(9);
        let done = Arc::new(Mutex::new(0));
        let reader = {
            let (done, host) = (Arc::clone(&done), Arc::clone(&world.host));
            spawn(&world, move |e| {
                let got = read(e);
                host.finished(&done);
                got
            })
        };
        let visitor = spawn(&world, |e| {
            let watcher: Arc<dyn Watcher> = Arc::new(Told::default());
            e.watch(&watcher, 5);
            e.unwatch(&watcher, 5);
        });
        deliver(&world.endpoint, &[7]);
        visitor.join().unwrap();
        assert_eq!(world.host.drive(&world.endpoint, vec![reader], &done), [Ok(7)]);
    });
}

#[test]
fn closing_during_arrivals_ends_the_flow() {
    check(|| {
        let world = flow(9);
        let one = spawn(&world, |e| deliver(e, &[1, 2]));
        let reader = spawn(&world, |e| while read(e).is_ok() {});
        world.endpoint.close(Duration::from_secs(1));
        closed(&world.endpoint);
        one.join().unwrap();
        reader.join().unwrap();
        assert!(!world.endpoint.has_arrivals(), "a packet is left behind");
    });
}

#[test]
fn a_planted_early_end_of_turn_is_found() {
    finds(Fault::TurnWithoutDelivery, attach_while_packets_come);
}
