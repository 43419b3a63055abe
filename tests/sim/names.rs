//! Names that move: between the members of a layer, the hosts of a table, and layers.

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};

use o7s::ipcp::shim::resolve::{Found, HostTable, Resolver};
use o7s::node::Limits;
use o7s::sim::{Host, Link, Network};
use o7s::types::code::Code;
use o7s::types::name::NameHash;
use o7s::{AllocError, ConnectOptions, Eth, Listener, Name, QosSpec, Udp4, UnicastLayer};

use super::world::layer::{Layer, noticed_after};
use super::world::{ms, secs, topology};

fn network(seed: u64) -> Network {
    let net = Network::new(seed);
    net.set_default_link(Link::default().latency(ms(1)));
    net
}

/// Allocates a flow, and says how long that took.
fn allocate(net: &Network, from: &Host, name: &str) -> (Result<(), AllocError>, Duration) {
    let began = net.now();
    let flow = from.stack().flow(name).qos(QosSpec::RAW).timeout(secs(10));
    let done = net.block_on(flow.alloc_async()).map(drop);
    (done, net.now() - began)
}

/// Accepts flows under a name for as long as it is kept.
fn accept(net: &Network, at: &Host, name: &str) -> Arc<Listener> {
    let listener = Arc::new(at.stack().bind(name).unwrap());
    let weak = Arc::downgrade(&listener);
    net.spawn(async move {
        let mut kept = Vec::new();
        while let Some(listener) = weak.upgrade() {
            let Ok(accept) = listener.accept_async().await else { break };
            kept.push(accept);
        }
    });
    listener
}

// ----- members of a layer -----

fn star(seed: u64, n: usize) -> Layer {
    let layer =
        Layer::build_with(network(seed), n, &topology::star(n), UnicastLayer::new("net"), ConnectOptions::new());
    layer.converge(secs(10));
    layer
}

fn serve(layer: &Layer, i: usize) {
    let listener = layer.hosts[i].stack().bind("svc").unwrap();
    layer.members[i].register("svc").unwrap();
    layer.net.spawn(async move {
        let mut kept = Vec::new();
        while let Ok(flow) = listener.accept_async().await {
            kept.push(flow);
        }
    });
}

fn locate(layer: &Layer, by: usize) -> Vec<usize> {
    let numbers = layer.numbers();
    let found = layer.net.block_on(layer.members[by].locate_async("svc")).unwrap();
    found.into_iter().map(|address| numbers[&address]).collect()
}

#[test]
fn a_moving_name_is_reached_at_once() {
    let layer = star(3, 4);
    serve(&layer, 1);
    layer.net.run_for(secs(3));
    let (done, _) = allocate(&layer.net, &layer.hosts[3], "svc");
    assert_eq!(done, Ok(()));
    layer.members[1].unregister("svc");
    serve(&layer, 2);
    // It has been found before, and nothing has arrived yet that says anything else.
    let (done, took) = allocate(&layer.net, &layer.hosts[3], "svc");
    assert_eq!(done, Ok(()));
    assert!(took < ms(100), "{took:?}");
    layer.net.run_for(secs(1));
    assert_eq!(locate(&layer, 3), [2], "members without the name are not returned");
    // And back, within the hour.
    layer.net.run_for(secs(60));
    layer.members[2].unregister("svc");
    layer.members[1].register("svc").unwrap();
    layer.net.run_for(secs(1));
    for minute in 0..60 {
        assert_eq!(locate(&layer, 3), [1], "minute {minute}");
        let (done, took) = allocate(&layer.net, &layer.hosts[3], "svc");
        assert_eq!(done, Ok(()), "minute {minute}");
        assert!(took < ms(100), "{took:?}");
        layer.net.run_for(secs(60));
    }
    layer.members[1].unregister("svc");
    layer.net.run_for(ms(100));
    assert!(locate(&layer, 3).is_empty(), "its owner has taken it back");
}

