//! Durations and rates as people write them.

use std::time::Duration;

const NO_DURATION: &str = "write a number and a unit: ms, s, m, h or d";
const NO_RATE: &str = "write bits per second, with k, M or G behind if need be: 500k, 2.5M, 1G";

/// A duration; without a unit, milliseconds.
pub(crate) fn millis(text: &str) -> Result<Duration, &'static str> {
    duration(text, "ms")
}

/// A duration; without a unit, seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, &'static str> {
    duration(text, "s")
}

fn duration(text: &str, default: &str) -> Result<Duration, &'static str> {
    let (number, unit) = split(text);
    let seconds = match if unit.is_empty() { default } else { unit } {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(NO_DURATION),
    };
    let number: f64 = number.parse().map_err(|_| NO_DURATION)?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| NO_DURATION)
}

/// A rate in bits per second.
pub(crate) fn rate(text: &str) -> Result<f64, &'static str> {
    let (number, unit) = split(text);
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "m" | "M" => 1e6,
        "g" | "G" => 1e9,
        _ => return Err(NO_RATE),
    };
    let number: f64 = number.parse().map_err(|_| NO_RATE)?;
    Some(number * factor).filter(|rate| rate.is_finite() && *rate > 0.0).ok_or(NO_RATE)
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// Milliseconds with their fraction.
pub(crate) fn as_millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A number of 16 bits, decimal or, with `0x` in front, hexadecimal.
pub(crate) fn ethertype(text: &str) -> Result<u16, &'static str> {
    let read = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u16::from_str_radix(digits, 16));
    read.map_err(|_| "write a number such as 0xa000")
}
