//! A flow whose ways are lost while its end is told of them.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use alloc::boxed::Box;
use core::sync::atomic::AtomicUsize;

use super::*;
use crate::base::buf::BufPool;
use crate::base::sync::Mutex;
use crate::base::time::ManualClock;
use crate::flow::{Endpoint, Env, FlowKey, Host, Opening, Outgoing, Params, Port};
use crate::frct::{Config, Frct};
use crate::ipcp::unicast::Unicast;
use crate::ipcp::unicast::tests::joiner;
use crate::ipcp::{Component, Connection};
use crate::types::device::SendError;
use crate::types::id::Address;
use crate::types::qos::QosSpec;
use crate::types::routes::Routes;

const NOW: Instant = Instant::ZERO;
const NEIGHBOUR: Address = Address(2);
const PEER: Address = Address(9);

/// Asks for nothing.
struct Nobody;

impl Host for Nobody {
    fn arm(&self, _: Instant, _: FlowKey) {}

    fn tick(&self, _: FlowKey) {}

    fn released(&self, _: FlowKey) {}
}

/// The way down of a flow's end, which notes that the end was told of another way, and does something then.
#[derive(Default)]
struct Told {
    times: AtomicUsize,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Port for Told {
    fn send(&self, _: Instant, _: &mut Outgoing) -> Result<(), SendError> {
        Ok(())
    }

    fn flush(&self, _: Instant) {
        self.times.fetch_add(1, Ordering::SeqCst);
        let then = self.then.lock().take();
        then.into_iter().for_each(|then| then());
    }

    fn mtu(&self) -> usize {
        1400
    }

    fn release(&self, _: Instant) {}
}

fn endpoint(key: FlowKey) -> Arc<Endpoint> {
    let env = Env {
        clock: Arc::new(ManualClock::new(0)),
        pool: BufPool::new(8),
        host: Arc::new(Nobody),
        panics: Arc::default(),
        inline: true,
    };
    Endpoint::new(key, &Arc::new(env))
}

/// Another N-1 flow to the neighbour, by which the peer is reached from now on.
fn add_way(member: &Unicast, id: u32) -> N1FlowId {
    let (id, component) = (N1FlowId(id), Component::DataTransfer);
    let (versions, own_versions, early) = Default::default();
    let endpoint = endpoint(id.0.into());
    member
        .data
        .add(id, &Connection { component, endpoint, peer: NEIGHBOUR, ours: true, versions, own_versions, early });
    publish_table(member);
    id
}

fn publish_table(member: &Unicast) {
    let mut routes = Routes::new(false);
    routes.push(PEER, [NEIGHBOUR]);
    member.data.follow(&routes);
}

fn lose_way(member: &Unicast, id: N1FlowId) {
    member.data.remove(id).unwrap();
    member.flows.lose_way(id);
}

/// A reliable flow to the peer.
fn flow(member: &Unicast) -> (Arc<FaFlow>, Arc<Told>) {
    let (endpoint, told) = (endpoint(1), Arc::new(Told::default()));
    let frct = Some(Box::new(Frct::new(Config { reliable: true, ..Config::default() }, 7)));
    let (qos, opening) = (QosSpec::DATA, Opening::default());
    let params =
        Params { qos, frct, protection: None, peering: None, rx_limit: 8, rx_bytes: 1 << 20, meter: None, opening };
    endpoint.activate(NOW, Arc::clone(&told) as Arc<dyn Port>, params);
    let flow = member.flows.enter(PEER, &qos, &endpoint, None).unwrap();
    flow.meet(NOW, Eid(u64::MAX >> 1));
    (flow, told)
}

#[test]
fn a_flow_that_loses_its_second_way_while_it_is_told_of_it_is_told_of_the_third() {
    let (member, _clock) = joiner();
    let first = add_way(&member, 1);
    let (flow, told) = flow(&member);
    let before = told.times.load(Ordering::SeqCst);
    let times = || told.times.load(Ordering::SeqCst) - before;
    flow.way.note(first);
    lose_way(&member, first);
    member.flows.tell_ways(NOW);
    assert_eq!(times(), 0, "there is no other way");
    // Nothing has gone by the second when it is lost, so that is no loss of this flow's way.
    let second = add_way(&member, 2);
    let losing = Arc::clone(&member);
    *told.then.lock() = Some(Box::new(move || lose_way(&losing, second)));
    member.flows.tell_ways(NOW);
    assert_eq!(times(), 1);
    assert!(told.then.lock().is_none() && flow.next_hop().is_none());
    member.flows.tell_ways(NOW);
    assert_eq!(times(), 1, "there is no third");
    add_way(&member, 3);
    member.flows.tell_ways(NOW);
    assert_eq!(times(), 2);
    publish_table(&member);
    member.flows.tell_ways(NOW);
    assert_eq!(times(), 2, "once");
}
