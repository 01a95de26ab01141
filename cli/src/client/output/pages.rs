//! Lists that the server gives page by page.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::client::http::error::ClientError;
use crate::client::http::request::Client;
use crate::client::output::{human, screen};
use crate::value;

/// As many as one request asks for.
const PAGE: usize = 100;
/// Room for what is wrong with a record.
const MAX_REASON_CHARS: usize = 120;

/// Whose and how many to list.
#[derive(Debug, Args)]
pub(crate) struct PageOptions {
    /// Only this user's (for admins; others see their own)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Maximum number to list
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = value::positive::<usize>)]
    limit: usize,

    /// All of them, page by page
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// What was listed, and where the server would go on.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    #[serde(rename = "jobs", alias = "submissions")]
    pub(crate) entries: Vec<Value>,
    pub(crate) next_cursor: Option<String>,
    /// Those that the server can't read.
    #[serde(default)]
    unreadable: Vec<Unreadable>,
}

/// A record that the server can't read.
#[derive(Debug, Deserialize)]
struct Unreadable {
    #[serde(rename = "job_id", alias = "submission_id")]
    id: String,
    reason: String,
}

impl PageOptions {
    /// Follows the cursor: a page may be short, or even empty, and still not be the last.
    pub(crate) async fn collect(
        &self,
        client: &Client,
        path: &str,
        filter: Option<(&'static str, String)>,
    ) -> Result<Listed, ClientError> {
        let limit = if self.all { usize::MAX } else { self.limit };
        let mut entries = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", PAGE.min(limit - entries.len()).to_string())];
            query.extend(filter.clone());
            query.extend(self.user.clone().map(|user| ("user", user)));
            let asked = cursor.take();
            query.extend(asked.clone().map(|cursor| ("cursor", cursor)));
            let page: Listed = client.get(path, &query).await?;
            for Unreadable { id, reason } in &page.unreadable {
                let reason = human::line(reason, MAX_REASON_CHARS);
                screen::note(&format!("{} can't be read by the server: {reason}", human::plain(id)));
            }
            entries.extend(page.entries);
            entries.truncate(limit);
            if page.next_cursor.is_none() || entries.len() >= limit {
                return Ok(Listed { entries, next_cursor: page.next_cursor, unreadable: vec![] });
            }
            if page.next_cursor == asked {
                let sentence = "the server gives the same page again and again.".to_owned();
                return Err(ClientError::Refused { sentence });
            }
            cursor = page.next_cursor;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::client::http::test_server::TestServer;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        pages: PageOptions,
    }

    fn pages(args: &[&str]) -> Result<PageOptions, String> {
        let parsed = Cli::try_parse_from(["list"].iter().chain(args));
        parsed.map(|cli| cli.pages).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_server_that_goes_in_circles_is_left() {
        let page = json!({ "jobs": [], "next_cursor": "1" }).to_string();
        let server = TestServer::start(move |_| (200, "", page.clone())).await;
        let error = pages(&["--all"]).unwrap().collect(&server.client(), "/jobs", None).await.unwrap_err();
        assert_eq!(error.sentence().unwrap(), "error: the server gives the same page again and again.");
        assert_eq!(server.requests().len(), 2);
    }

    #[test]
    fn a_limit_is_at_least_one_and_all_has_none() {
        for bad in ["0", "-1", "many"] {
            let error = pages(&[&format!("--limit={bad}")]).unwrap_err();
            assert!(error.contains("is no whole number from 1 up"), "{error}");
        }
        assert!(pages(&["--all", "--limit", "3"]).unwrap_err().contains("cannot be used with"));
    }
}
