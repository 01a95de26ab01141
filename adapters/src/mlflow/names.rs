//! Names that `MLflow` takes, made of names that jobs chose.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

/// The longest name of a metric, a param or a tag, in characters.
const MAX_CHARS: usize = 250;
/// The longest name of a file, in bytes.
const MAX_COMPONENT_BYTES: usize = 255;

/// What may be called how.
pub(super) struct Rule {
    takes: fn(&str) -> bool,
    /// Changes only what is refused, and always in the same way.
    mend: fn(&str) -> String,
    /// The same name with a number, for all but the first that would be called alike.
    number: fn(&str, usize) -> String,
}

/// The rule for metrics and params. `MLflow` takes letters, digits and a few signs, in what is a normalised path below
/// the folder it starts from.
pub(super) const KEYS: Rule = Rule { takes: is_key, mend: to_key, number: numbered_key };

/// The rule for one component of a file's path. `MLflow` reads paths as URLs, whatever they look like, and its client
/// does so once more.
pub(super) const FILES: Rule = Rule { takes: is_file_name, mend: to_file_name, number: numbered_file_name };

/// A name for each of these, no two of them equal. What may stay as it is stays, the first of equal ones at least; of
/// the others an earlier one goes first.
pub(super) fn assign(names: &[&str], rule: &Rule) -> Vec<String> {
    let mut taken = HashSet::with_capacity(names.len());
    let stays: Vec<bool> = names.iter().map(|name| (rule.takes)(name) && taken.insert((*name).to_owned())).collect();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let given = names.iter().zip(stays).map(|(name, stays)| {
        if stays {
            return (*name).to_owned();
        }
        let base = (rule.mend)(name);
        let number = numbers.entry(base.clone()).or_insert(1);
        let mut candidate = base.clone();
        while !taken.insert(candidate.clone()) {
            *number += 1;
            candidate = (rule.number)(&base, *number);
        }
        candidate
    });
    given.collect()
}

/// The letters and digits of Unicode 13, which is what Python 3.10 knows, the oldest that `MLflow` 3 runs on: what came
/// later is none to such a server. Not `char::is_alphanumeric`, which takes marks too.
static LETTERS_AND_DIGITS: LazyLock<ClassUnicode> = LazyLock::new(|| {
    let class = regex_syntax::parse(r"[\p{L}\p{N}&&\p{Age=13.0}]").map(Hir::into_kind);
    match class {
        Ok(HirKind::Class(Class::Unicode(class))) => class,
        other => unreachable!("a class of characters is one: {other:?}"),
    }
});

fn is_key_char(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_alphanumeric() || matches!(char, '_' | '/' | '.' | '-' | ' ' | ':');
    }
    let ranges = LETTERS_AND_DIGITS.ranges();
    let at = ranges.partition_point(|range| range.end() < char);
    ranges.get(at).is_some_and(|range| range.start() <= char)
}

