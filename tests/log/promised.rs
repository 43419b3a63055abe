//! What the documentation promises of log records: each level and target, that it is told when keys or payload leave the stack,
//! and how much strangers can cause.

use std::collections::BTreeSet;
use std::time::Duration;

use log::Level;
use o7s::capture::CaptureConfig;
use o7s::device::{Frames as _, Link};
use o7s::settings::UnicastConfig;
use o7s::sim::{Host, Network};
use o7s::{BroadcastLayer, Eth, QosSpec, Stack, UnicastLayer};

use super::collect::{self, Record};
use super::elsewhere::wait_until;
use super::told::find;
use super::{echo, hosts, security};

/// Records of one place that are made after a pause, and those of a second.
const BURST: usize = 50;
const RATE: usize = 10;

/// Asserts that a record with `what` in it is among them, of this level and target.
fn told<'a>(records: &'a [Record], what: &str, level: Level, target: &str) -> &'a Record {
    let record = find(records, what);
    assert_eq!((record.level, record.target.as_str()), (level, target), "{record:?}");
    record
}

#[test]
fn a_handler_that_panics_is_an_error() {
    collect::install();
    let stack = Stack::builder().name("fragile").build().unwrap();
    stack.bind_handler("fragile", |_| std::panic::resume_unwind(Box::new("a bug of a program"))).unwrap();
    drop(stack.flow("fragile").alloc());
    wait_until("the panic is counted", || stack.rib().get("node/foreign_panics") == Some(1));
    stack.shutdown();
    // The thread of the handler tells it when it has counted it.
    let mut records = Vec::new();
    for _ in 0..20_000 {
        records.extend(collect::take("fragile"));
        if records.iter().any(|record: &Record| record.level == Level::Error) {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    told(&records, "panicked", Level::Error, "o7s::stack");
    assert_eq!(records.iter().filter(|record| record.level == Level::Error).count(), 1);
}

/// Two hosts on a switch with layers over Ethernet.
fn segment(net: &Network, test: &str, config: &Eth) -> (o7s::sim::Switch, Host, Host) {
    let switch = net.switch();
    let host =
        |role: &str, mac: &str| net.host(&format!("{test}-{role}")).eth_with(&switch, mac, config.clone()).build();
    let (server, client) = (host("server", "02:00:00:00:00:01"), host("client", "02:00:00:00:00:02"));
    (switch, server, client)
}

#[test]
fn frames_lookups_and_links_of_ethernet_are_told() {
    collect::install();
    for (test, config) in [("dix", Eth::dix("wire")), ("llc", Eth::llc("wire"))] {
        let net = Network::new(11);
        let (_switch, server, client) = segment(&net, test, &config);
        echo(&net, &server, &client, b"hello");
        let interface = &client.interfaces()[0];
        for state in [Link::Down, Link::Up] {
            interface.set_link(state);
            net.run_for(Duration::from_secs(1));
        }
        interface.set_mtu(interface.mtu() - 100);
        net.run_for(Duration::from_secs(1));
        interface.set_mac("02:00:00:00:00:09");
        net.run_for(Duration::from_secs(1));
        let records = collect::take(&format!("{test}-client"));
        told(&records, "bytes from 02:00:00:00:00:01", Level::Trace, "o7s::eth");
        told(&records, "asking everybody where the name", Level::Debug, "o7s::directory");
        let found = told(&records, "is at 02:00:00:00:00:01", Level::Debug, "o7s::directory");
        assert_eq!((found.key("peer"), found.key("hash").is_empty()), ("02:00:00:00:00:01", false));
        for (what, level) in [("is down", Level::Warn), ("is up", Level::Warn)] {
            let record = told(&records, what, level, "o7s::eth");
            assert_eq!(record.key("ipcp"), client.eth()[0].info().name);
        }
        assert_eq!(told(&records, "the MTU of", Level::Info, "o7s::eth").key("mtu"), "1400");
        told(&records, "is 02:00:00:00:00:09 now", Level::Warn, "o7s::eth");
    }
}

#[test]
fn lookups_of_a_layer_are_told() {
    collect::install();
    let net = Network::new(12);
    let (server, client) = hosts(&net, "lookups", security(""));
    let first = server.stack().unicast("node-a").over(&server.udp4()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    net.block_on(async {
        let below = &client.udp4()[0];
        let second = client.stack().unicast("node-b").over(below).enroll_async("node-a").await.unwrap();
        second.connect_async("node-a").await.unwrap();
        net.sleep(Duration::from_secs(5)).await;
        assert_eq!(second.locate_async("nobody").await.unwrap().len(), 0);
    });
    drop(first);
    let records = collect::take("lookups-client");
    let found = told(&records, "found at 0 members", Level::Debug, "o7s::directory");
    assert_eq!((found.key("ipcp"), found.key("found")), ("node-b", "0"));
}

/// Nothing is found there, and nobody but the log knows why.
#[test]
fn a_neighbour_on_a_device_that_is_too_narrow_for_names_is_told() {
    collect::install();
    let net = Network::new(14);
    let (_switch, server, client) = segment(&net, "thin", &Eth::dix("wire"));
    let first = server.stack().unicast("node-a").over(&server.eth()[0]).bootstrap(UnicastLayer::new("net")).unwrap();
    let second = client.stack().unicast("node-b").over(&client.eth()[0]);
    let second = net.block_on(second.enroll_async("node-a")).unwrap();
    net.block_on(second.connect_async("node-a")).unwrap();
    net.run_for(Duration::from_secs(5));
    assert!(!collect::take("thin-client").iter().any(|record| record.text.contains("the least for names")));
    [&server, &client].iter().for_each(|host| host.interfaces()[0].set_mtu(180));
    net.run_for(Duration::from_secs(60));
    let records = collect::take("thin-client");
    let narrow =
        told(&records, "carries packets of 176 bytes: the least for names is 184", Level::Warn, "o7s::unicast");
    assert_eq!((narrow.key("ipcp"), narrow.key("bytes")), ("node-b", "176"));
    assert_eq!(records.iter().filter(|record| record.text.contains("the least for names")).count(), 1);
    drop((first, second));
}

#[test]
fn lost_neighbours_of_a_broadcast_layer_are_told() {
    collect::install();
    let net = Network::new(13);
    let (server, client) = hosts(&net, "news", security(""));
    let first = server.stack().broadcast("b1").over(&server.udp4()[0]).bootstrap(BroadcastLayer::new("news")).unwrap();
    net.block_on(async {
        let below = &client.udp4()[0];
        let second = client.stack().broadcast("b2").over(below).enroll_async("b1").await.unwrap();
        second.connect_async("b1").await.unwrap();
    });
    collect::take("news-server");
    client.crash();
    net.run_for(Duration::from_secs(1000));
    let records = collect::take("news-server");
    let lost = told(&records, "of \"b1\" lost", Level::Warn, "o7s::broadcast");
    assert_eq!((lost.key("ipcp"), lost.key("n1_flow").is_empty()), ("b1", false));
    drop(first);
}

#[test]
fn keys_and_payload_that_leave_the_stack_are_told_each_time() {
    collect::install();
    let warnings = |name: &str| {
        let records = collect::take(name);
        let told = records.into_iter().filter(|record| record.level <= Level::Warn);
        told.map(|record| (record.level, record.target, record.text)).collect::<Vec<_>>()
    };
    let warn = |text: &str| (Level::Warn, "o7s::stack".to_owned(), text.to_owned());
    let flows = warn("packets of encrypted flows are captured in the clear");
    let keys = warn("keys of encrypted flows are written to a capture");

    let stack = Stack::builder().name("captured").build().unwrap();
    stack.capture(Vec::new(), CaptureConfig::default()).unwrap().stop().unwrap();
    assert_eq!(warnings("captured"), [], "neither leaves the stack");
    for _ in 0..2 {
        stack.capture(Vec::new(), CaptureConfig::default().flows(true)).unwrap().stop().unwrap();
        assert_eq!(warnings("captured"), std::slice::from_ref(&flows));
        stack.capture(Vec::new(), CaptureConfig::default().keys(true)).unwrap().stop().unwrap();
        assert_eq!(warnings("captured"), std::slice::from_ref(&keys));
        stack.capture(Vec::new(), CaptureConfig::default().flows(true).keys(true)).unwrap().stop().unwrap();
        assert_eq!(warnings("captured"), [flows.clone(), keys.clone()]);
    }
    let stack = Stack::builder().name("key log").key_log(|_| {}).build().unwrap();
    let handed = "keys of encrypted flows are handed to the program: whoever gets them can read these flows";
    assert_eq!(warnings("key log"), [warn(handed)]);
    drop(stack);
}

/// Frames that are none of the layer, of several sorts.
fn bad_frames() -> Vec<Vec<u8>> {
    let server = [2, 0, 0, 0, 0, 1];
    let frame = |src: [u8; 6], ethertype: [u8; 2], payload: &[u8]| {
        let mut frame = [&server[..], &src, &ethertype, payload].concat();
        frame.resize(60, 0);
        frame
    };
    vec![
        // A message of an unknown kind; a flow that nobody has; a group as the sender.
        frame([2, 0, 0, 0, 0, 9], [0xa0, 0], &[0, 0, 0, 1, 0xee]),
        frame([2, 0, 0, 0, 0, 9], [0xa0, 0], &[0x77, 0x77, 0, 4, 1, 2, 3, 4]),
        frame([3, 0, 0, 0, 0, 9], [0xa0, 0], &[0x77, 0x77, 0, 4, 1, 2, 3, 4]),
    ]
}

#[test]
fn floods_of_frames_are_told_in_no_more_records_than_promised() {
    collect::install();
    let net = Network::new(14);
    let (switch, server, _client) = segment(&net, "storm", &Eth::dix("wire"));
    let stranger = switch.plug("02:00:00:00:00:09");
    collect::take("storm-server");
    let told = || {
        let records = collect::take("storm-server");
        records.into_iter().filter(|r| r.target == "o7s::eth" && r.level < Level::Trace).collect::<Vec<_>>()
    };
    let frames = bad_frames();
    let counted = || -> u64 {
        let layer = server.eth()[0].rib();
        ["malformed", "unknown_eid"].iter().map(|name| layer.get(name).unwrap()).sum()
    };
    // Each sort is told.
    for frame in &frames {
        stranger.send(frame).unwrap();
        net.run_for(Duration::from_millis(1));
    }
    let first = told();
    assert_eq!((first.len(), counted()), (frames.len(), frames.len() as u64), "{first:#?}");
    net.run_for(Duration::from_secs(10));
    // 10 000 of them within a second, then one more.
    let before = net.now();
    for i in 0..10_000 {
        stranger.send(&frames[i % frames.len()]).unwrap();
        if i % 10 == 9 {
            net.run_for(Duration::from_millis(1));
        }
    }
    let records = told();
    let seconds = net.now().since(before).as_secs_f64();
    let most = BURST + (RATE as f64 * seconds) as usize + 1;
    assert!((BURST..=most).contains(&records.len()), "{} of {most} in {seconds} s", records.len());
    net.run_for(Duration::from_secs(10));
    stranger.send(&frames[0]).unwrap();
    net.run_for(Duration::from_millis(1));
    let last = told();
    assert_eq!(last.len(), 1);
    let number = |r: &Record| r.keys.get("suppressed").map_or(0, |n| n.parse::<usize>().unwrap());
    let all = first.len() + records.len() + 1 + records.iter().chain(&last).map(number).sum::<usize>();
    assert_eq!((all, counted()), (10_000 + frames.len() + 1, 10_001 + frames.len() as u64), "none is forgotten");
}

/// Every target that the crate's documentation lists has a record in this or that scenario, and no other target has.
#[test]
fn targets_are_those_that_are_documented() {
    let text = include_str!("../../src/lib.rs");
    let table = text.split("//! | target | of what |").nth(1).unwrap().split("//!\n").next().unwrap();
    let documented: BTreeSet<&str> = table.split('`').filter(|word| word.starts_with("o7s::")).collect();
    let places = include_str!("../../src/types/place.rs");
    let made: BTreeSet<&str> = places
        .lines()
        .filter_map(|line| line.split("=> \"").nth(1)?.split('"').next())
        .filter(|word| word.starts_with("o7s::"))
        .collect();
    assert_eq!(made, documented);
}

#[test]
fn two_members_with_one_address_are_an_error() {
    collect::install();
    let net = Network::new(15);
    let (server, client) = hosts(&net, "twins", security(""));
    let config = || UnicastConfig::default().address(Some(o7s::Address(7)));
    let first = server.stack().unicast("node-a").over(&server.udp4()[0]).config(config());
    let first = first.bootstrap(UnicastLayer::new("net")).unwrap();
    // Neither is new any more when they meet.
    let second = client.stack().unicast("node-b").over(&client.udp4()[0]).config(config());
    let second = second.bootstrap(UnicastLayer::new("net")).unwrap();
    net.run_for(Duration::from_secs(3600));
    net.block_on(async {
        let met = o7s::ConnectOptions::new().timeout(Duration::from_secs(60)).qos(QosSpec::RAW);
        assert!(second.connect_with_async("node-a", met).await.is_err());
    });
    let records = [collect::take("twins-server"), collect::take("twins-client")].concat();
    let error = told(&records, "another member has the address", Level::Error, "o7s::unicast");
    assert_eq!(error.key("address"), first.address().unwrap().to_string());
}

#[test]
fn a_receive_buffer_that_is_clamped_is_told_once() {
    const GIB: usize = 1 << 30;
    collect::install();
    let stack = Stack::builder().name("buffer").build().unwrap();
    let net = stack.udp4(o7s::Udp4::bind("127.0.0.1:0").receive_buffer(GIB)).unwrap();
    let at = net.local_addr().unwrap().to_string();
    let client = Stack::new().unwrap();
    client.udp4(o7s::Udp4::bind("127.0.0.1:0").receive_buffer(65_536).host("echo", &at)).unwrap();
    net.register("echo").unwrap();
    stack.bind_handler("echo", |flow| while flow.read(&mut [0; 64]).is_ok() {}).unwrap();
    for _ in 0..10 {
        client.flow("echo").qos(QosSpec::DATA).alloc().unwrap().write(b"hello").unwrap();
    }
    let records = collect::take("buffer");
    let warnings: Vec<_> = records.iter().filter(|record| record.level <= Level::Warn).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    let told = told(&records, "the receive buffer of", Level::Warn, "o7s::udp");
    assert_eq!(told.key("address"), at);
    let [wanted, got] = ["wanted", "got"].map(|key| told.key(key).parse::<usize>().unwrap());
    // The largest that there is.
    assert!((GIB - 1..=GIB).contains(&wanted) && got < wanted && got > 0, "{told:?}");
    if cfg!(target_os = "linux") {
        assert!(told.text.contains("net.core.rmem_max"), "{told:?}");
        let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
        assert_eq!(Ok(got), most.trim().parse(), "as much as the system allows");
    }
    let small = Stack::builder().name("small buffer").build().unwrap();
    small.udp4(o7s::Udp4::bind("127.0.0.1:0").receive_buffer(65_536)).unwrap();
    // Nobody has asked for the default.
    small.udp4(o7s::Udp4::bind("127.0.0.1:0")).unwrap();
    let records = collect::take("small buffer");
    assert!(records.iter().all(|record| record.level > Level::Warn), "{records:#?}");
}
