//! Convergence: every member finds the way to every other.

use core::time::Duration;

use super::net::{Net, Path, grid, line, mesh, random, ring};
use crate::base::rng::Rng;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn small_layers_of_every_shape_converge() {
    let shapes = [line(2), line(30), ring(30), grid(6, 5), mesh(12), (1..30).map(|i| (0, i)).collect()];
    for (seed, edges) in (0..).zip(shapes) {
        let members = 1 + edges.iter().map(|(a, b)| *a.max(b)).max().unwrap();
        let mut net = Net::of(seed, members, &edges);
        // 200 ms of waiting for the neighbour to speak.
        let took = net.settle(SECOND).expect("it settles");
        assert!(took < Duration::from_millis(300), "{took:?}");
        net.run(Duration::from_secs(200));
        assert!(net.is_settled(), "and stays so");
    }
}

#[test]
fn random_layers_converge_over_faulty_links() {
    for seed in 0..8 {
        let edges = random(&mut Rng::from_seed([100 + seed; 32]), 25, 15);
        let mut net = Net::of(seed, 25, &edges);
        net.path = Path::lossy();
        let took = net.settle(Duration::from_secs(20)).expect("it settles");
        assert!(took < Duration::from_secs(6), "{took:?}");
        for _ in 0..20 {
            net.run(Duration::from_secs(10));
            assert!(net.is_settled(), "and stays so");
        }
    }
}

#[test]
fn a_long_lossy_line_converges() {
    let mut net = Net::of(3, 40, &line(40));
    net.path = Path::lossy();
    let took = net.settle(Duration::from_secs(20)).expect("it settles");
    assert!(took < Duration::from_secs(10), "{took:?}");
    for _ in 0..40 {
        net.run(Duration::from_secs(5));
        assert!(net.is_settled(), "announcements arrive at the far end in time");
    }
}

#[test]
fn members_may_join_one_by_one() {
    let mut net = Net::of(5, 1, &[]);
    for n in 1..40 {
        let new = net.add(|_| {});
        let first = net.rng.below(n) as usize;
        net.connect(first, new);
        let second = net.rng.below(n) as usize;
        if second != first {
            net.connect(second, new);
        }
        assert!(net.settle(SECOND).expect("it settles") < Duration::from_millis(300));
    }
}

#[test]
fn damaged_updates_do_no_lasting_harm() {
    let mut net = Net::of(7, 16, &grid(4, 4));
    net.path.corrupt = 0.02;
    net.run(Duration::from_secs(120));
    net.path.corrupt = 0.0;
    net.settle(Duration::from_secs(75)).expect("what was made up expires");
}
