//! Connection establishment: what happens on an N-1 flow before a component gets it.
//!
//! ```text
//!  initiator                                        acceptor
//!  Initiator::first ── component, protocol, ──────▶ accept    which component? do we understand each other?
//!                      address
//!  Initiator::handle_packet ◀─ the same, of its own ─ Accepted::answer
//!                      └─ or all empty: refusal ─── Refused::answer
//! ```
//!
//! Each side waits [`STEP_TIMEOUT`](super::STEP_TIMEOUT) for the other's message, and for the first one
//! [`FIRST_STEP_TIMEOUT`](super::FIRST_STEP_TIMEOUT), then closes the flow. Empty packets
//! are keepalives and mean nothing here.
//!
//! # What is checked
//!
//! | | by the initiator | by the acceptor |
//! |---|---|---|
//! | component | not empty, which would be a refusal | a known one |
//! | protocol, version, syntax | as its own | as its own |
//! | address, where members have one | not 0, not its own, no more than 32 bits | the same |
//!
//! An initiator of our own kind that has the acceptor's address, or is the acceptor, is answered as if all were well: it
//! finds that address in the answer, and so learns why there is no connection. A refusal would not say. Which of two with
//! one address gives way is up to [`Met`](super::address::Met).
//!
//! The C reference leaves out all that concerns the acceptor except for the component, and all that concerns addresses.
//! It takes a refusal for success if it was to connect broadcast members, whose messages differ from a refusal in the
//! component only.
//!
//! # Overtaking
//!
//! An acceptor may send right behind its answer, and an N-1 flow need not keep the order. What is no message of this
//! protocol and comes before the answer is kept, up to [`EARLY_LIMIT`] packets, and belongs to the component once the
//! connection stands: a link-state record lost here would be missing for many seconds.

use alloc::vec::Vec;

use super::{Purpose, address};
use crate::base::buf::PacketBuf;
use crate::ipcp::Component;
use crate::types::id::Address;
use crate::wire::WireError;
use crate::wire::cep::{Message, Terms};

#[cfg(test)]
mod tests;

/// Limit of kept packets that overtook the answer; those beyond are dropped.
pub const EARLY_LIMIT: usize = 32;
/// The longest packet that is kept, bytes; longer ones are dropped.
pub const EARLY_MAX_LEN: usize = 2048;

/// Reason for having no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum CepError {
    /// The first message of the initiator is none of this protocol.
    #[error("not a connection request: {0}")]
    Wire(#[from] WireError),
    /// The acceptor has no such component, or admits no one to it.
    #[error("the member has no such component, or refuses the connection; is it a member of the same kind of layer?")]
    Refused,
    /// The initiator requested an unknown component.
    #[error("the peer requested an unknown component")]
    UnknownComponent,
    /// The sides differ in protocol, version or syntax.
    #[error("the peer speaks another protocol, version or syntax for this component")]
    OtherProtocol,
    /// A member of a unicast layer without an address.
    #[error("the peer has no address, or one of more than 32 bits")]
    InvalidAddress,
    /// The peer is another member with this member's own address.
    #[error("another member has our own address {0}; the newer one of the two takes another and connects anew")]
    OwnAddress(Address),
    /// The peer is this member.
    #[error("the name leads back to ourselves; connect to the name of another member")]
    Ourselves,
}

/// Something that a member can be connected for, and how it presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    purpose: Purpose,
    message: Message,
}

impl Offer {
    /// A component of the IPCP, which says this of itself.
    pub fn new(component: Component, message: Message) -> Self {
        Self { purpose: Purpose::Component(component), message }
    }

    /// Enrollment.
    pub fn enrollment() -> Self {
        Self { purpose: Purpose::Enrollment, message: Message::enrollment() }
    }
}

/// Checks that a peer with this message can work with `own`. Returns its address, 0 if members have none.
fn check(own: &Message, peer: &Message) -> Result<Address, CepError> {
    if !own.agrees_with(peer) {
        return Err(CepError::OtherProtocol);
    }
    match (own.address, peer.address) {
        (Address(0), _) => Ok(Address(0)),
        (ours, theirs) if ours == theirs => {
            Err(if is_same_life(own, peer) { CepError::Ourselves } else { CepError::OwnAddress(ours) })
        }
        (_, theirs) if address::is_valid(theirs) => Ok(theirs),
        _ => Err(CepError::InvalidAddress),
    }
}

