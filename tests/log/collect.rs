//! A logger that keeps records by the stack they are of, and calls what a test wants called for each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once, PoisonError};

use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata};

/// A record, as a structured consumer has it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) text: String,
    pub(super) keys: BTreeMap<String, String>,
}

impl Record {
    pub(super) fn key(&self, name: &str) -> &str {
        self.keys.get(name).unwrap_or_else(|| panic!("{self:?} has no {name}"))
    }

    /// All of it as text.
    pub(super) fn all(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {} {}", self.target, self.text, keys.join(" "))
    }
}

type Hook = Arc<dyn Fn() + Send + Sync>;

struct Collector {
    records: Mutex<BTreeMap<String, Vec<Record>>>,
    hooks: Mutex<BTreeMap<String, Hook>>,
}

static COLLECTOR: Collector = Collector { records: Mutex::new(BTreeMap::new()), hooks: Mutex::new(BTreeMap::new()) };

struct Keys<'a>(&'a mut BTreeMap<String, String>);

impl<'kvs> VisitSource<'kvs> for Keys<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        assert!(self.0.insert(key.to_string(), value.to_string()).is_none(), "{key} comes twice");
        Ok(())
    }
}

impl Log for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("o7s::")
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut keys = BTreeMap::new();
        record.key_values().visit(&mut Keys(&mut keys)).unwrap();
        let stack = keys.get("stack").cloned().unwrap_or_default();
        let (level, target, text) = (record.level(), record.target().to_owned(), record.args().to_string());
        let record = Record { level, target, text, keys };
        self.records.lock().unwrap_or_else(PoisonError::into_inner).entry(stack.clone()).or_default().push(record);
        let hook = self.hooks.lock().unwrap_or_else(PoisonError::into_inner).get(&stack).cloned();
        if let Some(hook) = hook {
            hook();
        }
    }

    fn flush(&self) {}
}

/// Records are collected from now on, of all levels.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&COLLECTOR).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
}

/// The records of a stack so far, which are forgotten.
pub(super) fn take(stack: &str) -> Vec<Record> {
    COLLECTOR.records.lock().unwrap_or_else(PoisonError::into_inner).remove(stack).unwrap_or_default()
}

/// Has `hook` called for each record of a stack, until what is returned is dropped.
pub(super) fn on_record(stack: &str, hook: impl Fn() + Send + Sync + 'static) -> Hooked {
    COLLECTOR.hooks.lock().unwrap_or_else(PoisonError::into_inner).insert(stack.to_owned(), Arc::new(hook));
    Hooked(stack.to_owned())
}

pub(super) struct Hooked(String);

impl Drop for Hooked {
    fn drop(&mut self) {
        let hook = COLLECTOR.hooks.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        drop(hook);
    }
}
