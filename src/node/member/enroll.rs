//! Becoming a member: as the first one, or by way of another.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::time::Duration;

use super::super::timers::{Alarm, Sleep};
use super::handshake::{N1, allocate, introduce, next_packet, send};
use super::{CONNECT_TIMEOUT, IpcpId, LateConnections, MemberError, Membership, Node, Via};
use crate::base::backoff::{Backoff, Schedule};
use crate::base::foreign::Causes;
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::ipcp::broadcast::{self, Broadcast};
use crate::ipcp::connect::enroll::{Admission, ConfigError, EnrollError, Granted, Joiner, Kind};
use crate::ipcp::connect::{STEP_TIMEOUT, address};
use crate::ipcp::unicast::{self, Unicast};
use crate::ipcp::{Connections, Member};
use crate::node::alloc::AllocError;
use crate::types::id::Address;
use crate::types::layer::{LayerConfig, LayerKind};
use crate::types::name::Name;
use crate::types::qos::QosSpec;
use crate::wire::cep;
use core::future::poll_fn;
use core::task::Poll;

/// Pauses between attempts to enroll: short ones, because there is a time limit.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Settings common to all ways of becoming a member.
#[derive(Clone)]
pub struct Common {
    /// The IPCP's own name.
    pub name: Name,
    /// The IPCPs whose layers carry the N-1 flows, in which the IPCP's names are registered; none for any.
    pub over: Vec<IpcpId>,
    /// Accepts N-1 flows under the IPCP's own name and that of the layer, if `true`.
    pub autobind: bool,
    /// Decides on requests to enroll.
    pub admission: Arc<dyn Admission>,
    /// Priority in lookups of names.
    pub priority: i32,
}

/// Kind of the member, with its local limits.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in the bound of a builder's parameter, which they do not choose")]
pub enum MemberKind {
    /// A member of a unicast layer.
    Unicast(unicast::Config),
    /// A member of a broadcast layer.
    Broadcast(broadcast::flood::Config),
}

impl From<unicast::Config> for MemberKind {
    fn from(config: unicast::Config) -> Self {
        Self::Unicast(config)
    }
}

impl From<broadcast::flood::Config> for MemberKind {
    fn from(config: broadcast::flood::Config) -> Self {
        Self::Broadcast(config)
    }
}

impl MemberKind {
    fn of(&self) -> Kind {
        match self {
            Self::Unicast(_) => Kind::Unicast,
            Self::Broadcast(_) => Kind::Broadcast,
        }
    }
}

/// The first member of a new layer.
pub struct Bootstrap {
    /// Common settings.
    pub common: Common,
    /// Local limits.
    pub kind: MemberKind,
    /// The layer.
    pub layer: LayerConfig,
}

/// A new member of a layer that exists.
pub struct Joining {
    /// Common settings.
    pub common: Common,
    /// Local limits.
    pub kind: MemberKind,
    /// The name of a member, or of the layer for any.
    pub destination: Name,
    /// Time limit.
    pub timeout: Option<Duration>,
}

impl Node {
    /// Makes the first member of a layer.
    ///
    /// # Errors
    /// [`MemberError`] if the layer's parameters cannot be used or a name is not free.
    pub fn bootstrap(self: &Arc<Self>, params: Bootstrap) -> Result<Arc<Membership>, MemberError> {
        let Bootstrap { common, kind, layer } = params;
        self.establish(common, &kind, layer)
    }

