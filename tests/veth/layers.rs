//! Layers over packet sockets: two stacks at the two ends of a cable.

use std::process::Command;
use std::thread;
use std::time::Duration;

use o7s::device::{Frames, PacketSocket};
use o7s::{
    AllocError, Eth, Event, Flow, FlowSet, IpcpHandle, NetworkConfig, QosSpec, SecurityConfig, Stack, StackError,
};

use crate::net::{BOUND, TYPE, ip, on_cable, try_ip, wait_until};

/// Two stacks, a member of a layer each, and a server that sends everything back.
struct Pair {
    server: Stack,
    client: Stack,
    far: IpcpHandle,
    near: IpcpHandle,
}

impl Pair {
    fn new(eth: fn(&str) -> Eth, security: SecurityConfig) -> Self {
        let stack = || Stack::builder().security(security.clone()).build().unwrap();
        let (server, client) = (stack(), stack());
        let far = server.eth(eth("vb")).unwrap();
        far.register("echo").unwrap();
        let listener = server.bind("echo").unwrap();
        thread::spawn(move || {
            for flow in listener.incoming() {
                thread::spawn(move || echo(&flow));
            }
        });
        let near = client.eth(eth("va")).unwrap();
        Self { server, client, far, near }
    }

    fn flow(&self, qos: QosSpec) -> Flow {
        self.client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap()
    }
}

fn echo(flow: &Flow) {
    let mut buf = [0; 65_536];
    while let Ok(n) = flow.read(&mut buf) {
        if flow.write(&buf[..n]).is_err() {
            return;
        }
    }
}

fn answers(flow: &Flow, packet: &[u8]) {
    let mut buf = [0; 65_536];
    flow.write(packet).unwrap();
    let n = flow.read_timeout(&mut buf, BOUND).unwrap();
    assert_eq!(&buf[..n], packet);
}

fn plain() -> SecurityConfig {
    SecurityConfig::default()
}

fn counted(layer: &IpcpHandle, name: &str) -> u64 {
    layer.rib().get(name).unwrap_or(0)
}

#[test]
fn flows_of_all_kinds_over_both_formats() {
    on_cable(|| {
        for eth in [Eth::dix, Eth::llc] {
            for security in [plain(), "X25519,aes-256-gcm,sha256".parse().unwrap()] {
                let pair = Pair::new(eth, security);
                for qos in [QosSpec::RAW, QosSpec::BEST_EFFORT, QosSpec::DATA] {
                    let flow = pair.flow(qos);
                    for len in [1, 45, 46, 1400, flow.max_packet()] {
                        answers(&flow, &vec![len as u8; len]);
                    }
                    assert!(flow.max_packet() > 1400 && flow.max_packet() < 1500, "{}", flow.max_packet());
                }
                for layer in [&pair.near, &pair.far] {
                    for nothing in ["malformed", "unknown_eid", "wrong_source", "device_overrun", "own_address"] {
                        assert_eq!(counted(layer, nothing), 0, "{nothing}: {}", layer.rib());
                    }
                }
                pair.server.shutdown();
            }
        }
    });
}

#[test]
fn a_layer_may_pass_by_the_queue_of_its_interface() {
    on_cable(|| {
        let passes_by = Pair::new(|dev| Eth::dix(dev).queue_bypass(dev == "va"), plain());
        let through = Pair::new(|dev| Eth::dix(dev).ethertype(TYPE + 1), plain());
        // One that takes nothing.
        let mut tc = Command::new("tc");
        assert!(tc.args("qdisc add dev va root pfifo limit 0".split(' ')).status().unwrap().success());
        let refused = through.client.flow("echo").timeout(Duration::from_secs(5)).alloc().unwrap_err();
        assert!(matches!(refused, AllocError::Unreachable(_)), "{refused}");
        answers(&passes_by.flow(QosSpec::RAW), b"past the queue");
    });
}

