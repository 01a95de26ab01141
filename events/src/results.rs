//! What a job reports of itself: the parsed and checked content of its `metrics.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::{self, kind_of};

/// The most bytes a `metrics.json` may have.
pub const MAX_METRICS_FILE_BYTES: u64 = 256 * 1024;

/// The most bytes that results may have once they are stored: `1e15` becomes `1000000000000000.0`.
pub const MAX_STORED_BYTES: usize = 512 * 1024;

/// The longest name of a param or metric, in bytes; `MLflow`'s own limit.
pub const MAX_NAME_BYTES: usize = 250;

/// The results of a run that completed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Results {
    /// What the run was given: any JSON values.
    pub params: Map<String, Value>,
    /// The results: finite numbers.
    pub metrics: BTreeMap<String, f64>,
    /// What it cost, as the job measured it itself.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub performance: Map<String, Value>,
}

/// Why a `metrics.json` was refused, as a sentence that names the culprit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidMetrics(String);

impl Results {
    /// Reads and checks a `metrics.json`: an object with the objects `params` and `metrics` and, optionally,
    /// `performance`; every metric a finite number. What describes the run, params and performance, may hold anything:
    /// `NaN`, `Infinity` and numbers that 64 bits can't hold are kept as strings. A finished training does not fail for
    /// its description: what can't be kept as it is, is mended, and what is too much to store is left out.
    ///
    /// # Errors
    /// One sentence that names the key that breaks a rule.
    pub fn from_metrics_json(bytes: &[u8]) -> Result<Self, InvalidMetrics> {
        let refuse = |what: String| Err(InvalidMetrics(what));
        let document = json::read_kept(bytes).map_err(|error| InvalidMetrics(format!("metrics.json {error}")))?;
        let Value::Object(mut document) = document else {
            return refuse(format!("metrics.json holds {}, not an object", kind_of(&document)));
        };
        let mut results = Self {
            params: take_description(&mut document, "params")?
                .ok_or_else(|| InvalidMetrics("metrics.json has no \"params\" object".to_owned()))?,
            metrics: BTreeMap::new(),
            performance: take_description(&mut document, "performance")?.unwrap_or_default(),
        };
        let metrics = take_object(&mut document, "metrics")?
            .ok_or_else(|| InvalidMetrics("metrics.json has no \"metrics\" object".to_owned()))?;
        for (name, value) in metrics {
            let name = json::plain_name(&name);
            check_name("metrics", name)?;
            results.metrics.insert(name.to_owned(), finite(name, &value)?);
        }
        results.fit()?;
        Ok(results)
    }

    /// Leaves out of params and performance what is too much to store, the largest first. A note stands in its place.
    fn fit(&mut self) -> Result<(), InvalidMetrics> {
        let mut stored = stored_bytes(self);
        if stored <= MAX_STORED_BYTES {
            return Ok(());
        }
        let metrics = stored_bytes(&self.metrics);
        if metrics + SPARE_BYTES > MAX_STORED_BYTES {
            return Err(InvalidMetrics(format!(
                "the metrics in metrics.json take {metrics} bytes once they are stored, more than {}: their numbers are \
                 written out, and bytes that are not UTF-8 take three bytes each. Write fewer metrics",
                MAX_STORED_BYTES - SPARE_BYTES
            )));
        }
        let sections = [&mut self.params, &mut self.performance];
        let mut values: Vec<_> =
            sections.into_iter().flat_map(Map::values_mut).map(|it| (stored_bytes(it), it)).collect();
        values.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, value) in values {
            let note = Value::from(format!("(left out: {bytes} bytes once stored)"));
            let saved = bytes.saturating_sub(stored_bytes(&note));
            if stored <= MAX_STORED_BYTES || saved == 0 {
                break;
            }
            *value = note;
            stored -= saved;
        }
        self.leave_out_names(stored)
    }

    /// Leaves out whole entries where even their names are too much, those with the longest names first.
    fn leave_out_names(&mut self, mut stored: usize) -> Result<(), InvalidMetrics> {
        for (section, object) in [("params", &mut self.params), ("performance", &mut self.performance)] {
            if stored <= MAX_STORED_BYTES {
                break;
            }
            let mut names: Vec<String> = object.keys().cloned().collect();
            names.sort_by_key(|name| std::cmp::Reverse(name.len()));
            let mut left_out = 0;
            for name in names {
                if stored + SPARE_BYTES <= MAX_STORED_BYTES {
                    break;
                }
                let value = object.remove(&name).unwrap_or_default();
                stored = stored.saturating_sub(stored_bytes(&name) + stored_bytes(&value) + 2);
                left_out += 1;
            }
            let note = Value::from(format!("{left_out} {section}"));
            stored += stored_bytes(&note) + LEFT_OUT.len() + 4;
            object.insert(LEFT_OUT.to_owned(), note);
        }
        let bytes = stored_bytes(self);
        if bytes <= MAX_STORED_BYTES {
            return Ok(());
        }
        Err(InvalidMetrics(format!("metrics.json takes {bytes} bytes once it is stored, more than {MAX_STORED_BYTES}")))
    }
}

