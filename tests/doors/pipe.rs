// A shim of one's own: a layer of two members, one at each end of a pipe in memory.
//
// A packet begins with the number of the flow at its receiver, 4 bytes, and number 0 is for requests and replies. These
// have the layout of the UDP layer's, because that is there; any other would do.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::time::Duration;

use o7s::cause::SendError;
use o7s::device::Bell;
use o7s::rib::Rib as Tree;
use o7s::shim::*;
use o7s::time::Instant;
use o7s::{Code, HashAlg, IpcpInfo as Info, IpcpKind as Kind, NameHash};

/// One end of a pipe, from which one member reads and to which the other writes. This is the "device".
#[derive(Default)]
pub(crate) struct PipeEnd {
    queue: Mutex<VecDeque<Vec<u8>>>,
    bell: Bell,
    waker: Mutex<Option<Waker>>,
}

impl PipeEnd {
    fn put(&self, packet: Vec<u8>) -> Result<(), SendError> {
        let mut queue = self.queue.lock().unwrap();
        if queue.len() >= 1024 {
            return Err(SendError::Full);
        }
        queue.push_back(packet);
        drop(queue);
        self.bell.ring();
        self.waker.lock().unwrap().iter().for_each(Waker::wake_by_ref);
        Ok(())
    }
}

/// The member at one end.
pub(crate) struct PipeShim {
    me: Weak<Self>,
    info: Info,
    context: ShimContext,
    rng: Mutex<Rng>,
    here: Arc<PipeEnd>,
    there: Arc<PipeEnd>,
    names: Mutex<BTreeSet<NameHash>>,
    ends: Arc<Ends<()>>,
    management: Mutex<Vec<Vec<u8>>>,
    down: AtomicBool,
}

impl PipeShim {
    /// A member that reads from `here` and writes to `there`.
    pub(crate) fn new(mut context: ShimContext, here: &Arc<PipeEnd>, there: &Arc<PipeEnd>) -> Arc<Self> {
        // Polled stacks are told when there is something to read.
        *here.waker.lock().unwrap() = Some(context.waker.clone());
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            info: Info::new(Kind::Custom("pipe"), "pipe", "pipe").with_hash(HashAlg::Md5),
            rng: Mutex::new(context.rng.split("flows")),
            context,
            here: Arc::clone(here),
            there: Arc::clone(there),
            names: Mutex::default(),
            ends: Ends::new(1000),
            management: Mutex::default(),
            down: AtomicBool::new(false),
        })
    }

    /// A number for a flow.
    fn draw(&self) -> u64 {
        self.rng.lock().unwrap().u32().max(1).into()
    }

    fn port(self: &Arc<Self>, local: u64, remote: u32) -> Arc<dyn Port> {
        Arc::new(PipePort { shim: Arc::clone(self), local, remote })
    }

    fn on_request(self: &Arc<Self>, request: &FlowRequest<'_>) {
        let now = self.context.clock.now();
        let reply = ReplyOnce::new(Arc::clone(self), request.s_eid);
        if !self.names.lock().unwrap().contains(&request.dst) {
            return reply.refuse(now, Code::NAME);
        }
        if let Some(requests) = self.context.requests.upgrade() {
            requests.incoming(now, Incoming::new(&self.info, request.dst, request.qos, request.data.to_vec(), reply));
        }
    }

    fn on_reply(self: &Arc<Self>, reply: &FlowReply<'_>) {
        let Some(end) = self.ends.get(reply.s_eid.into()) else { return };
        // Only the first reply counts.
        let Some((answer, token)) = end.take_request() else { return };
        let result = if reply.response == 0 {
            Ok(self.port(reply.s_eid.into(), reply.d_eid))
        } else {
            self.ends.remove(reply.s_eid.into());
            Err(Code::from_response(reply.response))
        };
        answer.answered(token, Reply { result, data: reply.data.to_vec() });
    }
}

/// Names, and asking for flows.
impl Ipcp for PipeShim {
    fn info(&self) -> &Info {
        &self.info
    }

    fn register(&self, _: Instant, hash: NameHash) -> Result<(), RegisterError> {
        let mut names = self.names.lock().unwrap();
        if names.len() >= 100 {
            return Err(RegisterError::Full(100));
        }
        names.insert(hash);
        Ok(())
    }

    fn unregister(&self, _: Instant, hash: &NameHash) {
        self.names.lock().unwrap().remove(hash);
    }

    fn lookup(&self, _: Instant, _: &NameHash, _: &Waker) -> Lookup {
        // There is only one who can be asked.
        Lookup::Known([Location::Station(0)].into_iter().collect())
    }

