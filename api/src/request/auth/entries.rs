//! The entries of token lists and token files: a user and a token, or its hash.

use std::fmt;

use events::UserId;
use sha2::{Digest, Sha256};

/// The largest token file, in bytes.
pub(super) const MAX_FILE_BYTES: usize = 1 << 20;
/// The longest line of a token file, in bytes.
const MAX_LINE_BYTES: usize = 1 << 10;

/// Stands before the hash of a token.
const HASHED: &str = "sha256:";
/// Names of users that an entry can't have. The one would hide that its entry lacks a name; users of an OpenID provider
/// have names that begin with the other.
const RESERVED: [&str; 2] = ["sha256", "oidc"];

/// A token of a list or file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sha256: [u8; 32],
    pub(super) user: UserId,
    /// The token itself; `None` if the entry has its hash.
    pub(super) plain: Option<String>,
}

/// Without the token.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", self.user)
    }
}

/// A list or file of tokens that can't be used. Names the place, never the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// An entry of a list.
    #[error("{list}: entry {position}: {reason}")]
    Entry {
        /// The variable.
        list: &'static str,
        /// Which of its entries, from 1.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of a file.
    #[error("{list}: {file}: line {line}: {reason}")]
    Line {
        /// The variable that names the file.
        list: &'static str,
        /// The file.
        file: String,
        /// Which of its lines, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A whole file.
    #[error("{list}: {file}: {reason}")]
    File {
        /// The variable that names the file.
        list: &'static str,
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The place of an entry, for errors.
#[derive(Debug, Clone)]
pub(super) enum Place {
    List(&'static str, usize),
    Line(&'static str, String, usize),
}

impl Place {
    pub(super) fn refuse(&self, reason: impl Into<String>) -> TokenError {
        let reason = reason.into();
        match self.clone() {
            Self::List(list, position) => TokenError::Entry { list, position, reason },
            Self::Line(list, file, line) => TokenError::Line { list, file, line, reason },
        }
    }
}

/// Reads a list of the environment: entries separated by commas. A blank list has none.
///
/// # Errors
/// The position of the first bad entry.
pub(super) fn of_list(list: &'static str, text: &str) -> Result<Vec<(Place, Entry)>, TokenError> {
    if text.trim().is_empty() {
        return Ok(vec![]);
    }
    let entries = (1..).zip(text.split(','));
    entries
        .map(|(position, entry)| {
            let place = Place::List(list, position);
            entry_of(entry).map_err(|reason| place.refuse(reason)).map(|entry| (place, entry))
        })
        .collect()
}

/// Reads a file: an entry on each line, except on blank lines and those that begin with `#`.
///
/// # Errors
/// The first bad line, or that the file is too large or has no entry.
pub(super) fn of_file(list: &'static str, file: &str, bytes: &[u8]) -> Result<Vec<(Place, Entry)>, TokenError> {
    let whole = |reason: String| TokenError::File { list, file: file.to_owned(), reason };
    if bytes.len() > MAX_FILE_BYTES {
        return Err(whole(format!("the file is too large: at most {MAX_FILE_BYTES} bytes are read")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut entries = vec![];
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let place = Place::Line(list, file.to_owned(), number);
        if line.len() > MAX_LINE_BYTES {
            return Err(place.refuse(format!("the line has {} of at most {MAX_LINE_BYTES} bytes", line.len())));
        }
        let line = std::str::from_utf8(line).map_err(|_| place.refuse("the line is not UTF-8"))?.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.contains(',') {
            return Err(place.refuse("the line has a comma: write one entry on each line"));
        }
        let entry = entry_of(line).map_err(|reason| place.refuse(reason))?;
        entries.push((place, entry));
    }
    if entries.is_empty() {
        return Err(whole("the file has no token: `leadersboard token new NAME` prints a line for it".to_owned()));
    }
    Ok(entries)
}

/// Whether a token was meant as a hash. Everybody who reads its file would know the token.
fn looks_like_a_hash(token: &str) -> bool {
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match token.split_once(':') {
        Some(("sha256", _)) => false,
        Some((_, rest)) => is_hash(rest),
        None => is_hash(token),
    }
}

/// Reads `name:token`, `name:sha256:<hash>` or `token`. The first colon ends the name.
fn entry_of(text: &str) -> Result<Entry, String> {
    let (name, token) = match text.trim().split_once(':') {
        Some((name, token)) => (Some(name.trim()), token.trim()),
        None => (None, text.trim()),
    };
    if token.is_empty() {
        return Err("the token is empty".to_owned());
    }
    if let Some(name) = name.filter(|name| RESERVED.contains(name)) {
        return Err(match name {
            "sha256" => "a hash needs the name of its user: write name:sha256:<64 hexadecimal digits>".to_owned(),
            _ => format!("no user of a token can have the name {name}: it stands for the users of OIDC_ISSUER"),
        });
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = "a token holds visible ASCII characters only, for it must fit into a header; a comment needs a line \
                      of its own, in a file";
        return Err(reason.to_owned());
    }
    if looks_like_a_hash(token) {
        let reason =
            "the token looks like a hash: write name:sha256:<64 hexadecimal digits>, with sha256 in small letters";
        return Err(reason.to_owned());
    }
    let (sha256, plain) = match token.strip_prefix(HASHED) {
        None => (digest(token), Some(token.to_owned())),
        Some(hash) => {
            let mut sha256 = [0; 32];
            if hex::decode_to_slice(hash, &mut sha256).is_err() {
                let digits = hash.len();
                return Err(format!(
                    "sha256: must be followed by the 64 hexadecimal digits of a token's hash, not by {digits} characters; \
                     a token itself can't begin with sha256:"
                ));
            }
            (sha256, None)
        }
    };
    let user = match name {
        Some(name) => name.parse().map_err(|error: events::id::InvalidId| error.to_string())?,
        None => fingerprint(&sha256),
    };
    Ok(Entry { sha256, user, plain })
}

pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The name of a user without one: the first 32 bits of the token's digest.
pub(super) fn fingerprint(sha256: &[u8; 32]) -> UserId {
    format!("user-{}", hex::encode(&sha256[..4])).parse().expect("13 letters, digits and a dash are a user name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> Result<Vec<(String, Option<String>)>, String> {
        let entries = of_file("API_TOKENS_FILE", "/t", bytes).map_err(|error| error.to_string())?;
        Ok(entries.into_iter().map(|(_, entry)| (entry.user.to_string(), entry.plain)).collect())
    }

    #[test]
    fn a_file_has_an_entry_on_each_line_beside_comments_and_blank_lines() {
        let hash = hex::encode(digest("t0ken"));
        let text = format!("\u{feff}# people\r\n\r\n alice : s3cret \r\nbob:sha256:{hash}\n\n  # end\nbare");
        let entries = of_file("API_TOKENS_FILE", "/t", text.as_bytes()).unwrap();
        let bob = &entries[1].1;
        assert_eq!((bob.user.as_str(), bob.sha256, &bob.plain), ("bob", digest("t0ken"), &None));
        let read = file(text.as_bytes()).unwrap();
        assert_eq!(read[0], ("alice".to_owned(), Some("s3cret".to_owned())));
        assert!(read[2].0.starts_with("user-") && read.len() == 3, "{read:?}");
        assert_eq!(file(format!("bob:sha256:{}", hash.to_uppercase()).as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn a_bad_file_is_refused_by_line_and_never_shown() {
        let long = format!("a:{}", "ter2".repeat(300));
        let large = "# hunter2\n".repeat(200_000);
        let cases: [(&[u8], &str); 14] = [
            (b"", "API_TOKENS_FILE: /t: the file has no token"),
            (b"\n# only hunter2\n", "API_TOKENS_FILE: /t: the file has no token"),
            (b"a:hunter2\n\xff\xfehunter2\n", "API_TOKENS_FILE: /t: line 2: the line is not UTF-8"),
            (b"a:hunter2\nb:\n", "API_TOKENS_FILE: /t: line 2: the token is empty"),
            (b"a:hunter2,b:other", "API_TOKENS_FILE: /t: line 1: the line has a comma"),
            (b"a:hunter2 # laptop", "API_TOKENS_FILE: /t: line 1: a token holds visible ASCII"),
            (b"a:hunter2\0", "API_TOKENS_FILE: /t: line 1: a token holds visible ASCII"),
            (b"\na\x07:hunter2", "API_TOKENS_FILE: /t: line 2: a user name"),
            (b"a:sha256:hunter2", "API_TOKENS_FILE: /t: line 1: sha256: must be followed by"),
            (b"a:sha256:", "API_TOKENS_FILE: /t: line 1: sha256: must be followed by"),
            (b"sha256:hunter2", "API_TOKENS_FILE: /t: line 1: a hash needs the name of its user"),
            (b"oidc:alice:hunter2", "API_TOKENS_FILE: /t: line 1: no user of a token can have the name oidc"),
            (long.as_bytes(), "API_TOKENS_FILE: /t: line 1: the line has 1202 of at most 1024 bytes"),
            (large.as_bytes(), "API_TOKENS_FILE: /t: the file is too large"),
        ];
        for (bytes, told) in cases {
            let refused = file(bytes).unwrap_err();
            assert!(refused.starts_with(told) && !refused.contains("ter2"), "{told}: {refused}");
        }
    }
}
