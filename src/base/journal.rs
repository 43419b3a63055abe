//! Records for the `log` crate: reports of a stack to its operator.
//!
//! A logger is foreign code: it runs without locks, and one that panics is counted like any other code of others (see
//! [`Panics`](crate::base::foreign::Panics), which owns the journal of its stack). The machines do not log; records are made
//! where their events and decisions surface. Without the feature `log` nothing of this is compiled, and with it a record
//! whose level is off costs one comparison.
//!
//! What a stranger can cause has a token bucket for each [`Place`] and stack. Records beyond it are counted, and the number
//! is told with the next one from there, as `suppressed`.

#[cfg(feature = "log")]
pub use self::on::Journal;

/// Makes one record: where, its level, its keys and values, and its text.
///
/// Numbers are given as `key: value`, everything else, which is shown by its `Display`, as `key = value`.
macro_rules! record {
    ($panics:expr, $place:ident, $level:ident, [$($key:ident $as:tt $value:expr),* $(,)?], $($text:tt)+) => {{
        #[cfg(feature = "log")]
        if $crate::base::journal::is_on(::log::Level::$level) {
            let panics: &$crate::base::foreign::Panics = &$panics;
            panics.journal().write(
                panics,
                $crate::base::journal::Place::$place,
                ::log::Level::$level,
                &[$((stringify!($key), $crate::base::journal::value!($as $value))),*],
                format_args!($($text)+),
            );
        }
        // Arguments count as used, and nothing is evaluated.
        #[cfg(not(feature = "log"))]
        if false {
            let _ = (&$panics, $(&$value,)* format_args!($($text)+));
        }
    }};
}
pub(crate) use record;

#[cfg(feature = "log")]
macro_rules! value {
    (= $value:expr) => {
        ::log::kv::Value::from_display(&$value)
    };
    (: $value:expr) => {
        ::log::kv::Value::from($value)
    };
}
#[cfg(feature = "log")]
pub(crate) use value;

/// Returns `true` if records of this level are wanted.
#[cfg(feature = "log")]
#[inline]
pub(crate) fn is_on(level: log::Level) -> bool {
    level <= log::STATIC_MAX_LEVEL && level <= log::max_level()
}

/// A source of records: their target, which operators filter by, and whether they are limited. Rooms above add their own, as
/// constants of this type.
#[cfg(feature = "log")]
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Counted from 1; 0 is [`Foreign`](Self::Foreign).
    number: usize,
    target: &'static str,
    is_limited: bool,
}

#[cfg(feature = "log")]
#[expect(non_upper_case_globals, reason = "they are written like variants, of which each room knows some")]
impl Place {
    /// Code of others that panicked.
    pub const Foreign: Self = Self::new(0, "o7s::stack", true);

    /// A place that nobody else has the number of: limits are kept by it, so it should be small.
    pub(crate) const fn new(number: usize, target: &'static str, is_limited: bool) -> Self {
        Self { number, target, is_limited }
    }
}

/// Without the feature: nothing.
#[cfg(not(feature = "log"))]
#[derive(Debug, Default)]
pub struct Journal;

#[cfg(not(feature = "log"))]
impl Journal {
    /// The journal of a stack, which is called `name` in records.
    pub fn new(_clock: alloc::sync::Arc<dyn super::time::Clock>, _name: Option<&str>, _is_virtual: bool) -> Self {
        Self
    }
}

#[cfg(feature = "log")]
mod on {
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::fmt;
    use core::time::Duration;

    use log::kv::Value;
    use log::{Level, Metadata, Record};
    use smallvec::SmallVec;

    use super::Place;
    use crate::base::bucket::Bucket;
    use crate::base::foreign::Panics;
    use crate::base::sync::Mutex;
    use crate::base::time::Clock;

    /// Records of one place that are made after a pause without waiting.
    const BURST: u64 = 50;
    /// Records of one place a second.
    const RATE: u64 = 10;

    /// Records of a place that were suppressed.
    #[derive(Clone, Copy, Default)]
    struct Limit {
        bucket: Option<Bucket>,
        suppressed: u64,
    }

    /// Journal of one stack: the name in its records, and their number. The default one is silent.
    #[derive(Default)]
    pub struct Journal(Option<Box<Writer>>);

    struct Writer {
        clock: Arc<dyn Clock>,
        name: Option<Box<str>>,
        /// Time is not that of the logger.
        is_virtual: bool,
        /// By the numbers of their places, as far as records were made there.
        limits: Mutex<Vec<Limit>>,
    }

