//! Somebody who sees a request answers it before the server does. What has all that binds it to this request, and not the signature
//! of who was called, ends the attempt, for that reason; what answers another one is not taken either.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use o7s::base::rng::Randomness;
use o7s::crypto::certificate::CertificateError;
use o7s::crypto::sign::SignError;
use o7s::crypto::suite::{Digest, Kex};
use o7s::oap::replay::ReplayCache;
use o7s::oap::server::Request;
use o7s::sim::Verdict;
use o7s::wire::oap::Message;
use o7s::wire::udp::{FlowReply, Mgmt};
use o7s::{AllocError, QosSpec, SecurityConfig, SecurityError, aio};

use crate::ends::{bank, count, flip};
use crate::identity::Role;
use crate::issue::{DAY, key};
use crate::renewal::World;

const SERVER: &str = "10.0.0.2:3435";
const CLIENT: &str = "10.0.0.1:3435";

/// The answer of one who shows the server's certificate, and has a key of his own.
fn answer(unix: u64, request: &[u8], qos: &QosSpec, certificate: &[u8]) -> Vec<u8> {
    let mut rng = Randomness::from_seed([5; 32]);
    let checked = Request::check(unix, request, &mut ReplayCache::default()).unwrap();
    let accepted = checked.accept(&SecurityConfig::encrypted(Kex::X25519)).unwrap();
    let (mut answer, _) = accepted.with_name(&bank()).with_qos(qos).respond(unix, b"welcome", 0, &mut rng).unwrap();
    Role::Server.resigned(certificate, &key(8))(&mut answer);
    answer
}

/// What becomes of an attempt whose first request is answered first by an attacker, who has read it after that `change`; and how
/// many packets of flows the client sends meanwhile.
fn attacked(world: &World, change: fn(&mut Vec<u8>)) -> (Result<aio::Flow, AllocError>, usize) {
    let (client, server): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    // The certificate is no secret: it is in every reply.
    let certificate: Rc<RefCell<Vec<u8>>> = Rc::default();
    let shown = Rc::clone(&certificate);
    let rule = world.net.on_packet(move |packet| {
        if let Ok(Mgmt::Reply(FlowReply { data, .. })) = Mgmt::parse(packet.data) {
            *shown.borrow_mut() = Message::parse_response(data, Digest::Sha256.nid()).unwrap().certificate.to_vec();
        }
        Verdict::Pass
    });
    assert!(world.allocate().is_ok());
    // Until that flow is over.
    world.net.run_for(Duration::from_secs(300));
    drop(rule);
    let (net, sent, mut is_first) = (world.net.clone(), Rc::new(RefCell::new(0)), true);
    let counted = Rc::clone(&sent);
    let rule = world.net.on_packet(move |packet| {
        match Mgmt::parse(packet.data) {
            Ok(Mgmt::Request(request)) if packet.src == client && core::mem::take(&mut is_first) => {
                let mut read = request.data.to_vec();
                change(&mut read);
                let data = answer(net.clock().unix_nanos(), &read, &request.qos, &certificate.borrow());
                let forged = FlowReply { s_eid: request.s_eid, d_eid: 77, response: 0, data: &data };
                net.inject(server, client, &forged.to_vec());
            }
            Err(_) if packet.src == client => *counted.borrow_mut() += 1,
            _ => {}
        }
        Verdict::Pass
    });
    let result = world.allocate();
    drop(rule);
    let sent = *sent.borrow();
    (result, sent)
}

/// As with TLS and QUIC, nothing protects an exchange before its keys are: who sees it can have it fail, and no more than that.
#[test]
fn who_answers_first_ends_the_attempt_and_is_told_nothing() {
    let world = World::new();
    world.serve();
    world.show(1, 100 * DAY);
    world.believe(1);
    let (ended, sent) = attacked(&world, |_| ());
    let why = match ended.map(drop) {
        Err(AllocError::Security(SecurityError::Peer(why))) => why,
        other => panic!("not refused for its signature: {other:?}"),
    };
    assert!(matches!(*why, CertificateError::Message { reason: SignError::Forged, .. }), "{why}");
    assert_eq!(sent, 0, "no packet of a flow");
    // The next attempt is another one.
    assert!(world.works(&world.allocate().unwrap()));
    assert_eq!(count(&world.client, "alloc_failed"), 1);
}

/// One who knows where the answer is awaited, but has not read the request. The layer takes one answer to each, and has a
/// repetition answered by what was said to the first: so the server is not heard any more, and the attempt is out of time.
#[test]
fn an_answer_to_another_request_is_not_taken() {
    for (what, change) in [("id", flip_id as fn(&mut Vec<u8>)), ("time", flip_time)] {
        let world = World::new();
        world.serve();
        world.show(1, 100 * DAY);
        world.believe(1);
        let (ended, sent) = attacked(&world, change);
        assert!(matches!(ended.map(drop), Err(AllocError::TimedOut(_))), "{what}");
        assert_eq!(sent, 0, "{what}: no packet of a flow");
        assert!(world.works(&world.allocate().unwrap()), "{what}: the next attempt is another one");
    }
}

fn flip_id(request: &mut Vec<u8>) {
    flip(0)(request);
}

fn flip_time(request: &mut Vec<u8>) {
    flip(23)(request);
}
