//! Members of layers: admission, names, and the end of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use o7s::admission::Applicant;
use o7s::{BroadcastLayer, IpcpHandle, LocalConfig, MemberError, Stack, UnicastLayer};

use crate::elsewhere::wait_until;

/// A stack with a layer in which members of others are neighbours.
fn wired() -> (Stack, IpcpHandle) {
    let stack = Stack::new().unwrap();
    let wire = stack.local(LocalConfig::new("wire", "wire"));
    (stack, wire)
}

/// Two members of a unicast layer, the second of which has connected.
fn members(stack: &Stack, wire: &IpcpHandle) -> [IpcpHandle; 2] {
    let first = stack.unicast("first").over(wire).bootstrap(UnicastLayer::new("net")).unwrap();
    let second = stack.unicast("second").over(wire).enroll("first").unwrap();
    second.connect("first").unwrap();
    [first, second]
}

/// Numbers of IPCPs of another stack mean other ones here, or none.
#[test]
fn a_member_is_not_made_over_a_layer_of_another_stack() {
    let (stack, _wire) = wired();
    let (_other, foreign) = wired();
    let founding = stack.unicast("first").over(&foreign).bootstrap(UnicastLayer::new("net"));
    assert_eq!(founding.unwrap_err(), MemberError::NoLayer);
    let enrolling = stack.broadcast("b2").over(&foreign).enroll("b1");
    assert_eq!(enrolling.unwrap_err(), MemberError::NoLayer);
}

#[test]
fn an_admission_that_refuses_says_why() {
    let asked = Arc::new(AtomicUsize::new(0));
    let strict = |answer: i32| {
        let asked = Arc::clone(&asked);
        Arc::new(move |_: &Applicant| {
            asked.fetch_add(1, Ordering::Relaxed);
            if answer == 0 { Ok(()) } else { Err(answer) }
        })
    };
    for answer in [-13, -4711, 0] {
        let (stack, wire) = wired();
        stack.unicast("first").over(&wire).admission(strict(answer)).bootstrap(UnicastLayer::new("net")).unwrap();
        stack.broadcast("b1").over(&wire).admission(strict(answer)).bootstrap(BroadcastLayer::new("news")).unwrap();
        let before = asked.load(Ordering::Relaxed);
        let results = [
            stack.unicast("second").over(&wire).enroll("first").map(drop),
            stack.broadcast("b2").over(&wire).enroll("b1").map(drop),
        ];
        for result in results {
            let expected = if answer == 0 { Ok(()) } else { Err(MemberError::Denied(answer)) };
            assert_eq!(result, expected);
            if let Err(error) = result {
                assert!(error.to_string().contains(&answer.to_string()), "{error}");
            }
        }
        assert!(asked.load(Ordering::Relaxed) >= before + 2, "both were asked");
    }
}

#[test]
fn disconnected_members_are_no_neighbours() {
    let (stack, wire) = wired();
    let [first, second] = members(&stack, &wire);
    assert_eq!((first.connections().len(), second.connections().len()), (2, 2));
    // Only whoever made them ends them.
    assert!(!first.disconnect("second"));
    assert!(!second.disconnect("nobody"));
    assert!(!second.disconnect(""), "this is no name");
    assert!(!wire.disconnect("first"), "a local layer has no neighbours");
    assert_eq!(second.connections().len(), 2);
    assert!(second.disconnect("first"));
    assert_eq!(second.connections().len(), 0);
    wait_until("the other end is told", || first.connections().is_empty());
    assert!(!second.disconnect("first"), "there are none any more");
    assert_eq!(second.rib().get("ipcps/second/adjacencies").or(second.rib().get("adjacencies")), Some(0));
    second.connect("first").unwrap();
    assert_eq!(second.connections().len(), 2);
}

#[test]
fn names_are_located_by_their_members() {
    let (stack, wire) = wired();
    let [first, second] = members(&stack, &wire);
    assert_eq!(second.locate("service"), Ok(vec![]), "nobody has it");
    first.register("service").unwrap();
    wait_until("the name is known", || second.locate("service") == Ok(vec![first.address().unwrap()]));
    assert_eq!(first.locate("service"), Ok(vec![]), "it is only here");
    assert!(matches!(second.locate(""), Err(MemberError::Name(_))));
    assert_eq!(wire.locate("service"), Err(MemberError::NoMember));
    first.unregister("service");
    wait_until("the name is gone", || second.locate("service") == Ok(vec![]));
    let polled = Stack::builder().polled().seed([1; 32]).build().unwrap();
    let member = polled.unicast("alone").bootstrap(UnicastLayer::new("net")).unwrap();
    assert_eq!(member.locate("service"), Err(MemberError::Polled));
}