#[test]
fn after_a_refusal_the_next_member_is_asked_at_once() {
    let layer = star(5, 5);
    // Registered at three members, of which two accept nothing.
    for i in [1, 2] {
        layer.members[i].register("svc").unwrap();
    }
    serve(&layer, 3);
    layer.net.run_for(secs(3));
    assert_eq!(locate(&layer, 4).len(), 3);
    for _ in 0..5 {
        let (done, took) = allocate(&layer.net, &layer.hosts[4], "svc");
        assert_eq!(done, Ok(()));
        assert!(took < ms(100), "{took:?}");
        layer.net.run_for(secs(15));
    }
    // All refuse: that is an answer, and comes soon.
    layer.members[3].unregister("svc");
    layer.net.run_for(secs(15));
    let (done, took) = allocate(&layer.net, &layer.hosts[4], "svc");
    assert_eq!(done.map_err(|e| e.code()), Err(Code::NAME));
    assert!(took < secs(3), "{took:?}");
}

#[test]
fn a_leaving_member_withdraws_its_names() {
    let layer = star(11, 5);
    serve(&layer, 1);
    serve(&layer, 2);
    layer.net.run_for(secs(3));
    assert_eq!(locate(&layer, 4).len(), 2);
    layer.members[1].clone().leave();
    layer.net.run_for(secs(1));
    let left = layer.net.block_on(layer.members[4].locate_async("svc")).unwrap();
    assert_eq!(left, [layer.address(2)]);
}

#[test]
fn a_restarted_member_is_found_despite_stale_addresses() {
    let net = network(7);
    let mut layer = Layer::build_with(net, 5, &topology::star(5), UnicastLayer::new("net"), noticed_after(secs(1)));
    layer.converge(secs(10));
    serve(&layer, 2);
    layer.net.run_for(secs(3));
    assert_eq!(allocate(&layer.net, &layer.hosts[4], "svc").0, Ok(()));
    layer.crash(2);
    let joining = layer.revive(2).unwrap();
    let member = layer.net.block_on(joining).unwrap();
    layer.revived(2, member);
    serve(&layer, 2);
    layer.net.run_for(secs(1));
    let (done, took) = allocate(&layer.net, &layer.hosts[4], "svc");
    assert_eq!(done, Ok(()));
    // It is known under two addresses, and asked at both.
    assert!(took < secs(2), "{took:?}");
}

// ----- hosts -----

/// Three hosts: a client with a table of its own, and two who have a UDP layer.
struct Hosts {
    net: Network,
    client: Host,
    a: Host,
    b: Host,
    at: [SocketAddr; 2],
}

impl Hosts {
    fn new(client: impl FnOnce(Udp4) -> Udp4) -> Self {
        let net = network(1);
        let own = client(Udp4::bind("10.0.0.9").system_resolver(false));
        let client = net.host("client").udp4_with("10.0.0.9", own).build();
        let (a, b) = (net.host("a").udp4("10.0.0.1").build(), net.host("b").udp4("10.0.0.2").build());
        let at = [&a, &b].map(|host| host.udp4()[0].local_addr().unwrap());
        [&a, &b].into_iter().for_each(|host| host.udp4()[0].register("svc").unwrap());
        Self { net, client, a, b, at }
    }
}

#[test]
fn changes_of_the_host_table_count_at_once() {
    let table = HostTable::new();
    let hosts = Hosts::new(|udp| udp.table(&table));
    let name = Name::new("svc").unwrap();
    table.insert_at(&name, hosts.at[0]);
    let first = accept(&hosts.net, &hosts.a, "svc");
    assert_eq!(allocate(&hosts.net, &hosts.client, "svc").0, Ok(()));
    let _second = accept(&hosts.net, &hosts.b, "svc");
    drop(first);
    hosts.a.udp4()[0].unregister("svc");
    // It refuses, and there is no other.
    assert_eq!(allocate(&hosts.net, &hosts.client, "svc").0.map_err(|e| e.code()), Err(Code::NAME));
    table.insert_at(&name, hosts.at[1]);
    let (done, took) = allocate(&hosts.net, &hosts.client, "svc");
    assert_eq!(done, Ok(()));
    assert!(took < ms(100), "{took:?}");
    // And while a request is under way to a silent host.
    table.insert_at(&name, "10.0.0.77:3435".parse().unwrap());
    let (late, right) = (hosts.net.clone(), hosts.at[1]);
    hosts.net.spawn(async move {
        late.sleep(ms(500)).await;
        table.insert_at(&name, right);
    });
    let (done, took) = allocate(&hosts.net, &hosts.client, "svc");
    assert_eq!(done, Ok(()));
    assert!(took < secs(2), "{took:?}");
}

/// A resolver that answers later, and is remembered.
struct Slow {
    at: Mutex<SocketAddr>,
    asked: Mutex<u32>,
}

