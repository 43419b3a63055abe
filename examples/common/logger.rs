//! Log records on standard error.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

/// Writes keys and values behind the text.
struct Keys<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Keys<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push_str(&format!(" {key}={value}"));
        Ok(())
    }
}

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut line = format!("{:<5} {}: {};", record.level(), record.target(), record.args());
        let _ = record.key_values().visit(&mut Keys(&mut line));
        // A closed pipe is no reason to fail.
        let _ = writeln!(std::io::stderr().lock(), "{}", line.trim_end_matches(';'));
    }

    fn flush(&self) {}
}

/// Says what a program waits for that nobody has asked to tell more: once for each name that an attempt to reach has
/// failed, and is repeated.
struct Waiting(Mutex<BTreeSet<String>>);

static WAITING: Waiting = Waiting(Mutex::new(BTreeSet::new()));

/// The values of a record that say what is waited for, and why.
#[derive(Default)]
struct Reason {
    name: Option<String>,
    why: Option<String>,
}

impl<'kvs> VisitSource<'kvs> for Reason {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        match key.as_str() {
            "destination" | "name" => self.name = Some(value.to_string()),
            "reason" => self.why = Some(value.to_string()),
            // What is asked again has not answered, or was busy.
            "peer" if self.why.is_none() => self.why = Some(format!("{value} does not answer, or is busy")),
            _ => {}
        }
        Ok(())
    }
}

impl Log for Waiting {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let again = match record.target() {
            "o7s::enroll" | "o7s::unicast" => record.args().to_string().contains(", trying again: "),
            "o7s::flow" => {
                let text = record.args().to_string();
                text.starts_with("request for a flow to ") && text.contains(" repeated at ")
            }
            _ => false,
        };
        let mut reason = Reason::default();
        if !again || record.key_values().visit(&mut reason).is_err() {
            return;
        }
        let Reason { name: Some(name), why: Some(why) } = reason else { return };
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone()) {
            super::complain(format_args!("waiting for \"{name}\": {why}"));
        }
    }

    fn flush(&self) {}
}

/// Says no more what is waited for: what was, is there.
pub(crate) fn is_there() {
    // The records of a program that was asked to tell them go on.
    if VERBOSE.get().is_none() {
        log::set_max_level(LevelFilter::Off);
    }
}

static VERBOSE: OnceLock<()> = OnceLock::new();

/// Has records written if `verbose` is not 0, the more the higher it is. If it is 0, only what is waited for is said, until
/// [`is_there`].
pub(crate) fn install(verbose: u8) {
    let level = match verbose {
        0 => {
            if log::set_logger(&WAITING).is_ok() {
                // Repeated requests are records of this level.
                log::set_max_level(LevelFilter::Debug);
            }
            return;
        }
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let _ = VERBOSE.set(());
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
