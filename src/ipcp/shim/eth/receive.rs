//! Receiving: which frames are ours, to whom they go, and what management asks for.

use alloc::sync::Arc;
use core::fmt::Display;

use super::super::super::reply::{Grant, Replies, ReplyOnce, check_size, refused};
use super::super::super::{Incoming, Location, Origin, Reply, RequestError};
use super::super::management::{Shed, handle_each};
use super::super::receiver::{Current, Receiver};
use super::{EthFlow, EthPort, EthShim, Framing};
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::journal::record;
use crate::base::sync::Once;
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::types::code::Code;
use crate::types::device::FRAME_HEADER;
use crate::types::mac::Mac;
use crate::types::name::NameHash;
use crate::wire::WireError;
use crate::wire::eth::{FlowReply, FlowRequest, Frame, MIN_ETHERTYPE, Mgmt, Port as Purpose};

/// EtherTypes that mean that a VLAN tag follows (IEEE 802.1Q, 802.1ad).
const VLAN: [u16; 2] = [0x8100, 0x88a8];

/// The fate of a frame.
enum Sorted {
    /// It has been dealt with.
    Done,
    /// It goes to a flow.
    Data,
    /// It waits to be handled; the request of this end that it answers, if it does.
    Management { answers: Option<u64> },
}

/// A frame's head and where its payload is.
struct Head {
    src: Mac,
    purpose: Purpose,
    header: usize,
    payload: usize,
}

impl EthShim {
    /// Takes what the device has and hands data to the endpoints; requests and replies wait until the lock is released,
    /// because they go up to the stack. Returns how many frames there were.
    pub(super) fn take_in(&self, now: Instant, r: &mut Receiver<PacketBuf>) -> usize {
        let n = self.device.for_loop().recv(&mut r.arrived, &mut r.cache);
        r.cache.settle(now);
        if n == 0 {
            return 0;
        }
        self.counters.received.add(n as u64);
        let mut current = Current::none();
        for mut frame in r.arrived.drain(..) {
            let Some((sorted, head)) = self.sort(now, &frame) else {
                self.tell_dropped(&frame, "of another layer, malformed, or not expected; see the counters");
                r.cache.put(frame);
                continue;
            };
            frame.pull(head.header);
            frame.truncate(head.payload);
            match sorted {
                Sorted::Done => r.cache.put(frame),
                Sorted::Management { answers } => self.keep_management(&head, frame, answers, &mut r.cache),
                Sorted::Data => {
                    let key = (head.src, head.purpose);
                    if !current.is(&key) {
                        current.deliver(now, &mut r.group);
                        if let Some(flow) = self.flow_of(&head) {
                            current.begin(key, flow);
                        }
                    }
                    if current.is_some() {
                        r.group.push(frame);
                    } else {
                        // Its header is still in front of it.
                        if frame.push(head.header).is_some() {
                            self.tell_dropped(&frame, "no flow of this peer has the number");
                        }
                        r.cache.put(frame);
                    }
                }
            }
        }
        current.deliver(now, &mut r.group);
        n
    }

    /// Has a request or a reply wait to be handled, for which others may have to go.
    fn keep_management(&self, head: &Head, frame: PacketBuf, answers: Option<u64>, cache: &mut BufCache) {
        let (peer, bytes) = (head.src.to_bits(), frame.memory());
        let kept = self.management.lock().push(peer, bytes, answers, (head.src, frame));
        let (shed, count, why) = match kept {
            Ok(shed) => (shed, &self.counters.management_drops, "too many requests and replies wait"),
            Err(again) => (Shed::from([again]), &self.counters.replies_unexpected, "a reply to the same request waits"),
        };
        for (_, mut frame) in shed {
            count.count();
            // All headers of the layer are of one length.
            if frame.push(head.header).is_some() {
                self.tell_dropped(&frame, why);
            }
            cache.put(frame);
        }
    }

    /// Tells the device that a frame is dropped, and why.
    fn tell_dropped(&self, frame: &[u8], why: &'static str) {
        self.device.call(|d| d.note_dropped(frame, &why), ());
    }

