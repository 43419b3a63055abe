//! Key logs.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::wire::oap::ID_LEN;
use crate::wire::pcapng::{PEER_KEY, REFERENCE_KEY};

/// Keys that are remembered at most.
const MAX_KEYS: usize = 1 << 16;
/// Room for keys at first.
const FEW: usize = 8;

/// Keys of encrypted flows, as a [key log](super#key-logs) has them.
///
/// ```
/// use o7s::capture::KeyLog;
///
/// let line = format!("O7S_PEER_SESSION_KEY {} {}\n# a comment\n", "01".repeat(16), "ab".repeat(32));
/// let log: KeyLog = line.parse()?;
/// assert_eq!(log.len(), 1);
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Default)]
pub struct KeyLog {
    keys: Vec<Logged>,
}

/// A key of a log.
pub(super) struct Logged {
    /// Of which flow; of any, if the log does not say.
    pub(super) id: Option<[u8; ID_LEN]>,
    /// Between two o7s ends.
    pub(super) o7s_peer: bool,
    pub(super) key: Zeroizing<[u8; 32]>,
}

impl KeyLog {
    /// Adds the keys in `text`. What is no line of a key log is skipped, as are keys beyond 65 536.
    ///
    /// Lines that begin with `HKDF`, as of a reference that was built to tell its derivations, are taken by their last field,
    /// `key=`.
    pub fn add(&mut self, text: &str) {
        let room = MAX_KEYS.saturating_sub(self.keys.len());
        for key in text.lines().filter_map(Logged::of).take(room) {
            self.push(key);
        }
    }

    fn push(&mut self, key: Logged) {
        if self.keys.len() == self.keys.capacity() {
            // A vector that grows leaves behind what it had. Dropping it wipes the keys in it.
            let mut grown = Vec::with_capacity((2 * self.keys.len()).max(FEW));
            grown.extend(self.keys.iter().map(Logged::copy));
            self.keys = grown;
        }
        self.keys.push(key);
    }

    /// Returns the number of keys.
    #[allow(clippy::len_without_is_empty, reason = "a count, not a collection")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that may be those of the flow with this request: its own, or all that are nobody's.
    pub(super) fn of_flow<'a>(&'a self, id: &'a [u8; ID_LEN]) -> impl Iterator<Item = &'a Logged> {
        self.keys.iter().filter(|logged| logged.id.is_none_or(|of| is_same_request(&of, id)))
    }
}

/// Returns `true` if two ids are of one request: repetitions differ in the first and the last bytes.
pub(super) fn is_same_request(a: &[u8; ID_LEN], b: &[u8; ID_LEN]) -> bool {
    a.get(2..10) == b.get(2..10)
}

impl Logged {
    fn copy(&self) -> Self {
        Self { id: self.id, o7s_peer: self.o7s_peer, key: self.key.clone() }
    }

    fn of(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        match fields.next()? {
            // A key that follows from another one.
            "HKDF" if line.contains("key-rotation") => None,
            "HKDF" => {
                let key = fields.find_map(|field| field.strip_prefix("key="))?;
                Some(Self { id: None, o7s_peer: false, key: Zeroizing::new(hex(key)?) })
            }
            label if label == PEER_KEY || label == REFERENCE_KEY => Some(Self {
                id: Some(hex(fields.next()?)?),
                o7s_peer: label == PEER_KEY,
                key: Zeroizing::new(hex(fields.next()?)?),
            }),
            _ => None,
        }
    }
}

/// Bytes in hexadecimal.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl FromStr for KeyLog {
    type Err = std::convert::Infallible;

    /// Reads a key log; see [`add`](Self::add).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut log = Self::default();
        log.add(text);
        Ok(log)
    }
}

/// Without the keys.
impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyLog({} keys)", self.keys.len())
    }
}
