//! The server: a thread a flow.

use std::thread;
use std::time::Duration;

use o7s::{Flow, ReadError, Stack};

use crate::common::{self, Result, rate::Tally, say};
use crate::{NAME, Options, ROOM, Test};

/// A flow on which nothing comes for so long is dropped.
const PATIENCE: Duration = Duration::from_secs(1);
/// A client waits a second between saying what it wants and sending data.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn run(options: &Options) -> Result<bool> {
    let (stack, listener) = options.network.serve(&options.service, NAME)?;
    thread::scope(|scope| {
        for number in 1_u64.. {
            let Some(flow) = common::accept(&listener)? else { break };
            say!("New flow {number}{}.", common::whose(&flow));
            let stack = &stack;
            scope.spawn(move || {
                let told = serve(stack, &flow).unwrap_or_else(|error| error.to_string());
                say!("Flow {number}: {told}");
                common::close(flow);
            });
        }
        Ok(true)
    })
}

/// Serves one flow to its end, and says what came.
fn serve(stack: &Stack, flow: &Flow) -> Result<String> {
    let mut buf = vec![0; ROOM.min(flow.max_write())];
    let len = flow.read_timeout(&mut buf, FIRST_PATIENCE)?;
    let test =
        Test::from_packet(buf.get(..len).unwrap_or_default()).ok_or("the client did not say which test it wants")?;
    let mut tally = Tally::default();
    let (mut first, mut patience) = (None, FIRST_PATIENCE);
    loop {
        let len = match flow.read_timeout(&mut buf, patience) {
            Ok(len) => len,
            Err(ReadError::TimedOut | ReadError::Closed | ReadError::Reset | ReadError::Down) => break,
            Err(error) => return Err(error.into()),
        };
        let now = stack.now();
        tally.count(len);
        tally.time = now.since(*first.get_or_insert(now));
        patience = PATIENCE;
        if test == Test::Bi {
            flow.write(buf.get(..len).unwrap_or_default())?;
        }
    }
    Ok(format!("{tally}"))
}
