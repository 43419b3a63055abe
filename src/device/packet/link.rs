//! The interface behind a packet socket: what it is like, and how that is followed.
//!
//! The kernel tells by routing netlink that something has changed about some interface; what it is, is then asked of the
//! packet socket itself, so there is nothing to parse. Without netlink, in a sandbox for instance, it is asked now and
//! then.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use rustix::net::{bind, netdevice, recv, socket_with};

use super::sys;
use crate::base::sync::{AtomicU64, Mutex};
use crate::types::device::Link;
use crate::types::mac::Mac;

/// Changes of interfaces, of the kernel's multicast groups of routing netlink: `RTMGRP_LINK`.
const LINKS: u32 = 1;
/// The protocol that stands for all: `ETH_P_ALL`.
pub(super) const ALL: u16 = 3;
/// Messages of the kernel that are taken in one go, at most.
const MESSAGES: usize = 1000;

/// An interface. What is known of it may be read by anybody at any time.
pub(super) struct Interface {
    /// As it was called when the socket was opened: one of this name takes its place if it is deleted.
    name: String,
    /// The protocol of the frames that the socket receives.
    protocol: u16,
    index: AtomicI32,
    mac: AtomicU64,
    mtu: AtomicUsize,
    link: AtomicU8,
    /// One thread at a time asks and notes: of two, the one that asked first could be the last to note.
    looking: Mutex<()>,
    /// Tells of changes.
    changes: Option<OwnedFd>,
}

impl Interface {
    /// Binds `socket`, which has no protocol yet, to the interface of this name.
    ///
    /// # Errors
    /// The operating system's; `Unsupported` if the interface is none of Ethernet.
    pub(super) fn bind(socket: BorrowedFd<'_>, name: &str, protocol: u16) -> io::Result<Self> {
        // Before anything is asked, so that no change is missed.
        let changes = watch().ok();
        let interface = Self {
            name: name.to_owned(),
            protocol,
            index: AtomicI32::new(-1),
            mac: AtomicU64::new(0),
            mtu: AtomicUsize::new(0),
            link: AtomicU8::new(Link::Gone as u8),
            looking: Mutex::new(()),
            changes,
        };
        interface.attach(socket)?;
        let bound = sys::bound(socket)?;
        let has_address = bound.mac.is_some_and(|mac| mac != Mac([0; 6]) || bound.hardware == libc::ARPHRD_LOOPBACK);
        if !has_address || !matches!(bound.hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "not an Ethernet interface, or it has no address"));
        }
        interface.note(socket, bound)?;
        Ok(interface)
    }

    /// Binds the socket to the interface that has the name now.
    fn attach(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let index = netdevice::name_to_index(socket, &self.name)?;
        let index = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidData)?;
        sys::bind(socket, index, self.protocol)?;
        if self.protocol == ALL { sys::be_promiscuous(socket, index) } else { Ok(()) }
    }

    /// Remembers what is true of the interface now.
    fn note(&self, socket: BorrowedFd<'_>, bound: sys::Bound) -> io::Result<()> {
        let name = netdevice::index_to_name(socket, bound.index.unsigned_abs())?;
        let (mtu, flags) = sys::mtu_and_flags(socket, &name)?;
        let works = libc::IFF_UP | libc::IFF_RUNNING;
        let link = if flags & works == works { Link::Up } else { Link::Down };
        self.mac.store(bound.mac.unwrap_or(Mac([0; 6])).to_bits(), Ordering::Relaxed);
        self.mtu.store(mtu, Ordering::Relaxed);
        self.index.store(bound.index, Ordering::Relaxed);
        self.link.store(link as u8, Ordering::Release);
        Ok(())
    }

    /// Looks at the interface again; if it is gone, for another one of its name.
    pub(super) fn look(&self, socket: BorrowedFd<'_>) {
        let _turn = self.looking.lock();
        let bound = |socket| sys::bound(socket).ok().filter(|bound| bound.index > 0 && bound.mac.is_some());
        let now = bound(socket).or_else(|| {
            self.attach(socket).ok()?;
            bound(socket)
        });
        // One that is renamed or deleted between two questions is looked at again: the kernel tells of that, too.
        if now.is_none_or(|now| self.note(socket, now).is_err()) {
            self.link.store(Link::Gone as u8, Ordering::Release);
        }
    }

    /// Returns `true` if the kernel has told of changes since the last call, of any interface.
    pub(super) fn has_changes(&self) -> bool {
        let Some(changes) = &self.changes else { return true };
        let (mut told, mut buf) = (false, [0_u8; 64]);
        for _ in 0..MESSAGES {
            // What is in a message does not matter, nor that some may have been lost.
            match recv(changes, &mut buf, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok(_) | Err(Errno::NOBUFS) => told = true,
                Err(_) => break,
            }
        }
        told
    }

    /// The descriptor that is readable when the kernel tells of changes.
    pub(super) fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.changes.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn index(&self) -> i32 {
        self.index.load(Ordering::Relaxed)
    }

    pub(super) fn mac(&self) -> Mac {
        Mac::from_bits(self.mac.load(Ordering::Relaxed))
    }

    pub(super) fn mtu(&self) -> usize {
        self.mtu.load(Ordering::Relaxed)
    }

    pub(super) fn link(&self) -> Link {
        [Link::Up, Link::Down].into_iter().find(|l| *l as u8 == self.link.load(Ordering::Acquire)).unwrap_or(Link::Gone)
    }
}

/// A socket that has something to read when an interface changes.
fn watch() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // NETLINK_ROUTE is 0, the protocol that is used if none is named.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, LINKS))?;
    Ok(socket)
}
