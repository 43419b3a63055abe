//! Congestion avoidance: no levels, reports, packets and pauses panic, make a sender wait for ever, or give it more in flight
//! than one that had all of its packets delivered.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use o7s::base::time::Instant;
use o7s::forward::ca::{Feedback, Pacer, Receiver};
use o7s::types::layer::CongestionAvoidance;

#[derive(Arbitrary, Debug)]
enum Op {
    Pass(u32),
    Send(u16),
    Level(u16),
    Report {
        delivered: u32,
        marks: u32,
        answer: Option<u32>,
    },
    /// What the receiver that had all packets says, with this mark on each since.
    Honest {
        mark: u8,
        answer: bool,
    },
    Ask,
}

#[derive(Arbitrary, Debug)]
struct Input {
    reports: bool,
    ops: Vec<Op>,
}

fuzz_target!(|input: Input| {
    let feedback = if input.reports { Feedback::Reports } else { Feedback::Levels };
    let mut now = Instant::from_millis(1);
    let mut pacer = Pacer::new(now, CongestionAvoidance::MbEcn, feedback);
    let mut receiver = Receiver::new(CongestionAvoidance::MbEcn, feedback);
    let (mut on_way, mut asked) = (0_u32, None);
    for op in input.ops {
        match op {
            Op::Pass(nanos) => now += Duration::from_nanos(u64::from(nanos) * 8),
            Op::Send(len) => match pacer.may_send(now) {
                Ok(()) => {
                    pacer.sent(now, len.into());
                    on_way += 1;
                }
                Err(at) => assert!(at > now && at <= now + Duration::from_secs(130)),
            },
            Op::Level(level) => pacer.update(now, level),
            Op::Report { delivered, marks, answer } => pacer.report(now, delivered, marks, answer),
            Op::Honest { mark, answer } => {
                for _ in 0..core::mem::take(&mut on_way) {
                    if let Some(level) = receiver.delivered(now, mark) {
                        pacer.update(now, level);
                    }
                }
                let (delivered, marks) = receiver.report(now);
                pacer.report(now, delivered, marks, asked.take().filter(|_| answer));
            }
            Op::Ask => asked = pacer.ask(now).or(asked),
        }
        assert!(pacer.rate() > 0 && pacer.level() <= 8191);
    }
});