fn is_key(name: &str) -> bool {
    name.chars().count() <= MAX_CHARS
        && name.chars().all(is_key_char)
        && !name.starts_with("..")
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// One character for each, so that the result is no longer than what was given.
fn to_key(name: &str) -> String {
    let kept: Vec<char> = name.chars().take(MAX_CHARS).map(|char| if is_key_char(char) { char } else { '_' }).collect();
    let mut out = String::with_capacity(kept.len());
    for (at, &char) in kept.iter().enumerate() {
        let is_last = at + 1 == kept.len();
        let is_path = char != '/' || !(out.is_empty() || out.ends_with('/') || is_last);
        out.push(if is_path { char } else { '_' });
    }
    if let Some(rest) = out.strip_prefix("..") {
        out = format!("__{rest}");
    }
    let parts = out.split('/').map(|part| match part {
        "" | "." => "_",
        ".." => "__",
        other => other,
    });
    parts.collect::<Vec<_>>().join("/")
}

fn numbered_key(base: &str, number: usize) -> String {
    let suffix = format!("_{number}");
    base.chars().take(MAX_CHARS - suffix.len()).collect::<String>() + &suffix
}

fn is_file_char(char: char) -> bool {
    !matches!(char, '#' | '%' | '?' | ';' | ':' | '\\')
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_COMPONENT_BYTES
        && name.chars().all(is_file_char)
        && !name.starts_with("..")
        && name != "."
        && name.trim() == name
}

fn to_file_name(name: &str) -> String {
    let mut out: String = name.chars().map(|char| if is_file_char(char) { char } else { '_' }).collect();
    if let Some(rest) = out.strip_prefix("..") {
        out = format!("__{rest}");
    }
    let trimmed = out.trim();
    let inner = if matches!(trimmed, "" | ".") { "" } else { trimmed };
    let underscores = |text: &str| "_".repeat(text.chars().count());
    let before = underscores(&out[..out.len() - out.trim_start().len()]);
    let after = underscores(&out[out.trim_end().len()..]);
    if inner.is_empty() { "_".to_owned() } else { format!("{before}{inner}{after}") }
}

/// The number goes before the extension, by which people and programs know what a file is.
fn numbered_file_name(base: &str, number: usize) -> String {
    let (stem, extension) = match base.rfind('.') {
        Some(at) if at > 0 && base.len() - at <= 16 => base.split_at(at),
        _ => (base, ""),
    };
    let suffix = format!("_{number}{extension}");
    let mut end = stem.len().min(MAX_COMPONENT_BYTES - suffix.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &stem[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(names: &[&str]) -> Vec<String> {
        assign(names, &KEYS)
    }

    #[test]
    fn what_mlflow_takes_stays_as_it_is() {
        let names = ["auc", "a/b c:d.e-f_", " a ", "①", "日本", "é", "a.", "a/.b", "-", "_2", &"x".repeat(250)];
        assert_eq!(keys(&names), names);
        let files = ["a b.txt", "é☃", ".hidden", "a+b&c=d~@!'()[]{}|<>*\"", "a..b", &"x".repeat(255)];
        assert_eq!(assign(&files, &FILES), files);
    }

    #[test]
    fn what_it_refuses_is_changed_as_little_as_can_be() {
        let given = [
            "top@1",
            "a//b",
            "./a",
            "a/../b",
            "/a",
            "a/",
            "..",
            "..a",
            "a/./b",
            "x\u{301}",
            ".",
            "/",
            "//",
            "\u{1e4d0}1",
        ];
        let names =
            ["top_1", "a/_b", "_/a", "a/__/b", "_a", "a_", "__", "__a", "a/_/b", "x_", "_", "__2", "___2", "_1"];
        let got = keys(&given);
        assert_eq!(got, names);
        assert!(got.iter().all(|name| is_key(name)), "{got:?}");
        assert_eq!(keys(&[&"é@".repeat(200)]), ["é_".repeat(125)]);
        let given = ["a#b.png", "a%2eb", "C:\\x", "..x", " a", "a?", "a;"];
        assert_eq!(assign(&given, &FILES), ["a_b.png", "a_2eb", "C__x", "__x", "_a", "a_", "a__2"]);
    }

    #[test]
    fn those_that_would_be_called_alike_are_numbered_and_the_right_ones_go_first() {
        assert_eq!(keys(&["a@", "a#", "a_", "a_2"]), ["a__2", "a__3", "a_", "a_2"]);
        assert_eq!(keys(&["a@", "a#", "a_", "a__2"]), ["a__3", "a__4", "a_", "a__2"]);
        assert_eq!(keys(&["a", "a"]), ["a", "a_2"]);
        assert_eq!(assign(&["a#.png", "a_.png", "a?.png"], &FILES), ["a__2.png", "a_.png", "a__3.png"]);
    }

    proptest! {
        #[test]
        fn every_key_is_taken_and_unique(names in prop::collection::vec("([a/.@ _é:\u{301}]{0,6}|\\PC{0,260}|[a@]{249,252})", 0..40)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let got = keys(&names);
            prop_assert!(got.iter().all(|name| is_key(name)), "{:?}", got);
            prop_assert_eq!(got.iter().collect::<HashSet<_>>().len(), names.len());
            for (name, given) in got.iter().zip(&names) {
                prop_assert!(!is_key(given) || name == given || names.iter().filter(|other| other == &given).count() > 1);
            }
        }

        #[test]
        fn every_file_name_is_taken_and_unique(names in prop::collection::vec("([ab.#? _é]{1,6}|[^/\\pC]{1,80}|[é?]{120,127})", 0..40)) {
            let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| name.len() <= MAX_COMPONENT_BYTES).collect();
            let got = assign(&names, &FILES);
            prop_assert!(got.iter().all(|name| is_file_name(name)), "{:?}", got);
            prop_assert_eq!(got.iter().collect::<HashSet<_>>().len(), names.len());
        }
    }
}
