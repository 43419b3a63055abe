//! Manager of connections to other members: the wanted ones, the established ones, and the time of the next attempt.
//!
//! The manager decides; its owner allocates flows and runs [`cep`](super::cep) on them, and reports the results:
//!
//! ```text
//!  want ──▶ waiting ──Action::Start──▶ trying ──came_up──▶ up
//!              ▲                         │                  │
//!              └──── after a pause ◀─ attempt_failed     went_down
//! ```
//!
//! - A [`Towards`] is a destination and, if the caller has chosen one, the layer towards it. The same neighbour over two layers
//!   is two ways, whose connections are made, lost and made again each on its own.
//! - On one way, data transfer waits until management stands for the first time: what is told about a new link goes to the
//!   management connections there are. Afterwards each comes back on its own.
//! - A pause doubles with every failure, see [`Backoff`], and is short again once a connection has stood for
//!   [`Config::stable`]. It never gives up; a caller with a time limit calls [`unwant`](Manager::unwant).
//! - What others connect is taken note of with the peer's address. In a unicast layer several connections of the same
//!   component to the same neighbour are welcome, they are ways around each other. In a broadcast layer they make a
//!   loop; as its members have no addresses, only the ways tell, and wanting one twice is wanting it once.
//!
//! ```
//! use o7s::base::{rng::Rng, time::Instant};
//! use o7s::ipcp::Component;
//! use o7s::ipcp::connect::manager::{Action, Config, Manager, Want};
//! use o7s::types::id::{Address, N1FlowId};
//!
//! let mut manager = Manager::new(Config::default(), Rng::from_seed([7; 32]));
//! let now = Instant::ZERO;
//! manager.want(now, Want::new("node-a".parse()?, Component::DataTransfer))?;
//! let Some(Action::Start { attempt, want }) = manager.poll_action(now) else { panic!("nothing to do") };
//! assert_eq!(want.way.destination.as_str(), "node-a");
//!
//! manager.came_up(now, attempt, N1FlowId(1), Address(7))?;
//! manager.went_down(now, N1FlowId(1));
//! assert!(manager.poll_action(now).is_none());
//! let later = manager.next_deadline().expect("it tries again");
//! assert!(matches!(manager.poll_action(later), Some(Action::Start { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use crate::base::backoff::Backoff;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::ipcp::Component;
use crate::types::id::{Address, IpcpId, N1FlowId};
use crate::types::name::Name;
use crate::types::qos::QosSpec;

#[cfg(test)]
mod tests;

/// Limits and pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Connections that may be wanted. Default 1024.
    pub max_wanted: usize,
    /// Limit of established connections, made by either side. Default 65 536: the IPCP has a bound of its own.
    pub max_connections: usize,
    /// Pauses between attempts. Default 100 ms, doubling up to 30 s.
    pub backoff: Backoff,
    /// The longest pause after an attempt in which a flow was allocated and then nothing was heard: the peer is there,
    /// and a message was lost. Default 4 s.
    pub unanswered: Duration,
    /// Time for which a connection must stand for its failures to be forgotten. Default 10 s.
    pub stable: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_wanted: 1024,
            max_connections: 1 << 16,
            backoff: Backoff::default(),
            unanswered: Duration::from_secs(4),
            stable: Duration::from_secs(10),
        }
    }
}

/// A neighbour, and the layer towards it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Towards {
    /// The name of the member, or of the layer for any member.
    pub destination: Name,
    /// The IPCP below whose layer connections go over; `None` for whichever knows the name first.
    pub over: Option<IpcpId>,
}

impl From<Name> for Towards {
    fn from(destination: Name) -> Self {
        Self { destination, over: None }
    }
}

/// A connection that should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The way.
    pub way: Towards,
    /// Component that it connects.
    pub component: Component,
    /// The quality of service asked of the layer below.
    pub qos: QosSpec,
}

impl Want {
    /// A connection over a raw flow, as the C reference makes them.
    pub fn new(destination: Name, component: Component) -> Self {
        Self { way: destination.into(), component, qos: QosSpec::RAW }
    }
}

/// Names one attempt to connect. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// Actions for the owner of a manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Allocate a flow, connect it, and tell how it went.
    Start {
        /// Number of the attempt, for the report.
        attempt: AttemptId,
        /// The connection to make.
        want: Want,
    },
    /// Give up an attempt under way. Nothing need be told about it, and if it is, it does no harm.
    Abandon(AttemptId),
    /// Close a flow.
    Close(N1FlowId),
}

