//! With real threads and, where a network is meant, real sockets.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use o7s::device::Frames;
use o7s::types::device::Datagrams;
use o7s::{Eth, Event, Flow, FlowSet, LocalConfig, QosSpec, ReadError, Stack, Udp4, Udp6, UnicastLayer, WriteError};

use super::cable::Cable;
use super::padded::Padded;
use super::pipe::{PipeEnd, PipeShim};
use super::{ENCRYPTED, all, security_of};

/// Notices arrive long before this, and long before a flow's timeout of 120 s.
const BOUND: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Both ends in one stack, connected as a local layer does it for IPCPs.
    Direct,
    /// Both ends in one stack, by way of a local layer.
    Local,
    /// Two stacks on the loopback interface.
    Udp,
    /// The same with IPv6.
    Udp6,
    /// Two stacks on one Ethernet, where all frames have 60 bytes at least, in each of the formats.
    Dix,
    Llc,
    /// Two stacks at the ends of a layer that the library does not know.
    Custom,
    /// Two stacks that are members of a unicast layer over the loopback interface.
    Unicast,
}

const PLACES: [Place; 8] =
    [Place::Direct, Place::Local, Place::Udp, Place::Udp6, Place::Dix, Place::Llc, Place::Custom, Place::Unicast];

/// Two ends and what keeps them up.
struct Pair {
    near: Flow,
    far: Flow,
    client: Stack,
    server: Stack,
    _layers: Vec<o7s::IpcpHandle>,
}

fn stack(security: &str) -> Stack {
    Stack::builder().security(security_of(security)).build().unwrap()
}

fn pair(place: Place, qos: QosSpec, security: &str) -> Pair {
    let server = stack(security);
    let mut layers = Vec::new();
    let mut client = server.clone();
    match place {
        Place::Direct => {}
        Place::Local => {
            let net = server.local(LocalConfig::new("local", "local"));
            net.register("peer").unwrap();
            layers.push(net);
        }
        Place::Udp6 => {
            let net = server.udp6(Udp6::bind("[::1]:0")).unwrap();
            net.register("peer").unwrap();
            let at = net.local_addr().unwrap().to_string();
            client = stack(security);
            layers.push(client.udp6(Udp6::bind("[::1]:0").host("peer", &at).system_resolver(false)).unwrap());
        }
        Place::Dix | Place::Llc => {
            let config = if place == Place::Dix { Eth::dix("memory") } else { Eth::llc("memory") };
            client = stack(security);
            let [own, others] = Padded::pair();
            server.eth_over(others as Arc<dyn Frames>, config.clone()).unwrap().register("peer").unwrap();
            layers.push(client.eth_over(own as Arc<dyn Frames>, config).unwrap());
        }
        Place::Custom => {
            client = stack(security);
            let (one, other) = (Arc::new(PipeEnd::default()), Arc::new(PipeEnd::default()));
            let net = server.add(PipeShim::info(), |layer| PipeShim::new(layer, &one, &other)).unwrap();
            net.register("peer").unwrap();
            layers.push(client.add(PipeShim::info(), |layer| PipeShim::new(layer, &other, &one)).unwrap());
        }
        Place::Udp => {
            let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
            net.register("peer").unwrap();
            let at = net.local_addr().unwrap().to_string();
            client = stack(security);
            layers.push(client.udp4(Udp4::bind("127.0.0.1:0").host("peer", &at).system_resolver(false)).unwrap());
        }
        Place::Unicast => {
            let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
            let at = net.local_addr().unwrap().to_string();
            let a = server.unicast("a").over(&net).bootstrap(UnicastLayer::new("net")).unwrap();
            client = stack(security);
            let own = client.udp4(Udp4::bind("127.0.0.1:0").host("a", &at).system_resolver(false)).unwrap();
            let b = client.unicast("b").over(&own).enroll("a").unwrap();
            b.connect("a").unwrap();
            a.register("peer").unwrap();
            layers.extend([net, a, own, b]);
        }
    }
    let listener = server.bind("peer").unwrap();
    let accepts = spawn(move || listener.accept().unwrap());
    let near = client.flow("peer").qos(qos).timeout(BOUND).alloc().unwrap();
    Pair { near, far: accepts.join().unwrap(), client, server, _layers: layers }
}

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().spawn(f).unwrap()
}

