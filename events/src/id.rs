//! The identities of things: short, opaque, validated where they enter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not an identity of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub String);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// A `UUIDv7`, written as 32 lower-case hexadecimal digits.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that the `Ids` port drew.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let simple = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                match Uuid::try_parse(text) {
                    Ok(uuid) if simple => Ok(Self(uuid)),
                    _ => Err(InvalidId("an id is 32 lower-case hexadecimal digits".to_owned())),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

uuid_id! {
    /// One job: one accepted request to run a submission.
    JobId
}
uuid_id! {
    /// One upload of code and configuration.
    SubmissionId
}
uuid_id! {
    /// One request of an admin, so that a retried replay is told from a second one.
    RequestId
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidId($rule.to_owned())) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// What the names of an OpenID provider's users begin with. No name of a token's user does.
pub const OF_PROVIDER: &str = "oidc:";

text_id! {
    /// Who sent a request. Percent-encoded wherever it becomes part of a key.
    UserId,
    |text| {
        let fits = match text.strip_prefix(OF_PROVIDER) {
            Some(subject) => (1..=255).contains(&subject.chars().count()),
            None => (1..=64).contains(&text.chars().count()) && !text.contains([':', ',']),
        };
        fits && !text.chars().any(char::is_control)
    },
    "a user name is 1 to 64 characters without a colon, a comma or a control character; after oidc: it is 1 to 255 \
     characters without a control character"
}

text_id! {
    /// The authority over one run of a job: 96 random bits as 24 hexadecimal digits, drawn anew for each start.
    ///
    /// Only equality means anything: there is no newer or older fence.
    Fence,
    |text| text.len() == 24 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
    "a fence is 24 lower-case hexadecimal digits"
}

text_id! {
    /// One start of one worker process, as the consumer group of the work streams knows it.
    Consumer,
    |text| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
    "a consumer name is 1 to 128 letters, digits, '-', '_' or '.'"
}

text_id! {
    /// The name of a resource class, such as `small`, as operators choose it and clients repeat it.
    ClassName,
    |text| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (1..=32).contains(&text.len()) && text.bytes().all(fits)
    },
    "a resource class is 1 to 32 of a-z, 0-9, '-' and '_'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_hex_digits_and_nothing_else() {
        let text = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5";
        assert_eq!(text.parse::<JobId>().unwrap().to_string(), text);
        for bad in ["", "0192F1C3A4B57C6D8E9FA0B1C2D3E4F5", "0192f1c3-a4b5-7c6d-8e9f-a0b1c2d3e4f5", "../etc/passwd"] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_name_may_not_hold_what_separates_tokens() {
        for good in ["zoë", &"ë".repeat(64), &format!("oidc:{}", "ë".repeat(255))] {
            assert!(good.parse::<UserId>().is_ok(), "{good}");
        }
        for bad in ["", "a:b", "a,b", "a\nb", &"x".repeat(65)] {
            assert!(bad.parse::<UserId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_name_of_a_providers_user_holds_any_subject() {
        for good in
            ["oidc:auth0|5f7c", "oidc:system:serviceaccount:a:b", "oidc:a,b", &format!("oidc:{}", "x".repeat(255))]
        {
            assert_eq!(good.parse::<UserId>().unwrap().as_str(), good);
        }
        for bad in ["oidc:", "oidc:a\nb", "OIDC:a", "oidc :a", &format!("oidc:{}", "x".repeat(256))] {
            assert!(bad.parse::<UserId>().is_err(), "{bad:?}");
        }
    }
}
