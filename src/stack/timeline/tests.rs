use super::*;

fn sample(millis: u64, written: u64, retransmitted: u64) -> Sample {
    Sample {
        at: Instant::from_millis(millis),
        round_trip: 20.0,
        window: Some(30.0),
        in_flight: 15.0,
        written,
        retransmitted,
    }
}

/// The coordinates of the polylines of a drawing.
fn lines(svg: &str) -> Vec<Vec<(f64, f64)>> {
    let number = |text: &str| text.parse::<f64>().ok();
    let point = |text: &str| text.split_once(',').and_then(|(x, y)| number(x).zip(number(y)));
    let polylines = svg.split("<polyline points='").skip(1).filter_map(|rest| rest.split('\'').next());
    polylines.map(|points| points.split(' ').filter_map(point).collect()).collect()
}

#[test]
fn values_are_drawn_over_time() {
    let mut timeline = Timeline::new();
    (0..=10).for_each(|n| timeline.push(sample(1000 + 100 * n, 125_000 * n, 0)));
    let svg = timeline.svg();
    let lines = lines(&svg);
    let [flight, window, round_trip, rate] = lines.as_slice() else { panic!("{svg}") };
    assert_eq!((flight.len(), window.len(), round_trip.len(), rate.len()), (11, 11, 11, 10));
    assert_eq!((flight.first().map(|p| p.0), flight.last().map(|p| p.0)), (Some(70.0), Some(880.0)));
    // Half as high above the axis, which is at 260.
    let height = |line: &[(f64, f64)]| line.first().map_or(0.0, |point| 260.0 - point.1);
    assert!((height(window) - 2.0 * height(flight)).abs() < 0.3, "{svg}");
    assert!(rate.iter().all(|point| (point.1 - rate[0].1).abs() < 0.2), "10 Mbit/s all the time: {svg}");
    assert!(!svg.contains("#cc0000"), "nothing was lost");
}

#[test]
fn retransmissions_are_marked_when_they_happen() {
    let mut timeline = Timeline::new();
    (0..=10).for_each(|n| timeline.push(sample(100 * n, 0, u64::from(n >= 5))));
    let svg = timeline.svg();
    let marks = svg.lines().find(|line| line.contains("#cc0000")).unwrap_or_default();
    assert_eq!(marks.matches("v-10").count(), 1, "{marks}");
    assert!(marks.contains("M475.0 600 v-10"), "in the middle: {marks}");
}

#[test]
fn memory_is_bounded_and_the_whole_time_is_kept() {
    let mut timeline = Timeline::new();
    (0..100_000).for_each(|n| timeline.push(sample(n, n, 0)));
    assert!(timeline.samples.len() <= MAX_SAMPLES);
    assert_eq!(timeline.duration(), std::time::Duration::from_millis(99_999));
}

#[test]
fn empty_and_short_timelines_are_drawn() {
    assert!(Timeline::new().svg().ends_with("</svg>\n"));
    let mut timeline = Timeline::new();
    timeline.push(sample(5, 0, 0));
    let svg = timeline.svg();
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn axes_end_at_short_numbers() {
    for (value, top) in [(0.1, 0.1), (0.11, 0.2), (1.0, 1.0), (259.0, 400.0), (8.1, 10.0), (800.0, 800.0)] {
        assert!((ceiling(value) - top).abs() < 1e-9, "{value}: {}", ceiling(value));
    }
}
