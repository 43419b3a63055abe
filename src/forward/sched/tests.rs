use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::time::Instant;

const BEST: QosCube = QosCube::BestEffort;
const VIDEO: QosCube = QosCube::Video;
const VOICE: QosCube = QosCube::Voice;

fn filled(cubes: &[QosCube], packets: u32) -> Scheduler<u32> {
    let mut queue = Scheduler::new(Limits { best_effort: 1000, video: 1000, voice: 1000 });
    for n in 0..packets {
        for &cube in cubes {
            queue.enqueue(cube, 1000, n).unwrap();
        }
    }
    queue
}

/// Numbers of best effort, video and voice packets among the next `packets`.
fn shares(queue: &mut Scheduler<u32>, packets: usize) -> [usize; 3] {
    let mut got = [0; 3];
    for _ in 0..packets {
        let (cube, _) = queue.dequeue().unwrap();
        got[usize::from(cube.number())] += 1;
    }
    got
}

#[test]
fn cubes_are_served_by_priority() {
    let mut queue = filled(&[BEST, VIDEO, VOICE], 3);
    let order: Vec<_> = core::iter::from_fn(|| queue.dequeue()).map(|(cube, n)| (cube.number(), n)).collect();
    assert_eq!(order, [(2, 0), (2, 1), (2, 2), (1, 0), (1, 1), (1, 2), (0, 0), (0, 1), (0, 2)]);
}

#[test]
fn no_cube_is_starved() {
    assert_eq!(shares(&mut filled(&[BEST, VIDEO], 800), 800), [99, 701, 0]);
    let [best, _, voice] = shares(&mut filled(&[BEST, VOICE], 800), 800);
    assert!((400..440).contains(&voice) && best >= 360, "best effort {best}, voice {voice}");
    let [best, video, voice] = shares(&mut filled(&[BEST, VIDEO, VOICE], 800), 800);
    assert!((400..440).contains(&voice) && best >= 90 && video >= 250, "{best}, {video}, {voice}");
}

#[test]
fn unused_shares_go_to_other_cubes() {
    for cube in QosCube::ALL {
        assert_eq!(shares(&mut filled(&[cube], 700), 700)[usize::from(cube.number())], 700);
    }
}

#[test]
fn a_call_does_not_wait_behind_a_backlog() {
    let mut queue = filled(&[BEST, VIDEO], 900);
    for _ in 0..200 {
        shares(&mut queue, 8);
        queue.enqueue(VOICE, 200, 0).unwrap();
        assert_eq!(queue.queued_before(VOICE), 1);
        assert_eq!(queue.dequeue(), Some((VOICE, 0)));
    }
}

#[test]
fn a_full_queue_drops() {
    let mut queue = Scheduler::new(Limits { best_effort: 2, video: 2, voice: 2 });
    for cube in QosCube::ALL {
        queue.enqueue(cube, 1, 1).unwrap();
        queue.enqueue(cube, 1, 2).unwrap();
    }
    assert_eq!(queue.enqueue(BEST, 1, 3), Err(3));
    assert_eq!(queue.enqueue(VIDEO, 1, 3), Err(3));
    assert_eq!(queue.enqueue(VOICE, 1, 3), Err(1), "the oldest word");
    assert_eq!((queue.len(), queue.queued_before(BEST), queue.queued_before(VIDEO)), (6, 6, 4));
    let mut none = Scheduler::new(Limits { best_effort: 0, video: 0, voice: 0 });
    assert!(QosCube::ALL.into_iter().all(|cube| none.enqueue(cube, 1, 7) == Err(7)));
    assert_eq!(none.dequeue(), None);
}

/// Packets that a device of `per_second` sends in one second, behind a queue that is never empty, and the most that
/// waits in it.
fn device(per_second: u64) -> (u64, usize) {
    let (mut gate, mut sent, mut most) = (Gate::new(), 0, 0);
    let (mut inside, mut now, mut idle_until) = (0_usize, Instant::ZERO, 0_u64);
    while now < Instant::from_millis(1000) {
        let room = gate.look(now, inside);
        inside += room;
        most = most.max(inside);
        let next = gate.deadline();
        // What the device sends until then, to the nanosecond.
        let (mut clock, each) = (now.as_nanos().max(idle_until), 1_000_000_000 / per_second);
        while inside > 0 && clock < next.as_nanos() {
            clock += each;
            inside -= 1;
            sent += 1;
        }
        idle_until = clock;
        now = next;
    }
    (sent, most)
}