/// Runs `test` over every sort of layer, for every sort of flow, in plain and encrypted.
fn everywhere(test: impl Fn(&str, QosSpec, Pair)) {
    for place in PLACES {
        for (name, qos) in all() {
            for security in ["", ENCRYPTED] {
                let what = format!("{name} over {place:?} {security}");
                test(&what, qos, pair(place, qos, security));
            }
        }
    }
}

/// Reads `flow` to its end. Returns the bytes, and the reason of the end.
fn drain(flow: &Flow) -> (usize, ReadError) {
    let (mut n, mut buf) = (0, [0; 2000]);
    loop {
        match flow.read_timeout(&mut buf, BOUND) {
            Ok(_) => n += 1,
            Err(e) => return (n, e),
        }
    }
}

#[test]
fn a_closed_flow_is_closed_at_the_other_end() {
    everywhere(|what, qos, Pair { near, far, .. }| {
        for _ in 0..50 {
            near.write(&[1; 100]).unwrap();
        }
        near.close(BOUND).unwrap_or_else(|e| panic!("{what}: {e}"));
        let (n, end) = drain(&far);
        assert_eq!(end, ReadError::Closed, "{what}");
        assert!(n == 50 || !qos.is_reliable(), "{what}: {n} of 50");
        assert_eq!(far.write(b"too late"), Err(WriteError::PeerClosed), "{what}");
    });
}

#[test]
fn waiting_readers_learn_of_a_close() {
    everywhere(|what, _, Pair { near, far, .. }| {
        let (tx, rx) = mpsc::sync_channel(1);
        let reads = spawn(move || {
            tx.send(()).unwrap();
            drain(&far).1
        });
        rx.recv().unwrap();
        drop(near);
        assert_eq!(reads.join().unwrap(), ReadError::Closed, "{what}");
    });
}

#[test]
fn a_half_closed_flow_goes_on() {
    everywhere(|what, qos, Pair { near, far, .. }| {
        let (read, write) = near.split();
        for _ in 0..20 {
            write.write(&[1; 100]).unwrap();
        }
        // As dropping the half that writes.
        drop(write);
        assert_eq!(read.flow().write(b"no more"), Err(WriteError::Closed), "{what}");
        let (n, end) = drain(&far);
        assert_eq!(end, ReadError::Closed, "{what}");
        assert!(n == 20 || !qos.is_reliable(), "{what}: {n} of 20");
        for _ in 0..20 {
            far.write(&[2; 100]).unwrap_or_else(|e| panic!("{what}: {e}"));
        }
        far.shutdown(Shutdown::Write);
        let (n, end) = drain(read.flow());
        assert_eq!(end, ReadError::Closed, "{what}");
        assert!(n == 20 || !qos.is_reliable(), "{what}: {n} of 20");
    });
}

#[test]
fn an_abort_reads_as_reset() {
    everywhere(|what, _, Pair { near, far, .. }| {
        near.write(b"x").unwrap();
        near.abort();
        assert_eq!(drain(&far).1, ReadError::Reset, "{what}");
        assert_eq!(far.write(b"x"), Err(WriteError::Reset), "{what}");
        let error = far.stream().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}");
    });
}

#[test]
fn a_stack_that_is_dropped_tells_its_peers() {
    for security in ["", ENCRYPTED] {
        for (name, qos) in all() {
            let Pair { near, far, client, server, _layers } = pair(Place::Udp, qos, security);
            near.write(b"x").unwrap();
            let mut buf = [0; 8];
            assert_eq!(far.read_timeout(&mut buf, BOUND), Ok(1), "{name}");
            // An answer, which brings the acknowledgement with it.
            far.write(b"y").unwrap();
            assert_eq!(near.read_timeout(&mut buf, BOUND), Ok(1), "{name}");
            drop(_layers);
            drop(client);
            // Flow and stack go in one.
            spawn(move || drop(near)).join().unwrap();
            let end = drain(&far).1;
            assert!(matches!(end, ReadError::Closed), "{name}, {security:?}: {end:?}");
            drop(server);
        }
    }
}

