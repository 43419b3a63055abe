//! Networks that configuration files describe, in virtual time.

use std::time::Duration;

use o7s::sim::{Link, Network};
use o7s::{IpcpHandle, NetworkConfig, QosSpec};

fn config(text: &str) -> NetworkConfig {
    text.parse().unwrap()
}

/// The only member of a host's recursive layer.
fn last(ipcps: &[IpcpHandle]) -> &IpcpHandle {
    ipcps.last().unwrap()
}

#[test]
fn three_hosts_in_a_line() {
    let net = Network::new(3);
    net.set_default_link(Link::default().latency(Duration::from_millis(2)));
    let hosts: Vec<_> = ["a", "b", "c"].map(|name| net.host(name).build()).into();
    let a = config(
        r#"
        [udp4.a-net]
        bootstrap = "internet"
        ip = "10.0.0.1"
        reg = ["a"]
        [unicast.a]
        bootstrap = "campus"
        autobind = true
        ls_t_recalc = 1
        ls_t_update = 2
        ls_t_timeo = 9
        "#,
    );
    let b = config(
        r#"
        [udp4.b-net]
        bootstrap = "internet"
        ip = "10.0.0.2"
        reg = ["b"]
        [unicast.b]
        enrol = "a"
        conn = ["a"]
        autobind = true
        "#,
    );
    let c = config(
        r#"
        [name.echo]
        lb = "round-robin"
        [udp4.c-net]
        bootstrap = "internet"
        ip = "10.0.0.3"
        reg = ["c"]
        [unicast.c]
        enroll = "b"
        conn = ["b"]
        reg = ["echo"]
        "#,
    );
    let mut members = Vec::new();
    for (host, config) in hosts.iter().zip([a, b, c]) {
        members.push(net.block_on(host.configure(&config)).unwrap());
    }
    assert_eq!(last(&members[1]).connections().len(), 4);
    assert_eq!(last(&members[2]).connections().len(), 2);
    assert_eq!(last(&members[2]).info().layer, "campus");
    let listener = hosts[2].stack().bind("echo").unwrap();
    net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        let packet = flow.read_bytes().await.unwrap();
        flow.write(&packet).await.unwrap();
    });
    net.block_on(async {
        net.sleep(Duration::from_secs(5)).await;
        let flow = hosts[0].stack().flow("echo").qos(QosSpec::DATA).alloc_async().await.unwrap();
        flow.write(b"hello").await.unwrap();
        assert_eq!(&*flow.read_bytes().await.unwrap(), b"hello");
    });
    let rib = hosts[1].stack().rib();
    let middle = rib.child("ipcps").unwrap().child("b").unwrap();
    assert!(middle.get("routing/recalculations") > Some(0) && middle.get("dht/stats/sent") > Some(0), "{middle}");
    assert_eq!(middle.child("routes").unwrap().children.len(), 2, "{middle}");
    let next = |of: &IpcpHandle| middle.word(&format!("routes/{}/next", of.address().unwrap())).unwrap().to_owned();
    assert_eq!(next(last(&members[0])), last(&members[0]).address().unwrap().to_string());
    let forwarded = "# TYPE o7s_ipcp_dt_adjacency_cube_sent_total counter";
    assert!(o7s::rib::prometheus(&rib).contains(forwarded), "{rib}");
}

#[test]
fn failures_are_named_and_undone() {
    let net = Network::new(4);
    let host = net.host("a").build();
    let text = "[udp4.net]\nbootstrap = \"l\"\nip = \"10.0.0.1\"\n\n[unicast.a]\nenroll = \"nobody\"";
    let error = net.block_on(host.configure(&config(text))).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("line 5, column 10: [unicast.a]: enrollment with nobody failed: no flow to the member"),
        "{said}"
    );
    assert!(host.stack().rib().child("ipcps").unwrap().children.is_empty());
    // The address is free for the next attempt.
    let (ground, _) = text.split_once("[unicast").unwrap();
    assert_eq!(net.block_on(host.configure(&config(ground))).unwrap().len(), 1);
}

#[test]
fn a_member_connects_over_each_layer_that_its_table_names() {
    let net = Network::new(8);
    let below = |name: &str, i: u8| {
        let udp = |kind: &str, ip: String| {
            format!("[udp{kind}.{name}{kind}]\nbootstrap = \"v{kind}\"\nip = \"{ip}\"\nreg = [\"{name}\"]\n")
        };
        udp("4", format!("10.0.0.{i}")) + &udp("6", format!("fd00::{i}"))
    };
    let first = below("a", 1) + "[unicast.a]\nbootstrap = \"campus\"\nautobind = true";
    let (a, b) = (net.host("a").build(), net.host("b").build());
    net.block_on(a.configure(&config(&first))).unwrap();
    let second = below("b", 2) + "[unicast.b]\nenrol = \"a\"\nconn = [\"a\"]\nconn_over = [\"b4\", \"b6\"]";
    let members = net.block_on(b.configure(&config(&second))).unwrap();
    assert_eq!(last(&members).connections().len(), 4, "management and data transfer, over both");
    members.into_iter().rev().for_each(IpcpHandle::leave);
    let wrong = net.block_on(b.configure(&config(&second.replace("\"b6\"]", "\"b7\"]")))).unwrap_err().to_string();
    assert!(wrong.ends_with("[unicast.b]: a cannot be connected to over b7: there is no such IPCP yet"), "{wrong}");
}

#[test]
fn the_port_in_a_file_is_that_of_the_layer() {
    let net = Network::new(6);
    let (a, b) = (net.host("a").build(), net.host("b").build());
    let udp =
        |i: u8| format!("[udp4.net]\nbootstrap = \"internet\"\nip = \"10.0.0.{i}\"\nport = 4000\nreg = [\"svc\"]");
    net.block_on(a.configure(&config(&udp(1)))).unwrap();
    net.block_on(b.configure(&config(&udp(2)))).unwrap();
    // As a hosts file has it: without a port.
    net.names().insert(&"svc".parse().unwrap(), "10.0.0.1".parse().unwrap());
    let listener = a.stack().bind("svc").unwrap();
    net.spawn(async move { drop(listener.accept_async().await) });
    let flow = b.stack().flow("svc").timeout(Duration::from_secs(3));
    net.block_on(flow.alloc_async()).unwrap();
}

#[test]
fn a_broadcast_layer() {
    let net = Network::new(5);
    let (a, b) = (net.host("a").build(), net.host("b").build());
    let udp = |name: &str, i: u8| {
        format!("[udp4.{name}-net]\nbootstrap = \"internet\"\nip = \"10.0.0.{i}\"\nreg = [\"{name}\"]\n")
    };
    let first = udp("a", 1) + "[broadcast.a]\nbootstrap = \"news\"\nautobind = true";
    let second = udp("b", 2) + "[broadcast.b]\nenroll = \"a\"\nconn = [\"a\"]\nautobind = true";
    net.block_on(a.configure(&config(&first))).unwrap();
    let members = net.block_on(b.configure(&config(&second))).unwrap();
    assert!(!last(&members).connections().is_empty());
    let (here, there) = (a.stack().join("news").unwrap(), b.stack().join("news").unwrap());
    net.block_on(async {
        here.into_async().write(b"rain at noon").await.unwrap();
        assert_eq!(&*there.into_async().read_bytes().await.unwrap(), b"rain at noon");
    });
}
