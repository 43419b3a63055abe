//! Flows of a unicast layer that share a bottleneck of 100 Mbit/s: whole stacks, packets of 1000 bytes.

use std::time::Duration;

#[path = "../../examples/congestion/experiment.rs"]
#[allow(dead_code, reason = "the example plots, too")]
mod experiment;

use experiment::{Setup, jain, run};

use super::world::{ms, secs};

fn setup(flows: usize, guests: usize, rtts: &[Duration], phase: Duration) -> Setup {
    Setup { rate: 100_000_000, size: 1000, flows, guests, rtts: rtts.to_vec(), phase, seed: 1 }
}

#[test]
fn the_link_is_used_and_shared_evenly() {
    for (flows, rtts) in [(1, &[ms(10)][..]), (2, &[ms(10)]), (8, &[ms(10)]), (32, &[ms(10)]), (8, &[ms(10), ms(100)])]
    {
        let outcome = run(&setup(flows, 0, rtts, secs(6))).unwrap();
        let shares = outcome.shares(flows, secs(3), secs(6));
        let (used, jain) = (shares.iter().sum::<f64>(), jain(&shares));
        let (longest, median) = outcome.queue(secs(3), secs(6));
        println!("{flows} flows, {rtts:?}: {used:.3} of the link, Jain {jain:.4}, queue {longest} ({median})");
        assert!(used >= 0.95, "{flows} flows use {used} of the link");
        assert!(jain >= 0.99, "{flows} flows: Jain {jain}");
        assert!(longest <= 1100, "{longest} packets wait");
    }
}

#[test]
fn soon_even_again_after_flows_come_and_go() {
    for (flows, guests, within) in [(1, 1, 1), (1, 7, 1), (2, 30, 2)] {
        let outcome = run(&setup(flows, guests, &[ms(10)], secs(4))).unwrap();
        for (from, n) in [(secs(4 + within), flows + guests), (secs(8 + within), flows)] {
            let shares = outcome.shares(n, from, from + secs(1));
            let (used, jain) = (shares.iter().sum::<f64>(), jain(&shares));
            println!("{flows} and {guests} flows after {from:?}: {used:.3} of the link, Jain {jain:.4}");
            assert!(used >= 0.95 && jain >= 0.99, "{flows} and {guests} flows: {used} of the link, Jain {jain}");
        }
    }
}
