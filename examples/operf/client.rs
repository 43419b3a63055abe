//! The client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use o7s::{Flow, ReadError, Stack};

use crate::common::rate::{Tally, Wait};
use crate::common::{self, Network, Result, say, stop};
use crate::{Client as Options, NAME, Test};

/// The server gets this time to prepare itself, unless the program ends before.
fn give_time(stack: &Stack) {
    let end = stack.now() + Duration::from_secs(1);
    while stack.now() < end && !stop::requested() {
        thread::park_timeout(end - stack.now());
    }
}

/// When nothing comes back for so long after the last packet was sent, nothing will.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &Options, network: &Network) -> Result<bool> {
    let size = usize::try_from(options.size)?;
    let (stack, flow) = network.connect_to(&options.target, NAME, size)?;
    common::describe(&flow, options.target.name(NAME));
    match flow.write(&options.test.to_packet()) {
        // A program that is to end has closed its flow.
        Err(error) if !stop::requested() => return Err(error.into()),
        _ => flow.flush(),
    }
    give_time(&stack);
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
    common::hang_up(flow)?;
    Ok(received.unwrap_or(sent).packets > 0)
}

fn send(options: &Options, stack: &Stack, flow: &Flow, size: usize) -> Result<Tally> {
    let wait = if options.sleep { Wait::Sleep } else { Wait::Spin };
    options.load.send((stack, flow), size, wait, |packet, number| {
        if let Some(seq) = packet.first_chunk_mut() {
            *seq = (number as u32).to_le_bytes();
        }
    })
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
            Err(ReadError::Closed | ReadError::Reset | ReadError::Down) => return Ok(tally),
            Err(_) if stop::requested() => return Ok(tally),
            Err(error) => return Err(error.into()),
        }
    }
}
