//! Errors and warnings of configuration files: place, cause, and a hint at what is valid.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::debug::debug_by_text;
use crate::types::name::NameError;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Position {
    /// Counted from 1.
    pub(super) line: usize,
    /// In characters, counted from 1.
    pub(super) column: usize,
}

impl Position {
    /// Returns the position of the byte at `offset`.
    pub(super) fn of(text: &[u8], offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let in_line = before.get(line_start..).unwrap_or_default();
        Self {
            line: 1 + before.iter().filter(|b| **b == b'\n').count(),
            column: 1 + String::from_utf8_lossy(in_line).chars().count(),
        }
    }
}

/// Error of a file that does not describe a network that can be built. Its text has the position, the fault, and valid
/// values.
pub struct ConfigError {
    file: Option<PathBuf>,
    at: Option<Position>,
    problem: Box<Problem>,
}

debug_by_text!(ConfigError);

impl ConfigError {
    pub(super) fn new(at: Option<Position>, problem: Problem) -> Self {
        Self { file: None, at, problem: Box::new(problem) }
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        self.file = Some(path.to_owned());
        self
    }

    /// The file, if it was read from one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The line in the file, from 1, if it is about something in there.
    pub fn line(&self) -> Option<usize> {
        self.at.map(|at| at.line)
    }

    /// The column in the line, in characters, from 1, if it is about something in there.
    pub fn column(&self) -> Option<usize> {
        self.at.map(|at| at.column)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.at) {
            (Some(file), Some(Position { line, column })) => write!(f, "{}:{line}:{column}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, Some(Position { line, column })) => write!(f, "line {line}, column {column}: ")?,
            (None, None) => {}
        }
        self.problem.fmt(f)
    }
}

impl Error for ConfigError {
    /// Returns the error of the operating system, or of the part that could not be made.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.problem {
            Problem::Unreadable(error) => Some(error),
            Problem::Failed { cause, .. } => Some(&**cause),
            _ => None,
        }
    }
}

/// Faults of a file. Tables are written as in it, without brackets.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is not UTF-8.
    #[error("the file is not valid UTF-8")]
    NotUtf8,
    /// It is too long.
    #[error("the file has more than {} bytes: is it a configuration?", super::MAX_LEN)]
    TooLong,
    /// It is not TOML.
    #[error("invalid TOML: {0}")]
    Syntax(String),
    /// A table that does not belong in it.
    #[error("there is no [{table}]; {hint}")]
    Table {
        /// The title found.
        table: String,
        /// Titles that may be meant.
        hint: Hint,
    },
    /// A key that does not belong in its table.
    #[error("[{table}] has no key \"{key}\"; {hint}")]
    Key {
        /// The table.
        table: String,
        /// The key found.
        key: String,
        /// Keys that may be meant.
        hint: Hint,
    },
    /// Two spellings of one key.
    #[error("\"{second}\" is another spelling of \"{first}\", which is there already; remove one")]
    Twice {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// A value of another kind than the key has.
    #[error("{what} must be {expected}, not {found}")]
    Type {
        /// The key or table.
        what: String,
        /// The expected kind.
        expected: &'static str,
        /// The kind found.
        found: &'static str,
    },
    /// A number beyond the limits.
    #[error("{key} = {value} is out of range; it may be {}{unit}", Limits(*min, *max, value))]
    Range {
        /// The key.
        key: &'static str,
        /// The value found.
        value: String,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
        /// The unit of the limits: empty, or with a space before it.
        unit: &'static str,
    },
    /// A word that is none of those allowed.
    #[error("{key} = {value:?} is not known; {hint}")]
    Choice {
        /// The key.
        key: &'static str,
        /// The value found.
        value: String,
        /// Values that may be meant.
        hint: Hint,
    },
    /// The value is not a name.
    #[error("{what}: {why}")]
    Name {
        /// The key or table.
        what: String,
        /// Fault of the name.
        why: NameError,
    },
    /// The value is not an address.
    #[error("{key} = {value:?} is not an {family} address; write it like {example}")]
    Address {
        /// The key.
        key: &'static str,
        /// The value found.
        value: String,
        /// IPv4 or IPv6.
        family: &'static str,
        /// An address.
        example: &'static str,
    },
    /// A text that has no use if it is empty, or one that is too long.
    #[error("{key} must have 1 to {max} bytes")]
    Length {
        /// The key.
        key: &'static str,
        /// The most bytes.
        max: usize,
    },
    /// A key that must be there.
    #[error("[{table}] needs {key}: {what}")]
    Missing {
        /// The table.
        table: String,
        /// The key.
        key: &'static str,
        /// The purpose of the key.
        what: &'static str,
    },
    /// More arguments than programs.
    #[error("there are arguments for {arguments} programs, but prog has {programs}; give one string for each program")]
    Arguments {
        /// Elements of `args`.
        arguments: usize,
        /// Elements of `prog`.
        programs: usize,
    },
    /// A well-formed entry that could not be made.
    #[error("{what}: {cause}")]
    Failed {
        /// The name or IPCP.
        what: String,
        /// Cause of the failure.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A blocking call in a polled stack, which has no thread to end the wait.
    #[error("this stack is polled: use the asynchronous call, and poll the stack")]
    Polled,
    /// Something that IPCPs of this type do not do.
    #[error("{kind} layers have no {key}: {why}")]
    NotHere {
        /// The key.
        key: &'static str,
        /// The type of the IPCP.
        kind: &'static str,
        /// Reason.
        why: &'static str,
    },
}

/// The limits of a number, written like a value beyond them.
struct Limits<'a>(u32, u32, &'a str);

