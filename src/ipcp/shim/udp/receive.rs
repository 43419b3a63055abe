//! Receiving: to whom a datagram goes, and what management asks for.

use alloc::sync::Arc;
use core::fmt::Display;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::super::super::reply::{Grant, Replies, ReplyOnce, check_size, refused};
use super::super::super::{Incoming, Location, Origin, Reply, RequestError};
use super::super::management::{Shed, handle_each};
use super::super::receiver::{Current, Receiver};
use super::{Moves, Peer, REFERENCE_EIDS, UdpFlow, UdpPort, UdpShim, route_of};
use crate::base::buf::PacketBuf;
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::types::addr::{Route, needs_scope, scope_of};
use crate::types::code::Code;
use crate::types::device::Datagram;
use crate::wire::udp::{EID_LEN, FlowReply, FlowRequest, MGMT_EID, Mgmt, NO_EID};

/// The reference stores whom it asked only after it has sent the request: a reply that is there sooner is lost.
const REFERENCE_REPLY_DELAY: Duration = Duration::from_millis(2);

impl UdpShim {
    /// Takes what the socket has and hands data to the endpoints; management waits until the lock is released, because
    /// it goes up to the stack. Returns how many datagrams there were.
    pub(super) fn take_in(&self, now: Instant, r: &mut Receiver<Datagram>) -> usize {
        let n = self.socket.for_loop().recv(&mut r.arrived, &mut r.cache);
        r.cache.settle(now);
        if n == 0 {
            return 0;
        }
        self.counters.received.add(n as u64);
        let mut current = Current::none();
        for mut datagram in r.arrived.drain(..) {
            let Some(eid) = datagram.data.first_chunk::<EID_LEN>().map(|e| u32::from_be_bytes(*e)) else {
                self.note_malformed(&route_of(&datagram), datagram.data.len(), "shorter than an EID");
                self.tell_dropped(&datagram, &"shorter than an EID");
                r.cache.put(datagram.data);
                continue;
            };
            let (peer, len) = (datagram.src, datagram.data.len());
            record!(
                self.panics, Datagram, Trace, [peer = peer, eid: eid, bytes: len],
                "{len} bytes from {peer} for EID {eid:#x}"
            );
            if eid == MGMT_EID {
                for dropped in self.put_aside(datagram) {
                    r.cache.put(dropped.data);
                }
                continue;
            }
            let route = route_of(&datagram);
            if !current.is(&(eid, route)) {
                current.deliver(now, &mut r.group);
                match self.flow_of(now, eid, route) {
                    Some(flow) if !flow.peer.is_on(route) => {
                        datagram.data.pull(EID_LEN);
                        self.receive_elsewhere(now, eid, route, &flow, datagram.data);
                        continue;
                    }
                    Some(flow) => current.begin((eid, route), flow),
                    None => self.tell_dropped(&datagram, &"no flow has the EID"),
                }
            }
            if current.is_some() {
                datagram.data.pull(EID_LEN);
                r.group.push(datagram.data);
            } else {
                r.cache.put(datagram.data);
            }
        }
        current.deliver(now, &mut r.group);
        n
    }

    /// Tells the device that a datagram is dropped, and why.
    fn tell_dropped(&self, datagram: &Datagram, why: &dyn Display) {
        self.socket.call(|d| d.note_dropped(datagram, why), ());
    }

    /// The flow that a data datagram belongs to. Without one it is dropped without an answer.
    fn flow_of(&self, now: Instant, eid: u32, route: Route) -> Option<Arc<UdpFlow>> {
        let flow = self.flows.get(eid.into());
        if flow.is_none() {
            self.counters.unknown_eid.count();
            let peer = route.remote;
            self.strays.lock().fault(now, host_number(peer));
            record!(
                self.panics, Malformed, Debug, [peer = peer, eid: eid],
                "datagram from {peer} dropped: no flow has the EID {eid:#x}"
            );
        }
        flow
    }

    /// A packet has come from another address than the peer's, which may have moved. Otherwise it is dropped.
    fn receive_elsewhere(&self, now: Instant, eid: u32, route: Route, flow: &UdpFlow, pkt: PacketBuf) {
        if self.may_move(now, flow, route) && flow.endpoint.receive_elsewhere(now, route, [pkt]) > 0 {
            return;
        }
        self.counters.wrong_source.count();
        let peer = route.remote;
        record!(
            self.panics, Malformed, Debug, [peer = peer, eid: eid],
            "datagram from {peer} dropped: the flow with EID {eid:#x} has another peer"
        );
    }

