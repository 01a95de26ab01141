//! What of a job's results is ranked and shown on boards, and which of two values is the better one.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::id::{JobId, UserId};
use crate::time::Timestamp;

/// The most metrics of one job that are ranked.
pub const MAX_RANKED: usize = 64;

/// The most characters of a text that a board shows.
pub const MAX_TEXT_CHARS: usize = 200;

/// Which values of a metric are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// The smaller ones.
    Asc,
    /// The greater ones.
    Desc,
}

/// An order that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order is asc or desc")]
pub struct InvalidOrder;

/// One job's place on the board of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Whose job it is.
    pub user: UserId,
    /// What it reached.
    pub value: f64,
    /// When it completed.
    pub completed_at: Timestamp,
    /// Which job.
    pub job: JobId,
}

impl Order {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asc => "asc",
            Self::Desc => "desc",
        }
    }

    /// Whether a value is better than another.
    #[must_use]
    pub fn is_better(self, value: f64, than: f64) -> bool {
        match self {
            Self::Asc => value < than,
            Self::Desc => value > than,
        }
    }

    /// Which of two comes first: the better value, among equal ones the earlier end.
    #[must_use]
    pub fn compare(self, one: &Standing, other: &Standing) -> Ordering {
        let by_value = match self {
            Self::Asc => one.value.total_cmp(&other.value),
            Self::Desc => other.value.total_cmp(&one.value),
        };
        by_value.then_with(|| (one.completed_at, one.job).cmp(&(other.completed_at, other.job)))
    }
}

impl FromStr for Order {
    type Err = InvalidOrder;

    fn from_str(text: &str) -> Result<Self, InvalidOrder> {
        match text {
            "asc" => Ok(Self::Asc),
            "desc" => Ok(Self::Desc),
            _ => Err(InvalidOrder),
        }
    }
}

/// The metrics of a job that are ranked: all finite ones, and where there are more than [`MAX_RANKED`] those with the
/// shortest names, for `auc` is more likely to be what people compare than `auc/class_017`.
///
/// Zero has one sign here, so that equal values are the same bytes.
#[must_use]
pub fn ranked(metrics: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let mut finite: Vec<(&String, f64)> =
        metrics.iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| (name, value + 0.0)).collect();
    // Stable: names of one length stay in their order.
    finite.sort_by_key(|(name, _)| name.len());
    finite.into_iter().take(MAX_RANKED).map(|(name, value)| (name.clone(), value)).collect()
}

/// What boards call the method of a job: its param `method`, else `model`, cut to [`MAX_TEXT_CHARS`]. A string as it
/// is, anything else as its JSON; null is none.
#[must_use]
pub fn method(params: &Map<String, Value>) -> Option<String> {
    let value = ["method", "model"].iter().find_map(|name| params.get(*name).filter(|value| !value.is_null()))?;
    Some(cut(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}

/// The figures of performance that boards show: of more than [`MAX_RANKED`] those with the shortest names; a text cut
/// to [`MAX_TEXT_CHARS`], a list or an object as its JSON, cut likewise.
#[must_use]
pub fn figures(performance: Map<String, Value>) -> Map<String, Value> {
    let mut all: Vec<(String, Value)> = performance.into_iter().collect();
    all.sort_by(|(one, _), (other, _)| (one.len(), one).cmp(&(other.len(), other)));
    let shown = |value: Value| match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
        Value::String(text) => Value::String(cut(&text)),
        Value::Array(_) | Value::Object(_) => Value::String(cut(&value.to_string())),
    };
    all.into_iter().take(MAX_RANKED).map(|(name, value)| (name, shown(value))).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time::from_unix_micros;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_method_is_the_first_param_of_two_that_says_something() {
        let of = |params: Value| method(&object(&params));
        assert_eq!(of(json!({ "method": "padim", "model": "x" })).as_deref(), Some("padim"));
        assert_eq!(of(json!({ "method": null, "model": ["a", 1] })).as_deref(), Some("[\"a\",1]"));
        assert_eq!(of(json!({ "seed": 7 })), None);
        assert_eq!(of(json!({ "model": "é".repeat(1_000) })).unwrap().chars().count(), MAX_TEXT_CHARS);
    }

    #[test]
    fn figures_are_few_and_short() {
        let found = figures(object(&json!({ "a": 1.5, "long": "x".repeat(1_000), "list": [1, 2], "none": null })));
        assert_eq!(found["a"], 1.5);
        assert_eq!(found["long"].as_str().unwrap().len(), MAX_TEXT_CHARS);
        assert_eq!((&found["list"], &found["none"]), (&json!("[1,2]"), &Value::Null));
        let many: Map<String, Value> = (0..1_000).map(|number| (format!("f{number:04}"), json!(number))).collect();
        let found = figures(many);
        assert!(found.len() == MAX_RANKED && found.contains_key("f0063"));
    }

    #[test]
    fn the_metrics_with_the_shortest_names_are_ranked_where_there_are_too_many() {
        let mut metrics: BTreeMap<String, f64> =
            (0..1_500).map(|number| (format!("auc/class_{number:04}"), 0.5)).collect();
        metrics.extend([("image_auc".to_owned(), -0.0), ("zz".to_owned(), 5e-324), ("nan".to_owned(), f64::NAN)]);
        let ranked = ranked(&metrics);
        assert_eq!(ranked.len(), MAX_RANKED);
        assert_eq!(ranked["image_auc"].to_bits(), 0.0_f64.to_bits());
        assert_eq!(ranked["zz"].to_bits(), 5e-324_f64.to_bits());
        assert!(ranked.contains_key("auc/class_0061") && !ranked.contains_key("auc/class_0062"));
        assert!(!ranked.contains_key("nan"));
    }

    #[test]
    fn the_earlier_of_two_equal_values_comes_first_in_either_order() {
        let standing = |value, at| Standing {
            user: "alice".parse().unwrap(),
            value,
            completed_at: from_unix_micros(at),
            job: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap(),
        };
        for order in [Order::Asc, Order::Desc] {
            assert_eq!(order.compare(&standing(0.5, 1), &standing(0.5, 2)), Ordering::Less);
            assert_eq!(order.as_str().parse(), Ok(order));
        }
        assert_eq!(Order::Desc.compare(&standing(0.5, 1), &standing(0.6, 2)), Ordering::Greater);
        assert_eq!(Order::Asc.compare(&standing(0.5, 1), &standing(0.6, 2)), Ordering::Less);
        assert_eq!("DESC".parse::<Order>(), Err(InvalidOrder));
    }
}
