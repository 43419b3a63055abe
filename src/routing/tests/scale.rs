//! What it costs.

use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Net, random};
use crate::base::rng::Rng;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn starting_a_layer_is_cheap() {
    let n = 100;
    let edges = random(&mut Rng::from_seed([9; 32]), n, n);
    let mut net = Net::of(1, n, &edges);
    net.settle(5 * SECOND).expect("it settles");
    net.run(SECOND);
    let most = (0..n).map(|m| net.ours(m).stats().recalculations).max().unwrap();
    assert!(most < 25, "{most} computations of a member");
    // Every direction of a link is told over every connection, in both directions, once.
    let least = (2 * edges.len() * 2 * edges.len()) as u64;
    assert!(net.carried < 2 * least, "{} updates for {least}", net.carried);
    let before = net.carried;
    net.run(60 * SECOND);
    let refreshes = (net.carried - before) as f64 / least as f64;
    assert!((4.0..6.5).contains(&refreshes), "{refreshes} updates a direction, connection and minute");
}

#[test]
fn nothing_is_left_of_a_layer_that_has_gone() {
    let mut net = Net::of(2, 30, &random(&mut Rng::from_seed([3; 32]), 30, 20));
    net.settle(SECOND).expect("it settles");
    (0..net.edges.len()).for_each(|edge| net.disconnect(edge));
    net.run(200 * SECOND);
    let left: Vec<_> = (0..30).filter(|m| net.ours(*m).next_timeout().is_some()).collect();
    assert!(left.is_empty(), "{left:?} still wait for something");
    assert!((0..30).all(|m| net.ours(m).db.len() == 0 && net.ours(m).routes().is_empty()));
}
