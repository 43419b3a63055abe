//! What members of this library say to each other of themselves when they connect, besides what the C reference knows.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// The further version that stands before the terms: "o7s" and a 1.
const MARK: i32 = 0x6f37_7301;

/// The terms on which a member of a unicast layer connects. They travel in the list of
/// [further versions](super::Message::versions), which the C reference neither sends nor reads: whoever says terms is no
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
    /// A number of the member's life, drawn when it starts; less than 2³¹. A peer with an address that is known and
    /// another incarnation has been restarted, or is somebody else.
    pub incarnation: u32,
    /// How long the peer may be silent before it is taken for gone. Both ends hold to the longer one.
    pub patience: Duration,
    /// How long it took to allocate the flow, which is at least a round trip; zero from whoever did not allocate it.
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
