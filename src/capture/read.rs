//! Reading captures: pcapng, and the classic format, of either byte order, from a file or while it is being written.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use crate::wire::pcapng::{
    Direction, EPB_FLAGS, IF_NAME, IF_TSRESOL, INTERFACE, MAGIC, OPT_COMMENT, PACKET, SECRETS, SECRETS_O7S, SECTION,
};

/// Bytes of the longest block that is read; more is an error.
const MAX_BLOCK: usize = 16 << 20;
/// Interfaces of a section that are remembered at most.
const MAX_INTERFACES: usize = 1 << 16;
/// Type of a simple packet block.
const SIMPLE_PACKET: u32 = 3;
/// Bytes of secrets that are kept at most.
const MAX_SECRETS: usize = 16 << 20;

/// A packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapturedPacket {
    /// Name of the interface, or its number if it has none.
    pub interface: String,
    /// Its link type.
    pub link: u16,
    /// Time, nanoseconds since 1970-01-01 UTC.
    pub unix_nanos: u64,
    /// `true` if it was sent from where it was captured; `None` if the capture does not say.
    pub sent: Option<bool>,
    /// Its length on the link, bytes.
    pub original: usize,
    /// Its bytes, or the first of them.
    pub data: Vec<u8>,
    /// The capture's comment on it.
    pub comments: Vec<String>,
}

/// Reads a capture, packet by packet.
///
/// ```
/// use o7s::capture::Reader;
///
/// // A file of the classic format, with a packet of two bytes.
/// let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
/// file.extend([1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, b'h', b'i']);
/// let mut reader = Reader::new(&file[..])?;
/// let packet = reader.packet()?.unwrap();
/// assert_eq!((packet.link, packet.unix_nanos, &packet.data[..]), (1, 1_000_002_000, &b"hi"[..]));
/// assert!(reader.packet()?.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Reader<R> {
    from: R,
    form: Form,
    interfaces: Vec<Interface>,
    block: Vec<u8>,
    secrets: String,
    /// The end was in the middle of something.
    cut: bool,
}

