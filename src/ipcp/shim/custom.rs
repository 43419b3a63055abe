//! Layers over a device of the program's own.
//!
//! A *shim* is the member of such a layer: it carries packets between *stations*, which it numbers as it likes (a MAC
//! address, an address on a bus), and lets each packet say for which flow it is. Everything else is the library's: tables of
//! flows and of registered names, requests and replies, repetition, the receive loop with its threads, timers,
//! encryption.
//!
//! | who | does what |
//! |---|---|
//! | the program | implements [`Shim`], and adds it with [`Stack::add`](crate::Stack::add) |
//! | the stack | asks the shim where a name is ([`Shim::lookup`]), and to send: [messages](Shim::send_message) about flows, and [packets](Shim::send) of them |
//! | the shim | reports what arrives to its [`Layer`]: [messages](Layer::on_message), and [packets](Layer::deliver) |
//!
//! A device whose addresses can be written as socket addresses needs less: implement
//! [`Datagrams`](crate::device::Datagrams) instead, and let the UDP layer do the rest
//! ([`Stack::udp4_over`](crate::Stack::udp4_over)).
//!
//! # Examples
//!
//! [`manual::doors`](crate::manual::doors#a-complete-shim) has a complete shim over a pipe in memory. A shim that does not
//! care how messages about flows are encoded sends them like this:
//!
//! ```
//! use o7s::shim::Message;
//! use o7s::{HashAlg, Name, QosSpec};
//!
//! let name = HashAlg::Sha3_256.hash(&Name::new("echo")?);
//! let request = Message::Request { flow: 7, name, qos: QosSpec::DATA, data: b"security header" };
//! let bytes = request.to_vec();
//! assert_eq!(Message::parse(HashAlg::Sha3_256, &bytes)?, request);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adapter;
mod layer;
mod message;
mod pending;

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::task::Waker;
use core::time::Duration;

pub(crate) use self::adapter::Adapter;
pub use self::layer::Layer;
pub use self::message::Message;
use crate::base::time::Instant;
pub use crate::flow::Outgoing;
use crate::types::device::SendError;
use crate::types::name::NameHash;
use crate::types::tree::Tree;

/// Result of a name lookup in a layer of a [`Shim`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// The name may be at these stations, which are tried in this order. An empty list counts as [`Unknown`](Self::Unknown).
    Known(Vec<u64>),
    /// The name is nowhere in the layer. Ends the search in this layer at once.
    Unknown,
    /// The shim is still looking for the name, and wakes the waker of the call when it knows more. Meanwhile the stack
    /// calls [`Shim::lookup`] again from time to time.
    Pending,
}

