//! A bus with several stations: what a layer of one's own does beyond a pipe.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use o7s::device::{PacketBuf, SendError};
use o7s::rib::Rib;
use o7s::shim::{Layer, Lookup, Message, Outgoing, Shim};
use o7s::sim::{Host, Network};
use o7s::time::Instant;
use o7s::{AllocError, Code, HashAlg, IpcpHandle, IpcpInfo, IpcpKind, NameHash, QosSpec};

const HASH: HashAlg = HashAlg::Sha3_256;

/// A frame: the sending station, the flow, and the bytes; messages have no flow.
type Frame = (u64, Option<u32>, Vec<u8>);

#[derive(Default)]
struct Bus {
    stations: Mutex<BTreeMap<u64, (Layer, VecDeque<Frame>)>>,
    /// Stations at which a name may be.
    known: Mutex<Vec<u64>>,
    doubted: Mutex<Vec<u64>>,
    /// Queries for names, and how many of them get lost at first.
    queries: AtomicU64,
    lost: AtomicU64,
    full: AtomicBool,
    /// Messages that arrive at the first station in front of the next one of the second.
    flood: Mutex<Vec<(u64, Vec<u8>)>>,
    /// A member that is left while it looks for a name.
    leaves: Mutex<Option<IpcpHandle>>,
    /// Flows for which packets were sent.
    flows: Mutex<Vec<u32>>,
}

impl Bus {
    fn put(&self, to: u64, frame: Frame) -> Result<(), SendError> {
        let mut stations = self.stations.lock().unwrap();
        let (layer, queue) = stations.get_mut(&to).ok_or(SendError::Unreachable)?;
        queue.push_back(frame);
        layer.wake();
        Ok(())
    }
}

struct Station {
    number: u64,
    bus: Arc<Bus>,
    layer: Layer,
    numbers: RangeInclusive<u32>,
}

impl Station {
    fn add(host: &Host, bus: &Arc<Bus>, number: u64, numbers: RangeInclusive<u32>) -> IpcpHandle {
        let info = IpcpInfo::new(IpcpKind::Custom("bus"), "bus", "bus").hash(HASH);
        let made = host.stack().add(info, |layer| {
            bus.stations.lock().unwrap().insert(number, (layer.clone(), VecDeque::new()));
            Arc::new(Self { number, bus: Arc::clone(bus), layer, numbers })
        });
        made.unwrap()
    }
}

impl Shim for Station {
    type Receiver = ();

    fn lookup(&self, _: &NameHash, _: &Waker) -> Lookup {
        let leaves = self.bus.leaves.lock().unwrap().take();
        leaves.into_iter().for_each(|member| member.leave());
        if self.bus.queries.fetch_add(1, Ordering::SeqCst) < self.bus.lost.load(Ordering::SeqCst) {
            return Lookup::Pending;
        }
        Lookup::Known(self.bus.known.lock().unwrap().clone())
    }

    fn doubt(&self, _: &NameHash, station: u64) {
        self.bus.doubted.lock().unwrap().push(station);
    }

    fn send_message(&self, station: u64, message: &Message<'_>) -> Result<(), SendError> {
        self.bus.put(station, (self.number, None, message.to_vec()))
    }

    fn send(&self, station: u64, flow: u32, packets: &mut Outgoing) -> Result<(), SendError> {
        self.bus.flows.lock().unwrap().push(flow);
        packets.drain(..).try_for_each(|packet| self.bus.put(station, (self.number, Some(flow), packet.to_vec())))
    }

    fn mtu(&self) -> usize {
        500
    }

    fn is_congested(&self) -> bool {
        self.bus.full.load(Ordering::SeqCst)
    }

    fn receiver(&self) {}

    fn receive(&self, now: Instant, (): &mut ()) -> usize {
        let mut stations = self.bus.stations.lock().unwrap();
        let arrived = std::mem::take(&mut stations.get_mut(&self.number).unwrap().1);
        drop(stations);
        if arrived.iter().any(|(from, flow, _)| *from == 2 && flow.is_none()) {
            for (from, bytes) in std::mem::take(&mut *self.bus.flood.lock().unwrap()) {
                self.layer.on_message(from, &Message::parse(HASH, &bytes).unwrap());
            }
        }
        for (from, flow, bytes) in &arrived {
            match flow {
                Some(flow) => self.layer.deliver(now, *from, *flow, [PacketBuf::copy_of(bytes)]),
                None => self.layer.on_message(*from, &Message::parse(HASH, bytes).unwrap()),
            }
        }
        arrived.len()
    }

    fn wait(&self, _: Duration) {}

    fn interrupt(&self) {}

    fn guard(&self, _: Duration) {}

    fn dismiss(&self) {}

    fn numbers(&self) -> RangeInclusive<u32> {
        self.numbers.clone()
    }

    fn rib(&self, node: Rib) -> Rib {
        node.gauge("station", self.number)
    }
}

/// Stations with the numbers 1 and so on, the second of which serves "echo".
struct World {
    net: Network,
    bus: Arc<Bus>,
    hosts: Vec<Host>,
    members: Vec<IpcpHandle>,
}

