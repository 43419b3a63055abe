//! Writes that are larger than a packet.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::Builder;
use std::time::Duration;

use o7s::device::{Frames, Mac, MemoryFrames};
use o7s::settings::{FrctConfig, Limits, UnicastConfig};
use o7s::sim::{Link, Loss, Network};
use o7s::{Eth, Flow, IpcpHandle, QosSpec, ReadError, Stack, Udp4, Udp6, UnicastLayer, WriteError};

use super::ends::{ENCRYPTED, Ends, MIB, message, ms, transfer};
use super::narrow;

/// Nothing takes so long; only a failure waits for it.
const BOUND: Duration = Duration::from_secs(100);

fn lossy(loss: f64) -> Link {
    Link::default().latency(ms(10)).loss(Loss::Random(loss))
}

#[test]
fn megabytes_cross_links_of_1500_bytes_with_loss() {
    for (seed, security) in [(1, ""), (2, ENCRYPTED)] {
        let ends = Ends::new(seed, lossy(0.05), security);
        let took = ends.net.block_on(async {
            let (near, far) = ends.connect(QosSpec::DATA).await;
            assert_eq!(near.as_blocking().max_write(), MIB);
            transfer(&ends, &near, &far, 5, MIB).await
        });
        // As long as congestion control takes that has all loss for congestion.
        assert!(took < Duration::from_secs(90), "{took:?}");
        assert_eq!(ends.held_at_rest(), 0);
    }
}

#[test]
fn messages_of_every_size_keep_their_boundaries() {
    for qos in [QosSpec::BEST_EFFORT, QosSpec::DATA] {
        let ends = Ends::new(3, lossy(0.0).jitter(ms(2)), ENCRYPTED);
        ends.net.block_on(async {
            let (near, far) = ends.connect(qos).await;
            let packet = near.as_blocking().max_packet();
            let sizes = [1, packet, packet + 1, 2 * packet, 2801, 100_000, 7, MIB - 1, MIB];
            let reader = ends.net.spawn(async move {
                for (n, len) in sizes.into_iter().enumerate() {
                    let mut buf = vec![0; MIB];
                    // Each in another way: in one piece, or to where the program wants it.
                    let read = if n % 2 == 0 {
                        far.read_bytes().await.unwrap().to_vec()
                    } else {
                        let len = far.read(&mut buf).await.unwrap();
                        buf[..len].to_vec()
                    };
                    assert!(read == message(n, len), "message {n} of {len} bytes");
                }
                far
            });
            for (n, len) in sizes.into_iter().enumerate() {
                near.write(&message(n, len)).await.unwrap();
            }
            drop(reader.await);
        });
    }
}

#[test]
fn a_buffer_that_is_too_small_loses_nothing() {
    let ends = Ends::new(4, lossy(0.0), "");
    ends.net.block_on(async {
        let (near, far) = ends.connect(QosSpec::DATA).await;
        near.write(&message(0, 50_000)).await.unwrap();
        near.write(b"next").await.unwrap();
        let mut buf = vec![0; 20_000];
        assert_eq!(far.read(&mut buf).await, Err(ReadError::TooSmall { size: 50_000, room: 20_000 }));
        let mut room = vec![0; 50_000];
        assert_eq!(far.read(&mut room).await, Ok(50_000));
        assert!(room == message(0, 50_000));
        assert_eq!(far.read(&mut buf).await, Ok(4));
    });
}

#[test]
fn a_stream_reads_messages_as_bytes() {
    let server = Stack::new().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0").mtu(1500)).unwrap();
    net.register("bytes").unwrap();
    let listener = server.bind("bytes").unwrap();
    let reads = Builder::new().spawn(move || {
        let (flow, mut got) = (listener.accept().unwrap(), Vec::new());
        flow.stream().read_to_end(&mut got).unwrap();
        got
    });
    let client = Stack::new().unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").mtu(1500).host("bytes", &at).system_resolver(false)).unwrap();
    let near = client.flow("bytes").qos(QosSpec::DATA).alloc().unwrap();
    for n in 0..10 {
        near.write(&message(n, 30_000 * n + 1)).unwrap();
    }
    near.close(Duration::from_secs(60)).unwrap();
    let sent: Vec<u8> = (0..10).flat_map(|n| message(n, 30_000 * n + 1)).collect();
    assert!(reads.unwrap().join().unwrap() == sent);
}