/// Stands for the entries of which not even the names are kept.
const LEFT_OUT: &str = "(left out)";

/// Room for what stands beside the metrics: the names of the sections, and two notes.
const SPARE_BYTES: usize = 256;

fn stored_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

fn take_object(document: &mut Map<String, Value>, key: &str) -> Result<Option<Map<String, Value>>, InvalidMetrics> {
    match document.remove(key) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(other) => Err(InvalidMetrics(format!("\"{key}\" in metrics.json is {}, not an object", kind_of(&other)))),
    }
}

fn take_description(
    document: &mut Map<String, Value>,
    section: &str,
) -> Result<Option<Map<String, Value>>, InvalidMetrics> {
    let object = take_object(document, section)?;
    Ok(object.map(|object| {
        let mut value = Value::Object(object);
        json::unmark(&mut value);
        let Value::Object(object) = value else { return Map::new() };
        object.into_iter().map(|(name, value)| (mended(name), value)).collect()
    }))
}

/// A name that may be kept: without control characters, not empty, and cut where it is too long.
fn mended(name: String) -> String {
    if is_name(&name) {
        return name;
    }
    let visible: String = name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    match visible.as_str() {
        "" => "(no name)".to_owned(),
        short if short.len() <= MAX_NAME_BYTES => visible,
        long => format!("{}…", &long[..long.floor_char_boundary(MAX_NAME_BYTES - '…'.len_utf8())]),
    }
}

/// A metric's value. An integer of any length is a number, if not an exact one.
fn finite(name: &str, value: &Value) -> Result<f64, InvalidMetrics> {
    let token = value.as_str().and_then(json::token);
    let number = token.map_or_else(|| value.as_f64(), |token| token.parse().ok());
    number.filter(|number| number.is_finite()).ok_or_else(|| {
        let found = token.map_or_else(|| kind_of(value).to_owned(), json::shown);
        InvalidMetrics(format!("metrics.{name} is {found}, not a finite number"))
    })
}

/// Whether a text of a job's performance stands for a number that is not finite.
#[must_use]
pub fn is_non_finite(value: &Value) -> bool {
    value.as_str().is_some_and(|text| json::NON_FINITE.contains(&text))
}

