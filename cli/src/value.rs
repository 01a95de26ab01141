//! Values as they are written in options: times, sizes, addresses and numbers. Each refusal has the same form.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use events::Timestamp;
use events::time::from_rfc3339;

/// The oldest moment that [`Since`] can name. An older one means the same: everything.
const LONGEST_AGO: Duration = Duration::from_hours(50 * 365 * 24);

/// Reads a time, such as `30s`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| format!("{text:?} is no time, such as 30s or 5m"))
}

/// Reads a size: a number with a unit, such as `5GiB`, or of bytes.
pub(crate) fn size(text: &str) -> Result<ByteSize, String> {
    ByteSize::from_str(text.trim()).map_err(|_| format!("{text:?} is no size, such as 5GiB"))
}

/// Reads the address of a server.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is no address, such as 127.0.0.1:8010"))
}

/// Reads a whole number.
pub(crate) fn count<N: FromStr>(text: &str) -> Result<N, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is no whole number from 0 up"))
}

/// Reads a whole number that is not 0.
pub(crate) fn positive<N: FromStr + Default + PartialEq>(text: &str) -> Result<N, String> {
    let number = text.trim().parse().ok().filter(|number| *number != N::default());
    number.ok_or_else(|| format!("{text:?} is no whole number from 1 up"))
}

/// The moment from which on a command selects jobs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Since {
    Ago(Duration),
    At(Timestamp),
}

impl Since {
    /// The moment, at the time `now`.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => now - ago.min(LONGEST_AGO),
            Self::At(at) => at,
        }
    }
}

/// Reads a moment: how long ago, a day or a time.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    let at = from_rfc3339(text).or_else(|_| from_rfc3339(&format!("{text}T00:00:00Z"))).map(Since::At);
    at.or_else(|_| time(text).map(Since::Ago))
        .map_err(|_| format!("{text:?} is no time: give 2h, 3d, 2026-11-24, or 2026-11-24T08:00:00Z"))
}

#[cfg(test)]
mod tests {
    use events::time::to_rfc3339;

    use super::*;

    #[test]
    fn a_value_is_read_or_told_with_one_that_can_be() {
        assert_eq!(time("5m").unwrap(), Duration::from_mins(5));
        assert_eq!(time("soon").unwrap_err(), "\"soon\" is no time, such as 30s or 5m");
        assert_eq!(time("-5s").unwrap_err(), "\"-5s\" is no time, such as 30s or 5m");
        for (text, bytes) in [("5GiB", 5 << 30), ("10 MiB", 10 << 20), ("104857600", 100 << 20), ("5MB", 5_000_000)] {
            assert_eq!(size(text).unwrap().as_u64(), bytes);
        }
        let exact = size("18446744073709551615").unwrap();
        assert_eq!(exact.as_u64(), u64::MAX, "a number of bytes is exact");
        for text in ["lots", "", "-1", "5XB"] {
            assert_eq!(size(text).unwrap_err(), format!("{text:?} is no size, such as 5GiB"));
        }
        assert_eq!(address("[::1]:80").unwrap().port(), 80);
        assert_eq!(address("18915").unwrap_err(), "\"18915\" is no address, such as 127.0.0.1:8010");
        assert_eq!(count("0"), Ok(0_u32));
        assert_eq!(count::<u64>("-3").unwrap_err(), "\"-3\" is no whole number from 0 up");
        assert_eq!(positive("7"), Ok(7_usize));
        assert_eq!(positive::<u32>("0").unwrap_err(), "\"0\" is no whole number from 1 up");
    }

    #[test]
    fn a_moment_is_how_long_ago_a_day_or_a_time() {
        let now = from_rfc3339("2026-11-24T08:00:00Z").unwrap();
        for (text, moment) in [
            ("2h", "2026-11-24T06:00:00.000000Z"),
            ("3d", "2026-11-21T08:00:00.000000Z"),
            ("2026-11-20", "2026-11-20T00:00:00.000000Z"),
            ("2026-11-20T12:30:00+02:00", "2026-11-20T10:30:00.000000Z"),
        ] {
            assert_eq!(to_rfc3339(since(text).unwrap().at(now)), moment, "{text}");
        }
        assert!(since("9999999999d").unwrap().at(now) < now, "a moment that no clock can show is a very old one");
        assert!(since("yesterday").unwrap_err().starts_with("\"yesterday\" is no time: give 2h, 3d, "));
    }
}
