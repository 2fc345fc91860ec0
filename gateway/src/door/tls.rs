//! The certificates of doors.

use std::path::Path;
use std::sync::Arc;

use redcall_common::settings::TlsSettings;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::error::DoorError;

/// The application protocols of gRPC and of its schema registry. The other protocols have no name.
pub(crate) const GRPC: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Returns an acceptor with the certificates of `settings`, for these application protocols.
///
/// # Errors
///
/// [`DoorError::File`] with the file that cannot be used.
pub(crate) fn acceptor(
    settings: &TlsSettings,
    protocols: &[&[u8]],
) -> Result<TlsAcceptor, DoorError> {
    let TlsSettings { cert_file, key_file, client_ca_file } = settings;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(cert_file, &error))?;
    let config = match client_ca_file {
        None => config.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| wrong(file, &error))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.map_err(|error| wrong(file, &error))?)
        }
    };
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| wrong(key_file, &error))?;
    let mut config = config
        .with_single_cert(certificates(cert_file)?, key)
        .map_err(|error| wrong(cert_file, &error))?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, DoorError> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| wrong(file, &error))?;
    let read: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| wrong(file, &error))?;
    match read.is_empty() {
        true => Err(wrong(file, &"it holds no certificate in PEM form")),
        false => Ok(read),
    }
}

fn wrong(file: &Path, problem: &dyn std::fmt::Display) -> DoorError {
    DoorError::File { file: file.to_path_buf(), problem: problem.to_string() }
}
