//! Layers whose members are authenticated: enrollment, management and data transfer use flows as any other, and what is demanded
//! of those is demanded of them.

use std::time::Duration;

use o7s::sim::{Host, Link, Network};
use o7s::{Builder, Kex, MemberError, NetworkConfig, QosSpec, SecurityConfig, UnicastLayer};

use crate::collect;
use crate::world::{Folder, authority_pem, store, with};

fn network() -> Network {
    collect::install();
    let net = Network::new(7);
    net.set_default_link(Link::default().latency(Duration::from_millis(2)));
    net
}

fn host(net: &Network, name: &str, at: &str, stack: impl FnOnce(Builder) -> Builder) -> Host {
    net.host(name).udp4(at).stack(|builder| stack(builder.name(name))).build()
}

fn records(stack: &str) -> Vec<String> {
    collect::take(stack).into_iter().map(|record| record.all()).collect()
}

/// Flows to members that came to be, as the stack's log has them.
fn flows(records: &[String], how: &str) -> Vec<String> {
    let is_flow = |record: &&String| record.contains(how) && record.contains("node-a");
    records.iter().filter(is_flow).cloned().collect()
}

#[test]
fn members_without_credentials_are_refused_and_told_why_in_the_log() {
    let net = network();
    let strict = |name: &str| with(name).kex(None);
    let a = host(&net, "layer a", "10.0.0.1", |s| s.security(strict("node-a")).authenticate_everything());
    let lower = a.udp4()[0].clone();
    let first = a.stack().unicast("node-a").over(&lower).bootstrap(UnicastLayer::new("net")).unwrap();
    let anonymous = SecurityConfig::encrypted(Kex::X25519).authorities(Some(store()));
    let b = host(&net, "layer b", "10.0.0.2", |s| s.security(anonymous));
    let refused = net.block_on(b.stack().unicast("node-b").timeout(Duration::from_secs(5)).enroll_async("node-a"));
    let refused = refused.unwrap_err();
    assert!(matches!(refused, MemberError::Alloc(_)), "{refused:?}");
    assert!(refused.to_string().contains("EAUTH"), "{refused}");
    let (here, there) = (records("layer a"), records("layer b"));
    let why = "refused: the peer shows no certificate, which is required here";
    assert!(here.iter().any(|record| record.contains("\"node-a\"") && record.contains(why)), "{here:#?}");
    let told = "not enrolled by way of \"node-a\"";
    assert!(there.iter().any(|record| record.contains(told) && record.contains("EAUTH")), "{there:#?}");

    // With credentials it is enrolled, and every flow between the two is authenticated.
    b.stack().set_default_security(with("node-b"));
    let second = net.block_on(b.stack().unicast("node-b").enroll_async("node-a")).unwrap();
    net.block_on(second.connect_async("node-a")).unwrap();
    assert_eq!((first.connections().len(), second.connections().len()), (2, 2));
    let (here, there) = (flows(&records("layer a"), "accepted"), flows(&records("layer b"), "allocated"));
    assert_eq!((here.len(), there.len()), (3, 3), "enrollment, management, data transfer: {here:#?} {there:#?}");
    for record in here {
        assert!(record.contains("cipher aes-256-gcm, node-b, by CN=authority 1 (claimed)"), "{record}");
    }
    for record in there {
        assert!(record.contains("cipher aes-256-gcm, node-a, by CN=authority 1 cipher"), "{record}");
    }
    // What runs over the layer has its own.
    a.stack().set_security("inside", SecurityConfig::default(), SecurityConfig::default()).unwrap();
    let listener = a.stack().bind("inside").unwrap();
    first.register("inside").unwrap();
    net.spawn(async move { listener.accept_async().await.map(drop) });
    b.stack().set_default_security(SecurityConfig::default());
    net.run_for(Duration::from_secs(20));
    let inside = net.block_on(b.stack().flow("inside").qos(QosSpec::RAW).alloc_async()).unwrap();
    assert!(!inside.as_blocking().is_encrypted());
}

#[test]
fn by_a_configuration_file() {
    let net = network();
    let member = |name: &str, ip: &str, rest: &str| {
        let folder = Folder::new(&[("security/cacert/authority.pem", &authority_pem())]);
        folder.identity("security/server", name, name);
        folder.identity("security/client", "node-a", name);
        let security = "[security]\ndir = \"security\"\nrequire = \"authentication\"\n";
        let below = format!("[udp4.{name}-net]\nbootstrap = \"internet\"\nip = \"{ip}\"\nreg = [\"{name}\"]\n");
        folder.write("network.toml", &format!("{security}{below}[unicast.{name}]\n{rest}"));
        folder
    };
    let joins = "enrol = \"node-a\"\nconn = [\"node-a\"]\n";
    let a = member("node-a", "10.0.0.1", "bootstrap = \"net\"\nautobind = true\n");
    let b = member("node-b", "10.0.0.2", joins);
    let stranger = member("node-c", "10.0.0.3", joins);
    stranger.remove("security/client");
    let up = |name: &str, folder: &Folder| {
        let host = net.host(name).stack(|builder| builder.name(name)).build();
        let config = NetworkConfig::read(folder.0.join("network.toml")).unwrap();
        let up = net.block_on(host.configure(&config));
        (host, up)
    };
    let (_a, first) = up("file a", &a);
    let (_b, second) = up("file b", &b);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first[1].connections().len(), second[1].connections().len()), (2, 2));
    let there = flows(&records("file b"), "allocated");
    assert_eq!(there.len(), 3, "{there:#?}");
    assert!(there.iter().all(|record| record.contains("aes-256-gcm, node-a, by CN=authority 1 ")), "{there:#?}");
    let (_c, third) = up("file c", &stranger);
    let error = third.unwrap_err().to_string();
    assert!(error.contains("enrollment with node-a failed") && error.contains("EAUTH"), "{error}");
    let here = records("file a");
    assert!(here.iter().any(|record| record.contains("the peer shows no certificate")), "{here:#?}");
}
