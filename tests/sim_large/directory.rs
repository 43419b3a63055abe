//! Every name is found at the first query, also while members leave without notice.

use core::time::Duration;

use super::world::layer::noticed_after;
use super::world::stopwatch::Stopwatch;
use super::world::{large, lookups, secs};

fn names_are_found(n: usize) {
    let stopwatch = Stopwatch::start();
    let mut layer = large::layer(7, n, large::quiet(), noticed_after(secs(1)));
    large::converge(&layer);
    stopwatch.lap("converged", &layer.net);
    lookups::register(&layer);
    layer.net.run_for(secs(5));
    stopwatch.lap("registered", &layer.net);

    let mut rng = layer.net.rng("lookups");
    let mut calm = lookups::query(&layer, 3, &mut rng);
    calm.print(&format!("{n} members"));
    stopwatch.lap("looked up", &layer.net);
    assert_eq!(calm.wrong, []);

    // One of ten leaves, the ways between the others stay.
    for i in large::dispensable(&layer, n / 10, &mut rng) {
        layer.crash(i);
    }
    let mut leaving = lookups::query(&layer, 3, &mut rng);
    leaving.print(&format!("{n} members, a tenth just gone"));
    stopwatch.lap("looked up", &layer.net);
    assert_eq!(leaving.wrong, []);
    assert!(leaving.time.iter().all(|time| *time <= Duration::from_secs(5)));
}

#[test]
#[ignore = "long; run it in release mode"]
fn a_hundred_members() {
    names_are_found(100);
}

#[test]
#[ignore = "long; run it in release mode"]
fn a_thousand_members() {
    names_are_found(1000);
}