impl Resolver for Slow {
    fn resolve(&self, _: &NameHash, found: Found) {
        *self.asked.lock().unwrap() += 1;
        found.answer(Some(*self.at.lock().unwrap()));
    }
}

#[test]
fn wrong_answers_of_resolvers_are_asked_again() {
    let slow = Arc::new(Slow { at: Mutex::new("10.0.0.1:3435".parse().unwrap()), asked: Mutex::new(0) });
    let resolver = Arc::clone(&slow) as Arc<dyn Resolver>;
    let hosts = Hosts::new(|udp| udp.resolver(resolver));
    let first = accept(&hosts.net, &hosts.a, "svc");
    for _ in 0..3 {
        assert_eq!(allocate(&hosts.net, &hosts.client, "svc").0, Ok(()));
    }
    assert_eq!(*slow.asked.lock().unwrap(), 1, "it is remembered");
    drop(first);
    hosts.a.udp4()[0].unregister("svc");
    let _second = accept(&hosts.net, &hosts.b, "svc");
    *slow.at.lock().unwrap() = hosts.at[1];
    let (done, took) = allocate(&hosts.net, &hosts.client, "svc");
    assert_eq!(done, Ok(()));
    assert!(took < ms(100), "{took:?}");
    // One who stays with what was wrong is not asked without end.
    hosts.b.udp4()[0].unregister("svc");
    let before = *slow.asked.lock().unwrap();
    let (done, took) = allocate(&hosts.net, &hosts.client, "svc");
    assert_eq!(done.map_err(|e| e.code()), Err(Code::NAME));
    assert!(took < ms(100) && *slow.asked.lock().unwrap() <= before + 2, "{took:?}");
}

/// Keeps questions until somebody answers them.
#[derive(Default)]
struct Later(Mutex<Vec<Found>>);

impl Resolver for Later {
    fn resolve(&self, _: &NameHash, found: Found) {
        self.0.lock().unwrap().push(found);
    }
}

#[test]
fn a_resolver_may_take_as_long_as_the_flow_has() {
    let later = Arc::new(Later::default());
    let resolver = Arc::clone(&later) as Arc<dyn Resolver>;
    let hosts = Hosts::new(|udp| udp.resolver(resolver));
    let _accepts = accept(&hosts.net, &hosts.a, "svc");
    let (net, questions) = (hosts.net.clone(), Arc::clone(&later));
    hosts.net.spawn(async move {
        net.sleep(secs(4)).await;
        let asked = core::mem::take(&mut *questions.0.lock().unwrap());
        asked.into_iter().for_each(|found| found.answer(Some("10.0.0.1:3435".parse().unwrap())));
    });
    let (done, took) = allocate(&hosts.net, &hosts.client, "svc");
    assert_eq!(done, Ok(()));
    assert!(took >= secs(4) && took < ms(4100), "{took:?}");
    // One that never answers is not taken for one that says that the name is nowhere.
    let never = Err(AllocError::LookupTimedOut(Name::new("never").unwrap()));
    assert_eq!(allocate(&hosts.net, &hosts.client, "never"), (never, secs(10)));
    // One that forgets the question has said so.
    let questions = Arc::clone(&later);
    hosts.net.spawn(async move { questions.0.lock().unwrap().clear() });
    let nowhere = Err(AllocError::Unreachable(Name::new("never").unwrap()));
    let (done, took) = allocate(&hosts.net, &hosts.client, "never");
    assert_eq!(done, nowhere);
    assert!(took < ms(100), "{took:?}");
}

#[test]
fn as_many_as_there_are_may_wait_for_a_name() {
    let later = Arc::new(Later::default());
    let table = HostTable::new();
    let hosts = Hosts::new(|udp| udp.table(&table).resolver(Arc::clone(&later) as Arc<dyn Resolver>));
    let _accepts = accept(&hosts.net, &hosts.a, "svc");
    // Those that gave up are not waited for, and take nobody's place.
    let asks = |timeout| {
        let flow = hosts.client.stack().flow("svc").qos(QosSpec::RAW).timeout(timeout);
        hosts.net.spawn(async move { flow.alloc_async().await.map(drop) })
    };
    let given_up: Vec<_> = (0..64).map(|_| asks(ms(500))).collect();
    let waiting: Vec<_> = (0..100).map(|_| asks(secs(10))).collect();
    hosts.net.run_for(secs(3));
    core::mem::take(&mut *later.0.lock().unwrap()).into_iter().for_each(|found| found.answer(Some(hosts.at[0])));
    assert!(given_up.into_iter().all(|asked| hosts.net.block_on(asked).is_err()));
    let done: Vec<_> = waiting.into_iter().map(|asked| hosts.net.block_on(asked)).collect();
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 100, "{:?}", done.iter().find(|done| done.is_err()));
}

