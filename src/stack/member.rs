//! Members of unicast and broadcast layers: making them, and connecting them.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{BroadcastLayer, Flow, IpcpHandle, JoinError, MemberError, Shared, Stack, UnicastLayer, wait};
use crate::ipcp::broadcast::flood;
use crate::ipcp::connect::address::{MAX_ADDRESS, is_valid};
use crate::ipcp::connect::enroll::{Admission, AdmitAll};
use crate::ipcp::connect::manager::Towards;
use crate::ipcp::{Component, ConnectionRefused, Kind as LayerType, unicast};
use crate::node::IpcpId;
use crate::node::member::{Bootstrap, Common, ConnectionInfo, Joining, MemberKind, Membership};
use crate::routing::policy::RoutingPolicy;
use crate::types::id::{Address, Eid};
use crate::types::layer::LayerConfig;
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// A member of a layer that is about to be made.
#[must_use = "a member is made by `bootstrap` or `enroll`"]
pub struct MemberBuilder<C> {
    shared: Arc<Shared>,
    name: String,
    over: Vec<(Weak<Shared>, IpcpId)>,
    autobind: bool,
    admission: Arc<dyn Admission>,
    priority: i32,
    config: C,
    timeout: Option<Duration>,
}

/// A member of a unicast layer that is about to be made.
pub type UnicastBuilder = MemberBuilder<unicast::Config>;
/// A member of a broadcast layer that is about to be made.
pub type BroadcastBuilder = MemberBuilder<flood::Config>;

impl<C: fmt::Debug> fmt::Debug for MemberBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, autobind, priority, config, timeout, .. } = self;
        let mut shown = f.debug_struct("MemberBuilder");
        shown.field("name", name).field("autobind", autobind).field("priority", priority).field("config", config);
        shown.field("timeout", timeout).finish_non_exhaustive()
    }
}

impl<C: Default + Into<MemberKind>> MemberBuilder<C> {
    fn new(stack: &Stack, name: &str) -> Self {
        Self {
            shared: Arc::clone(&stack.shared),
            name: name.into(),
            over: Vec::new(),
            autobind: true,
            admission: Arc::new(AdmitAll),
            priority: 0,
            config: C::default(),
            timeout: None,
        }
    }

    /// Adds an IPCP of this stack through whose layer N-1 flows go, and where the new one's names are registered; one of
    /// another stack is [`MemberError::NoLayer`]. Default: none, and flows go through whatever layer knows the neighbour's
    /// name.
    pub fn over(mut self, lower: &IpcpHandle) -> Self {
        self.over.push((Arc::downgrade(lower.shared()), lower.id()));
        self
    }

    /// Sets whether neighbours are accepted under the IPCP's name and the layer's. Default: `true`, other than of the key
    /// `autobind` of a [configuration file](crate::manual::configuration), which has the reference's default, `false`.
    pub fn autobind(mut self, on: bool) -> Self {
        self.autobind = on;
        self
    }

    /// Sets the admission of members that enroll through this one, and so learn what the layer agrees on. It is no
    /// access control: with that knowledge from elsewhere, the protocol lets a member connect without. Default: every
    /// one that can reach it.
    pub fn admission(mut self, admission: Arc<dyn Admission>) -> Self {
        self.admission = admission;
        self
    }

    /// Sets the priority of the layer: those with a higher one are asked for a name first. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how long an enrollment may take, with all its attempts. Default: 20 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn found(self, layer: LayerConfig) -> Result<IpcpHandle, MemberError> {
        let (shared, common, kind) = self.checked()?;
        let membership = shared.node.bootstrap(Bootstrap { common, kind, layer })?;
        Ok(IpcpHandle::of_member(&shared, &membership))
    }

    fn checked(self) -> Result<(Arc<Shared>, Common, MemberKind), MemberError> {
        let Self { shared, name, over, autobind, admission, priority, config, .. } = self;
        if over.iter().any(|(stack, _)| !is_of(stack, &shared)) {
            return Err(MemberError::NoLayer);
        }
        let over = over.into_iter().map(|(_, id)| id).collect();
        let common = Common { name: Name::new(&name)?, over, autobind, admission, priority };
        let kind = config.into();
        check(&kind)?;
        Ok((shared, common, kind))
    }

    /// Joins a layer by way of the member called `member`, or, by the layer's name, of any. Waits for it.
    ///
    /// A new member has no neighbours yet: [`connect`](IpcpHandle::connect) it.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn enroll(self, member: &str) -> Result<IpcpHandle, MemberError> {
        let shared = Arc::clone(&self.shared);
        wait_for(&shared, self.enroll_async(member))
    }

    /// As [`enroll`](Self::enroll). Dropping the future gives up.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn enroll_async(self, member: &str) -> Result<IpcpHandle, MemberError> {
        let destination = Name::new(member)?;
        let timeout = self.timeout;
        let (shared, common, kind) = self.checked()?;
        let joining = Joining { common, kind, destination, timeout };
        let membership = Arc::clone(&shared.node).enroll(joining).await?;
        Ok(IpcpHandle::of_member(&shared, &membership))
    }
}