    /// Keeps a management datagram until it is handled. Returns what is dropped: what nobody waits for is at once, so that a
    /// flood of it does not keep anything else out.
    pub(super) fn put_aside(&self, datagram: Datagram) -> Shed<Datagram> {
        let route = route_of(&datagram);
        let answers = match Mgmt::parse(&datagram.data) {
            Ok(Mgmt::Request(_)) => None,
            Ok(Mgmt::Reply(m)) if self.expects(route, &m) => Some(m.s_eid.into()),
            Ok(Mgmt::Reply(_)) => {
                self.counters.replies_unexpected.count();
                self.tell_dropped(&datagram, &"nobody waits for this reply");
                return Shed::from([datagram]);
            }
            Err(e) => {
                self.note_malformed(&route, datagram.data.len(), e);
                self.tell_dropped(&datagram, &e);
                return Shed::from([datagram]);
            }
        };
        let (peer, bytes) = (host_number(route.remote), datagram.data.memory());
        let kept = self.management.lock().push(peer, bytes, answers, datagram);
        match kept {
            Ok(shed) => {
                for datagram in &shed {
                    self.counters.management_drops.count();
                    self.tell_dropped(datagram, &"too many requests and replies wait");
                }
                shed
            }
            Err(again) => {
                self.counters.replies_unexpected.count();
                self.tell_dropped(&again, &"a reply to the same request waits");
                Shed::from([again])
            }
        }
    }

    fn expects(&self, route: Route, m: &FlowReply<'_>) -> bool {
        self.flows.get(m.s_eid.into()).is_some_and(|end| end.peer.is_on(route) && end.is_requested())
    }

    /// Returns `true` if the flow may go on at this route. A host that has tried many EIDs has not found a plain flow by it: what
    /// it gets for the right one, before it has shown anything else, would tell it that it is.
    fn may_move(&self, now: Instant, flow: &UdpFlow, route: Route) -> bool {
        let guesses = || self.strays.lock().is_over(now, host_number(route.remote));
        match self.config.moves {
            Moves::Never => false,
            _ if !flow.endpoint.is_encrypted() && guesses() => false,
            Moves::All => true,
            Moves::Encrypted => {
                let (own, port) = (flow.peer.route().remote, route.remote.port());
                let same_host = |mut own: SocketAddr| {
                    own.set_port(port);
                    own == route.remote
                };
                same_host(own) || flow.endpoint.is_encrypted()
            }
        }
    }

    /// Handles the management datagrams that [`take_in`](Self::take_in) put aside. Called without locks held, by
    /// everybody who has received.
    pub(super) fn handle_messages(&self) {
        let more = handle_each(&self.management, &*self.clock, |now, datagram| {
            let route = route_of(&datagram);
            match Mgmt::parse(&datagram.data) {
                Ok(Mgmt::Request(m)) => self.handle_request(now, route, m),
                Ok(Mgmt::Reply(m)) => self.handle_reply(route, m),
                Err(e) => self.note_malformed(&route, datagram.data.len(), e),
            }
            self.pool.put(datagram.data);
        });
        if more {
            // Whoever is about to wait, or waits, handles the others.
            self.socket.recall();
        }
    }

    /// Counts a datagram that is none of the layer.
    fn note_malformed(&self, route: &Route, len: usize, why: impl Display) {
        self.counters.malformed.count();
        let peer = route.remote;
        record!(
            self.panics, Malformed, Debug, [peer = peer, bytes: len, reason = why],
            "malformed datagram of {len} bytes from {peer} dropped: {why}"
        );
    }

    fn handle_request(&self, now: Instant, route: Route, m: FlowRequest<'_>) {
        self.counters.requests_in.count();
        if m.s_eid == MGMT_EID || m.s_eid == NO_EID {
            self.note_malformed(&route, FlowRequest::OVERHEAD + m.data.len(), "the EID of the requester is reserved");
            return;
        }
        let (Some(shim), Some(requests)) = (self.me.upgrade(), self.requests.upgrade()) else { return };
        let responder = ReplyOnce::new(shim, Requester { route, s_eid: m.s_eid });
        let address = host_number(route.remote);
        let origin = Origin { address, received: FlowRequest::OVERHEAD + m.data.len() };
        let request = Incoming::new(&self.info, m.dst, m.qos, m.data.to_vec(), responder)
            .from_peer(peer_number(route.remote), Some(origin))
            .located(Location::Host(route.remote));
        let is_known = self.names.lock().contains_key(&m.dst);
        if !is_known {
            let Some(request) = requests.repeated(now, request) else { return };
            let (name, peer) = (m.dst, route.remote);
            record!(
                self.panics,
                Refused,
                Debug,
                [hash = name, peer = peer],
                "request for a flow from {peer} refused: no name with hash {name} is registered"
            );
            request.responder.refuse(now, Code::NAME);
            return;
        }
        requests.incoming(now, request);
    }

