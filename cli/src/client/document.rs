//! JSON as the server wrote it, laid out for people: no number is written in another way.

use events::json::string_length;
use serde_json::Value;

/// An answer: its text, and what that says.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(super) text: String,
}

/// The text of a JSON document, indented by two spaces. Strings and numbers stay as they are.
pub(super) fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut rest = json.trim_start_matches('\u{feff}');
    while let Some(next) = rest.chars().next() {
        let mut length = next.len_utf8();
        match next {
            '"' => {
                length = string_length(rest);
                out.push_str(&rest[..length]);
            }
            '{' | '[' => {
                out.push(next);
                let inner = rest[1..].trim_ascii_start();
                if let Some(closing @ ('}' | ']')) = inner.chars().next() {
                    out.push(closing);
                    length = rest.len() - inner.len() + 1;
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(next);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            next if next.is_ascii_whitespace() => {}
            next => out.push(next),
        }
        rest = &rest[length..];
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_laid_out_and_none_of_its_tokens_changes() {
        let json = r#" {"lr":1.10,"big":123456789012345678901234567890,"e":[1e2,-0.0],"none":{ },"s":"a\\\"{,:\u00e9" , "z":[ ]}"#;
        let shown = indented(json);
        assert_eq!(
            shown,
            "{\n  \"lr\": 1.10,\n  \"big\": 123456789012345678901234567890,\n  \"e\": [\n    1e2,\n    -0.0\n  ],\n  \
             \"none\": {},\n  \"s\": \"a\\\\\\\"{,:\\u00e9\",\n  \"z\": []\n}"
        );
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), serde_json::from_str::<Value>(json).unwrap());
        assert_eq!((indented("7").as_str(), indented("\"x").as_str(), indented("").as_str()), ("7", "\"x", ""));
    }
}
