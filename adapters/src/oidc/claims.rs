//! What a token says, and whether it is for this server and valid now.

use std::time::Duration;

use events::UserId;
use events::id::OF_PROVIDER;
use events::ports::Identity;
use serde_json::{Map, Value};

use super::options::{InvalidOidcOptions, OidcOptions};

/// How far the clocks of the provider and of this machine may differ, in seconds.
const SKEW: f64 = 60.0;

/// What a token must say.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    issuer: String,
    audience: String,
    user: String,
    admin: Option<AdminRule>,
}

/// Which claim makes a user an admin.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AdminRule {
    /// The claim is true.
    IsTrue(String),
    /// The claim is this text, or a list with it.
    Has(String, String),
}

impl Rules {
    /// The rules of these settings.
    pub(super) fn of(options: &OidcOptions) -> Result<Self, InvalidOidcOptions> {
        let refuse = |why: &str| Err(InvalidOidcOptions(why.to_owned()));
        let text = |text: &str| text.trim().to_owned();
        if options.audience.trim().is_empty() {
            return refuse("OIDC_AUDIENCE is empty: tokens for any other program would be accepted");
        }
        if options.user_claim.trim().is_empty() {
            return refuse("OIDC_USER_CLAIM is empty: name the claim with the user's name, such as sub");
        }
        let admin = match options.admin_claim.as_deref().map(|rule| (rule, rule.split_once('='))) {
            None => None,
            Some((_, Some((claim, value)))) => Some(AdminRule::Has(text(claim), text(value))),
            Some((claim, None)) => Some(AdminRule::IsTrue(text(claim))),
        };
        match &admin {
            Some(AdminRule::Has(claim, value)) if claim.is_empty() || value.is_empty() => {
                refuse("OIDC_ADMIN_CLAIM is neither claim=value, such as groups=admins, nor the name of a claim")
            }
            Some(AdminRule::IsTrue(claim)) if claim.is_empty() => refuse("OIDC_ADMIN_CLAIM is empty"),
            _ => Ok(Self {
                issuer: text(&options.issuer),
                audience: text(&options.audience),
                user: text(&options.user_claim),
                admin,
            }),
        }
    }

    /// The same rules for tokens that a sign-in of this client gets.
    pub(super) fn for_client(&self, id: &str) -> Self {
        Self { audience: id.to_owned(), ..self.clone() }
    }

    /// Whether a token was made for this sign-in of this client, which [`Self::judge`] does not ask.
    pub(super) fn judge_sign_in(&self, claims: &Map<String, Value>, nonce: &str) -> Result<(), &'static str> {
        if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
            return Err("the token was made for another sign-in");
        }
        let for_several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
        match claims.get("azp") {
            None if !for_several => Ok(()),
            Some(Value::String(client)) if *client == self.audience => Ok(()),
            _ => Err("the token was made for another client"),
        }
    }

    /// Returns whose token this is at this time, in seconds since 1970, if what it says is true.
    pub(super) fn judge(&self, claims: &Map<String, Value>, now: f64) -> Result<Identity, &'static str> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err("the token is of another issuer");
        }
        if !has(claims.get("aud"), &self.audience) {
            return Err("the token is for another audience");
        }
        let expires = number(claims, "exp")?.ok_or("the token has no time of expiry (exp)")?;
        let left = expires + SKEW - now;
        if left <= 0.0 {
            return Err("the token has expired");
        }
        if number(claims, "nbf")?.is_some_and(|from| from > now + SKEW) {
            return Err("the token is not valid yet");
        }
        number(claims, "iat")?;
        if claims.contains_key("cnf") {
            return Err("the token is bound to a key of its client (cnf), so it is no bearer token");
        }
        let user = find(claims, &self.user).and_then(Value::as_str);
        let user = user.ok_or("the token does not have the claim of OIDC_USER_CLAIM, or it is no text")?;
        if self.user == "email" && claims.get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
            return Err("the token's email is not verified");
        }
        let user: UserId = format!("{OF_PROVIDER}{user}").parse().map_err(|_| {
            "the claim of OIDC_USER_CLAIM is not 1 to 255 characters long, or has a control character, so it is no user name"
        })?;
        let is_admin = match &self.admin {
            None => false,
            Some(AdminRule::IsTrue(claim)) => find(claims, claim) == Some(&Value::Bool(true)),
            Some(AdminRule::Has(claim, value)) => has(find(claims, claim), value),
        };
        Ok(Identity { user, is_admin, valid_for: Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX) })
    }
}

/// A claim that is a number if it is there.
fn number(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, &'static str> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err("a time in the token (exp, nbf or iat) is not a number"),
    }
}

/// Whether a claim is this text, or a list with it.
fn has(claim: Option<&Value>, text: &str) -> bool {
    match claim {
        Some(Value::String(one)) => one == text,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(text)),
        _ => false,
    }
}

