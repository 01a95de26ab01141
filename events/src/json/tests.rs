use proptest::prelude::*;
use serde_json::json;

use super::*;

fn refusal(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn a_name_that_a_library_keeps_for_itself_is_refused_however_it_is_written() {
    for name in [
        "$serde_json::private::RawValue",
        "$serde_json::private::Number",
        "\\u0024serde_json::private::RawValue",
        "$serde_yaml::private::x",
        "$__toml_private_datetime",
        "$__serde_spanned_private_start",
    ] {
        for document in [format!(r#"{{"{name}": "1"}}"#), format!(r#"{{"a": [{{"b": {{"{name}": 1, "c": 2}}}}]}}"#)] {
            assert!(refusal(&document).contains("reserved name"), "{document}");
        }
    }
    assert_eq!(read(r#"{"$ref": "$serde", "serde": 1}"#).unwrap(), json!({"$ref": "$serde", "serde": 1}));
}

#[test]
fn nesting_has_a_limit_that_brackets_in_texts_do_not_count_for() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(refusal(&nested(MAX_DEPTH + 1)), "nests deeper than 64 levels");
    assert!(refusal(&"[{\"a\":".repeat(100_000)).contains("deeper"));
    assert!(read(&format!(r#"{{"a": "{}", "b\"[[": "\\"}}"#, "[".repeat(500))).is_ok());
    assert!(read(&format!("[{}]", vec!["[]"; 1_000].join(","))).is_ok());
}

#[test]
fn no_digit_of_a_number_is_lost() {
    let kept = r#"[0, -0, 18446744073709551615, -9223372036854775808, 0.1, 1e300, "123456789012345678901234567890"]"#;
    assert_eq!(read(kept).unwrap(), serde_json::from_str::<Value>(kept).unwrap());
    for large in ["18446744073709551616", "-9223372036854775809", "340282366920938463463374607431768211456"] {
        let (document, wanted) = (format!(r#"{{"a": [{large}],"b":{large}}}"#), json!({"a": [large], "b": large}));
        assert_eq!(read(&document).unwrap(), wanted);
    }
    for bad in ["-", "01", "1.", ".5", "1e", "+1", "0123456789012345678901234567890", "1e999x", "0x10", "- 1"] {
        assert!(refusal(&format!("[{bad}]")).starts_with("is not JSON"), "{bad}");
    }
    assert!(refusal("{123456789012345678901234567890: 1}").contains("a name must be a string"));
    let answer = format!("{}{{\"a\": -98765432109876543210, \"b\": 1.5}}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(with_digits_kept(&answer), answer.replace("-98765432109876543210", "\"-98765432109876543210\""));
}

#[test]
fn what_is_no_number_to_everyone_is_named() {
    for token in ["NaN", "Infinity", "-Infinity", "1e400", "-1.5E+999"] {
        assert!(refusal(&format!(r#"{{"a": ["NaN", {token}]}}"#)).contains(&format!("holds {token}, which is ")));
    }
    for bad in ["[NaNa]", "[Inf]", "[nan]", "[-NaN]", "[NaN", "NaN NaN", "[1NaN]"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_once() {
    assert_eq!(read("\u{feff}{}").unwrap(), json!({}));
    assert_eq!(read_members("\u{feff}{\"a\":1}").unwrap(), [("a".to_owned(), "1")]);
    assert!(read("\u{feff}\u{feff}{}").is_err());
}

#[test]
fn members_are_given_as_they_were_written() {
    let text = " { \"a\\u0062\" : 1.10 ,\"c\":[1, {\"d\":\"},\\\"\"}] , \"c\":  \"x,y\"\n}\n";
    let wanted = [("ab", "1.10"), ("c", r#"[1, {"d":"},\""}]"#), ("c", "\"x,y\"")];
    assert_eq!(read_members(text).unwrap(), wanted.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(read_members("{}").unwrap(), []);
    assert_eq!(read_members("[1]").unwrap_err().to_string(), "must be a JSON object, not a list");
}

proptest! {
    #[test]
    fn whatever_it_is_given_it_does_not_panic_and_members_make_the_whole(text in "[\\[\\]{}\":,0-9a\\\\ eNI.\u{e9}-]{0,40}") {
        let (whole, parts) = (read_object(&text), read_members(&text));
        prop_assert_eq!(whole.is_ok(), parts.is_ok());
        if let (Ok(whole), Ok(parts)) = (whole, parts) {
            let again: Map<String, Value> = parts.iter().map(|(name, text)| (name.clone(), read(text).unwrap())).collect();
            prop_assert_eq!(whole, again);
        }
    }
}

#[test]
fn a_string_of_the_documents_own_is_never_taken_for_a_marked_token() {
    let text = r#"{"a": "\u0001token:0.5", "b": ["\u0001own:x", "\u0001"], "\u0001token:c": 1e999}"#;
    let mut value = read_marked(text).unwrap();
    assert_eq!(value["a"].as_str().and_then(token), None);
    unmark(&mut value);
    let own = json!({"a": "\u{1}token:0.5", "b": ["\u{1}own:x", "\u{1}"], "\u{1}token:c": "1e999"});
    assert_eq!(value, own);
    let metrics =
        crate::results::Results::from_metrics_json(br#"{"params": {}, "metrics": {"acc": "\u0001token:0.5"}}"#);
    assert!(metrics.unwrap_err().to_string().ends_with("is a string, not a finite number"));
}

#[test]
fn a_refusal_shows_the_beginning_of_a_token() {
    let refusal = read(&format!("{{\"a\": 1e{}}}", "9".repeat(100_000))).unwrap_err().to_string();
    assert!(refusal.len() < 200 && refusal.contains("1e999"), "{}", refusal.len());
}
