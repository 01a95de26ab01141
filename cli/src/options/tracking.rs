//! The tracker: its options, and the adapter they make.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adapters::mlflow::{Auth, Mlflow, MlflowOptions, public_address};
use anyhow::{Context, Result, bail};
use clap::{ArgAction, Args};
use events::job::Tracking;
use events::ports::TrackingPort;
use worker::TrackingConfig;

use crate::value;
use crate::wiring::Ports;

/// Where runs are recorded and shown.
#[derive(Debug, Args)]
pub(crate) struct TrackerAddress {
    /// The MLflow server that records runs [default: none, runs are not recorded]
    #[arg(long, env = "MLFLOW_TRACKING_URI", hide_env_values = true)]
    mlflow_tracking_uri: Option<String>,
    /// Address of MLflow for people; links begin with it [default: `MLFLOW_TRACKING_URI`]
    #[arg(long, env = "MLFLOW_URL", hide_env_values = true)]
    mlflow_url: Option<String>,
}

impl TrackerAddress {
    /// What links to runs are made from.
    ///
    /// # Errors
    /// If one of the two is no address.
    pub(crate) fn links(&self) -> Result<Option<api::MlflowLinks>> {
        let ui = self.mlflow_url.as_deref().filter(|url| !url.is_empty());
        let ui = ui.map(|url| public_address("MLFLOW_URL", url)).transpose()?;
        let Some(uri) = self.uri() else { return Ok(None) };
        let rest = public_address("MLFLOW_TRACKING_URI", uri)?;
        Ok(Some(api::MlflowLinks { ui: ui.unwrap_or_else(|| rest.clone()), rest }))
    }

    /// An empty variable is as good as none.
    fn uri(&self) -> Option<&str> {
        self.mlflow_tracking_uri.as_deref().filter(|uri| !uri.is_empty())
    }
}

/// How runs are recorded. The names of the variables are those of MLflow's own client where it has them.
#[derive(Debug, Args)]
pub(crate) struct TrackingOptions {
    #[command(flatten)]
    pub(crate) address: TrackerAddress,
    /// The experiment that holds the runs; created if missing
    #[arg(long, env = "MLFLOW_EXPERIMENT", default_value = "leadersboard")]
    mlflow_experiment: String,
    /// Record failed and cancelled jobs too
    #[arg(long, env = "MLFLOW_TRACK_FAILURES", default_value_t = true, action = ArgAction::Set)]
    mlflow_track_failures: bool,
    /// How long the end of a job may wait for MLflow; the rest is recorded later
    #[arg(long, env = "TRACKING_BUDGET", default_value = "10s", value_name = "TIME", value_parser = value::time)]
    tracking_budget: Duration,
    /// How often to delete orphaned open runs
    #[arg(long, env = "TRACKING_SWEEP_INTERVAL", default_value = "30s", value_name = "TIME", value_parser = value::time)]
    tracking_sweep_interval: Duration,
    /// The worker's user on MLflow
    #[arg(long, env = "MLFLOW_TRACKING_USERNAME")]
    mlflow_tracking_username: Option<String>,
    /// The password of this user
    #[arg(long, env = "MLFLOW_TRACKING_PASSWORD", hide_env_values = true)]
    mlflow_tracking_password: Option<String>,
    /// A bearer token, instead of a user and a password
    #[arg(long, env = "MLFLOW_TRACKING_TOKEN", hide_env_values = true)]
    mlflow_tracking_token: Option<String>,
    /// A file with further certificates for MLflow's server
    #[arg(long, env = "MLFLOW_TRACKING_SERVER_CERT_PATH")]
    mlflow_tracking_server_cert_path: Option<PathBuf>,
    /// Accept any certificate
    #[arg(long, env = "MLFLOW_TRACKING_INSECURE_TLS", default_value_t = false, action = ArgAction::Set)]
    mlflow_tracking_insecure_tls: bool,
}

impl TrackingOptions {
    /// How the runs of a worker are recorded, if they are.
    ///
    /// # Errors
    /// Which option is not as it must be.
    pub(crate) fn config(&self, ports: &Ports) -> Result<Option<TrackingConfig>> {
        let Some(mlflow) = self.mlflow(ports)? else { return Ok(None) };
        let recorded = if self.mlflow_track_failures { Tracking::All } else { Tracking::Completed };
        let port: Arc<dyn TrackingPort> = Arc::new(mlflow);
        let sweep_interval = self.tracking_sweep_interval.max(Duration::from_millis(100));
        Ok(Some(TrackingConfig { port, recorded, budget: self.tracking_budget, sweep_interval }))
    }

