//! Enrollment: a new member gets the configuration of the layer from one that is a member already.
//!
//! It happens on a flow of its own, connected with [`cep`](super::cep), which is closed afterwards. The connections
//! that make the new member part of the layer come later.
//!
//! ```text
//!  joiner                                     member
//!  Joiner::start ────── id ─────────────────▶ Member::handle_packet   does anything speak against it?
//!  Joiner::handle_packet ◀─ id, clock, ────── Progress::Send
//!     takes up work     configuration
//!  Granted::ack ─────── id, result ─────────▶ Progress::Joined
//! ```
//!
//! Each side waits for a limited time only. If anything is lost, the joiner closes the flow and begins anew with another
//! one, as a [`Schedule`](crate::base::backoff::Schedule) says; a member keeps nothing about joiners. The
//! acknowledgement is a courtesy: a member that does not get it has lost nothing.
//!
//! What is no message of this protocol, or belongs to another enrollment, is skipped while there is time: on a flow
//! that duplicates packets it may be the answer of the connection, once more.

use alloc::vec::Vec;
use core::time::Duration;

use super::STEP_TIMEOUT;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::layer::{LayerConfig, LayerKind};
use crate::wire::WireError;
use crate::wire::enroll::{Ack, ID_LEN, Request, Response, Verdict};

mod check;
#[cfg(test)]
mod tests;

pub use check::{Adjustment, ConfigError, check};

/// Time for which a member waits for the acknowledgement: the joiner starts its components before it sends it.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Kind of layer that an IPCP can be a member of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum Kind {
    /// Unicast.
    Unicast,
    /// Broadcast.
    Broadcast,
}

impl Kind {
    /// The kind of a configured layer.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn of(config: &LayerConfig) -> Self {
        match config.kind {
            LayerKind::Unicast(_) => Self::Unicast,
            LayerKind::Broadcast => Self::Broadcast,
        }
    }
}

/// Error of an enrollment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum EnrollError {
    /// No answer in time.
    #[error("no answer within {0:?}; the member may be busy: try again")]
    Timeout(Duration),
    /// The member does not want this joiner; carries its reason, a negative number.
    #[error("the member denies the enrollment with code {0}: ask the operator of the layer")]
    Denied(i32),
    /// The response is for this joiner, but cannot be understood.
    #[error("the member's response is not valid: {0}")]
    Wire(WireError),
    /// The layer is not for this joiner.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The joiner failed after it was let in; carries its reason.
    #[error("the new member reports failure {0}")]
    Failed(i32),
}

impl EnrollError {
    /// Returns `true` if another attempt with the same member would end the same way.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Config(_))
    }
}

/// A joiner that has sent its request.
#[derive(Clone, Debug)]
pub struct Joiner {
    kind: Kind,
    id: [u8; ID_LEN],
    sent_at: Instant,
}

/// Result of the joiner, from the member's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The configuration of the layer, checked and fit for use. One's own address belongs into `peer` of the directory
    /// before it is handed on, which [`Member`] sees to.
    pub config: LayerConfig,
    /// Values of the configuration that were changed because they would do harm.
    pub adjusted: Vec<Adjustment>,
    id: [u8; ID_LEN],
}

impl Joiner {
    /// Makes the request, which is the first packet after the flow has been connected. Returns the state to go on with,
    /// and what to send.
    pub fn start(now: Instant, kind: Kind, rng: &mut Rng) -> (Self, Vec<u8>) {
        let mut id = [0; ID_LEN];
        rng.fill(&mut id);
        let request = Request { id }.encode().unwrap_or_default();
        (Self { kind, id, sent_at: now }, request)
    }

    /// Returns the time to give up: [`EnrollError::Timeout`].
    pub fn deadline(&self) -> Instant {
        self.sent_at + STEP_TIMEOUT
    }

    /// Takes a packet. Returns `None` for all but the response, which is waited for further. The member's clock in it
    /// is not used: the layer needs no common time.
    ///
    /// # Errors
    /// [`EnrollError::Denied`], [`EnrollError::Wire`], [`EnrollError::Config`]: close the flow.
    pub fn handle_packet(&self, packet: &[u8]) -> Result<Option<Granted>, EnrollError> {
        let response = match Response::decode(packet) {
            Ok(response) if response.id == self.id => response,
            Ok(_) => return Ok(None),
            // Any Protocol Buffers message that begins with the id is meant for this joiner.
            Err(error) if Request::decode(packet).is_ok_and(|m| m.id == self.id) => {
                return Err(EnrollError::Wire(error));
            }
            Err(_) => return Ok(None),
        };
        let Response { id, verdict, .. } = response;
        match verdict {
            Verdict::Denied(why) => Err(EnrollError::Denied(why)),
            Verdict::Granted(config) => {
                let (config, adjusted) = check(config, self.kind)?;
                Ok(Some(Granted { config, adjusted, id }))
            }
        }
    }
}

