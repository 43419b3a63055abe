//! Broadcast layers in virtual time.

use o7s::device::Mac;
use o7s::ipcp::Component;
use o7s::ipcp::connect::enroll::Applicant;
use o7s::sim::{Host, Link, Loss, Network};
use o7s::{BroadcastLayer, ConnectOptions, Flow, IpcpHandle, JoinError, MemberError, Name, UnicastLayer};

use super::world::layer::{address, name};
use super::world::{ms, secs};

/// Members `node-0` and so on, each on a host of its own, with a program at each.
struct Layer {
    net: Network,
    hosts: Vec<Host>,
    members: Vec<IpcpHandle>,
    programs: Vec<Flow>,
}

/// Repeats `attempt` until it succeeds. At 20 % loss one attempt in four or five gives up, as handshakes are sent a few
/// times only, so it is made again, as a user would.
fn insist<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    for _ in 0..4 {
        if let Ok(done) = attempt() {
            return done;
        }
    }
    attempt().unwrap()
}

impl Layer {
    fn new(net: Network, n: usize, edges: &[(usize, usize)]) -> Self {
        let hosts: Vec<_> = (0..n).map(|i| host(&net, i)).collect();
        let mut members = vec![builder(&hosts[0], 0).bootstrap(BroadcastLayer::new("news")).unwrap()];
        for (i, host) in hosts.iter().enumerate().skip(1) {
            members.push(insist(|| net.block_on(builder(host, i).enroll_async("node-0"))));
        }
        for (a, b) in edges {
            insist(|| net.block_on(members[*a].connect_async(&name(*b))));
        }
        let programs = hosts.iter().map(|host| host.stack().join("news").unwrap()).collect();
        // So that nothing is taken for a late handshake.
        net.block_on(net.sleep(secs(2)));
        Self { net, hosts, members, programs }
    }

    fn wait(&self, seconds: u64) {
        self.net.block_on(self.net.sleep(secs(seconds)));
    }

    /// Returns the packets that have arrived at a program.
    fn heard(&self, program: usize) -> Vec<String> {
        let mut buf = [0; 2000];
        let read = || {
            let n = self.programs[program].try_read(&mut buf).ok()?;
            Some(String::from_utf8_lossy(&buf[..n]).into_owned())
        };
        core::iter::from_fn(read).collect()
    }

    /// Has a program say something. All others hear it once.
    fn say(&self, program: usize, what: &str) {
        self.programs[program].write(what.as_bytes()).unwrap();
        self.wait(1);
        for other in 0..self.programs.len() {
            let expected: &[&str] = if other == program { &[] } else { &[what] };
            assert_eq!(self.heard(other), expected, "program {other} when {program} said {what}");
        }
    }

    fn forwarded(&self) -> u64 {
        let of = |(i, host): (usize, &Host)| {
            let path = format!("ipcps/{}/flood/forwarded", name(i));
            host.stack().rib().get(&path).unwrap_or_else(|| panic!("{}", host.stack().rib()))
        };
        self.hosts.iter().enumerate().map(of).sum()
    }
}

fn host(net: &Network, i: usize) -> Host {
    let host = net.host(&format!("host-{i}")).udp4(&address(i)).build();
    let addr = host.udp4()[0].local_addr().unwrap();
    net.names().insert_at(&Name::new(&name(i)).unwrap(), addr);
    host
}

fn builder(host: &Host, i: usize) -> o7s::BroadcastBuilder {
    host.stack().broadcast(&name(i)).over(&host.udp4()[0])
}

fn net(seed: u64) -> Network {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ms(2)));
    net
}

#[test]
fn all_members_of_a_tree_hear_each_other() {
    let layer = Layer::new(net(1), 5, &[(1, 0), (2, 0), (3, 1), (4, 1)]);
    for program in 0..5 {
        layer.say(program, &format!("I am {program}"));
    }
    // Two programs at one member hear each other.
    let neighbour = layer.hosts[3].stack().join("news").unwrap();
    layer.say(3, "hello");
    let mut buf = [0; 64];
    assert_eq!(neighbour.read(&mut buf), Ok(5));
    // One that leaves is gone.
    drop(neighbour);
    layer.say(3, "anybody?");
}

#[test]
fn a_loop_is_survived() {
    let layer = Layer::new(net(2), 4, &[(1, 0), (2, 1), (3, 2), (0, 3), (1, 3), (0, 1)]);
    for program in 0..4 {
        layer.say(program, &format!("round and round {program}"));
    }
    let before = layer.forwarded();
    layer.wait(60);
    assert_eq!(layer.forwarded(), before, "nothing goes around");
    for _ in 0..3 {
        layer.say(2, "again");
    }
}

#[test]
fn a_neighbour_that_was_lost_is_connected_again() {
    let layer = Layer::new(net(3), 3, &[(1, 0), (2, 1)]);
    layer.say(0, "one");
    layer.net.partition(&[address(0).as_str()], &[address(1).as_str()]);
    layer.wait(30);
    layer.programs[0].write(b"nobody hears this").unwrap();
    layer.wait(1);
    assert_eq!(layer.heard(2), Vec::<String>::new());
    assert!(layer.members[1].connections().iter().all(|c| c.destination.is_none()), "the silent one is given up");
    layer.net.heal();
    layer.wait(60);
    layer.say(0, "two");
    layer.say(2, "three");
}