    /// Finds out what a frame is. Those that are none of ours are counted: `None`.
    fn sort(&self, now: Instant, bytes: &[u8]) -> Option<(Sorted, Head)> {
        let frame = self.parse(bytes)?;
        let broadcast = frame.dst == Mac::BROADCAST;
        let own = self.status.mac();
        if !broadcast && frame.dst != own {
            self.counters.not_ours.count();
            return None;
        }
        // All interfaces that only loop back have the address zero.
        if frame.src == own && own != Mac([0; 6]) {
            self.counters.own_address.count();
            record!(
                self.panics,
                BadFrame,
                Warn,
                [address = own],
                "frame from our own address {own} dropped: another station has it, or there is a loop"
            );
            return None;
        }
        if frame.src.is_group() {
            self.note_malformed(frame.src, bytes.len(), "the sender's address is that of a group");
            return None;
        }
        let (src, purpose, len) = (frame.src, frame.port, frame.payload.len());
        record!(
            self.panics, Frame, Trace, [peer = src, bytes: len],
            "{len} bytes from {src}: {frame}"
        );
        let head = Head { src, purpose, header: purpose.format().header_len(), payload: len };
        let sorted = if purpose.is_mgmt() {
            self.sort_management(now, &frame, broadcast)?
        } else if broadcast {
            self.note_malformed(src, bytes.len(), "data for everybody");
            return None;
        } else {
            Sorted::Data
        };
        Some((sorted, head))
    }

