//! What a job reports of itself: the parsed and checked content of its `metrics.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most bytes a `metrics.json` may have.
pub const MAX_METRICS_FILE_BYTES: u64 = 256 * 1024;

/// The longest name of a param or metric, in bytes; `MLflow`'s own limit.
pub const MAX_NAME_BYTES: usize = 250;

/// The results of a run that completed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Results {
    /// What the run was given: any JSON values.
    pub params: Map<String, Value>,
    /// What came of it: finite numbers.
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
    /// `performance`; every metric a finite number.
    ///
    /// # Errors
    /// One sentence that names the key that breaks a rule.
    pub fn from_metrics_json(bytes: &[u8]) -> Result<Self, InvalidMetrics> {
        let refuse = |what: String| Err(InvalidMetrics(what));
        let Ok(text) = std::str::from_utf8(bytes) else {
            return refuse("metrics.json is not UTF-8".to_owned());
        };
        let document: Value = match serde_json::from_str(&quote_non_finite(text)) {
            Ok(document) => document,
            Err(error) => return refuse(format!("metrics.json is not JSON: {error}")),
        };
        let Value::Object(mut document) = document else {
            return refuse(format!("metrics.json holds {}, not an object", kind_of(&document)));
        };
        let mut results = Self {
            params: take_object(&mut document, "params")?
                .ok_or_else(|| InvalidMetrics("metrics.json has no \"params\" object".to_owned()))?,
            metrics: BTreeMap::new(),
            performance: take_object(&mut document, "performance")?.unwrap_or_default(),
        };
        let metrics = take_object(&mut document, "metrics")?
            .ok_or_else(|| InvalidMetrics("metrics.json has no \"metrics\" object".to_owned()))?;
        for (section, names) in [("params", &results.params), ("performance", &results.performance)] {
            for (name, value) in names {
                check_name(section, name)?;
                check_no_sentinel(section, name, value)?;
            }
        }
        for (name, value) in metrics {
            check_name("metrics", &name)?;
            check_no_sentinel("metrics", &name, &value)?;
            let Some(number) = value.as_f64().filter(|number| number.is_finite()) else {
                return refuse(format!("metrics.{name} is {}, not a finite number", kind_of(&value)));
            };
            results.metrics.insert(name, number);
        }
        Ok(results)
    }
}

fn take_object(document: &mut Map<String, Value>, key: &str) -> Result<Option<Map<String, Value>>, InvalidMetrics> {
    match document.remove(key) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(other) => Err(InvalidMetrics(format!("\"{key}\" in metrics.json is {}, not an object", kind_of(&other)))),
    }
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

/// What stands for a bare `NaN` while serde reads the rest. No text of a job can hold it: it is not valid UTF-8 JSON
/// text that Python's `json` would write unescaped, and one that does is refused just as a NaN would be.
const SENTINEL: &str = "\u{1}non-finite:";

fn check_no_sentinel(section: &str, name: &str, value: &Value) -> Result<(), InvalidMetrics> {
    match value {
        Value::String(text) => match text.strip_prefix(SENTINEL) {
            Some(token) => Err(InvalidMetrics(format!("{section}.{name} is {token}, not a finite number"))),
            None => Ok(()),
        },
        Value::Array(values) => values.iter().try_for_each(|value| check_no_sentinel(section, name, value)),
        Value::Object(values) => values.values().try_for_each(|value| check_no_sentinel(section, name, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Python writes `NaN`, `Infinity` and `-Infinity` bare, which is no JSON. Quoting them lets the error name the key
/// instead of a column.
fn quote_non_finite(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(next) = rest.chars().next() {
        let token = ["NaN", "Infinity", "-Infinity"].into_iter().find(|token| !in_string && rest.starts_with(token));
        let step = match (token, next) {
            (Some(token), _) => {
                out.push_str("\"\\u0001non-finite:");
                out.push_str(token);
                out.push('"');
                rest = &rest[token.len()..];
                continue;
            }
            (None, '\\') if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, '"') => {
                in_string = !in_string;
                1
            }
            (None, other) => other.len_utf8(),
        };
        out.push_str(&rest[..step]);
        rest = &rest[step..];
    }
    out
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number out of range",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
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
        assert!(refusal(r#"{"params": {"lr": [NaN]}, "metrics": {}}"#).contains("params.lr is NaN"));
        assert!(refusal(r#"{"params": {}, "metrics": {"": 1}}"#).contains("bad name"));
    }

    #[test]
    fn the_word_nan_in_a_text_is_a_text() {
        let text = r#"{"params": {"note": "NaN \" Infinity", "NaN": 1}, "metrics": {}}"#;
        let results = Results::from_metrics_json(text.as_bytes()).unwrap();
        assert_eq!(results.params["note"], "NaN \" Infinity");
    }
}
