//! Two whole stacks with a UDP layer between them, and somebody in between who delivers, drops, repeats, damages and
//! makes up datagrams as the input says, while their applications allocate, accept, write, read and close.
//!
//! No panic, no endless poll; tables stay within their bounds; an encrypted flow delivers nothing that was not written;
//! and when the applications have gone and time has passed, nothing is left.
#![no_main]

mod shim;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use o7s::base::buf::BufCache;
use o7s::types::device::{Datagram, Datagrams, SendError};
use o7s::types::name::{HashAlg, Name};
use o7s::{IpcpHandle, Stack, Udp4};
use shim::{MAX_FLOWS, MAX_WAITING, Medium, Packets};

/// Whence a datagram comes, and where it goes.
type Route = (SocketAddr, SocketAddr);

/// A socket in memory.
struct Device {
    addr: SocketAddr,
    wire: Arc<Packets<Route>>,
    inbox: Packets<Route>,
}

impl Datagrams for Device {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn max_datagram(&self) -> usize {
        1400
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        let mut wire = self.wire.lock().unwrap();
        for datagram in data.chunks(segment.unwrap_or(data.len()).max(1)) {
            if wire.len() >= MAX_WAITING {
                return Err(SendError::Full);
            }
            wire.push_back(((self.addr, dst), datagram.to_vec()));
        }
        Ok(())
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let mut inbox = self.inbox.lock().unwrap();
        let n = inbox.len().min(8);
        for ((src, _), bytes) in inbox.drain(..n) {
            let mut data = cache.take(bytes.len());
            data.extend_from_slice(&bytes).unwrap();
            out.push(Datagram::new(src, data));
        }
        n
    }

    fn wait(&self, _timeout: Duration) {}

    fn interrupt(&self) {}
}

fn addr(i: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, i], 3435))
}

/// A network.
struct Internet;

impl Medium for Internet {
    type Route = Route;
    type Device = Device;
    const TIMERS: usize = 0;

    fn new(_: u8) -> Self {
        Self
    }

    fn join(&self, number: u8, stack: &Stack, wire: &Arc<Packets<Route>>) -> (Arc<Device>, IpcpHandle) {
        let device = Arc::new(Device { addr: addr(number), wire: Arc::clone(wire), inbox: Mutex::default() });
        let other = addr(3 - number).to_string();
        let udp = Udp4::bind("unused").host("echo", &other).max_flows(MAX_FLOWS);
        let net = stack.udp4_over(Arc::clone(&device) as Arc<dyn Datagrams>, udp).unwrap();
        (device, net)
    }

    fn inbox(device: &Device) -> &Packets<Route> {
        &device.inbox
    }

    fn goes_to((_, dst): Route, device: &Device) -> bool {
        device.addr == dst
    }

    fn make_up(
        &self,
        who: usize,
        last: Option<&[u8]>,
        u: &mut Unstructured<'_>,
    ) -> arbitrary::Result<(Route, Vec<u8>)> {
        // For management or for the EID that was seen last.
        let (from, eid, len): (u8, u8, u8) = u.arbitrary()?;
        let mut bytes = match (eid & 3, last) {
            (0, _) => vec![],
            (1, Some(last)) => last.get(..4).unwrap_or_default().to_vec(),
            _ => vec![0; 4],
        };
        bytes.extend_from_slice(u.bytes(usize::from(len).min(u.len()))?);
        if eid & 4 != 0 && bytes.len() >= 63 {
            bytes[44] = 1;
            bytes[47..63].copy_from_slice(HashAlg::Md5.hash(&Name::new("echo").unwrap()).as_bytes());
        }
        let (victim, other) = (addr(1 + who as u8), addr(2 - who as u8));
        Ok(((if from & 1 == 0 { other } else { addr(from) }, victim), bytes))
    }
}

fuzz_target!(|input: &[u8]| shim::run::<Internet>(input));
