//! Layers and members that are made, or left, while the stack is shut down: nothing of them is left when both are done.

use std::future::Future;
use std::net::UdpSocket;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Wake, Waker};

use o7s::ipcp::connect::enroll::AdmitAll;
use o7s::ipcp::{Attempt, Info, Ipcp, Kind, Lookup, RegisterError, Request, RequestError, broadcast};
use o7s::node::member::{Bootstrap, Common};
use o7s::time::Instant;
use o7s::types::layer::{LayerConfig, LayerKind};
use o7s::types::tree::Tree;
use o7s::{
    BindError, BroadcastLayer, HashAlg, LocalConfig, MemberError, Name, NameHash, Stack, StackError, Udp4, UnicastLayer,
};

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

/// A member of a layer that takes no names. It shuts its stack down before it says so, if it has it.
struct Refuses {
    info: Info,
    stack: Mutex<Option<Stack>>,
    why: RegisterError,
}

impl Ipcp for Refuses {
    fn info(&self) -> &Info {
        &self.info
    }

    fn register(&self, _: Instant, _: NameHash) -> Result<(), RegisterError> {
        let stack = self.stack.lock().unwrap().take();
        stack.iter().for_each(Stack::shutdown);
        Err(self.why)
    }

    fn unregister(&self, _: Instant, _: &NameHash) {}

    fn lookup(&self, _: Instant, _: &NameHash, _: &Waker) -> Lookup {
        Lookup::Unknown
    }

    fn request(&self, _: Instant, _: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        Err(RequestError::Unknown)
    }

    fn shutdown(&self, _: Instant) {}

    fn rib(&self, _: Instant) -> Tree {
        Tree::new("refuses")
    }
}

/// Whatever the layer below says when the shutdown has come to it first: the stack is down.
#[test]
fn a_member_refused_below_because_the_stack_is_shut_down_says_so() {
    for (why, ends) in [(RegisterError::Down, true), (RegisterError::Full(7), true), (RegisterError::Full(7), false)] {
        let stack = Stack::new().unwrap();
        let ended = Mutex::new(ends.then(|| stack.clone()));
        let below = Refuses { info: Info::new(Kind::Local, "below", "below"), stack: ended, why };
        let id = stack.node().add_ipcp(Arc::new(below), 0).unwrap();
        let (name, admission) = (Name::new("a").unwrap(), Arc::new(AdmitAll));
        let common = Common { name: name.clone(), over: vec![id], autobind: true, admission, priority: 0 };
        let layer = LayerConfig { name, hash: HashAlg::Sha3_256, kind: LayerKind::Broadcast };
        let kind = broadcast::flood::Config::default().into();
        let made = stack.node().bootstrap(Bootstrap { common, kind, layer }).map(drop).map_err(MemberError::from);
        if ends {
            assert!(matches!(made, Err(MemberError::Down)), "{made:?}");
            is_empty(&stack);
        } else {
            assert!(matches!(made, Err(MemberError::Bind(BindError::LayerFull(7)))), "{made:?}");
        }
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
