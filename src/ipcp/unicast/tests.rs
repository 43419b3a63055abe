//! A member by itself, without neighbours.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use alloc::format;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::base::buf::BufPool;
use crate::base::rng::Rng;
use crate::base::sync::Mutex;
use crate::base::time::Clock;
use crate::ipcp::connect::address::Met;
use crate::ipcp::{Alarm, Connections, Incoming, Member, Requests};
use crate::types::id::N1FlowId;
use crate::types::layer::{LayerConfig, LayerKind, Unicast as Parameters};
use crate::types::name::{HashAlg, Name};

/// What a member needs around it, and a test does not.
struct Nobody;

impl Requests for Nobody {
    fn incoming(&self, _: Instant, _: Incoming) {}
}

impl Connections for Nobody {
    fn lost(&self, _: Instant, _: N1FlowId) {}
}

impl Alarm for Nobody {
    fn set(&self, _: Instant) {}

    fn rang(&self) {}
}

/// A clock that stands still, and does something when it is next asked what day it is.
#[derive(Default)]
pub(super) struct Hooked(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Clock for Hooked {
    fn now(&self) -> Instant {
        Instant::from_millis(1000)
    }

    fn unix_nanos(&self) -> u64 {
        let hook = self.0.lock().take();
        hook.into_iter().for_each(|hook| hook());
        1_000_000_000
    }
}

/// A member that has joined a layer just now.
pub(super) fn joiner() -> (Arc<Unicast>, Arc<Hooked>) {
    let mut parameters = Parameters::default();
    parameters.directory.peer = Address(5);
    let layer =
        LayerConfig { name: Name::new("net").unwrap(), hash: HashAlg::Sha3_256, kind: LayerKind::Unicast(parameters) };
    let clock = Arc::new(Hooked::default());
    let (requests, connections): (Weak<Nobody>, Weak<Nobody>) = (Weak::new(), Weak::new());
    let parts = Parts {
        name: "member".into(),
        layer,
        unicast: parameters,
        address: Address(7),
        config: Config::default(),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        pool: BufPool::new(8),
        rng: Rng::from_seed([7; 32]),
        requests,
        connections,
        panics: Arc::default(),
        alarm: Box::new(|_| Arc::new(Nobody)),
    };
    (Unicast::new(parts).unwrap(), clock)
}

fn hashes() -> Vec<NameHash> {
    (0..200).map(|i| HashAlg::Sha3_256.hash(&Name::new(&format!("name {i}")).unwrap())).collect()
}

/// The names that the member's directory has.
fn registered(member: &Unicast) -> Vec<NameHash> {
    let mut names: Vec<_> =
        member.control.with_machines(|_, directory| directory.names().map(|(name, _)| name).collect());
    names.sort_unstable();
    names
}

#[test]
fn names_registered_while_the_member_takes_another_address_are_kept() {
    let mut names = hashes();
    let ((member, _clock), done) = (joiner(), AtomicUsize::new(0));
    let before = member.address();
    std::thread::scope(|s| {
        s.spawn(|| {
            for name in &names {
                member.register(Instant::ZERO, *name).unwrap();
                done.fetch_add(1, Ordering::Release);
            }
        });
        // One address after the other, for as long as names come, and one even if all came at once.
        loop {
            member.same_address(Instant::ZERO, member.address(), Met::Asked);
            if done.load(Ordering::Acquire) >= names.len() {
                break;
            }
        }
    });
    assert_ne!(member.address(), before);
    names.sort_unstable();
    assert_eq!(registered(&member), names);
}

#[test]
fn a_name_half_registered_while_the_member_takes_another_address_is_kept() {
    let ((member, _clock), name) = (joiner(), hashes()[0]);
    let before = member.address();
    // As far as a registration on another thread may have come.
    member.control.publish(Instant::ZERO, name).unwrap();
    member.same_address(Instant::ZERO, before, Met::Asked);
    assert_ne!(member.address(), before);
    member.flows.add_name(name);
    assert_eq!(registered(&member), [name]);
}

#[test]
fn a_name_registered_while_the_member_leaves_is_taken_back() {
    let ((member, clock), name) = (joiner(), hashes()[0]);
    let leaving = Arc::clone(&member);
    *clock.0.lock() = Some(Box::new(move || leaving.shutdown(Instant::ZERO)));
    assert_eq!(member.register(Instant::ZERO, name), Err(RegisterError::Down));
    assert!(clock.0.lock().is_none(), "it was left within the call");
    assert_eq!(registered(&member), []);
}
