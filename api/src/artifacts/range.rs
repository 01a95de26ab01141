//! The part of a file that a request asks for (RFC 9110 §14).

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

/// The requested part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// From the first to the last of these bytes.
    Part { first: u64, last: u64 },
    /// Bytes that it does not have.
    None,
}

/// What a request wants of a file of this tag and size.
///
/// The request is for the whole file if the header is malformed, has several ranges, or names another version.
pub(super) fn wanted(headers: &HeaderMap, etag: &str, bytes: u64) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(RANGE) else { return Wanted::Whole };
    if headers.contains_key(IF_RANGE) && text(IF_RANGE) != Some(etag) {
        return Wanted::Whole;
    }
    parse(range, bytes).unwrap_or(Wanted::Whole)
}

fn parse(range: &str, bytes: u64) -> Option<Wanted> {
    let (unit, ranges) = range.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A list may have empty elements.
    let mut ranges = ranges.split(',').map(|range| range.trim_matches([' ', '\t'])).filter(|range| !range.is_empty());
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return None };
    let (first, last) = range.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number that does not fit is past the end of every file.
    let number = |text: &str| is_number(text).then(|| text.parse::<u64>().unwrap_or(u64::MAX));
    if first.is_empty() {
        let length = number(last)?.min(bytes);
        return Some(if length == 0 { Wanted::None } else { Wanted::Part { first: bytes - length, last: bytes - 1 } });
    }
    if is_number(last) && is_less(last, first) {
        return None;
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    Some(if first >= bytes { Wanted::None } else { Wanted::Part { first, last: last.min(bytes - 1) } })
}

/// Whether a number is less than another, however many digits they have.
fn is_less(number: &str, other: &str) -> bool {
    let digits = |text: &'_ str| text.trim_start_matches('0').to_owned();
    let (number, other) = (digits(number), digits(other));
    (number.len(), number) < (other.len(), other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(range: &str, if_range: Option<&str>, bytes: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        if let Some(tag) = if_range {
            headers.insert(IF_RANGE, tag.parse().unwrap());
        }
        wanted(&headers, "\"tag\"", bytes)
    }

    #[test]
    fn a_single_range_is_cut_to_the_file() {
        let part = |first, last| Wanted::Part { first, last };
        for (range, wanted) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-5", part(2, 5)),
            ("bytes=2-", part(2, 9)),
            ("bytes=2-99", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-99", part(0, 9)),
            ("bytes=9-99999999999999999999999", part(9, 9)),
            ("bytes=10-", Wanted::None),
            ("bytes=99999999999999999999999-", Wanted::None),
            ("bytes=-0", Wanted::None),
            ("Bytes=2-5", part(2, 5)),
            ("bytes=,2-5 ,,", part(2, 5)),
            ("bytes=002-5", part(2, 5)),
        ] {
            assert_eq!(asked(range, None, 10), wanted, "{range}");
        }
        assert_eq!(asked("bytes=0-", None, 0), Wanted::None, "an empty file has no bytes");
        assert_eq!(asked("bytes=-1", None, 0), Wanted::None);
    }

    #[test]
    fn what_is_no_single_range_is_answered_with_the_whole() {
        for range in [
            "bytes=0-1,4-5",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=",
            "bytes=-",
            "items=0-1",
            "bytes=+1-2",
            "",
            "bytes",
            "bytes=1-2-3",
            "bytes=,",
            "bytes=1 -2",
            "bytes=99999999999999999999999-99999999999999999999998",
        ] {
            assert_eq!(asked(range, None, 10), Wanted::Whole, "{range}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_answered_with_the_whole() {
        assert_eq!(asked("bytes=2-5", Some("\"tag\""), 10), Wanted::Part { first: 2, last: 5 });
        for other in ["\"other\"", "W/\"tag\"", "Sat, 31 Jan 2026 12:00:00 GMT"] {
            assert_eq!(asked("bytes=2-5", Some(other), 10), Wanted::Whole, "{other}");
        }
    }

    /// The grammar of RFC 9110 §14, with numbers that are large enough for the texts below.
    fn by_the_grammar(first: &str, last: &str, bytes: u64) -> Wanted {
        let number = |text: &str| text.parse::<u128>().unwrap();
        let bytes = u128::from(bytes);
        let (first, last) = match (first, last) {
            ("", "") => return Wanted::Whole,
            ("", length) if number(length) == 0 || bytes == 0 => return Wanted::None,
            ("", length) => (bytes.saturating_sub(number(length)), bytes - 1),
            (first, "") => (number(first), u128::MAX),
            (first, last) if number(last) < number(first) => return Wanted::Whole,
            (first, last) => (number(first), number(last)),
        };
        if first >= bytes {
            return Wanted::None;
        }
        let small = |number: u128| u64::try_from(number).unwrap();
        Wanted::Part { first: small(first), last: small(last.min(bytes - 1)) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_range_is_read_by_the_grammar(
            first in "[0-9]{0,3}|0{0,2}[0-9]{17,22}",
            last in "[0-9]{0,3}|0{0,2}[0-9]{17,22}",
            unit in "[bB][yY][tT][eE][sS]",
            (before, after) in ("[ \t]?,?[ \t]?", "[ \t]?,?[ \t]?"),
            bytes in prop_oneof![0..20_u64, 0..1_000_u64, any::<u64>()],
        ) {
            let range = format!("{unit}={before}{first}-{last}{after}");
            prop_assert_eq!(parse(&range, bytes).unwrap_or(Wanted::Whole), by_the_grammar(&first, &last, bytes), "{}", range);
        }

        #[test]
        fn whatever_is_asked_is_within_the_file(range in "(bytes=)?[0-9,\\- ]{0,30}|\\PC{0,20}", bytes in any::<u64>()) {
            if let Some(Wanted::Part { first, last }) = parse(&range, bytes) {
                prop_assert!(first <= last && last < bytes, "{} of {}: {}-{}", range, bytes, first, last);
            }
        }
    }
}
