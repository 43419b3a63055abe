use super::super::LocalConfig;
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

/// What is connected over a chosen layer and over whichever is connected once in a broadcast layer, where a second
/// connection would be a loop. In a unicast layer it is another way.
#[test]
fn one_neighbour_is_connected_once_in_a_broadcast_layer() {
    for chosen_first in [false, true] {
        let stack = Stack::new().unwrap();
        let wire = stack.local(LocalConfig::new("wire", "wire"));
        let _first = stack.broadcast("b1").over(&wire).bootstrap(BroadcastLayer::new("news")).unwrap();
        let _other = stack.unicast("u1").over(&wire).bootstrap(UnicastLayer::new("net")).unwrap();
        let (news, net) = (stack.broadcast("b2").over(&wire), stack.unicast("u2").over(&wire));
        for (member, to, connections) in [(news.enroll("b1").unwrap(), "b1", 1), (net.enroll("u1").unwrap(), "u1", 4)] {
            for chosen in [chosen_first, !chosen_first] {
                let options = if chosen { ConnectOptions::new().over(&wire) } else { ConnectOptions::new() };
                member.connect_with(to, options).unwrap();
            }
            assert_eq!(member.connections().len(), connections, "to {to}, over the chosen first: {chosen_first}");
            assert!(member.disconnect(to) && member.connections().is_empty() && !member.disconnect(to));
        }
    }
}
