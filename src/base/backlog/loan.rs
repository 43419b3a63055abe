//! The loan of a whole: which account may hold more than there is, and whose turn is next.
//!
//! Whoever is refused has a place in a line, a number that is larger than all before. It keeps the number for as long as it
//! waits, and comes before everybody whose number is larger; so those that ask often, and those that are new, pass nobody
//! who waits. But nobody is waited for who does not ask in time. There are two lines: the parts wait for the whole, and the
//! accounts of a part for their part's turn, so that a peer with many flows has no more turns than another.
//!
//! Of a line only the first is remembered: of those that ask, the one with the smallest number. The others have their numbers
//! with them, and the smallest is the first when it asks next. So the state is bounded by the accounts that there are.

use core::time::Duration;

use crate::base::time::Instant;

/// A loan lasts for so long if another account wants it: a peer that sends little by little, or a device that is slow, must
/// not keep it from others for as long as it likes.
const LOAN: Duration = Duration::from_secs(10);
/// Others wait for the first for so long without its asking: longer than the pauses of a sender that has backed off from a
/// window that is shut, 15 s by default, for what it sends again is what asks. One that pauses for longer has its turn when
/// it asks while nobody else has the loan.
const KEPT: Duration = Duration::from_secs(20);

/// One of all loans.
pub(super) type Ticket = u64;

/// A place in a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    number: u64,
    /// When it was asked for last.
    asked: Instant,
}

impl Place {
    fn is_kept(&self, now: Instant) -> bool {
        now.since(self.asked) < KEPT
    }
}

/// A line, of which the first is known.
#[derive(Debug, Default)]
struct Line(Option<Place>);

impl Line {
    /// Whoever has `place` asks, or who has none yet and takes one: `true` if nobody comes before. `last` is the last number.
    fn ask(&mut self, place: &mut Option<Place>, now: Instant, last: &mut u64) -> bool {
        let number = place.map_or_else(
            || {
                *last += 1;
                *last
            },
            |place| place.number,
        );
        let own = Place { number, asked: now };
        *place = Some(own);
        let is_first = self.first(now).is_none_or(|first| first.number >= number);
        if is_first {
            self.0 = Some(own);
        }
        is_first
    }

    fn first(&self, now: Instant) -> Option<Place> {
        self.0.filter(|first| first.is_kept(now))
    }

    /// Whoever has `place` does not wait for now; its number is kept.
    fn step_aside(&mut self, place: Option<Place>) {
        self.0 = self.0.filter(|first| place.is_none_or(|place| place.number != first.number));
    }

    /// Whoever has `place` has had its turn.
    fn leave(&mut self, place: &mut Option<Place>) {
        self.step_aside(place.take());
    }
}

/// What waits in one part.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The place of the part among the others.
    place: Option<Place>,
    /// Its accounts.
    accounts: Line,
}

/// Who has the loan.
#[derive(Clone, Copy, Debug)]
struct Lent {
    ticket: Ticket,
    /// The part, and since when it has it.
    part: usize,
    since: Instant,
    /// Since when this account of it does.
    own: Instant,
}

/// The loan of a whole.
#[derive(Debug, Default)]
pub(super) struct Loan {
    /// The last number that was drawn, for a ticket or a place.
    last: u64,
    lent: Option<Lent>,
    parts: Line,
}

impl Loan {
    /// Lends to the account of `part` that has `place` there: if it is not lent, or has been for long enough, and none comes
    /// before.
    pub(super) fn lend(
        &mut self,
        part: usize,
        waiting: &mut Waiting,
        place: &mut Option<Place>,
        now: Instant,
    ) -> Option<Ticket> {
        let is_over = |since: Instant| now.since(since) >= LOAN;
        // The part's place is kept by the account whose turn it is, lest it wait for one that does not come.
        let is_own_turn = waiting.accounts.ask(place, now, &mut self.last);
        let has_it = self.lent.is_some_and(|lent| lent.part == part);
        let is_first = is_own_turn && (has_it || self.parts.ask(&mut waiting.place, now, &mut self.last));
        let since = match self.lent.filter(|_| is_first) {
            None if is_first => now,
            // Accounts of one part take turns in the time of the part.
            Some(lent) if has_it && is_over(lent.own) => {
                Some(lent.since).filter(|since| !is_over(*since) || self.parts.first(now).is_none())?
            }
            Some(lent) if !has_it && is_over(lent.since) => now,
            _ => return None,
        };
        waiting.accounts.leave(place);
        self.parts.leave(&mut waiting.place);
        self.last += 1;
        self.lent = Some(Lent { ticket: self.last, part, since, own: now });
        Some(self.last)
    }

    pub(super) fn counts(&self, ticket: Ticket) -> bool {
        self.lent.is_some_and(|lent| lent.ticket == ticket)
    }

    pub(super) fn take_back(&mut self, ticket: Ticket) {
        if self.counts(ticket) {
            self.lent = None;
        }
    }

    /// The account that has `place` in a part waits no more. Others of the part may, which come next then.
    pub(super) fn leave(&mut self, waiting: &mut Waiting, place: &mut Option<Place>) {
        let before = waiting.accounts.0.map(|first| first.number);
        waiting.accounts.leave(place);
        if waiting.accounts.0.map(|first| first.number) != before {
            self.parts.step_aside(waiting.place);
        }
    }
}