impl World {
    fn new(stations: u64, numbers: RangeInclusive<u32>) -> Self {
        let (net, bus) = (Network::new(5), Arc::new(Bus::default()));
        let hosts: Vec<_> = (1..=stations).map(|number| net.host(&format!("station {number}")).build()).collect();
        let add = |(host, number)| Station::add(host, &bus, number, numbers.clone());
        let members: Vec<_> = hosts.iter().zip(1..).map(add).collect();
        members[1].register("echo").unwrap();
        let listener = hosts[1].stack().bind("echo").unwrap();
        let serving = net.clone();
        net.spawn(async move {
            loop {
                let flow = listener.accept_async().await.unwrap();
                serving.spawn(async move {
                    while let Ok(packet) = flow.read_bytes().await {
                        flow.write(&packet).await.unwrap();
                    }
                });
            }
        });
        *bus.known.lock().unwrap() = vec![2];
        Self { net, bus, hosts, members }
    }

    async fn flow(&self, qos: QosSpec) -> Result<o7s::aio::Flow, AllocError> {
        self.hosts[0].stack().flow("echo").qos(qos).alloc_async().await
    }

    fn counted(&self, station: usize, what: &str) -> u64 {
        self.members[station - 1].rib().get(what).unwrap()
    }
}

#[test]
fn stations_that_do_not_have_a_name_are_doubted() {
    let world = World::new(3, 1..=u32::MAX);
    *world.bus.known.lock().unwrap() = vec![3, 2];
    world.net.block_on(async {
        let flow = world.flow(QosSpec::DATA).await.unwrap();
        flow.write(b"hello").await.unwrap();
        assert_eq!(&flow.read_bytes().await.unwrap()[..], b"hello");
    });
    assert_eq!(*world.bus.doubted.lock().unwrap(), [3]);
    assert_eq!((world.counted(3, "requests_in"), world.counted(3, "refused")), (1, 1));
    assert_eq!(world.counted(2, "station"), 2, "the shim's own state is shown");
}

#[test]
fn names_that_nobody_has_are_refused() {
    let world = World::new(3, 1..=u32::MAX);
    *world.bus.known.lock().unwrap() = vec![3];
    let refused = world.net.block_on(world.flow(QosSpec::DATA)).map(drop).unwrap_err();
    assert!(matches!(refused, AllocError::Refused { code: Code::NAME, .. }), "{refused:?}");
    assert_eq!(world.counted(1, "flows"), 0, "a refused request is forgotten");
}

#[test]
fn pending_lookups_are_repeated() {
    let world = World::new(2, 1..=u32::MAX);
    world.bus.lost.store(3, Ordering::SeqCst);
    let allocated = world.net.block_on(world.flow(QosSpec::DATA)).map(drop);
    assert_eq!(allocated, Ok(()), "three queries got lost, and nobody woke the task");
    assert_eq!(world.bus.queries.load(Ordering::SeqCst), 4);
}

#[test]
fn pending_lookups_end() {
    let world = World::new(2, 1..=u32::MAX);
    world.bus.lost.store(u64::MAX, Ordering::SeqCst);
    let unknown = world.net.block_on(world.flow(QosSpec::DATA)).map(drop).unwrap_err();
    assert!(matches!(unknown, AllocError::Unreachable(_)), "{unknown:?}");
    let queries = world.bus.queries.load(Ordering::SeqCst);
    assert!((4..=12).contains(&queries), "{queries} queries in 2 s");
    world.net.block_on(world.net.sleep(Duration::from_secs(5)));
    assert_eq!(world.bus.queries.load(Ordering::SeqCst), queries, "nobody waits any more");
}

#[test]
fn packets_of_other_stations_are_dropped_and_counted() {
    let world = World::new(2, 7..=8);
    world.net.block_on(async {
        let flow = world.flow(QosSpec::DATA).await.unwrap();
        flow.write(b"hello").await.unwrap();
        assert_eq!(&flow.read_bytes().await.unwrap()[..], b"hello");
        let before = world.counted(1, "received");
        for number in [7, 8, 9] {
            world.bus.put(1, (66, Some(number), vec![0; 20])).unwrap();
        }
        world.net.sleep(Duration::from_millis(1)).await;
        assert_eq!(world.counted(1, "wrong_station"), 1, "of the two numbers one is the flow's");
        assert_eq!(world.counted(1, "unknown_flow"), 2);
        assert_eq!(world.counted(1, "received"), before);
    });
}

/// Packets are made while they are delivered: by code of the shim, which may ask for anything meanwhile.
#[test]
#[allow(clippy::disallowed_methods, reason = "on a thread of its own, as it would hang")]
fn what_makes_packets_may_deliver_others() {
    let (done, is_done) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let world = World::new(2, 7..=7);
        world.net.block_on(async {
            let flow = world.flow(QosSpec::RAW).await.unwrap();
            let (now, layer) = (world.net.now(), world.bus.stations.lock().unwrap()[&1].0.clone());
            let decoded = std::iter::once_with(|| {
                layer.deliver(now, 2, 7, [PacketBuf::copy_of(b"inner")]);
                PacketBuf::copy_of(b"outer")
            });
            layer.deliver(now, 2, 7, decoded);
            for packet in [b"inner", b"outer"] {
                assert_eq!(&flow.read_bytes().await.unwrap()[..], packet);
            }
        });
        done.send(()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(super::BOUND), Ok(()), "it waits for itself");
}

