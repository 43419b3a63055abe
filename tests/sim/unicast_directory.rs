//! Names in a layer of a hundred members.

use core::time::Duration;

use o7s::UnicastLayer;

use super::world::layer::noticed_after;
use super::world::{large, lookups, secs};

#[test]
fn every_name_is_found_at_the_first_query() {
    let mut layer = large::layer(7, 100, UnicastLayer::new("net"), noticed_after(secs(1)));
    large::converge(&layer);
    lookups::register(&layer);
    layer.net.run_for(secs(5));
    let mut rng = layer.net.rng("lookups");
    let mut calm = lookups::query(&layer, 2, &mut rng);
    calm.print("100 members");
    assert_eq!(calm.wrong, []);

    for i in large::dispensable(&layer, 10, &mut rng) {
        layer.crash(i);
    }
    let mut leaving = lookups::query(&layer, 2, &mut rng);
    leaving.print("100 members, ten just gone");
    assert_eq!(leaving.wrong, []);
    assert!(leaving.time.iter().all(|time| *time <= Duration::from_secs(5)));
}
