//! A whole node that is fed with frames: a member of a unicast layer between two neighbours, one of whom allocates flows
//! as it should, while frames arrive over any N-1 flow that are made up, damaged or out of place, N-1 flows come and go,
//! and time passes.
//!
//! No panic, no endless poll; every table within its bound after each step; what the good neighbour sends arrives, once.
#![no_main]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use o7s::ipcp::Component;
use o7s::types::id::{Address, Eid};
use o7s::types::name::NameHash;
use o7s::wire::dht::{Body, Contact, Message as Dht};
use o7s::wire::dt::Pci;
use o7s::wire::fa::FlowReply;
use o7s::wire::link_state::Lsu;
use o7s::{AllocError, QosSpec, aio};

#[path = "../../tests/world/frames.rs"]
mod frames;

use frames::{Frames, Legitimate, NAME, NEIGHBOURS, OWN, Via, hash, packet, packet_with};

/// Longer than the flows' peers may be silent is not what this is about.
const MOST_TIME: Duration = Duration::from_secs(100);
const MOST_CONNECTIONS: usize = 8;
/// What only the good neighbour says.
const MARK: &[u8] = b"from the good neighbour";

struct Run<'a> {
    frames: Frames,
    good: Legitimate,
    others: Vec<Legitimate>,
    asking: Vec<Pin<Box<dyn Future<Output = Result<aio::Flow, AllocError>>>>>,
    connections: usize,
    time: Duration,
    u: Unstructured<'a>,
}

type Made<T> = arbitrary::Result<T>;

