//! Pages of lists, newest first: the owner, the length, and the cursor.

use std::fmt::Display;
use std::str::FromStr;

use events::UserId;
use events::ports::PageCursor;

use crate::answer::error::Error;
use crate::request::auth::{Caller, Role};
use crate::request::query::{Pairs, whole_number};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
/// How many digits the time in a cursor may have: enough for millions of years.
const MAX_DIGITS: usize = 15;

/// Treats an empty parameter as absent.
pub(crate) fn given(param: Option<&str>) -> Option<&str> {
    param.filter(|text| !text.is_empty())
}

/// Reads the wanted length of a page.
pub(crate) fn read_limit(pairs: &Pairs) -> Result<Option<usize>, Error> {
    let Some(text) = pairs.text("limit")? else { return Ok(None) };
    match whole_number(&text) {
        Some(limit @ 1..=MAX_LIMIT) => Ok(Some(limit)),
        _ => Err(Error::Invalid(format!("limit must be 1 to {MAX_LIMIT}, not {text:?}"))),
    }
}

/// Returns the length of a page.
pub(crate) fn limit(wanted: Option<usize>) -> usize {
    wanted.unwrap_or(DEFAULT_LIMIT)
}

/// Returns the owner to list: users see their own, administrators see all. `what` names the objects in the error.
pub(crate) fn whose(caller: &Caller, wanted: Option<&str>, what: &str) -> Result<Option<UserId>, Error> {
    let wanted: Option<UserId> = given(wanted).map(str::parse).transpose()?;
    match (caller.role, wanted) {
        (Role::Admin, wanted) => Ok(wanted),
        (Role::User, None) => Ok(Some(caller.user.clone())),
        (Role::User, Some(user)) if user == caller.user => Ok(Some(user)),
        (Role::User, Some(_)) => Err(Error::Forbidden(format!("only an admin may list somebody else's {what}"))),
    }
}

/// A cursor as clients carry it: the milliseconds in lower-case hexadecimal, a dash, the id.
pub(crate) fn show_cursor<Id: Display>(cursor: PageCursor<Id>) -> String {
    format!("{:x}-{}", cursor.created_ms, cursor.id)
}

/// The place that a client's cursor names; `None` without a cursor.
pub(crate) fn cursor<Id: FromStr>(text: Option<&str>) -> Result<Option<PageCursor<Id>>, Error> {
    let parse = |(ms, id): (&str, &str)| {
        let digits = ms.len() <= MAX_DIGITS && ms.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        Some(PageCursor { created_ms: i64::from_str_radix(ms, 16).ok().filter(|_| digits)?, id: id.parse().ok()? })
    };
    let Some(text) = given(text) else { return Ok(None) };
    match text.split_once('-').and_then(parse) {
        Some(cursor) => Ok(Some(cursor)),
        None => Err(Error::Invalid("cursor is not one that an earlier page gave as next_cursor".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use events::JobId;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let there: PageCursor<JobId> =
            PageCursor { created_ms: 1_763_892_000_123, id: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap() };
        assert_eq!(cursor(Some(&show_cursor(there))).unwrap(), Some(there));
        assert_eq!(cursor::<JobId>(Some("")).unwrap(), None);
        for bad in [
            "-",
            "x",
            "12-",
            "-0192f1c3a4b57c6d8e9fa0b1c2d3e4f6",
            "+1-0192f1c3a4b57c6d8e9fa0b1c2d3e4f6",
            "F-0192f1c3a4b57c6d8e9fa0b1c2d3e4f6",
            "0000000000000001-0192f1c3a4b57c6d8e9fa0b1c2d3e4f6",
            "ffffffffffffffff-0192f1c3a4b57c6d8e9fa0b1c2d3e4f6",
            "12-0192",
        ] {
            assert!(matches!(cursor::<JobId>(Some(bad)), Err(Error::Invalid(_))), "{bad}");
        }
    }

    #[test]
    fn a_user_lists_their_own_and_an_admin_anybodys() {
        let name = |text: &str| -> UserId { text.parse().unwrap() };
        let alice = Caller { user: name("alice"), role: Role::User };
        let whose = |caller, wanted| whose(caller, wanted, "jobs");
        assert_eq!(whose(&alice, None).unwrap(), Some(name("alice")));
        assert_eq!(whose(&alice, Some("alice")).unwrap(), Some(name("alice")));
        assert!(matches!(whose(&alice, Some("bob")), Err(Error::Forbidden(why)) if why.ends_with("else's jobs")));
        let root = Caller { user: name("root"), role: Role::Admin };
        assert_eq!(whose(&root, Some("")).unwrap(), None);
        assert_eq!(whose(&root, Some("bob")).unwrap(), Some(name("bob")));
    }

    #[test]
    fn a_page_has_its_bounds() {
        let read = |text: &str| read_limit(&Pairs(vec![("limit".to_owned(), text.to_owned())]));
        assert_eq!(limit(read_limit(&Pairs::default()).unwrap()), DEFAULT_LIMIT);
        assert_eq!(limit(read("200").unwrap()), MAX_LIMIT);
        for bad in ["0", "201", "abc", "", "-1", "99999999999999999999"] {
            let Err(Error::Invalid(why)) = read(bad) else { panic!("{bad:?} was taken") };
            assert_eq!(why, format!("limit must be 1 to 200, not {bad:?}"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_forged_cursor_is_a_place_or_refused(text in "[0-9a-f+-]{0,20}-[0-9a-f*?]{30,33}|\\PC{0,40}") {
            match cursor::<JobId>(Some(&text)) {
                Ok(None) => prop_assert!(text.is_empty()),
                Ok(Some(place)) => prop_assert_eq!(cursor(Some(&show_cursor(place))).unwrap(), Some(place)),
                Err(refusal) => prop_assert!(matches!(refusal, Error::Invalid(_))),
            }
        }
    }
}
