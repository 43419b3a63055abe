//! A TCP sender and its receiver, as far as congestion goes: to see what flows do beside it.
//!
//! Packets are numbered and of one size. Reno is RFC 5681 with NewReno (RFC 6582); CUBIC is RFC 9438 with selective
//! acknowledgement (RFC 6675). Delayed acknowledgements, timeouts after RFC 6298 with the least timeout of Linux, 200 ms.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use o7s::device::Datagrams;
use o7s::sim::{Network, UdpSocket};
use o7s::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Reno,
    Cubic,
}

const RTO_MIN: f64 = 0.2;
const DELAYED_ACK: Duration = Duration::from_millis(40);

/// Starts a transfer without end between two ports; what arrives in order is counted, packets.
pub(crate) fn start(net: &Network, from: &str, to: &str, flavour: Flavour, size: usize) -> Rc<Cell<u64>> {
    let (sender, receiver) = (net.udp(from), net.udp(to));
    let count = Rc::new(Cell::new(0));
    net.spawn(receive(net.clone(), receiver, Rc::clone(&count)));
    net.spawn(Sender::new(net.clone(), sender, to, flavour, size).run());
    count
}

async fn receive(net: Network, socket: Arc<UdpSocket>, count: Rc<Cell<u64>>) {
    let (mut next, mut early, mut unacked) = (0u64, BTreeSet::new(), 0);
    let mut peer = None;
    loop {
        let datagram = match (unacked, peer) {
            (1.., Some(to)) => match net.timeout(DELAYED_ACK, socket.receive()).await {
                Ok(datagram) => datagram,
                Err(_) => {
                    acknowledge(&socket, to, next, &early);
                    unacked = 0;
                    continue;
                }
            },
            _ => socket.receive().await,
        };
        peer = Some(datagram.src);
        let seq = u64::from_be_bytes(datagram.data[..8].try_into().unwrap());
        let in_order = seq == next && early.is_empty();
        if seq >= next {
            early.insert(seq);
        }
        while early.remove(&next) {
            next += 1;
        }
        count.set(next);
        unacked += 1;
        if unacked >= 2 || !in_order {
            acknowledge(&socket, datagram.src, next, &early);
            unacked = 0;
        }
    }
}

/// The next number expected, and everything held beyond it: as good as blocks that are repeated.
fn acknowledge(socket: &UdpSocket, to: std::net::SocketAddr, next: u64, early: &BTreeSet<u64>) {
    let mut bytes = next.to_be_bytes().to_vec();
    for seq in early.iter().take(150) {
        bytes.extend_from_slice(&seq.to_be_bytes());
    }
    socket.send(to, &bytes, None).unwrap();
}

/// What CUBIC remembers.
#[derive(Default)]
struct Curve {
    w_max: f64,
    epoch: Option<f64>,
    k: f64,
    w_est: f64,
}

struct Sender {
    net: Network,
    socket: Arc<UdpSocket>,
    to: std::net::SocketAddr,
    flavour: Flavour,
    size: usize,
    una: u64,
    next: u64,
    /// One behind the highest number ever sent.
    top: u64,
    cwnd: f64,
    ssthresh: f64,
    dupacks: u32,
    recover: Option<u64>,
    /// No new recovery begins before this is acknowledged (RFC 6582, 4).
    mark: u64,
    partial: bool,
    sacked: BTreeSet<u64>,
    resent: BTreeSet<u64>,
    curve: Curve,
    srtt: f64,
    rttvar: f64,
    rto: f64,
    deadline: Instant,
    timed: Option<(u64, Instant)>,
    min_rtt: f64,
}

