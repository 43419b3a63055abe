//! Sequence numbers and the header, until `base::seq` and `wire::frct` have them.
#![allow(missing_docs, unreachable_pub, dead_code)]

use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u32);

impl Seq {
    pub fn before(self, other: Self) -> bool {
        self - other < 0
    }

    pub fn after(self, other: Self) -> bool {
        other.before(self)
    }
}

impl core::ops::Add<u32> for Seq {
    type Output = Self;

    fn add(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

impl core::ops::Sub for Seq {
    type Output = i32;

    fn sub(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

pub fn decode24(reference: Seq, low24: u32) -> Seq {
    let d = (low24.wrapping_sub(reference.0) << 8) as i32 >> 8;
    reference + d as u32
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    pub const DATA: Self = Self(0x01);
    pub const DRF: Self = Self(0x02);
    pub const ACK: Self = Self(0x04);
    pub const FC: Self = Self(0x08);
    pub const RDVS: Self = Self(0x10);
    pub const FFGM: Self = Self(0x20);
    pub const MFGM: Self = Self(0x40);

    pub const fn bits(self) -> u8 {
        self.0
    }

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl core::ops::BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pci {
    pub flags: Flags,
    pub window: u32,
    pub seqno: Seq,
    pub ackno: Seq,
}

impl Pci {
    pub const LEN: usize = 12;

    pub fn parse(packet: &[u8]) -> Result<Self, ()> {
        let Some(&[f, w0, w1, w2, s0, s1, s2, s3, a0, a1, a2, a3]) = packet.first_chunk::<12>() else {
            return Err(());
        };
        Ok(Self {
            flags: Flags(f),
            window: u32::from_be_bytes([0, w0, w1, w2]),
            seqno: Seq(u32::from_be_bytes([s0, s1, s2, s3])),
            ackno: Seq(u32::from_be_bytes([a0, a1, a2, a3])),
        })
    }

    pub fn to_bytes(self) -> [u8; 12] {
        let [_, w0, w1, w2] = self.window.to_be_bytes();
        let [s0, s1, s2, s3] = self.seqno.0.to_be_bytes();
        let [a0, a1, a2, a3] = self.ackno.0.to_be_bytes();
        [self.flags.0, w0, w1, w2, s0, s1, s2, s3, a0, a1, a2, a3]
    }

    pub const fn is_data(&self) -> bool {
        self.flags.contains(Flags::DATA)
    }
}

pub struct Sack {
    ackno: Seq,
    blocks: Vec<(Seq, Seq)>,
}

impl Sack {
    pub const MAX_BLOCKS: usize = 32;

    pub fn new(ackno: Seq) -> Self {
        Self { ackno, blocks: Vec::new() }
    }

    pub fn push(&mut self, first: Seq, end: Seq) -> bool {
        let edge = self.blocks.last().map_or(self.ackno, |b| b.1);
        let fits = first.after(edge) && end.after(first) && self.blocks.len() < Self::MAX_BLOCKS;
        if fits {
            self.blocks.push((first, end));
        }
        fits
    }

    pub fn blocks(&self) -> impl Iterator<Item = (Seq, Seq)> + '_ {
        self.blocks.iter().copied()
    }

    pub fn encoded_len(&self) -> usize {
        2 + 8 * self.blocks.len()
    }

    pub fn parse(ackno: Seq, payload: &[u8]) -> Result<Self, ()> {
        let [0x53, n, rest @ ..] = payload else { return Err(()) };
        let mut sack = Self::new(ackno);
        for block in rest.chunks(8) {
            let Some(&[a, b, c, d, e, f, g, h]) = block.first_chunk::<8>() else { return Err(()) };
            if !sack.push(Seq(u32::from_be_bytes([a, b, c, d])), Seq(u32::from_be_bytes([e, f, g, h]))) {
                return Err(());
            }
        }
        if usize::from(*n) == sack.blocks.len() { Ok(sack) } else { Err(()) }
    }

    pub fn emit(&self, out: &mut [u8]) -> Result<(), ()> {
        let Some((head, rest)) = out.split_first_chunk_mut::<2>() else { return Err(()) };
        *head = [0x53, self.blocks.len() as u8];
        for (out, (first, end)) in rest.chunks_exact_mut(8).zip(&self.blocks) {
            out.copy_from_slice(&(u64::from(first.0) << 32 | u64::from(end.0)).to_be_bytes());
        }
        Ok(())
    }
}
