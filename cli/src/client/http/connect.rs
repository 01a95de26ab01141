//! Which server a command talks to, and with which token.

use std::path::PathBuf;

use clap::Args;
use reqwest::Url;

use super::address::parse_server;
use super::error::ClientError;
use crate::client::file::ClientFile;
use crate::client::http::request::Client;
use crate::client::trust::Trust;

/// Where the server is and who asks.
#[derive(Args)]
pub(crate) struct ConnectOptions {
    /// Address of the server, such as `https://leaders.example.org`
    #[arg(long, env = "LEADERSBOARD_URL", value_name = "URL", global = true, help_heading = "Connection")]
    pub(crate) server: Option<String>,

    /// Your token; prefer the environment: other users of this machine can't see it there
    #[arg(
        long,
        env = "LEADERSBOARD_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        global = true,
        help_heading = "Connection"
    )]
    pub(crate) token: Option<String>,

    /// Data directory of a local `leadersboard up`; it has the address and a token
    #[arg(
        long,
        env = "DATA_DIR",
        value_name = "DIR",
        default_value = "./data",
        global = true,
        help_heading = "Connection"
    )]
    pub(crate) data: PathBuf,

    /// Certificates to accept instead of the machine's, as PEM: the server's authority, or its own
    #[arg(long, env = "LEADERSBOARD_CA_FILE", value_name = "FILE", global = true, help_heading = "Connection")]
    pub(crate) ca_file: Option<PathBuf>,
}

// By hand, because a derived one would put the token into any debug line.
impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions").field("server", &self.server).field("data", &self.data).finish_non_exhaustive()
    }
}

impl ConnectOptions {
    /// A client for the server these options, or the data directory, name.
    pub(crate) fn client(&self) -> Result<Client, ClientError> {
        let path = ClientFile::path(&self.data);
        let file = ClientFile::read(&self.data)
            .map_err(|error| ClientError::usage(format!("{} can't be read: {error}.", path.display())))?;
        let (server, token, trust) = self.resolve(file)?;
        Client::new(&server, &token, &trust)
    }

    fn resolve(&self, file: Option<ClientFile>) -> Result<(Url, String, Trust), ClientError> {
        let server = given(self.server.as_deref());
        let token = given(self.token.as_deref());
        let local = match file {
            Some(file) => Some((parse_server(&file.server)?, file.token, file.certificate)),
            None => None,
        };
        let server = match (server, &local) {
            (Some(server), _) => parse_server(server)?,
            (None, Some((server, ..))) => server.clone(),
            (None, None) => return Err(ClientError::usage(self.nothing_known())),
        };
        // The local server's token and certificate are for the local server, and for no other one.
        let local = local.filter(|(home, ..)| *home == server);
        let trust = match (&self.ca_file, &local) {
            (Some(file), _) => Trust::Authorities(file.clone()),
            (None, Some((.., Some(certificate)))) => Trust::Exactly(certificate.clone()),
            (None, _) => Trust::Machine,
        };
        let token = match (token, local) {
            (Some(token), _) => token.to_owned(),
            (None, Some((_, Some(token), _))) => token,
            (None, _) => {
                return Err(ClientError::usage(format!(
                    "no token for {}: set LEADERSBOARD_TOKEN to the one its administrator gave you.",
                    server.as_str().trim_end_matches('/')
                )));
            }
        };
        Ok((server, token, trust))
    }

    fn nothing_known(&self) -> String {
        format!(
            "no server is known. Set LEADERSBOARD_URL and LEADERSBOARD_TOKEN (or give --server and --token); \
             for a server on this machine run `leadersboard up` and try again in the same folder, \
             or name its data directory with --data (there is no {}).",
            ClientFile::path(&self.data).display()
        )
    }
}

/// An empty variable (`LEADERSBOARD_URL= leadersboard …`) is one not given.
fn given(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(server: Option<&str>, token: Option<&str>) -> ConnectOptions {
        let (server, token) = (server.map(Into::into), token.map(Into::into));
        ConnectOptions { server, token, data: "data".into(), ca_file: None }
    }

    fn local() -> ClientFile {
        ClientFile { server: "http://127.0.0.1:8010".into(), token: Some("local".into()), certificate: None }
    }

    fn resolved(options: &ConnectOptions, file: Option<ClientFile>) -> Result<(String, String), String> {
        options
            .resolve(file)
            .map(|(server, token, _)| (server.to_string(), token))
            .map_err(|error| error.sentence().unwrap_or_default())
    }

    #[test]
    fn the_local_file_is_used_when_nothing_is_given() {
        let expected = Ok(("http://127.0.0.1:8010/".into(), "local".into()));
        assert_eq!(resolved(&options(None, None), Some(local())), expected);
        assert_eq!(resolved(&options(Some(""), Some(" ")), Some(local())), expected);
        assert_eq!(resolved(&options(Some("127.0.0.1:8010/"), None), Some(local())), expected);
    }

    #[test]
    fn the_local_token_never_goes_to_another_server() {
        let sentence = resolved(&options(Some("https://elsewhere.example"), None), Some(local())).unwrap_err();
        assert!(sentence.contains("LEADERSBOARD_TOKEN"), "{sentence}");
    }

    #[test]
    fn the_local_certificate_is_accepted_from_the_local_server_only() {
        let local = || Some(ClientFile { certificate: Some("/srv/cert.pem".into()), ..local() });
        let trust = |options: &ConnectOptions| options.resolve(local()).unwrap().2;
        assert_eq!(trust(&options(None, None)), Trust::Exactly("/srv/cert.pem".into()));
        assert_eq!(trust(&options(Some("https://elsewhere.example"), Some("t"))), Trust::Machine);
        let given = ConnectOptions { ca_file: Some("ca.pem".into()), ..options(None, None) };
        assert_eq!(trust(&given), Trust::Authorities("ca.pem".into()));
    }

    #[test]
    fn without_anything_the_error_says_what_to_do() {
        let sentence = resolved(&options(None, Some("t")), None).unwrap_err();
        for word in ["LEADERSBOARD_URL", "LEADERSBOARD_TOKEN", "leadersboard up", "--data"] {
            assert!(sentence.contains(word), "{sentence}");
        }
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(ClientFile::path(data.path()), "{").unwrap();
        let options = ConnectOptions { data: data.path().to_owned(), ..options(None, None) };
        let sentence = options.client().unwrap_err().sentence().unwrap();
        assert!(sentence.contains("client.json can't be read: "), "{sentence}");
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let given = options(Some("http://127.0.0.1:1"), Some("a\nb"));
        let sentence =
            ConnectOptions { data: data.path().to_owned(), ..given }.client().unwrap_err().sentence().unwrap();
        assert_eq!(sentence, "error: the token holds characters that no HTTP header can carry.");
    }

    #[test]
    fn debug_output_has_no_token() {
        assert!(!format!("{:?}", options(None, Some("hunter2"))).contains("hunter2"));
    }
}
