//! Passing packets on: what one port sends goes to all others.
//!
//! A packet of a broadcast layer is what an application wrote and nothing else: no header, no number, no sender. So the
//! graph of connections has to be a tree, and only the operator sees to that: where there is a loop, a packet goes
//! around in it forever. These are the defences of a member.
//!
//! # Copies
//!
//! A member in a loop gets every packet from two sides. It must pass on one of the two, and yet all of those that
//! an application says more than once. What tells them apart is *from which neighbour* they come: repetitions take
//! the same way as the packet that they repeat, copies take another. So for packets that are byte for byte the same,
//! a member counts how many it has passed on, and how many each neighbour has sent it. One from a neighbour that has
//! sent no more than have been passed on is a copy, and dropped. In other words, the neighbour that has sent the most
//! is right. What applications at this member send is never a copy.
//!
//! If all members count like this, then however they are connected and whatever is lost or overtaken on the way, no
//! member passes a packet on more often than it was said, because that would need a neighbour that has done so before;
//! and without loss every member gets every packet, because the first of it that arrives is passed on.
//!
//! What a flow below *duplicates* inside a loop is taken for said twice, and as it seems to come from somewhere in the
//! loop, it goes around in it. So does everything in a loop among members that do not count, if there is only one that
//! does. Therefore, once a packet was seen to come another way, only so many more of it are [passed on](Config::in_loops)
//! until there has been none for a window, in which everything that goes around has come to an end.
//!
//! It counts for as long as no [`Config::window`] passes between two that are passed on; then it begins anew. A copy
//! that comes around later than that is taken for a packet, and what is too many to be [remembered](Config::memory) is
//! remembered for less than the window.
//!
//! What this costs:
//!
//! - The same packet from *two senders* within the window, heard from two neighbours, counts as one: nothing tells it
//!   from one that came two ways. Layers in which all say the same do better with [`Config::suppress`] off, and a
//!   tree.
//! - In a loop, a sender that keeps repeating itself more often than once a window is not heard for a window now and
//!   then.
//! - After a way has broken over which an application kept saying the same, the other way has to catch up, for a window
//!   at most.
//! - Where the same packet is sent several times at once, ways differ in delay from one to the next, and there are
//!   loops within loops, one of the repetitions may be taken for a copy.
//!
//! A member with a single neighbour is in no loop: it does not count, and everything passes.
//!
//! # Storms
//!
//! Loops among members that do not count, as those of the C reference, flood every member connected to them. Packets
//! from a neighbour are limited: [`Config::packet_rate`] in all, and [`Config::repetition_rate`] of those passed on
//! within the window already, since a storm consists of nothing else. Applications here are limited by the flow they
//! write to.
//!
//! ```
//! use o7s::base::{rng::Rng, time::Instant};
//! use o7s::ipcp::broadcast::flood::{Config, Dropped, Flood, Port};
//! use o7s::types::id::N1FlowId;
//!
//! let now = Instant::ZERO;
//! let [left, right, application] = [1, 2, 3].map(N1FlowId);
//! let mut flood = Flood::new(Config::default(), &mut Rng::from_seed([7; 32]));
//! flood.add(now, left, Port::Neighbour)?;
//! flood.add(now, right, Port::Neighbour)?;
//! flood.add(now, application, Port::Application)?;
//!
//! let others: Vec<_> = flood.forward(now, left, b"news")?.collect();
//! assert_eq!(others, [right, application]);
//! // The same, come around.
//! assert_eq!(flood.forward(now, right, b"news").err(), Some(Dropped::Copy));
//! // The same packet comes again.
//! assert!(flood.forward(now, left, b"news").is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::collections::BTreeMap;

pub use super::config::{Config, Rate};
use super::digest::Key;
use super::memory::{Memory, Sighting};
use crate::base::bucket::Bucket;
use crate::base::counter::counts;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::ipcp::connect::STEP_TIMEOUT;
use crate::types::id::N1FlowId;
use crate::types::tree::Tree;
use crate::wire::cep::Message;

#[cfg(test)]
mod tests;

/// The other side of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Another member.
    Neighbour,
    /// An application that has joined the layer here.
    Application,
}

/// The limit of ports is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the layer takes no more than {0} neighbours and applications here; disconnect some, or raise the limit")]
pub struct Full(pub usize);

/// Reason for a packet not to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Dropped {
    /// It comes from an unknown port.
    #[error("it comes from an unknown port")]
    Stranger,
    /// It has no bytes: a keepalive.
    #[error("it is empty")]
    Empty,
    /// It is the message with which the connection was made, duplicated by the flow below.
    #[error("it belongs to the handshake of the connection")]
    Handshake,
    /// It has been passed on already.
    #[error("it has been passed on already")]
    Copy,
    /// The neighbour sends too much.
    #[error("the neighbour sends too much")]
    TooMany,
    /// The neighbour repeats itself too often.
    #[error("the neighbour repeats itself too often")]
    TooOften,
}

counts! {
    /// Packets so far.
    struct Counters {
        /// Packets passed on.
        forwarded => "forwarded",
        /// Packets dropped: not from a port.
        stranger => "dropped_stranger",
        /// Packets dropped: a handshake of members.
        handshake => "dropped_handshake",
        /// Packets dropped: passed on before.
        copy => "dropped_copy",
        /// Packets dropped: the neighbour sends too many.
        too_many => "dropped_too_many",
        /// Packets dropped: the neighbour repeats itself too often.
        too_often => "dropped_too_often",
    }
}

