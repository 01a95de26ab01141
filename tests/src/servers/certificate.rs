//! A certificate that nobody knows, and the authority that signed it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use crate::mlflow::{python, script};

/// A certificate for 127.0.0.1.
#[derive(Debug)]
pub struct Certificate(TempDir);

impl Certificate {
    /// A new one, of an authority of its own.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("lb-certificate-").tempdir().expect("a temporary directory");
        let made = std::process::Command::new(python()).arg(script("certificate.py")).arg(folder.path()).output();
        let made = made.expect("`scripts/bootstrap.sh mlflow-venv` comes first: `make test` does it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(folder)
    }

    /// The authority, as PEM.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    /// What a server speaks TLS with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let certificates = CertificateDer::pem_file_iter(self.path().join("cert.pem")).expect("a certificate");
        let certificates = certificates.collect::<Result<_, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.path().join("key.pem")).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key);
        Arc::new(config.expect("a certificate and its key")).into()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}
