//! JSON that strangers wrote: read once, within bounds, with no digit lost.
//!
//! Every document of a client or a job is read here before anything of it is stored: `metrics.json`, `metadata`, a
//! job's `config` and the bodies of requests. What is stored can then be read again, by the server and by its clients,
//! for the libraries of both have limits of their own.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::error::Category;
use serde_json::{Map, Value};

/// The deepest nesting that is accepted. A stored document stands within others, such as an event in an answer, and
/// many readers refuse more than 128 levels in all.
pub const MAX_DEPTH: usize = 64;

/// What the names begin with that serialisation libraries keep for themselves.
const RESERVED: [&str; 3] = ["$serde", "$__serde", "$__toml"];

/// Stands before a token that is kept as text while serde reads the rest.
const MARK: &str = "\u{1}token:";
/// [`MARK`] within a string of JSON.
const MARK_AS_WRITTEN: &str = "\\u0001token:";
/// Stands before a string of the document's own that could be taken for a marked one.
const OWN: &str = "\u{1}own:";
/// [`OWN`] within a string of JSON.
const OWN_AS_WRITTEN: &str = "\\u0001own:";
/// How such a string begins in JSON: there is no other way to write this character.
const BEGINS_LIKE_MARK: &str = "\"\\u0001";

/// How many characters of a refused token are shown.
const SHOWN: usize = 60;

/// Why a document was refused, as the rest of a sentence that began with the document's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidJson(String);

/// Reads a document. An integer that 64 bits can't hold becomes a string with its digits.
///
/// # Errors
/// What breaks a rule: it is not JSON, it nests too deep, or it holds a reserved name or a number like `1e999`.
pub fn read(text: &str) -> Result<Value, InvalidJson> {
    let mut value = read_marked(text)?;
    if let Some(token) = first_unreadable(&value) {
        let why = match token {
            "NaN" | "Infinity" | "-Infinity" => "which is not valid JSON",
            _ => "which is too large for a number in JSON",
        };
        return Err(InvalidJson(format!("holds {}, {why}: write null or a string instead", shown(token))));
    }
    unmark(&mut value);
    Ok(value)
}

/// Reads a document that must be an object, as [`read`] does.
///
/// # Errors
/// As of [`read`].
pub fn read_object(text: &str) -> Result<Map<String, Value>, InvalidJson> {
    match read(text)? {
        Value::Object(object) => Ok(object),
        other => Err(InvalidJson(format!("must be a JSON object, not {}", kind_of(&other)))),
    }
}

/// Reads a document that must be an object: each member's name, and its value as it was written.
///
/// # Errors
/// As of [`read`].
pub fn read_members(text: &str) -> Result<Vec<(String, &str)>, InvalidJson> {
    read_object(text)?;
    members(without_bom(text)).ok_or_else(|| InvalidJson("is not JSON".to_owned()))
}

/// Reads a document that must be an object in which no name stands twice: readers would take the one or the other.
/// Within its values that is its author's affair.
///
/// # Errors
/// As of [`read`], and a name that stands twice.
pub fn read_distinct(text: &str) -> Result<Map<String, Value>, InvalidJson> {
    let object = read_object(text)?;
    let mut seen = HashSet::new();
    for (name, _) in members(without_bom(text)).unwrap_or_default() {
        if seen.contains(&name) {
            return Err(InvalidJson(format!("has the key {:?} twice: remove one", shown(&name))));
        }
        seen.insert(name);
    }
    Ok(object)
}

/// What is wrong with a text that can't be read, without the words of the library that read it.
#[must_use]
pub fn problem(error: &serde_json::Error) -> String {
    let place = || format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Eof => format!("it ends too early, at {}", place()),
        Category::Syntax => format!("it is not JSON from {} on", place()),
        Category::Data => "it has another form than expected".to_owned(),
        Category::Io => "it can't be read".to_owned(),
    }
}

