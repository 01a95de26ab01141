//! What is wanted of a run tells all that it is, in whatever way names and values had to change.

use events::Results;
use events::time::from_unix_micros;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::mlflow::http::wire::{RunData, RunInfo};

fn record(results: Results) -> RunRecord {
    RunRecord {
        job: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap(),
        fence: "0123456789abcdef01234567".parse().unwrap(),
        attempt: 2,
        submission: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap(),
        user: "zoë".parse().unwrap(),
        entrypoint: "main.py".to_owned(),
        started_at: from_unix_micros(1_700_000_000_123_456),
        worker: "host-1".parse().unwrap(),
        gpus: vec!["GPU-a".to_owned(), "GPU-b".to_owned()],
        sandbox: "standard".to_owned(),
        outcome: RunStatus::Finished,
        results,
        artifacts: None,
        known: None,
    }
}

fn wanted(results: serde_json::Value) -> Wanted {
    Wanted::of(&record(serde_json::from_value(results).unwrap()), "main")
}

/// As `MLflow` would keep it.
fn kept(wanted: &Wanted) -> Run {
    let (metrics, params, tags) = (wanted.metrics.clone(), wanted.params.clone(), wanted.tags.clone());
    let info = RunInfo {
        run_id: "r".to_owned(),
        experiment_id: "1".to_owned(),
        run_name: wanted.name.clone(),
        status: "RUNNING".to_owned(),
        start_time: Some(wanted.started_ms),
        end_time: None,
        artifact_uri: String::new(),
        lifecycle_stage: "active".to_owned(),
    };
    Run { info, data: RunData { metrics, params, tags } }
}

/// What the tags tell of the originals of a kind.
fn originals(run: &Run, kind: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let first = format!("leadersboard.originals.{kind}");
    let others = (2..).map(|number| format!("{first}.{number}"));
    let objects = std::iter::once(first.clone()).chain(others).map_while(|name| run.data.tags.get(&name));
    objects.flat_map(|text| serde_json::from_str::<BTreeMap<_, _>>(text).unwrap()).collect()
}

/// Puts together what a run was told.
fn restored(run: &Run) -> [Vec<(String, String)>; 2] {
    let whole = |place: &String| -> String {
        (1..).map_while(|number| run.data.tags.get(&format!("{place}.{number}")).map(String::as_str)).collect()
    };
    let name = |known: Option<&BTreeMap<String, String>>, name: &String| {
        known.and_then(|known| known.get("name")).unwrap_or(name).clone()
    };
    let told = originals(run, "metrics");
    let metrics = run.data.metrics.iter().map(|(key, number)| {
        let known = told.get(key);
        let value = known.and_then(|known| known.get("value")).cloned();
        (name(known, key), value.unwrap_or_else(|| json!(number).to_string()))
    });
    let told = originals(run, "params");
    let params = run.data.params.iter().map(|(key, text)| {
        let known = told.get(key);
        let value = match (known.and_then(|known| known.get("rest")), known.and_then(|known| known.get("json"))) {
            (Some(rest), _) => format!("{text}{}", whole(rest)),
            (None, Some(json)) => serde_json::from_str(&whole(json)).unwrap(),
            (None, None) => text.clone(),
        };
        (name(known, key), value)
    });
    let (mut metrics, mut params): (Vec<_>, Vec<_>) = (metrics.collect(), params.collect());
    metrics.sort();
    params.sort();
    [metrics, params]
}

#[test]
fn a_run_is_told_with_all_that_it_is() {
    let wanted = wanted(json!({
        "params": {"lr": 0.1, "name": "x", "list": [1, null]}, "metrics": {"auc": 0.5, "neg": -0.0},
        "performance": {"ms": 12, "gpu": "A100", "n": u64::MAX}
    }));
    assert_eq!((wanted.name.as_str(), wanted.started_ms), ("0192f1c3a4b57c6d8e9fa0b1c2d3e4f5", 1_700_000_000_123));
    let params = [("list", "[1,null]"), ("lr", "0.1"), ("name", "x"), ("system/gpu", "A100")];
    assert_eq!(wanted.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(), params);
    let metrics: Vec<&str> = wanted.metrics.keys().map(String::as_str).collect();
    assert_eq!(metrics, ["auc", "neg", "system/ms", "system/n"]);
    assert_eq!(
        (wanted.marks["leadersboard.gpus"].as_str(), wanted.marks["leadersboard.attempt"].as_str()),
        ("GPU-a,GPU-b", "2")
    );
    let told = originals(&kept(&wanted), "metrics");
    assert_eq!((told["neg"]["value"].as_str(), told["system/n"]["value"].as_str()), ("-0.0", "18446744073709551615"));
    assert_eq!(told.len(), 2);
}

