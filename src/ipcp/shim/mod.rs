//! Shims: members of layers over a device.
//!
//! | module | layer |
//! |---|---|
//! | [`udp`] | the hosts that UDP reaches |
//! | [`eth`] | the stations of an Ethernet segment |
//! | [`custom`] | whatever a program brings along that carries packets: a serial line, a pipe in memory |
//!
//! Inside, a shim is a type that implements [`Shim`], and [`ReceiveLoop`] makes of it what a stack and its threads hold.
//! From outside it is simpler: [`custom`] has everything but the device. If the device carries datagrams between addresses
//! that can be written as socket addresses, there is less to do still: implement
//! [`Datagrams`](crate::types::device::Datagrams), and let the UDP shim do the rest
//! ([`Stack::udp4_over`](crate::Stack::udp4_over), [`Stack::udp6_over`](crate::Stack::udp6_over)); if it carries Ethernet
//! frames, implement [`Frames`](crate::types::device::Frames) ([`Stack::eth_over`](crate::Stack::eth_over)).
//! [`manual::doors`](crate::manual::doors) compares them.

mod attend;
mod batch;
pub mod custom;
mod ends;
pub mod eth;
mod guarded;
mod lead;
mod management;
mod receiver;
pub mod resolve;
pub mod udp;

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::task::Waker;
use core::time::Duration;

pub use self::attend::{Attended, ReceiveLoop};
pub use self::ends::{Asking, End, Ends};
#[doc(hidden)]
pub use self::lead::{Lead, Turn};
pub use super::reply::{Grant, Replies, ReplyOnce};
use super::{Alarm, Ipcp, Requests};
use crate::base::buf::BufPool;
use crate::base::foreign::Panics;
use crate::base::rng::Rng;
use crate::base::time::{Clock, Instant};
use crate::flow::Drive;

/// Longest time that the end of a layer, or of a stack, waits for threads that are sending: much longer than one is
/// interrupted, but a device may keep it, and whoever ends the layer may be called by it.
pub(crate) const SENDING: Duration = Duration::from_millis(500);

/// A member of a layer over a device: what a stack needs to know of it beyond [`Ipcp`].
///
/// # What an implementation does
///
/// **Names** ([`Ipcp::register`], [`Ipcp::lookup`]). It keeps the hashes that are registered, at most so many, and says
/// where in the layer a hash can be asked for: `Lookup::Known` with one [`Location::Station`](super::Location::Station) will
/// do, if there is only one other member.
///
/// **Asking** ([`Ipcp::request`]). It enters the flow in a table *before* it sends the request, because the reply may be
/// faster ([`Ends::ask`]), and passes the reply on with [`Answer::answered`](super::Answer::answered). Requests are repeated
/// by the stack; one that is lost needs no care.
///
/// **Being asked** ([`Requests::incoming`]). A request for a hash that is not registered is refused with
/// [`Code::NAME`](crate::types::code::Code::NAME), unless it repeats one that was answered ([`Requests::repeated`]); others
/// go up with a [`Responder`](super::Responder), most easily a [`ReplyOnce`]. If who asks can be forged, the request says
/// where it claims to come from ([`Incoming::from_peer`](super::Incoming::from_peer)).
///
/// **Packets.** [`receive`](Self::receive) takes a bounded batch from the device, finds the flow of each packet and calls
/// [`Endpoint::handle_packets`](crate::flow::Endpoint::handle_packets), with packets of one flow together where that is
/// easy. A [`Port`](crate::flow::Port) sends. What comes for an unknown flow, or from another peer than the flow's, is
/// counted and dropped without an answer.
///
/// **Ending** ([`Ipcp::shutdown`]). It closes the device, fails pending requests and takes open flows down
/// ([`Ends::give_up`]); from then on [`is_down`](Self::is_down) is `true` and the waiting methods return at once.
///
/// # Who calls when
///
/// The receive loop belongs to the crate, one for each shim. In a threaded stack a thread that waits for a
/// flow drives the device of that flow, and a background thread does while nobody waits; a polled or simulated stack
/// receives when it is [polled](crate::Stack::poll). An implementation starts no thread and takes no decision about it.
///
/// | method | called by | may block |
/// |---|---|---|
/// | [`receive`](Self::receive) | one thread at a time | no |
/// | [`handle_management`](Self::handle_management) | any number of threads, each after it has received | no |
/// | [`wait`](Self::wait) | the one thread that waits for a flow | yes, until a packet arrives or [`interrupt`](Self::interrupt) |
/// | [`guard`](Self::guard) | the background thread, at the same time perhaps | yes, until a packet arrives or [`dismiss`](Self::dismiss) |
///
/// [`device::Bell`](crate::device::Bell) does the waiting for devices that have no file descriptor to poll. In a polled
/// stack nobody waits: the implementation wakes [`ShimContext::waker`] when packets arrive.
///
/// No method is called with a lock of the stack held, except [`Ipcp::info`], which has nothing to do, and
/// some of [`Port`](crate::flow::Port), which must not call back into the endpoint. A panic
/// in any method of the table, of [`Port`](crate::flow::Port), or in [`Ipcp::shutdown`], is counted
/// (`node/foreign_panics`) and ends nothing else; in the other methods of [`Ipcp`] it reaches the program's own call.
pub trait Shim: Ipcp + 'static {
    /// What the receiving thread works with and nobody else needs: buffers, a list of packets. `()` if there is nothing.
    type Receiver: Send + 'static;

    /// Makes the receiver. Called once.
    fn receiver(&self) -> Self::Receiver;

    /// Takes packets that have arrived from the device, and delivers them; returns how many there were, 0 if none. Must
    /// not wait, and must take no more than a batch (some hundred packets), so that its thread gets back to its own work.
    ///
    /// Requests and replies of flow allocation are put aside for [`handle_management`](Self::handle_management): handling
    /// them here would keep all other threads from the device meanwhile.
    fn receive(&self, now: Instant, receiver: &mut Self::Receiver) -> usize;

    /// Handles the requests and replies that [`receive`](Self::receive) has put aside.
    fn handle_management(&self);

    /// Waits until a packet has arrived, [`interrupt`](Self::interrupt) is called, or `timeout` has passed. May return
    /// early. Never called in polled stacks.
    fn wait(&self, timeout: Duration);

    /// Ends a [`wait`](Self::wait) under way, or the next one.
    fn interrupt(&self);

    /// As [`wait`](Self::wait), for a second thread at the same time. [`dismiss`](Self::dismiss) ends it, and not
    /// [`interrupt`](Self::interrupt).
    fn guard(&self, timeout: Duration);

    /// Ends a [`guard`](Self::guard) under way, or the next one.
    fn dismiss(&self);

    /// Returns `true` if the layer has been left ([`Ipcp::shutdown`]).
    fn is_down(&self) -> bool;
}

