//! What a program has brought along for a layer, which ends with it: no lock is held then, and whatever it does returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use o7s::base::time::Instant;
use o7s::device::Bell;
use o7s::ipcp::shim::resolve::{Found, Resolver};
use o7s::shim::{Layer, Lookup, Message, Outgoing, Shim};
use o7s::types::device::SendError;
use o7s::types::name::NameHash;
use o7s::{FlowSet, IpcpHandle, IpcpInfo, IpcpKind, Stack, Udp4};

use super::{Cable, foreign, settle, within};

/// Uses the stack when it is dropped, from this thread and from another one that it waits for.
struct Ending {
    stack: Stack,
    ended: Arc<AtomicUsize>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let stack = self.stack.clone();
        within("a poll from elsewhere", move || stack.poll(Instant::ZERO));
        self.stack.poll(Instant::ZERO);
        let _ = self.stack.rib();
        // A listener that is waited for asks which devices there are.
        let set = FlowSet::new();
        if let Ok(listener) = self.stack.bind("looking") {
            set.add_listener(&listener);
            set.wait(Some(Duration::ZERO));
        }
        self.stack.shutdown();
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// A resolver that knows nothing.
struct Names(#[allow(dead_code, reason = "it is dropped")] Ending);

impl Resolver for Names {
    fn resolve(&self, _: &NameHash, found: Found) {
        found.answer(None);
    }
}

/// A layer that carries nothing. What it is told to do when it is dismissed, it does once.
#[derive(Default)]
struct Idle {
    bell: Bell,
    /// It returns to nobody before it is dismissed.
    stays: bool,
    guarded: AtomicBool,
    dismissed: AtomicBool,
    on_dismissal: Option<Box<dyn Fn() + Send + Sync>>,
    _ending: Option<Ending>,
}

impl Shim for Idle {
    type Receiver = ();

    fn lookup(&self, _: &NameHash, _: &std::task::Waker) -> Lookup {
        Lookup::Unknown
    }

    fn send_message(&self, _: u64, _: &Message<'_>) -> Result<(), SendError> {
        Ok(())
    }

    fn send(&self, _: u64, _: u32, _: &mut Outgoing) -> Result<(), SendError> {
        Ok(())
    }

    fn mtu(&self) -> usize {
        1400
    }

    fn receiver(&self) {}

    fn receive(&self, _: Instant, (): &mut ()) -> usize {
        0
    }

    fn wait(&self, timeout: Duration) {
        self.bell.wait(timeout);
    }

    fn interrupt(&self) {
        self.bell.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.guarded.store(true, Ordering::SeqCst);
        self.bell.guard(timeout);
    }

    fn dismiss(&self) {
        if !self.dismissed.swap(true, Ordering::SeqCst)
            && let Some(f) = &self.on_dismissal
        {
            f();
        }
        self.bell.dismiss();
    }

    fn close(&self) {
        if !self.stays {
            self.bell.interrupt();
            self.bell.dismiss();
        }
    }
}

fn custom(stack: &Stack, make: impl FnOnce(Layer) -> Arc<Idle>) -> IpcpHandle {
    stack.add(IpcpInfo::new(IpcpKind::Custom("idle"), "idle", "idle"), make).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Brought {
    Resolver,
    Device,
    Shim,
}

/// Makes a layer with what counts its end.
fn layer(stack: &Stack, what: Brought, ended: &Arc<AtomicUsize>) -> IpcpHandle {
    let ending = Ending { stack: stack.clone(), ended: Arc::clone(ended) };
    let udp = Udp4::bind("127.0.0.1:0").system_resolver(false);
    match what {
        Brought::Resolver => stack.udp4(udp.resolver(Arc::new(Names(ending)))).unwrap(),
        Brought::Device => {
            let device = Cable::hooked(move || {
                let _ = &ending;
            });
            stack.udp4_over(device, udp).unwrap()
        }
        Brought::Shim => custom(stack, |_| Arc::new(Idle { _ending: Some(ending), ..Idle::default() })),
    }
}

#[test]
fn what_a_layer_was_given_ends_without_a_lock() {
    for what in [Brought::Resolver, Brought::Device, Brought::Shim] {
        for polled in [true, false] {
            for leaves in [true, false] {
                let builder = Stack::builder();
                let builder = if polled { builder.polled() } else { builder };
                let (stack, ended) = (builder.build().unwrap(), Arc::new(AtomicUsize::new(0)));
                let net = layer(&stack, what, &ended);
                let inside = stack.clone();
                within("the end of a layer", move || {
                    if leaves {
                        net.leave();
                    } else {
                        drop(net);
                        inside.shutdown();
                    }
                });
                // A background thread may have had the last of it.
                for _ in 0..300 {
                    if ended.load(Ordering::SeqCst) > 0 {
                        break;
                    }
                    settle();
                }
                assert_eq!(ended.load(Ordering::SeqCst), 1, "{what:?}, polled {polled}, leaves {leaves}");
                assert_eq!(foreign::panics(&stack), 0);
            }
        }
    }
}

#[test]
fn a_device_is_dismissed_without_a_lock() {
    let (stack, called) = (Stack::new().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (inside, count) = (stack.clone(), Arc::clone(&called));
    let on_dismissal = move || {
        // It must come to an end, not only begin.
        inside.shutdown();
        count.fetch_add(1, Ordering::SeqCst);
    };
    let idle = Arc::new(Idle { stays: true, on_dismissal: Some(Box::new(on_dismissal)), ..Idle::default() });
    let shim = Arc::clone(&idle);
    let net = custom(&stack, move |_| shim);
    while !idle.guarded.load(Ordering::SeqCst) {
        settle();
    }
    let down = stack.clone();
    within("shutdown", move || down.shutdown());
    assert_eq!(called.load(Ordering::SeqCst), 1);
    drop((net, stack));
}
