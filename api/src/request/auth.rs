//! The sender of a request: bearer tokens, compared in constant time and never shown.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use events::{Actor, UserId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::answer::error::Error;

/// Which tokens are accepted, and for whom. Holds digests only.
pub struct Tokens {
    entries: Vec<Entry>,
    strangers: Strangers,
}

struct Entry {
    sha256: [u8; 32],
    user: UserId,
    role: Role,
}

/// What to do with an unknown token.
#[derive(PartialEq, Eq)]
enum Strangers {
    Refused,
    Welcome,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sees their own jobs and submissions.
    User,
    /// Sees everybody's.
    Admin,
}

/// An entry of a list of tokens that can't be used. Names its place, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{list}: entry {position}: {reason}")]
pub struct TokenError {
    list: &'static str,
    position: usize,
    reason: String,
}

impl Tokens {
    /// Reads `API_TOKENS` and `ADMIN_TOKENS`: entries `name:token` or `token`, separated by commas.
    ///
    /// If both lists are blank, every token is accepted, and the user is its fingerprint: only for a loopback address.
    /// An entry in either list refuses all other tokens.
    ///
    /// # Errors
    /// The list and the position of the first entry that is empty, ill-formed, or a token a second time.
    pub fn parse(api_tokens: &str, admin_tokens: &str) -> Result<Self, TokenError> {
        let mut tokens = Self { entries: vec![], strangers: Strangers::Refused };
        tokens.add("API_TOKENS", api_tokens, Role::User)?;
        tokens.add("ADMIN_TOKENS", admin_tokens, Role::Admin)?;
        if tokens.entries.is_empty() {
            tokens.strangers = Strangers::Welcome;
        }
        Ok(tokens)
    }

    /// The user and role of a token; `None` if it is refused.
    #[must_use]
    pub fn user_of(&self, token: &str) -> Option<(UserId, Role)> {
        self.holder(token).map(|caller| (caller.user, caller.role))
    }

    /// Whether every token is accepted.
    #[must_use]
    pub fn takes_any(&self) -> bool {
        self.strangers == Strangers::Welcome
    }

    /// Who holds this token. Its digest is compared with every entry's, whichever of them matches.
    pub(crate) fn holder(&self, token: &str) -> Option<Caller> {
        let sha256 = digest(token);
        let mut found = None;
        for entry in &self.entries {
            if bool::from(entry.sha256.ct_eq(&sha256)) {
                found = Some(Caller { user: entry.user.clone(), role: entry.role });
            }
        }
        match found {
            None if self.takes_any() && !token.is_empty() => {
                Some(Caller { user: fingerprint(&sha256), role: Role::User })
            }
            found => found,
        }
    }

    fn add(&mut self, list: &'static str, text: &str, role: Role) -> Result<(), TokenError> {
        if text.trim().is_empty() {
            return Ok(());
        }
        for (position, entry) in (1..).zip(text.split(',')) {
            let refuse = |reason: &str| TokenError { list, position, reason: reason.to_owned() };
            let (name, token) = match entry.trim().split_once(':') {
                Some((name, token)) => (Some(name.trim()), token.trim()),
                None => (None, entry.trim()),
            };
            if token.is_empty() {
                return Err(refuse("the token is empty"));
            }
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(refuse("a token holds visible ASCII characters only, for it must fit into a header"));
            }
            let sha256 = digest(token);
            if self.entries.iter().any(|other| other.sha256 == sha256) {
                return Err(refuse("this token was given to somebody already"));
            }
            let user = match name {
                Some(name) => name.parse().map_err(|error: events::id::InvalidId| refuse(&error.to_string()))?,
                None => fingerprint(&sha256),
            };
            self.entries.push(Entry { sha256, user, role });
        }
        Ok(())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({} known)", self.entries.len())
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The name of a user without one: the first 32 bits of the token's digest.
fn fingerprint(sha256: &[u8; 32]) -> UserId {
    format!("user-{}", hex::encode(&sha256[..4])).parse().expect("13 letters, digits and a dash are a user name")
}

/// The sender of a request, known by their token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) role: Role,
}

impl Caller {
    /// Whether what belongs to `owner` may be shown to them.
    pub(crate) fn may_see(&self, owner: &UserId) -> bool {
        match self.role {
            Role::Admin => true,
            Role::User => self.user == *owner,
        }
    }

    /// Themselves, as events name them.
    pub(crate) fn actor(&self) -> Actor {
        Actor::User(self.user.clone())
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Tokens>: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            return Err(Error::Unauthenticated("the header Authorization: Bearer <token> is missing"));
        };
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(Error::Unauthenticated("the Authorization header is not of the form: Bearer <token>"))?;
        let caller =
            Arc::<Tokens>::from_ref(state).holder(token).ok_or(Error::Unauthenticated("the token is not known"))?;
        tracing::Span::current().record("user", caller.user.as_str());
        Ok(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(tokens: &Tokens, token: &str) -> Option<(String, Role)> {
        let caller = tokens.holder(token)?;
        Some((caller.user.to_string(), caller.role))
    }

    #[test]
    fn a_token_tells_its_user_and_role() {
        let tokens = Tokens::parse("alice:s3cret, bare-token,alice:other", "root:k:y").unwrap();
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
    fn two_blank_lists_accept_every_token_but_an_empty_one() {
        for (users, admins) in [("", ""), (" ", ""), ("", "\t"), (" \n", "\u{a0}")] {
            let tokens = Tokens::parse(users, admins).unwrap();
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
            let tokens = Tokens::parse(users, admins).unwrap();
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
        ] {
            let error = Tokens::parse(users, admins).unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
            assert!(!error.contains("ter2"), "{error}");
        }
        let tokens = Tokens::parse("a:hunter2", "").unwrap();
        assert_eq!(format!("{tokens:?}"), "Tokens(1 known)");
    }
}
