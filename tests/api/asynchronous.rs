//! The asynchronous face, on an executor of a few lines and, with the features, through the runtimes' traits.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Builder;
use std::time::Duration;

#[cfg(feature = "tokio")]
use o7s::Udp4;
use o7s::{FlowSet, QosSpec, ReadError, Stack, aio};

/// Nothing takes so long; only a failure waits for it.
#[cfg(feature = "tokio")]
const BOUND: Duration = Duration::from_secs(60);

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread; a wake-up that does not come is a failure.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let limit = Duration::from_secs(20);
    loop {
        if let Poll::Ready(out) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return out;
        }
        let before = std::time::Instant::now();
        std::thread::park_timeout(limit);
        assert!(before.elapsed() < limit, "the task was not woken");
    }
}

async fn allocated(stack: &Stack) -> (aio::Flow, aio::Flow) {
    let listener = stack.bind("here").unwrap();
    let server = Builder::new().spawn(move || block_on(listener.accept_async()).unwrap()).unwrap();
    let client = stack.flow("here").qos(QosSpec::DATA).alloc_async().await.unwrap();
    (client, server.join().unwrap())
}

#[test]
fn flows_are_allocated_written_and_read() {
    let stack = Stack::new().unwrap();
    block_on(async {
        let (client, server) = allocated(&stack).await;
        for i in 0..2000u32 {
            client.write(&i.to_be_bytes()).await.unwrap();
            let mut buf = [0; 8];
            assert_eq!(server.read(&mut buf).await.unwrap(), 4);
            assert_eq!(buf[..4], i.to_be_bytes());
        }
        client.write(b"whole").await.unwrap();
        assert_eq!(&server.read_bytes().await.unwrap()[..], b"whole");
        client.close(Duration::from_secs(5)).await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await, Err(ReadError::Closed));
    });
}

#[test]
fn several_tasks_wait_for_one_flow() {
    let stack = Stack::new().unwrap();
    let (client, server) = block_on(allocated(&stack));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let server = server.clone();
            Builder::new()
                .spawn(move || {
                    let mut got = Vec::new();
                    let mut buf = [0; 8];
                    while block_on(server.read(&mut buf)).unwrap() == 4 {
                        got.push(u32::from_be_bytes(buf[..4].try_into().unwrap()));
                    }
                    got
                })
                .unwrap()
        })
        .collect();
    block_on(async {
        for i in 0..1000u32 {
            client.write(&i.to_be_bytes()).await.unwrap();
        }
        for _ in &readers {
            client.write(b"end").await.unwrap();
        }
    });
    let mut all: Vec<u32> = readers.into_iter().flat_map(|r| r.join().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..1000).collect::<Vec<_>>(), "each packet went to exactly one of them");
}

#[test]
fn a_dropped_read_takes_no_packet() {
    let stack = Stack::new().unwrap();
    let (client, server) = block_on(allocated(&stack));
    for _ in 0..100 {
        let mut buf = [0; 8];
        let mut read = Box::pin(server.read(&mut buf));
        assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(read);
    }
    block_on(client.write(b"one")).unwrap();
    assert_eq!(block_on(server.read(&mut [0; 8])), Ok(3));
}

