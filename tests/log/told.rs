//! Log records: their events and levels, and what they never contain.

use std::time::Duration;

use log::Level;
use o7s::crypto::suite::Kex;
use o7s::sim::Network;
use o7s::{ConnectOptions, LocalConfig, QosSpec, SecurityConfig, Stack, UnicastLayer};

use super::collect::{self, Record};
use super::{echo, hosts, security};

/// The first of the records whose text has `what` in it.
pub(super) fn find<'a>(records: &'a [Record], what: &str) -> &'a Record {
    let texts = || records.iter().map(|r| format!("{} {}", r.level, r.all())).collect::<Vec<_>>().join("\n");
    records.iter().find(|r| r.text.contains(what)).unwrap_or_else(|| panic!("{what:?} is not among\n{}", texts()))
}

#[test]
fn life_of_stack_layer_and_flow_is_info() {
    collect::install();
    let net = Network::new(1);
    let (server, client) = hosts(&net, "life", security("cipher=aes-256-gcm\n"));
    echo(&net, &server, &client, b"hello");
    server.stack().shutdown();
    let records: Vec<_> = collect::take("life-server").into_iter().filter(|r| r.level <= Level::Info).collect();
    assert!(records.iter().all(|r| r.level == Level::Info), "{records:?}");
    let told = |what, target| {
        let record = find(&records, what);
        assert_eq!(record.target, target);
        record
    };
    told("stack started", "o7s::stack");
    let joined = told("joined", "o7s::layer");
    assert_eq!((joined.key("kind"), joined.key("layer"), joined.key("ipcp")), ("udp4", "udp4", "udp4.10.0.0.1:3435"));
    assert_eq!(told("registered", "o7s::layer").key("name"), "echo");
    let accepted = told("accepted", "o7s::flow");
    assert_eq!((accepted.key("name"), accepted.key("peer")), ("echo", "10.0.0.2:3435"));
    assert_eq!((accepted.key("layer"), accepted.key("cipher")), ("udp4", "aes-256-gcm"));
    let closed = told("closed", "o7s::flow");
    assert_eq!((closed.key("name"), closed.key("flow")), ("echo", accepted.key("flow")));
    assert!(closed.key("time").parse::<f64>().unwrap() >= accepted.key("time").parse().unwrap());
    told("stack shut down", "o7s::stack");

    let allocated = collect::take("life-client");
    let allocated = find(&allocated, "allocated");
    assert_eq!((allocated.level, allocated.key("peer")), (Level::Info, "10.0.0.1:3435"));
}

#[test]
fn refusals_are_told_with_their_reason() {
    collect::install();
    let net = Network::new(2);
    let (server, client) = hosts(&net, "refused", SecurityConfig::default());
    let listener = server.listen("strict");
    server.stack().set_security("strict", SecurityConfig::encrypted(Kex::X25519), SecurityConfig::default()).unwrap();
    net.spawn(async move { listener.accept_async().await.map(drop) });
    net.block_on(async {
        let flow = client.stack().flow("strict").timeout(Duration::from_secs(3)).alloc_async().await;
        assert!(flow.is_err());
    });
    let (server, client) = (collect::take("refused-server"), collect::take("refused-client"));
    let refused = find(&server, "refused");
    assert_eq!((refused.level, refused.target.as_str()), (Level::Warn, "o7s::irm"));
    assert_eq!(refused.key("peer"), "10.0.0.2:3435");
    let failed = find(&client, "no flow to \"strict\"");
    assert_eq!((failed.level, failed.target.as_str(), failed.key("name")), (Level::Debug, "o7s::flow", "strict"));
    assert!(failed.key("reason").contains("refused"), "{failed:?}");
}