/// The text with each number that 64 bits can't hold as a string: for one who reads an answer of the server's and loses
/// no digit of it.
#[must_use]
pub fn with_digits_kept(text: &str) -> String {
    quote(text, "", Depth::Any).unwrap_or_else(|_| text.to_owned())
}

/// What a value is, in words.
#[must_use]
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The text without the byte order mark that some programs write before it.
#[must_use]
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads a document in which each number that 64 bits can't hold, `NaN`, `Infinity` and `-Infinity` are strings that
/// begin with [`MARK`].
pub(crate) fn read_marked(text: &str) -> Result<Value, InvalidJson> {
    read_quoted(&quote(without_bom(text), MARK_AS_WRITTEN, Depth::Refuse)?)
}

/// Reads a document of a program that has done its work, as [`read_marked`] does, and keeps what can be kept: each byte
/// that is not UTF-8 and each lone half of a surrogate pair, as Python writes it, becomes U+FFFD; UTF-16 is read if it
/// begins with its mark; what nests too deep becomes a string of its JSON.
pub(crate) fn read_kept(bytes: &[u8]) -> Result<Value, InvalidJson> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        Cow::from(String::from_utf16_lossy(&units))
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes),
    };
    read_quoted(&quote(without_bom(&text), MARK_AS_WRITTEN, Depth::Keep)?)
}

fn read_quoted(text: &str) -> Result<Value, InvalidJson> {
    let value = serde_json::from_str(text)
        .map_err(|error| InvalidJson(format!("is not JSON: {}", problem_of_syntax(&error))))?;
    check_names(&value)?;
    Ok(value)
}

/// What keeps a text from being JSON, for the one who wrote it. The parser's words for syntax are plain, and name the
/// place.
fn problem_of_syntax(error: &serde_json::Error) -> String {
    if error.classify() == Category::Syntax { error.to_string() } else { problem(error) }
}

/// The token that a string of [`read_marked`] stands for.
pub(crate) fn token(text: &str) -> Option<&str> {
    text.strip_prefix(MARK)
}

/// A name of the document's own as its author wrote it.
pub(crate) fn plain_name(name: &str) -> &str {
    name.strip_prefix(OWN).unwrap_or(name)
}

/// The beginning of a token, for a refusal.
pub(crate) fn shown(token: &str) -> String {
    match token.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &token[..end]),
        None => token.to_owned(),
    }
}

