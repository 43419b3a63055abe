//! Fragments in every order, and each of them lost.

use alloc::vec;
use alloc::vec::Vec;

use super::messages::{MESSAGE, cache, config, sent, take};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::frct::{Frct, Part, fragments};
use crate::wire::frct::{Flags, Pci};

/// All orders of the numbers below `n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let with = |order: Vec<usize>, at: usize| [&order[..at], &[n - 1], &order[at..]].concat();
    orders(n - 1).into_iter().flat_map(|order| (0..n).map(move |at| with(order.clone(), at))).collect()
}

fn part(at: usize, of: usize) -> Part {
    match at {
        0 => Part::First,
        at if at + 1 == of => Part::Last,
        _ => Part::Middle,
    }
}

#[test]
fn fragments_in_any_order_make_the_message_once() {
    assert_eq!(orders(7).len(), 5040);
    for (n, order) in (2..=7).flat_map(|n| orders(n).into_iter().map(move |order| (n, order))) {
        let (now, mut cache) = (Instant::ZERO, cache());
        let mut frct = Frct::new(config(true), 1);
        take(&mut frct, now, 0, Part::Whole, 1, &mut cache);
        assert!(frct.deliver(now, &mut cache).is_some(), "the run has begun");
        for at in &order {
            assert!(!frct.can_deliver(), "{order:?}");
            take(&mut frct, now, 1 + *at as u32, part(*at, n), 10 + at, &mut cache);
        }
        let message: Vec<u8> = (0..n).flat_map(|at| vec![1 + at as u8; 10 + at]).collect();
        assert_eq!(frct.deliver(now, &mut cache).unwrap()[..], message, "{order:?}");
        // Copies that come late are of nothing that is still open.
        for at in &order {
            take(&mut frct, now, 1 + *at as u32, part(*at, n), 10 + at, &mut cache);
        }
        assert_eq!((frct.can_deliver(), frct.held()), (false, 0), "{order:?}");
    }
}

/// Two ends that reach each other at once. What `loses` says of a packet of the first does not arrive. Returns the message
/// that the second reads.
fn carry(message: &[u8], fragment: usize, mut loses: impl FnMut(&Pci) -> bool) -> Vec<u8> {
    let (mut now, mut cache) = (Instant::from_millis(1), cache());
    let mut ends = [1, 1 << 20].map(|isn| Frct::new(config(true), isn));
    for (part, bytes) in fragments(message, fragment) {
        ends[0].push(now, PacketBuf::copy_of(bytes), part);
    }
    for _ in 0..10_000 {
        let mut quiet = true;
        for from in [0, 1] {
            for packet in sent(&mut ends[from], now) {
                quiet = false;
                let lost = from == 0 && Pci::parse(&packet).is_ok_and(|pci| loses(&pci));
                if !lost {
                    ends[1 - from].handle_packet(now, PacketBuf::copy_of(&packet), &mut cache);
                }
            }
        }
        if let Some(read) = ends[1].deliver(now, &mut cache) {
            return read.to_vec();
        }
        if quiet {
            now = ends.iter().filter_map(Frct::next_deadline).min().expect("something to wait for").max(now);
            ends.iter_mut().for_each(|end| end.handle_timeout(now, &mut cache));
        }
    }
    panic!("nothing was read");
}

#[test]
fn whichever_fragment_is_lost_is_sent_again_as_what_it_is() {
    const FRAGMENT: usize = 1000;
    for size in [FRAGMENT + 1, 2 * FRAGMENT - 1, 2 * FRAGMENT, 2 * FRAGMENT + 1, MESSAGE - 1, MESSAGE] {
        let message: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
        let count = size.div_ceil(FRAGMENT);
        for lost in 0..count {
            let (mut first, mut dropped) = (None, 0);
            let read = carry(&message, FRAGMENT, |pci| {
                if !pci.flags.contains(Flags::DATA) {
                    return false;
                }
                let at = pci.seqno - *first.get_or_insert(pci.seqno);
                let loses = dropped == 0 && at == lost as i32;
                dropped += u32::from(loses);
                loses
            });
            assert!(read == message, "{size} bytes without fragment {lost}");
            assert_eq!(dropped, 1);
        }
    }
}