impl Run<'_> {
    fn via(&mut self) -> Made<Via> {
        Ok(*self.u.choose(&Via::ALL)?)
    }

    fn address(&mut self) -> Made<Address> {
        Ok(match self.u.int_in_range(0..=7)? {
            0 => Address(0),
            1 => OWN,
            2 => NEIGHBOURS[0],
            3 => NEIGHBOURS[1],
            4 => Address(self.u.arbitrary()?),
            n => Address(0x0d0d_0d00 + n),
        })
    }

    fn eid(&mut self) -> Made<Eid> {
        Ok(match self.u.int_in_range(0..=5)? {
            0 => self.good.remote,
            1 => Eid(self.good.remote.0 ^ 1 << self.u.int_in_range(0..=63)?),
            2 => Eid(self.u.int_in_range(0..=64)?),
            3 => Eid(u64::MAX),
            4 => self.others.last().map_or(Eid(0), |flow| flow.remote),
            _ => Eid(self.u.arbitrary()?),
        })
    }

    fn key(&mut self) -> Made<NameHash> {
        let n: u8 = self.u.arbitrary()?;
        Ok(if n == 0 { hash(NAME) } else { hash(&format!("name {n}")) })
    }

    fn contact(&mut self) -> Made<Contact> {
        Ok(Contact { id: self.key()?, address: self.address()? })
    }

    fn bytes(&mut self) -> Made<Vec<u8>> {
        let len = self.u.int_in_range(0..=200)?;
        Ok(self.u.bytes(len.min(self.u.len()))?.to_vec())
    }

    fn directory_message(&mut self) -> Made<Vec<u8>> {
        let src = self.contact()?;
        let (cookie, key) = (self.u.arbitrary()?, self.key()?);
        let body = match self.u.int_in_range(0..=4)? {
            0 => Body::Store { key, value: self.address()?, expires: self.u.arbitrary()? },
            1 => Body::FindNode { cookie, key },
            2 => Body::FindValue { cookie, key },
            n => {
                let mut contacts = Vec::new();
                for _ in 0..self.u.int_in_range(0..=40)? {
                    contacts.push(self.contact()?);
                }
                let values = vec![self.address()?; self.u.int_in_range(0..=20)?];
                match n {
                    3 => Body::FoundNode { cookie, key, contacts },
                    _ => Body::FoundValue { cookie, key, contacts, values },
                }
            }
        };
        Ok(Dht { src, body }.encode().unwrap_or_default())
    }

    /// A request, perhaps with something wrong in it.
    fn request(&mut self) -> Made<Vec<u8>> {
        let (from, eid) = (self.address()?, self.eid()?);
        let (_, mut request) = self.frames.request(from, eid);
        for _ in 0..self.u.int_in_range(0..=3)? {
            let at = self.u.choose_index(request.len())?;
            request[at] = self.u.arbitrary()?;
        }
        if self.u.ratio(1, 8)? {
            request.truncate(self.u.choose_index(request.len())?);
        }
        Ok(request)
    }

    /// A data-transfer packet for this node: what it is for, and its contents.
    fn frame(&mut self) -> Made<Vec<u8>> {
        Ok(match self.u.int_in_range(0..=7)? {
            0 => self.bytes()?,
            1 => {
                // Raw, with our address where it belongs.
                let mut frame = self.bytes()?;
                let own = packet(OWN, Eid(0), b"");
                frame.iter_mut().zip(&own[..4]).for_each(|(to, from)| *to = *from);
                frame
            }
            2 => {
                let [qos, ttl, ecn] = self.u.arbitrary()?;
                let (dst, eid) = (self.address()?, self.eid()?);
                // The layer's addresses have 32 bits.
                let dst = Address(dst.0 & u64::from(u32::MAX));
                packet_with(Pci { dst, qos, ttl, ecn, eid }, &self.bytes()?)
            }
            3 => packet(OWN, Eid(0), &self.request()?),
            4 => packet(OWN, Eid(0), &self.bytes()?),
            5 => packet(OWN, Eid(1), &self.directory_message()?),
            6 => packet(OWN, Eid(1), &self.bytes()?),
            _ => {
                let (dst, src) = (self.address()?, self.address()?);
                let seqno = if self.u.arbitrary()? { self.u.arbitrary()? } else { self.u.int_in_range(0..=20)? };
                Lsu { dst, src, seqno }.to_bytes().to_vec()
            }
        })
    }

    fn step(&mut self) -> Made<()> {
        match self.u.int_in_range(0..=13)? {
            0..=4 => {
                let (via, frame) = (self.via()?, self.frame()?);
                self.frames.feed(via, &frame);
            }
            5 => {
                let (via, frame) = (self.via()?, self.frame()?);
                let together = vec![&frame[..]; self.u.int_in_range(1..=200)?];
                self.frames.feed_all(via, &together);
            }
            6 => {
                let (r_eid, s_eid, response) = (self.eid()?, self.eid()?, self.u.arbitrary()?);
                let data = self.bytes()?;
                self.frames.reply(FlowReply { r_eid, s_eid, response, data: &data });
            }
            7 => {
                let (eid, ece) = (self.eid()?, self.u.arbitrary()?);
                self.frames.update(eid, ece);
            }
            8 => self.others.extend(self.frames.try_allocate()),
            9 => {
                self.others.pop();
            }
            10 => {
                let data = self.bytes()?;
                let _ = self.good.flow.try_write(&data);
            }
            11 if self.connections < MOST_CONNECTIONS => {
                let component = *self.u.choose(&[Component::DataTransfer, Component::Management])?;
                let peer = self.address()?;
                self.connections += usize::from(self.frames.connect(component, peer).is_ok());
            }
            12 if self.asking.len() < 4 => {
                let (stack, name) = (self.frames.stack.clone(), format!("name {}", self.u.arbitrary::<u8>()?));
                let ask = async move { stack.flow(&name).qos(QosSpec::RAW).alloc_async().await };
                self.asking.push(Box::pin(ask));
            }
            _ => {
                let time = Duration::from_millis(1 << self.u.int_in_range(0..=14)?);
                if self.time + time <= MOST_TIME {
                    self.time += time;
                    self.frames.pass(time);
                }
            }
        }
        let mut cx = Context::from_waker(Waker::noop());
        self.asking.retain_mut(|ask| matches!(ask.as_mut().poll(&mut cx), Poll::Pending));
        Ok(())
    }

    fn check(&mut self) {
        self.frames.poll();
        self.frames.check();
        while let Ok(accepted) = self.frames.listener.try_accept() {
            drop(accepted);
        }
        for via in Via::ALL {
            self.frames.sent(via);
        }
    }

    /// What the good neighbour sends arrives, behind what others may have slipped in under its EID.
    fn good_still_works(&mut self) {
        let mut buf = [0; 2048];
        while self.good.flow.try_read(&mut buf).is_ok() {}
        self.frames.packet(OWN, self.good.remote, MARK);
        self.frames.poll();
        let got = self.good.flow.try_read(&mut buf);
        assert_eq!(got, Ok(MARK.len()), "{}", self.frames.rib());
        assert_eq!(&buf[..MARK.len()], MARK);
        assert!(self.good.flow.try_read(&mut buf).is_err(), "it came twice");
    }
}

fuzz_target!(|data: &[u8]| {
    let mut frames = Frames::new();
    let good = frames.allocate();
    let mut run = Run {
        frames,
        good,
        others: Vec::new(),
        asking: Vec::new(),
        connections: 0,
        time: Duration::ZERO,
        u: Unstructured::new(data),
    };
    while !run.u.is_empty() && run.step().is_ok() {
        run.check();
    }
    run.good_still_works();
    let Run { frames, others, asking, .. } = run;
    drop((others, asking));
    let ipcp = frames.ipcp.clone();
    ipcp.leave();
    frames.stack.shutdown();
});
