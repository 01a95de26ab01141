//! Which certificates a server may show, if not those that the machine trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::http::error::ClientError;

/// What a server proves itself by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// An authority that the machine trusts, or `SSL_CERT_FILE` names.
    Machine,
    /// An authority in this file, or a certificate in it, and in either case its name.
    Authorities(PathBuf),
    /// The first certificate in this file, whatever its name: the local server's own.
    Exactly(PathBuf),
}

impl Trust {
    /// How to connect; `None` if the machine decides.
    pub(crate) fn config(&self) -> Result<Option<ClientConfig>, ClientError> {
        let (path, names) = match self {
            Self::Machine => return Ok(None),
            Self::Authorities(path) => (path, Names::Checked),
            Self::Exactly(path) => (path, Names::Any),
        };
        let refuse = |why: String| ClientError::usage(format!("the certificates in {} {why}.", path.display()));
        let known = read(path).map_err(|why| refuse(format!("can't be used: {why}")))?;
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(known.iter().cloned());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let authorities = authorities.map_err(|error| refuse(format!("can't be used: {error}")))?;
        let verifier = Verifier { known, names, authorities, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| refuse(format!("can't be used: {error}")))?;
        Ok(Some(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()))
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let known: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let known = known.map_err(|error| error.to_string())?;
    if known.is_empty() { Err("there is no PEM certificate".to_owned()) } else { Ok(known) }
}

/// Whether a known certificate must name the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Checked,
    Any,
}

/// Accepts certificates that are known, and those of known authorities.
///
/// A certificate that signed itself is no authority's, so a search for its authority would refuse it.
#[derive(Debug)]
struct Verifier {
    known: Vec<CertificateDer<'static>>,
    names: Names,
    authorities: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.names {
            Names::Any if self.known.first() == Some(shown) => Ok(ServerCertVerified::assertion()),
            Names::Checked if self.known.contains(shown) => {
                verify_server_name(&ParsedCertificate::try_from(shown)?, server)?;
                Ok(ServerCertVerified::assertion())
            }
            _ => self.authorities.verify_server_cert(shown, chain, server, ocsp, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for (content, why) in [(None, "No such file"), (Some("text"), "there is no PEM certificate")] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = Trust::Authorities(path.clone()).config().unwrap_err().sentence().unwrap();
            assert!(error.contains("ca.pem") && error.contains(why), "{error}");
        }
        assert!(Trust::Machine.config().unwrap().is_none());
    }
}