#[test]
fn interfaces_over_one_device_hear_each_other_as_macvlan_bridges_them() {
    on_cable(|| {
        for name in ["over0", "over1"] {
            if !try_ip(&format!("link add link va name {name} type macvlan mode bridge")) {
                eprintln!("skipped: no macvlan");
                return;
            }
            ip(&format!("link set {name} up"));
        }
        let pair = Pair::new(|dev| Eth::dix(if dev == "va" { "over0" } else { "over1" }), plain());
        let flow = pair.flow(QosSpec::DATA);
        answers(&flow, &vec![7; flow.max_packet()]);
        for layer in [&pair.near, &pair.far] {
            assert_eq!(counted(layer, "own_address"), 0, "{}", layer.rib());
        }
        let below = Stack::new().unwrap();
        below.eth(Eth::dix("va")).unwrap();
        let refused = below.flow("echo").timeout(Duration::from_secs(5)).alloc().unwrap_err();
        assert!(matches!(refused, AllocError::Unreachable(_)), "{refused}");
    });
}

#[test]
fn a_reliable_bulk_arrives_whole_over_jumbo_frames() {
    on_cable(|| {
        for interface in ["va", "vb"] {
            ip(&format!("link set {interface} mtu 9000"));
        }
        let pair = Pair::new(Eth::dix, "X25519,aes-256-gcm,sha256".parse().unwrap());
        let flow = pair.flow(QosSpec::DATA);
        assert!(flow.max_packet() > 8900);
        answers(&flow, &vec![9; flow.max_packet()]);
        let (writer, reader) = flow.split();
        let packets = 2000_u32;
        let writing = thread::spawn(move || {
            for i in 0..packets {
                writer.flow().write(&i.to_be_bytes().repeat(2000)).unwrap();
            }
            writer
        });
        let mut buf = vec![0; 10_000];
        for i in 0..packets {
            let n = reader.flow().read_timeout(&mut buf, BOUND).unwrap();
            assert_eq!(buf[..n], i.to_be_bytes().repeat(2000));
        }
        drop(writing.join().unwrap());
    });
}

#[test]
fn flows_outlive_a_link_that_is_down_for_a_while() {
    on_cable(|| {
        let pair = Pair::new(Eth::dix, plain());
        let (flow, set) = (pair.flow(QosSpec::DATA), FlowSet::new());
        let raw = pair.flow(QosSpec::RAW);
        let token = set.add(&raw);
        answers(&flow, b"before");
        for (interface, layer) in [("va", &pair.near), ("vb", &pair.far), ("va", &pair.near)] {
            ip(&format!("link set {interface} down"));
            wait_until("the loss is noticed", || layer.rib().get("link_up") == Some(0));
            ip(&format!("link set {interface} up"));
            for layer in [&pair.near, &pair.far] {
                wait_until("the link is up", || layer.rib().get("link_up") == Some(1));
            }
            answers(&flow, b"after");
        }
        let told: Vec<_> =
            set.try_wait().into_iter().filter(|told| told.token == token).map(|told| told.event).collect();
        for event in [Event::Impaired, Event::Restored] {
            assert!(told.contains(&event), "{told:?}");
        }
    });
}

#[test]
fn flows_follow_the_mtu() {
    on_cable(|| {
        let pair = Pair::new(Eth::dix, plain());
        let flow = pair.flow(QosSpec::RAW);
        answers(&flow, &vec![1; flow.max_packet()]);
        let before = flow.max_packet();
        for mtu in [1280, 4000, 1500] {
            for interface in ["va", "vb"] {
                ip(&format!("link set {interface} mtu {mtu}"));
            }
            wait_until("the MTU", || [&pair.near, &pair.far].iter().all(|l| l.rib().get("mtu") == Some(mtu)));
            assert_eq!(flow.max_packet() as u64, before as u64 + mtu - 1500);
            answers(&flow, &vec![2; flow.max_packet()]);
        }
    });
}

#[test]
fn a_unicast_layer_over_ethernet() {
    on_cable(|| {
        let pair = Pair::new(Eth::dix, plain());
        let first = pair.server.unicast("node-a").over(&pair.far).bootstrap(o7s::UnicastLayer::new("net")).unwrap();
        let second = pair.client.unicast("node-b").over(&pair.near).timeout(BOUND).enroll("node-a").unwrap();
        second.connect("node-a").unwrap();
        first.register("above").unwrap();
        let listener = pair.server.bind("above").unwrap();
        thread::spawn(move || echo(&listener.accept().unwrap()));
        let mut flow = None;
        wait_until("a route", || {
            flow = pair.client.flow("above").qos(QosSpec::DATA).timeout(BOUND).alloc().ok();
            flow.is_some()
        });
        answers(&flow.unwrap(), b"through a layer above");
    });
}

