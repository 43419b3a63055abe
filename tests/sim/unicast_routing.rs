//! Time until routes avoid a failed link, and losses until then.

use o7s::types::layer::RoutePolicy;

use super::world::outage::{can_do_without, cut_a_link, has_alternate, layer, link_on_the_way};
use super::world::{ms, secs};

#[test]
fn routes_avoid_a_failed_link_within_100_ms_of_its_detection() {
    let layer = layer(21, 100, 200, RoutePolicy::Simple);
    for (from, to) in [(3, 97), (50, 20), (77, 8)] {
        let cut = link_on_the_way(&layer, (from, to), |layer, link, _| can_do_without(layer, link)).unwrap();
        let outage = cut_a_link(&layer, (from, to), cut);
        println!("100 members, link {cut:?} on the way from {from} to {to} fails: {outage:?}");
        outage.assert_over(ms(100));
        layer.net.run_for(secs(20));
    }
}

#[test]
fn with_an_alternate_nothing_is_lost_after_the_detection() {
    let mut cuts = 0;
    for seed in 30..34 {
        let layer = layer(seed, 30, 60, RoutePolicy::LoopFreeAlternates);
        let mut rng = layer.net.rng("pairs");
        for _ in 0..3 {
            let (from, to) = (rng.below(30) as usize, rng.below(30) as usize);
            if from == to {
                continue;
            }
            let Some(cut) = link_on_the_way(&layer, (from, to), has_alternate) else { continue };
            let outage = cut_a_link(&layer, (from, to), cut);
            println!("seed {seed}, link {cut:?} on the way from {from} to {to} fails: {outage:?}");
            outage.assert_over_when_noticed();
            cuts += 1;
            layer.net.run_for(secs(20));
        }
    }
    assert!(cuts > 4, "{cuts}");
}
