//! Resources of the system and of other layers are given back before the call that ends their use returns.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::Duration;

use o7s::base::time::Instant;
use o7s::ipcp::shim::resolve::{Found, HostTable, Resolver};
use o7s::types::name::NameHash;
use o7s::{AllocError, BroadcastLayer, IpcpHandle, LocalConfig, Name, QosSpec, ReadError, Stack, Udp4, UnicastLayer};

use super::{BOUND, Place, finishes, pair, settle, spawn, within};

/// A stack with a layer at this address, and a flow within it that a thread reads from.
fn at(addr: SocketAddr) -> (Stack, IpcpHandle) {
    let stack = Stack::new().unwrap();
    let net = stack.udp4(Udp4::bind(&addr.to_string()).system_resolver(false)).unwrap();
    (stack, net)
}

fn free_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_port_is_free_after_shutdown_despite_live_handles() {
    for end in ["drop", "shutdown", "leave"] {
        for i in 0..30 {
            let addr = free_port();
            let (stack, net) = at(addr);
            if i % 2 == 0 {
                // The background thread has begun to wait.
                std::thread::park_timeout(Duration::from_millis(2));
            }
            let kept = match end {
                "drop" => {
                    drop((stack, net));
                    None
                }
                "shutdown" => {
                    stack.shutdown();
                    Some((stack, Some(net)))
                }
                _ => {
                    let other = net.clone();
                    net.leave();
                    Some((stack, Some(other)))
                }
            };
            let again = UdpSocket::bind(addr);
            assert!(again.is_ok(), "{end}, round {i}: {again:?}");
            drop(kept);
        }
    }
}

#[test]
fn a_port_is_free_although_threads_were_blocked_on_its_socket() {
    for _ in 0..10 {
        let p = pair(Place::Udp, QosSpec::RAW);
        let ipcps = p.server.node().ipcps();
        let rib = ipcps[0].1.info().name.clone();
        let addr: SocketAddr = rib.trim_start_matches("udp4.").parse().unwrap();
        let (server, listener) = (p.server, Arc::new(p.listener));
        let (near, far) = p.ends;
        let reads = spawn(move || far.read(&mut [0; 9]));
        let waiting = Arc::clone(&listener);
        let accepts = spawn(move || waiting.accept().map(drop));
        settle();
        within("shutdown", {
            let server = server.clone();
            move || server.shutdown()
        });
        let again = UdpSocket::bind(addr);
        assert!(again.is_ok(), "{again:?}");
        assert_eq!(finishes("read", reads), Err(ReadError::ClosedHere));
        assert!(finishes("accept", accepts).is_err());
        drop((near, server, listener));
    }
}

#[test]
fn a_member_that_cannot_be_made_leaves_nothing_behind() {
    let stack = Stack::new().unwrap();
    let wire = stack.local(LocalConfig::new("wire", "wire"));
    let news = stack.broadcast("b").over(&wire).bootstrap(BroadcastLayer::new("news")).unwrap();
    let names = |s: &Stack| s.node().ipcps().iter().map(|(_, i)| i.info().name.clone()).collect::<Vec<_>>();
    let (before, registered) = (names(&stack), wire.rib().get("names"));
    for _ in 0..3 {
        // The names of the second layer are in the first already when the second refuses them.
        let failed = stack.unicast("u").over(&wire).over(&news).bootstrap(UnicastLayer::new("net")).map(drop);
        assert!(failed.is_err());
    }
    assert_eq!((names(&stack), wire.rib().get("names")), (before, registered));
    let asked = stack.flow("u").timeout(BOUND).alloc().map(drop);
    assert!(matches!(asked, Err(AllocError::Unreachable(_))), "{asked:?}");
}

#[test]
fn a_leaving_member_withdraws_only_its_names() {
    let stack = Stack::new().unwrap();
    let wire = stack.local(LocalConfig::new("wire", "wire"));
    let member = |name: &str, layer: &str| stack.unicast(name).over(&wire).bootstrap(UnicastLayer::new(layer)).unwrap();
    let (a, b) = (member("a", "net"), member("b", "net"));
    assert_eq!(wire.rib().get("names"), Some(3));
    a.leave();
    assert_eq!(wire.rib().get("names"), Some(2), "the layer's name is b's as well");
    b.leave();
    assert_eq!(wire.rib().get("names"), Some(0));
}