/// Returns `true` if both messages are from the same life of one member.
fn is_same_life(own: &Message, peer: &Message) -> bool {
    let [own, peer] = [own, peer].map(|message| Terms::of(&message.versions).map(|terms| terms.incarnation));
    own.is_some() && own == peer
}

/// The side that allocated the flow.
#[derive(Debug)]
pub struct Initiator {
    own: Message,
    early: Vec<PacketBuf>,
    /// Packets before the answer that were not kept.
    dropped: u32,
}

/// Result of the initiator, from the acceptor's answer.
#[derive(Debug)]
pub struct Connected {
    /// The peer's address; 0 where members have none.
    pub peer: Address,
    /// The further versions that the peer supports.
    pub versions: Vec<i32>,
    /// Packets for the component that came before the answer, in the order of arrival.
    pub early: Vec<PacketBuf>,
}

impl Initiator {
    /// Makes an initiator that presents itself with `own`, and wants to be connected with its like.
    pub fn new(own: Message) -> Self {
        Self { own, early: Vec::new(), dropped: 0 }
    }

    /// Returns the first message, to be sent once. Empty if the message is too long, which none of the layers' is.
    pub fn first(&self) -> Vec<u8> {
        self.own.encode().unwrap_or_default()
    }

    /// Takes a packet. Returns `None` for all but the answer, which is waited for further.
    ///
    /// # Errors
    /// [`CepError::Refused`], [`CepError::OtherProtocol`], [`CepError::InvalidAddress`], [`CepError::OwnAddress`],
    /// [`CepError::Ourselves`]: close the flow. The acceptor is not told, and thinks it is connected until then.
    pub fn handle_packet(&mut self, packet: PacketBuf) -> Result<Option<Connected>, CepError> {
        let Ok(answer) = Message::decode(&packet) else {
            self.keep(packet);
            return Ok(None);
        };
        if answer.is_refusal() {
            return Err(CepError::Refused);
        }
        let peer = check(&self.own, &answer)?;
        Ok(Some(Connected { peer, versions: answer.versions, early: core::mem::take(&mut self.early) }))
    }

    /// Packets that came before the answer and were not kept, because there were too many or they were too long.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    fn keep(&mut self, packet: PacketBuf) {
        if packet.is_empty() {
            return;
        }
        if self.early.len() < EARLY_LIMIT && packet.len() <= EARLY_MAX_LEN {
            self.early.push(packet);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

/// A connection that is wanted, and can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Purpose of the connection.
    pub purpose: Purpose,
    /// The initiator's address; 0 where members have none, and for enrollment.
    pub peer: Address,
    /// The address that the answer says; 0 where members have none.
    pub own: Address,
    /// The further versions that the initiator supports.
    pub versions: Vec<i32>,
    /// Further versions that the answer announces.
    pub own_versions: Vec<i32>,
    /// The packet to send.
    pub answer: Vec<u8>,
}

/// A connection that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// Reason of the refusal.
    pub why: CepError,
    /// The packet to send before the flow is closed; `None` for an initiator that does not speak the protocol.
    pub answer: Option<Vec<u8>>,
    /// Incarnation of the initiator, if it is of our own kind.
    pub incarnation: Option<u32>,
}

/// Decides on the first packet of a flow that a peer allocated, not counting empty ones.
///
/// # Errors
/// [`Refused`]: send its answer, if any, and close the flow.
pub fn accept(offers: &[Offer], packet: &[u8]) -> Result<Accepted, Refused> {
    let malformed = |error: WireError| Refused { why: error.into(), answer: None, incarnation: None };
    let request = Message::decode(packet).map_err(malformed)?;
    let incarnation = Terms::of(&request.versions).map(|terms| terms.incarnation);
    let refuse = |why| Refused { why, answer: Message::refusal().encode().ok(), incarnation };
    let named = |offer: &&Offer| offer.message.component == request.component;
    let offer = offers.iter().find(named).filter(|_| !request.is_refusal());
    let offer = offer.ok_or_else(|| refuse(CepError::UnknownComponent))?;
    let peer = check(&offer.message, &request).map_err(|why| match why {
        CepError::OwnAddress(_) | CepError::Ourselves if incarnation.is_some() => {
            Refused { why, answer: offer.message.encode().ok(), incarnation }
        }
        _ => refuse(why),
    })?;
    let (versions, answer) = (request.versions, offer.message.encode().unwrap_or_default());
    let (own, own_versions) = (offer.message.address, offer.message.versions.clone());
    Ok(Accepted { purpose: offer.purpose, peer, own, versions, own_versions, answer })
}