#[test]
fn a_dropped_allocation_is_withdrawn() {
    let stack = Stack::new().unwrap();
    let listener = stack.bind("here").unwrap();
    for _ in 0..10 {
        let mut alloc = Box::pin(stack.flow("here").alloc_async());
        assert!(alloc.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert!(listener.try_accept().is_err(), "those requests were withdrawn");
    assert_eq!(stack.rib().get("node/flows"), Some(0));
}

#[test]
fn tasks_wait_for_a_set_of_flows() {
    let stack = Stack::new().unwrap();
    let (client, server) = block_on(allocated(&stack));
    let set = FlowSet::new();
    let server = server.into_blocking();
    let token = set.add(&server);
    let writer = Builder::new().spawn(move || block_on(client.write(b"event")).map(|_| client)).unwrap();
    let events = block_on(set.wait_async());
    assert!(events.iter().any(|e| e.token == token && e.event == o7s::Event::Packet), "{events:?}");
    assert_eq!(server.try_read(&mut [0; 8]), Ok(5));
    writer.join().unwrap().unwrap();
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_flow_is_a_stream_to_tokio() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let stack = Stack::new().unwrap();
    let (client, server) = allocated(&stack).await;
    let (mut client, mut server) = (client.stream(), server.stream());
    let data: Vec<u8> = (0..1_000_000u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    let expected = data.clone();
    let reader = tokio::spawn(async move {
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        got
    });
    client.write_all(&data).await.unwrap();
    client.flush().await.unwrap();
    client.shutdown().await.unwrap();
    client.shutdown().await.unwrap();
    assert!(reader.await.unwrap() == expected);
}

#[cfg(feature = "futures-io")]
#[test]
fn a_flow_is_a_stream_to_futures_io() {
    use futures_io::{AsyncRead, AsyncWrite};

    let stack = Stack::new().unwrap();
    let (client, server) = block_on(allocated(&stack));
    let (mut client, mut server) = (client.stream(), server.stream());
    block_on(std::future::poll_fn(|cx| pin!(&mut client).poll_write(cx, b"stream"))).unwrap();
    let mut buf = [0; 3];
    for part in [b"str", b"eam"] {
        assert_eq!(block_on(std::future::poll_fn(|cx| pin!(&mut server).poll_read(cx, &mut buf))).unwrap(), 3);
        assert_eq!(&buf, part);
    }
    block_on(std::future::poll_fn(|cx| pin!(&mut client).poll_close(cx))).unwrap();
    assert_eq!(block_on(std::future::poll_fn(|cx| pin!(&mut server).poll_read(cx, &mut buf))).unwrap(), 0);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn both_directions_are_copied_to_their_ends() {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

    let stack = Stack::new().unwrap();
    let (client, server) = allocated(&stack).await;
    let mut client = client.stream();
    // A server that answers when it has everything, behind a proxy.
    let (mut proxied, far) = tokio::io::duplex(64);
    let proxy = tokio::spawn(async move {
        let mut server = aio::Stream::from(server);
        tokio::io::copy_bidirectional(&mut server, &mut proxied).await.unwrap()
    });
    let answers = tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(far);
        let mut lines = tokio::io::BufReader::new(read).lines();
        let mut n = 0;
        while let Some(line) = lines.next_line().await.unwrap() {
            n += line.len();
        }
        write.write_all(format!("{n} bytes").as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    });
    client.write_all(b"one\ntwo\nthree\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "11 bytes");
    answers.await.unwrap();
    assert_eq!(proxy.await.unwrap(), (14, 8));
}

/// Many flows of one socket in one runtime: none of them is forgotten while the others are served.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_thousand_flows_of_one_runtime_come_to_their_ends() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const FLOWS: usize = 1000;
    const BYTES: usize = 50_000;
    let server = Stack::new().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("echo").unwrap();
    let listener = server.bind("echo").unwrap();
    let echoes = tokio::spawn(async move {
        for _ in 0..FLOWS {
            let flow = listener.accept_async().await.unwrap();
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(flow.stream());
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await.unwrap();
            });
        }
    });
    let client = Stack::new().unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
    let asks = (0..FLOWS).map(|n| {
        let client = client.clone();
        tokio::spawn(async move {
            let flow = client.flow("echo").qos(QosSpec::DATA).timeout(BOUND).alloc_async().await.unwrap();
            let sent: Vec<u8> = (0..BYTES).map(|i| (i ^ (i >> 8) ^ n) as u8).collect();
            let (mut reader, mut writer) = tokio::io::split(flow.stream());
            let (got, ()) = tokio::join!(
                async {
                    let mut got = Vec::new();
                    reader.read_to_end(&mut got).await.unwrap();
                    got
                },
                async {
                    writer.write_all(&sent).await.unwrap();
                    writer.shutdown().await.unwrap();
                }
            );
            assert!(got == sent, "flow {n}");
        })
    });
    let asks: Vec<_> = asks.collect();
    for (n, ask) in asks.into_iter().enumerate() {
        tokio::time::timeout(BOUND, ask).await.unwrap_or_else(|_| panic!("flow {n} is stuck")).unwrap();
    }
    echoes.await.unwrap();
}