#[test]
fn floods_are_told_in_few_records() {
    collect::install();
    let net = Network::new(3);
    let (server, _client) = hosts(&net, "flood", SecurityConfig::default());
    let _listener = server.listen("echo");
    let mut rng = net.rng("flood");
    let mut send = |count: u32| {
        for i in 0..count {
            let mut datagram = vec![0; 4 + rng.below(80) as usize];
            rng.fill(&mut datagram);
            if i % 2 == 0 {
                // Management, which it is not.
                datagram[..4].fill(0);
            }
            net.inject("10.0.0.9:4000", "10.0.0.1:3435", &datagram);
            if i % 100 == 0 {
                net.run_for(Duration::from_millis(1));
            }
        }
        net.run_for(Duration::from_millis(10));
        collect::take("flood-server")
    };
    let told = |records: &[Record]| records.iter().filter(|r| r.target == "o7s::udp" && r.level < Level::Trace).count();
    assert_eq!(told(&send(1)), 1);
    let records = send(10_000);
    assert!(
        (10..200).contains(&told(&records)),
        "{} {:?}",
        told(&records),
        records.iter().filter(|r| r.level < Level::Trace).map(|r| &r.text).step_by(40).collect::<Vec<_>>()
    );
    net.run_for(Duration::from_secs(10));
    let next = send(1);
    let number = |r: &Record| r.keys.get("suppressed").map_or(0, |n| n.parse().unwrap());
    let suppressed: usize = records.iter().chain(&next).map(number).sum();
    assert!(find(&next, "similar records suppressed").text.contains(next[1].key("suppressed")));
    let layer = server.udp4()[0].rib();
    let counted: u64 = ["malformed", "unknown_eid"].iter().filter_map(|name| layer.get(name)).sum();
    assert_eq!(1 + told(&records) + suppressed + 1, counted as usize, "none is forgotten");
    assert!(counted > 1000, "{counted}");
}

#[test]
fn neither_payload_nor_keys_are_told() {
    const PAYLOAD: &[u8] = b"attack at dawn";
    collect::install();
    let net = Network::new(4);
    let (server, client) = hosts(&net, "secret", security("cipher=chacha20-poly1305\n"));
    echo(&net, &server, &client, PAYLOAD);
    let records = [collect::take("secret-server"), collect::take("secret-client")].concat();
    assert!(records.iter().any(|r| r.level == Level::Trace), "packets are among them");
    let hex: String = PAYLOAD.iter().map(|b| format!("{b:02x}")).collect();
    let list = format!("{PAYLOAD:?}");
    for record in records {
        let all = record.all();
        for secret in ["attack at dawn", &*hex, list.trim_matches(['[', ']'])] {
            assert!(!all.contains(secret), "{all}");
        }
        // Hashes of names in this layer have 32 digits, keys more.
        let digits = all.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
        assert!(digits <= Some(32), "{all}");
    }
}

#[test]
fn members_and_neighbours_are_told() -> Result<(), Box<dyn std::error::Error>> {
    collect::install();
    let stack = Stack::builder().name("members").build()?;
    let below = stack.local(LocalConfig::new("wire", "wire"));
    let first = stack.unicast("node-a").over(&below).bootstrap(UnicastLayer::new("net"))?;
    let second = stack.unicast("node-b").over(&below).enroll("node-a")?;
    second.connect("node-a")?;
    let unknown = ConnectOptions::new().timeout(Duration::from_millis(300)).qos(QosSpec::RAW);
    assert!(first.connect_with("node-x", unknown).is_err());
    second.leave();
    stack.shutdown();
    let records = collect::take("members");
    let told = |what, level, target| {
        let record = find(&records, what);
        assert_eq!((record.level, record.target.as_str()), (level, target), "{record:?}");
        record
    };
    told("unicast layer \"net\" joined as \"node-b\"", Level::Info, "o7s::layer");
    told("a new member enrolled by way of \"node-a\"", Level::Info, "o7s::enroll");
    let connected = told("\"node-b\" connected", Level::Info, "o7s::unicast");
    assert_eq!(connected.key("component"), "management");
    assert_eq!(told("\"node-x\"", Level::Debug, "o7s::flow").key("name"), "node-x");
    told("not connected to \"node-x\"", Level::Warn, "o7s::unicast");
    told("forwarding table", Level::Debug, "o7s::routing");
    told("left as \"node-b\"", Level::Info, "o7s::layer");
    assert!(records.iter().all(|r| !r.keys.contains_key("time")), "the logger has a clock of its own");
    Ok(())
}