#[test]
fn enrollment_survives_a_bad_network() {
    let net = net(4);
    net.set_default_link(Link::default().latency(ms(5)).loss(Loss::Random(0.2)));
    let layer = Layer::new(net, 4, &[(1, 0), (2, 1), (3, 2)]);
    layer.net.set_default_link(Link::default().latency(ms(5)));
    layer.wait(1);
    layer.programs[3].write(b"made it").unwrap();
    layer.wait(2);
    assert_eq!(layer.heard(0), ["made it"]);
}

#[test]
fn a_member_that_leaves_is_gone_at_once() {
    let layer = Layer::new(net(8), 3, &[(1, 0), (2, 1)]);
    for other in [0, 2] {
        layer.net.set_link_between(
            address(1).as_str(),
            address(other).as_str(),
            Link::default().loss(Loss::Random(1.0)),
        );
    }
    layer.members[1].clone().leave();
    layer.net.run_for(ms(10));
    for other in [0, 2] {
        layer.net.set_link_between(address(1).as_str(), address(other).as_str(), Link::default().latency(ms(2)));
    }
    layer.wait(1);
    for other in [0, 2] {
        assert_eq!(layer.members[other].connections(), [], "{other} has noticed");
    }
}

#[test]
fn a_layer_is_joined_where_there_is_a_member() {
    let layer = Layer::new(net(5), 2, &[(1, 0)]);
    let stack = layer.hosts[0].stack();
    assert!(matches!(stack.join("olds"), Err(JoinError::NoLayer(_))));
    assert!(matches!(stack.join(""), Err(JoinError::Name(_))));
    // It is a broadcast layer, in which nothing is registered or called.
    assert!(layer.members[0].register("name").is_err());
    let flow = &layer.programs[0];
    assert_eq!(flow.max_packet(), 1399);
    assert!(flow.write(&[0; 1400]).is_err());
    assert!(layer.members[0].connect_with("node-1", ConnectOptions::new().component(Component::Management)).is_err());
    // When the member leaves, the programs are told.
    layer.members[0].clone().leave();
    assert!(flow.write(b"hello?").is_err());
    assert!(stack.join("news").is_err());
}

/// The programs that have joined find out by asking, whether something is sent meanwhile or not.
#[test]
fn packets_are_as_large_as_the_devices_take_now() {
    let net = net(9);
    let switch = net.switch();
    let hosts = [1, 2].map(|i| net.host(&format!("h{i}")).eth(&switch, Mac([2, 0, 0, 0, 0, i])).build());
    let builder = |i: usize| hosts[i].stack().broadcast(&name(i)).over(&hosts[i].eth()[0]);
    let first = builder(0).bootstrap(BroadcastLayer::new("news")).unwrap();
    let second = net.block_on(builder(1).enroll_async("node-0")).unwrap();
    net.block_on(second.connect_async("node-0")).unwrap();
    let joined = hosts[0].stack().join("news").unwrap();
    let before = joined.max_packet();
    for sends in [true, false] {
        for mtu in [600, 1500, 1000, 600, 1500] {
            hosts.iter().for_each(|host| host.interfaces()[0].set_mtu(mtu));
            net.run_for(secs(1));
            if sends {
                let _ = joined.try_write(&[1; 500]);
            }
            net.run_for(secs(1));
            let max = before.min(mtu - 4);
            assert_eq!(joined.max_packet(), max, "{mtu} bytes, and sends: {sends}");
            assert_eq!(first.rib().get("max_packet"), Some(max as u64));
        }
    }
}

#[test]
fn a_member_of_another_kind_is_not_admitted() {
    let net = net(6);
    let (a, b) = (host(&net, 0), host(&net, 1));
    let _first = builder(&a, 0).bootstrap(BroadcastLayer::new("news")).unwrap();
    let unicast = b.stack().unicast("node-1").over(&b.udp4()[0]);
    let error = net.block_on(unicast.enroll_async("node-0")).unwrap_err();
    assert!(error.to_string().contains("enrollment failed"), "{error}");

    let (c, d) = (host(&net, 2), host(&net, 3));
    let _second = c.stack().unicast("node-2").over(&c.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    assert!(net.block_on(builder(&d, 3).enroll_async("node-2")).is_err());
}

#[test]
fn admission_policy_refuses_a_joiner() {
    let net = net(7);
    let (a, b) = (host(&net, 0), host(&net, 1));
    let nobody = std::sync::Arc::new(|_: &Applicant| Err(-13));
    let _first = builder(&a, 0).admission(nobody).bootstrap(BroadcastLayer::new("news")).unwrap();
    let error = net.block_on(builder(&b, 1).enroll_async("node-0")).unwrap_err();
    assert_eq!(error, MemberError::Denied(-13));
    assert!(net.now().as_nanos() < 3_000_000_000, "a denial is final");
}
