//! Components of a new member, and its local settings, which the layer need not agree on.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::task::Waker;
use core::time::Duration;

use crate::base::buf::BufPool;
use crate::base::foreign::Panics;
use crate::base::rng::Rng;
use crate::base::settings::settings;
use crate::base::time::Clock;
use crate::forward::sched::Limits;
use crate::ipcp::{Alarm, Connections, Requests};
use crate::routing::policy::RoutingPolicy;
use crate::types::id::Address;
use crate::types::layer::{self, LayerConfig};
use crate::types::qos::QosCube;

settings! {
    /// Settings of a member of a unicast layer that are its own business: those of the layer are in
    /// [`UnicastLayer`](crate::UnicastLayer).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use o7s::settings::UnicastConfig;
    ///
    /// let config = UnicastConfig::default().detection(Duration::from_millis(500)).max_flows(1000);
    /// ```
    #[derive(Clone, Debug)]
    pub struct Config {
        /// Sets how many flows may begin or end here, requests under way included, at most 2²⁰; more are refused. Default:
        /// 65 536.
        max_flows: usize = 65_536,
        /// Sets how many N-1 flows there may be; more are refused. Default: 4096.
        max_connections: usize = 4096,
        /// Sets how many messages of components may wait to be handled; more are dropped. Link state and requests for flows
        /// have a quarter each; replies to requests, what else concerns flows, and answers of the directory and questions to
        /// it an eighth each. An N-1 flow has at most one part in 32 of all the room in each class, but 8 messages in any
        /// case. Default: 4096.
        inbox: usize = 4096,
        /// Sets how many packets of a flow may wait for their turn to be sent, at least 32; more are dropped. Writers wait while
        /// half as many do. Default: 256.
        flow_queue: usize = 256,
        /// Sets the address to have, 1 to 2³² - 1; others are an error when the member is made. It is kept over restarts:
        /// what the layer remembers of an earlier life is contradicted. A new member takes another one all the same if
        /// somebody answers that. Default: `None`, a random one.
        address: Option<Address> = None,
        /// Sets how long a neighbour that is a member of this library may be silent before it is taken for gone, and packets
        /// go around it. Both ends hold to the longer one of what they say, to no less than four times the time in
        /// which the request for the N-1 flow was answered, and to no more than the flow's
        /// [timeout](crate::QosSpec::timeout). A request that was repeated counts from the first time in the second before
        /// the answer; so a lost answer has a neighbour waited for longer, by four seconds at most, only where requests are
        /// [repeated](crate::settings::Limits::retry) within a second. Eight keepalives are sent in that time. A member says
        /// more the more neighbours it has when one is connected, so that its keepalives do not become as many more: with the
        /// default, 2000 a second for 500 N-1 flows, and less than four times as many for 4096. Zero: what the other end says
        /// counts, and if that is zero, too, only the flow's timeout, as with neighbours of the C reference. Default: 2 s.
        detection: Duration = Duration::from_secs(2),
    }
    inside {
        /// Packets that wait in front of each N-1 flow, by cube.
        queues: Limits = Limits::default(),
        /// The routing policy of this member, if it is another than the layer's: its choice among the routes that the layer
        /// has. Set by [`MemberBuilder::routing`](crate::MemberBuilder::routing).
        routing: Option<Arc<dyn RoutingPolicy>> = None,
    }
}

impl Config {
    /// Sets how many packets of each cube may wait in front of each N-1 flow. Of best effort and video a new one is dropped
    /// when as many wait, of voice the oldest. Default: 1023 of best effort, what a reference has before each device, 512 of
    /// video and 64 of voice: what waits behind more is too late.
    #[must_use]
    pub fn queue(mut self, cube: QosCube, packets: usize) -> Self {
        *self.queues.of_mut(cube) = packets;
        self
    }
}

/// Components and settings of a new member.
pub struct Parts {
    /// The IPCP's own name.
    pub name: String,
    /// Configuration of the layer, common to all members. The directory's first contact is the member that told us.
    pub layer: LayerConfig,
    /// The unicast part of `layer`.
    pub unicast: layer::Unicast,
    /// Our address.
    pub address: Address,
    /// Bounds.
    pub config: Config,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// Pool of packet buffers.
    pub pool: Arc<BufPool>,
    /// Randomness.
    pub rng: Rng,
    /// Receiver of requests for flows.
    pub requests: Weak<dyn Requests>,
    /// Manager of N-1 flows, told of those that are lost.
    pub connections: Weak<dyn Connections>,
    /// Guard through which wakers are called.
    pub panics: Arc<Panics>,
    /// Makes the alarm that wakes the waker given.
    pub alarm: Box<dyn FnOnce(Waker) -> Arc<dyn Alarm>>,
}
