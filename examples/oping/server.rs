//! The server: many flows, one set of them, one thread that answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use o7s::time::Instant;
use o7s::{Event, Flow, FlowSet, Listener, ReadError, Stack, Token};

use crate::common::{self, Result, say};
use crate::packet;
use crate::{NAME, Options};

/// A flow on which nothing comes for so long is dropped.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the server looks for such flows.
const SWEEP: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &Options) -> Result<bool> {
    let (stack, listener) = options.network.serve(&options.service, NAME)?;
    say!("Ouroboros ping server started.");
    let server = Server { stack, set: FlowSet::new(), clients: Mutex::default(), over: AtomicBool::new(false) };
    thread::scope(|scope| {
        let answering = scope.spawn(|| server.answer(options.busy));
        let accepted = server.accept(&listener, answering.thread());
        server.over.store(true, Ordering::Release);
        answering.thread().unpark();
        accepted
    })
}

struct Client {
    number: u64,
    flow: Flow,
    heard: Instant,
}

struct Server {
    stack: Stack,
    set: FlowSet,
    clients: Mutex<BTreeMap<Token, Client>>,
    /// No flow is accepted any more.
    over: AtomicBool,
}

impl Server {
    fn clients(&self) -> MutexGuard<'_, BTreeMap<Token, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes flows until there will be no more.
    fn accept(&self, listener: &Listener, answering: &thread::Thread) -> Result<bool> {
        for number in 1.. {
            let Some(flow) = common::accept(listener)? else { break };
            say!("New flow {number}{}.", common::whose(&flow));
            let mut clients = self.clients();
            let token = self.set.add(&flow);
            clients.insert(token, Client { number, flow, heard: self.stack.now() });
            answering.unpark();
        }
        Ok(true)
    }

    fn answer(&self, busy: bool) {
        let mut swept = self.stack.now();
        while !self.over.load(Ordering::Acquire) {
            if self.set.is_empty() {
                thread::park();
                continue;
            }
            let wait = if busy { Duration::ZERO } else { SWEEP };
            for happened in self.set.wait(Some(wait)) {
                match happened.event {
                    Event::Packet => self.answer_flow(happened.token),
                    Event::Deallocated | Event::PeerGone => self.drop_flow(happened.token, "ended"),
                    _ => {}
                }
            }
            if self.stack.now().since(swept) >= SWEEP {
                swept = self.stack.now();
                self.sweep(swept);
            }
        }
    }

    /// Answers everything that has arrived on a flow.
    fn answer_flow(&self, token: Token) {
        let mut buf = [0; packet::MAX];
        let mut clients = self.clients();
        let Some(client) = clients.get_mut(&token) else { return };
        loop {
            match client.flow.try_read(&mut buf) {
                Ok(len) => {
                    client.heard = self.stack.now();
                    let packet = buf.get_mut(..len).unwrap_or_default();
                    // Whoever cannot take answers as fast as it sends requests, loses some.
                    if packet::turn_into_reply(packet) && client.flow.try_write(packet).is_err() {
                        break;
                    }
                }
                Err(ReadError::WouldBlock) => break,
                Err(_) => {
                    drop(clients);
                    return self.drop_flow(token, "ended");
                }
            }
        }
        client.flow.flush();
    }

    fn sweep(&self, now: Instant) {
        let silent = |client: &Client| now.since(client.heard) >= PATIENCE;
        let tokens: Vec<_> = self.clients().iter().filter(|(_, c)| silent(c)).map(|(token, _)| *token).collect();
        for token in tokens {
            self.drop_flow(token, "timed out");
        }
    }

    fn drop_flow(&self, token: Token, why: &str) {
        self.set.remove(token);
        if let Some(client) = self.clients().remove(&token) {
            say!("Flow {} {why}.", client.number);
        }
    }
}