#[test]
fn replies_of_other_stations_are_ignored() {
    let world = World::new(2, 7..=7);
    world.net.block_on(async {
        let mut asking = pin!(world.flow(QosSpec::DATA));
        let asked = poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_pending())).await;
        assert!(asked);
        let refusal = Message::Reply { flow: 7, answer: Err(Code::NAME), data: b"" };
        world.bus.put(1, (66, None, refusal.to_vec())).unwrap();
        asking.await.unwrap();
    });
    assert_eq!((world.counted(1, "replies_unexpected"), world.counted(1, "replies_in")), (1, 1));
}

#[test]
fn flows_have_the_numbers_that_the_shim_has() {
    let world = World::new(2, 40..=43);
    world.net.block_on(async {
        let mut flows = Vec::new();
        for _ in 0..4 {
            flows.push(world.flow(QosSpec::DATA).await.unwrap());
        }
        let full = world.flow(QosSpec::DATA).await.map(drop).unwrap_err();
        assert_eq!(full, AllocError::LayerFull);
        for flow in &flows {
            flow.write(b"hello").await.unwrap();
            assert_eq!(&flow.read_bytes().await.unwrap()[..], b"hello");
        }
    });
    let used = world.bus.flows.lock().unwrap();
    assert!((40..=43).all(|number| used.contains(&number)), "{used:?}");
    assert!(used.iter().all(|number| (40..=43).contains(number)), "{used:?}");
}

#[test]
fn writers_wait_while_the_device_is_full() {
    let world = World::new(2, 1..=u32::MAX);
    world.net.block_on(async {
        let flow = world.flow(QosSpec::RAW).await.unwrap();
        world.bus.full.store(true, Ordering::SeqCst);
        let mut writing = pin!(flow.write(b"more"));
        assert!(world.net.timeout(Duration::from_secs(1), writing.as_mut()).await.is_err(), "the device is full");
        world.bus.full.store(false, Ordering::SeqCst);
        let layer = world.bus.stations.lock().unwrap()[&1].0.clone();
        layer.on_room();
        assert_eq!(world.net.timeout(Duration::from_secs(1), writing).await.unwrap(), Ok(4));
    });
}

#[test]
fn leaving_ends_flows_and_requests() {
    let world = World::new(2, 1..=u32::MAX);
    world.net.block_on(async {
        let flow = world.flow(QosSpec::DATA).await.unwrap();
        world.members[0].clone().leave();
        assert!(flow.read_bytes().await.is_err());
        assert!(world.flow(QosSpec::DATA).await.is_err());
    });
}

#[test]
fn leaving_ends_the_search_for_a_name_at_once() {
    let world = World::new(2, 1..=u32::MAX);
    world.bus.lost.store(u64::MAX, Ordering::SeqCst);
    world.net.block_on(async {
        let mut asking = pin!(world.flow(QosSpec::DATA));
        assert!(poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_pending())).await);
        let left = world.net.now();
        world.members[0].clone().leave();
        let ended = asking.await.map(drop).unwrap_err();
        assert!(matches!(ended, AllocError::Unreachable(_)), "{ended:?}");
        assert_eq!(world.net.now(), left, "nothing has to be waited for");
    });
    // Also while the shim is being asked.
    let world = World::new(2, 1..=u32::MAX);
    world.bus.lost.store(u64::MAX, Ordering::SeqCst);
    *world.bus.leaves.lock().unwrap() = Some(world.members[0].clone());
    world.net.block_on(async {
        let begun = world.net.now();
        let ended = world.flow(QosSpec::DATA).await.map(drop).unwrap_err();
        assert!(matches!(ended, AllocError::Unreachable(_)), "{ended:?}");
        assert_eq!(world.net.now(), begun, "nothing has to be waited for");
    });
}

#[test]
fn strangers_do_not_push_out_the_reply_that_is_waited_for() {
    let world = World::new(2, 1..=u32::MAX);
    world.net.block_on(async {
        let mut asking = pin!(world.flow(QosSpec::DATA));
        let begun = world.net.now();
        assert!(poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_pending())).await);
        // More requests than have room, from more stations than messages, and under the number of the one that was asked.
        let name = HASH.hash(&"nobody".parse().unwrap());
        let requests = (0..2000).flat_map(|n| {
            let request = Message::Request { flow: n, name, qos: QosSpec::RAW, data: b"" }.to_vec();
            [(2, request.clone()), (u64::from(n) + 100, request)]
        });
        world.bus.flood.lock().unwrap().extend(requests);
        asking.await.unwrap();
        assert_eq!(world.net.now(), begun, "the request did not have to be repeated");
    });
    assert_eq!((world.counted(1, "requests_out"), world.counted(1, "replies_in")), (1, 1));
    assert!(world.counted(1, "message_drops") > 0);
}
