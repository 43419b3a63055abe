//! Fragmentation: a write that is larger than a packet is cut into fragments, each a packet of its own.
//!
//! Fragments are cut straight out of the caller's data, and numbered, acknowledged and retransmitted as any packet. Their
//! headers say which part of the message they are; see [the wire page](crate::wire::frct#fragments). The other end puts
//! them together in [`reassembly`](super::reassembly).

use crate::wire::frct::Flags;

/// The largest fragment, bytes of user data, where the layer below may lose packets: with all headers it fits into an
/// Ethernet frame, so that IP does not cut it into pieces of which each can be lost.
pub(crate) const FRAGMENT: usize = 1400;
/// Smallest packet that messages are cut for, bytes of user data: below it there would be more header than data.
const FRAGMENT_MIN: usize = 64;

/// Which part of a message a packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    #[default]
    Whole,
    /// The first fragment.
    First,
    /// A fragment between others.
    Middle,
    /// The last fragment.
    Last,
}

impl Part {
    /// The flags of a packet that is this part.
    pub(super) const fn flags(self) -> Flags {
        match self {
            Self::Whole => Flags::NONE,
            Self::First => Flags::FRAGMENT,
            Self::Middle => Flags::MFGM,
            Self::Last => Flags::FFGM,
        }
    }

    /// The part that a packet with these flags is.
    pub(super) const fn of(flags: Flags) -> Self {
        match (flags.contains(Flags::FFGM), flags.contains(Flags::MFGM)) {
            (false, false) => Self::Whole,
            (true, true) => Self::First,
            (false, true) => Self::Middle,
            (true, false) => Self::Last,
        }
    }
}

/// The length of the fragments of messages on a path that carries packets of `packet` bytes of user data. `None`: it carries
/// so little that messages are not cut.
pub(crate) fn fragment_len(packet: usize, lossy: bool) -> Option<usize> {
    let len = if lossy { packet.min(FRAGMENT) } else { packet };
    (packet >= FRAGMENT_MIN).then_some(len)
}

/// Cuts a message into fragments of `len` bytes, the last one possibly shorter; one that is not longer stays whole.
pub(crate) fn fragments(message: &[u8], len: usize) -> impl Iterator<Item = (Part, &[u8])> {
    let count = message.len().div_ceil(len.max(1));
    let part = move |index| match index {
        _ if count <= 1 => Part::Whole,
        0 => Part::First,
        _ if index + 1 == count => Part::Last,
        _ => Part::Middle,
    };
    message.chunks(len.max(1)).enumerate().map(move |(index, bytes)| (part(index), bytes))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_message_is_cut_into_packets_that_are_full_but_for_the_last() {
        let message: Vec<u8> = (0..25).collect();
        let cut = |len| fragments(&message, len).map(|(part, bytes)| (part, bytes.len())).collect::<Vec<_>>();
        assert_eq!(cut(25), [(Part::Whole, 25)]);
        assert_eq!(cut(24), [(Part::First, 24), (Part::Last, 1)]);
        assert_eq!(cut(10), [(Part::First, 10), (Part::Middle, 10), (Part::Last, 5)]);
        assert_eq!(cut(0).len(), 25);
        assert_eq!(fragments(&message, 10).flat_map(|(_, bytes)| bytes).copied().collect::<Vec<_>>(), message);
    }

    #[test]
    fn flags_tell_the_parts_apart() {
        for part in [Part::Whole, Part::First, Part::Middle, Part::Last] {
            assert_eq!(Part::of(part.flags() | Flags::DATA | Flags::DRF | Flags::ACK | Flags::FC), part);
        }
        assert_eq!(Part::Whole.flags(), Flags::NONE, "as a reference sends it");
    }

    #[test]
    fn fragments_fit_into_an_ethernet_frame_where_packets_may_be_lost() {
        assert_eq!(fragment_len(8900, true), Some(FRAGMENT));
        assert_eq!(fragment_len(1220, true), Some(1220));
        assert_eq!(fragment_len(100_000, false), Some(100_000));
        assert_eq!((fragment_len(64, true), fragment_len(63, true), fragment_len(0, false)), (Some(64), None, None));
    }
}
