//! Link-state messages: who in a unicast layer is whose neighbour.
//!
//! They travel as they are on flows between neighbours that serve nothing else: one a packet; between members that know
//! each other to be o7s, as many as fit, one behind the other. A member announces each of its links, again and again
//! with a higher number, and passes on what it hears.
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | destination | address of the neighbour |
//! | 8 | 8 | source | address of the member that announces its link |
//! | 16 | 8 | seqno | grows with every announcement of this link |
//!
//! Between such members an update that is not fresh is followed by its *age*: a record of the same length whose
//! addresses are both 0, with milliseconds in place of the seqno. Without it a link whose ends have both died would
//! become young again at every member that hears of it, and be passed on without end.
//!
//! Addresses have 8 bytes here, whatever they have in the [header of data transfer](super::dt). To a reference, a
//! packet of another length is none.
//!
//! ```
//! use o7s::types::id::Address;
//! use o7s::wire::link_state::Lsu;
//!
//! let lsu = Lsu { dst: Address(0x0403_0201), src: Address(0x1413_1211), seqno: 7 };
//! let bytes = lsu.to_bytes();
//! assert_eq!(bytes[..8], [0, 0, 0, 0, 4, 3, 2, 1]);
//! assert_eq!(Lsu::parse(&bytes)?, lsu);
//! assert_eq!(lsu.to_string(), "link 11.12.13.14 > 01.02.03.04 seq 7");
//! # Ok::<(), o7s::wire::WireError>(())
//! ```

use core::fmt;
use core::time::Duration;

use super::{Reader, WireError};
use crate::types::id::Address;

/// A link-state update: one direction of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lsu {
    /// The neighbour.
    pub dst: Address,
    /// Address of the member that announces its link.
    pub src: Address,
    /// Higher than in older announcements of the link.
    pub seqno: u64,
}

impl Lsu {
    /// Bytes of a message.
    pub const LEN: usize = 24;

    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if it is shorter than [`LEN`](Self::LEN), [`WireError::Length`] if it is longer.
    pub fn parse(message: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(message);
        let short = WireError::Truncated { need: Self::LEN, have: message.len() };
        let [dst, src, seqno] = [r.u64(), r.u64(), r.u64()].map(|field| field.map_err(|_| short));
        if message.len() > Self::LEN {
            return Err(WireError::Length { field: "link-state update", value: message.len() });
        }
        Ok(Self { dst: Address(dst?), src: Address(src?), seqno: seqno? })
    }

    /// The message's bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let fields = [self.dst.0, self.src.0, self.seqno].map(u64::to_be_bytes);
        out.iter_mut().zip(fields.as_flattened()).for_each(|(to, from)| *to = *from);
        out
    }
}

/// Age of an announcement, as far as is known: follows an update that is passed on late, between members of this
/// library.
///
/// ```
/// use core::time::Duration;
/// use o7s::types::id::Address;
/// use o7s::wire::link_state::{Age, Lsu};
///
/// let age = Age(Duration::from_secs(40));
/// let record = age.to_lsu();
/// assert_eq!(Age::of(&record), Some(age));
/// assert_eq!((record.src, record.dst), (Address(0), Address(0)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

impl Age {
    /// The record that says it.
    pub fn to_lsu(self) -> Lsu {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        Lsu { dst: Address(0), src: Address(0), seqno: millis }
    }

    /// The age, if the record is one.
    pub fn of(record: &Lsu) -> Option<Self> {
        let is_age = record.src == Address(0) && record.dst == Address(0);
        is_age.then(|| Self(Duration::from_millis(record.seqno)))
    }
}

/// Cuts updates that lie one behind the other into packets of `most` bytes. An age stays behind its update, and a packet is
/// longer than that if otherwise there would be nothing in it.
///
/// ```
/// use core::time::Duration;
/// use o7s::types::id::Address;
/// use o7s::wire::link_state::{Age, Lsu, packets};
///
/// let lsu = |seqno| Lsu { dst: Address(1), src: Address(2), seqno };
/// let age = Age(Duration::from_secs(40)).to_lsu();
/// let updates = [lsu(1), lsu(2), age, lsu(3)].map(|update| update.to_bytes()).concat();
/// let cut = |most| packets(&updates, most).map(|packet| packet.len() / Lsu::LEN).collect::<Vec<_>>();
/// assert_eq!((cut(96), cut(95), cut(71), cut(0)), (vec![4], vec![3, 1], vec![1, 2, 1], vec![1, 2, 1]));
/// ```
pub fn packets(mut updates: &[u8], most: usize) -> impl Iterator<Item = &[u8]> {
    let is_age = |updates: &[u8], at: usize| {
        let record = updates.get(at..at + Lsu::LEN).and_then(|record| Lsu::parse(record).ok());
        record.is_some_and(|record| Age::of(&record).is_some())
    };
    core::iter::from_fn(move || {
        let mut end = (most.min(updates.len()) / Lsu::LEN).max(1) * Lsu::LEN;
        if is_age(updates, end) {
            end = if end > Lsu::LEN { end - Lsu::LEN } else { end + Lsu::LEN };
        }
        let (packet, rest) = updates.split_at_checked(end).unwrap_or((updates, &[]));
        updates = rest;
        (!packet.is_empty()).then_some(packet)
    })
}

impl fmt::Display for Lsu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} > {} seq {}", self.src, self.dst, self.seqno)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_of_the_reference() {
        let bytes = [0, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 0, 0, 0, 0];
        let lsu = Lsu { dst: Address(0x0a0b_0c0d), src: Address(0x1234_5678), seqno: 0 };
        assert_eq!(Lsu::parse(&bytes), Ok(lsu));
        assert_eq!(lsu.to_bytes(), bytes);
    }

    proptest! {
        #[test]
        fn only_one_length_is_a_message(mut bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            match Lsu::parse(&bytes) {
                Ok(lsu) => prop_assert_eq!(&lsu.to_bytes()[..], &bytes[..]),
                Err(error) => {
                    let have = bytes.len();
                    let long = WireError::Length { field: "link-state update", value: have };
                    let short = WireError::Truncated { need: Lsu::LEN, have };
                    prop_assert!(have != Lsu::LEN);
                    prop_assert_eq!(error, if have < Lsu::LEN { short } else { long });
                }
            }
            bytes.resize(Lsu::LEN, 0);
            let lsu = Lsu::parse(&bytes).unwrap();
            prop_assert_eq!(lsu.to_bytes().to_vec(), bytes as Vec<u8>);
        }

        #[test]
        fn every_bit_counts(dst: u64, src: u64, seqno: u64, bit in 0..8 * Lsu::LEN) {
            let lsu = Lsu { dst: Address(dst), src: Address(src), seqno };
            let mut bytes = lsu.to_bytes();
            prop_assert_eq!(Lsu::parse(&bytes), Ok(lsu));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(Lsu::parse(&bytes), Ok(lsu));
        }
    }
}
