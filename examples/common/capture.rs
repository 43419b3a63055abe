//! Captures to a file, and the keys of encrypted flows.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use o7s::capture::{Capture, CaptureConfig, CaptureStats};
use o7s::{Builder, Stack};

use super::{Result, complain, losses};

/// The file to which keys are appended, if this variable names one.
const KEY_LOG: &str = "O7S_KEYLOGFILE";

static RUNNING: Mutex<Option<Capture>> = Mutex::new(None);
/// Keys that could not be written to that file.
static UNLOGGED: AtomicU64 = AtomicU64::new(0);

fn key_log() -> Option<std::ffi::OsString> {
    std::env::var_os(KEY_LOG).filter(|name| !name.is_empty())
}

/// Has the stack write the keys of its flows where the environment says so.
pub(crate) fn with_key_log(builder: Builder) -> Result<Builder> {
    let Some(name) = key_log() else { return Ok(builder) };
    let file = of_owner(OpenOptions::new().create(true).append(true), Path::new(&name))
        .map_err(|error| format!("{KEY_LOG}={}: {error}", name.display()))?;
    complain(format_args!("warning: keys of encrypted flows are written to {}", name.display()));
    Ok(builder.key_log(move |line| {
        // One write, so that lines of several programs do not mix.
        if (&file).write_all(format!("{line}\n").as_bytes()).is_err() {
            UNLOGGED.fetch_add(1, Ordering::Relaxed);
        }
    }))
}

/// Opens a file that nobody but its owner may read, also if it was there before.
fn of_owner(options: &mut OpenOptions, name: &Path) -> std::io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let file = options.mode(0o600).open(name)?;
        // A pipe, or a device, is as whoever made it wants it.
        if file.metadata()?.is_file() {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(name)
}

/// Captures to a file until the program ends. One that has keys in it is for its owner alone.
pub(crate) fn start(file: &Path, stack: &Stack) -> Result<()> {
    let has_keys = key_log().is_some();
    let sink = if has_keys {
        of_owner(OpenOptions::new().write(true).create(true).truncate(true), file)
    } else {
        File::create(file)
    };
    let sink = sink.map_err(|error| format!("{}: {error}", file.display()))?;
    let capture = stack.capture(sink, CaptureConfig::default().keys(has_keys))?;
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(capture);
    Ok(())
}

/// Writes what is left of the capture, if there is one, and says what is missing in it and in the key log.
pub(crate) fn finish() {
    let capture = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
    let stats = capture.map_or_else(|| Ok(CaptureStats::default()), Capture::stop).unwrap_or_else(|error| {
        complain(format_args!("warning: the capture is not whole: {error}"));
        CaptureStats::default()
    });
    for warning in losses::warnings(&stats, UNLOGGED.swap(0, Ordering::Relaxed)) {
        complain(format_args!("{warning}"));
    }
}
