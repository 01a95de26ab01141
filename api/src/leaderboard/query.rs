//! The query string of a board.

use std::collections::HashSet;

use events::ports::{BoardQuery, Boards};
use events::time::from_rfc3339;
use events::{Order, Timestamp, UserId};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::answer::error::Error;
use crate::openapi::texts::{BoardOrder, TimeOrDay, UserName};
use crate::request::query::whole_number;

const DEFAULT_LIMIT: usize = 50;
const DEFAULT_METRICS: usize = 200;
const MAX_LIMIT: usize = 1_000;
/// How many params one query may filter by.
const MAX_PARAMS: usize = 16;
/// How many metrics the sentence that asks for one names.
pub(super) const NAMED: usize = 20;
/// What a filter on a param begins with.
const PARAM: &str = "param.";

/// A query as written. Unknown keys are refused, because a mistyped filter would seem to match everything.
#[derive(Debug, Default, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// The metric that ranks. The default is the first of `LEADERBOARD_METRICS`; without that setting it is required.
    #[param(min_length = 1, example = "image_auc")]
    pub(super) metric: Option<String>,
    /// Which values are better. The default is the order in the setting, else `desc`.
    #[param(value_type = Option<BoardOrder>)]
    pub(super) order: Option<Order>,
    /// Only this user, with the rank among all.
    #[param(value_type = Option<UserName>)]
    user: Option<UserId>,
    /// Only jobs that completed from this time or day on, such as `2026-01-31`.
    #[param(value_type = Option<TimeOrDay>, inline)]
    since: Option<Timestamp>,
    /// Only jobs with these params, each as `param.<name>=<value>`, such as `param.seed=7`. A value that is not a string
    /// is compared as JSON.
    #[param(rename = "filters", value_type = Option<Filters>, inline, style = Form, explode, example = json!({}))]
    params: Vec<(String, String)>,
    /// At most this many entries.
    #[param(minimum = 1, maximum = 1_000, default = 50)]
    limit: Option<usize>,
}

/// Filters on params, each a query parameter of its own.
enum Filters {}

impl ToSchema for Filters {}

impl PartialSchema for Filters {
    fn schema() -> RefOr<Schema> {
        let text = || Object::builder().schema_type(Type::String);
        let names = text().pattern(Some(r"^param\..+$")).build();
        let values: Schema = text().min_length(Some(1)).into();
        let filters = Object::builder().max_properties(Some(MAX_PARAMS)).property_names(Some(names));
        filters.additional_properties(Some(RefOr::T(values))).into()
    }
}

/// How many metrics to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what `Asked::read_metrics_limit` reads")]
pub(super) struct MetricsQuery {
    /// At most this many metrics.
    #[param(minimum = 1, maximum = 1_000, default = 200)]
    limit: Option<usize>,
}

impl Asked {
    pub(super) fn read(pairs: Vec<(String, String)>) -> Result<Self, Error> {
        let mut asked = Self::default();
        let mut seen = HashSet::new();
        for (key, value) in pairs {
            if !seen.insert(key.clone()) {
                return Err(Error::Invalid(format!("{key} is given twice")));
            }
            let empty = || Error::Invalid(format!("{key} is empty: give a value, or leave it out"));
            if let Some(name) = key.strip_prefix(PARAM) {
                if name.is_empty() {
                    return Err(Error::Invalid(format!("{key} names no param: write {PARAM}<name>, or leave it out")));
                }
                if value.is_empty() {
                    return Err(empty());
                }
                asked.params.push((name.to_owned(), value));
                continue;
            }
            let refuse = |rule: String| Error::Invalid(format!("{rule}, not {value:?}"));
            match key.as_str() {
                "order" | "since" | "limit" | "user" | "metric" if value.is_empty() => return Err(empty()),
                "order" => asked.order = Some(value.parse().map_err(|_| refuse("order is asc or desc".to_owned()))?),
                "since" => {
                    let rule = "since is a time as 2026-01-31T12:00:00Z or a day as 2026-01-31";
                    asked.since = Some(read_since(&value).ok_or_else(|| refuse(rule.to_owned()))?);
                }
                "limit" => asked.limit = Some(read_limit(&value)?),
                "user" => asked.user = Some(value.parse()?),
                "metric" => asked.metric = Some(value),
                _ => {
                    let known = "metric, order, user, since, limit, param.<name>";
                    let shown: String = key.chars().take(100).collect();
                    return Err(Error::Invalid(format!("there is no query parameter {shown:?}; known: {known}")));
                }
            }
        }
        if asked.params.len() > MAX_PARAMS {
            return Err(Error::Invalid(format!("at most {MAX_PARAMS} filters on params are taken")));
        }
        Ok(asked)
    }

