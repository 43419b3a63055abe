//! Calls of members that wait for others: each ends, and no later than it says.

use core::time::Duration;

use o7s::sim::{Host, Link, Network};
use o7s::{AllocError, IpcpHandle, MemberError, Name, UnicastLayer};

use super::world::{ms, secs};

/// More than a member keeps wakers for.
const CALLERS: usize = 200;

struct Two {
    net: Network,
    hosts: [Host; 2],
    members: [IpcpHandle; 2],
}

/// Two members, of which the first has the name "known".
fn two(seed: u64) -> Two {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ms(20)));
    net.set_time_limit(secs(10_000));
    let hosts = [1, 2].map(|i| net.host(&format!("host {i}")).udp4(&format!("10.0.0.{i}")).build());
    let [a, b] = &hosts;
    let first = a.stack().unicast("a").over(&a.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    let second = net.block_on(b.stack().unicast("b").over(&b.udp4()[0]).enroll_async("a")).unwrap();
    net.block_on(second.connect_async("a")).unwrap();
    first.register("known").unwrap();
    net.run_for(secs(5));
    Two { net, hosts, members: [first, second] }
}

/// All ask at once for what is not known yet. What they are told, and how long the last one waited.
fn locate(two: &Two, name: &'static str) -> (Vec<Result<usize, MemberError>>, Duration) {
    let began = two.net.now();
    let asking: Vec<_> = (0..CALLERS)
        .map(|_| {
            let member = two.members[1].clone();
            two.net.spawn(async move { member.locate_async(name).await.map(|found| found.len()) })
        })
        .collect();
    let told = asking.into_iter().map(|one| two.net.block_on(one)).collect();
    (told, two.net.now() - began)
}

#[test]
fn any_number_of_callers_may_locate_a_name_at_once() {
    let two = two(1);
    for (name, found) in [("unknown", 0), ("known", 1)] {
        let (told, took) = locate(&two, name);
        assert!(told.iter().all(|told| told.as_ref().is_ok_and(|n| *n == found)), "{name}: {told:?}");
        assert!(took < secs(1), "{name}: {took:?}");
    }
}

#[test]
fn locating_ends_when_nobody_says_anything() {
    let two = two(2);
    two.hosts[0].crash();
    let (told, took) = locate(&two, "unknown");
    assert!(told.iter().all(|told| matches!(told, Err(MemberError::TimedOut(_)))), "{told:?}");
    assert!(took <= secs(5), "{took:?}");
}

/// An attempt that the time limit has cut short has found out nothing.
#[test]
fn enrolling_ends_with_the_last_reason_that_was_told() {
    for silent_from in [ms(700), ms(2100), ms(4900)] {
        let net = Network::new(3);
        net.set_default_link(Link::default().latency(ms(20)));
        let [there, here] = [1, 2].map(|i| net.host(&format!("host {i}")).udp4(&format!("10.0.0.{i}")).build());
        // Nobody there has the name.
        net.names().insert_at(&Name::new("a").unwrap(), there.udp4()[0].local_addr().unwrap());
        let member = here.stack().unicast("b").over(&here.udp4()[0]).timeout(secs(5));
        let enrolling = net.spawn(async move { member.enroll_async("a").await });
        net.run_for(silent_from);
        net.isolate("10.0.0.1");
        let why = net.block_on(enrolling).unwrap_err();
        let refused = matches!(why, MemberError::Alloc(AllocError::Refused { .. }));
        assert!(refused, "silent from {silent_from:?} on: {why:?}");
    }
}
