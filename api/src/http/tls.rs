//! TLS with a certificate and a key that may be replaced while the server runs.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often to look at the files.
const LOOK: Duration = Duration::from_secs(2);
/// The most bytes of either file.
const MAX_BYTES: u64 = 1 << 20;
/// What a client's first message begins with. (RFC 8446 §5.1)
const HANDSHAKE_RECORD: u8 = 22;

/// The server's side of TLS 1.2 and 1.3.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    files: Arc<Files>,
    current: Arc<Current>,
}

/// Where the certificate and its key are.
#[derive(Debug)]
struct Files {
    certificates: PathBuf,
    key: PathBuf,
}

/// The pair in use.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

/// A pair as it was read.
struct Pair {
    key: CertifiedKey,
    /// Of both files.
    digest: [u8; 32],
}

/// Why a certificate and its key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct TlsError {
    path: PathBuf,
    why: String,
    /// Of both files, if they were read.
    digest: Option<[u8; 32]>,
}

/// A connection, as far as it got.
pub(crate) enum Opened {
    Safe(Box<TlsStream<TcpStream>>),
    /// The client does not speak TLS, and has been told nothing yet.
    Plain(TcpStream),
}

impl Tls {
    /// Reads a certificate with its chain, and its key, both PEM.
    ///
    /// # Errors
    /// If one of them can't be read, or they do not belong together.
    pub fn load(certificates: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let files = Files { certificates, key };
        let pair = files.read()?;
        files.warn_of_open_key();
        let current = Arc::new(Current(RwLock::new(Arc::new(pair.key))));
        let config =
            ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
        let config = config.map_err(|error| refuse(&files.certificates, error, None))?;
        let mut config = config.with_no_client_auth().with_cert_resolver(Arc::<Current>::clone(&current));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: Arc::new(config).into(), files: Arc::new(files), current })
    }

    /// Takes a changed pair into use, for as long as this is polled. What can't be used changes nothing.
    ///
    /// The two files are not replaced in one step. So a pair that can't be used is reported only if the next look finds
    /// the same.
    pub async fn follow(&self) {
        let (mut used, mut unusable) = (None, None);
        loop {
            let files = Arc::clone(&self.files);
            let read = tokio::task::spawn_blocking(move || files.read()).await;
            match read {
                Ok(Ok(pair)) if used.is_none_or(|used| used == pair.digest) => {
                    used = Some(pair.digest);
                    if let Some((_, true)) = unusable.take() {
                        let file = self.files.certificates.display();
                        tracing::info!(%file, "the files have the certificate in use again");
                    }
                }
                Ok(Ok(pair)) => {
                    used = Some(pair.digest);
                    *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair.key);
                    tracing::info!(file = %self.files.certificates.display(), "took the new certificate into use");
                    unusable = None;
                }
                Ok(Err(error)) => {
                    let seen = unusable.replace((error.digest, false));
                    let (is_settled, was_told) =
                        seen.map_or((false, false), |(seen, told)| (seen == error.digest, told));
                    if is_settled && !was_told {
                        tracing::error!(%error, "the new certificate can't be used: the one before it stays in use");
                    }
                    unusable = Some((error.digest, is_settled));
                }
                Err(error) => tracing::error!(%error, "the certificate can't be looked at"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Carries out the handshake, if the client begins one.
    pub(crate) async fn open(&self, stream: TcpStream) -> io::Result<Opened> {
        let opening = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if first != [HANDSHAKE_RECORD] {
                return Ok(Opened::Plain(stream));
            }
            Ok(Opened::Safe(Box::new(self.acceptor.accept(stream).await?)))
        };
        timeout(HANDSHAKE, opening).await?
    }
}

impl Files {
    fn read(&self) -> Result<Pair, TlsError> {
        let (certificates, key) = (bytes_of(&self.certificates)?, bytes_of(&self.key)?);
        let digest = Sha256::new().chain_update(Sha256::digest(&certificates)).chain_update(Sha256::digest(&key));
        let digest: [u8; 32] = digest.finalize().into();
        let refuse = |path: &Path, why: &dyn ToString| refuse(path, why.to_string(), Some(digest));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificates).collect();
        let chain = chain.map_err(|error| refuse(&self.certificates, &error))?;
        if chain.is_empty() {
            return Err(refuse(&self.certificates, &"has no PEM certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&key);
        let key = key.map_err(|error| refuse(&self.key, &format!("has no PEM private key: {error}")))?;
        let key = CertifiedKey::from_der(chain, key, &default_provider());
        let key = key.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                refuse(&self.key, &format!("is not the key of the certificate in {}", self.certificates.display()))
            }
            error => refuse(&self.key, &format!("can't be used with this certificate: {error}")),
        })?;
        Ok(Pair { key, digest })
    }

    fn warn_of_open_key(&self) {
        let mode = std::fs::metadata(&self.key).map_or(0, |file| file.permissions().mode() & 0o777);
        if mode & 0o077 != 0 {
            let (file, mode) = (self.key.display(), format!("{mode:o}"));
            tracing::warn!(%file, mode, "other users of this machine may read the private key: chmod 600");
        }
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        let mut bytes = Vec::new();
        let read = File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if read as u64 > MAX_BYTES { Err(io::Error::other("it is larger than 1 MiB")) } else { Ok(bytes) }
    };
    read().map_err(|error| refuse(path, format!("can't be read: {error}"), None))
}

fn refuse(path: &Path, why: impl ToString, digest: Option<[u8; 32]>) -> TlsError {
    TlsError { path: path.to_owned(), why: why.to_string(), digest }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}
