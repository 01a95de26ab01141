//! What a run could not be told as it was, kept in its tags, from which it can be put together again.

use std::collections::BTreeMap;

use serde::Serialize;

/// The longest value of a param, in characters.
pub(super) const MAX_PARAM_CHARS: usize = 6000;
/// The longest value of a tag, in characters.
pub(super) const MAX_TAG_CHARS: usize = 8000;

/// The tags that this is about all begin so.
const ORIGINALS: &str = "leadersboard.originals";

/// What was different about something before it was given the name and value that it has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Original {
    /// What it was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// A number as JSON text, where the one kept is not the same to the last bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    /// The tags with the rest of a text: this, a dot, and 1, 2 and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rest: Option<String>,
    /// The tags with the whole of a text, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) json: Option<String>,
}

impl Original {
    /// Nothing was.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The tags that tell of the originals of one kind, by the names they have now: `leadersboard.originals.<kind>`,
/// `….<kind>.2` and so on, each a JSON object.
pub(super) fn tags(kind: &str, originals: &BTreeMap<String, Original>) -> BTreeMap<String, String> {
    let mut objects: Vec<(String, usize)> = Vec::new();
    for (name, original) in originals {
        // Neither holds anything that JSON has no text for.
        let entry =
            [serde_json::to_string(name), serde_json::to_string(original)].map(Result::unwrap_or_default).join(":");
        let chars = entry.chars().count();
        match objects.last_mut() {
            Some((object, length)) if *length + chars + 2 <= MAX_TAG_CHARS => {
                object.push(',');
                object.push_str(&entry);
                *length += chars + 1;
            }
            _ => objects.push((format!("{{{entry}"), chars + 1)),
        }
    }
    let named = objects.into_iter().enumerate().map(|(at, (object, _))| match at {
        0 => (format!("{ORIGINALS}.{kind}"), object + "}"),
        _ => (format!("{ORIGINALS}.{kind}.{}", at + 1), object + "}"),
    });
    named.collect()
}

/// The tags that hold a text in pieces: `<name>.1`, `<name>.2` and so on.
pub(super) fn pieces<'a>(name: &'a str, text: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let mut left = text;
    (1_usize..).map_while(move |number| {
        let (piece, rest) = cut(left, MAX_TAG_CHARS);
        left = rest;
        (!piece.is_empty()).then(|| (format!("{name}.{number}"), piece.to_owned()))
    })
}

/// The first characters of a text, and the others. `MLflow` counts code points.
pub(super) fn cut(text: &str, chars: usize) -> (&str, &str) {
    let end = text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_objects_are_made_as_it_takes_and_none_is_too_long() {
        let originals: BTreeMap<String, Original> = (0..500)
            .map(|number| {
                let name = Some(format!("\"é😀\\@{number}"));
                (format!("name_{number:03}"), Original { name, ..Original::default() })
            })
            .collect();
        let tags = tags("metrics", &originals);
        assert!(tags.len() > 2 && tags.contains_key("leadersboard.originals.metrics"));
        let mut read = BTreeMap::new();
        for (at, number) in (0..tags.len()).zip(1..) {
            let suffix = if at == 0 { String::new() } else { format!(".{number}") };
            let text = &tags[&format!("leadersboard.originals.metrics{suffix}")];
            assert!(text.chars().count() <= MAX_TAG_CHARS);
            read.extend(serde_json::from_str::<BTreeMap<String, BTreeMap<String, String>>>(text).unwrap());
        }
        assert_eq!(read.len(), 500);
        assert_eq!(read["name_007"]["name"], "\"é😀\\@7");
        assert!(super::tags("params", &BTreeMap::new()).is_empty());
    }

    #[test]
    fn pieces_are_the_text() {
        let text = "😀é".repeat(9000);
        let pieces: Vec<(String, String)> = pieces("r", &text).collect();
        assert_eq!(pieces.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["r.1", "r.2", "r.3"]);
        assert_eq!(pieces.into_iter().map(|(_, piece)| piece).collect::<String>(), text);
        assert_eq!(super::pieces("r", "").count(), 0);
    }
}
