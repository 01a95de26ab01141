//! A board as CSV (RFC 4180) that no spreadsheet takes for formulas.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::view::{LeaderboardView, RowView};

/// The columns that every board has.
const COLUMNS: [&str; 9] =
    ["rank", "user", "value", "method", "job_id", "submission_id", "completed_at", "run_id", "mlflow_ui_link"];

/// The most columns of metrics, and of performance: a job may have any names.
const MAX_COLUMNS: usize = 200;

pub(super) fn answer(board: &LeaderboardView) -> Response {
    let headers =
        [(CONTENT_TYPE, "text/csv; charset=utf-8"), (CONTENT_DISPOSITION, "attachment; filename=\"leaderboard.csv\"")];
    (headers, text(board)).into_response()
}

/// A line of names, then one a row: what every board has, then each metric and each figure of performance that a row
/// has, empty where a row has it not; of more than [`MAX_COLUMNS`] those that most rows have.
fn text(board: &LeaderboardView) -> String {
    let metrics = columns(board.rows.iter().flat_map(|row| row.metrics.keys()));
    let performance = columns(board.rows.iter().flat_map(|row| row.performance.keys()));
    let names = COLUMNS.map(str::to_owned).into_iter();
    let names = names.chain(metrics.iter().map(|name| format!("metrics.{name}")));
    let mut lines = line(names.chain(performance.iter().map(|name| format!("performance.{name}"))));
    for row in &board.rows {
        let metrics = metrics.iter().map(|name| row.metrics.get(*name).copied().map(number));
        let performance = performance.iter().map(|name| row.performance.get(*name).cloned().map(as_text));
        lines += &line(fixed(row).into_iter().chain(metrics.chain(performance).map(Option::unwrap_or_default)));
    }
    lines
}

fn columns<'a>(names: impl Iterator<Item = &'a String>) -> BTreeSet<&'a String> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut counts: Vec<(&String, usize)> = counts.into_iter().collect();
    // Stable: names that as many rows have stay in their order.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().take(MAX_COLUMNS).map(|(name, _)| name).collect()
}

/// A value as text: a string as it is, anything else as its JSON.
fn as_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn fixed(row: &RowView) -> [String; 9] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        row.rank.to_string(),
        row.user.clone(),
        number(row.value),
        text(&row.method),
        row.job_id.clone(),
        row.submission_id.clone(),
        row.completed_at.clone(),
        text(&row.run_id),
        text(&row.mlflow_ui_link),
    ]
}

/// Returns the shortest text that parses to the same number.
fn number(value: f64) -> String {
    format!("{value:?}")
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = cells.map(|text| cell(&text)).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// One cell, quoted if necessary.
fn cell(text: &str) -> String {
    let text = if text.parse().is_ok_and(f64::is_finite) { text.to_owned() } else { defused(text) };
    if text.contains(['"', ',', ';']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// A text without control characters, which could drive a terminal, and with an apostrophe before what begins a
/// formula. In countries with a decimal comma, spreadsheets part cells at `;`, whatever the quotes: one may begin
/// behind it too.
fn defused(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut is_beginning = true;
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if is_beginning && "=+-@＝＋－＠".contains(c) {
            safe.push('\'');
        }
        is_beginning = c == ';' || (is_beginning && matches!(c, ' ' | '"'));
        safe.push(c);
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_every_number_is_a_number() {
        assert_eq!(cell("=HYPERLINK(\"x\",1)"), "\"'=HYPERLINK(\"\"x\"\",1)\"");
        for formula in ["+1+1", "-2*3", "-inf", "@SUM(A1)", "=1", "＝1"] {
            assert!(cell(formula).starts_with('\''), "{formula}");
        }
        assert_eq!(cell("\t=1"), " '=1");
        assert_eq!(cell("x;=1;\"+2;y"), "\"x;'=1;\"\"'+2;y\"");
        for plain in ["-0.5", "+1", "1e-308", "alice", "a=b", ""] {
            assert_eq!(cell(plain), plain);
        }
        assert_eq!(cell("two\nlines\u{1b}[2J, more"), "\"two lines [2J, more\"");
    }

    fn row(user: &str, metrics: &[(&str, f64)]) -> RowView {
        RowView {
            rank: 1,
            user: user.to_owned(),
            value: 0.5,
            method: None,
            job_id: "j".to_owned(),
            submission_id: "s".to_owned(),
            completed_at: "t".to_owned(),
            run_id: None,
            mlflow_ui_link: None,
            metrics: metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            performance: json!({ "energy_j": 12 }).as_object().unwrap().clone(),
        }
    }

    #[test]
    fn of_too_many_names_those_that_most_rows_have_are_columns() {
        let many: Vec<String> = (0..300).map(|number| format!("a{number:03}")).collect();
        let mut metrics: Vec<(&str, f64)> = many.iter().map(|name| (name.as_str(), 1.0)).collect();
        metrics.push(("z", 1.0));
        let board = LeaderboardView {
            metric: "z".to_owned(),
            order: "desc",
            rows: vec![row("alice", &metrics), row("bob", &[("z", 2.0)])],
            unreadable: vec![],
        };
        let text = text(&board);
        let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        assert_eq!(names.len(), COLUMNS.len() + MAX_COLUMNS + 1);
        assert!(names.contains(&"metrics.z") && names.contains(&"metrics.a198") && !names.contains(&"metrics.a199"));
    }

    #[test]
    fn each_metric_of_any_row_has_a_column() {
        let rows = vec![row("alice", &[("auc", 0.5)]), row("=bob", &[("auc", 0.5), ("f1", -1.0)])];
        let board = LeaderboardView { metric: "auc".to_owned(), order: "desc", rows, unreadable: vec![] };
        let text = text(&board);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert!(lines[0].ends_with("mlflow_ui_link,metrics.auc,metrics.f1,performance.energy_j"), "{text}");
        assert_eq!(lines[1], "1,alice,0.5,,j,s,t,,,0.5,,12");
        assert_eq!(lines[2], "1,'=bob,0.5,,j,s,t,,,0.5,-1.0,12");
    }
}
