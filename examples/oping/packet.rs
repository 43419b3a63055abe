//! The format of an oping packet: its first 24 bytes. The rest of it is zero.
//!
//! | offset | size | field | byte order |
//! |---|---|---|---|
//! | 0 | 4 | 0 request, 1 reply | big endian |
//! | 4 | 4 | sequence number, from 0 | big endian |
//! | 8 | 8 | the sender's clock, seconds | the sender's; here little endian |
//! | 16 | 8 | and nanoseconds | likewise |

use std::time::Duration;

/// The largest packet.
pub(crate) const MAX: usize = 1500;

const REQUEST: u32 = 0;
const REPLY: u32 = 1;

/// Makes a request of the packet `buf`.
pub(crate) fn write_request(buf: &mut [u8], seq: u32, clock: Duration) {
    let fields = REQUEST.to_be_bytes().into_iter().chain(seq.to_be_bytes());
    let clock = clock.as_secs().to_le_bytes().into_iter().chain(u64::from(clock.subsec_nanos()).to_le_bytes());
    for (to, byte) in buf.iter_mut().zip(fields.chain(clock)) {
        *to = byte;
    }
}

/// Turns a request into the reply to it; `false` if the packet is no request.
pub(crate) fn turn_into_reply(packet: &mut [u8]) -> bool {
    match packet.first_chunk_mut() {
        Some(kind) if *kind == REQUEST.to_be_bytes() => {
            *kind = REPLY.to_be_bytes();
            true
        }
        _ => false,
    }
}

/// Sequence number and clock of a reply, if it is one.
pub(crate) fn read_reply(packet: &[u8]) -> Option<(u32, Duration)> {
    let (kind, rest) = packet.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let (seconds, rest) = rest.split_first_chunk()?;
    let nanos = u32::try_from(u64::from_le_bytes(*rest.first_chunk()?)).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let reply = u32::from_be_bytes(*kind) == REPLY;
    reply.then(|| (u32::from_be_bytes(*seq), Duration::new(u64::from_le_bytes(*seconds), nanos)))
}