/// Nobody closes the flow but the stack, which ends while it is held: everything has been acknowledged, so that the other
/// end has all there is.
#[test]
fn shutdown_of_an_acknowledged_flow_reads_as_closed() {
    everywhere(|what, _, Pair { near, far, client, server, .. }| {
        near.write(b"x").unwrap();
        let mut buf = [0; 8];
        assert_eq!(far.read_timeout(&mut buf, BOUND), Ok(1), "{what}");
        // An answer, which brings the acknowledgement with it.
        far.write(b"y").unwrap();
        assert_eq!(near.read_timeout(&mut buf, BOUND), Ok(1), "{what}");
        // Where both ends are in one stack, both end here.
        let alone = Arc::ptr_eq(client.node(), server.node());
        client.shutdown();
        assert_eq!(drain(&far).1, if alone { ReadError::ClosedHere } else { ReadError::Closed }, "{what}");
        assert_eq!(near.try_read(&mut buf), Err(ReadError::ClosedHere), "{what}");
    });
}

/// A raw notice is no longer than a frame that is padded: its length must come from elsewhere.
#[test]
fn a_notice_in_a_padded_frame_is_a_notice() {
    for config in [Eth::dix("memory"), Eth::llc("memory")] {
        let (server, client) = (stack(""), stack(""));
        let [own, others] = Padded::pair();
        server.eth_over(others as Arc<dyn Frames>, config.clone()).unwrap().register("peer").unwrap();
        client.eth_over(Arc::clone(&own) as Arc<dyn Frames>, config).unwrap();
        let listener = server.bind("peer").unwrap();
        let accepts = spawn(move || listener.accept().unwrap());
        let near = client.flow("peer").qos(QosSpec::RAW).timeout(BOUND).alloc().unwrap();
        let far = accepts.join().unwrap();
        near.write(&[1; 3]).unwrap();
        assert_eq!(far.read_timeout(&mut [0; 100], BOUND), Ok(3));
        let before = own.padded();
        drop(near);
        assert_eq!(drain(&far), (0, ReadError::Closed));
        assert!(own.padded() > before, "the notice was in a padded frame");
    }
}

#[test]
fn a_layer_that_is_left_ends_its_flows_at_both_ends() {
    for place in PLACES.into_iter().filter(|place| !matches!(place, Place::Direct | Place::Local)) {
        for security in ["", ENCRYPTED] {
            for (name, qos) in all() {
                let what = format!("{name} over {place:?} {security}");
                let Pair { near, far, client: _client, server: _server, mut _layers } = pair(place, qos, security);
                let mut buf = [0; 8];
                near.write(b"x").unwrap();
                assert_eq!(far.read_timeout(&mut buf, BOUND), Ok(1), "{what}");
                far.write(b"y").unwrap();
                assert_eq!(near.read_timeout(&mut buf, BOUND), Ok(1), "{what}");
                let reads = spawn(move || (near.read_timeout(&mut [0; 8], BOUND), near));
                _layers.pop().unwrap().leave();
                assert_eq!(drain(&far).1, ReadError::Closed, "{what}");
                let (end, near) = reads.join().unwrap();
                assert_eq!(end, Err(ReadError::ClosedHere), "{what}");
                assert!(near.write(b"x").is_err(), "{what}");
            }
        }
    }
}

#[test]
fn shutdown_with_unacknowledged_data_reads_as_reset() {
    let Pair { near, far, client, server: _server, _layers } = pair(Place::Udp, QosSpec::DATA, "");
    // Far more than the window, as the other end does not read.
    while near.try_write(&[1; 1000]).is_ok() {}
    client.shutdown();
    assert_eq!(drain(&far).1, ReadError::Reset);
    assert!(near.write(b"x").is_err());
}

#[test]
fn shutdown_with_queued_packets_tells_the_peers() {
    for security in ["", ENCRYPTED] {
        for (name, qos) in all() {
            let Pair { near, far, client, server: _server, _layers } = pair(Place::Unicast, qos, security);
            while near.try_write(&[1; 500]).is_ok() {}
            client.shutdown();
            let end = drain(&far).1;
            // What the reader's window holds back is cut off, which is no end of a stream. Without acknowledgements the window may
            // open while the stack ends, and then nothing is.
            let right: &[ReadError] = match (qos.in_order, qos.is_reliable()) {
                (true, true) => &[ReadError::Reset],
                (true, false) => &[ReadError::Reset, ReadError::Closed],
                (false, _) => &[ReadError::Closed],
            };
            assert!(right.contains(&end), "{name}, {security:?}: {end:?}");
        }
    }
}

