//! Connections between members of a layer, component by component, and enrollment of new members.
//!
//! A unicast or broadcast IPCP is a user of the flows of the layers below, its *N-1 flows*. Each has one [`Purpose`], which
//! the first message in either direction says. This room has the parts of that which do no I/O: they turn packets into
//! packets, and are told the time and the outcome of what they asked for.
//!
//! | module | what it does |
//! |---|---|
//! | [`cep`] | the first messages on an N-1 flow, on both sides |
//! | [`enroll`] | a new member gets the configuration of the layer |
//! | [`address`] | the address of a new member, and which of two neighbours with the same gives way |
//! | [`manager`] | which connections there should be, and [when to try again](crate::base::backoff) |
//!
//! The bytes are in [`wire::cep`](crate::wire::cep) and [`wire::enroll`](crate::wire::enroll).
//!
//! Neither protocol repeats anything: a member that gets its first message twice takes the second for something else.
//! Whatever goes wrong, the flow is closed and the whole connection is made anew.
//!
//! ```
//! use o7s::base::buf::PacketBuf;
//! use o7s::ipcp::Component;
//! use o7s::ipcp::connect::Purpose;
//! use o7s::ipcp::connect::cep::{Initiator, Offer, accept};
//! use o7s::types::id::Address;
//! use o7s::wire::cep::Message;
//!
//! // Member 1 has allocated a flow to member 2, and wants to forward packets over it.
//! let mut initiator = Initiator::new(Message::data_transfer(Address(1)));
//! let offers = [Offer::enrollment(), Offer::new(Component::DataTransfer, Message::data_transfer(Address(2)))];
//! let accepted = accept(&offers, &initiator.first())?;
//! assert_eq!((accepted.purpose, accepted.peer), (Purpose::Component(Component::DataTransfer), Address(1)));
//!
//! let connected = initiator.handle_packet(PacketBuf::copy_of(&accepted.answer))?.expect("that was the answer");
//! assert_eq!(connected.peer, Address(2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod address;
pub mod cep;
pub mod enroll;
pub mod manager;

use core::fmt;
use core::time::Duration;

use super::Component;

/// Time for which either side of a connection waits for the other's first message, and a joiner for the response.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for which the acceptor of a flow waits for the first message: the reply may have been lost, and is asked for
/// again after 1.2 s and another 2.4 s.
pub const FIRST_STEP_TIMEOUT: Duration = Duration::from_secs(4);

/// Purpose of an N-1 flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// A new member gets the configuration of the layer over it.
    Enrollment,
    /// A component of the IPCP.
    Component(Component),
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enrollment => f.write_str("enrollment"),
            Self::Component(component) => component.fmt(f),
        }
    }
}
