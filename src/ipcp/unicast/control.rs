//! Driver of routing and directory: one message, one deadline, one command at a time.
//!
//! The two machines are behind one lock, held while a machine takes an input or gives an output and never while a
//! packet is sent or foreign code is called. The thread that brings an input passes the outputs on; if another is doing
//! so already, that one sees the input too, so the outputs of the machines leave in the order in which they were made.
//!
//! | part | what it does |
//! |---|---|
//! | `inbox` | messages of components that wait, with shares for all |
//! | `machines` | routing and directory, and the next thing that they put out |
//! | `publication` | brings that where it is wanted, the forwarding table among it |
//! | `names` | names that are registered, and looked for |
//! | `connections` | the N-1 flows: how they come and go |
//! | `terms` | how soon a neighbour that is silent is missed, and which of its N-1 flows are of an earlier life |
//! | `asked` | questions of the directory, whose answers are waited for |
//! | `conflicts` | identity of the member, and conflicts with others that have its address |
//! | `turn` | turn of the thread that does all that |

mod asked;
mod conflicts;
mod connections;
mod inbox;
mod machines;
mod names;
mod publication;
mod terms;
mod turn;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::AtomicU32;

use self::asked::Asked;
use self::conflicts::{Claims, Identity, Settling};
use self::connections::Management;
use self::inbox::{Mailbox, Message};
use self::machines::Machines;
pub(super) use self::machines::Seeds;
use self::terms::Doubts;
use self::turn::Turn;
use super::dt::{Above, DataPath};
use super::fa::{FaFlow, FlowAllocator, Purpose};
use super::shared::{Shared, order};
use crate::base::buf::PacketBuf;
use crate::base::counter::counters;
use crate::base::foreign::Panics;
use crate::base::sync::{Mutex, Ordered, RwLock};
use crate::base::time::Instant;
use crate::directory::Directory;
use crate::ipcp::Connections;
use crate::routing::LinkState;
use crate::types::id::{Eid, N1FlowId};
use crate::wire::dht;
use crate::wire::dt::{DIRECTORY, FLOW_ALLOCATOR};

/// Messages handled before the outputs of the machines have their turn.
const MESSAGES_PER_ROUND: usize = 64;

/// Rounds after which the thread that handles messages goes back to its own work.
const ROUNDS: usize = 16;

counters! {
    /// Counters of the control plane.
    pub(super) struct Counters {
        /// Forwarding tables that were made.
        tables => "tables",
        /// N-1 flows that were lost.
        lost => "lost_connections",
        /// Lookups of names that are over.
        lookups => "lookups",
        /// Rounds of questions that lookups took.
        lookup_rounds => "lookup_rounds",
        /// Questions that lookups took.
        lookup_questions => "lookup_questions",
        /// Signs that another member has our address.
        conflicts => "address_conflicts",
        /// N-1 flows that were taken for ones of an earlier life of the neighbour.
        doubted => "doubted_connections",
    }
}

/// The control plane of a member.
pub(super) struct Control {
    shared: Arc<Shared>,
    data: Arc<DataPath>,
    flows: Arc<FlowAllocator>,
    /// Guard through which wakers are called.
    panics: Arc<Panics>,
    /// Manager of N-1 flows, told of those that are lost.
    keeper: Weak<dyn Connections>,
    mailbox: Mailbox,
    turn: Turn,
    machines: Ordered<Mutex<Machines>, { order::MACHINES }>,
    asked: Ordered<Mutex<Asked>, { order::ASKED }>,
    publishing: Ordered<Mutex<()>, { order::PUBLISHING }>,
    managements: Ordered<RwLock<BTreeMap<N1FlowId, Management>>, { order::MANAGEMENTS }>,
    /// The number of the next N-1 flow.
    next: AtomicU32,
    doubts: Ordered<Mutex<Doubts>, { order::DOUBTS }>,
    settling: Settling,
    claims: Claims,
    /// Number of this life of the member: it tells a restart from another connection.
    incarnation: u32,
    pub(super) counters: Counters,
}

/// Parts below the control plane.
pub(super) struct Below {
    pub(super) shared: Arc<Shared>,
    pub(super) data: Arc<DataPath>,
    pub(super) flows: Arc<FlowAllocator>,
}

impl Control {
    /// Makes a control plane without N-1 flows, for this `incarnation` of the member.
    pub(super) fn new(
        below: Below,
        incarnation: u32,
        panics: Arc<Panics>,
        keeper: Weak<dyn Connections>,
        seeds: Seeds,
    ) -> Self {
        let Below { shared, data, flows } = below;
        let identity = Identity::new(shared.address(), &shared);
        let machines = Machines::new(shared.clock.now(), identity, &shared, seeds);
        Self {
            panics,
            keeper,
            mailbox: Mailbox::new(shared.config.inbox),
            turn: Turn::default(),
            machines: Ordered::new(Mutex::new(machines)),
            asked: Ordered::default(),
            publishing: Ordered::default(),
            managements: Ordered::default(),
            next: AtomicU32::new(0),
            doubts: Ordered::default(),
            settling: Settling::of(&shared.layer),
            claims: Claims::default(),
            incarnation,
            counters: Counters::default(),
            shared,
            data,
            flows,
        }
    }

