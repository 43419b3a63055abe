//! The error of reading a word that stands for a value of a fixed set.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::name::beginning;
use crate::base::debug::debug_by_text;

/// Error of parsing the name of an algorithm, a hash or a quality of service: says which string, and which names there
/// are.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {found:?}: use {known}")]
pub struct ParseError {
    /// The expected kind.
    what: &'static str,
    /// The beginning of the string.
    found: Box<str>,
    /// The words that there are.
    known: String,
}

debug_by_text!(ParseError);

impl ParseError {
    /// The error that `found` is none of the words of `known`.
    pub(crate) fn new(what: &'static str, found: &str, known: impl IntoIterator<Item = &'static str>) -> Self {
        let words: Vec<_> = known.into_iter().collect();
        let known = match words.split_last() {
            Some((last, [])) => (*last).into(),
            Some((last, before)) => format!("{} or {last}", before.join(", ")),
            None => String::new(),
        };
        Self { what, found: beginning(found), known }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_text_names_the_string_and_the_words() {
        let text = |known: &[&'static str]| ParseError::new("colour", "grin", known.iter().copied()).to_string();
        assert_eq!(text(&["red", "blue", "green"]), "unknown colour \"grin\": use red, blue or green");
        assert_eq!(text(&["red"]), "unknown colour \"grin\": use red");
        let long = ParseError::new("colour", &"x".repeat(1000), ["red"]).to_string();
        assert!(long.len() < 100, "{long}");
    }
}