    fn request(&self, _: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        let asking = self.ends.ask(&request, (), || self.draw()).ok_or(RequestError::Full)?;
        let s_eid = asking.id() as u32;
        let message = FlowRequest { s_eid, qos: request.qos, dst: request.dst, data: request.data };
        // One that the pipe has no room for is repeated by the stack.
        let sent = self.there.put(message.to_vec()).is_ok();
        Ok(asking.into_attempt(sent))
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.context.device.upgrade()
    }

    fn shutdown(&self, _: Instant) {
        self.down.store(true, Ordering::SeqCst);
        self.ends.give_up();
        self.here.bell.ring();
    }

    fn rib(&self, _: Instant) -> Tree {
        Tree::item("ipcp", &*self.info.name).gauge("flows", self.ends.len() as u64)
    }
}

/// Receiving.
impl Shim for PipeShim {
    type Receiver = BufCache;

    fn receiver(&self) -> BufCache {
        BufCache::new(&self.context.pool)
    }

    fn receive(&self, now: Instant, cache: &mut BufCache) -> usize {
        let mut queue = self.here.queue.lock().unwrap();
        let batch: Vec<_> = (0..64).map_while(|_| queue.pop_front()).collect();
        let more = !queue.is_empty();
        drop(queue);
        for packet in &batch {
            let Some((eid, data)) = packet.split_first_chunk() else { continue };
            let eid = u32::from_be_bytes(*eid);
            if eid == MGMT_EID {
                self.management.lock().unwrap().push(packet.clone());
            } else if let Some(end) = self.ends.get(eid.into()) {
                let mut buf = cache.take(data.len());
                let taken = buf.extend_from_slice(data).map(|()| buf);
                end.endpoint.receive(now, taken);
            }
        }
        cache.settle(now);
        if more {
            self.context.waker.wake_by_ref();
        }
        batch.len()
    }

    fn handle_management(&self) {
        let Some(me) = self.me.upgrade() else { return };
        let messages = std::mem::take(&mut *self.management.lock().unwrap());
        for message in messages {
            match Mgmt::parse(&message) {
                Ok(Mgmt::Request(request)) => me.on_request(&request),
                Ok(Mgmt::Reply(reply)) => me.on_reply(&reply),
                Err(_) => {}
            }
        }
    }

    fn wait(&self, timeout: Duration) {
        self.here.bell.wait(if self.is_down() { Duration::ZERO } else { timeout });
    }

    fn interrupt(&self) {
        self.here.bell.interrupt();
    }

    fn guard(&self, timeout: Duration) {
        self.here.bell.guard(if self.is_down() { Duration::ZERO } else { timeout });
    }

    fn dismiss(&self) {
        self.here.bell.dismiss();
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }
}

/// Answering; `ReplyOnce` does the rest.
impl Replies for PipeShim {
    /// The number of the flow at the asking end.
    type Requester = u32;

    fn accept(
        self: &Arc<Self>,
        now: Instant,
        to: &u32,
        endpoint: &Arc<Endpoint>,
        data: &[u8],
    ) -> Result<Grant, (Code, RequestError)> {
        let end = self.ends.accept(endpoint, (), || self.draw()).ok_or((Code::NOMEM, RequestError::Full))?;
        let message = FlowReply { s_eid: *to, d_eid: end as u32, response: 0, data }.to_vec();
        Ok(Grant { end, port: self.port(end, *to), message, not_before: now })
    }

    fn is_open(&self, end: u64) -> bool {
        self.ends.get(end).is_some()
    }

    fn reply(&self, _: Instant, _: &u32, message: &[u8]) {
        let _ = self.there.put(message.to_vec());
    }

    fn refuse(&self, _: Option<Instant>, to: &u32, code: Code) {
        let reply = FlowReply { s_eid: *to, d_eid: 0, response: code.to_response(), data: &[] };
        let _ = self.there.put(reply.to_vec());
    }
}

/// Sending: the way down for the packets of one flow.
struct PipePort {
    shim: Arc<PipeShim>,
    local: u64,
    remote: u32,
}

impl Port for PipePort {
    fn send(&self, _: Instant, packets: &mut Outgoing) -> Result<(), SendError> {
        let eid = self.remote.to_be_bytes();
        packets.iter().try_for_each(|packet| self.shim.there.put([&eid, &packet[..]].concat()))
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.shim.device()
    }

    fn release(&self, _: Instant) {
        self.shim.ends.remove(self.local);
    }
}

impl Drop for PipePort {
    fn drop(&mut self) {
        // Of an answer that came too late.
        self.shim.ends.remove(self.local);
    }
}