/// The claim of this name or, if there is none, the one that its dots lead to within objects.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        find(claims.get(outer)?.as_object()?, inner)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: f64 = 1_800_000_000.0;

    fn options() -> OidcOptions {
        OidcOptions {
            issuer: "https://id.example".to_owned(),
            audience: "board".to_owned(),
            user_claim: "sub".to_owned(),
            admin_claim: None,
            client: None,
        }
    }

    /// Judges a valid set of claims with these instead.
    fn judge(options: &OidcOptions, changes: &Value) -> Result<Identity, &'static str> {
        let mut claims = json!({ "iss": "https://id.example", "aud": "board", "sub": "ann", "exp": NOW + 300.0 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        Rules::of(options).unwrap().judge(claims.as_object().unwrap(), NOW)
    }

    #[test]
    fn a_token_for_this_server_tells_its_user() {
        let ann = Identity { user: "oidc:ann".parse().unwrap(), is_admin: false, valid_for: Duration::from_mins(6) };
        for changes in [
            json!({}),
            json!({ "aud": ["other", "board"] }),
            json!({ "nbf": NOW + 59.0, "iat": NOW + 500.0 }),
            json!({ "exp": 1_800_000_300 }),
        ] {
            assert_eq!(judge(&options(), &changes), Ok(ann.clone()), "{changes}");
        }
        assert!(judge(&options(), &json!({ "exp": NOW - 59.5 })).is_ok());
        assert_eq!(judge(&options(), &json!({ "exp": 1e300 })).unwrap().valid_for, Duration::MAX);
    }

    #[test]
    fn whatever_is_not_as_it_must_be_is_refused() {
        for (changes, why) in [
            (json!({ "iss": "https://id.example/" }), "another issuer"),
            (json!({ "iss": ["https://id.example"] }), "another issuer"),
            (json!({ "iss": null }), "another issuer"),
            (json!({ "aud": "Board" }), "another audience"),
            (json!({ "aud": [] }), "another audience"),
            (json!({ "aud": [["board"]] }), "another audience"),
            (json!({ "aud": { "board": true } }), "another audience"),
            (json!({ "exp": NOW - 60.0 }), "has expired"),
            (json!({ "exp": 0 }), "has expired"),
            (json!({ "exp": -1e300 }), "has expired"),
            (json!({ "exp": "1900000000" }), "not a number"),
            (json!({ "exp": null }), "not a number"),
            (json!({ "exp": [1_900_000_000] }), "not a number"),
            (json!({ "exp": true }), "not a number"),
            (json!({ "nbf": NOW + 61.0 }), "not valid yet"),
            (json!({ "nbf": "0" }), "not a number"),
            (json!({ "nbf": null }), "not a number"),
            (json!({ "iat": "0" }), "not a number"),
            (json!({ "cnf": { "jkt": "x" } }), "bound to a key"),
            (json!({ "sub": 7 }), "OIDC_USER_CLAIM"),
            (json!({ "sub": null }), "OIDC_USER_CLAIM"),
            (json!({ "sub": "" }), "no user name"),
            (json!({ "sub": "a\nb" }), "no user name"),
            (json!({ "sub": "x".repeat(256) }), "no user name"),
        ] {
            let refused = judge(&options(), &changes).expect_err(&changes.to_string());
            assert!(refused.contains(why), "{changes}: {refused}");
        }
        for missing in ["iss", "aud", "exp", "sub"] {
            let mut claims = json!({ "iss": "https://id.example", "aud": "board", "sub": "ann", "exp": NOW });
            claims.as_object_mut().unwrap().remove(missing);
            assert!(Rules::of(&options()).unwrap().judge(claims.as_object().unwrap(), NOW).is_err(), "{missing}");
        }
    }

    #[test]
    fn an_admin_is_one_whose_claim_says_so_exactly() {
        let is_admin = |rule: &str, changes: &Value| {
            judge(&OidcOptions { admin_claim: Some(rule.to_owned()), ..options() }, changes).unwrap().is_admin
        };
        for (rule, changes, expected) in [
            ("groups=admins", json!({ "groups": ["users", "admins"] }), true),
            ("groups=admins", json!({ "groups": "admins" }), true),
            ("groups=admins", json!({ "groups": "admins users" }), false),
            ("groups=admins", json!({ "groups": ["Admins", ["admins"], { "admins": true }] }), false),
            ("groups=admins", json!({ "groups": { "admins": true } }), false),
            ("groups=admins", json!({}), false),
            ("groups=cn=admins,dc=x", json!({ "groups": ["cn=admins,dc=x"] }), true),
            ("realm_access.roles=admin", json!({ "realm_access": { "roles": ["admin"] } }), true),
            ("https://x.example/roles=admin", json!({ "https://x.example/roles": ["admin"] }), true),
            ("board_admin", json!({ "board_admin": true }), true),
            ("board_admin", json!({ "board_admin": "true" }), false),
            ("board_admin", json!({ "board_admin": 1 }), false),
        ] {
            assert_eq!(is_admin(rule, &changes), expected, "{rule} {changes}");
        }
    }

    #[test]
    fn the_user_may_be_another_claim_and_an_unverified_email_is_none() {
        let user = |claim: &str, changes: &Value| {
            judge(&OidcOptions { user_claim: claim.to_owned(), ..options() }, changes)
                .map(|found| found.user.to_string())
        };
        assert_eq!(user("preferred_username", &json!({ "preferred_username": "a:b, c" })).unwrap(), "oidc:a:b, c");
        assert_eq!(user("email", &json!({ "email": "a@x" })).unwrap(), "oidc:a@x");
        assert_eq!(user("email", &json!({ "email": "a@x", "email_verified": true })).unwrap(), "oidc:a@x");
        for verified in [json!(false), json!("true"), json!(null)] {
            assert!(user("email", &json!({ "email": "a@x", "email_verified": verified })).is_err());
        }
    }

    #[test]
    fn settings_that_would_open_the_door_are_refused() {
        let refusal = |options: OidcOptions| Rules::of(&options).unwrap_err().to_string();
        assert!(refusal(OidcOptions { audience: " ".to_owned(), ..options() }).starts_with("OIDC_AUDIENCE is empty"));
        assert!(refusal(OidcOptions { user_claim: String::new(), ..options() }).starts_with("OIDC_USER_CLAIM"));
        for rule in ["", "=admins", "groups=", " = "] {
            let told = refusal(OidcOptions { admin_claim: Some(rule.to_owned()), ..options() });
            assert!(told.starts_with("OIDC_ADMIN_CLAIM"), "{rule:?}: {told}");
        }
    }
}
