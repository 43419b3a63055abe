//! Faults in the random layers of [`faults`].

use std::sync::OnceLock;

use o7s::sim::{Packet, Verdict, diff};

use super::caught;
use super::world::faults::{Phase, Seen, run_planted};
use super::world::layer::{Layer, address};
use super::world::mix;
use super::world::ms;
use super::world::plant::{self, Kind};
use super::world::progress::Progress;

/// Plants a fault when the layer is in order again.
fn healed(plant: impl Fn(&Layer)) {
    run_planted(links_fail(), |layer, phase| {
        if phase == Phase::Healed {
            plant(layer);
        }
    });
}

/// Plants a fault before anything else happens.
fn built(plant: impl Fn(&Layer)) {
    run_planted(links_fail(), |layer, phase| {
        if phase == Phase::Built {
            plant(layer);
        }
    });
}

/// The first seed whose run is of this kind. A seed of a layer that loses nothing, in whose runs something can be said
/// about every packet and every moment.
fn seed(suits: impl Fn(&Seen) -> bool) -> u64 {
    let of = |seed: &u64| {
        let (_, seen) = run_planted(*seed, |_, _| {});
        !seen.flaky && !seen.swapped && seen.down_seen > 0 && suits(&seen)
    };
    (0..1000).find(of).unwrap()
}

/// Links fail, and all members stay.
fn links_fail() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| seed(|seen| seen.gone == 0))
}

/// Members crash.
fn members_fail() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| seed(|seen| seen.gone > 1))
}

#[test]
fn nothing_is_planted() {
    let (_, seen) = run_planted(links_fail(), |_, _| {});
    assert!(seen.armed > 0 && seen.down_seen > 0, "{seen:?}");
}

#[test]
fn no_flow_can_be_allocated() {
    caught("an allocation has no end", || healed(|layer| plant::lose(&layer.net, Kind::Allocator)));
}

#[test]
fn all_data_are_lost() {
    caught("what was sent did not come back", || healed(|layer| plant::lose(&layer.net, Kind::Data)));
}

#[test]
fn some_data_are_lost() {
    caught("what was sent did not come back", || healed(|layer| plant::lose_some(&layer.net, Kind::Data, 20)));
}

#[test]
fn a_packet_comes_twice() {
    let again = |words: &mut [u32; 3]| words[2] = 0;
    caught("packet 0 came twice", || healed(|layer| plant::forge(&layer.net, again)));
}

#[test]
fn a_packet_comes_to_the_wrong_member() {
    let astray = |words: &mut [u32; 3]| words[1] += 1;
    caught("a packet at the wrong member", || healed(|layer| plant::forge(&layer.net, astray)));
}

#[test]
fn a_packet_comes_to_the_wrong_flow() {
    let crossed = |words: &mut [u32; 3]| words[0] += words[2];
    caught("at the wrong flow", || healed(|layer| plant::forge(&layer.net, crossed)));
}

#[test]
fn news_of_links_are_lost() {
    caught("outlives convergence", || built(|layer| plant::lose(&layer.net, Kind::LinkState)));
}

#[test]
fn crashed_members_do_not_return() {
    caught("do not come back", || {
        run_planted(members_fail(), |layer, phase| {
            if phase == Phase::Built {
                plant::lose(&layer.net, Kind::Shim);
            }
        });
    });
}

#[test]
fn links_are_not_taken_up_again() {
    caught("not whole again", || built(|layer| plant::lose(&layer.net, Kind::Shim)));
}

/// A link fails for a moment, and only the flow for packets comes back: such neighbours cannot tell each other anything.
#[test]
fn neighbours_that_do_not_talk() {
    // What is in the first message on such a flow, and only there.
    let handshake = |data: &[u8]| data.windows(10).any(|text| text == b"Management");
    caught("could have been noticed", || {
        run_planted(members_fail(), |layer, phase| {
            if phase != Phase::Built {
                return;
            }
            let until = layer.net.now() + ms(1500);
            let decide = move |packet: &Packet<'_>| {
                if packet.at < until || handshake(packet.data) { Verdict::Drop } else { Verdict::Pass }
            };
            layer.net.on_packet(decide).keep();
        });
    });
}

#[test]
fn the_peer_of_a_mix_is_gone() {
    caught("message ", || {
        mix::run_planted(0, |net| net.on_packet(|_| Verdict::Drop).keep());
    });
}

#[test]
fn a_run_is_not_the_same() {
    let run = |extra: bool| {
        let (layer, _) = run_planted(links_fail(), |layer, phase| {
            if extra && phase == Phase::Healed {
                layer.net.inject("10.9.9.9:9", format!("{}:3435", address(0)).as_str(), b"one more");
            }
        });
        (layer.net.digest(), layer.net.recorded())
    };
    let (first, again, other) = (run(false), run(false), run(true));
    assert_eq!(first.0, again.0);
    assert!(diff(&first.1, &again.1).is_none());
    assert_ne!(first.0, other.0, "one datagram more makes another digest");
    assert!(diff(&first.1, &other.1).is_some(), "and is found");
}

#[test]
fn a_truncated_run_is_reported() {
    let mut progress = Progress::new("planted", 3, 1);
    progress.done(7, true);
    caught("planted: 1 of 3", || progress.assert_well());
    progress.done(8, false);
    progress.done(9, true);
    caught("failed: [8]", || progress.assert_well());
}