    impl fmt::Debug for Journal {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_tuple("Journal").field(&self.0.as_ref().map(|writer| &writer.name)).finish()
        }
    }

    impl Journal {
        /// The journal of a stack, which is called `name` in records. `is_virtual`: these carry the time of `clock`.
        pub fn new(clock: Arc<dyn Clock>, name: Option<&str>, is_virtual: bool) -> Self {
            Self(Some(Box::new(Writer { clock, name: name.map(Box::from), is_virtual, limits: Mutex::default() })))
        }

        /// Makes a record, if a logger takes it and it is not one of too many. No lock may be held.
        #[cold]
        #[inline(never)]
        pub fn write(
            &self,
            panics: &Panics,
            place: Place,
            level: Level,
            keys: &[(&str, Value<'_>)],
            text: fmt::Arguments<'_>,
        ) {
            let Some(writer) = &self.0 else { return };
            crate::base::sync::assert_none_held();
            // A logger that uses the stack would otherwise be called for what it does itself, without end.
            let Some(_turn) = Turn::take() else { return };
            let metadata = Metadata::builder().target(place.target).level(level).build();
            if panics.guard(|| log::logger().enabled(&metadata)) != Some(true) {
                return;
            }
            let Some(suppressed) = writer.admit(place) else { return };
            let time = Seconds(writer.clock.now().as_nanos());
            let mut pairs: SmallVec<[(&str, Value<'_>); 12]> = keys.iter().cloned().collect();
            pairs.extend(writer.name.as_deref().map(|name| ("stack", Value::from(name))));
            pairs.extend(writer.is_virtual.then(|| ("time", Value::from_display(&time))));
            pairs.extend((suppressed > 0).then(|| ("suppressed", Value::from(suppressed))));
            let with = |text: fmt::Arguments<'_>| {
                let pairs = &*pairs;
                let record = Record::builder().metadata(metadata.clone()).args(text).key_values(&pairs).build();
                log::logger().log(&record);
            };
            panics.guard(|| match suppressed {
                0 => with(text),
                n => with(format_args!("{text} ({n} similar records suppressed)")),
            });
        }
    }

    impl Writer {
        /// Returns how many before this one were suppressed; `None` if this one is, too.
        fn admit(&self, place: Place) -> Option<u64> {
            if !place.is_limited {
                return Some(0);
            }
            let now = self.clock.now();
            let mut limits = self.limits.lock();
            if limits.len() <= place.number {
                limits.resize(place.number + 1, Limit::default());
            }
            let limit = limits.get_mut(place.number)?;
            let bucket = limit.bucket.get_or_insert_with(|| Bucket::new(now, RATE, BURST));
            if !bucket.is_ready(now) {
                limit.suppressed += 1;
                return None;
            }
            bucket.take(now, 1);
            Some(core::mem::take(&mut limit.suppressed))
        }
    }

    /// Nanoseconds, shown as seconds.
    struct Seconds(u64);

    impl fmt::Display for Seconds {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let time = Duration::from_nanos(self.0);
            write!(f, "{}.{:06}", time.as_secs(), time.subsec_micros())
        }
    }

    /// This thread is in the logger.
    struct Turn;

    #[cfg(feature = "std")]
    std::thread_local! {
        static BUSY: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
    }

    impl Turn {
        /// `None` if the thread is in the logger, or ends.
        fn take() -> Option<Self> {
            #[cfg(feature = "std")]
            if BUSY.try_with(|busy| busy.replace(true)).unwrap_or(true) {
                return None;
            }
            Some(Self)
        }
    }

    impl Drop for Turn {
        fn drop(&mut self) {
            #[cfg(feature = "std")]
            let _ = BUSY.try_with(|busy| busy.set(false));
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::fmt;

    use crate::base::foreign::Panics;

    /// Notes that it was asked for, or shown.
    struct Costly<'a>(&'a Cell<u32>);

    impl fmt::Display for Costly<'_> {
        fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }

    fn made<'a>(cost: &'a Cell<u32>) -> Costly<'a> {
        cost.set(cost.get() + 1);
        Costly(cost)
    }

    #[test]
    fn disabled_records_cost_nothing() {
        // No logger is installed in this process, so that every level is off.
        let (panics, cost) = (Panics::default(), Cell::new(0));
        record!(panics, Datagram, Trace, [bytes = made(&cost)], "{}", made(&cost));
        record!(panics, Stack, Error, [bytes = made(&cost)], "{}", made(&cost));
        assert_eq!(cost.get(), 0);
    }
}
