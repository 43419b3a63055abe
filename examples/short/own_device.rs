//! A driver of one's own under a UDP layer, in polled mode: no threads, and the program's loop drives everything. Here that is
//! a stack at each end of a cable in memory; a firmware has one, over its radio.

use std::collections::VecDeque;
use std::error::Error;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use o7s::device::{Bell, BufCache, Datagram, Datagrams, SendError};
use o7s::time::{Clock, OsClock};
use o7s::{QosSpec, Stack, Udp4};

/// Datagrams that are on the cable to one end.
const QUEUE: usize = 64;
/// The loop looks after everything at least so often.
const LONGEST: Duration = Duration::from_secs(1);

/// What ends the sleep of the loop: the interrupt of a receiver, and whatever a task waits for.
#[derive(Default)]
struct Alert(Bell);

impl Wake for Alert {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }
}

/// Datagrams on their way to one end, with their sources.
type Queue = Mutex<VecDeque<(SocketAddr, Vec<u8>)>>;

/// The driver of one end of the cable.
struct CableEnd {
    addr: SocketAddr,
    arriving: Arc<Queue>,
    leaving: Arc<Queue>,
    alert: Arc<Alert>,
}

impl Datagrams for CableEnd {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn max_datagram(&self) -> usize {
        9000
    }

    fn send(&self, _: SocketAddr, data: &[u8], _: Option<usize>) -> Result<(), SendError> {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if leaving.len() >= QUEUE {
            return Err(SendError::Full);
        }
        leaving.push_back((self.addr, data.to_vec()));
        self.alert.0.ring();
        Ok(())
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let mut arrived = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = arrived.len();
        for (src, bytes) in arrived.drain(..) {
            // Buffers come from the stack, with room for its headers.
            let mut data = cache.take(bytes.len());
            if data.extend_from_slice(&bytes).is_some() {
                out.push(Datagram::new(src, data));
            }
        }
        batch
    }

    // A polled stack takes what there is, and does not wait for more.
    fn wait(&self, _: Duration) {}
    fn interrupt(&self) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let (one, other, alert) = (Arc::<Queue>::default(), Arc::<Queue>::default(), Arc::<Alert>::default());
    let end = |addr: [u8; 4], arriving: &Arc<Queue>, leaving: &Arc<Queue>| {
        let (arriving, leaving, alert) = (Arc::clone(arriving), Arc::clone(leaving), Arc::clone(&alert));
        Arc::new(CableEnd { addr: (addr, 3435).into(), arriving, leaving, alert })
    };
    let clock = OsClock::new();
    let (server, client) = (polled(&clock, &alert)?, polled(&clock, &alert)?);
    // The address is the device's own, and not said a second time.
    server.udp4_over(end([10, 0, 0, 1], &one, &other), Udp4::bind(""))?.register("greeter")?;
    client.udp4_over(end([10, 0, 0, 2], &other, &one), Udp4::bind("").host("greeter", "10.0.0.1"))?;

    let listener = server.bind("greeter")?;
    let mut serving = pin!(async {
        while let Ok(flow) = listener.accept_async().await {
            let _ = flow.write(b"hello through the cable").await;
            let _ = flow.close(LONGEST).await;
        }
        pending::<()>().await;
    });
    let mut calling = pin!(async {
        let flow = client.flow("greeter").qos(QosSpec::DATA).alloc_async().await?;
        Ok::<_, Box<dyn Error>>(flow.read_bytes().await?)
    });
    let waker = Waker::from(Arc::clone(&alert));
    let mut cx = Context::from_waker(&waker);
    let greeting = loop {
        // The program's own work,
        let _ = serving.as_mut().poll(&mut cx);
        if let Poll::Ready(greeting) = calling.as_mut().poll(&mut cx) {
            break greeting?;
        }
        // that of the stacks, which take in what has arrived and do what is due,
        let now = clock.now();
        let next = [server.poll(now), client.poll(now)].into_iter().flatten().min();
        // and sleep, until there is more of either.
        alert.0.wait(next.map_or(LONGEST, |next| next.since(clock.now()).min(LONGEST)));
    };
    println!("{}", String::from_utf8_lossy(&greeting));
    Ok(())
}

/// A stack that does something only when it is polled. What a call from elsewhere makes due ends the sleep of the loop.
fn polled(clock: &OsClock, alert: &Arc<Alert>) -> Result<Stack, Box<dyn Error>> {
    let stack = Stack::builder().polled_at(clock.unix_nanos()).build()?;
    let alert = Arc::clone(alert);
    stack.on_wake(move || alert.0.ring());
    Ok(stack)
}
