//! Two whole stacks with an Ethernet layer between them, of either framing, and somebody in between who delivers, drops,
//! repeats, damages and makes up frames as the input says, changes the interfaces, while their applications allocate, accept,
//! write, read and close.
//!
//! No panic, no endless poll; tables stay within their bounds; an encrypted flow delivers nothing that was not written;
//! and when the applications have gone and time has passed, nothing is left.
#![no_main]

mod shim;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use o7s::base::buf::{BufCache, PacketBuf};
use o7s::types::device::{Frames, Link, SendError};
use o7s::types::mac::Mac;
use o7s::types::name::{HashAlg, Name};
use o7s::{Eth, IpcpHandle, Stack};
use shim::{MAX_FLOWS, MAX_WAITING, Medium, Packets};

const MAX_DIRECTORY: usize = 4;

/// An interface in memory. The cable has two ends: what one host sends the other receives, whatever it is.
struct Device {
    mac: Mac,
    wire: Arc<Packets<Mac>>,
    inbox: Packets<Mac>,
    state: Mutex<(Mac, usize, Link)>,
}

impl Frames for Device {
    fn mac(&self) -> Mac {
        self.state.lock().unwrap().0
    }

    fn mtu(&self) -> usize {
        self.state.lock().unwrap().1
    }

    fn link(&self) -> Link {
        self.state.lock().unwrap().2
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        assert_eq!(self.link(), Link::Up, "sent on a link that is down");
        if frame.len() > self.mtu() + 14 {
            return Err(SendError::TooLarge);
        }
        let mut wire = self.wire.lock().unwrap();
        if wire.len() >= MAX_WAITING {
            return Err(SendError::Full);
        }
        wire.push_back((self.mac, frame.to_vec()));
        Ok(())
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        let mut inbox = self.inbox.lock().unwrap();
        let n = inbox.len().min(8);
        for (_, bytes) in inbox.drain(..n) {
            let mut data = cache.take(bytes.len());
            data.extend_from_slice(&bytes).unwrap();
            out.push(data);
        }
        n
    }

    fn wait(&self, _timeout: Duration) {}

    fn interrupt(&self) {}
}

fn addr(i: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, i])
}

/// A segment.
struct Segment {
    llc: bool,
}

impl Medium for Segment {
    /// The host that sends.
    type Route = Mac;
    type Device = Device;
    /// Its alarm.
    const TIMERS: usize = 1;

    fn new(choice: u8) -> Self {
        Self { llc: choice & 2 != 0 }
    }

    fn join(&self, number: u8, stack: &Stack, wire: &Arc<Packets<Mac>>) -> (Arc<Device>, IpcpHandle) {
        let (mac, state) = (addr(number), Mutex::new((addr(number), 1400, Link::Up)));
        let device = Arc::new(Device { mac, wire: Arc::clone(wire), inbox: Mutex::default(), state });
        let eth = if self.llc { Eth::llc("eth0") } else { Eth::dix("eth0") };
        let eth = eth.max_flows(MAX_FLOWS).max_directory(MAX_DIRECTORY);
        let net = stack.eth_over(Arc::clone(&device) as Arc<dyn Frames>, eth).unwrap();
        (device, net)
    }

    fn inbox(device: &Device) -> &Packets<Mac> {
        &device.inbox
    }

    fn goes_to(from: Mac, device: &Device) -> bool {
        device.mac != from
    }

    fn make_up(&self, who: usize, last: Option<&[u8]>, u: &mut Unstructured<'_>) -> arbitrary::Result<(Mac, Vec<u8>)> {
        // For management or for the number that was seen last.
        let (from, kind, len): (u8, u8, u8) = u.arbitrary()?;
        let victim = addr(2 - who as u8);
        let dst = if kind & 8 != 0 { Mac::BROADCAST } else { victim };
        let mut bytes = [dst.0, addr(if from & 1 == 0 { 1 + who as u8 } else { from }).0].concat();
        let (head, fixed) = if self.llc { (12, 37) } else { (12, 39) };
        match (kind & 3, last) {
            (0, _) => {}
            (1, Some(last)) => bytes.extend_from_slice(last.get(head..18).unwrap_or_default()),
            _ if self.llc => bytes.extend_from_slice(&[0, 0, 0x80, 0x80, 3]),
            _ => bytes.extend_from_slice(&[0xa0, 0, 0, 0, 0, 0]),
        }
        let start = bytes.len();
        bytes.extend_from_slice(u.bytes(usize::from(len).min(u.len()))?);
        if kind & 4 != 0 && bytes.len() >= start + fixed + 32 {
            bytes[start + if self.llc { 2 } else { 37 }] &= 3;
            let hash = HashAlg::Sha3_256.hash(&Name::new("echo").unwrap());
            bytes[start + fixed..start + fixed + 32].copy_from_slice(hash.as_bytes());
        }
        // Mostly the right length.
        let len = bytes.len().saturating_sub(if self.llc { 14 } else { 18 }) as u16;
        let field = if self.llc { 12 } else { 16 };
        if kind & 16 == 0 && kind & 3 > 1 && bytes.len() >= field + 2 {
            bytes[field..field + 2].copy_from_slice(&len.to_be_bytes());
        }
        Ok((addr(1 + who as u8), bytes))
    }

    fn change(&self, who: usize, device: &Device, u: &mut Unstructured<'_>) -> arbitrary::Result<bool> {
        let (what, value): (u8, u16) = u.arbitrary()?;
        let mut state = device.state.lock().unwrap();
        match what % 4 {
            0 => state.0 = addr(if value & 1 == 0 { 1 + who as u8 } else { value as u8 }),
            1 => state.1 = usize::from(value),
            2 => state.2 = Link::Up,
            _ => state.2 = if value & 1 == 0 { Link::Down } else { Link::Gone },
        }
        Ok(true)
    }

    fn check(layer: &IpcpHandle) {
        assert!(layer.rib().get("directory").unwrap() <= MAX_DIRECTORY as u64);
    }
}

fuzz_target!(|input: &[u8]| shim::run::<Segment>(input));
