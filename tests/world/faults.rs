//! A random layer with random faults: everything about it follows from the seed.

use core::time::Duration;
use std::rc::Rc;

use o7s::base::rng::Rng;
use o7s::sim::{Digest, Event, Link, Loss, Network};
use o7s::types::layer::RoutePolicy;
use o7s::{UnicastLayer, sim};

use super::layer::{Layer, address, noticed_after};
use super::topology;
use super::traffic::{Tally, serve, service, talk};
use super::watch::{Watch, assert_converged};
use super::{ms, secs};

/// A layer under way, with those who watch.
struct Scene {
    layer: Layer,
    watch: Watch,
    link: Link,
    rng: Rng,
    tally: Rc<Tally>,
    returning: Vec<(usize, sim::JoinHandle<Result<o7s::IpcpHandle, o7s::MemberError>>)>,
}

/// Builds a layer, damages it for a while, lets it heal, and checks that everything is as it should be.
pub(crate) fn run(seed: u64) -> (Digest, Vec<Event>) {
    let mut scene = Scene::new(seed);
    for _ in 0..6 {
        scene.fault();
        let calm = ms(200 + scene.rng.below(3000));
        scene.run(calm);
    }
    scene.heal();
    scene.finish();
    (scene.layer.net.digest(), scene.layer.net.recorded())
}

impl Scene {
    fn new(seed: u64) -> Self {
        let net = Network::new(seed);
        net.record(100_000);
        let mut rng = net.rng("scene");
        let lossy = rng.chance(0.3);
        let loss = if lossy { Loss::Random(rng.below(21) as f64 / 100.0) } else { Loss::None };
        let link = Link::default().latency(ms(1 + rng.below(5))).jitter(ms(rng.below(2))).loss(loss);
        net.set_default_link(link);
        let n = 3 + rng.below(7) as usize;
        let edges = topology::random(n, n + rng.below(n as u64) as usize, &mut rng);
        let policy = [RoutePolicy::Simple, RoutePolicy::LoopFreeAlternates, RoutePolicy::EqualCostMultipath];
        let config = UnicastLayer::new("net").routing(policy[rng.below(3) as usize]);
        // Four keepalives in a row are lost now and then.
        let noticed = if lossy { secs(8) } else { secs(1) };
        let layer = Layer::build_with(net, n, &edges, config, noticed_after(noticed));
        // Single links lose updates too, which are then repeated, and later each time.
        let settle = if lossy { secs(20) } else { secs(5) };
        let watch = Watch::new(&layer, settle);
        let mut scene = Self { layer, watch, link, rng, tally: Rc::default(), returning: Vec::new() };
        (0..n).for_each(|i| scene.serve(i));
        scene.run(secs(2));
        scene
    }

    fn serve(&mut self, i: usize) {
        serve(&self.layer, i);
        self.watch.registered(&self.layer, &service(i), i);
    }

    /// Lets time pass; whoever has come back takes its place.
    fn run(&mut self, time: Duration) {
        let until = self.layer.net.now() + time;
        while self.layer.net.now() < until {
            self.watch.run(&self.layer, ms(100).min(until - self.layer.net.now()));
            let (there, returning) =
                core::mem::take(&mut self.returning).into_iter().partition(|(_, joining)| joining.is_finished());
            self.returning = returning;
            for (i, joining) in Vec::from_iter::<Vec<_>>(there) {
                match self.layer.net.block_on(joining) {
                    Ok(member) => {
                        self.layer.revived(i, member);
                        self.serve(i);
                    }
                    Err(_) => self.revive(i),
                }
            }
        }
    }

    fn revive(&mut self, i: usize) {
        if let Some(joining) = self.layer.revive(i) {
            self.returning.push((i, joining));
        }
    }

    fn any(&mut self) -> usize {
        self.rng.below(self.layer.len() as u64) as usize
    }

    fn fault(&mut self) {
        let alive: Vec<_> = self.layer.alive().collect();
        match self.rng.below(5) {
            // Not so many that nobody is left to join.
            0 if alive.len() > 2 => {
                let i = alive[self.rng.below(alive.len() as u64) as usize];
                self.layer.crash(i);
            }
            1 => self.return_all(),
            2 => {
                let edge = self.layer.edges[self.rng.below(self.layer.edges.len() as u64) as usize];
                let loss = [0.3, 1.0][self.rng.below(2) as usize];
                self.layer.set_link(edge, self.link.loss(Loss::Random(loss)));
            }
            3 => {
                let of = |half: &mut dyn Iterator<Item = usize>| {
                    half.map(|i| address(i).parse().unwrap()).collect::<Vec<core::net::IpAddr>>()
                };
                let split = self.any();
                let (left, right) = (of(&mut (0..split)), of(&mut (split..self.layer.len())));
                self.layer.net.partition(&left, &right);
            }
            _ => {
                let (from, to) = (self.any(), self.any());
                if from != to && !self.layer.dead.contains(&from) {
                    talk(&self.layer, from, to, 50, ms(100), &self.tally);
                }
            }
        }
    }

    fn return_all(&mut self) {
        let gone: Vec<_> = self.layer.dead.iter().copied().collect();
        for i in gone {
            if !self.returning.iter().any(|(j, _)| *j == i) {
                self.revive(i);
            }
        }
    }

    /// Everything that was damaged is in order again.
    fn heal(&mut self) {
        self.layer.net.heal();
        for edge in self.layer.edges.clone() {
            self.layer.set_link(edge, self.link);
        }
        while !self.layer.dead.is_empty() {
            self.return_all();
            self.run(secs(1));
        }
        // Neighbours that were missed for long are not tried again at once.
        self.run(secs(50));
    }

    fn finish(&mut self) {
        self.layer.converge(secs(60));
        assert_converged(&self.layer);
        let tally = Rc::<Tally>::default();
        for from in 0..self.layer.len() {
            let to = self.any();
            if to != from {
                talk(&self.layer, from, to, 5, ms(100), &tally);
            }
        }
        self.run(secs(35));
        assert!(tally.refused.borrow().is_empty(), "{:?}: {tally:?}, before that {:?}", self.link, self.tally);
    }
}