#[derive(Clone, Copy)]
enum Form {
    /// Byte order of the section.
    Ng(Order),
    /// Byte order, link type, nanoseconds of the unit of the fraction.
    Classic(Order, u16, u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8]) -> Option<u16> {
        let bytes = *bytes.first_chunk()?;
        Some(if self == Self::Little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(self, bytes: &[u8]) -> Option<u32> {
        let bytes = *bytes.first_chunk()?;
        Some(if self == Self::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn u32_at(self, bytes: &[u8], at: usize) -> Option<u32> {
        self.u32(bytes.get(at..)?)
    }

    /// The byte order in which these bytes are this number.
    fn of(bytes: &[u8], number: u32) -> Option<Self> {
        [Self::Little, Self::Big].into_iter().find(|order| order.u32(bytes) == Some(number))
    }
}

struct Interface {
    name: String,
    link: u16,
    snap: usize,
    /// Units of its times in a second.
    units: u64,
}

/// Magic numbers of classic files: times in microseconds, and in nanoseconds.
const CLASSIC: [(u32, u64); 2] = [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)];

/// Fills `bytes`; `false` if the end is before the first of them.
fn begin(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    let (first, rest) = bytes.split_at_mut(1);
    match from.read_exact(first) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.and_then(|()| from.read_exact(rest)).map(|()| true),
    }
}

/// The error of a file that ends in its header.
fn in_header(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::UnexpectedEof { bad("it ends in its header") } else { error }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not a capture: {what}"))
}

impl<R: Read> Reader<R> {
    /// A reader of what `from` yields; its first bytes are read.
    ///
    /// # Errors
    /// That of `from`; [`ErrorKind::InvalidData`] if it is no capture.
    pub fn new(mut from: R) -> io::Result<Self> {
        let mut magic = [0; 4];
        if !begin(&mut from, &mut magic).map_err(in_header)? {
            return Err(bad("it is empty"));
        }
        let mut reader = Self {
            from,
            form: Form::Ng(Order::Little),
            interfaces: Vec::new(),
            block: Vec::new(),
            secrets: String::new(),
            cut: false,
        };
        if u32::from_le_bytes(magic) == SECTION {
            reader.section().map_err(in_header)?;
            return Ok(reader);
        }
        let classic = CLASSIC.into_iter().find_map(|(number, unit)| Some((Order::of(&magic, number)?, unit)));
        let (order, unit) = classic.ok_or_else(|| bad("it is neither pcapng nor classic pcap"))?;
        let mut header = [0; 20];
        reader.from.read_exact(&mut header).map_err(in_header)?;
        let link = order.u32_at(&header, 16).unwrap_or_default();
        // The upper bits say how long a checksum is that frames may end in.
        reader.form = Form::Classic(order, (link & 0xffff) as u16, unit);
        Ok(reader)
    }

    /// The next packet; `None` at the end. A packet at the end that is cut off, as in a file that is still being written, is
    /// the end, too.
    ///
    /// # Errors
    /// That of the source; [`ErrorKind::InvalidData`] if it is damaged.
    pub fn packet(&mut self) -> io::Result<Option<CapturedPacket>> {
        let found = match self.form {
            Form::Ng(_) => self.next_block(),
            Form::Classic(order, link, unit) => self.classic(order, link, unit),
        };
        match found {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.cut = true;
                Ok(None)
            }
            found => found,
        }
    }

    /// Returns `true` if the end, which has been reached, was in the middle of a packet.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The lines of key logs in what was read so far, each once: whoever asks gets those that are new.
    pub fn take_secrets(&mut self) -> String {
        core::mem::take(&mut self.secrets)
    }

    /// The header of a section, behind its type.
    fn section(&mut self) -> io::Result<()> {
        let mut head = [0; 8];
        self.from.read_exact(&mut head)?;
        let (len, magic) = head.split_at(4);
        let order = Order::of(magic, MAGIC).ok_or_else(|| bad("the byte order of a section is unknown"))?;
        let len = order.u32(len).unwrap_or_default() as usize;
        // Type, length and magic number have been read.
        self.fill(len.checked_sub(12).ok_or_else(|| bad("a section header is too short"))?)?;
        self.interfaces.clear();
        self.form = Form::Ng(order);
        Ok(())
    }

    /// Reads so many bytes into `block`.
    fn fill(&mut self, len: usize) -> io::Result<()> {
        if len > MAX_BLOCK {
            return Err(bad("a block is too long"));
        }
        self.block.clear();
        // As much as there is, not as much as is said.
        let read = self.from.by_ref().take(len as u64).read_to_end(&mut self.block)?;
        if read < len { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn next_block(&mut self) -> io::Result<Option<CapturedPacket>> {
        loop {
            let mut kind = [0; 4];
            if !begin(&mut self.from, &mut kind)? {
                return Ok(None);
            }
            if u32::from_le_bytes(kind) == SECTION {
                self.section()?;
                continue;
            }
            let Form::Ng(order) = self.form else { return Ok(None) };
            let kind = order.u32(&kind).unwrap_or_default();
            let mut len = [0; 4];
            self.from.read_exact(&mut len)?;
            let len = order.u32(&len).unwrap_or_default() as usize;
            self.fill(len.checked_sub(8).filter(|len| *len >= 4).ok_or_else(|| bad("a block is too short"))?)?;
            // The length stands once more behind the block.
            self.block.truncate(self.block.len() - 4);
            let damaged = || bad("a block is damaged");
            match kind {
                INTERFACE => self.interface(order).ok_or_else(damaged)?,
                PACKET => return Ok(Some(self.enhanced(order).ok_or_else(damaged)?)),
                SIMPLE_PACKET => return Ok(Some(self.simple(order).ok_or_else(damaged)?)),
                SECRETS => self.keep_secrets(order).ok_or_else(damaged)?,
                _ => {}
            }
        }
    }

    fn interface(&mut self, order: Order) -> Option<()> {
        let (fixed, rest) = self.block.split_at_checked(8)?;
        let link = order.u16(fixed)?;
        let snap = order.u32_at(fixed, 4)? as usize;
        let mut made = Interface { name: String::new(), link, snap, units: 1_000_000 };
        for (code, value) in (Options { order, rest }) {
            match code {
                IF_NAME => made.name = String::from_utf8_lossy(value).into_owned(),
                IF_TSRESOL => {
                    let byte = *value.first()?;
                    let base: u64 = if byte & 0x80 == 0 { 10 } else { 2 };
                    made.units = base.checked_pow((byte & 0x7f).into())?;
                }
                _ => {}
            }
        }
        if made.name.is_empty() {
            made.name = self.interfaces.len().to_string();
        }
        (self.interfaces.len() < MAX_INTERFACES).then(|| self.interfaces.push(made))
    }

    fn enhanced(&self, order: Order) -> Option<CapturedPacket> {
        let (fixed, rest) = self.block.split_at_checked(20)?;
        let word = |at| order.u32_at(fixed, at);
        let interface = self.interfaces.get(word(0)? as usize)?;
        let time = u64::from(word(4)?) << 32 | u64::from(word(8)?);
        let (len, original) = (word(12)? as usize, word(16)? as usize);
        let data = rest.get(..len)?.to_vec();
        let (mut sent, mut comments) = (None, Vec::new());
        for (code, value) in (Options { order, rest: rest.get(len.next_multiple_of(4)..).unwrap_or_default() }) {
            match code {
                EPB_FLAGS => {
                    sent = match order.u32(value)? & 3 {
                        1 => Some(Direction::In),
                        2 => Some(Direction::Out),
                        _ => None,
                    };
                }
                OPT_COMMENT => comments.push(String::from_utf8_lossy(value).into_owned()),
                _ => {}
            }
        }
        Some(CapturedPacket {
            interface: interface.name.clone(),
            link: interface.link,
            unix_nanos: nanos(time, interface.units),
            sent: sent.map(|direction| direction == Direction::Out),
            original,
            data,
            comments,
        })
    }

    fn simple(&self, order: Order) -> Option<CapturedPacket> {
        let interface = self.interfaces.first()?;
        let (original, rest) = self.block.split_at_checked(4)?;
        let original = order.u32(original)? as usize;
        let snap = if interface.snap == 0 { original } else { original.min(interface.snap) };
        Some(CapturedPacket {
            interface: interface.name.clone(),
            link: interface.link,
            unix_nanos: 0,
            sent: None,
            original,
            data: rest.get(..snap)?.to_vec(),
            comments: Vec::new(),
        })
    }

    fn keep_secrets(&mut self, order: Order) -> Option<()> {
        let (fixed, rest) = self.block.split_at_checked(8)?;
        let lines = rest.get(..order.u32_at(fixed, 4)? as usize)?;
        if order.u32(fixed)? == SECRETS_O7S && self.secrets.len() + lines.len() <= MAX_SECRETS {
            self.secrets.push_str(&String::from_utf8_lossy(lines));
            self.secrets.push('\n');
        }
        Some(())
    }

    fn classic(&mut self, order: Order, link: u16, unit: u64) -> io::Result<Option<CapturedPacket>> {
        let mut head = [0; 16];
        if !begin(&mut self.from, &mut head)? {
            return Ok(None);
        }
        let word = |at| order.u32_at(&head, at).unwrap_or_default();
        let (seconds, fraction, len, original) = (word(0), word(4), word(8) as usize, word(12) as usize);
        self.fill(len)?;
        Ok(Some(CapturedPacket {
            interface: "0".into(),
            link,
            unix_nanos: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit,
            sent: None,
            original,
            data: self.block.clone(),
            comments: Vec::new(),
        }))
    }
}

/// A time of so many units of which a second has `units`.
fn nanos(time: u64, units: u64) -> u64 {
    let nanos = u128::from(time) * 1_000_000_000 / u128::from(units.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// The options at the end of a block, up to the first that is damaged.
struct Options<'a> {
    order: Order,
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let code = self.order.u16(self.rest)?;
        let len = usize::from(self.order.u16(self.rest.get(2..)?)?);
        let value = self.rest.get(4..4 + len)?;
        self.rest = self.rest.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
        (code != 0).then_some((code, value))
    }
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("interfaces", &self.interfaces.len()).finish_non_exhaustive()
    }
}
