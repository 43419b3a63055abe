//! A scenario with a mistake, or one that hangs, fails at the user's line.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use o7s::sim::Network;

use super::world::secs;

thread_local! {
    static FAILED_AT: Cell<Option<(String, u32)>> = const { Cell::new(None) };
}

/// Returns the file and the line at which `f` panics.
fn failed_at(f: impl FnOnce()) -> (String, u32) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            FAILED_AT.set(info.location().map(|at| (at.file().to_owned(), at.line())));
            before(info);
        }));
    });
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "it does not fail");
    FAILED_AT.take().unwrap()
}

macro_rules! fails_here {
    ($scenario:expr) => {
        assert_eq!(failed_at(|| _ = $scenario), (file!().to_owned(), line!()), stringify!($scenario))
    };
}

/// A wait that is over at once lets others run, and a loop of such waits is found.
#[test]
fn waits_for_no_time_let_others_run() {
    let net = Network::new(1);
    let done = std::rc::Rc::new(Cell::new(false));
    let other = std::rc::Rc::clone(&done);
    drop(net.spawn(async move { other.set(true) }));
    net.block_on(async {
        for _ in 0..10 {
            net.sleep(core::time::Duration::ZERO).await;
        }
    });
    assert!(done.get());
    net.set_poll_limit(100);
    let stuck = net.try_block_on(async {
        for _ in 0..1000 {
            net.sleep_until(net.now()).await;
        }
    });
    assert!(stuck.is_err());
}

#[test]
fn a_scenario_that_fails_names_the_line_of_the_caller() {
    let net = Network::new(1);
    let host = net.host("one").udp4("10.0.0.1").build();
    let taken = net.udp("10.0.0.9:1");
    net.set_poll_limit(100);
    let busy = Network::new(2);
    busy.set_poll_limit(100);
    drop(busy.spawn(std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        std::task::Poll::<()>::Pending
    })));
    fails_here!(net.block_on(std::future::pending::<()>()));
    fails_here!(busy.run_for(secs(1)));
    fails_here!(net.udp("10.0.0.9:1"));
    fails_here!(net.udp("nowhere"));
    fails_here!(net.isolate("nowhere"));
    fails_here!(net.partition(&["nowhere"], &["10.0.0.1"]));
    fails_here!(net.link_stats("nowhere", "10.0.0.1"));
    fails_here!(net.inject("nowhere", "10.0.0.1:1", b"x"));
    fails_here!(net.host("two").udp4("nowhere"));
    fails_here!(net.host("two").udp4("10.0.0.1").build());
    fails_here!(host.listen(""));
    drop(taken);
}