/// Returns `true` if an IPCP's stack is `shared`: another stack's numbers mean other IPCPs here.
fn is_of(stack: &Weak<Shared>, shared: &Arc<Shared>) -> bool {
    core::ptr::eq(stack.as_ptr(), Arc::as_ptr(shared))
}

/// Refuses what a member cannot have.
fn check(kind: &MemberKind) -> Result<(), MemberError> {
    match kind {
        MemberKind::Unicast(unicast::Config { address: Some(address), .. }) if !is_valid(*address) => {
            let reason = format!("it is {} and may be 1 to {}", address.0, MAX_ADDRESS.0);
            Err(MemberError::Parameter { field: "address", reason })
        }
        _ => Ok(()),
    }
}

impl UnicastBuilder {
    /// Sets the local settings of this member, on which members of a layer need not agree. Default: that of
    /// [`UnicastConfig`](unicast::Config).
    pub fn config(mut self, config: unicast::Config) -> Self {
        let routing = self.config.routing.take();
        self.config = unicast::Config { routing, ..config };
        self
    }

    /// Sets a routing policy of the caller's own for this member: which of the routes to a destination its packets take.
    /// Other members are not told, and have theirs. Default: the policy of the layer.
    ///
    /// [`manual::doors`](crate::manual::doors) has an example.
    pub fn routing(mut self, policy: Arc<dyn RoutingPolicy>) -> Self {
        self.config.routing = Some(policy);
        self
    }

    /// Makes the first member of a new layer.
    ///
    /// # Errors
    /// [`MemberError`], which says which parameter or name is wrong.
    pub fn bootstrap(self, layer: UnicastLayer) -> Result<IpcpHandle, MemberError> {
        self.found(layer.config()?)
    }
}

impl BroadcastBuilder {
    /// Sets the local settings of this member, on which members of a layer need not agree. Default: that of
    /// [`BroadcastConfig`](flood::Config).
    pub fn config(mut self, config: flood::Config) -> Self {
        self.config = config;
        self
    }

    /// Makes the first member of a new layer.
    ///
    /// # Errors
    /// [`MemberError`], which says which name is wrong.
    pub fn bootstrap(self, layer: BroadcastLayer) -> Result<IpcpHandle, MemberError> {
        self.found(layer.config()?)
    }
}

impl Stack {
    /// Begins to make a member of a unicast layer: the IPCP `name`.
    ///
    /// ```
    /// use o7s::{LocalConfig, Stack, UnicastLayer};
    ///
    /// // Two members in one process, next to each other over a local layer.
    /// let stack = Stack::new()?;
    /// let below = stack.local(LocalConfig::new("wire", "wire"));
    /// let a = stack.unicast("node-a").over(&below).bootstrap(UnicastLayer::new("net"))?;
    /// let b = stack.unicast("node-b").over(&below).enroll("node-a")?;
    /// b.connect("node-a")?;
    /// assert_eq!(b.connections().len(), 2, "management and data transfer");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unicast(&self, name: &str) -> UnicastBuilder {
        MemberBuilder::new(self, name)
    }

    /// Begins to make a member of a broadcast layer: the IPCP `name`.
    ///
    /// The connections between members should be a tree: [connect](IpcpHandle::connect) each new one to one member.
    ///
    /// ```
    /// use o7s::{BroadcastLayer, LocalConfig, Stack};
    ///
    /// // Two members in one process, next to each other over a local layer.
    /// let stack = Stack::new()?;
    /// let below = stack.local(LocalConfig::new("wire", "wire"));
    /// let a = stack.broadcast("b1").over(&below).bootstrap(BroadcastLayer::new("news"))?;
    /// let b = stack.broadcast("b2").over(&below).enroll("b1")?;
    /// b.connect("b1")?;
    ///
    /// // Programs join by the layer's name, here both at the first member.
    /// let (here, there) = (stack.join("news")?, stack.join("news")?);
    /// here.write(b"rain at noon")?;
    /// let mut buf = [0; 64];
    /// let n = there.read(&mut buf)?;
    /// assert_eq!(&buf[..n], b"rain at noon");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn broadcast(&self, name: &str) -> BroadcastBuilder {
        MemberBuilder::new(self, name)
    }

    /// Takes part in a broadcast layer of which an IPCP of this stack is a member. What is written to the flow goes to
    /// all others who have joined, on any member, and what any of them writes is read from it; packets have up to
    /// [1399 bytes](BroadcastLayer::MAX_PACKET), and may be lost. Closing it leaves.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn join(&self, layer: &str) -> Result<Flow, JoinError> {
        let name = Name::new(layer)?;
        let joined = self.shared.node.join(&name)?;
        Ok(Flow::new(Arc::clone(&self.shared), name, joined))
    }
}

