use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::types::name::{HashAlg, Name};

const GOOD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)), 0);

/// A resolver whose look-ups wait until they are let go, each by one message, and those that have begun.
#[allow(clippy::disallowed_methods, reason = "a test's own channels, which nobody fills")]
fn slow() -> (SystemResolver, Sender<()>, Receiver<String>) {
    let (go, gate) = channel();
    let (begun, beginnings) = channel();
    let gate = Mutex::new(gate);
    let ask = move |host: &str| {
        let _ = begun.send(host.to_owned());
        // All wait here, one of them for the message and the others for the lock.
        let let_go = gate.lock().recv();
        let_go.map(|()| GOOD).into_iter().collect()
    };
    (SystemResolver::asking(ask), go, beginnings)
}

fn hash(name: &str) -> NameHash {
    HashAlg::Md5.hash(&name.parse::<Name>().unwrap())
}

/// Asks for a name. The answer comes with the name in front.
fn ask(resolver: &SystemResolver, name: String, answers: &Sender<(String, Vec<SocketAddr>)>) {
    let answers = answers.clone();
    let found = hash(&name);
    resolver.resolve(&found, Found::new(move |addrs| drop(answers.send((name, addrs)))));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test's own channels, which nobody fills")]
fn lookups_beyond_the_limit_wait_for_their_turn() {
    let (resolver, go, beginnings) = slow();
    let (sender, answers) = channel();
    for i in 0..MAX_LOOKUPS {
        ask(&resolver, format!("slow-{i}"), &sender);
        beginnings.recv().unwrap();
    }
    for i in 0..MAX_WAITING {
        ask(&resolver, format!("waits-{i}"), &sender);
    }
    assert!(answers.try_recv().is_err(), "answered although nobody was asked");
    // The one that has waited for longest makes room.
    ask(&resolver, "newest".to_owned(), &sender);
    assert_eq!(answers.try_recv().unwrap(), ("waits-0".to_owned(), vec![]));
    assert!(answers.try_recv().is_err(), "a second one was given up");
    // A place: the newest goes next, and is really asked for.
    go.send(()).unwrap();
    let newest: String = hash("newest").as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(beginnings.recv().unwrap(), newest);
    for _ in 1..MAX_LOOKUPS + MAX_WAITING {
        go.send(()).unwrap();
    }
    for _ in 0..MAX_LOOKUPS + MAX_WAITING {
        assert_eq!(answers.recv().unwrap().1, [GOOD]);
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test's own channels, which nobody fills")]
fn a_panic_of_who_asked_costs_no_place() {
    let (resolver, go, _beginnings) = slow();
    for _ in 0..MAX_LOOKUPS {
        resolver.resolve(&hash("any"), Found::new(|_| panic!("a test of panics")));
        go.send(()).unwrap();
    }
    let (sender, answers) = channel();
    go.send(()).unwrap();
    ask(&resolver, "next".to_owned(), &sender);
    assert_eq!(answers.recv().unwrap(), ("next".to_owned(), vec![GOOD]));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test's own channels, which nobody fills")]
fn nothing_more_is_asked_once_the_resolver_is_gone() {
    let (resolver, go, beginnings) = slow();
    let (sender, answers) = channel();
    for i in 0..MAX_LOOKUPS {
        ask(&resolver, format!("slow-{i}"), &sender);
        beginnings.recv().unwrap();
    }
    (0..100).for_each(|i| ask(&resolver, format!("waits-{i}"), &sender));
    drop(resolver);
    (0..100).for_each(|_| assert_eq!(answers.try_recv().unwrap().1, []));
    (0..MAX_LOOKUPS).for_each(|_| go.send(()).unwrap());
    (0..MAX_LOOKUPS).for_each(|_| assert_eq!(answers.recv().unwrap().1, [GOOD]));
    drop(go);
    assert!(beginnings.recv().is_err(), "asked for nobody");
}

#[test]
fn interfaces_have_numbers() {
    #[cfg(target_os = "linux")]
    assert_eq!(interface_index("lo"), Some(1));
    assert_eq!(interface_index("no such interface"), None);
    assert_eq!(interface_index(""), None);
}