impl Sender {
    fn new(net: Network, socket: Arc<UdpSocket>, to: &str, flavour: Flavour, size: usize) -> Self {
        Self {
            deadline: net.now() + Duration::from_secs(1),
            net,
            socket,
            to: to.parse().unwrap(),
            flavour,
            size,
            una: 0,
            next: 0,
            top: 0,
            cwnd: 10.0,
            ssthresh: f64::INFINITY,
            dupacks: 0,
            recover: None,
            mark: 0,
            partial: false,
            sacked: BTreeSet::new(),
            resent: BTreeSet::new(),
            curve: Curve::default(),
            srtt: 0.0,
            rttvar: 0.0,
            rto: 1.0,
            timed: None,
            min_rtt: f64::INFINITY,
        }
    }

    async fn run(mut self) {
        loop {
            self.fill();
            let wait = self.deadline.since(self.net.now());
            match self.net.timeout(wait, self.socket.receive()).await {
                Ok(datagram) => {
                    let words = datagram.data.chunks(8).map(|w| u64::from_be_bytes(w.try_into().unwrap()));
                    let words: Vec<u64> = words.collect();
                    self.on_ack(words[0], &words[1..]);
                }
                Err(_) => self.on_timeout(),
            }
        }
    }

    fn seconds(&self) -> f64 {
        self.net.now().as_nanos() as f64 / 1e9
    }

    fn transmit(&mut self, seq: u64) {
        let mut bytes = vec![0; self.size];
        bytes[..8].copy_from_slice(&seq.to_be_bytes());
        self.socket.send(self.to, &bytes, None).unwrap();
    }

    fn arm(&mut self) {
        self.deadline = self.net.now() + Duration::from_secs_f64(self.rto);
    }

    /// Sends what the window allows.
    fn fill(&mut self) {
        if self.flavour == Flavour::Cubic && self.recover.is_some() {
            return self.fill_recovery();
        }
        while ((self.next - self.una) as f64) < self.cwnd.floor() {
            self.send_new();
        }
    }

    fn send_new(&mut self) {
        let seq = self.next;
        self.next += 1;
        if self.timed.is_none() && seq >= self.top {
            self.timed = Some((seq, self.net.now()));
        }
        self.top = self.top.max(self.next);
        self.transmit(seq);
    }

    /// NextSeg and SetPipe of RFC 6675.
    fn fill_recovery(&mut self) {
        let highest = self.sacked.iter().rev().nth(2).copied().unwrap_or(0);
        let missing: Vec<u64> =
            (self.una..self.next.min(highest.max(self.una + 1))).filter(|s| !self.sacked.contains(s)).collect();
        let lost = missing.iter().filter(|s| !self.resent.contains(*s)).count();
        let mut pipe = ((self.next - self.una) as usize).saturating_sub(self.sacked.len() + lost);
        for seq in missing.into_iter().filter(|s| !self.resent.contains(s)).collect::<Vec<_>>() {
            if pipe as f64 >= self.cwnd.floor() {
                return;
            }
            self.transmit(seq);
            self.resent.insert(seq);
            self.timed = None;
            pipe += 1;
        }
        while (pipe as f64) < self.cwnd.floor() {
            self.send_new();
            pipe += 1;
        }
    }

    fn on_ack(&mut self, ack: u64, sack: &[u64]) {
        if self.flavour == Flavour::Cubic {
            self.sacked.extend(sack.iter().filter(|s| **s >= ack.max(self.una)));
        }
        if ack > self.una {
            let acked = ack - self.una;
            self.una = ack;
            self.next = self.next.max(ack);
            self.sacked = self.sacked.split_off(&ack);
            self.resent = self.resent.split_off(&ack);
            self.measure(ack);
            // The impatient variant: many holes end in a timeout rather than in as many round trips.
            if !(self.partial && self.flavour == Flavour::Reno) {
                self.arm();
            }
            self.on_new(acked);
        } else if self.next > self.una {
            self.dupacks += 1;
            let enough = self.dupacks == 3 || self.sacked.len() >= 3;
            if self.recover.is_none() && enough && self.una >= self.mark {
                self.enter_recovery();
            } else if self.recover.is_some() && self.flavour == Flavour::Reno {
                self.cwnd += 1.0;
            }
        }
    }

