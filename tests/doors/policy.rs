//! A routing policy: which of several shortest paths a member's packets take.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use o7s::policy::{Paths, RoutingPolicy};
use o7s::{Address, Eid};
use o7s::{IpcpHandle, LocalConfig, Stack, UnicastLayer};

use super::wait_until;

/// All packets go by the neighbour with the highest address, or by that with the lowest.
#[derive(Debug)]
struct By {
    highest: bool,
}

impl RoutingPolicy for By {
    fn prepare(&self, paths: &mut dyn Paths) {
        paths.spread();
    }

    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>) {
        paths.equal(hops);
        hops.sort_unstable();
        if self.highest {
            hops.reverse();
        }
    }
}

#[derive(Debug)]
struct Broken;

impl RoutingPolicy for Broken {
    fn next_hops(&self, _: &mut dyn Paths, _: &mut Vec<Address>) {
        panic!("a bug of a policy")
    }
}

struct Diamond {
    stack: Stack,
    near: IpcpHandle,
    between: [Address; 2],
    far: Address,
}

/// Four members: one with a policy of its own, and two others between it and the last.
fn diamond(policy: Arc<dyn RoutingPolicy>) -> Diamond {
    let stack = Stack::new().unwrap();
    let below = stack.local(LocalConfig::new("wire", "wire"));
    let near = stack.unicast("near").over(&below).routing(policy).bootstrap(UnicastLayer::new("net")).unwrap();
    let joins = |name: &str| stack.unicast(name).over(&below).enroll("near").unwrap();
    let (one, other, far) = (joins("one"), joins("other"), joins("far"));
    for between in [&one, &other] {
        between.connect("near").unwrap();
    }
    for name in ["one", "other"] {
        far.connect(name).unwrap();
    }
    let [one, other, far] = [one, other, far].map(|member| member.address().unwrap());
    Diamond { stack, near, between: [one, other], far }
}

#[test]
fn a_member_routes_by_a_policy_of_its_own() {
    for highest in [false, true] {
        let Diamond { near, between, far, .. } = diamond(Arc::new(By { highest }));
        let expected = if highest { between.iter().max() } else { between.iter().min() };
        wait_until("the routes are as the policy says", || near.next_hop(far, Eid(7)) == expected.copied());
    }
}

#[test]
fn panics_of_a_policy_are_counted_and_packets_take_one_path() {
    let Diamond { stack, near, between, far } = diamond(Arc::new(Broken));
    wait_until("there is a route", || near.next_hop(far, Eid(7)).is_some_and(|hop| between.contains(&hop)));
    assert!(stack.rib().get("node/foreign_panics").unwrap() > 0);
}

/// Looks at the member that asks it, and disturbs it, as a policy that weighs what it measures may.
#[derive(Debug, Default)]
struct Curious {
    member: Mutex<Option<IpcpHandle>>,
    /// Number of complete passes over the member.
    looks: AtomicUsize,
}

impl Curious {
    fn look(&self) {
        let member = self.member.lock().unwrap().clone();
        let Some(member) = member else { return };
        assert!(member.rib().get("routing/recalculations").is_some());
        let address = member.address().unwrap();
        assert_eq!(member.next_hop(address, Eid(7)), None);
        member.connections();
        member.register("looked-at").unwrap();
        member.unregister("looked-at");
        self.looks.fetch_add(1, Ordering::SeqCst);
    }
}

impl RoutingPolicy for Curious {
    fn prepare(&self, _: &mut dyn Paths) {
        self.look();
    }

    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>) {
        self.look();
        hops.push(paths.first());
    }

    fn spreads_flows(&self) -> bool {
        self.look();
        false
    }

    fn has_detours(&self) -> bool {
        self.look();
        true
    }
}

#[test]
fn a_policy_may_look_at_the_member_that_asks_it() {
    let policy = Arc::new(Curious::default());
    let stack = Stack::new().unwrap();
    let below = stack.local(LocalConfig::new("wire", "wire"));
    let builder = stack.unicast("near").over(&below).routing(policy.clone());
    let near = builder.bootstrap(UnicastLayer::new("net")).unwrap();
    *policy.member.lock().unwrap() = Some(near.clone());
    let far = stack.unicast("far").over(&below).enroll("near").unwrap();
    far.connect("near").unwrap();
    let to = far.address().unwrap();
    wait_until("there is a route", || near.next_hop(to, Eid(7)) == Some(to));
    // The links fail: it is asked for detours.
    let before = policy.looks.load(Ordering::SeqCst);
    assert!(before > 2, "asked {before} times");
    far.leave();
    wait_until("the route is gone", || near.next_hop(to, Eid(7)).is_none());
    wait_until("it is asked again", || policy.looks.load(Ordering::SeqCst) > before);
    assert_eq!(stack.rib().get("node/foreign_panics"), Some(0));
    *policy.member.lock().unwrap() = None;
}