    /// Returns `true` if this member waits for the answer of the directory with this cookie, once.
    fn claims(&self, cookie: u64) -> bool {
        let now = self.shared.clock.now();
        self.asked.lock().claim(now, cookie)
    }

    /// Keeps link state that has come. Returns `true` if there is something to handle.
    pub(super) fn keep_link_state(&self, from: N1FlowId, pkts: &mut VecDeque<PacketBuf>) -> bool {
        let mut kept = false;
        for pkt in pkts.drain(..) {
            kept |= self.mailbox.keep(from, Message::LinkState(from, pkt));
        }
        kept
    }

    /// Handles what is in the inbox and passes on what the machines put out, unless another thread is doing so, which
    /// then sees what has come meanwhile. A thread that has done enough leaves the rest to the next, or to the alarm: a
    /// flood over one N-1 flow does not keep the thread of another from its packets.
    pub(super) fn handle(&self, now: Instant) {
        self.turn.take(ROUNDS, || self.work(now), || self.shared.alarm.set(now));
    }

    /// One round: a part of the inbox, and then everything that the machines put out, which also has its turn while the
    /// inbox never becomes empty. `false` if there may be more in the inbox.
    fn work(&self, now: Instant) -> bool {
        self.settle_claims(now);
        for _ in 0..MESSAGES_PER_ROUND {
            let Some(message) = self.mailbox.pop() else {
                while self.pass_on(now) {}
                return self.mailbox.is_empty();
            };
            self.handle_message(now, message);
        }
        while self.pass_on(now) {}
        false
    }

    fn handle_message(&self, now: Instant, message: Message) {
        let pkt = match message {
            Message::Request(pkt) | Message::Reply(pkt) | Message::Update(pkt) => {
                self.flows.handle(now, &pkt);
                pkt
            }
            Message::Answer(pkt) | Message::Directory(pkt) => {
                let unix = self.shared.unix_secs();
                self.machines.lock().directory.handle_packet(now, unix, &pkt);
                pkt
            }
            Message::LinkState(id, pkt) => {
                let conflict = self.machines.lock().handle_updates(now, id, &pkt);
                if conflict {
                    self.address_conflict(now);
                }
                pkt
            }
        };
        self.shared.recycle([pkt]);
    }

    /// Does what is due.
    pub(super) fn run(&self, now: Instant) {
        self.settle_doubts(now);
        self.look_at_sizes(now);
        let unix = self.shared.unix_secs();
        self.machines.lock().handle_timeout(now, unix);
        self.handle(now);
    }

    /// Forgets what waits to be handled.
    pub(super) fn clear(&self) {
        self.mailbox.clear();
    }

    /// Messages that wait, and what was counted of such.
    pub(super) fn inbox(&self) -> (usize, impl Iterator<Item = (&'static str, &'static str, u64)>) {
        self.mailbox.facts()
    }

    /// Reads the machines, for the RIB. Results are to be copied: all control messages wait meanwhile.
    pub(super) fn with_machines<R>(&self, look: impl FnOnce(&LinkState, &Directory) -> R) -> R {
        let machines = self.machines.lock();
        look(&machines.routing, &machines.directory)
    }
}

impl Above for Control {
    type Flow = FaFlow;

    fn flow(&self, eid: Eid) -> Option<Arc<FaFlow>> {
        self.flows.flow(eid)
    }

    fn keep(&self, from: N1FlowId, eid: Eid, pkt: PacketBuf) -> bool {
        match eid {
            FLOW_ALLOCATOR => match self.flows.sort(&pkt) {
                Some(Purpose::Request) => self.mailbox.keep(from, Message::Request(pkt)),
                Some(Purpose::Update) => self.mailbox.keep(from, Message::Update(pkt)),
                Some(Purpose::Reply) => self.mailbox.keep(from, Message::Reply(pkt)),
                None => {
                    self.shared.recycle([pkt]);
                    false
                }
            },
            // No more of it is parsed here, on the thread that forwards.
            DIRECTORY => match dht::answered(&pkt) {
                Some(cookie) if self.claims(cookie) => self.mailbox.keep(from, Message::Answer(pkt)),
                _ => self.mailbox.keep(from, Message::Directory(pkt)),
            },
            _ => false,
        }
    }
}
