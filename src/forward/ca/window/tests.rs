use alloc::collections::VecDeque;

use super::*;

const LENGTH: f64 = 1000.0;

/// A late answer to an earlier question puts no reported packets back in flight.
#[test]
fn a_late_answer_puts_nothing_back_in_flight() {
    let now = Instant::from_millis(1);
    let mut window = Window::new(now);
    (0..8).for_each(|_| window.sent(now));
    window.report(now, 8, 0, None, LENGTH);
    assert_eq!(window.flight, 0);
    window.report(now, 8, 0, Some(0), LENGTH);
    assert_eq!(window.flight, 0);
}

/// The receiver counts copies made on the way twice: the packets in flight are corrected again and again.
#[test]
fn copies_on_the_way_do_not_hide_what_is_in_flight() {
    const DELAY: Duration = Duration::from_millis(10);
    let mut window = Window::new(Instant::from_millis(1));
    window.slow_start = false;
    let (mut data, mut news) = (VecDeque::new(), VecDeque::new());
    let (mut delivered, mut arrived, mut known) = (0, 0, 0);
    for now in (10..50_000).map(|n| Instant::from_nanos(n * 100_000)) {
        window.packets = 100.0;
        let room = (0..2).take_while(|_| window.room(now).is_ok().then(|| window.sent(now)).is_some()).count();
        data.extend((0..room).map(|_| (now + DELAY, None)));
        if window.ask(now) {
            data.push_back((now + DELAY, Some(window.sent_packets())));
        }
        while data.front().is_some_and(|(at, _)| *at <= now) {
            let asked = data.pop_front().unwrap().1;
            if asked.is_none() {
                arrived += 1;
                delivered += if arrived % 20 == 0 { 2 } else { 1 };
            }
            if asked.is_some() || arrived % 8 == 0 {
                news.push_back((now + DELAY, delivered, arrived, asked));
            }
        }
        while news.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, delivered, arrived, answer) = news.pop_front().unwrap();
            window.report(now, delivered, 0, answer, LENGTH);
            known = arrived;
        }
        let in_flight = window.sent_packets() - known;
        assert!(in_flight <= 140, "{in_flight} at {now:?}");
    }
}

/// Whoever knows a flow can make up a report: what it says is believed until the next answer only.
#[test]
fn made_up_reports_do_not_silence_true_ones() {
    for forged in [1 << 10, 1 << 20, u32::MAX / 2] {
        let mut now = Instant::from_millis(1);
        let mut window = Window::new(now);
        window.slow_start = false;
        let mut made_up = 0;
        for n in 0..2000 {
            now += Duration::from_millis(10);
            window.packets = 100.0;
            while window.room(now).is_ok() {
                window.sent(now);
            }
            let asks = window.ask(now).then_some(window.sent_packets());
            let arrived = window.sent_packets();
            if n == 999 {
                made_up = arrived;
                window.report(now, arrived.wrapping_add(forged), 0, None, LENGTH);
            }
            window.report(now, arrived, 0, asks, LENGTH);
        }
        let after = window.sent_packets() - made_up;
        assert!(made_up > 50_000 && after > made_up / 2, "{forged}: {made_up} before, {after} after");
    }
}

/// A receiver that reports more than it got, and no marks, has the window grow by what was sent, not by what it says.
#[test]
fn reports_of_unsent_packets_are_ignored() {
    let mut now = Instant::from_millis(1);
    let mut window = Window::new(now);
    let mut sent = 0;
    for n in 1..=100_u32 {
        while window.room(now).is_ok() && sent < n * 3 {
            window.sent(now);
            sent += 1;
        }
        window.limit();
        now += Duration::from_millis(1);
        window.report(now, n * 1_000_000, 0, Some(sent), LENGTH);
        assert!(window.packets <= INITIAL + f64::from(sent), "{} after {sent}", window.packets);
    }
}

/// Sends as much as there is room for.
fn fill(window: &mut Window, now: Instant) {
    while window.room(now).is_ok() {
        window.sent(now);
    }
}

/// A way that is gone and one that takes its place: nothing is waited for that was in flight, but of the new one no more is
/// believed than after the wait. A way that was heard of just now is not gone for what is in flight, however often it is said.
#[test]
fn what_was_in_flight_on_a_way_that_is_gone_is_not_waited_for() {
    let mut now = Instant::from_millis(1);
    let mut window = Window::new(now);
    fill(&mut window, now);
    window.handle_path_change(now);
    assert!(window.room(now).is_err(), "answers may still come");
    assert!(window.ask(now + TAIL));
    now += Duration::from_millis(500);
    assert!(window.room(now).is_err());
    window.handle_path_change(now);
    assert!(window.room(now).is_ok() && window.packets == INITIAL / 2.0);
    fill(&mut window, now);
    let sent = window.sent;
    // All the time: two packets in the time of an answer at the end.
    for step in 1..=100 {
        now += TAIL / 10;
        window.handle_path_change(now);
        fill(&mut window, now);
        let rounds = step / 10 + 1;
        assert!(window.sent - sent <= 8 + 2 * rounds, "{} packets in {rounds} times", window.sent - sent);
    }
}

/// The wait for feedback is over, and what was sent since went the same way: a change of the path is no later for that.
#[test]
fn a_wait_that_was_given_up_does_not_hide_a_change_of_the_path() {
    let mut now = Instant::from_millis(1);
    let mut window = Window::new(now);
    fill(&mut window, now);
    now += PATIENCE;
    fill(&mut window, now);
    assert!(window.packets < INITIAL && window.room(now).is_err());
    window.handle_path_change(now);
    assert!(window.room(now).is_ok());
    // But what is sent now has its time, and so has the first after a pause.
    fill(&mut window, now);
    window.handle_path_change(now);
    assert!(window.room(now).is_err());
    for given_up in [false, true] {
        let mut window = Window::new(now);
        if given_up {
            fill(&mut window, now);
            now += PATIENCE;
            assert!(window.room(now).is_ok());
            window.sent(now);
        }
        now += Duration::from_secs(10);
        fill(&mut window, now);
        window.handle_path_change(now);
        assert!(window.room(now).is_err(), "given up: {given_up}");
    }
}
