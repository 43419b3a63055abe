//! A thousand random mixes of links, qualities of service, protection and traffic.

use super::world::mix;

#[test]
fn a_thousand_seeds() {
    for seed in o7s::sim::seeds(0..1000) {
        mix::run(seed);
    }
}