/// A layer over a device, implemented by the program: this member of it.
///
/// # Who calls when
///
/// No method is called with a lock of the stack held, but for [`mtu`](Self::mtu), [`is_congested`](Self::is_congested) and
/// [`queued`](Self::queued), which are asked under the lock of a flow: they must be short, and must not call the
/// [`Layer`] or the stack. A panic is counted (`node/foreign_panics`) and ends nothing else.
///
/// The receive loop is the library's. In a threaded stack, a thread that waits for a flow drives the device of that flow,
/// and a background thread does while nobody waits; a polled or simulated stack receives when it is
/// [polled](crate::Stack::poll). An implementation starts no thread.
///
/// | method | called by | may block |
/// |---|---|---|
/// | [`receive`](Self::receive) | one thread at a time | no |
/// | [`wait`](Self::wait) | the one thread that waits for a flow | until a packet arrives or [`interrupt`](Self::interrupt) |
/// | [`guard`](Self::guard) | the background thread, at the same time perhaps | until a packet arrives or [`dismiss`](Self::dismiss) |
/// | all others | any number of threads | no |
///
/// [`device::Bell`](crate::device::Bell) has the four methods that wait, for devices without a file descriptor to poll.
pub trait Shim: Send + Sync + 'static {
    /// State of the receiving thread that nobody else needs: [buffers](Layer::buffers), a list of packets; `()` if
    /// there is nothing.
    type Receiver: Send + 'static;

    /// Returns the stations at which a name may be. They need not be certain: a station where the name is not registered
    /// refuses the request, so a layer with only one other station returns that one.
    ///
    /// A shim that has to ask other stations sends a query and returns [`Lookup::Pending`]. The stack then calls again when
    /// the waker is woken, and every 250 ms for as long as the allocation looks for the name. A shim whose queries may get
    /// lost sends one in each of these calls, and needs no timer to repeat them; nor one for stations that do not answer, as
    /// this layer is not waited for longer than [`Limits::lookup_timeout`](crate::settings::Limits::lookup_timeout), 2 s by
    /// default: that nobody has answered by then means that nobody has the name.
    ///
    /// Several allocations may look for the same name. Each has a waker of its own: keep a bounded number, without those that
    /// [`will_wake`](Waker::will_wake) the same task. More than 64 tasks at a time are called again by their wakers only.
    fn lookup(&self, name: &NameHash, waker: &Waker) -> Lookup;

    /// Reports that a station which [`lookup`](Self::lookup) returned did not answer, or does not have the name, so that it
    /// is forgotten. Default: does nothing.
    fn doubt(&self, _name: &NameHash, _station: u64) {}

    /// Sends a message about a flow to a station. Requests are repeated until there is an answer, so nothing needs to be
    /// done about one that gets lost.
    ///
    /// # Errors
    /// The reason why it was not sent. It counts as lost, after a [temporary](SendError::is_temporary) error as well.
    fn send_message(&self, station: u64, message: &Message<'_>) -> Result<(), SendError>;

    /// Sends packets, in their order, to the station where the flow has the number `flow`.
    ///
    /// A packet is either written to the device before this returns, or removed from `packets` (`drain`) and kept, to be
    /// written later. The buffers of packets that are still in `packets` afterwards are reused, whether they were sent or
    /// not. A packet that the device does not take is dropped; reliable flows repeat it.
    ///
    /// # Errors
    /// The reason why some of these packets, or earlier ones that were kept, were not sent.
    fn send(&self, station: u64, flow: u32, packets: &mut Outgoing) -> Result<(), SendError>;

    /// The longest packet of a flow that can be sent, bytes.
    fn mtu(&self) -> usize;

    /// Returns `true` if a packet would be dropped for lack of room now, so that writers should wait. A shim that ever
    /// says so calls [`Layer::on_room`] when there is room again. Default: `false`.
    fn is_congested(&self) -> bool {
        false
    }

    /// About how many packets wait in front of the device. Default: 0.
    fn queued(&self) -> usize {
        0
    }

    /// Makes the receiver. Called once.
    fn receiver(&self) -> Self::Receiver;

    /// Takes packets that have arrived from the device, hands them to the [`Layer`], and returns how many there were; 0 if
    /// none. Takes no more than a batch, some hundred packets, so that its thread gets back to its own work; in a
    /// polled stack, [`Layer::wake`] has it called again for the rest.
    fn receive(&self, now: Instant, receiver: &mut Self::Receiver) -> usize;

    /// Waits until a packet has arrived, [`interrupt`](Self::interrupt) is called, or `timeout` has passed. May return
    /// early. Never called in polled stacks.
    fn wait(&self, timeout: Duration);

    /// Ends a [`wait`](Self::wait) under way, or the next one.
    fn interrupt(&self);

    /// As [`wait`](Self::wait), for a second thread at the same time, which [`dismiss`](Self::dismiss) makes return, and not
    /// [`interrupt`](Self::interrupt).
    fn guard(&self, timeout: Duration);

    /// Ends a [`guard`](Self::guard) under way, or the next one.
    fn dismiss(&self);

    /// Closes the device: the layer has been left. Neither [`receive`](Self::receive) nor a waiting method is called any
    /// more; one under way returns. By default both are [interrupted](Self::interrupt).
    fn close(&self) {
        self.interrupt();
        self.dismiss();
    }

    /// The numbers that flows may have in the layer; one is drawn for each end. What is outside is free for other uses, to
    /// mark messages for instance. Default: all but 0.
    fn numbers(&self) -> RangeInclusive<u32> {
        1..=u32::MAX
    }

    /// Adds counters and state of its own to the layer's node in the [tree](crate::rib). By default there are none.
    fn rib(&self, node: Tree) -> Tree {
        node
    }
}
