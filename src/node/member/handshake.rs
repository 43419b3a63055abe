//! The first messages on an N-1 flow, on either side.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use super::super::alloc::{Allocation, Via, Wanted};
use super::super::timers::Sleep;
use super::{ATTEMPT_TIMEOUT, MemberError, Membership, Node};
use crate::base::buf::PacketBuf;
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::flow::{Endpoint, ReadError};
use crate::ipcp::connect::address::Met;
use crate::ipcp::connect::cep::{CepError, Connected, Initiator, Offer, Refused, accept as accept_offer};
use crate::ipcp::connect::enroll::{Applicant, Layer, Member as Attendant, Progress};
use crate::ipcp::connect::manager::Want;
use crate::ipcp::connect::{FIRST_STEP_TIMEOUT, Purpose, STEP_TIMEOUT};
use crate::ipcp::{Component, Connection, ConnectionRefused};
use crate::types::id::{Address, N1FlowId};
use crate::types::name::Name;
use crate::types::qos::QosSpec;
use crate::wire::cep;

/// Time limit for the last message on a flow that is being closed.
const LINGER: Duration = Duration::from_millis(500);

/// Handshakes with others that are under way at a time; more are refused, before anything is agreed on with them.
const MAX_HANDSHAKES: usize = 1024;
/// Limit of handshakes with one host, which may be a network: all that are behind one address, or of one prefix of IPv6.
const MAX_HANDSHAKES_OF_HOST: usize = 256;
/// Limit of handshakes with one requester of a host. A neighbour needs one for each component, and one to enroll.
const MAX_HANDSHAKES_OF_PEER: usize = 32;

/// Who begins a handshake: a requester, and its host. `None` in this stack, whose programs have no limit of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::node) struct Beginner {
    pub(in crate::node) peer: u64,
    pub(in crate::node) host: Option<u64>,
}

/// Handshakes under way.
#[derive(Default)]
pub(super) struct Handshakes {
    all: usize,
    of_host: BTreeMap<u64, usize>,
    of_peer: BTreeMap<(u64, u64), usize>,
}

impl Handshakes {
    pub(super) fn has_room(&self, beginner: Beginner) -> bool {
        let Beginner { peer, host } = beginner;
        let is_free = host.is_none_or(|host| {
            let (of_host, of_peer) = (self.of_host.get(&host), self.of_peer.get(&(host, peer)));
            of_host.is_none_or(|n| *n < MAX_HANDSHAKES_OF_HOST) && of_peer.is_none_or(|n| *n < MAX_HANDSHAKES_OF_PEER)
        });
        self.all < MAX_HANDSHAKES && is_free
    }

    pub(super) fn begin(&mut self, Beginner { peer, host }: Beginner) {
        self.all += 1;
        if let Some(host) = host {
            *self.of_host.entry(host).or_default() += 1;
            *self.of_peer.entry((host, peer)).or_default() += 1;
        }
    }