impl fmt::Display for Limits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(min, max, _) if min == max => write!(f, "{min} only"),
            Self(min, max, value) if value.starts_with("0x") => write!(f, "{min:#X} to {max:#X}"),
            Self(min, max, _) => write!(f, "{min} to {max}"),
        }
    }
}

/// Suggestion in an error: the nearest of the known words, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// The one known word that is spelt nearly like it.
    Nearest(&'static str),
    /// The known words.
    Known(Vec<&'static str>),
}

impl Hint {
    /// Finds the word of `known` that `found` may be a misspelling of.
    pub(super) fn new(found: &str, known: impl IntoIterator<Item = &'static str>) -> Self {
        let known: Vec<_> = known.into_iter().collect();
        let nearest = known.iter().map(|word| (distance(found, word), *word)).min();
        match nearest {
            Some((distance, word)) if distance <= word.len().div_ceil(3) && distance < word.len() => {
                Self::Nearest(word)
            }
            _ => Self::Known(known),
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest(word) => write!(f, "did you mean \"{word}\"?"),
            Self::Known(words) => {
                f.write_str("it may be ")?;
                for (i, word) in words.iter().enumerate() {
                    let before = match i {
                        0 => "",
                        _ if i + 1 == words.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{before}\"{word}\"")?;
                }
                Ok(())
            }
        }
    }
}

/// Edit distance of two words, ignoring case: characters changed, added or removed.
fn distance(a: &str, b: &str) -> usize {
    // What is longer than all that is known by so much is near nothing.
    let a: Vec<char> = a.chars().take(64).flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, y) in b.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let (first, rest) = row.split_at_mut(1);
        first.fill(left);
        for (above, x) in rest.iter_mut().zip(&a) {
            let here = (diagonal + usize::from(*x != y.to_ascii_lowercase())).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Something that a configuration file says in vain; its text says where, what and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// Position in the file.
    pub(super) at: Position,
    /// The table, as in the file, without brackets; empty if it is about the whole file.
    pub(super) table: String,
    /// The key; `None` if it is about the whole table.
    pub(super) key: Option<&'static str>,
    /// Reason for its having no effect.
    pub(super) why: Why,
}

impl ConfigWarning {
    /// The line in the file, from 1.
    pub fn line(&self) -> usize {
        self.at.line
    }

    /// The column in the line, in characters, from 1.
    pub fn column(&self) -> usize {
        self.at.column
    }
}

/// Reasons for an entry to have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Why {
    /// Programs are not started.
    #[error("programs are not started; bind the name in this one")]
    Programs,
    /// No DNS is updated.
    #[error("no dynamic DNS is updated; names are looked up with the system's resolver")]
    Dns,
    /// Only a layer that is bootstrapped can be chosen.
    #[error("an IPCP that is enrolled gets the layer's settings from the layer")]
    Enrolled,
    /// Only members of a layer do it.
    #[error("the IPCP neither bootstraps a layer nor is it enrolled")]
    NoMember,
    /// Only with `enrol`.
    #[error("only an IPCP that is enrolled connects to others")]
    NotEnrolled,
    /// Only with `conn`.
    #[error("there is no conn, and so no member to connect to over it")]
    NoConnections,
    /// IPCPs of this type accept no enrollments or connections by name.
    #[error("an IPCP of this type is not addressed by its name")]
    NotAsked,
    /// Always 8.
    #[error("every EID has 8 bytes; the number is only passed on to members that are enrolled")]
    EidSize,
    /// The only member accepts nobody.
    #[error("nobody can enroll with this IPCP: the layer stays its own, unless you write autobind = true")]
    Alone,
    /// A member whose packets no layer carries.
    #[error("no layer of this file carries its packets: add an IPCP of another type, such as [udp4.NAME]")]
    NothingBelow,
    /// Neither names nor IPCPs.
    #[error("there is nothing in this file, so no layer is made")]
    Empty,
    /// Another IPCP has the name.
    #[error("another IPCP has the same name")]
    SameName,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at: Position { line, column }, table, key, why } = self;
        write!(f, "line {line}, column {column}: ")?;
        match key {
            None if table.is_empty() => write!(f, "{why}"),
            Some(key) => write!(f, "{key} in [{table}]: {why}"),
            None => write!(f, "[{table}]: {why}"),
        }
    }
}
