//! How the API meets its clients: browsers, streams, TLS.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

/// How the API meets its clients.
#[derive(Debug, Args)]
pub(crate) struct HttpOptions {
    /// Origins whose pages may call the API, such as `https://board.example.org`, separated by commas
    #[arg(long, env = "CORS_ORIGINS", default_value = "", hide_default_value = true)]
    cors_origins: api::Origins,
    /// Streams that a user may follow at once on this server
    #[arg(long, env = "MAX_STREAMS_PER_USER", value_name = "N", default_value = "16", value_parser = at_least_one)]
    max_streams_per_user: NonZeroUsize,
    /// Certificate with its chain, as PEM: the API speaks TLS. A changed file is taken into use within seconds
    #[arg(long, env = "TLS_CERT", value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key of this certificate, as PEM
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    tls_key: Option<String>,
}

/// Reads a number from 1 on.
fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    let number: usize = text.parse().map_err(|_| format!("must be a whole number of at least 1, not {text:?}"))?;
    NonZeroUsize::new(number).ok_or_else(|| "must be at least 1, not 0".to_owned())
}

/// TLS of the API, and where its certificate is.
pub(crate) struct TlsFiles {
    pub(crate) tls: api::Tls,
    pub(crate) certificate: PathBuf,
}

impl HttpOptions {
    /// TLS as these options want it; `None` if they do not.
    ///
    /// # Errors
    /// If only one of the files is given, one can't be read, or they do not belong together.
    pub(crate) fn tls(&self) -> Result<Option<TlsFiles>> {
        let given = |path: &Option<String>| path.clone().filter(|path| !path.is_empty()).map(PathBuf::from);
        match (given(&self.tls_cert), given(&self.tls_key)) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                let certificate = std::path::absolute(certificate).context("TLS_CERT")?;
                let tls = api::Tls::load(certificate.clone(), key).context("TLS_CERT and TLS_KEY can't be used")?;
                Ok(Some(TlsFiles { tls, certificate }))
            }
            _ => bail!("TLS_CERT and TLS_KEY go together: set both or neither"),
        }
    }

    /// What browsers are told, and what clients may use at once.
    pub(crate) fn exposure(&self, tls_only: bool, scarce_memory: api::ScarceMemory) -> api::Exposure {
        api::Exposure {
            cors_origins: self.cors_origins.clone(),
            tls_only,
            streams_per_user: self.max_streams_per_user.get(),
            scarce_memory: Some(scarce_memory),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        http: HttpOptions,
    }

    fn tls(args: &[&str]) -> Result<bool, String> {
        let cli = Cli::try_parse_from(["api"].iter().chain(args)).unwrap();
        cli.http.tls().map(|tls| tls.is_some()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn tls_is_whole_or_off() {
        assert_eq!(tls(&[]), Ok(false));
        assert_eq!(tls(&["--tls-cert", "", "--tls-key", ""]), Ok(false));
        let half = Err("TLS_CERT and TLS_KEY go together: set both or neither".to_owned());
        assert_eq!(tls(&["--tls-cert", "a.pem"]), half);
        assert_eq!(tls(&["--tls-key", "a.pem"]), half);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.pem");
        let path = file.to_str().unwrap();
        let missing = tls(&["--tls-cert", path, "--tls-key", path]).unwrap_err();
        assert!(missing.contains(path) && missing.contains("can't be read"), "{missing}");
        std::fs::write(&file, "no PEM").unwrap();
        let empty = tls(&["--tls-cert", path, "--tls-key", path]).unwrap_err();
        assert!(empty.contains("has no PEM certificate"), "{empty}");
    }

    #[test]
    fn a_limit_of_no_streams_and_an_origin_of_all_are_refused() {
        for args in [["--max-streams-per-user", "0"], ["--cors-origins", "*"]] {
            assert!(Cli::try_parse_from(["api"].iter().chain(&args)).is_err(), "{args:?}");
        }
    }
}