    /// The parts of a frame of this layer. Others are counted.
    fn parse<'a>(&self, bytes: &'a [u8]) -> Option<Frame<'a>> {
        let Some(kind) = bytes.get(12..FRAME_HEADER).and_then(<[u8]>::first_chunk) else {
            self.counters.malformed.count();
            return None;
        };
        let kind = u16::from_be_bytes(*kind);
        if VLAN.contains(&kind) {
            self.counters.tagged.count();
            return None;
        }
        let ours = match self.framing {
            Framing::Dix { ethertype } => kind == ethertype,
            Framing::Llc => kind < MIN_ETHERTYPE,
        };
        if !ours {
            self.counters.foreign.count();
            return None;
        }
        match Frame::parse(bytes) {
            Ok(frame) if frame.port.is_mgmt() || self.is_of_flow(frame.port) => Some(frame),
            // Another protocol over LLC: spanning tree, SNAP.
            Ok(_) | Err(WireError::Unknown { .. }) => {
                self.counters.foreign.count();
                None
            }
            Err(e) => {
                let src = bytes.get(6..12).and_then(<[u8]>::first_chunk).map_or(Mac([0; 6]), |src| Mac(*src));
                self.note_malformed(src, bytes.len(), e);
                None
            }
        }
    }

    fn is_of_flow(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Dix { .. } => true,
            Purpose::Llc { dsap, ssap } => self.framing.is_flow(dsap.into()) && self.framing.is_flow(ssap.into()),
        }
    }

    /// Answers a query, and enters the answer to one into the directory; whatever nobody waits for is counted and dropped
    /// here, so that a flood of it does not keep anything else out.
    fn sort_management(&self, now: Instant, frame: &Frame<'_>, broadcast: bool) -> Option<Sorted> {
        let src = frame.src;
        let message = match Mgmt::parse(self.framing.format(), self.info.hash, frame.payload) {
            Ok(message) => message,
            Err(e) => {
                self.note_malformed(src, frame.encoded_len(), e);
                return None;
            }
        };
        match message {
            Mgmt::Query(hash) => {
                self.handle_query(now, src, &hash);
                Some(Sorted::Done)
            }
            // One frame, and everybody would answer.
            _ if broadcast => {
                self.note_malformed(src, frame.encoded_len(), "a message for everybody that is no query");
                None
            }
            // Anybody can make up answers, from any number of addresses: kept until they are handled, they would take the
            // room of replies.
            Mgmt::Answer(hash) => self.handle_answer(now, src, &hash).then_some(Sorted::Done),
            Mgmt::Reply(m) if !self.expects(src, &m) => {
                self.counters.replies_unexpected.count();
                None
            }
            Mgmt::Reply(m) => Some(Sorted::Management { answers: Some(m.d_eid.into()) }),
            Mgmt::Request(_) => Some(Sorted::Management { answers: None }),
        }
    }

    fn expects(&self, src: Mac, m: &FlowReply<'_>) -> bool {
        self.flows.get(m.d_eid.into()).is_some_and(|end| end.peer.mac == src && end.is_requested())
    }

    /// Handles a query for a name, which went to all stations.
    fn handle_query(&self, now: Instant, from: Mac, hash: &NameHash) {
        self.counters.queries_in.count();
        if !self.names.lock().contains_key(hash) {
            return;
        }
        let delay = self.config.answer_delay;
        let admitted = {
            let mut answers = self.answers.lock();
            answers.admit(now, from) && (delay.is_zero() || answers.keep(now + delay, from, *hash))
        };
        match admitted {
            false => self.counters.answers_limited.count(),
            true if delay.is_zero() => self.answer(from, hash),
            true => self.arm(),
        }
    }

    /// Says that the name is here.
    pub(super) fn answer(&self, to: Mac, hash: &NameHash) {
        if self.try_message(to, &Mgmt::Answer(*hash)) {
            self.counters.answers_out.count();
        }
    }

    /// The flow that a data frame belongs to. Unknown numbers and wrong sources are dropped without an answer.
    fn flow_of(&self, head: &Head) -> Option<Arc<EthFlow>> {
        let (src, number, from) = match head.purpose {
            Purpose::Dix { eid, .. } => (head.src, eid, None),
            Purpose::Llc { dsap, ssap } => (head.src, dsap.into(), Some(u16::from(ssap))),
        };
        let Some(flow) = self.flows.get(number.into()) else {
            self.counters.unknown_eid.count();
            record!(
                self.panics, BadFrame, Debug, [peer = src, eid: number],
                "frame from {src} dropped: no flow has the number {number}"
            );
            return None;
        };
        let is_other = from.zip(flow.peer.remote.get()).is_some_and(|(from, remote)| from != *remote);
        if flow.peer.mac != src || is_other {
            self.counters.wrong_source.count();
            record!(
                self.panics, BadFrame, Debug, [peer = src, eid: number],
                "frame from {src} dropped: the flow with number {number} has another peer"
            );
            return None;
        }
        Some(flow)
    }

    /// Handles the messages that [`take_in`](Self::take_in) put aside. Called without locks held, by everybody who has
    /// received.
    pub(super) fn handle_messages(&self) {
        self.wake_found();
        let more = handle_each(&self.management, &*self.clock, |now, (src, message)| {
            match Mgmt::parse(self.framing.format(), self.info.hash, &message) {
                Ok(Mgmt::Request(m)) => self.handle_request(now, src, m),
                Ok(Mgmt::Reply(m)) => self.handle_reply(src, m),
                Ok(Mgmt::Answer(_) | Mgmt::Query(_)) => {}
                Err(e) => self.note_malformed(src, message.len(), e),
            }
            self.pool.put(message);
        });
        if more {
            // Whoever is about to wait, or waits, handles the others.
            self.device.recall();
        }
    }

    /// Counts a frame that is none of the layer.
    fn note_malformed(&self, from: Mac, len: usize, why: impl Display) {
        self.counters.malformed.count();
        record!(
            self.panics, BadFrame, Debug, [peer = from, bytes: len, reason = why],
            "malformed frame of {len} bytes from {from} dropped: {why}"
        );
    }

    /// Enters where a name is. `false` if nobody waits to know.
    fn handle_answer(&self, now: Instant, from: Mac, hash: &NameHash) -> bool {
        let is_expected = self.directory.lock().handle_answer(now, hash, from);
        if is_expected {
            self.counters.answers_in.count();
            record!(self.panics, Lookup, Debug, [hash = hash, peer = from], "the name with hash {hash} is at {from}");
        } else {
            self.counters.answers_unexpected.count();
        }
        is_expected
    }

    /// Wakes who waited for a name that has been found since. Called without locks held.
    fn wake_found(&self) {
        let found = self.directory.lock().take_found();
        self.panics.wake_all(found);
    }

    fn handle_request(&self, now: Instant, src: Mac, m: FlowRequest<'_>) {
        self.counters.requests_in.count();
        let received = self.framing.format().mgmt_len() + m.dst.as_bytes().len() + m.data.len();
        if !self.framing.is_flow(m.s_eid) {
            self.note_malformed(src, received, "no flow of the requester can have this number");
            return;
        }
        let (Some(shim), Some(requests)) = (self.me.upgrade(), self.requests.upgrade()) else { return };
        let responder = ReplyOnce::new(shim, Requester { src, s_eid: m.s_eid });
        // A source address can be made up like any other.
        let origin = Origin { address: src.to_bits(), received };
        let request = Incoming::new(&self.info, m.dst, m.qos, m.data.to_vec(), responder)
            .from_peer(src.to_bits(), Some(origin))
            .located(Location::Mac(src));
        let is_known = self.names.lock().contains_key(&m.dst);
        if !is_known {
            let Some(request) = requests.repeated(now, request) else { return };
            let name = m.dst;
            record!(
                self.panics,
                Refused,
                Debug,
                [hash = name, peer = src],
                "request for a flow from {src} refused: no name with hash {name} is registered"
            );
            request.responder.refuse(now, Code::NAME);
            return;
        }
        requests.incoming(now, request);
    }

    fn handle_reply(&self, src: Mac, m: FlowReply<'_>) {
        let flow = self.flows.get(m.d_eid.into()).filter(|end| end.peer.mac == src);
        let requested = flow.as_ref().and_then(|flow| flow.take_request());
        let (Some(flow), Some((answer, token))) = (flow, requested) else {
            self.counters.replies_unexpected.count();
            return;
        };
        self.counters.replies_in.count();
        let result = match (m.response, self.me.upgrade()) {
            (0, Some(shim)) if self.framing.is_flow(m.s_eid) => {
                let _ = flow.peer.remote.set(m.s_eid);
                Ok(EthPort::new(&shim, &flow.endpoint, src, m.d_eid, m.s_eid))
            }
            (0, _) => Err(Code::CRYPT),
            (response, _) => Err(Code::from_response(response)),
        };
        if result.is_err() {
            self.flows.remove(m.d_eid.into());
        }
        answer.answered(token, Reply::of(result, m.data));
    }
}

