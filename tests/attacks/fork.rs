//! A process that forks has the keys of its flows twice: only one of the two may go on with them.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use o7s::sim::{Host, Link, Network, Verdict};
use o7s::{QosSpec, Stack, WriteError, aio};

const SERVER: &str = "10.0.0.2:3435";
const CLIENT: &str = "10.0.0.1:3435";

#[allow(unsafe_code, reason = "these are functions of the C library")]
mod system {
    unsafe extern "C" {
        fn fork() -> i32;
        fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
        fn _exit(code: i32) -> !;
    }

    /// Runs `child` in a fork; the number that it returns, up to 127, or `None` if it died.
    pub(super) fn in_fork(child: impl FnOnce() -> u8) -> Option<u8> {
        // SAFETY: the child calls nothing that needs another thread: it has a simulated network for itself, and ends without
        // the destructors of the process.
        match unsafe { fork() } {
            0 => {
                let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(127);
                // SAFETY: it takes any number.
                unsafe { _exit(i32::from(code)) }
            }
            process => {
                assert!(process > 0, "no fork");
                let mut status = 0;
                // SAFETY: `status` is a place for the result.
                assert_eq!(unsafe { waitpid(process, &raw mut status, 0) }, process);
                (status & 0x7f == 0).then_some((status >> 8) as u8)
            }
        }
    }
}

struct World {
    net: Network,
    server: Host,
    client: Host,
    /// What the client has sent.
    sent: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl World {
    fn new(security: &str) -> Self {
        let net = Network::new(16);
        net.set_default_link(Link::default().latency(Duration::from_millis(5)));
        let settings = |stack: o7s::Builder| match security {
            "" => stack,
            _ => stack.security(security.parse().unwrap()),
        };
        let server = net.host("server").udp4(SERVER).stack(settings).build();
        let client = net.host("client").udp4(CLIENT).stack(settings).build();
        let sent: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let (tape, from): (_, SocketAddr) = (Rc::clone(&sent), CLIENT.parse().unwrap());
        net.on_packet(move |packet| {
            if packet.src == from {
                tape.borrow_mut().push(packet.data.to_vec());
            }
            Verdict::Pass
        })
        .keep();
        Self { net, server, client, sent }
    }

    fn flow(&self, qos: QosSpec) -> (aio::Flow, Rc<aio::Flow>) {
        let listener = self.server.listen("vault");
        let accepted: Rc<RefCell<Vec<Rc<aio::Flow>>>> = Rc::default();
        let flows = Rc::clone(&accepted);
        self.net.spawn(async move {
            while let Ok(flow) = listener.accept_async().await {
                flows.borrow_mut().push(Rc::new(flow));
            }
        });
        let here = self.net.block_on(async {
            let here = self.client.stack().flow("vault").qos(qos).alloc_async().await.unwrap();
            here.write(b"before").await.unwrap();
            here
        });
        let there = Rc::clone(&accepted.borrow()[0]);
        (here, there)
    }
}

/// 1: the flow said what is the matter. 2: nothing was sent. 4: no flow could be allocated.
fn try_all(world: &World, flow: &aio::Flow) -> u8 {
    let before = world.sent.borrow().len();
    let mut found = 0;
    let written = world.net.block_on(flow.write(b"from the child"));
    found |= u8::from(matches!(written, Err(WriteError::Forked)));
    let another = async { world.client.stack().flow("vault").timeout(Duration::from_secs(1)).alloc_async().await };
    found |= 4 * u8::from(world.net.block_on(another).is_err());
    world.net.run_for(Duration::from_secs(5));
    found | (2 * u8::from(world.sent.borrow().len() == before))
}

#[test]
fn a_fork_sends_nothing_over_the_flows_of_its_parent() {
    for (security, qos) in
        [("X25519", QosSpec::RAW), ("X25519", QosSpec::DATA), ("", QosSpec::RAW), ("", QosSpec::DATA)]
    {
        let world = World::new(security);
        let (flow, peer) = world.flow(qos);
        world.net.run_for(Duration::from_secs(1));
        let found = system::in_fork(|| try_all(&world, &flow));
        assert_eq!(found, Some(7), "{security} {qos:?}");
        // The parent has not noticed.
        world.net.block_on(async {
            flow.write(b"from the parent").await.unwrap();
            assert_eq!(&peer.read_bytes().await.unwrap()[..], b"before");
            assert_eq!(&peer.read_bytes().await.unwrap()[..], b"from the parent");
        });
    }
}

#[test]
fn a_fork_makes_stacks_of_its_own() {
    let world = World::new("X25519");
    let found = system::in_fork(|| {
        let world = World::new("X25519");
        let (flow, peer) = world.flow(QosSpec::DATA);
        let got = world.net.block_on(async {
            flow.write(b"from the child").await.unwrap();
            assert_eq!(&peer.read_bytes().await.unwrap()[..], b"before");
            peer.read_bytes().await.unwrap()
        });
        u8::from(&got[..] == b"from the child")
    });
    assert_eq!(found, Some(1));
    drop(world);
}

#[test]
fn a_fork_of_a_program_with_threads_is_told() {
    let stack = Stack::builder().security("X25519".parse().unwrap()).build().unwrap();
    let listener = stack.bind("vault").unwrap();
    let accepting = std::thread::Builder::new().spawn(move || listener.accept().unwrap()).unwrap();
    let flow = stack.flow("vault").qos(QosSpec::RAW).alloc().unwrap();
    let peer = accepting.join().unwrap();
    // No lock is taken for it, which a thread that the fork does not have might hold.
    let found = system::in_fork(|| u8::from(matches!(flow.try_write(b"from the child"), Err(WriteError::Forked))));
    assert_eq!(found, Some(1));
    flow.write(b"from the parent").unwrap();
    assert_eq!(&peer.read_bytes().unwrap()[..], b"from the parent");
}
