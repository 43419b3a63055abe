//! Connection terms: an extension of CEP between members of this library.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// The further version that stands before the terms: "o7s" and a 1.
const MARK: i32 = 0x6f37_7301;

/// The terms on which a member of a unicast layer connects. They travel in the list of [further
/// versions](super::Message::versions), which the C reference neither sends nor reads: a peer with terms is not a
/// reference.
///
/// | element | meaning |
/// |---|---|
/// | 0 | 0x6f377301 |
/// | 1 | incarnation |
/// | 2 | patience, milliseconds |
/// | 3 | round trip, milliseconds |
///
/// What stands before the first and behind the last is not looked at.
///
/// ```
/// use core::time::Duration;
/// use o7s::wire::cep::Terms;
///
/// let terms = Terms { incarnation: 77, patience: Duration::from_secs(2), round_trip: Duration::ZERO };
/// assert_eq!(Terms::of(&terms.versions()), Some(terms));
/// assert_eq!(Terms::of(&[]), None, "a reference");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Number of the member's life, drawn when it starts; less than 2³¹. A peer with a known address and another
    /// incarnation was restarted, or is another member.
    pub incarnation: u32,
    /// Silence after which the peer counts as gone. Both ends use the longer of their two values.
    pub patience: Duration,
    /// Time that the allocation of the flow took, which is at least a round trip; zero from the end that accepted it.
    pub round_trip: Duration,
}

impl Terms {
    /// The list of further versions that says them.
    pub fn versions(self) -> Vec<i32> {
        let millis = |d: Duration| i32::try_from(d.as_millis()).unwrap_or(i32::MAX);
        vec![MARK, (self.incarnation & i32::MAX as u32).cast_signed(), millis(self.patience), millis(self.round_trip)]
    }

    /// The terms in a list of further versions, if there are some.
    pub fn of(versions: &[i32]) -> Option<Self> {
        let mut rest = versions.iter().skip_while(|v| **v != MARK).skip(1);
        let mut next = || u32::try_from(*rest.next()?).ok();
        let incarnation = next()?;
        let mut millis = || next().map(|ms| Duration::from_millis(ms.into()));
        Some(Self { incarnation, patience: millis()?, round_trip: millis()? })
    }
}