    fn measure(&mut self, ack: u64) {
        let Some((seq, at)) = self.timed.filter(|t| t.0 < ack) else { return };
        self.timed = None;
        if self.resent.contains(&seq) {
            return;
        }
        let rtt = self.net.now().since(at).as_secs_f64();
        self.min_rtt = self.min_rtt.min(rtt);
        if self.srtt == 0.0 {
            (self.srtt, self.rttvar) = (rtt, rtt / 2.0);
        } else {
            self.rttvar += ((rtt - self.srtt).abs() - self.rttvar) / 4.0;
            self.srtt += (rtt - self.srtt) / 8.0;
        }
        self.rto = (self.srtt + 4.0 * self.rttvar).clamp(RTO_MIN, 60.0);
    }

    fn on_new(&mut self, acked: u64) {
        self.dupacks = 0;
        match self.recover {
            Some(end) if self.una > end => {
                self.recover = None;
                self.partial = false;
                self.resent.clear();
                self.cwnd = self.ssthresh;
                self.arm();
            }
            Some(_) => {
                if self.flavour == Flavour::Reno {
                    // A partial acknowledgement: the next hole, and the window deflates.
                    self.partial = true;
                    self.transmit(self.una);
                    self.timed = None;
                    self.cwnd = (self.cwnd - acked as f64 + 1.0).max(1.0);
                }
            }
            // No more for an acknowledgement that fills a gap (RFC 3465).
            None => self.grow(acked.min(2) as f64),
        }
    }

    fn grow(&mut self, acked: f64) {
        if self.cwnd < self.ssthresh {
            self.cwnd += acked;
            return;
        }
        if self.flavour == Flavour::Reno {
            self.cwnd += acked / self.cwnd;
            return;
        }
        let now = self.seconds();
        let (cwnd, curve) = (self.cwnd, &mut self.curve);
        let epoch = *curve.epoch.get_or_insert_with(|| {
            curve.k = ((curve.w_max - cwnd).max(0.0) / 0.4).cbrt();
            curve.w_max = curve.w_max.max(cwnd);
            curve.w_est = cwnd;
            now
        });
        let t = now - epoch + self.srtt - curve.k;
        let target = (0.4 * t.powi(3) + curve.w_max).clamp(cwnd, 1.5 * cwnd);
        let alpha = if curve.w_est >= curve.w_max { 1.0 } else { 0.529 };
        curve.w_est += alpha * acked / cwnd;
        self.cwnd = if curve.w_est > target { curve.w_est.max(cwnd) } else { cwnd + (target - cwnd) * acked / cwnd };
    }

    fn shrink(&mut self) {
        let flight = (self.next - self.una) as f64;
        match self.flavour {
            Flavour::Reno => self.ssthresh = (flight / 2.0).max(2.0),
            Flavour::Cubic => {
                let w = self.cwnd.min(flight);
                self.curve.w_max = if w < self.curve.w_max { w * 0.85 } else { w };
                self.curve.epoch = None;
                self.ssthresh = (w * 0.7).max(2.0);
            }
        }
    }

    fn enter_recovery(&mut self) {
        self.shrink();
        self.recover = Some(self.next);
        self.timed = None;
        self.resent.clear();
        self.resent.insert(self.una);
        self.transmit(self.una);
        self.cwnd = self.ssthresh + if self.flavour == Flavour::Reno { 3.0 } else { 0.0 };
    }

    fn on_timeout(&mut self) {
        if self.next > self.una {
            self.shrink();
            self.cwnd = 1.0;
            self.rto = (self.rto * 2.0).min(60.0);
            self.recover = None;
            self.partial = false;
            self.mark = self.top;
            self.dupacks = 0;
            self.timed = None;
            // Everything is sent again, as slow start lets it.
            self.sacked.clear();
            self.resent.clear();
            self.next = self.una;
        }
        self.arm();
    }
}