#[test]
fn a_table_is_heeded_while_a_resolver_is_stuck() {
    let later = Arc::new(Later::default());
    let table = HostTable::new();
    let hosts = Hosts::new(|udp| udp.table(&table).resolver(Arc::clone(&later) as Arc<dyn Resolver>));
    let _accepts = accept(&hosts.net, &hosts.a, "svc");
    let (net, at) = (hosts.net.clone(), hosts.at[0]);
    hosts.net.spawn(async move {
        net.sleep(secs(3)).await;
        table.insert_at(&Name::new("svc").unwrap(), at);
    });
    let (done, took) = allocate(&hosts.net, &hosts.client, "svc");
    assert_eq!(done, Ok(()));
    assert!(took <= secs(4), "{took:?}");
}

/// Answers a moment later, and never knows.
struct Nowhere(mpsc::SyncSender<Found>);

impl Resolver for Nowhere {
    fn resolve(&self, _: &NameHash, found: Found) {
        self.0.send(found).unwrap();
    }
}

#[test]
fn an_answer_that_is_not_remembered_is_one_all_the_same() {
    let (asked, questions) = mpsc::sync_channel(8);
    let hosts = Hosts::new(|udp| udp.directory_ttl(secs(60), secs(0)).resolver(Arc::new(Nowhere(asked))));
    let net = hosts.net.clone();
    let answers = hosts.net.spawn(async move {
        let mut count = 0;
        for _ in 0..200 {
            net.sleep(ms(5)).await;
            count += questions.try_iter().map(|found| found.answer(None)).count();
        }
        count
    });
    let (done, took) = allocate(&hosts.net, &hosts.client, "nobody");
    assert_eq!((done, took), (Err(AllocError::Unreachable(Name::new("nobody").unwrap())), ms(5)));
    assert_eq!(hosts.net.block_on(answers), 1);
}

/// A member whose neighbours are gone looks for a name once as long as a lookup may take, and is quick about it then.
#[test]
fn a_member_that_is_cut_off_does_not_look_without_end() {
    for leaves in [true, false] {
        let mut layer = star(5, 2);
        let nobody = Err(AllocError::Unreachable(Name::new("nobody").unwrap()));
        let asks = |layer: &Layer| allocate(&layer.net, &layer.hosts[0], "nobody");
        assert!(matches!(asks(&layer), (done, took) if done == nobody && took < ms(100)));
        if leaves {
            layer.members[1].clone().leave()
        } else {
            layer.crash(1)
        }
        layer.net.run_for(secs(60));
        let (done, took) = asks(&layer);
        assert!(done == nobody && took <= secs(5), "{done:?} after {took:?}");
        layer.net.run_for(secs(60));
        let (done, took) = asks(&layer);
        assert!(done == nobody && took <= secs(2), "{done:?} after {took:?}");
    }
}

/// An attempt that is cut short has found out nothing, and does not hide what the one before it has.
#[test]
fn enrolling_says_what_was_found_out() {
    for limit in [2500, 3000, 4000, 5500, 8000] {
        let net = network(1);
        let switch = net.switch();
        let client = net.host("client").eth_with(&switch, "02:00:00:00:00:01", Eth::dix("sim")).build();
        let member = client.stack().unicast("me").over(&client.eth()[0]).timeout(ms(limit));
        let failed = net.block_on(member.enroll_async("nobody")).map(drop).unwrap_err().to_string();
        assert!(failed.contains("no layer of this stack knows"), "{limit} ms: {failed}");
    }
}

/// Asks a name. Returns the first byte that is read.
fn asked(net: &Network, from: &Host, name: &str) -> Result<u8, AllocError> {
    let flow = from.stack().flow(name).timeout(secs(5));
    let flow = net.block_on(flow.alloc_async())?;
    Ok(net.block_on(flow.read_bytes()).unwrap()[0])
}

