//! File names as parts of keys. Servers read names in different ways: they trim spaces, normalise Unicode, decode percent
//! signs twice, or list what no XML may hold. So a key has letters, digits, `.`, `_` and `-`, and `=XX` for other bytes.

use std::fmt::Write;

/// The part of a key that stands for a name. It is at most three times as long.
pub(super) fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(escaped, "={byte:02X}");
        }
    }
    escaped
}

/// The name that a part of a key stands for; `None` if it stands for none.
pub(super) fn unescape(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'=' {
            let (code, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*byte);
        }
    }
    // One name has one key.
    String::from_utf8(bytes).ok().filter(|name| escape(name) == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_and_no_two_have_one_key() {
        for name in ["main.py", " a.py", "a b=c%20.zip", "zo\u{eb}", "zoe\u{308}", "\u{ffff}\u{202e}", "=", "..", "a/b"]
        {
            let part = escape(name);
            assert!(part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-=".contains(&byte)), "{part}");
            assert_eq!(unescape(&part).as_deref(), Some(name));
        }
        for part in ["=", "=2", "=2g", "=+1", "=41", "=FF", "a b", "=e9", "\u{eb}"] {
            assert_eq!(unescape(part), None, "{part}");
        }
    }
}
