//! Devices that become drivers of other crates, which become devices again: no input panics, frames arrive as they were sent,
//! in order and once, and none is sent that is too large or on a link that is down.
#![no_main]

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use o7s::base::buf::{BufCache, BufPool};
use o7s::device::{
    EmbassyDriver, EmbassyFrames, FRAME_HEADER, Frames, Link, Mac, MemoryFrames, SendError, SmoltcpDevice,
    SmoltcpFrames,
};
use o7s::time::ManualClock;

const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

#[derive(Arbitrary, Debug)]
enum Op {
    /// A frame of so many bytes from the adapted end, or to it, so many times.
    Send {
        len: u16,
        times: u8,
    },
    Arrive {
        len: u16,
        times: u8,
    },
    /// All that there is.
    Receive,
    ReceiveThere,
    Mtu(u16),
    Link(u8),
    Mac([u8; 6]),
    Wake,
}

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// Frames under way, and the expected state of the adapted end.
struct Model {
    there: Arc<MemoryFrames>,
    device: Arc<MemoryFrames>,
    adapted: Box<dyn Frames>,
    /// Whether the trait knows addresses and links.
    knows_all: bool,
    notifier: Option<Waker>,
    /// Frames from the adapted end that were taken, and those to it.
    out: VecDeque<Vec<u8>>,
    incoming: VecDeque<Vec<u8>>,
    number: u32,
    /// Frames that did not arrive, and how often the MTU was changed: it is the only reason.
    lost: usize,
    changes: usize,
}

impl Model {
    fn new(knows_all: bool) -> Self {
        let (there, device) = MemoryFrames::pair(A, B);
        let (adapted, notifier): (Box<dyn Frames>, _) = if knows_all {
            let driver = EmbassyDriver::new(device.clone());
            let notifier = driver.notifier();
            let frames = EmbassyFrames::new(driver).expect("it is of Ethernet");
            frames.set_waker(&Waker::from(Arc::new(Nobody)));
            (Box::new(frames), Some(notifier))
        } else {
            let clock = Arc::new(ManualClock::new(0));
            (
                Box::new(SmoltcpFrames::new(SmoltcpDevice::new(device.clone()), B, clock).expect("it is of Ethernet")),
                None,
            )
        };
        let (out, incoming) = (VecDeque::new(), VecDeque::new());
        Self { there, device, adapted, knows_all, notifier, out, incoming, number: 0, lost: 0, changes: 0 }
    }

    fn frame(&mut self, len: u16) -> Vec<u8> {
        self.number = self.number.wrapping_add(1);
        let mut frame = vec![self.number as u8; usize::from(len)];
        frame.iter_mut().zip(self.number.to_be_bytes()).for_each(|(to, from)| *to = from);
        frame
    }

    fn send(&mut self, len: u16) {
        let frame = self.frame(len);
        let (is_up, fits) = (self.device.link() == Link::Up, frame.len() <= self.device.mtu() + FRAME_HEADER);
        match self.adapted.send(&frame) {
            Ok(()) => {
                assert!(is_up && fits, "taken on a link that is {:?}, {} bytes", self.device.link(), frame.len());
                self.out.push_back(frame);
            }
            Err(SendError::InterfaceDown) => assert!(!is_up && self.knows_all),
            Err(SendError::TooLarge) => assert!(!fits),
            Err(SendError::Full) => assert!(!is_up || self.out.len() >= 32, "{} are no queue", self.out.len()),
            Err(error) => panic!("{error}"),
        }
    }

    fn arrive(&mut self, len: u16) {
        let frame = self.frame(len);
        if self.there.send(&frame).is_ok() && self.device.link() == Link::Up {
            self.incoming.push_back(frame);
        }
    }

    fn receive(&mut self) {
        let got = received(&*self.adapted);
        assert!(got.iter().eq(self.incoming.iter()), "{} of {}", got.len(), self.incoming.len());
        self.incoming.clear();
    }

    /// One that waited for room may have become too large, or waits still.
    fn receive_there(&mut self) {
        let mut missing = 0;
        for frame in received(&*self.there) {
            while self.out.pop_front().expect("what was sent") != frame {
                missing += 1;
            }
        }
        self.lost += missing;
        let due = self.lost + self.out.len();
        assert!(due <= 1 + self.changes, "{due} have not arrived");
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Send { len, times } => (0..times).for_each(|_| self.send(len)),
            Op::Arrive { len, times } => (0..times).for_each(|_| self.arrive(len)),
            Op::Receive => self.receive(),
            Op::ReceiveThere => self.receive_there(),
            Op::Mtu(mtu) => {
                self.changes += 1;
                self.device.set_mtu(mtu.into());
            }
            Op::Link(link) => {
                let link = [Link::Up, Link::Down, Link::Gone][usize::from(link % 3)];
                self.device.set_link(link);
                if link != Link::Up {
                    self.incoming.clear();
                }
            }
            Op::Mac(mac) => self.device.set_mac(Mac(mac)),
            Op::Wake => self.notifier.iter().for_each(Waker::wake_by_ref),
        }
        assert_eq!(self.adapted.mtu(), self.device.mtu());
        if self.knows_all {
            assert_eq!(self.adapted.mac(), self.device.mac());
            assert_eq!(self.adapted.link() == Link::Up, self.device.link() == Link::Up);
        }
    }
}

fn received(end: &dyn Frames) -> Vec<Vec<u8>> {
    let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
    while end.recv(&mut out, &mut cache) > 0 {}
    out.iter().map(|frame| frame.to_vec()).collect()
}

fuzz_target!(|input: (bool, Vec<Op>)| {
    let (knows_all, ops) = input;
    let mut model = Model::new(knows_all);
    for op in ops {
        model.apply(op);
    }
    model.receive();
    model.receive_there();
});
