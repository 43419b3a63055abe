use super::*;
use crate::routing::policy::Paths;

#[derive(Debug)]
struct First;

impl RoutingPolicy for First {
    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>) {
        hops.push(paths.first());
    }
}

#[test]
fn addresses_that_no_member_can_have_are_refused() {
    let stack = Stack::builder().polled().build().unwrap();
    let member = |address| {
        let config = unicast::Config::default().address(Some(Address(address)));
        stack.unicast(&format!("m{address:x}")).config(config).bootstrap(UnicastLayer::new("net"))
    };
    for invalid in [0, 1 << 32, u64::MAX] {
        let refused = member(invalid).unwrap_err();
        assert!(matches!(refused, MemberError::Parameter { field: "address", .. }), "{refused}");
    }
    for valid in [1, u64::from(u32::MAX)] {
        assert_eq!(member(valid).unwrap().address(), Some(Address(valid)));
    }
}

#[test]
fn settings_of_a_member_keep_its_routing_policy() {
    let stack = Stack::builder().polled().build().unwrap();
    let config = unicast::Config::default().max_flows(7);
    let before = stack.unicast("a").routing(Arc::new(First)).config(config.clone()).config;
    let after = stack.unicast("a").config(config).routing(Arc::new(First)).config;
    for config in [before, after] {
        assert_eq!((config.max_flows, config.routing.is_some()), (7, true));
    }
}
