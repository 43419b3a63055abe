//! Log records on standard error.

use std::io::Write as _;

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

/// Has records written if `verbose` is not 0, the more the higher it is.
pub(crate) fn install(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
