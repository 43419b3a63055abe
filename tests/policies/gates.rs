//! Gates: the program decides on a request before it sees the flow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use o7s::admission::FlowRequest;
use o7s::{AllocError, Code, PeerIdentity, QosSpec};

use crate::world::{Two, with};

fn only(name: &'static str) -> impl Fn(&FlowRequest<'_>) -> Result<(), Code> + Send + Sync {
    move |request| match request.peer.claimed() {
        Some(peer) if &*peer.name == name => Ok(()),
        _ => Err(Code::PERM),
    }
}

fn code(error: &AllocError) -> Code {
    match error {
        AllocError::Refused { code, .. } => *code,
        other => panic!("{other}"),
    }
}

#[test]
fn a_gate_sees_what_was_negotiated_and_only_claims() {
    let two = Two::new(with("vault"), with("alice"));
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let gate = move |request: &FlowRequest<'_>| {
        assert!(matches!(request.peer, PeerIdentity::Claimed(_)) && !request.peer.is_confirmed());
        let FlowRequest { name, peer, security, qos, layer, data, .. } = request;
        let data = String::from_utf8_lossy(data);
        notes.lock().unwrap().push(format!("{name} {peer} {security} {} {layer} {data}", qos.is_reliable()));
        Ok(())
    };
    two.server.stack().set_gate("vault", gate).unwrap();
    let listener = two.server.listen("vault");
    two.net.spawn(async move { listener.accept_async().await.map(drop) });
    let asking = two.client.stack().flow("vault").qos(QosSpec::DATA).data("open").alloc_async();
    two.net.block_on(asking).unwrap();
    let expected =
        "vault alice, by CN=authority 1 (claimed) encrypted (X25519, sha256, aes-256-gcm), peer: o7s true udp4 open";
    assert_eq!(*seen.lock().unwrap(), [expected]);
}

#[test]
fn its_refusal_is_the_code_that_the_client_gets_and_no_accept_ends() {
    let two = Two::new(with("vault"), with("mallory"));
    two.server.stack().set_gate("vault", only("alice")).unwrap();
    assert_eq!(code(&two.refused()), Code::PERM);
    assert_eq!((two.counted(&two.server, "not_admitted"), two.counted(&two.server, "accepted")), (1, 0));
    two.server.stack().set_gate("vault", only("mallory")).unwrap();
    two.flow(QosSpec::RAW).unwrap();
    two.server.stack().set_gate("vault", only("alice")).unwrap();
    two.server.stack().remove_gate("vault");
    two.flow(QosSpec::RAW).unwrap();
}

#[test]
fn a_gate_that_panics_refuses() {
    let two = Two::new(with("vault"), with("alice"));
    let gate = |_: &FlowRequest<'_>| -> Result<(), Code> { std::panic::resume_unwind(Box::new("a bug of a gate")) };
    two.server.stack().set_gate("vault", gate).unwrap();
    assert_eq!(code(&two.refused()), Code::AUTH);
    assert_eq!(two.server.stack().node().panics().count(), 1);
    two.server.stack().remove_gate("vault");
    two.flow(QosSpec::RAW).unwrap();
}

/// Held locks would be held for ever, as the gate uses the stack.
#[test]
fn a_gate_may_use_the_stack_and_set_another() {
    let two = Two::new(with("vault"), with("alice"));
    let stack = two.server.stack().clone();
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&asked);
    let gate = move |_: &FlowRequest<'_>| {
        counts.fetch_add(1, Ordering::Relaxed);
        stack.bind("another").unwrap();
        stack.set_security("vault", with("vault"), with("vault")).unwrap();
        assert!(stack.rib().get("node/incoming").unwrap_or(0) > 0);
        stack.remove_gate("vault");
        Ok(())
    };
    two.server.stack().set_gate("vault", gate).unwrap();
    two.flow(QosSpec::RAW).unwrap();
    two.flow(QosSpec::RAW).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// Neither what a gate captures nor the reply of the program is touched by somebody who is refused.
#[test]
fn the_program_is_not_asked_for_an_answer_to_who_is_refused() {
    let stack = o7s::Stack::builder().gate(|_: &FlowRequest<'_>| Err(Code::AUTH)).build().unwrap();
    let listener = stack.bind("vault").unwrap();
    let answers = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&answers);
    let accepting = std::thread::Builder::new().spawn(move || {
        listener.accept_with(|_| {
            counts.fetch_add(1, Ordering::Relaxed);
            Vec::new()
        })
    });
    let refused = stack.flow("vault").data("secret").alloc().unwrap_err();
    assert_eq!((code(&refused), answers.load(Ordering::Relaxed)), (Code::AUTH, 0));
    stack.shutdown();
    assert!(accepting.unwrap().join().unwrap().is_err());
}

/// What a gate captures is dropped with the stack, or with the next gate.
#[test]
fn gates_are_dropped() {
    let stack = o7s::Stack::builder().build().unwrap();
    let held = Arc::new(());
    let gate = |held: &Arc<()>| {
        let held = Arc::clone(held);
        move |_: &FlowRequest<'_>| {
            let _ = &held;
            Ok(())
        }
    };
    stack.set_gate("a", gate(&held)).unwrap();
    stack.set_gate("a", gate(&held)).unwrap();
    stack.set_gate("b", gate(&held)).unwrap();
    assert_eq!(Arc::strong_count(&held), 3);
    stack.remove_gate("b");
    assert_eq!(Arc::strong_count(&held), 2);
    stack.shutdown();
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(stack.set_gate("a", gate(&held)).is_err());
    assert_eq!(Arc::strong_count(&held), 1);
}
