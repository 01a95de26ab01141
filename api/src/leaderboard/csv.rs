//! A board as CSV (RFC 4180) that no spreadsheet takes for formulas.

use std::borrow::Cow;
use std::collections::BTreeSet;

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::{LeaderboardView, RowView, as_text};

/// The columns that every board has.
const COLUMNS: [&str; 9] =
    ["rank", "user", "value", "method", "job_id", "submission_id", "completed_at", "run_id", "mlflow_ui_link"];

pub(super) fn answer(board: &LeaderboardView) -> Response {
    let headers =
        [(CONTENT_TYPE, "text/csv; charset=utf-8"), (CONTENT_DISPOSITION, "attachment; filename=\"leaderboard.csv\"")];
    (headers, text(board)).into_response()
}

/// A line of names, then one a row: what every board has, then each metric and each figure of performance that any row
/// has, empty where a row has it not.
fn text(board: &LeaderboardView) -> String {
    let metrics: BTreeSet<&String> = board.rows.iter().flat_map(|row| row.metrics.keys()).collect();
    let performance: BTreeSet<&String> = board.rows.iter().flat_map(|row| row.performance.keys()).collect();
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

/// The shortest text that is read as the same number.
fn number(value: f64) -> String {
    format!("{value:?}")
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = cells.map(|text| cell(&text)).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// One cell. A spreadsheet takes what begins so for a formula; an apostrophe in front makes it a text.
fn cell(text: &str) -> String {
    let could_run = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !text.parse().is_ok_and(f64::is_finite);
    let text = if could_run { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) };
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_every_number_is_a_number() {
        assert_eq!(cell("=HYPERLINK(\"x\",1)"), "\"'=HYPERLINK(\"\"x\"\",1)\"");
        for formula in ["+1+1", "-2*3", "-inf", "@SUM(A1)", "\tx", "=1"] {
            assert!(cell(formula).trim_start_matches('"').starts_with('\''), "{formula}");
        }
        for plain in ["-0.5", "+1", "1e-308", "alice", "a=b", ""] {
            assert_eq!(cell(plain), plain);
        }
        assert_eq!(cell("two\nlines"), "\"two\nlines\"");
    }

    #[test]
    fn each_metric_of_any_row_has_a_column() {
        let row = |user: &str, metrics: &[(&str, f64)]| RowView {
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
        };
        let rows = vec![row("alice", &[("auc", 0.5)]), row("=bob", &[("auc", 0.5), ("f1", -1.0)])];
        let board = LeaderboardView { metric: "auc".to_owned(), order: "desc", rows };
        let text = text(&board);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert!(lines[0].ends_with("mlflow_ui_link,metrics.auc,metrics.f1,performance.energy_j"), "{text}");
        assert_eq!(lines[1], "1,alice,0.5,,j,s,t,,,0.5,,12");
        assert_eq!(lines[2], "1,'=bob,0.5,,j,s,t,,,0.5,-1.0,12");
    }
}
