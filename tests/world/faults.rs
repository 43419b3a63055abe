//! A random layer with random faults: everything about it follows from the seed.

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use o7s::base::rng::Rng;
use o7s::sim::{Digest, Event, Link, Loss, Network};
use o7s::types::layer::RoutePolicy;
use o7s::{QosSpec, UnicastLayer, sim};

use super::layer::{Layer, NOTICED, TIMEOUT, address, noticed_after};
use super::topology;
use super::traffic::{ALLOCATION, PAUSE, Tally, serve, service, talk, talk_over};
use super::watch::{HEALED, LOSSY_SETTLE, Watch, assert_converged, is_whole};
use super::{ms, secs};

/// Phase of a run before which something is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The layer has been built.
    Built,
    /// It was damaged, and is in order again.
    Healed,
}

/// A layer under way, with those who watch.
struct Scene {
    layer: Layer,
    watch: Watch,
    link: Link,
    lossy: bool,
    swapped: bool,
    /// Keepalives get lost so often that adjacencies change all the time.
    flaky: bool,
    noticed: Duration,
    rng: Rng,
    tally: Rc<Tally>,
    diary: Diary,
    gone: u32,
    returning: Vec<(usize, sim::JoinHandle<Result<o7s::IpcpHandle, o7s::MemberError>>)>,
}

/// Changes made to a layer; printed when it has failed.
#[derive(Default)]
struct Diary(Vec<String>);

impl Drop for Diary {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Events of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) looks: u64,
    /// Looks at which routes had to be right.
    pub(crate) armed: u64,
    pub(crate) down_seen: u64,
    pub(crate) loops: u64,
    pub(crate) holes: u64,
    pub(crate) longest_hole: Duration,
    /// Time from the last change until every link was in use and all members could reach each other.
    pub(crate) healed_after: Duration,
    /// `true` where some of everything, or of what crosses a link, is lost: nothing can be said about the time of the
    /// faults.
    pub(crate) flaky: bool,
    /// Some of everything is lost, from the beginning to the end.
    pub(crate) lossy: bool,
    /// Packets overtake each other.
    pub(crate) swapped: bool,
    /// Number of crashes and leaves.
    pub(crate) gone: u32,
}

/// Builds a layer, damages it for a while, lets it heal, and checks that everything is as it should be.
pub(crate) fn run(seed: u64) -> (Digest, Vec<Event>) {
    let (scene, _) = run_planted(seed, |_, _| {});
    (scene.net.digest(), scene.net.recorded())
}

/// As [`run`]; `plant` may put a fault into the layer.
pub(crate) fn run_planted(seed: u64, plant: impl Fn(&Layer, Phase)) -> (Layer, Seen) {
    let mut scene = Scene::new(seed);
    plant(&scene.layer, Phase::Built);
    for round in 0..6 {
        scene.fault();
        let calm = ms(200 + scene.rng.below(3000));
        scene.run(calm);
        if round % 2 == 1 {
            scene.settle();
        }
    }
    let healed_after = scene.heal();
    plant(&scene.layer, Phase::Healed);
    scene.finish();
    let Watch { looks, armed, down_seen, loops, holes, longest_hole, .. } = scene.watch;
    let Scene { layer, flaky, lossy, swapped, gone, .. } = scene;
    (layer, Seen { looks, armed, down_seen, loops, holes, longest_hole, healed_after, flaky, lossy, swapped, gone })
}

impl Scene {
    fn new(seed: u64) -> Self {
        let net = Network::new(seed);
        net.record(100_000);
        let mut rng = net.rng("scene");
        let lossy = rng.chance(0.3);
        let loss = if lossy { Loss::Random(rng.below(21) as f64 / 100.0) } else { Loss::None };
        let mut link = Link::default().latency(ms(1 + rng.below(5))).jitter(ms(rng.below(2))).loss(loss);
        let swapped = rng.chance(0.3);
        if swapped {
            link = link.duplicate(0.1).reorder(0.1, ms(1 + rng.below(10)));
        }
        net.set_default_link(link);
        let n = 3 + rng.below(7) as usize;
        let edges = topology::random(n, n + rng.below(n as u64) as usize, &mut rng);
        let policy = [RoutePolicy::Simple, RoutePolicy::LoopFreeAlternates, RoutePolicy::EqualCostMultipath];
        let policy = policy[rng.below(3) as usize];
        let config = UnicastLayer::new("net").routing(policy);
        let (timeout, noticed) = match rng.below(4) {
            // Where it takes several attempts to allocate a flow, four times as long as that is waited.
            _ if lossy => (secs(8), secs(8)),
            0 => (TIMEOUT, NOTICED),
            _ => (secs(1), secs(1)),
        };
        let layer = Layer::build_with(net, n, &edges, config, noticed_after(timeout));
        // What is sent to a neighbour while the link to it is down, and not noticed to be, is lost, and repeated after
        // 0.2, 0.6, 1.4 s, ...: after a link has come back that was not missed, once more in that time at the latest.
        let settle = if lossy { LOSSY_SETTLE } else { noticed + secs(1) };
        let watch = Watch::new(&layer, settle, noticed);
        let tally = Rc::default();
        let returning = Vec::new();
        let mut diary = Diary::default();
        diary.0.push(format!("{n} members, {edges:?}, {link:?}, {policy:?}, missed after {noticed:?}"));
        let mut scene =
            Self { diary, gone: 0, layer, watch, link, lossy, swapped, flaky: lossy, noticed, rng, tally, returning };
        (0..n).for_each(|i| scene.serve(i));
        scene.run(secs(2));
        scene
    }