#[test]
fn lost_fragments_cost_their_message_and_no_memory() {
    let ends = Ends::new(6, lossy(0.01), ENCRYPTED);
    ends.net.block_on(async {
        let (near, far) = ends.connect(QosSpec::BEST_EFFORT).await;
        let inner = ends.net.clone();
        let reader = ends.net.spawn(async move {
            let (mut got, mut last) = (0, 0);
            while let Ok(Ok(packet)) = inner.timeout(Duration::from_secs(20), far.read_bytes()).await {
                let n = (last..100).find(|n| packet == message(*n, 60_000)).expect("whole, and in order");
                (got, last) = (got + 1, n + 1);
            }
            (got, far)
        });
        for n in 0..100 {
            near.write(&message(n, 60_000)).await.unwrap();
            ends.net.sleep(ms(20)).await;
        }
        // 43 fragments of each: two messages of three arrive.
        let (got, far) = reader.await;
        assert!((45..85).contains(&got), "{got}");
        let stats = far.as_blocking().frct_stats().unwrap();
        assert!(stats.incomplete > 0);
        assert_eq!(ends.held(), 0);
    });
}

#[test]
fn errors_of_too_large_writes_say_what_fits() {
    let limits = |bytes| Limits::default().frct(FrctConfig::default().max_message(bytes));
    let cases = [
        ([MIB, MIB], MIB),
        // Each end has its say, and what is told is a power of two.
        ([MIB, 100_000], 131_072),
        ([100_000, MIB], 100_000),
        ([3 * MIB, 3 * MIB], 2 * MIB),
    ];
    for ([near, far], expected) in cases {
        let ends = Ends::with(7, lossy(0.0), "", [limits(near), limits(far)]);
        ends.net.block_on(async {
            for qos in [QosSpec::BEST_EFFORT, QosSpec::DATA] {
                let (flow, _far) = ends.connect(qos).await;
                assert_eq!(flow.as_blocking().max_write(), expected, "{near} {far}");
                let size = expected + 1;
                let result = flow.write(&vec![7; size]).await;
                assert_eq!(result, Err(WriteError::TooLarge { size, max: expected }));
            }
        });
    }
    for (near, far) in [(0, MIB), (MIB, 0)] {
        let ends = Ends::with(8, lossy(0.0), "", [limits(near), limits(far)]);
        ends.net.block_on(async {
            let (flow, _far) = ends.connect(QosSpec::DATA).await;
            assert_eq!(flow.as_blocking().max_write(), flow.as_blocking().max_packet());
        });
    }
}

#[test]
fn many_messages_at_once_do_not_wait_for_each_other_for_ever() {
    // A budget in which four of them have room, and 24 that all begin.
    let small = || Limits::default().flow_bytes(2 * MIB).peer_bytes(MIB).stack_bytes(2 * MIB);
    let ends = Ends::with(9, lossy(0.0).rate(200_000_000), "", [Limits::default(), small()]);
    ends.net.block_on(async {
        let mut flows = Vec::new();
        for _ in 0..24 {
            flows.push(ends.connect(QosSpec::DATA).await);
        }
        let mut tasks = Vec::new();
        for (n, (near, far)) in flows.into_iter().enumerate() {
            let net = ends.net.clone();
            tasks.push(ends.net.spawn(async move {
                let size = 200_000;
                near.write(&message(n, size)).await.unwrap();
                let got = net.timeout(Duration::from_secs(300), far.read_bytes()).await;
                assert!(got.expect("it comes to its end").unwrap() == message(n, size), "flow {n}");
                (near, far)
            }));
        }
        let mut most = 0;
        while tasks.iter().any(|task| !task.is_finished()) {
            ends.net.sleep(ms(1)).await;
            most = most.max(ends.held());
        }
        assert!(most < 3 * MIB as u64, "{most}");
        let mut flows = Vec::new();
        for task in tasks {
            flows.push(task.await);
        }
    });
}