impl Granted {
    /// Returns the acknowledgement, to be sent when the new member is up, or has failed to become so: 0 or another
    /// number. The flow can be closed behind it.
    pub fn ack(&self, result: i32) -> Vec<u8> {
        Ack { id: self.id, result }.encode().unwrap_or_default()
    }
}

/// Decides on requests to enroll.
pub trait Admission: Send + Sync {
    /// Admits or denies one applicant. The error is a negative number that tells it the reason.
    ///
    /// # Errors
    /// It may not.
    fn admit(&self, applicant: &Applicant) -> Result<(), i32>;
}

/// A joiner, as far as the member can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applicant {
    /// The joiner's number of this enrollment: random, without meaning.
    pub id: [u8; ID_LEN],
}

/// Admits every applicant that can allocate a flow to a member, as the C reference does.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "there is nothing to choose")]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn admit(&self, _: &Applicant) -> Result<(), i32> {
        Ok(())
    }
}

impl<F: Fn(&Applicant) -> Result<(), i32> + Send + Sync> Admission for F {
    fn admit(&self, applicant: &Applicant) -> Result<(), i32> {
        self(applicant)
    }
}

/// A member that attends to one joiner. There may be several at a time.
#[derive(Clone, Debug)]
pub struct Member {
    deadline: Instant,
    /// The id, once the response is out.
    responded: Option<[u8; ID_LEN]>,
}

/// Next step of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Go on waiting.
    Wait,
    /// Send this and go on waiting: there is a new [deadline](Member::deadline).
    Send(Vec<u8>),
    /// Send this and close the flow: the joiner may not become a member.
    Deny(Vec<u8>),
    /// Close the flow: the joiner is a member.
    Joined,
}

impl Member {
    /// Makes a member that waits for a request, on a flow that has just been accepted.
    pub fn new(now: Instant) -> Self {
        Self { deadline: now + STEP_TIMEOUT, responded: None }
    }

    /// Returns the time to close the flow if the next message has not come: [`EnrollError::Timeout`].
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes a packet that has arrived at real time `unix_nanos` (since 1970-01-01 UTC), as a member with this
    /// configuration and this address, 0 in a broadcast layer.
    ///
    /// # Errors
    /// [`EnrollError::Failed`]: the joiner says that it failed. [`EnrollError::Wire`]: the member's own configuration is
    /// not valid. Close the flow.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        unix_nanos: u64,
        packet: &[u8],
        layer: &Layer<'_>,
    ) -> Result<Progress, EnrollError> {
        match self.responded {
            None => match Request::decode(packet) {
                Ok(request) => self.respond(now, unix_nanos, request, layer),
                Err(_) => Ok(Progress::Wait),
            },
            Some(id) => match Ack::decode(packet) {
                Ok(Ack { id: theirs, result: 0 }) if theirs == id => Ok(Progress::Joined),
                Ok(Ack { id: theirs, result }) if theirs == id => Err(EnrollError::Failed(result)),
                _ => Ok(Progress::Wait),
            },
        }
    }

    fn respond(
        &mut self,
        now: Instant,
        unix_nanos: u64,
        request: Request,
        layer: &Layer<'_>,
    ) -> Result<Progress, EnrollError> {
        let Request { id } = request;
        let verdict = match layer.admission.admit(&Applicant { id }) {
            Ok(()) => Verdict::Granted(layer.config()),
            Err(why) => Verdict::Denied(why.min(-1)),
        };
        let denied = matches!(verdict, Verdict::Denied(_));
        let response = Response {
            id,
            seconds: i64::try_from(unix_nanos / 1_000_000_000).unwrap_or(i64::MAX),
            nanoseconds: (unix_nanos % 1_000_000_000) as i32,
            verdict,
        };
        let bytes = response.encode().map_err(EnrollError::Wire)?;
        if denied {
            return Ok(Progress::Deny(bytes));
        }
        self.deadline = now + ACK_TIMEOUT;
        self.responded = Some(id);
        Ok(Progress::Send(bytes))
    }
}

/// Settings for enrolling others.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// The configuration.
    pub config: &'a LayerConfig,
    /// The member's own address, which becomes the joiner's first contact in the directory; 0 in a broadcast layer.
    pub address: Address,
    /// Decides on requests to enroll.
    pub admission: &'a dyn Admission,
}

impl Layer<'_> {
    fn config(&self) -> LayerConfig {
        let mut config = self.config.clone();
        if let LayerKind::Unicast(unicast) = &mut config.kind {
            unicast.directory.peer = self.address;
        }
        config
    }
}