/// Makes the marked tokens of a value plain strings.
pub(crate) fn unmark(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(plain) = token(text).or_else(|| text.strip_prefix(OWN)) {
                *text = plain.to_owned();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(unmark),
        Value::Object(values) => {
            if values.keys().any(|name| name.starts_with(OWN)) {
                let values_of = std::mem::take(values).into_iter();
                *values = values_of.map(|(name, value)| (plain_name(&name).to_owned(), value)).collect();
            }
            values.values_mut().for_each(unmark);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The first marked token that is no integer: not all readers take it for a number, or for the same one.
fn first_unreadable(value: &Value) -> Option<&str> {
    let is_integer = |token: &str| token.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    match value {
        Value::String(text) => token(text).filter(|token| !is_integer(token)),
        Value::Array(values) => values.iter().find_map(first_unreadable),
        Value::Object(values) => values.values().find_map(first_unreadable),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn check_names(value: &Value) -> Result<(), InvalidJson> {
    match value {
        Value::Array(values) => values.iter().try_for_each(check_names),
        Value::Object(values) => values.iter().try_for_each(|(name, value)| {
            if RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
                return Err(InvalidJson(format!("holds the reserved name {:?}: rename it", shown(name))));
            }
            // A token in the place of a name is no JSON, and was none before it was marked.
            if name.starts_with(MARK) {
                return Err(InvalidJson("is not JSON: a name must be a string".to_owned()));
            }
            check_names(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// What Python writes for numbers that JSON does not have.
pub(crate) const NON_FINITE: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// What to do with what nests deeper than [`MAX_DEPTH`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Nothing.
    Any,
    /// Refuse the document.
    Refuse,
    /// Make it a string, and mend strings as well.
    Keep,
}

/// Quotes the tokens that would be refused or lose digits, each behind a mark, and bounds the depth.
fn quote(text: &str, mark: &str, deeper: Depth) -> Result<String, InvalidJson> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut depth = 0_usize;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '"' => {
                let length = string_length(rest);
                let string = match deeper {
                    Depth::Keep => without_lone_surrogates(&rest[..length]),
                    Depth::Any | Depth::Refuse => Cow::from(&rest[..length]),
                };
                if !mark.is_empty() && rest.starts_with(BEGINS_LIKE_MARK) {
                    out.extend(["\"", OWN_AS_WRITTEN, &string[1..]]);
                } else {
                    out.push_str(&string);
                }
                rest = &rest[length..];
                continue;
            }
            '[' | '{' => {
                match deeper {
                    Depth::Refuse if depth >= MAX_DEPTH => {
                        return Err(InvalidJson(format!("nests deeper than {MAX_DEPTH} levels")));
                    }
                    Depth::Keep if depth >= MAX_DEPTH => {
                        let length = nested_length(rest);
                        out.push_str(&Value::from(&rest[..length]).to_string());
                        rest = &rest[length..];
                        continue;
                    }
                    Depth::Any | Depth::Refuse | Depth::Keep => depth += 1,
                }
                1
            }
            ']' | '}' => {
                depth = depth.saturating_sub(1);
                1
            }
            '-' | '0'..='9' | 'N' | 'I' => {
                let token = bare_token(rest);
                if NON_FINITE.contains(&token) || is_beyond_64_bits(token) {
                    out.extend(["\"", mark, token, "\""]);
                    rest = &rest[token.len()..];
                    continue;
                }
                token.len()
            }
            other => other.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    Ok(out)
}

/// The length in bytes of the JSON string that begins here, its quotes included; all of the rest if it does not end.
#[must_use]
pub fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// A string of JSON with U+FFFD for each half of a surrogate pair that stands alone: it stands for no character.
fn without_lone_surrogates(string: &str) -> Cow<'_, str> {
    if !string.contains("\\u") {
        return string.into();
    }
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let mut out = String::with_capacity(string.len());
    let mut rest = string;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (unit(rest), unit(rest.get(6..).unwrap_or_default())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out.into()
}

/// The length of the list or object that begins here; all of the rest if it does not end.
fn nested_length(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += string_length(&text[at..]) - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth == 1 => return at + 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The number or word that begins here.
fn bare_token(text: &str) -> &str {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let length = text.bytes().position(|byte| !is_part(byte));
    &text[..length.unwrap_or(text.len())]
}

/// Whether a token is a number of JSON that serde would read as another one, or not at all.
fn is_beyond_64_bits(token: &str) -> bool {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let has_whole = |text: &str| is_digits(text) && (text == "0" || !text.starts_with('0'));
    if is_digits(digits) {
        return has_whole(digits) && token.parse::<i64>().is_err() && token.parse::<u64>().is_err();
    }
    let (mantissa, exponent) = digits.split_once(['e', 'E']).map_or((digits, None), |(one, two)| (one, Some(two)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(one, two)| (one, Some(two)));
    has_whole(whole)
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
        && token.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// The members of an object that is known to be JSON.
fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let mut rest = text.trim_ascii_start().strip_prefix('{')?.trim_ascii_start();
    let mut members = Vec::new();
    while !rest.starts_with('}') {
        let (name, behind) = rest.split_at_checked(string_length(rest))?;
        let value = behind.trim_ascii_start().strip_prefix(':')?.trim_ascii_start();
        let length = value_length(value)?;
        members.push((serde_json::from_str(name).ok()?, value[..length].trim_ascii_end()));
        rest = value[length..].trim_ascii_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_ascii_start();
    }
    Some(members)
}

/// The length of the value that begins here, up to the comma or the brace behind it.
fn value_length(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.as_bytes().get(at)? {
            b'"' => at += string_length(&text[at..]) - 1,
            b',' | b'}' if depth == 0 => return Some(at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests;
