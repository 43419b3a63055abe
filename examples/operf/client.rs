//! The client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use o7s::{Flow, ReadError, Stack};

use crate::common::rate::{Pace, Tally, Wait};
use crate::common::{self, Network, Result, say};
use crate::{Client as Options, Test};

/// The server gets this time to prepare itself.
#[allow(clippy::disallowed_methods, reason = "there is nothing to wait for but time")]
fn give_time() {
    thread::sleep(Duration::from_secs(1));
}

/// When nothing comes back for so long after the last packet was sent, nothing will.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &Options, network: &Network) -> Result<bool> {
    let (stack, flow) = network.connect(&options.server_name, options.qos)?;
    let size = usize::try_from(options.size)?;
    if size > flow.max_packet() {
        return Err(
            format!("this flow carries packets of at most {} bytes: use a smaller --size", flow.max_packet()).into()
        );
    }
    flow.write(&options.test.to_packet())?;
    flow.flush();
    give_time();
    let (sent, received) = match options.test {
        Test::Uni => (send(options, &stack, &flow, size)?, None),
        Test::Bi => {
            let done = AtomicBool::new(false);
            thread::scope(|scope| -> Result<_> {
                let receiving = scope.spawn(|| receive(&stack, &flow, size, &done));
                let sent = send(options, &stack, &flow, size);
                done.store(true, Ordering::Release);
                let received = receiving.join().map_err(|_| "the receiver failed")?;
                Ok((sent?, Some(received?)))
            })?
        }
    };
    say!("Sent     {sent}");
    if let Some(received) = received {
        say!("Received {received}");
    }
    common::close(flow);
    Ok(received.unwrap_or(sent).packets > 0)
}

fn send(options: &Options, stack: &Stack, flow: &Flow, size: usize) -> Result<Tally> {
    let mut packet = vec![0; size];
    let start = stack.now();
    let wait = if options.sleep { Wait::Sleep } else { Wait::Spin };
    let pace = Pace::new(start, size, Some(options.rate).filter(|_| !options.flood), wait);
    let end = start + options.duration;
    let mut tally = Tally::default();
    while pace.due_before(end, tally.packets, || stack.now()) {
        if let Some(seq) = packet.first_chunk_mut() {
            *seq = (tally.packets as u32).to_le_bytes();
        }
        flow.write(&packet)?;
        tally.count(size);
    }
    flow.flush();
    tally.time = stack.now() - start;
    Ok(tally)
}

/// Counts what comes back until the sender is done and nothing comes any more.
fn receive(stack: &Stack, flow: &Flow, size: usize, done: &AtomicBool) -> Result<Tally> {
    let mut buf = vec![0; size];
    let mut tally = Tally::default();
    let mut first = None;
    loop {
        match flow.read_timeout(&mut buf, PATIENCE) {
            Ok(len) => {
                let now = stack.now();
                tally.count(len);
                tally.time = now.since(*first.get_or_insert(now));
            }
            Err(ReadError::TimedOut) if done.load(Ordering::Acquire) => return Ok(tally),
            Err(ReadError::TimedOut) => {}
            Err(ReadError::Down) => return Ok(tally),
            Err(error) => return Err(error.into()),
        }
    }
}