/// A host that sends `number` to each client of "svc".
fn says(net: &Network, addr: &str, number: u8) -> Host {
    let host = net.host("server").udp4(addr).build();
    let listener = host.stack().bind("svc").unwrap();
    host.udp4()[0].register("svc").unwrap();
    net.spawn(async move {
        while let Ok(flow) = listener.accept_async().await {
            flow.write(&[number]).await.unwrap();
        }
    });
    host
}

#[test]
fn registered_names_are_known_to_all_hosts() {
    let net = network(3);
    let client = net.host("client").udp4("10.0.0.9").build();
    let unreachable = Err(AllocError::Unreachable(Name::new("svc").unwrap()));
    assert_eq!(asked(&net, &client, "svc"), unreachable);
    let first = says(&net, "10.0.0.1", 1);
    let second = says(&net, "10.0.0.2", 2);
    assert_eq!(asked(&net, &client, "svc"), Ok(1), "who came first");
    first.udp4()[0].unregister("svc");
    assert_eq!(asked(&net, &client, "svc"), Ok(2));
    // A crash removes the names of the host, which cannot do it any more; the end of the former host does not affect
    // the next one.
    second.crash();
    assert_eq!(asked(&net, &client, "svc"), unreachable);
    let _third = says(&net, "10.0.0.2", 3);
    drop(second);
    assert_eq!(asked(&net, &client, "svc"), Ok(3));
    // A table counts more.
    net.names().insert(&Name::new("svc").unwrap(), "10.0.0.1".parse().unwrap());
    assert_eq!(asked(&net, &client, "svc").map_err(|e| e.code()), Err(Code::NAME));
}

