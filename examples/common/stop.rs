//! Early ends of a program: a signal, or an output that takes no more.

use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Why the program ends early.
#[derive(Debug)]
pub(crate) enum Why {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// Whoever read the standard output has gone.
    Pipe,
    /// The standard output takes no more, for instance because a disk is full.
    Output(io::Error),
}

type Hook = Box<dyn FnOnce() + Send>;

static WHY: OnceLock<Why> = OnceLock::new();
static HOOK: Mutex<Option<Hook>> = Mutex::new(None);
/// Held while the hook runs.
static ENDING: Mutex<()> = Mutex::new(());

fn hook() -> MutexGuard<'static, Option<Hook>> {
    HOOK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why the program is to end, if it is.
pub(crate) fn why() -> Option<&'static Why> {
    WHY.get()
}

/// Whether the program is to end.
pub(crate) fn requested() -> bool {
    why().is_some()
}

/// Has `f` called when the program is to end early; it should make blocking calls of the program return. Until then there
/// is nothing to be done in order, and a signal ends the program at once.
pub(crate) fn on_request(f: impl FnOnce() + Send + 'static) {
    *hook() = Some(Box::new(f));
}

/// Forgets what [`on_request`] was given: the program is about to end by itself.
pub(crate) fn is_over() {
    let forgotten = hook().take();
    drop(forgotten);
}

/// Asks the program to end. `false` if nothing is prepared for that.
pub(crate) fn request(why: Why) -> bool {
    // From before anybody can see that the program is to end.
    let ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = hook().take();
    let _ = WHY.set(why);
    let prepared = hook.is_some();
    if let Some(f) = hook {
        f();
    }
    drop(ending);
    prepared
}

/// Waits until what [`on_request`] was given has returned, if it was called: a thread that it wakes must not end the program
/// before everybody was told.
pub(crate) fn settle() {
    drop(ENDING.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Has SIGINT, SIGTERM and, where it is known whether it was ignored, SIGHUP end the program in order; the second one
/// ends it at once.
#[cfg(unix)]
pub(crate) fn watch() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    // A shell without job control has programs in the background ignore SIGINT, and nohup has them ignore SIGHUP: that is
    // to stay so.
    let known = [(SIGINT, false), (SIGTERM, false), (SIGHUP, true)];
    let wanted = known.into_iter().filter(|(signal, or_else)| !is_ignored(*signal).unwrap_or(*or_else));
    let wanted = wanted.map(|(signal, _)| signal);
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let watch = move || {
        for signal in &mut signals {
            if requested() || !request(Why::Signal) {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    };
    let _ = std::thread::Builder::new().name("signals".into()).spawn(watch);
}

/// Whether a signal was ignored when the program was started, where the system says so: on Linux.
#[cfg(unix)]
fn is_ignored(signal: i32) -> Option<bool> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask.checked_shr(signal.unsigned_abs().saturating_sub(1))? & 1 == 1)
}

/// Ends the program as one that does not look after closed pipes: a shell shows status 141.
#[cfg(unix)]
pub(crate) fn end_as_by_sigpipe() -> ! {
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    std::process::exit(141)
}

#[cfg(not(unix))]
pub(crate) fn watch() {}

#[cfg(not(unix))]
pub(crate) fn end_as_by_sigpipe() -> ! {
    std::process::exit(141)
}