/// Settings of connections to a neighbour.
///
/// ```
/// use std::time::Duration;
///
/// use o7s::{ConnectOptions, QosSpec};
///
/// let options = ConnectOptions::new().qos(QosSpec { timeout: 5000, ..QosSpec::RAW }).timeout(Duration::from_secs(3));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options are for `connect_with`"]
pub struct ConnectOptions {
    over: Option<(Weak<Shared>, IpcpId)>,
    component: Option<Component>,
    qos: Option<QosSpec>,
    timeout: Option<Duration>,
}

/// Default quality of service of N-1 flows.
const QOS: QosSpec = QosSpec { timeout: 10_000, ..QosSpec::RAW };

/// The same for members of broadcast layers. Members of this library agree by themselves on how long a neighbour may be
/// silent; those of the C reference would get stuck.
const BROADCAST_QOS: QosSpec = QosSpec { timeout: 0, ..QosSpec::RAW };

impl ConnectOptions {
    /// The defaults: management, if the layer has it, then data transfer, over raw flows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the layer that the connections go over: that of this IPCP, one of those that the member was
    /// [made over](MemberBuilder::over). Default: whichever knows the name first.
    ///
    /// Members of a unicast layer that connect to the same neighbour over several layers have several ways to it, and a flow
    /// that loses one goes on over another. In a broadcast layer, connections should be a tree, so one is enough: a second
    /// one to the same neighbour, over whichever layer, is a loop. Members drop the copies, but those of the C reference do
    /// not.
    ///
    /// ```
    /// use o7s::{ConnectOptions, LocalConfig, Stack, UnicastLayer};
    ///
    /// let stack = Stack::new()?;
    /// let wires = ["left", "right"].map(|name| stack.local(LocalConfig::new(name, name)));
    /// let member = |name| stack.unicast(name).over(&wires[0]).over(&wires[1]);
    /// let a = member("node-a").bootstrap(UnicastLayer::new("net"))?;
    /// let b = member("node-b").enroll("node-a")?;
    /// for wire in &wires {
    ///     b.connect_with("node-a", ConnectOptions::new().over(wire))?;
    /// }
    /// assert_eq!(b.connections().len(), 4, "management and data transfer, over both");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn over(mut self, lower: &IpcpHandle) -> Self {
        self.over = Some((Arc::downgrade(lower.shared()), lower.id()));
        self
    }

    /// Sets the only component that is connected. Default: management, if the layer has it, then data transfer.
    pub fn component(mut self, component: Component) -> Self {
        self.component = Some(component);
        self
    }

    /// Sets what is asked of the N-1 flows. Its `timeout` says how soon a neighbour that has vanished is noticed at the
    /// latest: the routes go another way then. Default: [`QosSpec::RAW`] with a timeout of 10 s; a neighbour that is a member
    /// of this library is missed [sooner](crate::settings::UnicastConfig::detection). In a broadcast layer there is no
    /// timeout: members of this library agree on one by themselves, those of the C reference would get stuck.
    pub fn qos(mut self, qos: QosSpec) -> Self {
        self.qos = Some(qos);
        self
    }

    /// Sets how long it may take until the connections stand. Default: 20 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns the way to `member` for an IPCP of the stack `shared`.
    fn way(&self, shared: &Arc<Shared>, member: &str) -> Result<Towards, MemberError> {
        let destination = Name::new(member)?;
        match &self.over {
            Some((stack, _)) if !is_of(stack, shared) => Err(MemberError::NoLayer),
            over => Ok(Towards { destination, over: over.as_ref().map(|(_, id)| *id) }),
        }
    }

    /// Returns the quality of service of this member's N-1 flows.
    fn qos_for(&self, membership: &Membership) -> QosSpec {
        self.qos.unwrap_or(match membership.member().info().kind {
            LayerType::Broadcast => BROADCAST_QOS,
            _ => QOS,
        })
    }

    /// Returns the components of this member that are connected.
    fn components(&self, membership: &Membership) -> Result<Vec<Component>, MemberError> {
        let wanted = self.component.map_or(vec![Component::Management, Component::DataTransfer], |only| vec![only]);
        let has = |component: &Component| membership.member().component(*component).is_some();
        let components: Vec<_> = wanted.into_iter().filter(has).collect();
        if components.is_empty() {
            return Err(crate::node::member::MemberError::from(ConnectionRefused::Component).into());
        }
        Ok(components)
    }
}