/// Reason for not taking a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum ManagerError {
    /// The limit of connections is reached.
    #[error("the ipcp has {0} connections, and its limit allows no more: disconnect some, or raise the limit")]
    Full(usize),
    /// The connection is not wanted any more.
    #[error("the connection is not wanted any more")]
    Unwanted,
}

/// State of a wanted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for the management connection on the same way to stand for the first time.
    Held,
    /// Will be tried at this moment.
    Waiting(Instant),
    /// Being tried since.
    Trying(AttemptId, Instant),
    /// Stands since.
    Up(N1FlowId, Instant),
}

/// A connection that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Component that it connects.
    pub component: Component,
    /// The peer's address; 0 where members have none.
    pub peer: Address,
    /// The way on which this member connected it; `None` if the peer did.
    pub way: Option<Towards>,
    /// Since when.
    pub since: Instant,
}

type Key = (Towards, Component);

#[derive(Debug)]
struct Entry {
    qos: QosSpec,
    state: State,
    backoff: Backoff,
}

/// See the [module's documentation](self).
#[derive(Debug)]
pub struct Manager {
    config: Config,
    rng: Rng,
    wanted: BTreeMap<Key, Entry>,
    /// Attempts under way, with their entries.
    attempts: BTreeMap<AttemptId, Key>,
    connections: BTreeMap<N1FlowId, Connection>,
    /// Things to be ended.
    ends: VecDeque<Action>,
    last_attempt: u64,
}

impl Manager {
    /// A manager that wants nothing.
    pub fn new(config: Config, rng: Rng) -> Self {
        Self {
            config,
            rng,
            wanted: BTreeMap::new(),
            attempts: BTreeMap::new(),
            connections: BTreeMap::new(),
            ends: VecDeque::new(),
            last_attempt: 0,
        }
    }

    /// A connection should be made, and made again whenever it is lost. Wanting it twice changes nothing but the
    /// quality of service of the next attempt; an attempt that waits is made at once.
    ///
    /// # Errors
    /// [`ManagerError::Full`].
    pub fn want(&mut self, now: Instant, want: Want) -> Result<(), ManagerError> {
        let Want { way, component, qos } = want;
        let held = component == Component::DataTransfer && self.awaits_management(&way);
        let fresh = if held { State::Held } else { State::Waiting(now) };
        let key = (way, component);
        if let Some(entry) = self.wanted.get_mut(&key) {
            entry.qos = qos;
            if matches!(entry.state, State::Waiting(_)) {
                entry.state = fresh;
            }
            return Ok(());
        }
        if self.wanted.len() >= self.config.max_wanted {
            return Err(ManagerError::Full(self.config.max_wanted));
        }
        self.wanted.insert(key, Entry { qos, state: fresh, backoff: self.config.backoff });
        Ok(())
    }

    /// Ends a wanted connection and its attempts. Returns `false` if it was not wanted.
    pub fn unwant(&mut self, now: Instant, way: &Towards, component: Component) -> bool {
        let key = (way.clone(), component);
        let Some(entry) = self.wanted.remove(&key) else { return false };
        match entry.state {
            State::Held | State::Waiting(_) => {}
            State::Trying(attempt, _) => {
                self.attempts.remove(&attempt);
                self.ends.push_back(Action::Abandon(attempt));
            }
            State::Up(flow, _) => {
                self.connections.remove(&flow);
                self.ends.push_back(Action::Close(flow));
            }
        }
        if component == Component::Management {
            self.release_held(now, way);
        }
        true
    }

    /// Reports a failed attempt. The next is made after a pause.
    pub fn attempt_failed(&mut self, now: Instant, attempt: AttemptId) {
        let Some(key) = self.attempts.remove(&attempt) else { return };
        if let Some(entry) = self.wanted.get_mut(&key) {
            entry.state = State::Waiting(now + entry.backoff.failed(&mut self.rng));
        }
    }

    /// Reports a failed attempt: there was a flow, but nothing was heard on it. The next is made soon.
    pub fn attempt_unanswered(&mut self, now: Instant, attempt: AttemptId) {
        let Some(key) = self.attempts.remove(&attempt) else { return };
        if let Some(entry) = self.wanted.get_mut(&key) {
            entry.state = State::Waiting(now + entry.backoff.failed_for(&mut self.rng, self.config.unanswered));
        }
    }

