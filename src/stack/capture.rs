//! Captures of a running stack.

use std::io::Write;
use std::sync::Arc;

use super::Stack;
use crate::base::journal::record;
use crate::capture::{Capture, CaptureConfig, CaptureError, FlowRecorder, Tap};
use crate::node::KeyReader;

impl Stack {
    /// Writes what passes the stack's devices to `sink`, as pcapng, until the capture that this returns is stopped or
    /// dropped. The [module](crate::capture) says what is written, and what the risks are.
    ///
    /// In a threaded stack a thread writes, and a `sink` that is slow costs packets in the file, never the flows. In a polled
    /// one [`poll`](Self::poll) writes, and waits for it.
    ///
    /// # Errors
    /// [`CaptureError::Running`] if there is a capture of this stack, [`CaptureError::Down`] if it was shut down,
    /// [`CaptureError::Thread`] if the operating system starts no thread.
    pub fn capture(&self, sink: impl Write + Send + 'static, config: CaptureConfig) -> Result<Capture, CaptureError> {
        let (node, tap) = (&self.shared.node, &self.shared.tap);
        if node.is_down() {
            return Err(CaptureError::Down);
        }
        let (flows, keys) = (config.has_flows(), config.has_keys());
        let capture = match &self.shared.background {
            Some(_) => tap.capture(sink, config),
            None => tap.capture_polled(sink, config),
        }?;
        if flows {
            record!(node.panics(), Stack, Warn, [], "packets of encrypted flows are captured in the clear");
            node.set_tap(Some(FlowRecorder::new(tap)));
        }
        if keys {
            record!(node.panics(), Stack, Warn, [], "keys of encrypted flows are written to a capture");
            let (tap, session) = (Arc::clone(tap), capture.session());
            node.set_keys(KeyReader::Capture, Some(Arc::new(move |line: &str| tap.record_key(session, line))));
        }
        record!(node.panics(), Stack, Info, [], "capture started");
        let node = Arc::downgrade(node);
        Ok(capture.at_end(move || {
            let Some(node) = node.upgrade() else { return };
            node.set_tap(None);
            node.set_keys(KeyReader::Capture, None);
            record!(node.panics(), Stack, Info, [], "capture ended");
        }))
    }

    /// The switch of the stack's captures, for devices that the stack does not know of: those of a
    /// [layer of one's own](Self::add), in a [`Pcap`](crate::capture::Pcap).
    pub fn tap(&self) -> &Arc<Tap> {
        &self.shared.tap
    }
}

/// A program's receiver of key log lines.
pub(super) type KeyLog = Arc<dyn Fn(&str) + Send + Sync>;

/// Has the program told keys, which the log is told in turn.
pub(super) fn tell_keys(node: &crate::node::Node, key_log: Option<KeyLog>) {
    if key_log.is_some() {
        record!(
            node.panics(),
            Stack,
            Warn,
            [],
            "keys of encrypted flows are handed to the program: whoever gets them can read these flows"
        );
        node.set_keys(KeyReader::Program, key_log);
    }
}
