//! Addresses of Ethernet interfaces.
//!
//! ```
//! use o7s::device::Mac;
//!
//! let mac: Mac = "02:00:00:00:00:01".parse()?;
//! assert_eq!(mac, Mac([2, 0, 0, 0, 0, 1]));
//! assert!(!mac.is_group() && Mac::BROADCAST.is_group());
//! # Ok::<(), o7s::device::ParseMacError>(())
//! ```

use core::fmt;
use core::str::FromStr;

/// The address of an Ethernet interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "six bytes, and nothing else")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The broadcast address of the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Returns `true` for the addresses of groups, the broadcast address among them: nobody sends from one.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The address as a number, most significant byte first.
    pub(crate) const fn to_bits(self) -> u64 {
        let [a, b, c, d, e, g] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, g])
    }

    /// The address that [`to_bits`](Self::to_bits) gave; what is beyond 48 bits does not count.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        let [_, _, a, b, c, d, e, g] = bits.to_be_bytes();
        Self([a, b, c, d, e, g])
    }
}

impl fmt::Display for Mac {
    /// Hexadecimal, colons between the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([a, b, c, d, e, g]) = self;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no MAC address: six bytes in hexadecimal with colons between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not a MAC address: six bytes in hexadecimal with colons between them, 02:00:00:00:00:01")]
pub struct ParseMacError;

impl FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| matches!(part.len(), 1 | 2)).ok_or(ParseMacError)?;
            // `from_str_radix` takes a sign.
            if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() { Err(ParseMacError) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::Mac;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let mac = Mac([0x02, 0, 0x5e, 0xab, 0xcd, 0xef]);
        assert_eq!(mac.to_string(), "02:00:5e:ab:cd:ef");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert_eq!("2:0:5e:AB:cd:EF".parse(), Ok(mac));
        assert_eq!(Mac::from_bits(mac.to_bits()), mac);
        for text in ["", "02", "02:00:5e:ab:cd", "02:00:5e:ab:cd:ef:01", "02:00:5e:ab:cd:+f", "02:00:5e:ab:cd:100"] {
            assert!(text.parse::<Mac>().is_err(), "{text:?}");
        }
    }
}
