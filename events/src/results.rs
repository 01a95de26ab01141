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
    /// `performance`; every metric a finite number. What describes the run, params and performance, may hold anything:
    /// `NaN`, `Infinity` and numbers that 64 bits can't hold are kept as strings.
    ///
    /// # Errors
    /// One sentence that names the key that breaks a rule.
    pub fn from_metrics_json(bytes: &[u8]) -> Result<Self, InvalidMetrics> {
        let refuse = |what: String| Err(InvalidMetrics(what));
        let Ok(text) = std::str::from_utf8(bytes) else {
            return refuse("metrics.json is not UTF-8".to_owned());
        };
        let document = json::read_marked(text).map_err(|error| InvalidMetrics(format!("metrics.json {error}")))?;
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
            check_name("metrics", &name)?;
            results.metrics.insert(name.clone(), finite(&name, &value)?);
        }
        let bytes = serde_json::to_vec(&results).map_or(usize::MAX, |text| text.len());
        if bytes > MAX_STORED_BYTES {
            return refuse(format!(
                "metrics.json has {bytes} bytes once its numbers are written out, more than {MAX_STORED_BYTES}"
            ));
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

fn take_description(
    document: &mut Map<String, Value>,
    section: &str,
) -> Result<Option<Map<String, Value>>, InvalidMetrics> {
    let mut object = take_object(document, section)?;
    for (name, value) in object.iter_mut().flatten() {
        check_name(section, name)?;
        json::unmark(value);
    }
    Ok(object)
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
    fn what_could_not_be_read_again_is_refused() {
        let nested = |depth: usize| {
            format!(r#"{{"params": {{"x": {}1{}}}, "metrics": {{}}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        let results = Results::from_metrics_json(nested(json::MAX_DEPTH - 2).as_bytes()).unwrap();
        assert!(serde_json::from_str::<Results>(&serde_json::to_string(&results).unwrap()).is_ok());
        assert!(refusal(&nested(json::MAX_DEPTH - 1)).contains("nests deeper than 64 levels"));
        let smuggled = r#"{"params": {"x": {"$serde_json::private::RawValue": "[[[1]]]"}}, "metrics": {"acc": 5}}"#;
        assert!(refusal(smuggled).contains("reserved name \"$serde_json::private::RawValue\""));
        let long = format!(r#"{{"params": {{"x": [{}1]}}, "metrics": {{}}}}"#, "1e15,".repeat(40_000));
        assert!(refusal(&long).contains("once its numbers are written out"));
    }
}