#[test]
fn members_of_layers_over_udp_need_no_table() {
    let net = network(4);
    let host = |i: usize| net.host(&format!("host-{i}")).udp4(&format!("10.0.0.{i}")).build();
    let (a, b, c) = (host(1), host(2), host(3));
    let first = a.stack().unicast("first").over(&a.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    first.register("svc").unwrap();
    let _accepts = accept(&net, &a, "svc");
    for (host, name, by) in [(&b, "second", "first"), (&c, "third", "net")] {
        let member = host.stack().unicast(name).over(&host.udp4()[0]);
        let member = net.block_on(member.enroll_async(by)).unwrap();
        net.block_on(member.connect_async("first")).unwrap();
    }
    assert_eq!(allocate(&net, &c, "svc").0, Ok(()));
}

/// A host with a member bound to `own`, whose table knows where "svc" is, and a server of it bound to `at`.
fn ports(own: &str, udp: impl FnOnce(Udp4) -> Udp4, at: &str) -> Result<(), AllocError> {
    let net = network(2);
    let server = net.host("server").udp4(at).build();
    server.udp4()[0].register("svc").unwrap();
    let _accepts = accept(&net, &server, "svc");
    let client = net.host("client").udp4_with(own, udp(Udp4::bind(own).system_resolver(false))).build();
    let flow = client.stack().flow("svc").timeout(secs(3));
    net.block_on(flow.alloc_async()).map(drop)
}

#[test]
fn hosts_are_called_at_their_port_or_that_of_the_layer() {
    let without = |udp: Udp4| udp.host("svc", "10.0.0.1");
    // Wherever the caller is bound.
    assert_eq!(ports("10.0.0.2:4000", without, "10.0.0.1:3435"), Ok(()));
    assert_eq!(ports("10.0.0.2", |udp| udp.host("svc", "10.0.0.1:4000"), "10.0.0.1:4000"), Ok(()));
    assert_eq!(ports("10.0.0.2:5000", |udp| udp.port(4000).host("svc", "10.0.0.1"), "10.0.0.1:4000"), Ok(()));
    let timed_out = Err(AllocError::TimedOut(Name::new("svc").unwrap()));
    assert_eq!(ports("10.0.0.2:4000", without, "10.0.0.1:4000"), timed_out, "4000 is not the port of this layer");
}

// ----- layers -----

/// A client with two layers, in both of which the name is known: in the first at a host that is no help.
fn two_layers(first: impl FnOnce(Udp4) -> Udp4, at: SocketAddr) -> (Hosts, Host) {
    let hosts = Hosts::new(|udp| udp);
    let (bad, good) = (HostTable::new(), HostTable::new());
    let name = Name::new("svc").unwrap();
    bad.insert_at(&name, at);
    good.insert_at(&name, hosts.at[1]);
    let layer = |ip, table: &Arc<HostTable>| Udp4::bind(ip).system_resolver(false).table(table);
    let client = hosts
        .net
        .host("two")
        .udp4_with("10.0.0.10", first(layer("10.0.0.10", &bad).name("first").priority(1)))
        .udp4_with("10.0.0.11", layer("10.0.0.11", &good).name("second"))
        .build();
    (hosts, client)
}

#[test]
fn after_a_refusal_the_next_layer_is_asked() {
    let (hosts, client) = two_layers(|udp| udp, "10.0.0.1:3435".parse().unwrap());
    let _second = accept(&hosts.net, &hosts.b, "svc");
    // Known there, without an acceptor.
    let (done, took) = allocate(&hosts.net, &client, "svc");
    assert_eq!(done, Ok(()));
    assert!(took < ms(100), "{took:?}");
}

#[test]
fn after_silence_the_next_layer_is_asked() {
    let (hosts, client) = two_layers(|udp| udp, "10.0.0.77:3435".parse().unwrap());
    let _second = accept(&hosts.net, &hosts.b, "svc");
    let (done, took) = allocate(&hosts.net, &client, "svc");
    assert_eq!(done, Ok(()));
    assert!(took < secs(2), "{took:?}");
    // With less time as well.
    for limit in [ms(200), secs(1)] {
        let flow = client.stack().flow("svc").qos(QosSpec::RAW).timeout(limit);
        assert_eq!(hosts.net.block_on(flow.alloc_async()).map(drop), Ok(()), "{limit:?}");
    }
}

#[test]
fn after_busy_and_silence_the_next_layer_is_asked() {
    let (hosts, client) = two_layers(|udp| udp, "10.0.0.3:3435".parse().unwrap());
    let limits = Limits::default().backlog(1);
    let busy = hosts.net.host("busy").udp4("10.0.0.3").stack(|s| s.limits(limits)).build();
    busy.udp4()[0].register("svc").unwrap();
    let _nobody_accepts = busy.stack().bind("svc").unwrap();
    let _second = accept(&hosts.net, &hosts.b, "svc");
    let done = Arc::new(Mutex::new(Vec::new()));
    // The first one waits there, so the second one is told to come again.
    for _ in 0..2 {
        let (stack, done) = (client.stack().clone(), Arc::clone(&done));
        hosts.net.spawn(async move {
            let flow = stack.flow("svc").qos(QosSpec::RAW).timeout(secs(10)).alloc_async().await;
            done.lock().unwrap().push(flow.map(drop));
        });
        hosts.net.run_for(ms(10));
    }
    assert!(busy.stack().rib().get("node/backlog_full") > Some(0), "a requester was told so");
    busy.crash();
    hosts.net.run_for(secs(4));
    assert_eq!(*done.lock().unwrap(), [Ok(()), Ok(())]);
}

#[test]
fn if_the_request_does_not_fit_the_next_layer_is_asked() {
    let (hosts, client) = two_layers(|udp| udp.max_mgmt(64), "10.0.0.1:3435".parse().unwrap());
    let _second = accept(&hosts.net, &hosts.b, "svc");
    let (done, took) = allocate(&hosts.net, &client, "svc");
    assert_eq!(done, Ok(()));
    assert!(took < ms(100), "{took:?}");
}

#[test]
fn without_a_route_the_next_layer_is_asked() {
    let net = network(9);
    let mut layer = Layer::build_with(net, 3, &topology::line(3), UnicastLayer::new("net"), noticed_after(secs(1)));
    layer.converge(secs(10));
    serve(&layer, 2);
    layer.net.run_for(secs(3));
    assert_eq!(allocate(&layer.net, &layer.hosts[0], "svc").0, Ok(()));
    // The only one between them is gone; the server is reached by UDP as well.
    layer.hosts[2].udp4()[0].register("svc").unwrap();
    let at = layer.hosts[2].udp4()[0].local_addr().unwrap();
    layer.net.names().insert_at(&Name::new("svc").unwrap(), at);
    layer.crash(1);
    layer.net.run_for(secs(5));
    let (done, took) = allocate(&layer.net, &layer.hosts[0], "svc");
    assert_eq!(done, Ok(()));
    assert!(took < ms(100), "{took:?}");
}
