//! A table of the file, whose keys are asked for one by one and must all be known.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Hint;
use super::{ConfigError, Position, Problem};
use crate::types::name::Name;

/// The longest path, bytes, as in the reference.
const MAX_PATH: usize = 511;
/// Length at which a quoted value is cut, characters.
const QUOTED: usize = 60;

/// The spellings of a key, the proper one first.
pub(super) type Key = &'static [&'static str];

/// A word for a value, in the file and here.
pub(super) type Choice<T> = (&'static str, T);

/// The file's text, to which positions refer.
#[derive(Clone, Copy)]
pub(super) struct Source<'a>(pub(super) &'a str);

impl Source<'_> {
    pub(super) fn position(self, offset: usize) -> Position {
        Position::of(self.0.as_bytes(), offset)
    }

    pub(super) fn error(self, offset: usize, problem: Problem) -> ConfigError {
        ConfigError::new(Some(self.position(offset)), problem)
    }
}

/// A key and its value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    /// Offset of the key.
    pub(super) at: usize,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

/// A table, in the order of the file.
pub(super) struct Table<'a> {
    source: Source<'a>,
    /// Title as in the file, without brackets.
    pub(super) title: String,
    /// Offset of its name.
    at: usize,
    entries: Vec<Entry<'a>>,
}

/// The entries of a table in the order of the file.
pub(super) fn in_order<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let entry = |(key, value): (&'a Spanned<_>, _)| {
        let name: &std::borrow::Cow<'a, str> = key.get_ref();
        Entry { key: name, at: key.span().start, value }
    };
    let mut entries: Vec<_> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}

impl<'a> Table<'a> {
    /// The table that is the value of `entry`.
    pub(super) fn open(source: Source<'a>, title: String, entry: &Entry<'a>) -> Result<Self, ConfigError> {
        match entry.value.get_ref() {
            DeValue::Table(table) => Ok(Self { source, title, at: entry.at, entries: in_order(table) }),
            other => {
                let problem = Problem::Type { what: title, expected: "a table", found: kind(other) };
                Err(source.error(entry.at, problem))
            }
        }
    }

    /// Its entries, which are tables themselves.
    pub(super) fn tables(&self) -> impl Iterator<Item = Result<(Name, Self), ConfigError>> {
        self.entries.iter().map(|entry| {
            let title = format!("{}.{}", self.title, as_key(entry.key));
            let name = self.name_of(entry.key, &title, entry.at)?;
            Ok((name, Self::open(self.source, title, entry)?))
        })
    }

    /// Returns the position of the table.
    pub(super) fn position(&self) -> Position {
        self.source.position(self.at)
    }

    /// Refuses keys other than these, and two spellings of one.
    pub(super) fn only(&self, known: &[&[Key]]) -> Result<(), ConfigError> {
        let mut seen: Vec<(Key, &str)> = Vec::new();
        for entry in &self.entries {
            let mut keys = known.iter().flat_map(|keys| keys.iter().copied());
            let Some(key) = keys.find(|key| key.contains(&entry.key)) else {
                let hint =
                    Hint::new(entry.key, known.iter().flat_map(|keys| keys.iter().filter_map(|k| k.first().copied())));
                let problem = Problem::Key { table: self.title.clone(), key: quoted(entry.key), hint };
                return Err(self.source.error(entry.at, problem));
            };
            if let Some((_, first)) = seen.iter().find(|(k, _)| *k == key) {
                let problem = Problem::Twice { first: (*first).into(), second: entry.key.into() };
                return Err(self.source.error(entry.at, problem));
            }
            seen.push((key, entry.key));
        }
        Ok(())
    }

    /// The first of these keys that is there, and where.
    pub(super) fn first_of(&self, keys: &[Key]) -> Option<(&'static str, Position)> {
        let key = |entry: &Entry<'_>| keys.iter().find(|key| key.contains(&entry.key))?.first().copied();
        self.entries.iter().find_map(|entry| Some((key(entry)?, self.source.position(entry.at))))
    }

    /// Returns the position of a key, if it is there.
    pub(super) fn position_of(&self, key: Key) -> Option<Position> {
        self.first_of(&[key]).map(|(_, at)| at)
    }

