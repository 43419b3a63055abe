use std::sync::Arc;
use std::task::Wake;

use super::*;

fn at(micros: u64) -> Instant {
    Instant::from_nanos(micros * 1000)
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn flag() -> (Arc<Flag>, Waker) {
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    (Arc::clone(&flag), Waker::from(flag))
}

fn lead_once(lead: &Lead<()>, from: u64, to: u64) {
    let device = lead.begin(at(from)).unwrap();
    lead.still_led(at(to));
    lead.end(device);
    lead.leave(at(to));
}

#[test]
fn a_device_that_nobody_leads_is_guarded() {
    let lead = Lead::new(());
    assert_eq!(lead.turn(at(1), Waker::noop()), Turn::Guard);
}

#[test]
fn the_standby_sleeps_while_somebody_leads_and_is_woken_when_that_ends() {
    let lead = Lead::new(());
    let (woken, me) = flag();
    let device = lead.begin(at(10)).unwrap();
    assert!(lead.begin(at(10)).is_none(), "one at a time");
    assert!(matches!(lead.turn(at(11), &me), Turn::Rest(_)));
    assert_eq!(lead.turn(at(1011), &me), Turn::Sleep);
    lead.end(device);
    assert!(woken.0.load(Ordering::SeqCst));
}

#[test]
fn a_leader_that_comes_back_soon_disturbs_nobody() {
    let lead = Lead::new(());
    let (woken, me) = flag();
    for i in 1..100 {
        lead_once(&lead, i * 30, i * 30 + 20);
        assert!(matches!(lead.turn(at(i * 30 + 25), &me), Turn::Rest(_)));
    }
    assert!(!woken.0.load(Ordering::SeqCst));
    assert_eq!(lead.turn(at(10_000), &me), Turn::Guard, "it did not come back");
}

#[test]
fn a_leader_with_work_of_its_own_hands_the_device_over_at_once() {
    let lead = Lead::new(());
    // A packet every 2 ms, 1.5 ms of work each.
    for i in 1..10 {
        lead_once(&lead, i * 2000, i * 2000 + 500);
    }
    let (woken, me) = flag();
    let device = lead.begin(at(20_000)).unwrap();
    lead.end(device);
    assert!(matches!(lead.turn(at(20_100), &me), Turn::Rest(_)), "it has not gone back to work");
    lead.leave(at(20_500));
    assert!(woken.0.load(Ordering::SeqCst));
    assert_eq!(lead.turn(at(20_501), &me), Turn::Guard);
    // One long absence does not count for ever.
    for i in 1..16 {
        lead_once(&lead, 21_000 + i * 30, 21_020 + i * 30);
    }
    assert!(lead.absence() < SHORT);
}

#[test]
fn a_device_that_brings_nobody_else_anything_is_not_handed_over() {
    let lead = Lead::new(());
    let (woken, me) = flag();
    // Absences of 1 ms less a little, as of a thread that has bursts to decrypt, and nobody else waits for packets.
    let mut handed_over = 0;
    for i in 1..200 {
        lead_once(&lead, i * 1000, i * 1000 + 100);
        handed_over += usize::from(woken.0.swap(false, Ordering::SeqCst));
        if lead.turn(at(i * 1000 + 101), &me) == Turn::Guard {
            lead.note(false);
        }
    }
    assert!((1..100).contains(&handed_over), "{handed_over}");
    assert!(!woken.0.load(Ordering::SeqCst));
    // A packet for somebody else is all it takes.
    lead.note(true);
    lead_once(&lead, 200_000, 200_100);
    assert!(woken.0.load(Ordering::SeqCst));
    assert_eq!(lead.turn(at(200_101), &me), Turn::Guard);
}

/// Threads lead in turn, another one stands by: whenever it sleeps somebody wakes it.
#[test]
fn the_standby_never_sleeps_while_nobody_leads() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    const ROUNDS: u64 = 20_000;
    let lead = Lead::new(());
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        let standby = s.spawn(|| {
            let me = Waker::from(Arc::new(Unpark(std::thread::current())));
            while !done.load(Ordering::SeqCst) {
                if lead.turn(at(1_000_000), &me) == Turn::Sleep {
                    std::thread::park();
                }
            }
        });
        for n in 0..ROUNDS {
            if let Some(device) = lead.begin(at(n)) {
                std::hint::spin_loop();
                lead.end(device);
            }
        }
        // Nobody leads any more: if the standby sleeps now, it does for ever.
        done.store(true, Ordering::SeqCst);
        for _ in 0..1000 {
            if standby.is_finished() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let lost = !standby.is_finished();
        standby.thread().unpark();
        standby.join().unwrap();
        assert!(!lost, "the standby slept although no thread led");
    });
}
