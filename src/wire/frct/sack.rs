//! Selective acknowledgements; the layout is described [one level up](super#selective-acknowledgements).

use core::fmt;

use super::super::{Reader, WireError};
use crate::base::seq::Seq;

const MAGIC: u8 = 0x53;
const FIELD: &str = "selective acknowledgement";
const HEADER: usize = 2;
const BLOCK: usize = 8;
/// Blocks lie within this many numbers behind the acknowledgement: beyond, "after" has no meaning.
const REACH: u32 = i32::MAX as u32;

/// The ranges of sequence numbers that arrived beyond an acknowledgement.
///
/// [Layout](super#selective-acknowledgements). Holds its blocks inline and never allocates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sack {
    ackno: Seq,
    len: u8,
    /// First and end of each block as distances from `ackno`, strictly ascending; unused ones are 0.
    blocks: [(u32, u32); Self::MAX_BLOCKS],
}

impl Sack {
    /// The most blocks one acknowledgement carries.
    pub const MAX_BLOCKS: usize = 32;
    /// Length of the longest encoding, bytes.
    pub const MAX_LEN: usize = HEADER + Self::MAX_BLOCKS * BLOCK;

    /// No blocks yet, beyond an acknowledgement of `ackno`.
    pub const fn new(ackno: Seq) -> Self {
        Self { ackno, len: 0, blocks: [(0, 0); Self::MAX_BLOCKS] }
    }

    /// Adds the block of the numbers from `first` up to, not including, `end`. Returns whether it could be: `false`
    /// if there are [`MAX_BLOCKS`](Self::MAX_BLOCKS) already, or if the block is empty, does not lie behind
    /// everything before it with a gap between, or is out of reach.
    pub fn push(&mut self, first: Seq, end: Seq) -> bool {
        let (first, end) = (self.distance(first), self.distance(end));
        if first <= self.edge() || end <= first || end > REACH {
            return false;
        }
        let Some(slot) = self.blocks.get_mut(usize::from(self.len)) else {
            return false;
        };
        *slot = (first, end);
        self.len += 1;
        true
    }

    /// The blocks, ascending, as (first, end), the end not included.
    pub fn blocks(&self) -> impl Iterator<Item = (Seq, Seq)> + '_ {
        self.used().iter().map(|&(first, end)| (self.at(first), self.at(end)))
    }

    /// Returns `true` if there are no blocks. Such a one is not sent: an acknowledgement without a payload says the
    /// same.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Length of the encoding, bytes.
    pub const fn encoded_len(&self) -> usize {
        HEADER + BLOCK * self.len as usize
    }

    /// Reads the payload of a control packet that acknowledged `ackno`.
    pub fn parse(ackno: Seq, payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload);
        let magic = r.u8()?;
        if magic != MAGIC {
            return Err(WireError::Unknown { field: "payload of a control packet", value: u32::from(magic) });
        }
        let n = usize::from(r.u8()?);
        if n == 0 || n > Self::MAX_BLOCKS {
            return Err(WireError::Length { field: "list of blocks", value: n * BLOCK });
        }
        let mut sack = Self::new(ackno);
        for _ in 0..n {
            if !sack.push(Seq(r.u32()?), Seq(r.u32()?)) {
                return Err(WireError::Invalid { field: FIELD });
            }
        }
        match r.rest() {
            [] => Ok(sack),
            rest => Err(WireError::Length { field: "tail of a selective acknowledgement", value: rest.len() }),
        }
    }

    /// Writes the payload into the front of `out`. Errors: [`WireError::NoRoom`] if `out` has fewer than
    /// [`encoded_len`](Self::encoded_len) bytes, [`WireError::Invalid`] if there are no blocks.
    pub fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        if self.is_empty() {
            return Err(WireError::Invalid { field: FIELD });
        }
        let need = self.encoded_len();
        let Some((&mut [ref mut magic, ref mut n], blocks)) =
            out.get_mut(..need).and_then(<[u8]>::split_first_chunk_mut::<HEADER>)
        else {
            return Err(WireError::NoRoom { need });
        };
        *magic = MAGIC;
        *n = self.len;
        for (out, (first, end)) in blocks.chunks_exact_mut(BLOCK).zip(self.blocks()) {
            out.copy_from_slice(&(u64::from(first.0) << 32 | u64::from(end.0)).to_be_bytes());
        }
        Ok(())
    }

    fn used(&self) -> &[(u32, u32)] {
        self.blocks.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// End of the last block, 0 if there is none.
    fn edge(&self) -> u32 {
        self.used().last().map_or(0, |&(_, end)| end)
    }

    fn distance(&self, seq: Seq) -> u32 {
        seq.0.wrapping_sub(self.ackno.0)
    }

    fn at(&self, distance: u32) -> Seq {
        Seq(self.ackno.0.wrapping_add(distance))
    }
}

impl fmt::Display for Sack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sack")?;
        for (first, end) in self.blocks() {
            write!(f, " {}-{}", first.0, end.0.wrapping_sub(1))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Sack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sack({self} beyond {})", self.ackno.0)
    }
}