    fn find(&self, key: Key) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| key.contains(&entry.key))
    }

    /// A problem with the value of a key.
    pub(super) fn wrong(&self, key: Key, problem: Problem) -> ConfigError {
        let at = self.find(key).map_or(self.at, |entry| entry.value.span().start);
        self.source.error(at, problem)
    }

    /// A key that is missing.
    pub(super) fn missing(&self, key: Key, what: &'static str) -> ConfigError {
        self.source.error(self.at, Problem::Missing { table: self.title.clone(), key: proper(key), what })
    }

    fn type_error(&self, what: &str, expected: &'static str, value: &Spanned<DeValue<'_>>) -> ConfigError {
        let problem = Problem::Type { what: what.into(), expected, found: kind(value.get_ref()) };
        self.source.error(value.span().start, problem)
    }

    /// A text.
    pub(super) fn text(&self, key: Key) -> Result<Option<&'a str>, ConfigError> {
        let Some(entry) = self.find(key) else { return Ok(None) };
        match entry.value.get_ref() {
            DeValue::String(text) => Ok(Some(text)),
            _ => Err(self.type_error(proper(key), "a string", entry.value)),
        }
    }

    /// A text of 1 to `max` bytes.
    pub(super) fn short(&self, key: Key, max: usize) -> Result<Option<&'a str>, ConfigError> {
        let text = self.text(key)?;
        match text {
            // A NUL would end it in the reference.
            Some(text) if !(1..=max).contains(&text.len()) || text.contains('\0') => {
                Err(self.wrong(key, Problem::Length { key: proper(key), max }))
            }
            _ => Ok(text),
        }
    }

    /// The path of a file.
    pub(super) fn path(&self, key: Key) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.short(key, MAX_PATH)?.map(PathBuf::from))
    }

    /// Reads a flag; `false` if it is not there.
    pub(super) fn flag(&self, key: Key) -> Result<bool, ConfigError> {
        let Some(entry) = self.find(key) else { return Ok(false) };
        match entry.value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.type_error(proper(key), "true or false", entry.value)),
        }
    }

    /// A number within limits; `unit` as in [`Problem::Range`].
    pub(super) fn number(
        &self,
        key: Key,
        limits: RangeInclusive<u32>,
        unit: &'static str,
    ) -> Result<Option<u32>, ConfigError> {
        let Some(entry) = self.find(key) else { return Ok(None) };
        let DeValue::Integer(number) = entry.value.get_ref() else {
            return Err(self.type_error(proper(key), "an integer", entry.value));
        };
        let read = i64::from_str_radix(number.as_str(), number.radix()).ok().and_then(|n| u32::try_from(n).ok());
        match read.filter(|n| limits.contains(n)) {
            Some(number) => Ok(Some(number)),
            None => {
                let (min, max, value) = (*limits.start(), *limits.end(), quoted(&number.to_string()));
                Err(self.wrong(key, Problem::Range { key: proper(key), value, min, max, unit }))
            }
        }
    }

    /// One of several words. Of words for the same value, the first is the proper one.
    pub(super) fn choice<T: Copy + PartialEq>(
        &self,
        key: Key,
        choices: &[Choice<T>],
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let is_proper = |(word, value): &&Choice<T>| {
                    choices.iter().find(|(_, v)| v == value).is_some_and(|(first, _)| first == word)
                };
                let hint = Hint::new(text, choices.iter().filter(is_proper).map(|(word, _)| *word));
                Err(self.wrong(key, Problem::Choice { key: proper(key), value: quoted(text), hint }))
            }
        }
    }

    /// An address, in the notation of its family.
    pub(super) fn address<A: FromStr + Into<IpAddr>>(
        &self,
        key: Key,
        family: &'static str,
        example: &'static str,
    ) -> Result<Option<A>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(self.wrong(key, Problem::Address { key: proper(key), value: quoted(text), family, example })),
        }
    }

    /// A name.
    pub(super) fn name(&self, key: Key) -> Result<Option<Name>, ConfigError> {
        let Some(entry) = self.find(key) else { return Ok(None) };
        let text = self.text(key)?.unwrap_or_default();
        self.name_of(text, proper(key), entry.value.span().start).map(Some)
    }

    /// Names; none if the key is not there.
    pub(super) fn names(&self, key: Key) -> Result<Vec<Name>, ConfigError> {
        let texts = self.texts(key)?;
        texts.into_iter().map(|(text, at)| self.name_of(text, proper(key), at)).collect()
    }

    /// Texts with their offsets; none if the key is not there.
    pub(super) fn texts(&self, key: Key) -> Result<Vec<(&'a str, usize)>, ConfigError> {
        let Some(entry) = self.find(key) else { return Ok(Vec::new()) };
        let expected = "an array of strings";
        let DeValue::Array(array) = entry.value.get_ref() else {
            return Err(self.type_error(proper(key), expected, entry.value));
        };
        let text = |value: &'a Spanned<DeValue<'a>>| match value.get_ref() {
            DeValue::String(text) => Ok((&**text, value.span().start)),
            _ => Err(self.type_error(proper(key), expected, value)),
        };
        array.iter().map(text).collect()
    }

    fn name_of(&self, text: &str, what: &str, at: usize) -> Result<Name, ConfigError> {
        Name::new(text).map_err(|why| self.source.error(at, Problem::Name { what: what.into(), why }))
    }
}

/// Returns the proper spelling of a key.
pub(super) fn proper(key: Key) -> &'static str {
    key.first().copied().unwrap_or_default()
}

/// Cuts a text to the length that an error quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A key as it is written in the file.
fn as_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if key.is_empty() || !key.chars().all(bare) { format!("{:?}", quoted(key)) } else { quoted(key) }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
