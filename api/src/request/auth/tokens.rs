//! The known tokens, as digests.

use std::collections::HashMap;
use std::fmt;

use events::UserId;

use super::caller::{Caller, Role};
use super::entries::{Entry, Place, TokenError, digest, fingerprint};

/// Which tokens are accepted, and for whom. Holds digests only.
///
/// A token is found by its SHA-256 in a table whose own hash function has a secret key. So the time of a search tells
/// nothing about any token.
#[derive(Clone)]
pub struct Tokens {
    holders: HashMap<[u8; 32], Caller>,
    strangers: Strangers,
}

/// What to do with an unknown token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strangers {
    Refused,
    Welcome,
}

impl Tokens {
    /// The tokens of these entries. `when_empty` says what to do with unknown tokens if there is no entry; any entry
    /// refuses them.
    ///
    /// # Errors
    /// The place of an entry whose token another entry has.
    pub(super) fn of<'a>(
        entries: impl IntoIterator<Item = (Role, &'a [(Place, Entry)])>,
        when_empty: Strangers,
    ) -> Result<Self, TokenError> {
        let mut holders = HashMap::new();
        for (role, entries) in entries {
            for (place, Entry { sha256, user, .. }) in entries {
                if holders.insert(*sha256, Caller { user: user.clone(), role }).is_some() {
                    return Err(place.refuse("this token was given to somebody already"));
                }
            }
        }
        let strangers = if holders.is_empty() { when_empty } else { Strangers::Refused };
        Ok(Self { holders, strangers })
    }

    /// The user and role of a token; `None` if it is refused.
    #[must_use]
    pub fn user_of(&self, token: &str) -> Option<(UserId, Role)> {
        self.holder(&digest(token)).filter(|_| !token.is_empty()).map(|caller| (caller.user, caller.role))
    }

    /// Whether every token is accepted.
    #[must_use]
    pub fn takes_any(&self) -> bool {
        self.strangers == Strangers::Welcome
    }

    /// How many tokens are known.
    #[must_use]
    pub fn count(&self) -> usize {
        self.holders.len()
    }

    /// How many tokens are known here and not there.
    pub(super) fn count_beyond(&self, other: &Self) -> usize {
        self.holders.iter().filter(|(sha256, caller)| other.holders.get(*sha256) != Some(caller)).count()
    }

    /// Who holds the token with this digest.
    pub(super) fn holder(&self, sha256: &[u8; 32]) -> Option<Caller> {
        match self.holders.get(sha256) {
            None if self.takes_any() => Some(Caller { user: fingerprint(sha256), role: Role::User }),
            found => found.cloned(),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({} known)", self.holders.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries::of_list;
    use super::*;

    fn parse(api_tokens: &str, admin_tokens: &str) -> Result<Tokens, TokenError> {
        let (users, admins) = (of_list("API_TOKENS", api_tokens)?, of_list("ADMIN_TOKENS", admin_tokens)?);
        Tokens::of([(Role::User, &users[..]), (Role::Admin, &admins)], Strangers::Welcome)
    }

    fn holder(tokens: &Tokens, token: &str) -> Option<(String, Role)> {
        tokens.user_of(token).map(|(user, role)| (user.to_string(), role))
    }

    #[test]
    fn a_token_tells_its_user_and_role() {
        let tokens = parse("alice:s3cret, bare-token,alice:other", "root:k:y").unwrap();
        assert_eq!(holder(&tokens, "s3cret"), Some(("alice".into(), Role::User)));
        assert_eq!(holder(&tokens, "other"), Some(("alice".into(), Role::User)));
        assert_eq!(holder(&tokens, "k:y"), Some(("root".into(), Role::Admin)));
        let (bare, _) = holder(&tokens, "bare-token").unwrap();
        assert!(bare.starts_with("user-") && bare.len() == 13, "{bare}");
        for stranger in ["", "s3cre", "s3cret ", "alice:s3cret", "S3CRET"] {
            assert_eq!(holder(&tokens, stranger), None, "{stranger:?}");
        }
    }

    #[test]
    fn a_hash_stands_for_its_token_and_opens_nothing_itself() {
        let hash = hex::encode(digest("s3cret"));
        let tokens = parse(&format!("alice:sha256:{hash}"), "").unwrap();
        assert_eq!(holder(&tokens, "s3cret"), Some(("alice".into(), Role::User)));
        for stranger in [&hash, &format!("sha256:{hash}"), &format!("alice:sha256:{hash}")] {
            assert_eq!(holder(&tokens, stranger), None, "{stranger}");
        }
        let twice = parse(&format!("alice:s3cret,bob:sha256:{hash}"), "").unwrap_err().to_string();
        assert!(twice.starts_with("API_TOKENS: entry 2: this token was given"), "{twice}");
    }

    #[test]
    fn two_blank_lists_accept_every_token_but_an_empty_one() {
        for (users, admins) in [("", ""), (" ", ""), ("", "\t"), (" \n", "\u{a0}")] {
            let tokens = parse(users, admins).unwrap();
            assert!(tokens.takes_any());
            assert_eq!(holder(&tokens, ""), None);
            let (user, role) = holder(&tokens, "whatever").unwrap();
            assert!(user.starts_with("user-"));
            assert_eq!(role, Role::User);
        }
    }

    #[test]
    fn an_entry_in_either_list_refuses_unknown_tokens() {
        for (users, admins) in
            [("", "root:key"), (" ", "root:key"), ("\n", " root:key "), ("root:key", ""), ("root:key", " ")]
        {
            let tokens = parse(users, admins).unwrap();
            assert!(!tokens.takes_any(), "{users:?} {admins:?}");
            assert_eq!(holder(&tokens, "whatever"), None, "{users:?} {admins:?}");
            assert_eq!(tokens.user_of("key").unwrap().0.as_str(), "root");
        }
    }

    #[test]
    fn a_refusal_names_the_place_and_never_the_token() {
        for (users, admins, place) in [
            (",", "", "API_TOKENS: entry 1"),
            (" , ", "root:key", "API_TOKENS: entry 1"),
            ("", ",", "ADMIN_TOKENS: entry 1"),
            ("a:hunter2,", "", "API_TOKENS: entry 2"),
            ("a:", "", "API_TOKENS: entry 1"),
            (":hunter2", "", "API_TOKENS: entry 1"),
            ("a:hun ter2", "", "API_TOKENS: entry 1"),
            ("a:hunter2,b:hunter2", "", "API_TOKENS: entry 2"),
            ("a:hunter2", "root:hunter2", "ADMIN_TOKENS: entry 1"),
            ("sha256:hunter2", "", "API_TOKENS: entry 1"),
        ] {
            let error = parse(users, admins).unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
            assert!(!error.contains("ter2"), "{error}");
        }
        let tokens = parse("a:hunter2", "").unwrap();
        assert_eq!(format!("{tokens:?}"), "Tokens(1 known)");
    }
}
