//! Where `MLflow` is, and as whom it is spoken to.

use std::fmt;

use percent_encoding::percent_decode_str;
use reqwest::Url;

/// The longest name of an experiment, in characters; `MLflow`'s own limit.
const MAX_EXPERIMENT_CHARS: usize = 500;
/// The longest name of a board, in characters.
const MAX_BOARD_CHARS: usize = 250;

const URI: &str = "MLFLOW_TRACKING_URI";

/// Where `MLflow` is, and how it is spoken to.
#[derive(Clone)]
pub struct MlflowOptions {
    /// `http(s)://[user:password@]host[:port][/prefix]`; an account in it holds where `auth` is none.
    pub uri: String,
    /// The experiment that holds the runs.
    pub experiment: String,
    /// The board whose runs they are: others may share the experiment.
    pub board: String,
    /// As whom.
    pub auth: Auth,
    /// CA certificates beside the system's, as PEM.
    pub ca: Option<Vec<u8>>,
    /// Takes any certificate. Whoever stands between reads and changes everything.
    pub insecure_tls: bool,
}

/// As whom `MLflow` is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// As nobody.
    None,
    /// By an account.
    Basic {
        /// Its name.
        username: String,
        /// Its password.
        password: String,
    },
    /// By a bearer token.
    Token(String),
}

/// Without the address, which may hold a password.
impl fmt::Debug for MlflowOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { experiment, board, auth, .. } = self;
        let mut shown = f.debug_struct("MlflowOptions");
        shown.field("experiment", experiment).field("board", board).field("auth", auth).finish_non_exhaustive()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic",
            Self::Token(_) => "Token",
        })
    }
}

/// Why `MLflow` can't be spoken to in this way, as a sentence without any secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOptions(pub String);

/// The address as everybody may see it: without the account in it, and without a slash at its end.
///
/// # Errors
/// If it is not the address of a server; `name` is where it was given.
pub fn public_address(name: &str, uri: &str) -> Result<String, InvalidOptions> {
    let (url, _) = address(uri).map_err(|InvalidOptions(why)| InvalidOptions(why.replace(URI, name)))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The address without the account in it, and that account.
pub(super) fn address(uri: &str) -> Result<(Url, Auth), InvalidOptions> {
    let refuse = |why: &str| Err(InvalidOptions(format!("{URI} {why}")));
    let Ok(mut url) = Url::parse(uri.trim()) else {
        return refuse("is not an address such as http://mlflow:5000");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return refuse("is not the http or https address of an MLflow server");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("has a '?' or a '#'; it is the address of a server and, at most, a path before its own");
    }
    let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let auth = match (url.username(), url.password()) {
        ("", None) => Auth::None,
        (username, password) => Auth::Basic { username: text(username), password: text(password.unwrap_or_default()) },
    };
    // An http address can be without an account, so neither is refused.
    let _ = (url.set_username(""), url.set_password(None));
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok((url, auth))
}

/// The names by which runs are found must survive a filter's quotes.
pub(super) fn check_names(options: &MlflowOptions) -> Result<(), InvalidOptions> {
    let fits =
        |name: &str, max: usize| (1..=max).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if !fits(&options.experiment, MAX_EXPERIMENT_CHARS) {
        return Err(InvalidOptions(format!(
            "the name of an MLflow experiment has 1 to {MAX_EXPERIMENT_CHARS} characters, none of them a control character"
        )));
    }
    if !fits(&options.board, MAX_BOARD_CHARS) || options.board.contains(['\'', '"', '`', '\\', '%']) {
        return Err(InvalidOptions(format!(
            "the name of a board has 1 to {MAX_BOARD_CHARS} characters, none of them a quote, '\\' or '%'"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_leaves_the_address_and_nothing_shows_it() {
        let (url, auth) = address("https://ann:p%40ss@mlflow.example:8443/tracking/").unwrap();
        assert_eq!(url.as_str(), "https://mlflow.example:8443/tracking");
        assert_eq!(auth, Auth::Basic { username: "ann".into(), password: "p@ss".into() });
        assert_eq!(format!("{auth:?} {:?}", Auth::Token("t".into())), "Basic Token");
        assert_eq!(address("http://127.0.0.1:5000").unwrap().1, Auth::None);
    }

    #[test]
    fn what_everybody_may_see_holds_no_account() {
        let public = |uri: &str| public_address("MLFLOW_URL", uri).unwrap();
        assert_eq!(public("http://me:p%40ss@mlflow:5000/"), "http://mlflow:5000");
        assert_eq!(public("https://ml.example/x/"), "https://ml.example/x");
        for bad in ["http://me:pa/ss@mlflow:5000", "me:pw@mlflow:5000"] {
            let refused = public_address("MLFLOW_URL", bad).unwrap_err().to_string();
            assert!(refused.starts_with("MLFLOW_URL ") && !refused.contains("pw"), "{refused}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_being_repeated() {
        for bad in
            ["", "mlflow:5000", "sqlite:///m.db", "file:///x", "http://a:secret@", "http://a:secret@h/?x=1", "h t"]
        {
            let refused = address(bad).unwrap_err().to_string();
            assert!(refused.starts_with("MLFLOW_TRACKING_URI ") && !refused.contains("secret"), "{refused}");
        }
    }
}