/// See the [module's documentation](self).
pub struct Flood {
    config: Config,
    key: Key,
    neighbours: BTreeMap<N1FlowId, Neighbour>,
    /// All, and what each is.
    ports: BTreeMap<N1FlowId, Port>,
    memory: Memory,
    counters: Counters,
}

struct Neighbour {
    since: Instant,
    packets: Bucket,
    repetitions: Bucket,
}

impl Flood {
    /// A member without neighbours and applications.
    pub fn new(config: Config, rng: &mut Rng) -> Self {
        Self {
            config,
            key: Key::new(rng),
            neighbours: BTreeMap::new(),
            ports: BTreeMap::new(),
            memory: Memory::new(&config),
            counters: Counters::default(),
        }
    }

    /// A neighbour is connected, or an application has joined.
    ///
    /// # Errors
    /// [`Full`].
    pub fn add(&mut self, now: Instant, port: N1FlowId, kind: Port) -> Result<(), Full> {
        if self.ports.len() >= self.config.max_ports {
            return Err(Full(self.config.max_ports));
        }
        self.ports.insert(port, kind);
        if kind == Port::Neighbour {
            let (packets, repetitions) = (self.config.packets.bucket(now), self.config.repetitions.bucket(now));
            self.neighbours.insert(port, Neighbour { since: now, packets, repetitions });
        }
        Ok(())
    }

    /// A neighbour or an application is gone.
    pub fn remove(&mut self, port: N1FlowId) {
        self.ports.remove(&port);
        self.neighbours.remove(&port);
    }

    /// Decides about a packet, and returns the ports to pass it on to.
    ///
    /// # Errors
    /// [`Dropped`]: to none.
    pub fn forward(
        &mut self,
        now: Instant,
        from: N1FlowId,
        packet: &[u8],
    ) -> Result<impl Iterator<Item = N1FlowId> + '_, Dropped> {
        let decided = match self.ports.get(&from) {
            _ if packet.is_empty() => Err(Dropped::Empty),
            None => Err(Dropped::Stranger),
            Some(_) => self.admit(now, from, packet),
        };
        let counters = &mut self.counters;
        match decided {
            Ok(()) => counters.forwarded += 1,
            Err(Dropped::Empty) => {}
            Err(Dropped::Stranger) => counters.stranger += 1,
            Err(Dropped::Handshake) => counters.handshake += 1,
            Err(Dropped::Copy) => counters.copy += 1,
            Err(Dropped::TooMany) => counters.too_many += 1,
            Err(Dropped::TooOften) => counters.too_often += 1,
        }
        decided.map(|()| self.ports.keys().copied().filter(move |port| *port != from))
    }

    /// Decides whether a packet from a known port may pass, and counts it.
    fn admit(&mut self, now: Instant, from: N1FlowId, packet: &[u8]) -> Result<(), Dropped> {
        // With a single neighbour nothing can come back by another way: nothing is remembered or compared.
        let in_loop = self.config.suppress && self.neighbours.len() > 1;
        let mut neighbour = self.neighbours.get_mut(&from);
        if let Some(neighbour) = &mut neighbour {
            if now - neighbour.since < STEP_TIMEOUT && is_handshake(packet) {
                return Err(Dropped::Handshake);
            }
            if !take(&mut neighbour.packets, now) {
                return Err(Dropped::TooMany);
            }
        }
        if !in_loop {
            return Ok(());
        }
        let digest = self.key.digest(packet);
        let sighting = self.memory.look(now, digest, neighbour.is_some().then_some(from));
        let repetition = neighbour.filter(|_| sighting == Sighting::Again);
        if sighting == Sighting::Copy {
            return Err(Dropped::Copy);
        }
        if repetition.is_some_and(|from| !take(&mut from.repetitions, now)) {
            return Err(Dropped::TooOften);
        }
        self.memory.passed_on(now, digest);
        Ok(())
    }

    /// Returns the ports.
    pub fn ports(&self) -> impl Iterator<Item = (N1FlowId, Port)> + '_ {
        self.ports.iter().map(|(port, kind)| (*port, *kind))
    }

    /// Returns the counters, and the size of the memory.
    pub fn rib(&self) -> Tree {
        let neighbours = self.neighbours.len();
        Tree::new("flood")
            .counters(self.counters.rows())
            .counters(self.memory.counters().rows())
            .gauge("neighbours", neighbours as u64)
            .gauge("applications", (self.ports.len() - neighbours) as u64)
            .gauge("remembered", self.memory.len() as u64)
    }
}

/// Returns `true` for a message of the connection of two broadcast members.
fn is_handshake(packet: &[u8]) -> bool {
    Message::decode(packet).is_ok_and(|message| message.component == Message::broadcast().component)
}

/// Takes a packet out of a bucket. `false` if there is none in it.
fn take(bucket: &mut Bucket, now: Instant) -> bool {
    let ready = bucket.is_ready(now);
    if ready {
        bucket.take(now, 1);
    }
    ready
}
