//! Replies of layers in which flows are asked for, and answered, by messages.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Accepted, RequestError, Resend, Responder, SendReply};
use crate::base::time::Instant;
use crate::flow::{Endpoint, Port};
use crate::types::code::Code;

/// A layer whose members answer requests for flows with messages. [`ReplyOnce`] makes a [`Responder`] of it.
pub trait Replies: Send + Sync + Sized + 'static {
    /// Destination of an answer: the requester, and its end of the flow.
    type Requester: Send + Sync + 'static;

    /// Time from the arrival of a request of `to` on for which its answer must wait; see [`Responder::hold`].
    fn hold(&self, _to: &Self::Requester) -> Duration {
        Duration::ZERO
    }

    /// Returns `true` if the layer takes another flow.
    fn has_room(&self) -> bool;

    /// Reserves what a flow to `to` needs and encodes the positive reply with the security header `data`. Packets for
    /// `endpoint` are delivered from now on. Sends nothing yet.
    ///
    /// # Errors
    /// Why not, and what the requester is told. It is told so by [`refuse`](Self::refuse), after this returns.
    fn accept(
        self: &Arc<Self>,
        to: &Self::Requester,
        endpoint: &Arc<Endpoint>,
        data: &[u8],
    ) -> Result<Grant, (Code, RequestError)>;

    /// Returns `true` if the flow whose end here has the number `end` is open.
    fn is_open(&self, end: u64) -> bool;

    /// Sends a message. One that cannot be sent is a lost one: the request will be repeated.
    fn reply(&self, now: Instant, to: &Self::Requester, message: &[u8]);

    /// Sends a refusal; `now` is not given where the layer has to ask its clock.
    fn refuse(&self, now: Option<Instant>, to: &Self::Requester, code: Code);

    /// Whether the requester's address may be made up, and [`refuse_asking`](Self::refuse_asking) can have it proven.
    const ASKS_PROOF: bool = false;

    /// Sends a refusal that says what to show with the next request. By default, one that says nothing.
    fn refuse_asking(&self, now: Instant, to: &Self::Requester, code: Code, _proof: &[u8]) {
        self.refuse(Some(now), to, code);
    }
}

/// Why a request is refused for which there is no room, or no layer any more, or whose answer is too long, and what the
/// requester is told.
pub(super) fn refused(why: RequestError) -> (Code, RequestError) {
    let code = match why {
        RequestError::Down => Code::IPCPSTATE,
        RequestError::TooLarge { .. } => Code::CRYPT,
        _ => Code::NOMEM,
    };
    (code, why)
}

/// Checks that the data of an allocation fit into a message, in which there is room for `max` bytes.
///
/// # Errors
/// [`RequestError::TooLarge`].
pub(super) fn check_size(size: usize, max: usize) -> Result<(), RequestError> {
    if size > max { Err(RequestError::TooLarge { size, max }) } else { Ok(()) }
}

/// A flow that a layer has made room for.
pub struct Grant {
    /// The number of this end in the layer.
    pub end: u64,
    /// The way down.
    pub port: Arc<dyn Port>,
    /// The encoded positive reply.
    pub message: Vec<u8>,
}

/// The [`Responder`] of one request. Dropped unanswered, it refuses with [`Code::AGAIN`].
pub struct ReplyOnce<L: Replies>(Option<(Arc<L>, L::Requester)>);

impl<L: Replies> ReplyOnce<L> {
    /// Answers a request of `to` on behalf of `layer`.
    pub fn new(layer: Arc<L>, to: L::Requester) -> Box<Self> {
        Box::new(Self(Some((layer, to))))
    }

    fn refuse_with(&mut self, now: Option<Instant>, code: Code) {
        if let Some((layer, to)) = self.0.take() {
            layer.refuse(now, &to, code);
        }
    }
}

impl<L: Replies> Drop for ReplyOnce<L> {
    fn drop(&mut self) {
        self.refuse_with(None, Code::AGAIN);
    }
}

impl<L: Replies> Responder for ReplyOnce<L> {
    fn has_room(&self) -> bool {
        self.0.as_ref().is_some_and(|(layer, _)| layer.has_room())
    }

    fn hold(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |(layer, to)| layer.hold(to))
    }

    fn accept(
        mut self: Box<Self>,
        now: Instant,
        endpoint: &Arc<Endpoint>,
        data: &[u8],
    ) -> Result<Accepted, RequestError> {
        let Some((layer, to)) = self.0.take() else { return Err(RequestError::Gone) };
        match layer.accept(&to, endpoint, data) {
            Ok(Grant { end, port, message }) => {
                let reply = Box::new(Prepared(Some(Arc::new(Said { layer, to, end, message }))));
                Ok(Accepted { port, reply })
            }
            Err((code, error)) => {
                layer.refuse(Some(now), &to, code);
                Err(error)
            }
        }
    }

    fn refuse(mut self: Box<Self>, now: Instant, code: Code) {
        self.refuse_with(Some(now), code);
    }

    fn asks_proof(&self) -> bool {
        L::ASKS_PROOF
    }

    fn refuse_asking(mut self: Box<Self>, now: Instant, code: Code, proof: &[u8]) {
        if let Some((layer, to)) = self.0.take() {
            layer.refuse_asking(now, &to, code, proof);
        }
    }

    fn resend(mut self: Box<Self>, now: Instant, again: &dyn Resend) {
        self.0 = None;
        again.resend(now);
    }
}

/// A positive reply, which can be sent again.
struct Said<L: Replies> {
    layer: Arc<L>,
    to: L::Requester,
    /// Our end of the flow.
    end: u64,
    message: Vec<u8>,
}

impl<L: Replies> Resend for Said<L> {
    fn is_open(&self) -> bool {
        self.layer.is_open(self.end)
    }

    fn resend(&self, now: Instant) {
        if self.is_open() {
            self.layer.reply(now, &self.to, &self.message);
        } else {
            // The flow was closed meanwhile by its acceptor.
            self.layer.refuse(Some(now), &self.to, Code::AGAIN);
        }
    }
}

/// A positive reply that has been prepared. Dropped unsent, it refuses.
struct Prepared<L: Replies>(Option<Arc<Said<L>>>);

impl<L: Replies> SendReply for Prepared<L> {
    fn send(mut self: Box<Self>, now: Instant) -> Option<Arc<dyn Resend>> {
        let reply: Arc<dyn Resend> = self.0.take()?;
        reply.resend(now);
        Some(reply)
    }
}

impl<L: Replies> Drop for Prepared<L> {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply.layer.refuse(None, &reply.to, Code::AGAIN);
        }
    }
}