/// Layers below a flow.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// One stack, without a layer.
    Direct,
    Udp,
    Udp6,
    Dix,
    Llc,
    UnicastOverUdp,
    UnicastOverDix,
    /// One of the program's own, with packets of 100 bytes.
    Custom,
}

const PLACES: [Place; 8] = [
    Place::Direct,
    Place::Udp,
    Place::Udp6,
    Place::Dix,
    Place::Llc,
    Place::UnicastOverUdp,
    Place::UnicastOverDix,
    Place::Custom,
];

/// Makes a unicast layer of two members over a layer that both stacks are in. Its first member is the server's.
fn unicast(server: &Stack, client: &Stack, below: [&IpcpHandle; 2]) -> IpcpHandle {
    let first = server.unicast("first").over(below[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    client.unicast("second").over(below[1]).enroll("first").unwrap().connect("first").unwrap();
    first
}

/// A server, in whose layer the name "sizes" is registered, and a client.
fn stacks(place: Place) -> (Stack, Stack) {
    let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
    let udp = || {
        let below = server.udp4(Udp4::bind("127.0.0.1:0").mtu(1500)).unwrap();
        let at = below.local_addr().unwrap().to_string();
        let config = Udp4::bind("127.0.0.1:0").mtu(1500).host("sizes", &at).host("first", &at).system_resolver(false);
        [below, client.udp4(config).unwrap()]
    };
    let eth = |config: Eth| {
        let (a, b) = MemoryFrames::pair(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let below = server.eth_over(a as Arc<dyn Frames>, config.clone()).unwrap();
        [below, client.eth_over(b as Arc<dyn Frames>, config).unwrap()]
    };
    match place {
        Place::Direct => return (server.clone(), server),
        Place::Udp6 => {
            let below = server.udp6(Udp6::bind("[::1]:0").mtu(1500)).unwrap();
            below.register("sizes").unwrap();
            let at = below.local_addr().unwrap().to_string();
            client.udp6(Udp6::bind("[::1]:0").mtu(1500).host("sizes", &at).system_resolver(false)).unwrap();
        }
        Place::Udp => udp()[0].register("sizes").unwrap(),
        Place::Dix => eth(Eth::dix("wire"))[0].register("sizes").unwrap(),
        Place::Llc => eth(Eth::llc("wire"))[0].register("sizes").unwrap(),
        Place::UnicastOverUdp => unicast(&server, &client, udp().each_ref()).register("sizes").unwrap(),
        Place::UnicastOverDix => unicast(&server, &client, eth(Eth::dix("wire")).each_ref()).register("sizes").unwrap(),
        Place::Custom => narrow::join(&server, &client, "sizes"),
    }
    (server, client)
}

/// Ends of a flow, the client's first, by way of what the place says.
fn flow(place: Place, qos: QosSpec, server: &Stack, client: &Stack) -> (Flow, Flow) {
    let listener = server.bind("sizes").unwrap();
    let accepts = Builder::new().spawn(move || listener.accept_timeout(BOUND).unwrap()).unwrap();
    let near = client.flow("sizes").qos(qos).timeout(BOUND).alloc().unwrap();
    let layer = match place {
        Place::Direct => "direct",
        Place::Udp => "udp4",
        Place::Udp6 => "udp6",
        Place::Dix => "eth-dix",
        Place::Llc => "eth-llc",
        Place::UnicastOverUdp | Place::UnicastOverDix => "unicast",
        Place::Custom => "pipe",
    };
    assert_eq!(near.layer().to_string(), layer);
    (near, accepts.join().unwrap())
}

#[test]
fn messages_of_any_size_cross_every_layer() {
    let best_effort = PLACES.map(|place| (place, QosSpec::BEST_EFFORT, 20));
    for (place, qos, attempts) in PLACES.map(|place| (place, QosSpec::DATA, 1)).into_iter().chain(best_effort) {
        let (server, client) = stacks(place);
        let (near, far) = flow(place, qos, &server, &client);
        let what = format!("{place:?}, {attempts} attempts");
        let (packet, max) = (near.max_packet(), near.max_write());
        println!("{what}: packets of {packet} bytes, writes of {max}");
        assert_eq!(max, MIB, "{what}");
        // The pipe of this test loses what its queue of 1 024 packets has no room for; a megabyte is twelve times as many.
        let largest = if attempts == 20 && matches!(place, Place::Custom) { 100_001 } else { max };
        let sizes = [1, packet, packet + 1, 100_000, largest];
        let (tell, told) = sync_channel(100);
        let reads = Builder::new().spawn(move || {
            let mut buf = vec![0; 2 * MIB];
            while let Ok(len) = far.read_timeout(&mut buf, BOUND) {
                let whole = |n: &usize| len == sizes[*n] && buf[..len] == message(*n, len);
                tell.send((0..sizes.len()).find(whole)).unwrap();
            }
        });
        for (n, len) in sizes.into_iter().enumerate() {
            // Without retransmission a system that is busy may lose a datagram, and a message with it; it is written again.
            let patience = if attempts == 1 { BOUND } else { Duration::from_secs(2) };
            let arrives = (0..attempts).any(|_| {
                assert_eq!(near.write_timeout(&message(n, len), BOUND), Ok(len), "{what}, message {n}");
                std::iter::from_fn(|| told.recv_timeout(patience).ok()).any(|got| got.expect("whole") == n)
            });
            assert!(arrives, "{what}, message {n} of {len} bytes");
        }
        let size = max + 1;
        assert_eq!(near.write(&vec![7; size]), Err(WriteError::TooLarge { size, max }), "{what}");
        drop(near);
        reads.unwrap().join().unwrap();
    }
}

/// A member takes fewer packets for a flow than a message has fragments, and a peer fewer at first: the others wait, instead of
/// being lost at home, and so does the end of the flow. A member takes 32 whatever it is told.
#[test]
fn fragments_of_best_effort_wait_for_room_in_a_layer() {
    let config = UnicastConfig::default;
    for (writer, messages) in [(config(), [1, 5].as_slice()), (config().flow_queue(1), &[2])] {
        large_messages_arrive(writer, messages);
    }
}

/// So many in one flow each, that ends in either way, of a writer whose member is configured like this.
fn large_messages_arrive(writer: UnicastConfig, messages: &[usize]) {
    let net = Network::new(11);
    net.set_default_link(lossy(0.0).latency(ms(1)));
    let [a, b] = [1, 2].map(|i| net.host(&format!("host {i}")).udp4(&format!("10.0.0.{i}")).build());
    let first = b.stack().unicast("b").over(&b.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    let second = a.stack().unicast("a").config(writer).over(&a.udp4()[0]);
    let second = net.block_on(second.enroll_async("b")).unwrap();
    net.block_on(second.connect_async("b")).unwrap();
    first.register("sink").unwrap();
    net.run_for(Duration::from_secs(1));
    for (count, half) in messages.iter().flat_map(|count| [(*count, false), (*count, true)]) {
        let listener = b.stack().bind("sink").unwrap();
        let accepts = net.spawn(async move { listener.accept_async().await.unwrap() });
        net.block_on(async {
            let near = a.stack().flow("sink").qos(QosSpec::BEST_EFFORT).alloc_async().await.unwrap();
            let far = accepts.await;
            let writes = net.spawn(async move {
                for n in 0..count {
                    near.write(&message(n, MIB)).await.unwrap();
                }
                // The other half is kept for as long as the peer reads.
                half.then(|| {
                    near.as_blocking().shutdown(std::net::Shutdown::Write);
                    near
                })
            });
            for n in 0..count {
                assert!(far.read_bytes().await.unwrap()[..] == message(n, MIB), "message {n} of {count}");
            }
            assert_eq!(far.read_bytes().await, Err(ReadError::Closed));
            drop(writes.await);
        });
    }
}
