//! Where a board keeps its files, as one URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// The longest prefix, in bytes: with it the longest key is still below S3's limit of 1,024.
const MAX_PREFIX_BYTES: usize = 200;

/// Where a board keeps its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageUrl {
    /// `file:///…`: a folder that all hosts share.
    Folder(PathBuf),
    /// `s3://bucket/prefix`.
    Bucket(Bucket),
}

/// A bucket, and the prefix of all keys of the board in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// The bucket's name.
    pub name: String,
    /// Without slashes at its ends; may be empty.
    pub prefix: String,
}

/// What can't be the URL of a storage, as a sentence without any secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidStorage(pub String);

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "s3://{}{slash}{}", self.name, self.prefix)
    }
}

impl FromStr for StorageUrl {
    type Err = InvalidStorage;

    fn from_str(text: &str) -> Result<Self, InvalidStorage> {
        match text.trim().split_once("://") {
            Some(("file", rest)) => folder(rest),
            Some(("s3", rest)) => bucket(rest).map(Self::Bucket),
            // What is not a storage may be a password: it is not repeated.
            _ => refuse("it must be file:///folder or s3://bucket/prefix"),
        }
    }
}

fn folder(rest: &str) -> Result<StorageUrl, InvalidStorage> {
    let Ok(path) = percent_decode_str(rest).decode_utf8() else { return refuse("its path is not UTF-8") };
    if !path.starts_with('/') {
        return refuse("a folder is given as file:///folder: with three slashes, and without a host");
    }
    if rest.contains(['?', '#']) || path.contains('\0') {
        return refuse("a folder has no '?', '#' or NUL in its URL; write %3F or %23");
    }
    Ok(StorageUrl::Folder(PathBuf::from(path.as_ref())))
}

fn bucket(rest: &str) -> Result<Bucket, InvalidStorage> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if name.contains('@') {
        return refuse("it must not hold an account: give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if !(3..=63).contains(&name.len()) || !name.chars().all(is_plain) {
        return refuse("the name of a bucket has 3 to 63 letters, digits, dots, hyphens or underscores");
    }
    // One slash at the end is a habit; a prefix of nothing but a slash is a mistake.
    let prefix = prefix.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(prefix);
    if prefix.len() > MAX_PREFIX_BYTES {
        return refuse(&format!("its prefix has {} bytes; at most {MAX_PREFIX_BYTES} are accepted", prefix.len()));
    }
    let is_bad = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(|c| c.is_control() || c == '\\');
    if prefix.contains(['?', '#', '%']) || !prefix.is_empty() && prefix.split('/').any(is_bad) {
        return refuse("a prefix has no '?', '#', '%' or '\\', no control character, and no empty, '.' or '..' part");
    }
    Ok(Bucket { name: name.to_owned(), prefix: prefix.to_owned() })
}

fn refuse<T>(why: &str) -> Result<T, InvalidStorage> {
    Err(InvalidStorage(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_or_a_bucket_is_read_and_shown_as_it_was_given() {
        for url in ["file:///srv/board", "s3://board", "s3://my.board-1/team/a", "s3://board/zo\u{eb}"] {
            assert_eq!(url.parse::<StorageUrl>().unwrap().to_string(), url);
        }
        assert_eq!("s3://board/team/".parse::<StorageUrl>(), "s3://board/team".parse());
        assert_eq!("file:///a%20b".parse(), Ok(StorageUrl::Folder("/a b".into())));
    }

    #[test]
    fn anything_else_is_refused_and_never_repeated() {
        let long = format!("s3://board/{}", "p".repeat(201));
        for url in [
            "",
            "board",
            "/srv/secret",
            "file://secret/x",
            "file:srv",
            "s3:board",
            "s3://",
            "s3:///x",
            "s3://ab",
            "s3://key:secret@board",
            "s3://board:9000/x",
            "s3://board/a//b",
            "s3://board/../x",
            "s3://board/a/./b",
            "s3://board//",
            "s3://board/a?secret",
            "s3://board/a#b",
            "s3://board/%2e",
            "s3://board/a\nb",
            "S3://board",
            "s3://bo ard",
            "https://secret.example",
            &long,
            "file:///a?b",
            "file:///%ff",
            "file:///%00",
        ] {
            let refused = url.parse::<StorageUrl>().unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{url}: {refused}");
        }
    }
}
