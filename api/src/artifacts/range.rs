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
    let (first, last) = range.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number that does not fit is past the end of every file.
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        let length = number(last)?.min(bytes);
        return Some(if length == 0 { Wanted::None } else { Wanted::Part { first: bytes - length, last: bytes - 1 } });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first >= bytes { Wanted::None } else { Wanted::Part { first, last: last.min(bytes - 1) } })
}

#[cfg(test)]
mod tests {
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
        ] {
            assert_eq!(asked(range, None, 10), wanted, "{range}");
        }
        assert_eq!(asked("bytes=0-", None, 0), Wanted::None, "an empty file has no bytes");
        assert_eq!(asked("bytes=-1", None, 0), Wanted::None);
    }

    #[test]
    fn what_is_no_single_range_is_answered_with_the_whole() {
        for range in ["bytes=0-1,4-5", "bytes=5-2", "bytes=a-b", "bytes=", "bytes=-", "items=0-1", "bytes=+1-2", ""] {
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
}