#[test]
fn a_killed_process_is_noticed_by_timeout() {
    for (name, qos) in all() {
        let (server, client, cable) = (stack(""), stack(""), Cable::new());
        let net = server.udp4_over(Arc::clone(&cable) as Arc<dyn Datagrams>, Udp4::bind("127.0.0.1:0")).unwrap();
        net.register("peer").unwrap();
        let at = net.local_addr().unwrap().to_string();
        client.udp4(Udp4::bind("127.0.0.1:0").host("peer", &at).system_resolver(false)).unwrap();
        let listener = server.bind("peer").unwrap();
        let accepts = spawn(move || listener.accept().unwrap());
        let qos = QosSpec { timeout: 1200, ..qos };
        let near = client.flow("peer").qos(qos).timeout(BOUND).alloc().unwrap();
        let far = accepts.join().unwrap();
        cable.pull();
        drop((far, server));
        assert_eq!(drain(&near).1, ReadError::PeerGone, "{name}");
    }
}

#[test]
fn streams_end() {
    for place in PLACES {
        for security in ["", ENCRYPTED] {
            let Pair { near, far, client: _client, server: _server, _layers } = pair(place, QosSpec::DATA, security);
            let echo = spawn(move || {
                let stream = far.stream();
                for line in BufReader::new(&stream).lines() {
                    writeln!(&stream, "{}!", line.unwrap()).unwrap();
                }
            });
            near.stream().write_all(b"one\ntwo\nthree\n").unwrap();
            near.shutdown(Shutdown::Write);
            let mut all = String::new();
            near.stream().read_to_string(&mut all).unwrap();
            assert_eq!(all, "one!\ntwo!\nthree!\n", "{place:?}");
            echo.join().unwrap();
        }
    }
}

#[test]
fn a_server_is_free_when_its_client_has_closed() {
    let server = stack("");
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("echo").unwrap();
    let listener = server.bind("echo").unwrap();
    // One client after the other, as in the example of the landing page.
    let serves = spawn(move || {
        let mut served = 0;
        while served < 20 {
            let flow = listener.accept().unwrap();
            let mut buf = [0; 64];
            while let Ok(n) = flow.read(&mut buf) {
                flow.write(&buf[..n]).unwrap();
            }
            served += 1;
        }
    });
    let client = stack("");
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
    for i in 0..20 {
        let qos = all()[i % 3].1;
        let flow = client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap();
        flow.write(b"hello").unwrap();
        assert_eq!(flow.read_timeout(&mut [0; 64], BOUND), Ok(5));
    }
    serves.join().unwrap();
}

#[test]
fn closed_clients_free_their_handlers() {
    let limits = o7s::settings::Limits::default().handlers(8);
    let server = Stack::builder().limits(limits).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("echo").unwrap();
    server
        .bind_handler("echo", |flow| {
            let mut buf = [0; 64];
            while let Ok(n) = flow.read(&mut buf) {
                let _ = flow.write(&buf[..n]);
            }
        })
        .unwrap();
    let client = stack("");
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
    for i in 0..60 {
        let flow = client.flow("echo").qos(all()[i % 3].1).timeout(BOUND).alloc().unwrap();
        flow.write(b"hello").unwrap();
        assert_eq!(flow.read_timeout(&mut [0; 64], BOUND), Ok(5), "client {i}");
        flow.close(BOUND).unwrap();
    }
}

#[test]
fn every_ending_is_an_event() {
    for place in PLACES {
        for (name, qos) in all() {
            let Pair { near, far, client: _client, server: _server, _layers } = pair(place, qos, "");
            let set = FlowSet::new();
            let token = set.add(&near);
            let mut told = Vec::new();
            let mut until = |event| {
                while !told.contains(&event) {
                    let events = set.wait(Some(BOUND));
                    assert!(!events.is_empty(), "{name} over {place:?}: no {event:?}");
                    told.extend(events.iter().filter(|e| e.token == token).map(|e| e.event));
                }
            };
            far.shutdown(Shutdown::Write);
            until(Event::Ended);
            assert_eq!(near.try_read(&mut [0; 8]), Err(ReadError::Closed));
            drop(far);
            until(Event::Deallocated);
        }
    }
}
