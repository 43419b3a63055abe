//! Onlookers: readers of flows' packets in the clear, and of the keys of encrypted ones. Nobody, unless
//! the program asked for it.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use super::order;
use crate::base::foreign::Panics;
use crate::base::sync::{Mutex, Ordered};
use crate::crypto::SessionKey;
use crate::types::tap::FlowTap;
use crate::wire::pcapng::{PEER_KEY, REFERENCE_KEY};

/// A receiver of flows' keys, a line each.
pub type KeySink = Arc<dyn Fn(&str) + Send + Sync>;

/// The receiver's kind.
#[derive(Clone, Copy)]
pub enum KeyReader {
    /// The program, for as long as the stack lives.
    Program,
    /// A capture, for as long as it runs.
    Capture,
}

/// The onlookers of a node.
#[derive(Default)]
pub(in crate::node) struct Onlookers {
    /// Somebody gets keys.
    tells: AtomicBool,
    keys: Ordered<Mutex<[Option<KeySink>; 2]>, { order::KEYS }>,
    taps: Ordered<Mutex<Option<Arc<dyn FlowTap>>>, { order::TAPS }>,
}

impl Onlookers {
    /// Has `sink` told the keys of the flows that are allocated from now on, or nobody any more.
    pub(in crate::node) fn set_keys(&self, reader: KeyReader, sink: Option<KeySink>) {
        let mut keys = self.keys.lock();
        let before = match (&mut *keys, reader) {
            ([program, _], KeyReader::Program) => core::mem::replace(program, sink),
            ([_, capture], KeyReader::Capture) => core::mem::replace(capture, sink),
        };
        self.tells.store(keys.iter().any(Option::is_some), Ordering::Release);
        drop(keys);
        // The program's own, dropped where nothing is locked.
        drop(before);
    }

    /// Tells whoever wants to know the key of the flow whose request has this `id`.
    pub(in crate::node) fn tell_key(&self, panics: &Panics, id: &[u8], o7s_peer: bool, key: &SessionKey) {
        if !self.tells.load(Ordering::Acquire) {
            return;
        }
        let sinks = self.keys.lock().clone();
        let line = key_line(id, o7s_peer, key);
        for sink in sinks.iter().flatten() {
            panics.call(|| sink(&line));
        }
        panics.discard(sinks);
    }

    /// Has `tap` see the packets of flows that are allocated from now on, or nobody any more.
    pub(in crate::node) fn set_tap(&self, tap: Option<Arc<dyn FlowTap>>) {
        let before = core::mem::replace(&mut *self.taps.lock(), tap);
        drop(before);
    }

    /// The tap of a flow that is being allocated.
    pub(in crate::node) fn tap(&self) -> Option<Arc<dyn FlowTap>> {
        self.taps.lock().clone()
    }
}

/// A line of a key log: label, id of the flow's request, session key.
fn key_line(id: &[u8], o7s_peer: bool, key: &SessionKey) -> Zeroizing<String> {
    let label = if o7s_peer { PEER_KEY } else { REFERENCE_KEY };
    // Room for all of it from the start: a text that grows leaves copies behind.
    let mut line = Zeroizing::new(String::with_capacity(label.len() + 2 + 2 * (id.len() + SessionKey::LEN)));
    line.push_str(label);
    for bytes in [id, key.expose()] {
        line.push(' ');
        for byte in bytes {
            // Writing to memory does not fail.
            let _ = write!(line, "{byte:02x}");
        }
    }
    line
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn keys_are_told_to_those_that_asked() {
        let onlookers = Onlookers::default();
        let (panics, told) = (Panics::default(), Arc::new(Mutex::new(Vec::new())));
        let tell = || onlookers.tell_key(&panics, &[1; 16], true, &SessionKey::from_bytes([0xab; 32]));
        tell();
        for reader in [KeyReader::Program, KeyReader::Capture] {
            let told = Arc::clone(&told);
            onlookers.set_keys(reader, Some(Arc::new(move |line: &str| told.lock().push(String::from(line)))));
        }
        tell();
        onlookers.set_keys(KeyReader::Capture, None);
        tell();
        onlookers.set_keys(KeyReader::Program, None);
        tell();
        let line = alloc::format!("O7S_PEER_SESSION_KEY {} {}", "01".repeat(16), "ab".repeat(32));
        assert_eq!(*told.lock(), [&*line; 3]);
    }

    #[test]
    fn a_sink_that_panics_keeps_nobody_from_a_flow() {
        let (onlookers, panics) = (Onlookers::default(), Panics::default());
        let bad: KeySink = Arc::new(|_: &str| std::panic::resume_unwind(Box::new("a full disk")));
        onlookers.set_keys(KeyReader::Program, Some(bad));
        onlookers.tell_key(&panics, &[1; 16], false, &SessionKey::from_bytes([0; 32]));
        assert_eq!(panics.count(), 1);
    }
}