#[test]
fn abandoned_connections_are_not_made() {
    let stack = Stack::builder().polled().build().unwrap();
    let wire = stack.local(LocalConfig::new("wire", "wire"));
    let a = stack.unicast("a").over(&wire).bootstrap(UnicastLayer::new("net")).unwrap();
    let mut now = Instant::ZERO;
    let mut pass = |seconds: u64| {
        let until = now + Duration::from_secs(seconds);
        while let Some(next) = stack.poll(now).filter(|next| *next <= until) {
            now = now.max(next);
        }
        now = until;
        stack.poll(now);
    };
    let failed = || stack.rib().get("node/alloc_failed").unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut connects = Box::pin(a.connect_async("nobody"));
        assert!(connects.as_mut().poll(&mut cx).is_pending());
        pass(3);
        assert!(failed() > 1, "it is tried again and again");
    }
    let before = failed();
    pass(60);
    assert!(failed() <= before + 1, "one attempt may have been under way: {before}, {}", failed());
    // What was wanted before goes on.
    a.keep_connected("nobody", o7s::ConnectOptions::new()).unwrap();
    {
        let mut connects = Box::pin(a.connect_async("nobody"));
        assert!(connects.as_mut().poll(&mut cx).is_pending());
    }
    let before = failed();
    pass(60);
    assert!(failed() > before + 1);
}

#[test]
fn unpolled_accepts_do_not_hold_requests() {
    for place in [Place::Direct, Place::Local, Place::Udp] {
        let (server, client) = super::stacks(place);
        let listener = Arc::new(server.bind("echo").unwrap());
        // One waits before the other; the latest is preferred, and has begun to accept but does something else now.
        let there = Arc::clone(&listener);
        let accepts = spawn(move || there.accept_timeout(BOUND).map(drop));
        settle();
        let mut idle = Box::pin(listener.accept_async());
        assert!(idle.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        within("alloc", move || client.flow("echo").timeout(BOUND).alloc().map(drop)).unwrap();
        finishes("the one who is there", accepts).unwrap();
        drop(idle);
    }
}

// ----- where names are -----

/// A server that says who it is.
fn host(says: &'static str) -> (Stack, SocketAddr, IpcpHandle) {
    let stack = Stack::new().unwrap();
    let net = stack.udp4(Udp4::bind("127.0.0.1:0").system_resolver(false)).unwrap();
    net.register("name").unwrap();
    let serve = move |flow: o7s::Flow| {
        let _ = flow.write(says.as_bytes());
        let _ = flow.read(&mut [0; 9]);
    };
    stack.bind_handler("name", serve).unwrap();
    let addr = net.local_addr().unwrap();
    (stack, addr, net)
}

fn ask(client: &Stack) -> Result<String, AllocError> {
    let from = client.clone();
    within("the question", move || {
        let flow = from.flow("name").timeout(BOUND).alloc()?;
        let mut buf = [0; 16];
        let n = flow.read_timeout(&mut buf, BOUND).unwrap();
        Ok(String::from_utf8_lossy(&buf[..n]).into_owned())
    })
}

#[test]
fn changes_of_a_table_count_at_once() {
    let ((_a, at_a, _), (_b, at_b, _)) = (host("old"), host("new"));
    let (table, name) = (HostTable::new(), Name::new("name").unwrap());
    let client = Stack::new().unwrap();
    client.udp4(Udp4::bind("127.0.0.1:0").table(&table).system_resolver(false)).unwrap();
    assert!(matches!(ask(&client), Err(AllocError::Unreachable(_))));
    for (addr, says) in [(at_a, "old"), (at_b, "new"), (at_a, "old")] {
        table.insert_at(&name, addr);
        assert_eq!(ask(&client).as_deref(), Ok(says));
    }
    table.remove(&name);
    // What the tables do not know was looked up a moment ago, and is looked up again after a while.
    let gone = ask(&client);
    assert!(matches!(gone, Err(AllocError::Unreachable(_))), "{gone:?}");
}

#[test]
fn a_refusing_host_is_forgotten_for_the_name() {
    /// Knows where the name is; its answers may be remembered.
    struct Moving(Mutex<SocketAddr>);
    impl Resolver for Moving {
        fn resolve(&self, _: &NameHash, found: Found) {
            let addr = *self.0.lock().unwrap();
            found.answer(Some(addr));
        }
    }
    let ((_a, at_a, a_net), (_b, at_b, _)) = (host("old"), host("new"));
    let moving = Arc::new(Moving(Mutex::new(at_a)));
    let client = Stack::new().unwrap();
    let net = Udp4::bind("127.0.0.1:0").system_resolver(false).resolver(Arc::clone(&moving) as _);
    client.udp4(net).unwrap();
    assert_eq!(ask(&client).as_deref(), Ok("old"));
    a_net.unregister("name");
    *moving.0.lock().unwrap() = at_b;
    // The resolver is asked again while the flow is allocated.
    assert_eq!(ask(&client).as_deref(), Ok("new"));
}