    /// Reports a successful attempt: the connection stands, over this flow and to this peer.
    ///
    /// # Errors
    /// [`ManagerError`]: it is not wanted any more, or there are too many. The flow is to be closed, which
    /// [`poll_action`](Self::poll_action) does not say again.
    pub fn came_up(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        flow: N1FlowId,
        peer: Address,
    ) -> Result<(), ManagerError> {
        if self.connections.len() >= self.config.max_connections {
            self.attempt_failed(now, attempt);
            return Err(ManagerError::Full(self.config.max_connections));
        }
        let key = self.attempts.remove(&attempt).ok_or(ManagerError::Unwanted)?;
        let entry = self.wanted.get_mut(&key).ok_or(ManagerError::Unwanted)?;
        entry.state = State::Up(flow, now);
        let (way, component) = key;
        if component == Component::Management {
            self.release_held(now, &way);
        }
        self.connections.insert(flow, Connection { component, peer, way: Some(way), since: now });
        Ok(())
    }

    /// Reports a connection made by a peer.
    ///
    /// # Errors
    /// [`ManagerError::Full`]: the flow is to be closed.
    pub fn accepted(
        &mut self,
        now: Instant,
        flow: N1FlowId,
        component: Component,
        peer: Address,
    ) -> Result<(), ManagerError> {
        if self.connections.len() >= self.config.max_connections {
            return Err(ManagerError::Full(self.config.max_connections));
        }
        self.connections.insert(flow, Connection { component, peer, way: None, since: now });
        Ok(())
    }

    /// Reports the end of a flow, or of its peer. If the connection is wanted, it is made anew after a pause. Returns
    /// the connection.
    pub fn went_down(&mut self, now: Instant, flow: N1FlowId) -> Option<Connection> {
        let connection = self.connections.remove(&flow)?;
        let key = connection.way.clone().map(|way| (way, connection.component));
        if let Some(entry) = key.and_then(|key| self.wanted.get_mut(&key)) {
            if now - connection.since >= self.config.stable {
                entry.backoff.succeeded();
            }
            entry.state = State::Waiting(now + entry.backoff.failed(&mut self.rng));
        }
        Some(connection)
    }

    /// Returns the next action at `now`; `None` if there are no more.
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if let Some(end) = self.ends.pop_front() {
            return Some(end);
        }
        let due = |entry: &Entry| matches!(entry.state, State::Waiting(at) if at <= now);
        let (key, entry) = self.wanted.iter_mut().find(|(_, entry)| due(entry))?;
        self.last_attempt += 1;
        let attempt = AttemptId(self.last_attempt);
        entry.state = State::Trying(attempt, now);
        self.attempts.insert(attempt, key.clone());
        let (way, component) = key.clone();
        Some(Action::Start { attempt, want: Want { way, component, qos: entry.qos } })
    }

    /// Returns the time at which [`poll_action`](Self::poll_action) has something to do, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.ends.is_empty() {
            return Some(Instant::ZERO);
        }
        let waiting = self.wanted.values().filter_map(|entry| match entry.state {
            State::Waiting(at) => Some(at),
            _ => None,
        });
        waiting.min()
    }

    /// Returns the state of a wanted connection; `None` if it is not wanted.
    pub fn state(&self, way: &Towards, component: Component) -> Option<State> {
        self.wanted.get(&(way.clone(), component)).map(|entry| entry.state)
    }

    /// The ways to a destination on which connections are wanted.
    pub fn ways_to(&self, destination: &Name) -> BTreeSet<Towards> {
        let ways = self.wanted.keys().map(|(way, _)| way);
        ways.filter(|way| way.destination == *destination).cloned().collect()
    }

    /// The connections that stand, by their flows.
    pub fn connections(&self) -> impl Iterator<Item = (N1FlowId, &Connection)> {
        self.connections.iter().map(|(flow, connection)| (*flow, connection))
    }

    /// Returns `true` if management on this way is wanted and has not stood yet.
    fn awaits_management(&self, way: &Towards) -> bool {
        let up_or_unwanted = |state| matches!(state, None | Some(State::Up(..)));
        !up_or_unwanted(self.state(way, Component::Management))
    }

    /// Data transfer on this way need not wait for management any more.
    fn release_held(&mut self, now: Instant, way: &Towards) {
        if let Some(entry) = self.wanted.get_mut(&(way.clone(), Component::DataTransfer))
            && entry.state == State::Held
        {
            entry.state = State::Waiting(now);
        }
    }
}
