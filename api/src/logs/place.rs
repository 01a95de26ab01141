//! A place in the logs of a job's attempts, as clients carry it: `<attempt>:<byte offset>`.

use std::fmt;
use std::str::FromStr;

/// A place in the logs of a job's attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// 0 before the first.
    pub(super) attempt: u32,
    /// How many bytes of that attempt's log are before it.
    pub(super) offset: u64,
}

/// What can't be a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.attempt, self.offset)
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (attempt, offset) = text.split_once(':').ok_or(NoPlace)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(attempt) || !digits(offset) {
            return Err(NoPlace);
        }
        let place =
            Self { attempt: attempt.parse().map_err(|_| NoPlace)?, offset: offset.parse().map_err(|_| NoPlace)? };
        // No file is longer.
        if i64::try_from(place.offset).is_ok() { Ok(place) } else { Err(NoPlace) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_comes_back_as_it_went_and_nothing_else_is_one() {
        for place in [Place { attempt: 0, offset: 0 }, Place { attempt: 3, offset: 1 << 62 }] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in [
            "",
            ":",
            "1",
            "1:",
            ":1",
            "1:-1",
            "+1:0",
            "1:2:3",
            " 1:2",
            "1:9223372036854775808",
            "1:18446744073709551616",
        ] {
            assert_eq!(bad.parse::<Place>(), Err(NoPlace), "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_place_comes_back_and_every_text_is_one_or_none(
            attempt in any::<u32>(),
            offset in 0..=u64::MAX >> 1,
            text in "[0-9]{0,22}:[0-9+-]{0,22}|\\PC{0,20}",
        ) {
            let place = Place { attempt, offset };
            prop_assert_eq!(place.to_string().parse(), Ok(place));
            if let Ok(place) = text.parse::<Place>() {
                prop_assert_eq!(place.to_string().parse(), Ok(place));
                prop_assert!(i64::try_from(place.offset).is_ok());
            }
        }
    }
}