#[test]
fn ethertypes_and_formats_separate_layers() {
    on_cable(|| {
        let pair = Pair::new(Eth::dix, plain());
        answers(&pair.flow(QosSpec::RAW), b"the same");
        let other = Stack::new().unwrap();
        other.eth(Eth::dix("va").ethertype(TYPE + 1)).unwrap();
        other.eth(Eth::llc("va")).unwrap();
        let refused = other.flow("echo").timeout(Duration::from_secs(5)).alloc().unwrap_err();
        assert!(matches!(refused, AllocError::Unreachable(_)), "{refused}");
    });
}

#[test]
fn a_left_layer_gives_its_interface_back() {
    on_cable(|| {
        let pair = Pair::new(Eth::dix, plain());
        let flow = pair.flow(QosSpec::RAW);
        answers(&flow, b"here");
        pair.near.clone().leave();
        assert!(flow.write(b"gone").is_err());
        let again = pair.client.eth(Eth::dix("va")).unwrap();
        answers(&pair.flow(QosSpec::RAW), b"here again");
        assert!(counted(&again, "received") > 0);
    });
}

#[test]
fn an_interface_that_is_deleted_and_made_anew_is_used_again() {
    on_cable(|| {
        let pair = Pair::new(Eth::dix, plain());
        answers(&pair.flow(QosSpec::RAW), b"before");
        ip("link del va");
        wait_until("it is gone", || pair.near.rib().get("link_up") == Some(0));
        crate::net::cable("va", "vb");
        for layer in [&pair.near, &pair.far] {
            wait_until("the link is up", || layer.rib().get("link_up") == Some(1));
        }
        // The stations have other addresses now: what was learned of them is found to be wrong, and asked again.
        let mut flow = None;
        wait_until("a flow", || {
            flow = pair.client.flow("echo").timeout(BOUND).alloc().ok();
            flow.is_some()
        });
        answers(&flow.unwrap(), b"after");
    });
}

#[test]
fn configuration_files_make_ethernet_layers() {
    on_cable(|| {
        let text = |kind: &str, dev: &str, more: &str| -> NetworkConfig {
            format!("[{kind}.shim]\nbootstrap = \"net\"\ndev = \"{dev}\"\n{more}\n").parse().unwrap()
        };
        for (kind, more) in [("eth-dix", "ethertype = 0xA123\nhash = \"SHA3_512\""), ("eth-llc", "hash = \"SHA3_224\"")]
        {
            let (server, client) = (Stack::new().unwrap(), Stack::new().unwrap());
            let far = server.network(&text(kind, "vb", &format!("{more}\nreg = [\"echo\"]"))).build().unwrap();
            assert_eq!((far[0].info().name.as_str(), far[0].info().layer.as_str()), ("shim", "net"));
            let listener = server.bind("echo").unwrap();
            thread::spawn(move || echo(&listener.accept().unwrap()));
            client.network(&text(kind, "va", more)).build().unwrap();
            let flow = client.flow("echo").timeout(BOUND).alloc().unwrap();
            answers(&flow, kind.as_bytes());
        }
        // Or with devices that the program opens itself.
        let stack = Stack::new().unwrap();
        let config = text("eth-dix", "not there", "ethertype = 0xA123");
        let open = |dev: &str, ethertype: Option<u16>| {
            assert_eq!((dev, ethertype), ("not there", Some(0xA123)));
            Ok(PacketSocket::dix("va", 0xA123)? as std::sync::Arc<dyn Frames>)
        };
        assert_eq!(stack.network(&config).interfaces(open).build().unwrap().len(), 1);
        let error = stack.network(&config).build().unwrap_err().to_string();
        for part in ["line 1", "eth-dix", "not there"] {
            assert!(error.contains(part), "{error}");
        }
    });
}

#[test]
fn errors_of_opening_name_the_interface() {
    let error = Stack::new().unwrap().eth(Eth::dix("nosuch0")).unwrap_err();
    assert!(matches!(&error, StackError::Interface { interface, .. } if interface == "nosuch0"), "{error}");
    assert!(error.to_string().contains("nosuch0: "), "{error}");
}
