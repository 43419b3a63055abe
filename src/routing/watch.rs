//! Signs that another member of the layer has this member's address.
//!
//! A [`Watch`] looks at the updates that arrive and at those that are sent, and reports an [`AddressConflict`].
//!
//! A member that keeps a configured address finds after a restart what is left of its earlier life. That is not
//! defended: once it has been contradicted it is not heard of again. So a watch over an address that is
//! [kept](Watch::kept) reports only what comes back with higher numbers after it was contradicted, several times. And
//! only if it was there before this member announced anything: of two that defend themselves the one that came first
//! stays.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use core::time::Duration;

use crate::base::time::Instant;
use crate::types::id::Address;
use crate::wire::link_state::Lsu;

#[cfg(test)]
mod tests;

/// Links that a [`Watch`] remembers, own ones and those of the other together; while it knows so many, further ones are not
/// watched.
const LINKS_LIMIT: usize = 4096;
/// Times that a contradiction must be answered with a higher number to be a sign of life. What is left of an earlier
/// life may be there in several versions, of which each can turn up once.
const ANSWERS: u8 = 3;
/// All links are looked at for those to be forgotten no more often than this.
const GAP: Duration = Duration::from_secs(1);

/// Another member of the layer has this member's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another member of the layer has our address {address}: {evidence}; leave the layer and join it again")]
pub struct AddressConflict {
    /// The address.
    pub address: Address,
    /// The evidence.
    pub evidence: Evidence,
}

/// Evidence of an [`AddressConflict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Evidence {
    /// A link of it was announced that this member never had. Not reported of an address that is
    /// [kept](Watch::kept): it may be left over from an earlier life.
    #[error("it announced a link to {neighbour}")]
    Announced {
        /// The other end of the link.
        neighbour: Address,
    },
    /// Such a link was announced again, with a higher number, although it was contradicted: there is a member that does
    /// it.
    #[error("it keeps announcing a link to {neighbour}")]
    Alive {
        /// The other end of the link.
        neighbour: Address,
    },
}

/// Looks for signs that the own address is also another member's. Tells each sign once.
///
/// A link is forgotten when it was neither announced nor heard of for so long that no copy of it can be left in the layer.
#[derive(Clone, Debug)]
pub struct Watch {
    own: Address,
    /// Time for which a link is remembered that is not announced.
    memory: Duration,
    /// Earliest time of the next sweep.
    sweep: Instant,
    /// The address may have been in use before.
    kept: bool,
    /// Something was announced.
    announced: bool,
    /// Links of the address were heard of before that: if they are defended, their member was there first.
    latecomer: bool,
    links: BTreeMap<Address, Link>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    /// Time of the last announcement, own or heard.
    at: Instant,
    /// The highest number seen or announced.
    seqno: u64,
    /// The highest number announced.
    said: Option<u64>,
    /// Times that it was answered with a higher one.
    answers: u8,
    told: bool,
}

impl Watch {
    /// A watch over the address `own`, which was drawn. Links are remembered for `memory` after they were spoken of last: as
    /// long as anybody in the layer may.
    pub fn new(own: Address, memory: Duration) -> Self {
        Self {
            own,
            memory,
            sweep: Instant::ZERO,
            kept: false,
            announced: false,
            latecomer: false,
            links: BTreeMap::new(),
        }
    }

    /// As [`new`](Self::new), over an address that this member may have had in an earlier life.
    pub fn kept(own: Address, memory: Duration) -> Self {
        Self { kept: true, ..Self::new(own, memory) }
    }

    /// This member announces a link of its own to `neighbour`, with this number.
    pub fn announcing(&mut self, now: Instant, neighbour: Address, seqno: u64) {
        self.announced = true;
        if let Some((link, _)) = self.link(now, neighbour, seqno) {
            link.seqno = link.seqno.max(seqno);
            link.said = link.said.max(Some(seqno));
        }
    }

    /// A link-state message arrived.
    pub fn heard(&mut self, now: Instant, lsu: &Lsu) -> Option<AddressConflict> {
        if lsu.src != self.own {
            return None;
        }
        let neighbour = lsu.dst;
        self.latecomer |= !self.announced;
        let (kept, latecomer) = (self.kept, self.latecomer);
        let (link, first) = self.link(now, neighbour, lsu.seqno)?;
        let newer = lsu.seqno > link.seqno;
        let answer = newer && link.said.is_some_and(|said| lsu.seqno > said);
        link.seqno = link.seqno.max(lsu.seqno);
        link.answers = link.answers.saturating_add(answer.into());
        let alive = if kept { latecomer && link.answers >= ANSWERS } else { newer };
        let evidence = match link {
            _ if first && !kept => Evidence::Announced { neighbour },
            Link { told: false, .. } if alive => {
                link.told = true;
                Evidence::Alive { neighbour }
            }
            _ => return None,
        };
        Some(AddressConflict { address: self.own, evidence })
    }

    /// Returns the record of a link, and whether it is new; `None` if there is no room for it.
    fn link(&mut self, now: Instant, neighbour: Address, seqno: u64) -> Option<(&mut Link, bool)> {
        if self.sweep <= now {
            self.forget(now);
        }
        let full = self.links.len() >= LINKS_LIMIT;
        match self.links.entry(neighbour) {
            Entry::Occupied(link) => {
                let link = link.into_mut();
                link.at = now;
                Some((link, false))
            }
            Entry::Vacant(_) if full => None,
            Entry::Vacant(free) => {
                self.sweep = self.sweep.min(now + self.memory);
                Some((free.insert(Link { at: now, seqno, said: None, answers: 0, told: false }), true))
            }
        }
    }

    /// Forgets links that are not announced any more.
    fn forget(&mut self, now: Instant) {
        let memory = self.memory;
        self.links.retain(|_, link| now < link.at + memory);
        let next = self.links.values().map(|link| link.at + memory).min();
        self.sweep = next.map_or(Instant::FAR_FUTURE, |next| next.max(now + GAP));
    }
}
