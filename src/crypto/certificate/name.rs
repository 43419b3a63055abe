//! Names in certificates: found by parsing, compared byte by byte.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write};

use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::{Tag, Tagged};
use x509_cert::name::Name;

use crate::base::debug::debug_by_text;
use crate::crypto::der;
use crate::types::name::Name as FlowName;

/// Characters of a subject that are printed at most.
const MAX_TEXT: usize = 200;
/// Relative names in a subject or issuer, and attributes in each, at most. Attributes of one are sorted by the parser, in
/// quadratic time.
const MAX_RELATIVE: usize = 64;
const MAX_ATTRIBUTES: usize = 8;
const SET: u8 = 0x31;

/// Why there is no name for flows in a subject.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// No common name.
    #[error("the subject has no common name: issue one with exactly one")]
    None,
    /// Several common names, of which implementations take different ones.
    #[error("the subject has several common names: issue one with exactly one")]
    Several,
    /// A string type in which the same characters are other bytes.
    #[error("the common name is neither UTF8String nor PrintableString: issue one with such a name")]
    Type,
    /// Empty, or longer than names are.
    #[error("the common name is empty or longer than {max} bytes", max = FlowName::MAX_LEN)]
    Length,
    /// A character that other implementations read otherwise: NUL or another control character, a comma, a slash.
    #[error("the common name has a control character, a comma or a slash, which peers read differently")]
    Character,
}

debug_by_text!(NameFault { None, Several, Type, Length, Character });

/// The name for flows in a subject: its only common name.
pub(super) fn common_name(subject: &Name) -> Result<Box<str>, NameFault> {
    let mut names = subject.iter().filter(|attribute| short(attribute) == Some("CN"));
    let name = names.next().ok_or(NameFault::None)?;
    if names.next().is_some() {
        return Err(NameFault::Several);
    }
    if !matches!(name.value.tag(), Tag::Utf8String | Tag::PrintableString) {
        return Err(NameFault::Type);
    }
    let text = core::str::from_utf8(name.value.value()).map_err(|_| NameFault::Type)?;
    if text.is_empty() || text.len() > FlowName::MAX_LEN {
        return Err(NameFault::Length);
    }
    // The reference searches the printed subject for the name, which ends at either.
    if text.chars().any(|c| c.is_control() || c == ',' || c == '/') {
        return Err(NameFault::Character);
    }
    Ok(text.into())
}

/// Whether the content of a subject or issuer has no more parts than anybody needs.
pub(super) fn is_bounded(mut name: &[u8]) -> bool {
    let mut relative = 0;
    while let Some(mut attributes) = der::take(&mut name, SET) {
        relative += 1;
        let mut n = 0;
        while der::take(&mut attributes, der::SEQUENCE).is_some() {
            n += 1;
        }
        if relative > MAX_RELATIVE || n > MAX_ATTRIBUTES || !attributes.is_empty() {
            return false;
        }
    }
    name.is_empty()
}

fn short(attribute: &AttributeTypeAndValue) -> Option<&'static str> {
    match attribute.oid.as_bytes() {
        [0x55, 4, 3] => Some("CN"),
        [0x55, 4, 6] => Some("C"),
        [0x55, 4, 7] => Some("L"),
        [0x55, 4, 8] => Some("ST"),
        [0x55, 4, 10] => Some("O"),
        [0x55, 4, 11] => Some("OU"),
        _ => None,
    }
}

/// A subject for people, such as `CN=bank, O=Example`, in the order of its bytes. What is not printable is escaped, and no more
/// than its beginning is printed.
pub(super) fn text(name: &Name) -> Box<str> {
    let mut text = Bounded(String::new());
    for (n, attribute) in name.iter().enumerate() {
        let separator = if n == 0 { "" } else { ", " };
        // It ends by an error, which is that it is long enough.
        let _ = match short(attribute) {
            Some(short) => write!(text, "{separator}{short}="),
            None => write!(text, "{separator}{}=", attribute.oid),
        };
        let value = attribute.value.value();
        let _ = match core::str::from_utf8(value) {
            Ok(value) => write!(text, "{}", value.escape_debug()),
            Err(_) => write!(text, "{}", value.escape_ascii()),
        };
    }
    if text.0.is_empty() { "an empty subject".into() } else { text.0.into() }
}

struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        if self.0.ends_with("...") && self.0.len() > MAX_TEXT {
            return Err(fmt::Error);
        }
        for c in s.chars() {
            if self.0.len() > MAX_TEXT {
                self.0.push_str("...");
                return Err(fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}
