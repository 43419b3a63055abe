//! Faults in the random layers of [`faults`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use o7s::UnicastLayer;
use o7s::sim::{Link, Network, Packet, Verdict, diff};

use super::caught;
use super::world::faults::{Phase, Seen, run_planted};
use super::world::layer::{Layer, address};
use super::world::mix;
use super::world::plant::{self, Kind};
use super::world::progress::Progress;
use super::world::traffic::{Tally, serve, service, talk};
use super::world::watch::{BOUNDS, Watch};
use super::world::{ms, secs, topology};

/// Plants a fault when the layer is in order again.
fn healed(plant: impl Fn(&Layer)) {
    healed_in(links_fail(), plant);
}

fn healed_in(seed: u64, plant: impl Fn(&Layer)) {
    run_planted(seed, |layer, phase| {
        if phase == Phase::Healed {
            plant(layer);
        }
    });
}

/// Plants a fault before anything else happens.
fn built(plant: impl Fn(&Layer)) {
    built_in(links_fail(), plant);
}

fn built_in(seed: u64, plant: impl Fn(&Layer)) {
    run_planted(seed, |layer, phase| {
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

/// Links fail, and some of everything is lost all the time: a fault must not be taken for chance.
fn packets_fail() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let lossy = |seed: &u64| {
        let (_, seen) = run_planted(*seed, |_, _| {});
        seen.lossy && seen.armed > 0 && seen.down_seen > 0 && seen.gone == 0
    };
    *SEED.get_or_init(|| (0..1000).find(lossy).unwrap())
}

/// Members crash.
fn members_fail() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| seed(|seen| seen.gone > 1))
}

#[test]
fn nothing_is_planted() {
    for seed in [links_fail(), members_fail(), packets_fail()] {
        let (_, seen) = run_planted(seed, |_, _| {});
        assert!(seen.armed > 0 && seen.down_seen > 0, "{seed}: {seen:?}");
    }
}

#[test]
fn no_flow_can_be_allocated() {
    caught("an allocation has no end", || healed(|layer| plant::lose(&layer.net, Kind::Allocator)));
    // Where packets are lost, an allocation is waited for until it is given up.
    caught("an allocation failed", || healed_in(packets_fail(), |layer| plant::lose(&layer.net, Kind::Allocator)));
}

#[test]
fn all_data_are_lost() {
    caught("what was sent did not come back", || healed(|layer| plant::lose(&layer.net, Kind::Data)));
    caught("what was sent did not come back", || {
        healed_in(packets_fail(), |layer| plant::lose(&layer.net, Kind::Data))
    });
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

/// What fails may be a link without which nothing is reached anyway: not every run can tell, but many can.
#[test]
fn news_of_links_are_lost() {
    for lossy in [false, true] {
        let suits = |seed: &u64| {
            let (_, seen) = run_planted(*seed, |_, _| {});
            seen.lossy == lossy && seen.flaky == lossy && seen.down_seen > 0
        };
        let seeds: Vec<_> = (0..1000).filter(suits).take(6).collect();
        let run = |seed| built_in(seed, |layer| plant::lose(&layer.net, Kind::LinkState));
        let said = seeds.iter().filter_map(|seed| catch_unwind(AssertUnwindSafe(|| run(*seed))).err());
        let said: Vec<_> = said.map(|panic| panic.downcast::<String>().unwrap()).collect();
        println!("lossy: {lossy}: {} of {seeds:?}", said.len());
        assert!(said.iter().any(|said| said.contains("outlives convergence")), "{said:?}");
        assert!(said.len() >= 3, "lossy: {lossy}: {} of {seeds:?}", said.len());
    }
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

/// A layer at work, with no room in this table.
fn without_room(table: &'static str) {
    let net = Network::new(11);
    net.set_default_link(Link::default().latency(ms(5)));
    // Members are spare where there is no place for them as contacts.
    let edges = if table == "dht/stats/spares" { topology::star(40) } else { topology::grid(3, 3) };
    let n = 1 + edges.iter().map(|(a, b)| *a.max(b)).max().unwrap();
    let layer = Layer::build(net, n, &edges, UnicastLayer::new("net"));
    layer.converge(secs(2));
    let mut watch = Watch::new(&layer, ms(300), secs(2));
    watch.set_bound(table, 0);
    for i in 0..layer.len() {
        serve(&layer, i);
        watch.registered(&layer, &service(i), i);
    }
    let tally = Rc::<Tally>::default();
    for (from, to) in (0..9).flat_map(|from| (0..9).map(move |to| (from, to))).filter(|(from, to)| from != to) {
        talk(&layer, from, to, 50, ms(20), &tally);
    }
    for _ in 0..2000 {
        layer.net.run_for(Duration::from_micros(700));
        watch.check_bounds_of_all(&layer);
    }
}

/// Each of the tables that are watched has something in it while a layer works, so that a bound of none is broken. Messages
/// that have come are handled before anybody can look, and members of this kind have nobody look up for them: the bounds of
/// these are tested where members are of other kinds, by `hostile` and the tests of the directory.
#[test]
fn every_bound_of_a_table_is_watched() {
    let mut missed = Vec::new();
    for (table, bound) in BOUNDS {
        assert!(bound > 0, "{table}");
        match catch_unwind(|| without_room(table)) {
            Ok(()) => missed.push(table),
            Err(said) => {
                let said = said.downcast::<String>().unwrap();
                assert!(said.contains(&format!(": {table} is ")), "{table}: {said}");
            }
        }
    }
    assert_eq!(missed, ["inbox", "dht/stats/relays"]);
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
