//! Settings, statistics and errors of captures.

use std::io;

/// Settings of a capture.
///
/// ```
/// use o7s::capture::CaptureConfig;
///
/// // The beginning of each packet, and what is in encrypted flows.
/// let config = CaptureConfig::default().snap(200).flows(true);
/// # let _ = config;
/// ```
#[derive(Clone, Debug)]
pub struct CaptureConfig {
    pub(super) queue: usize,
    pub(super) snap: usize,
    pub(super) flows: bool,
    pub(super) keys: bool,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self { queue: 8 << 20, snap: usize::MAX, flows: false, keys: false }
    }
}

impl CaptureConfig {
    /// Sets how many bytes may wait to be written, at least 64 KiB; twice as many are used. Packets for which there is no
    /// room are not written, and counted. Default: 8 MiB.
    #[must_use]
    pub fn queue(mut self, bytes: usize) -> Self {
        self.queue = bytes.max(64 << 10);
        self
    }

    /// Sets how many bytes of each packet are written, at least 64. Default: all.
    #[must_use]
    pub fn snap(mut self, bytes: usize) -> Self {
        self.snap = bytes.max(64);
        self
    }

    /// Sets whether the packets of flows are written in the clear, too, each flow as an interface of its own: those of
    /// encrypted flows as well, and of flows that pass no device. Of a running stack this concerns the flows that there are
    /// and those that come. Default: `false`.
    #[must_use]
    pub fn flows(mut self, on: bool) -> Self {
        self.flows = on;
        self
    }

    pub(crate) fn has_flows(&self) -> bool {
        self.flows
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.keys
    }

    /// Sets whether the keys of the flows that are allocated while the capture runs are written, too. Whoever has the file
    /// can read these flows, in this and in any other capture. Default: `false`.
    #[must_use]
    pub fn keys(mut self, on: bool) -> Self {
        self.keys = on;
        self
    }
}

/// Statistics of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureStats {
    /// Packets captured.
    pub packets: u64,
    /// Bytes of the file that packets and keys make, the descriptions of their interfaces included.
    pub bytes: u64,
    /// Packets lost for lack of room.
    pub lost: u64,
    /// Keys captured.
    pub keys: u64,
    /// Keys lost for lack of room: the capture does not open their flows.
    pub keys_lost: u64,
}

/// Error of starting a capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// One is running, or has failed and was not stopped yet.
    #[error("a capture is running already: stop it first")]
    Running,
    /// The stack was shut down.
    #[error("the stack was shut down")]
    Down,
    /// The operating system starts no thread for the writer.
    #[error("the operating system starts no thread to write the capture: {0}")]
    Thread(io::Error),
}

impl From<CaptureError> for io::Error {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::Thread(error) => error,
            CaptureError::Running => Self::new(io::ErrorKind::ResourceBusy, error),
            CaptureError::Down => Self::new(io::ErrorKind::NotConnected, error),
        }
    }
}