#[test]
fn what_a_run_cost_is_told_if_it_is_finite_and_what_it_was_given_in_any_case() {
    let wanted = wanted(json!({
        "params": {"missing": "NaN", "seed": "123456789012345678901234567890"}, "metrics": {},
        "performance": {"speed": "Infinity", "lag": "-Infinity", "loss": "NaN", "gpu": "A100", "ms": 1e300}
    }));
    let params = [("missing", "NaN"), ("seed", "123456789012345678901234567890"), ("system/gpu", "A100")];
    assert_eq!(wanted.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(), params);
    assert_eq!(wanted.metrics.keys().map(String::as_str).collect::<Vec<_>>(), ["system/ms"]);
}

#[test]
fn what_a_run_lacks_is_sent_and_what_can_not_be_changed_condemns_it() {
    let wanted = wanted(json!({"params": {"p": "v"}, "metrics": {"m": -0.0, "n": 0.1}}));
    let whole = kept(&wanted);
    assert!(wanted.missing(&whole).batches("r").is_empty() && wanted.difference(&whole).is_none());
    let mut lacking = whole.clone();
    lacking.data.metrics.remove("n");
    lacking.data.params.clear();
    // A database that does not keep the sign of zero.
    lacking.data.metrics.insert("m".to_owned(), 0.0);
    let batches = wanted.missing(&lacking).batches("r");
    assert_eq!((batches.len(), batches[0].metrics.len(), batches[0].params.len(), batches[0].tags.len()), (1, 1, 1, 0));
    assert!(wanted.difference(&lacking).unwrap().contains("\"n\"") && !wanted.is_beyond_repair(&lacking));
    let mut wrong = whole.clone();
    wrong.data.metrics.insert("n".to_owned(), 0.100_000_000_000_000_02);
    assert!(wanted.difference(&wrong).unwrap().contains("\"n\"") && wanted.is_beyond_repair(&wrong));
    let mut wrong = whole.clone();
    wrong.data.params.insert("p".to_owned(), String::new());
    assert!(wanted.difference(&wrong).is_some() && wanted.is_beyond_repair(&wrong));
    let mut wrong = whole.clone();
    wrong.info.start_time = None;
    assert!(wanted.difference(&wrong).is_some() && wanted.is_beyond_repair(&wrong));
    let mut renamed = whole;
    renamed.info.run_name = "my best".to_owned();
    assert!(wanted.difference(&renamed).is_some());
}

fn name() -> impl Strategy<Value = String> {
    "([ab@#/.]{1,3}|system/[ab@]|\\PC{1,40}|[a@]{249,250})"
        .prop_filter("a job's name", |name| events::results::is_name(name))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[a-z😀\\PC]{0,20}".prop_map(Value::from),
        "[a\u{0}\"é]{0,9}".prop_map(Value::from),
        ("\\PC", 2000_usize..9000).prop_map(|(text, times)| Value::from(text.repeat(times))),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        Just(json!({"a": [true, null]})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_originals_can_be_put_together_again(
        params in prop::collection::btree_map(name(), value(), 0..12),
        metrics in prop::collection::btree_map(name(), any::<f64>().prop_filter("finite", |number| number.is_finite()), 0..40),
        performance in prop::collection::btree_map(name(), value(), 0..8),
    ) {
        let results = Results {
            params: params.into_iter().collect(),
            metrics,
            performance: performance.into_iter().collect::<Map<_, _>>(),
        };
        let wanted = Wanted::of(&record(results.clone()), "main");
        prop_assert!(wanted.params.values().all(|value| value.chars().count() <= MAX_PARAM_CHARS && !value.contains('\0')));
        prop_assert!(wanted.tags.values().all(|value| value.chars().count() <= 8000 && !value.contains('\0')));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let float = |value: &f64| json!(value).to_string();
        let mut metrics: Vec<_> = results.metrics.iter().map(|(name, value)| (name.clone(), float(value))).collect();
        let mut params: Vec<_> = results.params.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        for (name, value) in &results.performance {
            match value.as_f64() {
                Some(number) if is_exact(value, number) => metrics.push((system(name), float(&number))),
                Some(_) => metrics.push((system(name), value.to_string())),
                None => params.push((system(name), text(value))),
            }
        }
        metrics.sort();
        params.sort();
        prop_assert_eq!(restored(&kept(&wanted)), [metrics, params]);
    }
}