    fn serve(&mut self, i: usize) {
        serve(&self.layer, i);
        self.watch.registered(&self.layer, &service(i), i);
    }

    /// Lets time pass; members that have come back take their places.
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
                        let address = self.layer.address(i);
                        self.note(format_args!("{i} is back, at {address}"));
                        self.serve(i);
                    }
                    Err(_) => self.revive(i),
                }
            }
        }
    }

    /// Runs until `done`, `limit` at most; says how long that took.
    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Result<Duration, Duration> {
        let begin = self.layer.net.now();
        while !done(self) {
            if self.layer.net.now() - begin >= limit {
                return Err(limit);
            }
            self.run(ms(100));
        }
        Ok(self.layer.net.now() - begin)
    }

    /// Waits until all must have noticed, and all news must have arrived: looks after that are to find nothing, and
    /// there are such looks.
    fn settle(&mut self) {
        let before = self.watch.armed;
        self.run(self.noticed + self.watch.settle + secs(1));
        if !self.flaky {
            // A member that has just returned makes connections, one after the other.
            let _ = self.run_until(self.noticed + HEALED, |scene| scene.watch.armed > before);
            assert!(self.watch.armed > before, "it does not settle: no loop could have been noticed");
        }
    }

    fn revive(&mut self, i: usize) {
        if let Some(joining) = self.layer.revive(i) {
            self.note(format_args!("{i} begins to return"));
            for j in self.layer.neighbours(i) {
                self.watch.came_up((i, j));
            }
            self.returning.push((i, joining));
        }
    }

    fn note(&mut self, what: core::fmt::Arguments<'_>) {
        self.diary.0.push(format!("{:?}: {what}", self.layer.net.now()));
    }

    fn any(&mut self) -> usize {
        self.rng.below(self.layer.len() as u64) as usize
    }

    fn fault(&mut self) {
        let alive: Vec<_> = self.layer.alive().collect();
        match self.rng.below(7) {
            // Not so many that none is left to join.
            0 if alive.len() > 2 => {
                let i = alive[self.rng.below(alive.len() as u64) as usize];
                self.crash(i);
            }
            1 => self.return_all(),
            2 => self.damage_a_link(),
            3 => self.cut_one_way(),
            4 => self.partition(),
            5 if alive.len() > 2 => {
                let i = alive[self.rng.below(alive.len() as u64) as usize];
                self.leave(i);
            }
            _ => {
                let (from, to) = (self.any(), self.any());
                if from != to && !self.layer.dead.contains(&from) {
                    self.note(format_args!("{from} talks to {to}"));
                    talk(&self.layer, from, to, 50, ms(100), &self.tally);
                }
            }
        }
    }

    fn crash(&mut self, i: usize) {
        self.note(format_args!("{i} crashes"));
        self.gone += 1;
        self.layer.crash(i);
        self.tally.crashed(i);
        for j in self.layer.neighbours(i) {
            self.watch.went_down(self.layer.net.now(), (i, j));
        }
    }

    /// A member that leaves says so, which is heard at once, unless something is lost.
    fn leave(&mut self, i: usize) {
        self.note(format_args!("{i} leaves"));
        self.gone += 1;
        self.layer.members[i].clone().leave();
        self.layer.dead.insert(i);
        for j in self.layer.neighbours(i) {
            self.watch.left(self.layer.net.now(), (i, j), self.flaky);
        }
    }

    fn some_edge(&mut self) -> (usize, usize) {
        self.layer.edges[self.rng.below(self.layer.edges.len() as u64) as usize]
    }

    fn damage_a_link(&mut self) {
        let edge = self.some_edge();
        if self.rng.chance(0.5) {
            self.note(format_args!("{edge:?} fails"));
            self.layer.set_link(edge, self.link.loss(Loss::Random(1.0)));
            self.watch.went_down(self.layer.net.now(), edge);
            return;
        }
        self.note(format_args!("{edge:?} loses a third"));
        // Some of what crosses this link has to be repeated from now on.
        self.flaky = true;
        self.watch.settle = self.watch.settle.max(LOSSY_SETTLE);
        self.layer.set_link(edge, self.link.loss(Loss::Random(0.3)));
        self.watch.became_lossy(self.layer.net.now(), edge);
        if !self.layer.dead.contains(&edge.0) && !self.layer.dead.contains(&edge.1) {
            self.watch.came_up(edge);
        }
    }

    fn cut_one_way(&mut self) {
        let (a, b) = self.some_edge();
        let (from, to) = if self.rng.chance(0.5) { (a, b) } else { (b, a) };
        self.note(format_args!("nothing gets from {from} to {to}"));
        let cut = self.link.loss(Loss::Random(1.0));
        self.layer.net.set_link(address(from).as_str(), address(to).as_str(), cut);
        self.watch.went_down_one_way(self.layer.net.now(), (a, b), self.flaky);
    }

    fn partition(&mut self) {
        let of = |half: core::ops::Range<usize>| half.map(|i| address(i).parse().unwrap()).collect::<Vec<IpAddr>>();
        let (split, n) = (self.any(), self.layer.len());
        self.note(format_args!("those below {split} and the others are apart"));
        self.layer.net.partition(&of(0..split), &of(split..n));
        for a in 0..split {
            (split..n).for_each(|b| self.watch.went_down(self.layer.net.now(), (a, b)));
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

    /// Everything that was damaged is in order again: how long it took from then until everything was in use.
    fn heal(&mut self) -> Duration {
        self.note(format_args!("all is healed"));
        self.layer.net.heal();
        self.watch.all_came_up();
        for edge in self.layer.edges.clone() {
            self.layer.set_link(edge, self.link);
        }
        let begin = self.layer.net.now();
        while !self.layer.dead.is_empty() {
            assert!(self.layer.net.now() - begin < secs(600), "{:?} do not come back", self.layer.dead);
            self.return_all();
            self.run(secs(1));
        }
        // A member that has returned may have to be missed first.
        let limit = if self.lossy { LOSSY_HEALED } else { self.noticed + HEALED };
        let healed = self.run_until(limit, |scene| is_whole(&scene.layer));
        healed.unwrap_or_else(|limit| {
            let layer = &self.layer;
            let (way, links) = (layer.unreachable(), layer.alive().map(|i| layer.adjacencies(i)).collect::<Vec<_>>());
            panic!("not whole again {limit:?} after the last change: no way {way:?}, adjacencies {links:?}")
        })
    }

    fn finish(&mut self) {
        let before = self.watch.armed;
        self.settle();
        // Whatever was lost before, and is: in the end there are moments at which every route must be right.
        let _ = self.run_until(LOSSY_HEALED, |scene| scene.watch.armed > before);
        assert!(self.watch.armed > before, "it does not settle: no loop could have been noticed");
        if !self.lossy {
            assert_converged(&self.layer);
        }
        // An attempt that failed before the end may still be waited for; the next works.
        let limit = ALLOCATION + PAUSE + secs(10);
        let _ = self.run_until(if self.lossy { 12 * limit } else { 2 * limit }, |scene| scene.tally.all_ended());
        self.tally.assert_ended();
        let tally = Rc::<Tally>::default();
        // Where packets get lost, or overtake each other, only a reliable flow can promise anything.
        let qos = if self.lossy || self.swapped { QosSpec::DATA } else { QosSpec::BEST_EFFORT };
        for from in 0..self.layer.len() {
            let n = self.layer.len();
            let to = (from + 1 + self.rng.below(n as u64 - 1) as usize) % n;
            talk_over(&self.layer, (from, to), qos, 5, ms(100), &tally);
        }
        let _ = self.run_until(if self.lossy { 12 * limit } else { limit }, |_| tally.all_ended());
        let flows = self.layer.len() as u32;
        if self.lossy {
            tally.assert_complete_or_silent(flows, 5);
        } else {
            tally.assert_complete(flows, 5);
        }
    }
}

/// See [`noticed_after`]: a connection takes many attempts.
const LOSSY_HEALED: Duration = Duration::from_secs(300);