#[test]
fn a_device_never_runs_dry_and_holds_little() {
    for (per_second, most_held) in [(125, 16), (12_000, 20), (120_000, 140), (1_200_000, 1024)] {
        let (sent, held) = device(per_second);
        assert!(sent as f64 >= per_second as f64 * 0.99, "{sent} of {per_second} a second");
        assert!(held <= most_held, "{held} held at {per_second} a second");
    }
}

#[test]
fn a_device_that_becomes_slow_is_given_less() {
    let (mut gate, mut now) = (Gate::new(), Instant::ZERO);
    let mut look = |gate: &mut Gate, queued| {
        now = gate.deadline();
        gate.look(now, queued)
    };
    for _ in 0..20 {
        look(&mut gate, 0);
    }
    assert_eq!(gate.limit(), Gate::MOST);
    for _ in 0..20 * Gate::PATIENCE {
        let queued = gate.limit() - 1;
        look(&mut gate, queued);
    }
    assert!(gate.limit() <= 16, "{}", gate.limit());
}

#[test]
fn samples_after_a_pause_are_ignored() {
    let mut gate = Gate::new();
    for n in 1..100 {
        gate.look(Instant::from_millis(n * 100), 0);
    }
    assert_eq!(gate.limit(), Gate::new().limit());
    assert!(Gate::PERIOD <= Duration::from_millis(1));
}

#[test]
fn a_device_that_stands_still_is_looked_at_seldom_and_at_once_when_it_moves() {
    let (mut gate, mut now, mut looks) = (Gate::new(), Instant::ZERO, 0);
    gate.look(now, 1035);
    while now < Instant::from_millis(10_000) {
        let before = now;
        now = gate.deadline();
        assert!(now > before && now - before <= Gate::LONGEST.min(Gate::PERIOD.max(before - Instant::ZERO)));
        gate.look(now, 1035);
        looks += 1;
    }
    assert!(looks < 200, "{looks} in 10 s");
    // Seen by chance, because another packet came.
    now += Gate::PERIOD;
    gate.look(now, 1034);
    assert_eq!(gate.deadline(), now + Gate::PERIOD);
    // It was busy with what it had.
    now = gate.deadline();
    let limit = gate.limit();
    gate.look(now, limit - 1);
    assert_eq!(gate.deadline(), now + Gate::PERIOD);
}

proptest! {
    #[test]
    fn every_packet_comes_out_once_in_the_order_of_its_cube(
        packets in prop::collection::vec((0_u8..3, 0_usize..100_000, 0_usize..4), 0..300),
    ) {
        let mut queue = Scheduler::new(Limits { best_effort: 20, video: 10, voice: 5 });
        let (mut waiting, mut out) = (0, Vec::new());
        for (n, (cube, len, takes)) in packets.into_iter().enumerate() {
            waiting += usize::from(queue.enqueue(QosCube::from_number(cube).unwrap(), len, (cube, n)).is_ok());
            for _ in 0..takes {
                out.extend(queue.dequeue().map(|(_, packet)| packet));
            }
            prop_assert!(queue.len() + out.len() == waiting && queue.len() <= 35);
        }
        out.extend(core::iter::from_fn(|| queue.dequeue()).map(|(_, packet)| packet));
        prop_assert_eq!(out.len(), waiting);
        for cube in 0..3 {
            let numbers: Vec<_> = out.iter().filter(|(of, _)| *of == cube).collect();
            prop_assert!(numbers.is_sorted());
        }
    }

    #[test]
    fn the_gate_stays_within_its_bounds(looks in prop::collection::vec((any::<u32>(), any::<usize>()), 0..300)) {
        let (mut gate, mut now) = (Gate::new(), Instant::ZERO);
        for (pause, queued) in looks {
            now += Duration::from_nanos(pause.into());
            let room = gate.look(now, queued);
            prop_assert!((Gate::LEAST..=Gate::MOST).contains(&gate.limit()) && room <= gate.limit());
            prop_assert!(gate.deadline() <= now + Gate::LONGEST);
        }
    }
}