    /// Makes a member of a layer that exists, by way of one of its members.
    ///
    /// # Errors
    /// [`MemberError`]: why the last attempt failed that had its time, when no other will do better or time is over.
    pub async fn enroll(self: Arc<Self>, params: Joining) -> Result<Arc<Membership>, MemberError> {
        let Joining { common, kind, destination, timeout } = params;
        let mut rng = self.split_rng("enrollment");
        let limit = timeout.unwrap_or(CONNECT_TIMEOUT);
        let mut schedule = Schedule::new(self.clock().now(), limit, Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
        let weak = Arc::downgrade(&self);
        drop(self);
        let via = via_of(&common, None);
        let mut told = None;
        loop {
            let why = match attempt(&weak, &via, &common, &kind, &destination, schedule.deadline()).await {
                Ok(membership) => return Ok(membership),
                Err(e) => e,
            };
            let last = is_final(&why);
            note_failure(&weak, &common.name, &destination, &why, last);
            if last {
                return Err(why);
            }
            let node = weak.upgrade().filter(|n| !n.is_down()).ok_or(MemberError::StackDown)?;
            let now = node.clock().now();
            let Some(again) = schedule.failed(now, &mut rng) else {
                // An attempt that was cut short has found out nothing. The one before it has.
                let cut = now >= schedule.deadline() && is_silence(&why);
                return Err(told.filter(|_| cut).unwrap_or(why));
            };
            told = Some(why);
            let mut sleep = Sleep::new(&node.timers);
            drop(node);
            poll_fn(|cx| match weak.upgrade() {
                Some(node) if node.clock().now() < again && !node.is_down() => {
                    sleep.set(again, cx.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            })
            .await;
        }
    }

    /// Makes the IPCP and everything around it.
    fn establish(
        self: &Arc<Self>,
        common: Common,
        kind: &MemberKind,
        layer: LayerConfig,
    ) -> Result<Arc<Membership>, MemberError> {
        self.is_up()?;
        let names = names_of(&common.name, &layer.name);
        let late = Arc::new(LateConnections::default());
        let connections: Weak<LateConnections> = Arc::downgrade(&late);
        let member = self.make_member(common.name.as_str(), kind, layer, connections)?;
        let id = self.add_ipcp(Arc::clone(&member).as_ipcp(), common.priority).ok_or(MemberError::StackDown)?;
        let via = via_of(&common, Some(id));
        let membership = Membership::new(self, id, member, via, Arc::clone(&common.admission), late);
        self.layers.set_membership(id, &membership);
        let reachable = if common.autobind { membership.make_known(&names, &common.over) } else { Ok(()) };
        // A shutdown under way may have taken it before anybody knew of the membership.
        let reachable = reachable.and_then(|()| self.is_up());
        match reachable {
            Ok(()) => Ok(membership),
            Err(e) => {
                // All or nothing: a member without a handle would go on accepting flows.
                self.remove_ipcp(id);
                Err(e)
            }
        }
    }

    fn is_up(&self) -> Result<(), MemberError> {
        if self.is_down() { Err(MemberError::StackDown) } else { Ok(()) }
    }

    fn make_member(
        self: &Arc<Self>,
        name: &str,
        kind: &MemberKind,
        layer: LayerConfig,
        connections: Weak<dyn Connections>,
    ) -> Result<Arc<dyn Member>, MemberError> {
        let node = Arc::clone(self);
        let alarm = Box::new(move |waker| Arc::new(Alarm::new(&node.timers, waker)) as Arc<dyn crate::ipcp::Alarm>);
        match (kind, &layer.kind) {
            (MemberKind::Unicast(config), LayerKind::Unicast(parameters)) => {
                let unicast = *parameters;
                let drawn = draw_address(self, |address| address == unicast.directory.peer)?;
                let address = config.address.unwrap_or(drawn);
                let parts = unicast::Parts {
                    name: String::from(name),
                    layer,
                    unicast,
                    address,
                    config: config.clone(),
                    clock: Arc::clone(self.clock()),
                    pool: Arc::clone(self.pool()),
                    rng: self.split_rng("unicast"),
                    requests: self.requests(),
                    connections,
                    panics: Arc::clone(self.panics()),
                    alarm,
                };
                Ok(Unicast::new(parts)?)
            }
            (MemberKind::Broadcast(config), LayerKind::Broadcast) => Ok(Broadcast::new(broadcast::Parts {
                name: String::from(name),
                layer,
                config: *config,
                clock: Arc::clone(self.clock()),
                pool: Arc::clone(self.pool()),
                rng: self.split_rng("broadcast"),
                connections,
            })),
            _ => Err(EnrollError::Config(ConfigError::Kind { own: kind.of(), theirs: Kind::of(&layer) }).into()),
        }
    }
}

/// Returns the layers for the N-1 flows.
fn via_of(common: &Common, own: Option<IpcpId>) -> Via {
    match &*common.over {
        [] => Via::Layers { except: own },
        over => Via::Only(over.to_vec()),
    }
}

/// Returns `true` if another attempt would fail in the same way.
fn is_final(e: &MemberError) -> bool {
    match e {
        MemberError::Enroll(e) => e.is_final(),
        MemberError::Cep(_)
        | MemberError::Bind(_)
        | MemberError::Register(_)
        | MemberError::Layer(_)
        | MemberError::StackDown => true,
        _ => false,
    }
}

/// Returns `true` if it says no more than that nothing came in time.
fn is_silence(e: &MemberError) -> bool {
    matches!(
        e,
        MemberError::Silent
            | MemberError::Enroll(EnrollError::Timeout(_))
            | MemberError::Alloc(AllocError::TimedOut(_) | AllocError::LookupTimedOut(_))
    )
}

fn note_failure(node: &Weak<Node>, ipcp: &Name, by: &Name, why: &MemberError, last: bool) {
    let Some(node) = node.upgrade() else { return };
    let (why, then) = (Causes(why), if last { "giving up" } else { "trying again" });
    record!(
        node.panics(),
        Enroll,
        Warn,
        [ipcp = ipcp, destination = by, reason = why],
        "{ipcp:?} not enrolled by way of {by:?}, {then}: {why}"
    );
}

async fn attempt(
    node: &Weak<Node>,
    via: &Via,
    common: &Common,
    kind: &MemberKind,
    destination: &Name,
    until: Instant,
) -> Result<Arc<Membership>, MemberError> {
    let flow = N1(Some(allocate(node, via, destination, QosSpec::RAW, until).await?.0));
    let endpoint = flow.0.clone().ok_or(MemberError::GivenUp)?;
    introduce(node, &endpoint, cep::Message::enrollment(), until).await?;
    let (joiner, request) = {
        let node = node.upgrade().ok_or(MemberError::StackDown)?;
        let mut rng = node.split_rng("enrollment id");
        Joiner::start(node.clock().now(), kind.of(), &mut rng)
    };
    send(&endpoint, &request);
    let granted: Granted = loop {
        let pkt = next_packet(node, &endpoint, until.min(joiner.deadline())).await;
        let pkt = pkt.ok_or(EnrollError::Timeout(STEP_TIMEOUT))?;
        if let Some(granted) = joiner.handle_packet(&pkt)? {
            break granted;
        }
    };
    let node = node.upgrade().ok_or(MemberError::StackDown)?;
    let established = node.establish(common.clone(), kind, granted.config.clone());
    send(&endpoint, &granted.ack(if established.is_ok() { 0 } else { -1 }));
    established
}

/// A random address for a new member.
fn draw_address(node: &Node, taken: impl Fn(Address) -> bool) -> Result<Address, MemberError> {
    address::draw(&mut node.split_rng("address"), taken).ok_or(MemberError::NoAddress)
}

/// The names by which a member is reached.
fn names_of(name: &Name, layer: &Name) -> Vec<Name> {
    let own = Some(name).filter(|own| *own != layer);
    own.into_iter().chain([layer]).cloned().collect()
}