/// The surroundings of a shim: what its stack gives it when it is made.
#[non_exhaustive]
pub struct ShimContext {
    /// Where requests for flows go that arrive.
    pub requests: Weak<dyn Requests>,
    /// The receive loop. [`Ipcp::device`] and [`Port::device`](crate::flow::Port::device) return it,
    /// [upgraded](Weak::upgrade): a thread that waits for a flow of this layer drives it then. Without that the background
    /// thread alone receives, and each packet costs a thread switch.
    pub device: Weak<dyn Drive>,
    /// Has the stack polled, if it is a polled or simulated one: to be woken when packets have arrived, and again if some
    /// are left after [`Shim::receive`]. Does nothing in a threaded stack, whose threads [wait](Shim::wait).
    pub waker: Waker,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where packet buffers come from; most easily through a [`BufCache`](crate::base::buf::BufCache).
    pub pool: Arc<BufPool>,
    /// Randomness, for numbers of flows that strangers must not guess. Repeatable in simulations.
    pub rng: Rng,
    /// Through which code of others is called: what panics is counted there.
    pub panics: Arc<Panics>,
    /// Nothing may be held back to be sent in one go, because no thread would send it: polled and simulated stacks.
    pub inline: bool,
    /// Makes alarms: one wakes the waker that it is made with, where no lock is held, on the thread that looks after the
    /// stack's timers.
    pub alarms: MakeAlarm,
}

/// What makes an [`Alarm`] that wakes the waker given.
pub type MakeAlarm = Box<dyn Fn(Waker) -> Arc<dyn Alarm> + Send + Sync>;

impl ShimContext {
    /// The surroundings that these parts make.
    pub(crate) fn new(
        requests: Weak<dyn Requests>,
        device: Weak<dyn Drive>,
        waker: Waker,
        env: &crate::flow::Env,
        rng: Rng,
        alarms: MakeAlarm,
    ) -> Self {
        Self {
            requests,
            device,
            waker,
            clock: Arc::clone(&env.clock),
            pool: Arc::clone(&env.pool),
            rng,
            panics: Arc::clone(&env.panics),
            inline: env.inline,
            alarms,
        }
    }
}

impl core::fmt::Debug for ShimContext {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ShimContext").field("inline", &self.inline).finish_non_exhaustive()
    }
}
