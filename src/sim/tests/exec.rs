use core::cell::{Cell, RefCell};
use core::future::{pending, poll_fn};
use core::task::Poll;
use std::rc::Rc;

use super::*;
use crate::base::time::Instant;
use crate::sim::{EPOCH_UNIX_NANOS, Elapsed, StuckReason};

#[test]
fn joining_returns_the_result() {
    let net = Network::new(1);
    let sum = net.block_on(async {
        let tasks: Vec<_> = (1..=10u64)
            .map(|i| {
                let inner = net.clone();
                net.spawn(async move {
                    inner.sleep(ms(100 - i)).await;
                    i
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await;
        }
        sum
    });
    assert_eq!((sum, net.now()), (55, Instant::from_millis(99)));
}

#[test]
fn sleepers_wake_in_order_of_time_and_creation() {
    let net = Network::new(1);
    let order = Rc::new(RefCell::new(Vec::new()));
    for (name, at) in [("c", 20), ("a", 10), ("d", 20), ("b", 10), ("e", 20)] {
        let (net2, order) = (net.clone(), Rc::clone(&order));
        net.spawn(async move {
            net2.sleep(ms(at)).await;
            order.borrow_mut().push((name, net2.now().as_nanos() / 1_000_000));
        });
    }
    net.run_for(ms(20));
    assert_eq!(*order.borrow(), [("a", 10), ("b", 10), ("c", 20), ("d", 20), ("e", 20)]);
}

#[test]
fn sleeps_are_exact() {
    let net = Network::new(1);
    net.block_on(async {
        net.sleep(Duration::ZERO).await;
        assert_eq!(net.now(), Instant::ZERO);
        net.sleep(Duration::from_nanos(1)).await;
        assert_eq!(net.now(), Instant::from_nanos(1));
        net.sleep_until(Instant::ZERO).await;
        assert_eq!(net.now(), Instant::from_nanos(1), "what is past does not come back");
    });
    let clock = net.clock();
    assert_eq!((clock.now(), clock.unix_nanos()), (Instant::from_nanos(1), EPOCH_UNIX_NANOS + 1));
}

#[test]
fn timeouts_are_exact() {
    let net = Network::new(1);
    net.block_on(async {
        assert_eq!(net.timeout(ms(10), net.sleep(ms(9))).await, Ok(()));
        assert_eq!(net.timeout(ms(10), net.sleep(ms(10))).await, Ok(()), "done at the last moment is done");
        assert_eq!(net.timeout(ms(10), net.sleep(ms(11))).await, Err(Elapsed));
        assert_eq!(net.timeout(Duration::ZERO, async { 7 }).await, Ok(7));
        assert_eq!(net.timeout(ms(1), pending::<()>()).await, Err(Elapsed));
    });
    assert_eq!(net.now(), Instant::from_millis(9 + 10 + 10 + 1));
}

#[test]
fn dropped_sleeps_leave_nothing_behind() {
    let net = Network::new(1);
    net.block_on(async {
        for _ in 0..1000 {
            net.timeout(Duration::from_secs(1000), net.sleep(ms(1))).await.unwrap();
        }
    });
    let stuck = net.try_block_on(pending::<()>()).unwrap_err();
    assert_eq!((stuck.reason(), stuck.at()), (StuckReason::Deadlock, Instant::from_millis(1000)));
}

#[test]
fn run_for_is_exact() {
    let net = Network::new(1);
    let at_the_end = Rc::new(Cell::new(0));
    for at in [9, 10, 11] {
        let (net2, count) = (net.clone(), Rc::clone(&at_the_end));
        net.spawn(async move {
            net2.sleep(ms(at)).await;
            count.set(count.get() + 1);
        });
    }
    net.run_for(ms(10));
    assert_eq!((net.now(), at_the_end.get()), (Instant::from_millis(10), 2));
    net.run_for(Duration::ZERO);
    assert_eq!(at_the_end.get(), 2);
    net.run_for(ms(10));
    assert_eq!((net.now(), at_the_end.get()), (Instant::from_millis(20), 3));
}

#[test]
fn deadlocks_are_reported_with_the_waiting_tasks() {
    let (net, a, _b) = pair(77);
    net.spawn(pending::<()>());
    let stuck = net.try_block_on(a.receive()).unwrap_err();
    assert_eq!(stuck.reason(), StuckReason::Deadlock);
    let report = stuck.to_string();
    assert!(report.starts_with("deadlock: nothing can ever happen again (seed 77, time 0.000000000s"), "{report}");
    assert!(report.contains("unfinished tasks, by where they were spawned:\n  src/sim/tests/exec.rs:"), "{report}");
}

#[test]
#[should_panic(expected = "deadlock: nothing can ever happen again (seed 5")]
fn block_on_panics_with_the_report() {
    Network::new(5).block_on(pending::<()>());
}

#[test]
fn livelocks_are_reported_with_the_busy_tasks() {
    let net = Network::new(1);
    net.set_poll_limit(1000);
    net.spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    let stuck = net.try_block_on(net.sleep(ms(1))).unwrap_err();
    assert_eq!(stuck.reason(), StuckReason::Livelock { polls: 1000 });
    assert!(stuck.to_string().contains("polled last:\n  the task spawned at src/sim/tests/exec.rs:"), "{stuck}");
}

#[test]
fn the_time_limit_is_reported() {
    let net = Network::new(1);
    let inner = net.clone();
    net.spawn(async move {
        loop {
            inner.sleep(Duration::from_secs(60)).await;
        }
    });
    net.set_time_limit(Duration::from_secs(3600));
    assert!(net.try_block_on(net.sleep(Duration::from_secs(3600))).is_ok());
    let stuck = net.try_block_on(pending::<()>()).unwrap_err();
    assert_eq!(stuck.reason(), StuckReason::TimeLimit(Duration::from_secs(3600)));
    assert_eq!(stuck.at(), Instant::from_millis(7_200_000));
}

#[test]
#[should_panic(expected = "the network is running already")]
fn nested_runs_are_refused() {
    let net = Network::new(1);
    net.block_on(async { net.block_on(async {}) });
}

#[test]
fn aborted_and_abandoned_tasks_are_dropped() {
    struct Witness(Rc<Cell<u32>>);
    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let net = Network::new(1);
    let task = |witness: Witness| {
        let inner = net.clone();
        net.spawn(async move {
            let _held = (witness, inner);
            pending::<()>().await
        })
    };
    task(Witness(Rc::clone(&dropped))).abort();
    assert_eq!(dropped.get(), 1, "before it ran");
    let second = task(Witness(Rc::clone(&dropped)));
    net.run_for(ms(1));
    second.abort();
    assert_eq!(dropped.get(), 2);
    drop(task(Witness(Rc::clone(&dropped))));
    net.run_for(ms(1));
    assert_eq!(dropped.get(), 2, "without a handle it goes on");
    drop(net);
    assert_eq!(dropped.get(), 3, "the world ends with its owner, clones of it or not");
}

#[test]
fn a_task_may_spawn_abort_and_yield() {
    let net = Network::new(1);
    let order = Rc::new(RefCell::new(Vec::new()));
    net.block_on(async {
        let (inner, log) = (net.clone(), Rc::clone(&order));
        let first = net.spawn(async move {
            let log2 = Rc::clone(&log);
            let child = inner.spawn(async move { log2.borrow_mut().push("child") });
            log.borrow_mut().push("parent");
            inner.yield_now().await;
            log.borrow_mut().push("parent again");
            child.await;
            inner.spawn(pending::<()>()).abort();
        });
        first.await;
    });
    assert_eq!(*order.borrow(), ["parent", "child", "parent again"]);
}

#[test]
fn two_tasks_may_wait_for_one_socket() {
    let (net, a, b) = pair(1);
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let b = Arc::clone(&b);
            net.spawn(async move { b.receive().await.data.to_vec() })
        })
        .collect();
    let got = net.block_on(async {
        net.sleep(ms(1)).await;
        a.send(b.local_addr(), b"1", None).unwrap();
        a.send(b.local_addr(), b"2", None).unwrap();
        let mut got = Vec::new();
        for task in tasks {
            got.push(task.await);
        }
        got
    });
    assert_eq!(got, [b"1", b"2"]);
}