    fn handle_reply(&self, route: Route, m: FlowReply<'_>) {
        let flow = self.flows.get(m.s_eid.into()).filter(|f| f.peer.is_on(route));
        let requested = flow.as_ref().and_then(|f| f.take_request());
        let (Some(flow), Some((answer, token))) = (flow, requested) else {
            self.counters.replies_unexpected.count();
            return;
        };
        self.counters.replies_in.count();
        // From now on the flow is between these two: from this address the peer will answer, and to it we do.
        flow.peer.answered_at(route.local);
        let result = match (m.response, m.d_eid, self.me.upgrade()) {
            (0, MGMT_EID | NO_EID, _) | (0, _, None) => Err(Code::CRYPT),
            (0, remote, Some(shim)) => Ok(UdpPort::new(&shim, &flow.endpoint, &flow.peer, m.s_eid, remote)),
            (response, ..) => Err(Code::from_response(response)),
        };
        if result.is_err() {
            self.flows.remove(m.s_eid.into());
        }
        answer.answered(token, Reply::of(result, m.data));
    }
}

impl UdpShim {
    fn send_refusal(&self, to: &Requester, code: Code, data: &[u8]) {
        self.counters.refused.count();
        let reply = FlowReply { s_eid: to.s_eid, d_eid: 0, response: code.to_response(), data };
        self.send_reply(to.route, &reply.to_vec());
    }

    /// Sends a reply from the address that was asked. One that cannot be sent is a lost one.
    fn send_reply(&self, route: Route, reply: &[u8]) {
        if let Err(e) = self.send(route, reply, None) {
            self.counters.fault(e, 1);
            self.note_unsent(route, e);
        }
    }
}

/// The requester: its route, and its EID of the flow.
#[derive(Clone, Copy)]
pub struct Requester {
    route: Route,
    s_eid: u32,
}

impl Replies for UdpShim {
    type Requester = Requester;

    fn hold(&self, to: &Requester) -> Duration {
        if to.s_eid < REFERENCE_EIDS { REFERENCE_REPLY_DELAY } else { Duration::ZERO }
    }

    fn has_room(&self) -> bool {
        self.flows.has_room()
    }

    fn accept(
        self: &Arc<Self>,
        to: &Requester,
        endpoint: &Arc<Endpoint>,
        data: &[u8],
    ) -> Result<Grant, (Code, RequestError)> {
        let Requester { route, s_eid } = *to;
        let max = self.config.max_mgmt.min(self.max_datagram()).saturating_sub(FlowReply::OVERHEAD);
        check_size(data.len(), max).map_err(refused)?;
        let peer = Peer::on(route);
        let end = self.flows.accept(endpoint, Arc::clone(&peer), || self.draw())?;
        Ok(Grant {
            end,
            port: UdpPort::new(self, endpoint, &peer, end as u32, s_eid),
            message: FlowReply { s_eid, d_eid: end as u32, response: 0, data }.to_vec(),
        })
    }

    fn is_open(&self, eid: u64) -> bool {
        self.flows.get(eid).is_some()
    }

    fn reply(&self, _now: Instant, to: &Requester, message: &[u8]) {
        self.send_reply(to.route, message);
    }

    fn refuse(&self, _now: Option<Instant>, to: &Requester, code: Code) {
        self.send_refusal(to, code, &[]);
    }

    const ASKS_PROOF: bool = true;

    fn refuse_asking(&self, _now: Instant, to: &Requester, code: Code, proof: &[u8]) {
        self.send_refusal(to, code, proof);
    }
}

/// A number that differs between peers.
fn peer_number(src: SocketAddr) -> u64 {
    let ip = match src.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        // Interface identifiers alone would do among well-behaved hosts; the network makes it harder to clash.
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 ^ (ip.to_bits() as u64).rotate_left(23),
    };
    ip.rotate_left(16) ^ u64::from(src.port()) ^ u64::from(scope_of(&src)).rotate_left(40)
}

/// A number for each host: of IPv6 for each network, as a host may have all addresses of one. On a link all are neighbours
/// and of one network, so there it is for each interface identifier.
fn host_number(src: SocketAddr) -> u64 {
    match src.ip() {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) if needs_scope(&ip) => ip.to_bits() as u64 ^ u64::from(scope_of(&src)).rotate_left(40),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}
