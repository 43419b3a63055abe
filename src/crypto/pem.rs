//! PEM (RFC 7468): blocks of base64 between lines that say what they are.
//!
//! A file may have any text between its blocks, a mark of its byte order in front, and either kind of line ends; whatever looks
//! like the beginning of a block must be one. Nothing is skipped without a word: a block that is cut short, or whose content
//! is not base64, makes the whole file an error.

use alloc::boxed::Box;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::base::debug::debug_by_text;

/// Bytes of a file that are read at most.
pub const MAX_FILE: usize = 1 << 20;

/// Why a file is not PEM.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// The file is larger than anything that could be meant.
    #[error("file of {len} bytes: at most {MAX_FILE} are read")]
    TooLarge {
        /// Bytes of the file.
        len: usize,
    },
    /// Not text.
    #[error("line {line}: not text, but PEM was expected")]
    NotText {
        /// The line, from 1.
        line: usize,
    },
    /// A block without an end, or with the end of another.
    #[error("line {line}: the block {label} that begins here has no end: the file is cut short")]
    Unfinished {
        /// The line of the beginning, from 1.
        line: usize,
        /// What the block says that it is.
        label: Box<str>,
    },
    /// A block with something else than base64 in it.
    #[error("line {line}: the block {label} that begins here is not base64: the file is damaged")]
    Encoding {
        /// The line of the beginning, from 1.
        line: usize,
        /// What the block says that it is.
        label: Box<str>,
    },
    /// A line that ends a block where none has begun.
    #[error("line {line}: end of a block that has not begun: the file is damaged")]
    End {
        /// The line, from 1.
        line: usize,
    },
}

debug_by_text!(PemError { TooLarge, NotText, Unfinished, Encoding, End });

/// A block.
pub struct Block {
    /// What it says that it is, such as `CERTIFICATE`.
    pub label: Box<str>,
    /// Content. It may be a key, so it is wiped.
    pub content: Zeroizing<Vec<u8>>,
    /// Line of its beginning, from 1.
    pub line: usize,
}

impl core::fmt::Debug for Block {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Block({}, line {}, ..)", self.label, self.line)
    }
}

/// The blocks of a file, in order. There may be none.
///
/// # Errors
/// [`PemError`] says in which line what is wrong.
pub fn blocks(file: &[u8]) -> Result<Vec<Block>, PemError> {
    if file.len() > MAX_FILE {
        return Err(PemError::TooLarge { len: file.len() });
    }
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut found = Vec::new();
    let mut open: Option<(usize, Box<str>, Zeroizing<Vec<u8>>)> = None;
    for (index, bytes) in file.split(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        let text = bytes.trim_ascii();
        let begins = label(text, b"-----BEGIN ");
        let ends = label(text, b"-----END ");
        open = match (open.take(), begins, ends) {
            (Some((line, label, _)), Some(_), _) => return Err(PemError::Unfinished { line, label }),
            (Some((line, label, encoded)), _, Some(end)) => {
                if *label != *end {
                    return Err(PemError::Unfinished { line, label });
                }
                found.push(decode(line, label, &encoded)?);
                None
            }
            (Some((line, label, mut encoded)), None, None) => {
                encoded.extend_from_slice(text);
                Some((line, label, encoded))
            }
            // No block grows beyond the file, so that what it takes is allocated once: no copies of a key are left behind.
            (None, Some(label), _) => Some((line, label.into(), Zeroizing::new(Vec::with_capacity(file.len())))),
            (None, None, Some(_)) => return Err(PemError::End { line }),
            (None, None, None) if core::str::from_utf8(bytes).is_err() || bytes.contains(&0) => {
                return Err(PemError::NotText { line });
            }
            (None, None, None) => None,
        };
    }
    match open {
        Some((line, label, _)) => Err(PemError::Unfinished { line, label }),
        None => Ok(found),
    }
}

/// The label in a line that begins or ends a block.
fn label<'a>(line: &'a [u8], marker: &[u8]) -> Option<&'a str> {
    let label = line.strip_prefix(marker)?.strip_suffix(b"-----")?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b" #-_".contains(byte);
    // Anything longer would only make errors long.
    (label.len() <= 64 && label.iter().all(allowed)).then(|| core::str::from_utf8(label).ok())?
}

fn decode(line: usize, label: Box<str>, encoded: &[u8]) -> Result<Block, PemError> {
    let mut content = Zeroizing::new(alloc::vec![0; encoded.len() / 4 * 3]);
    let Ok(len) = Base64::decode(encoded, &mut content).map(<[u8]>::len) else {
        return Err(PemError::Encoding { line, label });
    };
    content.truncate(len);
    Ok(Block { label, content, line })
}

#[cfg(test)]
mod tests;