    fn mlflow(&self, ports: &Ports) -> Result<Option<Mlflow>> {
        let Some(options) = self.server(&ports.board)? else { return Ok(None) };
        let mlflow = Mlflow::new(options, Arc::clone(&ports.artifacts), Arc::clone(&ports.logs));
        Ok(Some(mlflow.context("MLflow can't be used with these settings")?))
    }

    /// The server, if there is one, as this board speaks to it.
    ///
    /// # Errors
    /// Which option is not as it must be.
    pub(crate) fn server(&self, board: &str) -> Result<Option<MlflowOptions>> {
        let Some(uri) = self.address.uri() else { return Ok(None) };
        Ok(Some(MlflowOptions {
            uri: uri.to_owned(),
            experiment: self.mlflow_experiment.clone(),
            board: board.to_owned(),
            auth: self.auth()?,
            ca: self.certificates()?,
            insecure_tls: self.mlflow_tracking_insecure_tls,
        }))
    }

    fn auth(&self) -> Result<Auth> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (username, password) = (given(&self.mlflow_tracking_username), given(&self.mlflow_tracking_password));
        match (username, password, given(&self.mlflow_tracking_token)) {
            (None, None, None) => Ok(Auth::None),
            (None, None, Some(token)) => Ok(Auth::Token(token)),
            (Some(username), Some(password), None) => Ok(Auth::Basic { username, password }),
            (_, _, Some(_)) => {
                bail!("MLFLOW_TRACKING_TOKEN and MLFLOW_TRACKING_USERNAME exclude each other: set one of them")
            }
            _ => bail!("MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD go together: set both or neither"),
        }
    }

    fn certificates(&self) -> Result<Option<Vec<u8>>> {
        let Some(path) = &self.mlflow_tracking_server_cert_path else { return Ok(None) };
        let read = fs::read(path);
        read.with_context(|| format!("MLFLOW_TRACKING_SERVER_CERT_PATH: {} can't be read", path.display())).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        tracking: TrackingOptions,
    }

    fn server(args: &[&str]) -> Result<Option<MlflowOptions>, String> {
        let cli = Cli::try_parse_from(["worker"].iter().chain(args)).unwrap();
        cli.tracking.server("board").map_err(|error| format!("{error:#}"))
    }

    const URI: [&str; 2] = ["--mlflow-tracking-uri", "http://mlflow:5000"];

    fn refusal(args: &[&str]) -> String {
        server(&[&URI[..], args].concat()).expect_err("it is refused")
    }

    #[test]
    fn an_account_is_whole_or_a_token() {
        let pair = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD go together: set both or neither";
        assert_eq!(refusal(&["--mlflow-tracking-username", "a"]), pair);
        assert_eq!(refusal(&["--mlflow-tracking-password", "b"]), pair);
        let both = ["--mlflow-tracking-username", "a", "--mlflow-tracking-token", "t"];
        assert_eq!(
            refusal(&both),
            "MLFLOW_TRACKING_TOKEN and MLFLOW_TRACKING_USERNAME exclude each other: set one of them"
        );
    }

    #[test]
    fn certificates_that_can_not_be_read_are_named() {
        let told = refusal(&["--mlflow-tracking-server-cert-path", "/nowhere/ca.pem"]);
        assert!(told.starts_with("MLFLOW_TRACKING_SERVER_CERT_PATH: /nowhere/ca.pem can't be read"), "{told}");
    }

    #[test]
    fn an_empty_address_is_none_and_a_wrong_one_is_named() {
        assert!(server(&["--mlflow-tracking-uri", ""]).unwrap().is_none());
        let links = |uri: &str, url: &str| {
            TrackerAddress { mlflow_tracking_uri: Some(uri.to_owned()), mlflow_url: Some(url.to_owned()) }.links()
        };
        assert!(links("", "").unwrap().is_none());
        let error = links("http://mlflow:5000", "mlflow").expect_err("it is refused");
        assert!(error.to_string().starts_with("MLFLOW_URL is not "), "{error}");
        let links = links("http://mlflow:5000/", "").unwrap().unwrap();
        assert_eq!((links.ui.as_str(), links.rest.as_str()), ("http://mlflow:5000", "http://mlflow:5000"));
    }
}
