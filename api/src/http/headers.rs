//! What every answer tells a browser: run nothing, frame nothing, guess nothing, keep nothing.

use axum::http::HeaderMap;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, Entry, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// For an answer that is no page. A page has a policy of its own.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// A year: long enough for browsers to remember it between visits.
const TLS_ONLY: &str = "max-age=31536000";

/// Headers of every answer, and what they say if the answer does not say it otherwise.
const DEFAULTS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (CACHE_CONTROL, "no-store"),
];

/// Adds what is missing. With `tls_only`, browsers come by TLS from now on.
pub(crate) fn complete(headers: &mut HeaderMap, tls_only: bool) {
    headers.reserve(DEFAULTS.len() + 1);
    for (name, value) in DEFAULTS {
        if let Entry::Vacant(missing) = headers.entry(name) {
            missing.insert(HeaderValue::from_static(value));
        }
    }
    if tls_only {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(TLS_ONLY));
    }
}

/// The same as lines of an answer's head, for one that no handler gives.
pub(crate) fn lines() -> String {
    DEFAULTS.map(|(name, value)| format!("{name}: {value}\r\n")).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_its_own_policy_and_gets_the_rest() {
        let own = HeaderValue::from_static("default-src 'self'");
        let mut headers = HeaderMap::from_iter([(CONTENT_SECURITY_POLICY, own.clone())]);
        complete(&mut headers, false);
        assert_eq!(headers.get_all(CONTENT_SECURITY_POLICY).iter().collect::<Vec<_>>(), [&own]);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert!(headers.len() == DEFAULTS.len() && !headers.contains_key(STRICT_TRANSPORT_SECURITY));
        complete(&mut headers, true);
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], TLS_ONLY);
    }
}
