use super::*;

const SECOND: u64 = 1_000_000_000;
const RTT: u64 = 10_000_000;

/// A machine, and a path that carries `mtu` bytes at present.
struct World {
    pmtu: Pmtu,
    now: Instant,
    mtu: u32,
    /// Answers take longer than the shortest.
    queued: bool,
    probes: u32,
}

impl World {
    fn new(mtu: u32, below: u32) -> Self {
        Self { pmtu: Pmtu::new(below, Seq(7)), now: Instant::from_millis(1000), mtu, queued: false, probes: 0 }
    }

    /// Sends the probe that is due; it is answered if it passes.
    fn probe(&mut self) -> Change {
        let Some((number, size)) = self.pmtu.pick(self.now) else { return Change::Nothing };
        self.probes += 1;
        if size > self.mtu {
            return Change::Nothing;
        }
        self.now = self.now.plus_nanos(if self.queued { 2 * RTT } else { RTT });
        self.pmtu.on_answer(self.now, number, RTT)
    }

    /// A packet is sent again a second later, and arrives if it, or its pieces, pass.
    fn resend(&mut self, size: u32) -> Change {
        self.now = self.now.plus_nanos(SECOND);
        let cut = size > self.pmtu.limit;
        if size.min(self.pmtu.limit) <= self.mtu {
            self.pmtu.on_arrival(size, cut);
            return Change::Nothing;
        }
        self.pmtu.on_resent(self.now, size, RTT);
        self.probe()
    }

    /// Time passes until nothing is to be done before the next raise.
    fn search(&mut self) {
        while self.pmtu.phase == Phase::Search {
            while self.pmtu.is_due() {
                self.probe();
            }
            if self.pmtu.phase == Phase::Search {
                self.now = self.now.max(self.pmtu.deadline(RTT));
                self.pmtu.check(self.now, RTT);
            }
        }
    }
}

#[test]
fn three_answers_are_a_black_hole() {
    let mut world = World::new(1240, 0);
    assert_eq!([(); 3].map(|()| world.resend(1400)), [Change::Prompt, Change::Prompt, Change::Lowered]);
    assert_eq!((world.pmtu.limit, world.pmtu.phase), (BASE, Phase::Base));
    world.resend(1400);
    assert_eq!(world.pmtu.phase, Phase::Search);
    world.search();
    assert!((1240 - STEP..=1240).contains(&world.pmtu.limit), "{}", world.pmtu.limit);
    assert_eq!(world.pmtu.phase, Phase::Complete);
}

#[test]
fn a_path_that_carries_nothing_is_no_narrow_one() {
    let mut world = World::new(0, 0);
    for _ in 0..50 {
        assert_eq!(world.resend(1400), Change::Nothing);
    }
}

/// The chance that a suspicion comes to its end, and after how many pairs of a retransmission and a probe on the average, if
/// each probe is lost with the probability `probe` and each large packet with `large`, which ends it if it arrives.
fn found(probe: f64, large: f64) -> (f64, f64) {
    // Those that go on, by the probes that were not answered, and how likely they are.
    let (mut open, mut found, mut pairs) = (vec![1.0], 0.0, 0.0);
    for n in 1..=PAIRS {
        let mut next = vec![0.0; usize::from(n) + 1];
        // What comes of the large packet beside the last probe is not known when that is answered.
        let go_on = if n == 1 { 1.0 } else { large };
        for (unanswered, likely) in (0..).zip(open) {
            next[unanswered] += likely * go_on * (1.0 - probe);
            next[unanswered + 1] += likely * go_on * probe;
        }
        for (unanswered, likely) in (0..).zip(&mut next) {
            let tally = Tally { prompt: n - unanswered, unanswered, ..Tally::new(1400) };
            if tally.odds() >= CERTAIN {
                found += *likely;
                pairs += f64::from(n) * core::mem::take(likely);
            }
        }
        open = next;
    }
    (found, pairs / found)
}

/// What the time R holds with timeouts of 2 s, which answers that come at once keep from being doubled.
const PAIRS: u8 = 60;

#[test]
fn a_path_that_only_loses_is_seldom_taken_for_a_narrow_one() {
    for (loss, most) in
        [(0.1, 8e-7), (0.2, 4e-5), (0.3, 3e-4), (0.5, 3e-3), (0.7, 0.008), (0.8, 0.009), (0.9, 0.009), (1.0, 0.0)]
    {
        // The first transmission and three in vain come before.
        let wrong = f64::powi(loss, 1 + i32::from(IN_VAIN)) * found(loss, loss).0;
        println!("{wrong:e} with a loss of {loss}");
        assert!(wrong <= most, "{wrong} with a loss of {loss}");
    }
}

#[test]
fn a_narrow_path_is_found_however_much_it_loses() {
    for (loss, most, missed) in
        [(0.0, 3.0, 0.0), (0.1, 4.0, 1e-12), (0.2, 5.0, 1e-12), (0.5, 10.0, 1e-9), (0.7, 20.0, 1e-3)]
    {
        let (found, pairs) = found(loss, 1.0);
        assert!(1.0 - found <= missed && pairs <= most, "{pairs} pairs, {} missed", 1.0 - found);
    }
}

#[test]
fn a_break_of_the_path_weighs_nothing() {
    for down in [3, 10, 100] {
        let mut world = World::new(0, 0);
        (0..down).for_each(|_| assert_eq!(world.resend(1400), Change::Nothing));
        // Small packets pass again, and large ones are lost for another while.
        world.mtu = 1240;
        assert_eq!([(); 4].map(|()| world.resend(1400)), [Change::Prompt; 4]);
        let more = (1..200).find(|_| world.resend(1400) == Change::Lowered);
        assert!(more.is_some_and(|more| more <= 5), "{more:?}");
    }
}

