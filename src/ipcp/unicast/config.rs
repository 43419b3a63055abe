//! What a member is made from, and what it is to be like beyond what all members of the layer agree on.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::task::Waker;
use core::time::Duration;

use crate::base::buf::BufPool;
use crate::base::foreign::Panics;
use crate::base::rng::Rng;
use crate::base::time::Clock;
use crate::forward::sched::Limits;
use crate::ipcp::{Alarm, Connections, Requests};
use crate::routing::policy::RoutingPolicy;
use crate::types::id::Address;
use crate::types::layer::{self, LayerConfig};

/// Bounds of a member of a unicast layer, which are its own business.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Flows that begin or end here, requests under way included. Default 65 536, at most 2²⁰.
    pub max_flows: usize,
    /// N-1 flows. Default 4096.
    pub max_connections: usize,
    /// Messages of components that wait to be handled; more are dropped. Link state, requests for flows, what else
    /// concerns flows, and the directory have a quarter each, of which no N-1 flow may fill more than an eighth. Default
    /// 4096.
    pub inbox: usize,
    /// Packets of a flow that wait for their turn to be sent; more are dropped. Default 256.
    pub flow_queue: usize,
    /// Packets that wait in front of each N-1 flow, by cube.
    pub queues: Limits,
    /// The address to have; a random one if not given. It is kept over restarts: what the layer remembers of an earlier
    /// life is contradicted. A new member takes another one all the same if somebody answers that.
    pub address: Option<Address>,
    /// How long a neighbour that is a member of this library may be silent before it is taken for gone, and packets go
    /// around it. Both ends hold to the longer one of what they say, to no less than four times what it took to allocate
    /// the N-1 flow, and to no more than the flow's [timeout](crate::QosSpec::timeout). Eight keepalives are sent in that
    /// time. A member says more the more neighbours it has when one is connected, so that its keepalives do not become as
    /// many more: with the default, 2000 a second for 500 N-1 flows, and less than four times as many for 4096. Zero: what
    /// the other end says counts, and if that is zero, too, only the flow's timeout, as with neighbours of the C reference.
    /// Default 2 s.
    pub detection: Duration,
    /// The routing policy of this member, if it is another than the layer's: its choice among the routes that the layer
    /// has. Other members are not told. Default `None`.
    pub routing: Option<Arc<dyn RoutingPolicy>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_flows: 65_536,
            max_connections: 4096,
            inbox: 4096,
            flow_queue: 256,
            queues: Limits::default(),
            address: None,
            detection: Duration::from_secs(2),
            routing: None,
        }
    }
}

/// What a member is built from.
pub struct Parts {
    /// The IPCP's own name.
    pub name: String,
    /// What all members of the layer agree on. The directory's first contact is the member that told us.
    pub layer: LayerConfig,
    /// What is special about a unicast layer; from `layer`.
    pub unicast: layer::Unicast,
    /// Our address.
    pub address: Address,
    /// Bounds.
    pub config: Config,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where packet buffers come from.
    pub pool: Arc<BufPool>,
    /// Randomness.
    pub rng: Rng,
    /// Where requests for flows go that arrive.
    pub requests: Weak<dyn Requests>,
    /// Who looks after N-1 flows that are lost.
    pub connections: Weak<dyn Connections>,
    /// Through which wakers are called.
    pub panics: Arc<Panics>,
    /// Makes the alarm that wakes the waker given.
    pub alarm: Box<dyn FnOnce(Waker) -> Arc<dyn Alarm>>,
}
