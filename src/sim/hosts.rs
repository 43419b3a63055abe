//! Hosts: polled stacks that the network drives.

use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Weak};

use super::socket::SocketState;
use crate::base::sync::Mutex;
use crate::base::time::Instant;

/// A stack without threads: it does something only when it is polled.
pub(super) trait Polled: Send + Sync {
    /// Does everything that is due at `now`, takes in everything that has arrived, and returns when it wants to be polled
    /// again at the latest, if at all.
    fn poll(&self, now: Instant) -> Option<Instant>;

    /// Sets the callback for a call of the application that made work or an earlier deadline than the last
    /// [`poll`](Self::poll) returned. It may be called at any time and does not poll by itself.
    fn set_wake(&self, wake: Arc<dyn Fn() + Send + Sync>);
}

/// A host of a [`Network`](super::Network).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(super) u32);

/// The hosts to be polled, each at most once, in the order of their requests.
#[derive(Debug, Default)]
struct Woken(Mutex<VecDeque<HostId>>);

/// Asks for a host to be polled.
#[derive(Debug)]
pub(super) struct HostWaker {
    id: HostId,
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl HostWaker {
    pub(super) fn wake(&self) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken.0.lock().push_back(self.id);
        }
    }
}

struct Host {
    name: String,
    /// `None` when it has crashed.
    stack: Option<Arc<dyn Polled>>,
    deadline: Option<Instant>,
    waker: Arc<HostWaker>,
    sockets: Vec<Weak<SocketState>>,
}

/// All hosts.
#[derive(Default)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    deadlines: BTreeSet<(Instant, HostId)>,
    woken: Arc<Woken>,
}

/// A poll of one host, which borrows none of the others.
pub(super) struct Turn {
    pub(super) stack: Arc<dyn Polled>,
    pub(super) unread: usize,
}

impl Hosts {
    /// Adds a host; it is polled for the first time as soon as possible.
    pub(super) fn add(&mut self, name: &str, stack: Arc<dyn Polled>) -> (HostId, Arc<HostWaker>) {
        let id = HostId(self.hosts.len() as u32);
        let waker = Arc::new(HostWaker { id, queued: AtomicBool::new(false), woken: Arc::clone(&self.woken) });
        self.hosts.push(Host {
            name: name.into(),
            stack: Some(stack),
            deadline: None,
            waker: Arc::clone(&waker),
            sockets: Vec::new(),
        });
        waker.wake();
        (id, waker)
    }

    /// Gives a socket to a host: what arrives there wakes it.
    pub(super) fn own(&mut self, id: HostId, socket: &Arc<SocketState>) {
        if let Some(host) = self.get_mut(id) {
            host.sockets.push(Arc::downgrade(socket));
            socket.set_host(Arc::clone(&host.waker));
        }
    }

    /// Returns the addresses of a host's sockets.
    pub(super) fn addresses(&self, id: HostId) -> Vec<SocketAddr> {
        let sockets = self.hosts.get(id.0 as usize).map(|host| &host.sockets);
        sockets.into_iter().flatten().filter_map(|s| Some(s.upgrade()?.addr())).collect()
    }

    /// Takes a host out of the world at once: never polled again, its sockets dead.
    pub(super) fn crash(&mut self, id: HostId) -> Option<Arc<dyn Polled>> {
        self.set_deadline(id, None);
        let host = self.get_mut(id)?;
        for socket in host.sockets.drain(..).filter_map(|s| s.upgrade()) {
            socket.close();
        }
        host.stack.take()
    }

    /// Returns the number of hosts of a name, crashed ones included.
    pub(super) fn named(&self, name: &str) -> usize {
        self.hosts.iter().filter(|h| h.name == name).count()
    }

    /// Returns the number of hosts that wait to be polled.
    pub(super) fn woken(&self) -> usize {
        self.woken.0.lock().len()
    }

    /// The next host to be polled.
    pub(super) fn next_woken(&mut self) -> Option<(HostId, Option<Turn>)> {
        let id = self.woken.0.lock().pop_front()?;
        let turn = self.get_mut(id).and_then(|host| {
            host.waker.queued.store(false, Ordering::Relaxed);
            let stack = Arc::clone(host.stack.as_ref()?);
            Some(Turn { stack, unread: host.unread() })
        });
        Some((id, turn))
    }

    /// Takes note of the result of a poll at `now`.
    pub(super) fn polled(&mut self, now: Instant, id: HostId, deadline: Option<Instant>, unread_before: usize) {
        let Some(host) = self.get_mut(id).filter(|h| h.stack.is_some()) else { return };
        // A bounded poll may leave datagrams for the next one, but one that reads nothing will not do better.
        let unread = host.unread();
        if unread > 0 && unread < unread_before || deadline.is_some_and(|d| d <= now) {
            host.waker.wake();
        }
        self.set_deadline(id, deadline.filter(|&d| d > now && d != Instant::FAR_FUTURE));
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|d| d.0)
    }

    /// Wakes the hosts whose deadline has come.
    pub(super) fn wake_due(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.set_deadline(id, None);
            if let Some(host) = self.get_mut(id) {
                host.waker.wake();
            }
        }
    }

    /// Lets go of all hosts. To be dropped when nothing is borrowed: a stack does things when it is dropped.
    pub(super) fn clear(&mut self) -> Vec<Arc<dyn Polled>> {
        self.deadlines.clear();
        self.hosts.iter_mut().filter_map(|h| h.stack.take()).collect()
    }

    /// Name, deadline and unread datagrams of each host, for a report.
    pub(super) fn describe(&self) -> Vec<String> {
        let line = |(i, host): (usize, &Host)| {
            let state = match (&host.stack, host.deadline) {
                (None, _) => "crashed".into(),
                (Some(_), None) => "no deadline".into(),
                (Some(_), Some(at)) => format!("next deadline {at:?}"),
            };
            format!("host {i} \"{}\": {state}, {} datagrams unread", host.name, host.unread())
        };
        self.hosts.iter().enumerate().map(line).collect()
    }

    fn get_mut(&mut self, id: HostId) -> Option<&mut Host> {
        self.hosts.get_mut(id.0 as usize)
    }

    fn set_deadline(&mut self, id: HostId, deadline: Option<Instant>) {
        let Some(host) = self.hosts.get_mut(id.0 as usize) else { return };
        if host.deadline == deadline {
            return;
        }
        if let Some(old) = host.deadline {
            self.deadlines.remove(&(old, id));
        }
        if let Some(new) = deadline {
            self.deadlines.insert((new, id));
        }
        host.deadline = deadline;
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.describe()).finish()
    }
}

impl Host {
    fn unread(&self) -> usize {
        self.sockets.iter().filter_map(Weak::upgrade).map(|s| s.unread()).sum()
    }
}