/// The requester: its address, and its number of the flow.
#[derive(Clone, Copy)]
pub struct Requester {
    src: Mac,
    s_eid: u16,
}

/// The end of a flow that [`Replies`] knows: its number, and which of those that have had it.
fn end_number(eid: u64, serial: u64) -> u64 {
    serial << 16 | eid
}

impl Replies for EthShim {
    type Requester = Requester;

    fn has_room(&self) -> bool {
        self.flows.has_room()
    }

    fn accept(
        self: &Arc<Self>,
        to: &Requester,
        endpoint: &Arc<Endpoint>,
        data: &[u8],
    ) -> Result<Grant, (Code, RequestError)> {
        let Requester { src, s_eid } = *to;
        let max = self.max_payload().min(self.config.max_mgmt).saturating_sub(self.framing.format().mgmt_len());
        check_size(data.len(), max).map_err(refused)?;
        let peer = self.peer(src, Once::from(s_eid));
        let serial = peer.serial;
        let eid = self.flows.accept(endpoint, peer, || self.draw())?;
        // From here on the number is given back when the port is dropped.
        let port = EthPort::new(self, endpoint, src, eid as u16, s_eid);
        let reply = Mgmt::Reply(FlowReply { s_eid: eid as u16, d_eid: s_eid, response: 0, data });
        let message = reply.to_vec(self.framing.format()).map_err(|_| (Code::NOMEM, RequestError::Full))?;
        Ok(Grant { end: end_number(eid, serial), port, message })
    }

    fn is_open(&self, end: u64) -> bool {
        let flow = self.flows.get(end & 0xffff);
        flow.is_some_and(|flow| end_number(end & 0xffff, flow.peer.serial) == end)
    }

    fn reply(&self, _now: Instant, to: &Requester, message: &[u8]) {
        if let Err(e) = self.send_message(to.src, message) {
            self.counters.fault(e, 1);
            self.note_unsent(to.src, e);
        }
    }

    fn refuse(&self, _now: Option<Instant>, to: &Requester, code: Code) {
        self.counters.refused.count();
        let reply = FlowReply { s_eid: 0, d_eid: to.s_eid, response: code.to_response(), data: &[] };
        self.try_message(to.src, &Mgmt::Reply(reply));
    }
}
