//! How a stranger's file is labelled, so that no browser does anything with it but show or save it.

use axum::http::HeaderMap;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Whether a browser shows a file or saves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Inline,
    Attachment,
}

/// The content type of each ending that is known; all others are bytes. What may hold a script is saved, not shown.
const TYPES: [(&str, &str, Shown); 14] = [
    ("png", "image/png", Shown::Inline),
    ("jpg", "image/jpeg", Shown::Inline),
    ("jpeg", "image/jpeg", Shown::Inline),
    ("gif", "image/gif", Shown::Inline),
    ("webp", "image/webp", Shown::Inline),
    ("svg", "image/svg+xml", Shown::Attachment),
    ("html", "text/html; charset=utf-8", Shown::Attachment),
    ("pdf", "application/pdf", Shown::Attachment),
    ("json", "application/json", Shown::Inline),
    ("csv", "text/csv; charset=utf-8", Shown::Inline),
    ("txt", "text/plain; charset=utf-8", Shown::Inline),
    ("log", "text/plain; charset=utf-8", Shown::Inline),
    ("md", "text/plain; charset=utf-8", Shown::Inline),
    ("yaml", "text/plain; charset=utf-8", Shown::Inline),
];

/// Says what a file of this name is, and what it is called.
pub(super) fn describe(headers: &mut HeaderMap, name: &str) {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let known = TYPES.iter().find(|(known, ..)| ending.as_deref() == Some(*known));
    let (kind, shown) =
        known.map_or(("application/octet-stream", Shown::Attachment), |(_, kind, shown)| (*kind, *shown));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(value) = HeaderValue::from_str(&disposition(shown, name)) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
}

/// In a window of its own, without scripts, and in no frame.
const POLICY: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

/// Keeps a browser from finding in a file what it is not said to be, and from running what is in it.
pub(super) fn confine(headers: &mut HeaderMap) {
    let confined = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // It never changes, but who may have it does.
        (CACHE_CONTROL, "private, no-cache"),
    ];
    for (name, value) in confined {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// By RFC 6266: a plain name for old programs beside the real one.
fn disposition(shown: Shown, name: &str) -> String {
    let shown = match shown {
        Shown::Inline => "inline",
        Shown::Attachment => "attachment",
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let real = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("{shown}; filename=\"{plain}\"; filename*=UTF-8''{real}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str) -> (String, String) {
        let mut headers = HeaderMap::new();
        describe(&mut headers, name);
        let text = |name| headers[&name].to_str().unwrap().to_owned();
        (text(CONTENT_TYPE), text(CONTENT_DISPOSITION))
    }

    #[test]
    fn pictures_are_shown_and_what_may_hold_a_script_is_saved() {
        assert_eq!(described("a.PNG").0, "image/png");
        assert!(described("a.png").1.starts_with("inline;"));
        for name in ["a.html", "a.svg", "a.pdf", "a.js", "a.xhtml", "png", "a.png.exe"] {
            assert!(described(name).1.starts_with("attachment;"), "{name}");
        }
        assert_eq!(described("model.pt").0, "application/octet-stream");
    }

    #[test]
    fn a_name_can_not_leave_its_header() {
        let (_, disposition) = described("a\"; x=\r\ny\u{e9}.png");
        assert_eq!(
            disposition,
            "inline; filename=\"a___x___y_.png\"; filename*=UTF-8''a%22%3B%20x%3D%0D%0Ay%C3%A9%2Epng"
        );
    }
}