    pub(super) fn end(&mut self, Beginner { peer, host }: Beginner) {
        self.all = self.all.saturating_sub(1);
        if let Some(host) = host {
            one_less(&mut self.of_host, host);
            one_less(&mut self.of_peer, (host, peer));
        }
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// A flow that is closed when it is not wanted any more.
pub(super) struct N1(pub(super) Option<Arc<Endpoint>>);

impl N1 {
    fn keep(mut self) -> Option<Arc<Endpoint>> {
        self.0.take()
    }
}

impl Drop for N1 {
    fn drop(&mut self) {
        if let Some(endpoint) = self.0.take() {
            endpoint.close(LINGER);
        }
    }
}

/// Allocates a flow through the layers of `via`, as long as an attempt may take, and until `until` at most. Also returns the
/// time of the round trip.
pub(super) async fn allocate(
    node: &Weak<Node>,
    via: &Via,
    name: &Name,
    qos: QosSpec,
    until: Instant,
) -> Result<(Arc<Endpoint>, Duration), MemberError> {
    let node = node.upgrade().ok_or(MemberError::StackDown)?;
    let timeout = Some(until.since(node.clock().now()).min(ATTEMPT_TIMEOUT));
    let wanted = Wanted { name: name.clone(), qos, timeout, data: Vec::new(), via: via.clone() };
    let mut allocation = Allocation::new(&node, wanted);
    drop(node);
    let allocated = poll_fn(|cx| allocation.poll(cx)).await?;
    Ok((allocated.endpoint, allocation.round_trip()))
}

/// The next packet that is not empty; `None` when `until` has come or the flow has ended.
pub(super) async fn next_packet(node: &Weak<Node>, endpoint: &Arc<Endpoint>, until: Instant) -> Option<PacketBuf> {
    let mut sleep = Sleep::new(&node.upgrade()?.timers);
    let reader = endpoint.reader();
    poll_fn(|cx| {
        loop {
            match endpoint.poll_read_packet(&reader, cx.waker()) {
                Ok(pkt) if pkt.is_empty() => {}
                Ok(pkt) => return Poll::Ready(Some(pkt)),
                Err(ReadError::WouldBlock) => break,
                Err(_) => return Poll::Ready(None),
            }
        }
        match node.upgrade() {
            Some(node) if node.clock().now() < until => {
                sleep.set(until, cx.waker());
                Poll::Pending
            }
            _ => Poll::Ready(None),
        }
    })
    .await
}

fn now_of(node: &Weak<Node>) -> Result<Instant, MemberError> {
    node.upgrade().filter(|n| !n.is_down()).map(|n| n.clock().now()).ok_or(MemberError::StackDown)
}

/// Sends a packet of a handshake. One that the flow has no room for now is as good as lost.
pub(super) fn send(endpoint: &Endpoint, bytes: &[u8]) {
    let _ = endpoint.write(bytes);
}

/// Says what the flow is for, and waits for the answer, until `until` at most.
pub(super) async fn introduce(
    node: &Weak<Node>,
    endpoint: &Arc<Endpoint>,
    own: cep::Message,
    until: Instant,
) -> Result<Connected, MemberError> {
    let until = until.min(now_of(node)? + STEP_TIMEOUT);
    let mut initiator = Initiator::new(own);
    send(endpoint, &initiator.first());
    loop {
        let pkt = next_packet(node, endpoint, until).await.ok_or(MemberError::Silent)?;
        if let Some(connected) = initiator.handle_packet(pkt)? {
            return Ok(connected);
        }
    }
}

/// Makes a connection, and has the IPCP take it over.
pub(super) async fn connect(
    membership: &Arc<Membership>,
    node: &Weak<Node>,
    want: &Want,
) -> Result<(N1FlowId, Address), MemberError> {
    let via = membership.via_for(&want.way)?;
    let allocated = allocate(node, &via, &want.way.destination, want.qos, Instant::FAR_FUTURE).await;
    let (flow, round_trip) = allocated.map_err(|e| membership.with_layer(&want.way, e))?;
    let flow = N1(Some(flow));
    let endpoint = flow.0.clone().ok_or(MemberError::GivenUp)?;
    let mut own = membership.member.component(want.component).ok_or(ConnectionRefused::Component)?;
    own.note_round_trip(round_trip);
    let (own_versions, as_address) = (own.versions.clone(), own.address);
    let introduced = introduce(node, &endpoint, own, Instant::FAR_FUTURE).await;
    if let Err(MemberError::Cep(CepError::OwnAddress(address))) = introduced {
        membership.member.same_address(now_of(node)?, address, Met::Asked);
    }
    let Connected { peer, versions, early } = introduced?;
    let endpoint = flow.keep().ok_or(MemberError::GivenUp)?;
    let (component, taken) = (want.component, Arc::clone(&endpoint));
    let connection = Connection { component, endpoint: taken, peer, ours: true, versions, own_versions, early };
    match membership.take_over(now_of(node)?, as_address, connection) {
        Ok(id) => Ok((id, peer)),
        Err(e) => {
            endpoint.close(LINGER);
            Err(e.into())
        }
    }
}

impl Membership {
    /// Has the IPCP take over a connection for which it has introduced itself with an address that it may have given up
    /// since: the neighbour would not know it by the other.
    fn take_over(
        &self,
        now: Instant,
        as_address: Address,
        connection: Connection,
    ) -> Result<N1FlowId, ConnectionRefused> {
        let component = connection.component;
        let id = self.member.connected(now, connection)?;
        if self.member.component(component).is_some_and(|own| own.address != as_address) {
            self.member.disconnect(now, id);
            return Err(ConnectionRefused::Renamed);
        }
        Ok(id)
    }

    /// Counts and logs a refused connection.
    fn note_refused(&self, now: Instant, endpoint: &Endpoint, refused: &Refused) {
        let (ipcp, why) = (&self.member.info().name, refused.why);
        record!(endpoint.panics(), Neighbour, Warn, [ipcp = ipcp, reason = why], "{ipcp:?} refused an N-1 flow: {why}");
        if let CepError::OwnAddress(address) = why {
            self.member.same_address(now, address, Met::Asking(refused.incarnation));
        }
    }
}

/// Serves the handshake on a flow that a peer has allocated to this member.
pub(super) async fn accept(membership: &Arc<Membership>, node: &Weak<Node>, endpoint: Arc<Endpoint>) {
    let flow = N1(Some(Arc::clone(&endpoint)));
    let Ok(now) = now_of(node) else { return };
    let Some(first) = next_packet(node, &endpoint, now + FIRST_STEP_TIMEOUT).await else { return };
    let of = |component| membership.member.component(component).map(|own| Offer::new(component, own));
    let offers = [Component::Management, Component::DataTransfer].into_iter().filter_map(of);
    let offers: Vec<_> = core::iter::once(Offer::enrollment()).chain(offers).collect();
    let accepted = match accept_offer(&offers, &first) {
        Ok(accepted) => accepted,
        Err(refused) => {
            if let Some(answer) = &refused.answer {
                send(&endpoint, answer);
            }
            let Ok(now) = now_of(node) else { return };
            membership.note_refused(now, &endpoint, &refused);
            return;
        }
    };
    send(&endpoint, &accepted.answer);
    let Purpose::Component(component) = accepted.purpose else {
        attend_joiner(membership, node, &endpoint).await;
        return;
    };
    let (Ok(now), Some(endpoint)) = (now_of(node), flow.keep()) else { return };
    let (peer, versions, own_versions) = (accepted.peer, accepted.versions, accepted.own_versions);
    let as_address = accepted.own;
    let (taken, early) = (Arc::clone(&endpoint), Vec::new());
    let connection = Connection { component, endpoint: taken, peer, ours: false, versions, own_versions, early };
    match membership.take_over(now, as_address, connection) {
        Ok(id) => {
            let kept = membership.inner.lock().manager.accepted(now, id, component, peer);
            membership.settle(now, id, kept.is_ok());
            if let Some(node) = node.upgrade() {
                membership.note_connected(&node, component, id, peer, "the neighbour");
            }
        }
        Err(e) => {
            let ipcp = &membership.member.info().name;
            record!(
                endpoint.panics(),
                Neighbour,
                Warn,
                [ipcp = ipcp, address = peer, reason = e],
                "{ipcp:?} refused an N-1 flow of member {peer}: {e}"
            );
            endpoint.close(LINGER);
        }
    }
}

/// Gives a joiner the configuration of the layer.
async fn attend_joiner(membership: &Arc<Membership>, node: &Weak<Node>, endpoint: &Arc<Endpoint>) {
    let Ok(now) = now_of(node) else { return };
    let mut attendant = Attendant::new(now);
    let address = membership.member.component(Component::DataTransfer).map_or(Address(0), |own| own.address);
    let config = membership.member.layer_config();
    let ipcp = &membership.member.info().name;
    while let Some(pkt) = next_packet(node, endpoint, attendant.deadline()).await {
        let Some(node) = node.upgrade() else { return };
        let admission = |applicant: &Applicant| {
            // An admission that panics admits no one.
            node.panics().call(|| membership.admission.admit(applicant)).unwrap_or(Err(-1))
        };
        let layer = Layer { config: &config, address, admission: &admission };
        match attendant.handle_packet(node.clock().now(), node.clock().unix_nanos(), &pkt, &layer) {
            Ok(Progress::Wait) => {}
            Ok(Progress::Send(bytes)) => send(endpoint, &bytes),
            Ok(Progress::Deny(bytes)) => {
                record!(node.panics(), Enroll, Warn, [ipcp = ipcp], "{ipcp:?} did not admit a new member");
                send(endpoint, &bytes);
                return;
            }
            Ok(Progress::Joined) => {
                record!(node.panics(), Enroll, Info, [ipcp = ipcp], "a new member enrolled by way of {ipcp:?}");
                return;
            }
            Err(e) => {
                record!(
                    node.panics(),
                    Enroll,
                    Warn,
                    [ipcp = ipcp, reason = e],
                    "enrollment of a new member by way of {ipcp:?} failed: {e}"
                );
                return;
            }
        }
    }
}
