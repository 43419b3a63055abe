use proptest::prelude::*;

use super::*;

const NEXT: Seq = Seq(0xffff_fff0);

fn of(seq: Seq, offset: u32, total: u32) -> PieceOf {
    PieceOf { seq, part: Part::Whole, offset, total }
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// The memory that is held, counted anew.
fn held(pieces: &Pieces) -> usize {
    pieces.open.iter().map(Open::bytes).sum()
}

/// Offset and data of the pieces of a packet, each of `len` bytes.
fn cut(packet: &[u8], len: usize) -> impl DoubleEndedIterator<Item = (u32, &[u8])> {
    packet.chunks(len).enumerate().map(move |(n, bytes)| ((n * len) as u32, bytes)).collect::<Vec<_>>().into_iter()
}

#[test]
fn pieces_that_nobody_sends_are_not_sound() {
    assert!(is_sound(0, 1000, 64) && is_sound(640, 1000, 64) && is_sound(999, 1000, 1));
    for (offset, total, len) in [
        // As if a byte here and there were a packet.
        (0, 1000, 63),
        (17, 1 << 20, 17),
        (0, (1 << 16) + 1, 1000),
        // All of it, nothing, and more than there is.
        (0, 1000, 1000),
        (1000, 1000, 0),
        (937, 1000, 64),
        // Not where pieces of this length begin.
        (100, 1000, 64),
        (u32::MAX, 1000, 64),
        (0, 0, 0),
    ] {
        assert!(!is_sound(offset, total, len), "{offset} {total} {len}");
    }
}

#[test]
fn a_piece_costs_what_it_has_brought() {
    let mut pieces = Pieces::default();
    let small = data(PIECE_MIN);
    assert!(pieces.insert(NEXT, of(NEXT, 0, 1 << 16), &small).is_none());
    assert!(pieces.bytes() < 2 * PIECE_MIN + size_of::<Open>(), "{}", pieces.bytes());
    assert_eq!(pieces.bytes(), held(&pieces));
}

#[test]
fn a_flood_of_first_pieces_is_bounded() {
    for len in [PIECE_MIN, 1200, 30_000] {
        let (mut pieces, piece) = (Pieces::default(), data(len));
        for n in 0..10_000 {
            assert!(pieces.insert(NEXT, of(NEXT + 1 + n % 4000, 0, 60_000), &piece).is_none());
            assert!(pieces.bytes() <= BYTES_MAX && pieces.open.len() <= OPEN_MAX);
            assert_eq!(pieces.bytes(), held(&pieces));
        }
        // What the flow waits for has room all the same.
        let packet = data(60_000);
        let whole = cut(&packet, 1000).find_map(|(at, bytes)| pieces.insert(NEXT, of(NEXT, at, 60_000), bytes));
        assert_eq!(whole.unwrap()[..], packet);
        pieces.drop_before(NEXT + 5000);
        assert_eq!((pieces.bytes(), pieces.is_empty()), (0, true));
    }
}

#[test]
fn pieces_that_contradict_make_no_packet() {
    let packet = data(1000);
    let insert = |pieces: &mut Pieces, of: PieceOf| {
        // The one from another cut is shorter.
        let (at, len) = (of.offset as usize, if of.offset == 200 { 200 } else { 300 });
        pieces.insert(NEXT, of, &packet[at..(at + len).min(1000)])
    };
    for other in [
        // Another length, another part of the message, another cut.
        of(NEXT, 300, 1001),
        PieceOf { part: Part::First, ..of(NEXT, 300, 1000) },
        of(NEXT, 200, 1000),
    ] {
        let mut pieces = Pieces::default();
        assert!(insert(&mut pieces, of(NEXT, 0, 1000)).is_none());
        assert!(insert(&mut pieces, other).is_none());
        for at in [300, 600, 900] {
            assert!(insert(&mut pieces, of(NEXT, at, 1000)).is_none(), "{other:?}");
        }
        // A transmission of which every piece comes makes it, whatever there was before.
        assert_eq!(insert(&mut pieces, of(NEXT, 0, 1000)).unwrap()[..], packet);
        assert_eq!((pieces.bytes(), pieces.is_empty()), (0, true));
    }
}

#[test]
fn the_ends_of_several_cuts_make_no_packet() {
    let (mut pieces, packet) = (Pieces::default(), data(1400));
    for at in [852, 996, 1068, 1104] {
        assert!(pieces.insert(NEXT, of(NEXT, at, 1400), &packet[at as usize..]).is_none(), "{at}");
        assert_eq!(pieces.open[0].pieces.len(), 1);
    }
    let whole = cut(&packet, 700).find_map(|(at, bytes)| pieces.insert(NEXT, of(NEXT, at, 1400), bytes));
    assert_eq!(whole.unwrap()[..], packet);
    assert_eq!((pieces.bytes(), pieces.is_empty()), (0, true));
}

#[test]
fn copies_of_a_piece_change_nothing() {
    let (mut pieces, packet) = (Pieces::default(), data(500));
    for _ in 0..100 {
        assert!(pieces.insert(NEXT, of(NEXT, 200, 500), &packet[200..400]).is_none());
    }
    assert_eq!(pieces.open[0].pieces.len(), 1);
    assert!(pieces.insert(NEXT, of(NEXT, 400, 500), &packet[400..]).is_none());
    assert_eq!(pieces.insert(NEXT, of(NEXT, 0, 500), &packet[..200]).unwrap()[..], packet);
}

proptest! {
    #[test]
    fn a_packet_is_put_together_from_any_cut(
        len in 200..9000_usize, first in 64..2000_usize, second in 64..2000_usize, lost: u64, backwards: bool,
    ) {
        let (mut pieces, packet) = (Pieces::default(), data(len));
        let (first, second) = (first.min(len - 1), second.min(len - 1));
        let mut got = None;
        // Some of a first transmission, and all of a second, which is cut otherwise.
        for (n, (at, bytes)) in cut(&packet, first).enumerate() {
            if lost >> (n % 64) & 1 == 0 {
                got = got.or(pieces.insert(NEXT, of(NEXT + 3, at, len as u32), bytes));
            }
        }
        let mut again: Vec<_> = cut(&packet, second).collect();
        if backwards {
            again.reverse();
        }
        // A piece that fits both cuts may be counted for the first, and is then missing: the next transmission brings it.
        again.extend(again.clone());
        for (at, bytes) in again {
            got = got.or(pieces.insert(NEXT, of(NEXT + 3, at, len as u32), bytes));
        }
        prop_assert_eq!(got.unwrap().to_vec(), packet);
        prop_assert_eq!(pieces.bytes(), held(&pieces));
    }

    #[test]
    fn whatever_comes_is_bounded_and_whole(ops in proptest::collection::vec((0..6_u32, 0..10_u32, prop_oneof![Just(100_usize), Just(64), 64..1000_usize]), 1..300)) {
        let (mut pieces, packet) = (Pieces::default(), data(1000));
        for (seq, at, len) in ops {
            let at = at as usize * len;
            let (bytes, at) = (packet.get(at..(at + len).min(1000)).unwrap_or_default(), at as u32);
            if !is_sound(at, 1000, bytes.len()) {
                continue;
            }
            if let Some(whole) = pieces.insert(NEXT, of(NEXT + seq, at, 1000), bytes) {
                prop_assert_eq!(whole.to_vec(), packet.clone());
            }
            prop_assert_eq!(pieces.bytes(), held(&pieces));
            prop_assert!(pieces.open.is_sorted_by_key(|open| open.seq - NEXT));
        }
    }
}
