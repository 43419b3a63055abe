//! Layers and members that are made, or left, while the stack is shut down: nothing of them is left when both are done.

use std::future::Future;
use std::net::UdpSocket;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Wake, Waker};

use o7s::ipcp::{Ipcp, RegisterError};
use o7s::{BroadcastLayer, HashAlg, LocalConfig, MemberError, Name, Stack, StackError, Udp4, UnicastLayer};

use super::{finishes, silent, spawn, within};

/// Shuts the stack down while `make` runs, a little later each time; `look` sees what has come of it.
fn race<T: Send + 'static>(
    rounds: u32,
    prepare: impl Fn() -> Stack,
    make: impl Fn(&Stack) -> T + Clone + Send + 'static,
    look: impl Fn(&Stack, T),
) {
    for round in 0..rounds {
        let (stack, start) = (prepare(), Arc::new(Barrier::new(2)));
        let (from, make, ready) = (stack.clone(), make.clone(), Arc::clone(&start));
        let makes = spawn(move || {
            ready.wait();
            make(&from)
        });
        let down = stack.clone();
        let ends = spawn(move || {
            start.wait();
            for _ in 0..(round % 64) * 200 {
                std::hint::spin_loop();
            }
            down.shutdown();
        });
        finishes("shutdown", ends);
        look(&stack, finishes("what it is made by", makes));
    }
}

/// No member of any layer is left in a stack that is down.
#[track_caller]
fn is_empty(stack: &Stack) {
    let left: Vec<_> = stack.node().ipcps().iter().map(|(_, ipcp)| ipcp.info().name.clone()).collect();
    assert!(left.is_empty(), "left in a stack that is down: {left:?}");
}

#[test]
fn a_layer_made_during_a_shutdown_leaves_no_socket() {
    let make = |stack: &Stack| {
        let made = stack.udp4(Udp4::bind("127.0.0.1:0").system_resolver(false));
        made.map(|net| (net.local_addr().unwrap(), net))
    };
    race(
        1500,
        || Stack::new().unwrap(),
        make,
        |stack, made| {
            is_empty(stack);
            match made {
                Ok((addr, _kept)) => {
                    UdpSocket::bind(addr).unwrap();
                }
                Err(e) => assert!(matches!(e, StackError::Down), "{e}"),
            }
        },
    );
}

#[test]
fn a_member_made_during_a_shutdown_is_not_left() {
    let below = || {
        let stack = Stack::new().unwrap();
        stack.local(LocalConfig::new("below", "below"));
        stack
    };
    for autobind in [true, false] {
        let unicast = move |s: &Stack| s.unicast("a").autobind(autobind).bootstrap(UnicastLayer::new("net")).map(drop);
        let broadcast =
            move |s: &Stack| s.broadcast("b").autobind(autobind).bootstrap(BroadcastLayer::new("news")).map(drop);
        let look = |stack: &Stack, made: Result<(), MemberError>| {
            is_empty(stack);
            assert!(matches!(made, Ok(()) | Err(MemberError::Down)), "{made:?}");
        };
        race(1000, below, unicast, look);
        race(1000, below, broadcast, look);
    }
}

#[test]
fn a_local_layer_made_in_a_stack_that_is_down_is_none() {
    let stack = Stack::new().unwrap();
    stack.shutdown();
    let net = stack.local(LocalConfig::new("local", "local"));
    is_empty(&stack);
    assert!(net.register("echo").is_err());
    race(500, || Stack::new().unwrap(), |s| s.local(LocalConfig::new("local", "local")), |stack, _| is_empty(stack));
}

/// Shuts the stack down when it is woken, and looks whether this member still takes names then.
struct Ends {
    stack: Stack,
    member: Arc<dyn Ipcp>,
    taken: Mutex<Option<Result<(), RegisterError>>>,
}

impl Wake for Ends {
    fn wake(self: Arc<Self>) {
        self.stack.shutdown();
        let taken = self.member.register(self.stack.now(), HashAlg::Sha3_256.hash(&Name::new("late").unwrap()));
        self.taken.lock().unwrap().get_or_insert(taken);
    }
}

#[test]
fn a_member_that_is_being_left_ends_with_its_stack() {
    let ((_socket, at), stack) = (silent(), Stack::new().unwrap());
    let below = stack.udp4(Udp4::bind("127.0.0.1:0").host("nobody", &at).system_resolver(false)).unwrap();
    let member = stack.unicast("a").over(&below).bootstrap(UnicastLayer::new("net")).unwrap();
    let (_, ipcp) = stack.node().ipcps().into_iter().find(|(_, ipcp)| ipcp.info().name == "a").unwrap();
    let ends = Arc::new(Ends { stack: stack.clone(), member: ipcp, taken: Mutex::default() });
    let waker = Waker::from(Arc::clone(&ends));
    // Whoever waits for a connection learns that the member is being left.
    let waits = member.clone();
    let mut connecting = Box::pin(async move { waits.connect_async("nobody").await });
    assert!(connecting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    within("leave", move || member.leave());
    let taken = *ends.taken.lock().unwrap();
    assert_eq!(taken, Some(Err(RegisterError::Down)), "when the shutdown returned");
}