    /// Reads how many metrics to list.
    pub(super) fn read_metrics_limit(pairs: &[(String, String)]) -> Result<usize, Error> {
        match pairs {
            [] => Ok(DEFAULT_METRICS),
            [(key, limit)] if key == "limit" => read_limit(limit),
            _ => Err(Error::Invalid("limit alone can be given here, and once".to_owned())),
        }
    }

    pub(super) fn query(self, metric: String, order: Order) -> BoardQuery {
        let Self { user, since, params, limit, .. } = self;
        BoardQuery { metric, order, user, since, params, limit: limit.unwrap_or(DEFAULT_LIMIT) }
    }
}

fn read_limit(text: &str) -> Result<usize, Error> {
    let limit = whole_number(text).filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Error::Invalid(format!("limit must be 1 to {MAX_LIMIT}, not {text:?}")))
}

/// A time, or the beginning of a day in UTC.
fn read_since(text: &str) -> Option<Timestamp> {
    from_rfc3339(text).or_else(|_| from_rfc3339(&format!("{text}T00:00:00Z"))).ok()
}

/// The sentence that asks for a metric, and names those there are.
pub(super) fn no_metric(Boards { boards, total }: &Boards) -> String {
    if boards.is_empty() {
        return "the query has no metric, and no job has completed with a metric that can be ranked".to_owned();
    }
    let named: Vec<&str> = boards.iter().take(NAMED).map(|board| board.metric.as_str()).collect();
    let more = match total.saturating_sub(named.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("the query has no metric; add metric=NAME. Metrics: {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use events::ports::Board;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Asked, Error> {
        Asked::read(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_query_is_read_and_each_mistake_is_named() {
        let asked = read(&[
            ("metric", "auc"),
            ("order", "asc"),
            ("since", "2026-01-31"),
            ("limit", "1000"),
            ("param.dataset", "mvtec_ad"),
        ])
        .unwrap();
        assert_eq!(asked.since, from_rfc3339("2026-01-31T01:00:00+01:00").ok());
        assert_eq!(asked.params[0], ("dataset".to_owned(), "mvtec_ad".to_owned()));
        assert_eq!((asked.params.len(), asked.user.clone()), (1, None));
        let query = asked.query("auc".to_owned(), Order::Asc);
        assert_eq!((query.limit, query.order), (1_000, Order::Asc));
        for (key, bad) in [
            ("order", "up"),
            ("since", "yesterday"),
            ("limit", "0"),
            ("limit", "1001"),
            ("limit", "x"),
            ("user", "\n"),
            ("user", ""),
            ("since", ""),
            ("param.", "1"),
            ("param.", ""),
            ("param.x", ""),
            ("sinse", ""),
        ] {
            let Err(Error::Invalid(why)) = read(&[(key, bad)]) else { panic!("{key}={bad} was taken") };
            assert!(why.contains(key), "{why}");
        }
        let many: Vec<String> = (0..=MAX_PARAMS).map(|number| format!("param.p{number}")).collect();
        assert!(read(&many.iter().map(|key| (key.as_str(), "1")).collect::<Vec<_>>()).is_err());
        for (pairs, wanted) in [
            (
                [("sinse", "2026-01-31"), ("metric", "auc")],
                "there is no query parameter \"sinse\"; known: metric, order,",
            ),
            ([("params.dataset", "d"), ("metric", "auc")], "there is no query parameter \"params.dataset\"; known:"),
            ([("metric", "f1"), ("metric", "auc")], "metric is given twice"),
        ] {
            let Err(Error::Invalid(why)) = read(&pairs) else { panic!("{pairs:?} was taken") };
            assert!(why.starts_with(wanted), "{why}");
        }
    }

    #[test]
    fn of_what_can_be_ranked_a_number_is_asked_for_and_nothing_else() {
        let limit = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Asked::read_metrics_limit(&pairs.collect::<Vec<_>>())
        };
        assert_eq!((limit(&[]).ok(), limit(&[("limit", "7")]).ok()), (Some(DEFAULT_METRICS), Some(7)));
        assert!(limit(&[("limit", "0")]).is_err() && limit(&[("metric", "auc")]).is_err());
    }

    #[test]
    fn who_names_no_metric_is_told_which_there_are() {
        let board = |number: usize| Board { metric: format!("m{number}"), users: 1 };
        let boards = |count: usize, total| Boards { boards: (0..count).map(board).collect(), total };
        assert_eq!(no_metric(&boards(2, 2)), "the query has no metric; add metric=NAME. Metrics: m0, m1");
        assert!(no_metric(&boards(20, 25)).ends_with("m19 and 5 more"));
        assert!(no_metric(&boards(0, 0)).contains("no job has completed"));
    }
}
