//! A layer that is left while a flow of it comes about, within a call that the flow itself makes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use o7s::{AcceptError, AllocError, IpcpHandle, LocalConfig, Stack, Udp4, UnicastLayer};

use super::{BOUND, Cable, finishes, spawn, within};

/// What is done once, at a moment that a test chooses.
type Hook = Arc<Mutex<Option<IpcpHandle>>>;

/// Leaves the layer, the first time.
fn fire(hook: &Hook) {
    let left = hook.lock().unwrap().take();
    left.into_iter().for_each(IpcpHandle::leave);
}

fn udp() -> Udp4 {
    Udp4::bind("127.0.0.1:0").system_resolver(false)
}

#[test]
fn a_request_ends_when_its_layer_is_left_while_it_is_sent() {
    let (server, client, hook) = (Stack::new().unwrap(), Stack::new().unwrap(), Hook::default());
    let there = server.udp4(udp()).unwrap();
    there.register("echo").unwrap();
    let leaves = Arc::clone(&hook);
    // It leaves its own layer when it is told to send.
    let device = Cable::hooked(move || fire(&leaves));
    let at = there.local_addr().unwrap().to_string();
    let here = client.udp4_over(device, udp().host("echo", &at)).unwrap();
    *hook.lock().unwrap() = Some(here.clone());
    // Not at its deadline, which is far.
    let ended = within("alloc", move || client.flow("echo").timeout(100 * BOUND).alloc().map(drop));
    assert!(!matches!(ended, Ok(()) | Err(AllocError::TimedOut(_))), "{ended:?}");
    assert_eq!(here.rib().get("flows"), Some(0), "nobody has the flow any more");
}

#[test]
fn no_flow_is_accepted_in_a_layer_that_is_left_meanwhile() {
    let (server, client, hook) = (Stack::new().unwrap(), Stack::new().unwrap(), Hook::default());
    let net = server.udp4(udp()).unwrap();
    net.register("echo").unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(udp().host("echo", &at)).unwrap();
    let (listener, kept) = (server.bind("echo").unwrap(), net.clone());
    *hook.lock().unwrap() = Some(net);
    let left = Arc::clone(&hook);
    // The reply is asked for between the request and the flow.
    let accepts = spawn(move || {
        let accepted = listener.accept_with(|_| {
            fire(&left);
            Vec::new()
        });
        accepted.map(drop)
    });
    let ended = within("alloc", move || client.flow("echo").timeout(Duration::from_secs(2)).alloc().map(drop));
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(kept.rib().get("flows"), Some(0));
    // The request that failed ended no accept.
    server.shutdown();
    assert_eq!(finishes("accept", accepts), Err(AcceptError::Closed));
}

#[test]
fn members_above_a_local_layer_that_is_left_do_without_it() {
    let stack = Stack::new().unwrap();
    let below = stack.local(LocalConfig::new("below", "below"));
    let first = stack.unicast("a").over(&below).bootstrap(UnicastLayer::new("net")).unwrap();
    let second = stack.unicast("b").over(&below).enroll("a").unwrap();
    second.connect("a").unwrap();
    below.leave();
    assert_eq!((first.connections().len(), second.connections().len()), (2, 2), "its flows go on");
}
