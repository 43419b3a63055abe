//! Faults that are put into a simulated network from outside, for those who watch to catch.

use core::cell::Cell;
use core::time::Duration;

use o7s::sim::{Network, Packet, Verdict};
use o7s::types::id::Eid;
use o7s::wire::dt::{DIRECTORY, FLOW_ALLOCATOR, LayerSizes, Pci};
use o7s::wire::link_state::Lsu;
use o7s::wire::udp::Datagram;

/// Kinds of datagrams between hosts of a unicast layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message by which an N-1 flow is allocated.
    Shim,
    Keepalive,
    LinkState,
    Allocator,
    Directory,
    /// A packet of a flow of the layer, or of a handshake between members.
    Data,
}

/// Only for flows that are neither encrypted nor checked.
pub(crate) fn kind(datagram: &[u8]) -> Kind {
    let Ok(Datagram::Data { payload, .. }) = Datagram::parse(datagram) else { return Kind::Shim };
    if payload.is_empty() {
        return Kind::Keepalive;
    }
    // Addresses have four bytes, of the eight that there are for them in an update.
    let short = |lsu: Lsu| lsu.src.0 <= u64::from(u32::MAX) && lsu.dst.0 <= u64::from(u32::MAX);
    if payload.chunks(Lsu::LEN).all(|message| Lsu::parse(message).is_ok_and(short)) {
        return Kind::LinkState;
    }
    match Pci::parse(LayerSizes::default(), payload) {
        Ok((Pci { eid: FLOW_ALLOCATOR, .. }, _)) => Kind::Allocator,
        Ok((Pci { eid: DIRECTORY, .. }, _)) => Kind::Directory,
        _ => Kind::Data,
    }
}

/// Datagrams of a kind disappear from now on.
pub(crate) fn lose(net: &Network, what: Kind) {
    lose_some(net, what, 1);
}

/// Drops every `nth` datagram of a kind from now on.
pub(crate) fn lose_some(net: &Network, what: Kind, nth: u64) {
    let seen = Cell::new(0u64);
    let decide = move |packet: &Packet<'_>| {
        if kind(packet.data) != what {
            return Verdict::Pass;
        }
        seen.set(seen.get() + 1);
        if seen.get().is_multiple_of(nth) { Verdict::Drop } else { Verdict::Pass }
    };
    net.on_packet(decide).keep();
}

/// Datagrams of a kind take this time from now on.
pub(crate) fn delay(net: &Network, what: Kind, time: Duration) {
    let decide =
        move |packet: &Packet<'_>| if kind(packet.data) == what { Verdict::Deliver(time) } else { Verdict::Pass };
    net.on_packet(decide).keep();
}

/// The packets of [traffic](super::traffic) are changed on their way from now on: `change` is given from whom, to whom,
/// and the number, and whether it is on its way back.
pub(crate) fn forge(net: &Network, change: impl Fn(&mut [u32; 3]) + 'static) {
    const LEN: usize = 12;
    let header = LayerSizes::default().header_len();
    let decide = move |packet: &Packet<'_>| {
        let flow = matches!(Datagram::parse(packet.data), Ok(Datagram::Data { payload, .. })
            if Pci::parse(LayerSizes::default(), payload).is_ok_and(|(pci, _)| pci.eid.0 >= Eid::FIRST_FLOW));
        if kind(packet.data) != Kind::Data || !flow || packet.data.len() < 4 + header + LEN {
            return Verdict::Pass;
        }
        let mut forged = packet.data.to_vec();
        let at = forged.len() - LEN;
        let words: Vec<u32> = forged[at..].chunks(4).map(|w| u32::from_be_bytes(w.try_into().unwrap())).collect();
        let mut words: [u32; 3] = words.try_into().unwrap();
        // Members and numbers are small; what is not is something else.
        if words.iter().any(|word| *word > 1000) {
            return Verdict::Pass;
        }
        change(&mut words);
        forged.truncate(at);
        forged.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        Verdict::Rewrite(forged)
    };
    net.on_packet(decide).keep();
}
