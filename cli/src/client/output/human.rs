//! Sizes, durations, times and values as people read them.

use std::time::{Duration, SystemTime};

use api::terminal::turns;
use events::Timestamp;
use serde_json::Value;

/// `512 B`, `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        // 1023.95 would be shown as 1024.0.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `1 difference`, `2 differences`: a count with its regular noun.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `0.123457`, `1.23457e-7`: a number to six significant digits.
pub(crate) fn number(number: f64) -> String {
    let digits = format!("{number:.5e}");
    let Some((_, exponent)) = digits.split_once('e') else { return number.to_string() };
    let (Ok(rounded), Ok(exponent)) = (digits.parse::<f64>(), exponent.parse::<i32>()) else { return digits };
    if (-5..6).contains(&exponent) { rounded.to_string() } else { format!("{rounded:e}") }
}

/// A number by the name of what it measures: bytes with their unit, others to six significant digits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "its range is checked")]
pub(crate) fn measured(name: &str, measure: f64) -> String {
    let is_size = name.ends_with("_bytes") && measure >= 0.0 && measure < u64::MAX as f64;
    if is_size { size(measure as u64) } else { number(measure) }
}

/// A value of a job's results by its name: a whole number as it is, except bytes; others as [`measured`] ones.
pub(crate) fn result(name: &str, result: &Value) -> String {
    match result.as_f64().filter(|_| name.ends_with("_bytes") || result.is_f64()) {
        Some(measure) => measured(name, measure),
        None => value(result),
    }
}

/// `0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`: two units at most.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 10 && time.subsec_millis() >= 50 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    let two = |big: u64, big_unit, small: u64, small_unit| match small {
        0 => format!("{big} {big_unit}"),
        small => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        86_400.. => two(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

/// How long ago the server's time was by this machine's clock: `3 min ago`, one unit.
pub(crate) fn ago(at: &str) -> String {
    let Some(then) = parse_time(at) else {
        return plain(at);
    };
    match wall_clock().duration_since(then) {
        Ok(past) if past.as_secs() >= 1 => format!("{} ago", coarse(past)),
        // Clocks of two machines differ by a little.
        Ok(_) => "just now".to_owned(),
        Err(ahead) if ahead.duration() < Duration::from_mins(1) => "just now".to_owned(),
        Err(ahead) => format!("in {}", coarse(ahead.duration())),
    }
}

/// Now, by this machine's clock.
pub(crate) fn now() -> Timestamp {
    wall_clock().into()
}

/// The time between two of the server's times.
pub(crate) fn between(from: &str, to: &str) -> Option<Duration> {
    parse_time(to)?.duration_since(parse_time(from)?).ok()
}

/// `2026-01-31 12:00:01` in UTC.
pub(crate) fn time(at: &str) -> String {
    match parse_time(at) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', ""),
        None => plain(at),
    }
}

/// Strangers' text on a terminal: without the control characters that could drive it, colours too, and without those
/// that turn the direction in which what follows is read.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|&c| !turns(c) && (!c.is_control() || matches!(c, '\n' | '\t'))).collect()
}

/// One line of at most `max_chars`.
pub(crate) fn line(text: &str, max_chars: usize) -> String {
    let text = plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= max_chars {
        return text;
    }
    let short: String = text.chars().take(max_chars.saturating_sub(1)).collect();
    format!("{}…", short.trim_end())
}

/// A JSON value without the quotes of a string, lists with commas.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => plain(&value.to_string()),
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(", "),
    }
}

fn coarse(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        86_400.. => format!("{} d", seconds / 86_400),
    }
}

fn parse_time(at: &str) -> Option<SystemTime> {
    let at = at.strip_suffix("+00:00").map_or_else(|| at.to_owned(), |at| format!("{at}Z"));
    humantime::parse_rfc3339(&at).ok()
}

#[expect(clippy::disallowed_methods, reason = "a relative time is shown by the reader's own clock; nothing is decided")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(size(100 << 20), "100.0 MiB");
    }

    #[test]
    fn counts() {
        let told = [0, 1, 2].map(|count| counted(count, "difference"));
        assert_eq!(told, ["0 differences", "1 difference", "2 differences"]);
    }

    #[test]
    fn numbers() {
        for (value, shown) in [
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.333333"),
            (0.0, "0"),
            (-2.0 / 3.0, "-0.666667"),
            (100_000.0, "100000"),
            (999_999.4, "999999"),
            (999_999.6, "1e6"),
            (12_884_901_888.0, "1.28849e10"),
            (0.000_012_345_678, "0.0000123457"),
            (1.5e-9, "1.5e-9"),
            (f64::MAX, "1.79769e308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn results() {
        for (name, value, shown) in [
            ("train_loss", serde_json::json!(1.587_864_442_702_865_4), "1.58786"),
            ("samples", serde_json::json!(123_456_789), "123456789"),
            ("gpu_memory_bytes", serde_json::json!(3_221_225_472_u64), "3.0 GiB"),
            ("delta_bytes", serde_json::json!(-5), "-5"),
            ("note", serde_json::json!("as it is"), "as it is"),
        ] {
            assert_eq!(result(name, &value), shown);
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration(Duration::from_millis(830)), "0.8 s");
        assert_eq!(duration(Duration::from_secs(5)), "5 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(duration(Duration::from_hours(1)), "1 h");
        assert_eq!(duration(Duration::from_hours(27)), "1 d 3 h");
    }

    #[test]
    fn times_of_the_server() {
        assert_eq!(time("2026-01-31T12:00:01.123456Z"), "2026-01-31 12:00:01");
        assert_eq!(time("2026-01-31T12:00:01+00:00"), "2026-01-31 12:00:01");
        assert_eq!(time("soon"), "soon");
        let elapsed = between("2026-01-31T12:00:01Z", "2026-01-31T12:00:03.500Z");
        assert_eq!(elapsed, Some(Duration::from_millis(2_500)));
        assert!(ago("2020-01-01T00:00:00Z").ends_with(" d ago"));
    }

    #[test]
    fn others_text_can_not_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\rc\nd"), "a[2Jbc\nd");
        assert_eq!(plain("a\u{202e}b\u{9b}c"), "abc");
        assert_eq!(line("one\n  two three", 9), "one two…");
        assert_eq!(value(&serde_json::json!(["a", 1, true])), "a, 1, true");
    }
}