#[test]
fn what_passes_ends_the_suspicion() {
    let mut world = World::new(1240, 0);
    for _ in 0..20 {
        world.resend(1400);
        world.resend(1400);
        world.pmtu.on_arrival(1399, false);
        assert!(world.pmtu.suspicion.is_some(), "a smaller one says nothing");
        world.pmtu.on_arrival(1400, false);
        assert!(world.pmtu.is_blank());
    }
    world.resend(1400);
    world.pmtu.trust();
    assert!(world.pmtu.is_blank() && !world.pmtu.is_due());
}

#[test]
fn answers_through_a_full_queue_count_less() {
    let mut world = World { queued: true, ..World::new(1240, 0) };
    let answers = (1..200).find(|_| world.resend(1400) == Change::Lowered);
    assert_eq!(answers, Some(14));
}

#[test]
fn a_limit_is_found_down_to_the_floor_and_not_below() {
    for below in [0, 4, 32, 10_000] {
        let world = World::new(0, below);
        let (base, floor) = (world.pmtu.base, world.pmtu.floor);
        assert!(base >= floor && floor > Pci::LEN as u32, "no packet is without data");
        for mtu in [1200, 900, 500, 300, 100, 13] {
            let mut world = World { mtu, ..World::new(mtu, below) };
            for _ in 0..40 {
                world.resend(1400);
            }
            world.search();
            let limit = world.pmtu.limit;
            if mtu >= floor {
                assert!((mtu.saturating_sub(STEP)..=mtu).contains(&limit), "{limit} on {mtu}, {below} below");
            } else {
                assert_eq!(limit, floor);
                assert!(world.pmtu.suspicion.is_none());
            }
        }
    }
}

#[test]
fn a_wider_path_is_used_after_a_while() {
    let mut world = World::new(1240, 0);
    for _ in 0..4 {
        world.resend(1400);
    }
    world.search();
    let (limit, probes) = (world.pmtu.limit, world.probes);
    let rest = |world: &mut World| {
        assert_eq!(world.pmtu.deadline(RTT), world.pmtu.raise_at);
        world.now = world.pmtu.raise_at;
        world.pmtu.check(world.now, RTT);
        world.search();
    };
    // As narrow as before: probes find that out, and nothing else notices.
    rest(&mut world);
    assert!(world.pmtu.limit.abs_diff(limit) <= STEP && world.probes < probes + 40);
    world.mtu = 1350;
    rest(&mut world);
    assert!((1350 - STEP..=1350).contains(&world.pmtu.limit));
    world.mtu = 1400;
    rest(&mut world);
    assert!(world.pmtu.is_blank() && world.pmtu.limit().is_none());
    assert_eq!(world.pmtu.deadline(RTT), Instant::FAR_FUTURE);
}

#[test]
fn a_device_bounds_what_is_probed() {
    let mut world = World::new(1240, 0);
    for _ in 0..4 {
        world.resend(1400);
    }
    world.search();
    let found = world.pmtu.limit;
    for (most, mtu, limit) in
        [(1000, 1400, found), (found, 1400, found), (1300, 1240, found), (1300, 1400, 1300), (1350, 1400, 1350)]
    {
        world.mtu = mtu;
        world.now = world.pmtu.raise_at;
        world.pmtu.check(world.now, RTT);
        let from = world.probes;
        while world.pmtu.phase == Phase::Search {
            world.pmtu.fit(most);
            if let Some((number, size)) = world.pmtu.pick(world.now) {
                world.probes += 1;
                assert!(size <= most && size > found);
                if size <= mtu {
                    world.pmtu.on_answer(world.now, number, RTT);
                }
            } else if world.pmtu.phase == Phase::Search {
                world.now = world.pmtu.deadline(RTT);
                world.pmtu.check(world.now, RTT);
            }
        }
        assert!(
            world.pmtu.limit.abs_diff(limit) <= STEP && world.pmtu.limit <= most.max(found),
            "{}",
            world.pmtu.limit
        );
        assert_eq!(world.probes > from, most > found);
    }
    assert_eq!(world.pmtu.limit, 1350, "one probe finds that the device is the narrowest");
}

#[test]
fn answers_to_nothing_change_nothing() {
    let mut world = World::new(1240, 0);
    world.pmtu.on_resent(world.now, 1400, RTT);
    let due = world.pmtu.probe.unwrap().number;
    for number in [due, due + 1, Seq(7)] {
        assert_eq!(world.pmtu.on_answer(world.now, number, RTT), Change::Nothing, "not sent yet");
    }
    let (number, _) = world.pmtu.pick(world.now).unwrap();
    for n in 0..20 {
        assert_eq!(world.pmtu.on_answer(world.now, number + 1, RTT), Change::Nothing);
        let change = world.pmtu.on_answer(world.now, number, RTT);
        assert_eq!(change, if n == 0 { Change::Prompt } else { Change::Nothing }, "once");
    }
    assert_eq!(world.pmtu.suspicion, Some(Tally { prompt: 1, ..Tally::new(1400) }));
}

#[test]
fn a_search_gives_way_to_a_suspicion() {
    let mut world = World::new(1240, 0);
    for _ in 0..4 {
        world.resend(1400);
    }
    assert_eq!((world.pmtu.phase, world.pmtu.limit), (Phase::Search, BASE));
    // It has become narrower still.
    world.mtu = 600;
    for _ in 0..3 {
        world.resend(1400);
    }
    assert_eq!((world.pmtu.phase, world.pmtu.limit), (Phase::Base, BASE / 2));
    world.resend(1400);
    world.search();
    assert!((600 - STEP..=600).contains(&world.pmtu.limit));
}
