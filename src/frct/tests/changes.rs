//! Paths of which the layer says that they have changed.

use core::time::Duration;

use super::net::{Link, Net};
use crate::base::time::Instant;
use crate::frct::Config;

/// One way.
const LATENCY: Duration = Duration::from_millis(2);
const OUTAGE: Duration = Duration::from_secs(2);
const FOREVER: Duration = Duration::from_secs(3600);

/// Two ends of which the first has a lot to send.
fn busy(config: &Config) -> Net {
    let mut net = Net::new(config, &Link::new(LATENCY.as_micros() as u64), 1);
    (net.sides[0].to_write, net.sides[0].size) = (2000, 1000);
    net.pump(0);
    after(&mut net, Duration::from_millis(20));
    assert!(net.sides[1].read > 100 && !net.complete());
    net
}

/// Everything that happens in this time.
fn after(net: &mut Net, time: Duration) {
    let end = net.now + time;
    while net.next_at() <= end {
        net.step();
    }
    net.now = end;
}

/// Nothing passes in these directions for this time, in which a sender backs off.
fn cut(net: &mut Net, directions: &[usize], time: Duration) {
    for from in directions {
        net.links[*from].broken = Some((net.now, net.now + time));
    }
    after(net, OUTAGE);
}

/// The number of packets that end `i` sends at once because the layer says that its path has changed.
fn change(net: &mut Net, i: usize) -> u64 {
    let before = net.carried[i];
    net.sides[i].frct.handle_path_change(net.now);
    net.pump(i);
    net.carried[i] - before
}

#[test]
fn a_sender_that_has_backed_off_tries_again_on_another_path() {
    let mut net = busy(&Config::default());
    cut(&mut net, &[0, 1], OUTAGE);
    let (read, window) = (net.sides[1].read, net.sides[0].frct.path().window);
    assert!(net.next_at() > net.now + OUTAGE / 4, "it would have waited for long");
    assert!(net.sides[0].frct.would_retry(net.now));
    assert_eq!(change(&mut net, 0), 1, "the oldest, whatever else is out");
    assert!(!net.sides[0].frct.would_retry(net.now));
    assert_eq!(change(&mut net, 0), 0, "once");
    assert_eq!(net.sides[0].frct.path().window, window);
    after(&mut net, 3 * LATENCY);
    assert!(net.sides[1].read > read);
    assert!(net.sides[0].frct.path().window < window, "of the other path nothing is known");
    assert!(net.run(Duration::from_secs(5), Net::complete));
}

#[test]
fn a_sender_whose_attempt_fails_goes_on_as_after_the_first_timeout() {
    let mut net = busy(&Config::default());
    cut(&mut net, &[0, 1], OUTAGE + Duration::from_millis(10));
    let (now, side) = (net.now, &net.sides[0].frct);
    let timeout = Duration::from_nanos(side.tx.rto(&side.params));
    change(&mut net, 0);
    assert_eq!(net.next_at(), now + timeout);
    let read = net.sides[1].read;
    after(&mut net, timeout + 3 * LATENCY);
    assert!(net.sides[1].read > read);
}

#[test]
fn a_receiver_repeats_what_it_may_have_said_in_vain() {
    let mut net = busy(&Config::default());
    cut(&mut net, &[1], OUTAGE);
    let read = net.sides[1].read;
    assert_eq!((change(&mut net, 1), change(&mut net, 1)), (1, 0));
    after(&mut net, 2 * LATENCY);
    assert!(net.sides[1].read > read);
}

#[test]
fn a_sender_that_waits_for_the_window_asks_again_on_another_path() {
    let mut net = busy(&Config { window: 64, legacy_window: 64, ..Config::default() });
    net.sides[1].reading = false;
    after(&mut net, Duration::from_secs(1));
    net.sides[1].reading = true;
    let outage = Duration::from_secs(5);
    net.links[0].broken = Some((net.now, net.now + outage));
    net.links[1].broken = net.links[0].broken;
    net.pump(1);
    after(&mut net, outage);
    let read = net.sides[1].read;
    assert!(net.next_at() > net.now + 10 * LATENCY, "it would have waited");
    change(&mut net, 0);
    after(&mut net, 4 * LATENCY);
    assert!(net.sides[1].read > read);
}

/// However often a neighbour comes and goes, a timeout sees what an undoubled one would send, and nobody is kept alive by it.
#[test]
fn a_path_that_changes_all_the_time_brings_no_storm() {
    const STEP: Duration = Duration::from_millis(1);
    let mut net = busy(&Config::default());
    cut(&mut net, &[0, 1], FOREVER);
    let [sender, receiver] = [0, 1].map(|i| {
        let side = &net.sides[i].frct;
        Duration::from_nanos(side.tx.rto(&side.params))
    });
    let (before, time) = (net.carried, Duration::from_secs(4));
    let end = net.now + time;
    while net.now < end {
        after(&mut net, STEP);
        change(&mut net, 0);
        change(&mut net, 1);
    }
    let timeouts = |timeout: Duration| time.as_nanos().div_ceil(timeout.as_nanos()) as u64;
    // A timer that expires sends the oldest and one beyond.
    let sent = [0, 1].map(|i| net.carried[i] - before[i]);
    assert!(sent[0] <= 2 * timeouts(sender), "{sent:?}, timeout {sender:?}");
    assert!(sent[1] <= timeouts(receiver), "{sent:?}, timeout {receiver:?}");
    let end = net.now + Duration::from_secs(121);
    while net.now < end {
        after(&mut net, 30 * STEP);
        change(&mut net, 0);
    }
    assert!(net.sides[0].frct.is_down());
}

#[test]
fn an_idle_flow_does_not_mind_its_path() {
    let mut net = busy(&Config::default());
    assert!(net.run(Duration::from_secs(5), Net::complete));
    assert_eq!(change(&mut net, 0), 0);
    after(&mut net, Duration::from_secs(11));
    assert_eq!((change(&mut net, 0), change(&mut net, 1)), (0, 0));
    assert!(net.next_at() >= Instant::FAR_FUTURE);
}
