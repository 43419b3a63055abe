use super::*;
use crate::base::time::ManualClock;
use crate::node::{Node, Parts};

/// A node whose generator is in the same state each time, as in a copy of a machine.
fn node(entropy: Option<Entropy>) -> Arc<Node> {
    Node::new(Parts { entropy, ..Parts::for_tests(Arc::new(ManualClock::new(0))) })
}

fn drawn(node: &Node) -> (u64, u64) {
    let mut rng = node.shared.split_randomness("oap");
    (rng.secret.u64(), rng.public.u64())
}

#[test]
fn copies_of_a_stack_share_no_keys_after_one_exchange() {
    let system: Entropy = |bytes| getrandom::fill(bytes).is_ok();
    let (first, copy) = (drawn(&node(Some(system))), drawn(&node(Some(system))));
    assert_ne!(first.0, copy.0);
    assert_ne!(first.1, copy.1);
    // One that is to be repeated is, and so is one whose system has no answer.
    assert_eq!(drawn(&node(None)), drawn(&node(None)));
    assert_eq!(drawn(&node(Some(|_| false))), drawn(&node(None)));
}