/// Whether a param or a metric may be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn check_name(section: &str, name: &str) -> Result<(), InvalidMetrics> {
    if !is_name(name) {
        let shown: String = name.chars().take(40).collect();
        return Err(InvalidMetrics(format!(
            "{section} has a bad name {shown:?}: names have 1 to {MAX_NAME_BYTES} bytes and no control characters"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(text: &str) -> String {
        Results::from_metrics_json(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn numbers_survive_to_the_last_bit() {
        let text = r#"{"params": {}, "metrics": {"a": 5e-324, "b": -0.0, "c": 0.1, "d": 1e-308, "e": 3}}"#;
        let results = Results::from_metrics_json(text.as_bytes()).unwrap();
        let bits: Vec<u64> = results.metrics.values().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [5e-324_f64, -0.0, 0.1, 1e-308, 3.0].map(f64::to_bits));
        let again: Results = serde_json::from_str(&serde_json::to_string(&results).unwrap()).unwrap();
        assert_eq!(again.metrics.values().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
    }

    #[test]
    fn every_refusal_names_its_culprit() {
        assert!(refusal("").contains("not JSON"));
        assert!(refusal("[]").contains("a list"));
        assert!(refusal(r#"{"metrics": {}}"#).contains("\"params\""));
        assert!(refusal(r#"{"params": {}}"#).contains("\"metrics\""));
        assert!(refusal(r#"{"params": 3, "metrics": {}}"#).contains("\"params\""));
        assert!(refusal(r#"{"params": {}, "metrics": {"auc": NaN}}"#).contains("metrics.auc is NaN"));
        assert!(refusal(r#"{"params": {}, "metrics": {"auc": -Infinity}}"#).contains("metrics.auc is -Infinity"));
        assert!(refusal(r#"{"params": {}, "metrics": {"ok": true}}"#).contains("metrics.ok is a boolean"));
        assert!(refusal(r#"{"params": {}, "metrics": {"ok": "0.9"}}"#).contains("metrics.ok is a string"));
        assert!(refusal(r#"{"params": {}, "metrics": {"auc": 1e999}}"#).contains("metrics.auc is 1e999"));
        assert!(refusal(r#"{"params": {}, "metrics": {"": 1}}"#).contains("bad name"));
    }

    #[test]
    fn what_describes_a_run_may_hold_what_is_no_number() {
        let text = concat!(
            "\u{feff}",
            r#"{"params": {"missing": NaN, "range": [-Infinity, {"to": Infinity}], "seed": 12345678901234567890123,"#,
            r#""note": "NaN \" Infinity", "NaN": 1}, "metrics": {"n": 12345678901234567890123},"#,
            r#""performance": {"speed": Infinity}}"#
        );
        let results = Results::from_metrics_json(text.as_bytes()).unwrap();
        let params = json!({
            "missing": "NaN", "range": ["-Infinity", {"to": "Infinity"}], "seed": "12345678901234567890123",
            "note": "NaN \" Infinity", "NaN": 1,
        });
        assert_eq!(Value::Object(results.params), params);
        assert_eq!(results.metrics["n"].to_bits(), 12_345_678_901_234_567_890_123.0_f64.to_bits());
        assert!(is_non_finite(&results.performance["speed"]) && !is_non_finite(&json!("fast")));
    }

    #[test]
    fn a_description_is_kept_whatever_is_in_it() {
        let kept = |params: &[u8]| {
            let document = [br#"{"params": "#, params, br#", "metrics": {"auc": 0.5}}"#].concat();
            Value::Object(Results::from_metrics_json(&document).unwrap().params)
        };
        let cases: [(&[u8], Value); 14] = [
            (br#"{"s": "\\ud800"}"#, json!({"s": "\\ud800"})),
            (
                br#"{"s": "\ud800", "t": "a\uDFFFb\ud83d\ude00", "\udc80": 1}"#,
                json!({"s": "\u{fffd}", "t": "a\u{fffd}b😀", "\u{fffd}": 1}),
            ),
            (
                br#"{"s": ["\ud83d\ud83d\ude00", {"\ud800x": "\ud800\u0041\\\ud800"}]}"#,
                json!({"s": ["\u{fffd}😀", {"\u{fffd}x": "\u{fffd}A\\\u{fffd}"}]}),
            ),
            (
                b"{\"s\": \"caf\xe9\", \"\xff\": \"\xed\xa0\x80\"}",
                json!({"s": "caf\u{fffd}", "\u{fffd}": "\u{fffd}\u{fffd}\u{fffd}"}),
            ),
            (
                br#"{"n": [1e999, [-1E+400, {"x": NaN}]], "o": {"p": -Infinity}}"#,
                json!({"n": ["1e999", ["-1E+400", {"x": "NaN"}]], "o": {"p": "-Infinity"}}),
            ),
            (
                br#"{"n": 123456789012345678901234567890, "small": 1e-999}"#,
                json!({"n": "123456789012345678901234567890", "small": 0.0}),
            ),
            (br#"{"1": "a", "1": "b"}"#, json!({"1": "b"})),
            (br#"{"": 1, "a\nb": 2}"#, json!({"(no name)": 1, "a\u{fffd}b": 2})),
            (br#"{"s": "\u0001token:NaN", "\u0001token:1": 2}"#, json!({"s": "\u{1}token:NaN", "\u{fffd}token:1": 2})),
            (br#"{"s": "\u0001\ud800"}"#, json!({"s": "\u{1}\u{fffd}"})),
            (br#"{"s": "\u0000\t"}"#, json!({"s": "\u{0}\t"})),
            (br#"{"null": null, "true": true}"#, json!({"null": null, "true": true})),
            ("{\"s\": \"\u{7f}\u{85}\u{2028}\"}".as_bytes(), json!({"s": "\u{7f}\u{85}\u{2028}"})),
            (b"{}", json!({})),
        ];
        for (params, wanted) in cases {
            assert_eq!(kept(params), wanted, "{}", String::from_utf8_lossy(params));
        }
        let deep = format!(r#"{{"x": {}"]\"}}", NaN{}}}"#, "[".repeat(90), "]".repeat(90));
        let mut value = &kept(deep.as_bytes())["x"];
        while let Some(inner) = value.get(0) {
            value = inner;
        }
        let text = value.as_str().unwrap();
        assert!(text.starts_with("[[[") && text.contains(r#"["]\"}", NaN]"#), "{text}");
        let long = kept(format!(r#"{{"{}": 1}}"#, "é".repeat(300)).as_bytes());
        assert!(long.as_object().unwrap().keys().all(|name| name.len() <= MAX_NAME_BYTES && name.ends_with("é…")));
        for encode in [u16::to_le_bytes, u16::to_be_bytes] {
            let text = "\u{feff}{\"params\": {\"é\": \"😀\"}, \"metrics\": {\"auc\": 0.5}}";
            let bytes: Vec<u8> = text.encode_utf16().flat_map(encode).collect();
            assert_eq!(Results::from_metrics_json(&bytes).unwrap().params["é"], "😀");
        }
        for broken in [r#""\ud80""#, r#""\u+123""#, r#""\ud800"#, r#""\"#, "[[", r#""\é""#] {
            assert!(
                refusal(&format!(r#"{{"metrics": {{}}, "params": {{"x": {broken}"#)).contains("not JSON"),
                "{broken}"
            );
        }
    }

    #[test]
    fn what_could_not_be_read_again_is_refused() {
        let nested = |depth: usize| {
            format!(r#"{{"params": {{"x": {}1{}}}, "metrics": {{}}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        for depth in [json::MAX_DEPTH - 2, json::MAX_DEPTH - 1, 20_000] {
            let results = Results::from_metrics_json(nested(depth).as_bytes()).unwrap();
            assert!(serde_json::from_str::<Results>(&serde_json::to_string(&results).unwrap()).is_ok());
        }
        let smuggled = r#"{"params": {"x": {"$serde_json::private::RawValue": "[[[1]]]"}}, "metrics": {"acc": 5}}"#;
        assert!(refusal(smuggled).contains("reserved name \"$serde_json::private::RawValue\""));
        let many: Vec<String> = (0..20_000).map(|number| format!(r#""m{number}":1e15"#)).collect();
        let refused = refusal(&format!(r#"{{"params": {{}}, "metrics": {{{}}}}}"#, many.join(",")));
        assert!(
            refused.starts_with("the metrics in metrics.json take 5") && refused.contains("more than 52"),
            "{refused}"
        );
        let own = refusal(r#"{"params": {}, "metrics": {"\u0001token:1": 1}}"#);
        assert!(own.starts_with(r#"metrics has a bad name "\u{1}token:1""#), "{own}");
    }

    #[test]
    fn a_description_that_is_too_much_is_left_out_and_the_rest_is_kept() {
        let read = |params: &[u8], performance: &[u8]| {
            let parts: [&[u8]; 5] =
                [br#"{"params": {"#, params, br#"}, "metrics": {"auc": 0.5}, "performance": {"#, performance, b"}}"];
            let document = parts.concat();
            assert!(document.len() as u64 <= MAX_METRICS_FILE_BYTES, "{}", document.len());
            let results = Results::from_metrics_json(&document).unwrap();
            assert_eq!(results.metrics["auc"].to_bits(), 0.5_f64.to_bits());
            assert!(stored_bytes(&results) <= MAX_STORED_BYTES);
            results
        };
        let latin: Vec<u8> = [br#""lr": 0.1, "note": ""#.as_slice(), &vec![0xe9; 180_000], b"\""].concat();
        let results = read(&latin, b"");
        assert_eq!(Value::Object(results.params), json!({"lr": 0.1, "note": "(left out: 540002 bytes once stored)"}));
        let numbers = format!(r#""lr": 0.1, "x": [{}1]"#, "1e15,".repeat(43_000));
        let results = read(numbers.as_bytes(), b"");
        assert_eq!(results.params["lr"], 0.1);
        assert!(results.params["x"].as_str().unwrap().starts_with("(left out: "), "{:?}", results.params["x"]);
        let results = read(b"\"lr\": 0.1", &latin);
        assert_eq!(results.performance["note"], "(left out: 540002 bytes once stored)");
        // The largest go first, and no more than must.
        let two = [br#""a": ""#.as_slice(), &vec![0xe9; 100_000], br#"", "b": ""#, &vec![0xe9; 90_000], b"\""].concat();
        let results = read(&two, b"");
        assert!(
            results.params["a"].as_str().unwrap().starts_with("(left") && results.params["b"] != results.params["a"]
        );
        assert_eq!(results.params["b"].as_str().unwrap().chars().count(), 90_000);
        // Names alone can be too much.
        let names: Vec<Vec<u8>> =
            (0..2700).map(|number| [format!("\"{number:04}").as_bytes(), &[0xe9; 80], b"\": 1"].concat()).collect();
        let results = read(&names.join(&b','), &latin[..9]);
        assert!(results.params.len() > 1900 && results.params.len() < 2700, "{}", results.params.len());
        let left_out = results.params[LEFT_OUT].as_str().unwrap();
        assert_eq!(left_out, format!("{} params", 2701 - results.params.len()));
        for section in ["params", "performance"] {
            let swapped = if section == "params" { (names.join(&b','), vec![]) } else { (vec![], names.join(&b',')) };
            read(&swapped.0, &swapped.1);
        }
    }
}