impl IpcpHandle {
    /// Connects the IPCP to a member of its layer, by its name or the layer's, and keeps it connected: a connection that
    /// is lost is made anew. Once for each layer [over which](ConnectOptions::over) it is to be connected.
    ///
    /// # Errors
    /// [`MemberError`], if that does not come about in time; no more attempts are made then.
    pub fn connect(&self, member: &str) -> Result<(), MemberError> {
        self.connect_with(member, ConnectOptions::new())
    }

    /// As [`connect`](Self::connect), with settings.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn connect_with(&self, member: &str, options: ConnectOptions) -> Result<(), MemberError> {
        wait_for(self.shared(), self.connect_with_async(member, options))
    }

    /// As [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn connect_async(&self, member: &str) -> Result<(), MemberError> {
        self.connect_with_async(member, ConnectOptions::new()).await
    }

    /// As [`connect`](Self::connect), with settings.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn connect_with_async(&self, member: &str, options: ConnectOptions) -> Result<(), MemberError> {
        let way = options.way(self.shared(), member)?;
        let membership = self.membership()?;
        let (components, qos) = (options.components(&membership)?, options.qos_for(&membership));
        Ok(membership.connect(way, components, qos, options.timeout).await?)
    }

    /// Connects the IPCP to a member in the background, without waiting, and tries again until it is connected.
    ///
    /// # Errors
    /// [`MemberError`] if too many connections are wanted, or the layer to go over is not there.
    pub fn keep_connected(&self, member: &str, options: ConnectOptions) -> Result<(), MemberError> {
        let way = options.way(self.shared(), member)?;
        let membership = self.membership()?;
        for component in options.components(&membership)? {
            membership.want(&way, component, options.qos_for(&membership))?;
        }
        Ok(())
    }

    /// Ends connections that were made with [`connect`](Self::connect), over whatever layers. `false` if there were none.
    pub fn disconnect(&self, member: &str) -> bool {
        let (Ok(name), Ok(membership)) = (Name::new(member), self.membership()) else { return false };
        membership.disconnect(&name, &[Component::Management, Component::DataTransfer])
    }

    /// Returns the established connections to neighbours, in both directions.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.membership().map(|m| m.connections()).unwrap_or_default()
    }

    /// The IPCP's address in its layer, if the layer has addresses.
    pub fn address(&self) -> Option<Address> {
        let own = self.membership().ok()?.member().component(Component::DataTransfer)?.address;
        (own != Address(0)).then_some(own)
    }

    /// The neighbour to which a packet for the member at `destination` would go now, if there is a way. `flow` is the
    /// EID that it is for: the choice between equal ways depends on it.
    pub fn next_hop(&self, destination: Address, flow: Eid) -> Option<Address> {
        self.membership().ok()?.member().next_hop(destination, flow)
    }

    /// Returns the other members of the layer that have a name; none, if it is not in the layer or only here.
    ///
    /// # Errors
    /// [`MemberError`] if the name is not one or the IPCP is gone; [`MemberError::TimedOut`] if none of the members that were
    /// asked has said anything in five seconds.
    pub async fn locate_async(&self, name: &str) -> Result<Vec<Address>, MemberError> {
        let name = Name::new(name)?;
        Ok(self.membership()?.locate(name).await?)
    }

    /// As [`locate_async`](Self::locate_async), and waits for it.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn locate(&self, name: &str) -> Result<Vec<Address>, MemberError> {
        wait_for(self.shared(), self.locate_async(name))
    }

    /// Ends the IPCP: its connections, and the flows that go through its layer, of which what is on its way is lost.
    /// The neighbours are told, so that they go around it at once, and so are the other ends of the flows; those within
    /// a [local](Stack::local) layer, which need no IPCP once they exist, go on. A socket that it had is free when this
    /// returns, even while handles and flows of the layer are still held.
    pub fn leave(self) {
        let shared = self.shared();
        shared.node.remove_ipcp(self.id());
        let gone = {
            let mut shims = shared.shims.lock();
            let (gone, kept) = std::mem::take(&mut *shims).into_iter().partition(|shim| shim.is_down());
            *shims = kept;
            gone
        };
        shared.let_go(gone);
    }

    fn membership(&self) -> Result<Arc<Membership>, MemberError> {
        self.shared().node.membership(self.id()).ok_or(MemberError::NoMember)
    }
}

/// Blocks on a future.
pub(super) fn wait_for<T>(
    shared: &Arc<Shared>,
    future: impl Future<Output = Result<T, MemberError>>,
) -> Result<T, MemberError> {
    if !shared.may_block() {
        return Err(MemberError::Polled);
    }
    // What is waited for has a deadline of its own.
    wait::block_on_future(shared, future).unwrap_or_else(|| Err(crate::node::member::MemberError::StackDown.into()))
}

#[cfg(test)]
mod tests;
