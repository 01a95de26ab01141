//! `leadersboard jobs curves`.

use serde::Deserialize;

use crate::client::http::error::ClientError;
use crate::client::http::request::Client;
use crate::client::output::human;
use crate::client::output::print::{Output, print_document, print_text};
use crate::client::output::table::{Align, render};

#[derive(Deserialize)]
struct Curves {
    curves: Vec<Curve>,
}

#[derive(Deserialize)]
struct Curve {
    name: String,
    /// A step, or seconds since the program began, and the number then.
    points: Vec<(f64, f64)>,
}

/// Prints the last, the smallest and the largest value of each curve.
pub(super) async fn run(client: &Client, job_id: &str, output: Output) -> Result<(), ClientError> {
    let document = client.document(&format!("/jobs/{job_id}/curves"), &[]).await?;
    match output {
        Output::Json => print_document(&document),
        Output::Human => {
            let curves =
                Curves::deserialize(&document.value).map_err(|_| ClientError::unknown_form("the curves"))?.curves;
            if curves.is_empty() {
                return print_text("no curves: the job has not run, reported nothing, or ended too long ago");
            }
            print_text(&rows(&curves))
        }
    }
}

fn rows(curves: &[Curve]) -> String {
    let rows = curves.iter().map(|curve| {
        let numbers = || curve.points.iter().map(|(_, number)| *number);
        let shown = |number: Option<f64>| number.map(|it| human::measured(&curve.name, it)).unwrap_or_default();
        [
            human::line(&curve.name, 100),
            shown(numbers().next_back()),
            shown(numbers().reduce(f64::min)),
            shown(numbers().reduce(f64::max)),
            curve.points.len().to_string(),
        ]
    });
    let columns = [
        ("NAME", Align::Left),
        ("LAST", Align::Right),
        ("MIN", Align::Right),
        ("MAX", Align::Right),
        ("POINTS", Align::Right),
    ];
    render(columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_where_a_number_is_and_where_it_was() {
        let loss = Curve { name: "loss".to_owned(), points: vec![(1.0, 0.5), (2.0, 1.25), (3.0, 0.125)] };
        let text = rows(&[loss]);
        assert_eq!(text, "NAME   LAST    MIN   MAX  POINTS\nloss  0.125  0.125  1.25       3");
        let memory = Curve { name: "system/memory_bytes".to_owned(), points: vec![(2.0, 1_610_612_736.0)] };
        assert!(rows(&[memory]).ends_with("system/memory_bytes  1.5 GiB  1.5 GiB  1.5 GiB       1"));
    }
}
